"""Tag values: small numbers in place of call paths.

First every update gets a value of its own for (callee, classes there), and, where somebody behind the update still
decides on the hop itself, for what happens on it; 0 stays what it is, no tag. Values that mean different things at some
service, or on some hop, differ; all others may share a number, given out greedily in the order in which the values are
found. One element updates each hop: the last of the callee's side, so that everyone on the hop still reads the tag with
which the request left the caller; if there is none, the last of the caller's side. A hop behind which nobody looks at
the tag before it is updated again is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from m4c.paths.callpath import Hop, Version
from m4c.paths.machine import lowest
from m4c.paths.masks import bits
from m4c.paths.spread import State
from m4c.placement.feasible import Silence
from m4c.placement.model import Candidate, Position, Problem
from m4c.placement.rules import Effect

NODE_LIMIT = 1_000_000  # (service, classes, value) that are looked at before the context counts as too large
_CHECK = 1024  # of those between two looks at whether to go on

Vector: TypeAlias = int  # the classes of all components at one service (`_Vectors`)
Key: TypeAlias = int  # a value before it has its number

ZERO: Key = 0  # no tag
ANY: Key = -1  # whatever comes from outside, or what decides nothing


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


def assign(
    problem: Problem,
    chosen: Collection[Candidate],
    at: Mapping[int, Position],
    checkpoint: Callable[[], None] = lambda: None,
) -> Tagging:
    """The tag functions of chosen elements that are feasible, with each rule at its position. Raises TooManyTags.
    `checkpoint` is called now and then, and may raise."""
    return _Assignment(problem, chosen, at, checkpoint).run()


class _Vectors:
    """The classes of all components at one service as one bit set, and what becomes of them over a hop.

    Of each component, the class that most services have says nothing; each other class is the bit of its first state.
    What a bit becomes depends on the callee alone; what becomes of a class that says nothing also on the caller, but
    only where that is not as it is with most."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.letters = problem.letters
        self.spreads = [c.classes.spread for c in problem.components]
        self.splitting: dict[str, list[int]] = {}  # the components that have several classes at a service
        self.first: list[int] = []  # the bit of a component's first state
        self.own: list[int] = []  # all bits of a component
        self.usual: list[State] = []
        self.odd: dict[str, dict[int, State]] = {}  # where a component's usual state does not occur, one that does
        self._said: dict[tuple[int, str], dict[State, Vector]] = {}
        self._onto: dict[int, _Onto] = {}
        at = 0
        for i, component in enumerate(problem.components):
            spread = self.spreads[i]
            count = len(spread.reach)
            self.first.append(at)
            self.own.append(((1 << count) - 1) << at)
            at += count
            usual = max(range(count), key=lambda s: (spread.reach[s].bit_count(), -s))
            self.usual.append(usual)
            for service in component.classes.of:
                self.splitting.setdefault(service, []).append(i)
            everywhere = self.letters.whole(spread.reach[usual])
            for state, mask in enumerate(spread.reach):
                for x in bits(mask & ~everywhere):
                    self.odd.setdefault(self.letters.all_letters[x][0], {}).setdefault(i, state)

    def said(self, component: int, service: str) -> dict[State, Vector]:
        """What stands for each state of a component at a service; nothing for those in the class that says nothing."""
        key = (component, service)
        found = self._said.get(key)
        if found is None:
            of = self.problem.components[component].classes.of[service]
            silent = of[self.base(component, service)]
            bit: dict[int, Vector] = {}
            for state, number in of.items():
                bit.setdefault(number, 0 if number == silent else 1 << (self.first[component] + state))
            found = self._said[key] = {state: bit[number] for state, number in of.items()}
        return found

    def base(self, component: int, service: str) -> State:
        """A state of the class that says nothing at a service."""
        odd = self.odd.get(service)
        return self.usual[component] if odd is None else odd.get(component, self.usual[component])

    def state(self, component: int, service: str, vector: Vector) -> State:
        """A state of a component's class at a service."""
        said = vector & self.own[component]
        return lowest(said) - self.first[component] if said else self.base(component, service)

    def begun(self, letter: int, outside: bool) -> Vector:
        """The classes at an instance with which a chain begins."""
        service, vector = self.letters.all_letters[letter][0], 0
        for i in self.splitting.get(service, ()):
            spread = self.spreads[i]
            vector |= self.said(i, service)[spread.step(spread.from_outside if outside else spread.by_itself, letter)]
        return vector

    def onto(self, letter: int) -> _Onto:
        found = self._onto.get(letter)
        if found is None:
            found = self._onto[letter] = _Onto(self, letter)
        return found


class _Onto:
    """What becomes of classes over the hops to one instance."""

    def __init__(self, vectors: _Vectors, letter: int) -> None:
        self.letter = letter
        service, self.version = vectors.letters.all_letters[letter]
        self.vectors = vectors
        self.same = 0
        self.moved: dict[int, Vector] = {}  # by bit
        self.moving = 0
        self.after: dict[int, list[Vector]] = {}  # of each component that has classes here, by the state before
        self.entering: dict[int, Vector] = {}  # what a usual state becomes, by component
        for i in vectors.splitting.get(service, ()):
            spread, said = vectors.spreads[i], vectors.said(i, service)
            cell, first = spread.cell(letter), vectors.first[i]
            column = self.after[i] = [said.get(to[cell], 0) for to in spread.moves]
            for state, then in enumerate(column):
                if then == 1 << (first + state):
                    self.same |= then
                elif then:
                    self.moved[first + state] = then
                    self.moving |= 1 << (first + state)
            if column[vectors.usual[i]]:
                self.entering[i] = column[vectors.usual[i]]
        self._from: dict[str, list[tuple[int, Vector]]] = {}

    def entering_from(self, caller: str) -> list[tuple[int, Vector]]:
        """(the bits of a component, what its class that says nothing at the caller becomes)"""
        found = self._from.get(caller)
        if found is None:
            entering = dict(self.entering)
            for i, state in self.vectors.odd.get(caller, {}).items():
                column = self.after.get(i)
                if column is not None:
                    entering[i] = column[state]
            own = self.vectors.own
            found = self._from[caller] = [(own[i], then) for i, then in entering.items() if then]
        return found

    def behind(self, caller: str, vector: Vector) -> Vector:
        """The classes behind a hop."""
        after = vector & self.same
        if vector & self.moving:
            for bit in bits(vector & self.moving):
                after |= self.moved[bit]
        for own, then in self.entering_from(caller):
            if not vector & own:
                after |= then
        return after


class _Over:
    """What goes over one hop. `became` has, for each class of the caller, (version of the callee, class there, new
    value; None: the old one) for each version."""

    __slots__ = ("became", "callee", "hop", "landings", "rules", "updater")

    def __init__(self, hop: Hop, updater: Position | None, rules: list[int], landings: list[_Onto]) -> None:
        self.hop = hop
        self.callee = hop[1]
        self.updater = updater
        self.rules = rules  # those behind the update: what they do they have to read off the new tag
        self.landings = landings
        self.became: dict[Vector, tuple[tuple[Version, Vector, Key | None], ...]] = {}


class _Assignment:
    def __init__(
        self,
        problem: Problem,
        chosen: Collection[Candidate],
        at: Mapping[int, Position],
        checkpoint: Callable[[], None],
    ) -> None:
        self.problem = problem
        self.checkpoint = checkpoint
        self.graph = problem.program.graph
        self.at = at
        self.component_of = {r: i for i, c in enumerate(problem.components) for r in c.rules}
        self.effects = {r: c.effects(r) for c in problem.components for r in c.rules}
        self.on_hop: dict[Hop, list[int]] = {}  # the contextual rules of a hop
        for r in self.component_of:
            self.on_hop.setdefault(problem.rules[r].hop, []).append(r)
        self.vectors = _Vectors(problem)
        self.elements = set(chosen)
        self.silence = Silence(problem, sum(1 << problem.column[c] for c in self.elements))
        self.concerned = self._concerned()
        self.held: dict[str, dict[Vector, dict[Key, None]]] = {}  # what a service sends along, by its class
        self.overs: dict[Hop, _Over] = {}
        self.keys: dict[tuple[object, ...], Key] = {}  # (callee or None, class there, what is still to be read)
        self.values: list[tuple[Vector, object]] = [(0, ())]  # of each key
        self.apart: set[tuple[Vector, object]] = set()  # values that have to be told apart by callee

    def run(self) -> Tagging:
        if not self.problem.components:
            return Tagging(0, (), {})
        while True:
            self._explore()
            if not self._mixed():
                break
            self.held, self.keys, self.values = {}, {}, [(0, ())]
            for over in self.overs.values():
                over.became.clear()
        number = self._numbers()
        arriving = self._arriving(number)
        tables: list[Table] = []
        for i, over in enumerate(self.overs.values()):
            if i % _CHECK == 0:
                self.checkpoint()
            table = self._table(over, number, arriving)
            tables += [] if table is None else [table]
        tables.sort(key=lambda t: (t.hop[0] or "", t.hop[1]))
        meaning = {r: self._meaning(r, number) for r in self.component_of}
        return Tagging(max(number).bit_length(), tuple(tables), meaning)

    # --- how values travel ---

    def over(self, hop: Hop) -> _Over:
        found = self.overs.get(hop)
        if found is None:
            able: list[Position] = []
            if hop[1] in self.concerned:
                all_ = self.problem.all_positions(hop)
                able = [p for p in all_ if p.at in self.elements and self.problem.updates(p.at, p.side)]
            updater = max(able, default=None)
            rules = [] if updater is None else [r for r in self.on_hop.get(hop, ()) if self.at[r].rank > updater.rank]
            landings = [self.vectors.onto(x) for x in bits(self.problem.letters.service(hop[1]))]
            found = self.overs[hop] = _Over(hop, updater, rules, landings)
        return found

    def _concerned(self) -> set[str]:
        """The services behind which somebody looks at the tag before it is updated again. Elsewhere it can stay as it
        is."""
        letters = self.problem.letters
        known = 0
        fresh = 0
        for service in self.vectors.splitting:
            fresh |= letters.service(service)
        while fresh:
            known |= fresh
            fresh = letters.whole(self.silence.before(fresh)) & ~known
        return {letters.all_letters[i][0] for i in bits(known)}

    def _explore(self) -> None:
        queue: list[tuple[str, Vector, Key]] = []
        services, concerned, held_by = self.graph.services, self.concerned, self.held
        carried = {n: ZERO if not s.propagates else None if n in concerned else ANY for n, s in services.items()}

        def arrive(service: str, vector: Vector, key: Key) -> None:
            instead = carried[service]  # of ANY at a service that is not concerned `_arriving` knows more
            if instead is not None:
                key = instead
            held = held_by.get(service)
            if held is None:
                held = held_by[service] = {}
            keys = held.get(vector)
            if keys is None:
                keys = held[vector] = {}
            if key not in keys:
                keys[key] = None
                queue.append((service, vector, key))

        for name, service in services.items():
            if service.origin:
                arrive(name, self.vectors.begun(lowest(self.problem.letters.service(name)), False), ZERO)
            if service.entry:
                came = ZERO if service.trusted else ANY
                for _, behind, new in self._pass(self.over((None, name)), 0):
                    arrive(name, behind, came if new is None else new)
        onward: dict[str, list[_Over]] = {}
        silent: dict[str, list[_Over]] = {}
        for number, (caller, vector, key) in enumerate(queue):
            if number % _CHECK == 0:
                self.checkpoint()
            if caller not in onward:
                onward[caller] = [self.over((caller, callee)) for callee in self.problem.callees[caller]]
                silent[caller] = [over for over in onward[caller] if over.updater is None]
            first = next(iter(held_by[caller][vector])) == key
            for over in (
                onward[caller] if first else silent[caller]
            ):  # updates make the same of a class, whatever it carries
                for _, behind, new in over.became.get(vector) or self._pass(over, vector):
                    arrive(over.callee, behind, key if new is None else new)
            if len(queue) > NODE_LIMIT:
                raise TooManyTags

    def _pass(self, over: _Over, vector: Vector) -> tuple[tuple[Version, Vector, Key | None], ...]:
        """One class over one hop: what becomes of it and of what it carries, for each version of the callee."""
        caller = over.hop[0]
        reads: object = ()
        if over.rules:
            reads = tuple((r, self._effect(r, over.hop, vector)) for r in over.rules)
        out: list[tuple[Version, Vector, Key | None]] = []
        for onto in over.landings:
            behind = self.vectors.begun(onto.letter, True) if caller is None else onto.behind(caller, vector)
            key: Key | None = None
            if over.updater is not None:
                value = (behind, reads)
                of = (over.callee if value in self.apart else None, *value)
                key = self.keys.get(of)
                if key is None:
                    key = self.keys[of] = len(self.values)
                    self.values.append(value)
            out.append((onto.version, behind, key))
        found = over.became[vector] = tuple(out)
        return found

    def _leaving(self, hop: Hop, vector: Vector) -> Iterable[Key]:
        """What requests in a class carry as they leave the caller of a hop."""
        if hop[0] is None:
            return (ZERO if self.graph.services[hop[1]].trusted else ANY,)
        return self.held[hop[0]][vector]

    def _effect(self, rule: int, hop: Hop, vector: Vector) -> Effect:
        """What a rule does on its hop if the request leaves the caller in some classes."""
        return self.effects[rule][self._state(self.component_of[rule], hop, vector)]

    def _state(self, component: int, hop: Hop, vector: Vector) -> State:
        """A state of the class in which a request leaves the caller of a hop."""
        if hop[0] is None:
            return self.problem.components[component].classes.spread.from_outside
        return self.vectors.state(component, hop[0], vector)

    def _mixed(self) -> bool:
        """Whether some value that several callees share means two things somewhere; each callee has its own then.

        Other mixtures there are not: that is what it is for a choice of elements to be feasible, so one is an error of
        the planner."""
        mixed: set[tuple[Vector, object]] = set()
        for service, held in self.held.items():
            seen: dict[Key, Vector] = {}
            for vector, keys in held.items():
                for key in keys:
                    if seen.setdefault(key, vector) == vector and not (key == ANY and len(held) > 1):
                        continue
                    if key in (ZERO, ANY) or self.values[key] in self.apart:
                        raise RuntimeError(f"the context does not tell the call paths to {service} apart")
                    mixed.add(self.values[key])
        self.apart |= mixed
        return bool(mixed)

    # --- numbers ---

    def _numbers(self) -> list[int]:
        """The number of each value."""
        groups: list[dict[Key, object]] = []  # keys in one group with different meanings must differ
        for held in self.held.values():
            if len(held) > 1:
                groups.append({key: vector for vector, keys in held.items() for key in keys if key != ANY})
        for over in self.overs.values():
            if over.rules:
                of = over.became.values()
                groups.append({new: self.values[new][1] for became in of for _, _, new in became if new is not None})
        of_key: list[list[int]] = [[] for _ in self.values]
        for i, group in enumerate(groups):
            for key in group:
                of_key[key].append(i)
        taken = [0] * len(groups)  # numbers as bit sets, by group
        shared: list[dict[object, int]] = [{} for _ in groups]  # the same, by meaning
        number: list[int] = []
        for key, in_groups in enumerate(of_key):
            barred = 0
            for i in in_groups:
                barred |= taken[i] & ~shared[i].get(groups[i][key], 0)
            number.append(0 if key == ZERO else lowest(~barred))
            bit = 1 << number[key]
            for i in in_groups:
                taken[i] |= bit
                shared[i][groups[i][key]] = shared[i].get(groups[i][key], 0) | bit
        return number

    def _arriving(self, number: Sequence[int]) -> dict[str, set[int | None]]:
        """The tags that requests may carry at each service at which they decide nothing; None: any."""
        out: dict[str, set[int | None]] = {}
        queue: list[tuple[str, int | None]] = []

        def arrive(service: str, tag: int | None) -> None:
            if tag not in out.setdefault(service, set()):
                out[service].add(tag)
                queue.append((service, tag))

        idle = {n: s for n, s in self.graph.services.items() if n not in self.concerned}
        for name, service in idle.items():
            if service.origin or not service.propagates:
                arrive(name, 0)
        for over in self.overs.values():
            caller, callee = over.hop
            if callee in idle and idle[callee].propagates and (caller is None or caller in self.concerned):
                for key in {k for vector in over.became for k in self._leaving(over.hop, vector)}:
                    arrive(callee, None if key == ANY else number[key])
        for at, tag in queue:
            for callee in self.problem.callees[at]:
                if callee in idle and idle[callee].propagates:
                    arrive(callee, tag)
        return out

    def _table(self, over: _Over, number: Sequence[int], arriving: Mapping[str, set[int | None]]) -> Table | None:
        if over.updater is None:
            return None
        known: dict[Version, dict[int, int]] = {}
        results: dict[Version, set[int]] = {}
        anything = False
        for vector, became in over.became.items():
            tags = [
                old for key in self._leaving(over.hop, vector) for old in self._carried(over.hop, key, number, arriving)
            ]
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
            return Table(over.hop, over.updater, ((None, next(iter(updates))),))
        return Table(over.hop, over.updater, tuple((tuple(versions), update) for update, versions in updates.items()))

    def _carried(
        self, hop: Hop, key: Key, number: Sequence[int], arriving: Mapping[str, set[int | None]]
    ) -> Iterable[int | None]:
        """The tags that a value stands for as it leaves the caller of a hop; None: any."""
        if key != ANY:
            return (number[key],)
        return (None,) if hop[0] is None or hop[0] in self.concerned else arriving[hop[0]]

    def _meaning(self, rule: int, number: Sequence[int]) -> tuple[tuple[tuple[int, ...], Effect], ...]:
        """The tags with which requests come to a rule, by what it does to them."""
        over = self.overs.get(self.problem.rules[rule].hop)
        tags: dict[Effect, set[int]] = {}
        if over is not None and over.hop[0] is not None:  # on an entry hop nothing depends on the path
            behind = rule in over.rules
            for vector, became in over.became.items():
                if behind:
                    keys: Iterable[Key] = [new for _, _, new in became if new is not None]
                else:
                    keys = self._leaving(over.hop, vector)
                tags.setdefault(self._effect(rule, over.hop, vector), set()).update(number[k] for k in keys)
        return tuple((tuple(sorted(numbers)), effect) for effect, numbers in tags.items())


def _entries(known: Mapping[int, int]) -> tuple[tuple[tuple[int, ...], int], ...]:
    by_new: dict[int, list[int]] = {}
    for old, new in sorted(known.items()):
        if old != new:
            by_new.setdefault(new, []).append(old)
    return tuple((tuple(old), new) for new, old in sorted(by_new.items()))
