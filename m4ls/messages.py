"""Messages as they come in, before anything is done for them.

pygls answers a request that it cannot read with nothing, so its client waits for ever, and it serves requests before
the session has begun. Here each message is judged first, and what the protocol calls an error is answered as one.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

from cattrs import transform_error
from lsprotocol import types
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInternalError,
    JsonRpcInvalidParams,
    JsonRpcInvalidRequest,
    JsonRpcParseError,
    JsonRpcServerNotInitialized,
)

from m4ls.stdio import Unframed

if TYPE_CHECKING:
    from m4ls.server import M4Protocol
    from m4ls.stdio import Input

TOLD = 5  # mistakes of one message that are named
log = logging.getLogger(__name__)


class Messages:
    """The messages of one session."""

    def __init__(self, protocol: M4Protocol) -> None:
        self._protocol = protocol
        self._asked = False  # `initialize` was answered
        self._begun = False  # `initialized` has come
        self._ended = False  # `shutdown` was answered

    async def read(self, reader: Input) -> None:
        """Takes messages until the stream ends."""
        while True:
            try:
                body = await reader.body()
            except Unframed as error:
                self._refuse(None, JsonRpcParseError(str(error)))
                continue
            if body is None:
                return
            self._take(body)

    def _take(self, body: bytes) -> None:
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            self._refuse(None, JsonRpcParseError(f"the message is no JSON: {error}"))
            return
        identity = message.get("id") if isinstance(message, dict) else None
        try:
            self._judge(message)
        except JsonRpcException as error:
            self._refuse(identity if _usable(identity) else None, error)
        except BrokenPipeError:
            raise
        except Exception as error:
            log.exception("a message failed")
            if _usable(identity) and "method" in message:
                self._refuse(identity, JsonRpcInternalError(f"the language server failed: {type(error).__name__}"))

    def _judge(self, message: Any) -> None:
        """Has a message done. Raises what is answered to one that is none."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
            raise JsonRpcInvalidRequest('a message is an object whose `jsonrpc` is "2.0"')
        if "id" in message and not _usable(message["id"]):
            if "method" not in message:
                log.warning("an answer to no request: %s", message["id"])
                return
            raise JsonRpcInvalidRequest("the id of a request is a number or a string")
        if "method" not in message:
            self._answered(message)
        elif not isinstance(message["method"], str):
            raise JsonRpcInvalidRequest("the name of a method is a string")
        elif "id" in message:
            self._asks(message)
        else:
            self._tells(message)

    # --- requests ---

    def _asks(self, message: dict[str, Any]) -> None:
        method = message["method"]
        if self._ended:
            raise JsonRpcInvalidRequest("the session has ended")
        if method == types.INITIALIZE and self._asked:
            raise JsonRpcInvalidRequest("the session has begun already")
        if not self._asked and method != types.INITIALIZE:
            raise JsonRpcServerNotInitialized("`initialize` comes first")
        if not self._begun and method not in (types.INITIALIZE, types.SHUTDOWN):
            raise JsonRpcServerNotInitialized("`initialized` comes first")
        if message["id"] in self._protocol.running:
            raise JsonRpcInvalidRequest("there is a request with this id that has no answer yet")
        known = types.METHOD_TO_TYPES.get(method)
        if known is not None and known[1] is None:
            raise JsonRpcInvalidRequest(f"`{method}` is no request")
        self._protocol.handle_message(self._structured({"params": None, **message}))
        self._asked |= method == types.INITIALIZE and self._protocol.initialized
        self._ended |= method == types.SHUTDOWN

    def _structured(self, message: dict[str, Any]) -> Any:
        try:
            return self._protocol.structure_message(message)
        except JsonRpcException as error:
            raise JsonRpcInvalidParams(_mistakes(error.__cause__ or error)) from None

    # --- what is not answered ---

    def _tells(self, message: dict[str, Any]) -> None:
        method = message["method"]
        if method == types.EXIT:
            self._protocol.handle_message(self._structured(message))
        if not self._asked or self._ended or (method == types.INITIALIZED and self._begun):
            log.warning("ignored `%s`: it comes too early or too late", method)
            return
        known = types.METHOD_TO_TYPES.get(method)
        if known is not None and known[1] is not None:
            log.warning("ignored `%s`: it is a request and has no id", method)
            return
        self._begun |= method == types.INITIALIZED
        try:
            structured = self._structured({"params": None, **message})
        except JsonRpcInvalidParams as error:
            log.warning("ignored `%s`: %s", method, error)
            return
        if method != types.CANCEL_REQUEST or _usable(structured.params.id):
            self._protocol.handle_message(structured)

    def _answered(self, message: dict[str, Any]) -> None:
        """The client's answer to a request of ours; one that cannot be read is as good as an error."""
        identity = message.get("id")
        if identity not in self._protocol.running:
            log.warning("an answer to no request: %s", identity)
            return
        if self._protocol.given_up(identity):
            return
        try:
            structured = self._structured({"result": None, **message} if "error" not in message else message)
        except JsonRpcInvalidParams as error:
            failed = types.ResponseError(JsonRpcInvalidParams.CODE, f"the client's answer cannot be read: {error}")
            structured = types.ResponseErrorMessage(identity, failed)
        self._protocol.handle_message(structured)

    def _refuse(self, identity: str | int | None, error: JsonRpcException) -> None:
        log.warning("refused a message: %s", error)
        self._protocol.refuse(identity, error)


def _usable(identity: Any) -> bool:
    return isinstance(identity, str | int) and not isinstance(identity, bool)


def _mistakes(error: BaseException) -> str:
    """What is wrong with the parameters of a message, in words."""
    try:
        found = [str(m).replace("@ $.", "at ") for m in transform_error(error)]
    except Exception:
        found = [str(error)]
    more = [f"and {len(found) - TOLD} more"] if len(found) > TOLD else []
    return "; ".join(found[:TOLD] + more) or "the parameters are not those of the protocol"
