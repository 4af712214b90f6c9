"""Seeded service graphs: layers from the entries down to the stores, few services that many call, and some cycles."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

WORDS = re.findall(
    r"\w+",
    "cart checkout payment catalog search account profile review shipping stock price offer basket order "
    "invoice ledger refund coupon loyalty wallet fraud risk session token consent notify mail sms feed media "
    "image video thumb geo route depot fleet courier parcel customs tax currency quote rate report audit "
    "metric export import sync index cache queue vault config flag rule score rank recommend taste trend "
    "forecast plan budget staff shift",
)
STORES = ("db", "store", "cache", "log", "bucket")
LAYERS = 8
# Of all services, how many are in each layer; the first holds entries and jobs, the last stores.
SHARES = (0.04, 0.08, 0.14, 0.18, 0.18, 0.14, 0.06, 0.18)


@dataclass(slots=True, eq=False)
class Service:
    """A service of a generated graph. Only entries and jobs begin chains of requests."""

    name: str
    layer: int
    team: str
    kind: str
    versions: tuple[str, ...] = ()
    callers: list[Service] = field(default_factory=list)
    callees: list[Service] = field(default_factory=list)

    @property
    def starts(self) -> bool:
        return self.kind in ("gateway", "job")


def service_graph(rng: Random, services: int, calls: int) -> list[Service]:
    """Services in the order of their layers. Every one of them is on a path from an entry or a job."""
    layers = min(LAYERS, max(2, services // 2))
    made: list[list[Service]] = [[] for _ in range(layers)]
    teams = [f"team-{WORDS[i % len(WORDS)]}{'' if i < len(WORDS) else i}" for i in range(max(2, services // 12))]
    sizes = _sizes(services, layers)
    names = _names(rng)
    for layer, size in enumerate(sizes):
        for i in range(size):
            last = layer == layers - 1
            kind = ("gateway" if i % 2 == 0 else "job") if layer == 0 else "store" if last else "service"
            word = next(names)
            name = {"gateway": f"{word}-web", "job": f"nightly-{word}", "service": word}.get(
                kind, f"{word}-{STORES[i % len(STORES)]}"
            )
            versions = ("v1", "v2", "v3")[: rng.choice((2, 2, 3))] if layer and rng.random() < 0.25 else ()
            made[layer].append(Service(name, layer, rng.choice(teams), kind, versions))
    _connect(rng, made, calls)
    return [s for layer in made for s in layer]


def _sizes(services: int, layers: int) -> list[int]:
    shares = SHARES if layers == LAYERS else (1 / layers,) * layers
    sizes = [max(1, round(services * share)) for share in shares]
    if layers > 2:
        sizes[0] = max(2, sizes[0])
        sizes[layers // 2] += services - sum(sizes)
        sizes[layers // 2] = max(1, sizes[layers // 2])
    return sizes


def _names(rng: Random) -> Iterator[str]:
    """Names as people give them: a word, and a number behind it where the word is taken."""
    words = list(WORDS)
    rng.shuffle(words)
    number = 1
    while True:
        for word in words:
            yield word if number == 1 else f"{word}{number}"
        number += 1


def _connect(rng: Random, made: list[list[Service]], calls: int) -> None:
    """Calls go down the layers, and to those that are called much already (Barabási and Albert 1999)."""
    known: set[tuple[str, str]] = set()
    callees = [list(layer) for layer in made]  # each as often as it is called, and once more
    callers = list(made[0])

    def call(caller: Service, callee: Service) -> bool:
        if caller is callee or (caller.name, callee.name) in known:
            return False
        known.add((caller.name, callee.name))
        caller.callees.append(callee)
        callee.callers.append(caller)
        callees[callee.layer].append(callee)
        callers.append(caller)
        return True

    for above, layer in pairwise(made):
        for service in layer:
            call(rng.choice(above), service)
    everyone = [s for layer in made for s in layer]
    cycles = max(1, len(everyone) // 100)
    inner = [layer for layer in made[1:-1] if len(layer) > 2]
    for _ in range(cycles if inner else 0):
        ring = rng.sample(rng.choice(inner), rng.choice((2, 2, 3)))
        for one, next_ in zip(ring, ring[1:] + ring[:1], strict=True):
            call(one, next_)
    for _ in range(20 * calls):
        if len(known) >= calls:
            break
        caller = rng.choice(callers if rng.random() < 0.5 else everyone)
        below = range(caller.layer + 1, len(made))
        if below:
            to = below[0] if rng.random() < 0.8 else rng.choice(below)
            call(caller, rng.choice(callees[to]))


def yaml(services: list[Service]) -> str:
    """The graph as `graph.yaml`."""
    lines = ["services:"]
    for s in services:
        facts = [f"labels: {{kind: {s.kind}, team: {s.team}}}"]
        facts += ["entry: true"] if s.kind == "gateway" else []
        facts += [] if s.kind == "job" else ["origin: false"]
        facts += [f"versions: [{', '.join(s.versions)}]"] if s.versions else []
        lines.append(f"  {s.name}: {{{', '.join(facts)}}}")
    lines.append("calls:")
    lines += [f"  - [{s.name}, {callee.name}]" for s in services for callee in s.callees]
    return "\n".join(lines) + "\n"
