"""Context classes: what a request must carry, in place of its path, so that every later hop can decide.

A node is (instance, states of the automata) as reachable by some call path. Classes are the coarsest partition of the
nodes of each service in which equal nodes have, for every callee and each of its versions, an equal *label* on the hop
and an equal class behind it (partition refinement, Moore 1956). Which firings need telling apart is the label's
business: the default tells all of them. Nodes after which nothing differs any more share one class, which counts too.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeAlias

from m4c.paths.callpath import CallPath, Hop, Letter, callees
from m4c.paths.product import Arrival, JointPaths, Situation, States

Version: TypeAlias = str | None
Label: TypeAlias = Callable[[Hop, Situation], Hashable]


@dataclass(frozen=True, slots=True)
class Move:
    """What a call from one class does: its label on the hop, and the class behind it for each version of the callee.

    `to` has one (versions, class) for each group of versions that no automaton tells apart.
    """

    label: Hashable
    to: tuple[tuple[tuple[Version, ...], int], ...]

    @property
    def classes(self) -> frozenset[int]:
        return frozenset(c for _, c in self.to)


@dataclass(frozen=True, slots=True)
class Classes:
    """The context classes of one component; a class is a number that means something at its service only."""

    count: dict[str, int]  # service -> how many of its classes are reachable
    own: dict[str, frozenset[int]]  # classes in which a service starts a chain by itself, over its versions
    entry: dict[str, Move]  # an entry's hop from outside
    moves: dict[tuple[str, int], dict[str, Move]]
    witness: dict[tuple[str, int], CallPath]  # a shortest path to the class

    @property
    def split(self) -> frozenset[str]:
        """The services with two or more reachable classes: what the context exists for."""
        return frozenset(s for s, n in self.count.items() if n > 1)


def context_classes(joint: JointPaths, label: Label | None = None) -> Classes:
    """The classes of the automata of `joint`. `label` says what is to be told apart on a hop; by default, who fires."""
    tell = label or (lambda hop, situation: situation)
    to = callees(joint.graph)
    nodes, reached = _nodes(joint)
    by_service: dict[str, list[tuple[Letter, States]]] = {}
    for node in nodes:
        by_service.setdefault(node[0][0], []).append(node)

    labels: dict[tuple[Letter, States], list[Hashable]] = {}
    targets: dict[tuple[Letter, States], list[list[tuple[Letter, States]]]] = {}
    for (service, version), states in nodes:
        node = ((service, version), states)
        targets[node] = [[(x, joint.step(states, x)) for x in joint.letters(v)] for v in to[service]]
        labels[node] = [
            tell((service, v), tuple((x[1], joint.accepted(s)) for x, s in landing))
            for v, landing in zip(to[service], targets[node], strict=True)
        ]

    block: dict[tuple[Letter, States], int] = dict.fromkeys(nodes, 0)
    while True:
        changed = False
        refined: dict[tuple[Letter, States], int] = {}
        for members in by_service.values():
            numbers: dict[Hashable, int] = {}
            for node in members:
                key = (block[node], *labels[node], *(block[t] for landing in targets[node] for t in landing))
                refined[node] = numbers.setdefault(key, len(numbers))
            changed |= len(numbers) > len({block[node] for node in members})
        block = refined
        if not changed:
            break

    def move(hop: Hop, said: Hashable, landing: list[tuple[Letter, States]]) -> Move:
        return Move(said, tuple((joint.versions_like(x), block[(x, s)]) for x, s in landing))

    moves: dict[tuple[str, int], dict[str, Move]] = {}
    witness: dict[tuple[str, int], CallPath] = {}
    for node in nodes:
        service, here = node[0][0], block[node]
        if (service, here) not in moves:
            ways = zip(to[service], labels[node], targets[node], strict=True)
            moves[(service, here)] = {v: move((service, v), said, landing) for v, said, landing in ways}
            witness[(service, here)] = reached[node].path()
    own: dict[str, frozenset[int]] = {}
    entry: dict[str, Move] = {}
    for name, service_ in joint.graph.services.items():
        if service_.origin:
            own[name] = frozenset(block[(x, joint.first(x, False))] for x in joint.letters(name))
        if service_.entry:
            landing = [(x, joint.first(x, True)) for x in joint.letters(name)]
            said = tell((None, name), tuple((x[1], joint.accepted(s)) for x, s in landing))
            entry[name] = move((None, name), said, landing)
    count = {s: len({block[n] for n in members}) for s, members in by_service.items()}
    return Classes(count, own, entry, moves, witness)


def _nodes(joint: JointPaths) -> tuple[list[tuple[Letter, States]], dict[tuple[Letter, States], Arrival]]:
    """The reachable nodes, in the order of their shortest paths."""
    reached: dict[tuple[Letter, States], Arrival] = {}
    for arrival in joint.arrivals():
        reached.setdefault((arrival.letter, arrival.states), arrival)
    return list(reached), reached
