"""workspace/executeCommand: build, plan, test, deploy. Nothing of this happens because a file was opened.

The first argument of each is the URI or path of a file or folder. `m4.build` then takes a tier and a policy, `m4.test`
the title of a test, `m4.deploy` a target (`local` without one) and, for `directory`, its folder.

A job works on a copy of the workspace, in a thread of its own, so that the editor stays answered while it runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from m4ls.documents import path_of
from m4ls.progress import Progress

if TYPE_CHECKING:
    from m4c.cli.jobs import BuildResult, DeployResult
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

T = TypeVar("T")
OUT = Path(".m4")  # beside the mesh: `out` for all artifacts, a folder of its own for those of one tier
MAX_SHOWN = 8  # artifacts that are opened at once
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
            raise _for_people(what, e) from None


def _for_people(what: str, error: Exception) -> CommandFailed:
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


def _target(path: str, roots: list[str], texts: dict[str, str]) -> Target:
    from m4c import project
    from m4c.files import looks_like_m4
    from m4c.workspace import Workspace

    if not Path(path).exists() and path not in texts:
        raise CommandFailed(f"there is no {path}")
    root = next((r for r in roots if path == r or path.startswith(f"{r}/")), None)
    workspace = Workspace([Path(r) for r in roots] if root is not None else [Path(path)])
    for file, text in texts.items():
        if root is not None and (not file.endswith(".m4") or looks_like_m4(text)):
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


def register(server: M4Server) -> None:
    jobs = Jobs(server)

    @server.command("m4.build")
    async def build(*given: Any) -> dict[str, Any]:
        tier, policy = (_optional(given, i) for i in (1, 2))

        def job(target: Target) -> BuildResult:
            from m4c.cli import jobs

            out = target.folder / OUT / (tier or "out")
            return jobs.build(target.workspace, target.mesh, out, tier, policy)

        async with Progress(server, "Building artifacts"):
            built = await jobs.run("m4.build", given, job)
        if tier is not None:
            if not built.files:
                what = f"`{policy}`" if policy else "the mesh"
                _say(server, types.MessageType.Info, f"M4: {what} needs nothing of tier {tier}")
            await _show(server, built.files)
        return {"folder": str(built.folder), "files": [str(f) for f in built.files]}

    @server.command("m4.plan")
    async def plan(*given: Any) -> dict[str, Any]:
        def job(target: Target) -> dict[str, Any]:
            from m4c.cli import jobs

            text = jobs.plan_text(target.workspace, target.mesh)
            return {"text": text, "plan": jobs.plan_json(target.workspace, target.mesh)}

        return await jobs.run("m4.plan", given, job)

    @server.command("m4.test")
    async def test(*given: Any) -> dict[str, Any]:
        title = _optional(given, 1)

        def job(target: Target) -> dict[str, Any]:
            from m4c.cli.test import as_json, as_text, run_tests

            ran = [r for r in run_tests(target.workspace, mesh=target.mesh) if title in (None, r.title)]
            text = as_text(target.workspace, ran)
            return {"ok": all(r.passed for r in ran), "text": text, "tests": as_json(target.workspace, ran)}

        return await jobs.run("m4.test", given, job)

    @server.command("m4.deploy")
    async def deploy(*given: Any) -> dict[str, Any]:
        destination, folder = _optional(given, 1) or "local", _optional(given, 2)
        output = Path(path_of(folder) or folder) if folder is not None else None
        if output is not None and not output.is_absolute():
            raise JsonRpcInvalidParams(f"`{folder}` is no absolute path")
        loop = asyncio.get_running_loop()

        async with Progress(server, f"Deploying ({destination})") as progress:

            def step(message: str, part: float) -> None:
                loop.call_soon_threadsafe(progress.report, message, part)

            def job(target: Target) -> DeployResult:
                from m4c.cli import jobs

                return jobs.deploy(target.workspace, target.mesh, destination, step, output)

            return _deployed(server, await jobs.run("m4.deploy", given, job))

    @server.command("m4.undeploy")
    async def undeploy(*given: Any) -> dict[str, Any]:
        def job(target: Target) -> DeployResult:
            from m4c.cli import jobs

            return jobs.undeploy(target.workspace, target.mesh)

        async with Progress(server, "Undeploying"):
            return _deployed(server, await jobs.run("m4.undeploy", given, job))

    @server.command("m4.status")
    async def status(*given: Any) -> dict[str, Any]:
        def job(target: Target) -> dict[str, Any]:
            from m4c.cli import jobs

            result = jobs.status(target.workspace, target.mesh)
            return {"text": "\n".join(filter(None, (result.message, result.text)))}

        return await jobs.run("m4.status", given, job)


def _optional(given: tuple[Any, ...], index: int) -> str | None:
    value = given[index] if len(given) > index else None
    if value is not None and not isinstance(value, str):
        raise JsonRpcInvalidParams(f"argument {index + 1} is a string, or nothing")
    return value or None


def _deployed(server: M4Server, result: DeployResult) -> dict[str, Any]:
    kind = types.MessageType.Info if result.ok else types.MessageType.Error
    _say(server, kind, f"M4: {result.message}")
    return {"ok": result.ok, "message": result.message, "text": result.text}


def _say(server: M4Server, kind: types.MessageType, message: str) -> None:
    server.window_show_message(types.ShowMessageParams(kind, message))


async def _show(server: M4Server, files: tuple[Path, ...]) -> None:
    """Opens artifacts in the editor, if it can."""
    window = server.client_capabilities.window
    if window is None or window.show_document is None or not window.show_document.support:
        return
    for file in files[:MAX_SHOWN]:
        try:
            shown = types.ShowDocumentParams(file.as_uri(), take_focus=file == files[0])
            await server.window_show_document_async(shown)
        except JsonRpcException as e:
            log.warning("the client did not open %s: %s", file, e)
