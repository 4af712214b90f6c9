"""The picture of the performance page: how each figure grows with the number of policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.table import BUDGETED, ROWS


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure over the sizes: its median or its 99th percentile."""

    key: str
    of: str
    label: str


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    unit: str
    curves: tuple[Curve, ...]


PANELS = (
    Panel(
        "An edit, 99th percentile",
        "ms",
        (
            Curve("edit-file", "p99", "the file's own diagnostics, in process"),
            Curve("edit-all", "p99", "all conflicts, in process"),
            Curve("editor-edit", "p99", "all its diagnostics, in an editor"),
        ),
    ),
    Panel(
        "An answer in an editor, 99th percentile",
        "ms",
        (
            Curve("completion", "p99", "completion"),
            Curve("hover", "p99", "hover"),
            Curve("definition", "p99", "definition"),
            Curve("rename", "median", "rename (median)"),
        ),
    ),
    Panel(
        "A full check, median",
        "s",
        (
            Curve("check", "median", "no cache"),
            Curve("check-edited", "median", "with the cache, one file edited"),
            Curve("check-cached", "median", "with the cache"),
            Curve("peer", "median", "the peer's comparison of strings"),
        ),
    ),
    Panel("Memory of the server, at most", "MB", (Curve("memory", "p99", "m4ls"),)),
)
COLORS = ("#1f5fa8", "#c8501e", "#3b8a4a", "#8a5aa8")
MARKERS = ("o", "s", "^", "D")


def points(results: Sequence[Mapping[str, Any]], curve: Curve) -> list[tuple[int, float]]:
    """(policies, value) of each size that was measured; what was stopped at its limit has no point."""
    found = []
    for of_size in results:
        for f in of_size["figures"]:
            if f["key"] == curve.key and f["count"]:
                found.append((of_size["size"]["policies"], f[curve.of]))
    return sorted(found)


def budget(curve: Curve) -> float | None:
    """What the value may be at the size that the budgets are for."""
    row = next(r for r in ROWS if r.key == curve.key and not r.large)
    return row.p99 if curve.of == "p99" else row.median


def draw(results: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draws the results of all sizes; the same results give the same bytes."""
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "m4"
    matplotlib.rcParams["font.size"] = 9
    picture = Figure(figsize=(9.5, 7), layout="constrained")
    sizes = sorted(r["size"]["policies"] for r in results)
    for axes, panel in zip(picture.subplots(2, 2).flat, PANELS, strict=True):
        for number, curve in enumerate(panel.curves):
            color, marker = COLORS[number], MARKERS[number]
            at = points(results, curve)
            if at:
                axes.plot(*zip(*at, strict=True), color=color, marker=marker, markersize=4, label=curve.label)
            held = budget(curve)
            if at and held is not None and max(sizes) >= BUDGETED:
                axes.plot([BUDGETED], [held], color=color, marker="_", markersize=16, markeredgewidth=2, linestyle="")
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(panel.title, loc="left", fontsize=10)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("policies")
        axes.set_ylabel(panel.unit)
        axes.grid(True, which="major", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        plain = "{x:,.6g}"
        axes.xaxis.set_major_formatter(plain)
        axes.yaxis.set_major_formatter(plain)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(file, format="svg", metadata={"Date": None})
