"""A call path, and the letters that path patterns read: instances of services.

An *instance* is a service in one of its versions; a service without versions has one instance, of version None. The
word of a call path is its instances in order, preceded by one letter for "outside" when the chain came from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from m4c.semantics.model import Graph, Service

Version: TypeAlias = str | None
Letter: TypeAlias = tuple[str, Version]  # (service, version)
Hop: TypeAlias = tuple[str | None, str]  # (caller, or None from outside; callee)


@dataclass(frozen=True, slots=True)
class CallPath:
    """One call path: where the chain came from, the services it went through, and the version that answered at each."""

    outside: bool
    services: tuple[str, ...]
    versions: tuple[str | None, ...]

    @property
    def has_hop(self) -> bool:
        """False only for a service that has started a chain by itself and has called nobody yet."""
        return self.outside or len(self.services) > 1

    @property
    def hop(self) -> Hop:
        """The last hop: (caller, callee), or (None, service) for the entry hop. Without a hop: ValueError."""
        if not self.has_hop:
            raise ValueError(f"{self} has no hop")
        return (self.services[-2] if len(self.services) > 1 else None, self.services[-1])

    @property
    def letters(self) -> tuple[Letter, ...]:
        return tuple(zip(self.services, self.versions, strict=True))

    def prefixes(self) -> Iterator[CallPath]:
        """The paths up to each hop of this one, the shortest first: what each hop's patterns are matched against."""
        for n in range(1 if self.outside else 2, len(self.services) + 1):
            yield CallPath(self.outside, self.services[:n], self.versions[:n])

    @property
    def by_service(self) -> str:
        """As M4 writes it, where the versions do not matter."""
        return self._written(self.services)

    def __str__(self) -> str:
        return self._written([s if v is None else f"{s}:{v}" for s, v in self.letters])

    def _written(self, steps: Sequence[str]) -> str:
        return " -> ".join(["outside", *steps] if self.outside else steps)


def instances(service: Service) -> tuple[Letter, ...]:
    """The letters of one service, by version."""
    return tuple((service.name, v) for v in sorted(service.versions)) or ((service.name, None),)


def alphabet(graph: Graph) -> tuple[Letter, ...]:
    """Every letter of a graph, by service and version."""
    return tuple(letter for name in sorted(graph.services) for letter in instances(graph.services[name]))


def callees(graph: Graph) -> dict[str, list[str]]:
    """Who calls whom, each list sorted and without repetition; calls of services that the graph lacks are left out."""
    out: dict[str, set[str]] = {name: set() for name in sorted(graph.services)}
    for call in graph.calls:
        if call.caller in out and call.callee in out:
            out[call.caller].add(call.callee)
    return {name: sorted(to) for name, to in out.items()}


def hops(graph: Graph) -> list[Hop]:
    """Every hop of a graph: the entry hops, then the calls, each by name."""
    entries: list[Hop] = [(None, name) for name in sorted(graph.services) if graph.services[name].entry]
    return entries + [(u, v) for u, to in callees(graph).items() for v in to]
