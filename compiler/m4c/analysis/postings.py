"""Posting lists: entries by a key and by the letters at which paths may end.

Most policies end at one service, and are listed by it. Those that may end at many are listed apart, all with one set of
letters together, and compared by these sets. What a question about a set of letters costs is what it finds, and not how
large the mesh is. Where very many end at one letter, those can be asked for of which the conditions can hold together
with one, or on one input (`m4c.predicates.outlines`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from m4c.paths.masks import bits
from m4c.predicates import PLAIN, Outline, Outlines

WIDE = 24  # letters at which an entry may end before it is listed by its whole set
FEW = 24  # entries of one list that are looked at one by one rather than found by their outlines

K = TypeVar("K", bound=Hashable)
E = TypeVar("E")

Which: TypeAlias = Callable[[Outlines[str, E]], Mapping[str, E]]
"""Finds in a list those that are asked for, and perhaps others."""
Listed: TypeAlias = Callable[[E], tuple[Outline, Hashable]]
"""The outline of an entry's condition, and its kind."""


@dataclass(slots=True)
class _Some(Generic[E]):
    """The entries under one key at a letter or set of letters."""

    every: dict[str, E] = field(default_factory=dict)
    outlines: Outlines[str, E] | None = None  # made when it is first of use

    def those(self, which: Which[E], listed: Listed[E]) -> Mapping[str, E]:
        if len(self.every) <= FEW:
            return self.every
        if self.outlines is None:
            self.outlines = Outlines()
            for name, entry in self.every.items():
                self.outlines.add(name, entry, *listed(entry))
        return which(self.outlines)


@dataclass(slots=True)
class _List(Generic[E]):
    """The entries under one key, each with its name."""

    every: dict[str, tuple[int, E]] = field(default_factory=dict)
    occupied: int = 0  # the letters at which entries are listed one by one
    at: dict[int, _Some[E]] = field(default_factory=dict)
    wide: dict[int, _Some[E]] = field(default_factory=dict)

    def places(self, ends: int) -> list[tuple[dict[int, _Some[E]], int]]:
        """Where an entry with these letters is listed."""
        return [(self.wide, ends)] if ends.bit_count() > WIDE else [(self.at, letter) for letter in bits(ends)]


class Postings(Generic[K, E]):
    """Entries by key and letter. An entry has one name and one set of letters under all its keys."""

    def __init__(self, listed: Listed[E] = lambda _: (PLAIN, None)) -> None:
        self._lists: dict[K, _List[E]] = {}
        self._listed = listed

    def __iter__(self) -> Iterator[K]:
        """The keys under which something is listed, or was."""
        return iter(self._lists)

    def add(self, keys: Iterable[K], name: str, ends: int, entry: E) -> None:
        for key in keys:
            of = self._lists.get(key)
            if of is None:
                of = self._lists[key] = _List()
            of.every[name] = ends, entry
            if ends.bit_count() <= WIDE:
                of.occupied |= ends
            for where, place in of.places(ends):
                some = where.get(place)
                if some is None:
                    some = where[place] = _Some()
                some.every[name] = entry
                if some.outlines is not None:
                    some.outlines.add(name, entry, *self._listed(entry))

    def remove(self, keys: Iterable[K], name: str, ends: int) -> None:
        for key in keys:
            of = self._lists[key]
            del of.every[name]
            for where, place in of.places(ends):
                some = where[place]
                del some.every[name]
                if some.outlines is not None:
                    some.outlines.remove(name)
                if not some.every:
                    del where[place]
                    if where is of.at:
                        of.occupied &= ~(1 << place)

    def find(self, key: K, ends: int, into: dict[str, E], which: Which[E] | None = None) -> None:
        """The entries under a key that may end at one of some letters. `which`: of very many only these."""
        of = self._lists.get(key)
        if of is None:
            return
        here = ends & of.occupied
        if here.bit_count() > len(of.every):
            into.update((name, entry) for name, (its, entry) in of.every.items() if its & ends)
            return
        for letter in bits(here):
            some = of.at[letter]
            into.update(some.every if which is None else some.those(which, self._listed))
        for its, some in of.wide.items():
            if its & ends:
                into.update(some.every if which is None else some.those(which, self._listed))

    def names(self, key: K) -> Set[str]:
        """The names of all entries under a key."""
        of = self._lists.get(key)
        return of.every.keys() if of is not None else frozenset()

    def crowd(self, key: K, letter: int) -> int:
        """How many entries are listed under a key at a letter; without those that may end at many."""
        of = self._lists.get(key)
        some = of.at.get(letter) if of is not None else None
        return len(some.every) if some is not None else 0
