"""The placement problem: candidates, what each can run where, and the context that has to reach whom.

A candidate is a dataplane at a service; an element is a chosen candidate. On a hop (u, v) the positions are, in order:
u's proxy, u's kernel element, v's kernel element, v's proxy. A hop is *silent* if neither end updates the tag on it:
an update needs an element that reads and writes the tag, knows the peer on its side, and speaks the callee's protocol.
An element has no part in a hop whose protocol it does not speak: what is sent there passes it by.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from itertools import product

from m4c.paths.callpath import Hop, callees
from m4c.paths.classes import Classes, Seen, context_classes
from m4c.paths.marked import MarkedSpread
from m4c.paths.masks import Letters
from m4c.paths.spread import Spread, State
from m4c.placement.able import in_any_protocol, what_lacks
from m4c.placement.patterns import Patterns
from m4c.placement.rules import Effect, Order, Rule
from m4c.placement.spoken import Spoken, spoken
from m4c.semantics.model import SIDES, AttrKey, Dataplane, Operation, Program, Service, Side, StateAtom


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    service: str
    dataplane: str


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place on a hop; `rank` is its order on the way of a request: 0 to 3."""

    rank: int
    side: Side
    at: Candidate


@dataclass(slots=True)
class Carried:
    """What a component is whatever the numbers of its rules are. It stays the same while its rules do."""

    classes: Classes
    effects: tuple[Mapping[State, Effect], ...]  # of each of its rules, by the state before its hop
    diverges: bool  # calls from one node can lead to several classes of a service
    area: int  # the letters from which calls lead to services with several classes, these included
    fixed: tuple[tuple[int, str], ...] | None = None  # rows that do not depend on the choice, and why; see `feasible`
    rows: dict[int, str] = field(default_factory=dict)  # that some choice has violated
    seen: Seen = field(default_factory=dict)  # the marks that rules write, by hop
    carried: tuple[int, ...] | None = None  # the letters that update in a choice that carries it, the last one seen


@dataclass(frozen=True, slots=True)
class Component:
    """The rules whose situations are told apart by the same path patterns, with the context classes that they need."""

    patterns: tuple[int, ...]
    rules: tuple[int, ...]
    context: Carried

    @property
    def classes(self) -> Classes:
        return self.context.classes

    def effects(self, rule: int) -> Mapping[State, Effect]:
        """What a rule does, by the state in which a request leaves the caller."""
        return self.context.effects[self.rules.index(rule)]


@dataclass(slots=True)
class Problem:
    """One program's placement problem. Rules are meant by their index in `rules`, candidates also by their column."""

    program: Program
    rules: tuple[Rule, ...]
    orders: tuple[Order, ...]
    candidates: dict[Candidate, int]  # with its cost
    components: tuple[Component, ...]
    letters: Letters
    columns: tuple[Candidate, ...] = ()
    column: dict[Candidate, int] = field(default_factory=dict)
    callees: dict[str, list[str]] = field(default_factory=dict)
    spoken: Spoken = field(default_factory=Spoken)
    trusted: int = 0  # the letters of trusted entries
    ending: int = 0  # of services that do not hand context on
    landing_apart: frozenset[str] = frozenset()  # the services of which it takes the version to know the class
    _beside: dict[str, list[Candidate]] = field(default_factory=dict)
    _places: dict[tuple[str, Side], list[Position]] = field(default_factory=dict)
    _callers: dict[str, int] = field(default_factory=dict)  # how many hops a service has on its ingress side
    _obstacles: dict[Hashable, dict[tuple[str, Side], str | None]] = field(default_factory=dict)
    _updates: dict[tuple[str, int | None], int] = field(default_factory=dict)
    _able: dict[int, tuple[Rule, list[Position], tuple[int, ...], frozenset[int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.program.graph
        self.callees = callees(graph)
        self._callers = {name: int(s.entry) for name, s in graph.services.items()}
        for to in self.callees.values():
            for callee in to:
                self._callers[callee] += 1
        self.spoken = spoken(self.program, self.letters)
        for name, service in self.services.items():
            self.trusted |= self.letters.service(name) if service.entry and service.trusted else 0
            self.ending |= 0 if service.propagates else self.letters.service(name)
        self.columns = tuple(self.candidates)
        self.column = {c: i for i, c in enumerate(self.columns)}
        for c in self.columns:
            proxy = self.dataplane(c).tier == "proxy"
            self._beside.setdefault(c.service, []).append(c)
            self._places.setdefault((c.service, "egress"), []).append(Position(0 if proxy else 1, "egress", c))
            self._places.setdefault((c.service, "ingress"), []).append(Position(3 if proxy else 2, "ingress", c))
        for positions in self._places.values():
            positions.sort()

    @property
    def services(self) -> Mapping[str, Service]:
        """As the context sees them: those to which none can come hand none on."""
        return self.spoken.services

    def dataplane(self, candidate: Candidate) -> Dataplane:
        return self.program.dataplanes[candidate.dataplane]

    def beside(self, service: str) -> list[Candidate]:
        """The candidates at a service."""
        return self._beside.get(service, [])

    def knows_peer(self, candidate: Candidate, side: Side) -> bool:
        """Can the element tell the hops of one side apart? With a single hop there is nothing to tell."""
        if side in self.dataplane(candidate).peer:
            return True
        count = len(self.callees[candidate.service]) if side == "egress" else self._callers[candidate.service]
        return count <= 1

    def speaks(self, candidate: Candidate, hop: Hop) -> bool:
        return candidate.dataplane not in self.spoken.deaf.get(hop[1], ())

    def updates(self, candidate: Candidate, side: Side) -> bool:
        """Can the element set the tag as a function of hop and old tag, on this side, where it speaks the protocol?"""
        spec = self.dataplane(candidate)
        return side in spec.writes_context and side in spec.reads_context and self.knows_peer(candidate, side)

    def updaters(self, hop: Hop, side: Side) -> int:
        """The columns that could update the tag at a side of a hop, as a bit set."""
        caller, callee = hop
        service = caller if side == "egress" else callee
        if service is None:
            return 0
        key = (service, self.spoken.group[callee] if side == "egress" else None)
        found = self._updates.get(key)
        if found is None:
            beside = self.beside(service) if callee not in self.spoken.untold else ()
            able = [c for c in beside if self.speaks(c, hop) and self.updates(c, side)]
            found = self._updates[key] = sum(1 << self.column[c] for c in able)
        return found

    def silencers(self, hop: Hop) -> int:
        """The columns of which any one, if chosen, updates the tag on the hop, as a bit set."""
        return self.updaters(hop, "egress") | self.updaters(hop, "ingress")

    def absent(self, rule: Rule) -> str | None:
        """Why there is nothing on its hop that a rule could be about, if so."""
        return self.spoken.absent(self.program, rule) if rule.hop[1] in self.spoken.bare else None

    def places(self, service: str, side: Side) -> list[Position]:
        """The positions of every candidate on one side of a service, in order."""
        return self._places.get((service, side), [])

    def all_positions(self, hop: Hop) -> list[Position]:
        """Every position of every candidate on a hop, in order."""
        caller, callee = hop
        out = list(self._places.get((caller, "egress"), ())) if caller is not None else []
        out += self._places.get((callee, "ingress"), ())
        return out

    def positions(self, rule: Rule) -> list[Position]:
        """Where a rule can run."""
        return self._of_rule(rule)[1]

    def columns_of(self, rule: Rule) -> tuple[int, ...]:
        """The columns of its positions, in their order."""
        return self._of_rule(rule)[2]

    def row(self, rule: Rule) -> frozenset[int]:
        """The columns of which one has to be chosen, so that a rule can run."""
        return self._of_rule(rule)[3]

    def _of_rule(self, rule: Rule) -> tuple[Rule, list[Position], tuple[int, ...], frozenset[int]]:
        known = self._able.get(id(rule))
        if known is None:
            lacking = self._lacking(rule)
            places = self.all_positions(rule.hop) if self.absent(rule) is None else ()
            able = [p for p in places if self._obstacle_at(rule, p, lacking) is None]
            columns = tuple([self.column[p.at] for p in able])
            known = self._able[id(rule)] = (rule, able, columns, frozenset(columns))
        return known

    def other_end(self, rule: Rule, position: Position) -> Position | None:
        """Of a rule that runs at both ends, which has its position at the callee's: the position at the caller's."""
        if not rule.both_ends or rule.hop[0] is None:
            return None
        caller = self._places.get((rule.hop[0], "egress"), [])
        return next((p for p in caller if p.at.dataplane == position.at.dataplane), None)

    def rows(self, rule: Rule) -> list[frozenset[int]]:
        """What a choice has to meet so that a rule can run: of each row one column. For one at both ends, one of each
        way to take an end of every dataplane that could: then some dataplane has both."""
        if not rule.both_ends:
            return [self.row(rule)]
        ends = [(p, self.other_end(rule, p)) for p in self.positions(rule)]
        pairs = [(self.column[p.at], self.column[q.at]) for p, q in ends if q is not None]
        return list(dict.fromkeys(frozenset(way) for way in product(*pairs)))

    def next(self, program: Program, rules: tuple[Rule, ...], orders: tuple[Order, ...]) -> Problem:
        """The problem of another program of the same mesh without its components; what both have in common is
        shared."""
        problem = copy(self)
        problem.program, problem.rules, problem.orders, problem.components = program, rules, orders, ()
        if len(self._able) > 4 * len(rules) + 1000:
            self._able.clear()
            self._obstacles.clear()
        return problem

    def obstacle(self, rule: Rule, position: Position) -> str | None:
        """Why a rule cannot run at a position, as what the dataplane lacks; None if it can."""
        return self._obstacle_at(rule, position, self._lacking(rule))

    def _lacking(self, rule: Rule) -> dict[tuple[str, Side], str | None]:
        """What each dataplane lacks on each side, as far as it is known. All rules share it that ask for the same."""
        reads = frozenset(a if isinstance(a, StateAtom) else (a.attr, a.op) for a in rule.reads)
        operation = rule.operation
        tags = (rule.contextual, self._versioned(rule), bool(rule.marks))
        asked = (rule.entity, operation.entity, operation.name, rule.side, rule.per)
        return self._obstacles.setdefault((*asked, tags, reads), {})

    def _obstacle_at(self, rule: Rule, position: Position, lacking: dict[tuple[str, Side], str | None]) -> str | None:
        if not self.speaks(position.at, rule.hop) and not in_any_protocol(rule, self.dataplane(position.at)):
            return f"does not speak {self.services[rule.hop[1]].protocol}"
        side = position.side
        at = (position.at.dataplane, side)
        if at not in lacking:
            answers = self.program.entities[rule.entity].answers
            lacking[at] = what_lacks(rule, self.dataplane(position.at), side, self._versioned(rule), answers)
        if lacking[at] is None and not self.knows_peer(position.at, side):
            return f"does not know the peer at {side}"
        if lacking[at] is None and rule.both_ends:
            return self._alone(rule, position)
        if lacking[at] is None and self._of_connection(rule):
            return f"has to know whether {rule.operation.name} is to be when a connection is made, before any request"
        if lacking[at] is None and any(self._between(operation, rule.hop, position) for operation in rule.sealing):
            return "cannot see what is sent between the two ends of the hop"
        return lacking[at]

    def _of_connection(self, rule: Rule) -> bool:
        """Whether a rule of a connection, of which there is one for many requests, depends on what is the case with
        single ones, or counts them."""
        if not self.program.entities[rule.entity].connection:
            return False
        asked = any(isinstance(a, StateAtom) for a in rule.reads)
        return rule.of_state is not None or rule.contextual or rule.versioned or asked

    def _alone(self, rule: Rule, position: Position) -> str | None:
        """Why a dataplane that could run a rule at one end does not do so at both."""
        operation, spec = rule.operation, self.dataplane(position.at)
        if position.side == "egress":
            return f"has to run {operation.name} at both ends of the hop"
        if rule.side is not None:
            return f"has to run {operation.name} at both ends of the hop, not only at {rule.side}"
        if rule.hop[0] is None:
            return f"has to run {operation.name} at both ends of the hop, and one of them is outside"
        if rule.contextual or rule.versioned or rule.reads:
            return f"has to know at both ends whether {operation.name} is to be, before anything is sent"
        if self.other_end(rule, position) is None or not self._seals(operation, spec):
            return f"has to run {operation.name} at both ends of the hop, and cannot at {rule.hop[0]}"
        return None

    def _seals(self, operation: Operation, spec: Dataplane) -> bool:
        """Whether a dataplane can run something at both ends. Then it carries the context as well: nobody else can."""
        supports = spec.operations.get((operation.entity, operation.name))
        able = (supports.sides if supports is not None else (), spec.reads_context, spec.writes_context, spec.peer)
        return all(set(SIDES) <= set(sides) for sides in able)

    def _between(self, operation: Operation, hop: Hop, position: Position) -> bool:
        """Whether a position may lie between the two ends at which something runs."""
        if hop[0] is None:
            return False
        ends = [(a, b) for a in self.places(hop[0], "egress") for b in self.places(hop[1], "ingress")]
        return any(
            a.at.dataplane == b.at.dataplane
            and a.rank < position.rank < b.rank
            and self.speaks(a.at, hop)
            and self._seals(operation, self.dataplane(a.at))
            for a, b in ends
        )

    def _versioned(self, rule: Rule) -> bool:
        """Whether what a rule does, or what the tag becomes where it runs, depends on the version that answers."""
        return rule.versioned or (bool(rule.marks) and rule.hop[1] in self.landing_apart)

    def order_groups(self) -> list[tuple[list[int], list[Order]]]:
        """The rules that orders tie together, with those orders."""
        parent: dict[int, int] = {}

        def root(r: int) -> int:
            while parent.setdefault(r, r) != r:
                r = parent[r]
            return r

        for order in self.orders:
            a, b = sorted((root(order.first), root(order.then)))
            parent[b] = a
        members: dict[int, list[int]] = {}
        for rule in sorted(parent):
            members.setdefault(root(rule), []).append(rule)
        tied: dict[int, list[Order]] = {}
        for order in self.orders:
            tied.setdefault(root(order.first), []).append(order)
        return [(rules, tied[r]) for r, rules in members.items()]


def prices(program: Program) -> Callable[[str, str], int]:
    """What a dataplane costs at a service, with the requests that go through it there as far as the graph knows."""
    costs = {(dataplane, service): cost for dataplane, service, cost in program.mesh.costs}
    rates = program.graph.rates()
    return lambda dataplane, service: costs.get((dataplane, service), program.dataplanes[dataplane].cost).at(
        rates[service]
    )


def proxies_at(program: Program, services: Iterable[str]) -> int:
    """The cost of a proxy at each of some services: of the one that is cheapest at all of them, or of the cheapest
    dataplane if there is no proxy. Nothing of ours runs at those outside of the mesh."""
    planes = [n for n, d in program.dataplanes.items() if d.tier == "proxy"] or list(program.dataplanes)
    price = prices(program)
    own = [n for n in services if not program.graph.services[n].external]
    return min((sum(price(name, service) for service in own) for name in planes), default=0)


def candidates(program: Program) -> dict[Candidate, int]:
    """Every dataplane at every service where the mesh allows it, with its cost there: kernel first, then by name."""
    mesh = program.mesh
    price = prices(program)
    only: dict[str, set[str]] = {}
    for service, dataplane in mesh.only:
        only.setdefault(service, set()).add(dataplane)
    out: dict[Candidate, int] = {}
    for service in sorted(program.graph.services):
        if program.graph.services[service].external:
            continue
        for name, _ in sorted(program.dataplanes.items(), key=lambda item: (item[1].tier != "kernel", item[0])):
            allowed = (service, name) not in mesh.never and name in only.get(service, {name})
            if allowed:
                out[Candidate(service, name)] = price(name, service)
    return out


class Builder:
    """Builds the problems of programs that differ in their policies only. A component whose rules are as before keeps
    its context."""

    def __init__(self, program: Program, patterns: Patterns) -> None:
        self.patterns = patterns
        self._first = Problem(program, (), (), candidates(program), (), patterns.letters)
        self._contexts: dict[tuple[int, ...], tuple[tuple[Rule, ...], Carried]] = {}
        self._apart: frozenset[str] = frozenset()

    def build(
        self,
        program: Program,
        rules: tuple[Rule, ...],
        orders: tuple[Order, ...],
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Problem:
        """Rules with the same patterns share a component: one set of context classes."""
        by_patterns: dict[tuple[int, ...], list[int]] = {}
        for i, rule in enumerate(rules):
            if rule.contextual:
                by_patterns.setdefault(rule.patterns, []).append(i)
        components: list[Component] = []
        marking = tuple(rule for rule in rules if rule.marks)
        for key, of in by_patterns.items():
            own = tuple(rules[i] for i in of)
            if marking and isinstance(self.patterns.spread(key), MarkedSpread):
                own = (*own, *marking)
            known = self._contexts.get(key)
            checkpoint()
            if known is None or [id(r) for r in known[0]] != [id(r) for r in own]:
                context = context_of(self.patterns, key, [rules[i] for i in of], marking, known and known[1])
                known = self._contexts[key] = (own, context)
            components.append(Component(key, tuple(of), known[1]))
        if len(self._contexts) > 4 * len(by_patterns) + 100:
            self._contexts = {key: found for key, found in self._contexts.items() if key in by_patterns}
        problem = self._first.next(program, rules, orders)
        problem.components = tuple(components)
        if marking:
            problem.landing_apart = self._landing_apart(program, marking, components)
        if problem.landing_apart != self._apart:
            problem._able.clear()
            self._apart = problem.landing_apart
        return problem

    def _landing_apart(
        self, program: Program, marking: Sequence[Rule], components: Sequence[Component]
    ) -> frozenset[str]:
        services = {rule.hop[1] for rule in marking if program.graph.services[rule.hop[1]].versions}
        return frozenset(
            s for s in services if any(c.classes.lands_apart(s, program.graph.services[s].entry) for c in components)
        )


def build(program: Program, rules: tuple[Rule, ...], orders: tuple[Order, ...], patterns: Patterns) -> Problem:
    """The problem of some rules."""
    return Builder(program, patterns).build(program, rules, orders)


def context_of(
    patterns: Patterns,
    key: tuple[int, ...],
    rules: Sequence[Rule],
    marking: Sequence[Rule] = (),
    before: Carried | None = None,
) -> Carried:
    """Two situations of a hop differ where one of the rules does something else. Where the rules before told the same
    apart, all that follows from it stays as it was. `marking`: the rules that write marks."""
    effects: list[dict[State, Effect]] = []
    labels: dict[Hop, dict[State, Hashable]] = {}
    for rule in rules:
        same: dict[Effect, Effect] = {}  # equal ones are one object, which is compared at once
        of = {case.situation: same.setdefault(case.effect, case.effect) for case in rule.cases}
        by_state = {
            s: of[situation] for situation, states in patterns.situations(key, rule.hop).items() for s in states
        }
        effects.append(by_state)
        at = labels.setdefault(rule.hop, {})
        for state, effect in by_state.items():
            at[state] = (*at.get(state, ()), effect)  # type: ignore[misc]
    spread = patterns.spread(key)
    seen = seen_on(marking, spread)
    classes = context_classes(spread, labels, seen)
    same_classes = before is not None and before.classes.spread is spread and before.classes.of == classes.of
    if before is not None and same_classes and before.seen == seen:
        return replace(before, effects=tuple(effects))
    split = classes.split_letters
    return Carried(classes, tuple(effects), _diverges(classes), split | patterns.letters.ahead(split), seen=seen)


def seen_on(marking: Sequence[Rule], spread: Spread) -> Seen:
    """The marks of a product that rules write on each hop."""
    out: dict[Hop, frozenset[AttrKey]] = {}
    marks = spread.marks if isinstance(spread, MarkedSpread) else ()
    for rule in marking:
        written = {w.attr for w in rule.marks}.intersection(marks)
        if written:
            out[rule.hop] = out.get(rule.hop, frozenset()) | written
    return out


def _diverges(classes: Classes) -> bool:
    """Whether calls from one state can lead to several classes of a service; no says that they cannot from any node."""
    spread, letters = classes.spread, classes.spread.letters
    for begin, mask in enumerate(spread.reach):
        if not mask or not classes.of:
            continue
        reach: dict[State, int] = {}
        fresh = {begin: mask}
        while fresh:
            state, new = fresh.popitem()
            new &= ~reach.get(state, 0)
            if not new:
                continue
            reach[state] = reach.get(state, 0) | new
            after = letters.after(new)
            for target, cell in zip(spread.moves[state], spread.cells, strict=True):
                if after & cell & ~reach.get(target, 0):
                    fresh[target] = fresh.get(target, 0) | (after & cell)
        if classes.clash(reach):
            return True
    return False
