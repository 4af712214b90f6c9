"""Measures what the performance page quotes, on a generated workspace, and prints it beside the budgets.

A budget that is missed is said, and is no failure; a wrong answer is one. The results are also written as JSON, a file
for each size.

Usage: python -m benchmarks [--policies N] [--large N] …
"""

from __future__ import annotations

import argparse
import compileall
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import core, editor, table
from benchmarks.generate import Size, write
from benchmarks.results import Figure, figure, machine, stopped

ROOT = Path(__file__).resolve().parents[1]
LARGE_EDITS = 50


def measure(size: Size, args: argparse.Namespace, editing: bool = True) -> dict[str, Any]:
    """All figures of one size. `editing`: those of the language server and the peer, too."""
    where = machine()
    compile_sources()
    with tempfile.TemporaryDirectory(prefix="m4-bench-") as name:
        folder = Path(name) / "shop"
        write(folder, size, args.seed)
        _say(f"{size.policies:,} policies: full checks")
        figures, facts = core.full_checks(folder, args.checks, args.limit, args.seed)
        _say(f"{size.policies:,} policies: edits in process")
        count = args.edits if editing else min(args.edits, LARGE_EDITS)
        figures += core.edits_in_process(folder, count, args.seed, args.limit)
        if editing:
            _say(f"{size.policies:,} policies: the language server")
            figures += editor.measure(folder, args.edits, args.seed, args.starts, args.limit)
            _say(f"{size.policies:,} policies: the peer")
            figures.append(peer(folder, args.peer_limit))
    return {
        "size": asdict(size),
        "seed": args.seed,
        "machine": where,
        "facts": facts,
        "figures": [f.as_json() for f in figures],
    }


def compile_sources() -> None:
    """Compiles our modules as an installation does with all others: some environments have Python do so at each start,
    which would be measured."""
    for package in ("compiler", "m4ls", "bpf", "deploy"):
        compileall.compile_dir(ROOT / package, quiet=2)


def peer(folder: Path, limit: float) -> Figure:
    """The peer on the same workspace, in a process of its own."""
    done = core.run([sys.executable, "-m", "benchmarks.wire", str(folder), "--limit", str(limit)], 2 * limit + 60)
    if done.output is None or done.code:
        return Figure("peer", "s", note=f"failed: {done.error or 'it did not end in time'}")
    out = json.loads(done.output)
    did = (
        f"{out['expanded']:,} of {out['policies']:,} policies expanded, {out['paths']:,} paths, {out['pairs']:,} pairs"
    )
    if not out["complete"]:
        return stopped("peer", "s", limit, did)
    return figure("peer", "s", [done.seconds], f"{did}; sees no conditions, values, merges, orders")


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def arguments(parser: argparse.ArgumentParser) -> None:
    """What all runs have in common."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--edits", type=int, default=150, help="each made and taken back (default: 150)")
    parser.add_argument("--checks", type=int, default=3, help="full checks of each kind (default: 3)")
    parser.add_argument("--starts", type=int, default=15, help="starts of each server (default: 15)")
    parser.add_argument("--limit", type=float, default=300, help="seconds for each part, about (default: 300)")
    parser.add_argument("--peer-limit", type=float, default=60, help="seconds for the peer (default: 60)")
    parser.add_argument("--out", type=Path, default=ROOT / "out/bench", help="where the JSON goes (default: out/bench)")


def save(results: dict[str, Any], folder: Path) -> Path:
    """Writes the results of one size."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{results['size']['policies']}.json"
    file.write_text(json.dumps(results, indent=1) + "\n")
    return file


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--policies", type=int, default=table.BUDGETED)
    for what in ("services", "calls", "files"):
        parser.add_argument(f"--{what}", type=int, help="default: in proportion to the policies")
    parser.add_argument("--large", type=int, default=table.LARGE, help="policies of a large workspace; 0 for none")
    arguments(parser)
    args = parser.parse_args()
    results = measure(Size.of(args.policies, args.services, args.calls, args.files), args)
    save(results, args.out)
    large = measure(Size.of(args.large), args, editing=False) if args.large else None
    if large is not None:
        save(large, args.out)
    print("\n".join(table.about(results)), end="\n\n")
    rows = list(table.lines(results, large))
    print(table.text(rows))
    return 1 if any(row.figure.note.startswith("failed") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
