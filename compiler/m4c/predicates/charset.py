"""Sets of code points, and the order in which a witness prefers its characters.

A set is a sorted tuple of disjoint, closed intervals. Case folding follows RE2: simple folding, one code point to one,
by the Unicode version of the running Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

CharSet: TypeAlias = tuple[tuple[int, int], ...]

LAST = 0x10FFFF

# Every character that a string value may hold, plainest first: lower case, digits, upper case, the punctuation of paths
# and names, other printable ASCII, printable beyond ASCII, the rest. NUL, CR and LF are missing because nothing that
# HTTP/1.1 carries in a field or a request line can hold them (RFC 9110, 5.5; RFC 9112, 3.2): a witness with one could
# not be sent. Surrogates are no characters. Bytes that are not UTF-8 are not modelled.
PLAIN_ORDER: CharSet = (
    (0x61, 0x7A),
    (0x30, 0x39),
    (0x41, 0x5A),
    (0x2D, 0x2F),
    (0x5F, 0x5F),
    (0x21, 0x2C),
    (0x3A, 0x40),
    (0x5B, 0x5E),
    (0x60, 0x60),
    (0x7B, 0x7E),
    (0x20, 0x20),
    (0xA1, 0xD7FF),
    (0xE000, LAST),
    (0x80, 0xA0),
    (0x09, 0x09),
    (0x01, 0x08),
    (0x0B, 0x0C),
    (0x0E, 0x1F),
    (0x7F, 0x7F),
)
_FORBIDDEN = re.compile("[\x00\r\n\ud800-\udfff]")
_LOWER_PAIRS = ((0x390, 0x1FD3), (0x3B0, 0x1FE3), (0xFB05, 0xFB06))
_ASCII_LOWER = {upper: upper + 32 for upper in range(0x41, 0x5B)}


def is_value(text: str) -> bool:
    """Whether a string attribute can have this value at all."""
    return _FORBIDDEN.search(text) is None


def plainest_between(low: int, high: int) -> tuple[int, int] | None:
    """The plainest allowed character of an interval as `(rank, code point)`, which sorts by plainness."""
    for rank, (first, last) in enumerate(PLAIN_ORDER):
        if first <= high and low <= last:
            return rank, max(first, low)
    return None


def plain_key(text: str) -> tuple[int, list[tuple[int, int]]]:
    """Sorts values by plainness: by length, then character by character. Every character must be allowed."""
    return len(text), [plainest_between(ord(ch), ord(ch)) or (len(PLAIN_ORDER), ord(ch)) for ch in text]


def lower_ascii(text: str) -> str:
    """`text` with A to Z in lower case and everything else as it is: how `istring` values are compared."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def char_set(intervals: Iterable[tuple[int, int]]) -> CharSet:
    """The set of some intervals in any order; they may overlap."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def complement(chars: CharSet) -> CharSet:
    out: list[tuple[int, int]] = []
    start = 0
    for low, high in chars:
        if start < low:
            out.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        out.append((start, LAST))
    return tuple(out)


def fold_ascii(chars: CharSet) -> CharSet:
    """The set closed under ASCII case."""
    out = list(chars)
    for low, high in chars:
        for first, last, shift in ((0x41, 0x5A, 32), (0x61, 0x7A, -32)):
            if first <= high and low <= last:
                out.append((max(first, low) + shift, min(last, high) + shift))
    return char_set(out)


def fold_unicode(chars: CharSet) -> CharSet:
    """The set closed under simple case folding: `(?i)k` matches the Kelvin sign, as in RE2."""
    if chars and chars[-1][1] < 0x80:
        # Only two letters of ASCII have a fold outside ASCII; the big table is not needed for them.
        extra = [(other, other) for letter, other in ((0x6B, 0x212A), (0x73, 0x17F)) if _has_letter(chars, letter)]
        return char_set([*fold_ascii(chars), *extra])
    out = list(chars)
    for low, high in chars:
        for code, orbit in _orbits().items():
            if low <= code <= high:
                out.extend((other, other) for other in orbit)
    return char_set(out)


def _has_letter(chars: CharSet, lower: int) -> bool:
    return any(low <= code <= high for low, high in chars for code in (lower, lower - 32))


@lru_cache(maxsize=1)
def _orbits() -> dict[int, tuple[int, ...]]:
    """Code point → every code point that folds to the same one; only those with company.

    Simple folding is full folding where that is one character, else lower case: the few characters whose full folding
    is longer (U+1E9E and the Greek ones with iota below) have a lower case of one character. Three pairs are of lower
    case and have no such fold in Python.
    """
    groups: dict[int, list[int]] = {low: [low, high] for low, high in _LOWER_PAIRS}
    for code in range(0x20000):  # no cased character lies beyond
        char = chr(code)
        folded = char.casefold()
        if len(folded) != 1:
            folded = char.lower()
        if len(folded) == 1 and folded != char:
            groups.setdefault(ord(folded), [ord(folded)]).append(code)
    return {code: tuple(group) for group in groups.values() for code in group}
