"""Search for declarations by name, in the whole workspace. Where each stands is looked up for what is shown only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from m4c import project
from m4c.db import Database, query
from m4c.ide.outline import EntryKind
from m4c.semantics.model import Place
from m4c.syntax import tree as t
from m4c.workspace import Span, Workspace

LIMIT = 200  # more than people read; many small objects are what costs in the protocol


@dataclass(frozen=True, slots=True)
class Named:
    """A declaration by its name. `inside`: what it is declared in. The offsets are those of the name in the
    declaration `key` of its file; -1 where that has to be parsed first."""

    name: str
    kind: EntryKind | str
    inside: str
    file: str
    key: str
    start: int = -1
    end: int = -1


def search(workspace: Workspace, text: str, limit: int = LIMIT) -> tuple[Named, ...]:
    """The declarations whose names hold the letters of a text in order, the best first."""
    found = [(rank, n) for n in _named(workspace.db) if (rank := _rank(n.name, text)) is not None]
    shipped = {path for _, path in workspace.db.input("shipped")} - set(workspace.db.input("files"))
    found.sort(key=lambda f: (f[0], f[1].file in shipped, len(f[1].name), f[1].name, f[1].file))
    return tuple(n for _, n in found[:limit])


def place(workspace: Workspace, named: Named) -> Span | None:
    """Where a name stands now; None if it is gone."""
    if not named.key:
        return workspace.at(named.file, named.start, named.end)
    ref = project.decl(workspace.db, named.file, named.key)
    if ref is None:
        return None
    start, end = named.start, named.end
    if start < 0:
        name = getattr(ref.parsed.decl, "name", None) or getattr(ref.parsed.decl, "title", None)
        start, end = (name.start, name.end) if name is not None else (0, 0)
    return workspace.span(Place(named.file, named.key, start, end))


def _rank(name: str, text: str) -> int | None:
    """How well a name fits: 0 it is the text, 1 begins with it, 2 one of its words does, 3 holds it, 4 holds its
    letters in order; None not at all."""
    low, typed = name.lower(), text.lower()
    if typed in low:
        if low.startswith(typed):
            return 0 if low == typed else 1
        at = low.index(typed)
        return 2 if not low[at - 1].isalnum() or name[at].isupper() else 3
    at = 0
    for letter in typed:
        at = low.find(letter, at) + 1
        if not at:
            return None
    return 4


@query
def _named(db: Database) -> tuple[Named, ...]:
    """Everything that is declared, services of the graphs included. It reads names alone: an edit within a policy
    changes none of it."""
    out: list[Named] = []
    for outline in project.layout(db).outlines:
        file = outline.file
        mesh = project.layout(db).mesh_of[file][0] or ""
        out += (Named(p.name, "policy", mesh, file, p.key) for p in outline.policies if p.name)
        out += (Named(title, "test", mesh, file, key) for key in outline.tests if (title := _title(key)))
        for ref in outline.others:
            out += _members(ref.parsed.decl, file, ref.key, mesh)
    graphs: dict[str, str] = {}
    for mesh in project.mesh_names(db):
        graph = project.graph_file(db, mesh)
        if graph is not None:
            graphs.setdefault(graph, mesh)
    for file, mesh in graphs.items():
        loaded = project.graph(db, file)
        for name, at in loaded.services_at if loaded is not None else ():
            out.append(Named(name, "service", mesh, file, "", at.start, at.end))
    return tuple(out)


def _title(key: str) -> str:
    """The title of a test by the key of its declaration."""
    return re.sub(r"#\d+$", "", key.partition(":")[2])


def _members(decl: t.Decl, file: str, key: str, mesh: str) -> Iterator[Named]:
    def named(name: t.Name, kind: EntryKind, inside: str) -> Named:
        return Named(name.text, kind, inside, file, key, name.start, name.end)

    match decl:
        case t.MeshDecl(name=name, groups=groups):
            yield named(name, "mesh", "")
            yield from (named(group, "group", name.text) for group, _ in groups)
        case t.StateDecl(name=name):
            yield named(name, "state", mesh)
        case t.EnumDecl(name=name, values=values):
            yield named(name, "enum", "")
            yield from (named(value, "enum value", name.text) for value, _ in values)
        case t.EntityDecl(name=name) | t.StateEntityDecl(name=name):
            yield named(name, "entity", "")
            yield from (named(a.name, "attribute", name.text) for a in decl.attributes)
            yield from (named(o.name, "operation", name.text) for o in decl.operations)
            if isinstance(decl, t.StateEntityDecl):
                yield from (named(c.name, "operation", name.text) for c in decl.conditions)
        case t.SpecDecl(name=name):
            yield named(name, "spec", "")
            for inner in (*decl.enums, *decl.entities):
                yield from _members(inner, file, key, mesh)
            for supports in decl.supports:
                inside = f"{name.text}, {supports.entity.text}"
                yield from (named(a.name, "attribute", inside) for a in supports.attributes)
                own = (o for o in supports.operations if o.params is not None or o.writes)
                yield from (named(o.name, "operation", inside) for o in own)
