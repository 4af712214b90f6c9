"""A client of the language server protocol that may send anything."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from benchmarks.client import Client
from benchmarks.editor import M4LS

PATIENCE = 60.0  # seconds for an answer


class Broken(Exception):
    """What the server has done wrong."""


class Wire(Client):
    """A client that may send anything, and keeps all answers."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__(process, time.perf_counter())
        self.answers: dict[Any, list[dict[str, Any]]] = {}
        self.asked: list[Any] = []  # ids of what the server wants to know; answered as the fuzzer likes
        self.numbers = itertools.count(10_000)

    def raw(self, data: bytes) -> None:
        self._in.write(data)

    def send(self, message: Any) -> None:
        self.raw(frame(json.dumps(message).encode()))

    @property
    def nameless(self) -> int:
        """How many errors have come that belong to no request."""
        return len(self.answers.get(None, ()))

    def _take(self, message: dict[str, Any], at: float) -> None:
        if message.get("method") == "window/showMessageRequest":
            self.send({"jsonrpc": "2.0", "id": message["id"], "result": None})  # somebody waits for what comes of it
        elif "method" in message and "id" in message:
            self.asked.append(message["id"])
        elif "method" not in message and message["id"] not in self._waiting:
            self.answers.setdefault(message["id"], []).append(message)
            self._news.set()
        else:
            super()._take(message, at)

    async def until(self, done: Callable[[], bool], what: str) -> None:
        """Waits until something holds. Raises `Broken` if that takes too long, or the server is gone."""
        end = time.perf_counter() + PATIENCE
        while not done():
            if self._reader.done():
                raise Broken(f"the server has ended instead of {what}")
            if time.perf_counter() > end:
                raise Broken(f"nothing in {PATIENCE:.0f} s instead of {what}")
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), 1)


def frame(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n%s" % (len(body), body)


@contextlib.asynccontextmanager
async def connected(log: Path) -> AsyncIterator[Wire]:
    """A server, and its end if it has not ended."""
    pipe = asyncio.subprocess.PIPE
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(*M4LS, stdin=pipe, stdout=pipe, stderr=errors, limit=1 << 26)
    client = Wire(process)
    try:
        yield client
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        client.close()
