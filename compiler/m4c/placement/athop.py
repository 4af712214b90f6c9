"""What the policies of one hop come to: rules 1 to 5 of the language as conditions, one for each operation call.

Everything here is symbolic: which patterns fire is a pseudo comparison (`logic.firing`), so one pass serves all call
paths that end in the hop.

- *requested*: the call's pattern fires, its `when` and its `if`s hold. A comparison of something that policies before
  it (`after`) write is made on what they write, where they write it; else on what arrived.
- *left*: requested, and no overriding policy requests a write of the same attribute and key.
- *effective*: left, and no other left write beats one of its own in a merge. Where very many could, those are not
  mentioned that are never requested on the same input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from m4c.paths.callpath import Hop
from m4c.placement.alike import FEW, Alike
from m4c.placement.logic import firing, substitute
from m4c.predicates import Outline
from m4c.predicates.atoms import check_of, passes, view_of
from m4c.semantics.effects import Orders, carriers
from m4c.semantics.model import (
    TRUE,
    And,
    AnyOne,
    Atom,
    AttrKey,
    Cond,
    Const,
    Default,
    Not,
    OpCall,
    Or,
    Pattern,
    Policy,
    Program,
    StateAtom,
    Step,
    Value,
    Write,
    all_of,
    any_of,
    atoms,
    negate,
)


def better(merge: str | None, a: Value, b: Value) -> bool:
    """Does `a` beat `b` where both are written? Of a union, the set that holds all of the other and more."""
    match merge:
        case "min" | "and":
            return a < b  # type: ignore[operator]
        case "max" | "or":
            return a > b  # type: ignore[operator]
        case "union" if isinstance(a, tuple) and isinstance(b, tuple):
            return set(a) > set(b)
        case _:
            return False


def _before(cond: Cond, atom: StateAtom) -> Cond:
    """What decides whether a state condition is asked, where a condition is looked at from left to right."""
    match cond:
        case Not(inner):
            return _before(inner, atom)
        case And(parts) | Or(parts):
            at = next(i for i, part in enumerate(parts) if atom in atoms(part))
            passed = parts[:at] if isinstance(cond, And) else tuple(map(negate, parts[:at]))
            return all_of(*passed, _before(parts[at], atom))
        case _:
            return TRUE


def call_paths(program: Program, entity: str, pattern: Pattern) -> Pattern:
    """A connection's pattern names its two ends only, however the call path got there."""
    if not program.entities[entity].connection:
        return pattern
    return Pattern((Step(AnyOne(), star=True), *pattern.steps))


@dataclass(slots=True)
class AtHop:
    """The policies and defaults that can fire on one hop, each with the number of its pattern; None: on all paths."""

    program: Program
    orders: Orders
    hop: Hop
    policies: Sequence[tuple[Policy, int | None]]
    defaults: Sequence[tuple[int, Default, int | None]]  # (index in the mesh, default, pattern)
    outline: Callable[[Cond], Outline]
    carried: Callable[[Atom | StateAtom], Cond] | None = None  # what comparisons of marks come to; None: there are none
    _requested: dict[tuple[str, int], Cond] = field(default_factory=dict)
    _calls: dict[str, tuple[OpCall, ...]] = field(default_factory=dict)
    _patterns: dict[str, int | None] = field(default_factory=dict)
    _writers: dict[AttrKey, list[tuple[Policy, OpCall, Write]]] = field(default_factory=dict)
    _every: list[tuple[Policy, OpCall]] = field(default_factory=list)  # all calls, in the order of the text
    # For each attribute: the calls that write it, by number, what else they write, and how many write each value.
    _numbers: dict[AttrKey, list[int]] = field(default_factory=dict)
    _written: dict[AttrKey, dict[tuple[Write, ...], None]] = field(default_factory=dict)
    _number_of: dict[AttrKey, Counter[Value]] = field(default_factory=dict)
    _alike: dict[AttrKey, Alike] = field(default_factory=dict)
    _passive: list[tuple[Policy, OpCall]] = field(default_factory=list)
    _standing: dict[str, bool] = field(default_factory=dict)
    _about: set[str] = field(default_factory=set)  # entities

    def __post_init__(self) -> None:
        self._about = {p.entity for p, _ in self.policies} | {d.attr.entity for _, d, _ in self.defaults}
        for policy, pattern in self.policies:
            # From outside there is no caller's side: what must run there is not performed.
            here = policy.calls if self.hop[0] is not None else tuple(c for c in policy.calls if c.side != "egress")
            self._calls[policy.name] = here
            self._patterns[policy.name] = pattern
            for call in here:
                number = len(self._every)
                self._every.append((policy, call))
                if self.is_passive(call):
                    self._passive.append((policy, call))
                for write in call.writes:
                    self._writers.setdefault(write.attr, []).append((policy, call, write))
                    self._written.setdefault(write.attr, {})[call.writes] = None
                    self._number_of.setdefault(write.attr, Counter())[write.value] += 1
                    numbers = self._numbers.setdefault(write.attr, [])
                    if numbers[-1:] != [number]:
                        numbers.append(number)

    def calls(self, within: frozenset[str] | None = None) -> list[tuple[Policy, OpCall]]:
        """The calls of all policies, or of some, in the order of the text."""
        return [(p, c) for p, _ in self.policies if within is None or p.name in within for c in self._calls[p.name]]

    def requested(self, policy: Policy, call: OpCall) -> Cond:
        key = (policy.name, call.index)
        if key not in self._requested:
            pattern = self._patterns[policy.name]
            before = self.orders.after[policy.name]
            said = all_of(policy.when, call.guard)
            if before or self.carried is not None:
                said = substitute(said, lambda atom: self._as_seen(atom, before))
            self._requested[key] = all_of(firing(pattern), said)
        return self._requested[key]

    def asked(self, policy: Policy, pattern: int | None) -> list[tuple[StateAtom, OpCall, Cond]]:
        """The state conditions of a policy's calls here, each with the first call that depends on it and when it is
        asked: all that stands before it holds."""
        before = self.orders.after[policy.name]
        found: dict[StateAtom, tuple[OpCall, Cond]] = {}
        for call in self._calls[policy.name]:
            said = all_of(policy.when, call.guard)
            for atom in atoms(said):
                if isinstance(atom, StateAtom) and atom not in found:
                    found[atom] = call, _before(said, atom)
        return [
            (atom, call, all_of(firing(pattern), substitute(when, lambda a: self._as_seen(a, before))))
            for atom, (call, when) in sorted(found.items(), key=lambda item: item[0].occurrence)
        ]

    def left(self, policy: Policy, call: OpCall, within: frozenset[str] | None = None) -> Cond:
        overriders = self.orders.over[policy.name]
        if not overriders:
            return self.requested(policy, call)
        written = {w.attr for w in call.writes}
        if within is not None:
            overriders &= within
        dropping = (self.requested(p, c) for p, c in self.calls(overriders) if any(w.attr in written for w in c.writes))
        return all_of(self.requested(policy, call), *(negate(d) for d in dropping))

    def effective(self, policy: Policy, call: OpCall) -> Cond:
        beaten = [self.left(p, c) for p, c in self.beaten_by(policy, call)]
        return all_of(self.left(policy, call), *map(negate, beaten))

    def idle(self, entity: str, writes: Sequence[Write] = ()) -> bool:
        """Whether what a policy about an entity asks for is of no effect here, because a connection is always denied:
        the entity, or one that carries it. That denies it is not idle, nor is what travels: that is told along the
        whole path, however a request ends."""
        if self._stands(entity) or any(self.program.attribute(w.attr).travels for w in writes):
            return False
        return not (self.program.entities[entity].connection and self._ends(writes))

    def _stands(self, entity: str) -> bool:
        if self._about == {entity} and not self.program.entities[entity].connection:
            return True  # quick: nothing here is about what carries it
        if entity not in self._standing:
            own = [self.program.entities[entity]] if self.program.entities[entity].connection else []
            over = {e.name for e in (*carriers(self.program.entities, entity), *own)}
            denied = [
                self.left(p, c) for p, c in (self.calls() if over else ()) if p.entity in over and self._ends(c.writes)
            ]
            denied += [
                all_of(firing(pattern), self.unwritten(d.attr))
                for _, d, pattern in self.defaults
                if d.attr.entity in over and self.program.is_terminal(d.attr, d.value)
            ]
            self._standing[entity] = TRUE not in denied
        return self._standing[entity]

    def _ends(self, writes: Sequence[Write]) -> bool:
        return any(self.program.is_terminal(w.attr, w.value) for w in writes)

    def beaten_by(self, policy: Policy, call: OpCall) -> list[tuple[Policy, OpCall]]:
        """The calls with a write that beats one of a policy's call; of very many those that may happen beside it."""
        beating = {
            v.attr: {value for value in self._number_of[v.attr] if self.beats(value, v)}
            for v in call.writes
            if self.program.attribute(v.attr).merge is not None
        }
        if not any(beating.values()):
            return []
        many = sum(self._number_of[attr][value] for attr, values in beating.items() for value in values) > FEW
        numbers = {
            n
            for attr, values in beating.items()
            for n in (self._meeting(policy, call, attr) if many else self._numbers[attr])
            if any(w.attr == attr and w.value in values for w in self._every[n][1].writes)
        }
        return [self._every[n] for n in sorted(numbers)]

    def passive_over(self, call: OpCall) -> list[tuple[Policy, OpCall]]:
        """The calls with a write that beats one of this call's, of those that need no operation."""
        return [
            (p, c)
            for p, c in self._passive
            if any(
                v.attr == w.attr and self.beats(w.value, v)
                for v in call.writes
                for w in c.writes
                if self.program.attribute(v.attr).merge is not None
            )
        ]

    def is_passive(self, call: OpCall) -> bool:
        """Whether all that a call writes is what the attributes are by declaration."""
        return all(self.program.attribute(w.attr).default == w.value for w in call.writes)

    def written_beside(self, call: OpCall) -> dict[tuple[Write, ...], None]:
        """What calls write that write something that this one writes."""
        return dict.fromkeys(writes for v in call.writes for writes in self._written[v.attr])

    def beside(self, policy: Policy, call: OpCall) -> list[tuple[Policy, OpCall]]:
        """The other calls that write something that a policy's call writes; of very many those that may happen beside
        it."""
        numbers = {n for v in call.writes for n in self._meeting(policy, call, v.attr)}
        return [self._every[n] for n in sorted(numbers) if self._every[n][1] is not call]

    def _meeting(self, policy: Policy, call: OpCall, attr: AttrKey) -> list[int]:
        """The calls that write an attribute and may be requested where another one is, by number."""
        numbers = self._numbers[attr]
        if len(numbers) <= FEW:
            return numbers
        alike = self._alike.get(attr)
        if alike is None:
            alike = self._alike[attr] = Alike()
            for n in numbers:
                alike.put(n, self._outline(n))
        return alike.meeting(self.outline(self.requested(policy, call)))

    def _outline(self, number: int) -> Outline:
        return self.outline(self.requested(*self._every[number]))

    def writers(self, attr: AttrKey, within: frozenset[str] | None = None) -> list[tuple[Policy, OpCall, Write]]:
        found = self._writers.get(attr, [])
        return found if within is None else [(p, c, w) for p, c, w in found if p.name in within]

    def unwritten(self, attr: AttrKey) -> Cond:
        """No policy's write of this attribute is left."""
        return all_of(*(negate(self.left(p, c)) for p, c, _ in self.writers(attr)))

    def beats(self, value: Value, write: Write) -> bool:
        """Does another value of the same attribute beat a write in its merge?"""
        return better(self.program.attribute(write.attr).merge, value, write.value)

    def _as_seen(self, atom: Atom | StateAtom, before: frozenset[str]) -> Cond:
        """A comparison as a policy sees it that comes after others: on the value that they leave."""
        if isinstance(atom, StateAtom):
            return atom
        arrived = atom if self.carried is None else self.carried(atom)
        view = view_of(atom.attr, self.program.attribute)
        writers = self.writers(view.source, before)
        if not writers:
            return arrived
        check = check_of(atom, True, view)
        values = list(dict.fromkeys(w.value for _, _, w in writers))
        left = {v: any_of(*(self.left(p, c, before) for p, c, w in writers if w.value == v)) for v in values}
        merge = self.program.attribute(view.source).merge
        seen: list[Cond] = []
        for value in values:
            beaten = [negate(left[v]) for v in values if better(merge, v, value)]
            seen.append(all_of(left[value], *beaten, Const(passes(check, value))))
        untouched = all_of(*(negate(c) for c in left.values()))
        seen.append(all_of(untouched, arrived))
        return any_of(*seen)
