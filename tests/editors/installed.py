"""What a test does when the editor that it drives is not installed."""

import os
from typing import NoReturn

import pytest


def missing(what: str, target: str) -> NoReturn:
    """Skips a test whose editor is not installed, or fails it where everything has to be."""
    message = f"{what} is not installed; `make {target}` installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
