"""Context classes: what a request must carry, in place of its path, so that every later hop can decide.

A node is (instance, state) as reachable by some call path (`spread`). Classes are the coarsest partition of the nodes
of each service in which equal nodes have, for every callee and each of its versions, an equal *label* on the hop and
an equal class behind it. Which firings need telling apart is the label's business. Nodes after which nothing differs
any more share one class, which counts too.

Few states: two of them are told apart at a set of letters, which grows backwards over the calls from where their labels
differ. Many: partition refinement (Moore 1956), node by node.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from m4c.paths.callpath import Hop
from m4c.paths.machine import cut
from m4c.paths.marked import MarkedSpread
from m4c.paths.masks import bits
from m4c.paths.spread import Spread, State
from m4c.semantics.model import AttrKey

Labels: TypeAlias = Mapping[Hop, Mapping[State, Hashable]]
"""What is told apart: for hops, something for each state of the caller. Hops that are left out tell nothing apart."""

Seen: TypeAlias = Mapping[Hop, frozenset[AttrKey]]
"""The marks of which whoever updates the tag on a hop knows whether the hop wrote them."""

_FEW = 48  # states that are compared two by two


@dataclass(slots=True)
class Classes:
    """The context classes of one component; a class is a number that means something at its service only. `of` has the
    services with two or more classes: what the context exists for."""

    spread: Spread
    of: dict[str, dict[State, int]]
    _mask: int | None = field(default=None)

    @property
    def split(self) -> frozenset[str]:
        return frozenset(self.of)

    @property
    def split_letters(self) -> int:
        """The letters of the services with several classes."""
        if self._mask is None:
            self._mask = 0
            for service in self.of:
                self._mask |= self.spread.letters.service(service)
        return self._mask

    def at(self, service: str, state: State) -> int:
        """The class of a node."""
        found = self.of.get(service)
        return 0 if found is None else found[state]

    def count(self, service: str) -> int:
        found = self.of.get(service)
        return 1 if found is None else 1 + max(found.values())

    def behind(self, hop: Hop, state: State) -> frozenset[int]:
        """The classes of the callee, over its versions, behind a hop whose caller is in a state."""
        return frozenset(self.at(hop[1], self.spread.moves[state][cell]) for _, cell in self.spread.landings(hop[1]))

    def lands_apart(self, service: str, entry: bool) -> bool:
        """Whether on some hop the class behind it depends on the version of a service that answers. `entry`: there is
        a hop from outside too."""
        spread, letters = self.spread, self.spread.letters
        if len(spread.landings(service)) == 1:
            return False
        before = [spread.from_outside] if entry else []
        before += spread.states_at(letters.before(letters.service(service)))
        outcomes = len(spread.outcomes) if isinstance(spread, MarkedSpread) else 1
        for state in before:
            found: dict[int, set[int]] = {}
            for _, cell in spread.landings(service):
                found.setdefault(cell % outcomes, set()).add(self.at(service, spread.moves[state][cell]))
            if any(len(classes) > 1 for classes in found.values()):
                return True
        return False

    def clash(self, reach: Mapping[State, int]) -> bool:
        """Whether the letters that are reached in some states lie in two classes of a service."""
        letters = self.spread.letters
        states = [(s, letters.whole(mask & self.split_letters)) for s, mask in reach.items()]
        for i, (s, mine) in enumerate(states):
            for t, other in states[i + 1 :]:
                for x in bits(mine & other):
                    of = self.of[letters.all_letters[x][0]]
                    if of[s] != of[t]:
                        return True
        return False

    def own(self, service: str) -> frozenset[int]:
        """The classes in which a service starts chains by itself, over its versions."""
        return self.behind((None, service), self.spread.by_itself)


def context_classes(spread: Spread, labels: Labels, seen: Seen | None = None) -> Classes:
    """The classes that tell apart what the labels tell apart."""
    if isinstance(spread, MarkedSpread):
        return Classes(spread, _marked(spread, labels, seen or {}))
    present = [s for s, mask in enumerate(spread.reach) if mask]
    if not labels or len(present) < 2:
        return Classes(spread, {})
    if len(present) > _FEW:
        return Classes(spread, _refined(spread, labels))
    apart = _apart(spread, labels, present)
    split = 0
    for mask in apart.values():
        split |= mask
    letters = spread.letters
    reached = {s: letters.whole(spread.reach[s]) for s in present}
    of: dict[str, dict[State, int]] = {}  # services with the same classes share them
    for alike in cut([split] if split else [], [*reached.values(), *apart.values()]):
        here = alike & -alike
        classes: dict[State, int] = {}
        firsts: list[State] = []
        for state in present:
            if not reached[state] & here:
                continue
            for number, first in enumerate(firsts):
                if not apart.get((first, state), 0) & here:
                    classes[state] = number
                    break
            else:
                classes[state] = len(firsts)
                firsts.append(state)
        of.update(dict.fromkeys(letters.services(alike), classes))
    return Classes(spread, {service: of[service] for service in sorted(of)}, split)


def _apart(spread: Spread, labels: Labels, present: list[State]) -> dict[tuple[State, State], int]:
    """For two states, the letters at whose services some continuation tells them apart. Whole services, and only those
    at which paths can be in both states."""
    letters = spread.letters
    whole = {s: letters.whole(spread.reach[s]) for s in present}
    both = {(s, t): whole[s] & whole[t] for i, s in enumerate(present) for t in present[i + 1 :]}
    both = {pair: mask for pair, mask in both.items() if mask}
    fresh: dict[tuple[State, State], int] = {}
    for (caller, _), by_state in labels.items():
        if caller is None:
            continue
        here = letters.service(caller)
        for (s, t), mask in both.items():
            if mask & here and by_state.get(s) != by_state.get(t):
                fresh[s, t] = fresh.get((s, t), 0) | here
    sources: dict[tuple[State, State], list[tuple[tuple[State, State], int]]] = {}
    for s, t in both:
        for a, b, cell in zip(spread.moves[s], spread.moves[t], spread.cells, strict=True):
            if a != b:
                sources.setdefault((a, b) if a < b else (b, a), []).append(((s, t), cell))
    apart: dict[tuple[State, State], int] = {}
    while fresh:
        pair, mask = fresh.popitem()
        mask &= ~apart.get(pair, 0)
        if not mask:
            continue
        apart[pair] = apart.get(pair, 0) | mask
        for before, cell in sources.get(pair, ()):
            landed = mask & cell
            if landed:
                new = letters.before(landed) & both[before] & ~apart.get(before, 0)
                if new:
                    fresh[before] = fresh.get(before, 0) | new
    return apart


def _nodes(spread: Spread, labels: Labels) -> tuple[dict[str, list[State]], dict[str, list[Mapping[State, Hashable]]]]:
    """The states that are reached at each service, and what its hops onward tell apart."""
    letters = spread.letters
    at: dict[str, list[State]] = {}
    for service in letters.graph.services:
        here = letters.service(service)
        states = [s for s, mask in enumerate(spread.reach) if mask & here]
        if states:
            at[service] = states
    told: dict[str, list[Mapping[State, Hashable]]] = {}
    for (caller, _), by_state in labels.items():
        if caller is not None:
            told.setdefault(caller, []).append(by_state)
    return at, told


def _refined(spread: Spread, labels: Labels) -> dict[str, dict[State, int]]:
    """Partition refinement, service by service, until nothing changes."""
    letters = spread.letters
    at, told = _nodes(spread, labels)
    to = {u: [(v, cell) for v in letters.to[u] for _, cell in spread.landings(v)] for u in at}
    block = {u: dict.fromkeys(states, 0) for u, states in at.items()}
    changed = True
    while changed:
        changed = False
        refined: dict[str, dict[State, int]] = {}
        for u, states in at.items():
            numbers: dict[Hashable, int] = {}
            found = {}
            for s in states:
                moves = spread.moves[s]
                seen = tuple(by_state.get(s) for by_state in told.get(u, ()))
                key = (block[u][s], seen, tuple(block[v][moves[cell]] for v, cell in to[u]))
                found[s] = numbers.setdefault(key, len(numbers))
            changed |= len(numbers) > len(set(block[u].values()))
            refined[u] = found
        block = refined
    return {u: found for u, found in block.items() if max(found.values())}


def _marked(spread: MarkedSpread, labels: Labels, seen: Seen) -> dict[str, dict[State, int]]:
    """Partition refinement where chains carry marks. Behind a hop, equal nodes have the same classes for the same of
    what is seen there; what cannot be seen in one of them it would do as any other that carries what is written."""
    letters, outcomes = spread.letters, spread.outcomes
    at, told = _nodes(spread, labels)
    # [caller][state]: for each callee, plain cell and what is seen, (the callee, the states behind)
    behind: dict[str, dict[State, list[tuple[str, frozenset[State]]]]] = {u: {s: [] for s in at[u]} for u in at}
    for u, states in at.items():
        for v in letters.to[u]:
            looked = [i for i, attr in enumerate(spread.marks) if attr in seen.get((u, v), ())]
            for plain in spread.plain_cells(v):
                cases = dict.fromkeys(
                    tuple(outcomes[o][i] for i in looked) for s in states for o in spread.can[s][plain]
                )
                for s in states:
                    for case in cases:
                        behind[u][s].append((v, frozenset(spread.behind(s, v, plain, looked, case))))
    block = {u: dict.fromkeys(states, 0) for u, states in at.items()}
    changed = True
    while changed:
        changed = False
        refined: dict[str, dict[State, int]] = {}
        for u, states in at.items():
            numbers: dict[Hashable, int] = {}
            found = {}
            for s in states:
                said = tuple(by_state.get(s) for by_state in told.get(u, ()))
                key = (block[u][s], said, tuple(frozenset(block[v][t] for t in to) for v, to in behind[u][s]))
                found[s] = numbers.setdefault(key, len(numbers))
            changed |= len(numbers) > len(set(block[u].values()))
            refined[u] = found
        block = refined
    return {u: found for u, found in block.items() if max(found.values())}
