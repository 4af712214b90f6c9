"""The compiler core by itself: edits within one process, and full checks by the command line in fresh ones.

Usage: python -m benchmarks.core FOLDER [--edits N] [--seed N]     (the edits alone; prints JSON)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.edits import Edit, edits, texts
from benchmarks.results import Figure, figure, stopped

ROOT = Path(__file__).resolve().parents[1]
M4 = Path(sys.executable).with_name("m4")
CONFLICTS = ("contradiction", "order-dependent")


# --- edits ---


def measure_edits(folder: Path, count: int, seed: int, seconds: float) -> list[Figure]:
    """Makes edits and takes each back; both halves are measured, so there are twice as many measurements. After so many
    seconds no more edits begin.

    The analyses must come out as they began: figures of a core that answers wrong are worth nothing.
    """
    from m4c import checks
    from m4c.garbage import settle
    from m4c.workspace import Workspace

    workspace = Workspace([folder])
    before = workspace.problems(quick=True)
    settle()  # as the language server does after its first check
    files = texts(folder)
    of_file: list[float] = []
    of_all: list[float] = []
    slowest: tuple[float, str] = (0.0, "")
    end = time.perf_counter() + seconds
    for edit in edits(files, count, seed):
        if time.perf_counter() > end:
            break
        text = files[edit.file]
        workspace.set_text(edit.file, text)  # who edits a file has opened it, a while ago
        workspace.expect_edits()
        workspace.problems(quick=True)
        for step, after in ((edit, edit.of(text)), (edit.undo(text), text)):
            start = time.perf_counter()
            workspace.set_text(step.file, after)
            own = checks.file_problems(workspace.db, step.file)
            answered = time.perf_counter()
            workspace.problems(quick=True)
            done = time.perf_counter()
            of_file.append(1000 * (answered - start))
            of_all.append(1000 * (done - start))
            slowest = max(slowest, (of_all[-1], step.kind))
            if step.kind == "broken" and not own:
                raise RuntimeError(f"nothing is wrong without {text[step.start : step.end]!r} at {_place(step, text)}")
    if workspace.problems(quick=True) != before:
        raise RuntimeError("after edits that were all taken back, other problems are found than before")
    short = "" if len(of_all) == 2 * count else f"{len(of_all)} edits within {seconds:.0f} s"
    worst = f"slowest: {slowest[1]}, {slowest[0]:.1f} ms"
    note = f"{short}; {worst}" if short else worst
    return [figure("edit-file", "ms", of_file, short), figure("edit-all", "ms", of_all, note)]


def _place(edit: Edit, text: str) -> str:
    return f"{edit.file}:{text.count(chr(10), 0, edit.start) + 1}"


def edits_in_process(folder: Path, count: int, seed: int, limit: float) -> list[Figure]:
    """`measure_edits` in a process of its own, so that its memory and its time can be bounded."""
    module = [sys.executable, "-m", "benchmarks.core", str(folder)]
    command = [*module, "--edits", str(count), "--seed", str(seed), "--seconds", str(limit)]
    done = run(command, 2 * limit)
    if done.output is None:
        return [stopped(key, "ms", 2 * limit) for key in ("edit-file", "edit-all")]
    if done.code:
        return [Figure(key, "ms", note=f"failed: {done.error}") for key in ("edit-file", "edit-all")]
    return [Figure(**f) for f in json.loads(done.output)]


# --- full checks ---


@dataclass(frozen=True, slots=True)
class Run:
    """How a process ended: `output` is None if it was stopped at its limit. Times in seconds, memory in MB."""

    code: int
    output: str | None
    error: str
    seconds: float
    memory: float


def run(command: list[str], limit: float, environment: dict[str, str] | None = None) -> Run:
    """Runs a command to its end, or for so many seconds."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        start = time.perf_counter()
        env = {**os.environ, **(environment or {})}
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=err, start_new_session=True)
        with _alarm(limit, process) as late:
            _, status, usage = os.wait4(process.pid, 0)
            in_time = not late
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        last = (err.read().strip().splitlines() or [""])[-1]
        return Run(process.returncode, out.read() if in_time else None, last, seconds, usage.ru_maxrss / 1024)


@contextlib.contextmanager
def _alarm(limit: float, process: subprocess.Popen[Any]) -> Iterator[list[bool]]:
    """Ends a process, with all that it has started, when its time is over; the list is then not empty."""
    late: list[bool] = []

    def end() -> None:
        late.append(True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(limit, end)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def full_checks(folder: Path, rounds: int, limit: float, seed: int = 0) -> tuple[list[Figure], dict[str, Any]]:
    """`m4 check` from nothing: without a cache, with one that an earlier check has left, and with that after an edit of
    one file; and what it found."""
    command = [str(M4), "check", "--format", "json", str(folder)]
    figures: list[Figure] = []
    facts: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="m4-cache-") as cache:
        first = run(command, limit, {"M4_CACHE": cache})  # leaves the cache, if there is one
        changes = edits(texts(folder), rounds, seed)
        for key, folder_of_cache in (("check", ""), ("check-cached", cache), ("check-edited", cache)):
            runs: list[Run] = []
            while len(runs) < rounds and first.output is not None and all(r.output is not None for r in runs):
                with _edited(next(changes)) if key == "check-edited" else contextlib.nullcontext():
                    runs.append(run(command, limit, {"M4_CACHE": folder_of_cache}))
            figures.append(_figure(key, [first] if first.output is None else runs, limit))
            if runs and runs[0].output and not facts and runs[0].code in (0, 1):
                facts = found(json.loads(runs[0].output))
        if facts and not any(Path(cache).iterdir()):
            figures = [f if f.key == "check" else Figure(f.key, "s", note="no cache was written") for f in figures]
    return figures, facts


@contextlib.contextmanager
def _edited(edit: Edit) -> Iterator[None]:
    """Makes an edit on the disk, and takes it back at the end."""
    file = Path(edit.file)
    text = file.read_text("utf-8")
    file.write_text(edit.of(text), "utf-8")
    try:
        yield
    finally:
        file.write_text(text, "utf-8")


def _figure(key: str, runs: list[Run], limit: float) -> Figure:
    if any(r.output is None for r in runs):
        return stopped(key, "s", limit)
    failed = next((r for r in runs if r.code not in (0, 1)), None)
    if failed is not None:
        return Figure(key, "s", note=f"failed: {failed.error}")
    return figure(key, "s", [r.seconds for r in runs], f"at most {max((r.memory for r in runs), default=0):.0f} MB")


def found(checked: dict[str, Any]) -> dict[str, Any]:
    """How much is wrong with a workspace: findings by code, and how many policies are in a conflict."""
    conflicting = {p for d in checked["diagnostics"] if d["code"] in CONFLICTS for p in d["policies"]}
    codes = Counter(d["code"] for d in checked["diagnostics"])
    policies = checked["summary"]["policies"]
    return {
        "policies": policies,
        "conflicting": len(conflicting),
        "share": len(conflicting) / policies if policies else 0.0,
        "findings": dict(sorted(codes.items())),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edits", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300, help="no edit begins later (default: 300)")
    args = parser.parse_args()
    print(json.dumps([f.as_json() for f in measure_edits(args.folder, args.edits, args.seed, args.seconds)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
