"""The pipeline as queries: declarations → schema, meshes, policies → programs → findings and plans."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Set
from dataclasses import replace

from m4c.analysis.live import Analysis
from m4c.db import Database, query
from m4c.declarations import (
    SOME,
    SPEC_DECLS,
    DeclRef,
    all_decls,
    decl,
    decls,
    exists,
    import_candidates,
    items,
    keyed,
    layout,
    mesh_names,
    mesh_of_file,
    mesh_refs,
    named,
    offsets,
    outline,
    resolve_path,
    some_files,
    some_files_count,
    sources,
    specs_in,
    wanted,
)
from m4c.diagnostics.registry import rule
from m4c.graph.load import LoadedGraph, load_graph
from m4c.placement.plan import Plan, Planner
from m4c.placement.plan import plan as plan_program
from m4c.placement.solve import NoPlanInTime
from m4c.placement.whatif import Serves, serves
from m4c.predicates import regex_fault
from m4c.semantics.meshes import CheckedMesh, check_mesh, mesh_groups
from m4c.semantics.model import STATE, Graph, Policy, Program, State
from m4c.semantics.policies import Checked, Names, check_policy, check_state
from m4c.semantics.problems import Problem, Related, Witness, nearest
from m4c.semantics.schema import Schema, SpecItem, build_schema
from m4c.semantics.tests import CheckedTest, check_test
from m4c.syntax import tree as t

__all__ = [
    "SOME",
    "DeclRef",
    "all_decls",
    "decl",
    "decls",
    "exists",
    "import_candidates",
    "items",
    "keyed",
    "layout",
    "mesh_names",
    "mesh_of_file",
    "mesh_refs",
    "named",
    "offsets",
    "outline",
    "resolve_path",
    "some_files",
    "some_files_count",
    "sources",
    "specs_in",
    "wanted",
]

EMPTY_GRAPH = Graph({}, ())


# --- specs, meshes, graphs --------------------------------------------------------------------------------------------


@query
def spec_refs(db: Database) -> tuple[DeclRef, ...]:
    return tuple(r for o in layout(db).outlines for r in o.others if isinstance(r.parsed.decl, SPEC_DECLS))


@query
def schema(db: Database) -> Schema:
    """Everything that the specs declare."""
    own = frozenset(db.input("files"))
    refs = sorted(spec_refs(db), key=lambda r: r.file in own)  # of two of one name, the one that everybody has counts
    items = (SpecItem(r.file, r.key, posixpath.dirname(r.file), r.parsed.decl) for r in refs)
    return build_schema(items, regex_fault)


def template_path(folder: str, name: str) -> str | None:
    """Where a template of a spec in `folder` is; None for a name that leads out of it, which no template has."""
    return None if ".." in name.split("/") else posixpath.join(folder, *filter(None, name.split("/")))


@query
def templates(db: Database, file: str) -> tuple[tuple[str, t.Str], ...]:
    """The templates that the specs of a file name, each with the key of the spec."""
    found: list[tuple[str, t.Str]] = []
    for ref in outline(db, file).others:
        spec = ref.parsed.decl
        if isinstance(spec, t.SpecDecl):
            found += [(ref.key, name) for name in templates_of(spec)]
    return tuple(found)


def templates_of(spec: t.SpecDecl) -> tuple[t.Str, ...]:
    """The templates that a spec names."""
    named: list[t.Str | None] = [template for _, template, _ in spec.artifacts]
    for supports in spec.supports:
        named += [d.emits for d in supports.operations] + [d.emits for d in supports.conditions]
    return tuple(name for name in named if name is not None)


@query
def wanted_templates(db: Database) -> tuple[str, ...]:
    """The files that specs name as templates. Whether each is there is an input, for only this much is checked."""
    paths = (
        template_path(posixpath.dirname(o.file), name.text)
        for o in layout(db).outlines
        if any(isinstance(r.parsed.decl, t.SpecDecl) for r in o.others)
        for _, name in templates(db, o.file)
    )
    return tuple(dict.fromkeys(path for path in paths if path is not None))


@query
def graph_file(db: Database, mesh: str) -> str | None:
    for ref in mesh_refs(db):
        decl = ref.parsed.decl
        if named(ref) == mesh and isinstance(decl, t.MeshDecl) and decl.graphs:
            return resolve_path(ref.file, decl.graphs[0].text)
    return None


@query
def graph(db: Database, file: str) -> LoadedGraph | None:
    """The graph in a file; None if there is no such file."""
    text = db.input_or("text", file, default=None)
    return None if text is None else load_graph(str(text), file)


@query
def mesh_graph(db: Database, mesh: str) -> Graph | None:
    file = graph_file(db, mesh)
    loaded = graph(db, file) if file is not None else None
    return loaded.graph if loaded else None


@query
def policy_refs(db: Database, mesh: str | None) -> tuple[DeclRef, ...]:
    """The policies of a mesh, by file and line."""
    keys = ((o.file, p.key) for o in layout(db).of_mesh(mesh) for p in o.policies)
    return tuple(ref for file, key in keys if (ref := decl(db, file, key)) is not None)


@query
def policy_names(db: Database, mesh: str | None) -> dict[str, str]:
    """The policies of a mesh by name, each with its entity."""
    found: dict[str, str] = {}
    for of in layout(db).of_mesh(mesh):
        for p in of.policies:
            if p.name:
                found.setdefault(p.name, p.entity)
    return found


@query
def state_refs(db: Database, mesh: str | None) -> tuple[DeclRef, ...]:
    """The states of a mesh, by file and line."""
    return tuple(r for o in layout(db).of_mesh(mesh) for r in o.others if r.key.startswith("state:"))


@query
def state(db: Database, ref: DeclRef) -> tuple[State | None, tuple[Problem, ...]]:
    """One state, and what is wrong with its declaration."""
    decl = ref.parsed.decl
    return check_state(decl, ref.file, ref.key, schema(db)) if isinstance(decl, t.StateDecl) else (None, ())


@query
def states(db: Database, mesh: str | None) -> dict[str, State]:
    """The states of a mesh by name, the sound ones and the others."""
    found: dict[str, State] = {}
    for ref in state_refs(db, mesh):
        checked, _ = state(db, ref)
        if checked is not None:
            found.setdefault(checked.name, checked)
    return found


@query
def _policy_entity(db: Database, mesh: str | None, name: str) -> str | None:
    return policy_names(db, mesh).get(name)


class _PolicyNames(Mapping[str, str]):
    """As `policy_names`, asked name by name: whoever asks for one does not depend on the others."""

    def __init__(self, db: Database, mesh: str | None) -> None:
        self._db = db
        self._mesh = mesh

    def __getitem__(self, name: str) -> str:
        entity = _policy_entity(self._db, self._mesh, name)
        if entity is None:
            raise KeyError(name)
        return entity

    def __iter__(self) -> Iterator[str]:
        return iter(policy_names(self._db, self._mesh))

    def __len__(self) -> int:
        return len(policy_names(self._db, self._mesh))


def names(db: Database, mesh: str | None) -> Names:
    """What the policies of a mesh can name."""
    return replace(_names(db, mesh), policies=_PolicyNames(db, mesh))


@query
def _names(db: Database, mesh: str | None) -> Names:
    """As `names`, without the policies."""
    groups: dict[str, tuple[str, ...]] = {}
    for ref in mesh_refs(db):
        decl = ref.parsed.decl
        if named(ref) == mesh and isinstance(decl, t.MeshDecl):
            groups |= mesh_groups(decl)
    found = mesh_graph(db, mesh) if mesh is not None else None
    services = frozenset(found.services) if found is not None else None
    versions = {n: s.versions for n, s in found.services.items()} if found else {}
    return Names(groups, services, versions, {}, states(db, mesh), found.labels() if found else {})


@query
def test_refs(db: Database, mesh: str | None) -> tuple[DeclRef, ...]:
    """The tests of a mesh, by file and line."""
    keys = ((o.file, key) for o in layout(db).of_mesh(mesh) for key in o.tests)
    return tuple(ref for file, key in keys if (ref := decl(db, file, key)) is not None)


@query
def mesh(db: Database, name: str) -> CheckedMesh | None:
    for ref in mesh_refs(db):
        decl = ref.parsed.decl
        if named(ref) == name and isinstance(decl, t.MeshDecl):
            return check_mesh(decl, ref.file, ref.key, schema(db), names(db, name))
    return None


# --- policies and programs --------------------------------------------------------------------------------------------


def policy(db: Database, ref: DeclRef, mesh_name: str | None) -> Checked:
    """One policy, checked by itself."""
    return _policy(db, ref.file, ref.key, mesh_name)


@query
def _policy(db: Database, file: str, key: str, mesh_name: str | None) -> Checked:
    ref = decl(db, file, key)
    of = ref.parsed.decl if ref is not None else None
    if ref is None or not isinstance(of, t.PolicyDecl):
        return Checked(None, ())
    return check_policy(of, ref.file, ref.key, schema(db), names(db, mesh_name))


@query
def policies_in(db: Database, file: str, mesh_name: str | None) -> tuple[Policy, ...]:
    """The sound policies of a file."""
    checked = (_policy(db, file, p.key, mesh_name).policy for p in outline(db, file).policies)
    return tuple(p for p in checked if p is not None)


@query
def _parts(db: Database, mesh_name: str) -> tuple[tuple[Policy, ...], ...]:
    """The sound policies of a mesh, file by file."""
    return tuple(part for some in range(some_files_count(db)) for part in _parts_of_some(db, mesh_name, some))


@query
def _parts_of_some(db: Database, mesh_name: str, some: int) -> tuple[tuple[Policy, ...], ...]:
    home = layout(db).mesh_of
    return tuple(policies_in(db, f, mesh_name) for f in some_files(db, some) if home[f][0] == mesh_name)


@query
def test(db: Database, ref: DeclRef, mesh_name: str | None) -> CheckedTest:
    """One test, checked by itself."""
    decl = ref.parsed.decl
    if not isinstance(decl, t.TestDecl):
        return CheckedTest(None, ())
    found = mesh_graph(db, mesh_name) if mesh_name is not None else None
    return check_test(decl, ref.file, ref.key, schema(db), names(db, mesh_name), found)


@query
def frame(db: Database, mesh_name: str) -> Program | None:
    """A mesh without its policies; None if the mesh has no declaration."""
    checked = mesh(db, mesh_name)
    if checked is None:
        return None
    everything = schema(db)
    known = {s.name: s for s in states(db, mesh_name).values() if s.kind in everything.entities}
    kept = {STATE + s.name: replace(everything.entities[s.kind], name=STATE + s.name) for s in known.values()}
    return Program(
        checked.mesh,
        mesh_graph(db, mesh_name) or EMPTY_GRAPH,
        everything.enums,
        {**everything.entities, **kept},
        {d: everything.dataplanes[d] for d in checked.mesh.dataplanes},
        (),
        tuple(known.values()),
    )


@query
def program(db: Database, mesh_name: str) -> Program | None:
    """A mesh with its sound policies; None if the mesh has no declaration."""
    empty = frame(db, mesh_name)
    if empty is None:
        return None
    policies: dict[str, Policy] = {}
    for part in _parts(db, mesh_name):
        for found in part:
            policies.setdefault(found.name, found)
    return replace(empty, policies=tuple(_known_only(p, policies.keys()) for p in policies.values()))


@query
def entities(db: Database, mesh_name: str) -> dict[str, str]:
    """The sound policies of a mesh by name, each with its entity."""
    found = program(db, mesh_name)
    return {p.name: p.entity for p in found.policies} if found is not None else {}


def _known_only(p: Policy, known: Set[str]) -> Policy:
    """A reference to a policy that has an error of its own is left out: that error is said already."""
    if not (p.overrides or p.after) or {*p.overrides, *p.after} <= known:
        return p
    over, after = (tuple(n for n in names if n in known) for names in (p.overrides, p.after))
    return replace(p, overrides=over, after=after)


@query
def findings(db: Database, mesh_name: str) -> tuple[Problem, ...]:
    """What the analyses find in a mesh."""
    empty = frame(db, mesh_name)
    if empty is None or not empty.graph.services:
        return ()
    processes = db.input_or("processes", default=1)
    analysis = db.kept("analysis", mesh_name, make=lambda: Analysis(processes))
    return analysis.update(empty, _parts(db, mesh_name), db.checkpoint)


def tidy(db: Database) -> None:
    """Has the analyses forget what they were quicker by, where it is about what is not there any more."""
    for mesh_name in mesh_names(db):
        db.kept("analysis", mesh_name, make=Analysis).tidy()


@query
def plan(db: Database, mesh_name: str) -> Plan | None:
    """The cheapest plan for a mesh; None without a graph, without a dataplane, or with policies that contradict."""
    found = program(db, mesh_name)
    if found is None or not found.graph.services or not found.dataplanes:
        return None
    if any(rule(p.code).blocks_plan for p in findings(db, mesh_name)):
        return None
    try:
        return db.kept("planner", mesh_name, make=Planner).plan(found, checkpoint=db.checkpoint)
    except NoPlanInTime:
        return None


@query
def plan_serves(db: Database, mesh_name: str, policy_name: str) -> tuple[Serves, ...]:
    """The elements that a policy has in the plan, and why nothing cheaper does; nothing without a plan."""
    found, made = program(db, mesh_name), plan(db, mesh_name)
    if found is None or made is None:
        return ()
    return serves(db.kept("planner", mesh_name, make=Planner).problem(found), made, policy_name)


@query
def plan_without(db: Database, mesh_name: str, dataplanes: frozenset[str]) -> tuple[Program, Plan] | None:
    """The program and its plan as if the mesh did not name some dataplanes: a machine may lack what they need."""
    found = program(db, mesh_name)
    if found is None or plan(db, mesh_name) is None:
        return None
    kept = {n: d for n, d in found.dataplanes.items() if n not in dataplanes}
    mesh_ = replace(found.mesh, dataplanes=tuple(kept))
    smaller = replace(found, mesh=mesh_, dataplanes=kept)
    return smaller, plan_program(smaller)


@query
def plan_problems(db: Database, mesh_name: str) -> tuple[Problem, ...]:
    """What the plan cannot give: `unenforceable` operations, and a cost that is not proven."""
    found, checked, whole = plan(db, mesh_name), mesh(db, mesh_name), program(db, mesh_name)
    if checked is None or checked.mesh.place is None or whole is None:
        return ()
    if found is None:
        if not whole.graph.services or not whole.dataplanes:
            return ()
        if any(rule(p.code).blocks_plan for p in findings(db, mesh_name)):
            return ()
        return (Problem("no-plan", "the solver found no plan in time", checked.mesh.place),)
    policies = {p.name: p for p in whole.policies}
    out: dict[tuple[str, int, bool], Problem] = {}
    for u in found.unenforceable:
        key = (u.policy, u.call, u.default)
        if key in out:
            continue
        place = checked.mesh.defaults[u.call].place if u.default else policies[u.policy].calls[u.call].place
        who = "the mesh's default" if u.default else f"`{u.policy}`"
        path = tuple(["outside", *u.path.services] if u.path.outside else u.path.services)
        hop = (u.hop[0] or "outside", u.hop[1])
        entity = checked.mesh.defaults[u.call].attr.entity if u.default else policies[u.policy].entity
        message = f"{who} cannot be enforced on {u.path}: {'; '.join(u.reasons)}"
        names_ = () if u.default else (u.policy,)
        related = _about_protocol(db, whole, u.hop[1], entity)
        out[key] = Problem("unenforceable", message, place, related, names_, Witness(path, hop, entity, ()))
    if not found.optimal:
        message = f"the plan costs at most {found.gap:.1%} more than the cheapest one; the solver ran out of time"
        return (*out.values(), Problem("not-optimal", message, checked.mesh.place))
    return tuple(out.values())


def _about_protocol(db: Database, program: Program, callee: str, entity: str) -> tuple[Related, ...]:
    """Where a callee is that not everybody understands, or that knows no such entity, and what to do about it."""
    protocol = program.graph.services[callee].protocol
    speaking = [n for n, d in program.dataplanes.items() if protocol in d.speaks]
    file = graph_file(db, program.mesh.name)
    loaded = graph(db, file) if file is not None else None
    at = dict(loaded.services_at).get(callee) if loaded is not None else None
    there_are = program.entities[entity].protocols
    bare = there_are is not None and protocol not in there_are
    if at is None or (len(speaking) == len(program.dataplanes) and not bare):
        return ()
    known = schema(db).protocols
    meant = nearest(protocol, known) if protocol not in known else None
    if meant is not None:
        said = f"; did you mean `{meant}`?"
    elif bare:
        said = f", in which there is no {entity}: leave this service out of the pattern, or correct `protocol:`"
    elif speaking:
        said = f", and of the mesh's dataplanes only {' and '.join(f'`{n}`' for n in speaking)}"
    else:
        said = ", and no dataplane of the mesh: name one that does, or leave this service out of the pattern"
    return (Related(at, f"`{callee}` speaks `{protocol}`{said}"),)
