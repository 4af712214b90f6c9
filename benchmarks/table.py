"""The budgets, and the table that holds what was measured against them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.results import Figure

BUDGETED = 10_000  # policies of the workspace that the budgets are for
LARGE = 100_000


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured, and what its median and its 99th percentile may be. `against` names a figure of the same run
    whose median is the budget. `large`: of the large workspace."""

    key: str
    title: str
    median: float | None = None
    p99: float | None = None
    against: str = ""
    large: bool = False


ROWS = (
    Row("edit-file", "edit -> the file's own diagnostics, in process", 2, 5),
    Row("edit-all", "edit -> all conflicts of the workspace, in process", 5, 15),
    Row("editor-edit", "edit -> all its diagnostics, in an editor", 10, 25),
    Row("editor-edit-first", "edit -> the first of them, in an editor"),
    Row("completion", "completion, in an editor", 5, 15),
    Row("hover", "hover, in an editor", 5, 15),
    Row("definition", "definition, in an editor", 5, 15),
    Row("rename", "rename of a policy that many files use", 100),
    Row("check", "full check from nothing, no cache", 6),
    Row("check-cached", "full check, with the cache", 1.5),
    Row("check-edited", "full check, with the cache, after an edit of one file"),
    Row("peer", "the peer's comparison of path strings, in place of it"),
    Row("editor-ready", "a workspace opened -> its diagnostics, in an editor"),
    Row("start", "start of m4ls -> answer to `initialize`", against="start-bare"),
    Row("start-bare", "start of a bare pygls server -> the same"),
    Row("memory", "memory of the server (now, at most)", None, 600),
    Row("check", "full check, no cache", 60, large=True),
    Row("edit-all", "edit -> all conflicts, in process", None, 50, large=True),
)
HEAD = ("what", "median", "budget", "p99", "budget", "", "")


@dataclass(frozen=True, slots=True)
class Line:
    """A row with what was measured. `verdict`: `holds`, `missed`, or nothing where there is nothing to hold."""

    title: str
    figure: Figure
    median: float | None
    p99: float | None
    verdict: str

    @property
    def cells(self) -> tuple[str, ...]:
        f = self.figure
        if not f.count:
            return self.title, "-", _said(self.median, f.unit), "-", _said(self.p99, f.unit), self.verdict, f.note
        several = f.count > 1 or f.unit == "MB"
        p99 = _said(f.p99, f.unit) if several else ""
        return (
            self.title, _said(f.median, f.unit), _said(self.median, f.unit), p99, _said(self.p99, f.unit), self.verdict,
            f.note,
        )  # fmt: skip


def lines(results: Mapping[str, Any], large: Mapping[str, Any] | None = None) -> Iterator[Line]:
    """The rows of a run, and those of one on the large workspace if there was one."""
    for row in ROWS:
        of = large if row.large else results
        if of is None:
            continue
        figures = {f["key"]: Figure(**f) for f in of["figures"]}
        figure = figures.get(row.key)
        if figure is None:
            continue
        against = figures.get(row.against)
        median = against.median if against and against.count else row.median
        title = f"{of['size']['policies']:,} policies: {row.title}" if row.large else row.title
        yield Line(title, figure, median, row.p99, verdict(figure, median, row.p99))


def verdict(figure: Figure, median: float | None, p99: float | None) -> str:
    """Whether a figure holds its budgets: `holds`, `missed`, or nothing where there is nothing to hold."""
    budgets = [b for b in (median, p99) if b is not None]
    if figure.stopped and budgets:  # what was stopped before its budget was over is neither
        return "missed" if figure.unit != "s" or figure.stopped >= max(budgets) else ""
    if not figure.count or not budgets:
        return ""
    kept = (median is None or figure.median <= median) and (p99 is None or figure.p99 <= p99)
    return "holds" if kept else "missed"


def _said(value: float | None, unit: str) -> str:
    """A value as people read it, to about three digits."""
    if value is None:
        return ""
    digits = 0 if value >= 100 or value == int(value) else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def on(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['cpu']}, {machine['cores']} cores (load {machine['load']} before), Python {machine['python']}, "
        f"{machine['system']}"
    )


def about(results: Mapping[str, Any]) -> list[str]:
    """What was measured on, and where."""
    size, machine, facts = results["size"], results["machine"], results["facts"]
    out = [
        f"{size['policies']:,} policies in {size['files']:,} files, {size['services']:,} services, {size['calls']:,} "
        f"calls, seed {results['seed']}",
        on(machine),
    ]
    if facts:
        findings = ", ".join(f"{n:,} {code}" for code, n in facts["findings"].items()) or "none"
        out.append(f"{facts['conflicting']:,} of the policies ({facts['share']:.2%}) are in a conflict")
        out.append(f"findings: {findings}")
    if size["policies"] != BUDGETED:
        out.append(f"the budgets are for {BUDGETED:,} policies")
    return out


def text(table: Iterable[Line]) -> str:
    """The table for a terminal."""
    rows = [HEAD, *(line.cells for line in table)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    aligned = [
        [cell.ljust(w) if i in (0, 5, 6) else cell.rjust(w) for i, (cell, w) in enumerate(zip(r, widths, strict=True))]
        for r in rows
    ]
    return "\n".join("  ".join(row).rstrip() for row in aligned) + "\n"


def markdown(table: Iterable[Line]) -> str:
    """The table for a page."""
    rule = ("---", "--:", "--:", "--:", "--:", "---", "---")
    rows = [HEAD, rule, *(line.cells for line in table)]
    return (
        "\n".join(f"| {' | '.join(cell.replace('->', '→').replace('|', '/') for cell in row)} |" for row in rows) + "\n"
    )
