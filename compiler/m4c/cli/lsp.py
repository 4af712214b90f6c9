"""`m4 lsp`: the language server, which is a program of its own above the compiler core."""

from __future__ import annotations

import argparse
from importlib import import_module

from m4c.cli.main import UsageError


def run(args: argparse.Namespace) -> int:
    try:
        server = import_module("m4ls.__main__")
    except ImportError as e:
        raise UsageError(f"the language server is not installed ({e})") from None
    return int(server.main([]) or 0)
