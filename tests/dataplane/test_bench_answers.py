"""The measure of what it takes to see answers: its arms lose nothing, and what it says of the kernel was tried."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from load_kit import skip_without_a_stand
from ports import free_base

ROOT = Path(__file__).resolve().parents[2]


def test_a_short_run() -> None:
    skip_without_a_stand()
    command = [sys.executable, "-m", "benchmarks.answers", "--rounds", "1", "--seconds", "0.3", "--stalls", "1000"]
    command += ["--base-port", str(free_base(250))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"(?m)^(what is sent|what is sent and received) {2,}.* (\d+)$", done.stdout)
    assert rows == [("what is sent", "0"), ("what is sent and received", "0")] * 2, "no request is lost"
    assert len(re.findall(r"(?m)^.*: \d+ of 1,000 requests stalled", done.stdout)) == 4
    for way in (r"ioctl\(FIONREAD\)", r"splice\(\)"):  # where nothing is under control, both find what waits
        assert re.search(rf"(?m)^{way}.*? {{2,}}7 bytes", done.stdout), done.stdout
    assert re.search(r"lengthened up to \d[\d,]* bytes; behind what was added \w+ ", done.stdout)
