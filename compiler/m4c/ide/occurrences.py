"""The names in one declaration, and what each stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from m4c.project import DeclRef
from m4c.semantics.model import Entity, Enum, Operation, StateCondition, Type
from m4c.semantics.schema import Schema
from m4c.semantics.values import fold
from m4c.syntax import tree as t

Kind: TypeAlias = Literal[
    "policy", "service", "version", "group", "label", "mesh", "dataplane", "entity", "operation", "attribute", "key",
    "param", "enum", "enum value", "constant", "variable", "state", "state kind", "condition", "import", "graph",
    "protocol",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Symbol:
    """What a name stands for. `scope` tells equal names apart: the mesh, the entity, "Entity.Operation", the file,
    of a version "mesh/service", and of a label's value "mesh/label"."""

    kind: Kind
    name: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A name: offsets in its declaration's text, without quotes' meaning. `declares`: this is where it comes from.
    `value`: it stands in an expression, where fewer names go without quotes than in a call path."""

    symbol: Symbol
    start: int
    end: int
    declares: bool = False
    value: bool = False


@dataclass(frozen=True, slots=True)
class Versioned:
    """A service with versions: what of it says whether a pattern ends there. `groups`: those that it is in."""

    name: str
    versions: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    groups: frozenset[str]

    def may_be(self, one: t.POne) -> bool:
        """Whether a step of a pattern matches it."""
        match one:
            case t.PNamed(service=service):
                return service.text == self.name
            case t.PGroup(group=group):
                return group.text in self.groups
            case t.PLabels(labels=labels):
                return all((k.text, v.text) in self.labels for k, v in labels)
            case t.PAlt(of=parts):
                return any(map(self.may_be, parts))
            case t.PNot(of=inner):
                return not self.may_be(inner)
            case _:
                return True


class Walk:
    """Collects the names of one declaration. `versioned`: the services of the mesh that have versions."""

    def __init__(
        self,
        ref: DeclRef,
        mesh: str,
        schema: Schema,
        states: Mapping[str, str],
        versioned: tuple[Versioned, ...] = (),
    ) -> None:
        self.here = f"{ref.file}#{ref.key}"
        self.mesh = mesh
        self.schema = schema
        self.found: list[Occurrence] = []
        self.entity: Entity | None = None
        self.var = ""
        self.states = states  # each with its kind
        self.versioned = versioned
        self.ends: tuple[Versioned, ...] = ()  # those that the requests of the policy or the test end at

    def add(
        self, kind: Kind, name: t.Name | t.Str | None, scope: str = "", declares: bool = False, value: bool = False
    ) -> None:
        if name is not None:
            self.found.append(Occurrence(Symbol(kind, name.text, scope), name.start, name.end, declares, value))

    def declaration(self, decl: t.Decl) -> list[Occurrence]:
        match decl:
            case t.Import():
                self.add("import", decl.path, self.here)
            case t.Membership():
                self.add("mesh", decl.mesh)
            case t.MeshDecl():
                self._mesh(decl)
            case t.SpecDecl():
                self._spec(decl)
            case t.EntityDecl() | t.StateEntityDecl():
                self._entity(decl)
            case t.EnumDecl():
                self._enum(decl)
            case t.PolicyDecl():
                self._policy(decl)
            case t.StateDecl():
                self._state(decl)
            case t.TestDecl():
                self._test(decl)
            case t.Broken(kind="policy", name=name):
                self.add("policy", name, self.mesh, True)
        return self.found

    # --- meshes ---

    def _mesh(self, mesh: t.MeshDecl) -> None:
        self.mesh = mesh.name.text
        self.add("mesh", mesh.name, declares=True)
        for path in mesh.graphs:
            self.add("graph", path, self.here)
        for name in mesh.dataplanes:
            self.add("dataplane", name)
        for service, _, dataplane in mesh.places:
            self.add("service", service, self.mesh)
            self.add("dataplane", dataplane)
        for dataplane, service, _ in mesh.costs:
            self.add("dataplane", dataplane)
            self.add("service", service, self.mesh)
        for group, members in mesh.groups:
            self.add("group", group, self.mesh, True)
            for member in members:
                self.add("service", member, self.mesh)
        for d in mesh.defaults:
            self.add("entity", d.entity)
            self._attribute(d.entity.text, d.attribute, d.key)
            self._value(d.value, self._type(d.entity.text, d.attribute.text))
            self._pattern(d.pattern)

    # --- specs ---

    def _spec(self, spec: t.SpecDecl) -> None:
        self.add("dataplane", spec.name, declares=True)
        for protocol in spec.speaks:
            self.add("protocol", protocol)
        for enum in spec.enums:
            self._enum(enum)
        for entity in spec.entities:
            self._entity(entity)
        for supports in spec.supports:
            entity_name = supports.entity.text
            self.add("entity", supports.entity)
            for read in supports.reads:
                self._attribute(entity_name, read.attribute)
            for attribute in supports.attributes:
                self._attribute_decl(entity_name, attribute)
            for operation in supports.operations:
                self._operation_decl(entity_name, operation)
            for condition in supports.conditions:
                self.add("condition", condition.name, entity_name)

    def _enum(self, enum: t.EnumDecl) -> None:
        self.add("enum", enum.name, declares=True)
        for value, _ in enum.values:
            self.add("enum value", value, enum.name.text, True)

    def _entity(self, entity: t.EntityDecl | t.StateEntityDecl) -> None:
        if isinstance(entity, t.StateEntityDecl):
            self.add("state kind", entity.name, declares=True)
            self._params(entity.name.text, entity.params)
            for condition in entity.conditions:
                self.add("condition", condition.name, entity.name.text, True)
                self._params(f"{entity.name.text}.{condition.name.text}", condition.params or ())
        else:
            self.add("entity", entity.name, declares=True)
            self.add("entity", entity.over)
            for protocol in entity.protocols:
                self.add("protocol", protocol, declares=True)
            for arg in (arg for a in entity.annotations for arg in a.args):
                if isinstance(arg, t.Lit) and isinstance(arg.value, str):
                    self.add("attribute", t.Str(arg.value, arg.start, arg.end), entity.name.text)
        for attribute in entity.attributes:
            self._attribute_decl(entity.name.text, attribute)
        for operation in entity.operations:
            self._operation_decl(entity.name.text, operation)

    def _attribute_decl(self, entity: str, attribute: t.AttributeDecl) -> None:
        self.add("attribute", attribute.name, entity, True)
        self._type_node(attribute.type)
        if attribute.key:
            self._type_node(attribute.key[1])
        if attribute.derived:
            self.add("attribute", attribute.derived[0], entity)
        if attribute.default is not None:
            self._value(attribute.default, self._type(entity, attribute.name.text))

    def _type_node(self, node: t.TypeNode) -> None:
        if node.name.text in self.schema.enums:
            self.add("enum", node.name)
        elif node.name.text in self.schema.entities:
            self.add("entity", node.name)
        for arg in node.args:
            self._type_node(arg)

    def _operation_decl(self, entity: str, operation: t.OperationDecl) -> None:
        declares = operation.params is not None or bool(operation.writes)
        self.add("operation", operation.name, entity, declares)
        scope = f"{entity}.{operation.name.text}"
        params = {p.name.text for p in operation.params or ()}
        self._params(scope, operation.params or ())
        for w in operation.writes:
            self.add("attribute", w.attribute, entity)
            if isinstance(w.key, t.Name):
                self.add("param", w.key, scope)
            value = w.value.items[0] if isinstance(w.value, t.SetLit) and len(w.value.items) == 1 else w.value
            if isinstance(value, t.Ref) and value.root.text in params:
                self.add("param", value.root, scope)
            else:
                self._value(w.value, self._type(entity, w.attribute.text))

    def _params(self, scope: str, params: tuple[t.ParamDecl, ...]) -> None:
        for p in params:
            self.add("param", p.name, scope, True)
            self._type_node(p.type)
            if p.default is not None:
                self._value(p.default, Type(p.type.name.text))

    # --- states and tests ---

    def _state(self, state: t.StateDecl) -> None:
        self.add("state", state.name, self.mesh, True)
        self.add("state kind", state.kind)
        kind = self.schema.entities.get(state.kind.text)
        self._arguments(state.args, kind, state.kind.text, ())
        per = state.per.accessors if state.per else ()
        if per and isinstance(per[0], t.Name):
            having = (e for e in self.schema.entities.values() if not e.state and per[0].text in e.attributes)
            for entity in list(having)[:1]:  # the one that the checks go by
                key = per[1] if len(per) > 1 and isinstance(per[1], t.Str) else None
                self._attribute(entity.name, per[0], key)

    def _test(self, test: t.TestDecl) -> None:
        entity: Entity | None = None
        for statement in test.statements:
            if isinstance(statement, t.TestRequest):
                entity = self._requested(statement)
                self._pattern(statement.pattern)
                for setting in statement.settings:
                    self._setting(setting, entity)
                continue
            for expected in statement.of:
                if isinstance(expected, t.Setting):
                    self._setting(expected, entity)
                elif isinstance(expected, t.Name) and entity is not None:
                    enums = [self.schema.enums.get(a.type.name) for a in entity.attributes.values()]
                    for enum in {e.name: e for e in enums if e is not None and expected.text in e.values}:
                        self.add("enum value", expected, enum)

    def _requested(self, request: t.TestRequest) -> Entity | None:
        known = [e for e in self.schema.entities.values() if not e.state]
        if request.text is not None:
            return next((e for e in known if len(e.request_line) == 2), None)
        self.add("entity", request.name)
        return next((e for e in known if e.name == request.name.text), None)

    def _setting(self, setting: t.Setting, entity: Entity | None) -> None:
        """`header["x"] = "1"`, `limiter.Take = false`, `HttpResponse.status = 200`."""
        owner, name = entity, setting.name
        if setting.member is not None:
            kind = self.states.get(setting.name.text)
            self.add(*(("entity", name) if kind is None else ("state", name, self.mesh)))
            owner, name = self.schema.entities.get(kind or setting.name.text), setting.member
        if owner is None:
            return
        if name.text in owner.conditions:
            self.add("condition", name, owner.name)
            return
        self._attribute(owner.name, name, setting.key)
        self._value(setting.value, self._type(owner.name, name.text))

    # --- policies ---

    def _policy(self, policy: t.PolicyDecl) -> None:
        self.add("policy", policy.name, self.mesh, True)
        self.add("entity", policy.entity)
        self.add("variable", policy.var, self.here, True)
        self.entity = self.schema.entities.get(policy.entity.text)
        self.var = policy.var.text
        self._pattern(policy.pattern)
        for when in policy.whens:
            self._expr(when, ())
        for name in (*policy.overrides, *policy.after):
            self.add("policy", name, self.mesh)
        self._body(policy.body, ())

    def _pattern(self, pattern: t.PatternNode) -> None:
        last: list[t.POne] = []
        for step in pattern.steps:
            self._one(step.one)
            last = [*(last if step.star else ()), step.one]
        self.ends = tuple(v for v in self.versioned if any(map(v.may_be, last)))

    def _one(self, one: t.POne) -> None:
        match one:
            case t.PNamed(service=service, version=version):
                self.add("service", service, self.mesh)
                self.add("version", version, f"{self.mesh}/{service.text}")
            case t.PGroup(group=group):
                self.add("group", group, self.mesh)
            case t.PLabels(labels=labels):
                for key, value in labels:
                    self.add("label", key, self.mesh)
                    self.add("label", value, f"{self.mesh}/{key.text}")
            case t.PAlt(of=parts):
                for part in parts:
                    self._one(part)
            case t.PNot(of=inner):
                self._one(inner)

    def _body(self, body: tuple[t.Statement, ...], lets: tuple[str, ...]) -> None:
        for statement in body:
            match statement:
                case t.LetStatement(name=name, value=value):
                    self._expr(value, lets)
                    self.add("constant", name, self.here, True)
                    lets = (*lets, name.text)
                case t.IfStatement(cond=cond, then=then, otherwise=otherwise):
                    self._expr(cond, lets)
                    self._body(then, lets)
                    self._body(otherwise, lets)
                case t.CallStatement(call=call):
                    self._call(call, lets)

    def _call(self, call: t.CallExpr, lets: tuple[str, ...]) -> None:
        root = call.ref.root
        self._root(root, lets)
        owner = self.entity if root.text == self.var else self.schema.entities.get(self.states.get(root.text, ""))
        called: Operation | StateCondition | None = None
        if owner is not None and call.ref.accessors:
            name = call.ref.accessors[0]
            called = owner.operations.get(name.text) or owner.conditions.get(name.text)
            self.add("condition" if name.text in owner.conditions else "operation", name, owner.name)
        scope = f"{owner.name}.{called.name}" if owner is not None and called is not None else ""
        self._arguments(call.args, called, scope, lets)

    def _arguments(
        self,
        args: tuple[tuple[t.Name | None, t.Expr], ...],
        called: Operation | StateCondition | Entity | None,
        scope: str,
        lets: tuple[str, ...],
    ) -> None:
        """The arguments of a call, or of a state of a kind; `scope` is that of their parameters."""
        params = called.params if called is not None else ()
        positional = iter(params)
        for name, value in args:
            param = next(positional, None) if name is None else next((p for p in params if p.name == name.text), None)
            if name is not None and scope:
                self.add("param", name, scope)
            if isinstance(value, t.Ref) and value.root.text in lets:
                self.add("constant", value.root, self.here)
                continue
            self._value(value, param.type if param else None)
            if param is not None and isinstance(called, Operation) and isinstance(value, t.Lit):
                for w in called.writes:
                    if w.key_is_param and w.key == param.name:
                        key = t.Str(str(value.value), value.start, value.end)
                        self._key(called.entity, w.attribute, key, declares=True)

    def _root(self, root: t.Name, lets: tuple[str, ...]) -> None:
        if root.text == self.var:
            self.add("variable", root, self.here)
        elif root.text in lets:
            self.add("constant", root, self.here)
        else:
            self.add("state", root, self.mesh)

    def _expr(self, expr: t.Expr, lets: tuple[str, ...]) -> Type | None:
        """Collects from an expression; its type if it is an attribute."""
        match expr:
            case t.Binary(left=left, right=right):
                left_type, right_type = (self._expr(e, lets) for e in (left, right))
                if left_type is not None:
                    self._value(right, left_type)
                elif right_type is not None:
                    self._value(left, right_type)
            case t.Unary(of=inner):
                self._expr(inner, lets)
            case t.CallExpr():
                self._call(expr, lets)
            case t.Ref(root=root, accessors=(t.Name() as first, *rest)):
                self._root(root, lets)
                name: t.Name = first
                entity = self.entity if root.text == self.var else None
                while entity is not None and name.text in entity.views and rest and isinstance(rest[0], t.Name):
                    self.add("attribute", name, entity.name)
                    entity = self.schema.entities.get(entity.views[name.text])
                    name, rest = rest[0], rest[1:]
                if entity is not None:
                    key = rest[0] if rest and isinstance(rest[0], t.Str) else None
                    self._attribute(entity.name, name, key)
                    return self._type(entity.name, name.text)
            case t.Ref(root=root) if root.text == self.var or root.text in lets:
                self._root(root, lets)
        return None

    # --- values ---

    def _attribute(self, entity: str, name: t.Name, key: t.Str | None = None) -> None:
        self.add("attribute", name, entity)
        if key is not None:
            self._key(entity, name.text, key)

    def _key(self, entity: str, attribute: str, key: t.Str, declares: bool = False) -> None:
        """A key of an attribute; what writes it is where it comes from."""
        holder = self.schema.entities.get(entity)
        known = holder.attributes.get(attribute) if holder else None
        folds = known is not None and known.key is not None and known.key.name == "istring"
        symbol = Symbol("key", fold(key.text) if folds else key.text, f"{entity}.{attribute}")
        self.found.append(Occurrence(symbol, key.start, key.end, declares))

    def _type(self, entity: str, attribute: str) -> Type | None:
        found = self.schema.entities.get(entity)
        known = found.attributes.get(attribute) if found else None
        return known.type if known else None

    def _value(self, value: t.Expr, type_: Type | None) -> None:
        """The enum values and the services in a constant."""
        enum: Enum | None = self.schema.enums.get(type_.name) if type_ else None
        match value:
            case t.Ref(root=root, accessors=()) if enum is not None and root.text in enum.values:
                self.add("enum value", root, enum.name)
            case t.Name(text=text) if enum is not None and text in enum.values:
                self.add("enum value", value, enum.name)
            case t.Ref(root=root, accessors=()) if type_ is not None and type_.name == "service":
                self.add("service", root, self.mesh, value=True)
            case t.Lit(value=str(text)) if type_ is not None and type_.name == "service":
                self.add("service", t.Str(text, value.start, value.end), self.mesh, value=True)
            case t.Ref(root=root, accessors=()) if type_ is not None and type_.name == "version":
                self._version(root)
            case t.Name() if type_ is not None and type_.name == "version":
                self._version(value)
            case t.Lit(value=str(text)) if type_ is not None and type_.name == "version":
                self._version(t.Str(text, value.start, value.end))
            case t.SetLit(items=items):
                inner_type = type_.args[0] if type_ is not None and type_.name == "set" and type_.args else type_
                for item in items:
                    self._value(item, inner_type)
            case t.MapLit(pairs=pairs) if type_ is not None and type_.args:
                for key, inner in pairs:
                    if type_.args[0].name == "version":
                        self._version(key)
                    elif type_.args[0].name == "service":
                        self.add("service", key, self.mesh)
                    self._value(inner, type_.args[1])

    def _version(self, name: t.Name | t.Str) -> None:
        """The version of each service at the end of the path that has one of that name."""
        for service in self.ends:
            if name.text in service.versions:
                self.add("version", name, f"{self.mesh}/{service.name}")
