"""Formatting a document."""

from __future__ import annotations

from m4c.syntax.printer import format_text
from m4c.workspace import Workspace


def format_document(workspace: Workspace, file: str) -> str | None:
    """The formatted text of a file; None if it is formatted, or could not be read."""
    if file in workspace.read_problems:
        return None
    text = workspace.text(file)
    formatted = format_text(text)
    return formatted if formatted != text else None
