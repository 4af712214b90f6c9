"""The property tests at length: many new examples of each, and a table of how many there were.

Usage: python benchmarks/properties.py [--examples N] [TEST…]     (TEST: files under tests/property, or pytest's -k)
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A test's heading in Hypothesis' statistics, and the line of its main phase.
TEST = re.compile(r"^(tests/\S+::\S+):$", re.M)
COUNTS = re.compile(r"(\d+) passing, (\d+) failing, and (\d+) invalid test cases")
TOOK = re.compile(r"during generate phase \(([\d.]+) seconds\)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--examples", type=int, default=1500, help="examples of each test (default: 1500)")
    parser.add_argument("tests", nargs="*", default=["tests/property"], help="what to run (default: all)")
    args = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--hypothesis-show-statistics",
        "-p",
        "no:cacheprovider",
        *args.tests,
    ]
    environment = {**os.environ, "M4_EXAMPLES": str(args.examples)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    _, *parts = TEST.split(done.stdout)
    total = 0
    print(f"{'property':<76} {'examples':>8} {'failing':>7} {'invalid':>7} {'seconds':>7}")
    for name, text in zip(parts[::2], parts[1::2], strict=True):
        counts = [sum(int(m[i]) for m in COUNTS.finditer(text)) for i in (1, 2, 3)]
        seconds = sum(float(m[1]) for m in TOOK.finditer(text))
        total += counts[0]
        print(
            f"{name.removeprefix('tests/property/'):<76} {counts[0]:>8} {counts[1]:>7} {counts[2]:>7} {seconds:>7.0f}"
        )
    print(f"{total} examples in all")
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-2000:], file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
