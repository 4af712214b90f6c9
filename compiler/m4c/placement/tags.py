"""Tag values: small numbers in place of call paths.

First every update gets a value of its own for (callee, classes there), and, where somebody behind the update still
decides on the hop itself, for what happens on it; 0 stays what it is, no tag. Values that mean different things at some
service, or on some hop, differ; all others may share a number, given out greedily in the order of services, and of the
classes at each. One element updates each hop: the last of the callee's side, so that everyone on the hop still reads
the tag with which the request left the caller; if there is none, the last of the caller's side. A hop behind which
nobody looks at the tag before it is updated again is left alone.

Values travel as sets: what a service sends along in one of its classes is a bit set of values, and a silent hop passes
it on whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from m4c.paths.callpath import Hop, Version
from m4c.paths.machine import lowest
from m4c.paths.masks import bits
from m4c.placement.feasible import Silence
from m4c.placement.model import Candidate, Position, Problem
from m4c.placement.rules import Effect, Rule
from m4c.placement.vectors import TooManyVectors, Vector, Vectors
from m4c.semantics.model import Side

_CHECK = 256  # services or hops between two looks at whether to go on

Key: TypeAlias = int  # a value before it has its number
Keys: TypeAlias = int  # a set of them
Tags: TypeAlias = int  # a set of tags: bit 0 stands for any tag at all, bit n + 1 for tag n

ZERO: Keys = 1  # no tag
ANY: Keys = 2  # whatever comes from outside, or what decides nothing
_FIRST: Key = 2  # of the values that updates make
_NONE: Tags = 2
_ANYTHING: Tags = 1


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


Meaning: TypeAlias = tuple[tuple[tuple[int, ...], Effect], ...]
"""The tags that a rule's position sees, grouped by what the rule does then."""


@dataclass(frozen=True, slots=True)
class Tagging:
    bits: int
    tables: tuple[Table, ...]  # by hop
    meaning: Mapping[int, Meaning]  # of each contextual rule


def assign(
    problem: Problem,
    chosen: Collection[Candidate],
    at: Mapping[int, Position],
    checkpoint: Callable[[], None] = lambda: None,
) -> Tagging:
    """The tag functions of chosen elements that are feasible, with each rule at its position. Raises TooManyTags.
    `checkpoint` is called now and then, and may raise."""
    return Tagger(problem).assign(problem, chosen, at, checkpoint)


class Tagger:
    """Assigns tags for one problem of a mesh after the other. What comes out does not depend on those before; what is
    as before is not made again."""

    def __init__(self, problem: Problem) -> None:
        self.vectors = Vectors(problem.letters, problem.callees, problem.program.graph.services)
        self._last: _Assignment | None = None

    def assign(
        self,
        problem: Problem,
        chosen: Collection[Candidate],
        at: Mapping[int, Position],
        checkpoint: Callable[[], None] = lambda: None,
    ) -> Tagging:
        """As `assign`."""
        if not problem.components:
            return Tagging(0, (), {})
        try:
            self.vectors.update([c.context for c in problem.components], 1 << problem.program.mesh.tag_bits, checkpoint)
        except TooManyVectors as e:
            raise TooManyTags from e
        now = _Assignment(problem, chosen, at, self.vectors, self._last, checkpoint)
        tagging = now.run()
        now.before = None
        self._last = now
        return tagging


class _Assignment:
    def __init__(
        self,
        problem: Problem,
        chosen: Collection[Candidate],
        at: Mapping[int, Position],
        vectors: Vectors,
        before: _Assignment | None,
        checkpoint: Callable[[], None],
    ) -> None:
        self.problem = problem
        self.checkpoint = checkpoint
        self.services = problem.program.graph.services
        self.at = at
        self.vectors = vectors
        self.before = before
        self.component_of = {r: i for i, c in enumerate(problem.components) for r in c.rules}
        self.on_hop: dict[Hop, list[int]] = {}  # the contextual rules of a hop
        for r in self.component_of:
            self.on_hop.setdefault(problem.rules[r].hop, []).append(r)
        self.elements = set(chosen)
        self.updaters: dict[Side, dict[str, Position]] = {"egress": {}, "ingress": {}}
        for service in dict.fromkeys(c.service for c in chosen):
            for side, of in self.updaters.items():
                for position in problem.places(service, side):  # the last is it
                    if position.at in self.elements and problem.updates(position.at, side):
                        of[service] = position
        self.concerned = self._concerned(sum(1 << problem.column[c] for c in self.elements))
        self.live = [n for n in sorted(self.concerned) if self.services[n].propagates]
        self.behind = {hop: rules for hop in self.on_hop if (rules := self._behind_update(hop))}
        self.apart: set[Vector] = set()  # classes of which the values have to be told apart by callee
        self.values: list[object] = []  # what each key stands for; those of updates that nobody reads are classes
        self.held: dict[str, dict[Vector, Keys]] = {}  # what a service sends along, by its class
        self.made: dict[str, dict[Vector, Key]] = {}  # what updates make of the hops to a service, by the class there
        self.read: dict[Hop, list[dict[Vector, tuple[Key, object]]]] = {}  # the same of hops on which it is read, with
        # what is to be read, by the class before the hop, for each version of the callee
        self.numbers: list[int] = []
        self.leaving: dict[str, dict[Vector, Tags]] = {}  # what requests carry as they leave a service, by class
        self.becoming: dict[str, dict[Vector, int]] = {}  # `made` in numbers
        self.tables: dict[Hop, tuple[tuple[Any, ...], Table | None]] = {}  # with what each is made from
        self.meanings: dict[int, tuple[tuple[Any, ...], Meaning]] = {}  # the same, by rules' identities

    def run(self) -> Tagging:
        self._hold()
        while self._mixed():
            self._hold()
        self.numbers = self._numbers()
        self._leave()
        tables = [table for table in self._tables() if table is not None]
        tables.sort(key=lambda t: (t.hop[0] or "", t.hop[1]))
        meaning = {r: self._meaning(r) for r in self.component_of}
        return Tagging(max(self.numbers).bit_length(), tuple(tables), meaning)

    # --- hops ---

    def _concerned(self, chosen: int) -> set[str]:
        """The services behind which somebody looks at the tag before it is updated again. Elsewhere it can stay as it
        is."""
        letters = self.problem.letters
        silence = Silence(self.problem, chosen)
        known = 0
        fresh = 0
        for service in self.vectors.splitting:
            fresh |= letters.service(service)
        while fresh:
            known |= fresh
            fresh = letters.whole(silence.before(fresh)) & ~known
        return {letters.all_letters[i][0] for i in bits(known)}

    def _updater(self, hop: Hop) -> Position | None:
        """Who updates the tag on a hop to a service that is concerned."""
        found = self.updaters["ingress"].get(hop[1])
        return found if found is not None or hop[0] is None else self.updaters["egress"].get(hop[0])

    def _behind_update(self, hop: Hop) -> list[int]:
        """The rules that stand behind the update of a hop: what they do they have to read off the new tag."""
        updater = self._updater(hop) if hop[1] in self.concerned else None
        return [] if updater is None else [r for r in self.on_hop[hop] if self.at[r].rank > updater.rank]

    def _effects(self, rule: int, vectors: Sequence[Vector]) -> list[Effect]:
        """What a rule does on its hop if requests leave the caller in some classes. Equal ones are the same object."""
        component = self.component_of[rule]
        part = self.vectors.parts[component]
        of = self.problem.components[component].effects(rule)
        caller = self.problem.rules[rule].hop[0]
        if caller is None:
            raise ValueError("on an entry hop nothing depends on the path")
        return [of[part.state(caller, vector)] for vector in vectors]

    # --- how values travel ---

    def _hold(self) -> None:
        """What every service that is concerned sends along. Values are found in the order of services and classes."""
        numbers: dict[object, Key] = {}
        self.values = [None] * _FIRST
        self.made, self.read = {}, {}
        silent: dict[str, list[str]] = {}
        self.held = {n: dict.fromkeys(self.vectors.at[n], ZERO) for n in self.concerned - set(self.live)}
        pending = {n: dict(held) for n, held in self.held.items()}

        def key(value: object, callee: str) -> Key:
            of = (callee, value) if value in self.apart else value
            found = numbers.get(of)
            if found is None:
                found = numbers[of] = len(self.values)
                self.values.append(value)
            return found

        for count, name in enumerate(self.live):
            if count % _CHECK == 0:
                self.checkpoint()
            held = self.held[name] = dict.fromkeys(self.vectors.at[name], 0)
            if name in self.vectors.begun:
                held[self.vectors.begun[name]] |= ZERO
            loud: set[Vector] = set()  # the classes behind updates
            reading: list[Hop] = []
            callers: list[str | None] = [*self.vectors.callers[name]]
            for caller in [None, *callers] if self.services[name].entry else callers:
                hop = (caller, name)
                if hop in self.behind:
                    reading.append(hop)
                elif self._updater(hop) is not None:
                    for becomes in self.vectors.over[hop]:
                        loud.update(becomes.values())
                elif caller is not None:
                    silent.setdefault(caller, []).append(name)
                else:
                    for becomes in self.vectors.over[hop]:
                        held[becomes[0]] |= ZERO if self.services[name].trusted else ANY
            made = self.made[name] = {vector: key(vector, name) for vector in held if vector in loud}
            for vector, number in made.items():
                held[vector] |= 1 << number
            for hop in reading:
                self._read(hop, key)
            pending[name] = dict(held)
        self._pass_on(silent, pending)

    def _read(self, hop: Hop, key: Callable[[object, str], Key]) -> None:
        """The values of a hop with rules behind the update."""
        caller, callee = hop
        before = self.vectors.at[caller or ""]
        rows = zip(*(self._effects(rule, before) for rule in self.behind[hop]), strict=True)
        reads = [tuple(map(id, row)) for row in rows]
        held = self.held[callee]
        found: list[dict[Vector, tuple[Key, object]]] = []
        for becomes in self.vectors.over[hop]:
            of: dict[Vector, tuple[Key, object]] = {
                v: (key((becomes[v], hop, said), callee), said) for v, said in zip(before, reads, strict=True)
            }
            for vector, (number, _) in of.items():
                held[becomes[vector]] |= 1 << number
            found.append(of)
        self.read[hop] = found

    def _pass_on(self, silent: Mapping[str, Sequence[str]], pending: dict[str, dict[Vector, Keys]]) -> None:
        """Over silent hops everything goes on as it came."""
        count = 0
        while pending:
            count += 1
            if count % _CHECK == 0:
                self.checkpoint()
            caller = next(iter(pending))
            news = pending.pop(caller)
            for callee in silent.get(caller, ()):
                held = self.held[callee]
                for becomes in self.vectors.over[caller, callee]:
                    for vector, keys in news.items():
                        then = becomes[vector]
                        new = keys & ~held[then]
                        if new:
                            held[then] |= new
                            waiting = pending.setdefault(callee, {})
                            waiting[then] = waiting.get(then, 0) | new

    def _mixed(self) -> bool:
        """Whether some value that several callees share means two things somewhere; each callee has its own then.

        Other mixtures there are not: that is what it is for a choice of elements to be feasible, so one is an error of
        the planner."""
        mixed: dict[Key, str] = {}
        for service in self.live:
            held = self.held[service]
            if len(held) < 2:
                continue
            seen = twice = 0
            for keys in held.values():
                twice |= seen & keys
                seen |= keys
            twice |= seen & ANY
            if twice:
                mixed.update((k, service) for k in bits(twice))
        values = {k: self.values[k] for k in mixed}
        for k, value in values.items():
            if k < _FIRST or not isinstance(value, int) or value in self.apart:
                raise RuntimeError(f"the context does not tell the call paths to {mixed[k]} apart")
        self.apart |= {value for value in values.values() if isinstance(value, int)}
        return bool(mixed)

    # --- numbers ---

    def _numbers(self) -> list[int]:
        """The number of each value."""
        groups: dict[frozenset[Keys], None] = {}  # keys of one group in different sets must differ
        for service in self.live:
            held = self.held[service]
            if len(held) > 1:
                groups[frozenset(held.values())] = None
        for of in self.read.values():
            meant: dict[object, Keys] = {}
            for becomes in of:
                for number, said in becomes.values():
                    meant[said] = meant.get(said, 0) | 1 << number
            groups[frozenset(meant.values())] = None
        of_key: list[list[tuple[int, int]]] = [[] for _ in self.values]  # (group, set)
        count = 0
        for i, group in enumerate(groups):
            for keys in group:
                for k in bits(keys):
                    of_key[k].append((i, count))
                count += 1
        taken = [0] * len(groups)  # numbers as bit sets, by group
        shared = [0] * count  # the same, by set
        numbers: list[int] = []
        for k, of_sets in enumerate(of_key):
            barred = 0
            for i, s in of_sets:
                barred |= taken[i] & ~shared[s]
            number = 0 if k < _FIRST else lowest(~barred)
            numbers.append(number)
            bit = 1 << number
            for i, s in of_sets:
                taken[i] |= bit
                shared[s] |= bit
        return numbers

    def _leave(self) -> None:
        """`leaving` and `becoming`; as objects those of the assignment before, where nothing has changed."""
        bit = [2 << number for number in self.numbers]
        bit[1] = _ANYTHING
        known: dict[Keys, Tags] = {}

        def tags(keys: Keys) -> Tags:
            found = known.get(keys)
            if found is None:
                found = 0
                for k in bits(keys):
                    found |= bit[k]
                known[keys] = found
            return found

        for service, held in self.held.items():
            self.leaving[service] = {vector: tags(keys) for vector, keys in held.items()}
        for service, of in self._idle().items():
            self.leaving[service] = {0: of}
        self.becoming = {n: {v: self.numbers[k] for v, k in made.items()} for n, made in self.made.items()}
        if self.before is not None:
            for now, then in ((self.leaving, self.before.leaving), (self.becoming, self.before.becoming)):
                for service, found in now.items():
                    as_before = then.get(service)
                    if as_before is not None and as_before == found:
                        now[service] = as_before

    def _idle(self) -> dict[str, Tags]:
        """The tags that requests may carry at each service at which they decide nothing."""
        idle = {n: s for n, s in self.services.items() if n not in self.concerned}
        out: dict[str, Tags] = {}
        fresh: dict[str, Tags] = {}

        def arrive(service: str, tags: Tags) -> None:
            new = tags & ~out.get(service, 0)
            if new:
                out[service] = out.get(service, 0) | new
                fresh[service] = fresh.get(service, 0) | new

        for name, service in idle.items():
            if service.origin or not service.propagates:
                arrive(name, _NONE)
            if service.entry and service.propagates:
                arrive(name, _NONE if service.trusted else _ANYTHING)
            for caller in self.vectors.callers[name] if service.propagates else ():
                for tags in self.leaving.get(caller, {}).values():
                    arrive(name, tags)
        while fresh:
            at, tags = fresh.popitem()
            for callee in self.problem.callees[at]:
                if callee in idle and idle[callee].propagates:
                    arrive(callee, tags)
        return out

    # --- what elements do ---

    def _tables(self) -> Iterator[Table | None]:
        known = {} if self.before is None else self.before.tables
        for count, name in enumerate(sorted(self.concerned)):
            if count % _CHECK == 0:
                self.checkpoint()
            callers: list[str | None] = [*self.vectors.callers[name]]
            for caller in [None, *callers] if self.services[name].entry else callers:
                hop = (caller, name)
                updater = self._updater(hop)
                if updater is None:
                    continue
                over = self.vectors.over[hop]
                made_from = (updater, self.leaving.get(caller or ""), self.becoming.get(name), over)
                found = known.get(hop)
                read = hop in self.read
                if found is None or read or not all(a is b for a, b in zip(found[0], made_from, strict=True)):
                    found = (made_from, self._table(hop, updater))
                if not read:
                    self.tables[hop] = found
                yield found[1]

    def _table(self, hop: Hop, updater: Position) -> Table | None:
        caller, callee = hop
        if not self.services[callee].propagates:
            return None
        if caller is None:
            leaving = {0: _NONE if self.services[callee].trusted else _ANYTHING}
        else:
            leaving = self.leaving.get(caller, {})
        made, read = self.becoming[callee], self.read.get(hop)
        changes: list[dict[int, Tags]] = []  # the old tags by the new one, for each version
        for i, becomes in enumerate(self.vectors.over[hop]):
            old: dict[int, Tags] = {}
            for vector, then in becomes.items():
                new = made[then] if read is None else self.numbers[read[i][vector][0]]
                old[new] = old.get(new, 0) | leaving[vector]
            changes.append(old)
        if all(not tags & ~(2 << new) for old in changes for new, tags in old.items()):
            return None
        updates: dict[Update, list[Version]] = {}
        for version, old in zip(self.vectors.versions(callee), changes, strict=True):
            update = Update((), next(iter(old))) if len(old) == 1 else Update(_entries(old), None)
            updates.setdefault(update, []).append(version)
        if len(updates) == 1:
            return Table(hop, updater, ((None, next(iter(updates))),))
        return Table(hop, updater, tuple((tuple(versions), update) for update, versions in updates.items()))

    def _meaning(self, rule: int) -> Meaning:
        """The tags with which requests come to a rule, by what it does to them."""
        of: Rule = self.problem.rules[rule]
        caller = of.hop[0]
        if caller is None:
            return ()
        leaving, over = self.leaving.get(caller, {}), self.vectors.over[of.hop]
        context = self.problem.components[self.component_of[rule]].context
        behind = rule in self.behind.get(of.hop, ())
        made_from = (of, context, leaving, None if behind else over)
        known = None if self.before is None else self.before.meanings.get(id(of))
        if known is None or behind or not all(a is b for a, b in zip(known[0], made_from, strict=True)):
            vectors = self.vectors.at[caller]
            tags: dict[int, Tags] = {}
            effects: dict[int, Effect] = {}
            for vector, effect in zip(vectors, self._effects(rule, vectors), strict=True):
                effects[id(effect)] = effect
                came = leaving[vector]
                if behind:
                    came = 0
                    for becomes in self.read[of.hop]:
                        came |= 2 << self.numbers[becomes[vector][0]]
                tags[id(effect)] = tags.get(id(effect), 0) | came
            known = (made_from, tuple((tuple(bits(came >> 1)), effects[e]) for e, came in tags.items()))
        if not behind:
            self.meanings[id(of)] = known
        return known[1]


def _entries(old: Mapping[int, Tags]) -> tuple[tuple[tuple[int, ...], int], ...]:
    """For each new tag the old ones that become it, those that stay left out."""
    found = ((tuple(bits((tags & ~(2 << new)) >> 1)), new) for new, tags in old.items())
    return tuple(sorted(entry for entry in found if entry[0]))
