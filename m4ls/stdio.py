"""Standard input for the event loop: one thread that reads whatever there is, and where messages begin and end in it.

pygls itself asks a thread for each line of a header and for each body, so that every message waits three times for
another thread to get its turn; and a header that it does not understand ends the session.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from typing import BinaryIO

LONGEST = 2**16  # bytes of a header's line
LARGEST = 2**28  # bytes of a message
_LENGTH = re.compile(rb"Content-Length:[ \t]*(\d{1,18})\s*$", re.I)  # behind anything: what is lost ends without a line


class Unframed(Exception):
    """What was read is no message, nor do the bytes tell where one ends; the message is for people."""


class Input:
    """Reads a stream in a thread of its own. To be made and read in the event loop's thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(LONGEST)
        self._descriptor = stream.fileno()
        threading.Thread(target=self._read, name="m4-input", daemon=True).start()

    async def body(self) -> bytes | None:
        """What follows the next header; None if the stream ends. Raises `Unframed` for what is to be skipped."""
        length = None
        while line := await self._line():
            found = _LENGTH.search(line)
            length = int(found[1]) if found else length
            if line.strip():
                continue
            if length is None:
                raise Unframed("a header without a Content-Length")
            return await self._take(length)
        return None

    async def _line(self) -> bytes:
        await asyncio.sleep(0)  # what the message before this one has asked for begins before this one is read
        while True:
            try:
                return await self._reader.readline()
            except ValueError:
                pass  # too long; what of it was read is gone

    async def _take(self, length: int) -> bytes | None:
        try:
            if length <= LARGEST:
                return await self._reader.readexactly(length)
            while length:  # not kept, but it is known where it ends
                length -= len(await self._reader.readexactly(min(length, LONGEST)))
        except asyncio.IncompleteReadError:
            return None
        raise Unframed(f"a message of more than {LARGEST} bytes")

    def _read(self) -> None:
        try:
            while data := os.read(self._descriptor, 2**16):
                self._loop.call_soon_threadsafe(self._reader.feed_data, data)
            self._loop.call_soon_threadsafe(self._reader.feed_eof)
        except (OSError, RuntimeError):
            pass  # the stream was closed, or the loop has ended
