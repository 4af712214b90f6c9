"""When a choice of elements can carry the context, and which rows of the solver a choice violates.

Per component, with the silent hops of the chosen elements (`model`):

(a) *zero*: from everything that carries tag 0 together (services that start chains, services that hand nothing on, and
    trusted outside), silent hops reach at most one class of each service;
(b) *branching*: the same from each single (service, class) that hands context on;
(c) *outside*: from an untrusted entry that hands context on, over a silent entry hop, silent hops reach no service with
    several classes, itself included;
(d) *versions*: where the class behind a hop depends on the version that answers, the callee's side updates the tag.

A row is a set of candidates of which at least one has to be chosen. Every feasible choice satisfies every row that is
made here, whatever choice it was made from, so adding them one after another keeps the solver's bound valid.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from m4c.paths.callpath import Hop
from m4c.paths.classes import Classes, Move
from m4c.placement.model import Candidate, Component, Problem

Row = frozenset[Candidate]


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken condition of one component: what would mend it, and why it is needed."""

    component: int
    row: Row  # empty: nothing mends it
    why: str


@dataclass(slots=True)
class _Reached:
    """How silent hops lead to one class of a service."""

    context: int
    hops: tuple[Hop, ...]


def violations(problem: Problem, chosen: Collection[Candidate]) -> list[Violation]:
    """Broken conditions of every component, several at once, without repeated rows; none: the choice is feasible."""
    out: dict[tuple[int, Row], Violation] = {}
    silent = silent_hops(problem, chosen)
    for i, component in enumerate(problem.components):
        for violation in _of_component(problem, i, component, silent, chosen):
            out.setdefault((i, violation.row), violation)
    return list(out.values())


def silent_hops(problem: Problem, chosen: Collection[Candidate]) -> set[Hop]:
    """The hops, entry hops included, on which no chosen element updates the tag."""
    ingress = {c.service for c in chosen if problem.updates(c, "ingress")}
    egress = {c.service for c in chosen if problem.updates(c, "egress")}
    graph = problem.program.graph
    entries: list[Hop] = [(None, name) for name, s in graph.services.items() if s.entry]
    hops = entries + [(call.caller, call.callee) for call in graph.calls]
    return {(u, v) for u, v in hops if v not in ingress and u not in egress}


def fixed_rows(problem: Problem) -> Iterator[Violation]:
    """(d), and what nothing can mend: neither depends on the choice."""
    services = problem.program.graph.services
    for i, component in enumerate(problem.components):
        classes = component.classes
        for service in sorted(classes.split):
            if not services[service].propagates:
                yield Violation(i, frozenset(), f"{service} does not hand on the context that later hops need")
        for service, own in classes.own.items():
            if len(own) > 1:
                why = f"requests that {service} starts by itself carry nothing that tells its versions apart"
                yield Violation(i, frozenset(), why)
        landings = [(hop[1], move) for hop, move in _moves(classes)]
        for callee, move in landings:
            if len(move.classes) > 1:
                why = f"which version of {callee} answers is known at its ingress only"
                yield Violation(i, frozenset(problem.updaters(callee, "ingress")), why)


def _moves(classes: Classes) -> Iterator[tuple[Hop, Move]]:
    for service, move in classes.entry.items():
        yield (None, service), move
    for (service, _), moves in classes.moves.items():
        for callee, move in moves.items():
            yield (service, callee), move


def _of_component(
    problem: Problem, i: int, component: Component, silent: set[Hop], chosen: Collection[Candidate]
) -> Iterator[Violation]:
    classes = component.classes
    services = problem.program.graph.services

    def row(*paths: Iterable[Hop]) -> Row:
        return frozenset(c for path in paths for hop in path for c in problem.silencers(hop))

    def meet(sources: list[tuple[str, _Reached]], what: str) -> Iterator[Violation]:
        """Breadth first over silent hops; where a second class of a service is reached, both ways to it are the row."""
        reached: dict[str, _Reached] = {}
        queue = list(sources)
        for service, here in queue:
            known = reached.get(service)
            if known is not None:
                if known.context != here.context:
                    why = f"{what} reach {service} in ways that later hops must tell apart"
                    yield Violation(i, row(known.hops, here.hops), why)
                continue
            reached[service] = here
            if services[service].propagates or not here.hops:  # what hands nothing on is a source itself
                for callee, move in classes.moves[service, here.context].items():
                    if (service, callee) in silent:
                        hops = (*here.hops, (service, callee))
                        queue.extend((callee, _Reached(c, hops)) for c in sorted(move.classes))

    zero = [(s, _Reached(c, ())) for s, own in classes.own.items() for c in sorted(own)]
    for service, count in classes.count.items():
        if not services[service].propagates and count == 1:
            zero.append((service, _Reached(0, ())))
    for service, move in classes.entry.items():
        if services[service].trusted and (None, service) in silent:
            zero.extend((service, _Reached(c, ((None, service),))) for c in sorted(move.classes))
    yield from meet(zero, "requests without a tag")
    for service, context in classes.moves:
        if services[service].propagates:
            yield from meet([(service, _Reached(context, ()))], f"requests through {service}")
    for service in classes.entry:
        if services[service].trusted or not services[service].propagates or (None, service) not in silent:
            continue
        seen: dict[str, tuple[Hop, ...]] = {service: ((None, service),)}
        for at in (queue := [service]):
            if at in classes.split:
                yield Violation(i, row(seen[at]), f"a tag forged outside would reach {at}")
                continue
            for context in range(classes.count.get(at, 0)):
                for callee in classes.moves[at, context]:
                    if (at, callee) in silent and services[at].propagates and callee not in seen:
                        seen[callee] = (*seen[at], (at, callee))
                        queue.append(callee)
