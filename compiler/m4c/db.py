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

*Memory*: `bounded_query` keeps a number of values; `sweep` drops what nobody has asked for since the last one.

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
from enum import IntEnum
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar

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


class Key(NamedTuple):
    """What a memo stands for: a query, or an input's kind, with its arguments."""

    name: str
    args: tuple[Hashable, ...]


_MISSING = object()  # the value of an input that was read and never set
_EVICTED = object()


class _Node:
    """An input, or the memo of a query.

    `edited` and `rest` say what those rest on that read it: the one edited input beneath (`_SEVERAL`: there are more),
    and how durable everything else is. `walks`: what it read has to be looked at in each revision.
    """

    __slots__ = ("changed_at", "deps", "edited", "key", "query", "rest", "value", "verified_at", "walks")

    def __init__(self, key: Key, query: Query[..., Any] | None) -> None:
        self.key = key
        self.query = query
        self.value: Any = _MISSING
        self.deps: tuple[_Node, ...] = ()
        self.changed_at = 0
        self.verified_at = 0
        self.edited: _Node | None = None
        self.rest = Durability.SHIPPED
        self.walks = False

    def copy(self) -> _Node:
        other = _Node(self.key, self.query)
        other.value, other.deps = self.value, self.deps
        other.changed_at, other.verified_at = self.changed_at, self.verified_at
        other.edited, other.rest, other.walks = self.edited, self.rest, self.walks
        return other

    def rests_on(self, edited: _Node | None, rest: Durability) -> None:
        """Puts down what a memo rests on; a firewall hides what is beneath it."""
        if self.query is not None and self.query.firewall:
            self.walks = edited is not None or rest <= Durability.DERIVED
            self.edited, self.rest = None, min(rest, Durability.DERIVED) if self.walks else rest
        else:
            self.walks = edited is _SEVERAL
            self.edited, self.rest = edited, rest


_SEVERAL = _Node(Key("", ()), None)


class _Frame:
    """A query that runs, and what it has read."""

    __slots__ = ("deps", "key")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.deps: dict[_Node, None] = {}


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
        self._nodes: dict[Key, _Node] = {}
        self._stack: list[_Frame] = []
        self._running: set[Key] = set()
        self._recent: dict[str, OrderedDict[Key, None]] = {}
        self._asked: dict[Key, None] = {}  # what was asked for from outside, since the last sweep
        self._changed_at = [1] * len(Durability)  # when something at least that durable last changed
        self._firewalls: dict[Key, None] = {}
        self._settled_at = 0
        self._settling = False
        self._kept: dict[Key, Any] = {}
        self._let_go: set[Key] = set()
        self._cancelled = False

    def fork(self) -> Database:
        """A database that knows what this one knows and goes its own way from here."""
        other = Database()
        other.revision, other._changed_at = self.revision, list(self._changed_at)
        other._firewalls, other._settled_at = dict(self._firewalls), self._settled_at
        other._let_go = set(self._let_go)
        other._recent = {name: OrderedDict(keys) for name, keys in self._recent.items()}
        copies = {node: node.copy() for node in self._nodes.values()}
        for node in copies.values():
            node.deps = tuple([copies[dep] for dep in node.deps])
            node.edited = copies.get(node.edited, _SEVERAL) if node.edited is not None else None
        other._nodes = {node.key: node for node in copies.values()}
        return other

    # --- inputs ---

    def set(self, kind: str, *args_and_value: Any, durability: Durability = Durability.EDITED) -> None:
        """Sets an input: `db.set(kind, *args, value)`. Setting an equal value changes nothing."""
        *args, value = args_and_value
        node = self._input(Key(kind, tuple(args)))
        self._let_go.discard(node.key)
        same, before = node.value == value, self._durability(node)
        if same and before == durability:
            return
        self.revision += 1
        # Also if it only becomes less durable: those that read it count as more durable than they are from now on.
        self._mark(max(durability, before))
        if not same:
            node.value, node.changed_at = value, self.revision
        edited = durability == Durability.EDITED
        node.edited, node.rest = (node, Durability.SHIPPED) if edited else (None, durability)

    def let_go(self, kind: str, *args: Hashable) -> None:
        """An input that nothing is to be asked about any more, unless it is set again: a sweep drops it with the last
        memo that has read it. Until then it stays as it is."""
        self._let_go.add(Key(kind, args))

    def _input(self, key: Key) -> _Node:
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = _Node(key, None)
            node.edited = node
        return node

    @staticmethod
    def _durability(node: _Node) -> Durability:
        return Durability.EDITED if node.edited is not None else node.rest

    def _mark(self, durability: Durability) -> None:
        """Something of this durability has changed."""
        for level in range(durability + 1):
            self._changed_at[level] = self.revision

    def input(self, kind: str, *args: Hashable) -> Any:
        """Reads an input inside or outside a query; `MissingInput` if it was never set."""
        value = self.input_or(kind, *args, default=_MISSING)
        if value is _MISSING:
            raise MissingInput(kind, args)
        return value

    def input_or(self, kind: str, *args: Hashable, default: Any) -> Any:
        """As `input`, but with a value for an input that was never set; setting it later counts as a change."""
        node = self._input(Key(kind, args))
        if self._cancelled:
            raise Cancelled
        if self._stack:
            self._stack[-1].deps[node] = None
        return default if node.value is _MISSING else node.value

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

    def sweep(self) -> int:
        """Drops the memos that nobody has asked for since the last sweep, directly or through others, and the inputs
        that were let go and that no other memo has read; how many."""
        queue = [self._nodes[key] for key in self._asked if key in self._nodes]
        alive = set(queue)
        while queue:
            for dep in queue.pop().deps:
                if dep not in alive:
                    alive.add(dep)
                    queue.append(dep)
        before = len(self._nodes)
        self._nodes = {
            key: node
            for key, node in self._nodes.items()
            if node in alive or (node.query is None and node.value is not _MISSING and key not in self._let_go)
        }
        self._let_go &= self._nodes.keys()
        for keys in (self._firewalls, *self._recent.values()):
            for key in [k for k in keys if k not in self._nodes]:
                del keys[key]
        self._asked = {}
        return before - len(self._nodes)

    # --- queries ---

    def _fetch(self, query: Query[..., Any], args: tuple[Hashable, ...]) -> Any:
        key = Key(query.name, args)
        if not self._stack:
            self._asked[key] = None
            if self._settled_at != self.revision:
                self._settle()
        if self._cancelled:
            raise Cancelled
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = _Node(key, query)
        if node.value is _EVICTED or node.value is _MISSING or not self._valid(node):
            self._run(node)
        if self._stack:
            self._stack[-1].deps[node] = None
        if query.lru is not None:
            self._touch(key, query.lru)
        return node.value

    def _settle(self) -> None:
        """Verifies the firewalls. Until they are, what reads them is looked at as if it were less durable."""
        self._settling = True
        try:
            for key in list(self._firewalls):
                node = self._nodes[key]
                if not self._valid(node):
                    self._run(node)
        finally:
            self._settling = False
        self._settled_at = self.revision

    def _valid(self, node: _Node) -> bool:
        """Whether nothing that a memo read has changed since it was verified; verifies it if so."""
        if node.verified_at == self.revision:
            return True
        if not self._stands(node):
            since = node.verified_at
            for dep in node.deps:
                if dep.query is not None and dep.verified_at != self.revision:
                    if self._cancelled:
                        raise Cancelled
                    if not self._valid(dep):
                        self._run(dep)
                if dep.changed_at > since:
                    return False
            _put_down(node)
        node.verified_at = self.revision
        return True

    def _stands(self, node: _Node) -> bool:
        """Whether what a memo rests on is known not to have changed since it was verified."""
        if node.walks or self._changed_at[node.rest] > node.verified_at:
            return False
        if self._settling and node.rest == Durability.DERIVED:
            return False
        return node.edited is None or node.edited.changed_at <= node.verified_at

    def _run(self, node: _Node) -> None:
        query, key = node.query, node.key
        assert query is not None  # noqa: S101 - inputs are not run
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
        if node.value is _MISSING or node.value is _EVICTED or node.value != value:
            node.value, node.changed_at = value, self.revision
            if query.firewall:
                self._mark(Durability.DERIVED)
        node.deps = tuple(frame.deps)
        node.verified_at = self.revision
        _put_down(node)
        if query.firewall:
            self._firewalls[key] = None

    def _touch(self, key: Key, lru: int) -> None:
        recent = self._recent.setdefault(key.name, OrderedDict())
        recent[key] = None
        recent.move_to_end(key)
        if len(recent) > lru:
            evicted, _ = recent.popitem(last=False)
            self._nodes[evicted].value = _EVICTED


def _put_down(node: _Node) -> None:
    """Works out what a memo rests on, from what it read."""
    edited: _Node | None = None
    rest = Durability.SHIPPED
    for dep in node.deps:
        if dep.edited is not None and dep.edited is not edited:
            edited = dep.edited if edited is None else _SEVERAL
        if dep.rest < rest:
            rest = dep.rest
    node.rests_on(edited, rest)
