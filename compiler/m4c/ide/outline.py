"""The outline of a file (document symbols) and what can be folded in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from m4c import project
from m4c.semantics.model import Place
from m4c.syntax import tree as t
from m4c.syntax.items import TOKEN
from m4c.workspace import Span, Workspace

EntryKind: TypeAlias = Literal[
    "mesh", "group", "spec", "supports", "entity", "attribute", "operation", "enum", "enum value", "policy", "state",
    "test", "case",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the outline: the span of the whole and that of its name."""

    name: str
    kind: EntryKind
    detail: str
    span: Span
    selection: Span
    children: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class Fold:
    """Lines, both counted from 0 and both included, that can be shown as one."""

    start_line: int
    end_line: int
    comment: bool = False


def outline(workspace: Workspace, file: str) -> tuple[Entry, ...]:
    """The declarations of a file in order."""
    return tuple(
        entry
        for ref in project.decls(workspace.db, file)
        for entry in _Outline(workspace, file, ref.key, ref.text).entries(ref.parsed.decl)
    )


class _Outline:
    def __init__(self, workspace: Workspace, file: str, key: str, text: str) -> None:
        self.workspace = workspace
        self.file = file
        self.key = key
        self.text = text

    def entry(
        self, kind: EntryKind, name: t.Name | t.Str, start: int, end: int, detail: str = "", *children: Entry
    ) -> Entry:
        def span(a: int, b: int) -> Span:
            return self.workspace.span(Place(self.file, self.key, a, b))

        whole = span(min(start, name.start), max(end, name.end))
        return Entry(name.text or "…", kind, detail, whole, span(name.start, name.end), children)

    def entries(self, decl: t.Decl) -> Iterator[Entry]:
        size = len(self.text)
        match decl:
            case t.MeshDecl(name=name, groups=groups):
                members = [self.entry("group", g, g.start, m[-1].end if m else g.end) for g, m in groups]
                yield self.entry("mesh", name, 0, size, "", *members)
            case t.SpecDecl(name=name):
                inner = [e for enum in decl.enums for e in self.members(enum)]
                inner += [e for entity in decl.entities for e in self.members(entity)]
                for s in decl.supports:
                    operations = [self.entry("operation", o.name, o.start, o.end) for o in s.operations]
                    inner.append(self.entry("supports", s.entity, s.start, s.end, "", *operations))
                yield self.entry("spec", name, 0, size, f"tier {decl.tier.text}" if decl.tier else "", *inner)
            case t.EntityDecl() | t.EnumDecl() | t.StateEntityDecl():
                yield from self.members(decl)
            case t.PolicyDecl(name=name, pattern=pattern):
                yield self.entry("policy", name, 0, size, f"on {self.text[pattern.start : pattern.end]}")
            case t.StateDecl(name=name, kind=kind):
                yield self.entry("state", name, 0, size, kind.text)
            case t.TestDecl(title=title):
                requests = [s for s in decl.statements if isinstance(s, t.TestRequest)]
                yield self.entry("test", title, 0, size, "", *map(self.requested, requests))
            case t.Broken(kind="policy", name=t.Name() as name):
                yield self.entry("policy", name, 0, size)

    def requested(self, r: t.TestRequest) -> Entry:
        """A request of a test: its words, and its path."""
        line = self.text[r.name.start : r.text.end if r.text else r.name.end]
        entry = self.entry("case", r.name, r.start, r.end, f"on {self.text[r.pattern.start : r.pattern.end]}")
        return replace(entry, name=line)

    def members(self, decl: t.EntityDecl | t.EnumDecl | t.StateEntityDecl) -> Iterator[Entry]:
        if isinstance(decl, t.EnumDecl):
            values = [self.entry("enum value", v, v.start, v.end) for v, _ in decl.values]
            yield self.entry("enum", decl.name, decl.start, decl.end, "", *values)
            return
        attributes = [self.entry("attribute", a.name, a.start, a.end, a.type.name.text) for a in decl.attributes]
        calls: tuple[t.OperationDecl | t.ConditionDecl, ...] = decl.operations
        if isinstance(decl, t.StateEntityDecl):
            calls += decl.conditions
        operations = [self.entry("operation", c.name, c.start, c.end) for c in calls]
        yield self.entry("entity", decl.name, decl.start, decl.end, "", *attributes, *operations)


def folds(workspace: Workspace, file: str) -> tuple[Fold, ...]:
    """Blocks in braces and comments that are longer than a line."""
    text = workspace.text(file)
    line_of = _LineCounter(text)
    out: list[Fold] = []
    opened: list[int] = []
    comment: tuple[int, int] | None = None  # the lines of the comments that are being joined
    for m in TOKEN.finditer(text):
        line = line_of(m.start())
        if m.lastgroup == "comment":
            end = line_of(m.end())
            comment = (comment[0], end) if comment is not None and line == comment[1] + 1 else (line, end)
            if comment[1] > comment[0]:
                out = [f for f in out if not (f.comment and f.start_line == comment[0])]
                out.append(Fold(*comment, comment=True))
            continue
        comment = None
        if m[0] == "{":
            opened.append(line)
        elif m[0] == "}" and opened and line - 1 > (start := opened.pop()):
            out.append(Fold(start, line - 1))
    return tuple(sorted(out, key=lambda f: (f.start_line, f.end_line)))


class _LineCounter:
    """The line of each offset, for offsets that are asked in order."""

    def __init__(self, text: str) -> None:
        self.breaks = [m.end() for m in re.finditer(r"\r\n|\n|\r", text)]
        self.line = 0

    def __call__(self, offset: int) -> int:
        while self.line < len(self.breaks) and self.breaks[self.line] <= offset:
            self.line += 1
        return self.line
