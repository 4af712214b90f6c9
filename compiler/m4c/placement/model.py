"""The placement problem: candidates, what each can run where, and the context that has to reach whom.

A candidate is a dataplane at a service; an element is a chosen candidate. On a hop (u, v) the positions are, in order:
u's proxy, u's kernel element, v's kernel element, v's proxy. A hop is *silent* if neither end updates the tag on it:
an update needs an element that reads and writes the tag and knows the peer on its side.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from m4c.paths.callpath import Hop, callees
from m4c.paths.classes import Classes, context_classes
from m4c.paths.product import Situation
from m4c.placement.resolve import Patterns
from m4c.placement.rules import Effect, Order, Rule
from m4c.semantics.model import Atom, Dataplane, Program, Side, StateAtom


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


@dataclass(frozen=True, slots=True)
class Component:
    """The rules whose situations are told apart by the same path patterns, with the context classes that they need."""

    patterns: tuple[int, ...]
    rules: tuple[int, ...]
    classes: Classes


@dataclass(slots=True)
class Problem:
    """One program's placement problem. Rules are meant by their index in `rules`."""

    program: Program
    rules: tuple[Rule, ...]
    orders: tuple[Order, ...]
    candidates: dict[Candidate, int]  # with its cost
    components: tuple[Component, ...]
    _callers: dict[str, int] = field(default_factory=dict)  # how many hops a service has on its ingress side
    _callees: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        graph = self.program.graph
        self._callers = {name: int(s.entry) for name, s in graph.services.items()}
        for caller, to in callees(graph).items():
            self._callees[caller] = len(to)
            for callee in to:
                self._callers[callee] += 1

    def dataplane(self, candidate: Candidate) -> Dataplane:
        return self.program.dataplanes[candidate.dataplane]

    def knows_peer(self, candidate: Candidate, side: Side) -> bool:
        """Can the element tell the hops of one side apart? With a single hop there is nothing to tell."""
        count = self._callees if side == "egress" else self._callers
        return side in self.dataplane(candidate).peer or count[candidate.service] <= 1

    def updates(self, candidate: Candidate, side: Side) -> bool:
        """Can the element set the tag as a function of hop and old tag, on this side?"""
        spec = self.dataplane(candidate)
        return side in spec.writes_context and side in spec.reads_context and self.knows_peer(candidate, side)

    def updaters(self, service: str, side: Side) -> list[Candidate]:
        return [c for c in self.candidates if c.service == service and self.updates(c, side)]

    def silencers(self, hop: Hop) -> list[Candidate]:
        """The candidates of which any one, if chosen, updates the tag on the hop."""
        caller, callee = hop
        return (self.updaters(caller, "egress") if caller is not None else []) + self.updaters(callee, "ingress")

    def all_positions(self, hop: Hop) -> list[Position]:
        """Every position of every candidate on a hop, in order."""
        caller, callee = hop
        out: list[Position] = []
        for c in self.candidates:
            proxy = self.dataplane(c).tier == "proxy"
            if c.service == caller:
                out.append(Position(0 if proxy else 1, "egress", c))
            if c.service == callee:
                out.append(Position(3 if proxy else 2, "ingress", c))
        return sorted(out)

    def positions(self, rule: Rule) -> list[Position]:
        """Where a rule can run."""
        return [p for p in self.all_positions(rule.hop) if self.obstacle(rule, p) is None]

    def obstacle(self, rule: Rule, position: Position) -> str | None:
        """Why a rule cannot run at a position, as what the dataplane lacks; None if it can."""
        side, spec = position.side, self.dataplane(position.at)
        operation = rule.operation
        supports = spec.operations.get((operation.entity, operation.name))
        if supports is None:
            return f"has no {operation.name}"
        if rule.side not in (None, side):
            return f"would have to run it at {rule.side}"
        if side not in supports.sides:
            return f"has no {operation.name} at {side}"
        if rule.versioned and side == "egress":
            return "does not know at egress which version will answer"
        if not self.knows_peer(position.at, side):
            return f"does not know the peer at {side}"
        for atom in sorted(rule.reads, key=repr):
            lacking = _unreadable(spec, side, atom)
            if lacking is not None:
                return lacking
        if rule.contextual and side not in spec.reads_context:
            return f"cannot read the context at {side}"
        return None

    def order_groups(self) -> list[tuple[list[int], list[Order]]]:
        """The rules that orders tie together, with those orders."""
        group: dict[int, int] = {}
        for order in self.orders:
            a, b = group.get(order.first, order.first), group.get(order.then, order.then)
            group[order.first], group[order.then] = a, b
            group = {r: (a if g == b else g) for r, g in group.items()}
        members: dict[int, list[int]] = {}
        for rule, root in sorted(group.items()):
            members.setdefault(root, []).append(rule)
        return [(rules, [o for o in self.orders if o.first in rules]) for rules in members.values()]


def _unreadable(spec: Dataplane, side: Side, atom: Atom | StateAtom) -> str | None:
    if isinstance(atom, StateAtom):
        return f"keeps no state, and so has no {atom.state}.{atom.condition}"
    reads = spec.reads.get((atom.attr.entity, atom.attr.attribute))
    if reads is None:
        return f"cannot read {atom.attr}"
    if side not in reads.sides:
        return f"cannot read {atom.attr} at {side}"
    if reads.comparisons is not None and atom.op not in reads.comparisons:
        return f"has no {atom.op} on {atom.attr}"
    return None


def candidates(program: Program) -> dict[Candidate, int]:
    """Every dataplane at every service where the mesh allows it, with its cost there: kernel first, then by name."""
    mesh = program.mesh
    costs = {(service, dataplane): cost for dataplane, service, cost in mesh.costs}
    only: dict[str, set[str]] = {}
    for service, dataplane in mesh.only:
        only.setdefault(service, set()).add(dataplane)
    out: dict[Candidate, int] = {}
    for service in sorted(program.graph.services):
        if program.graph.services[service].external:
            continue
        for name, spec in sorted(program.dataplanes.items(), key=lambda item: (item[1].tier != "kernel", item[0])):
            allowed = (service, name) not in mesh.never and name in only.get(service, {name})
            if allowed:
                out[Candidate(service, name)] = costs.get((service, name), spec.cost)
    return out


def build(program: Program, rules: tuple[Rule, ...], orders: tuple[Order, ...], patterns: Patterns) -> Problem:
    """The problem of some rules. Rules with the same patterns share a component: one set of context classes."""
    by_patterns: dict[tuple[int, ...], list[int]] = {}
    for i, rule in enumerate(rules):
        if rule.contextual:
            by_patterns.setdefault(rule.patterns, []).append(i)
    components = tuple(
        Component(key, tuple(members), _classes(patterns, key, {i: rules[i] for i in members}))
        for key, members in by_patterns.items()
    )
    return Problem(program, rules, orders, candidates(program), components)


def _classes(patterns: Patterns, key: tuple[int, ...], rules: Mapping[int, Rule]) -> Classes:
    """The context classes of some rules: two situations of a hop differ where one of the rules does something else."""
    effects: dict[Hop, dict[Situation, tuple[tuple[int, Effect], ...]]] = {}
    for i, rule in rules.items():
        at = effects.setdefault(rule.hop, {})
        for case in rule.cases:
            at[case.situation] = (*at.get(case.situation, ()), (i, case.effect))

    def label(hop: Hop, situation: Situation) -> Hashable:
        return effects.get(hop, {}).get(situation, ())

    return context_classes(patterns.joint(key), label)
