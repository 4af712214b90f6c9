"""Proposals of names that stand for whole things: services, policies, meshes, dataplanes, entities, types, files."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from m4c import project
from m4c.ide import render
from m4c.ide.cursor import kind_of, text_of
from m4c.ide.reach import next_services
from m4c.ide.scene import Proposal, ProposalKind, Scene
from m4c.semantics.roles import ENTITY_ROLES, MERGES, PER, POLICY_ROLES, ROLES, SUPPORT_ROLES, WITH_ARGUMENTS
from m4c.semantics.values import SCALARS
from m4c.syntax import tree as t
from m4c.syntax import words

_NEXT = re.compile(r"\b(?:policy|entity|mesh|spec|enum|state|test)\b")  # what a declaration begins with


def plain(kind: ProposalKind, words: Iterable[str]) -> Iterator[Proposal]:
    for word in words:
        yield Proposal(word, kind)


# --- call paths -------------------------------------------------------------------------------------------------------


def services(scene: Scene) -> Iterator[Proposal]:
    """The services of the graph; with those the path can go on with by the graph's calls come first."""
    first = next_services(scene)
    for name, service in scene.graph.services.items():
        facts = [*service.versions, *(f"{k}: {v}" for k, v in service.labels)]
        rank = 0 if first is None or name in first else 1
        yield Proposal(name, "service", ", ".join(facts), insert=scene.service_name(name), rank=rank)


def one_services(scene: Scene) -> Iterator[Proposal]:
    """Whatever may be a step of a path pattern."""
    yield from services(scene)
    if scene.cursor.quoted:
        return
    for name, members in scene.groups.items():
        yield Proposal(f"@{name}", "group", ", ".join(members), insert=f"@{scene.name(name)}", rank=2)
    yield Proposal("?", "keyword", "exactly one service, any", rank=3)
    if kind_of(scene.pieces[-1]) in ("ON", "ARROW"):
        yield Proposal("*", "keyword", "zero or more services, any", rank=3)
    if kind_of(scene.pieces[-1]) == "ON":
        yield Proposal("outside", "keyword", "only chains that came from outside", insert="outside -> ", rank=3)


def versions(scene: Scene) -> Iterator[Proposal]:
    service = scene.graph.services.get(text_of(scene.pieces[-2]))
    return plain("version", service.versions if service else ())


def label_keys(scene: Scene) -> Iterator[Proposal]:
    keys = {k for s in scene.graph.services.values() for k, _ in s.labels}
    for key in sorted(keys):
        yield Proposal(key, "label", insert=scene.service_name(key) + ("" if scene.cursor.quoted else ": "))


def label_values(scene: Scene) -> Iterator[Proposal]:
    key = text_of(scene.pieces[-2])
    values = sorted({v for s in scene.graph.services.values() for k, v in s.labels if k == key})
    for value in values:
        yield Proposal(value, "label", insert=scene.service_name(value))


def groups(scene: Scene) -> Iterator[Proposal]:
    for name, members in scene.groups.items():
        yield Proposal(name, "group", ", ".join(members), insert=scene.name(name))


# --- declarations -----------------------------------------------------------------------------------------------------


def entities(scene: Scene) -> Iterator[Proposal]:
    """The entities; first those of which most can be said."""
    ends = scene.shape.endswith("DEFAULT ")
    for e in sorted(scene.schema.entities.values(), key=lambda e: -len(e.operations)):
        yield Proposal(e.name, "entity", render.entity(e), e.doc, insert=f"{e.name}." if ends else "")


def variable(scene: Scene) -> Iterator[Proposal]:
    """The customary variable of an entity: the first letter of its last word."""
    entity = text_of(scene.pieces[-1])
    capitals = [c for c in entity if c.isupper()]
    yield Proposal((capitals[-1] if capitals else entity[:1] or "x").lower(), "variable")


def policies(scene: Scene) -> Iterator[Proposal]:
    """The policies about the same entity: no others can be overridden, or come before."""
    own = next(iter(scene.names_after("POLICY")), "")
    entity = scene.entity.name if scene.entity is not None else None
    for ref in project.policy_refs(scene.db, scene.mesh):
        decl = ref.parsed.decl
        if isinstance(decl, t.PolicyDecl) and decl.name.text != own and entity in (None, decl.entity.text):
            pattern = ref.text[decl.pattern.start : decl.pattern.end]
            yield Proposal(decl.name.text, "policy", f"on {pattern}", decl.doc, insert=scene.name(decl.name.text))


def meshes(scene: Scene) -> Iterator[Proposal]:
    for name in project.mesh_names(scene.db):
        yield Proposal(name, "mesh", "put this file into the mesh", insert=f"{scene.name(name)};")


def dataplanes(scene: Scene) -> Iterator[Proposal]:
    """Every spec that is shipped or declared in the workspace."""
    shipped = dict(scene.db.input("shipped"))
    core = shipped.pop("core", None)
    known = scene.schema.dataplanes
    for name in sorted({*shipped, *known}):
        d = known.get(name)
        detail = f"tier {d.tier}, cost {d.cost}" if d else "shipped" if core else ""
        yield Proposal(name, "dataplane", detail, d.doc if d else "", insert=scene.name(name))


def mesh_dataplanes(scene: Scene) -> Iterator[Proposal]:
    checked = project.mesh(scene.db, scene.mesh) if scene.mesh else None
    for name in checked.mesh.dataplanes if checked else ():
        yield Proposal(name, "dataplane", insert=scene.name(name))


def state_kinds(scene: Scene) -> Iterator[Proposal]:
    for e in scene.schema.entities.values():
        if e.state:
            needed = ", ".join(f"{p.name}: ${{{i}:{p.type}}}" for i, p in enumerate(e.params, 2) if p.default is None)
            snippet = f"{e.name} ${{1:name}}{f'({needed})' if needed else ''};$0"
            yield Proposal(e.name, "type", render.signature(e) if e.params else "", e.doc, snippet=snippet, rank=0)


# --- fixed words ------------------------------------------------------------------------------------------------------


def annotation_names(scene: Scene) -> Iterator[Proposal]:
    """What can be said of the declaration behind the cursor; where that is not known, of any."""
    inside = scene.item in ("ENTITY", "SPEC", "STATE")
    follows = _NEXT.search(scene.workspace.text(scene.file), scene.cursor.offset)
    of = "attribute" if inside else follows[0] if follows is not None else ""
    if of in ("", "policy"):
        for name, meaning in POLICY_ROLES.items():
            yield Proposal(name, "keyword", meaning, insert=f'{name}("")', snippet=f'{name}("$1")$0')
    roles = ROLES if of == "attribute" else ENTITY_ROLES if of in ("", "entity") else {}
    if scene.item == "SPEC":
        roles = roles | SUPPORT_ROLES
    for name, meaning in roles.items():
        snippet = f'{name}("$1")$0' if name in WITH_ARGUMENTS else None
        yield Proposal(name, "keyword", meaning, insert=f'{name}("")' if snippet else "", snippet=snippet)


def tiers(scene: Scene) -> Iterator[Proposal]:
    return plain("constant", ("kernel", "proxy"))


def per(scene: Scene) -> Iterator[Proposal]:
    return plain("constant", PER)


def protocols(scene: Scene) -> Iterator[Proposal]:
    for name, speaking in scene.schema.protocols.items():
        text = words.quoted(name)
        detail = f"spoken by {', '.join(speaking)}" if speaking else ""
        yield Proposal(name, "constant", detail, insert=text[1:-1] if scene.cursor.quoted else text)


def merges(scene: Scene) -> Iterator[Proposal]:
    return plain("constant", MERGES)


def types(scene: Scene) -> Iterator[Proposal]:
    yield from plain("type", SCALARS)
    yield Proposal("map", "type", insert="map<", snippet="map<$1, $2>")
    yield Proposal("set", "type", insert="set<", snippet="set<$1>")
    for e in scene.schema.enums.values():
        yield Proposal(e.name, "type", render.enum(e), e.doc)


# --- files ------------------------------------------------------------------------------------------------------------


def imports(scene: Scene) -> Iterator[Proposal]:
    yield from _files(scene, posixpath.dirname(scene.file), (".m4",), 1)
    shipped = str(scene.db.input("shipped_folder"))
    for _, path in scene.db.input("shipped"):
        yield _file(scene, posixpath.relpath(path, shipped), "shipped", 2)


def graph_files(scene: Scene) -> Iterator[Proposal]:
    return _files(scene, posixpath.dirname(scene.file), (".yaml", ".yml", ".json"), 1)


def templates(scene: Scene) -> Iterator[Proposal]:
    return _files(scene, posixpath.dirname(scene.file), (".j2",), 1)


def _files(scene: Scene, folder: str, endings: tuple[str, ...], rank: int) -> Iterator[Proposal]:
    """The files and folders beside a file, as deep as what was typed goes."""
    typed = posixpath.dirname(scene.cursor.word) if scene.cursor.quoted else ""
    at = Path(folder, typed)
    try:
        entries = sorted(os.scandir(at), key=lambda e: e.name)
    except (OSError, ValueError):
        return
    for entry in entries:
        path = posixpath.join(typed, entry.name)
        if entry.name.startswith(".") or (at / entry.name).as_posix() == scene.file:
            continue
        if entry.is_dir():
            yield _file(scene, f"{path}/", "folder", rank + 1)
        elif entry.name.endswith(endings):
            yield _file(scene, path, "", rank)


def _file(scene: Scene, path: str, detail: str, rank: int) -> Proposal:
    written = words.quoted(path)
    return Proposal(path, "file", detail, insert=written[1:-1] if scene.cursor.quoted else written, rank=rank)
