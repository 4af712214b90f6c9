"""What was measured, as plain values: figures, the budgets that they are held to, and the machine."""

from __future__ import annotations

import math
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what many measurements of one thing come to, in `unit`. `count` is 0 if it was not measured, and `note`
    then says why; otherwise `note` adds what one must know to read it. `stopped`: the
    seconds within which it was not done."""

    key: str
    unit: str
    count: int = 0
    median: float = 0.0
    p99: float = 0.0
    note: str = ""
    stopped: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def figure(key: str, unit: str, values: Sequence[float], note: str = "") -> Figure:
    """The figure of some measurements. The 99th percentile is the nearest rank: one that was really seen."""
    if not values:
        return Figure(key, unit, note=note or "nothing was measured")
    ordered = sorted(values)
    p99 = ordered[math.ceil(0.99 * len(ordered)) - 1]
    return Figure(key, unit, len(ordered), statistics.median(ordered), p99, note)


def stopped(key: str, unit: str, seconds: float, note: str = "") -> Figure:
    """The figure of what was begun, and not done within so many seconds."""
    said = f"not done within {seconds:.0f} s"
    return Figure(key, unit, note=f"{said}: {note}" if note else said, stopped=seconds)


def machine() -> dict[str, Any]:
    """What the figures depend on beside the code."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or "unknown",
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }
