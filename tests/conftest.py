"""For every test, and the commands that tests start: the user's own cache is left alone, and how fast the machine is
decides nothing."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import HealthCheck, settings

_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()

# The same examples in every run, however long one takes; nothing is kept from one run for the next.
settings.register_profile(
    "tests", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FOLDER] = tempfile.TemporaryDirectory(prefix="m4-cache-")
    os.environ["M4_CACHE"] = config.stash[_FOLDER].name
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as for what a script starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)  # commands that tests interrupt would ignore it, too


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_FOLDER].cleanup()
