"""`m4 deploy`, `m4 status`, `m4 top`, `m4 undeploy`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from m4c.cli import jobs
from m4c.cli.common import choose_mesh, open_workspace
from m4c.cli.errors import UsageError
from m4c.cli.output import colored, printable
from m4c.cli.whatif import what_if

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # the signals that ask a command to end


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    match args.command:
        case "status":
            result = jobs.status(workspace, mesh)
        case "top":
            return _top(args, jobs.state_dir(workspace, mesh))
        case "undeploy":
            result = jobs.undeploy(workspace, mesh)
        case _:
            for number in ENDS:
                signal.signal(number, signal.default_int_handler)  # a clean end, as for Ctrl-C
            if args.target == "directory" and not args.output:
                raise UsageError("the target `directory` needs a folder: -o OUT")
            output = Path(args.output) if args.output else None
            prepared = jobs.prepare(workspace, mesh, args.target, output, args.base_port)
            if args.what_if:
                print("\n".join(map(printable, what_if(prepared).text.splitlines())))
                return 0
            result = jobs.put(prepared, _progress)
            if result.rejected:
                from m4c.cli.validation import explained

                result, _ = explained(workspace, prepared, result, colored(sys.stderr), args.base_port)
    stream = sys.stdout if result.ok or (args.command == "status" and not result.message) else sys.stderr
    for text in (result.message, result.text.rstrip()):
        if text:
            print(text, file=stream)
    return 0 if result.ok else 1


def _top(args: argparse.Namespace, state: Path) -> int:
    targets = jobs.provided()
    try:
        if targets.top(state, once=args.once, as_json=args.json, interval=args.interval):
            return 0
        print("nothing is deployed", file=sys.stderr)
    except targets.DeployError as e:
        print(e, file=sys.stderr)
    return 1


def _progress(what: str, share: float) -> None:
    """One line a step, for terminals and logs alike. When all is done an interrupt could only hide that it is."""
    print(f"[{share:4.0%}] {what}", file=sys.stderr)
    if share == 1:
        for number in ENDS:
            signal.signal(number, signal.SIG_IGN)
