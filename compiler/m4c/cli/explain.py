"""`m4 explain`: what a diagnostic means."""

from __future__ import annotations

import argparse

from m4c.cli.errors import UsageError
from m4c.diagnostics.registry import RULES, explain
from m4c.semantics.problems import nearest


def run(args: argparse.Namespace) -> int:
    if args.code is None:
        width = max(map(len, RULES))
        for r in RULES.values():
            print(f"{r.code:{width}}  {r.severity.word:11}  {r.title}")
        return 0
    if args.code not in RULES:
        near = nearest(args.code, RULES)
        hint = f"did you mean `{near}`?" if near else "`m4 explain` lists them"
        raise UsageError(f"no diagnostic has the code `{args.code}`; {hint}")
    print(explain(args.code), end="")
    return 0
