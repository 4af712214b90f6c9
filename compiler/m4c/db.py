"""The incremental query engine: inputs, derived queries, and red-green memoisation with early cutoff.

A *query* is a pure function of a database and hashable arguments. It may read inputs (`db.input`) and call other
queries; the engine records what it read. After an input changes, a query's old value is re-used if nothing that it read
has changed; and a query that was run again but came to an equal value stops the wave there (early cutoff). The scheme
is the one of rustc and Salsa ("red-green"): a memo carries the revision at which it was last *verified* and the one at
which its value last *changed*.

*Durability*: an input set with `durable=True` (the shipped specs) is expected to change hardly ever. A memo that read
durable inputs only is valid without a look at what it read, as long as no durable input was set.

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
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


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


@dataclass(slots=True)
class _Input:
    value: Any
    changed_at: int
    durable: bool


_EVICTED = object()


@dataclass(slots=True)
class _Memo:
    query: Query[..., Any]
    value: Any
    deps: tuple[Key, ...]
    changed_at: int
    verified_at: int
    durable: bool


@dataclass(slots=True)
class _Frame:
    key: Key
    deps: dict[Key, None] = field(default_factory=dict)
    durable: bool = True


class Query(Generic[P, R]):
    """A memoised pure function of a database. `lru` bounds how many values are kept; dependencies always are."""

    def __init__(self, fn: Callable[Concatenate[Database, P], R], lru: int | None) -> None:
        self.fn = fn
        self.lru = lru
        self.name = f"{fn.__module__.rpartition('.')[2]}.{fn.__name__}"
        self.__doc__ = fn.__doc__
        self.__name__ = fn.__name__

    def __call__(self, db: Database, *args: P.args, **kwargs: P.kwargs) -> R:
        result: R = db._fetch(self, args)
        return result


def query(fn: Callable[Concatenate[Database, P], R]) -> Query[P, R]:
    """Makes a query of a function whose first argument is the database."""
    return Query(fn, None)


def bounded_query(lru: int) -> Callable[[Callable[Concatenate[Database, P], R]], Query[P, R]]:
    """As `query`, but at most `lru` values are kept; an evicted one is computed again when it is asked for."""
    return lambda fn: Query(fn, lru)


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
        self._durable_changed_at = 1
        self._cancelled = False

    def fork(self) -> Database:
        """A database that knows what this one knows and goes its own way from here."""
        other = Database()
        other.revision, other._durable_changed_at = self.revision, self._durable_changed_at
        other._inputs = dict(self._inputs)
        other._memos = {key: replace(memo) for key, memo in self._memos.items()}
        other._recent = {name: OrderedDict(keys) for name, keys in self._recent.items()}
        return other

    # --- inputs ---

    def set(self, kind: str, *args_and_value: Any, durable: bool = False) -> None:
        """Sets an input: `db.set(kind, *args, value)`. Setting an equal value changes nothing."""
        *args, value = args_and_value
        key = Key(kind, tuple(args))
        old = self._inputs.get(key)
        if old is not None and old.value == value and old.durable == durable:
            return
        self.revision += 1
        if durable or (old is not None and old.durable):
            self._durable_changed_at = self.revision
        self._inputs[key] = _Input(value, self.revision, durable)

    def input(self, kind: str, *args: Hashable) -> Any:
        """Reads an input inside or outside a query; `MissingInput` if it was never set."""
        key = Key(kind, args)
        self._depend(key)
        found = self._inputs.get(key)
        if found is None:
            raise MissingInput(kind, args)
        if self._stack and not found.durable:
            self._stack[-1].durable = False
        return found.value

    def input_or(self, kind: str, *args: Hashable, default: Any) -> Any:
        """As `input`, but with a value for an input that was never set; setting it later counts as a change."""
        key = Key(kind, args)
        if key in self._inputs:
            return self.input(kind, *args)
        self._depend(key)
        if self._stack:
            self._stack[-1].durable = False
        return default

    def cancel(self) -> None:
        """Asks the running query to stop at its next read. Safe to call from another thread."""
        self._cancelled = True

    def resume(self) -> None:
        """Takes a `cancel` back, before the next query is asked."""
        self._cancelled = False

    # --- queries ---

    def _depend(self, key: Key) -> None:
        if self._cancelled:
            raise Cancelled
        if self._stack:
            self._stack[-1].deps[key] = None

    def _fetch(self, query: Query[..., Any], args: tuple[Hashable, ...]) -> Any:
        key = Key(query.name, args)
        self._depend(key)
        memo = self._memos.get(key)
        if memo is None or memo.value is _EVICTED or not self._still_valid(memo):
            memo = self._run(key, query, memo)
        if self._stack and not memo.durable:
            self._stack[-1].durable = False
        if query.lru is not None:
            self._touch(key, query)
        return memo.value

    def _still_valid(self, memo: _Memo) -> bool:
        """Whether nothing that the memo read has changed since it was verified; verifies it if so."""
        if memo.verified_at == self.revision:
            return True
        if not (memo.durable and self._durable_changed_at <= memo.verified_at):
            for dep in memo.deps:
                if self._changed_since(dep, memo.verified_at):
                    return False
        memo.verified_at = self.revision
        return True

    def _changed_since(self, dep: Key, revision: int) -> bool:
        if self._cancelled:
            raise Cancelled
        entry = self._inputs.get(dep)
        if entry is not None:
            return entry.changed_at > revision
        memo = self._memos.get(dep)
        if memo is None:
            return True
        if not self._still_valid(memo):
            memo = self._run(dep, memo.query, memo)
        return memo.changed_at > revision

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
            frame.durable,
        )
        self._memos[key] = memo
        return memo

    def _touch(self, key: Key, query: Query[..., Any]) -> None:
        recent = self._recent.setdefault(query.name, OrderedDict())
        recent[key] = None
        recent.move_to_end(key)
        if query.lru is not None and len(recent) > query.lru:
            evicted, _ = recent.popitem(last=False)
            self._memos[evicted].value = _EVICTED
