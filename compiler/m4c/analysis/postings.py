"""Posting lists: entries by a key and by the letters at which paths may end.

Most policies end at one service, and are listed by it. Those that may end at many are listed apart, all with one set of
letters together, and compared by these sets. What a question about a set of letters costs is what it finds, and not how
large the mesh is.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Set
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from m4c.paths.masks import bits

WIDE = 24  # letters at which an entry may end before it is listed by its whole set

K = TypeVar("K", bound=Hashable)
E = TypeVar("E")


@dataclass(slots=True)
class _List(Generic[E]):
    """The entries under one key, each with its name."""

    every: dict[str, tuple[int, E]] = field(default_factory=dict)
    occupied: int = 0  # the letters at which entries are listed one by one
    at: dict[int, dict[str, E]] = field(default_factory=dict)
    wide: dict[int, dict[str, E]] = field(default_factory=dict)


class Postings(Generic[K, E]):
    """Entries by key and letter. An entry has one name and one set of letters under all its keys."""

    def __init__(self) -> None:
        self._lists: dict[K, _List[E]] = {}

    def __iter__(self) -> Iterator[K]:
        """The keys under which something is listed, or was."""
        return iter(self._lists)

    def add(self, keys: Iterable[K], name: str, ends: int, entry: E) -> None:
        for key in keys:
            of = self._lists.get(key)
            if of is None:
                of = self._lists[key] = _List()
            of.every[name] = ends, entry
            if ends.bit_count() > WIDE:
                of.wide.setdefault(ends, {})[name] = entry
            else:
                of.occupied |= ends
                for letter in bits(ends):
                    of.at.setdefault(letter, {})[name] = entry

    def remove(self, keys: Iterable[K], name: str, ends: int) -> None:
        for key in keys:
            of = self._lists[key]
            del of.every[name]
            if ends.bit_count() > WIDE:
                del of.wide[ends][name]
                if not of.wide[ends]:
                    del of.wide[ends]
                continue
            for letter in bits(ends):
                del of.at[letter][name]
                if not of.at[letter]:
                    del of.at[letter]
                    of.occupied &= ~(1 << letter)

    def find(self, key: K, ends: int, into: dict[str, E]) -> None:
        """The entries under a key that may end at one of some letters."""
        of = self._lists.get(key)
        if of is None:
            return
        here = ends & of.occupied
        if here.bit_count() > len(of.every):
            into.update((name, entry) for name, (its, entry) in of.every.items() if its & ends)
            return
        for letter in bits(here):
            into.update(of.at[letter])
        for its, entries in of.wide.items():
            if its & ends:
                into.update(entries)

    def names(self, key: K) -> Set[str]:
        """The names of all entries under a key."""
        of = self._lists.get(key)
        return of.every.keys() if of is not None else frozenset()

    def crowd(self, key: K, letter: int) -> int:
        """How many entries are listed under a key at a letter; without those that may end at many."""
        of = self._lists.get(key)
        return len(of.at.get(letter, ())) if of is not None else 0
