"""Progress that the server shows by itself, where the client can show it."""

from __future__ import annotations

import asyncio
import itertools
from types import TracebackType
from typing import TYPE_CHECKING

from lsprotocol import types

if TYPE_CHECKING:
    from m4ls.server import M4Server

_numbers = itertools.count(1)


class Progress:
    """An async context manager; `report` shows a step. Without the client's support it does nothing. `counted`: it is
    known how much of the work is done. `stops`: the person may cancel it, and `cancelled` then says so. `stopped`: the
    request that it belongs to was cancelled."""

    def __init__(self, server: M4Server, title: str, counted: bool = True, stops: bool = False) -> None:
        self.server = server
        self.title = title
        self.counted = counted
        self.stops = stops
        self.token: str | None = None
        self.stopped = False

    async def __aenter__(self) -> Progress:
        window = self.server.client_capabilities.window
        if window is not None and window.work_done_progress:
            token = f"m4-{next(_numbers)}"
            # shielded, for the client answers also when nobody waits any more
            await asyncio.shield(self.server.work_done_progress.create_async(token))
            self.server.work_done_progress.begin(
                token,
                types.WorkDoneProgressBegin(self.title, cancellable=self.stops, percentage=0 if self.counted else None),
            )
            self.token = token
        return self

    @property
    def cancelled(self) -> bool:
        """Whether the person wants an end of it; may be asked in any thread, until the end."""
        if self.stopped:
            return True
        wanted = self.server.work_done_progress.tokens.get(self.token) if self.token is not None else None
        return self.stops and wanted is not None and wanted.cancelled()

    def report(self, message: str, part: float) -> None:
        """A step: what is being done, and which part of all (0 to 1) is done."""
        if self.token is not None:
            percentage = max(0, min(100, round(100 * part)))
            report = types.WorkDoneProgressReport(message=message, percentage=percentage)
            self.server.work_done_progress.report(self.token, report)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.token is not None:
            self.server.work_done_progress.end(self.token, types.WorkDoneProgressEnd())
