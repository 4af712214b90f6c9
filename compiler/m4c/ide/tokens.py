"""Semantic tokens: what the names in a text stand for, for colours that a grammar of words cannot tell.

Only names are told. Keywords, comments, texts and numbers are what the editors' own grammars take them for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from m4c import project
from m4c.ide.occurrences import Kind, Occurrence
from m4c.ide.symbols import occurrences
from m4c.workspace import Workspace

# The protocol's own types where one says the same; the last ones are of M4.
TYPES = (
    "namespace", "class", "enum", "enumMember", "function", "method", "property", "parameter", "variable",
    "service", "group", "version", "label",
)  # fmt: skip
MODIFIERS = ("declaration", "readonly", "defaultLibrary")

_TYPE_OF: dict[Kind, str] = {
    "policy": "function", "service": "service", "version": "version", "group": "group", "label": "label",
    "mesh": "namespace", "dataplane": "namespace", "entity": "class", "operation": "method", "attribute": "property",
    "param": "parameter", "enum": "enum", "enum value": "enumMember", "constant": "variable", "variable": "parameter",
    "state": "variable", "state kind": "class", "condition": "method",
}  # fmt: skip
_OF_SPECS: tuple[Kind, ...] = ("entity", "operation", "attribute", "enum", "state kind", "condition", "dataplane")


@dataclass(frozen=True, slots=True)
class Token:
    """A name: offsets in the file, its type, and what else is so of it."""

    start: int
    end: int
    type: str
    modifiers: tuple[str, ...] = ()


def tokens(workspace: Workspace, file: str, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The names in a file, or in a part of it, in order; none overlaps another."""
    db = workspace.db
    mesh = project.mesh_of_file(db, file)[0]
    shipped = _Shipped(workspace)
    last = start
    for (_, item), ref in zip(project.keyed(db, file), project.decls(db, file), strict=True):
        if item.end < start:
            continue
        if end is not None and item.start > end:
            break
        for o in occurrences(db, ref, mesh):
            at, to = item.start + o.start, item.start + o.end
            of = _TYPE_OF.get(o.symbol.kind)
            if of is None or at < last or at == to or (end is not None and at > end):
                continue
            last = to
            yield Token(at, to, of, tuple(_modifiers(o, shipped)))


def _modifiers(o: Occurrence, shipped: _Shipped) -> Iterator[str]:
    if o.declares:
        yield "declaration"
    if o.symbol.kind in ("constant", "enum value") or (o.symbol.kind == "label" and "/" in o.symbol.scope):
        yield "readonly"
    if o.symbol.kind in _OF_SPECS and shipped.declares(o):
        yield "defaultLibrary"


class _Shipped:
    """What the shipped specs declare: everybody has it."""

    def __init__(self, workspace: Workspace) -> None:
        self.schema = project.schema(workspace.db)
        self.files = {path for _, path in workspace.db.input("shipped")}

    def declares(self, o: Occurrence) -> bool:
        name, scope, schema = o.symbol.name, o.symbol.scope, self.schema
        holder = schema.entities.get(scope)
        found = {
            "entity": schema.entities.get(name),
            "state kind": schema.entities.get(name),
            "enum": schema.enums.get(name),
            "dataplane": schema.dataplanes.get(name),
            "attribute": holder.attributes.get(name) if holder else None,
            "operation": holder.operations.get(name) if holder else None,
            "condition": holder.conditions.get(name) if holder else None,
        }[o.symbol.kind]
        return found is not None and found.place is not None and found.place.file in self.files
