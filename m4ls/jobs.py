"""Jobs of the server: what takes long, or writes or starts something, on a copy of the workspace.

A job has a thread of its own, so that the editor stays answered while it runs. The copy is kept for a while: whoever
edits and deploys does so again, and is not to wait until everything is read and planned anew.
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
KEPT_SECONDS = 300.0  # since the last job


class CommandFailed(JsonRpcException):
    """A command cannot be done; the message is for people."""

    CODE = -32803  # RequestFailed


@dataclass(frozen=True, slots=True)
class Target:
    """What a command is about: a copy of the workspace as the editor has it, one mesh of it, and its folder."""

    workspace: Workspace
    mesh: str
    folder: Path


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy of the workspace, and the files of it that editors had open."""

    workspace: Workspace
    opened: frozenset[str]


class Jobs:
    """Runs the jobs of one server, one after the other."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self._pool = ThreadPoolExecutor(1, "m4-jobs")
        self._kept: _Copy | None = None  # of the last job
        self._letting_go: asyncio.TimerHandle | None = None

    async def run(self, what: str, given: tuple[Any, ...], job: Callable[[Target], T]) -> T:
        """The result of a job on the file or folder that a command was given; errors become messages for people."""
        path = path_of(given[0]) if given and isinstance(given[0], str) else None
        if path is None:
            raise JsonRpcInvalidParams(f"`{what}` needs the URI or the path of a file or folder")
        roots, texts = self.server.roots(), self.server.documents.texts()

        def work() -> T:
            copy, self._kept = self._kept, None
            target, copy = _target(path, roots, texts, copy)
            try:
                return job(target)
            finally:
                self._kept = copy

        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._pool, work)
        except JsonRpcException:
            raise
        except Exception as e:
            raise for_people(what, e) from None
        finally:
            if self._letting_go is not None:
                self._letting_go.cancel()
            self._letting_go = loop.call_later(KEPT_SECONDS, self._let_go)

    def _let_go(self) -> None:
        self._kept = None


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


def _opened(paths: list[Path], texts: dict[str, str], kept: _Copy | None) -> _Copy:
    """The workspace of these paths, with the texts that editors have."""
    from m4c.workspace import Workspace

    if kept is not None and kept.workspace.paths == paths:
        workspace = kept.workspace
        for file in kept.opened - texts.keys():
            workspace.close(file)
        workspace.refresh()
    else:
        workspace = Workspace(paths)
    for file, text in texts.items():
        workspace.set_text(file, text)
    return _Copy(workspace, frozenset(texts))


def _target(path: str, roots: list[str], texts: dict[str, str], kept: _Copy | None) -> tuple[Target, _Copy]:
    from m4c import project
    from m4c.files import looks_like_m4

    if not Path(path).exists() and path not in texts:
        raise CommandFailed(f"there is no {path}")
    if path == "/" or any(r.startswith(f"{path}/") for r in roots):  # it would be read through, and is not asked for
        raise CommandFailed(f"{path} is more than the workspace; name a file or a folder of it")
    root = _root(path, roots)
    ours = {
        file: text
        for file, text in texts.items()
        if root is not None and (not file.endswith(".m4") or looks_like_m4(text, claimed=True))
    }
    copy = _opened(paths_for(path, roots), ours, kept)
    workspace = copy.workspace
    folder = Path(root or (path if Path(path).is_dir() else Path(path).parent))
    if not Path(path).is_dir():
        mesh = project.mesh_of_file(workspace.db, path)[0]
        if mesh is not None:
            return Target(workspace, mesh, folder), copy
    meshes = workspace.meshes()
    if len(meshes) == 1:
        return Target(workspace, meshes[0], folder), copy
    if not meshes:
        raise CommandFailed(f"no mesh is declared in {folder}")
    names = ", ".join(f"`{m}`" for m in meshes)
    raise CommandFailed(f"{folder} has several meshes ({names}); name a file that belongs to one of them")
