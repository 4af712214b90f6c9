"""Who can have to do with whom: policies by the attributes that they write and read, and by where their paths end.

Two policies meet only on a hop on which both can fire, so at a letter at which the paths of both can end; policies are
listed by these (`postings`). Where very many end at one letter, those whose conditions exclude each other can be left
out. What is found is a superset of what meets, never less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import chain

from m4c.analysis.effects import Effects
from m4c.analysis.postings import Postings, Which
from m4c.paths.masks import Letters, Shape
from m4c.predicates import PLAIN, Outline, Outlines, outline_of
from m4c.semantics.effects import Orders, orders_of
from m4c.semantics.model import (
    STATE,
    Absent,
    Atom,
    Attribute,
    AttrKey,
    Cond,
    Policy,
    StateAtom,
    Value,
    Write,
    atoms,
)

_EVERY = AttrKey("", "")  # stands for any attribute
_SOME = 16  # policies that are looked at one by one


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A policy, and what is asked of it again and again."""

    policy: Policy
    letters: Letters
    shape: Shape  # of its pattern
    ends: int  # the letters at which its paths may end
    writes: frozenset[AttrKey]
    reads: frozenset[AttrKey]  # a derived attribute counts as its source
    states: frozenset[str]  # the states that it asks or changes
    asks: bool  # a condition of it asks a state
    ending: frozenset[int]  # the calls that end a request
    repeats: bool  # it repeats requests
    and_on: Shape  # the paths of the pattern, and at least one hop more
    outline: Outline  # of its `when`, if that depends on what arrives alone; else it says nothing
    said: frozenset[Write] | None  # all that it writes, if that is one value for each attribute
    # When it asks for a write of some attributes, or (True) for an end.
    asked_for: dict[tuple[frozenset[AttrKey], bool], Cond] = field(default_factory=dict)


def row_of(policy: Policy, effects: Effects) -> Row:
    """The row of a policy. `effects`: any about its entity."""
    letters = effects.ground.letters
    shape = letters.shape(policy.pattern)
    read = [a for cond in (policy.when, *(c.guard for c in policy.calls)) for a in atoms(cond)]
    asked = {a.state for a in read if isinstance(a, StateAtom)}
    changed = {c.entity.removeprefix(STATE) for c in policy.calls if c.entity.startswith(STATE)}
    said = frozenset(w for c in policy.calls for w in c.writes)
    writes = frozenset(w.attr for w in said)
    reads = frozenset(effects.source(a.attr) for a in read if isinstance(a, Atom))
    fixed = not asked and not any(effects.program.attribute(a).travels for a in reads)
    return Row(
        policy,
        letters,
        shape,
        letters.meet(shape),
        writes,
        reads,
        frozenset(asked | changed),
        bool(asked),
        frozenset(i for i, c in enumerate(policy.calls) if any(effects.is_terminal(w.attr, w.value) for w in c.writes)),
        any("repeats" in effects.program.attribute(a).roles for a in writes),
        shape.and_on(),
        outline_of(policy.when, effects.ground.solver.view) if fixed else PLAIN,
        said if len(said) == len(writes) else None,
    )


def _listed(row: Row) -> tuple[Outline, Hashable]:
    return row.outline, row.said


class Near:
    """The policies of a program, found by what they can have in common."""

    def __init__(self, attribute: Callable[[AttrKey], Attribute]) -> None:
        self.attribute = attribute
        self.rows: dict[str, Row] = {}
        self.orders: Orders = Orders({}, {})
        self.followers: Mapping[str, frozenset[str]] = {}  # those that are after a policy
        self.overridden: Mapping[str, frozenset[str]] = {}
        self.clauses: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}  # `overrides` and `after`, where said
        self.mentioned = Counter[str]()  # the names in them
        self._writers = Postings[AttrKey, Row](_listed)
        self._readers = Postings[AttrKey, Row](_listed)
        self._everyone = Postings[AttrKey, Row](_listed)
        self._enders = Postings[AttrKey, Row](_listed)
        self.states: dict[str, dict[str, Row]] = {}

    def add(self, row: Row) -> None:
        name = row.policy.name
        self.rows[name] = row
        self._writers.add(row.writes, name, row.ends, row)
        self._readers.add(row.reads, name, row.ends, row)
        self._everyone.add((_EVERY,), name, row.ends, row)
        if row.ending:
            self._enders.add((_EVERY,), name, row.ends, row)
        for state in row.states:
            self.states.setdefault(state, {})[name] = row
        if row.policy.overrides or row.policy.after:
            self.clauses[name] = (row.policy.overrides, row.policy.after)
            self.mentioned.update((*row.policy.overrides, *row.policy.after))

    def remove(self, name: str) -> Row:
        row = self.rows.pop(name)
        self._writers.remove(row.writes, name, row.ends)
        self._readers.remove(row.reads, name, row.ends)
        self._everyone.remove((_EVERY,), name, row.ends)
        if row.ending:
            self._enders.remove((_EVERY,), name, row.ends)
        for state in row.states:
            del self.states[state][name]
        for mentioned in chain(*self.clauses.pop(name, ())):
            self.mentioned[mentioned] -= 1
            if not self.mentioned[mentioned]:
                del self.mentioned[mentioned]
        return row

    def reorder(self) -> None:
        """Works the orders out anew, after clauses or names have changed."""
        self.orders = orders_of(self.clauses, self.rows)
        self.followers, self.overridden = _reversed(self.orders.after), _reversed(self.orders.over)

    def influence(self, sources: Mapping[str, int]) -> dict[str, int]:
        """The policies whose effect others decide, directly or through others: those that these override, and those
        that are after them. `sources`: the letters at which each of them counts; the answer is of the same kind."""
        found: dict[str, int] = {}
        queue = list(sources.items())
        while queue:
            name, mask = queue.pop()
            for follower in (*self.followers.get(name, ()), *self.overridden.get(name, ())):
                if follower in self.rows:
                    here = mask & self.rows[follower].ends
                    if here & ~found.get(follower, 0):
                        found[follower] = found.get(follower, 0) | here
                        queue.append((follower, here))
        return found

    def upstream(self, names: Iterable[str]) -> set[str]:
        """The policies that decide, directly or through others, what some do; without these."""
        found: set[str] = set()
        queue = [n for n in names if n in self.orders.over or n in self.orders.after]
        while queue:
            name = queue.pop()
            for other in (*self.orders.over.get(name, ()), *self.orders.after.get(name, ())):
                if other not in found:
                    found.add(other)
                    queue.append(other)
        return found

    def writers(self, attrs: Iterable[AttrKey], row: Row, within: int = -1, together: bool = False) -> dict[str, Row]:
        """The policies on the entity of one that write one of some attributes where that one may fire, with itself.
        `within`: the letters that count. `together`, of one that sees what arrives: without those that do so too and
        fire on other inputs only."""
        return self._listed(self._writers, attrs, row, within, _meeting(row) if together else None)

    def differing(self, row: Row, within: int = -1, together: bool = False) -> dict[str, Row]:
        """As `writers` of all that a policy writes, perhaps without those that write just the same."""
        outline = row.outline if together else PLAIN
        return self._listed(self._writers, row.writes, row, within, lambda listed: listed.meeting(outline, row.said))

    def readers(self, attrs: Iterable[AttrKey], row: Row, within: int = -1) -> dict[str, Row]:
        """As `writers`, for those that read them."""
        return self._listed(self._readers, attrs, row, within)

    def beside(self, row: Row, together: bool = False) -> dict[str, Row]:
        """The policies on the entity of one that may fire where it may, with itself. `together`: as for `writers`."""
        return self._listed(self._everyone, (_EVERY,), row, -1, _meeting(row) if together else None)

    def enders(self, row: Row, within: int = -1) -> dict[str, Row]:
        """The policies on the entity of one that end requests where it may fire, perhaps with itself."""
        return self._listed(self._enders, (_EVERY,), row, within)

    def moving(self, row: Row) -> Iterator[tuple[str, Row]]:
        """The policies on the entity of one that may fire where it may, and on which others depend by an order."""
        for name in {**self.followers, **self.overridden}:
            other = self.rows.get(name)
            if other is not None and other.ends & row.ends and other.policy.entity == row.policy.entity:
                yield name, other

    def asking(
        self,
        attrs: Iterable[AttrKey],
        end: bool,
        row: Row,
        where: int,
        value_of: Callable[[AttrKey], Value | Absent],
    ) -> dict[str, Row]:
        """The writers of some attributes and, with `end`, the policies that end requests, where one may fire at some
        letters; without those that see what arrives and ask for nothing on an input, with these values."""

        def which(listed: Outlines[str, Row]) -> Mapping[str, Row]:
            return listed.holding(value_of)

        found = self._listed(self._writers, attrs, row, where, which)
        if end:
            found |= self._listed(self._enders, (_EVERY,), row, where, which)
        return found

    def all_writers(self, attr: AttrKey) -> Set[str]:
        """The policies that write an attribute, wherever."""
        return self._writers.names(attr)

    def all_readers(self, attr: AttrKey) -> Set[str]:
        """The policies that read an attribute, wherever."""
        return self._readers.names(attr)

    def crowd(self, attrs: Iterable[AttrKey], letter: int) -> int:
        """How many policies write one of some attributes, or end requests, at one letter, roughly."""
        return sum(self._writers.crowd(a, letter) for a in attrs) + self._enders.crowd(_EVERY, letter)

    def those(self, names: Set[str], within: int) -> Iterator[tuple[str, Row]]:
        """Of some policies those that may fire at some letters; of many by looking at who may fire there."""
        if len(names) <= _SOME or within == -1:
            yield from ((n, row) for n in names if (row := self.rows[n]).ends & within)
            return
        there: dict[str, Row] = {}
        self._everyone.find(_EVERY, within, there)
        yield from ((n, row) for n, row in there.items() if n in names)

    def relevant(self, names: Iterable[str], within: int = -1) -> set[str]:
        """As `Effects.relevant`, with the names themselves; of the others those that may fire at some letters."""
        found = set(names)
        queue = [n for n in found if n in self.orders.over or n in self.orders.after]
        while queue:
            row = self.rows[queue.pop()]
            before = self.orders.after.get(row.policy.name, frozenset())
            for name, other in self.those(self.orders.over.get(row.policy.name, frozenset()) | before, within):
                if name in found:
                    continue
                if other.writes & row.writes or (name in before and other.writes & row.reads):
                    found.add(name)
                    queue.append(name)
        return found

    def marks(self, names: Iterable[str]) -> set[AttrKey]:
        """The attributes that travel, of those that some policies read."""
        return {a for n in names for a in self.rows[n].reads if self.attribute(a).travels}

    def closed(self, names: Set[str], fires: Sequence[Row] = (), marks: Iterable[AttrKey] = ()) -> set[str]:
        """Policies with all on which it depends what they do where some of them fire together: overriders and
        predecessors that fire there too, and whoever leaves the marks that they read (or some others)."""
        within = -1
        for row in fires:
            within &= row.ends
        found = self.relevant(names, within)
        if fires and len(found) > len(fires):
            letters, shapes = fires[0].letters, [r.shape for r in fires]
            found = {n for n in found if n in names or letters.meet(*shapes, self.rows[n].shape)}
        known: set[AttrKey] = set()
        while more := ({*marks, *self.marks(found)}) - known:
            known |= more
            found |= self.relevant(set().union(*(self.all_writers(a) for a in more)))
        return found

    def _listed(
        self,
        postings: Postings[AttrKey, Row],
        attrs: Iterable[AttrKey],
        row: Row,
        within: int = -1,
        which: Which[Row] | None = None,
    ) -> dict[str, Row]:
        """What is listed for some attributes where a policy may fire, of those on its entity. `which`: of those that
        see what arrives."""
        found: dict[str, Row] = {}
        attrs = tuple(attrs)
        for attr in attrs:
            postings.find(attr, row.ends & within, found, which)
        for name in self.orders.after if which is not None else ():  # they see what others make of it
            other = self.rows.get(name)
            if other is not None and name not in found and other.ends & row.ends & within:
                found.update({name: other} if any(name in postings.names(a) for a in attrs) else {})
        entity = row.policy.entity
        if any(r.policy.entity != entity for r in found.values()):
            return {n: r for n, r in found.items() if r.policy.entity == entity}
        return found


def _meeting(row: Row) -> Which[Row] | None:
    return (lambda listed: listed.meeting(row.outline)) if row.outline else None


def _reversed(names: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for name, others in names.items():
        for other in others:
            found.setdefault(other, set()).add(name)
    return {n: frozenset(others) for n, others in found.items()}
