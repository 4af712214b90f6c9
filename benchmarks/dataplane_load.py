"""Sends load with h2load (of nghttp2) and reads its log of single requests; counts the processor's time meanwhile."""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from m4deploy import processes

from benchmarks.dataplane_stand import Refused, Standing

STALL = 20_000  # microseconds after which a request on a quiet connection counts as stalled
_SPARE = 60.0  # seconds beyond its time in which h2load must have ended


@dataclass(frozen=True, slots=True)
class Sample:
    """What one run of load came to. Times in microseconds; `cpu` and `machine` are a request's: of all processes of the
    mesh with the load generator (and the kernel on their behalf), and of the whole machine, whoever else runs."""

    requests: int
    failed: int  # no answer, or another status than 200
    rate: float  # answers a second
    p50: float
    p99: float
    slowest: float
    stalled: int
    cpu: float
    machine: float


def find_h2load() -> str:
    found = shutil.which("h2load")
    if found is None:
        raise Refused("h2load is not installed (Debian: apt-get install nghttp2-client)")
    return found


def busy_ticks() -> int:
    """Of /proc/stat: everything that was not idle or waiting for a disk."""
    fields = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4]


def read_log(text: str) -> list[tuple[int, int, int]]:
    """Start (microseconds), status and duration (microseconds) of each request."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [(int(row[0]), int(row[1]), int(row[2])) for row in rows if len(row) >= 3]


def rank(ordered: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was really seen."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def sample(rows: Sequence[tuple[int, int, int]], cpu: float, machine: float) -> Sample:
    """Of a log, and of the microseconds of processor that went by."""
    if not rows:
        raise Refused("no request was answered")
    times = sorted(took for _, _, took in rows)
    seconds = (max(start + took for start, _, took in rows) - min(start for start, _, _ in rows)) / 1e6
    return Sample(
        len(rows),
        sum(status != 200 for _, status, _ in rows),
        len(rows) / max(seconds, 1e-6),
        statistics.median(times),
        rank(times, 0.99),
        times[-1],
        sum(took > STALL for took in times),
        cpu / len(rows),
        machine / len(rows),
    )


def interleaved(
    meshes: Mapping[str, Standing],
    folder: Path,
    connections: int,
    headers: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    chosen: Random,
) -> dict[str, list[Sample]]:
    """Load on each mesh in each round, as fast as answers come. `chosen` draws the order within a round."""
    found: dict[str, list[Sample]] = {arm: [] for arm in meshes}
    for _ in range(rounds):
        for arm in chosen.sample(list(meshes), len(meshes)):
            found[arm].append(load(meshes[arm], folder, connections, headers, seconds=seconds))
    return found


def load(
    mesh: Standing,
    folder: Path,
    connections: int,
    headers: Sequence[str],
    *,
    seconds: float | None = None,
    requests: int | None = None,
    rate: float | None = None,
    body: Path | None = None,
) -> Sample:
    """For so many seconds, or so many requests; as fast as answers come, or at a rate of all connections together."""
    log = folder / "requests.tsv"
    log.unlink(missing_ok=True)
    command = [find_h2load(), "--h1", "-t", "1", "-c", str(connections), f"--log-file={log}"]
    command += ["-D", f"{round(seconds * 1000)}ms"] if seconds else ["-n", str(requests)]
    command += [f"--rps={rate / connections:.2f}"] if rate else []
    command += ["-d", str(body)] if body else []
    command += [word for header in headers for word in ("-H", header)]
    cpu, ticks = mesh.cpu(), busy_ticks()
    said = folder / "h2load.log"
    said.unlink(missing_ok=True)
    process = processes.spawn([*command, f"http://{mesh.address}/"], cwd=folder, log=said, cgroup=mesh.caller)
    try:
        patience = _SPARE + (seconds or 0.0) + (requests or 0) / 500
        process.wait(patience)
    except subprocess.TimeoutExpired:
        raise Refused(f"the load did not end within {patience:.0f} s") from None
    finally:
        processes.stop([process])
    used = mesh.cpu() - cpu
    elapsed = (busy_ticks() - ticks) * 1e6 / os.sysconf("SC_CLK_TCK")
    if process.returncode or not log.exists():
        raise Refused(f"h2load ended with status {process.returncode}: {processes.tail(said)}")
    return sample(read_log(log.read_text()), used, elapsed)
