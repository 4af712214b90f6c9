"""What the rules about `overrides`, `after` and `merge` say, on values: shared by the interpreter and the analyses."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Set
from dataclasses import dataclass

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

    def among(self, names: Set[str]) -> Orders:
        """The orders of some of the policies."""
        return Orders(
            *(
                Mostly({n: found for n in names if n in of and (found := of[n] & names)})
                for of in (self.over, self.after)
            )
        )


def orders(program: Program) -> Orders:
    """The transitive `overrides` and `after` of a program."""
    clauses = {p.name: (p.overrides, p.after) for p in program.policies if p.overrides or p.after}
    return orders_of(clauses, {p.name for p in program.policies} if clauses else ())


def orders_of(clauses: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]], known: Container[str]) -> Orders:
    """The transitive `overrides` and `after` of policies, by those that say any. Names that are not known are left
    out: their policies have errors of their own."""
    over = {n: tuple(q for q in o if q in known) for n, (o, _) in clauses.items()}
    after = {n: tuple(q for q in a if q in known) for n, (_, a) in clauses.items()}
    found: dict[str, set[str]] = {}
    for name in over:
        for overridden in closure([name], over) - {name}:
            found.setdefault(overridden, set()).add(name)
    befores = {n: closure([n], after) - {n} for n in after}
    return Orders(
        Mostly({n: frozenset(names) for n, names in found.items()}),
        Mostly({n: names for n, names in befores.items() if names}),
    )


class Mostly(dict[str, frozenset[str]]):
    """A mapping in which most names have nothing."""

    def __missing__(self, name: str) -> frozenset[str]:
        return frozenset()


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
