"""The language server as an editor sees it: edits until their diagnostics are there, answers, start, memory.

Usage: python -m benchmarks.editor FOLDER [--edits N] [--seed N]     (prints JSON)
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import Awaitable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.client import Client, change, initialize, position, started
from benchmarks.edits import POLICY, edits, texts
from benchmarks.generate import GUARD
from benchmarks.results import Figure, figure, stopped

M4LS = (str(Path(sys.executable).with_name("m4ls")),)
BARE = (sys.executable, str(Path(__file__).with_name("bare_server.py")))
PAUSE = 0.1  # seconds between two characters, of which the server may use all to publish what else has changed
SERVICE = re.compile(r"^    on .*-> ([a-z][\w.-]*)(?::\w+)?(?: at \w+)?$", re.M)  # where a pattern ends at one service
OPENED = 8  # files that are open at a time


class Session:
    """The server with a workspace, and the files that are open in the editor."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.texts = texts(folder)
        self.versions: dict[str, int] = {}

    async def open(self, file: str) -> None:
        """Opens a file, and waits for what is found in it."""
        if file in self.versions:
            return
        uri = Path(file).as_uri()
        self.versions[file] = 1
        item = {"uri": uri, "languageId": "m4", "version": 1, "text": self.texts[file]}
        self.client.notify("textDocument/didOpen", {"textDocument": item})
        await self.client.publication(uri, 1)
        if len(self.versions) > OPENED:
            first = next(iter(self.versions))
            del self.versions[first]
            self.client.notify("textDocument/didClose", {"textDocument": {"uri": Path(first).as_uri()}})
            self.client.published.pop(Path(first).as_uri(), None)

    async def ask(self, method: str, file: str, offset: int, **more: Any) -> tuple[float, Any]:
        """(milliseconds until the answer, the answer) to a request about a place."""
        where = {"textDocument": {"uri": Path(file).as_uri()}, "position": position(self.texts[file], offset)}
        start = time.perf_counter()
        at, result = await self.client.request(f"textDocument/{method}", {**where, **more})
        return 1000 * (at - start), result


async def edited(session: Session, count: int, seed: int, seconds: float) -> list[Figure]:
    """Types, waits for the diagnostics of that version of the file, takes it back, and waits again. After so many
    seconds no more edits begin."""
    first: list[float] = []
    last: list[float] = []
    end = time.perf_counter() + seconds
    for edit in edits(session.texts, count, seed):
        if time.perf_counter() > end:
            break
        await session.open(edit.file)
        text = session.texts[edit.file]
        uri = Path(edit.file).as_uri()
        before = session.client.published[uri]["diagnostics"]
        for step, of in ((edit, text), (edit.undo(text), edit.of(text))):
            await asyncio.sleep(PAUSE)
            session.versions[edit.file] += 1
            version = session.versions[edit.file]
            start = time.perf_counter()
            session.client.notify("textDocument/didChange", change(step, of, version))
            at = await session.client.publication(uri, version)
            first.append(1000 * (at - start))
            await asyncio.sleep(PAUSE)
            last.append(1000 * (session.client.last_published - start))
            now = session.client.published[uri]["diagnostics"]
            if step.kind == "broken" and now == before:
                raise RuntimeError(f"{edit.file} is said to be as sound as before without {text[edit.start]!r}")
            if step.kind == "mended" and now != before:
                raise RuntimeError(f"{edit.file} is as it was, but other problems are found in it")
    short = "" if len(last) == 2 * count else f"{len(last)} edits within {seconds:.0f} s"
    return [figure("editor-edit", "ms", last, short), figure("editor-edit-first", "ms", first, short)]


async def answered(session: Session, count: int, seed: int) -> list[Figure]:
    """Completion behind `r.`, hover over an operation, the definition of a service, each at many places."""
    rng = Random(f"answers {seed}")
    places = [(f, m) for f, text in session.texts.items() for m in POLICY.finditer(text) if SERVICE.search(m[0])]
    took: dict[str, list[float]] = {"completion": [], "hover": [], "definition": []}
    for _ in range(count):
        file, policy = rng.choice(places)
        await session.open(file)
        operation = policy.start() + policy[0].rindex(" r.") + len(" r.")
        service = SERVICE.search(session.texts[file], policy.start())
        at = service.start(1) if service else operation
        for method, offset in (("completion", operation), ("hover", operation + 1), ("definition", at)):
            ms, result = await session.ask(method, file, offset)
            if not result:
                raise RuntimeError(f"no {method} at {file}:{session.texts[file].count(chr(10), 0, offset) + 1}")
            took[method].append(ms)
    return [figure(method, "ms", values) for method, values in took.items()]


async def renamed(session: Session, capabilities: dict[str, Any], rounds: int) -> list[Figure]:
    """The rename of a policy that policies of many files override."""
    if not capabilities.get("renameProvider"):
        return [Figure("rename", "ms", note="not there yet: the server offers no rename")]
    file = next(f for f, text in session.texts.items() if f"policy {GUARD} " in text)
    users = sum(bool(re.search(rf"\b{GUARD}\b", text)) for text in session.texts.values())
    offset = session.texts[file].index(GUARD)
    await session.open(file)
    took = []
    for number in range(rounds):
        ms, answer = await session.ask("rename", file, offset, newName=f"{GUARD}_{number}")
        result = answer or {}
        edited_files = {d["textDocument"]["uri"] for d in result.get("documentChanges", ())} | {
            *result.get("changes", ())
        }
        if len(edited_files) != users:
            raise RuntimeError(f"the rename changes {len(edited_files)} files, not the {users} that name the policy")
        took.append(ms)
    return [figure("rename", "ms", took, f"used in {users} files")]


def memory(pid: int) -> Figure:
    """What the server holds at the end, and held at most, in MB."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return Figure("memory", "MB", note="not measured: the system has no /proc")
    now, peak = (int(re.findall(rf"{k}:\s+(\d+) kB", status.read_text())[0]) / 1024 for k in ("VmRSS", "VmHWM"))
    return Figure("memory", "MB", 1, now, peak, "at the end, and at most")


async def starts(folder: Path, rounds: int) -> list[Figure]:
    """From the start of the process to the answer to `initialize`: ours and a bare server, in turns."""
    took: dict[str, list[float]] = {"start": [], "start-bare": []}
    for number in range(rounds + 1):
        for key, command in (("start", M4LS), ("start-bare", BARE)):
            async with started(command) as client:
                at, _ = await initialize(client, folder)
                if number:  # the first ones read the disk
                    took[key].append(1000 * (at - client.started))
    return [figure(key, "ms", values) for key, values in took.items()]


UNITS = {
    "editor-ready": "s",
    **dict.fromkeys(("editor-edit", "editor-edit-first", "completion", "hover", "definition", "rename"), "ms"),
    "memory": "MB",
}


async def session(folder: Path, count: int, seed: int, limit: float, done: dict[str, Figure]) -> None:
    """All that is measured in one session, into `done` as soon as it is."""

    async def part(measured: Awaitable[list[Figure]], *keys: str) -> None:
        done.update({key: stopped(key, UNITS[key], limit) for key in keys})
        try:
            done.update({f.key: f for f in await measured})
        except RuntimeError as error:
            done.update({key: Figure(key, UNITS[key], note=f"failed: {error}") for key in keys})

    async with started(M4LS) as client:
        _, capabilities = await initialize(client, folder)
        opened = Session(client, folder)
        await part(ready(opened), "editor-ready")
        await part(edited(opened, count, seed, limit / 2), "editor-edit", "editor-edit-first")
        await part(answered(opened, count, seed), "completion", "hover", "definition")
        await part(renamed(opened, capabilities, 20), "rename")
        done["memory"] = memory(client.process.pid)


async def ready(session: Session) -> list[Figure]:
    """From the opening of a workspace to the diagnostics of a file in it."""
    begin = time.perf_counter()
    session.client.notify("initialized", {})
    await session.open(next(iter(session.texts)))
    return [figure("editor-ready", "s", [time.perf_counter() - begin])]


def measure(folder: Path, count: int, seed: int, rounds: int, limit: float) -> list[Figure]:
    """The figures of a session and of starts; notes in place of those that the session has not come to in so many
    seconds."""
    done: dict[str, Figure] = {}
    with contextlib.suppress(TimeoutError):
        asyncio.run(asyncio.wait_for(session(folder, count, seed, limit, done), limit))
    late = [
        Figure(key, unit, note=f"not come to within {limit:.0f} s") for key, unit in UNITS.items() if key not in done
    ]
    return [*done.values(), *late, *asyncio.run(starts(folder, rounds))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--edits", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=15, help="starts of each server (default: 15)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=600, help="seconds (default: 600)")
    args = parser.parse_args()
    figures = measure(args.folder.absolute(), args.edits, args.seed, args.rounds, args.limit)
    print(json.dumps([f.as_json() for f in figures], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
