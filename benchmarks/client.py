"""A small client of the language server protocol over standard input and output, with plain JSON: what it adds to a
measurement is the reading of the answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.edits import Edit

LATER = ("documentation", "additionalTextEdits")  # what editors ask for when a proposal is looked at


class Client:
    """One connection to a server that was started for it. Messages get the time at which they had arrived."""

    def __init__(self, process: asyncio.subprocess.Process, started: float) -> None:
        if process.stdin is None or process.stdout is None:
            raise ValueError("a server is spoken to through pipes")
        self.process = process
        self.started = started
        self.published: dict[str, dict[str, Any]] = {}  # of each file, what was published last
        self.last_published = 0.0
        self._in, self._out = process.stdin, process.stdout
        self._number = 0
        self._waiting: dict[int, asyncio.Future[tuple[float, Any]]] = {}
        self._news = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def request(self, method: str, params: Any) -> tuple[float, Any]:
        """(time of the answer, result). Raises `RuntimeError` for an error, or if the server ends."""
        self._number += 1
        future: asyncio.Future[tuple[float, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = future
        self._send({"id": self._number, "method": method, "params": params})
        return await future

    def notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    async def publication(self, uri: str, version: int) -> float:
        """The time at which the diagnostics of a version of a file came."""
        while self.published.get(uri, {}).get("version") != version:
            if self._reader.done():
                raise RuntimeError("the server has ended")
            self._news.clear()
            await self._news.wait()
        return float(self.published[uri]["at"])

    def close(self) -> None:
        """Listens no more."""
        self._reader.cancel()

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._in.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    async def _read(self) -> None:
        try:
            while True:
                head = await self._out.readuntil(b"\r\n\r\n")
                length = next(int(h.partition(b":")[2]) for h in head.split(b"\r\n") if h.startswith(b"Content-Length"))
                body = await self._out.readexactly(length)
                self._take(json.loads(body), time.perf_counter())
        except asyncio.IncompleteReadError:
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(RuntimeError("the server has ended"))
        finally:
            self._news.set()

    def _take(self, message: dict[str, Any], at: float) -> None:
        if "method" not in message:
            future = self._waiting.pop(message["id"], None)
            if future is not None and not future.done():
                if "error" in message:
                    future.set_exception(RuntimeError(message["error"]["message"]))
                else:
                    future.set_result((at, message["result"]))
        elif "id" in message:
            self._send({"id": message["id"], "result": None})
        elif message["method"] == "textDocument/publishDiagnostics":
            self.published[message["params"]["uri"]] = {**message["params"], "at": at}
            self.last_published = at
            self._news.set()


@contextlib.asynccontextmanager
async def started(command: Sequence[str]) -> AsyncIterator[Client]:
    """A server, and its end."""
    pipe = asyncio.subprocess.PIPE
    start = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL, limit=1 << 26
    )
    client = Client(process, start)
    try:
        yield client
    finally:
        with contextlib.suppress(RuntimeError, TimeoutError, ConnectionError):
            await asyncio.wait_for(client.request("shutdown", None), 2)
            client.notify("exit", None)
            await asyncio.wait_for(process.wait(), 2)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        client.close()


async def initialize(client: Client, folder: Path) -> tuple[float, dict[str, Any]]:
    """(time of the answer, what the server can do)."""
    params = {
        "processId": None,
        "rootUri": folder.as_uri(),
        "workspaceFolders": [{"uri": folder.as_uri(), "name": folder.name}],
        "capabilities": {
            "general": {"positionEncodings": ["utf-16"]},
            "textDocument": {
                "publishDiagnostics": {"versionSupport": True, "relatedInformation": True},
                "hover": {"contentFormat": ["markdown"]},
                "completion": {"completionItem": {"snippetSupport": True, "resolveSupport": {"properties": LATER}}},
            },
        },
    }
    at, result = await client.request("initialize", params)
    return at, result["capabilities"]


def position(text: str, offset: int) -> dict[str, int]:
    """The protocol's position of an offset; the generated texts are ASCII, so a character is a unit of any encoding."""
    return {"line": text.count("\n", 0, offset), "character": offset - text.rfind("\n", 0, offset) - 1}


def change(edit: Edit, text: str, version: int) -> dict[str, Any]:
    """The parameters of `didChange` for an edit of a text."""
    span = {"start": position(text, edit.start), "end": position(text, edit.end)}
    return {
        "textDocument": {"uri": Path(edit.file).as_uri(), "version": version},
        "contentChanges": [{"range": span, "text": edit.new}],
    }
