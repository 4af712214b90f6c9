"""Rows, ratios and goals of the benchmark of the dataplanes."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.dataplane_load import Sample

MOST = 0.15  # no ratio is claimed where the control is farther from 1 than this
Rounds = Mapping[str, Sequence[Sample]]  # arm to one sample a round
Value = Callable[[Sample], float]


def rate(s: Sample) -> float:
    return s.rate


def cpu(s: Sample) -> float:
    return s.cpu


def p99(s: Sample) -> float:
    return s.p99


def ratio(rounds: Rounds, arm: str, base: str, value: Value) -> float:
    """The median over the rounds of the ratio within each: what disturbs the machine disturbs neighbours alike."""
    return statistics.median(value(a) / value(b) for a, b in zip(rounds[arm], rounds[base], strict=True))


def spread(rounds: Rounds, arm: str, base: str, value: Value) -> tuple[float, float]:
    """The smallest and the largest ratio of a round."""
    ratios = [value(a) / value(b) for a, b in zip(rounds[arm], rounds[base], strict=True)]
    return min(ratios), max(ratios)


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio between two arms that is held to a bound. `control`: the two arms between which nothing differs."""

    what: str
    arm: str
    base: str
    value: Value
    at_least: bool
    bound: float
    control: tuple[str, str]

    @property
    def tolerance(self) -> float:
        """How far from 1 the control may be: half of what the goal itself allows, and MOST at most."""
        return min(abs(self.bound - 1) / 2, MOST)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a goal."""

    what: str
    goal: str
    figure: str
    verdict: str  # holds, missed, not claimed, not measured, not built
    why: str = ""


def not_measured(what: str, goal: str, why: str) -> Verdict:
    return Verdict(what, goal, "–", "not measured", why)


def not_there(least: Verdict, where: str) -> Verdict:
    """Of what is not built, with the figures of the least that it would take. `where` it says why."""
    why = f"with the least that it takes: {least.verdict}, {least.why}; why it is not built: {where}"
    return Verdict(least.what, least.goal, f"at best {least.figure}", "not built", why)


def said(goal: Goal) -> str:
    return f"{'at least' if goal.at_least else 'at most'} {goal.bound:g}"


def judge(goal: Goal, rounds: Rounds) -> Verdict:
    """Holds or missed; neither is claimed where the machine was too unquiet to tell."""
    gone = next((arm for arm in (goal.arm, goal.base, *goal.control) if not rounds.get(arm)), None)
    if gone is not None:
        return not_measured(goal.what, said(goal), f"`{gone}` did not run")
    found = ratio(rounds, goal.arm, goal.base, goal.value)
    low, high = spread(rounds, goal.arm, goal.base, goal.value)
    figure = f"{found:.2f} ({low:.2f}–{high:.2f})"
    one, other = goal.control
    control = ratio(rounds, other, one, goal.value)
    if abs(control - 1) > goal.tolerance:
        why = f"nothing against nothing was {control:.2f}, not within {goal.tolerance:.3g} of 1"
        return Verdict(goal.what, said(goal), figure, "not claimed", why)
    holds = found >= goal.bound if goal.at_least else found <= goal.bound
    why = f"nothing against nothing {control:.2f}"
    if not holds:
        why = f"by {abs(found - goal.bound):.2f}; {why}"
    return Verdict(goal.what, said(goal), figure, "holds" if holds else "missed", why)


def rows(rounds: Rounds, names: Mapping[str, str], memory: Mapping[str, float], base: str) -> Iterator[list[str]]:
    """One line an arm: medians over the rounds; ratios are to `base`, in the same round."""
    for arm, samples in rounds.items():
        if not samples:
            continue

        def middle(value: Value, samples: Sequence[Sample] = samples) -> float:
            return statistics.median(map(value, samples))

        yield [
            names[arm],
            f"{middle(rate):,.0f}",
            f"{ratio(rounds, arm, base, rate):.2f}",
            f"{middle(lambda s: s.p50):,.0f}",
            f"{middle(p99):,.0f}",
            f"{ratio(rounds, arm, base, p99):.2f}",
            f"{middle(cpu):.0f}",
            f"{ratio(rounds, arm, base, cpu):.2f}",
            f"{middle(lambda s: s.machine):.0f}",
            f"{memory.get(arm, 0):.0f}",
            f"{sum(s.failed for s in samples)}",
        ]


HEAD = (
    "arm",
    "requests/s",
    "×",
    "p50 µs",
    "p99 µs",
    "×",
    "CPU µs/request",
    "×",
    "machine µs/request",
    "MiB between",
    "failed",
)
GOALS_HEAD = ("goal", "bound", "measured", "verdict", "")


def goal_rows(verdicts: Sequence[Verdict]) -> list[list[str]]:
    return [[v.what, v.goal, v.figure, v.verdict, v.why] for v in verdicts]


def text(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table for a terminal: figures to the right, the first column and one without a head to the left."""
    widths = [max(len(row[i]) for row in [head, *lines]) for i in range(len(head))]
    left = {0, *(i for i, name in enumerate(head) if not name)}
    shown = []
    for row in [head, *lines]:
        cells = [c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """The same for a page."""
    marks = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(head), marks, *map(list, lines)]) + "\n"
