"""What first questions wait for, made while nobody asks."""

from __future__ import annotations

from m4c import project
from m4c.ide import definition  # noqa: F401 - so that it is there
from m4c.ide.complete import complete
from m4c.ide.hover import hover
from m4c.ide.symbols import declared
from m4c.ide.usage import keys_used
from m4c.syntax.parser import grammar
from m4c.workspace import Workspace


def prepare(workspace: Workspace) -> None:
    """Builds the parser that completion asks, looks up what each file declares and uses, and asks a first time."""
    grammar()
    sources = project.sources(workspace.db)
    for file in sources:
        declared(workspace.db, file)
    keys_used(workspace.db)
    for file in sources[:1]:
        complete(workspace, file, 0)
        hover(workspace, file, 0)
