"""Marks, the attributes that travel, as part of the context: what chains can carry, and who has to note it.

What a hop finds of a mark is what earlier hops left, so it is told apart as call paths are. A comparison of a mark
becomes a pseudo comparison like the firing of a pattern (`Patterns.number_of_mark`), with a product that follows what
each hop can write (`paths.marked`). The operation that writes a mark runs where the tag is updated on its hop, for only
there is it known whether it ran. Where nobody who comes later would do anything else, it needs no operation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from itertools import combinations, product

from m4c.paths.callpath import Hop, hops
from m4c.paths.classes import Classes, Seen
from m4c.paths.marked import Left, MarkedSpread, Outcome
from m4c.placement.athop import AtHop
from m4c.placement.logic import Logic, fired_patterns, firing, with_firings
from m4c.placement.model import context_of
from m4c.placement.patterns import Patterns
from m4c.placement.rules import Order, Rule
from m4c.predicates import holds
from m4c.semantics.effects import Orders, start_value
from m4c.semantics.model import (
    ABSENT,
    FALSE,
    Atom,
    AttrKey,
    Cond,
    Policy,
    Program,
    StateAtom,
    Value,
    Write,
    all_of,
    any_of,
    atoms,
    negate,
)


class Marks:
    """The marks of a program whose policies touch any. `domains`: the values that each can have, that of the start of a
    chain first; `made_from`: all that this depends on, of a program of the same mesh."""

    def __init__(
        self, program: Program, ordering: Orders, patterns: Patterns, logic: Logic, made_from: tuple[object, ...]
    ) -> None:
        self.program, self.patterns, self.logic, self.made_from = program, patterns, logic, made_from
        self.domains: dict[AttrKey, tuple[Value, ...]] = {}
        self.numbers: dict[tuple[AttrKey, Value], int] = {}
        written = [w for p in program.policies for c in p.calls for w in c.writes]
        given = [(w.attr, w.value) for w in written] + [(d.attr, d.value) for d in program.mesh.defaults]
        conds = [cond for p in program.policies for cond in (p.when, *(c.guard for c in p.calls))]
        read = [a.attr for cond in conds for a in atoms(cond) if isinstance(a, Atom)]
        for attr in sorted({a for a in (*read, *(a for a, _ in given)) if program.attribute(a).travels}):
            begun = start_value(program.attribute(attr), program.enums)
            self.domains[attr] = tuple(dict.fromkeys([begun, *(v for a, v in given if a == attr)]))
            for value in self.domains[attr][1:]:
                self.numbers[attr, value] = patterns.number_of_mark(self, attr, value)
        # What each hop writes, whatever hop it is: on one from outside, and on any other.
        self._writes: dict[tuple[AttrKey, bool], list[tuple[Value, Cond]]] = {}
        policies = [(p, patterns.number(p.pattern)) for p in program.policies if self._entity(p.entity)]
        defaults = [(i, d, patterns.number(d.pattern)) for i, d in enumerate(program.mesh.defaults)]
        for entry in (False, True):
            hop: Hop = (None if entry else "", "")
            self._of_hop(AtHop(program, ordering, hop, policies, defaults, self.logic.outline, self.carried), entry)

    def _entity(self, entity: str) -> bool:
        return any(attr.entity == entity for attr in self.domains)

    def _of_hop(self, here: AtHop, entry: bool) -> None:
        for attr in self.domains:
            writes = [(w.value, here.effective(p, c)) for p, c, w in here.writers(attr)]
            mine = [(d.value, all_of(firing(n), here.unwritten(attr))) for _, d, n in here.defaults if d.attr == attr]
            by_value: dict[Value, Cond] = {}
            for value, cond in (*writes, *mine):
                by_value[value] = any_of(by_value.get(value, FALSE), cond)
            self._writes[attr, entry] = list(by_value.items())

    def carried(self, atom: Atom | StateAtom) -> Cond:
        """What a comparison comes to if it is of a mark: which values pass it."""
        if isinstance(atom, StateAtom) or atom.attr not in self.domains:
            return atom
        begun, *others = self.domains[atom.attr]
        passing = {v: self._passes(atom, v) for v in (begun, *others)}
        if passing[begun]:
            return all_of(*(negate(firing(self.numbers[atom.attr, v])) for v in others if not passing[v]))
        return any_of(*(firing(self.numbers[atom.attr, v]) for v in others if passing[v]))

    def _passes(self, atom: Atom, value: Value) -> bool:
        return holds(atom, {} if value is ABSENT else {atom.attr: value}, {}, self.program.attribute)

    def closed(self, marks: Iterable[AttrKey]) -> tuple[tuple[AttrKey, ...], frozenset[int]]:
        """Some marks with all those that decide what they are, and the numbers of the patterns that do."""
        of_number = {number: attr for (attr, _), number in self.numbers.items()}
        found, deciding, fresh = set[AttrKey](), set[int](), list(marks)
        while fresh:
            attr = fresh.pop()
            if attr in found:
                continue
            found.add(attr)
            for entry in (False, True):
                for _, cond in self._writes[attr, entry]:
                    numbers = fired_patterns(cond)
                    deciding |= numbers - of_number.keys()
                    fresh += [of_number[n] for n in numbers if n in of_number]
        return tuple(sorted(found)), frozenset(deciding)

    def left(self, marks: tuple[AttrKey, ...]) -> Left:
        """What hops can write to some marks that are closed."""
        known: dict[tuple[object, ...], list[Outcome]] = {}

        def found(accepting: Collection[int], entry: bool, values: tuple[Value, ...]) -> Sequence[Outcome]:
            carried = {self.numbers[m, v] for m, v in zip(marks, values, strict=True) if (m, v) in self.numbers}
            fired = carried | set(accepting)
            conds = [[(v, with_firings(cond, fired.__contains__)) for v, cond in self._writes[m, entry]] for m in marks]
            key = tuple(tuple(of) for of in conds)
            if key not in known:
                known[key] = list(self._outcomes(conds))
            return known[key]

        return found

    def _outcomes(self, conds: Sequence[Sequence[tuple[Value, Cond]]]) -> Iterable[Outcome]:
        cases: list[list[tuple[Value | None, Cond]]] = []
        for of in conds:
            cases.append([(None, all_of(*(negate(c) for _, c in of))), *((v, c) for v, c in of if c != FALSE)])
        for some in product(*cases):
            if self.logic.satisfiable(all_of(*(cond for _, cond in some))):
                yield tuple(value for value, _ in some)


class Marking:
    """The marks of one program after the other that differ in their policies only. They stay the same object while all
    that they depend on is as it was."""

    def __init__(self, patterns: Patterns, logic: Logic) -> None:
        self.patterns, self.logic = patterns, logic
        self.marks: Marks | None = None  # None: no policy has to do with any
        self._known: dict[int, tuple[Policy, bool]] = {}  # whether a policy has, by its identity

    def update(self, program: Program, ordering: Orders) -> None:
        """Goes over to a program."""
        if len(self._known) > 4 * len(program.policies) + 1000:
            self._known.clear()
        touching = []
        for policy in program.policies:
            found = self._known.get(id(policy))
            if found is None or found[0] is not policy:
                found = self._known[id(policy)] = (policy, _touches(program, policy))
            if found[1]:
                touching.append(policy)
        if not touching:
            self.marks = None
            return
        made_from = _made_from(program, ordering, touching)
        if self.marks is None or self.marks.made_from != made_from:
            self.marks = Marks(program, ordering, self.patterns, self.logic, made_from)

    def of(self, policies: Sequence[tuple[Policy, int | None]]) -> Marks | None:
        """The marks, if one of some policies of the program has to do with any."""
        return self.marks if self.marks is not None and any(self._known[id(p)][1] for p, _ in policies) else None


def _touches(program: Program, policy: Policy) -> bool:
    """Whether a policy reads or writes a mark."""
    if any(program.attribute(w.attr).travels for call in policy.calls for w in call.writes):
        return True
    conds = (policy.when, *(call.guard for call in policy.calls))
    return any(isinstance(a, Atom) and program.attribute(a.attr).travels for c in conds for a in atoms(c))


def _made_from(program: Program, ordering: Orders, touching: Sequence[Policy]) -> tuple[object, ...]:
    """All that the marks of a program depend on. `touching`: its policies that touch one."""
    involved = {p.name for p in touching}
    fresh = list(involved)
    while fresh:
        name = fresh.pop()
        for other in (ordering.over.get(name, frozenset()) | ordering.after.get(name, frozenset())) - involved:
            involved.add(other)
            fresh.append(other)
    said = [(p, ordering.over[p.name], ordering.after[p.name]) for p in program.policies if p.name in involved]
    return (*said, tuple(program.mesh.defaults))


def written(program: Program, writes: Iterable[Write]) -> tuple[Write, ...]:
    """The writes of marks among some."""
    return tuple(write for write in writes if program.attribute(write.attr).travels)


def one_place(rules: Sequence[Rule]) -> list[tuple[int, int]]:
    """The rules of a hop that write marks, two by two: one place updates the tag, and has to know of all of them."""
    return list(combinations([i for i, rule in enumerate(rules) if rule.marks], 2))


def lost(classes: Classes, seen: Seen) -> Iterator[tuple[Hop, set[AttrKey]]]:
    """The hops behind which classes differ by what is written to marks, and nobody sees it there, with those marks."""
    spread = classes.spread
    for hop in hops(spread.letters.graph) if isinstance(spread, MarkedSpread) else ():
        marks = _deciding(classes, hop, seen.get(hop, frozenset()))
        if marks:
            yield hop, marks


def _deciding(classes: Classes, hop: Hop, beside: Set[AttrKey] = frozenset()) -> set[AttrKey]:
    """The marks about which outcomes of a hop differ that lead to several classes behind it and say the same of the
    marks `beside`."""
    spread, found = classes.spread, set[AttrKey]()
    if not isinstance(spread, MarkedSpread) or hop[1] not in classes.of:
        return found
    for _, ways in spread.splitting(hop):
        for (one, a), (other, b) in combinations(ways, 2):
            if classes.at(hop[1], a) != classes.at(hop[1], b):
                apart = {m for m, x, y in zip(spread.marks, one, other, strict=True) if x != y}
                if not apart & beside:
                    found |= apart
    return found


def _only_marks(rule: Rule) -> bool:
    return bool(rule.marks) and len(rule.marks) == len(rule.writes)


def needed(patterns: Patterns, rules: Sequence[Rule]) -> frozenset[int]:
    """Of the rules that write marks and nothing else, those on whose running it depends what some later hop does."""
    of_marks = {i for i, rule in enumerate(rules) if _only_marks(rule)}
    components: dict[tuple[int, ...], list[Rule]] = {}
    for rule in rules:
        if rule.contextual and isinstance(patterns.spread(rule.patterns), MarkedSpread):
            components.setdefault(rule.patterns, []).append(rule)
    kept: set[int] = set()
    tried = set(of_marks)
    while True:
        marking = [r for i, r in enumerate(rules) if r.marks and (i not in of_marks or i in tried)]
        deciding: dict[Hop, set[AttrKey]] = {}
        for key, own in components.items():
            classes = context_of(patterns, key, own, marking).classes
            for hop in {rules[i].hop for i in of_marks}:
                deciding.setdefault(hop, set()).update(_deciding(classes, hop))
        wanted = {i for i in of_marks if any(w.attr in deciding.get(rules[i].hop, ()) for w in rules[i].marks)}
        kept |= wanted - tried  # without them, others could not be told apart: they stay from now on
        if tried == kept | wanted:
            return frozenset(tried)
        tried = kept | wanted


def without_idle(
    patterns: Patterns, rules: tuple[Rule, ...], orders: tuple[Order, ...]
) -> tuple[tuple[Rule, ...], tuple[Order, ...]]:
    """The rules but for those that write marks and are not needed; and for those that ask a state only for them."""
    if not any(rule.marks for rule in rules):
        return rules, orders
    kept = needed(patterns, rules)
    gone = {i for i, r in enumerate(rules) if _only_marks(r)} - kept
    asking = {i for i, rule in enumerate(rules) if rule.only_read}
    while asking:  # one may be read by another
        read = {(rule.hop, atom) for i, rule in enumerate(rules) if i not in gone for atom in rule.reads}
        unread = {i for i in asking if (rules[i].hop, rules[i].asks) not in read}
        if not unread:
            break
        asking -= unread
        gone |= unread
    return without(rules, orders, gone)


def without(
    rules: Sequence[Rule], orders: Sequence[Order], gone: Collection[int]
) -> tuple[tuple[Rule, ...], tuple[Order, ...]]:
    """The rules but for some, with the orders between those that stay."""
    kept = [i for i in range(len(rules)) if i not in gone]
    number = {old: new for new, old in enumerate(kept)}
    tied = [Order(number[o.first], number[o.then], o.same) for o in orders if o.first in number and o.then in number]
    return tuple(rules[i] for i in kept), tuple(tied)
