"""The plan: which elements, what each runs where and why, which tags they write and read, and what cannot be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from m4c.paths.callpath import Hop
from m4c.placement.feasible import fixed_rows, violations
from m4c.placement.model import Candidate, Position, Problem, build
from m4c.placement.resolve import Resolved, resolve
from m4c.placement.rules import Effect, Order, Rule, Source, Unenforceable
from m4c.placement.solve import Solution, solve
from m4c.placement.tags import Table, Tagging, TooManyTags, assign
from m4c.semantics.model import Program, Side


@dataclass(frozen=True, slots=True)
class Element:
    """One instance of a dataplane at one service, with sentences that say why it is there."""

    service: str
    dataplane: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an operation of a policy (or of a mesh default) runs on one hop."""

    policy: str
    call: int  # its index in the policy, or the default's in the mesh
    operation: str
    hop: Hop
    side: Side
    service: str
    dataplane: str
    default: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A place on a hop where the tag is written or read."""

    hop: Hop
    side: Side
    service: str
    dataplane: str


@dataclass(frozen=True, slots=True)
class Context:
    bits: int  # 0: no tag travels
    updates: tuple[Stop, ...]
    reads: tuple[Stop, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A rule at its position. `when` says, for groups of tags as seen there, what it does; None is every tag."""

    rule: Rule
    position: Position
    when: tuple[tuple[tuple[int, ...] | None, Effect], ...]


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


def plan(program: Program, time_limit: float = 60.0) -> Plan:
    """The cheapest plan for a program without contradictions.

    What cannot be enforced is reported in `unenforceable` and left out; the rest is planned. The same program gives
    the same plan. `time_limit` bounds each run of the solver, in seconds.
    """
    resolved = resolve(program)
    refused = list(resolved.unenforceable)
    rules, orders = resolved.rules, resolved.orders
    while True:
        problem = build(program, rules, orders, resolved.patterns)
        lost = _without_position(problem) or _without_context(problem, resolved)
        solution = None if lost else solve(problem, time_limit)
        if solution is not None:
            lost = _bought_off(problem, solution, resolved)
        if not lost and solution is not None:
            at = _positions(problem, solution.chosen)
            try:
                tagging = assign(problem, solution.chosen, at)
            except TooManyTags:
                tagging = None
            if tagging is not None and tagging.bits <= program.mesh.tag_bits:
                return _plan(problem, solution, at, tagging, refused)
            lost = _costliest(problem, program.mesh.tag_bits)
        refused += [u for i, reasons in lost.items() for u in _refusals(rules[i], reasons)]
        kept = [i for i in range(len(rules)) if i not in lost]
        number = {old: new for new, old in enumerate(kept)}
        orders = tuple(
            Order(number[o.first], number[o.then], o.same) for o in orders if o.first in number and o.then in number
        )
        rules = tuple(rules[i] for i in kept)


# --- what cannot be had -----------------------------------------------------------------------------------------------


def _refusals(rule: Rule, reasons: tuple[str, ...]) -> list[Unenforceable]:
    return [Unenforceable(s.policy, s.call, rule.hop, rule.path, reasons, s.default) for s in rule.sources]


def _without_position(problem: Problem) -> dict[int, tuple[str, ...]]:
    """The rules that no dataplane can run anywhere on their hop, and what each lacks."""
    return {i: _obstacles(problem, rule) for i, rule in enumerate(problem.rules) if not problem.positions(rule)}


def _obstacles(problem: Problem, rule: Rule) -> tuple[str, ...]:
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
    every = list(problem.candidates)
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
            lost[i] = ("its order with others leaves no position that can run it",) if orders else reason
    return lost


def _costliest(problem: Problem, bits: int) -> dict[int, tuple[str, ...]]:
    """The component with the most classes, when all of them together need more tag values than there are."""
    component = max(problem.components, key=lambda c: sum(c.classes.count.values()))
    why = f"telling its call paths apart beside those of other policies takes a tag of more than {bits} bits"
    return dict.fromkeys(component.rules, (why,))


# --- what is had ------------------------------------------------------------------------------------------------------


def _positions(problem: Problem, chosen: Sequence[Candidate]) -> dict[int, Position]:
    """A position for every rule: in the kernel rather than in a proxy, then early rather than late."""
    elements = set(chosen)

    def choices(rule: int) -> list[Position]:
        able = [p for p in problem.positions(problem.rules[rule]) if p.at in elements]
        return sorted(able, key=lambda p: (problem.dataplane(p.at).tier == "proxy", p))

    out: dict[int, Position] = {}
    for members, orders in problem.order_groups():
        out |= _ordered(members, orders, {r: choices(r) for r in members})
    for i in range(len(problem.rules)):
        if i not in out:
            out[i] = choices(i)[0]
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


def _plan(
    problem: Problem, solution: Solution, at: Mapping[int, Position], tagging: Tagging, refused: list[Unenforceable]
) -> Plan:
    runs: list[Run] = []
    placed: dict[Placed, None] = {}
    for i, rule in enumerate(problem.rules):
        when: tuple[tuple[tuple[int, ...] | None, Effect], ...]
        when = tagging.meaning[i] if rule.contextual else ((None, rule.cases[0].effect),)
        runs.append(Run(rule, at[i], when))
        for source in (*rule.sources, *rule.carries):
            placed[_placed(problem, rule, source, at[i])] = None
    context = Context(
        tagging.bits,
        tuple(_stop(t.hop, t.position) for t in tagging.tables),
        tuple(dict.fromkeys(_stop(r.rule.hop, r.position) for r in runs if r.rule.contextual)),
    )
    elements = tuple(_element(c, runs, tagging) for c in solution.chosen)
    return Plan(
        cost=solution.cost,
        baseline_cost=_baseline(problem.program),
        optimal=solution.optimal,
        gap=solution.gap,
        elements=elements,
        operations=tuple(placed),
        context=context,
        unenforceable=tuple(refused),
        runs=tuple(runs),
        tables=tagging.tables,
    )


def _placed(problem: Problem, rule: Rule, source: Source, position: Position) -> Placed:
    operation = rule.operation.name
    if not source.default:
        policy = next(p for p in problem.program.policies if p.name == source.policy)
        operation = next(c.operation for c in policy.calls if c.index == source.call)
    at = position.at
    return Placed(
        source.policy, source.call, operation, rule.hop, position.side, at.service, at.dataplane, source.default
    )


def _stop(hop: Hop, position: Position) -> Stop:
    return Stop(hop, position.side, position.at.service, position.at.dataplane)


def _element(candidate: Candidate, runs: Sequence[Run], tagging: Tagging) -> Element:
    reasons: dict[str, None] = {}
    for run in runs:
        if run.position.at == candidate:
            rule = run.rule
            reasons[f"runs {rule.operation.name} of {rule.sources[0].policy} on {_shown(rule.hop)}"] = None
    for table in tagging.tables:
        if table.position.at == candidate:
            reasons[f"writes the context on {_shown(table.hop)}"] = None
    return Element(candidate.service, candidate.dataplane, tuple(reasons))


def _shown(hop: Hop) -> str:
    return f"{hop[0] or 'outside'} -> {hop[1]}"


def _baseline(program: Program) -> int:
    """The cost of a proxy at every service: of the cheapest, or of the cheapest dataplane if there is no proxy."""
    specs = [d for d in program.dataplanes.values() if d.tier == "proxy"] or list(program.dataplanes.values())
    if not specs:
        return 0
    spec = min(specs, key=lambda d: (d.cost, d.name))
    costs = {service: cost for dataplane, service, cost in program.mesh.costs if dataplane == spec.name}
    return sum(costs.get(n, spec.cost) for n, s in program.graph.services.items() if not s.external)
