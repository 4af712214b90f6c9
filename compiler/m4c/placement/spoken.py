"""Protocols, as placement sees them: who has no part in a hop, and where no context comes.

The protocol of a hop is its callee's. What is sent there passes a dataplane that does not speak it by, and a tag with
it. Where a protocol has no requests, no tag comes with it either, so its service is one that hands none on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from m4c.paths.masks import Letters
from m4c.placement.rules import Rule
from m4c.semantics.model import Program, Service


@dataclass(frozen=True, slots=True)
class Spoken:
    """What follows from the protocols of services. `deaf`: the dataplanes that do not speak as a service does. The hops
    to the services of one `group` have the same dataplanes on them, as far as protocols go; `groups`: the letters of
    each."""

    services: Mapping[str, Service] = field(default_factory=dict)  # those to which no context can come hand none on
    deaf: Mapping[str, frozenset[str]] = field(default_factory=dict)
    bare: frozenset[str] = frozenset()  # services in whose protocol some entity is not there
    untold: frozenset[str] = frozenset()  # services to which no context can come
    group: Mapping[str, int] = field(default_factory=dict)
    groups: tuple[int, ...] = ()

    def absent(self, program: Program, rule: Rule) -> str | None:
        """Why there is nothing on its hop that a rule could be about, if so."""
        callee = rule.hop[1]
        entity, protocol = program.entities[rule.entity], self.services[callee].protocol
        if entity.protocols is None or protocol in entity.protocols:
            return None
        return f"{callee} speaks {protocol}, and in that there is no {entity.name}"


def spoken(program: Program, letters: Letters) -> Spoken:
    """Looks at the protocols of a program."""
    known: dict[str, tuple[frozenset[str], bool, bool]] = {}
    numbers: dict[tuple[frozenset[str], bool], int] = {}
    groups: list[int] = []
    services: dict[str, Service] = {}
    deaf: dict[str, frozenset[str]] = {}
    bare: list[str] = []
    untold: list[str] = []
    group: dict[str, int] = {}
    for name, service in program.graph.services.items():
        said = service.protocol
        if said not in known:
            unable = frozenset(n for n, d in program.dataplanes.items() if said not in d.speaks)
            lacking = any(e.protocols is not None and said not in e.protocols for e in program.entities.values())
            known[said] = unable, lacking, program.carries_context(said)
        unable, lacking, carries = known[said]
        if unable:
            deaf[name] = unable
        if lacking:
            bare.append(name)
        if not carries:
            untold.append(name)
        number = group[name] = numbers.setdefault((unable, carries), len(numbers))
        if number == len(groups):
            groups.append(0)
        groups[number] |= letters.service(name)
        services[name] = service if carries or not service.propagates else replace(service, propagates=False)
    return Spoken(services, deaf, frozenset(bare), frozenset(untold), group, tuple(groups))
