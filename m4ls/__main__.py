"""`m4ls`: speaks the language server protocol on standard input and output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the server until its client ends it."""
    parser = argparse.ArgumentParser(
        prog="m4ls",
        description="The M4 language server. Editors start it and talk to it on standard input and output.",
    )
    parser.add_argument("--version", action="version", version=f"m4ls {server_version()}")
    parser.add_argument("--stdio", action="store_true", help="use standard input and output, as it always does")
    parser.parse_args(arguments)
    from m4ls.server import serve

    serve()
    return 0


def server_version() -> str:
    try:
        return version("xmesh")
    except PackageNotFoundError:
        return "unknown"


if __name__ == "__main__":
    sys.exit(main())
