"""What one comparison means, on one value: the one truth for the solver, the interpreter and everybody else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias, cast

from m4c.predicates.charset import lower_ascii
from m4c.predicates.dfa import regex_matches
from m4c.semantics.model import ABSENT, Absent, And, Atom, Attribute, AttrKey, Cond, Const, Not, Or, StateAtom, Value

_BEGINNINGS = ("starts_with", "==")

Schema: TypeAlias = Callable[[AttrKey], Attribute]


class View(NamedTuple):
    """Where an attribute's value comes from: `source`, up to the first of each of `cuts`, one after another."""

    source: AttrKey
    cuts: tuple[str, ...]
    fold: bool  # comparisons ignore ASCII case, because the attribute is an istring


class Check(NamedTuple):
    """A comparison, or its negation, of a value up to its `cuts`. With `fold`, the constant is in lower case."""

    positive: bool
    op: str
    value: Value
    cuts: tuple[str, ...] = ()
    fold: bool = False


def view_of(attr: AttrKey, schema: Schema) -> View:
    """Follows derived attributes to the one that carries the value, under the same key. ValueError if they go round."""
    attribute = schema(attr)
    fold = attribute.type.name == "istring"
    cuts: tuple[str, ...] = ()
    seen = {attr}
    while attribute.derived is not None:
        source, cut = attribute.derived
        cuts = (cut, *cuts)
        attr = AttrKey(attr.entity, source, attr.key)
        if attr in seen:
            raise ValueError(f"the derived attribute {attr} goes round")
        seen.add(attr)
        attribute = schema(attr)
    return View(attr, cuts, fold)


def cut_at(text: str, cuts: tuple[str, ...]) -> str:
    for cut in cuts:
        text = text.partition(cut)[0]
    return text


def normal(value: Value) -> Value:
    """An istring constant (or a set of them) as it is compared: ASCII in lower case."""
    if isinstance(value, str):
        return lower_ascii(value)
    return tuple(normal(v) for v in value) if isinstance(value, tuple) else value


def compare(op: str, value: Value, constant: Value, fold: bool = False) -> bool:
    """`value op constant`, for a value that is there. With `fold`, the constant is `normal` already.

    `contains` is for strings and for sets, the order for numbers. ValueError for an operator that M4 does not have.
    """
    if fold:
        value = normal(value)
    match op:
        case "exists":
            return True
        case "==":
            return value == constant
        case "in":
            return value in cast("tuple[Value, ...]", constant)
        case "<":
            return cast(int, value) < cast(int, constant)
        case "<=":
            return cast(int, value) <= cast(int, constant)
        case ">":
            return cast(int, value) > cast(int, constant)
        case ">=":
            return cast(int, value) >= cast(int, constant)
        case "starts_with":
            return cast(str, value).startswith(cast(str, constant))
        case "ends_with":
            return cast(str, value).endswith(cast(str, constant))
        case "contains":
            return cast(str, constant) in cast(str, value)
        case "matches":
            return regex_matches(cast(str, constant), cast(str, value), fold)
        case _:
            raise ValueError(f"no comparison is called {op!r}")


def check_of(atom: Atom, positive: bool, view: View) -> Check:
    # A regular expression is folded by its parser: to lower its source would turn `\S` into `\s`.
    folds = view.fold and atom.op != "matches"
    return Check(positive, atom.op, normal(atom.value) if folds else atom.value, view.cuts, view.fold)


def passes(check: Check, value: Value | Absent) -> bool:
    """Whether a source's value, or its absence, satisfies a check."""
    if value is ABSENT:
        return not check.positive
    if check.cuts:
        value = cut_at(cast(str, value), check.cuts)
    return compare(check.op, value, check.value, check.fold) == check.positive


def begin_apart(some: Sequence[Check], others: Sequence[Check]) -> bool:
    """Whether texts that pass some checks begin otherwise than texts that pass others. Quick; no means nothing."""
    # What is cut off stands behind what is compared, so each text begins with the constant all the same.
    mine, theirs = ([c for c in of if c.positive and c.op in _BEGINNINGS] for of in (some, others))
    return any(a.fold == b.fold and _begin_apart(a.value, b.value) for a in mine for b in theirs)


def _begin_apart(a: Value, b: Value) -> bool:
    return isinstance(a, str) and isinstance(b, str) and not (a.startswith(b) or b.startswith(a))


def holds(cond: Cond, values: Mapping[AttrKey, Value], states: Mapping[StateAtom, bool], schema: Schema) -> bool:
    """Evaluates a condition. An attribute without a value is absent, a state condition without one false.

    Derived attributes are computed from their source; a value given for one itself is not looked at.
    """
    match cond:
        case Atom():
            view = view_of(cond.attr, schema)
            return passes(check_of(cond, True, view), values.get(view.source, ABSENT))
        case And(parts):
            return all(holds(part, values, states, schema) for part in parts)
        case Or(parts):
            return any(holds(part, values, states, schema) for part in parts)
        case Not(inner):
            return not holds(inner, values, states, schema)
        case Const(value):
            return value
        case StateAtom():
            return states.get(cond, False)
