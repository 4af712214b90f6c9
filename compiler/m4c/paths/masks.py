"""Call paths in bit sets: what patterns have in common on a graph, a whole set of services at a time.

A set of letters (instances of services) is a Python integer, one bit a letter in the order of `alphabet`. Words of bits
are joined and cut at once, so a question about one or two patterns costs some dozen operations, whatever the graph's
paths are. A pattern is taken as what it is, a row of steps: the position between two steps is a state, and the letters
at which paths in that state may end are one set (`Letters.meeting`). Positions only ever move forward, and the one loop
at a position, a step with a star, is closed over by the graph's reachability; so no search is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from m4c.paths.callpath import Letter, alphabet, callees, instances
from m4c.semantics.model import AnyOne, Graph, GroupOf, Labelled, Named, NotOne, One, OneOf, Pattern

_REMEMBERED = 1 << 14  # sets of which it is kept what they lead to
_WORDS = 256  # bits of a set that is taken apart as a number
_APART = 8  # bits of a large set that are taken from it one by one
_FEW = 64  # letters that are looked at one by one
_MANY = 256  # letters from which on it is quicker to look at all calls
_PAIRS = 1 << 18  # pairs of patterns of which it is kept where they meet


def bits(mask: int) -> Iterator[int]:
    """The numbers in a set, the lowest first."""
    if mask.bit_length() > _WORDS:  # each step below would go over all of it
        if mask.bit_count() <= _APART:
            found = []
            while mask:
                found.append(mask.bit_length() - 1)
                mask ^= 1 << found[-1]
            yield from reversed(found)
            return
        digits = bin(mask)[:1:-1]  # to search a text is quicker
        at = digits.find("1")
        while at >= 0:
            yield at
            at = digits.find("1", at + 1)
        return
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


@dataclass(frozen=True, slots=True)
class Shape:
    """A pattern as rows of letters: what each step takes, and whether any number of times; `outside`: only in chains
    from there."""

    steps: tuple[tuple[int, bool], ...]
    outside: bool

    def and_on(self) -> Shape:
        """The paths that the pattern matches, and at least one hop more."""
        return Shape((*self.steps, (-1, False), (-1, True)), self.outside)


class _Calls:
    """For each letter those that calls lead to, one way or the other."""

    def __init__(self, of: list[int]) -> None:
        self.of = of
        self._pairs: tuple[Any, Any] | None = None  # of all calls, from and to which letter
        self._known: dict[int, int] = {}

    def over(self, mask: int) -> int:
        """The union for some letters."""
        if not mask & (mask - 1):  # at most one
            return self.of[mask.bit_length() - 1] if mask else 0
        known = self._known.get(mask)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[mask] = self._over_many(mask) if mask.bit_count() > _MANY else self._over_few(mask)
        return known

    def _over_few(self, mask: int) -> int:
        found = 0
        for i in bits(mask):
            found |= self.of[i]
        return found

    def _over_many(self, mask: int) -> int:
        """As `over`, by looking at every call at once."""
        import numpy as np

        size = len(self.of)
        if self._pairs is None:
            pairs = [(i, j) for i, to in enumerate(self.of) for j in bits(to)]
            both = np.array(pairs, dtype=np.int32).reshape(-1, 2)
            self._pairs = both[:, 0].copy(), both[:, 1].copy()
        source, target = self._pairs
        octets = np.frombuffer(mask.to_bytes((size + 7) // 8, "little"), dtype=np.uint8)
        member = np.unpackbits(octets, count=size, bitorder="little").view(bool)
        hit = np.zeros(size, dtype=bool)
        hit[target[member[source]]] = True
        return int.from_bytes(np.packbits(hit, bitorder="little").tobytes(), "little")


class Letters:
    """The letters of one graph, and what leads where. `origins` and `entries`: those with which a chain can begin, by
    itself and from outside; `to`: whom each service calls."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.all_letters: tuple[Letter, ...] = alphabet(graph)
        self.everything = (1 << len(self.all_letters)) - 1
        self._of_service: dict[str, int] = {}
        at = 0
        for name in sorted(graph.services):
            size = len(instances(graph.services[name]))
            self._of_service[name] = (1 << size) - 1 << at
            at += size
        self._of_label: dict[tuple[str, str], int] = {}
        for name, service in graph.services.items():
            for label in service.labels:
                self._of_label[label] = self._of_label.get(label, 0) | self._of_service[name]
        self.to = to = callees(graph)
        after = {name: self._union(to[name]) for name in to}
        self._versions = max((mask.bit_count() for mask in self._of_service.values()), default=1)
        self._not_first = self.everything & ~sum(mask & -mask for mask in self._of_service.values())
        self.versioned = self.whole(self._not_first)  # the letters of services with several
        self._after = _Calls([after[name] for name, _ in self.all_letters])
        self._before = _Calls(self._reversed(to))
        self._reach = self._closure(to, after)
        services = graph.services.items()
        self.origins = self._union([n for n, s in services if s.origin])
        self.entries = self._union([n for n, s in services if s.entry])
        self._reach_back: list[int] | None = None
        self._ones: dict[One, int] = {}
        self._known_within: dict[tuple[int, int, int], int] = {}
        self._shapes: dict[Pattern, Shape] = {}
        self._known_ends: dict[int, tuple[int, Shape]] = {}  # by identity, as the next
        self._known_pairs: dict[
            tuple[int, int], tuple[int, Sequence[Shape]]
        ] = {}  # with the shapes, to keep them alive

    def _union(self, names: Sequence[str]) -> int:
        mask = 0
        for name in names:
            mask |= self._of_service[name]
        return mask

    def _reversed(self, to: dict[str, list[str]]) -> list[int]:
        before = dict.fromkeys(to, 0)
        for caller, of in to.items():
            for callee in of:
                before[callee] |= self._of_service[caller]
        return [before[name] for name, _ in self.all_letters]

    def _closure(self, to: dict[str, list[str]], after: dict[str, int]) -> list[int]:
        """For each letter, what calls lead to over one hop or more. Services are visited behind what they call, as far
        as there is such an order, so that two rounds are enough without cycles, and few with them."""
        order: list[str] = []
        seen: set[str] = set()
        for root in to:
            stack = [(root, iter(to[root]))] if root not in seen else []
            seen.add(root)
            while stack:
                name, rest = stack[-1]
                following = next((v for v in rest if v not in seen), None)
                if following is None:
                    order.append(name)
                    stack.pop()
                else:
                    seen.add(following)
                    stack.append((following, iter(to[following])))
        reach = dict(after)
        grown = True
        while grown:
            grown = False
            for name in order:
                mask = reach[name]
                for callee in to[name]:
                    mask |= reach[callee]
                if mask != reach[name]:
                    reach[name] = mask
                    grown = True
        return [reach[name] for name, _ in self.all_letters]

    def tidy(self, limit: int) -> None:
        """Forgets the patterns that were asked about, if those, or the pairs of them, are more."""
        if max(len(self._shapes), len(self._known_ends), len(self._known_pairs)) > limit:
            self._shapes.clear()
            self._known_ends.clear()
            self._known_pairs.clear()

    # --- sets ---

    def service(self, name: str) -> int:
        """The letters of one service; nothing for one that the graph lacks."""
        return self._of_service.get(name, 0)

    def whole_service(self, letter: int) -> int:
        """All letters of the service of one."""
        return self._of_service[self.all_letters[letter.bit_length() - 1][0]]

    def whole(self, mask: int) -> int:
        """All letters of the services of some: those of one service stand side by side."""
        for _ in range(self._versions - 1):
            mask |= ((mask << 1) & self._not_first) | ((mask & self._not_first) >> 1)
        return mask

    def services(self, mask: int) -> list[str]:
        """The services of some letters, by name."""
        return list(dict.fromkeys(self.all_letters[i][0] for i in bits(mask)))

    def names(self, mask: int) -> frozenset[str]:
        """The services of some letters."""
        return frozenset(self.all_letters[i][0] for i in bits(mask))

    def matching(self, one: One) -> int:
        """The letters that a step of a pattern takes."""
        mask = self._ones.get(one)
        if mask is None:
            mask = self._ones[one] = self._matching(one)
        return mask

    def _matching(self, one: One) -> int:
        match one:
            case Named(service, None):
                return self.service(service)
            case Named(service, version):
                mask = self.service(service)
                return sum(1 << i for i in bits(mask) if self.all_letters[i][1] == version)
            case AnyOne():
                return self.everything
            case Labelled(labels):
                mask = self.everything
                for label in labels:
                    mask &= self._of_label.get(label, 0)
                return mask
            case GroupOf(_, members):
                return self._union([n for n in dict.fromkeys(members) if n in self._of_service])
            case OneOf(parts):
                mask = 0
                for part in parts:
                    mask |= self.matching(part)
                return mask
            case NotOne(part):
                return self.everything & ~self.matching(part)

    def after(self, mask: int) -> int:
        """The letters that calls lead to from these, over one hop."""
        return self._after.over(mask)

    def onto(self, mask: int, takes: int) -> int:
        """The letters of one set that calls lead to from another, over one hop."""
        if takes.bit_count() > _FEW:
            return self.after(mask) & takes
        found = 0
        for i in bits(takes):
            if self._before.of[i] & mask:
                found |= 1 << i
        return found

    def before(self, mask: int) -> int:
        """The letters from which calls lead to these, over one hop."""
        return self._before.over(mask)

    def behind(self, mask: int) -> int:
        """The letters that calls lead to from these, over one hop or more."""
        return self._walked(mask, self.everything)

    def ahead(self, mask: int) -> int:
        """The letters from which calls lead to these, over one hop or more."""
        if mask.bit_count() > _FEW:
            return _spread(mask, self.before)
        if self._reach_back is None:
            to = callees(self.graph)
            back: dict[str, list[str]] = {name: [] for name in to}
            for caller, of in to.items():
                for callee in of:
                    back[callee].append(caller)
            self._reach_back = self._closure(back, {name: self._union(back[name]) for name in back})
        found = 0
        for i in bits(mask):
            found |= self._reach_back[i]
        return found

    def _walked(self, mask: int, within: int) -> int:
        """As `behind`, over letters of a set only."""
        if within == self.everything and mask.bit_count() <= _FEW:
            found = 0
            for i in bits(mask):
                found |= self._reach[i]
            return found
        key = (mask.bit_length(), mask, within)  # numbers of one bit have few hashes: the first tells them apart
        known = self._known_within.get(key)
        if known is None:
            if len(self._known_within) >= _REMEMBERED:
                self._known_within.clear()
            known = self._known_within[key] = _spread(mask, lambda edge: self.after(edge) & within)
        return known

    # --- patterns ---

    def shape(self, pattern: Pattern) -> Shape:
        """A pattern with the letters that its steps take."""
        known = self._shapes.get(pattern)
        if known is None:
            steps = tuple((self.matching(s.one), s.star) for s in pattern.steps)
            known = self._shapes[pattern] = Shape(steps, pattern.outside)
        return known

    def ends(self, pattern: Pattern) -> int:
        """The letters at which a call path that the pattern matches may end."""
        return self.meet(self.shape(pattern))

    def ends_once(self, *shapes: Shape) -> int:
        """As `meet`, of patterns that nobody will ask about again."""
        return self._meet(shapes)

    def meeting(self, patterns: Sequence[Pattern]) -> int:
        """The letters at which a call path that all of the patterns match may end."""
        return self.meet(*map(self.shape, patterns))

    def meet(self, *shapes: Shape) -> int:
        """As `meeting`, of patterns in their shapes."""
        if len(shapes) == 1:
            known = self._known_ends.get(id(shapes[0]))
            if known is None:
                known = self._known_ends[id(shapes[0])] = self._meet(shapes), shapes[0]
            return known[0]
        if len(shapes) > 2:
            return self._meet(shapes)
        key = (id(shapes[0]), id(shapes[1]))
        pair = self._known_pairs.get(key)
        if pair is None:
            if len(self._known_pairs) >= _PAIRS:
                self._known_pairs.clear()
            pair = (self._meet(shapes), shapes)
            self._known_pairs[key] = self._known_pairs[key[1], key[0]] = pair
        return pair[0]

    def _meet(self, shapes: Sequence[Shape]) -> int:
        if len(shapes) > 1 and _exclude(shapes):
            return 0
        steps = [s.steps for s in shapes]
        last = tuple(map(len, steps))
        final = tuple((0, False) for _ in steps)
        origins = 0 if any(s.outside for s in shapes) else self.origins
        unread = {(0,) * len(steps)}  # the positions before the first letter
        alone: dict[tuple[int, ...], int] = {}  # where chains end that have just begun by themselves: no hop yet
        ends: dict[tuple[int, ...], int] = {}  # where all the others do
        for cell in product(*(range(n + 1) for n in last)):
            begun = cell in unread
            first, rest = alone.get(cell, 0), ends.get(cell, 0)
            if not begun and not first and not rest:
                continue
            at = [steps[k][i] if i < last[k] else final[k] for k, i in enumerate(cell)]
            takes = self.everything
            for mask, _ in at:
                takes &= mask
            stars = [star for _, star in at]
            if takes:
                onward = tuple(i + (not star) for i, star in zip(cell, stars, strict=True))
                if onward == cell:
                    first |= origins & takes if begun else 0
                    rest |= self.entries & takes if begun else 0
                    if first or rest:
                        rest |= self._walked(first | rest, takes)
                    alone[cell], ends[cell] = first, rest
                else:
                    if begun:
                        alone[onward] = alone.get(onward, 0) | (origins & takes)
                    reached = self.onto(first | rest, takes) if first or rest else 0
                    ends[onward] = ends.get(onward, 0) | reached | (self.entries & takes if begun else 0)
            for k, star in enumerate(stars):  # a step with a star may take nothing
                if star:
                    skipped = (*cell[:k], cell[k] + 1, *cell[k + 1 :])
                    if begun:
                        unread.add(skipped)
                    if first or rest:
                        alone[skipped] = alone.get(skipped, 0) | first
                        ends[skipped] = ends.get(skipped, 0) | rest
        return ends.get(last, 0)


def _spread(mask: int, over: Callable[[int], int]) -> int:
    """All that is reached from a set in one step or more."""
    known, edge = 0, over(mask)
    while edge:
        known |= edge
        edge = over(edge) & ~known
    return known


def _exclude(shapes: Sequence[Shape]) -> bool:
    """Whether patterns exclude each other by the services that they begin or end with, those before any star."""
    for rows in ([s.steps for s in shapes], [s.steps[::-1] for s in shapes]):
        for at in zip(*rows, strict=False):
            common = -1
            for mask, star in at:
                if star:
                    break
                common &= mask
            else:
                if common:
                    continue
                return True
            break
    return False
