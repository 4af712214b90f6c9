"""Tag values: small numbers in place of call paths.

First every update gets a value of its own for (callee, classes there), and, where somebody behind the update still
decides on the hop itself, for what happens on it; 0 stays what it is, no tag. Values that mean different things at some
service, or on some hop, differ; all others may share a number, given out greedily in the order of services, and of the
classes at each. One element updates each hop: the last of the callee's side, so that everyone on the hop still reads
the tag with which the request left the caller; if there is none, the last of the caller's side. A hop behind which
nobody looks at the tag before it is updated again is left alone. How the values travel, `values` knows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

from m4c.paths.callpath import Hop, Version
from m4c.paths.masks import bits
from m4c.placement.feasible import Silence
from m4c.placement.model import Candidate, Position, Problem
from m4c.placement.rules import Effect, Rule
from m4c.placement.values import ANY, ZERO, Flow, Key, Keys, Sent, Values
from m4c.placement.vectors import TooManyVectors, Vector, Vectors, Written
from m4c.semantics.model import AttrKey, Side, Value

_CHECK = 256  # services or hops between two looks at whether to go on

Tags: TypeAlias = int  # a set of tags: bit 0 stands for any tag at all, bit n + 1 for tag n

_Group: TypeAlias = "list[tuple[Key, ...]]"
"""Sets of values. Those in different ones must differ."""

_REMEMBERED = 200_000  # sets of values
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
    marked: tuple[tuple[Written, tuple[tuple[tuple[Version, ...] | None, Update], ...]], ...] = ()
    """The same for whatever the hop writes to marks; `updates` is for nothing. If there is nothing here, it is the
    same whatever it writes."""


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
        services = problem.services
        self.vectors = Vectors(problem.letters, problem.callees, services)
        self.values = Values(self.vectors, services)
        self._taken_apart: dict[Keys, tuple[Key, ...]] = {}
        self._entries: dict[tuple[Tags, int], tuple[tuple[int, ...], int]] = {}
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
            contexts, most = [c.context for c in problem.components], 1 << problem.program.mesh.tag_bits
            region = self.vectors.update(contexts, most, checkpoint)
        except TooManyVectors as e:
            raise TooManyTags from e
        if len(self._taken_apart) > _REMEMBERED:
            self._taken_apart.clear()
        if len(self._entries) > _REMEMBERED:
            self._entries.clear()
        last, self._last = self._last, None  # in case that this one is stopped: the next could not tell what is as then
        now = _Assignment(problem, chosen, at, self.vectors, region, self._taken_apart, self._entries, last, checkpoint)
        self.values.update(now.flow, checkpoint)
        tagging = now.run(self.values)
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
        region: Set[str],
        taken_apart: dict[Keys, tuple[Key, ...]],
        entries: dict[tuple[Tags, int], tuple[tuple[int, ...], int]],
        before: _Assignment | None,
        checkpoint: Callable[[], None],
    ) -> None:
        self.problem = problem
        self.checkpoint = checkpoint
        self.services = problem.services
        self.at = at
        self.vectors = vectors
        self.region = region
        self.taken_apart = taken_apart
        self.entries = entries
        self.before = before
        self.component_of = {r: i for i, c in enumerate(problem.components) for r in c.rules}
        self.writes = self._writes()
        self.flow = self._flow({problem.column[c] for c in chosen})
        self.sent: dict[str, Sent] = {}
        self.read: dict[Hop, list[dict[Vector, tuple[Key, object]]]] = {}
        self.groups: dict[str, tuple[dict[Vector, Keys], _Group]] = {}  # of what services send
        self.numbers: dict[Key, int] = {}
        self.leaving: dict[str, dict[Vector, Tags]] = {}  # what requests carry as they leave a service, by class
        self.becoming: dict[str, dict[Vector, int]] = {}  # what updates make of the hops to a service, by class there
        self.changed: set[str] = set()  # the services of which one of these is not as before
        self.tables: dict[str, tuple[Table, ...]] = {}  # of the hops to a service
        self.meanings: dict[int, tuple[Rule, Meaning]] = {}  # by rules' identities

    def run(self, values: Values) -> Tagging:
        self.sent, self.read = values.sent, values.read
        self.numbers = self._numbers()
        self._leave()
        touched = self._touched()
        tables = list(self._tables(touched))
        tables.sort(key=lambda t: (t.hop[0] or "", t.hop[1]))
        meaning = {r: self._meaning(r, touched) for r in self.component_of}
        return Tagging(max(self.numbers.values()).bit_length(), tuple(tables), meaning)

    # --- hops ---

    def _flow(self, chosen: Set[int]) -> Flow:
        problem = self.problem
        ingress: dict[str, Position] = {}
        egress: list[dict[str, Position]] = [{} for _ in problem.spoken.groups]
        callees = {number: name for name, number in problem.spoken.group.items()}  # one of each group

        def last(hop: Hop, side: Side, service: str) -> Position | None:
            able = problem.updaters(hop, side)
            places = problem.places(service, side) if able else ()
            columns = ((p, problem.column[p.at]) for p in reversed(places))
            return next((p for p, column in columns if column in chosen and able >> column & 1), None)

        for service in dict.fromkeys(problem.columns[c].service for c in chosen):
            position = last((None, service), "ingress", service)
            if position is not None:
                ingress[service] = position
            for number, callee in callees.items():
                position = last((service, callee), "egress", service)
                if position is not None:
                    egress[number][service] = position
        concerned = self._concerned(sum(1 << c for c in chosen))
        live = [n for n in sorted(concerned) if self.services[n].propagates]
        behind: dict[Hop, list[int]] = {}
        marking = {problem.rules[r].hop: at for r, at in self.at.items() if problem.rules[r].marks}
        flow = Flow(concerned, live, egress, problem.spoken.group, ingress, behind, marking, self._effects)
        for r in self.component_of:
            hop = problem.rules[r].hop
            updater = flow.updater(hop) if hop[1] in concerned else None
            if updater is not None and self.at[r].rank > updater.rank:
                behind.setdefault(hop, []).append(r)
        return flow

    def _writes(self) -> dict[Hop, list[tuple[AttrKey, Value]]]:
        """What can be written to marks on each hop, by those who update the tag there."""
        out: dict[Hop, dict[tuple[AttrKey, Value], None]] = {}
        for rule in self.problem.rules:
            for write in rule.marks:
                out.setdefault(rule.hop, {})[write.attr, write.value] = None
        return {hop: sorted(of, key=repr) for hop, of in out.items()}

    def _concerned(self, chosen: int) -> frozenset[str]:
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
        return letters.names(known)

    def _effects(self, rule: int, vectors: Sequence[Vector]) -> list[Effect]:
        """What a rule does on its hop if requests leave the caller in some classes. Equal ones are the same object."""
        component = self.component_of[rule]
        part = self.vectors.parts[component]
        of = self.problem.components[component].effects(rule)
        caller = self.problem.rules[rule].hop[0]
        if caller is None:
            raise ValueError("on an entry hop nothing depends on the path")
        return [of[part.state(caller, vector)] for vector in vectors]

    # --- numbers ---

    def _numbers(self) -> dict[Key, int]:
        """The number of each value, in the order of services and of classes there."""
        order: dict[Key, None] = {ZERO - 1: None}
        for name in self.flow.live:
            sent = self.sent[name]
            order.update(dict.fromkeys(sent.made.values()))
            if len(sent.held) > 1:
                known = None if self.before is None else self.before.groups.get(name)
                same = known is not None and known[0] is sent.held
                self.groups[name] = known if known is not None and same else (sent.held, self._group(sent.held))
        groups = [group for _, group in self.groups.values()]
        for of in self.read.values():
            meant: dict[object, Keys] = {}
            for becomes in of:
                order.update(dict.fromkeys(key for key, _ in becomes.values()))
                for key, said in becomes.values():
                    meant[said] = meant.get(said, 0) | 1 << key
            groups.append(self._group(meant))
        of_key: dict[Key, list[int]] = {key: [] for key in order}  # the sets that a key is in
        group_of: list[int] = []  # of each set
        taken: list[int] = []  # numbers as bit sets, by group
        shared: list[int] = []  # the same, by set
        for i, group in enumerate(groups):
            taken.append(0)
            for keys in group:
                for k in keys:
                    of_key[k].append(len(shared))
                group_of.append(i)
                shared.append(0)
        numbers: dict[Key, int] = {}
        for k, sets in of_key.items():  # the first is 0
            barred = 0
            for s in sets:
                barred |= taken[group_of[s]] & ~shared[s]
            bit = ~barred & (barred + 1)
            numbers[k] = bit.bit_length() - 1
            for s in sets:
                taken[group_of[s]] |= bit
                shared[s] |= bit
        return numbers

    def _group(self, held: Mapping[Any, Keys]) -> _Group:
        return [self._each(keys) for keys in held.values()]

    def _leave(self) -> None:
        """`leaving` and `becoming`; as objects those of the assignment before, where nothing has changed."""
        before, numbers = self.before, self.numbers
        changed = 0  # keys
        if before is not None:
            for k, number in numbers.items():
                if before.numbers.get(k) != number:
                    changed |= 1 << k
        for name in self.flow.live:
            sent = self.sent[name]
            if before is not None and before.sent.get(name) is sent and not sent.every & changed:
                self.leaving[name], self.becoming[name] = before.leaving[name], before.becoming[name]
                continue
            self.leaving[name] = {vector: self._tags(keys) for vector, keys in sent.held.items()}
            self.becoming[name] = {vector: numbers[k] for vector, k in sent.made.items()}
        for name in self.flow.concerned - self.becoming.keys():
            self.leaving[name] = dict.fromkeys(self.vectors.at[name], _NONE)
        self._keep(before)
        if before is not None and not self.changed and self.flow.concerned == before.flow.concerned:
            for name in self.services.keys() - self.flow.concerned:
                if name in before.leaving:
                    self.leaving[name] = before.leaving[name]
        else:
            for name, tags in self._idle().items():
                self.leaving[name] = {0: tags}
            self._keep(before)

    def _keep(self, before: _Assignment | None) -> None:
        """What is equal to what was before becomes that; notes the services of which it is not."""
        if before is None:
            return
        self.changed = {name for name in before.leaving if name not in self.leaving} & self.flow.concerned
        for now, then in ((self.leaving, before.leaving), (self.becoming, before.becoming)):
            for name, found in now.items():
                as_before = then.get(name)
                if as_before is found:
                    continue
                if as_before is not None and as_before == found:
                    now[name] = as_before
                else:
                    self.changed.add(name)

    def _each(self, keys: Keys) -> tuple[Key, ...]:
        found = self.taken_apart.get(keys)
        if found is None:
            found = self.taken_apart[keys] = tuple(bits(keys))
        return found

    def _tags(self, keys: Keys) -> Tags:
        found = _ANYTHING if keys & ANY else 0
        for k in self._each(keys & ~ANY):
            found |= 2 << self.numbers[k]
        return found

    def _idle(self) -> dict[str, Tags]:
        """The tags that requests may carry at each service at which they decide nothing."""
        idle = {n: s for n, s in self.services.items() if n not in self.flow.concerned}
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

    def _touched(self) -> set[str]:
        """The services at whose egress, or whose ingress, something else is done than before: it is done again there
        and one hop on."""
        before = self.before
        if before is None:
            return set(self.services)
        touched = self.changed | self.region | {service for hop in self.read for service in hop if service is not None}
        touched |= {service for hop in before.read for service in hop if service is not None}
        updating = zip((self.flow.ingress, *self.flow.egress), (before.flow.ingress, *before.flow.egress), strict=True)
        for now, then in updating:
            touched |= {name for name in now.keys() | then.keys() if now.get(name) is not then.get(name)}
        for hop in self.flow.marking.keys() | before.flow.marking.keys():
            same = self.flow.marking.get(hop) is before.flow.marking.get(hop)
            if not same or self.writes.get(hop) != before.writes.get(hop):
                touched.update(service for service in hop if service is not None)
        return touched | (self.flow.concerned ^ before.flow.concerned)

    def _tables(self, touched: Set[str]) -> Iterator[Table]:
        known = {} if self.before is None else self.before.tables
        for count, name in enumerate(sorted(self.flow.concerned)):
            if count % _CHECK == 0:
                self.checkpoint()
            callers = self.vectors.callers[name]
            if name not in known or name in touched or not touched.isdisjoint(callers):
                hops: list[Hop] = [(None, name)] if self.services[name].entry else []
                hops += [(caller, name) for caller in callers]
                made = (self._table(hop, by) for hop in hops if (by := self.flow.updater(hop)) is not None)
                self.tables[name] = tuple(table for table in made if table is not None)
            else:
                self.tables[name] = known[name]
            yield from self.tables[name]

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
            if read is not None:
                becoming = {vector: self.numbers[key] for vector, (key, _) in read[i].items()}
            for vector, then in becomes.items():
                new = made[then] if read is None else becoming[vector]
                old[new] = old[new] | leaving[vector] if new in old else leaving[vector]
            changes.append(old)
        if all(not tags & ~(2 << new) for old in changes for new, tags in old.items()):
            return None
        if len(changes) == 1:  # neither versions nor marks
            return Table(hop, updater, ((None, self._update(changes[0])),))
        able, by_written = self.writes.get(hop, []), dict[Written, dict[Update, list[Version]]]()
        for (version, written), old in zip(self.vectors.landings(callee), changes, strict=True):
            if any(write not in able for write in written):
                continue  # nobody on this hop writes that
            by_written.setdefault(written, {}).setdefault(self._update(old), []).append(version)
        said = {written: _by_version(updates) for written, updates in by_written.items()}
        nothing = said.pop(())
        # What says more goes first: it holds where what says less does.
        marked = tuple(sorted(said.items(), key=lambda item: (-len(item[0]), repr(item[0]))))
        return Table(hop, updater, nothing, marked if any(of != nothing for _, of in marked) else ())

    def _update(self, old: Mapping[int, Tags]) -> Update:
        """For each new tag the old ones that become it, those that stay left out."""
        if len(old) == 1:
            return Update((), next(iter(old)))
        entries = []
        for new, tags in old.items():
            tags &= ~(2 << new)
            if tags > 1:
                entries.append(self._entry(tags, new))
        entries.sort()
        return Update(tuple(entries), None)

    def _entry(self, tags: Tags, new: int) -> tuple[tuple[int, ...], int]:
        """Equal ones are one object, for there are many."""
        entry = self.entries.get((tags, new))
        if entry is None:
            entry = self.entries[tags, new] = (tuple(bits(tags >> 1)), new)
        return entry

    def _meaning(self, rule: int, touched: Set[str]) -> Meaning:
        """The tags with which requests come to a rule, by what it does to them."""
        of: Rule = self.problem.rules[rule]
        caller = of.hop[0]
        if caller is None:
            return ()
        known = None if self.before is None else self.before.meanings.get(id(of))
        if known is None or known[0] is not of or caller in touched or of.hop[1] in touched:
            vectors, leaving = self.vectors.at[caller], self.leaving.get(caller, {})
            behind = rule in self.flow.behind.get(of.hop, ())
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
            known = (of, tuple((tuple(bits(came >> 1)), effects[e]) for e, came in tags.items()))
        self.meanings[id(of)] = known
        return known[1]


def _by_version(updates: Mapping[Update, list[Version]]) -> tuple[tuple[tuple[Version, ...] | None, Update], ...]:
    if len(updates) == 1:
        return ((None, next(iter(updates))),)
    return tuple((tuple(versions), update) for update, versions in updates.items())
