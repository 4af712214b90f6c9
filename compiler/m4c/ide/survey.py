"""What a plan and the findings say about each policy, as it was when the plan was last made.

A survey is made while nobody types, when the plan is known anyway. Lenses and hints are drawn from it, so that they
cost nothing while somebody does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from m4c import project
from m4c.db import Database, query
from m4c.diagnostics.registry import rule
from m4c.ide.render import plural
from m4c.paths.callpath import Hop
from m4c.paths.pattern import compile_pattern
from m4c.paths.product import count_paths
from m4c.placement.assemble import Element
from m4c.placement.journey import Journey, journeys
from m4c.semantics.model import Graph, Pattern, Side
from m4c.workspace import Workspace

FEW = 2  # services that are named; of more the number is said


@dataclass(frozen=True, slots=True)
class Runs:
    """Where an operation of a policy runs. `call`: its index in the policy."""

    call: int
    operation: str
    hop: Hop
    side: Side
    service: str
    dataplane: str
    tier: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one policy. `conflicts`: findings for which nothing can be planned. `refused`: calls that no
    dataplane can run somewhere."""

    runs: tuple[Runs, ...] = ()
    conflicts: int = 0
    refused: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class MeshSurvey:
    """What is known of one mesh. `planned`: there is a plan; `bits`: of the tag that tells call paths apart. `tests`:
    file and key of each."""

    planned: bool
    bits: int
    elements: tuple[Element, ...]
    graph: Graph | None
    policies: Mapping[str, Facts]
    tests: tuple[tuple[str, str], ...]
    journeys: tuple[Journey, ...] = ()  # of the tag, and of each mark

    def of(self, policy: str) -> Facts:
        return self.policies.get(policy, _NOTHING)


Survey: TypeAlias = Mapping[str, MeshSurvey]  # by mesh
_NOTHING = Facts()


def survey(workspace: Workspace) -> Survey:
    """What is known of each mesh. It makes the plans that are not made yet."""
    return {mesh: _survey(workspace.db, mesh) for mesh in workspace.meshes()}


@query
def _survey(db: Database, mesh: str) -> MeshSurvey:
    program, plan = project.program(db, mesh), project.plan(db, mesh)
    conflicts: dict[str, int] = {}
    for found in project.findings(db, mesh):
        if rule(found.code).blocks_plan:
            for name in dict.fromkeys(found.policies):
                conflicts[name] = conflicts.get(name, 0) + 1
    runs: dict[str, list[Runs]] = {}
    refused: dict[str, set[int]] = {}
    if plan is not None and program is not None:
        tiers = {d.name: d.tier for d in program.dataplanes.values()}
        for o in plan.operations:
            if not o.default:
                placed = Runs(o.call, o.operation, o.hop, o.side, o.service, o.dataplane, tiers[o.dataplane])
                runs.setdefault(o.policy, []).append(placed)
        for u in plan.unenforceable:
            if not u.default:
                refused.setdefault(u.policy, set()).add(u.call)
    facts = {
        name: Facts(tuple(runs.get(name, ())), conflicts.get(name, 0), frozenset(refused.get(name, ())))
        for name in sorted({*conflicts, *runs, *refused})
    }
    graph = project.mesh_graph(db, mesh)
    tests = tuple((ref.file, ref.key) for ref in project.test_refs(db, mesh))
    if plan is None:
        return MeshSurvey(False, 0, (), graph, facts, tests)
    travelling = journeys(program, plan) if program is not None else ()
    return MeshSurvey(True, plan.context.bits, plan.elements, graph, facts, tests, travelling)


# --- call paths -------------------------------------------------------------------------------------------------------


def matching(db: Database, mesh: str, ref: project.DeclRef) -> str:
    """How many call paths a policy matches, in words; empty without a graph, and for a policy with errors."""
    return _matching(db, mesh, ref.file, ref.key)


@query
def _matching(db: Database, mesh: str, file: str, key: str) -> str:
    pattern, graph = _pattern(db, mesh, file, key), project.mesh_graph(db, mesh)
    if pattern is None or graph is None or not graph.services:
        return ""
    count = count_paths(compile_pattern(pattern, graph), graph)
    return "endless paths" if count is None else plural(count, "path") if count else "no path"


@query
def _pattern(db: Database, mesh: str, file: str, key: str) -> Pattern | None:
    """The pattern of a policy: an edit that leaves it as it is costs no look at the graph."""
    ref = project.decl(db, file, key)
    checked = project.policy(db, ref, mesh).policy if ref is not None else None
    return checked.pattern if checked is not None else None


# --- in words ---------------------------------------------------------------------------------------------------------


def places(runs: tuple[Runs, ...]) -> str:
    """`kernel at cart, proxy at 5 services`"""
    tiers: dict[str, dict[str, None]] = {}
    for r in runs:
        tiers.setdefault(r.tier, {})[r.service] = None
    return ", ".join(
        f"{tier} at {' and '.join(at) if len(at) <= FEW else plural(len(at), 'service')}" for tier, at in tiers.items()
    )
