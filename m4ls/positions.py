"""Positions of the protocol: lines, and characters in the units that the client has chosen.

The lines of the protocol end with \\n, \\r\\n or \\r and with nothing else, other than those of `str.splitlines`.
"""

from __future__ import annotations

import bisect
import re
from typing import Literal, TypeAlias

from lsprotocol import types

Encoding: TypeAlias = Literal["utf-8", "utf-16", "utf-32"]
ENCODINGS: tuple[Encoding, ...] = ("utf-8", "utf-16", "utf-32")
_BREAK = re.compile(r"\r\n|\n|\r")


def choose(offered: list[str] | None) -> Encoding:
    """The client's first preference among those that are known; UTF-16 if it has none."""
    return next((e for e in offered or () if e in ENCODINGS), "utf-16")


class Lines:
    """A text with its lines, to convert between offsets (code points) and positions."""

    def __init__(self, text: str, encoding: Encoding) -> None:
        self.text = text
        self.encoding = encoding
        self.ascii = text.isascii()
        self.starts = [0, *(m.end() for m in _BREAK.finditer(text))]

    def position(self, offset: int) -> types.Position:
        offset = max(0, min(offset, len(self.text)))
        line = bisect.bisect_right(self.starts, offset) - 1
        return types.Position(line, self.length(self.starts[line], offset))

    def range(self, start: int, end: int) -> types.Range:
        return types.Range(self.position(start), self.position(end))

    def offset(self, position: types.Position) -> int:
        """The offset of a position; beyond the end of a line or of the text it is that end.

        Within a character that takes several units it is the character's start.
        """
        line = max(position.line, 0)
        if line >= len(self.starts):
            return len(self.text)
        at = self.starts[line]
        end = self.starts[line + 1] if line + 1 < len(self.starts) else len(self.text)
        while end > at and self.text[end - 1] in "\r\n":
            end -= 1
        if self.ascii:
            return min(at + max(position.character, 0), end)
        left = position.character
        while at < end and (left := left - self.length(at, at + 1)) >= 0:
            at += 1
        return at

    def length(self, start: int, end: int) -> int:
        """How many units the text between two offsets has."""
        if self.ascii or self.encoding == "utf-32":
            return end - start
        piece = self.text[start:end]
        if self.encoding == "utf-8":
            return len(piece.encode("utf-8", "surrogatepass"))
        return len(piece) + sum(ord(c) > 0xFFFF for c in piece)
