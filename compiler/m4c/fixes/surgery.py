"""Edits in the text of one declaration: clauses, names, statements. What they do not name stays, comments too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from m4c.project import DeclRef
from m4c.semantics.model import Place
from m4c.semantics.problems import Edit
from m4c.syntax import tree as t
from m4c.syntax import words
from m4c.syntax.items import TOKEN

_SPACE = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Piece:
    """A token or a comment of a declaration."""

    text: str
    start: int
    end: int


class Source:
    """A declaration and its tokens. All offsets are relative to it."""

    def __init__(self, ref: DeclRef) -> None:
        self.ref = ref
        self.text = ref.text

    @cached_property
    def _pieces(self) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        tokens: list[Piece] = []
        comments: list[Piece] = []
        for m in TOKEN.finditer(self.text):
            (comments if m.lastgroup == "comment" else tokens).append(Piece(m.group(), m.start(), m.end()))
        return tuple(tokens), tuple(comments)

    @property
    def tokens(self) -> tuple[Piece, ...]:
        return self._pieces[0]

    @property
    def comments(self) -> tuple[Piece, ...]:
        return self._pieces[1]

    def before(self, at: int) -> Piece:
        """The last token that ends at or before an offset; an empty one at the start of the text."""
        return next((p for p in reversed(self.tokens) if p.end <= at), Piece("", 0, 0))

    def after(self, at: int) -> Piece:
        """The first token that begins at or behind an offset; an empty one at the end of the text."""
        end = len(self.text)
        return next((p for p in self.tokens if p.start >= at), Piece("", end, end))

    def closing(self, opening: Piece) -> Piece:
        """The bracket that closes one."""
        pairs = {"(": ")", "{": "}", "[": "]"}
        depth = 0
        for p in self.tokens:
            if p.start < opening.start:
                continue
            depth += (p.text == opening.text) - (p.text == pairs[opening.text])
            if depth == 0:
                return p
        return Piece("", len(self.text), len(self.text))

    # --- edits ---

    def edit(self, start: int, end: int, text: str) -> Edit:
        return Edit(Place(self.ref.file, self.ref.key, start, end), text)

    def cut(self, start: int, end: int) -> tuple[Edit, ...]:
        """Takes a span out; the comments in it stay."""
        edits = []
        for comment in self.comments:
            if start <= comment.start and comment.end <= end:
                if comment.start > start:
                    edits.append(self.edit(start, comment.start, ""))
                start = comment.end
        return (*edits, self.edit(start, end, "")) if end > start else tuple(edits)

    def cut_clause(self, start: int, end: int) -> tuple[Edit, ...]:
        """Takes a clause out, with the white space in front of it."""
        at = start
        while at and self.text[at - 1] in _SPACE:
            at -= 1
        if any(c.end == at and c.text.startswith("//") for c in self.comments):  # its line must still end
            while end < len(self.text) and self.text[end] in " \t":
                end += 1
            return self.cut(start, end)
        return self.cut(at, end)

    def cut_statement(self, start: int, end: int) -> tuple[Edit, ...]:
        """Takes a statement out, with its lines if nothing else is on them. What is commented in it goes with it."""
        line = self.text.rfind("\n", 0, start) + 1
        following = self.text.find("\n", end)
        if not self.text[line:start].strip() and following >= 0 and not self.text[end:following].strip():
            return (self.edit(line, following + 1, ""),)
        if not self.text[line:start].strip():
            while end < len(self.text) and self.text[end] in " \t":
                end += 1
        else:
            while self.text[start - 1] in " \t" and self.text[end : end + 1] in (*_SPACE, ""):
                start -= 1
        return (self.edit(start, end, ""),)

    # --- names in lists ---

    def remove_listed(self, start: int, end: int) -> tuple[Edit, ...]:
        """Takes an entry out of a list between commas, or the clause or statement whose only entry it is."""
        before, after = self.before(start), self.after(end)
        if before.text == ",":
            return self.cut(before.start, end)
        if after.text == ",":
            to = after.end
            while to < len(self.text) and self.text[to] in " \t":
                to += 1
            return self.cut(start, to)
        if after.text == ";":
            return self.cut_statement(before.start, after.end)
        return self.cut_clause(before.start, end)

    def replace_listed(self, name: t.Name, others: Iterable[str]) -> tuple[Edit, ...]:
        """Puts other names in the place of one in a list; without any it goes."""
        new = ", ".join(map(words.name, others))
        return (self.edit(name.start, name.end, new),) if new else self.remove_listed(name.start, name.end)


def opening(source: Source, at: int) -> Piece:
    """The first brace behind an offset."""
    brace = source.after(at)
    while brace.text not in ("{", ""):
        brace = source.after(brace.end)
    return brace


def listed(decl: t.PolicyDecl, clause: str) -> tuple[t.Name, ...]:
    """The names in a policy's `overrides` or `after`."""
    return decl.overrides if clause == "overrides" else decl.after


def add_to_clause(source: Source, decl: t.PolicyDecl, clause: str, name: str) -> tuple[Edit, ...]:
    """Adds a name to `overrides` or `after`: to the clause that is there, or to a new one behind the pattern."""
    there = listed(decl, clause)
    if there:
        return (source.edit(there[-1].end, there[-1].end, f", {words.name(name)}"),)
    return (source.edit(decl.pattern.end, decl.pattern.end, f" {clause} {words.name(name)}"),)


def indented(text: str, depth: int) -> str:
    """Lines behind the first one moved left by some columns."""
    first, *rest = text.split("\n")
    moved = [line[min(depth, len(line) - len(line.lstrip(" \t"))) :] for line in rest]
    return "\n".join((first, *moved))
