"""`make killed`: a deployment killed at each of its steps, and what the next run made of it, as a table; the one of
docs/howto/deploy.md. Some minutes.

1 if something else came of it than should, or something is left behind.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.killed.points import HEAD, POINTS, attempt, cgroups_of, row
from tests.killed.shop import Shop

PORTS = 100


def main() -> int:
    parser = argparse.ArgumentParser(prog="killed", description=__doc__.partition(":")[2].partition(";")[0].strip())
    parser.add_argument("--base-port", type=int, default=27000, help="the first port that is listened at")
    args = parser.parse_args()
    wrong = []
    with tempfile.TemporaryDirectory(prefix="m4-killed-") as folder:
        shop = Shop(Path(folder), args.base_port)
        try:
            print(HEAD, flush=True)
            for point in POINTS:
                found = attempt(shop, point, args.base_port + PORTS)
                print(row(found), flush=True)
                wrong += [f"{point.kind}, {point.at}: {why}" for why in found.wrong]
        finally:
            shop.m4("undeploy")
        if left := cgroups_of(shop.state):
            wrong.append(f"after `m4 undeploy` there is {', '.join(map(str, left))}")
    print("\n".join(wrong) or f"killed {len(POINTS)} times: all is as it should be, and nothing is left behind")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
