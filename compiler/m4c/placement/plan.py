"""The plan: which elements, what each runs where and why, which tags they write and read, and what cannot be had."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from m4c.garbage import uncollected
from m4c.placement.assemble import Assembly, Context, Element, Placed, Run
from m4c.placement.feasible import fixed_rows, violations
from m4c.placement.marks import without, without_idle
from m4c.placement.model import Builder, Candidate, Carried, Position, Problem, build, proxies_at
from m4c.placement.resolve import Resolved, Resolver
from m4c.placement.rules import Order, Rule, Unenforceable
from m4c.placement.solve import Covers, Solution, fits, solve
from m4c.placement.tags import Table, Tagger, Tagging, TooManyTags
from m4c.semantics.model import Program


@dataclass(frozen=True, slots=True)
class Plan:
    cost: int
    baseline_cost: int  # of a proxy at every service of the mesh
    optimal: bool  # proven
    gap: float  # the proven distance from the optimum at most, relative; 0 if optimal
    elements: tuple[Element, ...]
    operations: tuple[Placed, ...]
    context: Context
    unenforceable: tuple[Unenforceable, ...]
    runs: tuple[Run, ...] = field(repr=False)
    tables: tuple[Table, ...] = field(repr=False)


_ORDER = "its order with others leaves no position that can run it"


def plan(program: Program, time_limit: float = 60.0, gap: float = 0.0) -> Plan:
    """The cheapest plan for a program without contradictions.

    What cannot be enforced is reported in `unenforceable` and left out; the rest is planned. The same program gives the
    same plan. `time_limit`: seconds for the choice of elements. With a `gap`, one is enough that is proven to cost at
    most so much more, relatively.
    """
    return Planner().plan(program, time_limit, gap)


class Planner:
    """Plans one program after the other, as after edits. What an edit leaves as it was is kept: the rules of a hop
    with the same policies, the context of a component with the same rules, parts of the covering problem, tags. Where
    several plans cost the same, another one may come out than from the beginning."""

    def __init__(self) -> None:
        self._frame: tuple[object, ...] = ()
        self._resolver: Resolver | None = None
        self._builder: Builder | None = None
        self._covers = Covers()
        self._tagger: Tagger | None = None
        self._tags: tuple[tuple[object, ...], Tagging] | None = None
        self._contexts: list[Carried] = []
        self._marking: list[Rule] = []
        self._positions = _Positions()
        self._assembly = Assembly()
        self._baseline = 0

    @uncollected()  # a plan is made of what stays, and of numbers
    def plan(
        self,
        program: Program,
        time_limit: float = 60.0,
        gap: float = 0.0,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Plan:
        """As `plan`. `checkpoint` is called now and then; what it raises ends the planning."""
        resolver, builder = self._for(program)
        resolved = resolver.resolve(program, checkpoint)
        refused = list(resolved.unenforceable)
        rules, orders = resolved.rules, resolved.orders
        while True:
            checkpoint()
            problem = builder.build(program, rules, orders, checkpoint)
            lost = _without_position(problem) or _without_order(problem) or _without_context(problem, resolved)
            solution = None if lost else solve(problem, time_limit, gap, self._covers, checkpoint)
            if solution is not None:
                lost = _bought_off(problem, solution, resolved)
            if not lost and solution is not None:
                at = self._positions.of(problem, solution.chosen)
                tagging = self._tagging(problem, solution, at, checkpoint)
                if tagging is not None and tagging.bits <= program.mesh.tag_bits:
                    return self._assembled(problem, solution, at, tagging, refused)
                lost = _costliest(problem, program.mesh.tag_bits)
            refused += [u for i, reasons in lost.items() for u in _refusals(rules[i], reasons, resolved)]
            rules, orders = without_idle(resolved.patterns, *without(rules, orders, lost))

    def problem(self, program: Program) -> Problem:
        """The problem that the plan of a program solves, with all of its rules."""
        resolver, builder = self._for(program)
        resolved = resolver.resolve(program)
        return builder.build(program, resolved.rules, resolved.orders)

    def _for(self, program: Program) -> tuple[Resolver, Builder]:
        """What is known of the mesh of a program; of another mesh, nothing."""
        frame = (program.graph, program.mesh, program.enums, program.entities, program.dataplanes)
        same = len(self._frame) == len(frame) and all(a is b for a, b in zip(self._frame, frame, strict=True))
        if self._resolver is None or self._builder is None or not same or self._resolver.overgrown(program):
            self._frame, self._tags, self._tagger, self._assembly = frame, None, None, Assembly()
            self._resolver = Resolver(program)
            self._builder = Builder(program, self._resolver.patterns)
            self._positions = _Positions()
            self._baseline = proxies_at(program, program.graph.services)
        return self._resolver, self._builder

    def _assembled(
        self,
        problem: Problem,
        solution: Solution,
        at: Mapping[int, Position],
        tagging: Tagging,
        refused: Sequence[Unenforceable],
    ) -> Plan:
        runs, operations = self._assembly.runs(problem, at, tagging)
        elements, context = self._assembly.elements(solution.chosen, runs, tagging)
        return Plan(
            cost=solution.cost,
            baseline_cost=self._baseline,
            optimal=solution.optimal,
            gap=solution.gap,
            elements=elements,
            operations=operations,
            context=context,
            unenforceable=tuple(refused),
            runs=runs,
            tables=tagging.tables,
        )

    def _tagging(
        self, problem: Problem, solution: Solution, at: Mapping[int, Position], checkpoint: Callable[[], None]
    ) -> Tagging | None:
        """None: more tags than can be."""
        contextual = [r for c in problem.components for r in c.rules]
        updating = tuple(c for c in solution.chosen if problem.updates(c, "egress") or problem.updates(c, "ingress"))
        marking = tuple((id(r), at[i]) for i, r in enumerate(problem.rules) if r.marks)
        placed = tuple(at[r] for r in contextual)
        made_from = (*(id(c.context) for c in problem.components), updating, placed, marking)
        if self._tags is not None and self._tags[0] == made_from:
            found = self._tags[1]
            meaning = dict(zip(contextual, found.meaning.values(), strict=True))
            return Tagging(found.bits, found.tables, meaning)
        if self._tagger is None:
            self._tagger = Tagger(problem)
        try:
            found = self._tagger.assign(problem, solution.chosen, at, checkpoint)
        except TooManyTags:
            return None
        found = Tagging(found.bits, found.tables, {r: found.meaning[r] for r in contextual})
        self._tags = (made_from, found)
        self._contexts = [c.context for c in problem.components]  # their ids stay theirs
        self._marking = [rule for rule in problem.rules if rule.marks]
        return found


# --- what cannot be had -----------------------------------------------------------------------------------------------


def _refusals(rule: Rule, reasons: tuple[str, ...], resolved: Resolved) -> list[Unenforceable]:
    path = resolved.patterns.path(rule.hop, rule.patterns, rule.cases)
    return [Unenforceable(s.policy, s.call, rule.hop, path, reasons, s.default) for s in rule.sources]


def _without_position(problem: Problem) -> dict[int, tuple[str, ...]]:
    """The rules that no dataplane can run anywhere on their hop, and what each lacks."""
    return {i: _obstacles(problem, rule) for i, rule in enumerate(problem.rules) if not problem.positions(rule)}


def _obstacles(problem: Problem, rule: Rule) -> tuple[str, ...]:
    absent = problem.absent(rule)
    if absent is not None:
        return (absent,)
    said: dict[str, None] = {}
    for service in dict.fromkeys(s for s in rule.hop if s is not None):
        if problem.program.graph.services[service].external:
            said[f"{service} is outside the mesh"] = None
            continue
        for name in problem.program.dataplanes:
            if Candidate(service, name) not in problem.candidates:
                said[f"the mesh keeps {name} away from {service}"] = None
    for position in problem.all_positions(rule.hop):
        obstacle = problem.obstacle(rule, position)
        if obstacle is not None:
            said[f"{position.at.dataplane} {obstacle}"] = None
    return tuple(said) or ("the mesh names no dataplane",)


def _without_order(problem: Problem) -> dict[int, tuple[str, ...]]:
    """Of rules whose order leaves them no positions, whatever is chosen, as few as possible; the last go first."""
    lost: dict[int, tuple[str, ...]] = {}
    for members, orders in problem.order_groups():
        able = {r: problem.positions(problem.rules[r]) for r in members}
        if fits(able, orders):
            continue
        for gone in (c for size in range(1, len(members)) for c in combinations(reversed(members), size)):
            kept = {r: of for r, of in able.items() if r not in gone}
            if fits(kept, [o for o in orders if o.first in kept and o.then in kept]):
                lost |= dict.fromkeys(gone, (_ORDER,))
                break
    return lost


def _without_context(problem: Problem, resolved: Resolved) -> dict[int, tuple[str, ...]]:
    """The rules to which no choice of elements carries the context that they need."""
    failing: dict[int, tuple[str, ...]] = {}
    for number, why in _broken(problem).items():
        rules = problem.components[number].rules
        alone: dict[int, tuple[str, ...]] = {}
        if len(rules) > 1:  # the rules of other hops may need less
            for i in rules:
                single = build(problem.program, (problem.rules[i],), (), resolved.patterns)
                for own in _broken(single).values():
                    alone[i] = own
        failing |= alone or dict.fromkeys(rules, why)
    return failing


def _broken(problem: Problem) -> dict[int, tuple[str, ...]]:
    """The components that nothing can serve, with everything wrong with each."""
    every = (1 << len(problem.columns)) - 1
    out: dict[int, dict[str, None]] = {}
    for violation in (*fixed_rows(problem), *violations(problem, every)):
        if not violation.row:
            out.setdefault(violation.component, {})[violation.why] = None
    return {number: tuple(why) for number, why in out.items()}


def _bought_off(problem: Problem, solution: Solution, resolved: Resolved) -> dict[int, tuple[str, ...]]:
    """What the cheapest choice had to leave out, although each part of it could be had without the rest."""
    reason = ("the dataplanes that this needs at one service exclude those that other policies need there",)
    lost: dict[int, tuple[str, ...]] = {}
    for kind, number in solution.dropped:
        for i in (number,) if kind == "rule" else problem.components[number].rules:
            orders = [o for o in problem.orders if i in (o.first, o.then)]
            lost[i] = (_ORDER,) if orders else reason
    return lost


def _costliest(problem: Problem, bits: int) -> dict[int, tuple[str, ...]]:
    """The component with the most classes, when all of them together need more tag values than there are."""
    component = max(problem.components, key=lambda c: sum(map(c.classes.count, c.classes.of)))
    why = f"telling its call paths apart beside those of other policies takes a tag of more than {bits} bits"
    return dict.fromkeys(component.rules, (why,))


# --- what is had ------------------------------------------------------------------------------------------------------


class _Positions:
    """Positions of rules, for one choice of elements after the other."""

    def __init__(self) -> None:
        self._columns: frozenset[int] = frozenset()
        self._known: dict[int, tuple[frozenset[int], Position]] = {}  # by the identity of a rule's row

    def of(self, problem: Problem, chosen: Sequence[Candidate]) -> dict[int, Position]:
        """A position for every rule: in the kernel rather than in a proxy, then early rather than late."""
        columns = frozenset([problem.column[c] for c in chosen])
        changed = columns ^ self._columns
        known, self._known, self._columns = self._known, {}, columns

        def choices(rule: Rule) -> list[Position]:
            able = zip(problem.positions(rule), problem.columns_of(rule), strict=True)
            found = [p for p, c in able if c in columns]
            if rule.both_ends:
                ends = [(p, problem.other_end(rule, p)) for p in found]
                return [p for p, end in ends if end is not None and problem.column[end.at] in columns]
            return found

        def preferred(position: Position) -> tuple[bool, Position]:
            return problem.dataplane(position.at).tier == "proxy", position

        out: dict[int, Position] = {}
        for members, orders in problem.order_groups():
            out |= _ordered(members, orders, {r: sorted(choices(problem.rules[r]), key=preferred) for r in members})
        for i, rule in enumerate(problem.rules):
            if i in out:
                continue
            row = problem.row(rule)
            found = known.get(id(row))
            if found is None or rule.both_ends or not changed.isdisjoint(row):
                able = choices(rule)
                found = row, able[0] if len(able) == 1 else min(able, key=preferred)
            self._known[id(row)] = found
            out[i] = found[1]
        return out


def _ordered(
    members: Sequence[int], orders: Sequence[Order], choices: Mapping[int, Sequence[Position]]
) -> dict[int, Position]:
    """The first assignment that respects the orders, by depth first search; the solver has shown that there is one."""

    def fits(at: Mapping[int, Position]) -> bool:
        pairs = ((at[o.first], at[o.then], o.same) for o in orders if o.first in at and o.then in at)
        return all(a == b if same else a.rank <= b.rank for a, b, same in pairs)

    stack: list[dict[int, Position]] = [{}]
    while stack:
        at = stack.pop()
        if len(at) == len(members):
            return at
        rule = members[len(at)]
        stack.extend(more for p in reversed(choices[rule]) if fits(more := {**at, rule: p}))
    raise RuntimeError("the chosen elements leave no order of positions")
