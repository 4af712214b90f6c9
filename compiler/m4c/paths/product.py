"""The product of path automata with the service graph: which patterns accept together, on which hops, by which paths.

Every search goes breadth first over (instance, states of the automata), so the graph's cycles need no bound. Within one
length, paths are met in the order of their services' names, a chain that starts by itself before one from outside.
Versions that all automata treat alike are represented by the first of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TypeAlias

from m4c.paths.callpath import CallPath, Hop, Letter, callees, instances
from m4c.paths.pattern import Dfa, accepts
from m4c.semantics.model import Graph

States: TypeAlias = tuple[int | None, ...]
Situation: TypeAlias = tuple[tuple[str | None, frozenset[int]], ...]  # per version of the callee: who accepts


class TooManyStates(Exception):
    """The product of the automata and the graph has more nodes than the caller wanted to look at."""


@dataclass(slots=True)
class Arrival:
    """One way to arrive at a node of the product; the path is the chain of `before`."""

    letter: Letter
    states: States
    outside: bool
    before: Arrival | None
    services_rank: int = 0  # among the service sequences of this length
    rank: int = 0  # among all paths of this length

    @property
    def has_hop(self) -> bool:
        return self.outside or self.before is not None

    @property
    def hop(self) -> Hop:
        return (None if self.before is None else self.before.letter[0], self.letter[0])

    def path(self) -> CallPath:
        letters: list[Letter] = []
        at: Arrival | None = self
        while at is not None:
            letters.append(at.letter)
            at = at.before
        letters.reverse()
        return CallPath(self.outside, tuple(s for s, _ in letters), tuple(v for _, v in letters))


class JointPaths:
    """Several automata read along all call paths of one graph at once.

    Patterns that do not exclude each other multiply their states. With a `limit`, a search that meets more nodes raises
    TooManyStates.
    """

    def __init__(self, graph: Graph, dfas: Sequence[Dfa], limit: int | None = None) -> None:
        self.limit = limit
        self.graph = graph
        self.dfas = tuple(dfas)
        self._callees = callees(graph)
        self._letters = {name: self._representatives(name) for name in sorted(graph.services)}

    def _representatives(self, service: str) -> list[Letter]:
        """The instances of a service, those left out that no automaton tells from an earlier one."""
        kept: dict[tuple[int, ...], Letter] = {}
        for letter in instances(self.graph.services[service]):
            kept.setdefault(tuple(dfa.column_of[letter] for dfa in self.dfas), letter)
        return list(kept.values())

    def letters(self, service: str) -> list[Letter]:
        """One instance for each group of versions that the automata treat alike."""
        return self._letters[service]

    def versions_like(self, letter: Letter) -> tuple[str | None, ...]:
        """All versions of the service that the automata do not tell from this one."""
        columns = [dfa.column_of[letter] for dfa in self.dfas]
        return tuple(
            other[1]
            for other in instances(self.graph.services[letter[0]])
            if [dfa.column_of[other] for dfa in self.dfas] == columns
        )

    def first(self, letter: Letter, outside: bool) -> States:
        """The states after a chain's first service."""
        return tuple(dfa.step(dfa.first(outside), letter) for dfa in self.dfas)

    def step(self, states: States, letter: Letter) -> States:
        return tuple(dfa.step(state, letter) for dfa, state in zip(self.dfas, states, strict=True))

    def accepted(self, states: States) -> frozenset[int]:
        """The automata that accept in these states."""
        return frozenset(i for i, s in enumerate(states) if s is not None and s in self.dfas[i].accepting)

    def firings(self, must: Sequence[int]) -> Iterator[tuple[frozenset[int], CallPath]]:
        """Each distinct set of automata that accept on one hop, all of `must` among them, with a shortest path to it.

        Entry hops count apart from others: what happens at egress does not happen there. In order of length; ties go to
        the lexicographically first services, then to chains that start by themselves.
        """
        wanted = frozenset(must)
        found: set[tuple[frozenset[int], bool]] = set()
        for arrival in self.arrivals(wanted):
            if not arrival.has_hop:
                continue
            accepting = self.accepted(arrival.states)
            kind = (accepting, arrival.before is None)
            if wanted <= accepting and kind not in found:
                found.add(kind)
                yield accepting, arrival.path()

    def situations(self, only: Collection[Hop] | None = None) -> dict[Hop, dict[Situation, CallPath]]:
        """For each hop (or for some), the situations that can arise there, each with a shortest path.

        A situation says, for each version of the callee, which automata accept if it answers: what the caller's side of
        the hop can know at best. Situations in which no version fires are included.
        """
        out: dict[Hop, dict[Situation, CallPath]] = {}
        for service, of in self.graph.services.items():
            if of.entry:
                letters = self.letters(service)
                here = tuple((x[1], self.accepted(self.first(x, True))) for x in letters)
                out[(None, service)] = {here: CallPath(True, (service,), (letters[0][1],))}
        expanded: set[tuple[str, States]] = set()
        for arrival in self.arrivals():
            caller = arrival.letter[0]
            if (caller, arrival.states) in expanded:
                continue
            expanded.add((caller, arrival.states))
            for callee in self._callees[caller]:
                if only is not None and (caller, callee) not in only:
                    continue
                letters = self.letters(callee)
                here = tuple((x[1], self.accepted(self.step(arrival.states, x))) for x in letters)
                at = out.setdefault((caller, callee), {})
                if here not in at:
                    path = arrival.path()
                    at[here] = CallPath(path.outside, (*path.services, callee), (*path.versions, letters[0][1]))
        return out

    def arrivals(self, must: frozenset[int] = frozenset()) -> Iterator[Arrival]:
        """Every edge of the reachable product, by length and order; nodes in which one of `must` is dead are left out.

        A service that has just started a chain by itself is a node of its own, for it has no hop.
        """

        def dead(states: States) -> bool:
            return any(states[i] is None for i in must)

        level: list[Arrival] = []
        for name, service in self.graph.services.items():
            for letter in self.letters(name):
                for outside, possible in ((False, service.origin), (True, service.entry)):
                    states = self.first(letter, outside)
                    if possible and not dead(states):
                        level.append(Arrival(letter, states, outside, None))
        seen: set[tuple[Letter, States, bool]] = set()
        while level:
            _rank(level)
            following: list[Arrival] = []
            for arrival in level:
                yield arrival
                node = (arrival.letter, arrival.states, arrival.has_hop)
                if node in seen:
                    continue
                seen.add(node)
                if self.limit is not None and len(seen) > self.limit:
                    raise TooManyStates
                for callee in self._callees[arrival.letter[0]]:
                    for letter in self.letters(callee):
                        states = self.step(arrival.states, letter)
                        if not dead(states):
                            following.append(Arrival(letter, states, arrival.outside, arrival))
            level = following


def _rank(level: list[Arrival]) -> None:
    """Sort the arrivals of one length by (services, outside, versions) and number them."""

    def services(a: Arrival) -> tuple[int, str]:
        return (a.before.services_rank if a.before else 0, a.letter[0])

    level.sort(key=lambda a: (*services(a), a.outside, a.before.rank if a.before else 0, a.letter[1] or ""))
    keys = [services(a) for a in level]
    rank = 0
    for i, arrival in enumerate(level):
        rank += i > 0 and keys[i] != keys[i - 1]
        arrival.services_rank, arrival.rank = rank, i


def matching_hops(dfa: Dfa, graph: Graph) -> list[tuple[Hop, CallPath]]:
    """The hops on which a pattern fires, each with a shortest path to it; the shortest paths first."""
    joint = JointPaths(graph, [dfa])
    found: dict[Hop, CallPath] = {}
    for arrival in joint.arrivals(frozenset((0,))):
        if arrival.has_hop and arrival.hop not in found and joint.accepted(arrival.states):
            found[arrival.hop] = arrival.path()
    return list(found.items())


# --- counting and listing: sequences of services, whatever versions answer --------------------------------------------

_Node: TypeAlias = tuple[str, frozenset[int]]  # a service, and the states that its versions and those before allow


def _projected(dfa: Dfa, graph: Graph) -> tuple[list[tuple[_Node, bool]], Callable[[_Node], list[_Node]]]:
    """The product without versions: starts as (node, from outside), and each node's live successors by service."""
    to = callees(graph)

    def after(states: Iterable[int | None], service: str) -> frozenset[int]:
        letters = instances(graph.services[service])
        reached = {dfa.step(state, letter) for state in states for letter in letters}
        return frozenset(s for s in reached if s is not None)

    @cache
    def following(node: _Node) -> list[_Node]:
        return [(v, states) for v in to[node[0]] if (states := after(node[1], v))]

    starts = [
        ((name, states), outside)
        for name in sorted(graph.services)
        for outside, possible in ((False, graph.services[name].origin), (True, graph.services[name].entry))
        if possible and (states := after((dfa.first(outside),), name))
    ]
    return starts, following


def _reached(starts: list[tuple[_Node, bool]], following: Callable[[_Node], list[_Node]]) -> list[_Node]:
    order = dict.fromkeys(node for node, _ in starts)
    for node in (queue := list(order)):
        for target in following(node):
            if target not in order:
                order[target] = None
                queue.append(target)
    return list(order)


def count_paths(dfa: Dfa, graph: Graph) -> int | None:
    """How many call paths a pattern matches, told apart by their services and origin; None if infinitely many."""
    starts, following = _projected(dfa, graph)
    order = _reached(starts, following)
    before: dict[_Node, list[_Node]] = {node: [] for node in order}
    for node in order:
        for target in following(node):
            before[target].append(node)
    useful = {node for node in order if node[1] & dfa.accepting}
    queue = list(useful)
    for node in queue:
        for source in before[node]:
            if source not in useful:
                useful.add(source)
                queue.append(source)

    waiting = {node: sum(t in useful for t in following(node)) for node in order if node in useful}
    count: dict[_Node, int] = {}  # of the accepted continuations of a node, the empty one included
    ready = [node for node, open_targets in waiting.items() if not open_targets]
    for node in ready:  # from the ends to the starts; a cycle never becomes ready
        count[node] = bool(node[1] & dfa.accepting) + sum(count[t] for t in following(node) if t in useful)
        for source in before[node]:
            if source in waiting:
                waiting[source] -= 1
                if not waiting[source]:
                    ready.append(source)
    if len(count) < len(waiting):
        return None
    # A chain that starts by itself has no hop at its first service, so nothing is matched there.
    return sum(count[n] - (not outside and bool(n[1] & dfa.accepting)) for n, outside in starts if n in count)


def some_paths(dfa: Dfa, graph: Graph, limit: int) -> list[CallPath]:
    """Up to `limit` call paths that a pattern matches, the shortest first, told apart by their services and origin."""
    starts, following = _projected(dfa, graph)

    order = _reached(starts, following)
    ends = [{node for node in order if node[1] & dfa.accepting}]  # ends[n]: nodes with an accepted path of n more hops

    def of_length(node: _Node, more: int) -> Iterator[tuple[str, ...]]:
        """The continuations with exactly `more` hops, by name; an explicit stack, for paths may be long."""
        stack: list[tuple[_Node, tuple[str, ...]]] = [(node, (node[0],))]
        while stack:
            at, services = stack.pop()
            left = more - len(services) + 1
            if not left:
                yield services
                continue
            stack.extend((t, (*services, t[0])) for t in reversed(following(at)) if t in ends[left - 1])

    total = count_paths(dfa, graph)
    limit = limit if total is None else min(limit, total)
    found: list[CallPath] = []
    more = 0
    while len(found) < limit:

        def tagged(node: _Node, outside: bool, more: int = more) -> Iterator[tuple[tuple[str, ...], bool]]:
            return ((services, outside) for services in of_length(node, more))

        here = [tagged(node, outside) for node, outside in starts if (more or outside) and node in ends[more]]
        for services, outside in islice(heapq.merge(*here), limit - len(found)):
            found.append(_with_versions(dfa, graph, outside, services))
        ends.append({node for node in order if any(t in ends[more] for t in following(node))})
        more += 1
    return found


def _with_versions(dfa: Dfa, graph: Graph, outside: bool, services: tuple[str, ...]) -> CallPath:
    """The first choice of versions with which the pattern matches these services."""
    choices: dict[int | None, tuple[str | None, ...]] = {dfa.first(outside): ()}
    for service in services:
        after: dict[int | None, tuple[str | None, ...]] = {}
        for state, versions in choices.items():  # in the order of the versions chosen, so the first to arrive is first
            for letter in instances(graph.services[service]):
                reached = dfa.step(state, letter)
                if reached is not None:
                    after.setdefault(reached, (*versions, letter[1]))
        choices = after
    paths = (CallPath(outside, services, versions) for versions in choices.values())
    return next(path for path in paths if accepts(dfa, path))
