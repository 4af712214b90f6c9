"""Joint context classes: in which classes of all components at once requests come to each service.

Of each component, the class that most of its states have at a service says nothing; each other class is the bit of its
first state there. So a *vector*, a bit set, stands for a class of every component, and only the components with several
classes at a service say anything there. What a bit becomes over a hop depends on the callee alone; what becomes of a
class that says nothing also on the caller, but only where that is not as it is with most.

The vectors at a service depend on the graph and on the components with several classes there, on nothing else. So after
an edit only services are looked at again at which such a component has come or gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias, TypeVar

from m4c.paths.callpath import Hop, Version
from m4c.paths.machine import lowest
from m4c.paths.marked import MarkedSpread
from m4c.paths.masks import Letters, bits
from m4c.paths.spread import Spread, State
from m4c.placement.model import Carried
from m4c.semantics.model import AttrKey, Service, Value

Written: TypeAlias = "tuple[tuple[AttrKey, Value], ...]"  # what a hop writes to marks
Marks: TypeAlias = frozenset[AttrKey]
Vector: TypeAlias = int  # the classes of all components at one service

_News = TypeVar("_News")
_NONE: Marks = frozenset()
NODE_LIMIT = 1_000_000  # vectors of all services before the context counts as too large
_CHECK = 64  # services between two looks at whether to go on


class TooManyVectors(Exception):
    """More joint context than fits, or than can be looked at."""


class Part:
    """One component: its bits, and what stands for its classes."""

    __slots__ = ("_behind", "_said", "context", "first", "marked", "odd", "own", "rank", "usual")

    def __init__(self, context: Carried, first: int, letters: Letters) -> None:
        spread = context.classes.spread
        count = len(spread.reach)
        self.context = context
        self.first = first  # the bit of its first state
        self.own = (1 << count) - 1 << first  # all of its bits
        self.rank = 0
        self.usual = max(range(count), key=lambda s: (spread.reach[s].bit_count(), -s))
        self.odd: dict[str, State] = {}  # where the usual state does not occur, one that does
        everywhere = letters.whole(spread.reach[self.usual])
        for state, mask in enumerate(spread.reach):
            for x in bits(mask & ~everywhere):
                self.odd.setdefault(letters.all_letters[x][0], state)
        self.marked = isinstance(spread, MarkedSpread)
        # By the identity of the classes of a service, for many services share them.
        self._said: dict[tuple[int, int], dict[State, Vector]] = {}
        self._behind: dict[tuple[int, State, int], _Behind] = {}

    def said(self, service: str) -> dict[State, Vector]:
        """What stands for each state at a service with several classes; nothing for those in the class that says
        nothing."""
        of = self.context.classes.of[service]
        silent = of[self.odd.get(service, self.usual)]
        found = self._said.get((id(of), silent))
        if found is None:
            bit: dict[int, Vector] = {}
            for state, number in of.items():
                bit.setdefault(number, 0 if number == silent else 1 << (self.first + state))
            found = self._said[id(of), silent] = {state: bit[number] for state, number in of.items()}
        return found

    def behind(self, service: str, letter: int, written: Written, seen: Marks) -> _Behind:
        """What becomes of its classes over hops to an instance that write something to the marks that are seen."""
        classes = self.context.classes
        spread = classes.spread
        key = (id(classes.of[service]), self.odd.get(service, self.usual), spread.cell(letter))
        found = None if self.marked else self._behind.get(key)
        if found is None:
            said = self.said(service)
            column = [said.get(to, 0) for to in _column(spread, service, letter, written, seen)]
            found = _Behind(self, column)
            if not self.marked:
                self._behind[key] = found
        return found

    def state(self, service: str, vector: Vector) -> State:
        """A state of the component's class at a service."""
        said = vector & self.own
        return lowest(said) - self.first if said else self.odd.get(service, self.usual)


class _Behind:
    """What becomes of the classes of one component over some hops: `column`, by the state before; `same`: the bits that
    stay; `moved`: what others become, by bit, as a set (`moving` are those); `entering`: what its usual state does."""

    __slots__ = ("column", "entering", "moved", "moving", "own", "same")

    def __init__(self, part: Part, column: list[Vector]) -> None:
        self.own, self.column = part.own, column
        self.same = self.moving = 0
        self.moved: dict[int, Vector] = {}
        for state, then in enumerate(column):
            bit = 1 << (part.first + state)
            if then == bit:
                self.same |= then
            elif then:
                self.moved[bit] = then
                self.moving |= bit
        self.entering = (part.own, column[part.usual])


class _Onto:
    """What becomes of classes over hops to one instance that write something to the marks that are seen there."""

    def __init__(self, parts: Iterable[Part], service: str, letter: int, written: Written, seen: Marks) -> None:
        self.letter, self.written, self.seen = letter, written, seen
        self.same = self.moving = 0
        self.moved: dict[int, Vector] = {}
        self.after: dict[int, _Behind] = {}  # by the first bit of a component
        self.entering: dict[int, tuple[int, Vector]] = {}
        for part in parts:
            of = self.after[part.first] = part.behind(service, letter, written, seen)
            self.same |= of.same
            if of.moving:
                self.moved.update(of.moved)
                self.moving |= of.moving
            if of.entering[1]:
                self.entering[part.first] = of.entering

    def images(self, vectors: Sequence[Vector], odd: Mapping[int, State]) -> list[Vector]:
        """The classes behind a hop. `odd`: the states of the caller that are not the usual ones, by component."""
        if not self.after:
            return [0] * len(vectors)
        entering: Mapping[int, tuple[int, Vector]] = self.entering
        met = odd.keys() & self.after.keys()
        if met:
            changed = dict(entering)
            for first in met:
                of = self.after[first]
                changed[first] = (of.own, of.column[odd[first]])
            entering = changed
        comes = [(own, then) for own, then in entering.values() if then]
        same, moving, moved = self.same, self.moving, self.moved
        out: list[Vector] = []
        for vector in vectors:
            after = vector & same
            moves = vector & moving
            while moves:
                bit = moves & -moves
                after |= moved[bit]
                moves ^= bit
            for own, then in comes:
                if not vector & own:
                    after |= then
            out.append(after)
        return out


def _column(spread: Spread, service: str, letter: int, written: Written, seen: Marks) -> list[State]:
    """The state behind the hop, for each before it."""
    if not isinstance(spread, MarkedSpread):
        cell = spread.cell(letter)
        return [to[cell] for to in spread.moves]
    of, looked = dict(written), [i for i, attr in enumerate(spread.marks) if attr in seen]
    plain, case = spread.plain_cell(letter), [of.get(spread.marks[i]) for i in looked]
    return [spread.behind(state, service, plain, looked, case)[0] for state in range(len(spread.moves))]


def _written(parts: Iterable[Part], letter: int) -> list[Written]:
    """What hops to an instance can write to the marks of some components, nothing first."""
    found: dict[Written, None] = {(): None}
    met: set[AttrKey] = set()
    for spread in [part.context.classes.spread for part in parts if part.marked]:
        if isinstance(spread, MarkedSpread):
            shared = met.intersection(spread.marks)
            joined: dict[Written, None] = {}
            for one in found:
                for outcome in spread.outcomes_at(letter):
                    of = {m: v for m, v in zip(spread.marks, outcome, strict=True) if v is not None}
                    if all(of.get(m) == dict(one).get(m) for m in shared):
                        joined[tuple(sorted({**dict(one), **of}.items()))] = None
            found = joined
            met.update(spread.marks)
    return list(found)


class Vectors:
    """The vectors of each service, for one set of components after the other.

    `at`: in an order that depends on the components, not on what was there before. `over`: what they become over each
    hop, for each of the callee's `landings`; over an entry hop, what 0 becomes. `begun`: those of chains that a service
    starts by itself."""

    def __init__(self, letters: Letters, callees: Mapping[str, Sequence[str]], services: Mapping[str, Service]) -> None:
        self.letters, self.callees, self.services = letters, callees, services
        self.callers: dict[str, list[str]] = {name: [] for name in callees}
        for caller, to in callees.items():
            for callee in to:
                self.callers[callee].append(caller)
        self._clear()

    def _clear(self) -> None:
        self.at: dict[str, tuple[Vector, ...]] = {}
        self.over: dict[Hop, tuple[dict[Vector, Vector], ...]] = {}
        self.begun: dict[str, Vector] = {}
        self.parts: list[Part] = []  # of the components, in their order
        self.splitting: dict[str, list[Part]] = {}  # those that have several classes at a service
        self._known: dict[int, Part] = {}  # by the identity of what they are made from
        self._marked = False  # whether there are any whose chains carry marks
        self._width = 0
        self._free: dict[int, list[int]] = {}  # where parts of so many bits have gone
        self._odd: dict[str, dict[int, State]] = {}
        self._onto: dict[str, dict[Marks, list[_Onto]]] = {}  # by service, and by what is seen on the hops

    def update(self, contexts: Sequence[Carried], most: int, checkpoint: Callable[[], None]) -> set[str]:
        """Goes over to other components. Returns the services whose vectors mean something else than before.

        Raises TooManyVectors if there are more at one service than `most`, or too many at all."""
        if self._width > 4 * sum(len(c.classes.spread.reach) for c in contexts) + 1000:
            self._clear()
        region = set() if self.at else set(self.callees)
        try:
            self._exchange(contexts, region)
            if region:
                self._explore(region, most, checkpoint)
        except BaseException:
            self._clear()
            raise
        return region

    def _exchange(self, contexts: Sequence[Carried], region: set[str]) -> None:
        wanted = {id(c) for c in contexts}
        same = {id(c.classes): c for c in contexts if id(c) not in self._known}
        for number, part in list(self._known.items()):
            context = same.get(id(part.context.classes))
            if number not in wanted and context is not None:  # other rules, but the same is told apart
                del self._known[number]
                self._known[id(context)] = part
                part.context = context
        for number in [n for n in self._known if n not in wanted]:
            part = self._known.pop(number)
            self._free.setdefault(len(part.context.classes.spread.reach), []).append(part.first)
            region.update(part.context.classes.of)
            for service in part.odd:
                del self._odd[service][part.first]
        for context in contexts:
            if id(context) not in self._known:
                part = self._known[id(context)] = Part(context, self._room(context), self.letters)
                region.update(context.classes.of)
                for service, state in part.odd.items():
                    self._odd.setdefault(service, {})[part.first] = state
        self.parts = [self._known[id(c)] for c in contexts]
        self._marked = any(part.marked for part in self.parts)
        for service in region:
            self.splitting.pop(service, None)
            self._onto.pop(service, None)
        for rank, part in enumerate(self.parts):
            part.rank = rank
            for service in part.context.classes.of.keys() & region:
                self.splitting.setdefault(service, []).append(part)

    def _room(self, context: Carried) -> int:
        """The first of as many free bits as a component needs."""
        count = len(context.classes.spread.reach)
        free = self._free.get(count)
        if free:
            return free.pop()
        self._width += count
        return self._width - count

    def _ontos(self, hop: Hop) -> list[_Onto]:
        service, parts = hop[1], self.splitting.get(hop[1], ())
        seen = _NONE
        if self._marked:
            seen = seen.union(*(part.context.seen.get(hop, ()) for part in parts if part.context.seen))
        known = self._onto.setdefault(service, {})
        found = known.get(seen)
        if found is None:
            letters = bits(self.letters.service(service))
            found = [_Onto(parts, service, x, w, seen) for x in letters for w in _written(parts, x)]
            known[seen] = found
        return found

    def landings(self, service: str) -> list[tuple[Version, Written]]:
        """The versions of a service, each with what hops to it can write to marks."""
        letters, parts = bits(self.letters.service(service)), self.splitting.get(service, ())
        return [(self.letters.all_letters[x][1], written) for x in letters for written in _written(parts, x)]

    def _starts(self, service: str, letter: int, outside: bool, written: Written = (), seen: Marks = _NONE) -> Vector:
        """The classes at an instance with which a chain begins."""
        vector = 0
        for part in self.splitting.get(service, ()):
            spread = part.context.classes.spread
            begin = spread.from_outside if outside else spread.by_itself
            marked = isinstance(spread, MarkedSpread)
            to = _column(spread, service, letter, written, seen)[begin] if marked else spread.step(begin, letter)
            vector |= part.said(service)[to]
        return vector

    def _explore(self, region: set[str], most: int, checkpoint: Callable[[], None]) -> None:
        """All that is reached within a region; outside of it everything is known."""
        found: dict[str, dict[Vector, None]] = {name: {} for name in sorted(region)}
        fresh: dict[str, dict[Vector, None]] = {}
        room = NODE_LIMIT - sum(map(len, self.at.values()))

        def arrive(service: str, vectors: Iterable[Vector]) -> None:
            nonlocal room
            known = found[service]
            new = [v for v in vectors if v not in known]
            if new:
                before = len(known)
                known.update(dict.fromkeys(new))
                fresh.setdefault(service, {}).update(dict.fromkeys(new))
                room -= len(known) - before
                if len(known) > most or room < 0:
                    raise TooManyVectors

        def go(caller: str, callee: str, vectors: Sequence[Vector]) -> None:
            odd = self._odd.get(caller, {})
            for onto, becomes in zip(self._ontos((caller, callee)), self.over[caller, callee], strict=True):
                images = onto.images(vectors, odd)
                becomes.update(zip(vectors, images, strict=True))
                if callee in found:
                    arrive(callee, images)

        for name in found:
            for hop in (*((name, to) for to in self.callees[name]), *((by, name) for by in self.callers[name])):
                self.over[hop] = tuple({} for _ in self._ontos(hop))
        for name in found:
            own = self.letters.service(name)
            if self.services[name].origin:
                self.begun[name] = self._starts(name, lowest(own), False)
                arrive(name, [self.begun[name]])
            if self.services[name].entry:
                begun = [self._starts(name, o.letter, True, o.written, o.seen) for o in self._ontos((None, name))]
                self.over[None, name] = tuple({0: vector} for vector in begun)
                arrive(name, begun)
            for caller in self.callers[name]:
                if caller not in found:
                    go(caller, name, self.at[caller])
        for name, new in drained(fresh, checkpoint):
            for callee in self.callees[name]:
                go(name, callee, list(new))
        for name, vectors in found.items():
            self.at[name] = self._ordered(name, vectors)

    def _ordered(self, service: str, vectors: Iterable[Vector]) -> tuple[Vector, ...]:
        """In the order of the bits as they would be if no component had ever come or gone."""
        parts = self.splitting.get(service, ())
        if all(a.first < b.first for a, b in pairwise(parts)):
            return tuple(sorted(vectors))
        by_first = sorted(parts, key=lambda part: part.first)

        def in_order(vector: Vector) -> list[tuple[int, int]]:
            said = [(p.rank, (vector & p.own) >> p.first) for p in by_first if vector & p.own]
            return sorted(said, reverse=True)

        return tuple(sorted(vectors, key=in_order))


def drained(pending: dict[str, _News], checkpoint: Callable[[], None]) -> Iterator[tuple[str, _News]]:
    """Takes what is pending, the oldest first, until nothing comes to it any more."""
    count = 0
    while pending:
        count += 1
        if count % _CHECK == 0:
            checkpoint()
        name = next(iter(pending))
        yield name, pending.pop(name)
