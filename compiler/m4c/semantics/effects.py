"""What the rules about `overrides`, `after` and `merge` say, on values: shared by the interpreter and the analyses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from m4c.semantics.model import ABSENT, Attribute, AttrKey, Entity, Enum, Program, Type, Value


def closure(names: Iterable[str], edges: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """Everything that can be reached from `names` along `edges`, themselves included."""
    seen: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in seen:
            seen.add(name)
            queue += edges.get(name, ())
    return frozenset(seen)


@dataclass(frozen=True, slots=True)
class Orders:
    """For each policy: those that override it, and those that it is after, both transitively."""

    over: Mapping[str, frozenset[str]]
    after: Mapping[str, frozenset[str]]


def orders(program: Program) -> Orders:
    """The transitive `overrides` and `after` of a program, of those of its policies that it has."""
    return _orders(tuple((p.name, p.overrides, p.after) for p in program.policies))


@lru_cache(maxsize=64)
def _orders(policies: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]) -> Orders:
    over = {n: o for n, o, _ in policies}
    after = {n: a for n, _, a in policies}
    reach = {n: closure(over[n], over) - {n} for n in over}
    return Orders(
        {n: frozenset(o for o in over if n in reach[o]) for n in over},
        {n: (closure(after[n], after) - {n}) & after.keys() for n in after},
    )


def merge(attribute: Attribute, values: list[Value]) -> Value | None:
    """Rule 4 for written values (at least one): the merged value, or None for a contradiction."""
    first = values[0]
    if attribute.merge == "sum":
        return sum(v for v in values if isinstance(v, int))
    if all(v == first for v in values):
        return first
    ordered = sorted(v for v in values if isinstance(v, int))
    match attribute.merge:
        case "min" if len(ordered) == len(values):
            return ordered[0]
        case "max" if len(ordered) == len(values):
            return ordered[-1]
        case "and":
            return all(values)
        case "or":
            return any(values)
        case "union":
            items = {x for v in values if isinstance(v, tuple) for x in v}
            return tuple(sorted(items, key=repr))
    return None


def start_value(attribute: Attribute, enums: Mapping[str, Enum]) -> Value:
    """What an attribute that travels is at the start of a chain: absent where it may be, else nothing of its type."""
    if attribute.type.optional:
        return ABSENT
    if attribute.type.name in enums:
        return enums[attribute.type.name].values[0]
    match attribute.type.name:
        case "bool":
            return False
        case "int" | "duration" | "percent":
            return 0
        case "rate":
            return (0, 10**9)
        case "set" | "map":
            return ()
    return ""


def plain_values(entity: Entity, enums: Mapping[str, Enum]) -> dict[AttrKey, Value]:
    """What an entity arrives with as long as nobody says otherwise: the attributes that its sender alone decides, and
    cannot leave out, are empty, 0 or false, or the first of the values that they can have."""
    written = {w.attribute for o in entity.operations.values() for w in o.writes}
    return {
        AttrKey(entity.name, a.name): _admitted(a.type, start_value(a, enums))
        for a in entity.attributes.values()
        if a.key is None and a.default is None and a.derived is None
        if not (a.type.optional or a.travels or a.name in written)
    }


def _admitted(type_: Type, value: Value) -> Value:
    if type_.admits(value):
        return value
    return type_.among[0] if type_.among else value if type_.low is None else type_.low


def carriers(entities: Mapping[str, Entity], entity: str) -> list[Entity]:
    """What an entity is carried over, the outermost first; a carrier that is denied denies what it carries."""
    out: list[Entity] = []
    over = entities[entity].over
    while over is not None and over in entities and all(e.name != over for e in out):
        out.insert(0, entities[over])
        over = entities[over].over
    return out


def answers(entities: Mapping[str, Entity], entity: str) -> list[Entity]:
    """What comes back for an entity."""
    return [e for e in entities.values() if entity in e.views.values()]
