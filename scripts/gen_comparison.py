#!/usr/bin/env python3
"""Writes the programs and the counts of docs/comparison.md from the files in docs/comparison/.

Usage: scripts/gen_comparison.py [--check]     (--check: change nothing; exit 1 if the page is not current)

m4/NAME.m4                     a policy; mesh.m4 is what they have in common
istio/equal/NAME.yaml          the resources that do the same
istio/approximate/NAME.yaml    those that do it under a condition, which their first comment names
istio/together/HOST.yaml       the equal VirtualServices of one host as one, for where several policies are about it

What a page shows of a file is its code; the comments above it are the text around.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "comparison.md"
FOLDER = DOCS / "comparison"
COMMENTS = ("//", "#")
SEPARATOR = "---"  # between two YAML documents


@dataclass(frozen=True, slots=True)
class Pair:
    """A policy on both sides. `equal`: the Istio side does the same, without a condition."""

    name: str
    m4: str
    istio: str
    equal: bool


def read_pairs(folder: Path = FOLDER) -> tuple[Pair, ...]:
    """The pairs: the equal ones first, the shorter ones first."""
    out = []
    for file in (folder / "m4").glob("*.m4"):
        if file.stem == "mesh":
            continue
        ours = file.read_text("utf-8")
        equal = folder / "istio/equal" / f"{file.stem}.yaml"
        theirs = equal if equal.exists() else folder / "istio/approximate" / equal.name
        out.append(Pair(file.stem, ours, theirs.read_text("utf-8"), equal.exists()))
    return tuple(sorted(out, key=lambda p: (not p.equal, count(p.m4), count(p.istio), p.name)))


def read_together(folder: Path = FOLDER) -> dict[str, str]:
    """The VirtualServices that stand for several, by their host."""
    return {f.stem: f.read_text("utf-8") for f in sorted((folder / "istio/together").glob("*.yaml"))}


def code_lines(text: str) -> list[str]:
    """The lines that are counted: no blank ones, no comments, no separators."""
    stripped = [(line, line.strip()) for line in text.splitlines()]
    return [line for line, s in stripped if s and s != SEPARATOR and not s.startswith(COMMENTS)]


def count(text: str) -> int:
    return len(code_lines(text))


def virtual_hosts(text: str) -> set[str]:
    """The hosts whose requests a file routes."""
    documents = [d for d in yaml.safe_load_all(text) if d["kind"] == "VirtualService"]
    return {host for d in documents for host in d["spec"]["hosts"]}


def count_together(pairs: Iterable[Pair], together: dict[str, str]) -> int:
    """The lines of the Istio side when a host has one VirtualService."""
    apart = [p for p in pairs if virtual_hosts(p.istio).isdisjoint(together)]
    return sum(count(p.istio) for p in apart) + sum(map(count, together.values()))


# --- the page ---------------------------------------------------------------------------------------------------------


def comment(text: str) -> str:
    """The comment at the top of a file, as a sentence of the page."""
    found = re.match(r"(?:(?:///?|#) ?[^\n]*\n)*", text)
    return re.sub(r"^(?:///?|#) ?", "", found[0] if found else "", flags=re.M).replace("\n", " ").strip()


def code(text: str) -> str:
    """A file without the comment at its top."""
    return re.sub(r"\A(?:(?://|#)[^\n]*\n)+", "", text)


def times(ours: int, theirs: int) -> str:
    return f"{theirs / ours:.1f} times"


def counts(pairs: tuple[Pair, ...], together: dict[str, str]) -> str:
    """The table of the counts."""
    equal = [p for p in pairs if p.equal]
    rows = ["| policy | M4 | Istio | Istio needs |", "| --- | ---: | ---: | --- |"]

    def row(what: str, ours: int, theirs: int, note: str = "") -> None:
        rows.append(f"| {what} | {ours} | {theirs} | {times(ours, theirs)}{note} |")

    def total(some: Iterable[Pair]) -> int:
        return sum(count(p.m4) for p in some)

    for p in equal:
        row(f"[`{p.name}`](#{p.name})", count(p.m4), count(p.istio))
    row(f"**the {len(equal)} that are equal**", total(equal), sum(count(p.istio) for p in equal))
    row(f"the {len(equal)}, one VirtualService a host", total(equal), count_together(equal, together))
    for p in pairs:
        if not p.equal:
            row(f"[`{p.name}`](#{p.name})", count(p.m4), count(p.istio), ", and approximates")
    row(f"all {len(pairs)}, approximations included", total(pairs), sum(count(p.istio) for p in pairs))
    return "\n".join(rows) + "\n"


def programs(pairs: tuple[Pair, ...]) -> str:
    """The policies on both sides, one after the other."""
    out = []
    for p in pairs:
        note = comment(p.istio)
        out.append(
            f"### `{p.name}`\n\n{comment(p.m4)}\n\n"
            f"M4, {count(p.m4)} lines:\n\n```m4\n{code(p.m4)}```\n\n"
            f"Istio, {count(p.istio)} lines{'' if p.equal else ', an approximation'}:\n\n```yaml\n{code(p.istio)}```\n"
            + (f"\n{note}\n" if note else "")
        )
    return "\n".join(out)


def page(text: str) -> str:
    """The page with what is generated in it made anew."""
    pairs, together = read_pairs(), read_together()
    for region, made in (("counts", counts(pairs, together)), ("programs", programs(pairs))):
        begin, end = f"<!-- {region}: made by scripts/gen_comparison.py -->\n", f"<!-- {region}: end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise SystemExit(f"gen_comparison: {PAGE} has no region `{region}`")
        text = f"{before}{begin}\n{made}\n{end}{after}"
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes the programs and the counts of docs/comparison.md.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if the page is not current")
    check = parser.parse_args().check
    there = PAGE.read_text("utf-8")
    wanted = page(there)
    if check and wanted != there:
        print("docs/comparison.md is not current; run scripts/gen_comparison.py", file=sys.stderr)
        return 1
    if not check:
        PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
