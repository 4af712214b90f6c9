"""What a server keeps of the messages that it has done: nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest

from m4ls.messages import Messages
from m4ls.server import M4Protocol, create
from m4ls.stdio import Input

ROUNDS = 30


class Said:
    """What a client says: in place of standard input."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self._messages = iter(messages)

    async def body(self) -> bytes | None:
        await asyncio.sleep(0.001)
        message = next(self._messages, None)
        return None if message is None else json.dumps({"jsonrpc": "2.0", **message}).encode()


class Kept:
    """What the server answers: in place of standard output."""

    def __init__(self) -> None:
        self.answered: set[int] = set()

    def write(self, data: bytes) -> None:
        message = json.loads(data.partition(b"\r\n\r\n")[2])
        if "method" not in message:
            self.answered.add(message["id"])

    def close(self) -> None:
        pass


def told(method: str, **params: Any) -> dict[str, Any]:
    return {"method": method, "params": params}


@pytest.mark.asyncio
async def test_nothing_is_kept_of_messages_that_are_done(tmp_path: Path) -> None:
    file = tmp_path / "shop.m4"
    file.write_text("mesh shop { }\n")
    document = {"uri": file.as_uri()}
    folder = {"uri": (tmp_path / "other").as_uri(), "name": "other"}
    item = {**document, "languageId": "m4", "version": 1, "text": "mesh shop { }\n"}
    begin = {"id": 0, **told("initialize", capabilities={}, processId=None, rootUri=tmp_path.as_uri())}
    messages = [begin, told("initialized")]
    for number in range(1, ROUNDS + 1):
        deleted = {"uri": (tmp_path / f"a{number}.txt").as_uri(), "type": 3}
        created = {"uri": (tmp_path / f"a{number}.m4").as_uri(), "type": 1}
        messages += [
            told("workspace/didChangeWorkspaceFolders", event={"added": [folder], "removed": []}),
            told("workspace/didChangeWorkspaceFolders", event={"added": [], "removed": [folder]}),
            told("workspace/didChangeWatchedFiles", changes=[deleted]),
            told("workspace/didChangeWatchedFiles", changes=[created]),
            told("workspace/didChangeConfiguration", settings={"m4": {"trusted": False}}),
            told("$/setTrace", value="off"),
            told("textDocument/didOpen", textDocument=item),
            told("textDocument/didSave", textDocument=document),
            {"id": number, **told("textDocument/hover", textDocument=document, position={"line": 0, "character": 2})},
            told("$/cancelRequest", id=number),
            told("textDocument/didClose", textDocument=document),
        ]
    server, out = create(), Kept()
    protocol = cast(M4Protocol, server.protocol)
    protocol.set_writer(out)
    try:
        await Messages(protocol).read(cast(Input, Said(messages)))
        for _ in range(6000):
            if out.answered == {*range(ROUNDS + 1)} and not [*protocol._request_futures]:
                break
            await asyncio.sleep(0.01)
        assert out.answered == {*range(ROUNDS + 1)}
        assert protocol._request_futures == {}
    finally:
        server.checker.stop()
        server.analyst.close()
