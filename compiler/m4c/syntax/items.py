"""Splits a file into its top-level items, without parsing them.

An item is the grain of everything incremental: its text alone decides its tree. A broken item must not swallow its
neighbours, so one whose braces do not close ends where a line begins with the keyword of the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

RESERVED = ("template", "apply")  # items of a later version
KEYWORDS = ("import", "mesh", "spec", "entity", "enum", "policy", "state", "test", *RESERVED)

# The tokens that decide where an item ends. A string that its line does not close ends with the line.
TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/)?)
      | (?P<string>r?"(?:[^"\\\n]|\\.)*"?)
      | (?P<punct>[{};])
      | (?P<word>[A-Za-z0-9_@][A-Za-z0-9_.]*)
      | (?P<other>[^\s])""",
    re.X,
)
_NEVER_INSIDE = frozenset(
    ("import", "mesh", "spec", "policy", "state", "test")
)  # at the start of a line, within braces


@dataclass(frozen=True, slots=True)
class Item:
    """One top-level item: its text (its doc comment and annotations included) and where it stands in the file."""

    kind: str  # a keyword, or "" for text that begins with none
    text: str
    start: int  # code points from the start of the file

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def _kind(text: str) -> str:
    """The keyword of an item, after annotations and comments."""
    for m in TOKEN.finditer(text):
        if m.lastgroup == "comment":
            continue
        word = m.group()
        if m.lastgroup == "word" and word in KEYWORDS:
            return word
        if m.lastgroup == "word" and word.startswith("@"):
            continue
        if m.lastgroup in ("string", "other") and word[0] in '()",@':
            continue
        return ""
    return ""


def split(text: str) -> tuple[Item, ...]:
    """The items of a file, in order. Together with the white space and comments between them they are the file."""
    items: list[Item] = []
    pos = 0
    while True:
        start, end = _next_item(text, pos)
        if start is None:
            return tuple(items)
        body = text[start:end]
        items.append(Item(_kind(body), body, start))
        pos = end


def _next_item(text: str, pos: int) -> tuple[int | None, int]:
    """Where the item begins and ends that comes first at or after `pos`; (None, _) if there is none."""
    start: int | None = None
    doc: int | None = None  # of the `///` lines directly above
    depth = 0
    kind = ""
    for m in TOKEN.finditer(text, pos):
        if m.lastgroup == "comment":
            if start is None:
                if not m.group().startswith("///"):
                    doc = None
                elif doc is None:
                    doc = m.start()
            continue
        if start is None:
            start = doc if doc is not None else m.start()
        if m.lastgroup == "word":
            kind = kind or (m.group() if m.group() in KEYWORDS else "")
            if depth and _begins_item(text, m, kind):
                return start, _above(text, m.start(), start)
            continue
        match m.group() if m.lastgroup == "punct" else "":
            case "{":
                depth += 1
            case "}":
                depth -= 1
                if depth <= 0:
                    return start, m.end()
            case ";" if depth == 0:
                return start, m.end()
    return start, len(text.rstrip())


def _begins_item(text: str, word: re.Match[str], kind: str) -> bool:
    """Whether a word inside braces can only be the next item's keyword: the braces before it were never closed."""
    if word.start() and text[word.start() - 1] != "\n":
        return False
    return word.group() in _NEVER_INSIDE or (word.group() in ("entity", "enum") and kind != "spec")


def _above(text: str, pos: int, floor: int) -> int:
    """The end of what stands before the doc comments and annotations directly above the line at `pos`."""
    while (line := text.rfind("\n", floor, pos - 1) + 1) > floor and text.startswith(("///", "@"), line):
        pos = line
    return max(len(text[:pos].rstrip()), floor + 1)
