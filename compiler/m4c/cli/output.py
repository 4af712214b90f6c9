"""How results are written for people and programs."""

from __future__ import annotations

import codecs
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from m4c.cli.paths import relative

if TYPE_CHECKING:
    from m4c.workspace import Span

LINE = 160  # columns of a source line that are shown


def print_json(value: Any) -> None:
    """Prints JSON; in escapes where standard output is not UTF-8."""
    print(json_text(value), end="")


def json_text(value: Any) -> str:
    """JSON as `print_json` prints it."""
    return json.dumps(value, indent=2, ensure_ascii=not takes_unicode()) + "\n"


def printable(line: str) -> str:
    """A line that does nothing to a terminal: what cannot be shown is an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def takes_unicode() -> bool:
    """Whether standard output is UTF-8."""
    return codecs.lookup(getattr(sys.stdout, "encoding", None) or "utf-8").name == "utf-8"


def replace_file(file: Path, text: str) -> None:
    """Writes a file at once, with the permissions of one that is there; a link stays a link. Raises OSError."""
    target = file.resolve()
    mode = target.stat().st_mode & 0o7777 if target.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".m4-")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(text.encode("utf-8"))
        Path(name).chmod(mode)
        Path(name).replace(target)
    except OSError:
        Path(name).unlink()
        raise


def colored(stream: TextIO) -> bool:
    """Whether a stream takes colors: a terminal that can show them, and nobody asked for none (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def counted(n: int, one: str, several: str = "") -> str:
    """A number and what is counted."""
    return f"{n} {one if n == 1 else several or f'{one}s'}"


def range_json(span: Span) -> dict[str, Any]:
    """A span as editors count: lines from 0, characters in UTF-16."""
    return {
        "start": {"line": span.start_line, "character": span.start_char},
        "end": {"line": span.end_line, "character": span.end_char},
    }


def excerpt(file: str, line: int) -> list[str]:
    """Where something is in a file that is no program, as lines for people. `line` counts from 1; 0: unknown."""
    where = relative(file)
    try:
        shown = Path(file).read_text("utf-8").splitlines()[line - 1] if line else ""
    except (OSError, ValueError, IndexError):
        shown = ""
    if not shown:
        return [f"  --> {where}" + (f":{line}" if line else "")]
    margin = " " * len(str(line))
    return [f"  {margin}--> {where}:{line}", f"  {margin} |", f"  {line} | {shown[:LINE]}"]
