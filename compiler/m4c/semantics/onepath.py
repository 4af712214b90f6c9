"""The one call path that a test names: from its pattern to the services that it goes through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from m4c.semantics.model import Entity, Graph, Named
from m4c.semantics.policies import Names, check_pattern, connection_pattern
from m4c.semantics.problems import Edit, Fix, Problem
from m4c.semantics.values import Scope
from m4c.syntax import tree as t
from m4c.syntax import words

OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class OnePath:
    """A call path: where it comes from, the services, and which version of each answers."""

    outside: bool = False
    services: tuple[str, ...] = ()
    versions: tuple[str | None, ...] = ()


def check_one_path(
    node: t.PatternNode, entity: Entity | None, scope: Scope, names: Names, graph: Graph | None
) -> OnePath | None:
    """The call path that a pattern names, if it names one; None with a problem reported, or without a graph.

    Where no version is said, the first one of the service answers.
    """
    before = len(scope.problems)
    steps = check_pattern(node, scope, names).steps
    if entity is not None and entity.connection:
        connection_pattern(entity, node, scope)
    if graph is None or len(scope.problems) > before:
        return None
    named = [s.one for s in steps if isinstance(s.one, Named) and not s.star]
    path = _Path(node, [n.service for n in named], [n.version for n in named], scope, graph)
    vague = [s for s, step in zip(node.steps, steps, strict=True) if step.star or not isinstance(step.one, Named)]
    if vague:
        first = t.PatternNode((vague[0],), False, vague[0].start, vague[0].end)
        path.report("a test follows one call path, so each of its steps is one service, by its name", first)
        return None
    if not path.connected() or not (entity is None or entity.connection or path.starts()):
        return None
    versions = (
        v or next(iter(graph.services[s].versions), None) for s, v in zip(path.services, path.given, strict=True)
    )
    return OnePath(node.outside, tuple(path.services), tuple(versions))


class _Path:
    """The named services of a pattern, held to the graph. What is wrong is reported with the nearest call path."""

    def __init__(
        self, node: t.PatternNode, services: list[str], versions: list[str | None], scope: Scope, graph: Graph
    ) -> None:
        self.node = node
        self.services = services
        self.given = versions
        self.scope = scope
        self.graph = graph

    def report(self, message: str, node: t.PatternNode) -> None:
        near = self.nearest()
        if near is not None:
            message += f"; `{near}` is a call path"
        whole = self.scope.at(self.node)
        fixes = (Fix(f"Change to `{near}`", (Edit(whole, near),)),) if near is not None else ()
        self.scope.problems.append(Problem("not-a-path", message, self.scope.at(node), fixes=fixes))

    def connected(self) -> bool:
        """Whether each step is a call of the graph."""
        for i, (u, v) in enumerate(pairwise(self.services)):
            if v not in self.graph.callees(u):
                first, second = self.node.steps[i : i + 2]
                span = t.PatternNode((first, second), False, first.start, second.end)
                self.report(f"the graph has no call from `{u}` to `{v}`", span)
                return False
        return True

    def starts(self) -> bool:
        """Whether a chain of requests can start where the path does, and has a hop."""
        first = self.graph.services[self.services[0]]
        if self.node.outside and not first.entry:
            message = f"`{first.name}` is no entry, so nothing from outside reaches it directly"
        elif not self.node.outside and not first.origin:
            message = f"`{first.name}` never starts a request by itself (`origin: false`)"
        elif not self.node.outside and len(self.services) == 1:
            message = f"`{first.name}` by itself is no request: nobody calls it here"
        else:
            return True
        step = self.node.steps[0]
        self.report(message, t.PatternNode((step,), self.node.outside, self.node.start, step.end))
        return False

    def nearest(self) -> str | None:
        """The call path through these services, in this order, with the fewest others; None if there is none."""
        if not self.services:
            return None
        first = self.graph.services[self.services[0]]
        alone = len(self.services) == 1
        starts = first.entry if self.node.outside else first.origin and not alone
        outside = self.node.outside if starts else first.entry or alone or not first.origin
        services = [first.name]
        if outside and not first.entry:
            way = self._way([s.name for s in self.graph.services.values() if s.entry], first.name)
            if way is None:
                return None
            services = [*way]
        versions = {len(services) - 1: self.given[0]}
        for callee, version in zip(self.services[1:], self.given[1:], strict=True):
            way = self._way(services[-1:], callee)
            if way is None:
                return None
            services += way[1:]
            versions[len(services) - 1] = version
        texts = [words.service(s) + (f":{v}" if (v := versions.get(i)) else "") for i, s in enumerate(services)]
        return " -> ".join([OUTSIDE, *texts] if outside else texts)

    def _way(self, starts: Iterable[str], end: str) -> Sequence[str] | None:
        """A shortest way from one of some services to another, of at least one call."""
        level: list[tuple[str, ...]] = [(s,) for s in starts]
        seen: set[str] = set()
        while level:
            following: list[tuple[str, ...]] = []
            for way in level:
                for callee in self.graph.callees(way[-1]):
                    if callee == end:
                        return (*way, callee)
                    if callee not in seen:
                        seen.add(callee)
                        following.append((*way, callee))
            level = following
        return None
