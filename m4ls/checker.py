"""When the workspace is checked and what is then published."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.analyst import Interrupted
from m4ls.convert import diagnostic
from m4ls.progress import Progress

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

TYPING = 0.05  # seconds without an edit before the workspace is checked
LONG = 0.5  # seconds after which a check shows its progress
log = logging.getLogger(__name__)


class Checker:
    """Checks the workspace after changes and publishes what is found, for every file that something is found in."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self._generation = 0
        self._task: asyncio.Task[None] | None = None
        self._shown: dict[str, tuple[int | None, list[types.Diagnostic]]] = {}

    def schedule(self, delay: float = 0.0) -> None:
        """Checks after `delay` seconds, unless it is called again before."""
        self._generation += 1
        if self._task is not None:
            self._task.cancel()
        self.server.analyst.interrupt()
        self._task = asyncio.create_task(self._run(self._generation, delay))

    def forget(self, path: str) -> None:
        """The client has opened or closed a file: what is found in it is published again."""
        self._shown.setdefault(path, (None, []))
        self._shown[path] = (-1, self._shown[path][1])

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _run(self, generation: int, delay: float) -> None:
        if delay:
            await asyncio.sleep(delay)
        versions = self.server.documents.versions()
        progress = asyncio.create_task(self._progress())
        try:
            found = await self._check(generation)
        except Exception:
            log.exception("the check failed")
            return
        finally:
            progress.cancel()
        if generation == self._generation and versions == self.server.documents.versions():
            self._publish(found, versions)

    async def _check(self, generation: int) -> dict[str, list[types.Diagnostic]]:
        while True:
            try:
                return await self.server.analyst.check(self._question)
            except Interrupted:
                await asyncio.sleep(0.001)  # what is more urgent comes first

    def _question(self, workspace: Workspace) -> dict[str, list[types.Diagnostic]]:
        from m4c.ide.diagnostics import diagnostics

        convert = self.server.converter(workspace)
        return {file: [diagnostic(d, convert) for d in found] for file, found in diagnostics(workspace).items()}

    async def _progress(self) -> None:
        await asyncio.sleep(LONG)
        async with Progress(self.server, "Checking policies"):
            await asyncio.Event().wait()

    def _publish(self, found: dict[str, list[types.Diagnostic]], versions: dict[str, int | None]) -> None:
        for path in sorted({*found, *self._shown}):
            now = (versions.get(path), found.get(path, []))
            before = self._shown.get(path, (None, []))
            if now == before:
                continue
            if now[1] or path in versions:
                self._shown[path] = now
            else:
                self._shown.pop(path, None)
            self.server.text_document_publish_diagnostics(
                types.PublishDiagnosticsParams(self.server.documents.uri(path), now[1], now[0])
            )
