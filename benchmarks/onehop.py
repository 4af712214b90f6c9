"""Very many policies about one hop, as at a gateway: a full check, and an edit of one of them.

Each policy is about the requests to one path; there are as many from outside as from a client. A check is `m4 check`
in a new process without a cache. An edit writes the path of one policy in the middle anew, and takes it back: until all
conflicts are known, and then until there is a plan too. All times are those of the processor, of every process.

Usage: python -m benchmarks.onehop [--sizes N …] [--rounds N] [--docs]      (prints a table)
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.core import M4, ROOT
from benchmarks.results import Figure, figure, machine, stopped
from benchmarks.table import Line, markdown, on, text, verdict

SIZES = (600, 1_500, 3_000)
GOAL, EDIT_GOAL = 10.0, 300.0  # seconds for a check of the largest, and milliseconds for an edit of one of them
LIMIT = 300.0  # seconds
GRAPH = """services:
  client: {entry: true}
  gateway: {entry: true}
  orders: {}
calls:
  - [client, gateway]
  - [gateway, orders]
"""
MESH = 'mesh shop { graph "graph.yaml"; dataplanes ebpf, envoy; }\n'
KINDS = {
    "refusals": ('r.url_path == "/p{0}"', "DropRequest()"),
    "statuses": ('r.target starts_with "/p{0}/"', "DropRequest({1})"),
    "headers": ('r.method == "POST" && r.url_path starts_with "/p{0}/"', 'SetHeader("x-{0}", "yes")'),
}
TITLES = {
    "refusals": "refusals, a path each",
    "statuses": "refusals of what is below a path, with 50 statuses",
    "headers": "headers, each for one method below a path",
}


def policies(kind: str, count: int) -> list[str]:
    """The policies, a line each."""
    when, call = KINDS[kind]
    callers = ("outside", "client")
    return [
        f"policy p{i} (HttpRequest r) on {callers[i % 2]} -> gateway when {when.format(i)} "
        f"{{ r.{call.format(i, 400 + i % 50)}; }}\n"
        for i in range(count)
    ]


def write(folder: Path, kind: str, count: int) -> None:
    folder.mkdir()
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "mesh.m4").write_text(MESH)
    (folder / "policies.m4").write_text("".join(policies(kind, count)))


def measure_check(key: str, folder: Path, rounds: int) -> Figure:
    """`m4 check`, which finds nothing."""
    spent: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="m4-cache-") as cache:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            command = [str(M4), "check", str(folder)]
            try:
                done = subprocess.run(
                    command, env={**os.environ, "M4_CACHE": cache}, capture_output=True, timeout=LIMIT
                )
            except subprocess.TimeoutExpired:
                return stopped(key, "s", LIMIT)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode or b"no errors" not in done.stdout + done.stderr:
            return Figure(key, "s", note=f"failed: {(done.stdout + done.stderr).decode()[-200:]}")
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return figure(key, "s", spent)


def measure_edits(key: str, folder: Path, rounds: int) -> Iterator[Figure]:
    """Edits of one policy in the middle: until all conflicts are known, and until there is a plan too."""
    from m4c.garbage import settle
    from m4c.workspace import Workspace

    workspace = Workspace([folder])
    file = folder / "policies.m4"
    lines = file.read_text().splitlines(keepends=True)
    workspace.set_text(file.as_posix(), "".join(lines))
    workspace.expect_edits()
    before = workspace.problems()
    settle()  # as the language server does after its first check
    conflicts: list[float] = []
    plans: list[float] = []
    middle = len(lines) // 2
    for number in range(rounds):
        edited = [*lines[:middle], lines[middle].replace('"/p', f'"/edited{number}-'), *lines[middle + 1 :]]
        for now in ("".join(edited), "".join(lines)):
            start = time.process_time()
            workspace.set_text(file.as_posix(), now)
            workspace.problems(quick=True)
            conflicts.append(1000 * (time.process_time() - start))
            workspace.problems()
            plans.append(1000 * (time.process_time() - start))
    if workspace.problems() != before:
        raise RuntimeError("after edits that were all taken back, other problems are found than before")
    yield figure(f"{key}-edit", "ms", conflicts)
    yield figure(f"{key}-edit-plan", "ms", plans)


def lines(sizes: list[int], rounds: int) -> Iterator[Line]:
    largest = max(sizes)
    with tempfile.TemporaryDirectory(prefix="m4-bench-") as name:
        for kind, title in TITLES.items():
            for size in sizes:
                print(f"{size:,} {title} …", file=sys.stderr)
                folder, key = Path(name) / f"{kind}-{size}", f"{kind}-{size}"
                write(folder, kind, size)
                found = measure_check(key, folder, rounds)
                goal = GOAL if size == largest == SIZES[-1] else None
                yield Line(f"{size:,} {title}: full check", found, goal, None, verdict(found, goal, None))
            said = ("edit of one of them → all conflicts", "the same, and the plan")
            for what, of in zip(said, measure_edits(key, folder, 3 * rounds), strict=True):
                goal = EDIT_GOAL if largest == SIZES[-1] else None
                yield Line(f"{size:,} {title}: {what}", of, goal, None, verdict(of, goal, None))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onehop", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="policies about the hop")
    parser.add_argument("--rounds", type=int, default=3, help="checks of each workspace (default: 3)")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/performance.md, too")
    parser.add_argument("--out", type=Path, default=ROOT / "out/bench", help="where the JSON goes (default: out/bench)")
    args = parser.parse_args()
    where = machine()
    measured = list(lines(sorted(args.sizes), args.rounds))
    args.out.mkdir(parents=True, exist_ok=True)
    results = {"machine": where, "figures": [line.figure.as_json() for line in measured]}
    (args.out / "onehop.json").write_text(json.dumps(results, indent=1) + "\n")
    print(text(measured))
    if args.docs:
        from benchmarks import docs

        page = docs.PAGE.read_text("utf-8")
        docs.PAGE.write_text(docs.put(page, f"- {on(where)}\n\n{markdown(measured)}", docs.ONE_HOP), "utf-8")
    return 1 if any(line.figure.note.startswith("failed") for line in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
