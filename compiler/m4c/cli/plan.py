"""`m4 plan`: the cheapest set of elements, with reasons."""

from __future__ import annotations

import argparse
import json

from m4c.cli import jobs
from m4c.cli.common import choose_mesh, open_workspace


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    if args.format == "json":
        print(json.dumps(jobs.plan_json(workspace, mesh), indent=2, ensure_ascii=False))
    else:
        print(jobs.plan_text(workspace, mesh), end="")
    return 0
