"""One attribute at a time: the plainest value of a type that passes a conjunction of checks.

Plain is, in this order: what the caller prefers, absence, the attribute's default, and what is plainest of its type:
the shortest string, the number nearest to zero, `false`, the first value of an enum, the smallest set.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, count
from typing import Any, NamedTuple, TypeAlias, cast

from m4c.predicates.atoms import Check, normal, passes
from m4c.predicates.charset import is_value
from m4c.predicates.strings import plainest_string
from m4c.semantics.model import ABSENT, Absent, Attribute, Enum, Type, Value

INT64 = (-(2**63), 2**63 - 1)
_RANGES = {"int": INT64, "duration": (0, INT64[1]), "percent": (0, 10_000)}
_STRINGS = ("string", "istring")

# How far a value is from plain, compared from left to right: it is not what the caller prefers; it is not the
# attribute's plain value; its length; its distance from zero. More checks never make it less.
Cost: TypeAlias = tuple[int, int, int, int]
FREE: Cost = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """What the values of an attribute are: of a finite type `values`, of a set of a finite type its `elements`, of a
    string those that pass its `own` checks.

    Equal domains are one object (`domain_of`), so that they compare and hash fast.
    """

    type: Type
    default: Value | None
    values: tuple[Value, ...] | None
    elements: tuple[Value, ...] | None
    own: tuple[Check, ...]


class Choice(NamedTuple):
    value: Value | Absent
    cost: Cost


def domain_of(attribute: Attribute, enums: Mapping[str, Enum]) -> Domain:
    kind = attribute.type
    elements = _finite(kind.args[0], enums) if kind.name == "set" else None
    fold = kind.name == "istring"
    own: list[Check] = []
    if kind.domain is not None:
        own.append(Check(True, "matches", kind.domain, (), fold))
    if kind.excluded:
        own.append(Check(False, "in", normal(kind.excluded) if fold else kind.excluded, (), fold))
    return _domain(kind, attribute.default, _finite(kind, enums), elements, tuple(own))


_domain = lru_cache(maxsize=1 << 12)(Domain)


def _finite(kind: Type, enums: Mapping[str, Enum]) -> tuple[Value, ...] | None:
    if kind.among is not None:
        return kind.among
    if kind.name == "bool":
        return False, True
    return enums[kind.name].values if kind.name in enums else None


def _range(kind: Type) -> tuple[int, int]:
    """The smallest and the largest value of a type of numbers."""
    low, high = _RANGES[kind.name]
    return max(low, low if kind.low is None else kind.low), min(high, high if kind.high is None else kind.high)


@lru_cache(maxsize=1 << 16)
def choose(domain: Domain, checks: tuple[Check, ...], prefer: Value | Absent | None = None) -> Choice | None:
    """The plainest value, or absence, that passes every check; None if nothing does. Raises TooComplex, RegexError."""
    if prefer is not None:
        choice = choose(domain, checks)
        if choice is None or not _contains(domain, prefer):
            return choice
        if all(passes(check, prefer) for check in checks):
            return Choice(prefer, FREE)
        return Choice(choice.value, (1, *choice.cost[1:]))
    if domain.type.optional:
        if not any(check.positive for check in checks):
            return Choice(ABSENT, FREE)
        plain: Value | Absent | None = ABSENT
    else:
        plain = domain.default if _has_default(domain) else _plainest(domain, ())
    if _has_default(domain) and all(passes(check, cast("Value", domain.default)) for check in checks):
        return Choice(cast("Value", domain.default), (0, int(domain.default != plain), 0, 0))
    value = _plainest(domain, checks)
    if value is None:
        return None
    if value == plain:
        return Choice(value, FREE)
    return Choice(value, (0, 1, 0, abs(value)) if isinstance(value, int) else (0, 1, _size(value), 0))


def _has_default(domain: Domain) -> bool:
    return domain.default is not None and _contains(domain, domain.default)


def _contains(domain: Domain, value: Value | Absent) -> bool:
    kind = domain.type
    if value is ABSENT:
        return kind.optional
    if domain.values is not None:
        return value in domain.values
    if kind.name in _RANGES:
        low, high = _range(kind)
        return isinstance(value, int) and low <= value <= high
    if kind.name in _STRINGS:
        return isinstance(value, str) and is_value(value) and all(passes(check, value) for check in domain.own)
    return True


def _plainest(domain: Domain, checks: tuple[Check, ...]) -> Value | None:
    """The plainest present value; the attribute's default plays no part."""
    for check in checks:
        if check.op == "exists" and not check.positive:
            return None
    checks = tuple([check for check in checks if check.op != "exists"])
    kind = domain.type
    if domain.values is not None:
        return next((value for value in domain.values if all(passes(check, value) for check in checks)), None)
    if kind.name in _RANGES:
        return _plainest_number(*_range(kind), checks)
    if kind.name in _STRINGS:
        return plainest_string((*domain.own, *checks))
    return _plainest_other(domain, checks)


# --- numbers ----------------------------------------------------------------------------------------------------------


def _plainest_number(low: int, high: int, checks: tuple[Check, ...]) -> int | None:
    """The number nearest to zero, of two the positive one, in an interval less what `!=` and `in` exclude."""
    listed: set[int] | None = None
    excluded: set[int] = set()
    for positive, op, constant, _, _ in checks:
        if op in ("==", "in"):
            members = {cast(int, constant)} if op == "==" else set(cast("tuple[int, ...]", constant))
            if not positive:
                excluded |= members
            else:
                listed = members if listed is None else listed & members
            continue
        number = cast(int, constant)
        match op, positive:
            case ("<", True) | (">=", False):
                high = min(high, number - 1)
            case ("<=", True) | (">", False):
                high = min(high, number)
            case (">", True) | ("<=", False):
                low = max(low, number + 1)
            case (">=", True) | ("<", False):
                low = max(low, number)
            case _:
                raise ValueError(f"numbers have no comparison {op!r}")
    candidates: Iterable[int]
    if listed is not None:
        candidates = sorted(listed, key=lambda n: (abs(n), -n))
    else:
        candidates = _outwards(low, high)
    return next((n for n in candidates if low <= n <= high and n not in excluded), None)


def _outwards(low: int, high: int) -> Iterator[int]:
    """The numbers of an interval by distance from zero."""
    if low > high:
        return
    nearest = min(max(low, 0), high)
    for distance in range(abs(nearest), max(abs(low), abs(high)) + 1):
        if low <= distance <= high:
            yield distance
        if distance and low <= -distance <= high:
            yield -distance


# --- sets, maps, versions, rates --------------------------------------------------------------------------------------


def _plainest_other(domain: Domain, checks: tuple[Check, ...]) -> Value | None:
    """Types that know equality alone, and sets, which know `contains` as well.

    Each check but a positive equality excludes or demands finitely much, so that walking through the values, plainest
    first, soon meets one that passes, or the end of a finite type.
    """
    for check in checks:
        if check.positive and check.op in ("==", "in"):
            listed = (check.value,) if check.op == "==" else cast("tuple[Value, ...]", check.value)
            fit = [value for value in listed if all(passes(other, value) for other in checks)]
            return min(fit, key=_size, default=None)
    demanded = {check.value for check in checks if check.positive}
    barred = {check.value for check in checks if not check.positive and check.op == "contains"}
    if demanded & barred:
        return None
    if domain.type.name == "set":
        values = _sets(domain, tuple(demanded), barred)
    else:
        values = _values(domain.type)
    return next((value for value in values if all(passes(check, value) for check in checks)), None)


def _size(value: Value) -> int:
    if isinstance(value, str | tuple):
        return len(value)
    return 0 if isinstance(value, Absent) else abs(value)


def _sets(domain: Domain, demanded: tuple[Value, ...], barred: set[Value]) -> Iterator[Value]:
    """The sets that hold some elements and lack others; of an endless type enough of them, one added element a set."""
    if domain.elements is None:
        yield _set(demanded)
        for value in _values(domain.type.args[0]):
            if value not in barred and value not in demanded:
                yield _set((*demanded, value))
        return
    members = [value for value in domain.elements if value not in barred and value not in demanded]
    for size in range(len(members) + 1):
        for added in combinations(members, size):
            yield _set((*demanded, *added))


def _set(values: Iterable[Any]) -> Value:
    return tuple(sorted(values))


def _values(kind: Type) -> Iterator[Value]:
    """Values of a type without end in practice, all different, plainest first."""
    match kind.name:
        case "map":
            yield ()
            value = next(_values(kind.args[1]))
            for key in _values(kind.args[0]):
                yield ((key, value),)
        case "rate":
            yield from ((n, 1_000_000_000) for n in count(1))
        case "version":
            yield from (f"v{n}" for n in count(1))
        case name if name in _RANGES:
            yield from range(_RANGES[name][1] + 1)
        case _:
            yield ""
            for n in count(1):
                yield from map("".join, combinations("abcdefghijklmnopqrstuvwxyz", n)) if n < 3 else (f"a{n}",)
