"""Formatting: of a whole document, of some of its lines, and while somebody types. There is one look for every
program, so editors' own settings of tabs and spaces do not count."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from m4c import project
from m4c.ide.edits import TextEdit
from m4c.syntax.printer import format_text
from m4c.workspace import Workspace

_RUN = re.compile(r"(\s*)(\S+)")


def format_document(workspace: Workspace, file: str) -> str | None:
    """The formatted text of a file; None if it is formatted, or could not be read."""
    if file in workspace.read_problems:
        return None
    text = workspace.text(file)
    formatted = format_text(text)
    return formatted if formatted != text else None


def format_edits(workspace: Workspace, file: str) -> tuple[TextEdit, ...]:
    """The edits that format a file; none for a file that is not M4."""
    formatted = format_document(workspace, file) if file in workspace.db.input("files") else None
    return () if formatted is None else _gaps(workspace, file, 0, len(workspace.text(file)), formatted)


def format_range(workspace: Workspace, file: str, start: int, end: int) -> tuple[TextEdit, ...]:
    """The edits of the lines between two offsets."""
    first, last = (workspace.position(file, at)[0] for at in (start, end))
    if last > first and workspace.position(file, end)[1] == 0:
        last -= 1  # whole lines were selected
    return tuple(_within(format_edits(workspace, file), first, last))


def format_on_type(workspace: Workspace, file: str, offset: int, typed: str) -> tuple[TextEdit, ...]:
    """The edits after a `;`, of its line, and after a `}`, of all that the declaration has up to there."""
    if file not in workspace.db.input("files") or typed not in (";", "}"):
        return ()
    item = next((i for i in project.items(workspace.db, file) if i.start < offset <= i.end), None)
    line = workspace.position(file, offset)[0]
    if item is None or workspace.position(file, item.start)[1]:
        return ()
    edits = _gaps(workspace, file, item.start, item.end, format_text(item.text).rstrip("\r\n"))
    first = line if typed == ";" else workspace.position(file, item.start)[0]
    return tuple(_within(edits, first, line))


def _gaps(workspace: Workspace, file: str, start: int, end: int, new: str) -> tuple[TextEdit, ...]:
    """The edits that turn a part of a file into its formatted text, a gap between two words each: the formatter moves
    white space and nothing else. So any of them can be made without the others."""
    text = workspace.text(file)
    out = []
    at, there = start, 0
    while True:
        old_run, new_run = _RUN.match(text, at, end), _RUN.match(new, there)
        if old_run is None or new_run is None:
            if text[at:end] != new[there:]:
                out.append(TextEdit(workspace.at(file, at, end), new[there:]))
            return tuple(out)
        if old_run[1] != new_run[1]:
            pairs = enumerate(zip(old_run[1], new_run[1], strict=False))
            shorter = min(len(old_run[1]), len(new_run[1]))
            kept = next((i for i, (a, b) in pairs if a != b), shorter)  # an indentation is an edit of its own line
            out.append(TextEdit(workspace.at(file, at + kept, old_run.end(1)), new_run[1][kept:]))
        same = min(len(old_run[2]), len(new_run[2]))
        if old_run[2][:same] != new_run[2][:same]:  # never, unless the formatter is broken
            return (TextEdit(workspace.at(file, start, end), new),)
        at, there = old_run.start(2) + same, new_run.start(2) + same


def _within(edits: Iterable[TextEdit], first: int, last: int) -> Iterator[TextEdit]:
    """The edits that change no line but those from `first` to `last`, both included."""
    for edit in edits:
        span = edit.span
        if first <= span.start_line and span.end_line <= last:
            yield edit
