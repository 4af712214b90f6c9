"""The language server and a client that does everything wrong: positions that are nowhere, documents that nobody has
opened, versions out of order, values of other types, broken frames and texts, requests before and after a session.

Every request must be answered, with a result or with the error that the protocol has for it; afterwards the server must
still publish what a new one finds in the same texts. What happened is printed by kind of message.

Usage: python -m benchmarks.fuzz [--messages N] [--seed N] [--policies N]     (prints JSON)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from random import Random

from benchmarks.client import initialize
from benchmarks.edits import texts
from benchmarks.fuzzer import EARLY, INVALID, PARAMS, Fuzz, Outcome
from benchmarks.rawclient import PATIENCE, Broken, Wire, connected
from benchmarks.soak import Mismatch, prepare, resident

AHEAD = 24  # messages that may be sent before the answers to those before them are waited for
CHECKS = 2000  # messages between two comparisons with a new server


async def short(folder: Path, rng: Random, out: Outcome, log: Path) -> None:
    """A session of which the beginning or the end is wrong."""
    out.sessions += 1
    uri = (folder / "shop.m4").as_uri()
    async with connected(log) as client:
        fuzz = Fuzz(client, folder, rng, out)
        fuzz.kind = "before initialize"
        for _ in range(rng.randrange(1, 6)):
            fuzz.count(fuzz.kind)
            fuzz.ask(*fuzz.request(uri, {"line": 0, "character": 0}), (EARLY,))
            fuzz.count(fuzz.kind)
            client.notify(
                *rng.choice((("textDocument/didChange", {}), ("initialized", {}), ("$/cancelRequest", {"id": 1})))
            )
        fuzz.ask("initialize", rng.choice((None, 3, {"capabilities": 1})), (PARAMS,))
        await fuzz.settle()
        if rng.random() < 0.3:
            client.notify("exit", None)
            await _ended(client, 1)
            return
        await initialize(client, folder)
        if rng.random() < 0.5:
            fuzz.kind = "before initialized"
            fuzz.count(fuzz.kind)
            fuzz.ask(*fuzz.request(uri, {"line": 0, "character": 0}), (EARLY,))
            await fuzz.settle()
            client.notify("initialized", {})
            fuzz.kind = "sound request"
            fuzz.ask(*fuzz.request(uri, {"line": 0, "character": 0}))
            await fuzz.settle()
        client.send({"jsonrpc": "2.0", "id": 1, "method": "shutdown"})
        fuzz.kind = "after shutdown"
        for _ in range(rng.randrange(1, 6)):
            fuzz.count(fuzz.kind)
            fuzz.ask(*fuzz.request(uri, {"line": 0, "character": 0}), (INVALID,))
            fuzz.count(fuzz.kind)
            client.notify("textDocument/didChange", rng.choice(({}, None)))
        await fuzz.settle()
        await client.until(lambda: 1 in client.answers, "an answer to `shutdown`")
        if rng.random() < 0.5:
            client.raw(
                rng.choice((b"Content-Length: 1000000000000000\r\n\r\n{}", b"Content-Length: 50\r\n\r\n{}", b"Conte"))
            )
            client.process.stdin.close()  # type: ignore[union-attr]
            await _ended(client, None)
        else:
            client.notify("exit", None)
            await _ended(client, 0)


async def _ended(client: Wire, code: int | None) -> None:
    """Waits until the server has ended, with this code where one matters."""
    try:
        ended = await asyncio.wait_for(client.process.wait(), PATIENCE)
    except TimeoutError:
        raise Broken("the server goes on after the end of the session") from None
    if code is not None and ended != code:
        raise Broken(f"the server has ended with {ended}, not {code}")


async def fuzz(folder: Path, count: int, seed: int, log: Path, checks: int = CHECKS) -> Outcome:
    """So many messages, most of them wrong. Raises `Broken` or `Mismatch` for what the server does wrong."""
    rng, out = Random(f"fuzz {seed}"), Outcome()
    for _ in range(max(2, count // 1000)):
        await short(folder, rng, out, log)
    async with connected(log) as client:
        out.sessions += 1
        await initialize(client, folder)
        client.notify("initialized", {})
        wild = Fuzz(client, folder, rng, out)
        for path in list(texts(folder))[:4]:
            wild.person.opened(path)
        next_check = checks
        while out.messages < count:
            wild.act()
            if len(wild.waiting) >= AHEAD or rng.random() < 0.02:
                await wild.settle()
            if out.messages >= min(next_check, count):
                next_check += checks
                await wild.settle()
                await wild.person.compare()
                out.compared += 1
                out.memory.append(resident(client.process.pid))
    return out


def table(out: Outcome) -> str:
    """The counts as a table of Markdown."""
    lines = ["| kind of message | sent | answers |", "| --- | --- | --- |"]
    for kind, sent in sorted(out.kinds.items()):
        answers = Counter(out.answers.get(kind, {}))
        lines.append(f"| {kind} | {sent} | {_counted(answers)} |")
    nobody = Counter(out.answers.get("without an id", {}))
    lines.append(f"| errors without an id, for a broken frame or no message | | {_counted(nobody)} |")
    return "\n".join(lines)


def _counted(answers: Counter[str]) -> str:
    return ", ".join(f"{code}: {n}" for code, n in answers.most_common())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--policies", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="m4-fuzz-") as name:
        folder, log = Path(name) / "shop", Path(name) / "log"
        prepare(folder, args.policies, args.seed)
        try:
            out = asyncio.run(fuzz(folder, args.messages, args.seed, log))
        except (Broken, Mismatch) as wrong:
            print(log.read_text("utf-8", "replace")[-8000:], file=sys.stderr)
            print(wrong, file=sys.stderr)
            return 1
        crashes = log.read_text("utf-8", "replace").count("Traceback (most recent call last)")
    print(json.dumps(asdict(out)))
    print(table(out), file=sys.stderr)
    print(f"{crashes} tracebacks in the server's log", file=sys.stderr)
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
