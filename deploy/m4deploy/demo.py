"""The journey on a real application: a conflict and its fix, the plan, a deployment, and real requests held to it."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from m4c.cli import jobs
from m4c.cli.common import choose_mesh, errors
from m4c.cli.errors import UsageError
from m4c.cli.text import render_text
from m4c.ide.edits import apply_fix
from m4c.placement.plan import Plan
from m4c.semantics.model import Program
from m4c.workspace import Workspace
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from m4deploy import local
from m4deploy.errors import DeployError
from m4deploy.proof import Row, check, requests


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the demo; 0 if every request got what the interpreter says, 1 if one did not, 2 if it could not run."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("workspace", type=Path, nargs="?", help="the folder of the application: graph and policies")
    parser.add_argument("--conflict", type=Path, help="a folder beside it that adds a conflicting policy")
    parser.add_argument(
        "--without", action="append", default=[], metavar="DATAPLANE", help="take a dataplane out of the mesh"
    )
    parser.add_argument("--base-port", type=int, default=20000)
    parser.add_argument("--keep", action="store_true", help="leave it running")
    parser.add_argument("--stop", action="store_true", help="stop what an earlier --keep left running")
    args = parser.parse_args(argv)
    console = Console(highlight=False)
    if args.stop:
        console.print("stopped" if local.undeploy(_state()) else "nothing is running")
        return 0
    if args.workspace is None:
        parser.error("name the folder of an application")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # a clean end, as for Ctrl-C
    try:
        return _run(args, console)
    except (UsageError, DeployError) as e:
        console.print(f"[bold red]The demo cannot run:[/] {escape(str(e))}")
        return 2
    except KeyboardInterrupt:
        console.print("interrupted; nothing is left running")
        return 130


def _state() -> Path:
    """Where a demo that stays up keeps its state."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser(), "m4", "demo")


def _run(args: argparse.Namespace, console: Console) -> int:
    with tempfile.TemporaryDirectory(prefix="m4-demo-") as temporary:
        workspace = _fixed(args, Path(temporary), console)
        mesh = choose_mesh(workspace, None)
        lacking = dict.fromkeys(args.without, "taken out of the mesh") | jobs.unavailable(workspace, mesh)
        for name, reason in lacking.items():
            console.print(f"[yellow]Without {name}:[/] {escape(reason)}")
        program, plan = jobs.without(workspace, mesh, frozenset(lacking)) if lacking else jobs.planned(workspace, mesh)
        console.rule("The plan")
        print(jobs.describe(program, plan))
        made = jobs.rendered(workspace, mesh, args.base_port, frozenset(lacking))
        built = jobs.write(made, Path(temporary, "built")).folder
        state = _state() if args.keep else Path(temporary, "state")
        console.rule("Deployment")
        with _progress(console) as bar:
            task = bar.add_task("starting", total=1.0)
            deployment = local.deploy(
                built, state, lambda what, share: bar.update(task, description=what, completed=share), foreground=True
            )
        with deployment:
            rows = _prove(program, plan, deployment, console)
            _show(rows, console)
            if args.keep:
                deployment.keep()
        wrong = sum(not row.same for row in rows)
        if args.keep:
            console.print("It stays up; `make demo ARGS=--stop` stops it.")
    console.print(
        f"[bold red]{wrong} of {len(rows)} rows differ from the interpreter[/]"
        if wrong
        else f"[bold green]all {len(rows)} rows are as the interpreter says[/]"
    )
    return 1 if wrong else 0


def _fixed(args: argparse.Namespace, temporary: Path, console: Console) -> Workspace:
    """A copy of the workspace, its conflict shown and mended."""
    for folder in (args.workspace, args.conflict):
        if folder is not None:
            if not folder.is_dir():
                raise UsageError(f"there is no folder `{folder}`")
            shutil.copytree(folder, temporary / folder.resolve().name)
    if args.conflict is None:
        return Workspace([temporary / args.workspace.resolve().name])
    workspace = Workspace([temporary / args.conflict.resolve().name])
    console.rule("The conflict")
    while wrong := errors(workspace, workspace.problems()):
        first = wrong[0]
        print(render_text(workspace, [first], color=console.is_terminal and not console.no_color))
        fix = next(iter(workspace.fixes(first)), None)
        if fix is None:
            raise UsageError(f"nothing is known that mends this: {first.message}")
        for file, text in apply_fix(workspace, fix).items():
            Path(file).write_text(text, encoding="utf-8")
        console.print(f"[bold green]Fixed:[/] {escape(fix.title)}\n")
        workspace.refresh()
    return workspace


def _progress(console: Console) -> Progress:
    columns = (
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    return Progress(*columns, console=console)


def _prove(program: Program, plan: Plan, deployment: local.Deployment, console: Console) -> list[Row]:
    todo = list(requests(program))
    rows = []
    with _progress(console) as bar:
        task = bar.add_task("requests", total=len(todo))
        for path, request in todo:
            rows.append(check(program, plan, deployment, path, request))
            bar.advance(task)
    return rows


def _show(rows: Sequence[Row], console: Console) -> None:
    table = Table("call path", "request", "expected", "seen", "by", "", title="Real requests")
    for row in rows:
        mark = "[green]same[/]" if row.same else "[bold red]DIFFERS[/]"
        cells = (str(row.path), str(row.request), row.expected, row.seen, row.by)
        table.add_row(*map(escape, cells), mark)
    wide = Console(highlight=False, width=max(console.width, 180)) if not console.is_terminal else console
    wide.print(table)


if __name__ == "__main__":
    sys.exit(main())
