"""The services of a mesh and who calls whom, as a graph file says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_PROTOCOL = "http"  # of a service that does not say what it speaks


@dataclass(frozen=True, slots=True)
class Service:
    name: str
    versions: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    protocol: str = DEFAULT_PROTOCOL
    entry: bool = False
    trusted: bool = False  # `entry: trusted`: what is in front already strips our context
    origin: bool = True
    propagates: bool = True
    external: bool = False
    rps: float | None = None  # requests a second that come from outside, where known


@dataclass(frozen=True, slots=True)
class Call:
    caller: str
    callee: str
    rps: float | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """The service graph. Services and calls are sorted by name."""

    services: Mapping[str, Service]
    calls: tuple[Call, ...]

    def rates(self) -> dict[str, float]:
        """For each service, the requests a second that come to it and that it sends, as far as they are known; one to
        itself is two, for both of its sides have work."""
        found = {name: s.rps or 0.0 for name, s in self.services.items()}
        for call in self.calls:
            found[call.caller] += call.rps or 0.0
            found[call.callee] += call.rps or 0.0
        return found

    def labels(self) -> dict[str, frozenset[str]]:
        """The labels that services have, each with its values."""
        found: dict[str, set[str]] = {}
        for service in self.services.values():
            for key, value in service.labels:
                found.setdefault(key, set()).add(value)
        return {key: frozenset(values) for key, values in found.items()}

    def callees(self, service: str) -> list[str]:
        return [c.callee for c in self.calls if c.caller == service]
