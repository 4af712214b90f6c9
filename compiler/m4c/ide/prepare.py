"""What first questions wait for, made while nobody asks."""

from __future__ import annotations

from m4c import project
from m4c.ide import complete, definition, hover  # noqa: F401 - so that they are there
from m4c.ide.symbols import declared
from m4c.syntax.parser import grammar
from m4c.workspace import Workspace


def prepare(workspace: Workspace) -> None:
    """Builds the parser that completion asks, and looks up what each file declares."""
    grammar()
    for file in project.sources(workspace.db):
        declared(workspace.db, file)
