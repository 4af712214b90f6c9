"""Whether the workspace is trusted: only then templates of its specs run, and something is written or deployed.

The client says so with `trusted` among its initialization options, and later with `workspace/didChangeConfiguration`
(`{"m4": {"trusted": true}}`). If it has said nothing, the person is asked when it matters, with a request that every
client of the protocol answers; if it has said no, nobody is asked.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from m4ls.errors import Failure
from m4ls.telling import ask

if TYPE_CHECKING:
    from m4ls.server import M4Server

TRUST, CANCEL = "Trust it", "Cancel"
log = logging.getLogger(__name__)


class Trust:
    """What is known of the trust in the workspace of one server."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self._said: bool | None = None

    @property
    def given(self) -> bool:
        """Whether templates may run without anybody's being asked."""
        return self._said is True

    @property
    def refused(self) -> bool:
        """Whether the client has said that the workspace is not trusted."""
        return self._said is False

    def hear(self, settings: Any) -> bool:
        """Takes what a client says, if it says anything of this; whether it has changed."""
        match settings:
            case {"m4": {"trusted": bool(said)}} | {"trusted": bool(said)}:
                changed, self._said = said != self._said, said
                return changed
            case {"m4": {"trusted": other}} | {"trusted": other}:
                log.warning("`trusted` is true or false, not %r", other)
        return False

    async def require(self, command: str) -> None:
        """Raises `Failure` unless the workspace is trusted; asks if nobody has said."""
        if self._said is None:
            folders = ", ".join(self.server.roots()) or "the files that are open"
            question = (
                f"`{command}` runs the templates of the specs of this workspace, or writes or stops what they made. "
                f"Do you trust who wrote {folders}?"
            )
            if await ask(self.server, types.MessageType.Warning, question, TRUST, CANCEL) == TRUST:
                self._said = True
        if not self.given:
            raise Failure(
                f"`{command}` was not done: the workspace is not trusted. It is only checked, planned and evaluated; "
                "to have it built, previewed or deployed, trust it in the editor"
            )
