"""The law at length: `make law`, or `python -m tests.law [--requests N] [--seed N] [--base-port N]`.

Meshes and requests are drawn anew until so many requests were sent, and the seed is printed: the same seed draws the
same ones. The first request that gets something else ends it, with its mesh; 1 then.
"""

from __future__ import annotations

import argparse
import sys
import time
from random import SystemRandom

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.law.holds import Broken, Tried, hold
from tests.law.worlds import World, dataplane_sets, worlds

DRAWN = 4  # meshes for one seed of Hypothesis; then it begins to vary those that it has


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
            run = _drawn(sets, args.base_port, tried)
            seed(f"{chosen} {at}")(run)()
            at += 1
            print(f"{time.monotonic() - begin:6.0f} s: {tried}", flush=True)
    except Broken as broken:
        print(f"\nthe law is broken, by seed {chosen} at {tried.requests} requests:\n{broken}")
        return 1
    print(f"the law holds: seed {chosen}, {tried}")
    return 0


def _drawn(sets: tuple[tuple[str, ...], ...], base_port: int, tried: Tried):  # type: ignore[no-untyped-def]
    @settings(
        max_examples=DRAWN,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds(sets))
    def run(world: World) -> None:
        hold(world, base_port, tried)

    return run


if __name__ == "__main__":
    sys.exit(main())
