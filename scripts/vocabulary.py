"""The tables of docs/vocabulary.md: every operation and attribute of core.m4, and which shipped dataplane has it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m4c.ide import render
from m4c.resources import specs_dir
from m4c.semantics.model import Attribute, Entity, Enum, Operation, Type
from m4c.semantics.schema import Schema, SpecItem, build_schema
from m4c.semantics.values import show
from m4c.syntax.items import split
from m4c.syntax.parser import parse_item

SEVERAL = {
    "min": "the smallest",
    "max": "the largest",
    "and": "true if all are",
    "or": "true if one is",
    "union": "all of them",
    "sum": "their sum",
    None: "must be equal",
}


def shipped() -> Schema:
    """What the specs that ship with the product declare."""
    folder = Path(specs_dir())
    files = [folder / "core.m4", *sorted(folder.glob("*/spec.m4"))]
    items = [(f, parse_item(item.text).decl) for f in files for item in split(f.read_text("utf-8"))]
    return build_schema(SpecItem(str(f), str(n), str(f.parent), decl) for n, (f, decl) in enumerate(items))


def tables() -> str:
    """One section for each entity, in the order of core.m4."""
    schema = shipped()
    parts = [line for enum in schema.enums.values() for line in _enum(enum)]
    for entity in schema.entities.values():
        parts += _entity(schema, entity)
    return "\n".join(parts)


def _enum(enum: Enum) -> Iterator[str]:
    yield f"### {enum.name}\n"
    yield f"{_text(enum.doc)}\n"
    values = ", ".join(f"`{v}`{' (terminal)' if v in enum.terminal else ''}" for v in enum.values)
    yield f"{values}\n"


def _entity(schema: Schema, entity: Entity) -> Iterator[str]:
    over = f" over `{entity.over}`" if entity.over else ""
    params = f"({', '.join(f'{p.name}: {p.type}' for p in entity.params)})" if entity.params else ""
    yield f"### {entity.name}\n"
    yield f"`{'state ' if entity.state else ''}entity {entity.name}{params}`{over}. {_text(entity.doc)}\n"
    if entity.operations:
        yield "| operation | writes | side | dataplanes | |"
        yield "| --- | --- | --- | --- | --- |"
        for o in entity.operations.values():
            writes = ", ".join(f"`{render.write(w, entity)}`" for w in o.writes)
            yield _row(f"`{o.name}{_params(o)}`", writes, o.side or "", _having(schema, o), _text(o.doc))
        yield ""
    if entity.protocols is not None:
        spoken = ", ".join(f"`{p}`" for p in entity.protocols)
        yield f"Only services that speak one of these have it (`protocol:` in the graph): {spoken}."
        yield ""
    if entity.conditions:
        yield "| condition | |"
        yield "| --- | --- |"
        for c in entity.conditions.values():
            yield _row(f"`{c.name}()`", _text(c.doc))
        yield ""
    if entity.attributes or entity.views:
        yield "| attribute | several writes | |"
        yield "| --- | --- | --- |"
        written = {w.attribute for o in entity.operations.values() for w in o.writes}
        for name, of in entity.views.items():
            yield _row(f"`{name}: {of}`", "", "The whole of what this answers.")
        for a in entity.attributes.values():
            several = SEVERAL[a.merge] if a.name in written else ""
            yield _row(f"`{a.name}{render.attribute_type(a)}`{_more(a)}", several, _text(a.doc))
        yield ""


def _params(o: Operation) -> str:
    """The parameters without the limits of their types, which stand with the attributes."""

    def one(name: str, kind: Type) -> str:
        return f"{name}: {Type(kind.name, kind.args, kind.optional)}"

    given = [(one(p.name, p.type), "" if p.default is None else f" = {show(p.default, p.type)}") for p in o.params]
    return f"({', '.join(text + default for text, default in given)})"


def _more(a: Attribute) -> str:
    words = [f"default `{show(a.default, a.type)}`"] if a.default is not None else []
    words += ["travels"] if a.travels else []
    return f", {', '.join(words)}" if words else ""


def _having(schema: Schema, o: Operation) -> str:
    found = []
    for name, d in sorted(schema.dataplanes.items()):
        supports = d.operations.get((o.entity, o.name))
        if supports is not None:
            narrowed = len(supports.sides) == 1 and o.side is None
            found.append(f"{name} at {supports.sides[0]}" if narrowed else name)
    return ", ".join(found)


def _text(doc: str) -> str:
    return " ".join(doc.split())


def _row(*cells: str) -> str:
    return f"| {' | '.join(c.replace('|', chr(92) + '|') for c in cells)} |".replace("|  |", "| |")
