"""When the workspace is checked.

A check has two stages. The first tells all that follows from the declarations, and begins at once after an edit; edits
that come while it works stop it, and are looked at together. The second makes plans and runs tests, which takes longer,
and waits until nobody has typed for a while. Each edit makes what is being found out stale: it is never published.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from lsprotocol import types
from m4c.garbage import settle
from pygls.exceptions import JsonRpcException

from m4ls.analyst import Interrupted
from m4ls.convert import Findings, diagnostic
from m4ls.progress import Progress

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

PAUSE = 0.5  # seconds without an edit before plans are made and tests are run
LATE = 0.02  # seconds after which an edited file's own errors are published before the rest
LONG = 0.5  # seconds after which a check shows its progress
MANY = 500  # changes after which what was known about earlier texts is forgotten, also when nobody pauses
SOON = 0.03  # seconds after which a file that was opened is taken as one that will be edited
OFTEN = gc.get_threshold()  # Python's own, by which each look for garbage is short
IDLE = 2.0  # seconds without anything to check before there is time for housekeeping
log = logging.getLogger(__name__)


class Checker:
    """Checks the workspace after changes. What is found goes to `Reports` of the server."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self._generation = 0
        self._edited: str | None = None  # the file that the last change was an edit of
        self._due = 0.0  # when plans and tests may be looked at
        self._changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._failed: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        self._findings = Findings()
        self._new = True  # nothing was checked yet
        self._prepared = False
        self._tidied = 0

    def edited(self, path: str) -> None:
        """A file is being edited."""
        self._edited = path
        self._due = time.monotonic() + PAUSE
        self._change()

    def changed(self) -> None:
        """Something else has changed, or was saved: there is no reason to wait."""
        self._edited = None
        self._due = time.monotonic()
        self._change()

    async def settled(self) -> None:
        """Waits until it is known what the newest texts say, but for plans and tests. Raises what a check has failed
        with."""
        while not self._settled.is_set():
            await self._settled.wait()
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _change(self) -> None:
        self._generation += 1
        self._settled.clear()
        self.server.analyst.interrupt()
        self._changed.set()
        if self._task is None:
            self._loop = asyncio.get_running_loop()
            self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            generation = self._generation
            try:
                if not await self._stage(generation, quick=True):
                    continue
                opened = self._edited is None
                if opened and (await self._waits(SOON) or not await self._spare(generation, _expect)):
                    continue
                if generation - self._tidied > MANY and await self._spare(generation, _forget):
                    self._tidied = generation
                if await self._waits(self._due - time.monotonic()):
                    continue
                if not await self._stage(generation, quick=False):
                    continue
                if not self._prepared:
                    self._prepared = await self._spare(generation, _prepare)
                await self._spare(generation, _ask_again)
                if not await self._waits(IDLE):
                    await self._spare(generation, _keep)
            except Exception as error:
                log.exception("the check failed")
                if generation == self._generation:
                    self._failed = error
                    self._settled.set()

    async def _waits(self, seconds: float) -> bool:
        """Whether something changes within so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(seconds, 0))
        return self._changed.is_set()

    async def _stage(self, generation: int, quick: bool) -> bool:
        """Checks until it is done or something changes; whether it is done, and reported."""
        versions, edited = self.server.documents.versions(), self._edited if quick else None
        async with self._progress():
            while generation == self._generation:
                try:
                    found = await self.server.analyst.check(lambda w: self._question(w, quick, generation, edited))
                except Interrupted:
                    continue  # the next try waits for what is more urgent
                if generation != self._generation:
                    break
                self.server.reports.update(found, versions, edited)
                self._failed, self._new = None, False
                self._settled.set()
                return True
        return False

    def _question(
        self, workspace: Workspace, quick: bool, generation: int, edited: str | None
    ) -> dict[str, list[types.Diagnostic]]:
        """In the analyser's thread."""
        from m4c.ide.diagnostics import diagnostics, own_errors_first

        convert = self.server.converter(workspace)
        if edited is not None:
            own = [diagnostic(d, convert) for d in own_errors_first(workspace, edited)]
            self._loop.call_soon_threadsafe(self._own, generation, edited, own)
        found = self._findings.convert(diagnostics(workspace, quick), convert, self.server.documents.spellings)
        if not quick:
            from m4c.ide.survey import survey

            self._loop.call_soon_threadsafe(self.server.survey.update, survey(workspace))
            if self.server.colours.refreshed and self.server.colours.outdated(workspace, convert):
                self._loop.call_soon_threadsafe(self.server.colours.refresh)
        return found

    def _own(self, generation: int, path: str, found: list[types.Diagnostic]) -> None:
        """An edited file's own errors are known; they are published if the rest takes long."""

        def publish() -> None:
            if generation == self._generation and not self._settled.is_set():
                self.server.reports.first(path, found)

        self._loop.call_later(LATE, publish)

    @contextlib.asynccontextmanager
    async def _progress(self) -> AsyncIterator[None]:
        shown = asyncio.create_task(self._show(0 if self._new else LONG))
        try:
            yield
        finally:
            shown.cancel()

    async def _show(self, delay: float) -> None:
        await asyncio.sleep(delay)
        with contextlib.suppress(JsonRpcException):
            async with Progress(self.server, "Checking policies", counted=False):
                await asyncio.Event().wait()

    async def _spare(self, generation: int, work: Callable[[Workspace], None]) -> bool:
        """Does what can wait until there is nothing else to do; whether it was done before something has changed."""
        while generation == self._generation:
            with contextlib.suppress(Interrupted):
                await self.server.analyst.check(work)
                return True
        return False


def _prepare(workspace: Workspace) -> None:
    """Once, after the first check."""
    _ask_again(workspace)
    settle()
    gc.set_threshold(*OFTEN)


def _expect(workspace: Workspace) -> None:
    """After files were opened: what rests on them is looked at as what changes often. That does not wait for plans,
    since the first edit may not."""
    from m4c.ide.diagnostics import diagnostics

    workspace.expect_edits()
    diagnostics(workspace, quick=True)
    _ask_again(workspace)


def _keep(workspace: Workspace) -> None:
    """Whenever nothing has changed for a while: what was parsed is kept for the next start, and what was known about
    earlier texts is forgotten."""
    workspace.remember()
    _forget(workspace)


def _forget(workspace: Workspace) -> None:
    _ask_again(workspace)
    workspace.db.checkpoint()
    workspace.tidy()


def _ask_again(workspace: Workspace) -> None:
    """Asks what is to be known when somebody wants to know."""
    from m4c.ide.prepare import prepare

    prepare(workspace)
