"""From a policy's tree to its checked value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from m4c.semantics.amend import Change
from m4c.semantics.annotations import owner_of
from m4c.semantics.conditions import ExprContext, attribute_key, condition
from m4c.semantics.deprecated import use_of
from m4c.semantics.labels import unknown_labels
from m4c.semantics.model import (
    STATE,
    TRUE,
    AnyOne,
    Cond,
    Entity,
    GroupOf,
    If,
    Labelled,
    Named,
    NotOne,
    One,
    OneOf,
    OpCall,
    Operation,
    Param,
    Pattern,
    Policy,
    Side,
    State,
    StateAtom,
    StateCondition,
    Step,
    Type,
    Value,
    Write,
    all_of,
    negate,
)
from m4c.semantics.problems import Problem, Related, unknown
from m4c.semantics.schema import Schema
from m4c.semantics.values import ConstantError, Scope, constant
from m4c.syntax import tree as t
from m4c.syntax import words


@dataclass(frozen=True, slots=True)
class Names:
    """What the policies of a mesh can name. `services` is None if the graph is not readable."""

    groups: Mapping[str, tuple[str, ...]]
    services: frozenset[str] | None
    versions: Mapping[str, tuple[str, ...]]
    policies: Mapping[str, str]  # each with its entity
    states: Mapping[str, State]
    labels: Mapping[str, frozenset[str]]  # those that services have, each with its values


@dataclass(frozen=True, slots=True)
class Checked:
    """A policy as far as it makes sense (None if it has no meaning at all), and what is wrong with it."""

    policy: Policy | None
    problems: tuple[Problem, ...]


def check_policy(decl: t.PolicyDecl, file: str, key: str, schema: Schema, names: Names) -> Checked:
    """Resolves and type-checks one policy. One with an error in it takes no part in the analyses."""
    scope = Scope(file, key)
    entity = schema.entities.get(decl.entity.text)
    if entity is None or entity.state:
        entity = None
        known_entities = [e.name for e in schema.entities.values() if not e.state]
        scope.problems.append(unknown("entity", decl.entity.text, known_entities, scope.at(decl.entity)))
    pattern = check_pattern(decl.pattern, scope, names)
    if names.services is not None:
        scope.remarks += unknown_labels(decl.pattern, names.labels, scope)
    if entity is not None and entity.connection:
        connection_pattern(entity, decl.pattern, scope)
    side = _side(decl, scope)
    for name, what in [(n, "overrides") for n in decl.overrides] + [(n, "after") for n in decl.after]:
        if name.text == decl.name.text:
            scope.report("override-cycle", f"`{name.text}` cannot stand in its own `{what}`", name)
        elif name.text not in names.policies:
            known = names.policies.keys() - {decl.name.text}
            scope.problems.append(unknown("policy", name.text, known, scope.at(name)))
        elif names.policies[name.text] != decl.entity.text and entity is not None:
            theirs = names.policies[name.text]
            message = (
                f"`{name.text}` is about {theirs} and this policy about {entity.name}, so the two never meet and "
                f"`{what}` means nothing between them"
            )
            scope.report("type-mismatch", message, name)
    if entity is None:
        return Checked(None, tuple(scope.problems))
    cx = ExprContext(scope, entity, decl.var.text, schema.enums, schema.entities, names.services)
    cx.state_condition = _States(cx, schema, names, decl.name.text).condition
    when = all_of(*(condition(w, cx) for w in decl.whens))
    body = _Body(cx, schema, names, side)
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
        owner=owner_of(decl),
        doc=decl.doc,
        ifs=tuple(body.ifs),
    )
    return Checked(None if scope.problems or body.unknown else policy, (*scope.problems, *scope.remarks))


def connection_pattern(entity: Entity, pattern: t.PatternNode, scope: Scope) -> None:
    """A connection has two ends and no call path, so its patterns are `A -> B` with one service at each end."""
    if len(pattern.steps) == 2 and not pattern.outside and not any(s.star for s in pattern.steps):
        return
    message = (
        f"one {entity.name} carries requests of many call paths, so its pattern names its two ends only, "
        "as in `? -> F` or `A -> B`"
    )
    scope.report("connection-pattern", message, pattern)


def _side(decl: t.PolicyDecl, scope: Scope) -> Side | None:
    if len(decl.sides) > 1:
        related = (Related(scope.at(decl.sides[0]), "the first one"),)
        scope.problems.append(Problem("duplicate-name", "`at` is said twice", scope.at(decl.sides[1]), related))
    side = decl.sides[0].text if decl.sides else None
    return "ingress" if side == "ingress" else "egress" if side == "egress" else None


# --- patterns ---------------------------------------------------------------------------------------------------------


def check_pattern(node: t.PatternNode, scope: Scope, names: Names) -> Pattern:
    """The pattern that a node denotes. Unknown services and groups are reported; they match nothing."""
    steps = tuple(Step(_one(s.one, scope, names), s.star) for s in node.steps)
    return Pattern(steps, node.outside)


def service_name(name: t.Name, scope: Scope, names: Names) -> None:
    if name.text == "outside":
        message = "`outside` is where requests come from, and no service: it stands at the beginning of a path only"
        scope.report("unknown-name", message, name)
    elif names.services is not None and name.text not in names.services:
        place = scope.at(name)
        scope.problems.append(unknown("service of the graph", name.text, names.services, place, written=words.service))


def _one(node: t.POne, scope: Scope, names: Names) -> One:
    match node:
        case t.PNamed(service=service, version=version):
            service_name(service, scope, names)
            if version is not None and service.text in names.versions:
                known = names.versions[service.text]
                if not known:
                    message = f"the graph gives `{service.text}` no versions, so none is named `{version.text}`"
                    without = Change("Leave out the version", ((service.end, version.end, ""),), by_hand=True)
                    scope.report("unknown-version", message, version, (without,))
                elif version.text not in known:
                    what = f"version of `{service.text}`"
                    at = scope.at(version)
                    scope.problems.append(unknown(what, version.text, known, at, "unknown-version", words.service))
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

    def __init__(self, cx: ExprContext, schema: Schema, names: Names, side: Side | None) -> None:
        self.cx = cx
        self.schema = schema
        self.names = names
        self.side = side
        self.calls: list[OpCall] = []
        self.ifs: list[If] = []
        self.unknown = False  # whether it calls an operation of which it is not known what it writes

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
        scope, entity, root = self.cx.scope, self.cx.entity, call.ref.root.text
        state = self.names.states.get(root) if root != self.cx.var else None
        if state is not None and state.kind in self.schema.entities:
            entity = replace(self.schema.entities[state.kind], name=STATE + root)
            check_per(state, self.cx, call.ref)
        elif root != self.cx.var:
            known = [self.cx.var, *self.names.states]
            scope.problems.append(unknown("variable or state", root, known, scope.at(call.ref.root)))
            return
        what = entity.name if state is None else state.kind
        if len(call.ref.accessors) != 1 or not isinstance(call.ref.accessors[0], t.Name):
            scope.report("type-mismatch", f"expected an operation of {what}, as in `{root}.Operation()`", call.ref)
            return
        name = call.ref.accessors[0]
        operation = entity.operations.get(name.text)
        if operation is None:
            problem = unknown(f"operation of {what}", name.text, entity.operations, scope.at(name))
            if name.text in entity.conditions:
                problem = Problem(
                    "type-mismatch", f"`{name.text}` is a condition; ask it in `when` or `if`", scope.at(name)
                )
            elif not problem.fixes:
                having = [e.name for e in self.schema.entities.values() if not e.state and name.text in e.operations]
                has = f"; {having[0]} has it, and this policy is about {what}" if having else ""
                problem = replace(problem, message=problem.message + has)
            scope.problems.append(problem)
            return
        scope.remarks += use_of(operation.name, operation.doc, operation.place, scope.at(name))
        args = arguments(operation, call, name, self.cx, self.schema)
        if (what, operation.name) in self.schema.broken:
            self.unknown = True
        if args is None:
            return
        if operation.side and self.side and operation.side != self.side:
            message = f"`{operation.name}` happens at {operation.side}, but the policy says `at {self.side}`"
            scope.report("wrong-side", message, name)
            return
        writes = self._writes(entity, operation, args, call)
        if writes is None:
            return
        place = scope.at(call)
        side = operation.side or self.side
        given = tuple(args.items())
        self.calls.append(OpCall(len(self.calls), entity.name, operation.name, given, guard, writes, side, place))

    def _writes(
        self, entity: Entity, operation: Operation, args: Mapping[str, Value], call: t.CallExpr
    ) -> tuple[Write, ...] | None:
        out: list[Write] = []
        for w in operation.writes:
            attribute = entity.attributes[w.attribute]
            key = str(args[w.key]) if w.key_is_param and w.key is not None else w.key
            if (
                key is not None
                and attribute.key is not None
                and key.lower() in {x.lower() for x in attribute.key.excluded}
            ):
                message = f'`{attribute.name}["{key}"]` can be neither read nor written: it belongs to the dataplanes'
                self.cx.scope.report("reserved-key", message, call)
                return None
            out.append(Write(attribute_key(entity.name, attribute, key), w.given(args)))
        return tuple(out)


def arguments(
    called: Operation | StateCondition, call: t.CallExpr, name: t.Name, cx: ExprContext, schema: Schema
) -> dict[str, Value] | None:
    """The arguments of a call by parameter, in the parameters' order; None with a problem reported."""
    return bind(called.name, called.params, call.args, name, cx.scope, schema, cx.lets, cx.services)


def bind(
    called: str,
    declared: tuple[Param, ...],
    args: tuple[tuple[t.Name | None, t.Expr], ...],
    name: t.Name,
    scope: Scope,
    schema: Schema,
    lets: Mapping[str, t.Expr] | None = None,
    services: frozenset[str] | None = None,
) -> dict[str, Value] | None:
    """Gives parameters their arguments, or their defaults; None with a problem reported."""
    before = len(scope.problems)
    params = {p.name: p for p in declared}
    given: dict[str, Value] = {}
    positional = iter(declared)
    for arg_name, node in args:
        if arg_name is not None:
            param = params.get(arg_name.text)
            if param is None:
                what = f"parameter of `{called}`"
                scope.problems.append(unknown(what, arg_name.text, params, scope.at(arg_name)))
                continue
        else:
            param = next(positional, None)
            if param is None:
                takes = f"{len(params)} argument{'s' * (len(params) != 1)}"
                scope.report("type-mismatch", f"`{called}` takes {takes}, not {len(args)}", node)
                continue
        if param.name in given:
            scope.report("duplicate-name", f"`{param.name}` is given twice", node)
            continue
        try:
            given[param.name] = constant(node, param.type, schema.enums, lets, services)
        except ConstantError as e:
            scope.refuse(e, f"`{param.name}` of `{called}`: ")
    if len(scope.problems) > before:
        return None
    missing = [p for p in declared if p.name not in given and p.default is None]
    if missing:
        need = ", ".join(f"`{p.name}: {p.type}`" for p in missing)
        scope.report("missing-argument", f"`{called}` needs {need}", name)
        return None
    return {p.name: given.get(p.name, p.default if p.default is not None else "") for p in declared}


# --- states -----------------------------------------------------------------------------------------------------------


class _States:
    """The conditions that a policy asks of states, numbered in the order of the text."""

    def __init__(self, cx: ExprContext, schema: Schema, names: Names, policy: str) -> None:
        self.cx = cx
        self.schema = schema
        self.names = names
        self.policy = policy
        self.asked = 0

    def condition(self, call: t.CallExpr) -> StateAtom | None:
        scope, root = self.cx.scope, call.ref.root
        state = self.names.states.get(root.text)
        if state is None:
            if root.text == self.cx.var:
                scope.report("type-mismatch", "only a state's condition can be called here, not an operation", call)
            else:
                scope.problems.append(unknown("state", root.text, self.names.states, scope.at(root)))
            return None
        kind = self.schema.entities.get(state.kind)
        if kind is None:
            return None  # said where the state is declared
        check_per(state, self.cx, call.ref)
        name = call.ref.accessors[0] if len(call.ref.accessors) == 1 else None
        if not isinstance(name, t.Name) or name.text not in kind.conditions:
            at = name if isinstance(name, t.Name) else call.ref
            text = name.text if isinstance(name, t.Name) else ""
            problem = unknown(f"condition of {kind.name}", text, kind.conditions, scope.at(at))
            if text in kind.operations:
                message = f"`{text}` is an operation of {kind.name}; it stands in the body of a policy"
                problem = Problem("type-mismatch", message, scope.at(at))
            scope.problems.append(problem)
            return None
        asked = kind.conditions[name.text]
        scope.remarks += use_of(asked.name, asked.doc, asked.place, scope.at(name))
        args = arguments(asked, call, name, self.cx, self.schema)
        self.asked += 1
        return StateAtom(state.name, name.text, self.policy, self.asked - 1, tuple((args or {}).items()))


def check_per(state: State, cx: ExprContext, node: t.Ref) -> None:
    """A state that is kept per value of an attribute needs that attribute in whatever uses it."""
    if state.per is None or state.per[0] in cx.entity.attributes:
        return
    message = f"`{state.name}` is kept per `{state.per[0]}`, which {cx.entity.name} does not have"
    cx.scope.report("type-mismatch", message, node)


def check_state(decl: t.StateDecl, file: str, key: str, schema: Schema) -> tuple[State, tuple[Problem, ...]]:
    """A state's declaration: its kind, its arguments, and what it is kept for each value of."""
    scope = Scope(file, key)
    kind = schema.entities.get(decl.kind.text)
    args: dict[str, Value] | None = None
    if kind is None or not kind.state:
        known = [e.name for e in schema.entities.values() if e.state]
        scope.problems.append(unknown("state entity", decl.kind.text, known, scope.at(decl.kind)))
    else:
        args = bind(kind.name, kind.params, decl.args, decl.name, scope, schema)
    per = _per(decl.per, schema, scope) if decl.per is not None else None
    state = State(decl.name.text, decl.kind.text, tuple((args or {}).items()), per, scope.at(decl.name), decl.doc)
    return state, tuple(scope.problems)


def _per(ref: t.Ref, schema: Schema, scope: Scope) -> tuple[str, str | None] | None:
    """The attribute behind `per r.header["x"]`. The variable's name is free: policies on several entities may share."""
    name = ref.accessors[0] if ref.accessors and isinstance(ref.accessors[0], t.Name) else None
    having = [e for e in schema.entities.values() if not e.state and name is not None and name.text in e.attributes]
    if name is None or not having:
        known = {a for e in schema.entities.values() if not e.state for a in e.attributes}
        at = name or ref
        scope.problems.append(unknown("attribute", name.text if name else ref.root.text, known, scope.at(at)))
        return None
    keys = ref.accessors[1:]
    keyed = having[0].attributes[name.text].key is not None
    if len(keys) != keyed or not all(isinstance(k, t.Str) for k in keys):
        scope.report("type-mismatch", f"`{name.text}` {'needs one key' if keyed else 'takes no key'}", ref)
        return None
    key = keys[0].text if keys else None
    return name.text, attribute_key("", having[0].attributes[name.text], key).key


def constant_of(
    node: t.Expr, type_: Type, schema: Schema, scope: Scope, services: frozenset[str] | None
) -> Value | None:
    """A constant outside a policy's body (a mesh default), or None with a problem reported."""
    try:
        return constant(node, type_, schema.enums, services=services)
    except ConstantError as e:
        scope.refuse(e)
        return None
