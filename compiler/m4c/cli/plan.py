"""`m4 plan`: the cheapest set of elements, with reasons."""

from __future__ import annotations

import argparse

from m4c.cli import jobs
from m4c.cli.common import choose_mesh, open_workspace
from m4c.cli.output import print_json


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    if args.format == "json":
        print_json(jobs.plan_json(workspace, mesh))
    else:
        print(jobs.plan_text(workspace, mesh), end="")
    return 0
