"""Work that several processes share, each of which begins as this one is."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
MOST = 8  # processes; beyond, what they send back is what takes the time
_LOOK = 0.05  # seconds after which it is looked whether to go on


def available() -> int:
    """How many processes can work at once. One where a copy of this process would not be sound: beside threads, and
    where the system's libraries do not bear it."""
    if not hasattr(os, "fork") or sys.platform == "darwin" or threading.active_count() > 1:
        return 1
    return min(len(os.sched_getaffinity(0)), MOST)


def shared(
    parts: int, work: Callable[[int], T], checkpoint: Callable[[], None], here: Callable[[], None] | None = None
) -> list[T | None]:
    """What `work` gives for each number of a part, each found in a process of its own; None where one failed, for
    whatever reason: the caller can do that part itself. `checkpoint` is called again and again; what it raises ends
    them all. `here`: what this process does meanwhile. Results go through pickle."""
    import multiprocessing
    from multiprocessing.connection import wait

    context = multiprocessing.get_context("fork")
    waiting: dict[Connection, int] = {}
    found: list[T | None] = [None] * parts
    processes = []
    try:
        for i in range(parts):
            ours, there = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(work, i, there), daemon=True)
            process.start()
            there.close()
            processes.append(process)
            waiting[ours] = i
        if here is not None:
            here()
        while waiting:
            ready = set(wait(list(waiting), _LOOK))
            for end in [end for end in waiting if end in ready]:
                with suppress(EOFError, OSError):
                    found[waiting[end]] = end.recv()
                del waiting[end]
            checkpoint()
    finally:
        for process in processes:
            process.kill()
            process.join()
    return found


def _work(work: Callable[[int], T], part: int, there: Connection) -> None:
    try:
        there.send(work(part))
    except BaseException:  # it is done again where it is asked for, and fails there if it does
        os._exit(1)
