"""Problems as text for people: the source line, a caret, the other place, a way out."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Callable, Iterable

from m4c.cli.output import LINE
from m4c.cli.paths import relative
from m4c.diagnostics.registry import Severity, rule
from m4c.semantics.problems import Problem
from m4c.workspace import Span, Workspace

_COLORS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.INFORMATION: "36", Severity.HINT: "36"}
WIDTH = 100  # columns of a message
BEFORE = 60  # columns of a long source line that are shown before the place that is meant

# What would move the cursor or turn the order of letters around is shown as a picture of itself.
_SAFE: dict[int, int | str] = {c: 0x2400 + c for c in range(32)}
_SAFE |= {0x7F: 0x2421, ord("\t"): " "}
_SAFE |= dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")

Paint = Callable[[str, str], str]


def render_text(workspace: Workspace, problems: Iterable[Problem], color: bool) -> str:
    """Every problem with its source, a blank line behind each. The general advice of a code comes once."""
    out, advised = [], set[str]()
    for problem in problems:
        out.append(_problem(workspace, problem, color, problem.code not in advised) + "\n")
        advised.add(problem.code)
    return "".join(out)


def _problem(workspace: Workspace, problem: Problem, color: bool, advise: bool) -> str:
    def paint(text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if color else text

    r, severity = rule(problem.code), workspace.severity(problem)
    head = paint(f"{severity.word}[{problem.code}]", f"1;{_COLORS[severity]}")
    lines = [f"{head}: {_wrapped(problem.message)}"]
    at = workspace.span(problem.place)
    others = [(workspace.span(related.place), related.message) for related in problem.related]
    margin = " " * max(len(str(span.start_line + 1)) for span in (at, *(span for span, _ in others)))
    lines += _source(workspace, at, margin, "^", paint, _COLORS[severity])
    for span, message in others:
        lines += _source(workspace, span, margin, "-", paint, "36", message)
    fixes = workspace.fixes(problem)
    lines += [paint(f"  {margin}= fix: ", "1") + fix.title.translate(_SAFE) for fix in fixes]
    if advise and not fixes and severity <= Severity.WARNING:
        lines.append(paint(f"  {margin}= help: ", "1") + r.mend)
    return "\n".join(lines) + "\n"


def _wrapped(message: str) -> str:
    lines = textwrap.wrap(message.translate(_SAFE), WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n    ".join(lines)


def _source(
    workspace: Workspace, span: Span, margin: str, caret: str, paint: Paint, color: str, label: str = ""
) -> list[str]:
    """The line of a place with the place underlined; of one over several lines, the first. `margin`: spaces, as many as
    a problem's longest line number has digits."""
    if not workspace.text(span.file):  # what could not be read, or a folder
        return [f"  {margin}{paint('-->', '34')} {relative(span.file).translate(_SAFE)}"]
    line_start, line = workspace.line(span.file, span.start_line)
    start = span.start - line_start
    end = span.end - line_start if span.end_line == span.start_line else len(line)
    line, start, end = _window(line.translate(_SAFE), start, max(end, start + 1))
    under = " " * columns(line[:start]) + caret * max(1, columns(line[start:end]))
    number = f"{span.start_line + 1:>{len(margin)}} |"
    where = f"{relative(span.file)}:{span.start_line + 1}:{span.start_char + 1}"
    return [
        f"  {margin}{paint('-->', '34')} {where.translate(_SAFE)}",
        f"  {margin} {paint('|', '34')}",
        f"  {paint(number, '34')} {line}".rstrip(),
        f"  {margin} {paint('|', '34')} {paint(f'{under} {label.translate(_SAFE)}'.rstrip(), color)}",
    ]


def _window(line: str, start: int, end: int) -> tuple[str, int, int]:
    """The part of a long line around a place, and where the place is in it."""
    if len(line) <= LINE:
        return line, start, min(end, len(line))
    first = max(0, min(start - BEFORE, len(line) - LINE))
    last = first + LINE
    before, behind = "…" if first else "", "…" if last < len(line) else ""
    shift = len(before) - first
    return f"{before}{line[first:last]}{behind}", start + shift, min(end, last) + shift


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.category(c) in ("Mn", "Me", "Cf") else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
