"""What is made at once and stays is not walked through for garbage; garbage among it still goes, and what a process has
settled on is left alone."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import pytest
from m4c import garbage
from m4c.garbage import uncollected

MANY = 50_000  # far more than make Python look for garbage


@pytest.fixture(autouse=True)
def as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(garbage, "_settled", False)  # whatever other tests of this process have done
    thresholds = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*thresholds)


def collections() -> list[int]:
    return [generation["collections"] for generation in gc.get_stats()]


def test_what_was_made_is_not_walked_through() -> None:
    gc.collect()
    before = collections()
    with uncollected():
        made = [[i] for i in range(MANY)]
    young = len(gc.get_objects(generation=0))
    assert collections() == before and young < 700
    assert len(made) == MANY


def test_without_it_there_would_be_a_walk() -> None:
    gc.collect()
    before = collections()
    made = [[i] for i in range(MANY)]
    assert collections() != before and len(made) == MANY


class Knot:
    def __init__(self) -> None:
        self.me = self


def test_garbage_among_it_goes_with_the_next_full_collection() -> None:
    with uncollected():
        knot = weakref.ref(Knot())
        assert knot() is not None
    gc.collect()
    assert knot() is None


def test_collection_is_on_again_behind_an_error() -> None:
    with pytest.raises(ValueError, match="as it is"), uncollected():
        assert not gc.isenabled()
        raise ValueError("as it is")
    assert gc.isenabled()


def test_what_was_off_stays_off() -> None:
    gc.disable()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


SETTLED = """
import gc
from m4c.garbage import settle, uncollected
known = [[i] for i in range(50_000)]
settle()
settled = gc.get_freeze_count()
with uncollected():
    more = [[i] for i in range(50_000)]
print(settled > 50_000, gc.get_freeze_count() == settled)
"""


def test_what_a_process_settled_on_stays_so() -> None:
    done = subprocess.run([sys.executable, "-c", SETTLED], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["True", "True"]
