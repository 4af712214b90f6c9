"""The cheapest feasible choice of elements: a covering problem whose context rows are added as they are violated.

Every demand is a set of candidates of which one has to be chosen: a rule needs one that can run it; rules that an order
ties together need one out of each set without which no order of positions is left; context needs the rows of
`feasible`. Quick choices find the rows that matter; then the covering problem is solved, exactly or to within the gap
that is asked for, until its solution violates nothing. All rows hold for every feasible choice, so the bound is valid
from the beginning.

When there is no feasible choice, further columns buy single rules and components off at a price that beats every cost:
what they buy is what cannot be enforced, and as little as possible of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

from m4c.paths.masks import bits
from m4c.placement.cover import Cover, Row, greedy, pruned
from m4c.placement.feasible import fixed_rows, violations
from m4c.placement.model import Candidate, Position, Problem
from m4c.placement.rules import Order

Owner: TypeAlias = tuple[Literal["rule", "component"], int]
_QUICK = 60  # quick choices
_CHECK = 256  # rows between two looks at whether to go on
_ROWS = 100_000  # bit sets that are remembered as sets
_FEW = 3  # components with which the first choice is not a quick one


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


def solve(
    problem: Problem,
    time_limit: float = 60.0,
    gap: float = 0.0,
    covers: Covers | None = None,
    checkpoint: Callable[[], None] = lambda: None,
) -> Solution:
    """The cheapest feasible choice, or with a `gap` one that is proven to cost at most so much more, relatively.

    `time_limit`: seconds after which the best choice so far is taken; see NoPlanInTime. `covers`: parts that were
    solved for like problems, to be used and added to. `checkpoint` is called now and then, and may raise."""
    return _Search(problem, time.monotonic() + time_limit, gap, covers or Covers(), checkpoint).run()


class Covers:
    """What the covering problems of one program after the other have in common."""

    def __init__(self) -> None:
        self._candidates: dict[Candidate, int] = {}
        self._made_from: tuple[object, ...] = ()
        self._cover = Cover((), ())
        self._rows: dict[int, Row] = {}

    def of(self, problem: Problem) -> Cover:
        """The costs of a problem, with the parts that were solved for these costs before."""
        if self._candidates is not problem.candidates:
            costs = tuple(problem.candidates[c] for c in problem.columns)
            rank = tuple(int(problem.dataplane(c).tier == "proxy") for c in problem.columns)
            rivals = tuple(_rivals(problem))
            if self._made_from != (problem.columns, costs, rank, rivals):
                self._made_from = problem.columns, costs, rank, rivals
                self._cover = Cover(costs, rank, rivals)
            self._candidates = problem.candidates
        return self._cover

    def row(self, mask: int) -> Row:
        """A bit set as a set; equal ones are one object."""
        found = self._rows.get(mask)
        if found is None:
            if len(self._rows) >= _ROWS:
                self._rows.clear()
            found = self._rows[mask] = frozenset(bits(mask))
        return found


class _Search:
    def __init__(
        self,
        problem: Problem,
        end: float,
        gap: float,
        covers: Covers,
        checkpoint: Callable[[], None],
    ) -> None:
        self.problem = problem
        self.end = end
        self.gap = gap
        self.checkpoint = checkpoint
        self.rows: dict[Row, None] = {}
        self.row = covers.row
        self.cover = covers.of(problem)

    def run(self) -> Solution:
        problem = self.problem
        for count, (row, _) in enumerate(self._owned()):
            if count % _CHECK == 0:
                self.checkpoint()
            self.rows[row] = None
        new = any(component.context.carried is None for component in problem.components)
        best = self._quick(set()) if new and len(problem.components) > _FEW else None
        while True:
            # What is asked for of the cover leaves room for what it does not know yet.
            found = self.cover.cheapest(self.rows, 0.5 * self.gap, self._left(), self.checkpoint)
            if found.columns is None:
                if best is not None:
                    return self._solution(best, 0.0)
                if not found.optimal:
                    raise NoPlanInTime("the solver found no plan within its time limit")
                return self._elastic()
            if best is not None and self.gap and self._close(best, found.bound):
                return self._solution(best, found.bound)
            if not self._violated(found.columns):  # the first of the cheapest, whatever quick choices there were
                if best is None or not self._better(best, found.columns):
                    best = set(found.columns)
                return self._solution(best, found.bound)
            repaired = self._quick(set(found.columns))
            if repaired is not None and (best is None or self._better(repaired, best)):
                best = repaired
            if best is not None and ((self.gap and self._close(best, found.bound)) or self._left() <= 0):
                return self._solution(best, found.bound)
            if self._left() <= 0:
                raise NoPlanInTime("the solver found no plan within its time limit")

    def _left(self) -> float:
        """Seconds."""
        return max(0.0, self.end - time.monotonic())

    def _better(self, a: Iterable[int], b: Iterable[int]) -> bool:
        return self.cover.cost(a) < self.cover.cost(b)

    def _close(self, choice: Iterable[int], bound: float) -> bool:
        cost = self.cover.cost(choice)
        return cost - bound < 1 or cost - bound <= self.gap * cost

    def _solution(self, choice: Iterable[int], bound: float, dropped: tuple[Owner, ...] = ()) -> Solution:
        chosen = tuple(self.problem.columns[c] for c in sorted(choice))
        cost = self.cover.cost(choice)
        optimal = cost - bound < 1
        return Solution(chosen, cost, optimal, 0.0 if optimal else (cost - bound) / max(1, cost), dropped)

    # --- rows ---

    def _owned(self) -> Iterator[tuple[Row, Owner]]:
        """Every row that is known, with who asks for it."""
        yield from static_rows(self.problem)
        for violation in fixed_rows(self.problem):
            yield self.row(violation.row), ("component", violation.component)
        for i, component in enumerate(self.problem.components):
            for mask in component.context.rows:
                yield self.row(mask), ("component", i)

    def _violated(self, columns: Iterable[int]) -> bool:
        """Whether a choice breaks something; the rows that it breaks are there then."""
        if not self.problem.components:
            return False
        found = violations(self.problem, sum(1 << c for c in columns), self.checkpoint)
        self.rows.update((self.row(v.row), None) for v in found)
        return bool(found)

    def _quick(self, start: set[int]) -> set[int] | None:
        """A feasible choice, soon, with the rows that quick choices break on the way; None if that leads to none."""
        chosen = start
        for _ in range(_QUICK):
            while True:  # more and more elements, so that what is carried once stays so and is not looked at again
                self.checkpoint()
                more = greedy(self.cover, self.rows, chosen)
                if more is None:
                    return None
                chosen = more
                if not self._violated(chosen):
                    break
            fewer = pruned(self.cover, self.rows, chosen)
            if fewer == chosen or not self._violated(fewer):
                return fewer
            chosen = fewer
        return None

    # --- what cannot be had ---

    def _elastic(self) -> Solution:
        """Where the rivals at some service leave nothing: as little as possible is given up."""
        problem, base = self.problem, self.cover
        price = 1 + sum(base.costs)
        while True:
            owned = dict.fromkeys(self._owned())
            owners = sorted({owner for _, owner in owned})
            number = {o: len(base.costs) + i for i, o in enumerate(owners)}
            costs = [*base.costs, *(price for _ in owners)]
            cover = Cover(costs, [*base.rank, *(0 for _ in owners)], base.rivals)
            rows = [row | {number[owner]} for row, owner in owned]
            found = cover.cheapest(rows, 0.0, self._left(), self.checkpoint)
            if found.columns is None or not found.optimal:
                raise NoPlanInTime("the solver found no plan within its time limit")
            bought = {o for o, c in number.items() if c in found.columns}
            chosen = [c for c in found.columns if c < len(base.costs)]
            given_up = {i for kind, i in bought if kind == "component"}
            new = [
                v
                for v in violations(problem, sum(1 << c for c in chosen), self.checkpoint)
                if v.component not in given_up
            ]
            if not new:  # else they are known now
                return self._solution(chosen, cover.cost(chosen), tuple(sorted(bought)))


def _rivals(problem: Problem) -> Iterator[Row]:
    """Of each tier at most one element a service."""
    beside: dict[tuple[str, str], list[int]] = {}
    for i, c in enumerate(problem.columns):
        beside.setdefault((c.service, problem.dataplane(c).tier), []).append(i)
    return (frozenset(of) for of in beside.values() if len(of) > 1)


def static_rows(problem: Problem) -> Iterator[tuple[Row, Owner]]:
    """The rows of single rules, and of those that an order ties together."""
    rules = problem.rules
    for i, rule in enumerate(rules):
        for row in problem.rows(rule):
            yield row, ("rule", i)
    for members, orders in problem.order_groups():
        able = {r: problem.positions(rules[r]) for r in members}
        if len(set(map(tuple, able.values()))) > 1:
            for row in _blocking(problem.column, able, orders):
                yield row, ("rule", members[-1])


def _blocking(column: dict[Candidate, int], able: dict[int, list[Position]], orders: list[Order]) -> Iterator[Row]:
    """The smallest sets of which one has to be chosen, so that ordered rules find positions: more elements never hurt,
    so it is enough to know the largest choices that leave none."""
    every = sorted({column[p.at] for of in able.values() for p in of})
    rows: list[Row] = []
    for size in range(len(every) + 1):
        for missing in combinations(every, size):
            row = frozenset(missing)
            if any(known <= row for known in rows):
                continue
            here = {r: [p for p in of if column[p.at] not in row] for r, of in able.items()}
            if not fits(here, orders):
                rows.append(row)
                yield row


def fits(able: dict[int, list[Position]], orders: Iterable[Order]) -> bool:
    """Whether rules find positions in the order that ties them. Each takes the first that it may, and moves on only as
    far as it must: what is demanded are only lower bounds of ranks, so this finds an assignment if there is one."""
    ranks = {r: sorted({p.rank for p in of}) for r, of in able.items()}
    if not all(ranks.values()):
        return False
    at = {r: of[0] for r, of in ranks.items()}
    tied = list(orders)
    moved = True
    while moved:
        moved = False
        for o in tied:
            pairs = ((o.first, o.then), (o.then, o.first)) if o.same else ((o.first, o.then),)
            for a, b in pairs:
                if at[b] < at[a]:
                    later = next((rank for rank in ranks[b] if rank >= at[a]), None)
                    if later is None:
                        return False
                    at[b] = later
                    moved = True
    return True
