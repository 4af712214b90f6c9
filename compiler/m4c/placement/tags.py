"""Tag values: small numbers in place of call paths.

First every update gets a value of its own for (callee, classes there), and, where somebody behind the update still
decides on the hop itself, for what happens on it; 0 stays what it is, no tag. Values that mean different things at some
service, or on some hop, differ; all others may share a number, given out greedily in the order in which the values are
found. One element updates each hop: the last of the callee's side, so that everyone on the hop still reads the tag with
which the request left the caller; if there is none, the last of the caller's side. A hop behind which nobody looks at
the tag before it is updated again is left alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from m4c.paths.callpath import Hop, Version
from m4c.paths.machine import lowest
from m4c.paths.masks import bits
from m4c.paths.spread import State
from m4c.placement.feasible import Silence
from m4c.placement.model import Candidate, Position, Problem
from m4c.placement.rules import Effect

NODE_LIMIT = 200_000  # (service, classes, value) that are looked at before the context counts as too large

Vector: TypeAlias = tuple[tuple[int, State], ...]
"""The class at one service of each component that has several there, as (component, first state of the class); those in
the class that most are in are left out."""
Key: TypeAlias = tuple[object, ...]  # a value before it has a number

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
    """Every way in which values travel. `held`: what a service sends along, for each of its classes. `over`: what
    becomes of a class on a hop, as (version of the callee, class there, new value; None: the old one)."""

    held: dict[str, dict[Vector, dict[Key, None]]] = field(default_factory=dict)
    over: dict[Hop, dict[Vector, tuple[tuple[Version, Vector, Key | None], ...]]] = field(default_factory=dict)
    order: dict[Key, None] = field(default_factory=dict)
    nodes: int = 0


def assign(problem: Problem, chosen: Collection[Candidate], at: Mapping[int, Position]) -> Tagging:
    """The tag functions of chosen elements that are feasible, with each rule at its position. Raises TooManyTags."""
    return _Assignment(problem, chosen, at).run()


class _Way:
    """What becomes of classes over one hop to one version of the callee: for each component that has classes behind it,
    what the class that is left out becomes, and what others do."""

    __slots__ = ("entering", "moves", "version")

    def __init__(self, version: Version) -> None:
        self.version = version
        self.entering: dict[int, State] = {}  # component -> class, where what is left out before is not left out behind
        self.moves: dict[int, dict[State, State | None]] = {}  # None: left out


class _Assignment:
    def __init__(self, problem: Problem, chosen: Collection[Candidate], at: Mapping[int, Position]) -> None:
        self.problem = problem
        self.graph = problem.program.graph
        self.at = at
        self.component_of = {r: i for i, c in enumerate(problem.components) for r in c.rules}
        self.on_hop: dict[Hop, list[int]] = {}  # the contextual rules of a hop
        for r in self.component_of:
            self.on_hop.setdefault(problem.rules[r].hop, []).append(r)
        self.splitting: dict[str, list[int]] = {}  # the components that have several classes at a service
        for i, component in enumerate(problem.components):
            for service in component.classes.of:
                self.splitting.setdefault(service, []).append(i)
        self.elements = set(chosen)
        self.updaters: dict[Hop, Position | None] = {}
        self.silence = Silence(problem, sum(1 << problem.column[c] for c in self.elements))
        self.concerned = self._concerned()
        self.flow = _Flow()
        self.ways: dict[Hop, list[_Way]] = {}
        self.firsts: dict[tuple[int, str], dict[State, State | None]] = {}

    def run(self) -> Tagging:
        if not self.problem.components:
            return Tagging(0, (), {})
        self._explore()
        self._check()
        number = self._numbers()
        arriving = self._arriving(number)
        tables = [t for hop in self.flow.over if (t := self._table(hop, number, arriving)) is not None]
        tables.sort(key=lambda t: (t.hop[0] or "", t.hop[1]))
        meaning = {r: self._meaning(r, number) for r in self.component_of}
        return Tagging(max(number.values()).bit_length(), tuple(tables), meaning)

    # --- how values travel ---

    def updater(self, hop: Hop) -> Position | None:
        if hop not in self.updaters:
            able = (
                []
                if hop[1] not in self.concerned
                else [
                    p
                    for p in self.problem.all_positions(hop)
                    if p.at in self.elements and self.problem.updates(p.at, p.side)
                ]
            )
            self.updaters[hop] = max(able, default=None)
        return self.updaters[hop]

    def _concerned(self) -> set[str]:
        """The services behind which somebody looks at the tag before it is updated again. Elsewhere it can stay as it
        is."""
        letters = self.problem.letters
        known = 0
        fresh = 0
        for service in self.splitting:
            fresh |= letters.service(service)
        while fresh:
            known |= fresh
            fresh = letters.whole(self.silence.before(fresh)) & ~known
        return {letters.all_letters[i][0] for i in bits(known)}

    def _classes_at(self, component: int, service: str) -> dict[State, State | None]:
        """For each state at a service the first state of its class; None for the class of the first of all."""
        key = (component, service)
        found = self.firsts.get(key)
        if found is None:
            first: dict[int, State] = {}
            found = self.firsts[key] = {}
            for state, number in self.problem.components[component].classes.of[service].items():
                one = first.setdefault(number, state)
                found[state] = one if number else None
        return found

    def _over(self, hop: Hop) -> list[_Way]:
        """What becomes of classes over a hop, for each version of the callee."""
        found = self.ways.get(hop)
        if found is None:
            found = self.ways[hop] = [self._way(hop, x) for x in bits(self.problem.letters.service(hop[1]))]
        return found

    def _way(self, hop: Hop, letter: int) -> _Way:
        letters = self.problem.letters
        way = _Way(letters.all_letters[letter][1])
        for i in self.splitting.get(hop[1], ()):
            spread = self.problem.components[i].classes.spread
            behind = self._classes_at(i, hop[1])
            if hop[0] is None:
                self._enter(way, i, behind[spread.step(spread.from_outside, letter)])
                continue
            if hop[0] in self.problem.components[i].classes.of:
                before = self._classes_at(i, hop[0])
                moves = way.moves[i] = {}
                for state, one in before.items():
                    to = behind[spread.step(state, letter)]
                    if one is None:
                        self._enter(way, i, to)
                    else:
                        moves[one] = to
            else:
                state = next(s for s, mask in enumerate(spread.reach) if mask & letters.service(hop[0]))
                self._enter(way, i, behind[spread.step(state, letter)])
        return way

    def _enter(self, way: _Way, component: int, to: State | None) -> None:
        if to is not None:
            way.entering[component] = to

    def _behind_way(self, way: _Way, vector: Vector) -> Vector:
        after = dict(way.entering)
        for component, state in vector:
            moves = way.moves.get(component)
            if moves is None:
                continue
            to = moves[state]
            if to is None:
                after.pop(component, None)
            else:
                after[component] = to
        return tuple(sorted(after.items()))

    def _explore(self) -> None:
        flow = self.flow
        flow.order[ZERO] = None
        queue: list[tuple[str, Vector, Key]] = []
        quiet: dict[str, list[str]] = {}  # the callees to which hops do not update

        def arrive(service: str, vector: Vector, key: Key) -> None:
            flow.order.setdefault(key)
            if not self.graph.services[service].propagates:
                key = ZERO
            elif service not in self.concerned:  # what it carries decides nothing (`_arriving`)
                key = ANY
            keys = flow.held.setdefault(service, {}).setdefault(vector, {})
            if key not in keys:
                keys[key] = None
                queue.append((service, vector, key))
                flow.nodes += 1
                if flow.nodes > NODE_LIMIT:
                    raise TooManyTags

        for name, service in self.graph.services.items():
            if service.origin:
                arrive(name, next(self._own(name)), ZERO)
            if service.entry:
                came = ZERO if service.trusted else ANY
                for _, behind, new in self._pass((None, name), ()):
                    arrive(name, behind, came if new is None else new)
        for caller, vector, key in queue:
            of = quiet.get(caller)
            if of is None:
                callees = self.problem.callees[caller]
                of = quiet[caller] = [callee for callee in callees if self.updater((caller, callee)) is None]
            if next(iter(flow.held[caller][vector])) == key:  # what updates make of the class does not depend on it
                for callee in self.problem.callees[caller]:
                    for _, behind, new in self._pass((caller, callee), vector):
                        if new is not None:
                            arrive(callee, behind, new)
            for callee in of:
                for _, behind, _ in self._pass((caller, callee), vector):
                    arrive(callee, behind, key)

    def _own(self, service: str) -> Iterator[Vector]:
        """The classes in which a service starts chains by itself: the same for all its versions."""
        for letter in bits(self.problem.letters.service(service)):
            vector = []
            for i in self.splitting.get(service, ()):
                spread = self.problem.components[i].classes.spread
                one = self._classes_at(i, service)[spread.step(spread.by_itself, letter)]
                if one is not None:
                    vector.append((i, one))
            yield tuple(vector)

    def _pass(self, hop: Hop, vector: Vector) -> tuple[tuple[Version, Vector, Key | None], ...]:
        """One class over one hop: what becomes of it and of what it carries, for each version of the callee."""
        over = self.flow.over.setdefault(hop, {})
        found = over.get(vector)
        if found is None:
            updater = self.updater(hop)
            open_ = None if updater is None else self._still_open(hop, updater, vector)
            ways = ((way.version, self._behind_way(way, vector)) for way in self._over(hop))
            found = tuple((v, behind, None if updater is None else (hop[1], behind, open_)) for v, behind in ways)
            over[vector] = found
        return found

    def _leaving(self, hop: Hop, vector: Vector) -> Iterable[Key]:
        """What requests in a class carry as they leave the caller of a hop."""
        if hop[0] is None:
            return (ZERO if self.graph.services[hop[1]].trusted else ANY,)
        return self.flow.held[hop[0]][vector]

    def _still_open(self, hop: Hop, updater: Position, vector: Vector) -> tuple[object, ...]:
        """What rules behind the update do on the hop; they have to read it off the new tag."""
        rules = self.on_hop.get(hop)
        if not rules:
            return ()
        return tuple((r, self._effect(r, hop, vector)) for r in rules if self._behind(r, updater))

    def _effect(self, rule: int, hop: Hop, vector: Vector) -> Effect:
        """What a rule does on its hop if the request leaves the caller in some classes."""
        component = self.component_of[rule]
        effects = self.problem.components[component].effects[rule]
        return effects[self._state(component, hop, vector)]

    def _state(self, component: int, hop: Hop, vector: Vector) -> State:
        """A state of the class in which a request leaves the caller of a hop."""
        spread = self.problem.components[component].classes.spread
        if hop[0] is None:
            return spread.from_outside
        for i, state in vector:
            if i == component:
                return state
        of = self.problem.components[component].classes.of.get(hop[0])
        if of is not None:
            return next(state for state, number in of.items() if not number)
        here = self.problem.letters.service(hop[0])
        return next(s for s, mask in enumerate(spread.reach) if mask & here)

    def _behind(self, rule: int, updater: Position | None) -> bool:
        return updater is not None and self.at[rule].rank > updater.rank

    def _check(self) -> None:
        """The choice of elements is feasible exactly if this holds, so a failure is an error of the planner."""
        for service, held in self.flow.held.items():
            seen: dict[Key, Vector] = {}
            for vector, keys in held.items():
                for key in keys:
                    if seen.setdefault(key, vector) != vector or (key == ANY and len(held) > 1):
                        raise RuntimeError(f"the context does not tell the call paths to {service} apart")

    # --- numbers ---

    def _numbers(self) -> dict[Key, int]:
        groups: list[dict[Key, object]] = []  # keys in one group with different meanings must differ
        for held in self.flow.held.values():
            groups.append({key: vector for vector, keys in held.items() for key in keys if key != ANY})
        for over in self.flow.over.values():
            arriving: dict[Key, object] = {}
            for became in over.values():
                arriving |= {new: new[2] for _, _, new in became if new is not None}
            if len(set(arriving.values())) > 1:
                groups.append(arriving)
        of_key: dict[Key, list[int]] = {}
        for i, group in enumerate(groups):
            for key in group:
                of_key.setdefault(key, []).append(i)
        taken = [0] * len(groups)  # numbers as bit sets, by group
        shared: list[dict[object, int]] = [{} for _ in groups]  # the same, by meaning
        number: dict[Key, int] = {}
        for key in self.flow.order:
            if key == ANY:
                continue
            barred = 0
            for i in of_key.get(key, ()):
                barred |= taken[i] & ~shared[i].get(groups[i][key], 0)
            n = 0 if key == ZERO else lowest(~barred)
            number[key] = n
            for i in of_key.get(key, ()):
                taken[i] |= 1 << n
                shared[i][groups[i][key]] = shared[i].get(groups[i][key], 0) | 1 << n
        return number

    def _arriving(self, number: Mapping[Key, int]) -> dict[str, set[int | None]]:
        """The tags that requests may carry at each service at which they decide nothing; None: any."""
        out: dict[str, set[int | None]] = {}
        queue: list[tuple[str, int | None]] = []

        def arrive(service: str, tag: int | None) -> None:
            if service not in self.concerned and tag not in out.setdefault(service, set()):
                out[service].add(tag)
                queue.append((service, tag))

        for name, service in self.graph.services.items():
            if service.origin or not service.propagates:
                arrive(name, 0)
        for hop, over in self.flow.over.items():
            caller, callee = hop
            if self.graph.services[callee].propagates and (caller is None or caller in self.concerned):
                for vector, became in over.items():
                    for _, _, new in became:
                        for key in self._leaving(hop, vector) if new is None else (new,):
                            arrive(callee, None if key == ANY else number[key])
        for at, tag in queue:
            for callee in self.problem.callees[at]:
                if self.graph.services[callee].propagates:
                    arrive(callee, tag)
        return out

    def _table(self, hop: Hop, number: Mapping[Key, int], arriving: Mapping[str, set[int | None]]) -> Table | None:
        updater = self.updater(hop)
        if updater is None:
            return None
        known: dict[Version, dict[int, int]] = {}
        results: dict[Version, set[int]] = {}
        anything = False
        for vector, became in self.flow.over[hop].items():
            tags = [old for key in self._leaving(hop, vector) for old in self._carried(hop, key, number, arriving)]
            anything |= None in tags
            for version, _, new in became:
                if new is not None:
                    results.setdefault(version, set()).add(number[new])
                    known.setdefault(version, {}).update((old, number[new]) for old in tags if old is not None)
        always = {version: next(iter(of)) if len(of) == 1 else None for version, of in results.items()}
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

    def _carried(
        self, hop: Hop, key: Key, number: Mapping[Key, int], arriving: Mapping[str, set[int | None]]
    ) -> Iterable[int | None]:
        """The tags that a value stands for as it leaves the caller of a hop; None: any."""
        if key != ANY:
            return (number[key],)
        return (None,) if hop[0] is None or hop[0] in self.concerned else arriving[hop[0]]

    def _meaning(self, rule: int, number: Mapping[Key, int]) -> tuple[tuple[tuple[int, ...], Effect], ...]:
        """The tags with which requests come to a rule, by what it does to them."""
        hop = self.problem.rules[rule].hop
        behind = self._behind(rule, self.updater(hop))
        tags: dict[Effect, set[int]] = {}
        if hop[0] is not None:  # on an entry hop nothing depends on the path
            for vector, became in self.flow.over.get(hop, {}).items():
                carried = [new for _, _, new in became if new is not None] if behind else self._leaving(hop, vector)
                tags.setdefault(self._effect(rule, hop, vector), set()).update(number[k] for k in carried)
        return tuple((tuple(sorted(numbers)), effect) for effect, numbers in tags.items())


def _entries(known: Mapping[int, int]) -> tuple[tuple[tuple[int, ...], int], ...]:
    by_new: dict[int, list[int]] = {}
    for old, new in sorted(known.items()):
        if old != new:
            by_new.setdefault(new, []).append(old)
    return tuple((tuple(old), new) for new, old in sorted(by_new.items()))
