"""From a policy's tree to its checked value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from m4c.semantics.conditions import ExprContext, attribute_key, condition
from m4c.semantics.model import (
    TRUE,
    AnyOne,
    Cond,
    GroupOf,
    If,
    Labelled,
    Named,
    NotOne,
    One,
    OneOf,
    OpCall,
    Operation,
    Pattern,
    Policy,
    Side,
    State,
    Step,
    Type,
    Value,
    Write,
    all_of,
    negate,
)
from m4c.semantics.problems import Problem, unknown
from m4c.semantics.schema import Schema
from m4c.semantics.values import ConstantError, Scope, constant
from m4c.syntax import tree as t


@dataclass(frozen=True, slots=True)
class Names:
    """What the policies of a mesh can name. `services` is None if the graph is not readable."""

    groups: Mapping[str, tuple[str, ...]]
    services: frozenset[str] | None
    versions: Mapping[str, tuple[str, ...]]
    policies: frozenset[str]
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy as far as it makes sense (None if it has no meaning at all), and what is wrong with it."""

    policy: Policy | None
    problems: tuple[Problem, ...]


def check_policy(decl: t.PolicyDecl, file: str, key: str, schema: Schema, names: Names) -> Checked:
    """Resolves and type-checks one policy. One with an error in it takes no part in the analyses."""
    scope = Scope(file, key)
    entity = schema.entities.get(decl.entity.text)
    if entity is None:
        scope.problems.append(unknown("entity", decl.entity.text, schema.entities, scope.at(decl.entity)))
    pattern = check_pattern(decl.pattern, scope, names)
    side = _side(decl, scope)
    for name, what in [(n, "overrides") for n in decl.overrides] + [(n, "after") for n in decl.after]:
        if name.text == decl.name.text:
            scope.report("override-cycle", f"`{name.text}` cannot stand in its own `{what}`", name)
        elif name.text not in names.policies:
            known = names.policies - {decl.name.text}
            scope.problems.append(unknown("policy", name.text, known, scope.at(name)))
    if entity is None:
        return Checked(None, tuple(scope.problems))
    cx = ExprContext(scope, entity, decl.var.text, schema.enums)
    when = all_of(*(condition(w, cx) for w in decl.whens))
    body = _Body(cx, schema, side)
    body.statements(decl.body, TRUE)
    policy = Policy(
        name=decl.name.text,
        entity=entity.name,
        var=decl.var.text,
        pattern=pattern,
        when=when,
        calls=tuple(body.calls),
        place=scope.at(decl.name),
        pattern_place=scope.at(decl.pattern),
        when_place=scope.at(decl.whens[0]) if decl.whens else None,
        side=side,
        overrides=tuple(n.text for n in decl.overrides),
        after=tuple(n.text for n in decl.after),
        owner=_owner(decl),
        doc=decl.doc,
        ifs=tuple(body.ifs),
    )
    return Checked(None if scope.problems else policy, tuple(scope.problems))


def _side(decl: t.PolicyDecl, scope: Scope) -> Side | None:
    if len(decl.sides) > 1:
        scope.report("duplicate-name", "`at` is said twice", decl.sides[1])
    side = decl.sides[0].text if decl.sides else None
    return "ingress" if side == "ingress" else "egress" if side == "egress" else None


def _owner(decl: t.PolicyDecl) -> str | None:
    for a in decl.annotations:
        if a.name.text == "owner" and a.args and isinstance(a.args[0], t.Lit):
            return str(a.args[0].value)
    return None


# --- patterns ---------------------------------------------------------------------------------------------------------


def check_pattern(node: t.PatternNode, scope: Scope, names: Names) -> Pattern:
    """The pattern that a node denotes. Unknown services and groups are reported; they match nothing."""
    steps = tuple(Step(_one(s.one, scope, names), s.star) for s in node.steps)
    return Pattern(steps, node.outside)


def service_name(name: t.Name, scope: Scope, names: Names) -> None:
    if names.services is not None and name.text not in names.services:
        place = scope.at(name)
        scope.problems.append(unknown("service of the graph", name.text, names.services, place))


def _one(node: t.POne, scope: Scope, names: Names) -> One:
    match node:
        case t.PNamed(service=service, version=version):
            service_name(service, scope, names)
            if version is not None and service.text in names.versions:
                known = names.versions[service.text]
                if version.text not in known:
                    what = f"version of `{service.text}`"
                    scope.problems.append(unknown(what, version.text, known, scope.at(version), "unknown-version"))
            return Named(service.text, version.text if version else None)
        case t.PAny():
            return AnyOne()
        case t.PGroup(group=group):
            if group.text not in names.groups:
                scope.problems.append(unknown("group", group.text, names.groups, scope.at(group)))
            return GroupOf(group.text, names.groups.get(group.text, ()))
        case t.PLabels(labels=labels):
            return Labelled(tuple((k.text, v.text) for k, v in labels))
        case t.PAlt(of=parts):
            return OneOf(tuple(_one(p, scope, names) for p in parts))
        case t.PNot(of=inner):
            return NotOne(_one(inner, scope, names))


# --- bodies -----------------------------------------------------------------------------------------------------------


class _Body:
    """Flattens a body into its calls, each with the conditions of the `if`s around it."""

    def __init__(self, cx: ExprContext, schema: Schema, side: Side | None) -> None:
        self.cx = cx
        self.schema = schema
        self.side = side
        self.calls: list[OpCall] = []
        self.ifs: list[If] = []

    def statements(self, body: tuple[t.Statement, ...], guard: Cond) -> None:
        outer = dict(self.cx.lets)
        for statement in body:
            match statement:
                case t.LetStatement():
                    self._let(statement)
                case t.IfStatement():
                    cond = condition(statement.cond, self.cx)
                    self.ifs.append(If(cond, guard, self.cx.scope.at(statement.cond)))
                    self.statements(statement.then, all_of(guard, cond))
                    self.statements(statement.otherwise, all_of(guard, negate(cond)))
                case t.CallStatement():
                    self._call(statement.call, guard)
        self.cx.lets = outer

    def _let(self, let: t.LetStatement) -> None:
        if let.name.text in self.cx.lets or let.name.text == self.cx.var:
            self.cx.scope.report("duplicate-name", f"`{let.name.text}` is already defined here", let.name)
        self.cx.lets[let.name.text] = let.value

    def _call(self, call: t.CallExpr, guard: Cond) -> None:
        scope, entity = self.cx.scope, self.cx.entity
        if call.ref.root.text != self.cx.var:
            known = [self.cx.var]
            scope.problems.append(unknown("variable or state", call.ref.root.text, known, scope.at(call.ref.root)))
            return
        if len(call.ref.accessors) != 1 or not isinstance(call.ref.accessors[0], t.Name):
            scope.report(
                "type-mismatch", f"expected an operation of {entity.name}, as in `{self.cx.var}.Operation()`", call.ref
            )
            return
        name = call.ref.accessors[0]
        operation = entity.operations.get(name.text)
        if operation is None:
            what = f"operation of {entity.name}"
            scope.problems.append(unknown(what, name.text, entity.operations, scope.at(name)))
            return
        args = self._args(operation, call, name)
        if args is None:
            return
        if operation.side and self.side and operation.side != self.side:
            message = f"`{operation.name}` happens at {operation.side}, but the policy says `at {self.side}`"
            scope.report("wrong-side", message, name)
            return
        writes = self._writes(operation, args, call)
        if writes is None:
            return
        place = scope.at(call)
        side = operation.side or self.side
        given = tuple(args.items())
        self.calls.append(OpCall(len(self.calls), entity.name, operation.name, given, guard, writes, side, place))

    def _args(self, operation: Operation, call: t.CallExpr, name: t.Name) -> dict[str, Value] | None:
        """The arguments by parameter, in the parameters' order; None with a problem reported."""
        scope = self.cx.scope
        before = len(scope.problems)
        params = {p.name: p for p in operation.params}
        given: dict[str, Value] = {}
        positional = iter(operation.params)
        for arg_name, node in call.args:
            if arg_name is not None:
                param = params.get(arg_name.text)
                if param is None:
                    what = f"parameter of `{operation.name}`"
                    scope.problems.append(unknown(what, arg_name.text, params, scope.at(arg_name)))
                    continue
            else:
                param = next(positional, None)
                if param is None:
                    takes = f"{len(params)} argument{'s' * (len(params) != 1)}"
                    scope.report("type-mismatch", f"`{operation.name}` takes {takes}", node)
                    continue
            if param.name in given:
                scope.report("duplicate-name", f"`{param.name}` is given twice", node)
                continue
            try:
                given[param.name] = constant(node, param.type, self.schema.enums, self.cx.lets)
            except ConstantError as e:
                scope.report(e.code, f"`{param.name}` of `{operation.name}`: {e}", e.node)
        if len(scope.problems) > before:
            return None
        missing = [p for p in operation.params if p.name not in given and p.default is None]
        if missing:
            need = ", ".join(f"`{p.name}: {p.type}`" for p in missing)
            scope.report("missing-argument", f"`{operation.name}` needs {need}", name)
            return None
        return {p.name: given.get(p.name, p.default if p.default is not None else "") for p in operation.params}

    def _writes(self, operation: Operation, args: Mapping[str, Value], call: t.CallExpr) -> tuple[Write, ...] | None:
        out: list[Write] = []
        for w in operation.writes:
            attribute = self.cx.entity.attributes[w.attribute]
            key = str(args[w.key]) if w.key_is_param and w.key is not None else w.key
            if (
                key is not None
                and attribute.key is not None
                and key.lower() in {x.lower() for x in attribute.key.excluded}
            ):
                message = f'`{attribute.name}["{key}"]` can be neither read nor written'
                self.cx.scope.report("reserved-key", message, call)
                return None
            value = args[str(w.value)] if w.value_is_param else w.value
            out.append(Write(attribute_key(operation.entity, attribute, key), value))
        return tuple(out)


def constant_of(node: t.Expr, type_: Type, schema: Schema, scope: Scope) -> Value | None:
    """A constant outside a policy's body (a mesh default), or None with a problem reported."""
    try:
        return constant(node, replace(type_, optional=False), schema.enums)
    except ConstantError as e:
        scope.report(e.code, str(e), e.node)
        return None
