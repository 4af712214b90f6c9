"""`m4 doctor`: which dataplanes this machine can run, what the others lack, and what to know of those that it runs."""

from __future__ import annotations

import argparse

from m4c.cli import jobs
from m4c.cli.errors import UsageError
from m4c.resources import CORE, shipped_specs


def run(args: argparse.Namespace) -> int:
    """0 if all that were asked for can run; 1 if one cannot."""
    shipped = sorted(set(shipped_specs()) - {CORE.partition(".")[0]})
    unknown = [name for name in args.dataplanes if name not in shipped]
    if unknown:
        raise UsageError(f"no dataplane that ships is called `{unknown[0]}`; there are {', '.join(shipped)}")
    ready = True
    for name, able, said in jobs.provided().examine(args.dataplanes or shipped):
        print(f"{name}: {'ready' if able else 'cannot run here'}")
        for line in said:
            print(f"    {line}")
        ready = ready and able
    return 0 if ready else 1
