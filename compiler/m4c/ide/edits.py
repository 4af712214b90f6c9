"""Fixes applied to text."""

from __future__ import annotations

from m4c.semantics.problems import Fix
from m4c.workspace import Workspace


def apply_fix(workspace: Workspace, fix: Fix) -> dict[str, str]:
    """The new text of every file that a fix changes."""
    by_file: dict[str, list[tuple[int, int, str]]] = {}
    for edit in fix.edits:
        span = workspace.span(edit.place)
        by_file.setdefault(span.file, []).append((span.start, span.end, edit.text))
    out = {}
    for file, edits in by_file.items():
        text = workspace.text(file)
        for start, end, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[end:]
        out[file] = text
    return out
