"""The thread that owns the workspace: every question to the compiler core is answered there, one after the other.

A check of the whole workspace is stopped when something more urgent comes (an edit, a completion) and is asked again
later; what it had found out by then is kept by the query engine.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from m4c.workspace import Workspace

T = TypeVar("T")


class Interrupted(Exception):
    """A check was stopped for something more urgent."""


class Analyst:
    """Owns the workspace and its thread. All methods are called from the event loop's thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "m4-analyst")
        self._lock = threading.Lock()
        self._workspace: Workspace | None = None
        self._checking = False
        self._urgent = 0  # questions that wait or are being answered
        self._texts: dict[str, str | None] = {}  # texts that the workspace has not seen yet; None: the file was closed

    def start(self, roots: list[str]) -> None:
        """Opens the workspace. The compiler core is imported here, after the client has its answer to `initialize`."""

        def create() -> None:
            from m4c.workspace import Workspace

            self._workspace = Workspace(Path(r) for r in roots)

        self._submit(create)

    def edit(self, path: str, text: str | None) -> None:
        """The text of an open file has changed; None: the file was closed."""
        with self._lock:
            self._texts[path] = text
        self._submit(self._take_texts)

    def refresh(self, roots: list[str] | None = None) -> None:
        """Files on the disk have changed, or the folders of the workspace have."""

        def refresh() -> None:
            workspace = self._opened()
            if roots is not None:
                workspace.paths = [Path(r) for r in roots]
            workspace.refresh()

        self._submit(refresh)

    async def ask(self, question: Callable[[Workspace], T]) -> T:
        """The answer to a question that somebody waits for."""
        return await asyncio.wrap_future(self._submit(lambda: question(self._opened())))

    async def check(self, question: Callable[[Workspace], T]) -> T:
        """The answer to a question that may wait; `Interrupted` if it was stopped."""

        def run() -> T:
            from m4c.db import Cancelled

            workspace = self._opened()
            with self._lock:
                if self._urgent:
                    raise Interrupted
                workspace.db.resume()
                self._checking = True
            try:
                return question(workspace)
            except Cancelled:
                raise Interrupted from None
            finally:
                with self._lock:
                    self._checking = False
                    workspace.db.resume()

        return await asyncio.wrap_future(self._pool.submit(run))

    def interrupt(self) -> None:
        """Stops a check that is running; nothing else."""
        with self._lock:
            if self._checking and self._workspace is not None:
                self._workspace.db.cancel()

    def close(self) -> None:
        self.interrupt()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        with self._lock:
            self._urgent += 1
            if self._checking and self._workspace is not None:
                self._workspace.db.cancel()
        future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._urgent -= 1

    def _opened(self) -> Workspace:
        if self._workspace is None:
            raise RuntimeError("the workspace could not be opened")
        return self._workspace

    def _take_texts(self) -> None:
        from m4c.files import looks_like_m4

        workspace = self._opened()
        with self._lock:
            texts, self._texts = self._texts, {}
        for path, text in texts.items():
            # A file of the macro processor m4 may have the same ending; it becomes ours when its text does.
            if text is None or (path.endswith(".m4") and not looks_like_m4(text)):
                workspace.close(path)
            else:
                workspace.set_text(path, text)
