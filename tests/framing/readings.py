"""How servers have read HTTP/1.1: strictly, and leniently in each way that is known of them, in all combinations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Reader:
    """One way to read. A strict one has `lenient`, `folds` and `bare_cr` false."""

    lenient: (
        bool  # a line feed ends a line, blanks are cut off names, several are one, sizes are read as far as one can
    )
    folds: bool  # a line that begins with a blank belongs to the one before
    bare_cr: bool  # a carriage return ends a line
    chooses: str  # with a length and a coding: which one counts
    last: bool  # of several lengths or codings the last counts
    loose: bool  # any mention of "chunked" is that coding

    def targets(self, data: bytes) -> Iterator[bytes]:
        """The targets of the requests that this reader finds. It stops at what it cannot make sense of."""
        at = 0
        while True:
            while self.lenient and data[at : at + 1] in (b"\r", b"\n"):
                at += 1
            head = self._head(data, at)
            if head is None:
                return
            lines, at = head
            parts = lines[0].split() if self.lenient else lines[0].split(b" ")
            if len(parts) < 2:
                return
            yield parts[1]
            fields = self._fields(lines[1:])
            if fields is None:
                return
            length = self._length(fields)
            end = self._chunks(data, at) if length is None else at + length
            if end is None or end > len(data):
                return
            at = end

    def _line(self, data: bytes, at: int) -> tuple[bytes, int] | None:
        """A line without its end, and where the next one begins."""
        ends = rb"\r\n" + (rb"|\n" if self.lenient else b"") + (rb"|\r" if self.bare_cr else b"")
        found = re.compile(ends).search(data, at)
        return None if found is None else (data[at : found.start()], found.end())

    def _head(self, data: bytes, at: int) -> tuple[list[bytes], int] | None:
        lines: list[bytes] = []
        while (found := self._line(data, at)) is not None:
            line, at = found
            if not line:
                return (lines, at) if lines else None
            lines.append(line)
        return None

    def _fields(self, lines: list[bytes]) -> Fields | None:
        fields: Fields = []
        for line in lines:
            if self.folds and line[:1] in (b" ", b"\t") and fields:
                name, value = fields.pop()
                fields.append((name, value + b" " + line.strip()))
                continue
            name, colon, value = line.partition(b":")
            if not self.lenient and (not colon or name.strip() != name):
                return None
            fields.append((name.strip(b" \t\0").lower(), value.strip(b" \t\v\0")))
        return fields

    def _length(self, fields: Fields) -> int | None:
        """Of the body; None if it is chunked."""
        lengths = [v for n, v in fields if n == b"content-length"]
        codings = [v for n, v in fields if n == b"transfer-encoding"]
        one = -1 if self.last else 0
        coding = codings[one].lower() if codings else b""
        is_chunked = b"chunked" in coding if self.loose else coding == b"chunked"
        if is_chunked and not (lengths and self.chooses == "length"):
            return None
        if not lengths:
            return 0
        value = lengths[one].split(b",")[one].strip()
        found = re.match(rb"\+?(\d+)" if self.lenient else rb"(\d+)$", value)
        return int(found[1]) % 2**64 if found else 0

    def _chunks(self, data: bytes, at: int) -> int | None:
        """Where a chunked body ends."""
        while True:
            found = self._line(data, at)
            if found is None:
                return None
            line, at = found
            size = re.match(rb"\s*\+?(?:0x)?([0-9A-Fa-f]+)" if self.lenient else rb"([0-9A-Fa-f]+)(?:;|$)", line)
            if size is None:
                return None
            length = int(size[1], 16) % 2**64
            if not length:
                while (found := self._line(data, at)) is not None:
                    line, at = found
                    if not line:
                        return at
                return None
            at += length
            end = self._line(data, at)
            if end is not None and not end[0]:
                at = end[1]
            elif not self.lenient:
                return None


READERS = tuple(
    Reader(lenient, folds, bare_cr, chooses, last, loose)
    for lenient, folds, bare_cr, chooses, last, loose in product(
        (False, True), (False, True), (False, True), ("coding", "length"), (False, True), (False, True)
    )
)


def path(target: bytes) -> bytes:
    """What a server looks up: it takes the scheme and the host of a target in absolute form off."""
    return re.sub(rb"(?i)^[a-z][a-z0-9+.-]*://[^/?#]*", b"", target)


@cache
def finds(data: bytes, prefix: bytes) -> Reader | None:
    """A reader that finds a request for a path that begins so, if there is one."""
    return next((r for r in READERS if any(path(t).startswith(prefix) for t in r.targets(data))), None)
