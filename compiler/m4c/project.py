"""The pipeline as queries: file texts → items → trees → schema, meshes, policies → programs → findings and plans.

Inputs: `files` (the workspace's M4 files, sorted), `text` (a file's text, None where there is none), `shipped` (the
shipped spec programs). Keys of declarations ("policy:canary") hold no offsets, so editing one declaration re-computes
nothing of another that stays as it is, wherever it moves.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace

from m4c.analysis.run import analyse
from m4c.db import Database, query
from m4c.diagnostics.registry import rule
from m4c.graph.load import LoadedGraph, load_graph
from m4c.placement.plan import Plan
from m4c.placement.plan import plan as plan_program
from m4c.placement.solve import NoPlanInTime
from m4c.semantics.meshes import CheckedMesh, check_mesh, mesh_groups
from m4c.semantics.model import STATE, Graph, Policy, Program, State
from m4c.semantics.policies import Checked, Names, check_policy, check_state
from m4c.semantics.problems import Problem, Witness
from m4c.semantics.schema import Schema, SpecItem, build_schema
from m4c.semantics.tests import CheckedTest, check_test
from m4c.syntax import tree as t
from m4c.syntax.items import Item, split
from m4c.syntax.parser import ParsedItem, parse_item

SPEC_DECLS = (t.SpecDecl, t.EntityDecl, t.EnumDecl, t.StateEntityDecl)
EMPTY_GRAPH = Graph({}, ())


@dataclass(frozen=True, slots=True)
class DeclRef:
    """A declaration: its file, its key in it, and its text."""

    file: str
    key: str
    text: str

    @property
    def parsed(self) -> ParsedItem:
        return parse_item(self.text)


# --- files and items --------------------------------------------------------------------------------------------------


def _text(db: Database, file: str) -> str:
    return str(db.input_or("text", file, default=None) or "")


@query
def items(db: Database, file: str) -> tuple[Item, ...]:
    """The top-level items of a file, with offsets."""
    return split(_text(db, file))


@query
def keyed(db: Database, file: str) -> tuple[tuple[str, Item], ...]:
    """The items of a file with their keys: kind and name, and a number behind the second of the same."""
    seen: dict[str, int] = {}
    out = []
    for item in items(db, file):
        name = getattr(parse_item(item.text).decl, "name", None) or getattr(parse_item(item.text).decl, "title", None)
        key = f"{item.kind}:{name.text if name else ''}"
        seen[key] = seen.get(key, 0) + 1
        out.append((key if seen[key] == 1 else f"{key}#{seen[key]}", item))
    return tuple(out)


@query
def decls(db: Database, file: str) -> tuple[DeclRef, ...]:
    """The declarations of a file in order, without offsets: equal as long as no text and no order changes."""
    return tuple(DeclRef(file, key, item.text) for key, item in keyed(db, file))


@query
def offsets(db: Database, file: str) -> dict[str, int]:
    """Where each declaration of a file starts."""
    return {key: item.start for key, item in keyed(db, file)}


def resolve_path(base: str, path: str) -> str:
    """A path in a program, relative to the folder of the file that names it."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), path))


def import_candidates(db: Database, file: str, path: str) -> tuple[str, str]:
    shipped = str(db.input("shipped_folder"))
    return resolve_path(file, path), posixpath.normpath(posixpath.join(shipped, path))


@query
def wanted(db: Database) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(M4 files, graph files) that the workspace consists of or may consist of: what the loader must have read."""
    shipped: dict[str, str] = dict(db.input("shipped"))
    queue = [*db.input("files"), shipped["core"]]
    files: dict[str, None] = {}
    graphs: dict[str, None] = {}
    specs: set[str] = set()
    named: dict[str, None] = {}
    while queue or named:
        if not queue:
            name = next(iter(named))
            del named[name]
            if name in shipped and name not in specs:
                queue.append(shipped[name])
            continue
        file = queue.pop(0)
        if file in files:
            continue
        files[file] = None
        for ref in decls(db, file):
            match ref.parsed.decl:
                case t.Import(path=path):
                    here, there = import_candidates(db, file, path.text)
                    queue.append(here)
                    if db.input_or("text", here, default=None) is None:
                        queue.append(there)
                case t.MeshDecl(dataplanes=names, graphs=paths):
                    named |= dict.fromkeys(n.text for n in names)
                    graphs |= dict.fromkeys(resolve_path(file, g.text) for g in paths)
                case t.SpecDecl(name=spec_name):
                    specs.add(spec_name.text)
    return tuple(files), tuple(graphs)


def template_path(folder: str, name: str) -> str | None:
    """Where a template of a spec in `folder` is; None for a name that leads out of it, which no template has."""
    return None if ".." in name.split("/") else posixpath.join(folder, *filter(None, name.split("/")))


@query
def templates(db: Database, file: str) -> tuple[tuple[str, t.Str], ...]:
    """The templates that the specs of a file name, each with the key of the spec."""
    found: list[tuple[str, t.Str]] = []
    for ref in decls(db, file):
        spec = ref.parsed.decl
        if isinstance(spec, t.SpecDecl):
            named: list[t.Str | None] = [template for _, template, _ in spec.artifacts]
            for supports in spec.supports:
                named += [d.emits for d in supports.operations] + [d.emits for d in supports.conditions]
            found += [(ref.key, name) for name in named if name is not None]
    return tuple(found)


@query
def wanted_templates(db: Database) -> tuple[str, ...]:
    """The files that specs name as templates. Whether each is there is an input, for only this much is checked."""
    paths = (
        template_path(posixpath.dirname(file), name.text) for file in wanted(db)[0] for _, name in templates(db, file)
    )
    return tuple(dict.fromkeys(path for path in paths if path is not None))


@query
def sources(db: Database) -> tuple[str, ...]:
    """The files that exist, workspace files first."""
    return tuple(f for f in wanted(db)[0] if db.input_or("text", f, default=None) is not None)


@query
def all_decls(db: Database) -> tuple[DeclRef, ...]:
    return tuple(ref for file in sources(db) for ref in decls(db, file))


@query
def specs_in(db: Database, file: str) -> tuple[str, ...]:
    """The names of the specs that a file declares."""
    return tuple(named(r) for r in decls(db, file) if isinstance(r.parsed.decl, t.SpecDecl))


# --- specs, meshes, graphs --------------------------------------------------------------------------------------------


@query
def spec_refs(db: Database) -> tuple[DeclRef, ...]:
    return tuple(r for r in all_decls(db) if isinstance(r.parsed.decl, SPEC_DECLS))


@query
def schema(db: Database) -> Schema:
    """Everything that the specs declare."""
    own = frozenset(db.input("files"))
    refs = sorted(spec_refs(db), key=lambda r: r.file in own)  # of two of one name, the one that everybody has counts
    return build_schema(SpecItem(r.file, r.key, posixpath.dirname(r.file), r.parsed.decl) for r in refs)


@query
def mesh_refs(db: Database) -> tuple[DeclRef, ...]:
    return tuple(r for r in all_decls(db) if isinstance(r.parsed.decl, t.MeshDecl))


@query
def mesh_names(db: Database) -> tuple[str, ...]:
    return tuple(dict.fromkeys(named(r) for r in mesh_refs(db)))


def named(ref: DeclRef) -> str:
    """The name of a declaration; "" where it has none."""
    name = getattr(ref.parsed.decl, "name", None)
    return name.text if name else ""


@query
def mesh_of_file(db: Database, file: str) -> tuple[str | None, bool]:
    """(the mesh that a file's policies belong to, whether the file says so). None: it cannot be known."""
    for ref in decls(db, file):
        decl = ref.parsed.decl
        if isinstance(decl, t.Membership):
            return decl.mesh.text, True
    own = [named(r) for r in decls(db, file) if isinstance(r.parsed.decl, t.MeshDecl)]
    if len(set(own)) == 1:
        return own[0], False
    names = mesh_names(db)
    return (names[0], False) if len(names) == 1 else (None, False)


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
    return _members(db, mesh, "policy")


def _members(db: Database, mesh: str | None, kind: str) -> tuple[DeclRef, ...]:
    return tuple(
        ref
        for file in sources(db)
        if mesh_of_file(db, file)[0] == mesh
        for ref in decls(db, file)
        if ref.key.startswith(f"{kind}:")
    )


@query
def policy_names(db: Database, mesh: str | None) -> dict[str, str]:
    """The policies of a mesh by name, each with its entity."""
    found: dict[str, str] = {}
    for ref in policy_refs(db, mesh):
        if named(ref):
            decl = ref.parsed.decl
            found.setdefault(named(ref), decl.entity.text if isinstance(decl, t.PolicyDecl) else "")
    return found


@query
def state_refs(db: Database, mesh: str | None) -> tuple[DeclRef, ...]:
    """The states of a mesh, by file and line."""
    return _members(db, mesh, "state")


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
def names(db: Database, mesh: str | None) -> Names:
    """What the policies of a mesh can name."""
    groups: dict[str, tuple[str, ...]] = {}
    for ref in mesh_refs(db):
        decl = ref.parsed.decl
        if named(ref) == mesh and isinstance(decl, t.MeshDecl):
            groups |= mesh_groups(decl)
    found = mesh_graph(db, mesh) if mesh is not None else None
    services = frozenset(found.services) if found is not None else None
    versions = {n: s.versions for n, s in found.services.items()} if found else {}
    return Names(groups, services, versions, policy_names(db, mesh), states(db, mesh))


@query
def test_refs(db: Database, mesh: str | None) -> tuple[DeclRef, ...]:
    """The tests of a mesh, by file and line."""
    return _members(db, mesh, "test")


@query
def mesh(db: Database, name: str) -> CheckedMesh | None:
    for ref in mesh_refs(db):
        decl = ref.parsed.decl
        if named(ref) == name and isinstance(decl, t.MeshDecl):
            return check_mesh(decl, ref.file, ref.key, schema(db), names(db, name))
    return None


# --- policies and programs --------------------------------------------------------------------------------------------


@query
def policy(db: Database, ref: DeclRef, mesh_name: str | None) -> Checked:
    """One policy, checked by itself."""
    decl = ref.parsed.decl
    if not isinstance(decl, t.PolicyDecl):
        return Checked(None, ())
    return check_policy(decl, ref.file, ref.key, schema(db), names(db, mesh_name))


@query
def test(db: Database, ref: DeclRef, mesh_name: str | None) -> CheckedTest:
    """One test, checked by itself."""
    decl = ref.parsed.decl
    if not isinstance(decl, t.TestDecl):
        return CheckedTest(None, ())
    found = mesh_graph(db, mesh_name) if mesh_name is not None else None
    return check_test(decl, ref.file, ref.key, schema(db), names(db, mesh_name), found)


@query
def program(db: Database, mesh_name: str) -> Program | None:
    """A mesh with its sound policies; None if the mesh has no declaration."""
    checked = mesh(db, mesh_name)
    if checked is None:
        return None
    policies: dict[str, Policy] = {}
    for ref in policy_refs(db, mesh_name):
        found = policy(db, ref, mesh_name).policy
        if found is not None:
            policies.setdefault(found.name, found)
    sound = tuple(_known_only(p, frozenset(policies)) for p in policies.values())
    everything = schema(db)
    known = {s.name: s for s in states(db, mesh_name).values() if s.kind in everything.entities}
    kept = {STATE + s.name: replace(everything.entities[s.kind], name=STATE + s.name) for s in known.values()}
    return Program(
        checked.mesh,
        mesh_graph(db, mesh_name) or EMPTY_GRAPH,
        everything.enums,
        {**everything.entities, **kept},
        {d: everything.dataplanes[d] for d in checked.mesh.dataplanes},
        sound,
        tuple(known.values()),
    )


def _known_only(p: Policy, known: frozenset[str]) -> Policy:
    """A reference to a policy that has an error of its own is left out: that error is said already."""
    if set(p.overrides) | set(p.after) <= known:
        return p
    over, after = (tuple(n for n in names if n in known) for names in (p.overrides, p.after))
    return replace(p, overrides=over, after=after)


@query
def findings(db: Database, mesh_name: str) -> tuple[Problem, ...]:
    """What the analyses find in a mesh."""
    found = program(db, mesh_name)
    if found is None or not found.graph.services:
        return ()
    return analyse(found)


@query
def plan(db: Database, mesh_name: str) -> Plan | None:
    """The cheapest plan for a mesh; None without a graph, without a dataplane, or with policies that contradict."""
    found = program(db, mesh_name)
    if found is None or not found.graph.services or not found.dataplanes:
        return None
    if any(rule(p.code).blocks_plan for p in findings(db, mesh_name)):
        return None
    try:
        return plan_program(found)
    except NoPlanInTime:
        return None


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
        out[key] = Problem("unenforceable", message, place, (), names_, Witness(path, hop, entity, ()))
    if not found.optimal:
        message = f"the plan costs at most {found.gap:.1%} more than the cheapest one; the solver ran out of time"
        return (*out.values(), Problem("not-optimal", message, checked.mesh.place))
    return tuple(out.values())
