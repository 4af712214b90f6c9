"""The law at length: `make law`, or `python -m tests.law [--requests N] [--seed N] [--base-port N]`.

Meshes and requests are drawn anew until so many requests were sent, and the seed is printed: the same seed draws the
same ones. The first request that gets something else ends it, with its mesh; 1 then.
"""

from __future__ import annotations

import argparse
import sys
import time
from random import SystemRandom

from tests.law.draws import drawn
from tests.law.holds import Broken, hold
from tests.law.tried import Tried
from tests.law.worlds import dataplane_sets

TOLD = 5  # deployments after which what was tried so far is told


def main() -> int:
    parser = argparse.ArgumentParser(prog="law", description="Holds deployed meshes to the reference interpreter.")
    parser.add_argument("--requests", type=int, default=10_000, help="how many to send (default: 10,000)")
    parser.add_argument("--seed", type=int, help="what is drawn (default: by chance)")
    parser.add_argument("--base-port", type=int, default=26000, help="the first port that is listened at")
    args = parser.parse_args()
    chosen: int = args.seed if args.seed is not None else SystemRandom().randrange(1_000_000)
    sets, lacking = dataplane_sets()
    print(f"seed {chosen}; enforced by {'; '.join(' and '.join(some) for some in sets)}", flush=True)
    for name, reason in lacking.items():
        print(f"without {name}: {reason}")
    tried, begin, at = Tried(), time.monotonic(), 0
    try:
        while tried.requests < args.requests:
            hold(drawn(f"{chosen} {at}", sets), args.base_port, tried)
            at += 1
            if at % TOLD == 0:
                print(f"{time.monotonic() - begin:6.0f} s: {tried}", flush=True)
    except Broken as broken:
        print(f"\nthe law is broken, by seed {chosen} at {tried.requests} requests:\n{broken}")
        return 1
    print(f"the law holds: seed {chosen}, {tried}\n\n{tried.table()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
