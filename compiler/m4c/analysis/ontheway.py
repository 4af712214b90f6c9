"""Policies that matter to later or earlier hops of a path, by where they end and by their time limits."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from m4c.analysis.near import WIDE, Row
from m4c.paths.masks import bits


class Limits(NamedTuple):
    """A policy with its shortest and its longest time limit, in the attribute's unit."""

    row: Row
    shortest: int
    longest: int


class OnTheWay:
    """Some policies. A question about a set of letters looks at the policies there or, if those are more, at the
    policies with such limits."""

    def __init__(self) -> None:
        self.rows: dict[str, Limits] = {}
        self._at: dict[int, dict[str, Limits]] = {}
        self._open: dict[str, Limits] = {}  # those that end at many letters
        self._by_longest: list[Limits] | None = None
        self._by_shortest: list[Limits] | None = None

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def add(self, row: Row, limits: Sequence[int]) -> None:
        name = row.policy.name
        found = self.rows[name] = Limits(row, min(limits, default=0), max(limits, default=0))
        for part in self._parts(row):
            part[name] = found
        self._by_longest = self._by_shortest = None

    def remove(self, name: str) -> None:
        found = self.rows.pop(name, None)
        if found is not None:
            for part in self._parts(found.row):
                del part[name]
            self._by_longest = self._by_shortest = None

    def _parts(self, row: Row) -> Iterator[dict[str, Limits]]:
        if row.ends.bit_count() > WIDE:
            yield self._open
        else:
            for letter in bits(row.ends):
                yield self._at.setdefault(letter, {})

    def at(self, mask: int) -> list[Row]:
        """The policies that may end at some letters."""
        return [found.row for found in self._found(mask)]

    def _found(self, mask: int) -> list[Limits]:
        if mask.bit_count() > len(self.rows):
            return [f for f in self.rows.values() if f.row.ends & mask]
        found: dict[str, Limits] = {}
        for letter in bits(mask):
            found |= self._at.get(letter, {})
        found.update((n, f) for n, f in self._open.items() if f.row.ends & mask)
        return list(found.values())

    def longer(self, limit: int, mask: int) -> list[Row]:
        """The policies that may end at some letters, with a limit above one."""
        if self._by_longest is None:
            self._by_longest = sorted(self.rows.values(), key=lambda f: f.longest)
        first = bisect_right(self._by_longest, limit, key=lambda f: f.longest)
        if len(self._by_longest) - first < mask.bit_count():
            return [f.row for f in self._by_longest[first:] if f.row.ends & mask]
        return [f.row for f in self._found(mask) if f.longest > limit]

    def shorter(self, limit: int, mask: int) -> list[Row]:
        """The policies that may end at some letters, with a limit below one."""
        if self._by_shortest is None:
            self._by_shortest = sorted(self.rows.values(), key=lambda f: f.shortest)
        last = bisect_left(self._by_shortest, limit, key=lambda f: f.shortest)
        if last < mask.bit_count():
            return [f.row for f in self._by_shortest[:last] if f.row.ends & mask]
        return [f.row for f in self._found(mask) if f.shortest < limit]
