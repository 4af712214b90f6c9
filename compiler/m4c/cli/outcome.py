"""What a check of a large workspace printed, kept on the disk (`disk`) until something that it read has changed.

An entry is named by what was asked: the command's options, the folder, how output is shown, and this version of M4. It
holds the outcome and the digest of everything that the outcome rests on; it counts only if that is so on the disk now.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import m4c
from m4c.cli.output import colored, takes_unicode
from m4c.files import Inputs
from m4c.syntax.disk import folder_of

if TYPE_CHECKING:
    from m4c.workspace import Workspace

KIND = "outcomes"
WORTH = 500  # policies from which on it is quicker to look at the disk than to check


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was printed on standard output, and the exit code."""

    out: str
    code: int


def recall(paths: Sequence[Path], *asked: object) -> Outcome | None:
    """The outcome of a check as it was, if it would be the same now; `asked`: all that it depends on beside files."""
    paths = [Path(os.path.abspath(p)) for p in paths]  # noqa: PTH100 - links stay as people name them
    folder = folder_of(KIND)
    data = folder.read(_name(paths, asked)) if folder is not None else None
    if data is None:
        return None
    try:
        known = json.loads(data)
        outcome, inputs = Outcome(**known["outcome"]), Inputs(**known["inputs"])
        holds = isinstance(outcome.out, str) and isinstance(outcome.code, int) and inputs.hold(paths)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return outcome if holds else None


def keep(workspace: Workspace, policies: int, outcome: Outcome, *asked: object) -> None:
    """Keeps the outcome of a check of a workspace with so many policies, if that is worth it."""
    inputs = workspace.inputs() if policies >= WORTH else None
    folder = folder_of(KIND, create=True) if inputs is not None else None
    if folder is not None and inputs is not None:
        data = json.dumps({"outcome": asdict(outcome), "inputs": asdict(inputs)})
        folder.write(_name(workspace.paths, asked), data.encode())


def _name(paths: Sequence[Path], asked: Sequence[object]) -> str:
    shown = (colored(sys.stdout), takes_unicode(), Path.cwd().as_posix())
    said = repr((_version(), [p.as_posix() for p in paths], shown, asked))
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _version() -> object:
    """Tells apart what is installed: the sources of M4 as they are on the disk, and the folder that the packages which
    it uses are in."""
    home = Path(m4c.__file__).parent
    sources = []
    for folder, _, files in os.walk(home):
        for file in files:
            if file.endswith(".py"):
                status = Path(folder, file).stat()
                sources.append((folder, file, status.st_size, status.st_mtime_ns))
    lark = find_spec("lark")
    packages = Path(lark.origin).parents[1].stat().st_mtime_ns if lark is not None and lark.origin else 0
    return sys.version_info[:], packages, sorted(sources)
