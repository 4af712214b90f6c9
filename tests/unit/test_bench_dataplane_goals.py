"""How the benchmark of the dataplanes reads its load and judges its goals; what is fast, no test says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import dataplane_table as table
from benchmarks.dataplane import application_goals, hop_goals, tail_goal
from benchmarks.dataplane_load import Sample, rank, read_log, sample
from benchmarks.dataplane_stand import Refused

PLAIN = Sample(1000, 0, 10_000.0, 50.0, 100.0, 900.0, 0, 40.0, 45.0)
GOAL = table.Goal("throughput", "kernel", "nothing", table.rate, True, 0.9, ("nothing", "control"))


def rounds(kernel: float, control: float = 1.0) -> dict[str, list[Sample]]:
    """Three rounds on a machine that gets slower and slower, for all alike."""
    rates = (10_000.0, 5_000.0, 2_500.0)
    share = {"nothing": 1.0, "control": control, "kernel": kernel}
    return {arm: [replace(PLAIN, rate=r * x) for r in rates] for arm, x in share.items()}


def test_a_log_becomes_a_sample() -> None:
    log = "1000000\t200\t50\n1000060\t200\t30000\n1040000\t403\t70\n1999900\t-1\t100\n"
    found = sample(read_log(log), cpu=400, machine=800)
    assert found == Sample(4, 2, pytest.approx(4.0), 85.0, 30000, 30000, 1, 100.0, 200.0)
    with pytest.raises(Refused):
        sample(read_log(""), 1, 1)


def test_a_rank_is_a_value_that_was_seen() -> None:
    assert [rank(range(1, 101), share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert rank([7.0], 0.99) == 7.0


def test_ratios_are_taken_within_rounds() -> None:
    assert table.ratio(rounds(0.95), "kernel", "nothing", table.rate) == pytest.approx(0.95)
    assert table.spread(rounds(0.95), "kernel", "nothing", table.rate) == pytest.approx((0.95, 0.95))


@pytest.mark.parametrize(
    ("kernel", "control", "verdict"),
    [(0.95, 1.0, "holds"), (0.85, 1.0, "missed"), (0.95, 1.06, "not claimed"), (0.85, 0.9, "not claimed")],
)
def test_a_goal_is_claimed_only_where_nothing_against_nothing_is_near_one(
    kernel: float, control: float, verdict: str
) -> None:
    found = table.judge(GOAL, rounds(kernel, control))
    assert found.verdict == verdict
    assert f"nothing against nothing {'was ' if verdict == 'not claimed' else ''}{control:.2f}" in found.why
    assert ("by 0.05" in found.why) == (verdict == "missed")


def test_a_bound_above_is_held_from_below() -> None:
    goal = replace(GOAL, at_least=False, bound=0.9)
    assert table.judge(goal, rounds(0.85)).verdict == "holds"
    assert table.judge(goal, rounds(0.95)).verdict == "missed"


def test_an_arm_that_did_not_run_is_said() -> None:
    found = table.judge(GOAL, {"nothing": [PLAIN], "control": [PLAIN]})
    assert (found.verdict, found.why) == ("not measured", "`kernel` did not run")


@pytest.mark.parametrize(("kernel", "said"), [(0.95, "holds, nothing"), (0.85, "missed, by 0.05; nothing")])
def test_what_is_not_built_never_holds(kernel: float, said: str) -> None:
    found = table.not_there(table.judge(GOAL, rounds(kernel)), "a page")
    assert (found.verdict, found.figure) == ("not built", f"at best {kernel} ({kernel}–{kernel})")
    assert said in found.why
    assert found.why.endswith("a page")


def test_the_tolerance_is_half_of_what_a_goal_allows() -> None:
    assert GOAL.tolerance == pytest.approx(0.05)
    assert replace(GOAL, bound=8).tolerance == table.MOST
    every = [*hop_goals(), tail_goal("anywhere"), *application_goals(1)]
    assert all(0 < goal.tolerance <= table.MOST for goal in every)
    assert len({goal.what for goal in every}) == len(every) == 8


def test_tables() -> None:
    names = {"nothing": "nothing", "control": "control", "kernel": "eBPF"}
    lines = list(table.rows(rounds(0.5), names, {"kernel": 2.4}, "nothing"))
    assert [line[:3] for line in lines] == [
        ["nothing", "5,000", "1.00"],
        ["control", "5,000", "1.00"],
        ["eBPF", "2,500", "0.50"],
    ]
    assert table.text(("a", "b", ""), [["x", "10", "why"], ["longer", "1", "not"]]) == (
        "a        b\nx       10  why\nlonger   1  not"
    )
    assert table.markdown(("a", "b"), [["x", "1"]]) == "| a | b |\n| --- | --: |\n| x | 1 |\n"
