"""Where call paths can be in the states of several automata at once: the product with the graph, a set of letters a
state.

A state here is a row of states, one of each automaton. For each there is the set of letters at which some call path can
be in it; a step moves whole sets. What a hop can meet, where two states have to be told apart, and a shortest path are
read off these sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from m4c.paths.callpath import CallPath, Hop
from m4c.paths.machine import Machine, cut, lowest
from m4c.paths.masks import Letters, bits
from m4c.paths.product import Situation, TooManyStates

State: TypeAlias = int  # the number of a row of states


@dataclass(slots=True)
class Spread:
    """The product of automata and a graph. Raises TooManyStates if it has more than `limit` nodes."""

    letters: Letters
    machines: Sequence[Machine]
    limit: int | None = None
    cells: tuple[int, ...] = ()
    rows: list[tuple[int, ...]] = field(default_factory=list)
    moves: list[tuple[State, ...]] = field(default_factory=list)  # [state][cell]
    reach: list[int] = field(default_factory=list)  # the letters at which a path can be in the state
    by_itself: State = 0  # before the first letter
    from_outside: State = 0
    _numbers: dict[tuple[int, ...], State] = field(default_factory=dict)
    _columns: list[tuple[int, ...]] = field(default_factory=list)  # for each cell, its column in each automaton
    _cell_at: dict[int, int] = field(default_factory=dict)
    _landings: dict[str, list[tuple[str | None, int]]] = field(default_factory=dict)
    _alike: dict[str, dict[str | None, tuple[str | None, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        everything = self.letters.everything
        cells = list(self.machines[0].cells) if self.machines else [everything] if everything else []
        for m in self.machines[1:]:
            cells = cut(cells, m.cells)
        self.cells = tuple(sorted(cells, key=lowest)) if len(self.machines) > 1 else tuple(cells)
        for cell in self.cells:
            self._columns.append(tuple(next(i for i, c in enumerate(m.cells) if c & cell) for m in self.machines))
        self.by_itself = self._number(tuple(m.start for m in self.machines))
        self.from_outside = self._number(tuple(m.outside for m in self.machines))
        self._walk()

    def _number(self, row: tuple[int, ...]) -> State:
        """The state of a row, with all that its steps lead to."""
        known = self._numbers.get(row)
        if known is not None:
            return known
        first = len(self.rows)
        self._numbers[row] = first
        self.rows.append(row)
        for at in range(first, self.limit + 2 if self.limit else 1 << 62):
            if at >= len(self.rows):
                return first
            here = self.rows[at]
            found = []
            for columns in self._columns:
                row = tuple(m.delta[s][c] for m, s, c in zip(self.machines, here, columns, strict=True))
                number = self._numbers.get(row)
                if number is None:
                    number = self._numbers[row] = len(self.rows)
                    self.rows.append(row)
                found.append(number)
            self.moves.append(tuple(found))
            self.reach.append(0)
        raise TooManyStates

    def _walk(self) -> None:
        letters, cells, reach = self.letters, self.cells, self.reach
        moves = self.moves
        fresh: dict[State, int] = {}
        for begin, chains in ((self.by_itself, letters.origins), (self.from_outside, letters.entries)):
            for target, cell in zip(moves[begin], cells, strict=True):
                if cell & chains:
                    fresh[target] = fresh.get(target, 0) | (cell & chains)
        ends = [all(t == state for t in to) for state, to in enumerate(moves)]
        while fresh:
            following: dict[State, int] = {}
            for state, mask in fresh.items():
                mask &= ~reach[state]
                if not mask:
                    continue
                if ends[state]:  # whatever comes, it stays
                    reach[state] |= mask | letters.behind(mask)
                    continue
                reach[state] |= mask
                after = letters.after(mask)
                for target, cell in zip(moves[state], cells, strict=True):
                    new = after & cell & ~reach[target]
                    if new:
                        following[target] = following.get(target, 0) | new
            fresh = following
        if self.limit is not None and sum(mask.bit_count() for mask in reach) > self.limit:
            raise TooManyStates

    # --- steps ---

    def cell(self, letter: int) -> int:
        """The number of the cell that a letter (by number) lies in."""
        found = self._cell_at.get(letter)
        if found is None:
            found = self._cell_at[letter] = next(i for i, c in enumerate(self.cells) if c >> letter & 1)
        return found

    def step(self, state: State, letter: int) -> State:
        return self.moves[state][self.cell(letter)]

    def accepted(self, state: State) -> frozenset[int]:
        """The automata that accept in a state."""
        row = self.rows[state]
        return frozenset(i for i, (m, s) in enumerate(zip(self.machines, row, strict=True)) if s in m.accepting)

    def states_at(self, mask: int) -> list[State]:
        """The states in which a path can be at one of some letters."""
        return [s for s, reached in enumerate(self.reach) if reached & mask]

    def landings(self, service: str) -> list[tuple[str | None, int]]:
        """The versions of a service that the automata tell apart, the first of each group, with its cell."""
        known = self._landings.get(service)
        if known is None:
            found: dict[int, str | None] = {}
            for letter in bits(self.letters.service(service)):
                found.setdefault(self.cell(letter), self.letters.all_letters[letter][1])
            known = self._landings[service] = [(version, cell) for cell, version in found.items()]
        return known

    def versions_like(self, service: str, version: str | None) -> tuple[str | None, ...]:
        """All versions of a service that the automata do not tell from this one."""
        known = self._alike.get(service)
        if known is None:
            of: dict[int, list[str | None]] = {}
            for i in bits(self.letters.service(service)):
                of.setdefault(self.cell(i), []).append(self.letters.all_letters[i][1])
            known = self._alike[service] = {v: tuple(alike) for alike in of.values() for v in alike}
        return known[version]

    def situation(self, state: State, service: str) -> Situation:
        """Who accepts, for each version, if a path in this state goes on to a service."""
        return tuple((v, self.accepted(self.moves[state][cell])) for v, cell in self.landings(service))

    def before_hop(self, hop: Hop) -> list[State]:
        """The states in which a request can leave the caller of a hop."""
        return [self.from_outside] if hop[0] is None else self.states_at(self.letters.service(hop[0]))

    def situations(self, hop: Hop) -> dict[Situation, list[State]]:
        """What can arise on a hop, with the states of the caller in which it does."""
        out: dict[Situation, list[State]] = {}
        for state in self.before_hop(hop):
            out.setdefault(self.situation(state, hop[1]), []).append(state)
        return out

    # --- hops ---

    def firing(self) -> Iterator[tuple[int, int, int]]:
        """Of a single automaton, for each cell: its letters, from which it can be reached with accepting, and from
        which without. Entry hops are apart (`fires_at_entry`)."""
        (machine,) = self.machines
        accepting = [row[0] in machine.accepting for row in self.rows]
        for i, cell in enumerate(self.cells):
            fires = quiet = 0
            for state, mask in enumerate(self.reach):
                if accepting[self.moves[state][i]]:
                    fires |= mask
                else:
                    quiet |= mask
            yield cell, fires, quiet

    def fires_at_entry(self) -> int:
        """Of a single automaton, the entries on whose hop from outside it accepts."""
        (machine,) = self.machines
        after = zip(self.moves[self.from_outside], self.cells, strict=True)
        cells = sum(cell for target, cell in after if self.rows[target][0] in machine.accepting)
        return cells & self.letters.entries

    # --- paths ---

    def path(self, hop: Hop, states: Sequence[State]) -> CallPath:
        """A shortest path over a hop whose caller is in one of some states, or, without a caller, the entry hop. Ties
        go to the first services by name, then to chains that start by themselves, then to the first versions."""
        every, letters = self.letters.all_letters, self.letters
        last = every[lowest(letters.service(hop[1]))]
        if hop[0] is None:
            return CallPath(True, (last[0],), (last[1],))
        goal = {s: self.reach[s] & letters.service(hop[0]) for s in states}
        levels = [{s: mask for s, mask in goal.items() if mask}]
        known = dict(levels[0])
        while not (starts := self._starts(levels[-1])):
            levels.append(self._into(levels[-1], known))
        found = list(self._followed(starts, levels))
        outside, way = min(found, key=lambda f: ([every[x][0] for x in f[1]], f[0], [every[x][1] or "" for x in f[1]]))
        spelled = [every[x] for x in way] + [last]
        return CallPath(outside, tuple(s for s, _ in spelled), tuple(v for _, v in spelled))

    def _starts(self, level: dict[State, int]) -> list[tuple[bool, State, int]]:
        """(from outside, state, letters) with which a chain can begin within a level."""
        out = []
        for outside, begin, chains in (
            (False, self.by_itself, self.letters.origins),
            (True, self.from_outside, self.letters.entries),
        ):
            for target, cell in zip(self.moves[begin], self.cells, strict=True):
                mask = level.get(target, 0) & cell & chains
                if mask:
                    out.append((outside, target, mask))
        return out

    def _into(self, level: dict[State, int], known: dict[State, int]) -> dict[State, int]:
        """The nodes that lead into a level and have not been met."""
        out: dict[State, int] = {}
        for state, to in enumerate(self.moves):
            mask = 0
            for target, cell in zip(to, self.cells, strict=True):
                if target in level and level[target] & cell:
                    mask |= self.letters.before(level[target] & cell)
            mask &= self.reach[state] & ~known.get(state, 0)
            if mask:
                out[state] = mask
                known[state] = known.get(state, 0) | mask
        return out

    def _followed(
        self, starts: Sequence[tuple[bool, State, int]], levels: Sequence[dict[State, int]]
    ) -> Iterator[tuple[bool, list[int]]]:
        """From each start down the levels, always over the first letters by name that lead on."""
        names = self.letters.all_letters
        begun = [(outside, state, x) for outside, state, mask in starts for x in bits(mask)]
        least = min(names[x][0] for _, _, x in begun)
        for outside in (False, True):
            paths: dict[tuple[State, int], list[int]] = {}
            for kind, state, x in begun:
                if kind == outside and names[x][0] == least:
                    paths.setdefault((state, x), [x])
            for level in reversed(levels[:-1]):
                following: dict[tuple[State, int], list[int]] = {}
                ways = [
                    (names[y][0], [names[z][1] or "" for z in way], names[y][1] or "", target, y, way)
                    for (state, x), way in paths.items()
                    for target, cell in zip(self.moves[state], self.cells, strict=True)
                    for y in bits(level.get(target, 0) & cell & self.letters.after(1 << x))
                ]
                first = min((w[0] for w in ways), default=None)
                for name, _, _, target, y, way in sorted(ways, key=lambda w: w[:3]):
                    if name == first:
                        following.setdefault((target, y), [*way, y])
                paths = following
            yield from ((outside, way) for way in paths.values())
