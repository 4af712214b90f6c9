"""For every test, and the commands that tests start: the user's own cache is left alone."""

from __future__ import annotations

import os
import tempfile

import pytest

_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_FOLDER] = tempfile.TemporaryDirectory(prefix="m4-cache-")
    os.environ["M4_CACHE"] = config.stash[_FOLDER].name


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_FOLDER].cleanup()
