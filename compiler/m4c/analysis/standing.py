"""A quick proof that a policy has a point: inputs on which its calls stand alone.

Whether a policy is shadowed, suppressed or redundant depends on every policy that may fire beside it, in every
combination. Most policies have a point for a plain reason: there is an input on which the policy asks for something and
nobody else writes the same or ends the request. Such an input is a proof, and it stays one as long as nobody who comes
or changes asks for anything on it; so a workspace that is edited keeps its proofs and looks at the newcomer alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from itertools import islice
from typing import TypeAlias

from m4c.analysis.ground import Ground
from m4c.analysis.near import Near, Row
from m4c.paths.masks import Shape, bits
from m4c.predicates import Assignment, TooComplex, holds
from m4c.semantics.model import (
    ABSENT,
    STATE,
    Absent,
    Atom,
    AttrKey,
    Cond,
    Default,
    OpCall,
    Program,
    Value,
    Write,
    all_of,
    any_of,
    negate,
)

MOST = 40  # conditions of others that are looked at together; with more, the general answer is no slower
LOOKED_AT = 12  # ends of a policy of which the least crowded ones are tried
TRIED = 3


Paths: TypeAlias = tuple[Shape, ...]  # those that all of the patterns match
_A_CALL = Shape(((-1, False), (-1, True), (-1, False)), outside=False)  # the paths whose last hop has a caller


@dataclass(frozen=True, slots=True)
class Asked:
    """What a policy can ask for that takes the effect of another's call away: a write of an attribute that the call
    writes, or, with `end`, that the request ends."""

    attributes: frozenset[AttrKey]
    end: bool

    def concerns(self, row: Row, call: int) -> bool:
        """Whether a call of a policy asks for that."""
        return (self.end and call in row.ending) or any(
            w.attr in self.attributes for w in row.policy.calls[call].writes
        )

    def when(self, row: Row) -> Cond:
        """When a policy asks for that."""
        key = (self.attributes, self.end)
        known = row.asked_for.get(key)
        if known is None:
            guards = (c.guard for i, c in enumerate(row.policy.calls) if self.concerns(row, i))
            known = row.asked_for[key] = all_of(row.policy.when, any_of(*guards))
        return known


@dataclass(frozen=True, slots=True)
class Proof:
    """An input, on a path that ends at one letter, on which a call has an effect of its own as long as nobody else
    asks for the same."""

    input: Assignment
    where: int  # the letter at which the path ends
    asked: Asked  # who asks for that has to be silent on the input
    needed: bool  # without it the result would be another one: the policy is not redundant
    needs: frozenset[str]  # policies that ask for something on the input, and have to go on doing so


@dataclass(frozen=True, slots=True)
class Scenery:
    """What proofs are made from: the mesh's defaults on an entity, and the attributes that can end a request."""

    ground: Ground
    near: Near
    program: Program
    defaults: tuple[Default, ...]
    ending: frozenset[AttrKey]


def is_plain(row: Row, near: Near) -> bool:
    """Whether a policy's conditions alone tell what it asks for: it sees no other's writes, no marks, no states."""
    return not (row.asks or near.orders.after.get(row.policy.name) or near.marks((row.policy.name,)))


def proofs(scenery: Scenery, row: Row) -> tuple[Proof, ...] | None:
    """A proof for each call of a policy; None if it has to be found out in general."""
    policy, near = row.policy, scenery.near
    if not policy.calls or not row.ends or not is_plain(row, near):
        return None
    found: list[Proof] = []
    try:
        for call in policy.calls:
            proof = _proof(scenery, row, call)
            if proof is None:
                return None
            found.append(proof)
    except TooComplex:
        return None
    needed = any(p.needed for p in found) or bool(row.states)
    return tuple(found) if needed else None


def _proof(scenery: Scenery, row: Row, call: OpCall) -> Proof | None:
    policy, program, letters = row.policy, scenery.program, scenery.ground.letters
    if call.entity.startswith(STATE):
        return None
    ends = any(scenery.program.is_terminal(w.attr, w.value) for w in call.writes)
    # What travels counts although the request ends, but all else that the call writes does not.
    travels = all(program.attribute(w.attr).travels for w in call.writes)
    asked = Asked(frozenset(w.attr for w in call.writes), not (ends or travels))
    own = [c for i, c in enumerate(policy.calls) if c is not call and asked.concerns(row, i)]
    silent = [negate(c.guard) for c in own if c.guard != call.guard]
    if len(silent) < len(own):
        return None
    # An operation at egress is not performed on entry hops.
    at = letters.meet(row.shape, _A_CALL) if call.side == "egress" else row.ends
    for where in _places(scenery, at, asked):
        proof = _proof_at(scenery, row, call, asked, silent, where)
        if proof is not None:
            return proof
    return None


def _proof_at(
    scenery: Scenery, row: Row, call: OpCall, asked: Asked, silent: Sequence[Cond], where: int
) -> Proof | None:
    """A proof on paths that end at a letter: any input on which the call counts, if nobody objects; else one on paths
    on which those who did do not fire, or on which they are silent, and so on."""
    near, letters = scenery.near, scenery.ground.letters
    overridden = near.those(near.overridden.get(row.policy.name, frozenset()), row.ends & where)
    taken = [r for _, r in overridden if _concerns(asked, r, row) and _takes(call, asked, r)]
    passed = {row.policy.name, *(r.policy.name for r in taken)}
    callers = -1
    on: Paths = (row.shape,)
    while True:
        proof = _alone(scenery, row, call, asked, silent, taken, where, on)
        if proof is None:
            return None
        values = dict(proof.input.attributes)
        present = near.asking(asked.attributes, asked.end, row, where, partial(_value_of, scenery, values))
        asking = [
            r
            for n, r in present.items()
            if n not in passed and _asks(scenery, proof, values, r) and letters.meet(*on, r.shape) & where
        ]
        if not asking:
            return proof
        for other in asking:
            narrower = callers & ~_callers(other.shape)
            elsewhere = (row.shape, Shape(((-1, True), (narrower, False), (-1, False)), outside=False))
            if narrower != callers and letters.meet(*elsewhere) & where:
                callers, on = narrower, elsewhere
            elif len(silent) == MOST or not is_plain(other, near):
                return None
            else:
                silent = (*silent, negate(asked.when(other)))


def _concerns(asked: Asked, other: Row, row: Row) -> bool:
    """Whether a policy on the entity of another one may ask for something."""
    return other.policy.entity == row.policy.entity and bool(
        other.writes & asked.attributes or (asked.end and other.ending)
    )


def _callers(shape: Shape) -> int:
    """The letters from which the last hop of a pattern's paths comes; none, if that is hard to say."""
    before, last = shape.steps[-2:] if len(shape.steps) > 1 else ((0, True), (0, True))
    return 0 if before[1] or last[1] else before[0]


def _places(scenery: Scenery, at: int, asked: Asked) -> list[int]:
    """Letters to try, the least crowded first."""
    letters = list(islice(bits(at), LOOKED_AT))
    return [1 << i for i in nsmallest(TRIED, letters, key=lambda i: scenery.near.crowd(asked.attributes, i))]


def _takes(call: OpCall, asked: Asked, other: Row) -> bool:
    """Whether a call, where it overrides another policy, drops all that this one asks for, which are other values."""
    written = {w.attr: w.value for w in call.writes}
    concerned = [c for i, c in enumerate(other.policy.calls) if asked.concerns(other, i)]
    return all(
        any(w.attr in written for w in c.writes)
        and all(written[w.attr] != w.value for w in c.writes if w.attr in written)
        for c in concerned
    )


def _alone(
    scenery: Scenery,
    row: Row,
    call: OpCall,
    asked: Asked,
    silent: Sequence[Cond],
    taken: Sequence[Row],
    where: int,
    on: Paths,
) -> Proof | None:
    """A proof on some paths that end at a letter."""
    letters, solver = scenery.ground.letters, scenery.ground.solver
    defaults = [d for d in scenery.defaults if letters.ends(d.pattern) & where]
    cond, needs = all_of(row.policy.when, call.guard, *silent), frozenset[str]()
    ending = [d for d in defaults if d.attr not in asked.attributes and scenery.program.is_terminal(d.attr, d.value)]
    if asked.end and ending:  # the mesh ends the request, unless somebody says otherwise
        let = _let_through(scenery, row, ending, cond, where, on)
        if let is None:
            return None
        cond, needs, on = let
    for w in call.writes:
        here = [d for d in defaults if d.attr == w.attr]
        for matters, also in _matters(scenery, w, here, taken, row, where, on):
            alone = solver.example(all_of(cond, matters))
            if alone is not None:
                return Proof(alone, where, asked, True, needs | also)
    alone = solver.example(cond)
    return Proof(alone, where, asked, False, needs) if alone is not None else None


def _matters(
    scenery: Scenery, w: Write, defaults: Sequence[Default], taken: Sequence[Row], row: Row, where: int, on: Paths
) -> Iterator[tuple[Cond, frozenset[str]]]:
    """When a write makes the result another one than no write would, and who has to ask for something then."""
    letters, attribute = scenery.ground.letters, scenery.program.attribute(w.attr)
    own = attribute.default
    # What a mark arrives as, other policies decide.
    if not attribute.travels and all(d.value != w.value for d in defaults):
        if own is None:
            arrives = Atom(w.attr, "exists", True)
            yield (arrives if w.value is ABSENT else negate(Atom(w.attr, "==", w.value))), frozenset()
        elif own != w.value or any(letters.meet(*on, letters.shape(d.pattern)) & where for d in defaults):
            yield all_of(), frozenset()
    asked = Asked(frozenset((w.attr,)), end=False)
    for other in taken[:TRIED]:  # without it, a policy that it overrides would ask for something else
        if w.attr in other.writes and letters.meet(*on, other.shape) & where and is_plain(other, scenery.near):
            undropped = _undropped(scenery, other, row, where)
            if undropped is not None:
                yield all_of(asked.when(other), undropped), frozenset((other.policy.name,))


def _let_through(
    scenery: Scenery, row: Row, ending: Sequence[Default], cond: Cond, where: int, on: Paths
) -> tuple[Cond, frozenset[str], Paths] | None:
    """A condition with which somebody else gives the attributes that would end the request other values, who that is,
    and the paths on which it is so."""
    near, needs = scenery.near, set[str]()
    for attr in {d.attr for d in ending}:
        asked = Asked(frozenset((attr,)), end=False)
        for other in near.writers(asked.attributes, row, where, together=True).values():
            if other is row or other.ending or not is_plain(other, near):
                continue
            undropped = _undropped(scenery, other, None, where)
            if undropped is None or not scenery.ground.letters.meet(*on, other.shape) & where:
                continue
            both = all_of(cond, asked.when(other), undropped)
            if scenery.ground.solver.satisfiable(both):
                cond, on = both, (*on, other.shape)
                needs.add(other.policy.name)
                break
        else:
            return None
    return cond, frozenset(needs), on


def _undropped(scenery: Scenery, row: Row, but: Row | None, where: int) -> Cond | None:
    """That nobody (but one) overrides anything of a policy; None if that is hard to say."""
    near = scenery.near
    over = [r for _, r in near.those(near.orders.over.get(row.policy.name, frozenset()), where) if r is not but]
    if len(over) > MOST or not all(is_plain(r, near) for r in over):
        return None
    return all_of(*(negate(r.policy.when) for r in over))


def still_holds(scenery: Scenery, proof: Proof, changed: Row, is_here: bool) -> bool:
    """Whether a proof holds beside a policy that is new, has changed or (not `is_here`) is gone."""
    if changed.policy.name in proof.needs:
        return False
    if not is_here or not changed.ends & proof.where:
        return True
    if not any(proof.asked.concerns(changed, i) for i in range(len(changed.policy.calls))):
        return True
    return not _asks(scenery, proof, dict(proof.input.attributes), changed)


def _asks(scenery: Scenery, proof: Proof, values: dict[AttrKey, Value], other: Row) -> bool:
    """Whether a policy may ask for what has to be left alone, on the input of a proof.

    `values`: the input's attributes. To it is added what it leaves open: that is plain, for all policies alike.
    """
    if not is_plain(other, scenery.near):
        return True
    for attr in other.reads:
        value = _value_of(scenery, values, attr)
        if not isinstance(value, Absent):
            values[attr] = value
    return holds(proof.asked.when(other), values, proof.input.states, scenery.program.attribute)


def _value_of(scenery: Scenery, values: Mapping[AttrKey, Value], attr: AttrKey) -> Value | Absent:
    """An attribute of an input that leaves some open."""
    known = values.get(attr)
    return scenery.ground.solver.plain(attr) if known is None else known
