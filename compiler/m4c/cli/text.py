"""Problems as text for people: the source line, a caret, the other place, a way out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from m4c.cli.paths import relative
from m4c.diagnostics.registry import Severity, rule
from m4c.semantics.problems import Problem
from m4c.workspace import Span, Workspace

_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFORMATION: "36", Severity.HINT: "36"}
WIDTH = 100


def render_text(workspace: Workspace, problems: Iterable[Problem], color: bool) -> str:
    """Every problem with its source, a blank line behind each."""
    return "".join(_problem(workspace, p, color) + "\n" for p in problems)


def _problem(workspace: Workspace, problem: Problem, color: bool) -> str:
    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if color else text

    r = rule(problem.code)
    head = paint(f"{r.severity.word}[{problem.code}]", f"1;{_COLORS[r.severity]}")
    lines = [f"{head}: {_wrapped(problem.message)}"]
    lines += _source(workspace, workspace.span(problem.place), "^", paint, _COLORS[r.severity])
    for related in problem.related:
        lines += _source(workspace, workspace.span(related.place), "-", paint, "36", related.message)
    lines += [paint("   = fix: ", "1") + fix.title for fix in problem.fixes]
    return "\n".join(lines) + "\n"


def _wrapped(message: str) -> str:
    return "\n    ".join(textwrap.wrap(message, WIDTH, break_long_words=False, break_on_hyphens=False))


def _source(workspace: Workspace, span: Span, caret: str, paint, color: str, label: str = "") -> list[str]:  # type: ignore[no-untyped-def]
    text = workspace.text(span.file).split("\n")
    line = text[span.start_line].rstrip("\r") if span.start_line < len(text) else ""
    start = span.start - sum(len(x) + 1 for x in text[: span.start_line])
    length = span.end - span.start if span.end_line == span.start_line else len(line) - start
    margin = " " * len(str(span.start_line + 1))
    shown = line.replace("\t", " ")
    under = " " * start + caret * max(1, min(length, len(line) - start))
    where = f"{relative(span.file)}:{span.start_line + 1}:{span.start_char + 1}"
    return [
        f"  {margin}{paint('-->', '34')} {where}",
        f"  {margin} {paint('|', '34')}",
        f"  {paint(f'{span.start_line + 1} |', '34')} {shown}",
        f"  {margin} {paint('|', '34')} {paint(f'{under} {label}'.rstrip(), color)}",
    ]
