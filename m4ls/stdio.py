"""Standard input for pygls' loop: one thread that reads whatever there is.

pygls itself asks a thread for each line of a header and for each body, so that every message waits three times for
another thread to get its turn.
"""

from __future__ import annotations

import asyncio
import os
import threading
from typing import BinaryIO

LONGEST = 2**16  # bytes of a header's line


class Input:
    """Reads a stream in a thread of its own. To be made and read in the event loop's thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(LONGEST)
        self._descriptor = stream.fileno()
        threading.Thread(target=self._read, name="m4-input", daemon=True).start()

    async def readline(self) -> bytes:
        await asyncio.sleep(0)  # what the message before this one has asked for begins before this one is read
        return await self._reader.readline()

    async def readexactly(self, n: int) -> bytes:
        """So many bytes; none if the stream ends before."""
        try:
            return await self._reader.readexactly(n)
        except asyncio.IncompleteReadError:
            return b""

    def _read(self) -> None:
        try:
            while data := os.read(self._descriptor, 2**16):
                self._loop.call_soon_threadsafe(self._reader.feed_data, data)
            self._loop.call_soon_threadsafe(self._reader.feed_eof)
        except (OSError, RuntimeError):
            pass  # the stream was closed, or the loop has ended
