"""The incremental query engine: inputs, derived queries, and red-green memoisation with early cutoff.

A *query* is a pure function of a database and hashable arguments. It may read inputs (`db.input`) and call other
queries; the engine records what it read. After an input changes, a query's old value is re-used if nothing that it read
has changed; and a query that was run again but came to an equal value stops the wave there (early cutoff). The scheme
is the one of rustc and Salsa ("red-green"): a memo carries the revision at which it was last *verified* and the one at
which its value last *changed*.

*Durability*: inputs differ in how often they change: texts that are being edited, files on the disk, what is shipped. A
memo is as durable as the least durable thing that it read, and is valid without a look at what it read as long as
nothing of that durability has changed. One edited text beneath is told apart from the rest. So an edit does not make
the engine walk over what the other files came to, be they open or not.

*Firewalls*: a query that reads every file, such as one for all names, reads the file that is being edited too, and
so would everything that reads it. A firewall is settled before anything else in each revision, and whoever reads it is
as durable as `DERIVED`: valid without a look, unless the value of some firewall has changed. There should be few, and
their values should hold little that edits touch.

Threads: one thread runs queries and sets inputs. Another may call `cancel()`: the running query stops with `Cancelled`
at its next read. Nothing that was finished is lost.

>>> @query
... def length(db: Database, name: str) -> int:
...     return len(db.input("text", name))
>>> db = Database()
>>> db.set("text", "a", "hello")
>>> length(db, "a")
5
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Durability(IntEnum):
    """How seldom something changes; what is less durable comes first."""

    EDITED = 0
    DERIVED = 1  # what firewalls answer
    STORED = 2
    SHIPPED = 3


class Cancelled(Exception):
    """The running query was asked to stop because its answer is no longer wanted."""


class CycleError(Exception):
    """A query needs its own answer. Carries the names of the queries on the cycle."""


class MissingInput(KeyError):
    """An input was read that was never set."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a memo stands for: a query, or an input's kind, with its arguments."""

    name: str
    args: tuple[Hashable, ...]


_SEVERAL = Key("", ())


@dataclass(slots=True)
class _Input:
    value: Any
    changed_at: int
    durability: Durability


_EVICTED = object()


@dataclass(slots=True)
class _Ground:
    """What something rests on: the edited input (none, one, or `_SEVERAL`), and how durable all the rest is."""

    edited: Key | None = None
    rest: Durability = Durability.SHIPPED

    def add(self, edited: Key | None, rest: Durability) -> None:
        if edited is not None and edited is not self.edited and edited != self.edited:
            self.edited = edited if self.edited is None else _SEVERAL
        if rest < self.rest:
            self.rest = rest


@dataclass(slots=True)
class _Memo:
    query: Query[..., Any]
    value: Any
    deps: tuple[Key, ...]
    changed_at: int
    verified_at: int
    ground: _Ground


@dataclass(slots=True)
class _Frame:
    key: Key
    deps: dict[Key, None] = field(default_factory=dict)
    ground: _Ground = field(default_factory=_Ground)


class Query(Generic[P, R]):
    """A memoised pure function of a database. `lru` bounds how many values are kept; dependencies always are."""

    def __init__(
        self, fn: Callable[Concatenate[Database, P], R], lru: int | None = None, firewall: bool = False
    ) -> None:
        self.fn = fn
        self.lru = lru
        self.firewall = firewall
        self.name = f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}"
        self.__doc__ = fn.__doc__
        self.__name__ = fn.__name__

    def __call__(self, db: Database, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = db._fetch(self, args)
        return result


def query(fn: Callable[Concatenate[Database, P], R]) -> Query[P, R]:
    """Makes a query of a function whose first argument is the database."""
    return Query(fn)


def bounded_query(lru: int) -> Callable[[Callable[Concatenate[Database, P], R]], Query[P, R]]:
    """As `query`, but at most `lru` values are kept; an evicted one is computed again when it is asked for."""
    return lambda fn: Query(fn, lru)


def firewall(fn: Callable[Concatenate[Database, P], R]) -> Query[P, R]:
    """As `query`, for what reads a lot and seldom changes: it is settled first in each revision."""
    return Query(fn, firewall=True)


class Database:
    """Inputs, memos, and the revision they belong to."""

    def __init__(self) -> None:
        self.revision = 1
        self.log: list[Key] | None = None  # the queries that ran, in order, while it is a list; for tests
        self._inputs: dict[Key, _Input] = {}
        self._memos: dict[Key, _Memo] = {}
        self._stack: list[_Frame] = []
        self._running: set[Key] = set()
        self._recent: dict[str, OrderedDict[Key, None]] = {}
        self._changed_at = [1] * len(Durability)  # when something at least that durable last changed
        self._firewalls: dict[Key, None] = {}
        self._settled_at = 0
        self._settling = False
        self._kept: dict[Key, Any] = {}
        self._cancelled = False

    def fork(self) -> Database:
        """A database that knows what this one knows and goes its own way from here."""
        other = Database()
        other.revision, other._changed_at = self.revision, list(self._changed_at)
        other._firewalls, other._settled_at = dict(self._firewalls), self._settled_at
        other._inputs = dict(self._inputs)
        other._memos = {key: replace(memo) for key, memo in self._memos.items()}
        other._recent = {name: OrderedDict(keys) for name, keys in self._recent.items()}
        return other

    # --- inputs ---

    def set(self, kind: str, *args_and_value: Any, durability: Durability = Durability.EDITED) -> None:
        """Sets an input: `db.set(kind, *args, value)`. Setting an equal value changes nothing."""
        *args, value = args_and_value
        key = Key(kind, tuple(args))
        old = self._inputs.get(key)
        if old is not None and old.value == value and old.durability == durability:
            return
        self.revision += 1
        # Also one that only becomes less durable: those that read it count as more durable than they are from now on.
        self._mark(durability if old is None else max(durability, old.durability))
        same = old is not None and old.value == value
        self._inputs[key] = _Input(value, old.changed_at if old is not None and same else self.revision, durability)

    def _mark(self, durability: Durability) -> None:
        """Something of this durability has changed."""
        for level in range(durability + 1):
            self._changed_at[level] = self.revision

    def input(self, kind: str, *args: Hashable) -> Any:
        """Reads an input inside or outside a query; `MissingInput` if it was never set."""
        key = Key(kind, args)
        self._depend(key)
        found = self._inputs.get(key)
        if found is None:
            raise MissingInput(kind, args)
        if self._stack:
            self._stack[-1].ground.add(*_of_input(key, found))
        return found.value

    def input_or(self, kind: str, *args: Hashable, default: Any) -> Any:
        """As `input`, but with a value for an input that was never set; setting it later counts as a change."""
        key = Key(kind, args)
        if key in self._inputs:
            return self.input(kind, *args)
        self._depend(key)
        if self._stack:
            self._stack[-1].ground.add(key, Durability.SHIPPED)
        return default

    def cancel(self) -> None:
        """Asks the running query to stop at its next read. Safe to call from another thread."""
        self._cancelled = True

    def resume(self) -> None:
        """Takes a `cancel` back, before the next query is asked."""
        self._cancelled = False

    def checkpoint(self) -> None:
        """Stops a query that works for long without a read, if it was asked to stop."""
        if self._cancelled:
            raise Cancelled

    def kept(self, name: str, *args: Hashable, make: Callable[[], R]) -> R:
        """Something that a query keeps between its runs, to be faster; its value must not depend on it."""
        key = Key(name, args)
        if key not in self._kept:
            self._kept[key] = make()
        found: R = self._kept[key]
        return found

    # --- queries ---

    def _depend(self, key: Key) -> None:
        if self._cancelled:
            raise Cancelled
        if self._stack:
            self._stack[-1].deps[key] = None

    def _fetch(self, query: Query[..., Any], args: tuple[Hashable, ...]) -> Any:
        if self._settled_at != self.revision and not self._stack:
            self._settle()
        key = Key(query.name, args)
        self._depend(key)
        memo = self._memos.get(key)
        if memo is None or memo.value is _EVICTED or not self._still_valid(memo):
            memo = self._run(key, query, memo)
        if self._stack:
            self._stack[-1].ground.add(*_of_memo(memo))
        if query.lru is not None:
            self._touch(key, query)
        return memo.value

    def _settle(self) -> None:
        """Verifies the firewalls. Until they are, what reads them is looked at as if it were less durable."""
        self._settling = True
        try:
            for key in list(self._firewalls):
                memo = self._memos[key]
                if not self._still_valid(memo):
                    self._run(key, memo.query, memo)
        finally:
            self._settling = False
        self._settled_at = self.revision

    def _still_valid(self, memo: _Memo) -> bool:
        """Whether nothing that the memo read has changed since it was verified; verifies it if so."""
        if memo.verified_at == self.revision:
            return True
        if not self._stands(memo):
            ground = _Ground()
            for dep in memo.deps:
                entry = self._inputs.get(dep)
                if entry is not None:
                    if entry.changed_at > memo.verified_at:
                        return False
                    ground.add(*_of_input(dep, entry))
                    continue
                if self._cancelled:
                    raise Cancelled
                found = self._memos.get(dep)
                if found is None:  # an input that was not there, and is not now
                    ground.add(dep, Durability.SHIPPED)
                    continue
                if not self._still_valid(found):
                    found = self._run(dep, found.query, found)
                if found.changed_at > memo.verified_at:
                    return False
                ground.add(*_of_memo(found))
            memo.ground = ground
        memo.verified_at = self.revision
        return True

    def _stands(self, memo: _Memo) -> bool:
        """Whether what a memo rests on is known not to have changed since it was verified."""
        edited, rest = memo.ground.edited, memo.ground.rest
        if edited is _SEVERAL or self._changed_at[rest] > memo.verified_at:
            return False
        if self._settling and rest == Durability.DERIVED:
            return False
        entry = self._inputs.get(edited) if edited is not None else None
        return entry is None or entry.changed_at <= memo.verified_at

    def _run(self, key: Key, query: Query[..., Any], old: _Memo | None) -> _Memo:
        if key in self._running:
            names = [f.key.name for f in self._stack]
            raise CycleError(" -> ".join([*names[names.index(key.name) :], key.name]))
        frame = _Frame(key)
        self._stack.append(frame)
        self._running.add(key)
        try:
            value = query.fn(self, *key.args)
        finally:
            self._stack.pop()
            self._running.discard(key)
        if self.log is not None:
            self.log.append(key)
        same = old is not None and old.value is not _EVICTED and old.value == value
        memo = _Memo(
            query,
            old.value if old is not None and same else value,
            tuple(frame.deps),
            old.changed_at if old is not None and same else self.revision,
            self.revision,
            frame.ground,
        )
        self._memos[key] = memo
        if query.firewall:
            self._firewalls[key] = None
            if not same:
                self._mark(Durability.DERIVED)
        return memo

    def _touch(self, key: Key, query: Query[..., Any]) -> None:
        recent = self._recent.setdefault(query.name, OrderedDict())
        recent[key] = None
        recent.move_to_end(key)
        if query.lru is not None and len(recent) > query.lru:
            evicted, _ = recent.popitem(last=False)
            self._memos[evicted].value = _EVICTED


def _of_input(key: Key, entry: _Input) -> tuple[Key | None, Durability]:
    """What those rest on that read an input."""
    if entry.durability == Durability.EDITED:
        return key, Durability.SHIPPED
    return None, entry.durability


def _of_memo(memo: _Memo) -> tuple[Key | None, Durability]:
    """What those rest on that read a memo."""
    if memo.query.firewall:
        return None, min(memo.ground.rest, Durability.DERIVED)
    return memo.ground.edited, memo.ground.rest
