"""Tag values: small numbers in place of call paths.

First every update gets a value of its own for (callee, classes there), and, where somebody behind the update still
decides on the hop itself, for what happens on it; 0 stays what it is, no tag. Values that mean different things at some
service, or on some hop, differ; all others may share a number, given out greedily in the order in which the values are
found. One element updates each hop: the last of the callee's side, so that everyone on the hop still reads the tag with
which the request left the caller; if there is none, the last of the caller's side. A hop behind which nobody looks at
the tag before it is updated again is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from m4c.paths.callpath import Hop, callees, instances
from m4c.paths.classes import Move, Version
from m4c.placement.feasible import silent_hops
from m4c.placement.model import Candidate, Position, Problem
from m4c.placement.rules import Effect

NODE_LIMIT = 200_000  # (service, classes, value) that are looked at before the context counts as too large

Vector: TypeAlias = tuple[int, ...]  # the class of each component at one service
Key: TypeAlias = tuple[object, ...]  # a value before it has a number
_Arrive: TypeAlias = Callable[[str, Vector, Key], None]

ZERO: Key = ("no tag",)
ANY: Key = ("whatever comes from outside",)


class TooManyTags(Exception):
    """More joint context than fits: too many values, or too many to look at."""


@dataclass(frozen=True, slots=True)
class Update:
    """What becomes of a tag: `map` has (old tags, new tag); any other becomes `otherwise`, or with None stays."""

    map: tuple[tuple[tuple[int, ...], int], ...]
    otherwise: int | None


@dataclass(frozen=True, slots=True)
class Table:
    """What an element makes of the tag on one hop: an update, or one for each version of the callee that answers."""

    hop: Hop
    position: Position
    updates: tuple[tuple[tuple[Version, ...] | None, Update], ...]  # None: whatever version answers


@dataclass(frozen=True, slots=True)
class Tagging:
    bits: int
    tables: tuple[Table, ...]  # by hop
    meaning: Mapping[int, tuple[tuple[tuple[int, ...], Effect], ...]]
    """For each contextual rule: the tags that its position sees, grouped by what the rule does then."""


@dataclass(slots=True)
class _Flow:
    """Every way in which values travel: what leaves a caller on a hop, with its classes, and what arrives instead."""

    leaving: dict[Hop, dict[tuple[Key, Vector], dict[Version, Key]]] = field(default_factory=dict)
    held: dict[str, dict[Key, set[Vector]]] = field(default_factory=dict)  # what a service sends along, and its meaning
    order: dict[Key, None] = field(default_factory=dict)


def assign(problem: Problem, chosen: Collection[Candidate], at: Mapping[int, Position]) -> Tagging:
    """The tag functions of chosen elements that are feasible, with each rule at its position. Raises TooManyTags."""
    return _Assignment(problem, chosen, at).run()


class _Assignment:
    def __init__(self, problem: Problem, chosen: Collection[Candidate], at: Mapping[int, Position]) -> None:
        self.problem = problem
        self.graph = problem.program.graph
        self.at = at
        self.classes = [component.classes for component in problem.components]
        self.component_of = {r: i for i, c in enumerate(problem.components) for r in c.rules}
        self.elements = set(chosen)
        self.updaters: dict[Hop, Position | None] = {}
        self.unconcerned = self._unconcerned(chosen)
        self.flow = _Flow()

    def run(self) -> Tagging:
        if not self.classes:
            return Tagging(0, (), {})
        self._explore()
        self._check()
        number = self._numbers()
        tables = [t for hop in self.flow.leaving if (t := self._table(hop, number)) is not None]
        tables.sort(key=lambda t: (t.hop[0] or "", t.hop[1]))
        meaning = {r: self._meaning(r, number) for r in self.component_of}
        return Tagging(max(number.values()).bit_length(), tuple(tables), meaning)

    # --- how values travel ---

    def updater(self, hop: Hop) -> Position | None:
        if hop not in self.updaters:
            able = (
                []
                if hop[1] in self.unconcerned
                else [
                    p
                    for p in self.problem.all_positions(hop)
                    if p.at in self.elements and self.problem.updates(p.at, p.side)
                ]
            )
            self.updaters[hop] = max(able, default=None)
        return self.updaters[hop]

    def _unconcerned(self, chosen: Collection[Candidate]) -> set[str]:
        """The services behind which nobody looks at the tag before it is updated again: it can stay as it is there."""
        split = set().union(*(c.split for c in self.classes))
        silent = silent_hops(self.problem, chosen)
        grown = True
        while grown:
            before = {u for u, v in silent if u is not None and v in split} - split
            split |= before
            grown = bool(before)
        return set(self.graph.services) - split

    def _explore(self) -> None:
        to = callees(self.graph)
        nodes: dict[tuple[str, Vector, Key], None] = {}
        queue: list[tuple[str, Vector, Key]] = []
        self.flow.order[ZERO] = None

        def arrive(service: str, vector: Vector, key: Key) -> None:
            self.flow.order.setdefault(key)
            if not self.graph.services[service].propagates:
                key = ZERO
            self.flow.held.setdefault(service, {}).setdefault(key, set()).add(vector)
            if (service, vector, key) not in nodes:
                nodes[service, vector, key] = None
                queue.append((service, vector, key))
                if len(nodes) > NODE_LIMIT:
                    raise TooManyTags

        for name, service in self.graph.services.items():
            if service.origin:
                arrive(name, tuple(next(iter(c.own[name])) for c in self.classes), ZERO)
            if service.entry:
                moves = [c.entry[name] for c in self.classes]
                self._pass((None, name), ZERO if service.trusted else ANY, (), moves, arrive)
        for caller, vector, key in queue:
            for callee in to[caller]:
                moves = [c.moves[caller, k][callee] for c, k in zip(self.classes, vector, strict=True)]
                self._pass((caller, callee), key, vector, moves, arrive)

    def _pass(self, hop: Hop, key: Key, vector: Vector, moves: list[Move], arrive: _Arrive) -> None:
        """One request over one hop: what it carries there, for each version of the callee."""
        updater = self.updater(hop)
        became = self.flow.leaving.setdefault(hop, {}).setdefault((key, vector), {})
        for _, version in instances(self.graph.services[hop[1]]):
            behind = tuple(next(c for versions, c in m.to if version in versions) for m in moves)
            new = key
            if updater is not None:
                new = (hop[1], behind, self._still_open(hop, updater, moves))
            became[version] = new
            arrive(hop[1], behind, new)

    def _still_open(self, hop: Hop, updater: Position, moves: list[Move]) -> tuple[object, ...]:
        """What rules behind the update do on the hop; they have to read it off the new tag."""
        out: list[object] = []
        for i, move in enumerate(moves):
            if isinstance(move.label, tuple):
                out += [(r, e) for r, e in move.label if self.component_of[r] == i and self._behind(r, updater)]
        return tuple(out)

    def _behind(self, rule: int, updater: Position | None) -> bool:
        return updater is not None and self.at[rule].rank > updater.rank

    def _check(self) -> None:
        """The choice of elements is feasible exactly if this holds, so a failure is an error of the planner."""
        for service, held in self.flow.held.items():
            meanings = set().union(*held.values())
            if any(len(vectors) > 1 for vectors in held.values()) or (ANY in held and len(meanings) > 1):
                raise RuntimeError(f"the context does not tell the call paths to {service} apart")

    # --- numbers ---

    def _numbers(self) -> dict[Key, int]:
        groups: list[dict[Key, object]] = []  # keys in one group with different meanings must differ
        for held in self.flow.held.values():
            groups.append({key: next(iter(vectors)) for key, vectors in held.items() if key != ANY})
        for ways in self.flow.leaving.values():
            arriving: dict[Key, object] = {}
            for became in ways.values():
                arriving |= {new: new[2] for new in became.values() if len(new) == 3}
            if len(set(arriving.values())) > 1:
                groups.append(arriving)
        of_key: dict[Key, list[dict[Key, object]]] = {}
        for group in groups:
            for key in group:
                of_key.setdefault(key, []).append(group)
        number: dict[Key, int] = {}
        for key in self.flow.order:
            if key == ANY:
                continue
            taken = {
                number[other]
                for group in of_key.get(key, [])
                for other, meaning in group.items()
                if other in number and meaning != group[key]
            }
            number[key] = next(n for n in range(len(taken) + 1) if n not in taken) if key != ZERO else 0
        return number

    def _table(self, hop: Hop, number: Mapping[Key, int]) -> Table | None:
        updater = self.updater(hop)
        if updater is None:
            return None
        ways = self.flow.leaving[hop]
        known: dict[Version, dict[int, int]] = {}
        for (key, _), became in ways.items():
            for version, new in became.items():
                at = known.setdefault(version, {})
                if key != ANY:
                    at[number[key]] = number[new]
        anything = any(key == ANY for key, _ in ways)
        always: dict[Version, int | None] = {}
        for version in known:
            results = {number[became[version]] for became in ways.values()}
            always[version] = next(iter(results)) if len(results) == 1 else None
        if not anything and all(old == new for at in known.values() for old, new in at.items()):
            return None
        updates: dict[Update, list[Version]] = {}
        for version, at in known.items():
            constant = always[version]
            update = Update(_entries(at), None) if constant is None else Update((), constant)
            updates.setdefault(update, []).append(version)
        if len(updates) == 1:
            return Table(hop, updater, ((None, next(iter(updates))),))
        return Table(hop, updater, tuple((tuple(versions), update) for update, versions in updates.items()))

    def _meaning(self, rule: int, number: Mapping[Key, int]) -> tuple[tuple[tuple[int, ...], Effect], ...]:
        """The tags with which requests come to a rule, by what it does to them."""
        hop = self.problem.rules[rule].hop
        component = self.component_of[rule]
        behind = self._behind(rule, self.updater(hop))
        tags: dict[Effect, set[int]] = {}
        for (key, vector), became in self.flow.leaving.get(hop, {}).items():
            if hop[0] is None:  # on an entry hop nothing depends on the path
                continue
            label = self.classes[component].moves[hop[0], vector[component]][hop[1]].label
            effect = next(e for r, e in label if r == rule)  # type: ignore[attr-defined]
            seen = became.values() if behind else [key]
            tags.setdefault(effect, set()).update(number[k] for k in seen)
        return tuple((tuple(sorted(numbers)), effect) for effect, numbers in tags.items())


def _entries(known: Mapping[int, int]) -> tuple[tuple[tuple[int, ...], int], ...]:
    by_new: dict[int, list[int]] = {}
    for old, new in sorted(known.items()):
        if old != new:
            by_new.setdefault(new, []).append(old)
    return tuple((tuple(old), new) for new, old in sorted(by_new.items()))
