"""What of an entity makes sense at a place. Of operations in a policy's body, by what they write: not what has no
effect, is not performed, or contradicts what is requested already; and before all what undoes a default of the mesh. Of
attributes: those that a dataplane can look at, and those that the operations which are in use write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from lark import Tree

from m4c import project
from m4c.ide.cursor import kind_of, text_of
from m4c.ide.reach import letters, policy_shape
from m4c.ide.scene import Scene
from m4c.ide.usage import near
from m4c.paths.masks import Shape
from m4c.semantics.model import Default, Entity, Operation, Type, Value, WriteDecl

_UNDOING = 8  # how much likelier what brings back an attribute that a default of the mesh took on the policy's hops
_ROUTING = 1  # and what tells the versions apart that the policy's requests end at


@dataclass(frozen=True, slots=True)
class Fitting:
    """Names of operations. `idle`: without any use at the cursor; `likelier`: wanted there, each by how much."""

    idle: frozenset[str] = frozenset()
    likelier: Mapping[str, int] = field(default_factory=dict)


def fitting(scene: Scene, holder: Entity) -> Fitting:
    """Which operations of an entity fit at the cursor, in the body of a policy about it."""
    if holder.state or scene.item != "POLICY":
        return Fitting()
    operations = holder.operations.values()
    shape = policy_shape(scene)
    sides = _sides(scene, shape)
    meeting, covering = _defaults(scene, holder, shape)
    requested = [holder.operations[name] for name in _requested(scene) if name in holder.operations]
    by_version = {o.name for o in operations if any(_is_by_version(p.type) for p in o.params)}
    versions = _ends_at_versions(scene)
    idle = {o.name for o in operations if o.side is not None and o.side not in sides}
    idle |= {o.name for o in operations if any(_is_against(o, other, holder) for other in requested)}
    if scene.last("clause_overrides") is None:  # else that is what it is for
        idle |= {o.name for o in operations if _is_so(o, holder, meeting)}
    if versions is False:
        idle |= by_version
    likelier = dict.fromkeys(by_version if versions else (), _ROUTING)
    likelier |= dict.fromkeys((o.name for o in operations if _undoes(o, holder, covering)), _UNDOING)
    return Fitting(frozenset(idle), likelier)


def _sides(scene: Scene, shape: Shape | None) -> set[str]:
    """The sides of a hop at which a policy is enforced: where requests come in from outside there is no caller."""
    clauses = (p for p in scene.pieces if isinstance(p, Tree) and kind_of(p) == "clause_at")
    said = {str(t.data).removeprefix("side_") for c in clauses for t in c.iter_subtrees() if "side_" in t.data}
    if shape is not None and len(shape.steps) == 1 and not shape.steps[0][1]:
        return {"ingress"}
    return said or {"ingress", "egress"}


# --- defaults ---------------------------------------------------------------------------------------------------------


def _mesh_defaults(scene: Scene, entity: Entity) -> list[Default]:
    checked = project.mesh(scene.db, scene.mesh) if scene.mesh else None
    return [d for d in (checked.mesh.defaults if checked else ()) if d.attr.entity == entity.name]


def _defaults(scene: Scene, entity: Entity, shape: Shape | None) -> tuple[list[Default], list[Default]]:
    """The defaults of the mesh on some of a policy's hops, and those on all services that its paths end at."""
    known = _mesh_defaults(scene, entity)
    if shape is None or scene.mesh is None or not known:
        return known, []
    found = letters(scene.db, scene.mesh)
    ends = found.ends_once(shape)
    both = [(d, found.ends_once(shape, found.shape(d.pattern))) for d in known]
    return [d for d, at in both if at], [d for d, at in both if at and at == ends]


def _is_so(operation: Operation, entity: Entity, defaults: list[Default]) -> bool:
    """Whether all that an operation writes is so where nobody writes it."""
    other = {d.attr.attribute for d in defaults}
    return bool(operation.writes) and all(_is_default(w, entity) and w.attribute not in other for w in operation.writes)


def _undoes(operation: Operation, entity: Entity, defaults: list[Default]) -> bool:
    """Whether an operation brings back what an attribute is by itself, where the mesh says otherwise."""
    other = {d.attr.attribute for d in defaults if d.value != _default(entity, d.attr.attribute)}
    return any(_is_default(w, entity) and w.attribute in other for w in operation.writes)


def _is_default(write: WriteDecl, entity: Entity) -> bool:
    fixed = not write.value_is_param and write.key is None
    return fixed and write.value is not None and write.value == _default(entity, write.attribute)


def _default(entity: Entity, attribute: str) -> Value | None:
    return entity.attributes[attribute].default if attribute in entity.attributes else None


# --- what the body says already ---------------------------------------------------------------------------------------


def _requested(scene: Scene) -> Iterator[str]:
    """The operations of the policy's entity that are requested whenever the statement at the cursor is."""
    for piece in scene.pieces:
        if isinstance(piece, Tree) and kind_of(piece) == "call_statement":
            ref = next(piece.find_data("ref"), None)
            if ref is not None and text_of(ref) == scene.variable and len(ref.children) > 1:
                yield text_of(ref.children[1])


def _is_against(operation: Operation, other: Operation, entity: Entity) -> bool:
    """Whether an operation contradicts one that is requested on the same input, or only says the same once more."""
    if operation.name == other.name:
        return all(w.key is None for w in operation.writes)
    said = {w.attribute: w.value for w in other.writes if w.key is None and not w.value_is_param}
    for w in operation.writes:
        attribute = entity.attributes.get(w.attribute)
        free = w.key is not None or w.value_is_param or attribute is None or attribute.merge is not None
        if not free and w.attribute in said and said[w.attribute] != w.value:
            return True
    return False


# --- attributes -------------------------------------------------------------------------------------------------------


def readable(scene: Scene, entity: Entity) -> frozenset[str]:
    """The attributes of an entity that a condition can look at: by a dataplane of the mesh, or as what travels."""
    seen = {name for d in scene.planes for of, name in d.reads if of == entity.name}
    return frozenset(n for n, a in entity.attributes.items() if n in seen or a.travels)


def written(scene: Scene, entity: Entity, said: Container[str]) -> dict[tuple[str, str], int]:
    """How often policies request operations that write each attribute, and each value of an enumeration ("" else), and
    defaults of the mesh say one. `said`: what a test says that it expects, values of enumerations; only operations
    count that can lead to that."""
    used = near(scene.db, scene.file).counts
    enums = {n: e for n, a in entity.attributes.items() if (e := scene.schema.enums.get(a.type.name)) is not None}
    ended = any(value in said for e in enums.values() for value in e.terminal)
    found: Counter[tuple[str, str]] = Counter()
    for o in entity.operations.values():
        fixed = {w.attribute: str(w.value) for w in o.writes if w.attribute in enums and not w.value_is_param}
        possible = all(value in said for value in fixed.values()) and (not ended or fixed)
        for w in o.writes if possible or not said else ():
            found[w.attribute, fixed.get(w.attribute, "")] += used.get(("operation", o.name), 0)
    for d in _mesh_defaults(scene, entity):
        if d.attr.attribute in enums:
            found[d.attr.attribute, str(d.value)] += 1
    return dict(found)


# --- versions ---------------------------------------------------------------------------------------------------------


def _ends_at_versions(scene: Scene) -> bool | None:
    """Whether a service at the end of the policy's pattern has several versions; None where none is named there."""
    ends = [s for name in scene.ends if (s := scene.graph.services.get(name)) is not None]
    return any(len(s.versions) > 1 for s in ends) if ends else None


def _is_by_version(type_: Type) -> bool:
    return bool(type_.args) and type_.args[0].name == "version"
