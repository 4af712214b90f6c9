"""What lenses, hints and views are drawn from, and how clients are told that it has changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcException

PLANNED = "$/m4/planned"  # a notification that clients may ignore: whatever was drawn from plans is to be drawn anew

if TYPE_CHECKING:
    from m4c.ide.survey import Survey

    from m4ls.server import M4Server


class Surveys:
    """The newest survey of the workspace; nothing is known until the first plan is made."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self.known: Survey = {}
        self._refresh: asyncio.Task[None] | None = None
        self._again = False

    def update(self, found: Survey) -> None:
        """Plans were made. The client is asked to draw again what it has drawn, if they say something else now."""
        if found == self.known:
            return
        self.known = found
        self._again = True
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._ask_to_draw())

    async def _ask_to_draw(self) -> None:
        workspace = self.server.client_capabilities.workspace
        lenses: Any = workspace.code_lens if workspace else None
        hints: Any = workspace.inlay_hint if workspace else None
        try:
            while self._again:
                self._again = False
                self.server.protocol.notify(PLANNED, {})
                if lenses and lenses.refresh_support:
                    await self.server.workspace_code_lens_refresh_async(None)
                if hints and hints.refresh_support:
                    await self.server.workspace_inlay_hint_refresh_async(None)
        except JsonRpcException:
            pass  # the client will ask when the text changes
        finally:
            self._refresh = None
