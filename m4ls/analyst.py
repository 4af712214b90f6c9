"""The thread that owns the workspace: every question to the compiler core is answered there, one after the other.

A check of the whole workspace is stopped when something more urgent comes (an edit, a completion) and is asked again
later; what it had found out by then is kept by the query engine. An edit also stops the answer to a question about the
text before it that takes long; others are answered as they were asked, about that text.
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


class Outdated(Exception):
    """A question was about a text that has been edited since."""


class _Job:
    """A question on its way. `check`: any question may stop it. `edits`: how many there had been when it was asked, if
    the next one is to stop it."""

    __slots__ = ("check", "edits", "stopped")

    def __init__(self, check: bool = False, edits: int | None = None) -> None:
        self.check = check
        self.edits = edits
        self.stopped = False


class Analyst:
    """Owns the workspace and its thread. All methods are called from the event loop's thread."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "m4-analyst")
        self._lock = threading.Lock()
        self._workspace: Workspace | None = None
        self._job: _Job | None = None  # the one that is being answered and may be stopped
        self._urgent = 0  # questions and edits that wait or are being worked on, but no checks
        self._edits = 0
        self._refreshes = False  # whether the workspace is to look at the disk
        self._roots: list[str] | None = None  # its folders, if they have changed since
        self._texts: dict[str, str | None] = {}  # texts that the workspace has not seen yet; None: the file was closed

    def start(self, roots: list[str]) -> None:
        """Opens the workspace. The compiler core is imported here, after the client has its answer to `initialize`."""

        def create() -> None:
            from m4c.workspace import Workspace

            self._workspace = Workspace(Path(r) for r in roots)
            self._take_texts()  # of documents that were opened before

        self._submit(create)

    def edit(self, path: str, text: str | None) -> None:
        """The text of an open file has changed; None: the file was closed."""
        with self._lock:
            waiting = bool(self._texts)
            self._texts[path] = text
            self._edits += 1
            if self._job is not None and self._job.edits is not None:
                self._stop()
        if not waiting:  # else they are taken together
            self._submit(self._take_texts)

    def refresh(self, roots: list[str] | None = None) -> None:
        """Files on the disk have changed, or the folders of the workspace have."""

        with self._lock:
            waiting, self._refreshes = self._refreshes, True
            self._roots = self._roots if roots is None else roots
        if not waiting:
            self._submit(self._look_again)

    async def ask(self, question: Callable[[Workspace], T], long: bool = False) -> T:
        """The answer to a question that somebody waits for. It is stopped when the caller is cancelled. `long`: also
        when there is an edit first, with `Outdated`."""
        job = _Job(edits=self._edits if long else None)
        future = self._submit(lambda: self._run(job, question))
        try:
            return await asyncio.wrap_future(future)
        except Interrupted:
            raise Outdated from None
        finally:
            self._give_up(job)

    async def check(self, question: Callable[[Workspace], T]) -> T:
        """The answer to a question that may wait; `Interrupted` if it was stopped."""
        job = _Job(check=True)
        try:
            return await asyncio.wrap_future(self._pool.submit(self._run, job, question))
        finally:
            self._give_up(job)

    def interrupt(self) -> None:
        """Stops a check that is running; nothing else."""
        with self._lock:
            if self._job is not None and self._job.check:
                self._stop()

    def close(self) -> None:
        with self._lock:
            self._stop()
        self._pool.shutdown(wait=False, cancel_futures=True)

    # --- in either thread ---

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        with self._lock:
            self._urgent += 1
            if self._job is not None and self._job.check:
                self._stop()
        future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return future

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._urgent -= 1

    def _give_up(self, job: _Job) -> None:
        """Nobody waits for the answer any more, if there is none yet."""
        with self._lock:
            job.stopped = True
            if self._job is job:
                self._stop()

    def _stop(self) -> None:
        """Stops what is being answered, with the lock held."""
        if self._job is not None and self._workspace is not None:
            self._workspace.db.cancel()

    # --- in the analyst's thread ---

    def _run(self, job: _Job, question: Callable[[Workspace], T]) -> T:
        from m4c.db import Cancelled

        workspace = self._opened()
        with self._lock:
            late = job.edits is not None and job.edits != self._edits
            if job.stopped or late or (job.check and self._urgent):
                raise Interrupted
            workspace.db.resume()
            self._job = job
        try:
            return question(workspace)
        except Cancelled:
            raise Interrupted from None
        finally:
            with self._lock:
                self._job = None
                workspace.db.resume()

    def _opened(self) -> Workspace:
        if self._workspace is None:
            raise RuntimeError("the workspace could not be opened")
        return self._workspace

    def _look_again(self) -> None:
        workspace = self._opened()
        with self._lock:
            roots, self._roots, self._refreshes = self._roots, None, False
        if roots is not None:
            workspace.paths = [Path(r) for r in roots]
        workspace.refresh()

    def _take_texts(self) -> None:
        from m4c.files import looks_like_m4

        workspace = self._workspace
        if workspace is None:
            return
        with self._lock:
            texts, self._texts = self._texts, {}
        for path, text in texts.items():
            # A file of the macro processor m4 may have the same ending; it becomes ours when its text does.
            if text is None or (path.endswith(".m4") and not looks_like_m4(text, claimed=True)):
                workspace.close(path)
            else:
                workspace.set_text(path, text)
