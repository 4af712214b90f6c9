"""Fixes applied to text."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import accumulate

from m4c.semantics.problems import Fix
from m4c.workspace import Span, Workspace


@dataclass(frozen=True, slots=True)
class TextEdit:
    """Replaces a span by a text."""

    span: Span
    text: str


def text_edits(workspace: Workspace, fix: Fix) -> tuple[TextEdit, ...]:
    """The edits of a fix in the files as they are now, with line ends as each file has them."""
    out = []
    for edit in fix.edits:
        span = workspace.span(edit.place)
        text = workspace.text(span.file)
        new = edit.text.replace("\r\n", "\n")
        crlf = 2 * text.count("\r\n") > text.count("\n")
        out.append(TextEdit(span, new.replace("\n", "\r\n") if crlf else new))
    return tuple(dict.fromkeys(out))


def line_edits(workspace: Workspace, file: str, new: str) -> tuple[TextEdit, ...]:
    """The edits, line by line, that turn a file's text into another one."""
    old = workspace.text(file).splitlines(keepends=True)
    lines = new.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, old))]
    found = SequenceMatcher(None, old, lines, autojunk=False).get_opcodes()
    return tuple(
        TextEdit(workspace.at(file, starts[i0], starts[i1]), "".join(lines[j0:j1]))
        for what, i0, i1, j0, j1 in found
        if what != "equal"
    )


def apply_edits(workspace: Workspace, edits: tuple[TextEdit, ...]) -> dict[str, str]:
    """The new text of every file that edits change. Edits do not overlap."""
    by_file: dict[str, list[TextEdit]] = {}
    for edit in edits:
        by_file.setdefault(edit.span.file, []).append(edit)
    out = {}
    for file, some in by_file.items():
        text = workspace.text(file)
        for edit in sorted(some, key=lambda e: (e.span.start, e.span.end), reverse=True):
            text = text[: edit.span.start] + edit.text + text[edit.span.end :]
        out[file] = text
    return out


def apply_fix(workspace: Workspace, fix: Fix) -> dict[str, str]:
    """The new text of every file that a fix changes."""
    return apply_edits(workspace, text_edits(workspace, fix))
