"""The covering problem behind a plan, held to two other solvers: brute force, and OR-Tools' CP-SAT where that is too
much."""

from __future__ import annotations

from itertools import combinations
from random import Random

import pytest
from budget import many
from hypothesis import given
from hypothesis import strategies as st
from m4c.placement.cover import Cover, greedy, pruned
from m4c.placement.solve import NoPlanInTime


def problem(seed: int, columns: int, rows: int) -> tuple[Cover, set[frozenset[int]]]:
    """Costs as of kernels and proxies; some columns exclude each other."""
    rng = Random(seed)
    costs = [rng.choice((1, 1, 3, 50, 50)) for _ in range(columns)]
    rivals = []
    if rng.random() < 0.5:
        shuffled = rng.sample(range(columns), columns)
        rivals = [frozenset(shuffled[i : i + 2]) for i in range(0, columns // 3, 2)]
    made = {frozenset(rng.sample(range(columns), min(columns, rng.choice((1, 2, 2, 3, 3, 4))))) for _ in range(rows)}
    return Cover(costs, [int(c == 50) for c in costs], tuple(rivals)), made


def met(cover: Cover, rows: set[frozenset[int]], chosen) -> bool:
    return all(row & chosen for row in rows) and all(len(of & chosen) <= 1 for of in cover.rivals)


def best_of_all(cover: Cover, rows: set[frozenset[int]]) -> tuple | None:
    """The first by cost, proxies, number and names."""
    found = None
    for size in range(len(cover.costs) + 1):
        for chosen in combinations(range(len(cover.costs)), size):
            if met(cover, rows, set(chosen)):
                value = (cover.cost(chosen), sum(cover.rank[c] for c in chosen), size, list(chosen))
                found = value if found is None or value < found else found
    return found


@given(st.integers(0, 2**32))
@many(300)
def test_small_problems_have_the_first_of_the_cheapest(seed: int):
    cover, rows = problem(seed, 8, 9)
    best = best_of_all(cover, rows)
    found = cover.cheapest(rows)
    assert found.optimal
    if best is None:
        assert found.columns is None
    else:
        assert sorted(found.columns) == best[3]
        assert found.bound == best[0]


def by_cp_sat(cover: Cover, rows: set[frozenset[int]]) -> int | None:
    cp_model = pytest.importorskip("ortools.sat.python.cp_model")
    model = cp_model.CpModel()
    x = [model.new_bool_var(str(c)) for c in range(len(cover.costs))]
    for row in rows:
        model.add_bool_or([x[c] for c in row])
    for of in cover.rivals:
        model.add_at_most_one([x[c] for c in of])
    model.minimize(sum(k * v for k, v in zip(cover.costs, x, strict=True)))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    status = solver.solve(model)
    return round(solver.objective_value) if status == cp_model.OPTIMAL else None


@given(st.integers(0, 2**32), st.sampled_from([(20, 30), (40, 60), (80, 100)]))
@many(60)
def test_larger_problems_cost_what_another_solver_finds(seed: int, size: tuple[int, int]):
    cover, rows = problem(seed, *size)
    expected = by_cp_sat(cover, rows)
    found = cover.cheapest(rows)
    assert found.optimal
    if expected is None:
        assert found.columns is None
        return
    assert met(cover, rows, found.columns)
    assert cover.cost(found.columns) == found.bound == expected
    assert cover.cheapest(rows) == found
    near = Cover(cover.costs, cover.rank, cover.rivals).cheapest(rows, gap=0.05)
    assert near.bound <= expected <= cover.cost(near.columns) <= near.bound / 0.95 + 1


@given(st.integers(0, 2**32))
@many(200)
def test_quick_choices_meet_all_rows_and_nothing_in_them_is_needless(seed: int):
    cover, rows = problem(seed, 30, 30)
    chosen = greedy(cover, rows)
    if chosen is None:
        assert cover.rivals
        return
    kept = pruned(cover, rows, chosen)
    assert met(cover, rows, kept)
    assert not any(all(row & (kept - {c}) for row in rows) for c in kept)


def test_a_question_may_end_the_solver():
    rng = Random(1)
    rows = {frozenset(rng.sample(range(260), 2)) for _ in range(700)}
    cover = Cover([50] * 260, [1] * 260)  # which takes seconds
    asked = 0

    def stop() -> None:
        nonlocal asked
        asked += 1
        if asked > 3:
            raise NoPlanInTime

    with pytest.raises(NoPlanInTime):
        cover.cheapest(rows, checkpoint=stop)
