"""What the subcommands share: opening a workspace, choosing a mesh."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

from m4c import project
from m4c.cli.errors import UsageError
from m4c.cli.paths import relative
from m4c.diagnostics.registry import Severity
from m4c.garbage import RARELY
from m4c.processes import available
from m4c.semantics.model import Program
from m4c.semantics.problems import Problem
from m4c.workspace import Workspace


def open_workspace(paths: Sequence[str]) -> Workspace:
    """The workspace of some paths; a path that is not there is a usage error."""
    for path in paths:
        if not path or not Path(path).exists():
            raise UsageError(f"there is no file or folder `{path}`")
    # What a command makes lives until it ends, mostly: to look for garbage among it takes long and finds none.
    gc.set_threshold(*RARELY)
    workspace = Workspace([Path(p) for p in paths], available())
    if not workspace.db.input("files"):
        for problem in workspace.closed:
            raise UsageError(f"{relative(problem.place.file)}: {problem.message}")
        where = ", ".join(f"`{p}`" for p in paths)
        raise UsageError(f"no M4 files in {where} (files that end in .m4 and are not GNU m4)")
    return workspace


def choose_mesh(workspace: Workspace, name: str | None) -> str:
    """The mesh that is meant: the only one, or the one named."""
    known = workspace.meshes()
    if name is not None:
        if name not in known:
            raise UsageError(f"there is no mesh `{name}`; there is {', '.join(f'`{m}`' for m in known) or 'none'}")
        return name
    if len(known) != 1:
        if not known:
            raise UsageError("no mesh is declared in the workspace (`mesh NAME { graph …; dataplanes …; }`)")
        raise UsageError(f"there are several meshes; choose one with --mesh: {', '.join(known)}")
    return known[0]


def errors(workspace: Workspace, problems: Sequence[Problem]) -> list[Problem]:
    """The problems that are errors, by the settings of the project too."""
    return [p for p in problems if workspace.severity(p) == Severity.ERROR]


def sound_program(workspace: Workspace, mesh: str) -> Program:
    """The mesh's program; a mesh without a graph is a usage error."""
    program = project.program(workspace.db, mesh)
    if program is None or not program.graph.services:
        raise UsageError(f"mesh `{mesh}` has no readable graph; `m4 check` says why")
    return program
