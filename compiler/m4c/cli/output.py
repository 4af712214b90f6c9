"""How results are written for people and programs."""

from __future__ import annotations

import codecs
import json
import os
import sys
from typing import Any, TextIO


def print_json(value: Any) -> None:
    """Prints JSON; in escapes where standard output is not UTF-8."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    plain = codecs.lookup(encoding).name != "utf-8"
    print(json.dumps(value, indent=2, ensure_ascii=plain))


def colored(stream: TextIO) -> bool:
    """Whether a stream takes colors: a terminal that can show them, and nobody asked for none (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def counted(n: int, one: str, several: str = "") -> str:
    """A number and what is counted."""
    return f"{n} {one if n == 1 else several or f'{one}s'}"
