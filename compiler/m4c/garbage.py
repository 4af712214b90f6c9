"""When Python looks for garbage: what is made here lives long and holds few cycles, so that looking for some costs more
than it finds."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

RARELY = (100_000, 50, 100)  # thresholds while a workspace is opened and first checked


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
            gc.enable()
