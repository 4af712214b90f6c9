"""Path patterns as minimal deterministic automata over the letters of one graph.

A pattern of n steps is a non-deterministic automaton with the n + 1 positions between its steps; the subset
construction over bit sets of positions, with letters that every step treats alike as one column, and Moore's
minimisation give the automaton. It is numbered canonically, so two patterns that mean the same on a graph have equal
automata.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from m4c.paths.callpath import CallPath, Letter, alphabet
from m4c.semantics.model import AnyOne, Graph, GroupOf, Labelled, Named, NotOne, One, OneOf, Pattern


@dataclass(frozen=True, slots=True)
class Dfa:
    """A minimal automaton. A state is a number; None stands for the dead state, from which nothing is accepted.

    `start` is the state before the first service of a chain that starts by itself, `outside` that of a chain which came
    from outside. `columns` gives, for each letter of `letters`, its column in a row of `delta`.
    """

    letters: tuple[Letter, ...]
    columns: tuple[int, ...]
    delta: tuple[tuple[int | None, ...], ...]  # [state][column]
    accepting: frozenset[int]
    start: int | None
    outside: int | None
    column_of: dict[Letter, int] = field(compare=False, repr=False)

    def step(self, state: int | None, letter: Letter) -> int | None:
        """The state after one more letter. Letters that the graph lacks lead nowhere."""
        if state is None:
            return None
        column = self.column_of.get(letter)
        return None if column is None else self.delta[state][column]

    def first(self, outside: bool) -> int | None:
        return self.outside if outside else self.start

    @property
    def empty(self) -> bool:
        """No word at all is accepted, whatever calls the graph has."""
        return not self.delta


def compile_pattern(pattern: Pattern, graph: Graph) -> Dfa:
    """The minimal automaton of a pattern over the letters of a graph. Unknown names match nothing."""
    letters = alphabet(graph)
    steps = [(_matcher(step.one, graph), step.star) for step in pattern.steps]
    signatures = [tuple(matches(letter) for matches, _ in steps) for letter in letters]
    columns = sorted(set(signatures))
    rows, accepting = _subsets([star for _, star in steps], columns)
    column = {signature: i for i, signature in enumerate(columns)}
    return _minimal(letters, [column[s] for s in signatures], rows, accepting, pattern.outside)


def accepts(dfa: Dfa, path: CallPath) -> bool:
    """Does the pattern match the path up to its last hop? A path without a hop is matched by none."""
    if not path.has_hop:
        return False
    state = dfa.first(path.outside)
    for letter in path.letters:
        state = dfa.step(state, letter)
    return state is not None and state in dfa.accepting


def _matcher(one: One, graph: Graph) -> Callable[[Letter], bool]:
    match one:
        case Named(service, None):
            return lambda letter: letter[0] == service
        case Named(service, version):
            return lambda letter: letter == (service, version)
        case AnyOne():
            return lambda letter: True
        case Labelled(labels):
            wanted = set(labels)
            return lambda letter: wanted <= set(graph.services[letter[0]].labels)
        case GroupOf(_, members):
            names = set(members)
            return lambda letter: letter[0] in names
        case OneOf(parts):
            tests = [_matcher(part, graph) for part in parts]
            return lambda letter: any(test(letter) for test in tests)
        case NotOne(part):
            inner = _matcher(part, graph)
            return lambda letter: not inner(letter)


def _subsets(stars: list[bool], columns: list[tuple[bool, ...]]) -> tuple[list[list[int]], set[int]]:
    """The subset construction: rows of next states by column, and the accepting states. State 0 is the start."""

    def closed(positions: int) -> int:
        for i, star in enumerate(stars):
            if star and positions >> i & 1:
                positions |= 1 << (i + 1)
        return positions

    first = closed(1)
    number = {first: 0}
    order = [first]
    rows: list[list[int]] = []
    for positions in order:  # grows while it is walked
        row = []
        for column in columns:
            after = 0
            for i, star in enumerate(stars):
                if positions >> i & 1 and column[i]:
                    after |= 1 << (i if star else i + 1)
            after = closed(after)
            if after not in number:
                number[after] = len(order)
                order.append(after)
            row.append(number[after])
        rows.append(row)
    return rows, {number[p] for p in order if p >> len(stars) & 1}


def _minimal(
    letters: tuple[Letter, ...], columns: list[int], rows: list[list[int]], accepting: set[int], outside_only: bool
) -> Dfa:
    block = [int(s in accepting) for s in range(len(rows))]
    while True:  # Moore: split blocks by where their states lead until nothing changes
        keys = [(block[s], *(block[t] for t in row)) for s, row in enumerate(rows)]
        numbers = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        refined = [numbers[key] for key in keys]
        if len(numbers) == len(set(block)):
            break
        block = refined
    of_block = {b: s for s, b in reversed(list(enumerate(block)))}
    live = _live(rows, accepting)

    order: dict[int, int] = {}  # live blocks in the order in which they are found from the start, by the letters' order
    delta: list[list[int | None]] = []
    if block[0] in {block[s] for s in live}:
        order[block[0]] = 0
        for b in (queue := [block[0]]):
            row: list[int | None] = []
            for column in columns:
                target = rows[of_block[b]][column]
                if target not in live:
                    row.append(None)
                    continue
                if block[target] not in order:
                    order[block[target]] = len(order)
                    queue.append(block[target])
                row.append(order[block[target]])
            delta.append(row)
    merged = list(zip(*delta, strict=True)) if delta else [() for _ in letters]  # letters with equal columns are one
    distinct = list(dict.fromkeys(merged))
    final = tuple(distinct.index(column) for column in merged)
    start = 0 if delta else None
    return Dfa(
        letters=letters,
        columns=final,
        delta=tuple(zip(*distinct, strict=True)) if delta else (),
        accepting=frozenset(order[block[s]] for s in accepting if block[s] in order),
        start=None if outside_only else start,
        outside=start,
        column_of=dict(zip(letters, final, strict=True)),
    )


def _live(rows: Sequence[Sequence[int]], accepting: set[int]) -> set[int]:
    """The states from which an accepting one can be reached."""
    live = set(accepting)
    grown = True
    while grown:
        grown = False
        for s, row in enumerate(rows):
            if s not in live and any(t in live for t in row):
                live.add(s)
                grown = True
    return live
