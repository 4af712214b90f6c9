"""workspace/executeCommand `m4.deploy` and `m4.undeploy`.

`m4.deploy` takes the URI or path of a file or folder, a target, a folder for the target `directory`, and whether to
`confirm`. Without a target it asks for one, and then it always asks again before it changes anything: it has the
dataplanes validate what they would get, and says what would change. All of this goes through standard requests
(`window/showMessageRequest`, `window/showDocument`, `$/progress`), so it is the same in every editor. Both commands
are done in a trusted workspace only. While it validates or deploys, the progress can be cancelled, and the request
always; then nothing has changed. A request that is cancelled while something is deployed is answered when all is as it
was; if it is too late for that, as if it were not cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from m4ls.documents import path_of
from m4ls.features.top import DEPLOYED
from m4ls.jobs import CommandFailed, Target
from m4ls.progress import Progress
from m4ls.telling import ask, optional, say, show, shows

if TYPE_CHECKING:
    from m4c.cli.jobs import DeployResult, Prepared
    from m4c.cli.whatif import WhatIf
    from m4c.semantics.problems import Problem
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

T = TypeVar("T")
Place: TypeAlias = tuple[str, types.Position]  # a file, and where in it
LOCAL = "On this machine"
DEPLOY, DIFFERENCES, CANCEL = "Deploy", "Show differences", "Cancel"
PROBLEM = "Show problem"
OUT = "out"  # the folder that is offered, beside the mesh
_INFO, _ERROR = types.MessageType.Info, types.MessageType.Error


class Stopped(JsonRpcException):
    """The person has cancelled a step; what it had done is taken back."""

    CODE = -32800  # RequestCancelled


class Told(Exception):
    """Nothing is deployed; the person knows why, and was offered a look at the place. With the text of the answer."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


def register(server: M4Server) -> None:
    @server.command("m4.deploy")
    async def deploy(*given: Any) -> dict[str, Any]:
        try:
            return await _deploy(server, given)
        except Told as told:
            return {"ok": False, "message": str(told), "text": told.text}
        except Stopped:
            return _cancelled(server)
        except asyncio.CancelledError:
            _cancelled(server)
            raise

    @server.command("m4.undeploy")
    async def undeploy(*given: Any) -> dict[str, Any]:
        def job(target: Target) -> DeployResult:
            from m4c.cli import jobs

            return jobs.undeploy(target.workspace, target.mesh)

        await server.trust.require("m4.undeploy")
        async with Progress(server, "Undeploying") as progress:
            return _deployed(server, await _to_its_end(server, "m4.undeploy", given, job, progress))


async def _deploy(server: M4Server, given: tuple[Any, ...]) -> dict[str, Any]:
    target, folder, confirm = (optional(given, i) for i in (1, 2, 3))
    output = _absolute(folder)
    await server.trust.require("m4.deploy")
    asked = target is None or confirm == "confirm"
    if target is None:
        target, output = await _choose(server, given, output)
        if target is None:
            return _cancelled(server)
    prepared = await _prepare(server, given, target, output, asked)
    if asked and not await _confirmed(server, given, prepared):
        return _cancelled(server)
    async with Progress(server, f"Deploying ({target})", stops=True) as progress:
        step = _steps(progress)

        def job(about: Target) -> DeployResult:
            from m4c.cli.jobs import put
            from m4c.cli.validation import explained

            return explained(about.workspace, prepared, put(prepared, step))[0]

        return _deployed(server, await _to_its_end(server, "m4.deploy", given, job, progress))


# --- the steps --------------------------------------------------------------------------------------------------------


async def _choose(server: M4Server, given: tuple[Any, ...], output: Path | None) -> tuple[str | None, Path | None]:
    """The target, and the folder if it is one."""
    mesh, beside = await server.jobs.run("m4.deploy", given, lambda t: (t.mesh, t.folder / OUT))
    folder = output or beside
    into = f"Into {folder}"
    chosen = await ask(server, _INFO, f"where to deploy mesh `{mesh}`?", LOCAL, into)
    return ("local", None) if chosen == LOCAL else ("directory", folder) if chosen == into else (None, None)


async def _prepare(server: M4Server, given: tuple[Any, ...], target: str, output: Path | None, asked: bool) -> Prepared:
    """Plans and builds. Where somebody is there to ask, what is wrong is told, and shown."""

    def job(about: Target) -> Prepared:
        from m4c.cli import jobs

        return jobs.prepare(about.workspace, about.mesh, target, output)

    async with Progress(server, "Planning", counted=False):
        try:
            return await server.jobs.run("m4.deploy", given, job)
        except CommandFailed as failed:
            place = await server.jobs.run("m4.deploy", given, lambda t: _first(t, target)) if asked else None
            error = failed
    message, _, rest = f"not deployed, nothing changed: {error.message}".partition("\n")
    if not await _shown(server, message, place):
        raise error
    raise Told(message, rest)


def _first(about: Target, target: str) -> Place | None:
    """Where the first error of the workspace is; without one, the first template that fails."""
    from m4c.cli.common import errors
    from m4c.cli.errors import UsageError
    from m4c.cli.jobs import unavailable
    from m4c.cli.validation import validate

    wrong = errors(about.workspace, about.workspace.problems())
    if not wrong:
        try:
            lacking = frozenset(unavailable(about.workspace, about.mesh) if target == "local" else ())
            wrong = list(validate(about.workspace, about.mesh, {}, lacking=lacking).problems)
        except UsageError:
            return None
    return _place(about.workspace, wrong)


def _place(workspace: Workspace, problems: Sequence[Problem]) -> Place | None:
    if not problems:
        return None
    span = workspace.span(problems[0].place)
    return span.file, types.Position(span.start_line, span.start_char)


async def _shown(server: M4Server, message: str, place: Place | None) -> bool:
    """Tells what is wrong and offers to show where, if the client can; whether it did."""
    if place is None or not shows(server):
        return False
    if await ask(server, _ERROR, message, PROBLEM) == PROBLEM:
        file, at = place
        await show(server, [Path(file)], types.Range(at, at))
    return True


async def _confirmed(server: M4Server, given: tuple[Any, ...], prepared: Prepared) -> bool:
    """Validates, says what would change, and asks. What is wrong is told; nothing was changed then."""
    async with Progress(server, "Validating", stops=True) as progress:
        step = _steps(progress)

        def job(about: Target) -> tuple[WhatIf, DeployResult, Place | None]:
            from m4c.cli.validation import explained
            from m4c.cli.whatif import validated, what_if

            found = what_if(prepared)
            valid, problems = explained(about.workspace, prepared, validated(prepared, step))
            return found, valid, _place(about.workspace, problems)

        found, valid, place = await _to_its_end(server, "m4.deploy", given, job, progress)
        if progress.stopped:
            raise asyncio.CancelledError
        if progress.cancelled:
            raise Stopped("the deployment was cancelled")
    if not valid.ok:
        if await _shown(server, valid.message, place):
            raise Told(valid.message, valid.text)
        raise CommandFailed("\n".join(filter(None, (valid.message, valid.text.strip()))))
    where = f"into {prepared.output}" if prepared.output is not None else "on this machine"
    question = f"deploy mesh `{prepared.mesh}` {where}? {found.summary}"
    import tempfile

    with tempfile.TemporaryDirectory(prefix="m4-what-if-") as folder:
        differences = Path(folder, f"{prepared.mesh}.diff")
        differences.write_text(found.text, "utf-8")
        while True:
            offered = (DEPLOY, DIFFERENCES, CANCEL) if shows(server) else (DEPLOY, CANCEL)
            chosen = await ask(server, _INFO, question, *offered)
            if chosen != DIFFERENCES:
                return chosen == DEPLOY
            await show(server, [differences])


async def _to_its_end(
    server: M4Server, what: str, given: tuple[Any, ...], job: Callable[[Target], T], progress: Progress
) -> T:
    """The result of a job. If the request is cancelled meanwhile, the job is told, and its end is waited for; only if
    it was too late to stop it, it has a result."""
    running = asyncio.ensure_future(server.jobs.run(what, given, job))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        progress.stopped = True
        try:
            return await running
        except Stopped:
            pass
        raise


def _steps(progress: Progress) -> Callable[[str, float], None]:
    """What a job in a thread of its own tells of its progress; it ends the job when the person has cancelled that."""
    loop = asyncio.get_running_loop()

    def step(message: str, part: float) -> None:
        if progress.cancelled:
            raise Stopped("the deployment was cancelled")
        loop.call_soon_threadsafe(progress.report, message, part)

    return step


def _absolute(folder: str | None) -> Path | None:
    output = Path(path_of(folder) or folder) if folder is not None else None
    if output is not None and not output.is_absolute():
        raise JsonRpcInvalidParams(f"`{folder}` is no absolute path")
    return output


# --- the end ----------------------------------------------------------------------------------------------------------


def _cancelled(server: M4Server) -> dict[str, Any]:
    message = "not deployed, nothing changed"
    say(server, _INFO, message)
    return {"ok": False, "message": message, "text": "", "cancelled": True}


def _deployed(server: M4Server, result: DeployResult) -> dict[str, Any]:
    server.protocol.notify(DEPLOYED, {})
    say(server, _INFO if result.ok else _ERROR, result.message)
    return {"ok": result.ok, "message": result.message, "text": result.text}
