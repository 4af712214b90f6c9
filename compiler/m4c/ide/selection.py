"""Selections that grow: from the word at the cursor to what it is part of, up to the whole file; and names that are
changed together while somebody types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from m4c import project
from m4c.ide.symbols import Found, in_file, symbol_at
from m4c.syntax.items import TOKEN
from m4c.syntax.parser import parse_item
from m4c.workspace import Workspace

_WORD = re.compile(r"[\w.]+|-(?!>)|\S")
_PAIRS = {"{": "}", "(": ")", "[": "]"}
_LOCAL = ("variable", "constant")


def selection_ranges(workspace: Workspace, file: str, offset: int) -> tuple[tuple[int, int], ...]:
    """The spans around an offset, each within the next; the last one is the file."""
    text = workspace.text(file)
    offset = max(0, min(offset, len(text)))
    spans = {(0, len(text))}
    item = next((i for i in project.items(workspace.db, file) if i.start <= offset <= i.end), None)
    if item is not None:
        at = offset - item.start
        found = {(0, len(item.text)), *_nodes(parse_item(item.text).decl, at), *_tokens(item.text, at)}
        spans |= {(item.start + a, item.start + b) for a, b in found if a < b}
    return tuple(_nested(spans, offset))


def _nested(spans: set[tuple[int, int]], offset: int) -> Iterator[tuple[int, int]]:
    """Those of some spans that hold the offset, from the narrowest on, each within the next."""
    last: tuple[int, int] | None = None
    for start, end in sorted(spans, key=lambda s: (s[1] - s[0], s)):
        if start <= offset <= end and (last is None or (start <= last[0] and last[1] <= end)):
            last = start, end
            yield last


def _nodes(node: object, at: int) -> Iterator[tuple[int, int]]:
    """The spans of a tree's nodes around an offset."""
    if isinstance(node, tuple):
        for part in node:
            yield from _nodes(part, at)
    elif is_dataclass(node) and not isinstance(node, type):
        start, end = getattr(node, "start", -1), getattr(node, "end", -1)
        if start >= 0:
            if not start <= at <= end:
                return  # nothing in a node is outside of it, but for what is in front of its keyword
            yield start, end
        for field in fields(node):
            yield from _nodes(getattr(node, field.name), at)


def _tokens(text: str, at: int) -> Iterator[tuple[int, int]]:
    """The word, the text and the comment at an offset, and the brackets around it, with and without what they hold."""
    opened: list[tuple[str, int]] = []
    for m in TOKEN.finditer(text):
        if m.start() <= at <= m.end():
            yield m.span()
            if m.lastgroup in ("string", "comment"):
                inner = m.start() + len(m[0]) - len(m[0].lstrip('r"'))
                if m.lastgroup == "string":
                    yield inner, m.end() - 1 if m[0].endswith('"') else m.end()
                yield from (w.span() for w in _WORD.finditer(text, inner, m.end()) if w.start() <= at <= w.end())
        if m[0] in _PAIRS:
            opened.append((_PAIRS[m[0]], m.start()))
        elif opened and m[0] == opened[-1][0]:
            start = opened.pop()[1]
            yield start, m.end()
            yield start + 1, m.start()


def linked(workspace: Workspace, file: str, offset: int) -> tuple[Found, ...]:
    """The places that change together with the name at an offset while it is typed: those of a policy's variable or
    of a constant, from where it is declared. From elsewhere nothing does, for there people mean another name."""
    found = symbol_at(workspace, file, offset)
    if found is None or found.symbol.kind not in _LOCAL or not found.declares:
        return ()
    same = tuple(f for f in in_file(workspace, file, found.symbol) if f.symbol == found.symbol)
    written = {workspace.text(file)[f.start : f.end] for f in same}
    declared_once = sum(f.declares for f in same) == 1
    return same if len(same) > 1 and len(written) == 1 and declared_once else ()
