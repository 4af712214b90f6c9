"""The formatter: one look for every program. It moves white space and nothing else.

The author's line breaks stay, so that nobody fights about them; indentation, the space between tokens, blank lines and
the columns of lists are the formatter's. Only items that parse are touched, and only if they mean the same afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Any

from lark import Token, Tree

from m4c.syntax import tree as t
from m4c.syntax.items import Item, split
from m4c.syntax.parser import grammar, parse_item

STEP = 4  # columns of one level
FARTHEST = 30  # columns that a comment moves to stand below another one

_BOM = "\ufeff"
_COMMENT = re.compile(r"//[^\n]*|/\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?")
_PUNCTUATION = frozenset(
    ("{", "}", "(", ")", "[", "]", ";", ",", ":", ".", "!", "@", "?", "*", "->", "|", "=", "<", ">")
)
_OPENERS, _CLOSERS = ("{", "(", "["), ("}", ")", "]")
# Kinds of tokens behind which a `{` begins a map or a list, and no block.
_BEFORE_VALUE = frozenset(("(", "[", "{", ",", ":", "=", "!", "&&", "||", "CMP", "IN", "MATCHES", "DEFAULT", "EXPECT"))
_NAMES = ("NAME", "STRING", "]")  # what a call or a key may follow without a space
_OPERANDS = ("NAME", "SERVICE", "VERSION", "STRING", ")", "]", "?")  # what a `*` may repeat
_CLAUSES = ("WITH", "AT", "EMITS", "WRITES")  # what is lined up in lists of reads and operations


@dataclass(frozen=True, slots=True)
class _Element:
    """A token or a comment, with the number of line breaks before it."""

    kind: str  # its text for punctuation, else the grammar's name of the terminal, else "comment"
    text: str
    breaks: int
    margin: str | None = None  # the white space before a comment that begins its line


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the result, without its end: code, and the comment behind it."""

    text: str
    comment: str = ""
    indent: int = 0
    list_of: str = ""  # "reads" or "operation", if the line is one in a list of these …
    cut: int = 0  # … and where its name ends
    fixed: bool = False  # text of an item that does not parse: kept to the byte


@dataclass(slots=True)
class _Frame:
    """The inside of a pair of brackets. In a block, statements follow one another; elsewhere, the parts of a list."""

    opener: str
    content: int
    closer: int
    block: bool
    ends: bool  # its end is the end of a statement
    statement: int = 0  # the column of the current statement
    lead: str = ""  # the kind of its first token
    inside: bool = False  # the statement has begun and is not over


def format_text(text: str) -> str:
    """A file's text, formatted. Formatting again changes nothing; CRLF and a byte order mark stay.

    An item that does not parse stays to the byte. A lone CR ends a line too, and becomes what most lines end with.
    """
    bom, text = (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)
    eol = _line_end(text)
    out = []
    for line in _aligned(_file_lines(text, eol)):
        whole = _whole(line) if line.fixed else _whole(line).replace("\n", eol)
        # A comment that is never closed has taken the end of the file's last line for its own.
        out.append(whole if line.fixed and whole.endswith("\n") else whole + eol)
    return bom + "".join(out)


def left_alone(text: str) -> list[Item]:
    """The items of a file that are not formatted, because they do not parse."""
    return [item for item in split(text) if _item_lines(_with_lf(item.text)) is None]


def same_meaning(a: t.Decl, b: t.Decl) -> bool:
    """Whether two trees differ in positions only."""
    return _same(a, b)


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if is_dataclass(a):
        names = (f.name for f in fields(a) if f.name not in ("start", "end"))
        return all(_same(getattr(a, n), getattr(b, n)) for n in names)
    return bool(a == b)


def _with_lf(text: str) -> str:
    return re.sub(r"\r\n?", "\n", text)


def _line_end(text: str) -> str:
    """How most lines that hold something end. (Blank lines may go, so they do not count.)"""
    ends = re.findall(r"\S[^\S\r\n]*(\r?)\n", text)
    return "\r\n" if 2 * ends.count("\r") > len(ends) else "\n"


# --- one item ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=65536)
def _item_lines(text: str) -> tuple[_Line, ...] | None:
    """The lines of an item whose lines end with LF, or None if it has to stay as it is."""
    parsed = parse_item(text)
    if not parsed.whole:
        return None
    lines = _Layout(list(_elements(text))).lines()
    again = parse_item("\n".join(map(_whole, lines)))
    return lines if again.whole and _same(parsed.decl, again.decl) else None


def _elements(text: str) -> Iterator[_Element]:
    """The tokens of an item as its grammar tells them apart, and its comments, in order."""
    at = 0
    parser = grammar().parse_interactive(text)
    tokens = list(parser.iter_parse())
    tree: Tree[Token] = parser.feed_eof()  # type: ignore[no-untyped-call]  # lark does not annotate it
    named = {id(c): kind for node in tree.iter_subtrees() for c, kind in _told_apart(node)}
    for token in tokens:
        yield from _comments(text, at, start := token.start_pos or 0)
        kind = str(token) if token in _PUNCTUATION or token.type.startswith("__ANON") else token.type
        yield _Element(named.get(id(token), kind), str(token), _breaks(text, at, start))
        at = token.end_pos or start
    yield from _comments(text, at, len(text))


def _told_apart(node: Tree[Token]) -> Iterator[tuple[Any, str]]:
    """Tokens that are spaced by what they mean: comparisons (no brackets of a type), and versions of services."""
    if node.data in ("compare_expr", "comparison"):
        yield from ((c, "CMP") for c in node.children if isinstance(c, Token))
    elif node.data == "named" and isinstance(version := node.children[1], Tree):
        yield version.children[0], "VERSION"


def _comments(text: str, at: int, end: int) -> Iterator[_Element]:
    for m in _COMMENT.finditer(text, at, end):
        margin = text[text.rfind("\n", 0, m.start()) + 1 : m.start()]
        yield _Element("comment", m.group(), _breaks(text, at, m.start()), None if margin.strip() else margin)
        at = m.end()


def _breaks(text: str, start: int, end: int) -> int:
    """The line breaks in front of `end`, back to `start` or the last comment."""
    gap = text[start:end]
    return gap.count("\n", len(gap.rstrip()))


class _Layout:
    """Lays the elements of one item out in lines."""

    def __init__(self, elements: list[_Element]) -> None:
        self.elements = elements
        self.stack = [_Frame("", 0, 0, block=True, ends=False)]
        self.annotation = -1  # the index of the last element of the annotation at hand
        self.done: list[_Line] = []
        self.line = _Line("")

    def lines(self) -> tuple[_Line, ...]:
        for i, element in enumerate(self.elements):
            left = self.stack.pop() if element.kind in _CLOSERS else None
            block = element.kind == "{" and self._kind_before(i) not in _BEFORE_VALUE
            if i == 0 or element.breaks:
                self._begin(i, left, block)
            if element.kind == "comment":
                self._comment(i)
            else:
                glue = " " if self.line.text.strip() and self._spaced(i) else ""
                self.line = replace(self.line, text=self.line.text + glue + element.text)
                self._follow(i, left, block)
        return (*self.done, self.line)

    def _kind_before(self, i: int) -> str:
        """The kind of the token before an element."""
        return next((e.kind for e in reversed(self.elements[:i]) if e.kind != "comment"), "")

    def _begin(self, i: int, left: _Frame | None, block: bool) -> None:
        """Begins the line of an element; `left` is what it closes."""
        frame = self.stack[-1]
        if left is not None:
            indent = left.closer
        elif frame.block and frame.inside:
            indent = frame.statement + (0 if block else STEP)
        else:
            indent = frame.content
        if i:
            self.done.append(self.line)
            if self.elements[i].breaks > 1 and left is None and not self._opened(i):
                self.done.append(_Line(""))
        self.line = replace(self._listed(i), text=" " * indent, indent=indent)

    def _opened(self, i: int) -> bool:
        """Whether the line before an element's ends with an open bracket, but for comments that end with the line."""
        for before in reversed(self.elements[:i]):
            if before.kind != "comment" or before.breaks or "\n" in before.text:
                return before.kind in _OPENERS
        return False

    def _listed(self, i: int) -> _Line:
        """A line that may be one of a list of reads or operations, with the place where its columns part."""
        words = self.elements[i : i + 3]
        begun = self.stack[-1].block and not self.stack[-1].inside and len(words) == 3
        if begun and words[0].kind in ("READS", "OPERATION") and words[2].kind in _CLAUSES and not words[2].breaks:
            name = f"{words[0].text} {words[1].text}"
            return _Line("", list_of=words[0].kind, cut=len(name)) if not words[1].breaks else _Line("")
        return _Line("")

    def _comment(self, i: int) -> None:
        element = self.elements[i]
        text = _tidy(element, self.line.indent)
        last = i + 1 < len(self.elements) and self.elements[i + 1].breaks > 0
        if last and self.line.text.strip() and "\n" not in text:
            self.line = replace(self.line, comment=text)
        else:
            tight = not self.line.text.strip() or self.elements[i - 1].kind in ("(", "[")
            self.line = replace(self.line, text=f"{self.line.text}{'' if tight else ' '}{text}")

    def _follow(self, i: int, left: _Frame | None, block: bool) -> None:
        """What a token that is on its line now means for those behind it."""
        kind, frame = self.elements[i].kind, self.stack[-1]
        if kind == "@" and frame.block and not frame.inside:
            self.annotation = self._annotation_end(i)
        if i > self.annotation:
            if left is not None:
                frame.inside = not left.ends
            elif frame.block:
                if not frame.inside:
                    frame.statement, frame.lead = self.line.indent, kind
                frame.inside = kind != ";"
        if kind in _OPENERS:
            base = frame.statement if block else self.line.indent
            ends = block or (kind == "{" and frame.lead == "GROUP")
            self.stack.append(_Frame(kind, base + STEP, base, block and frame.lead != "ENUM", ends))

    def _annotation_end(self, at: int) -> int:
        """The index of the last element of the annotation that begins at `at`."""
        tokens = [i for i in range(at, len(self.elements)) if self.elements[i].kind != "comment"]
        if self.elements[tokens[2]].kind != "(":
            return tokens[1]
        return next(i for i in tokens if self.elements[i].kind == ")")  # arguments are literals: no further parentheses

    def _spaced(self, i: int) -> bool:
        """Whether a space stands between a token and what is before it on its line."""
        kind, before = self.elements[i].kind, self.elements[i - 1].kind
        if kind in (";", ",", ")", "]"):
            return False
        if before == "comment":
            return True
        match before, kind:
            case (_, "..") | ("..", "INT" | "DURATION" | "PERCENT"):
                return False
            case ("(" | "[" | "." | "!" | "@" | "<", _) | (_, "." | ":" | "<" | ">") | ("{", "}"):
                return False
            case (":", "VERSION"):
                return False
            case (_, "("):
                return before not in _NAMES or self._kind_before(i - 1) == "POLICY"
            case (_, "["):
                return before not in _NAMES
            case (_, "*"):
                return before not in _OPERANDS
            case (_, "?"):
                return before not in ("NAME", "STRING", ">")  # a type's
        return True


def _tidy(comment: _Element, indent: int) -> str:
    """A comment without white space at its lines' ends, its further lines moved as far as its first."""
    first, *rest = (line.rstrip(" \t\r\f\v") for line in comment.text.split("\n"))
    old = comment.margin
    if old is not None:
        rest = [" " * indent + line[len(old) :] if line.startswith(old) and line else line for line in rest]
    return "\n".join((first, *rest))


# --- the file ---------------------------------------------------------------------------------------------------------


def _file_lines(text: str, eol: str) -> list[_Line]:
    """The lines of a file: those of its items, and the comments between them."""
    lines: list[_Line] = []
    at, before = 0, _Part((), sound=True)
    as_it_is = split(text)
    text = _with_lf(text)
    for item, raw in zip(split(text), as_it_is, strict=True):
        made = _item_lines(item.text)
        part = _Part(made or (_Line(raw.text, fixed=True),), made is not None)
        gap = text[at : item.start]
        if at and "\n" not in gap and not (before.sound and part.sound):
            _join(lines, gap, part, eol)
        else:
            _place(lines, list(_comments(text, at, item.start)), _breaks(text, at, item.start), before, part)
        at, before = item.end, part
    _place(lines, list(_comments(text, at, len(text))), 1, before, _Part((), sound=True))
    return lines


@dataclass(frozen=True, slots=True)
class _Part:
    """An item as it is printed; without lines, the start or the end of the file."""

    lines: tuple[_Line, ...]
    sound: bool  # it parses

    @property
    def several(self) -> bool:
        return len(self.lines) > 1 or any("\n" in line.text for line in self.lines)


def _place(lines: list[_Line], comments: list[_Element], breaks: int, before: _Part, part: _Part) -> None:
    """Puts the comments in front of an item, and the item, behind what is there. `breaks` are those before the item."""
    spot, blank, leads = len(lines), False, False
    for i, comment in enumerate(comments):
        text = _tidy(comment, 0)
        rest = [*(c.breaks for c in comments[i + 1 :]), breaks]
        leads = not any(rest)  # the item is on the comment's line
        if lines and not comment.breaks and (i > 0 or not leads):
            lines[-1] = _behind(lines[-1], text, last=rest[0] > 0)
        else:
            blank |= _blank(lines, comment.breaks)
            lines.append(_Line(text))
    if leads and part.lines:
        first = part.lines[0]
        lines[-1] = replace(first, text=f"{lines[-1].text} {first.text}", list_of="")
        lines += part.lines[1:]
    elif part.lines:
        blank |= _blank(lines, breaks)
        lines += part.lines
    if before.lines and part.lines and not blank and (before.several or part.several):
        lines.insert(spot, _Line(""))


def _blank(lines: list[_Line], breaks: int) -> bool:
    if breaks > 1 and lines:
        lines.append(_Line(""))
        return True
    return False


def _behind(line: _Line, comment: str, last: bool) -> _Line:
    """A line with a comment behind it; the last one of a line gets a column."""
    if last and not line.fixed and not line.comment and "\n" not in comment:
        return replace(line, comment=comment)
    return replace(line, text=f"{_whole(line)} {comment}", comment="")


def _join(lines: list[_Line], gap: str, part: _Part, eol: str) -> None:
    """Puts an item on the line of the one before, as the author did: one of the two does not parse."""
    first = part.lines[0]
    before, after = (_whole(x) if x.fixed else _whole(x).replace("\n", eol) for x in (lines[-1], first))
    lines[-1] = _Line(before + gap + after, fixed=True)
    lines += part.lines[1:]


def _whole(line: _Line) -> str:
    return f"{line.text} {line.comment}" if line.comment else line.text


# --- columns ----------------------------------------------------------------------------------------------------------


def _aligned(lines: list[_Line]) -> list[_Line]:
    """The lines with the clauses of neighbouring list entries, then the comments of neighbouring lines, in columns."""
    lines = [line for run in _runs(lines, _list_key) for line in _listed_in_columns(run)]
    return [line for run in _runs(lines, _comment_key) for line in _comments_in_a_column(run)]


def _list_key(line: _Line) -> object:
    return (line.list_of, line.indent) if line.list_of else None


def _listed_in_columns(run: list[_Line]) -> Iterator[_Line]:
    widest = max(line.cut for line in run)
    for line in run:
        at, pad = line.indent + line.cut, " " * (widest - line.cut)
        yield replace(line, text=line.text[:at] + pad + line.text[at:]) if pad else line


def _comment_key(line: _Line) -> object:
    return line.indent if line.comment and not line.fixed and "\n" not in line.text else None


def _comments_in_a_column(run: list[_Line]) -> Iterator[_Line]:
    widths = [len(line.text) for line in run]
    width = max(widths) if max(widths) - min(widths) <= FARTHEST else 0
    return (replace(line, text=line.text.ljust(width)) for line in run)


def _runs(lines: list[_Line], key: Callable[[_Line], object]) -> Iterator[list[_Line]]:
    """The lines in runs of neighbours with one key; a line whose key is None is alone."""
    for found, run in groupby(lines, key):
        if found is None:
            yield from ([line] for line in run)
        else:
            yield list(run)
