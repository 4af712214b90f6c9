"""Everything that is wrong, as queries: per file, per mesh, and in the whole workspace."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from m4c.backends.templates import GIVEN, Template, read_template
from m4c.db import Database, query
from m4c.diagnostics.suppress import Suppression, allows
from m4c.graph.protocols import unknown_protocols
from m4c.project import (
    DeclRef,
    decl,
    decls,
    findings,
    graph,
    graph_file,
    import_candidates,
    layout,
    mesh,
    mesh_names,
    mesh_of_file,
    mesh_refs,
    named,
    plan_problems,
    policy,
    schema,
    some_files,
    some_files_count,
    state,
    template_path,
    templates,
    templates_of,
    test,
)
from m4c.semantics.annotations import Annotated, check_annotations
from m4c.semantics.model import Place
from m4c.semantics.problems import Edit, Fix, Problem, Related, unknown
from m4c.syntax import tree as t
from m4c.testing import failures


@query
def syntax_problems(db: Database, file: str) -> tuple[Problem, ...]:
    """What is wrong with the text of a file alone."""
    out = []
    for ref in decls(db, file):
        for p in ref.parsed.problems:
            fixes: tuple[Fix, ...] = ()
            if p.insert is not None:
                at, missing = p.insert
                title = f"Add the missing `{' '.join(missing.split())}`"
                fixes = (Fix(title, (Edit(Place(file, ref.key, at, at), missing),)),)
            place = Place(file, ref.key, p.start, p.end)
            if p.instead is not None:
                fixes = (Fix(f"Change to `{p.instead}`", (Edit(place, p.instead),)),)
            out.append(Problem(p.code, p.message, place, fixes=fixes))
        if isinstance(ref.parsed.decl, t.PolicyDecl):
            for text in ref.parsed.decl.during:
                message = "`during` is reserved for a later version of M4"
                out.append(Problem("reserved", message, Place(file, ref.key, text.start, text.end)))
    return tuple(out)


@query
def file_problems(db: Database, file: str) -> tuple[Problem, ...]:
    """Problems of a file's own declarations: syntax, imports, membership, policies checked by themselves."""
    out = list(syntax_problems(db, file))
    mesh_name, _ = mesh_of_file(db, file)
    for ref in decls(db, file):
        decl = ref.parsed.decl
        if isinstance(decl, t.Import):
            out += _import_problems(db, ref, decl)
        elif isinstance(decl, t.Membership) and decl.mesh.text not in mesh_names(db):
            place = Place(file, ref.key, decl.mesh.start, decl.mesh.end)
            out.append(unknown("mesh", decl.mesh.text, mesh_names(db), place))
        elif isinstance(decl, t.PolicyDecl):
            out += policy(db, ref, mesh_name).problems
        elif isinstance(decl, t.StateDecl):
            out += state(db, ref)[1]
        elif isinstance(decl, t.TestDecl):
            out += test(db, ref, mesh_name).problems
        if isinstance(decl, Annotated):
            out += check_annotations(decl, file, ref.key)
    out += _memberships(db, file)
    out += _missing_templates(db, file)
    if mesh_name is None:
        out += _homeless(db, file)
    return tuple(out)


def _memberships(db: Database, file: str) -> Iterator[Problem]:
    """A file that says more than once which mesh it belongs to."""
    said = [(r.key, r.parsed.decl.mesh) for r in decls(db, file) if isinstance(r.parsed.decl, t.Membership)]
    places = [Place(file, key, name.start, name.end) for key, name in said]
    for place in places[1:]:
        message = f"this file is in mesh `{said[0][1].text}` already"
        yield Problem("duplicate-name", message, place, (Related(places[0], "the first one"),))


def _import_problems(db: Database, ref: DeclRef, decl: t.Import) -> list[Problem]:
    here, there = import_candidates(db, ref.file, decl.path.text)
    if any(db.input_or("text", f, default=None) is not None for f in (here, there)):
        return []
    place = Place(ref.file, ref.key, decl.path.start, decl.path.end)
    message = f"no file `{decl.path.text}` beside this one or among the shipped specs"
    return [Problem("missing-file", message, place)]


def _missing_templates(db: Database, file: str) -> Iterator[Problem]:
    """Templates that a spec names and that are not beside it, each where it is named first."""
    seen: set[str] = set()
    for key, name in templates(db, file):
        path = template_path(posixpath.dirname(file), name.text)
        if name.text in seen or (path is not None and db.input_or("there", path, default=True)):
            continue
        seen.add(name.text)
        message = f"there is no template `{name.text}` beside this spec, so nothing can be made from it"
        yield Problem("missing-file", message, Place(file, key, name.start, name.end))


@query
def own_templates(db: Database) -> dict[str, tuple[str, bool]]:
    """The templates of the workspace's own specs, and those that they ask for, by their paths: the folder of the spec,
    and whether artifacts are made from the template itself. To know them all, their texts have to be there."""
    shipped = {*dict(db.input("shipped")).values()} - {*db.input("files")}
    out: dict[str, tuple[str, bool]] = {}

    def add(folder: str, name: str, whole: bool) -> None:
        path = template_path(folder, name)
        if path is not None:
            out[path] = folder, whole or (path in out and out[path][1])

    for outline in layout(db).outlines:
        for ref in outline.others if outline.file not in shipped else ():
            spec = ref.parsed.decl
            if isinstance(spec, t.SpecDecl):
                whole = {template.text for _, template, _ in spec.artifacts}
                for named in templates_of(spec):
                    add(posixpath.dirname(outline.file), named.text, named.text in whole)
    queue = list(out)
    while queue:
        path = queue.pop()
        for name in template(db, path).asks_for:
            known = len(out)
            add(out[path][0], name, False)
            queue += list(out)[known:]
    return out


@query
def template(db: Database, path: str) -> Template:
    """What can be told of a template without running it."""
    return read_template(str(db.input_or("text", path, default=None) or ""))


@query
def template_problems(db: Database, path: str) -> tuple[Problem, ...]:
    """What is wrong with a template of the workspace's own specs. One that others ask for may get what these set."""
    of = own_templates(db)
    folder, whole = of[path]
    beside = () if whole else (template(db, p).sets for p, (f, _) in of.items() if f == folder)
    faults = template(db, path).faults(frozenset(GIVEN).union(*beside))
    return tuple(Problem("bad-template", f.message, Place(path, "", f.start, f.end)) for f in faults)


def _homeless(db: Database, file: str) -> list[Problem]:
    members = t.PolicyDecl | t.StateDecl | t.TestDecl
    first = next((r for r in decls(db, file) if isinstance(r.parsed.decl, members)), None)
    if first is None or not isinstance(first.parsed.decl, members):
        return []
    name = first.parsed.decl.title if isinstance(first.parsed.decl, t.TestDecl) else first.parsed.decl.name
    place = Place(file, first.key, name.start, name.end)
    known = mesh_names(db)
    if not known:
        message = "no mesh is declared in the workspace (`mesh NAME { graph …; dataplanes …; }`)"
        return [Problem("missing-declaration", message, place, about="mesh")]
    choices = " or ".join(f"`mesh {n};`" for n in known)
    fixes = tuple(Fix(f"Put the file into mesh `{n}`", (Edit(Place(file, "", 0, 0), f"mesh {n};\n"),)) for n in known)
    message = f"the workspace has several meshes; say {choices} at the top of this file"
    return [Problem("which-mesh", message, place, fixes=fixes)]


@query
def duplicate_problems(db: Database) -> tuple[Problem, ...]:
    """Names that are declared twice within a mesh, and meshes that are declared twice."""
    found = layout(db)
    groups: dict[tuple[str, str | None, str], list[tuple[str, str]]] = {}
    for of in found.outlines:
        home = found.mesh_of[of.file][0]
        for p in of.policies:
            if p.entity:
                groups.setdefault(("policy", home, p.name), []).append((of.file, p.key))
        for ref in of.others:
            if isinstance(ref.parsed.decl, t.MeshDecl):
                groups.setdefault(("mesh", None, named(ref)), []).append((ref.file, ref.key))
            elif isinstance(ref.parsed.decl, t.StateDecl):
                groups.setdefault(("state", home, named(ref)), []).append((ref.file, ref.key))
    out = []
    for (kind, _, name), keys in groups.items():
        if len(keys) > 1:
            refs = [r for file, key in keys if (r := decl(db, file, key)) is not None]
            first, others = refs[0], refs[1:]
            for other in others:
                related = (Related(_name_place(first), "the first one"),)
                message = f"{kind} `{name}` is declared twice"
                out.append(Problem("duplicate-name", message, _name_place(other), related))
    return tuple(out)


def _name_place(ref: DeclRef) -> Place:
    name = getattr(ref.parsed.decl, "name", None)
    start, end = (name.start, name.end) if name else (0, len(ref.text))
    return Place(ref.file, ref.key, start, end)


@query
def mesh_problems(db: Database, name: str) -> tuple[Problem, ...]:
    """Problems of a mesh's declaration and of its graph."""
    checked = mesh(db, name)
    out = list(checked.problems) if checked else []
    file = graph_file(db, name)
    if file is not None:
        loaded = graph(db, file)
        if loaded is None:
            out += _missing_graph(db, name, file)
        else:
            out += loaded.problems
            out += unknown_protocols(loaded, schema(db).protocols)
    return tuple(out)


def _missing_graph(db: Database, name: str, file: str) -> list[Problem]:
    for ref in mesh_refs(db):
        decl = ref.parsed.decl
        if named(ref) == name and isinstance(decl, t.MeshDecl) and decl.graphs:
            place = Place(ref.file, ref.key, decl.graphs[0].start, decl.graphs[0].end)
            message = f"the graph `{decl.graphs[0].text}` is not there; without it no call path is known"
            return [Problem("missing-file", message, place)]
    return []


@query
def declared_problems(db: Database) -> tuple[Problem, ...]:
    """What is wrong with the declarations of the workspace, each by itself."""
    out = [p for some in range(some_files_count(db)) for p in _problems_of_some(db, some)]
    out += duplicate_problems(db)
    out += schema(db).problems
    for name in mesh_names(db):
        out += mesh_problems(db, name)
    for path in own_templates(db):
        out += template_problems(db, path)
    return tuple(dict.fromkeys(out))


def problems(db: Database) -> Iterator[Problem]:
    """Everything that is wrong in the workspace, but for its consequences."""
    yield from declared_problems(db)
    for name in mesh_names(db):
        yield from findings(db, name)


def consequences(db: Database) -> Iterator[Problem]:
    """What only a plan and the tests tell, which takes longer."""
    for name in mesh_names(db):
        yield from plan_problems(db, name)
        yield from failures(db, name)


@query
def _problems_of_some(db: Database, some: int) -> tuple[Problem, ...]:
    return tuple(p for file in some_files(db, some) for p in file_problems(db, file))


@query
def suppressions(db: Database) -> dict[str, tuple[Suppression, ...]]:
    """The comments that suppress findings, by file."""
    return {file: found for some in range(some_files_count(db)) for file, found in _suppressions_of_some(db, some)}


@query
def _suppressions_of_some(db: Database, some: int) -> tuple[tuple[str, tuple[Suppression, ...]], ...]:
    return tuple((file, found) for file in some_files(db, some) if (found := _suppressions(db, file)))


@query
def _suppressions(db: Database, file: str) -> tuple[Suppression, ...]:
    return allows(str(db.input_or("text", file, default=None) or ""))
