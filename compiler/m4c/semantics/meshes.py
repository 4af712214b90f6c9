"""From a mesh's tree to its checked value."""

from __future__ import annotations

from dataclasses import dataclass

from m4c.semantics.conditions import attribute_key, key_exists
from m4c.semantics.labels import unknown_labels
from m4c.semantics.model import Default, Mesh, Place
from m4c.semantics.policies import Names, check_pattern, constant_of, service_name
from m4c.semantics.problems import Problem, Related, unknown
from m4c.semantics.schema import Schema, cost_of
from m4c.semantics.values import Scope
from m4c.syntax import tree as t

TAG_BITS = 16


@dataclass(frozen=True, slots=True)
class CheckedMesh:
    """A mesh as far as it makes sense. `whole`: no default is left out for what is wrong with it."""

    mesh: Mesh
    problems: tuple[Problem, ...]
    whole: bool = True


def mesh_groups(decl: t.MeshDecl) -> dict[str, tuple[str, ...]]:
    return {name.text: tuple(m.text for m in members) for name, members in decl.groups}


def check_mesh(decl: t.MeshDecl, file: str, key: str, schema: Schema, names: Names) -> CheckedMesh:
    """Resolves a mesh. Names of services are checked against the graph where it is readable."""
    scope = Scope(file, key)
    if decl.extends is not None:
        scope.report("reserved", "`extends` is reserved for a later version of M4", decl.extends)
    if len(decl.graphs) > 1:
        scope.problems.append(
            Problem(
                "duplicate-name",
                "the mesh names a second graph",
                scope.at(decl.graphs[1]),
                (Related(scope.at(decl.graphs[0]), "the first one"),),
            )
        )
    if not decl.graphs:
        message = f'mesh `{decl.name.text}` names no graph (`graph "file.yaml";`)'
        scope.report("missing-declaration", message, decl.name, about="graph")
    if not decl.dataplanes:
        message = f"mesh `{decl.name.text}` names no dataplane (`dataplanes …;`), so nothing can run its policies"
        scope.report("missing-declaration", message, decl.name, about="dataplanes")
    _said_twice(decl, scope)
    dataplanes: list[str] = []
    for name in decl.dataplanes:
        if name.text not in schema.dataplanes:
            scope.problems.append(unknown("spec", name.text, schema.dataplanes, scope.at(name)))
        elif name.text not in dataplanes:
            dataplanes.append(name.text)
    for service, _, dataplane in decl.places:
        service_name(service, scope, names)
        _dataplane(dataplane, dataplanes, scope)
    for dataplane, service, _ in decl.costs:
        service_name(service, scope, names)
        _dataplane(dataplane, dataplanes, scope)
    seen: dict[str, t.Name] = {}
    for group, members in decl.groups:
        if group.text in seen:
            related = (Related(scope.at(seen[group.text]), "the first one"),)
            message = f"group `{group.text}` is declared twice"
            scope.problems.append(Problem("duplicate-name", message, scope.at(group), related))
        seen[group.text] = group
        for member in members:
            service_name(member, scope, names)
    defaults = [d for node in decl.defaults if (d := _default(node, schema, scope, names)) is not None]
    mesh = Mesh(
        name=decl.name.text,
        graph=decl.graphs[0].text if decl.graphs else None,
        dataplanes=tuple(dataplanes),
        never=tuple((s.text, d.text) for s, kind, d in decl.places if kind == "never"),
        only=tuple((s.text, d.text) for s, kind, d in decl.places if kind == "only"),
        costs=tuple((d.text, s.text, cost_of(n)) for d, s, n in decl.costs),
        propagate=tuple(s.text.lower() for s in decl.propagate),
        groups=tuple(mesh_groups(decl).items()),
        defaults=tuple(defaults),
        tag_bits=TAG_BITS if decl.tag_bits is None else decl.tag_bits,
        place=scope.at(decl.name),
    )
    return CheckedMesh(mesh, (*scope.problems, *scope.remarks), len(defaults) == len(decl.defaults))


def _said_twice(decl: t.MeshDecl, scope: Scope) -> None:
    """Entries of the mesh's clauses that are there already, and second costs of one dataplane at one service."""
    said: list[tuple[str, tuple[str, ...], t.Name | t.Str]] = [
        *((f"dataplane `{d.text}`", ("dataplane", d.text), d) for d in decl.dataplanes),
        *((f"header `{h.text}`", ("propagate", h.text.lower()), h) for h in decl.propagate),
        *((f"`{m.text}`", ("member", str(g.start), m.text), m) for g, members in decl.groups for m in members),
        *((f"`place {s.text} {kind} {d.text}`", ("place", s.text, kind, d.text), s) for s, kind, d in decl.places),
        *((f"the cost of `{d.text}` on `{s.text}`", ("cost", d.text, s.text), d) for d, s, _ in decl.costs),
    ]
    first: dict[tuple[str, ...], t.Name | t.Str] = {}
    for what, key, node in said:
        if first.setdefault(key, node) is not node:
            related = (Related(scope.at(first[key]), "the first one"),)
            scope.problems.append(Problem("duplicate-name", f"{what} is there twice", scope.at(node), related))


def _dataplane(name: t.Name, dataplanes: list[str], scope: Scope) -> None:
    if name.text not in dataplanes:
        scope.problems.append(unknown("dataplane of this mesh", name.text, dataplanes, scope.at(name)))


def _default(node: t.MeshDefault, schema: Schema, scope: Scope, names: Names) -> Default | None:
    entity = schema.entities.get(node.entity.text)
    if entity is None:
        scope.problems.append(unknown("entity", node.entity.text, schema.entities, scope.at(node.entity)))
        return None
    attribute = entity.attributes.get(node.attribute.text)
    if attribute is None:
        what = f"attribute of {entity.name}"
        scope.problems.append(unknown(what, node.attribute.text, entity.attributes, scope.at(node.attribute)))
        return None
    if (node.key is None) != (attribute.key is None):
        scope.report(
            "type-mismatch", f"`{attribute.name}` {'needs a' if attribute.key else 'takes no'} key", node.attribute
        )
        return None
    before = len(scope.problems)
    if node.key is not None:
        key_exists(attribute, node.key, scope, names.services)
    pattern = check_pattern(node.pattern, scope, names)
    if names.services is not None:
        scope.remarks += unknown_labels(node.pattern, names.labels, scope)
    value = constant_of(node.value, attribute.type, schema, scope, names.services)
    if value is None or len(scope.problems) > before:
        return None
    key = attribute_key(entity.name, attribute, node.key.text if node.key else None)
    return Default(key, value, pattern, Place(scope.file, scope.decl, node.start, node.end))
