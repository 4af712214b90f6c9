"""The map of a mesh: services and calls with what the plan puts there, policies with their paths, conflicts.

Trees, maps and pages are drawn from it. It is plain data but for the spans, which whoever sends it writes as they like.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from m4c import project
from m4c.diagnostics.registry import rule
from m4c.ide.survey import MeshSurvey, Runs
from m4c.paths.callpath import CallPath
from m4c.paths.pattern import compile_pattern
from m4c.paths.product import count_paths, some_paths
from m4c.semantics.model import Place, Policy, Program
from m4c.syntax import tree as t
from m4c.workspace import Span, Workspace

FEW = 20  # call paths of a policy that are in it
MANY = 300  # policies; of more, only those that are in conflict have their paths


@dataclass(frozen=True, slots=True)
class RunsHere:
    """An operation that an element runs, and where the policy says so."""

    policy: str
    operation: str
    side: str
    hop: tuple[str, str]
    source: Span | None


@dataclass(frozen=True, slots=True)
class ElementOn:
    dataplane: str
    tier: str
    reasons: tuple[str, ...]
    runs: tuple[RunsHere, ...]


@dataclass(frozen=True, slots=True)
class ServiceOn:
    name: str
    entry: bool
    external: bool
    versions: tuple[str, ...]
    labels: dict[str, str]
    elements: tuple[ElementOn, ...]
    source: Span | None


@dataclass(frozen=True, slots=True)
class CallOn:
    caller: str
    callee: str
    source: Span | None


@dataclass(frozen=True, slots=True)
class PolicyOn:
    """`matched`: how many call paths; -1 for endlessly many, None if that was not asked."""

    name: str
    owner: str | None
    source: Span
    matched: int | None
    paths: tuple[tuple[str, ...], ...]
    conflicts: int


@dataclass(frozen=True, slots=True)
class ConflictOn:
    code: str
    message: str
    policies: tuple[str, ...]
    path: tuple[str, ...]
    source: Span


@dataclass(frozen=True, slots=True)
class TestOn:
    title: str
    file: str
    source: Span


@dataclass(frozen=True, slots=True)
class Map:
    """`planned`: there is a plan. `bits`: of the tag that tells call paths apart."""

    mesh: str
    source: Span | None
    graph: str | None
    planned: bool
    bits: int
    services: tuple[ServiceOn, ...]
    calls: tuple[CallOn, ...]
    policies: tuple[PolicyOn, ...]
    conflicts: tuple[ConflictOn, ...]
    tests: tuple[TestOn, ...]


def map_of(workspace: Workspace, mesh: str, known: MeshSurvey | None) -> Map:
    """The map of a mesh with what is known of its plan; None: nothing yet."""
    db = workspace.db
    program = project.program(db, mesh)
    conflicts = tuple(_conflicts(workspace, mesh))
    in_conflict = {name for c in conflicts for name in c.policies}
    policies = program.policies if program is not None else ()
    return Map(
        mesh,
        _declared(workspace, mesh),
        project.graph_file(db, mesh),
        known is not None and known.planned,
        known.bits if known is not None else 0,
        tuple(_services(workspace, mesh, program, known)),
        tuple(_calls(workspace, mesh)),
        tuple(
            _policy(workspace, program, p, len(policies) <= MANY or p.name in in_conflict, conflicts)
            for p in policies
            if program is not None
        ),
        conflicts,
        tuple(_tests(workspace, mesh)),
    )


def plain(value: Any, span: Callable[[Span], Any]) -> Any:
    """A map as JSON can hold it."""
    match value:
        case Span():
            return span(value)
        case tuple() | list():
            return [plain(v, span) for v in value]
        case dict():
            return {k: plain(v, span) for k, v in value.items()}
        case _ if dataclasses.is_dataclass(value):
            return {f.name: plain(getattr(value, f.name), span) for f in dataclasses.fields(value)}
    return value


# --- its parts --------------------------------------------------------------------------------------------------------


def _declared(workspace: Workspace, mesh: str) -> Span | None:
    for ref in project.mesh_refs(workspace.db):
        decl = ref.parsed.decl
        if isinstance(decl, t.MeshDecl) and decl.name.text == mesh:
            return workspace.span(Place(ref.file, ref.key, decl.name.start, decl.name.end))
    return None


def _services(workspace: Workspace, mesh: str, program: Program | None, known: MeshSurvey | None) -> list[ServiceOn]:
    db = workspace.db
    file = project.graph_file(db, mesh)
    loaded = project.graph(db, file) if file is not None else None
    if loaded is None or loaded.graph is None:
        return []
    places = {**dict(loaded.ends_at), **dict(loaded.services_at)}
    tiers = {d.name: d.tier for d in program.dataplanes.values()} if program is not None else {}
    runs: dict[tuple[str, str], list[tuple[str, Runs]]] = {}
    for name, facts in known.policies.items() if known is not None else ():
        for r in facts.runs:
            runs.setdefault((r.service, r.dataplane), []).append((name, r))
    policies = {p.name: p for p in program.policies} if program is not None else {}
    elements: dict[str, list[ElementOn]] = {}
    for e in known.elements if known is not None else ():
        here = tuple(_runs(workspace, policies, name, r) for name, r in runs.get((e.service, e.dataplane), ()))
        elements.setdefault(e.service, []).append(ElementOn(e.dataplane, tiers.get(e.dataplane, ""), e.reasons, here))
    return [
        ServiceOn(
            s.name,
            s.entry,
            s.external,
            s.versions,
            dict(s.labels),
            tuple(elements.get(s.name, ())),
            workspace.span(places[s.name]) if s.name in places else None,
        )
        for s in loaded.graph.services.values()
    ]


def _runs(workspace: Workspace, policies: dict[str, Policy], name: str, r: Runs) -> RunsHere:
    calls = policies[name].calls if name in policies else ()
    source = workspace.span(calls[r.call].place) if r.call < len(calls) else None
    return RunsHere(name, r.operation, r.side, (r.hop[0] or "outside", r.hop[1]), source)


def _calls(workspace: Workspace, mesh: str) -> list[CallOn]:
    file = project.graph_file(workspace.db, mesh)
    loaded = project.graph(workspace.db, file) if file is not None else None
    if loaded is None or loaded.graph is None:
        return []
    places = {(u, v): place for u, v, place in loaded.calls_at}
    return [
        CallOn(
            c.caller, c.callee, workspace.span(places[c.caller, c.callee]) if (c.caller, c.callee) in places else None
        )
        for c in loaded.graph.calls
    ]


def _policy(
    workspace: Workspace, program: Program, policy: Policy, followed: bool, conflicts: tuple[ConflictOn, ...]
) -> PolicyOn:
    matched: int | None = None
    paths: tuple[tuple[str, ...], ...] = ()
    if followed and program.graph.services:
        dfa = compile_pattern(policy.pattern, program.graph)
        count = count_paths(dfa, program.graph)
        matched = -1 if count is None else count
        paths = tuple(_steps(p) for p in some_paths(dfa, program.graph, FEW))
    mine = sum(policy.name in c.policies for c in conflicts)
    return PolicyOn(policy.name, policy.owner, workspace.span(policy.place), matched, paths, mine)


def _steps(path: CallPath) -> tuple[str, ...]:
    return ("outside", *path.services) if path.outside else path.services


def _conflicts(workspace: Workspace, mesh: str) -> list[ConflictOn]:
    return [
        ConflictOn(p.code, p.message, p.policies, p.witness.path if p.witness else (), workspace.span(p.place))
        for p in project.findings(workspace.db, mesh)
        if rule(p.code).blocks_plan
    ]


def _tests(workspace: Workspace, mesh: str) -> list[TestOn]:
    out = []
    for ref in project.test_refs(workspace.db, mesh):
        decl = ref.parsed.decl
        if isinstance(decl, t.TestDecl):
            span = workspace.span(Place(ref.file, ref.key, decl.title.start, decl.title.end))
            out.append(TestOn(decl.title.text, ref.file, span))
    return out
