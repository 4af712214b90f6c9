"""Jobs of the server: what takes long, or writes or starts something, on a copy of the workspace.

A job has a thread of its own, so that the editor stays answered while it runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from m4ls.documents import path_of

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

T = TypeVar("T")
log = logging.getLogger(__name__)


class CommandFailed(JsonRpcException):
    """A command cannot be done; the message is for people."""

    CODE = -32803  # RequestFailed


@dataclass(frozen=True, slots=True)
class Target:
    """What a command is about: a copy of the workspace as the editor has it, one mesh of it, and its folder."""

    workspace: Workspace
    mesh: str
    folder: Path


class Jobs:
    """Runs the jobs of one server, one after the other."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self._pool = ThreadPoolExecutor(1, "m4-jobs")

    async def run(self, what: str, given: tuple[Any, ...], job: Callable[[Target], T]) -> T:
        """The result of a job on the file or folder that a command was given; errors become messages for people."""
        path = path_of(given[0]) if given and isinstance(given[0], str) else None
        if path is None:
            raise JsonRpcInvalidParams(f"`{what}` needs the URI or the path of a file or folder")
        roots, texts = self.server.roots(), self.server.documents.texts()

        def work() -> T:
            return job(_target(path, roots, texts))

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        except JsonRpcException:
            raise
        except Exception as e:
            raise for_people(what, e) from None


def for_people(what: str, error: Exception) -> CommandFailed:
    try:
        from m4c.cli.errors import UsageError
    except ImportError as e:
        return CommandFailed(f"`{what}` is not available: {e}")
    if isinstance(error, UsageError | OSError):
        return CommandFailed(str(error))
    if isinstance(error, ImportError):
        return CommandFailed(f"`{what}` is not available: {error}")
    log.error("`%s` failed", what, exc_info=error)
    return CommandFailed(f"`{what}` failed: {type(error).__name__}: {error}")


def _root(path: str, roots: list[str]) -> str | None:
    return next((r for r in roots if path == r or path.startswith(f"{r}/")), None)


def paths_for(path: str, roots: list[str]) -> list[Path]:
    """The paths of the workspace in which a job on a file or folder is done: that of the client, if it is in it."""
    return [Path(r) for r in roots] if _root(path, roots) is not None else [Path(path)]


def _target(path: str, roots: list[str], texts: dict[str, str]) -> Target:
    from m4c import project
    from m4c.files import looks_like_m4
    from m4c.workspace import Workspace

    if not Path(path).exists() and path not in texts:
        raise CommandFailed(f"there is no {path}")
    if path == "/" or any(r.startswith(f"{path}/") for r in roots):  # it would be read through, and is not asked for
        raise CommandFailed(f"{path} is more than the workspace; name a file or a folder of it")
    root = _root(path, roots)
    workspace = Workspace(paths_for(path, roots))
    for file, text in texts.items():
        if root is not None and (not file.endswith(".m4") or looks_like_m4(text, claimed=True)):
            workspace.set_text(file, text)
    folder = Path(root or (path if Path(path).is_dir() else Path(path).parent))
    if not Path(path).is_dir():
        mesh = project.mesh_of_file(workspace.db, path)[0]
        if mesh is not None:
            return Target(workspace, mesh, folder)
    meshes = workspace.meshes()
    if len(meshes) == 1:
        return Target(workspace, meshes[0], folder)
    if not meshes:
        raise CommandFailed(f"no mesh is declared in {folder}")
    names = ", ".join(f"`{m}`" for m in meshes)
    raise CommandFailed(f"{folder} has several meshes ({names}); name a file that belongs to one of them")
