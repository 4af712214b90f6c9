"""The measure of the kernel at both ends of a hop: its arms lose nothing, those that read refuse, and what it says of
connections under control was tried."""

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
    command = [sys.executable, "-m", "benchmarks.ends", "--rounds", "1", "--seconds", "0.3", "--stalls", "1000"]
    command += ["--base-port", str(free_base(450))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"(?m)^(caller only|both, .*?) {2,}[\d,]+ .* (\d+)$", done.stdout)
    assert len(rows) == 6 * 3
    assert {failed for _, failed in rows} == {"0"}, "no request is lost"
    assert len(re.findall(r"(?m)^.*: \d+ of 1,000 requests stalled", done.stdout)) == 8
    past = re.findall(r"(?m)^a refused request past the caller, both, (heads|what) .*?: (.*)$", done.stdout)
    assert [of for of, _ in past] == ["what", "what", "heads", "heads", "heads"]
    for of, said in past:
        assert said.startswith("200 after" if of == "what" else ("no answer", "the connection")), past
    assert re.search(r"(?m)^splice\(\).*? {2,}7 bytes", done.stdout), "where nothing is under control, it reads"
    assert re.search(r"(?m)^passes +7 bytes +nothing +the end$", done.stdout)
    assert re.search(r"(?m)^(is dropped|is sent back) +\S", done.stdout)
