"""The cheapest set of columns that meets every row, where a row is a set of columns of which one has to be in it.

Of some columns at most one may be taken (`Cover.rivals`). A problem is first made smaller: a row with one column
decides it, a row that holds another says nothing, a column that does what another does and costs no less is not
needed. What is left falls apart into parts that share no column; each is solved by itself, small ones by search,
others by the integer programming of HiGHS, and parts that were solved before are remembered."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Row: TypeAlias = frozenset[int]

_SEARCHED = 14  # columns of a part that is solved by search
_REMEMBERED = 4096  # parts
_ANSWERS = 8  # whole problems, which are large
_WHOLE = 1e-6  # how far from 0 or 1 a value of the solver is that means it


@dataclass(frozen=True, slots=True)
class Found:
    """Columns that meet the rows, and a cost that no other choice goes below. None of them: nothing meets the rows."""

    columns: frozenset[int] | None
    bound: float
    optimal: bool


@dataclass(slots=True)
class Cover:
    """Costs of columns are at least 0. `rank` breaks ties: among the cheapest, fewer columns of high rank, then fewer
    columns, then the first. `rivals`: sets of columns of which at most one may be taken."""

    costs: Sequence[int]
    rank: Sequence[int]
    rivals: tuple[Row, ...] = ()
    known: dict[tuple[frozenset[Row], float], Found] = field(default_factory=dict)
    _answers: dict[tuple[frozenset[Row], float], Found] = field(default_factory=dict)
    _rivals_of: dict[int, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for of in self.rivals:
            for c in of:
                self._rivals_of[c] = self._rivals_of.get(c, frozenset()) | (of - {c})

    def cost(self, columns: Iterable[int]) -> int:
        return sum(self.costs[c] for c in columns)

    def cheapest(
        self,
        rows: Iterable[Row],
        gap: float = 0.0,
        seconds: float = math.inf,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Found:
        """The cheapest choice; with a `gap`, one that costs at most so much more, relatively, as far as is proven."""
        whole = frozenset(rows)
        found = self._answers.get((whole, gap))
        if found is None:
            found = self._cheapest(whole, gap, seconds, checkpoint)
            if len(self._answers) >= _ANSWERS:
                self._answers.clear()
            if found.optimal or gap:
                self._answers[whole, gap] = found
        return found

    def _cheapest(self, rows: frozenset[Row], gap: float, seconds: float, checkpoint: Callable[[], None]) -> Found:
        reduced = self._reduced(rows)
        if reduced is None:
            return Found(None, math.inf, True)
        taken, left = reduced
        columns, bound, optimal = set(taken), float(self.cost(taken)), True
        for part in parts(left, self.rivals):
            checkpoint()
            found = self._part(part, gap, seconds, checkpoint)
            if found.columns is None:
                return Found(None, math.inf, found.optimal)
            columns |= found.columns
            bound += found.bound
            optimal &= found.optimal
        return Found(frozenset(columns), bound, optimal)

    def _part(self, part: frozenset[Row], gap: float, seconds: float, checkpoint: Callable[[], None]) -> Found:
        found = self.known.get((part, 0.0)) or self.known.get((part, gap))
        if found is None:
            columns = sorted(frozenset().union(*part))
            if len(columns) <= _SEARCHED:
                found = self._searched(part, columns)
            else:
                found = _programmed(self, part, columns, gap, seconds, checkpoint)
            if len(self.known) >= _REMEMBERED:
                self.known.clear()
            if found.optimal or gap:
                self.known[part, 0.0 if found.optimal else gap] = found
        return found

    # --- smaller problems ---

    def _before(self, a: int, b: int) -> bool:
        """Whether column `a` is as good as `b`, where both do the same."""
        return (self.costs[a], self.rank[a], a) <= (self.costs[b], self.rank[b], b)

    def _reduced(self, rows: Iterable[Row]) -> tuple[set[int], list[Row]] | None:
        """(columns that have to be taken, or are no worse than any other choice; rows that are left); None if nothing
        meets the rows."""
        taken: set[int] = set()
        excluded: set[int] = set()
        left = set(rows)
        compared: set[Row] = set()  # rows of which none holds another
        looked_at: set[Row] = set()  # rows of which every column is needed
        while True:
            for row in left:
                if len(row) == 1:
                    (column,) = row
                    if column not in taken:
                        taken.add(column)
                        excluded |= self._rivals_of.get(column, frozenset())
            if taken & excluded:
                return None
            smaller = {row - excluded if excluded & row else row for row in left if not row & taken}
            if frozenset() in smaller:
                return None
            smaller = compared = _without_supersets(smaller, smaller - compared)
            useless = self._useless(smaller, frozenset().union(*(looked_at ^ smaller)))
            looked_at = smaller
            if useless:
                smaller = {row - useless if row & useless else row for row in smaller}
            if smaller == left:
                return taken, sorted(smaller, key=sorted)
            left = smaller

    def _useless(self, rows: set[Row], among: frozenset[int]) -> set[int]:
        """Of some columns, those beside which another meets the same rows and more, and is as good."""
        of: dict[int, set[Row]] = {}
        for row in rows:
            if not among.isdisjoint(row):
                for c in row:
                    of.setdefault(c, set()).add(row)
        useless: set[int] = set()
        for c in sorted(among & of.keys()):
            mine = of[c]
            shortest = min(mine, key=len)
            for other in shortest:
                if other == c or other in useless or not self._before(other, c):
                    continue
                if mine <= of[other] and self._rivals_of.get(other, frozenset()) <= {c}:
                    useless.add(c)
                    break
        return useless

    # --- single parts ---

    def _weight(self, c: int) -> tuple[int, int, int]:
        return (self.costs[c], self.rank[c], c)

    def _searched(self, part: frozenset[Row], columns: Sequence[int]) -> Found:
        """Branches on the columns of a shortest row that is not met, the best first."""
        best: tuple[tuple[int, int, int], list[int]] | None = None
        ordered = sorted(part, key=lambda row: (len(row), sorted(row)))

        def search(chosen: frozenset[int], without: frozenset[int], value: tuple[int, int, int]) -> None:
            nonlocal best
            row = next((r for r in ordered if not r & chosen), None)
            if row is None:
                if best is None or (value, sorted(chosen)) < best:
                    best = (value, sorted(chosen))
                return
            for c in sorted(row - without, key=self._weight):
                more = (value[0] + self.costs[c], value[1] + self.rank[c], value[2] + 1)
                if best is None or more <= best[0]:
                    search(chosen | {c}, without | {c} | self._rivals_of.get(c, frozenset()), more)
                without |= {c}

        search(frozenset(), frozenset(), (0, 0, 0))
        if best is None:
            return Found(None, math.inf, True)
        return Found(frozenset(best[1]), float(best[0][0]), True)


def parts(rows: Sequence[Row], rivals: Iterable[Row] = ()) -> list[frozenset[Row]]:
    """Rows by the columns that they share, or that exclude each other, directly or over others."""
    parent: dict[int, int] = {}

    def root(c: int) -> int:
        while parent.setdefault(c, c) != c:
            parent[c] = c = parent[parent[c]]
        return c

    for row in rows:
        first, *others = row
        a = root(first)
        for c in others:
            parent[root(c)] = a
    for of in rivals:
        met = [c for c in of if c in parent]
        for c in met[1:]:
            parent[root(c)] = root(met[0])
    out: dict[int, list[Row]] = {}
    for row in rows:
        out.setdefault(root(next(iter(row))), []).append(row)
    return [frozenset(of) for of in out.values()]


def _without_supersets(rows: set[Row], new: set[Row]) -> set[Row]:
    """The rows that hold no other; of those that are not new it is known that they hold none of each other."""
    columns = frozenset().union(*new)
    near = sorted((row for row in rows if not columns.isdisjoint(row)), key=len)
    by_column: dict[int, list[Row]] = {}
    holding: set[Row] = set()
    for row in near:
        for c in row:
            if any(other < row for other in by_column.get(c, ())):
                holding.add(row)
                break
        else:
            by_column.setdefault(min(row), []).append(row)
    return rows - holding


def _programmed(
    cover: Cover,
    part: frozenset[Row],
    columns: Sequence[int],
    gap: float,
    seconds: float,
    checkpoint: Callable[[], None],
) -> Found:
    """One integer program. Costs are integers, so a proof ends within one; ties are broken by what is added to them."""
    import highspy
    import numpy as np
    from highspy import _core

    # The solver has no usable annotations; what comes out of it is made plain here. `highspy.Highs` prints a banner to
    # standard output before it can be told not to, which a language server cannot have; its base class does not.
    core: Any = _core
    h = core._Highs()
    for option, value in (
        ("log_to_console", False),
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 0),
        ("mip_rel_gap", gap),
        ("mip_abs_gap", 0.5),
    ):
        h.setOptionValue(option, value)
    if seconds < math.inf:
        h.setOptionValue("time_limit", float(seconds))
    at = {c: i for i, c in enumerate(columns)}
    inf = highspy.kHighsInf
    rows = sorted(part, key=sorted)
    rivals = [kept for of in cover.rivals if len(kept := [at[c] for c in of if c in at]) > 1]
    indices = [at[c] for row in rows for c in sorted(row)] + [c for of in rivals for c in sorted(of)]
    starts = [0]
    for row in (*rows, *rivals):
        starts.append(starts[-1] + len(row))
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(columns), len(rows) + len(rivals)
    lp.col_cost_ = np.array(_perturbed(cover, columns))
    lp.col_lower_, lp.col_upper_ = np.zeros(len(columns)), np.ones(len(columns))
    lp.row_lower_ = np.array([1.0] * len(rows) + [0.0] * len(rivals))
    lp.row_upper_ = np.array([inf] * len(rows) + [1.0] * len(rivals))
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.array(starts, dtype=np.int32)
    lp.a_matrix_.index_ = np.array(indices, dtype=np.int32)
    lp.a_matrix_.value_ = np.ones(len(indices))
    h.passModel(lp)
    stopped = _interruptible(h, core, checkpoint)
    h.run()
    if h.getModelStatus() == highspy.HighsModelStatus.kOptimal and not stopped:
        values = dict(zip(columns, h.getSolution().col_value, strict=True))
        found = _rounded(cover, part, values, _bound(h.getInfo().objective_function_value), gap, seconds, checkpoint)
        if found is not None:
            return found
    h.clearSolver()  # what it knows of the other problem would be reported as a bound of this one
    lp.integrality_ = [highspy.HighsVarType.kInteger] * len(columns)
    h.passModel(lp)
    if not stopped:
        h.run()
    if stopped:
        raise stopped[0]
    info, status = h.getInfo(), h.getModelStatus()
    if status == highspy.HighsModelStatus.kInfeasible:
        return Found(None, math.inf, True)
    if info.primal_solution_status != 2:
        return Found(None, math.inf, False)
    chosen = frozenset(c for c, v in zip(columns, h.getSolution().col_value, strict=True) if v > 0.5)
    cost = cover.cost(chosen)
    bound = min(float(cost), _bound(info.mip_dual_bound))
    optimal = cost - bound < 1
    return Found(chosen, float(cost) if optimal else bound, optimal)


def _bound(objective: float) -> float:
    """The least whole cost, from the least of costs to which something is added (`_perturbed`)."""
    return float(math.ceil(float(objective) - 0.5 - 1e-6))


def _rounded(
    cover: Cover,
    part: frozenset[Row],
    values: Mapping[int, float],
    bound: float,
    gap: float,
    seconds: float,
    checkpoint: Callable[[], None],
) -> Found | None:
    """The solution of the linear program, if it takes whole columns or the few others can be chosen as cheaply: then
    that is the proof. Mostly it is so."""
    taken = frozenset(c for c, v in values.items() if v > 1 - _WHOLE)
    between = frozenset(c for c, v in values.items() if _WHOLE <= v <= 1 - _WHOLE)
    if 2 * len(between) > len(values):
        return None
    rest = cover.cheapest([row & between for row in part if not row & taken], gap, seconds, checkpoint)
    if rest.columns is None:
        return None
    chosen = taken | rest.columns
    cost = cover.cost(chosen)
    if cost - bound < 1:
        return Found(chosen, float(cost), True)
    return Found(chosen, bound, False) if cost - bound <= gap * cost else None


def _interruptible(h: Any, core: Any, checkpoint: Callable[[], None]) -> list[BaseException]:
    """Makes the solver ask, while it runs, whether to go on. What the question raised is in the list behind it."""
    raised: list[BaseException] = []

    def ask(_kind: Any, _message: Any, _out: Any, into: Any, _data: Any) -> None:
        if raised:
            into.user_interrupt = True
            return
        try:
            checkpoint()
        except BaseException as e:
            raised.append(e)
            into.user_interrupt = True

    h.setCallback(ask, None)
    for kind in (core.cb.HighsCallbackType.kCallbackMipInterrupt, core.cb.HighsCallbackType.kCallbackSimplexInterrupt):
        h.startCallback(kind)
    return raised


def _perturbed(cover: Cover, columns: Sequence[int]) -> list[float]:
    """Costs with something added that decides between equal ones, and sums up to less than a half."""
    ranks = max((cover.rank[c] for c in columns), default=0) + 1
    count = len(columns)
    unit = 0.4 / (count * (2.0 * ranks + 1.0))
    return [cover.costs[c] + unit * (2.0 * cover.rank[c] + 0.5 + 0.5 * i / count) for i, c in enumerate(columns)]


def greedy(cover: Cover, rows: Iterable[Row], start: Iterable[int] = ()) -> set[int] | None:
    """Some choice that meets the rows, soon: the column that meets most for its cost first, then those away that are
    not needed. None if the rivals leave none on this way."""
    chosen = set(start)
    left = {row for row in rows if not row & chosen}
    of: dict[int, set[Row]] = {}
    for row in left:
        for c in row:
            of.setdefault(c, set()).add(row)
    barred = {r for c in chosen for r in cover._rivals_of.get(c, ())}
    heap = [(cover.costs[c] / len(met), cover.rank[c], c, len(met)) for c, met in of.items()]
    heapq.heapify(heap)
    while left and heap:
        _, rank, c, size = heapq.heappop(heap)
        met = of[c]
        if c in barred or not met:
            continue
        if len(met) != size:
            heapq.heappush(heap, (cover.costs[c] / len(met), rank, c, len(met)))
            continue
        chosen.add(c)
        barred |= cover._rivals_of.get(c, frozenset())
        for row in list(met):
            left.discard(row)
            for other in row:
                of[other].discard(row)
    return None if left else chosen


def pruned(cover: Cover, rows: Iterable[Row], chosen: set[int]) -> set[int]:
    """A choice without what its other columns make needless, the most costly first."""
    count: dict[Row, int] = {}
    of: dict[int, list[Row]] = {}
    for row in rows:
        inside = row & chosen
        count[row] = len(inside)
        for c in inside:
            of.setdefault(c, []).append(row)
    kept = set(chosen)
    for c in sorted(chosen, key=lambda c: (-cover.costs[c], -cover.rank[c], -c)):
        if all(count[row] > 1 for row in of.get(c, ())):
            kept.discard(c)
            for row in of.get(c, ()):
                count[row] -= 1
    return kept
