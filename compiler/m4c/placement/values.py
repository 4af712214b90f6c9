"""How tag values travel, before they have numbers: what each service sends along in each of its joint classes.

Every update makes a value for the classes behind it, and, where somebody behind the update still decides on the hop
itself, for what happens there. Sets of values go over silent hops whole. Callees share the values of equal classes,
but for those that some service would then confuse: each callee has its own of these.

What a service sends is kept from one choice of elements to the next, unless something changed on the way to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any, TypeAlias

from m4c.paths.callpath import Hop
from m4c.paths.masks import bits
from m4c.placement.model import Position
from m4c.placement.rules import Effect
from m4c.placement.vectors import Vector, Vectors, drained
from m4c.semantics.model import Service

Key: TypeAlias = int  # a value
Keys: TypeAlias = int  # a set of them

ZERO: Keys = 1  # no tag
ANY: Keys = 2  # whatever comes from outside, or what decides nothing
FIRST: Key = 2  # of the values that updates make
_CHECK = 256  # services between two looks at whether to go on
_GONE = 1_000  # values that are not there any more before they are forgotten


@dataclass(frozen=True, slots=True)
class Flow:
    """Who updates the tag; at egress, for each `group` of callees (see `spoken`). `concerned`: the services behind
    which somebody looks at it before it is updated again; `live`: those of them that hand it on, by name. `behind`: the
    rules behind the update of their hop, which have to read off the new tag what to do. `marking`: where marks are
    written on a hop: there it is updated, whoever else could. `effects`: what a rule does, for some classes of the
    caller."""

    concerned: frozenset[str]
    live: Sequence[str]
    egress: Sequence[Mapping[str, Position]]
    group: Mapping[str, int]
    ingress: Mapping[str, Position]
    behind: Mapping[Hop, Sequence[int]]
    marking: Mapping[Hop, Position]
    effects: Callable[[int, Sequence[Vector]], Sequence[Effect]]

    def updater(self, hop: Hop) -> Position | None:
        """Who updates the tag on a hop to a service that is concerned."""
        found = self.marking.get(hop) or self.ingress.get(hop[1])
        return found if found is not None or hop[0] is None else self.egress[self.group[hop[1]]].get(hop[0])


@dataclass(frozen=True, slots=True)
class Sent:
    """What a service sends along, by its class. `made`: the values of updates on the hops to it, by the class there;
    `every`: all that is held."""

    held: dict[Vector, Keys]
    made: dict[Vector, Key]
    every: Keys


@dataclass(frozen=True, slots=True)
class _First:
    """What comes to a service over updates and by itself, and the callers from which all comes as it was."""

    made_from: tuple[Any, ...]
    held: dict[Vector, Keys]
    made: dict[Vector, Key]
    silent: tuple[str, ...]


class Values:
    """The values of one choice of elements after the other.

    `read`: of the hops on which somebody reads the new tag, (value, what it says), by the class before the hop, for
    each version of the callee."""

    def __init__(self, vectors: Vectors, services: Mapping[str, Service]) -> None:
        self.vectors, self.services = vectors, services
        self._clear()

    def _clear(self) -> None:
        self.sent: dict[str, Sent] = {}
        self.read: dict[Hop, list[dict[Vector, tuple[Key, object]]]] = {}
        self.values: list[object] = [None] * FIRST  # what each key stands for: classes; with what is read, if it is
        self._keys: dict[object, Key] = {}
        self._used = 0  # values, when all of them were needed
        self._first: dict[str, _First] = {}
        self._shared: dict[str, tuple[Sent, Keys]] = {}  # before values are told apart by callee, with those mixed up
        self._told: tuple[Keys, list[tuple[str, Sent]]] = (0, [])  # what was told apart, and where it was met

    def update(self, flow: Flow, checkpoint: Callable[[], None]) -> None:
        """Goes over to another choice of elements, or other classes."""
        if len(self.values) > self._used + self._used // 4 + _GONE:
            self._clear()
        fresh = not self._first
        try:
            self._update(flow, checkpoint)
        except BaseException:
            self._clear()
            raise
        if fresh:
            self._used = len(self.values)

    def _update(self, flow: Flow, checkpoint: Callable[[], None]) -> None:
        before, self._first, self.read = self._first, {}, {}
        dirty: dict[str, None] = {}
        for count, name in enumerate(flow.live):
            if count % _CHECK == 0:
                checkpoint()
            first = self._begin(flow, name, before.get(name))
            self._first[name] = first
            if first is not before.get(name) or name not in self._shared:
                dirty[name] = None
        onward: dict[str, list[str]] = {}
        for name, first in self._first.items():
            for caller in first.silent:
                onward.setdefault(caller, []).append(name)
        ended = {n: dict.fromkeys(self.vectors.at[n], ZERO) for n in flow.concerned if n not in self._first}
        shared = self._passed_on(dirty, onward, ended, checkpoint)
        self._shared = {name: shared[name] for name in flow.live}
        self._tell_apart(onward)

    def _key(self, value: object) -> Key:
        found = self._keys.get(value)
        if found is None:
            found = self._keys[value] = len(self.values)
            self.values.append(value)
        return found

    # --- what comes first ---

    def _begin(self, flow: Flow, name: str, before: _First | None) -> _First:
        over, service = self.vectors.over, self.services[name]
        loud: list[tuple[dict[Vector, Vector], ...]] = []
        reading: list[Hop] = []
        silent: list[str] = []
        for caller in self.vectors.callers[name]:
            hop: Hop = (caller, name)
            if hop in flow.behind:
                reading.append(hop)
            elif flow.updater(hop) is not None:
                loud.append(over[hop])
            else:
                silent.append(caller)
        entry: tuple[dict[Vector, Vector], ...] = over[None, name] if service.entry else ()
        if entry and name in flow.ingress:
            loud.append(entry)
        made_from = (self.vectors.at[name], *loud, None, entry, None, *(over[caller, name] for caller in silent))
        if before is not None and not reading and _same(before.made_from, made_from):
            return before
        held = dict.fromkeys(self.vectors.at[name], 0)
        if name in self.vectors.begun:
            held[self.vectors.begun[name]] |= ZERO
        if entry and name not in flow.ingress:
            for becomes in entry:
                held[becomes[0]] |= ZERO if service.trusted else ANY
        behind: set[Vector] = set()
        for hop_over in loud:
            for becomes in hop_over:
                behind.update(becomes.values())
        made = {vector: self._key(vector) for vector in held if vector in behind}
        for vector, key in made.items():
            held[vector] |= 1 << key
        for hop in reading:
            self._read(flow, hop, held)
        # What is read may say something else next time: then nothing is kept.
        return _First((object(),) if reading else made_from, held, made, tuple(silent))

    def _read(self, flow: Flow, hop: Hop, held: dict[Vector, Keys]) -> None:
        """The values of a hop with rules behind the update."""
        before = self.vectors.at[hop[0] or ""]
        rows = zip(*(flow.effects(rule, before) for rule in flow.behind[hop]), strict=True)
        reads = [tuple(map(id, row)) for row in rows]
        found: list[dict[Vector, tuple[Key, object]]] = []
        for becomes in self.vectors.over[hop]:
            of: dict[Vector, tuple[Key, object]] = {
                v: (self._key((becomes[v], hop, said)), said) for v, said in zip(before, reads, strict=True)
            }
            for vector, (key, _) in of.items():
                held[becomes[vector]] |= 1 << key
            found.append(of)
        self.read[hop] = found

    # --- over silent hops ---

    def _passed_on(
        self,
        dirty: dict[str, None],
        onward: Mapping[str, Sequence[str]],
        ended: Mapping[str, dict[Vector, Keys]],
        checkpoint: Callable[[], None],
    ) -> dict[str, tuple[Sent, Keys]]:
        queue = list(dirty)
        for name in queue:
            for callee in onward.get(name, ()):
                if callee not in dirty:
                    dirty[callee] = None
                    queue.append(callee)
        held = {name: dict(self._first[name].held) for name in dirty}
        pending = {name: dict(of) for name, of in held.items()}
        for name in dirty:
            for caller in self._first[name].silent:
                if caller not in dirty:
                    known = ended[caller] if caller in ended else self._shared[caller][0].held
                    self._go(caller, name, known, held, pending)
        self._spread(onward, held, pending, checkpoint)
        shared = dict(self._shared)
        for name, of in held.items():
            seen = twice = 0
            for keys in of.values():
                twice |= seen & keys
                seen |= keys
            if len(of) > 1:
                twice |= seen & ANY
            as_before, made = shared.get(name), self._first[name].made
            if as_before is None or as_before[0].held != of or as_before[0].made != made:
                shared[name] = (Sent(of, made, seen), twice)
        return shared

    def _go(
        self,
        caller: str,
        callee: str,
        news: Mapping[Vector, Keys],
        held: Mapping[str, dict[Vector, Keys]],
        pending: dict[str, dict[Vector, Keys]],
    ) -> None:
        there = held[callee]
        for becomes in self.vectors.over[caller, callee]:
            for vector, keys in news.items():
                then = becomes[vector]
                new = keys & ~there[then]
                if new:
                    there[then] |= new
                    waiting = pending.setdefault(callee, {})
                    waiting[then] = waiting.get(then, 0) | new

    def _spread(
        self,
        onward: Mapping[str, Sequence[str]],
        held: Mapping[str, dict[Vector, Keys]],
        pending: dict[str, dict[Vector, Keys]],
        checkpoint: Callable[[], None] = lambda: None,
    ) -> None:
        """Over silent hops everything goes on as it came."""
        for caller, news in drained(pending, checkpoint):
            for callee in onward.get(caller, ()):
                self._go(caller, callee, news, held, pending)

    # --- what is confused ---

    def _tell_apart(self, onward: Mapping[str, Sequence[str]]) -> None:
        """Gives every callee its own value where one that several share means two things somewhere.

        Other mixtures there are not: that is what it is for a choice of elements to be feasible, so one is an error of
        the planner."""
        mixed = 0
        for name, (_, twice) in self._shared.items():
            mixed |= twice
            for key in bits(twice):
                if key < FIRST or not isinstance(self.values[key], int):
                    raise _confused(name)
        before, self.sent = self.sent, {name: sent for name, (sent, _) in self._shared.items()}
        met = [(name, sent) for name, sent in self.sent.items() if sent.every & mixed]
        told, self._told = self._told, (mixed, met)
        if told[0] == mixed and [id(sent) for _, sent in told[1]] == [id(sent) for _, sent in met]:
            for name, _ in met:
                self.sent[name] = before[name]
            return
        held: dict[str, dict[Vector, Keys]] = {}
        made: dict[str, dict[Vector, Key]] = {}
        pending: dict[str, dict[Vector, Keys]] = {}
        for name, sent in met:
            held[name] = {vector: keys & ~mixed for vector, keys in sent.held.items()}
            made[name] = dict(sent.made)
            for vector, key in sent.made.items():
                if mixed >> key & 1:
                    own = made[name][vector] = self._key((name, vector))
                    held[name][vector] |= 1 << own
                    pending.setdefault(name, {})[vector] = 1 << own
        self._spread(onward, held, pending)
        for name, of in held.items():
            if _overlap(of.values()):
                raise _confused(name)
            known = before.get(name)
            if known is not None and known.held == of and known.made == made[name]:
                self.sent[name] = known
            else:
                every = 0
                for keys in of.values():
                    every |= keys
                self.sent[name] = Sent(of, made[name], every)


def _same(a: Sequence[object], b: Sequence[object]) -> bool:
    return len(a) == len(b) and all(map(is_, a, b))


def _overlap(sets: Iterable[Keys]) -> bool:
    seen = 0
    for keys in sets:
        if seen & keys:
            return True
        seen |= keys
    return False


def _confused(service: str) -> RuntimeError:
    return RuntimeError(f"the context does not tell the call paths to {service} apart")
