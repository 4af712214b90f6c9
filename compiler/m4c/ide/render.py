"""Declarations as M4 writes them, for hover and completion, and what they mean in words."""

from __future__ import annotations

from m4c.semantics.model import Attribute, Dataplane, Entity, Enum, Operation, Param, StateCondition, WriteDecl
from m4c.semantics.values import show


def param(p: Param) -> str:
    default = f" = {show(p.default, p.type)}" if p.default is not None else ""
    return f"{p.name}: {p.type}{default}"


def signature(called: Operation | StateCondition | Entity) -> str:
    """`(status: int = 403)`"""
    return f"({', '.join(map(param, called.params))})"


def write(w: WriteDecl, entity: Entity | None) -> str:
    """`header[name] = value`"""
    key = "" if w.key is None else f"[{w.key}]" if w.key_is_param else f'["{w.key}"]'
    known = entity.attributes.get(w.attribute) if entity else None
    shown = str(w.value) if w.value_is_param or known is None else show(w.value, known.type)
    return f"{w.attribute}{key} = {f'[{shown}]' if w.in_set else shown}"


def operation(o: Operation, entity: Entity | None) -> str:
    """The declaration of an operation."""
    side = f" at {o.side}" if o.side else ""
    writes = f"\n    writes {', '.join(write(w, entity) for w in o.writes)}" if o.writes else ""
    return f"operation {o.name}{signature(o)}{side}{writes};"


def condition(c: StateCondition) -> str:
    """The declaration of a state's condition."""
    return f"condition {c.name}{signature(c)};"


def attribute_type(a: Attribute) -> str:
    """`[name: istring]: string?`"""
    key = f"[name: {a.key.name}]" if a.key else ""
    return f"{key}: {a.type}"


def attribute(a: Attribute) -> str:
    """The declaration of an attribute."""
    words = [f"attribute {a.name}{attribute_type(a)}"]
    if a.derived:
        words.append(f'from {a.derived[0]} before "{a.derived[1]}"')
    if a.merge:
        words.append(f"merge {a.merge}")
    if a.default is not None:
        words.append(f"default {show(a.default, a.type)}")
    if a.travels:
        words.append("travels")
    return f"{' '.join(words)};"


def enum(e: Enum) -> str:
    values = ", ".join(v + (" terminal" if v in e.terminal else "") for v in e.values)
    return f"enum {e.name} {{ {values} }}"


def entity(e: Entity) -> str:
    if e.state:
        return f"state entity {e.name}{signature(e) if e.params else ''}"
    return f"entity {e.name}{f' over {e.over}' if e.over else ''}"


def dataplane(d: Dataplane) -> str:
    return f"spec {d.name} {{ tier {d.tier}; cost {d.cost}; }}"


def code(text: str) -> str:
    """A block of M4 in Markdown."""
    return f"```m4\n{text}\n```"


def plural(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"
