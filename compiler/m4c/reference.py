"""The reference interpreter: what one request on one hop of one call path gets.

It implements the section "What a policy program means" of the language reference, rule by rule, and nothing else: slow
and plain, so that it can be read against the text. Analyses, plans and dataplanes are tested against it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from m4c.paths.callpath import CallPath, Hop, instances
from m4c.predicates import holds
from m4c.semantics.effects import answers, carriers, merge, orders, start_value
from m4c.semantics.model import (
    ABSENT,
    STATE,
    AnyOne,
    Atom,
    AttrKey,
    GroupOf,
    Labelled,
    Named,
    NotOne,
    One,
    OneOf,
    OpCall,
    Pattern,
    Policy,
    Program,
    Service,
    StateAtom,
    Value,
    all_of,
    atoms,
)

Values = Mapping[AttrKey, Value]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two writes of different values to one attribute that has no merge (rule 4)."""

    attr: AttrKey
    writes: tuple[tuple[str, Value], ...]  # (policy, or "default"; value)


@dataclass(frozen=True, slots=True)
class HopResult:
    """What happens to one entity on one hop."""

    entity: str
    hop: Hop
    fired: tuple[str, ...]  # by file and line
    dropped: tuple[tuple[str, str], ...]  # (policy, operation) that an overriding policy took out
    writes: Mapping[AttrKey, Value]  # what the policies and the mesh's defaults make of the entity
    contradictions: tuple[Contradiction, ...]
    terminal: bool  # nothing else happens to the request
    declared: Mapping[AttrKey, Value]  # what attributes are that nothing writes
    requested: tuple[tuple[str, int], ...] = ()  # (policy, index of the call) for rule 2
    effective: tuple[tuple[str, int], ...] = ()  # those of them that rule 3 leaves
    leaves: Mapping[AttrKey, Value] = field(default_factory=dict)  # what it writes that travels, whatever the verdict
    carried: Mapping[AttrKey, Value] = field(default_factory=dict)  # what the hops before left that travels
    carriers: tuple[
        HopResult, ...
    ] = ()  # of those that policies are about, the outermost first, up to one that is denied

    def value(self, attribute: str) -> Value | None:
        """What an attribute without a key is after this hop; None if nothing wrote it and it has no default."""
        found = {a.attribute: v for a, v in (*self.declared.items(), *self.writes.items()) if a.key is None}
        return found.get(attribute)


@dataclass(frozen=True, slots=True)
class Trace:
    """The hops of a call path until one ends the chain, and the answers on their way back if none does."""

    hops: tuple[HopResult, ...] = field(default=())
    answers: tuple[HopResult, ...] = field(default=())

    @property
    def terminal(self) -> bool:
        return bool(self.hops) and self.hops[-1].terminal


def matches(pattern: Pattern, path: CallPath, program: Program) -> bool:
    """Whether a pattern matches the whole of a call path."""
    if pattern.outside and not path.outside:
        return False
    steps = pattern.steps
    positions = _closure({0}, pattern)
    for service, version in zip(path.services, path.versions, strict=True):
        after = set()
        for i in positions:
            if i < len(steps) and _is(steps[i].one, program.graph.services[service], version):
                after.add(i if steps[i].star else i + 1)
        positions = _closure(after, pattern)
    return len(steps) in positions


def _closure(positions: set[int], pattern: Pattern) -> set[int]:
    out = set(positions)
    for i, step in enumerate(pattern.steps):
        if i in out and step.star:
            out.add(i + 1)
    return out


def _is(one: One, service: Service, version: str | None) -> bool:
    match one:
        case Named(name, wanted):
            return name == service.name and wanted in (None, version)
        case AnyOne():
            return True
        case Labelled(labels):
            return set(labels) <= set(service.labels)
        case GroupOf(_, members):
            return service.name in members
        case OneOf(parts):
            return any(_is(p, service, version) for p in parts)
        case NotOne(inner):
            return not _is(inner, service, version)


class _Hop:
    """Rules 1 to 5 on one input."""

    def __init__(
        self, program: Program, path: CallPath, entity: str, values: Values, states: Mapping[StateAtom, bool]
    ) -> None:
        self.program = program
        self.path = path
        self.entity = entity
        self.values = {**start_marks(program), **values}
        self.states = states
        self.orders = orders(program)
        policies = [p for p in program.policies if p.entity == entity]
        self.matching = [p for p in policies if matches(p.pattern, path, program)]
        self.requests: dict[str, tuple[OpCall, ...] | None] = {}  # None: did not fire

    def performed(self, call: OpCall) -> bool:
        """An operation at egress does not happen on the entry hop."""
        return not (call.side == "egress" and self.path.hop[0] is None)

    def requested(self, policy: Policy) -> tuple[OpCall, ...] | None:
        """Rules 1 and 2: the operations that a policy requests, None if it does not fire."""
        if policy.name not in self.requests:
            before = [p for p in self.matching if p.name in self.orders.after[policy.name]]
            seen = dict(self.values)
            if before:
                seen |= self.outcome(before)[0]

            def true(call: OpCall) -> bool:
                return holds(all_of(policy.when, call.guard), seen, self.states, self.program.attribute)

            fires = holds(policy.when, seen, self.states, self.program.attribute)
            calls = tuple(c for c in policy.calls if self.performed(c) and true(c)) if fires else None
            self.requests[policy.name] = calls
        return self.requests[policy.name]

    def effective(self, policies: list[Policy]) -> tuple[list[tuple[Policy, OpCall]], list[tuple[Policy, OpCall]]]:
        """Rule 3: the operations that stay, and those that an overriding policy drops."""
        requested = [(p, c) for p in policies for c in self.requested(p) or ()]
        kept: list[tuple[Policy, OpCall]] = []
        dropped: list[tuple[Policy, OpCall]] = []
        for p, call in requested:
            attrs = {w.attr for w in call.writes}
            overridden = any(
                q.name in self.orders.over[p.name] and attrs & {w.attr for w in other.writes} for q, other in requested
            )
            (dropped if overridden else kept).append((p, call))
        return kept, dropped

    def outcome(self, policies: list[Policy]) -> tuple[dict[AttrKey, Value], list[Contradiction]]:
        """Rules 3 and 4 over some of the policies: the values that they write, without defaults."""
        return self.merged(self.effective(policies)[0])

    def merged(self, kept: list[tuple[Policy, OpCall]]) -> tuple[dict[AttrKey, Value], list[Contradiction]]:
        """Rule 4 for the writes of some operations."""
        by_attr: dict[AttrKey, list[tuple[str, Value]]] = {}
        for p, call in kept:
            for w in call.writes:
                by_attr.setdefault(w.attr, []).append((p.name, w.value))
        out: dict[AttrKey, Value] = {}
        wrong: list[Contradiction] = []
        for attr, writes in by_attr.items():
            merged = merge(self.program.attribute(attr), [v for _, v in writes])
            if merged is None:
                wrong.append(Contradiction(attr, tuple(writes)))
            else:
                out[attr] = merged
        return out, wrong

    def run(self) -> HopResult:
        fired = tuple(p.name for p in self.matching if self.requested(p) is not None)
        kept, dropped = self.effective(self.matching)
        writes, wrong = self.outcome(self.matching)
        written = {w.attr for _, call in kept for w in call.writes}
        for attr, values in self.defaults().items():
            if attr in written:
                continue
            if len({v for _, v in values}) > 1:
                wrong.append(Contradiction(attr, tuple(values)))
            else:
                writes[attr] = values[0][1]
        ending = {a for a, v in writes.items() if self.is_terminal(a, v)}
        leaves = {a: v for a, v in writes.items() if self.program.attribute(a).travels}
        if ending:
            # Rule 5: of the writes only those stay that the operations make which end the request, and those of states,
            # which are no part of the request.
            enders = [(p, c) for p, c in kept if any(w.attr in ending for w in c.writes)]
            of_states = {a: v for a, v in writes.items() if a.entity.startswith(STATE)}
            writes = {a: writes[a] for a in ending} | self.merged(enders)[0] | of_states
        return HopResult(
            self.entity,
            self.path.hop,
            fired,
            tuple((p.name, c.operation) for p, c in dropped),
            writes,
            tuple(wrong),
            bool(ending),
            self.declared(),
            tuple((p.name, c.index) for p in self.matching for c in self.requested(p) or ()),
            tuple((p.name, c.index) for p, c in kept),
            leaves,
        )

    def defaults(self) -> dict[AttrKey, list[tuple[str, Value]]]:
        out: dict[AttrKey, list[tuple[str, Value]]] = {}
        for d in self.program.mesh.defaults:
            if d.attr.entity == self.entity and matches(d.pattern, self.path, self.program):
                out.setdefault(d.attr, []).append(("default", d.value))
        return out

    def is_terminal(self, attr: AttrKey, value: Value) -> bool:
        enum = self.program.enums.get(self.program.attribute(attr).type.name)
        return enum is not None and value in enum.terminal

    def declared(self) -> dict[AttrKey, Value]:
        """The defaults that the entity's declaration gives its attributes."""
        return {
            AttrKey(self.entity, a.name): a.default
            for a in self.program.entities[self.entity].attributes.values()
            if a.key is None and a.default is not None
        }


def start_marks(program: Program) -> dict[AttrKey, Value]:
    """What the attributes that travel are at the start of a chain, of all that a policy reads."""
    conds = [cond for p in program.policies for cond in (p.when, *(c.guard for c in p.calls))]
    read = {a.attr for cond in conds for a in atoms(cond) if isinstance(a, Atom)}
    travels = [a for a in read if program.attribute(a).travels]
    values = {a: start_value(program.attribute(a), program.enums) for a in sorted(travels)}
    return {a: v for a, v in values.items() if v is not ABSENT}


def subject(program: Program) -> str:
    """The entity that most commands are about unless told otherwise: the first that a policy is about."""
    return next((p.entity for p in program.policies), next(iter(program.entities), ""))


def run_hop(
    program: Program,
    path: CallPath,
    values: Values,
    states: Mapping[StateAtom, bool] | None = None,
    entity: str | None = None,
) -> HopResult:
    """What an entity gets on the last hop of `path`. `values`: the entity as it arrives, absent attributes left out,
    and the marks that its chain carries; for an answer also what it answers, as that arrived."""
    name = entity or subject(program)
    if program.entities[name].connection:  # it has two ends and no call path
        path = CallPath(path.outside and len(path.services) == 1, path.services[-2:], path.versions[-2:])
    return _Hop(program, path, name, values, states or {}).run()


def trace(
    program: Program,
    path: CallPath,
    values: Values,
    entity: str | None = None,
    states: Mapping[StateAtom, bool] | None = None,
) -> Trace:
    """The hops of a call path in order, each with the entity as given, until one ends it; then what answers it.

    Attributes that travel keep what an earlier hop wrote. Where policies are about a carrier, a hop begins with it; one
    that is denied denies what it carries. An answer on a hop sees the entity as it arrived there.
    """
    name = entity or subject(program)
    used = {p.entity for p in program.policies} | {d.attr.entity for d in program.mesh.defaults}
    over = [e.name for e in carriers(program.entities, name) if e.name in used]
    answering = [e.name for e in answers(program.entities, name) if e.name in used]
    hops: list[HopResult] = []
    back: list[HopResult] = []
    carried: dict[AttrKey, Value] = {}
    for prefix in path.prefixes():
        arrived = dict(carried)
        under: list[HopResult] = []
        found: HopResult | None = None
        for each in over:
            under.append(run_hop(program, prefix, {**values, **carried}, states, each))
            carried |= under[-1].leaves
            if under[-1].terminal:
                found = _not_carried(program, name, under[-1])
                break
        found = found or run_hop(program, prefix, {**values, **carried}, states, name)
        hops.append(replace(found, carried=arrived, carriers=tuple(under)))
        if found.terminal:
            return Trace(tuple(hops))
        answered = [run_hop(program, prefix, {**values, **carried}, states, e) for e in answering]
        back[:0] = [replace(a, carried=dict(carried)) for a in answered]
        carried |= found.leaves
    return Trace(tuple(hops), tuple(back))


def _not_carried(program: Program, entity: str, carrier: HopResult) -> HopResult:
    """What an entity gets whose carrier is denied: the same, and nothing else."""
    ended = {program.attribute(a).type.name: v for a, v in carrier.writes.items() if not a.entity.startswith(STATE)}
    same = {
        AttrKey(entity, a.name): ended[a.type.name]
        for a in program.entities[entity].attributes.values()
        if a.key is None and a.type.name in program.enums and a.type.name in ended
    }
    return HopResult(entity, carrier.hop, (), (), same, (), True, {})


def may_end(pattern: Pattern, service: Service) -> bool:
    """Whether a pattern can match a call path that ends at a service, in some version of it."""
    versions = [version for _, version in instances(service)]
    for step in reversed(pattern.steps):
        if any(_is(step.one, service, v) for v in versions):
            return True
        if not step.star:
            return False
    return False
