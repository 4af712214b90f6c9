"""The process in which templates run and artifacts are validated after files were saved; see `validation`.

It reads one line of JSON: the folders of the workspace, and what was said of artifacts before; it prints what was
found. It gives way to everything else on the machine, and ends, with all that it has started, when its input does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from m4c.cli.errors import UsageError
from m4c.cli.validation import validate
from m4c.files import digest
from m4c.semantics.model import Place
from m4c.semantics.problems import Problem, Related
from m4c.workspace import Workspace

MOST = 32  # elements of a mesh whose artifacts are validated; those that need most of the specs
NICE = 10


def main() -> None:
    with contextlib.suppress(OSError):
        os.nice(NICE)
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_until_nobody_waits, daemon=True).start()
    json.dump(answer(asked["roots"], asked["known"]), sys.stdout)


def _until_nobody_waits() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def answer(roots: list[str], known: dict[str, str | None]) -> dict[str, Any]:
    """`found`, each with the digest of the text in which it is, and what is `known` of artifacts now; `nothing`: why
    nothing can be told."""
    workspace = Workspace([Path(r) for r in roots])
    found: list[Problem] = []
    said: dict[str, str | None] = {}
    for mesh in workspace.meshes():
        try:
            told = validate(workspace, mesh, known, MOST)
        except UsageError as e:
            return {"nothing": str(e)}
        found += told.problems
        said |= told.known
    plain = [(as_plain(p), digest(workspace.text(p.place.file))) for p in found]
    return {"found": plain, "known": said}


def as_plain(problem: Problem) -> dict[str, Any]:
    related = [(_plain(r.place), r.message) for r in problem.related]
    return {"code": problem.code, "message": problem.message, "place": _plain(problem.place), "related": related}


def from_plain(told: dict[str, Any]) -> Problem:
    related = tuple(Related(Place(*place), message) for place, message in told["related"])
    return Problem(told["code"], told["message"], Place(*told["place"]), related)


def _plain(place: Place) -> tuple[str, str, int, int]:
    return place.file, place.decl, place.start, place.end


if __name__ == "__main__":
    main()
