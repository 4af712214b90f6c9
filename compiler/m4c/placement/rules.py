"""The values between the steps of placement: what has to run where, and what cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from m4c.paths.callpath import CallPath, Hop, Version
from m4c.paths.product import Situation
from m4c.semantics.model import (
    ABSENT,
    STATE,
    Atom,
    AttrKey,
    Cond,
    Default,
    Operation,
    Program,
    Side,
    StateAtom,
    Value,
    Write,
    atoms,
)

Effect: TypeAlias = tuple[tuple[tuple[Version, ...], Cond], ...]
"""When an operation runs, in one situation: a condition for each group of the callee's versions that share it."""


def effect_of(by_cond: Mapping[Cond, Sequence[Version]]) -> Effect:
    """What an operation does, from the versions that share each condition."""
    items = [(tuple(sorted(versions, key=lambda v: v or "")), cond) for cond, versions in by_cond.items()]
    return tuple(sorted(items, key=lambda item: [v or "" for v in item[0]]))


def writes_of(operation: Operation, args: dict[str, Value]) -> tuple[Write, ...]:
    """What an operation writes when it is called with these arguments."""
    return tuple(
        Write(
            AttrKey(operation.entity, w.attribute, str(args[str(w.key)]) if w.key_is_param else w.key),
            w.given(args),
        )
        for w in operation.writes
    )


def realised(
    program: Program, default: Default
) -> tuple[Operation, tuple[tuple[str, Value], ...], tuple[Write, ...]] | None:
    """The operation, with arguments, that writes a default's value and otherwise only declared defaults.

    One that a dataplane of the mesh supports goes first, then one that writes less, then by name.
    """
    entity = program.entities[default.attr.entity]
    supported = {op for d in program.dataplanes.values() for e, op in d.operations if e == entity.name}
    ranked = sorted(entity.operations.values(), key=lambda o: (o.name not in supported, len(o.writes), o.name))
    for operation in ranked:
        given: dict[str, Value] = {}
        types = {p.name: p.type for p in operation.params}
        for write in operation.writes:
            attribute = entity.attributes[write.attribute]
            target = attribute.name == default.attr.attribute
            value = default.value if target else attribute.default
            if write.in_set:  # the default has to be a set of one
                value = value[0] if isinstance(value, tuple) and len(value) == 1 else None
            if value is None or (write.value != value and not write.value_is_param):
                break
            if value is ABSENT and write.value_is_param and not types[str(write.value)].optional:
                break
            key = default.attr.key if target else None
            if not write.key_is_param and write.key != key:
                break
            if write.key_is_param and (key is None or given.setdefault(str(write.key), key) != key):
                break
            if write.value_is_param and given.setdefault(str(write.value), value) != value:
                break
        else:
            args = {p.name: given.get(p.name, p.default) for p in operation.params}
            full = {name: value for name, value in args.items() if value is not None}
            if len(full) == len(args) and any(w.attribute == default.attr.attribute for w in operation.writes):
                return operation, tuple(full.items()), writes_of(operation, full)
    return None


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Who asks for an operation: a policy's call, or (`default`) a default of the mesh; `call` is its index there."""

    policy: str  # a default is called "default " and what it is a default of
    call: int
    default: bool = False


def default_source(index: int, default: Default) -> Source:
    """A default of the mesh as who asks for an operation."""
    return Source(f"default {default.attr.entity}.{default.attr}", index, default=True)


@dataclass(frozen=True, slots=True)
class Case:
    """One situation in which requests can meet a hop, and what a rule does then. Of a rule that does the same in all of
    them there is one, and it says nothing of who fires."""

    situation: Situation
    effect: Effect


@dataclass(frozen=True, slots=True)
class Rule:
    """One operation on one hop, with everything that decides whether it runs.

    At any input, the rules of a hop that hold write at most one value to each attribute and key; where the merge is a
    union, disjoint sets, which make up the value together. `patterns` are the numbers of the path patterns that make up
    the situations; a rule that does the same in all situations has none.
    """

    hop: Hop
    entity: str  # what the policies are about that ask for it
    operation: Operation
    args: tuple[tuple[str, Value], ...]
    writes: tuple[Write, ...]
    terminal: bool  # it ends the request
    outward: bool  # it shows even if the request ends behind it
    side: Side | None
    sources: tuple[Source, ...]  # the first names the rule; the others ask for the same
    carries: tuple[Source, ...]  # calls that need no operation of their own: they only keep this one from running
    patterns: tuple[int, ...] = field(compare=False)  # what they are called depends on what was planned before
    cases: tuple[Case, ...] = field(compare=False)
    asks: StateAtom | None = None  # the operation is a condition of a state: its answer is what the others read
    both_ends: bool = False  # the same dataplane runs it at both ends of the hop
    sealing: tuple[Operation, ...] = ()  # those of its hop, of other rules, that run at both ends
    per: AttrKey | None = None  # the state that it asks or changes is one for each value of this
    only_read: bool = False  # it asks for the sake of those that read the answer alone: nothing passes the hop
    marks: tuple[Write, ...] = ()  # what it writes that travels: it runs where the tag is updated on its hop

    @property
    def of_state(self) -> str | None:
        """The state that it asks or changes."""
        if self.asks is not None:
            return self.asks.state
        return next((w.attr.entity.removeprefix(STATE) for w in self.writes if w.attr.entity.startswith(STATE)), None)

    @property
    def contextual(self) -> bool:
        """What it does depends on the call path."""
        return bool(self.patterns)

    @property
    def versioned(self) -> bool:
        """What it does depends on the version of the callee that answers."""
        return any(len(case.effect) > 1 for case in self.cases)

    @property
    def reads(self) -> frozenset[Atom | StateAtom]:
        return frozenset().union(*(atoms(cond) for case in self.cases for _, cond in case.effect))


@dataclass(frozen=True, slots=True)
class Order:
    """Two rules of one hop: `first` stands at an earlier position than `then` or at the same; `same`: at the same."""

    first: int
    then: int
    same: bool = False


@dataclass(frozen=True, slots=True)
class Unenforceable:
    """An operation that cannot run on a hop on which it can fire; the reasons are sentences for the user."""

    policy: str
    call: int
    hop: Hop
    path: CallPath
    reasons: tuple[str, ...]
    default: bool = False
