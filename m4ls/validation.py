"""Whether the dataplanes take what they would get, found out after files were saved, in trusted workspaces.

Templates run for that, and programs that take seconds, so a process of its own does it (`validator`), which is ended as
soon as something else is saved. What it finds is added to the findings of the workspace. Dataplanes that are not
installed say nothing. The setting `validateArtifacts` turns all of it off.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m4c.semantics.problems import Problem
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

PAUSE = 0.5  # seconds in which nothing else is saved
LONGEST = 300.0  # seconds, after which it is given up: a template may well run without end
log = logging.getLogger(__name__)


class Validation:
    """Validates the artifacts of one server's workspace."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self._wanted = True
        self._task: asyncio.Task[None] | None = None
        self._known: dict[str, str | None] = {}  # what was said of artifacts, by their digest
        self._found = False

    def hear(self, settings: Any) -> bool:
        """Takes what a client says, if it says anything of this; whether it has changed."""
        match settings:
            case {"m4": {"validateArtifacts": bool(said)}} | {"validateArtifacts": bool(said)}:
                changed, self._wanted = said != self._wanted, said
                return changed
            case {"m4": {"validateArtifacts": other}} | {"validateArtifacts": other}:
                log.warning("`validateArtifacts` is true or false, not %r", other)
        return False

    def due(self, only_own: bool = False) -> None:
        """Something was saved, or may be done now that might not before. `only_own`: there is no need to, unless the
        workspace has templates of its own."""
        self.stop()
        if self._allowed or self._found:
            self._task = asyncio.create_task(self._run(only_own))

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @property
    def _allowed(self) -> bool:
        return self._wanted and self.server.trust.given

    async def _run(self, only_own: bool) -> None:
        try:
            if not self._allowed:
                await self._tell([])
                return
            await asyncio.sleep(PAUSE)
            await self.server.checker.settled()
            roots = self.server.roots()
            if not roots or (only_own and not await self.server.ask(_own)):
                return
            answer = await asyncio.wait_for(_answer({"roots": roots, "known": self._known}), LONGEST)
            if "nothing" in answer:  # what was found before is no worse for that
                log.info("artifacts were not validated: %s", answer["nothing"])
                return
            self._known = answer["known"]
            await self._tell(answer["found"])
        except TimeoutError:
            log.warning("artifacts were not validated: it took longer than %d seconds", LONGEST)
        except Exception:
            log.exception("artifacts were not validated")

    async def _tell(self, found: list[Any]) -> None:
        def take(workspace: Workspace) -> None:
            workspace.reject(_problems(found))

        if found or self._found:
            await self.server.ask(take)
            self._found = bool(found)
            self.server.checker.changed()


def _own(workspace: Workspace) -> bool:
    from m4c.checks import own_templates

    return bool(own_templates(workspace.db))


def _problems(found: list[Any]) -> list[tuple[Problem, str]]:
    from m4ls.validator import from_plain

    return [(from_plain(told), text) for told, text in found]


async def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """What the process says. It is ended when nobody waits any more; raises RuntimeError if it fails."""
    program = (sys.executable, "-P", "-m", "m4ls.validator")
    process = await asyncio.create_subprocess_exec(
        *program, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
    )
    try:
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise RuntimeError("the process has no pipes")
        process.stdin.write(json.dumps(asked).encode() + b"\n")
        out, err = await asyncio.gather(process.stdout.read(), process.stderr.read())
        if await process.wait():
            raise RuntimeError(err.decode("utf-8", "replace")[-2000:])
        answer: dict[str, Any] = json.loads(out)
        return answer
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
