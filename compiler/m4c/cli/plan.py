"""`m4 plan`: the cheapest set of elements, with reasons."""

from __future__ import annotations

import argparse

from m4c.cli import jobs
from m4c.cli.common import choose_mesh, open_workspace
from m4c.cli.errors import UsageError
from m4c.cli.output import print_json


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    asked = bool(args.without or args.cost or args.pin)
    if args.format == "json" and (args.why or args.diff or asked):
        raise UsageError("--format json is for the plan alone")
    if args.format == "json":
        print_json(jobs.plan_json(workspace, mesh))
        return 0
    if not (args.why or args.diff or asked):
        print(jobs.plan_text(workspace, mesh), end="")
        return 0
    from m4c.cli import planning
    from m4c.placement.plan import plan

    program, before = jobs.planned(workspace, mesh)
    made = before
    if asked:
        program = planning.variant(program, args.without, args.cost, args.pin)
        made = plan(program)
    if args.why:
        print(planning.text_of_why(program, made, args.why), end="")
    elif args.diff:
        print(planning.text_of_diff(workspace, mesh, program, made, args.base_port), end="")
    else:
        print(planning.text_of_variant(before, program, made), end="")
    return 0
