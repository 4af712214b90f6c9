"""The measure of the two hooks: both judge with the same rules, and only one answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from load_kit import skip_without_a_stand
from ports import free_base

ROOT = Path(__file__).resolve().parents[2]


def test_a_short_run() -> None:
    skip_without_a_stand()
    command = [sys.executable, "-m", "benchmarks.hooks", "--rounds", "1", "--seconds", "0.3"]
    command += ["--base-port", str(free_base(250))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.rsplit(maxsplit=10) for line in done.stdout.splitlines() if line.startswith(("sockets ", "packets "))]
    assert [(row[0], row[-1]) for row in rows] == [("packets", "0"), ("sockets", "0")] * 3, "no request is lost"
    assert "a refused request, sockets: 451 after" in done.stdout
    assert "a refused request, packets: no answer within" in done.stdout
