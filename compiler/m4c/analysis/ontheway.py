"""Policies that matter to later or earlier hops of a path, by where they end and by their time limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from m4c.analysis.near import Row
from m4c.analysis.postings import Postings


class Limits(NamedTuple):
    """A policy with its shortest and its longest time limit, in the attribute's unit."""

    row: Row
    shortest: int
    longest: int


class OnTheWay:
    """Some policies. Time limits are few, whatever there are of policies, so each is a key of posting lists."""

    def __init__(self) -> None:
        self.rows: dict[str, Limits] = {}
        self._by_longest = Postings[int, Row]()
        self._by_shortest = Postings[int, Row]()

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def add(self, row: Row, limits: Sequence[int]) -> None:
        name = row.policy.name
        found = self.rows[name] = Limits(row, min(limits, default=0), max(limits, default=0))
        self._by_longest.add((found.longest,), name, row.ends, row)
        self._by_shortest.add((found.shortest,), name, row.ends, row)

    def remove(self, name: str) -> None:
        found = self.rows.pop(name, None)
        if found is not None:
            self._by_longest.remove((found.longest,), name, found.row.ends)
            self._by_shortest.remove((found.shortest,), name, found.row.ends)

    def at(self, mask: int) -> list[Row]:
        """The policies that may end at some letters."""
        return _found(self._by_longest, mask, lambda limit: True)

    def longer(self, limit: int, mask: int) -> list[Row]:
        """The policies that may end at some letters, with a limit above one."""
        return _found(self._by_longest, mask, lambda longest: longest > limit)

    def shorter(self, limit: int, mask: int) -> list[Row]:
        """The policies that may end at some letters, with a limit below one."""
        return _found(self._by_shortest, mask, lambda shortest: shortest < limit)


def _found(postings: Postings[int, Row], mask: int, wanted: Callable[[int], bool]) -> list[Row]:
    found: dict[str, Row] = {}
    for limit in postings:
        if wanted(limit):
            postings.find(limit, mask, found)
    return list(found.values())
