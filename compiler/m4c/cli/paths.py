"""Paths as people write them."""

from __future__ import annotations

import os


def relative(file: str) -> str:
    """Relative to the working folder where the file is below it, else as it is."""
    here = os.path.relpath(file)
    return file if here.startswith("..") else here
