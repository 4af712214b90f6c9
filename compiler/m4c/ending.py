"""How a command ends: at once.

An interpreter that ends takes apart all that it holds, object by object, which for a big workspace takes as long as a
third of the check before it. The system does the same in a moment.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def ending_at_once(main: Callable[[], int]) -> NoReturn:
    """Runs a command, and ends the process with its exit code when whatever else is to be done at the end is done."""
    code = 1

    def end() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads it any more
                stream.flush()
        os._exit(code)

    atexit.register(end)  # what is registered first comes last
    try:
        code = main()
    except SystemExit as e:
        if e.code is not None and not isinstance(e.code, int):
            raise
        code = e.code or 0
    sys.exit(code)
