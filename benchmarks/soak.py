"""A long session with the language server: random edits of all kinds, and at random points a comparison of what it has
published with what a server says that was started on the same texts just then. A finding that is lost, or that stays,
is a failure. The memory is read after each thousand edits.

Usage: python -m benchmarks.soak [--edits N] [--policies N] [--seed N]     (prints JSON)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.client import Client, initialize, started
from benchmarks.editor import M4LS
from benchmarks.edits import NEEDED, POLICY, texts
from benchmarks.generate import Size, write

CROWDED = 4  # services with policies that contradict each other
SIDE = """policy {name} (HttpRequest r)
    on * -> {callee}
{{
    r.SetHeader("x-side", "{value}");
}}

"""
STEP = 1000  # edits between two readings of the memory
STEADY = 0.8  # seconds in which nothing is published once all is known; the server waits 0.5 s before the last stage
PATIENCE = 60.0  # seconds until two servers have to agree
WORDS = ("when", "policy x (", "}", "{", ";", '"', "// note\n", "/*", "r.", "on *", "\n\n", "é", "😀")


def prepare(folder: Path, policies: int, seed: int) -> None:
    """A workspace in which there is more to find than in those that speed is measured on: policies that contradict each
    other, and tests that fail."""
    write(folder, Size.of(policies, files=max(4, policies // 10)), seed)
    graph = (folder / "graph.yaml").read_text(encoding="utf-8")
    entry = re.findall(r"^  (\S+): .*entry: true", graph, re.M)[0]
    callees = re.findall(rf"^  - \[{re.escape(entry)}, (\S+)\]", graph, re.M)[:CROWDED]
    for number, callee in enumerate(callees):
        sides = "".join(SIDE.format(name=f"{side}_{number}", callee=callee, value=side) for side in ("left", "right"))
        verdict = ("allow", "deny")[number % 2]
        test = f'test "{number}" {{ request GET "/" on outside -> {entry} -> {callee}; expect {verdict}; }}\n'
        (folder / f"more-{number}.m4").write_text(sides + test, encoding="utf-8")


class Mismatch(Exception):
    """What was published is not what the texts say."""


@dataclass(slots=True)
class Open:
    """A document that is open, with its earlier texts."""

    text: str
    version: int = 1
    earlier: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What a session came to: `memory` in MB, after each thousand edits and at the end."""

    edits: int = 0
    compared: int = 0
    memory: list[float] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)


class Soak:
    """A person at an editor, who does anything."""

    def __init__(self, client: Client, folder: Path, rng: Random) -> None:
        self.client = client
        self.folder = folder
        self.rng = rng
        self.open: dict[str, Open] = {}
        self.names = 0
        self.actions: dict[str, tuple[int, Callable[[], None]]] = {
            "insert": (6, self.insert),
            "delete": (4, self.delete),
            "paste": (3, self.paste),
            "move": (3, self.move),
            "undo": (8, self.undo),
            "break": (4, self.broken),
            "save": (1, self.save),
            "reopen": (1, self.reopen),
            "rename": (1, self.rename),
            "start": (2, self.start),
        }

    def act(self) -> str:
        """One edit, or something else that changes what the server has to know; what it was."""
        weights = [weight for weight, _ in self.actions.values()]
        kind = self.rng.choices(list(self.actions), weights)[0]
        self.actions[kind][1]()
        return kind

    # --- edits ---

    def insert(self) -> None:
        path, text = self.document()
        at = self.rng.randrange(len(text) + 1)
        self.write(path, text[:at] + self.rng.choice(WORDS) + text[at:])

    def delete(self) -> None:
        path, text = self.document()
        at = self.rng.randrange(len(text) + 1)
        self.write(path, text[:at] + text[at + self.rng.randrange(1, 40) :])

    def paste(self) -> None:
        """A policy from anywhere, with its name or with a new one."""
        path, text = self.document()
        found = POLICY.findall(self.rng.choice([o.text for o in self.open.values()]))
        if not found:
            return
        piece = self.rng.choice(found)
        if self.rng.random() < 0.7:
            self.names += 1
            piece = re.sub(r"^policy \w+", f"policy pasted_{self.names}", piece)
        self.write(path, f"{text}\n{piece}")

    def move(self) -> None:
        """Two policies change places."""
        path, text = self.document()
        found = list(POLICY.finditer(text))
        if len(found) > 1:
            a, b = sorted(self.rng.sample(found, 2), key=re.Match.start)
            moved = text[: a.start()] + b[0] + text[a.end() : b.start()] + a[0] + text[b.end() :]
            self.write(path, moved)

    def undo(self) -> None:
        """Back to an earlier text, mostly the one before; so what was broken is mended."""
        path, _ = self.document()
        document = self.open[path]
        if document.earlier:
            steps = self.rng.choice((1, 1, 2, 5, len(document.earlier)))
            back = document.earlier[-steps:][0]
            del document.earlier[-steps:]
            self.write(path, back, False)

    def broken(self) -> None:
        path, text = self.document()
        spots = list(NEEDED.finditer(text))
        if spots:
            at = self.rng.choice(spots).start()
            self.write(path, text[:at] + text[at + 1 :])

    # --- files ---

    def save(self) -> None:
        path, text = self.document()
        Path(path).write_text(text, encoding="utf-8")
        self.told(path, 2)
        self.client.notify("textDocument/didSave", {"textDocument": {"uri": Path(path).as_uri()}})

    def start(self) -> None:
        """Back to the text on the disk, so that the session does not end in ruins."""
        path, _ = self.document()
        self.write(path, Path(path).read_text(encoding="utf-8"))

    def reopen(self) -> None:
        """A document is closed, mostly without its changes; another one may be opened."""
        if len(self.open) > 1:
            self.close(self.rng.choice(list(self.open)))
        closed = [f for f in texts(self.folder) if f not in self.open]
        if closed:
            self.opened(self.rng.choice(closed))

    def rename(self) -> None:
        path, text = self.document()
        self.names += 1
        new = Path(path).with_name(f"renamed_{self.names}.m4")
        self.close(path)
        Path(path).rename(new)
        self.told(path, 3)
        self.told(new.as_posix(), 1)
        if self.rng.random() < 0.5:
            self.opened(new.as_posix())
            self.write(new.as_posix(), text)

    # --- the protocol ---

    def document(self) -> tuple[str, str]:
        """(path, text) of a document that is open."""
        if not self.open:
            self.opened(self.rng.choice(list(texts(self.folder))))
        path = self.rng.choice(list(self.open))
        return path, self.open[path].text

    def opened(self, path: str) -> None:
        text = Path(path).read_text(encoding="utf-8")
        self.open[path] = Open(text)
        item = {"uri": Path(path).as_uri(), "languageId": "m4", "version": 1, "text": text}
        self.client.published.pop(Path(path).as_uri(), None)
        self.client.notify("textDocument/didOpen", {"textDocument": item})

    def close(self, path: str) -> None:
        del self.open[path]
        self.client.notify("textDocument/didClose", {"textDocument": {"uri": Path(path).as_uri()}})

    def told(self, path: str, kind: int) -> None:
        event = {"uri": Path(path).as_uri(), "type": kind}
        self.client.notify("workspace/didChangeWatchedFiles", {"changes": [event]})

    def write(self, path: str, text: str, undoable: bool = True) -> None:
        document = self.open[path]
        if undoable:
            document.earlier = [*document.earlier[-50:], document.text]
        document.version += 1
        change = {"range": _changed(document.text, text), "text": _inserted(document.text, text)}
        document.text = text
        identity = {"uri": Path(path).as_uri(), "version": document.version}
        self.client.notify("textDocument/didChange", {"textDocument": identity, "contentChanges": [change]})

    def current(self) -> bool:
        """Whether what is published of each open document is about its newest version."""
        published = self.client.published
        return all(published.get(Path(p).as_uri(), {}).get("version") == o.version for p, o in self.open.items())

    async def compare(self) -> None:
        """Waits until what is published is what a new server publishes on the same texts; raises `Mismatch` if that
        does not happen."""
        async with started(M4LS) as client:
            await initialize(client, self.folder)
            client.notify("initialized", {})
            for path, document in self.open.items():
                item = {"uri": Path(path).as_uri(), "languageId": "m4", "version": 1, "text": document.text}
                client.notify("textDocument/didOpen", {"textDocument": item})
            end = time.perf_counter() + PATIENCE
            while True:
                ours, theirs = findings(self.client), findings(client)
                last = max(self.client.last_published, client.last_published)
                opened = all(client.published.get(Path(p).as_uri()) for p in self.open)
                steady = opened and client.last_published and time.perf_counter() - last > STEADY
                if steady and ours == theirs and self.current():
                    return
                if time.perf_counter() > end:
                    raise Mismatch(_difference(ours, theirs, self))
                await asyncio.sleep(0.02)


def findings(client: Client) -> dict[str, list[str]]:
    """What is published, in an order of its own, without the files of which nothing is said."""
    return {
        uri: sorted(json.dumps(d, sort_keys=True) for d in of["diagnostics"])
        for uri, of in client.published.items()
        if of["diagnostics"]
    }


def _difference(ours: dict[str, list[str]], theirs: dict[str, list[str]], soak: Soak) -> str:
    if ours == theirs:
        return "versions: " + ", ".join(
            f"{p} is {o.version}, not {soak.client.published.get(Path(p).as_uri(), {}).get('version')}"
            for p, o in soak.open.items()
        )
    lines = []
    for uri in sorted({*ours, *theirs}):
        stale = [d for d in ours.get(uri, []) if d not in theirs.get(uri, [])]
        lost = [d for d in theirs.get(uri, []) if d not in ours.get(uri, [])]
        lines += [f"{uri}: stale {d}" for d in stale] + [f"{uri}: lost {d}" for d in lost]
    return "\n".join(lines[:20]) or "one is published twice"


def _common(old: str, new: str) -> tuple[int, int]:
    """(how long both begin the same, how long they then end the same)"""
    start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    most = min(len(old), len(new)) - start
    end = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    return start, end


def _changed(old: str, new: str) -> dict[str, Any]:
    start, end = _common(old, new)
    return {"start": _position(old, start), "end": _position(old, len(old) - end)}


def _inserted(old: str, new: str) -> str:
    start, end = _common(old, new)
    return new[start : len(new) - end]


def _position(text: str, offset: int) -> dict[str, int]:
    """The protocol's position, in units of UTF-16."""
    line = text.rfind("\n", 0, offset) + 1
    return {"line": text.count("\n", 0, offset), "character": len(text[line:offset].encode("utf-16-le")) // 2}


def resident(pid: int) -> float:
    """The memory of a process in MB."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmRSS:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) / 1024 if found else 0.0


async def soak(folder: Path, count: int, seed: int, comparisons: int) -> Outcome:
    """So many edits in a workspace, which is changed on the disk, too."""
    rng = Random(f"soak {seed}")
    out = Outcome()
    async with started(M4LS) as client:
        await initialize(client, folder)
        client.notify("initialized", {})
        person = Soak(client, folder, rng)
        for path in list(texts(folder))[:4]:
            person.opened(path)
        points = {*rng.sample(range(count), max(0, comparisons - 1)), count - 1}
        for number in range(count):
            kind = person.act()
            out.kinds[kind] = out.kinds.get(kind, 0) + 1
            out.edits += 1
            if rng.random() < 0.5:  # else the next one comes while the server works
                await asyncio.sleep(rng.choice((0, 0.002, 0.02)))
                end = time.perf_counter() + PATIENCE
                while not person.current():
                    if time.perf_counter() > end:
                        raise Mismatch(_difference({}, {}, person))
                    await asyncio.sleep(0.001)
            if number in points:
                await person.compare()
                out.compared += 1
            if (number + 1) % STEP == 0 or number == count - 1:
                out.memory.append(resident(client.process.pid))
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--edits", type=int, default=20_000)
    parser.add_argument("--policies", type=int, default=60)
    parser.add_argument("--compare", type=int, default=40, help="comparisons with a new server (default: 40)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="m4-soak-") as name:
        folder = Path(name) / "shop"
        prepare(folder, args.policies, args.seed)
        try:
            out = asyncio.run(soak(folder, args.edits, args.seed, args.compare))
        except Mismatch as wrong:
            print(wrong, file=sys.stderr)
            return 1
    first, last = out.memory[0], out.memory[-1]
    print(json.dumps(asdict(out)))
    print(f"{first:.0f} MB after the first thousand edits, {last:.0f} MB at the end", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
