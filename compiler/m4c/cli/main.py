"""The `m4` command: parses the command line and hands over to one subcommand. Imports nothing heavy."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from m4c import VERSION
from m4c.cli.errors import UsageError

TRACEBACK = "M4_TRACEBACK"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="m4", description="M4: policies for service meshes, checked, planned, deployed."
    )
    parser.add_argument("--version", action="version", version=f"m4 {VERSION}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, help_: str, module: str | None = None) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(module=module or name)
        return sub

    def mesh(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("path", metavar="PATH", nargs="?", default=".", help="a folder (every .m4 under it) or a file")
        sub.add_argument("--mesh", help="the mesh, if there are several")

    check = add("check", "find errors and conflicts, each with a witness")
    check.add_argument("paths", metavar="PATH", nargs="*", default=["."], help="folders or files")
    check.add_argument("--format", choices=("text", "json", "sarif", "github"), default="text")
    check.add_argument("--all", action="store_true", help="every conflicting pair by itself")
    check.add_argument("--fix", action="store_true", help="make the fixes that leave no choice, then check")
    check.add_argument("--dry-run", action="store_true", help="with --fix: show what it would change, change nothing")
    check.add_argument(
        "--code",
        action="append",
        default=[],
        metavar="CODE",
        help="with --fix: only findings of this code (repeatable)",
    )

    plan = add("plan", "show the cheapest set of sidecars and kernel programs")
    mesh(plan)
    plan.add_argument("--format", choices=("text", "json"), default="text")
    plan.add_argument("--why", metavar="SERVICE", help="why there is what there is beside a service")
    plan.add_argument("--diff", action="store_true", help="what would change in the local deployment")
    for option, name, what in (
        ("--without", "POLICY", "as if a policy were not there"),
        ("--cost", "DATAPLANE=N", "as if a dataplane had another cost"),
        ("--pin", "SERVICE=DATAPLANE", "as if only this dataplane might be beside a service, or `none`"),
    ):
        plan.add_argument(option, metavar=name, action="append", default=[], help=f"{what} (repeatable)")

    trace = add("trace", "what one request (or connection, …) on one call path gets, by the reference interpreter")
    mesh(trace)
    input_options(trace)
    trace.add_argument("--format", choices=("text", "json"), default="text")

    test = add("test", "run the tests of the policies, with the trace of each that fails")
    test.add_argument("paths", metavar="PATH", nargs="*", default=["."], help="folders or files")
    test.add_argument("-k", dest="pattern", metavar="TEXT", default="", help="only tests with this in their title")
    test.add_argument("--format", choices=("text", "json", "junit"), default="text")

    build = add("build", "write the artifacts of every element")
    mesh(build)
    build.add_argument("-o", "--output", metavar="OUT", required=True, help="the folder to write to")
    build.add_argument("--validate", action="store_true", help="have the dataplanes say first whether they take them")
    build.add_argument("--force", action="store_true", help="overwrite files that were not written by m4 build")

    deploy = add("deploy", "build, validate and start a mesh's dataplanes")
    mesh(deploy)
    deploy.add_argument("--target", choices=("local", "directory"), default="local")
    deploy.add_argument("-o", "--output", metavar="OUT", help="the folder of the target `directory`")
    deploy.add_argument("--what-if", action="store_true", help="show what would change, and change nothing")
    for sub in (plan, build, deploy):
        sub.add_argument(
            "--base-port", type=_port, default=20000, metavar="N", help="the first port that is listened at"
        )
    for name, help_ in (("status", "show what is deployed"), ("undeploy", "stop what is deployed")):
        mesh(add(name, help_, "deploy"))

    doctor = add("doctor", "which dataplanes this machine can run, and what the others lack")
    doctor.add_argument("dataplanes", metavar="DATAPLANE", nargs="*", help="all that ship, unless some are named")

    top = add("top", "watch what the dataplanes do: live counts by policy and hop, and denied requests", "deploy")
    mesh(top)
    top.add_argument("--once", action="store_true", help="show it once, after one interval")
    top.add_argument("--json", action="store_true", help="as JSON, one line each time")
    top.add_argument("--interval", type=_seconds, default=1.0, metavar="SECONDS", help="between two looks (default: 1)")

    fmt = add("fmt", "format files in place")
    fmt.add_argument("paths", metavar="PATH", nargs="*", default=["."])
    fmt.add_argument("--check", action="store_true", help="change nothing; exit 1 if a file is not formatted")

    graph = add("graph", "show a service graph, or import one")
    kinds = graph.add_subparsers(dest="graph_command", metavar="COMMAND", required=True)
    help_ = "services, calls and entries of a mesh's graph, or of a graph file"
    show = kinds.add_parser("show", help=help_, description=help_)
    mesh(show)
    show.add_argument("--format", choices=("text", "json"), default="text")
    show.add_argument("--web", metavar="FILE", help="write a page with the map of the mesh, to open in a browser")
    show.add_argument("--serve", action="store_true", help="serve that page, with live counts of what is deployed")
    show.add_argument("--port", dest="listen", type=_port, default=0, metavar="N", help="where --serve listens")
    help_ = "make a graph file from Kubernetes manifests, Compose files, Jaeger's dependencies or Kiali's graph"
    import_ = kinds.add_parser("import", help=help_, description=help_)
    import_.set_defaults(module="graph_import")
    import_.add_argument("inputs", metavar="INPUT", nargs="+", help="files, folders, or `-` for standard input")
    formats = "kubernetes, compose, jaeger, kiali, or m4 for a graph file; by itself each input's format is seen"
    import_.add_argument("--from", dest="form", metavar="FORMAT", help=formats)
    import_.add_argument("--period", metavar="TIME", help="over what time Jaeger counted the calls, as in `1h`")
    import_.add_argument("-o", "--output", metavar="FILE", help="the file to write; without it, standard output")
    import_.add_argument("--force", action="store_true", help="overwrite the file")

    explain = add("explain", "what a diagnostic means and how to mend it")
    explain.add_argument("code", metavar="CODE", nargs="?", help="a code, as in `contradiction`; none: list all")

    add("lsp", "run the language server on standard input and output")
    return parser


def input_options(trace: argparse.ArgumentParser) -> None:
    """The options that say what is traced."""
    trace.add_argument(
        "--path",
        dest="call_path",
        required=True,
        metavar="A,B,D",
        help="services, `B:v2` for a version of one; `outside` may come first",
    )
    trace.add_argument("--method", help="short for --set method=…")
    trace.add_argument("--target", help="short for --set target=…")
    trace.add_argument("--header", action="append", default=[], metavar="K=V", help="short for --set header[K]=V")
    trace.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ATTRIBUTE=V",
        help="any attribute of the entity; `ENTITY.ATTRIBUTE` of what carries it or answers it",
    )
    trace.add_argument(
        "--answer", action="append", default=[], metavar="ATTRIBUTE=V", help="any attribute of what answers the entity"
    )
    trace.add_argument(
        "--state",
        action="append",
        default=[],
        metavar="STATE.CONDITION=false",
        help="what a state answers (true unless told otherwise)",
    )
    trace.add_argument("--entity", help="what is on the path, if it is no request")


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of seconds (0.1 to 3600)")
    return seconds


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"`{text}` is no port (1 to 65535)")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code (2: it could not run)."""
    _make_printable()
    code = _run(argv)
    try:
        if not sys.stdout.closed:  # the language server closes it
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
    except OSError as e:
        _discard_output()
        return _failed(e)
    return code


def command() -> NoReturn:
    """The `m4` of the command line."""
    from m4c.ending import ending_at_once

    ending_at_once(main)


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
        module = import_module(f"m4c.cli.{args.module}")
        code: int = module.run(args)
        return code
    except SystemExit as e:  # the parser's: --help, or something that it does not know
        return e.code if isinstance(e.code, int) else 0
    except BrokenPipeError:  # who reads has seen enough
        return 0
    except KeyboardInterrupt:
        print("m4: interrupted", file=sys.stderr)
        return 130
    except (UsageError, OSError) as e:
        return _failed(e)
    except Exception as e:
        if os.environ.get(TRACEBACK):
            raise
        print(f"m4: this is a bug in M4, please report it: {type(e).__name__}: {e}", file=sys.stderr)
        print(f"m4: with {TRACEBACK}=1 in the environment it shows where", file=sys.stderr)
        return 2


def _failed(error: UsageError | OSError) -> int:
    message = str(error)
    if isinstance(error, OSError) and error.strerror:
        message = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    print(f"m4: {message}", file=sys.stderr)
    return 2


def _make_printable() -> None:
    """Whatever a name or a source line holds can be printed, and nobody needs to listen."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by who started us
            setattr(sys, name, io.StringIO())
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """What is still buffered cannot be written: the interpreter must not try again when it ends."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    command()
