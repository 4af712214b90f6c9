"""Splits a file into its top-level items, without parsing them.

An item is the grain of everything incremental: its text alone decides its tree. A broken item must not swallow its
neighbours, so one that does not end by itself ends where a line begins with the keyword of the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

RESERVED = ("template", "apply")  # items of a later version
KEYWORDS = ("import", "mesh", "spec", "entity", "enum", "policy", "state", "test", *RESERVED)

WHITE = " \t\r\n\f\ufeff"
BEFORE_VALUE = frozenset(("(", ",", ":", "[", "="))  # tokens behind which a `{` begins a map or a list, and no block

# The tokens that decide where an item ends. A string that its line does not close ends with the line. Everything else
# is white space, as the grammar has it.
TOKEN = re.compile(
    r"""(?P<comment>//[^\r\n]*|/\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?)
      | (?P<string>r?"(?:[^"\\\r\n]|\\[^\r\n])*"?)
      | (?P<punct>[{};])
      | (?P<word>[A-Za-z0-9_@][A-Za-z0-9_.]*)
      | (?P<other>[=!<>]=|->|&&|\|\||[^ \t\r\n\f\ufeff])""",
    re.X,
)

# What may end an item that is as it should be, or shows that it is not; all else is passed over. (A set of characters
# comes first, and what is before it is looked at behind it: so `re` goes from one of these characters to the next.)
_SKIPPED = r"""(?<=")[^"\\\r\n]*(?:\\[^\r\n][^"\\\r\n]*)*"?
           | (?<=/)(?:/[^\r\n]*|\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?)"""
_LINE = rf"(?<=[\r\n])(?=@|(?:{'|'.join(KEYWORDS)})(?![A-Za-z0-9_.]))"
_BEFORE_BLOCK = re.compile(rf"""[/"{{}};\r\n](?:{_SKIPPED}|(?<=[{{}};])|{_LINE})""", re.X)
_IN_BLOCK = re.compile(rf"""[/"{{}}\r\n](?:{_SKIPPED}|(?<=[{{}}])|{_LINE})""", re.X)

# What can never stand at the start of a line within braces, unless these were never closed.
_NEVER_INSIDE = frozenset(("import", "mesh", "spec", "policy", "state", "test", *RESERVED))


@dataclass(frozen=True, slots=True)
class Item:
    """One top-level item: its text (its doc comment and annotations included) and where it stands in the file."""

    kind: str  # a keyword, or "" for text without one
    text: str
    start: int  # code points from the start of the file

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def head(text: str) -> tuple[int, ...]:
    """Where an item begins, behind its documentation, and where its keyword stands, behind its annotations."""
    first: int | None = None
    for m in TOKEN.finditer(text):
        if m.lastgroup == "comment":
            continue
        first = m.start() if first is None else first
        if m.lastgroup == "word" and m.group() in KEYWORDS:
            return (first,) if first == m.start() else (first, m.start())
    return () if first is None else (first,)


def split(text: str) -> tuple[Item, ...]:
    """The items of a file, in order. Together with the white space and comments between them they are the file."""
    items: list[Item] = []
    pos = 0
    while (item := _next_item(text, pos)) is not None:
        items.append(item)
        pos = item.end
    return tuple(items)


def is_closed(comment: str) -> bool:
    """Whether a comment ends by itself; one that does not reaches to the end of the file."""
    return comment.startswith("//") or (len(comment) > 3 and comment.endswith("*/"))


def is_doc(comment: str) -> bool:
    """Whether a comment documents what follows; a longer row of slashes is a line that somebody drew."""
    return comment.startswith("///") and not comment.startswith("////")


class Head:
    """The doc comments and annotations in front of what comes next: they belong to the item that follows them."""

    def __init__(self) -> None:
        self.start: int | None = None
        self.annotated = False
        self.last = ""  # "@" or "name" within an annotation
        self.open: list[str] = []  # the brackets that are open in an annotation's arguments

    @property
    def whole(self) -> bool:
        """Whether there are annotations, none of which is half said."""
        return self.annotated and not self.open and self.last != "@"

    def comment(self, m: re.Match[str], leads: bool) -> None:
        """Minds a comment. `leads`: it stands where a doc comment of an item can."""
        if is_doc(m.group()):
            if leads and self.start is None:
                self.start = m.start()
        elif not self.annotated:
            self.start = None  # what stands between a doc comment and the item parts the two

    def takes(self, m: re.Match[str], leads: bool) -> bool:
        """Whether a token is part of an annotation. `leads`: one can begin here."""
        c = m.group()
        if self.open:
            if c in ("(", "[", "{"):
                self.open.append(c)
            elif c in (")", "]", "}"):
                self.open.pop()
            return c != ";"
        if self.last == "name" and c == "(":
            self.last = ""
            self.open.append(c)
            return True
        if self.last == "@" and m.lastgroup == "word":
            self.last = "name"
            return True
        leads = leads or self.whole
        self.last = "" if not (leads and c.startswith("@")) else "@" if c == "@" else "name"
        if self.last:
            self.annotated = True
            self.start = m.start() if self.start is None else self.start
        return bool(self.last)


def _next_item(text: str, pos: int) -> Item | None:
    """The item that comes first at or after `pos`."""
    head = Head()
    start: int | None = None
    end = pos  # of the item's last token
    kind = before = ""  # the item's keyword; the last token that is not in a head
    count = depth = values = 0  # tokens that are not in a head; open blocks; open maps in front of the block
    for m in TOKEN.finditer(text, pos):
        c = m.group()
        if m.lastgroup == "comment" and is_closed(c):
            head.comment(m, _leads(text, m.start()) if not count else _begins_line(text, m.start()))
            continue
        if start is not None and c in KEYWORDS and (head.whole or _begins_line(text, m.start())):
            in_head = not count and not head.open
            if not in_head and (_never_inside(c, kind) if depth else (before, c, count) != ("state", "entity", 1)):
                break
        if head.takes(m, not count or _begins_line(text, m.start())):
            start = head.start if start is None else start
            end = end if count else m.end()
            continue
        if start is None:
            start = m.start() if head.start is None else head.start
        head, end, count = Head(), m.end(), count + 1
        if not kind and not depth and c in KEYWORDS:
            kind = c
            if count == 1 and (plain := _plain_end(text, end)) is not None:
                return Item(kind, text[start:plain], start)
        if c == "{":
            if not depth and before in BEFORE_VALUE:
                values += 1
            else:
                depth += 1
        elif c == "}" and values and not depth:
            values -= 1
        elif c == "}":
            depth -= 1
            if depth <= 0:
                break
        elif c == ";" and not depth:
            break
        before = c
    if start is None:
        return None
    return Item(kind, text[start:end].rstrip(WHITE), start)  # a comment that is not closed takes in what is behind it


def _plain_end(text: str, at: int) -> int | None:
    """The end of an item whose keyword ends at `at`, if a `;` or its first block is that; None if it is less plain."""
    for m in _BEFORE_BLOCK.finditer(text, at):
        match text[m.start()]:
            case ";":
                return m.end()
            case "{":
                return _block_end(text, at, m.start())
            case '"':
                continue
            case _:
                return None
    return None


def _block_end(text: str, at: int, brace: int) -> int | None:
    """The end of the block that a brace opens; None if the brace may open a map, or something in the block is odd."""
    before = brace - 1
    while before >= at and text[before] in WHITE:
        before -= 1
    if text[before] in BEFORE_VALUE:
        return None
    depth = 1
    for m in _IN_BLOCK.finditer(text, brace + 1):
        match text[m.start()]:
            case "}":
                depth -= 1
                if not depth:
                    return m.end()
            case "{":
                depth += 1
            case "/" if is_closed(m.group()):
                continue
            case '"':
                continue
            case _:
                return None
    return None


def _never_inside(word: str, kind: str) -> bool:
    """Whether a keyword at the start of a line within braces can only be the next item's: these were never closed."""
    return word in _NEVER_INSIDE or (word in ("entity", "enum") and kind != "spec")


def _begins_line(text: str, pos: int) -> bool:
    return pos == 0 or text[pos - 1] in "\r\n"


def _leads(text: str, pos: int) -> bool:
    """Whether nothing but white space is before `pos` on its line."""
    while pos and text[pos - 1] in WHITE and text[pos - 1] not in "\r\n":
        pos -= 1
    return _begins_line(text, pos)
