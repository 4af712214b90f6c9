"""The cheapest feasible choice of elements: a mixed integer program whose context rows are added as they are violated.

Variables: one per candidate; for rules that an order ties together, one per (rule, position). Rows: each rule has a
capable position; orders; one element of each tier a service; the rows of `feasible`. Each round solves the program
to proven optimality and looks for violated conditions, until there are none. Among the cheapest choices, a second
objective takes the one with the fewest proxies, then the fewest elements, then the first by name.

When there is no feasible choice, a third kind of variable buys single rules and components off at a price that beats
every cost: what it buys is what cannot be enforced, and as little as possible of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from m4c.placement.feasible import fixed_rows, violations
from m4c.placement.model import Candidate, Position, Problem

Owner: TypeAlias = tuple[Literal["rule", "component"], int]


class NoPlanInTime(Exception):
    """The time limit passed before the solver had any plan at all."""


@dataclass(frozen=True, slots=True)
class Solution:
    """The chosen elements. `optimal`: proven; else `gap` is the proven relative distance from the optimum at most.

    `dropped`: rules and components that the choice does not serve; empty whenever all of them can be served.
    """

    chosen: tuple[Candidate, ...]
    cost: int
    optimal: bool
    gap: float
    dropped: tuple[Owner, ...] = ()


@dataclass(slots=True)
class _Rows:
    """Rows `lower <= sum of coefficient * column <= upper`, with who is hurt if a lower bound is not met."""

    columns: int
    of: list[tuple[float, float, dict[int, float], Owner | None]] = field(default_factory=list)

    def at_least_one(self, columns: Iterable[int], owner: Owner) -> None:
        self.of.append((1.0, math.inf, dict.fromkeys(columns, 1.0), owner))


def solve(problem: Problem, time_limit: float = 60.0) -> Solution:
    """The cheapest feasible choice. `time_limit` bounds each run of the solver, in seconds; see NoPlanInTime."""
    candidates = list(problem.candidates)
    column = {c: i for i, c in enumerate(candidates)}
    rows = _static_rows(problem, column)
    for violation in fixed_rows(problem):
        rows.at_least_one((column[c] for c in violation.row), ("component", violation.component))
    costs = [float(problem.candidates[c]) for c in candidates]
    seen: set[tuple[int, frozenset[Candidate]]] = set()
    elastic = False
    while True:
        result = _run(rows, costs, elastic, time_limit)
        if result is None and not elastic:
            elastic = True
            continue
        if result is None or (result.bought and not result.optimal):
            raise NoPlanInTime(f"the solver found no plan within {time_limit:g} s")
        result = _preferred(problem, candidates, rows, costs, result, elastic, time_limit)
        chosen = tuple(c for i, c in enumerate(candidates) if result.values[i] > 0.5)
        given_up = {owner for owner in result.bought if owner[0] == "component"}
        new = [v for v in violations(problem, chosen) if ("component", v.component) not in given_up]
        if not new:
            cost = sum(problem.candidates[c] for c in chosen)
            return Solution(chosen, cost, result.optimal, result.gap, tuple(sorted(result.bought)))
        for violation in new:
            key = (violation.component, violation.row)
            if key not in seen:
                seen.add(key)
                rows.at_least_one((column[c] for c in violation.row), ("component", violation.component))


def _static_rows(problem: Problem, column: dict[Candidate, int]) -> _Rows:
    rows = _Rows(len(column))
    for tier in ("kernel", "proxy"):
        beside: dict[str, list[int]] = {}
        for c, i in column.items():
            if problem.dataplane(c).tier == tier:
                beside.setdefault(c.service, []).append(i)
        for alternatives in beside.values():
            if len(alternatives) > 1:
                rows.of.append((0.0, 1.0, dict.fromkeys(alternatives, 1.0), None))
    ordered = {r for members, _ in problem.order_groups() for r in members}
    for i, rule in enumerate(problem.rules):
        if i not in ordered:
            rows.at_least_one((column[p.at] for p in problem.positions(rule)), ("rule", i))
    for members, orders in problem.order_groups():
        stands: dict[int, dict[Position, int]] = {}
        for r in members:
            stands[r] = {}
            for position in problem.positions(problem.rules[r]):
                stands[r][position] = rows.columns
                rows.of.append((0.0, math.inf, {column[position.at]: 1.0, rows.columns: -1.0}, None))
                rows.columns += 1
            rows.at_least_one(stands[r].values(), ("rule", r))
            rows.of.append((0.0, 1.0, dict.fromkeys(stands[r].values(), 1.0), None))
        for order in orders:
            first, then = stands[order.first], stands[order.then]
            for rank in range(1, 4):  # `first` at this rank or later implies the same of `then`
                terms: dict[int, float] = {}
                for position, i in first.items():
                    if position.rank >= rank:
                        terms[i] = -1.0
                for position, i in then.items():
                    if position.rank >= rank:
                        terms[i] = 1.0
                rows.of.append((0.0, math.inf, terms, ("rule", order.then)))
                if order.same:
                    rows.of.append((0.0, math.inf, {i: -k for i, k in terms.items()}, ("rule", order.first)))
    return rows


@dataclass(frozen=True, slots=True)
class _Result:
    values: list[float]
    bought: frozenset[Owner]
    objective: float
    optimal: bool
    gap: float


def _run(
    rows: _Rows, costs: list[float], elastic: bool, time_limit: float, cap: tuple[list[float], float] | None = None
) -> _Result | None:
    """One integer program; None if nothing satisfies the rows (or nothing was found in time).

    `cap`: a second row of costs and what they may come to at most.
    """
    import highspy
    from highspy import _core

    # The solver has no usable annotations; what comes out of it is made plain here. `highspy.Highs` prints a banner to
    # standard output before it can be told not to, which a language server cannot have; its base class does not.
    solver: Any = _core
    h = solver._Highs()
    h.setOptionValue("log_to_console", False)
    h.setOptionValue("output_flag", False)
    h.setOptionValue("threads", 1)
    h.setOptionValue("random_seed", 0)
    h.setOptionValue("mip_rel_gap", 0.0)
    h.setOptionValue("mip_abs_gap", 0.5)  # costs are integers
    h.setOptionValue("time_limit", time_limit)
    owners = sorted({row[3] for row in rows.of if row[3] is not None}) if elastic else []
    price = 1.0 + sum(costs)
    weights = costs + [0.0] * (rows.columns - len(costs)) + [price] * len(owners)
    if not weights:
        feasible = all(lower <= 0 for lower, _, _, _ in rows.of)
        return _Result([], frozenset(), 0.0, True, 0.0) if feasible else None
    for i, weight in enumerate(weights):
        h.addVar(0.0, 1.0)
        h.changeColCost(i, weight)
        h.changeColIntegrality(i, highspy.HighsVarType.kInteger)
    bought_at = {owner: rows.columns + k for k, owner in enumerate(owners)}
    for lower, upper, terms, owner in rows.of:
        full = dict(terms)
        if owner in bought_at and lower > -math.inf:
            full[bought_at[owner]] = 1.0
        if not full:
            if lower > 0:
                return None
            continue
        h.addRow(lower, min(upper, highspy.kHighsInf), len(full), list(full), list(full.values()))
    if cap is not None:
        coefficients, limit = cap
        terms = {i: c for i, c in enumerate(coefficients) if c}
        if terms:
            h.addRow(-highspy.kHighsInf, limit, len(terms), list(terms), list(terms.values()))
    h.run()
    info = h.getInfo()
    if h.getModelStatus() == highspy.HighsModelStatus.kInfeasible or info.primal_solution_status != 2:
        return None
    values = [float(v) for v in h.getSolution().col_value]
    optimal = h.getModelStatus() == highspy.HighsModelStatus.kOptimal
    objective = float(info.objective_function_value)
    gap = 0.0 if optimal else max(0.0, objective - float(info.mip_dual_bound)) / max(1.0, abs(objective))
    return _Result(values, frozenset(o for o, i in bought_at.items() if values[i] > 0.5), objective, optimal, gap)


def _preferred(
    problem: Problem,
    candidates: list[Candidate],
    rows: _Rows,
    costs: list[float],
    found: _Result,
    elastic: bool,
    time_limit: float,
) -> _Result:
    """Among the choices that cost no more than the one found, the one that the tie-break takes."""
    if not found.optimal or elastic:
        return found
    count = len(candidates) + 1
    weights = [
        float(i + 1 + 2 * count + (4 * count * count if problem.dataplane(c).tier == "proxy" else 0))
        for i, c in enumerate(candidates)
    ]
    cost = sum(c for c, v in zip(costs, found.values, strict=False) if v > 0.5)
    again = _run(rows, weights, elastic, time_limit, (costs, cost + 0.5))
    return found if again is None else replace(again, optimal=found.optimal, gap=found.gap)
