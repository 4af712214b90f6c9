"""Work that several processes share."""

from __future__ import annotations

import os
import threading
import time
from multiprocessing import active_children

import pytest
from m4c.processes import available, shared


def nothing() -> None:
    """Lets the work go on."""


def test_each_part_is_done_by_a_process_of_its_own() -> None:
    found = shared(3, lambda i: (i, os.getpid()), nothing)
    assert [part[0] for part in found if part] == [0, 1, 2]
    assert len({os.getpid(), *(part[1] for part in found if part)}) == 4


def test_results_may_be_large() -> None:
    assert shared(2, lambda i: "x" * 5_000_000, nothing) == ["x" * 5_000_000] * 2


@pytest.mark.parametrize("how", ["raises", "exits", "is killed", "says what cannot be sent"])
def test_a_part_that_fails_is_none(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    def work(i: int) -> object:
        if i == 1 and how == "raises":
            raise ValueError("no")
        if i == 1 and how == "exits":
            os._exit(0)
        if i == 1 and how == "is killed":
            os.kill(os.getpid(), 9)
        return (lambda: i) if i == 1 else i

    assert shared(3, work, nothing) == [0, None, 2]
    assert capfd.readouterr() == ("", "")


def test_whoever_asks_can_end_it() -> None:
    working: list[int] = []

    def stop() -> None:
        working.append(len(active_children()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shared(2, lambda i: time.sleep(600), stop)
    assert working == [2]
    assert active_children() == []


def test_beside_threads_there_is_one() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert available() == 1
    finally:
        done.set()
        thread.join()
