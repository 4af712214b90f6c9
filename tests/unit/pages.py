"""Reads the Markdown pages of the project: fenced blocks, headings, links, console sessions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^(?P<fence>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=fence)[ \t]*$", re.M | re.S)
_LINK = re.compile(r"(?<!\\)\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\]\(([^)\s]+)\)")
_FILE = re.compile(r"^(?://|#|\{#) file: (\S+)", re.M)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. `line` counts from 1; `flags` are the words behind the language."""

    language: str
    flags: tuple[str, ...]
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block's first line names."""
        named = _FILE.match(self.text)
        return named.group(1) if named else None


@dataclass(frozen=True, slots=True)
class Command:
    """A line of a console session and what it is said to print."""

    text: str
    output: str


def blocks(page: str) -> list[Block]:
    out = []
    for m in _FENCE.finditer(page):
        language, *flags = m["info"].split() or [""]
        out.append(Block(language, tuple(flags), m["text"], page.count("\n", 0, m.start()) + 1))
    return out


def session(text: str) -> Iterator[Command]:
    """The commands of a console block: `$ command`, lines that end in a backslash joined, then the output."""
    parts = re.split(r"^\$ ", text, flags=re.M)
    assert not parts[0].strip(), f"a console block starts with `$ `: {parts[0]!r}"
    for part in parts[1:]:
        m = re.match(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", part, re.S)
        assert m is not None
        yield Command(m[1], m[2])


def pattern_of(output: str) -> re.Pattern[str]:
    """What an output is held to: `…` stands for any text in its line, alone in a line for any number of lines."""
    lines = []
    for line in output.rstrip("\n").split("\n"):
        if line.strip() == "…":
            lines.append(r"(?:[^\n]*\n)*?")
        else:
            lines.append("[^\n]*?".join(map(re.escape, line.rstrip().split("…"))) + r"[ \t]*\n")
    return re.compile("".join(lines))


def prose(page: str) -> str:
    """The page without its code."""
    return re.sub(r"`[^`\n]*`", "`code`", _FENCE.sub("", page))


def links(page: str) -> list[str]:
    return [m[1] for m in _LINK.finditer(prose(page))]


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    out = set()
    for heading in re.findall(r"^#+ (.+)$", _FENCE.sub("", page), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        out.add(re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-"))
    return out


def make_targets(makefile: Path) -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", makefile.read_text("utf-8"), re.M))
