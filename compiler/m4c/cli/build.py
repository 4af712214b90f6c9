"""`m4 build`: writes the artifacts."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from m4c.cli import jobs
from m4c.cli.common import choose_mesh, open_workspace
from m4c.cli.output import colored, counted
from m4c.cli.paths import relative
from m4c.cli.text import render_text
from m4c.workspace import Workspace


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    if args.validate and not _taken(workspace, mesh, args.base_port):
        return 1
    result = jobs.build(workspace, mesh, Path(args.output), force=args.force, base_port=args.base_port)
    for file in result.files:
        print(relative(str(file)))
    print(f"{counted(len(result.files), 'artifact')} in {relative(str(result.folder))}")
    return 0


def _taken(workspace: Workspace, mesh: str, base_port: int) -> bool:
    """Whether the dataplanes take the artifacts; says what they do not take."""
    from m4c.cli.validation import validate

    found = validate(workspace, mesh, {}, base_port=base_port)
    print(render_text(workspace, workspace.in_order(found.problems), colored(sys.stderr)), end="", file=sys.stderr)
    if found.problems:
        print(f"nothing was written: {counted(len(found.problems), 'error')}", file=sys.stderr)
    else:
        print(f"{counted(len(found.known), 'element')} validated", file=sys.stderr)
    if found.silent:
        lacking = ", ".join(found.silent)
        print(f"not validated, for it is not installed: {lacking}; `m4 doctor` says more", file=sys.stderr)
    return not found.problems
