"""Which patterns accept together, on which hops, by which shortest paths: breadth first over sets of services.

A node of the search is what the patterns have read so far (for each, the positions between its steps that are
possible) and a tag, which can remember what accepted on one earlier hop; the services at which such paths may end are
one set of bits (`masks`). So a level of the search is a handful of nodes, whatever the graph is. A path is only spelled
out when somebody asks for it, from the levels that the search left behind: the shortest; of those, the first by its
services' names, then one that starts by itself before one from outside, then by versions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeAlias

from m4c.paths.callpath import CallPath
from m4c.paths.masks import Letters, bits
from m4c.semantics.model import Pattern

Reading: TypeAlias = tuple[int, ...]  # for each pattern, its possible positions as bits; 0: it can accept no more
Tag: TypeAlias = tuple[frozenset[int], bool] | None  # an earlier hop: what accepted there, and whether it was an entry
Node: TypeAlias = tuple[Reading, Tag]
Sets: TypeAlias = dict[Node, int]  # the letters at which paths in a node end
OnArrival: TypeAlias = Callable[[frozenset[int], bool, Tag], Sequence[Tag]]


@dataclass(eq=False)
class Found:
    """A way in which patterns accept together on a hop. The path is worked out when it is first read."""

    accepted: frozenset[int]
    entry: bool
    tag: Tag
    _spell: Callable[[], tuple[CallPath, int]]

    @cached_property
    def _spelled(self) -> tuple[CallPath, int]:
        return self._spell()

    @property
    def path(self) -> CallPath:
        return self._spelled[0]

    @property
    def before(self) -> Found:
        """The earlier hop that the tag stands for; its path is the first part of this one's."""
        if self.tag is None:
            raise ValueError("this was found without an earlier hop")

        def spell() -> tuple[CallPath, int]:
            path, size = self._spelled
            return CallPath(path.outside, path.services[:size], path.versions[:size]), size

        return Found(*self.tag, None, spell)

    @property
    def order(self) -> tuple[object, ...]:
        path = self.path
        return (path.services, path.outside, tuple(v or "" for v in path.versions))


@dataclass(slots=True)
class _Level:
    """The nodes that paths of one length newly reach. Of the first length, chains from outside are apart."""

    alone: Sets  # chains that have just started by themselves: they have no hop yet
    ends: Sets
    entries: Sets  # of the first length only: what of `ends` came from outside


class Search:
    """Several patterns read along all call paths of one graph at once."""

    def __init__(self, letters: Letters, patterns: Sequence[Pattern]) -> None:
        self.letters = letters
        self.outside_only = [p.outside for p in patterns]
        self._steps = [letters.shape(p).steps for p in patterns]
        self._begin = tuple(_skipping(1, steps) for steps in self._steps)
        self._final = [1 << len(steps) for steps in self._steps]
        self._splits: list[dict[int, list[tuple[int, int]]]] = [{} for _ in patterns]
        self._known: dict[Reading, list[tuple[Reading, int]]] = {}

    def _split(self, k: int, positions: int) -> list[tuple[int, int]]:
        """What one letter makes of the positions of a pattern: sets of letters, each with the positions behind it."""
        known = self._splits[k].get(positions)
        if known is not None:
            return known
        steps = self._steps[k]
        parts = [(self.letters.everything, 0)]
        for i in bits(positions & ~self._final[k]):
            takes, star = steps[i]
            to = _skipping(1 << (i if star else i + 1), steps)
            cut = []
            for mask, behind in parts:
                if mask & takes:
                    cut.append((mask & takes, behind | to))
                if mask & ~takes:
                    cut.append((mask & ~takes, behind))
            parts = cut
        merged: dict[int, int] = {}
        for mask, behind in parts:
            merged[behind] = merged.get(behind, 0) | mask
        known = self._splits[k][positions] = [(mask, behind) for behind, mask in merged.items()]
        return known

    def _reads(self, reading: Reading, must: frozenset[int]) -> list[tuple[Reading, int]]:
        """What the patterns have read after one more letter: each such reading, and the letters that lead there.
        Readings in which one of `must` can accept no more are left out."""
        known = self._known.get(reading)
        if known is not None:
            return known
        parts: list[tuple[Reading, int]] = [((), self.letters.everything)]
        for k, positions in enumerate(reading):
            if not positions:
                parts = [((*read, 0), mask) for read, mask in parts]
                continue
            split = [(here, behind) for here, behind in self._split(k, positions) if behind or k not in must]
            parts = [((*read, behind), mask & here) for read, mask in parts for here, behind in split if mask & here]
        self._known[reading] = parts
        return parts

    def accepted(self, reading: Reading) -> frozenset[int]:
        """The patterns that accept after this reading."""
        return frozenset(k for k, positions in enumerate(reading) if positions & self._final[k])

    def firings(self, must: Sequence[int], within: int | None = None) -> Iterator[Found]:
        """Each distinct set of patterns that accept on one hop, all of `must` among them, the shortest paths first.

        Entry hops count apart from others: what happens at egress does not happen there. `within`: the letters at which
        the path may end.
        """
        wanted = frozenset(must)
        free = len(self._steps) - len(wanted)
        yield from self.found(
            wanted,
            _untagged,
            lambda accepted, tag: wanted <= accepted,
            most=1 << free if free < 30 else None,
            within=within,
        )

    def found(
        self,
        alive: frozenset[int],
        on_arrival: OnArrival,
        counts: Callable[[frozenset[int], Tag], bool],
        dead: Callable[[Reading, Tag], bool] = lambda reading, tag: False,
        most: int | None = None,
        within: int | None = None,
    ) -> Iterator[Found]:
        """Each distinct (accepting set, entry hop or not, tag) that `counts`, with a shortest path.

        Nodes in which a pattern of `alive` can accept no more are left out, and those that are `dead`. `on_arrival`
        gives the tags with which paths go on behind a hop; the first one is None. It stops after `most` that are not on
        an entry hop. `within`: the letters at which the path may end.
        """
        letters = self.letters
        first = _Level({}, {}, {})
        for outside, begins in ((False, letters.origins), (True, letters.entries)):
            begin = tuple(
                0 if only and not outside else p for only, p in zip(self.outside_only, self._begin, strict=True)
            )
            if any(not begin[k] for k in alive):
                continue
            for reading, takes in self._reads(begin, alive):
                if takes & begins and not dead(reading, None):
                    (first.entries if outside else first.alone)[reading, None] = takes & begins
        levels = [first]
        seen: Sets = {}
        seen_kinds: set[tuple[frozenset[int], bool, Tag]] = set()
        arrived, entry = first.entries, True
        while True:
            kinds: dict[tuple[frozenset[int], bool, Tag], Sets] = {}
            for (reading, tag), mask in arrived.items():
                accepted = self.accepted(reading)
                kind = (accepted, entry, tag)
                mask &= -1 if within is None else within
                if mask and kind not in seen_kinds and counts(accepted, tag):
                    kinds.setdefault(kind, {})[reading, tag] = mask
            seen_kinds.update(kinds)
            upto = tuple(levels)
            found = [
                Found(*kind, partial(self._spell, upto, nodes, alive, on_arrival)) for kind, nodes in kinds.items()
            ]
            yield from sorted(found, key=lambda f: f.order) if len(found) > 1 else found
            if most is not None and not entry:
                most -= len(found)
                if most <= 0:
                    return
            new: Sets = {}
            for node, mask in arrived.items():
                fresh = mask & ~seen.get(node, 0)
                if fresh:
                    new[node] = fresh
                if fresh and not entry:  # paths that arrive on an entry hop may go on otherwise than later ones
                    seen[node] = seen.get(node, 0) | fresh
            levels[-1].ends = new
            sources = [(node, mask, True, entry) for node, mask in new.items()]
            if len(levels) == 1:
                sources += [(node, mask, False, False) for node, mask in first.alone.items()]
            arrived = {}
            for (reading, tag), mask, hop, was_entry in sources:
                tags = on_arrival(self.accepted(reading), was_entry, tag) if hop else (tag,)
                to = letters.after(mask)
                for after, takes in self._reads(reading, alive) if to else ():
                    reached = takes & to
                    for following in tags if reached else ():
                        if not dead(after, following):
                            key = (after, following)
                            arrived[key] = arrived.get(key, 0) | reached
            if not arrived:
                return
            entry = False
            levels.append(_Level({}, {}, {}))

    # --- spelling a path out ---

    def _spell(
        self, levels: tuple[_Level, ...], targets: Sets, alive: frozenset[int], on_arrival: OnArrival
    ) -> tuple[CallPath, int]:
        """The first shortest path to some nodes of the last level, and where its tag was set."""
        walk = _Walk(self, levels, targets, alive, on_arrival)
        everywhere = [self.letters.everything] * len(levels)
        by_service, _ = walk.choose(everywhere, (False, True), self.letters.whole_service)
        starts = (False,) if walk.begins(by_service, (False,)) else (True,)
        letters, tagged = walk.choose(by_service, starts, lambda low: low)
        chosen = [self.letters.all_letters[mask.bit_length() - 1] for mask in letters]
        return CallPath(starts[0], tuple(s for s, _ in chosen), tuple(v for _, v in chosen)), tagged


@dataclass(frozen=True, slots=True)
class _Walk:
    """The shortest paths to some nodes, as sets of letters for each length."""

    search: Search
    levels: tuple[_Level, ...]
    targets: Sets
    alive: frozenset[int]
    on_arrival: OnArrival

    def _sources(self, at: int, outside: Sequence[bool]) -> Iterator[tuple[Node, int, Sequence[Tag]]]:
        """The nodes of a level, each with its letters and the tags with which paths go on."""
        level = self.levels[at]
        if at == 0 and False in outside:
            for node, mask in level.alone.items():
                yield node, mask, (node[1],)
        if at > 0 or True in outside:
            for node, mask in (level.ends or level.entries).items():
                yield node, mask, self.on_arrival(self.search.accepted(node[0]), at == 0, node[1])

    def _useful(self, limits: Sequence[int], outside: Sequence[bool]) -> list[list[tuple[Node, int, Sequence[Tag]]]]:
        """For each level but the last, the nodes from which a target is reached over letters within the limits."""
        letters = self.search.letters
        useful = {node: mask & limits[-1] for node, mask in self.targets.items()}
        out: list[list[tuple[Node, int, Sequence[Tag]]]] = []
        for at in range(len(self.levels) - 2, -1, -1):
            here = []
            for node, mask, tags in self._sources(at, outside):
                wanted = 0
                for reading, part in self.search._reads(node[0], self.alive):
                    for tag in tags:
                        wanted |= part & useful.get((reading, tag), 0)
                mask &= limits[at] & letters.before(wanted) if wanted else 0
                if mask:
                    here.append((node, mask, tags))
            out.append(here)
            useful = {}
            for node, mask, _ in here:
                useful[node] = useful.get(node, 0) | mask
        return out[::-1]

    def begins(self, limits: Sequence[int], outside: Sequence[bool]) -> bool:
        """Whether there is such a path that begins by itself, or from outside."""
        if len(self.levels) == 1:
            return True in outside
        return bool(self._useful(limits, outside)[0])

    def choose(
        self, limits: Sequence[int], outside: Sequence[bool], group: Callable[[int], int]
    ) -> tuple[list[int], int]:
        """The first path, letter by letter; `group` gives for a letter all that are taken with it. With it the number
        of the first level at which the tag is set, as early as that path allows."""
        useful = self._useful(limits, outside)
        chosen: list[int] = []
        at_hand = [(node, mask, tags) for node, mask, tags in useful[0]] if useful else []
        for at in range(len(self.levels)):
            if at == len(self.levels) - 1:
                masks = self._reached(at_hand, self.targets, limits[-1]) if at else dict(self.targets)
                least = _lowest(masks.values())
                chosen.append(group(least) & limits[at])
                tagged = at if any(n[1] is not None and m & least for n, m in masks.items()) else at + 1
                return chosen, self._first_tagged(chosen, outside, tagged)
            least = _lowest(mask for _, mask, _ in at_hand)
            chosen.append(group(least) & limits[at])
            at_hand = [(node, mask & chosen[-1], tags) for node, mask, tags in at_hand if mask & chosen[-1]]
            if at + 1 < len(self.levels) - 1:
                known = {node: mask for node, mask, _ in useful[at + 1]}
                masks = self._reached(at_hand, known, limits[at + 1])
                at_hand = [(node, masks[node], tags) for node, _, tags in useful[at + 1] if node in masks]
        raise AssertionError("a path has at least one level")

    def _reached(self, sources: Sequence[tuple[Node, int, Sequence[Tag]]], useful: Sets, limit: int) -> Sets:
        """The useful nodes that one more call leads to."""
        found: Sets = {}
        for (reading, _), mask, tags in sources:
            to = self.search.letters.after(mask) & limit
            for after, part in self.search._reads(reading, self.alive):
                for tag in tags:
                    here = part & to & useful.get((after, tag), 0)
                    if here:
                        found[after, tag] = found.get((after, tag), 0) | here
        return found

    def _first_tagged(self, chosen: Sequence[int], outside: Sequence[bool], last: int) -> int:
        for at, nodes in enumerate(self._useful(chosen, outside)):
            if any(node[1] is not None for node, _, _ in nodes):
                return at
        return last


def _untagged(accepted: frozenset[int], entry: bool, tag: Tag) -> tuple[Tag, ...]:
    return (None,)


def _lowest(masks: Iterable[int]) -> int:
    """The lowest letter of some sets."""
    return min(mask & -mask for mask in masks if mask)


def _skipping(positions: int, steps: Sequence[tuple[int, bool]]) -> int:
    """The positions with those behind them that steps with a star, taking nothing, lead to."""
    for i, (_, star) in enumerate(steps):
        if star and positions >> i & 1:
            positions |= 1 << (i + 1)
    return positions
