"""Fixes for what no dataplane can do: another dataplane, or a place that is allowed again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from m4c import project
from m4c.db import Database, query
from m4c.fixes.files import dataplanes
from m4c.fixes.scene import Scene
from m4c.fixes.surgery import Source, opening
from m4c.placement.plan import plan
from m4c.placement.solve import NoPlanInTime
from m4c.predicates import regex_fault
from m4c.semantics.model import STATE, Program
from m4c.semantics.problems import Fix
from m4c.semantics.schema import SpecItem, build_schema
from m4c.syntax import tree as t
from m4c.syntax import words

SECONDS = 5.0  # for the solver, each time


def unenforceable(scene: Scene) -> Iterator[Fix]:
    """What lets a plan enforce it: one more dataplane, or one `place` less. Both cost something, so people decide."""
    mesh = scene.mesh
    found = next((r for r in project.mesh_refs(scene.db) if project.named(r) == mesh), None)
    if mesh is None or found is None or not isinstance(found.parsed.decl, t.MeshDecl):
        return
    decl, source = found.parsed.decl, Source(found)
    who = scene.problem.policies[0] if scene.problem.policies else ""
    for name in dataplanes(scene):
        if name not in {d.text for d in decl.dataplanes} and who not in refused_with(scene.db, mesh, name):
            end = decl.dataplanes[-1].end
            edit = source.edit(end, end, f", {words.name(name)}")
            yield Fix(f"Add the dataplane `{name}` to the mesh", (edit,), by_hand=True)
    for i, (service, kind, dataplane) in enumerate(decl.places):
        if who not in refused_without(scene.db, mesh, i):
            edits = source.cut_statement(source.before(service.start).start, source.after(dataplane.end).end)
            yield Fix(f"Lift `place {service.text} {kind} {dataplane.text}`", edits, by_hand=True)


def unpropagated_read(scene: Scene) -> Iterator[Fix]:
    """The key among those that applications hand on; whether they do, the mesh cannot know."""
    found = next((r for r in project.mesh_refs(scene.db) if project.named(r) == scene.mesh), None)
    if found is None or not isinstance(found.parsed.decl, t.MeshDecl) or not scene.problem.about:
        return
    decl, source, key = found.parsed.decl, Source(found), words.quoted(scene.problem.about)
    if decl.propagate:
        edit = source.edit(decl.propagate[-1].end, decl.propagate[-1].end, f", {key}")
    else:
        brace = opening(source, decl.name.end)
        edit = source.edit(brace.end, brace.end, f"\n    propagate {key};")
    yield Fix(f"Say that applications hand {key} on", (edit,), by_hand=True)


@query
def refused_with(db: Database, mesh: str, dataplane: str) -> frozenset[str]:
    """Whose operations could not be enforced (policies; "" for defaults) if the mesh named one more dataplane."""
    program = project.program(db, mesh)
    path = dict(db.input("shipped")).get(dataplane)
    schema = project.schema(db)
    if program is None:
        return frozenset()
    if dataplane not in schema.dataplanes and path is not None:
        refs = [*project.spec_refs(db), *project.decls(db, path)]
        items = (SpecItem(r.file, r.key, r.file.rpartition("/")[0], r.parsed.decl) for r in refs)
        schema = build_schema(items, regex_fault)
    if dataplane not in schema.dataplanes:
        return _everybody(program)
    own = {name: e for name, e in program.entities.items() if name.startswith(STATE)}
    more = {**program.dataplanes, dataplane: schema.dataplanes[dataplane]}
    named = replace(program.mesh, dataplanes=tuple(more))
    return _refused(replace(program, mesh=named, dataplanes=more, entities={**schema.entities, **own}))


@query
def refused_without(db: Database, mesh: str, place: int) -> frozenset[str]:
    """Whose operations could not be enforced if the mesh did not say one of its `place`s."""
    program = project.program(db, mesh)
    found = next((r for r in project.mesh_refs(db) if project.named(r) == mesh), None)
    if program is None or found is None or not isinstance(found.parsed.decl, t.MeshDecl):
        return frozenset()
    kept = [(s.text, k, d.text) for i, (s, k, d) in enumerate(found.parsed.decl.places) if i != place]
    never, only = (tuple((s, d) for s, k, d in kept if k == kind) for kind in ("never", "only"))
    return _refused(replace(program, mesh=replace(program.mesh, never=never, only=only)))


def _refused(program: Program) -> frozenset[str]:
    try:
        return frozenset("" if u.default else u.policy for u in plan(program, SECONDS).unenforceable)
    except NoPlanInTime:
        return _everybody(program)


def _everybody(program: Program) -> frozenset[str]:
    return frozenset(("", *(p.name for p in program.policies)))
