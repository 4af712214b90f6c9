"""What importers find: what is known of services and calls, with what they guessed and left out; merging; the graph.

Unlike in a graph, what nothing is known of is None, so that one input can add to another. Where two inputs differ, the
earlier one counts, and that is said.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from m4c.graph.documents import Remark, Value
from m4c.semantics.model import DEFAULT_PROTOCOL, Call, Graph, Service

MAX_NAME = 253  # characters, as in DNS
_SHOWN = 8  # names in a message


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says about the inputs."""

    period: float | None = None  # seconds over which requests were counted


NOTHING_SAID = Options()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a service; None: nothing."""

    versions: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    protocol: str | None = None
    entry: bool | None = None
    trusted: bool = False
    origin: bool | None = None
    propagates: bool | None = None
    external: bool | None = None
    rps: float | None = None  # requests a second from outside


@dataclass(frozen=True, slots=True)
class Imported:
    """What an importer found. With `problems` it is not to be used: something could not be read."""

    services: Mapping[str, Known]
    calls: Mapping[tuple[str, str], float | None]  # requests per second
    notes: tuple[Remark, ...] = ()
    problems: tuple[Remark, ...] = ()


@dataclass(slots=True)
class Draft:
    """What an importer has found so far."""

    services: dict[str, Known] = field(default_factory=dict)
    calls: dict[tuple[str, str], float | None] = field(default_factory=dict)
    notes: dict[Remark, None] = field(default_factory=dict)  # in order
    problems: list[Remark] = field(default_factory=list)

    def service(self, name: str, known: Known = Known()) -> None:
        """Adds a service, or to it."""
        old = self.services.get(name)
        self.services[name] = known if old is None else joined(old, known)[0]

    def call(self, caller: str, callee: str, rps: float | None = None) -> None:
        """Adds a call, or its rate to it."""
        old = self.calls.get((caller, callee))
        self.calls[caller, callee] = rps if old is None else old + (rps or 0)

    def rounded(self) -> None:
        """Leaves four digits of the rates: they are means over some time."""
        self.calls = {ends: None if rps is None else float(f"{rps:.4g}") for ends, rps in self.calls.items()}

    def note(self, value: Value | None, message: str) -> None:
        self.notes[Remark("", 0, message) if value is None else value.remark(message)] = None

    def done(self) -> Imported:
        return Imported(self.services, self.calls, tuple(self.notes), tuple(self.problems))


def joined(one: Known, other: Known) -> tuple[Known, list[str]]:
    """What two inputs know of a service, and where they differ: there the first one counts."""
    differ = []
    found: dict[str, object] = {
        "versions": tuple(dict.fromkeys((*one.versions, *other.versions))),
        "labels": tuple(sorted((dict(other.labels) | dict(one.labels)).items())),
        "trusted": one.trusted if one.entry is not None else other.trusted,
    }
    mine = dict(one.labels)
    differ += [f"label `{k}`" for k, v in other.labels if mine.get(k, v) != v]
    for key in ("protocol", "entry", "origin", "propagates", "external", "rps"):
        a, b = getattr(one, key), getattr(other, key)
        found[key] = b if a is None else a
        if a is not None and b is not None and a != b:
            differ.append(f"`{key}`")
    return dataclasses.replace(one, **found), differ  # type: ignore[arg-type]


def merged(parts: Sequence[tuple[str, Imported]]) -> Imported:
    """Several imports as one, each with what messages call it."""
    draft = Draft()
    rates: dict[tuple[str, str], float] = {}
    for name, part in parts:
        draft.notes |= dict.fromkeys(part.notes)
        draft.problems += part.problems
        for service, known in part.services.items():
            old = draft.services.get(service, Known())
            draft.services[service], differ = joined(old, known)
            for what in differ:
                draft.note(None, f"`{service}` has another {what} in {name} than in the inputs before, which count")
        draft.calls |= dict.fromkeys(part.calls)
        rates = {k: r for k, r in part.calls.items() if r is not None} | rates
    draft.calls |= rates
    alone = sorted(set(draft.services) - {end for ends in draft.calls for end in ends})
    if alone and len(draft.services) > 1:
        draft.note(None, f"no input knows of calls to or from {listed(alone)}")
    name, only = min(_alone(parts), key=lambda found: len(found[1]), default=("", []))
    if only:
        draft.note(None, f"only in {name}: {listed(only)}; is one of them called otherwise elsewhere?")
    return draft.done()


def _alone(parts: Sequence[tuple[str, Imported]]) -> Iterator[tuple[str, list[str]]]:
    """The services that only one of several inputs knows. Where these are fewest, they may be misnamed."""
    for i, (name, part) in enumerate(parts):
        others = {s for _, p in (*parts[:i], *parts[i + 1 :]) for s in p.services}
        if others:
            yield name, sorted(set(part.services) - others)


def graph_of(imported: Imported) -> tuple[Graph | None, tuple[Remark, ...], tuple[Remark, ...]]:
    """The graph, what had to be guessed for it, and what is wrong (then there is no graph).

    If no input says where outside traffic comes in, it is where nobody calls.
    """
    wrong = [Remark("", 0, f"`{_shown(n)}` {why}") for n, k in imported.services.items() for why in _unfit(n, k)]
    if not imported.services:
        wrong.append(Remark("", 0, "no services were found"))
    if wrong:
        return None, (), tuple(wrong)
    known = dict(imported.services)
    guesses = []
    if not any(k.entry for k in known.values()):
        called = {callee for caller, callee in imported.calls if caller != callee}
        open_ = {n for n, k in known.items() if n not in called and not k.external and k.entry is None}
        known = {n: dataclasses.replace(k, entry=True) if n in open_ else k for n, k in known.items()}
        which = f"those that nobody calls: {listed(sorted(open_))}" if open_ else "none, for each is called"
        guesses.append(Remark("", 0, f"no input says where outside traffic comes in; taken for entries are {which}"))
    services = {name: _service(name, known[name]) for name in sorted(known)}
    calls = tuple(Call(*ends, imported.calls[ends]) for ends in sorted(imported.calls))
    return Graph(services, calls), tuple(guesses), ()


def _service(name: str, known: Known) -> Service:
    return Service(
        name,
        tuple(sorted(set(known.versions), key=natural)),
        known.labels,
        known.protocol or DEFAULT_PROTOCOL,
        bool(known.entry),
        bool(known.entry) and known.trusted,
        known.origin is not False,
        known.propagates is not False,
        bool(known.external),
        known.rps,
    )


def _unfit(name: str, known: Known) -> Iterator[str]:
    if name == "outside":
        yield "cannot be the name of a service: in call paths it is what is not in the graph"
    elif not name.strip() or not name.isprintable():
        yield "cannot be the name of a service: it is empty, or has characters that cannot be shown"
    elif len(name) > MAX_NAME:
        yield f"cannot be the name of a service: it is longer than {MAX_NAME} characters"
    texts = (*known.versions, *(t for label in known.labels for t in label), known.protocol or "")
    if any("\ud800" <= c <= "\udfff" for t in texts for c in t):
        yield "has a version, a label or a protocol with half of a character"


def natural(text: str) -> tuple[tuple[bool, int, str], ...]:
    """Sorts v2 before v10."""
    parts = re.split(r"(\d{1,18})", text)
    return tuple((p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in parts if p)


def listed(names: Sequence[str]) -> str:
    """Names in a message; not too many of them."""
    shown = ", ".join(f"`{_shown(n)}`" for n in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _shown(name: str) -> str:
    name = name if name.isprintable() else ascii(name)[1:-1]
    return name if len(name) <= 60 else f"{name[:57]}…"
