"""`m4 lsp`: the language server, which is a program of its own above the compiler core."""

from __future__ import annotations

import argparse

from m4c.cli.plugins import plugin


def run(args: argparse.Namespace) -> int:
    serve = plugin("lsp", "the language server")
    return int(serve([]) or 0)
