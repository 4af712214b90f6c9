"""Path patterns as minimal automata over sets of letters: as `pattern`, but a column is a bit set, not a list of
letters.

A set of letters is an integer (`masks`). The steps of a pattern cut the letters into *cells* that every step treats
alike; the subset construction and Moore's minimisation go over cells. State 0 is the dead one: from it nothing is
accepted. Automata are numbered canonically, so two patterns that mean the same on a graph have equal ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from m4c.paths.masks import Letters
from m4c.semantics.model import Pattern

DEAD = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """`cells` are disjoint and hold all letters, by their lowest; `delta` is [state][cell]."""

    cells: tuple[int, ...]
    delta: tuple[tuple[int, ...], ...]
    accepting: frozenset[int]
    start: int  # before the first letter of a chain that starts by itself
    outside: int  # before the first letter of one from outside


def cut(cells: Sequence[int], masks: Iterable[int]) -> list[int]:
    """Disjoint sets, each taken apart so that it lies within or without each of some masks."""
    out = list(cells)
    for mask in masks:
        out = [part for cell in out for part in (cell & mask, cell & ~mask) if part]
    return out


def lowest(mask: int) -> int:
    """The number of the first letter of a set."""
    return (mask & -mask).bit_length() - 1


def machine(pattern: Pattern, letters: Letters) -> Machine:
    """The minimal automaton of a pattern over the letters of a graph. Unknown names match nothing."""
    steps = letters.shape(pattern).steps
    everything = letters.everything
    cells = cut([everything], {mask & everything for mask, _ in steps}) if everything else []
    cells.sort(key=lowest)
    rows, final = _subsets(steps, cells)
    return _minimal(cells, rows, final, pattern.outside)


def _subsets(steps: Sequence[tuple[int, bool]], cells: Sequence[int]) -> tuple[list[list[int]], list[bool]]:
    """The subset construction over sets of positions; state 0 is the start."""
    last = len(steps)

    def closed(positions: int) -> int:
        for i, (_, star) in enumerate(steps):
            if star and positions >> i & 1:
                positions |= 1 << (i + 1)
        return positions

    takes = [[i for i, (mask, _) in enumerate(steps) if mask & cell] for cell in cells]
    first = closed(1)
    number = {first: 0}
    order = [first]
    rows: list[list[int]] = []
    for positions in order:  # grows while it is walked
        row = []
        for taken in takes:
            after = 0
            for i in taken:
                if positions >> i & 1:
                    after |= 1 << (i if steps[i][1] else i + 1)
            after = closed(after)
            if after not in number:
                number[after] = len(order)
                order.append(after)
            row.append(number[after])
        rows.append(row)
    return rows, [bool(p >> last & 1) for p in order]


def _minimal(cells: list[int], rows: list[list[int]], final: list[bool], outside_only: bool) -> Machine:
    block = [int(f) for f in final]
    count = len(set(block))
    while True:  # Moore: split blocks by where their states lead until nothing changes
        numbers: dict[tuple[int, ...], int] = {}
        refined = [numbers.setdefault((block[s], *(block[t] for t in row)), len(numbers)) for s, row in enumerate(rows)]
        if len(numbers) == count:
            break
        block, count = refined, len(numbers)
    of_block = {b: s for s, b in reversed(list(enumerate(block)))}
    moves = {b: [block[t] for t in rows[s]] for b, s in of_block.items()}
    live = {block[s] for s, f in enumerate(final) if f}
    grown = True
    while grown:
        grown = False
        for b, to in moves.items():
            if b not in live and any(t in live for t in to):
                live.add(b)
                grown = True
    accepting = {block[s] for s, f in enumerate(final) if f}
    # Cells that lead to the same from everywhere are one; states are numbered as they are found from the start.
    merged: dict[tuple[int, ...], int] = {}
    for i, cell in enumerate(cells):
        column = tuple(to[i] if to[i] in live else -1 for b, to in moves.items() if b in live)
        merged[column] = merged.get(column, 0) | cell
    kept = sorted(merged.values(), key=lowest)
    at = [next(i for i, cell in enumerate(cells) if cell & mask) for mask in kept]
    number = {block[0]: 1} if block[0] in live else {}
    delta: list[tuple[int, ...]] = [(DEAD,) * len(kept)]
    for b in (queue := list(number)):
        row = []
        for i in at:
            target = moves[b][i]
            if target not in live:
                row.append(DEAD)
                continue
            if target not in number:
                number[target] = len(number) + 1
                queue.append(target)
            row.append(number[target])
        delta.append(tuple(row))
    start = 1 if number else DEAD
    return Machine(
        tuple(kept),
        tuple(delta),
        frozenset(number[b] for b in accepting if b in number),
        DEAD if outside_only else start,
        start,
    )
