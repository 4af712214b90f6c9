"""The call hierarchy: of services, for in a mesh the call path is what matters. Who may call whom, by the graph, and
which policies act on that hop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from m4c import project
from m4c.db import Database, query
from m4c.ide.reach import letters as letters_of
from m4c.ide.render import plural
from m4c.ide.symbols import symbol_at
from m4c.paths.masks import Shape
from m4c.workspace import Span, Workspace

SHOWN = 3  # policies that are named; of more the number is said
OUTSIDE = "outside"


@dataclass(frozen=True, slots=True)
class Node:
    """A service of a mesh, with its place in the graph's file. `detail`: what is known of it there."""

    mesh: str
    service: str
    detail: str
    span: Span


@dataclass(frozen=True, slots=True)
class Hop:
    """One call from or to a service: the other end, with the policies of the hop as its detail, and where the graph's
    file says that there is such a call."""

    node: Node
    calls: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Acting:
    """A policy, with the letters of its steps and those at which its call paths end."""

    name: str
    shape: Shape
    ends: int


def prepare(workspace: Workspace, file: str, offset: int) -> tuple[Node, ...]:
    """The service at an offset, in a policy or in the graph's file; of a group, its services."""
    found = symbol_at(workspace, file, offset)
    if found is None:
        return ()
    mesh = found.symbol.scope
    match found.symbol.kind:
        case "service":
            names: Iterable[str] = (found.symbol.name,)
        case "group":
            names = project.names(workspace.db, mesh).groups.get(found.symbol.name, ())
        case _:
            return ()
    return tuple(node for name in names if (node := _node(workspace, mesh, name)) is not None)


def incoming(workspace: Workspace, mesh: str, service: str) -> tuple[Hop, ...]:
    """Who may call a service; outside, if requests from there arrive at it."""
    graph = project.mesh_graph(workspace.db, mesh)
    if graph is None or service not in graph.services:
        return ()
    acting = _acting(workspace.db, mesh, service)
    out = []
    if graph.services[service].entry:
        letters = letters_of(workspace.db, mesh)
        here = Shape(((letters.service(service), False),), outside=True)
        names = [p.name for p in acting if letters.meet(p.shape, here)]
        place = _place(workspace, mesh, service)
        if place is not None:
            out.append(Hop(Node(mesh, OUTSIDE, _said(names), place), (place,)))
    for caller in sorted({c.caller for c in graph.calls if c.callee == service}):
        hop = _hop(workspace, mesh, caller, caller, service, acting)
        out += [hop] if hop is not None else []
    return tuple(out)


def outgoing(workspace: Workspace, mesh: str, service: str) -> tuple[Hop, ...]:
    """Whom a service may call; from outside, nobody is told."""
    graph = project.mesh_graph(workspace.db, mesh)
    if graph is None or service not in graph.services:
        return ()
    out = []
    for callee in sorted({c.callee for c in graph.calls if c.caller == service}):
        hop = _hop(workspace, mesh, callee, service, callee, _acting(workspace.db, mesh, callee))
        out += [hop] if hop is not None else []
    return tuple(out)


def _hop(
    workspace: Workspace, mesh: str, other: str, caller: str, callee: str, acting: Iterable[_Acting]
) -> Hop | None:
    node = _node(workspace, mesh, other)
    if node is None:
        return None
    letters = letters_of(workspace.db, mesh)
    before, after = letters.service(caller), letters.service(callee)
    here = Shape(((-1, True), (before, False), (after, False)), outside=False)
    names = [p.name for p in acting if letters.meet(p.shape, here)]
    calls = tuple(_calls(workspace, mesh, caller, callee))
    return Hop(Node(mesh, other, _said(names), node.span), calls)


def _said(policies: list[str]) -> str:
    if not policies:
        return "no policy"
    more = f" and {len(policies) - SHOWN} more" if len(policies) > SHOWN else ""
    return f"{'policies' if len(policies) > 1 else 'policy'} {', '.join(policies[:SHOWN])}{more}"


def _node(workspace: Workspace, mesh: str, service: str) -> Node | None:
    graph = project.mesh_graph(workspace.db, mesh)
    known = graph.services.get(service) if graph is not None else None
    place = _place(workspace, mesh, service)
    if known is None or place is None or graph is None:
        return None
    callers = sum(c.callee == service for c in graph.calls)
    facts = [*known.versions, *(f"{k}: {v}" for k, v in known.labels), plural(callers, "caller")]
    return Node(mesh, service, ", ".join((*(["entry"] if known.entry else []), *facts)), place)


def _place(workspace: Workspace, mesh: str, service: str) -> Span | None:
    file = project.graph_file(workspace.db, mesh)
    loaded = project.graph(workspace.db, file) if file is not None else None
    found = (at for name, at in (loaded.services_at if loaded is not None else ()) if name == service)
    return next((workspace.span(at) for at in found), None)


def _calls(workspace: Workspace, mesh: str, caller: str, callee: str) -> Iterator[Span]:
    file = project.graph_file(workspace.db, mesh)
    loaded = project.graph(workspace.db, file) if file is not None else None
    for source, target, at in loaded.calls_at if loaded is not None else ():
        if (source, target) == (caller, callee):
            yield workspace.span(at)


def _acting(db: Database, mesh: str, callee: str) -> tuple[_Acting, ...]:
    """The policies whose call paths may end at a service."""
    here = letters_of(db, mesh).service(callee)
    return tuple(p for p in _ends(db, mesh) if p.ends & here)


@query
def _ends(db: Database, mesh: str) -> tuple[_Acting, ...]:
    """The sound policies of a mesh, each with the services at which its call paths end."""
    program, letters = project.program(db, mesh), letters_of(db, mesh)
    policies = program.policies if program is not None else ()
    return tuple(_Acting(p.name, letters.shape(p.pattern), letters.ends(p.pattern)) for p in policies)
