"""`m4 build`: writes the artifacts."""

from __future__ import annotations

import argparse
from pathlib import Path

from m4c.cli import jobs
from m4c.cli.common import choose_mesh, open_workspace
from m4c.cli.output import counted
from m4c.cli.paths import relative


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    result = jobs.build(workspace, mesh, Path(args.output), force=args.force, base_port=args.base_port)
    for file in result.files:
        print(relative(str(file)))
    print(f"{counted(len(result.files), 'artifact')} in {relative(str(result.folder))}")
    return 0
