"""When Python looks for garbage: what is made here lives long and holds few cycles, so that looking for some costs more
than it finds."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

RARELY = (100_000, 50, 100)  # thresholds while a workspace is opened and first checked

_settled = False  # as garbage collection is the process's, this is


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collects no garbage meanwhile: trees hold no cycles, and looking for some takes longer than reading them. Around
    the opening of a workspace it saves more still."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            _outlive()
            gc.enable()


def settle() -> None:
    """What is known by now stays for good, and is much: no garbage is looked for in it any more. For a process that
    answers questions for a long time, once it knows its workspace."""
    global _settled
    _settled = True
    gc.freeze()


def _outlive() -> None:
    """What was made lately is looked through with what is old. Else the next object to be made has all of it walked
    through, which takes a tenth of the time of making it."""
    if not _settled:  # what is settled would be looked through as well; and `gc.get_freeze_count` walks, too
        gc.freeze()
        gc.unfreeze()
