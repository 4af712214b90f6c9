"""From expressions to conditions: references resolved, types checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from m4c.semantics.amend import Change
from m4c.semantics.deprecated import use_of
from m4c.semantics.model import (
    TRUE,
    Atom,
    Attribute,
    AttrKey,
    Cond,
    Entity,
    Enum,
    Not,
    Type,
    Value,
    all_of,
    any_of,
    negate,
)
from m4c.semantics.problems import Edit, Fix, Problem, nearest, unknown
from m4c.semantics.values import ConstantError, Scope, constant, describe, fold
from m4c.syntax import tree as t
from m4c.syntax import words

_ORDERED = ("int", "duration", "percent")
_TEXT = ("string", "istring")
_FLIP = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}


def attribute_key(entity: str, attribute: Attribute, key: str | None) -> AttrKey:
    """The normal form: keys of type istring are lower case."""
    if key is not None and attribute.key is not None and attribute.key.name == "istring":
        key = fold(key)
    return AttrKey(entity, attribute.name, key)


@dataclass(slots=True)
class ExprContext:
    """What an expression may mention: the entity behind a variable, states, and constants of `let`."""

    scope: Scope
    entity: Entity
    var: str
    enums: Mapping[str, Enum]
    entities: Mapping[str, Entity] = field(default_factory=dict)
    services: frozenset[str] | None = None  # those of the graph, if it is known
    lets: dict[str, t.Expr] = field(default_factory=dict)
    state_condition: Callable[[t.CallExpr], Cond | None] = lambda call: None


def _unknown_root(root: t.Name, cx: ExprContext) -> None:
    """Says what a word in an expression can be that is not the policy's variable."""
    name, place = root.text, cx.scope.at(root)
    if name in cx.lets:
        cx.scope.report(
            "type-mismatch", f"`{name}` is a constant; what is compared is an attribute of `{cx.var}`", root
        )
        return
    known = [cx.var, *cx.lets]
    attribute = nearest(name, cx.entity.attributes) if nearest(name, known) is None else None
    attribute = name if name in cx.entity.attributes else attribute
    if attribute is None:
        cx.scope.problems.append(unknown("variable or constant", name, known, place))
        return
    meant = f"{cx.var}.{words.name(attribute)}"
    message = f"no variable or constant is named `{name}`; did you mean `{meant}`?"
    fix = Fix(f"Change to `{meant}`", (Edit(place, meant),))
    cx.scope.problems.append(Problem("unknown-name", message, place, fixes=(fix,)))


def attribute_of(ref: t.Ref, cx: ExprContext) -> tuple[AttrKey, Attribute] | None:
    """The attribute that `r.header["x"]` names, or None with a problem reported."""
    scope = cx.scope
    if ref.root.text != cx.var:
        _unknown_root(ref.root, cx)
        return None
    if not ref.accessors or not isinstance(ref.accessors[0], t.Name):
        scope.report("type-mismatch", f"`{cx.var}` is the whole {cx.entity.name}; name an attribute of it", ref)
        return None
    name, *rest = ref.accessors
    entity = cx.entity
    while name.text in entity.views and entity.views[name.text] in cx.entities:
        entity = cx.entities[entity.views[name.text]]
        if not rest or not isinstance(rest[0], t.Name):
            scope.report("type-mismatch", f"`{name.text}` is a whole {entity.name}; name an attribute of it", ref)
            return None
        name, *rest = rest
    attribute = entity.attributes.get(name.text)
    if attribute is None:
        known = [*entity.attributes, *entity.views]
        scope.problems.append(unknown(f"attribute of {entity.name}", name.text, known, scope.at(name)))
        return None
    scope.remarks += use_of(attribute.name, attribute.doc, attribute.place, scope.at(name))
    key: str | None = None
    if attribute.key is not None:
        if len(rest) != 1 or not isinstance(rest[0], t.Str):
            scope.report("type-mismatch", f'`{attribute.name}` needs one key, as in `{attribute.name}["…"]`', ref)
            return None
        key = rest[0].text
        if not key_exists(attribute, rest[0], scope, cx.services):
            return None
    elif rest:
        scope.report("type-mismatch", f"`{attribute.name}` is {attribute.type}; it has no parts", ref)
        return None
    return attribute_key(entity.name, attribute, key), attribute


def key_exists(attribute: Attribute, key: t.Str, scope: Scope, services: frozenset[str] | None) -> bool:
    """Whether an attribute has a key; if not, that is reported. `services`: those of the graph, if it is known."""
    if attribute.key is None:
        return True
    if fold(key.text) in {fold(x) for x in attribute.key.excluded}:
        scope.report(
            "reserved-key",
            f'`{attribute.name}["{key.text}"]` can be neither read nor written: it belongs to the dataplanes',
            key,
        )
        return False
    if attribute.key.name == "service" and services is not None and key.text not in services:
        scope.problems.append(unknown("service of the graph", key.text, services, scope.at(key)))
        return False
    return True


def condition(expr: t.Expr, cx: ExprContext, whole: bool = True) -> Cond:
    """The condition that an expression states. What is wrong is reported and read as true.

    `whole`: it is a conjunct of the condition at hand, so a state may be asked.
    """
    match expr:
        case t.Binary(op="&&"):
            return all_of(condition(expr.left, cx, whole), condition(expr.right, cx, whole))
        case t.Binary(op="||"):
            return any_of(condition(expr.left, cx, False), condition(expr.right, cx, False))
        case t.Unary(op="!"):
            return negate(condition(expr.of, cx, whole and isinstance(expr.of, t.CallExpr)))
        case t.Unary(op="exists", of=t.Ref() as ref):
            found = attribute_of(ref, cx)
            return Atom(found[0], "exists", True) if found else TRUE
        case t.Binary():
            return _comparison(expr, cx)
        case t.Ref(root=root) if root.text in cx.lets and not expr.accessors:
            return condition(cx.lets[root.text], cx)
        case t.Ref():
            return _bare(expr, cx)
        case t.CallExpr():
            cond = cx.state_condition(expr)
            if not whole:
                message = (
                    "a state's condition is asked once, when everything before it holds, so it stands by itself "
                    "between `&&`, possibly behind `!`"
                )
                cx.scope.report("type-mismatch", message, expr)
            return cond if cond is not None else TRUE
        case t.Lit(kind="bool", value=value):
            return TRUE if value else negate(TRUE)
        case _:
            cx.scope.report("type-mismatch", f"expected a condition, found {describe(expr)}", expr)
            return TRUE


def _bare(ref: t.Ref, cx: ExprContext) -> Cond:
    found = attribute_of(ref, cx)
    if found is None:
        return TRUE
    key, attribute = found
    if attribute.type.name != "bool":
        message = f"`{key}` is {attribute.type}, not a condition; compare it, or ask `exists {cx.var}.{key}`"
        asked = Change(f"Ask whether `{key}` exists", ((ref.start, ref.start, "exists "),), by_hand=True)
        cx.scope.report("type-mismatch", message, ref, (asked,) if attribute.type.optional else ())
        return TRUE
    return Atom(key, "==", True)


def _comparison(expr: t.Binary, cx: ExprContext) -> Cond:
    left, op, right = expr.left, expr.op, expr.right
    if not _is_attribute(left, cx) and _is_attribute(right, cx) and op in _FLIP:
        left, op, right = right, _FLIP[op], left
    if not isinstance(left, t.Ref):
        cx.scope.report("type-mismatch", f"the left of `{op}` must be an attribute, not {describe(left)}", left)
        return TRUE
    found = attribute_of(left, cx)
    if found is None:
        return TRUE
    key, attribute = found
    if _is_attribute(right, cx):
        cx.scope.report("type-mismatch", "a comparison is with a constant, not with another attribute", right)
        return TRUE
    problem = unsupported(op, attribute.type, cx.enums)
    if problem:
        cx.scope.report("type-mismatch", f"`{key}` is {attribute.type}: {problem}", expr)
        return TRUE
    try:
        value = _operand(op, right, attribute.type, cx)
    except ConstantError as e:
        cx.scope.refuse(e)
        return TRUE
    return Not(Atom(key, "==", value)) if op == "!=" else Atom(key, op, value)


def _is_attribute(expr: t.Expr, cx: ExprContext) -> bool:
    return isinstance(expr, t.Ref) and bool(expr.accessors)


def unsupported(op: str, type_: Type, enums: Mapping[str, Enum]) -> str | None:
    """Why an operator does not apply to a type, or None."""
    if op in ("==", "!=", "in"):
        return None if type_.name not in ("map", "set") else "it cannot be compared"
    if op in ("<", "<=", ">", ">="):
        return None if type_.name in _ORDERED else f"`{op}` orders numbers, durations and percentages only"
    return None if type_.name in _TEXT else f"`{op}` applies to text only"


def _operand(op: str, node: t.Expr, type_: Type, cx: ExprContext) -> Value:
    plain = Type(type_.name, type_.args)
    if op == "in":
        if isinstance(node, t.Ref) and not node.accessors and node.root.text in cx.lets:
            node = cx.lets[node.root.text]
        return constant(node, Type("set", (plain,)), cx.enums, cx.lets, cx.services)
    if op == "matches":
        if isinstance(node, t.Lit) and isinstance(node.value, str):
            return node.value
        raise ConstantError('expected a regular expression (r"…")', node)
    return constant(node, plain, cx.enums, cx.lets, cx.services)
