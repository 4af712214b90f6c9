"""Where call paths can be in the states of several automata, and what their chains can carry by then.

A mark keeps the value that an earlier hop wrote, and whether one wrote it depends on what the request was like. So over
one hop a path can go on into several states, one for each *outcome*: what the hop writes to each mark, or nothing. Here
each cell of letters is there once for each outcome. An outcome that cannot be from some state leads where the one leads
that is most like it and can be: whoever follows all cells follows what can be, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from m4c.paths.callpath import Hop
from m4c.paths.machine import cut, lowest
from m4c.paths.masks import bits
from m4c.paths.product import Situation, TooManyStates
from m4c.paths.spread import Spread, State
from m4c.semantics.model import AttrKey, Value

Outcome: TypeAlias = "tuple[Value | None, ...]"
"""What a hop writes to each mark; None: nothing."""

Left: TypeAlias = Callable[[Collection[int], bool, tuple[Value, ...]], Sequence[Outcome]]
"""The outcomes that can be where some of the automata accept (by number), on an entry hop or not, with what is
carried."""

_BEFORE = ("by itself", "outside")  # what a row begins with before the first letter


@dataclass(slots=True)
class MarkedSpread(Spread):
    """A product as `Spread`, with marks. `numbers` are those of the automata; `told`: what a situation tells, as the
    number of an automaton or as (mark, value), which holds if that is carried to the hop."""

    numbers: tuple[int, ...] = ()
    marks: tuple[AttrKey, ...] = ()
    start: tuple[Value, ...] = ()
    left: Left = lambda _accepting, _entry, values: [(None,) * len(values)]
    told: tuple[int | tuple[AttrKey, Value], ...] = ()
    outcomes: list[Outcome] = field(default_factory=list)
    plain: tuple[int, ...] = ()  # the cells of letters, once each
    natural: list[tuple[State, ...]] = field(default_factory=list)  # as `moves`, as if every outcome could be
    can: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)  # the outcomes that can be, by plain cell
    _carried: list[tuple[Value, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        cells = list(self.machines[0].cells) if self.machines else [self.letters.everything]
        for m in self.machines[1:]:
            cells = cut(cells, m.cells)
        self.plain = tuple(sorted(cells, key=lowest))
        for cell in self.plain:
            self._columns.append(tuple(next(i for i, c in enumerate(m.cells) if c & cell) for m in self.machines))
        self._explore()
        self.cells = tuple(cell for cell in self.plain for _ in self.outcomes)
        self._walk()

    def _explore(self) -> None:
        """Every row that some step leads to, and its moves."""
        known: dict[tuple[object, ...], State] = {}
        rows: list[tuple[object, tuple[int, ...], tuple[Value, ...]]] = []

        def number(phase: object, row: tuple[int, ...], values: tuple[Value, ...]) -> State:
            key = (phase, row, values)
            if key not in known:
                known[key] = len(rows)
                rows.append(key)
            return known[key]

        self.by_itself = number(_BEFORE[0], tuple(m.start for m in self.machines), self.start)
        self.from_outside = number(_BEFORE[1], tuple(m.outside for m in self.machines), self.start)
        order: dict[Outcome, int] = {(None,) * len(self.marks): 0}
        steps: list[list[tuple[tuple[int, ...], dict[int, State]]]] = []
        for phase, here, values in rows:  # grows
            if self.limit is not None and len(rows) > self.limit:
                raise TooManyStates
            found: list[tuple[tuple[int, ...], dict[int, State]]] = []
            for columns in self._columns:
                after = tuple(m.delta[s][c] for m, s, c in zip(self.machines, here, columns, strict=True))
                accepting = {n for n, m, s in zip(self.numbers, self.machines, after, strict=True) if s in m.accepting}
                outcomes: Sequence[Outcome] = [(None,) * len(self.marks)]
                if phase != _BEFORE[0]:
                    outcomes = self.left(accepting, phase == _BEFORE[1], values)
                to = {order.setdefault(o, len(order)): number(None, after, _written(values, o)) for o in outcomes}
                found.append((after, to))
            steps.append(found)
        self.outcomes = list(order)
        self.rows = [here for _, here, _ in rows]
        self._carried = [values for _, _, values in rows]
        self.reach = [0] * len(rows)
        for state, found in enumerate(steps):
            moves: list[State] = []
            natural: list[State] = []
            for after, to in found:
                for i, outcome in enumerate(self.outcomes):
                    like = i if i in to else max(to, key=lambda j: (_alike(outcome, self.outcomes[j]), -j))
                    moves.append(to[like])
                    natural.append(known.get((None, after, _written(self._carried[state], outcome)), to[like]))
            self.moves.append(tuple(moves))
            self.natural.append(tuple(natural))
            self.can.append(tuple(tuple(sorted(to)) for _, to in found))

    # --- outcomes ---

    def plain_cell(self, letter: int) -> int:
        """The number of the plain cell in which a letter lies."""
        return self.cell(letter) // len(self.outcomes)

    def outcomes_at(self, letter: int) -> list[Outcome]:
        """The outcomes that can be on some hop to a letter; that of nothing written comes first."""
        plain = self.plain_cell(letter)
        before = self.letters.before(1 << letter)
        states = [s for s, mask in enumerate(self.reach) if mask & before]
        states += [self.from_outside] if self.letters.entries >> letter & 1 else []
        found = {0, *(o for s in states for o in self.can[s][plain])}
        return [self.outcomes[o] for o in sorted(found)]

    def behind(
        self, state: State, service: str, plain: int, looked: Sequence[int], case: Sequence[Value | None]
    ) -> list[State]:
        """The states behind a hop to a service if some of the marks, by number, are seen to be written so. Where that
        cannot be, as if it were."""
        first = plain * len(self.outcomes)
        alike = [o for o, of in enumerate(self.outcomes) if all(of[i] == c for i, c in zip(looked, case, strict=True))]
        can = [o for o in alike if o in self.can[state][plain]]
        if can:
            return [self.moves[state][first + o] for o in can]
        natural = self.natural[state][first + alike[0]]
        there = self.reach[natural] & self.letters.service(service)
        return [natural if there else self.moves[state][first + alike[0]]]

    def plain_cells(self, service: str) -> list[int]:
        """The numbers of the plain cells in which versions of a service lie."""
        return list(dict.fromkeys(map(self.plain_cell, bits(self.letters.service(service)))))

    def carried(self, state: State) -> dict[AttrKey, Value]:
        """What a chain carries in a state, of what it did not begin with."""
        pairs = zip(self.marks, self._carried[state], self.start, strict=True)
        return {attr: value for attr, value, begun in pairs if value != begun}

    # --- as in `Spread` ---

    def landings(self, service: str) -> list[tuple[str | None, int]]:
        known = self._landings.get(service)
        if known is None:
            found: dict[int, str | None] = {}
            for letter in bits(self.letters.service(service)):
                for outcome in range(len(self.outcomes)):
                    found.setdefault(self.cell(letter) + outcome, self.letters.all_letters[letter][1])
            known = self._landings[service] = [(version, cell) for cell, version in found.items()]
        return known

    def situation(self, state: State, service: str) -> Situation:
        carried = self._carried[state]
        count, found = len(self.outcomes), []
        for version, cell in self.landings(service):
            if cell % count:
                continue
            row = self.rows[self.moves[state][cell]]
            accepting = {n for n, m, s in zip(self.numbers, self.machines, row, strict=True) if s in m.accepting}
            said = {
                i
                for i, t in enumerate(self.told)
                if (t in accepting if isinstance(t, int) else carried[self.marks.index(t[0])] == t[1])
            }
            found.append((version, frozenset(said)))
        return tuple(found)

    def splitting(self, hop: Hop) -> Iterator[tuple[State, list[tuple[Outcome, State]]]]:
        """The states before a hop from which it has several outcomes, with these and where they lead."""
        count = len(self.outcomes)
        for state in self.before_hop(hop):
            for plain in self.plain_cells(hop[1]):
                can = self.can[state][plain]
                if len(can) > 1:
                    yield state, [(self.outcomes[o], self.moves[state][plain * count + o]) for o in can]


def _written(values: tuple[Value, ...], outcome: Outcome) -> tuple[Value, ...]:
    return tuple(v if o is None else o for v, o in zip(values, outcome, strict=True))


def _alike(a: Outcome, b: Outcome) -> int:
    """How much of what one outcome says another says too; what is written counts more than what is not."""
    return sum((2 if x is not None else 1) for x, y in zip(a, b, strict=True) if x == y)
