"""What the measures of programs in the kernel share: their options, rounds through meshes that stand beside each other,
and requests one after the other, of which none should stall."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

from benchmarks import dataplane_table as table
from benchmarks.dataplane import NOTHING
from benchmarks.dataplane_load import interleaved, load
from benchmarks.dataplane_stand import Standing


def options(name: str, doc: str, *, rounds: int, seconds: float, port: int, stalls: bool) -> argparse.Namespace:
    """The options of `python -m benchmarks.NAME`, with these defaults. From now on SIGTERM takes all of it away."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=doc.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=seconds)
    if stalls:
        parser.add_argument("--stalls", type=int, default=100_000, help="requests one after the other")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base-port", type=int, default=port)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return args


def compare(
    args: argparse.Namespace,
    meshes: Mapping[str, Standing],
    names: Mapping[str, str],
    folder: Path,
    connections: Sequence[int],
    headers: Sequence[str],
) -> None:
    """Prints a table for each number of connections: each mesh by its name, beside that of nothing."""
    chosen = Random(args.seed)
    for number in connections:
        found = interleaved(meshes, folder, number, headers, rounds=args.rounds, seconds=args.seconds, chosen=chosen)
        lines = list(table.rows(found, names, {}, NOTHING))
        print(f"{number} connection{'s' * (number > 1)}\n\n{table.text(table.HEAD, lines)}\n", flush=True)


def stall(
    args: argparse.Namespace,
    meshes: Mapping[str, Standing],
    names: Mapping[str, str],
    folder: Path,
    headers: Sequence[str],
) -> None:
    """Prints how many of so many requests one after the other took long, for each mesh."""
    for arm, mesh in meshes.items():
        one = load(mesh, folder, 1, headers, requests=args.stalls)
        print(f"{names[arm]}: {one.stalled} of {one.requests:,} requests stalled, the slowest {one.slowest:,.0f} µs")
