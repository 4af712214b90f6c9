"""Reads a page of the language reference as test cases: what its fenced blocks hold, and what they expect.

A section is a heading with the text below it, up to the next heading. Its `m4`, `yaml` and `jinja` blocks are the files
of a workspace; those of the page's first heading belong to every section, unless the section has a file of the same
name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^```(\w*)\s*$")
HEADING = re.compile(r"^(#+)\s+(.*)$")
FILE = re.compile(r"^\s*(?://|\{?#)\s*file:\s*(\S+)\s*(?:#\})?$")
EXPECT = re.compile(r"(?://|#)\s*((?:error|warning|info|hint):\s*\[.*)$")
ONE = re.compile(r"(error|warning|info|hint):\s*\[([\w-]+)\]\s*([^;]*)")
DEFAULT_FILES = {"m4": "main.m4", "yaml": "graph.yaml", "jinja": "main.j2"}


@dataclass(frozen=True, order=True)
class Expected:
    """One diagnostic: where it starts (file, line from 1), its severity and code, and a part of its message."""

    file: str
    line: int
    severity: str
    code: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.severity}: [{self.code}] {self.text}".rstrip()


@dataclass
class Section:
    """One test case."""

    title: str
    line: int
    files: dict[str, str] = field(default_factory=dict)
    traces: list[tuple[str, str]] = field(default_factory=list)  # (request, expected outcome)

    @property
    def expected(self) -> list[Expected]:
        return sorted(e for name, text in self.files.items() for e in expectations(name, text))


def expectations(file: str, text: str) -> list[Expected]:
    """The diagnostics that a file's comments announce. One on a line of its own speaks of the line below it."""
    out = []
    pending: list[tuple[str, str, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        found = EXPECT.search(line)
        here = [(s, c, t.strip()) for s, c, t in ONE.findall(found[1])] if found else []
        if found and not line[: found.start()].strip():
            pending += here
            continue
        out += [Expected(file, number, *e) for e in pending + here]
        pending = []
    if pending:
        raise ValueError(f"{file}: an expectation with no line below it")
    return out


def sections(page: Path) -> list[Section]:
    """The test cases of a page, in order; headings without files or traces of their own are left out."""
    common: dict[str, str] | None = None
    out: list[Section] = []
    current = Section(page.stem, 1)
    own: dict[str, str] = {}

    def close() -> None:
        nonlocal common
        if common is None:
            common = own
        elif own or current.traces:
            current.files = common | own
            out.append(current)

    lines = iter(enumerate(page.read_text("utf-8").split("\n"), 1))
    for number, line in lines:
        if heading := HEADING.match(line):
            if number > 1:
                close()
            current, own = Section(heading[2], number), {}
        elif fence := FENCE.match(line):
            block = []
            for _, inner in lines:
                if inner.startswith("```"):
                    break
                block.append(inner)
            _add(fence[1], block, own, current, f"{page.name}:{number}")
    close()
    return out


def _add(kind: str, block: list[str], own: dict[str, str], section: Section, where: str) -> None:
    if kind == "trace":
        requests = [x.strip() for x in block if x.strip()]
        for request, outcome in zip(requests[::2], requests[1::2], strict=True):
            if not outcome.startswith("=>"):
                raise ValueError(f"{where}: expected `=> …` after `{request}`")
            section.traces.append((request, outcome.removeprefix("=>").strip()))
    elif kind in DEFAULT_FILES:
        named = FILE.match(block[0]) if block else None
        name = named[1] if named else DEFAULT_FILES[kind]
        if name in own:
            raise ValueError(f"{where}: the section has two files named {name}; say `file: …` in the first line")
        own[name] = "\n".join(block) + "\n"
