"""Who listens where: the addresses of applications and proxies, a pure function of the graph and the elements.

There is one listener for each (caller, callee), so that the callee's side of a hop knows its peer. Addresses are
numbered in the order of the services' names: the same graph and plan give the same addresses. A proxy has none for
hops whose protocol it does not speak: what is sent there passes it by.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from m4c.semantics.model import Graph

OUTSIDE = "outside"
BASE_PORT = 20000
HOST = "127.0.0.1"
LAST_PORT = 65535

Versions = dict[str, str]  # version ("" for a service without versions) → address


def stops(addresses: Mapping[str, str]) -> list[dict[str, str]]:
    """Addresses by version, as templates have them."""
    return [{"version": v, "address": a} for v, a in addresses.items()]


class NoPortLeft(Exception):
    """The mesh needs more ports than there are from the base port on."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A proxy's listener for one site; `forward` is where its requests go next, by version."""

    site: str  # "ingress.frontend", "egress.paymentservice"
    version: str
    address: str
    forward: tuple[tuple[str, str], ...]

    def plain(self) -> dict[str, Any]:
        forward = stops(dict(self.forward))
        return {"site": self.site, "version": self.version, "address": self.address, "forward": forward}


@dataclass(frozen=True, slots=True)
class Wiring:
    """The addresses of one service: see the how-to page on writing a dataplane for what each is."""

    app: Mapping[str, str]
    listen: tuple[Listener, ...]
    remote: Mapping[str, Mapping[str, str]]  # callee → version → where this service's connections go
    dial: Mapping[str, tuple[str, ...]]
    entry: tuple[str, ...]
    admin: str | None

    def plain(self) -> dict[str, Any]:
        """As templates and `wiring.json` have it."""
        return {
            "app": dict(self.app),
            "listen": [x.plain() for x in self.listen],
            "remote": {callee: stops(there) for callee, there in self.remote.items()},
            "dial": {callee: list(addresses) for callee, addresses in self.dial.items()},
            "entry": list(self.entry),
            "admin": self.admin,
        }


def wire(
    graph: Graph, proxies: Mapping[str, Collection[str]], base_port: int = BASE_PORT, host: str = HOST
) -> dict[str, Wiring]:
    """The addresses of every service. `proxies`: the services with a proxy element beside them, and the protocols that
    it speaks. Raises NoPortLeft."""
    ports: Iterator[int] = count(base_port)
    callers: dict[str, list[str]] = {name: [] for name in graph.services}
    callees: dict[str, list[str]] = {name: [] for name in graph.services}
    for call in graph.calls:
        callers[call.callee].append(call.caller)
        callees[call.caller].append(call.callee)

    def passes(service: str, callee: str) -> bool:
        """Whether what is sent to a callee passes the proxy of a service, which is at one end."""
        return graph.services[callee].protocol in proxies.get(service, ())

    def address() -> str:
        number = next(ports)
        if number > LAST_PORT:
            raise NoPortLeft(f"the mesh needs more ports than there are from {base_port} on")
        return f"{host}:{number}"

    apps: dict[str, Versions] = {}
    ingress: dict[str, dict[str, Versions]] = {}
    egress: dict[str, Versions] = {}
    admin: dict[str, str] = {}
    for name in sorted(graph.services):
        service = graph.services[name]
        versions = service.versions or ("",)
        apps[name] = {v: address() for v in versions}
        if name in proxies:
            admin[name] = address()
            peers = sorted(callers[name]) + ([OUTSIDE] if service.entry else [])
            ingress[name] = {peer: {v: address() for v in versions} for peer in peers if passes(name, name)}
            egress[name] = {callee: address() for callee in sorted(callees[name]) if passes(name, callee)}

    def reached(caller: str, callee: str) -> Versions:
        return ingress[callee][caller] if passes(callee, callee) else apps[callee]

    out: dict[str, Wiring] = {}
    for name in sorted(graph.services):
        remote = {callee: reached(name, callee) for callee in sorted(callees[name])}
        listen: list[Listener] = []
        for peer, addresses in ingress.get(name, {}).items():
            for version, at in addresses.items():
                listen.append(Listener(f"ingress.{peer}", version, at, ((version, apps[name][version]),)))
        for callee, at in egress.get(name, {}).items():
            listen.append(Listener(f"egress.{callee}", "", at, tuple(remote[callee].items())))
        dial = {
            callee: (egress[name][callee],) if passes(name, callee) else tuple(there.values())
            for callee, there in remote.items()
        }
        entry: tuple[str, ...] = ()
        if graph.services[name].entry:
            entry = tuple(reached(OUTSIDE, name).values())
        out[name] = Wiring(apps[name], tuple(listen), remote, dial, entry, admin.get(name))
    return out
