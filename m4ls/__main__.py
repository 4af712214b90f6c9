"""`m4ls`: speaks the language server protocol on standard input and output."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import NoReturn

OURS = ("--stdio",)  # what editors say, and the server does anyway


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until its client ends it."""
    given = sys.argv[1:] if arguments is None else arguments
    if any(argument not in OURS for argument in given):
        _explain(given)
    gc.disable()  # the classes of the protocol are many and stay; the server collects again when it has started
    from m4ls.server import serve

    serve()
    return 0


def _explain(given: Sequence[str]) -> None:
    """Answers the arguments that start no server, and refuses those that nobody knows."""
    import argparse

    from m4c import VERSION

    parser = argparse.ArgumentParser(
        prog="m4ls",
        description="The M4 language server. Editors start it and talk to it on standard input and output.",
    )
    parser.add_argument("--version", action="version", version=f"m4ls {VERSION}")
    parser.add_argument("--stdio", action="store_true", help="use standard input and output, as it always does")
    parser.parse_args(given)


def command() -> NoReturn:
    """The `m4ls` of the command line."""
    from m4c.ending import ending_at_once

    ending_at_once(main)


if __name__ == "__main__":
    command()
