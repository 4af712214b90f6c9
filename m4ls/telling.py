"""What the server tells and asks people by itself, with the requests that every client of the protocol answers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

if TYPE_CHECKING:
    from m4ls.server import M4Server

MAX_SHOWN = 8  # files that are opened at once
log = logging.getLogger(__name__)


def optional(given: Sequence[Any], index: int) -> str | None:
    """An argument of a command that may be left out."""
    value = given[index] if len(given) > index else None
    if value is not None and not isinstance(value, str):
        raise JsonRpcInvalidParams(f"argument {index + 1} is a string, or nothing")
    return value or None


def say(server: M4Server, kind: types.MessageType, message: str) -> None:
    server.window_show_message(types.ShowMessageParams(kind, f"M4: {message}"))


async def ask(server: M4Server, kind: types.MessageType, message: str, *answers: str) -> str | None:
    """What is chosen of some answers; None if nothing is, or the client cannot ask."""
    actions = [types.MessageActionItem(a) for a in answers]
    try:
        chosen = await server.window_show_message_request_async(
            types.ShowMessageRequestParams(kind, f"M4: {message}", actions)
        )
    except JsonRpcException as e:
        log.warning("the client did not ask: %s", e)
        return None
    return chosen.title if chosen is not None else None


def shows(server: M4Server) -> bool:
    """Whether the client opens documents when it is asked to."""
    window = server.client_capabilities.window
    return bool(window and window.show_document and window.show_document.support)


async def show(server: M4Server, files: Iterable[Path], selection: types.Range | None = None) -> None:
    """Opens files in the editor, if it can."""
    if not shows(server):
        return
    for number, file in enumerate(list(files)[:MAX_SHOWN]):
        try:
            shown = types.ShowDocumentParams(file.as_uri(), take_focus=number == 0, selection=selection)
            await server.window_show_document_async(shown)
        except JsonRpcException as e:
            log.warning("the client did not open %s: %s", file, e)
