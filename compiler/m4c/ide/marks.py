"""Where what travels is written, where later hops ask for it, and along which hops it goes from the ones to the others:
by the call paths of the graph alone, whatever the conditions of the policies are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from m4c.db import Database
from m4c.ide.reach import letters
from m4c.paths.callpath import Hop
from m4c.paths.machine import Machine, machine
from m4c.paths.masks import Letters, bits
from m4c.semantics.model import Policy

MOST_PAIRS = 16  # of a policy that writes and one that asks
MOST_NODES = 20_000  # of one pair: some tenths of a second


@dataclass(slots=True)
class Life:
    """Hops, in the order in which chains come to them. `known`: the graph was not too large to look at all."""

    written: dict[Hop, None] = field(default_factory=dict)
    carried: dict[Hop, None] = field(default_factory=dict)
    asked: dict[Hop, None] = field(default_factory=dict)
    known: bool = True


@dataclass(frozen=True, slots=True)
class _Node:
    """Where a chain can be: its last letter, the states of the two automata, whether the policy that writes has fired
    on some hop of it."""

    letter: int
    writing: int
    asking: int
    marked: bool


def life(db: Database, mesh: str, writers: Iterable[Policy], readers: Iterable[Policy]) -> Life:
    """Where something lives that these policies write and those ask for."""
    found = Life()
    graph = letters(db, mesh)
    pairs = [(w, r) for r in readers for w in writers]
    found.known = len(pairs) <= MOST_PAIRS
    for w, r in pairs[:MOST_PAIRS]:
        _Walk(graph, machine(w.pattern, graph), machine(r.pattern, graph), found).walk()
    return found


class _Walk:
    """Follows every chain for one policy that writes and one that asks."""

    def __init__(self, graph: Letters, writes: Machine, asks: Machine, found: Life) -> None:
        self.graph = graph
        self.writes, self.asks = writes, asks
        self.found = found
        self.cells = {m: [0] * len(graph.all_letters) for m in (writes, asks)}
        for m, of in self.cells.items():
            for number, cell in enumerate(m.cells):
                for i in bits(cell):
                    of[i] = number

    def walk(self) -> None:
        level = list(dict.fromkeys(self._begun()))
        seen = set(level)
        into: dict[_Node, list[_Node]] = {}  # over hops on which it is carried
        passed: dict[Hop, None] = {}  # in the order in which chains come there
        asked: list[tuple[_Node, _Node]] = []
        while level and len(seen) <= MOST_NODES:
            following: list[_Node] = []
            for node in level:
                for i in bits(self.graph.after(1 << node.letter)):
                    after = self._step(node, i)
                    if node.marked:
                        passed[self._hop(node, after)] = None
                        into.setdefault(after, []).append(node)
                        if after.asking in self.asks.accepting:
                            asked.append((node, after))
                    if after not in seen:
                        seen.add(after)
                        following.append(after)
            level = following
        self.found.known &= not level
        asking = {self._hop(*ends) for ends in asked}
        live = self._leading(asked, into)
        self.found.asked.update((hop, None) for hop in passed if hop in asking)
        self.found.carried.update((hop, None) for hop in passed if hop in live)

    def _begun(self) -> Iterator[_Node]:
        """The chains that have just begun: without a hop, or with the one from outside."""
        for i in bits(self.graph.origins):
            yield self._at(self.writes.start, self.asks.start, i, False)
        for i in bits(self.graph.entries):
            node = self._at(self.writes.outside, self.asks.outside, i, False)
            fired = node.writing in self.writes.accepting
            if fired:
                self.found.written[None, self._name(i)] = None
            yield _Node(i, node.writing, node.asking, fired)

    def _at(self, writing: int, asking: int, letter: int, marked: bool) -> _Node:
        of = self.cells
        to = self.writes.delta[writing][of[self.writes][letter]], self.asks.delta[asking][of[self.asks][letter]]
        return _Node(letter, *to, marked)

    def _step(self, node: _Node, letter: int) -> _Node:
        after = self._at(node.writing, node.asking, letter, node.marked)
        if after.writing in self.writes.accepting:
            self.found.written[self._name(node.letter), self._name(letter)] = None
            return _Node(letter, after.writing, after.asking, True)
        return after

    def _leading(self, asked: list[tuple[_Node, _Node]], into: dict[_Node, list[_Node]]) -> set[Hop]:
        """The hops from where it is written to where it is asked for."""
        found = {self._hop(before, after) for before, after in asked}
        waiting = [before for before, _ in asked]
        seen: set[_Node] = set()
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                found |= {self._hop(before, node) for before in into.get(node, ())}
                waiting += into.get(node, ())
        return found

    def _hop(self, before: _Node, after: _Node) -> Hop:
        return self._name(before.letter), self._name(after.letter)

    def _name(self, letter: int) -> str:
        return self.graph.all_letters[letter][0]
