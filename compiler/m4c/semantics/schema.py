"""The effect model: what all spec programs together declare (entities, attributes, operations, dataplanes)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from m4c.semantics.model import (
    DEFAULT_PROTOCOL,
    SIDES,
    Artifact,
    Attribute,
    Cost,
    Dataplane,
    Entity,
    Enum,
    Operation,
    Param,
    Place,
    Reads,
    Side,
    StateCondition,
    Supports,
    Type,
    Value,
    WriteDecl,
)
from m4c.semantics.problems import Problem, Related, unknown
from m4c.semantics.roles import ENTITY_ROLES, MERGED, MERGES, PER, ROLES, SUPPORT_ROLES
from m4c.semantics.values import ConstantError, Fault, Scope, constant, resolve_type, show
from m4c.syntax import tree as t
from m4c.syntax import words


@dataclass(frozen=True, slots=True)
class Schema:
    """Everything that the specs of a workspace declare, checked."""

    enums: Mapping[str, Enum] = field(default_factory=dict)
    entities: Mapping[str, Entity] = field(default_factory=dict)
    dataplanes: Mapping[str, Dataplane] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    broken: frozenset[tuple[str, str]] = frozenset()  # entity, operation: what these write is not known

    @property
    def protocols(self) -> dict[str, tuple[str, ...]]:
        """The protocols that anything here is about, by name, each with the dataplanes that speak it."""
        named = {p for e in self.entities.values() for p in e.protocols or ()}
        named |= {DEFAULT_PROTOCOL, *(p for d in self.dataplanes.values() for p in d.speaks)}
        return {p: tuple(sorted(n for n, d in self.dataplanes.items() if p in d.speaks)) for p in sorted(named)}


def cost_of(node: t.CostNode) -> Cost:
    match node.rate:
        case t.Lit(value=(count, period)):
            return Cost(node.instance, node.more, count, period)
    return Cost(node.instance)


@dataclass(frozen=True, slots=True)
class SpecItem:
    """A declaration of a spec program and where it stands. `folder` is the folder of its file."""

    file: str
    key: str
    folder: str
    decl: t.Decl


def build_schema(items: Iterable[SpecItem], fault: Fault = lambda _: None) -> Schema:
    """Joins all spec declarations of a workspace. Wrong ones are reported and left out, or read as far as they go.
    `fault` says of a regular expression what is wrong with it."""
    return _SchemaBuilder(list(items), fault).build()


class _SchemaBuilder:
    def __init__(self, items: list[SpecItem], fault: Fault) -> None:
        self.items = items
        self.fault = fault
        self.broken: set[tuple[str, str]] = set()
        self.problems: list[Problem] = []
        self.enums: dict[str, Enum] = {}
        self.attributes: dict[str, dict[str, Attribute]] = {}
        self.operations: dict[str, dict[str, Operation]] = {}
        self.entities: dict[str, Entity] = {}
        self.views: dict[str, dict[str, str]] = {}
        self.dataplanes: dict[str, Dataplane] = {}

    def build(self) -> Schema:
        entities: list[tuple[SpecItem, t.EntityDecl | t.StateEntityDecl]] = []
        specs: list[tuple[SpecItem, t.SpecDecl]] = []
        for item in self.items:
            match item.decl:
                case t.EnumDecl() as enum:
                    self._enum(item, enum)
                case t.EntityDecl() | t.StateEntityDecl() as entity:
                    entities.append((item, entity))
                case t.SpecDecl() as spec:
                    specs.append((item, spec))
                    for enum in spec.enums:
                        self._enum(item, enum)
                    entities += [(item, e) for e in spec.entities]
        known = {e.name.text for _, e in entities if isinstance(e, t.EntityDecl)}
        for item, entity in entities:
            self._entity(item, entity, known)
        for item, spec in specs:  # attributes and operations of their own first: another spec may name them
            self._own(item, spec)
        for item, spec in specs:
            self._spec(item, spec)
        joined = {
            name: replace(
                e,
                attributes=self.attributes[name],
                operations=self.operations[name],
                views=self.views[name],
                protocols=self._protocols_of(e),
            )
            for name, e in self.entities.items()
        }
        return Schema(self.enums, joined, self.dataplanes, tuple(self.problems), frozenset(self.broken))

    def _scope(self, item: SpecItem) -> Scope:
        return Scope(item.file, item.key, self.problems, fault=self.fault)

    def _duplicate(self, what: str, name: t.Name | t.Str, first: Place | None, scope: Scope) -> None:
        related = (Related(first, "the first one"),) if first else ()
        message = f"{what} `{name.text}` is declared twice"
        self.problems.append(Problem("duplicate-name", message, scope.at(name), related))

    def _enum(self, item: SpecItem, decl: t.EnumDecl) -> None:
        scope = self._scope(item)
        name = decl.name.text
        if name in self.enums:
            return self._duplicate("enum", decl.name, self.enums[name].place, scope)
        places: dict[str, Place] = {}
        for value, _ in decl.values:
            if value.text in places:
                self._duplicate("value", value, places[value.text], scope)
            places.setdefault(value.text, scope.at(value))
        values = tuple(places)
        terminal = frozenset(v.text for v, last in decl.values if last)
        self.enums[name] = Enum(name, values, terminal, decl.doc, scope.at(decl.name))
        return None

    def _entity(self, item: SpecItem, decl: t.EntityDecl | t.StateEntityDecl, entities: set[str]) -> None:
        scope = self._scope(item)
        name = decl.name.text
        if name in self.entities:
            return self._duplicate("entity", decl.name, self.entities[name].place, scope)
        self.attributes[name], self.operations[name], self.views[name] = {}, {}, {}
        place = scope.at(decl.name)
        for attribute in decl.attributes:
            if attribute.type.name.text in entities and not isinstance(decl, t.StateEntityDecl):
                self.views[name][attribute.name.text] = attribute.type.name.text
            else:
                self._attribute(name, attribute, scope)
        if isinstance(decl, t.StateEntityDecl):
            conditions = self._conditions(decl, scope)
            params = self._params(decl.params, scope)
            entity = Entity(name, state=True, params=params, conditions=conditions, doc=decl.doc, place=place)
        else:
            if decl.over and decl.over.text not in entities:
                self.problems.append(unknown("entity", decl.over.text, entities, scope.at(decl.over)))
            over = decl.over.text if decl.over and decl.over.text in entities else None
            roles = self._entity_roles(decl, scope)
            line = roles.get("request_line", ())
            entity = Entity(
                name,
                over,
                connection="connection" in roles,
                request_line=line,
                protocols=self._protocols(decl.protocols, scope) or None,
                doc=decl.doc,
                place=place,
            )
        self.entities[name] = entity
        for operation in decl.operations:
            self._operation(name, operation, scope)
        return None

    def _protocols(self, said: tuple[t.Str, ...], scope: Scope) -> tuple[str, ...]:
        """The protocols that a clause lists, once each."""
        first: dict[str, t.Str] = {}
        for one in said:
            if one.text in first:
                related = (Related(scope.at(first[one.text]), "the first one"),)
                message = f"protocol `{one.text}` is listed twice"
                self.problems.append(Problem("duplicate-name", message, scope.at(one), related))
            elif not one.text:
                message = 'a protocol has a name, as `protocol:` in a graph gives it: `"grpc"`'
                scope.report("type-mismatch", message, one)
            else:
                first[one.text] = one
        return tuple(first)

    def _protocols_of(self, entity: Entity) -> tuple[str, ...] | None:
        """Those that it lists, or else what carries it does; None: all."""
        passed: set[str] = set()
        while entity.protocols is None and entity.over is not None and entity.over not in passed:
            passed.add(entity.over)
            entity = self.entities[entity.over]
        return entity.protocols

    def _entity_roles(self, decl: t.EntityDecl, scope: Scope) -> dict[str, tuple[str, ...]]:
        """The annotations of an entity with their arguments; wrong ones are reported and left out."""
        roles: dict[str, tuple[str, ...]] = {}
        for a in decl.annotations:
            if a.name.text not in ENTITY_ROLES:
                self.problems.append(unknown("annotation of entities", a.name.text, ENTITY_ROLES, scope.at(a.name)))
                continue
            names = tuple(str(arg.value) if isinstance(arg, t.Lit) else "" for arg in a.args)
            for given, arg in zip(names, a.args, strict=True):
                if given not in self.attributes[decl.name.text]:
                    known = self.attributes[decl.name.text]
                    what = f"attribute of {decl.name.text}"
                    self.problems.append(unknown(what, given, known, scope.at(arg), written=words.quoted))
            roles[a.name.text] = tuple(n for n in names if n in self.attributes[decl.name.text])
        return roles

    def _conditions(self, decl: t.StateEntityDecl, scope: Scope) -> dict[str, StateCondition]:
        out: dict[str, StateCondition] = {}
        for c in decl.conditions:
            if c.name.text in out:
                self._duplicate("condition", c.name, out[c.name.text].place, scope)
                continue
            out[c.name.text] = StateCondition(c.name.text, self._params(c.params or (), scope), c.doc, scope.at(c.name))
        return out

    def _attribute(self, entity: str, decl: t.AttributeDecl, scope: Scope) -> None:
        known = self.attributes[entity]
        if decl.name.text in known:
            return self._duplicate("attribute", decl.name, known[decl.name.text].place, scope)
        type_ = resolve_type(decl.type, self.enums, scope)
        key = resolve_type(decl.key[1], self.enums, scope) if decl.key else None
        merge = decl.merge.text if decl.merge else None
        if decl.merge and merge not in MERGES:
            self.problems.append(unknown("merge", decl.merge.text, MERGES, scope.at(decl.merge)))
            merge = None
        elif decl.merge and type_.name not in MERGED.get(decl.merge.text, (type_.name,)):
            joins = " and ".join(f"`{name}`" for name in MERGED[decl.merge.text])
            scope.report("type-mismatch", f"`{merge}` merges values of {joins}, not of `{type_}`", decl.merge)
            merge = None
        default = self._constant(decl.default, type_, scope) if decl.default is not None else None
        if decl.travels and decl.default is not None:
            message = (
                f"`{decl.name.text}` travels, so it keeps what an earlier hop wrote; a default would take that "
                "away on every hop that writes nothing"
            )
            scope.report("type-mismatch", message, decl.default)
            default = None
        roles = {a.name.text: a for a in decl.annotations}
        for role, annotation in roles.items():
            if role not in ROLES:
                self.problems.append(unknown("annotation of attributes", role, ROLES, scope.at(annotation.name)))
        derived = (decl.derived[0].text, decl.derived[1].text) if decl.derived else None
        if derived and derived[0] not in known:
            assert decl.derived is not None  # noqa: S101
            self.problems.append(unknown("attribute", derived[0], known, scope.at(decl.derived[0])))
            derived = None
        if derived and decl.derived:
            source = known[derived[0]]
            texts = {type_.name, source.type.name} <= {"string", "istring"}
            if key is not None or source.key is not None or not texts:
                message = f"a part of `{source.name}` can be taken only where both are strings without a key"
                scope.report("type-mismatch", message, decl.derived[0])
                derived = None
        added = self._added_to(roles["added_to"], type_, key, known, scope) if "added_to" in roles else None
        if added is not None:
            key = known[added].key  # with what it excludes
        known[decl.name.text] = Attribute(
            entity,
            decl.name.text,
            type_,
            key,
            merge,
            default,
            decl.travels,
            derived,
            frozenset(roles) & frozenset(ROLES),
            added,
            decl.doc,
            scope.at(decl.name),
        )
        return None

    def _added_to(
        self, node: t.Annotation, type_: Type, key: Type | None, known: Mapping[str, Attribute], scope: Scope
    ) -> str | None:
        """The attribute that `@added_to("header")` names, if a set of values can be added to it, key by key."""
        name = node.args[0].value if len(node.args) == 1 and isinstance(node.args[0], t.Lit) else None
        if not isinstance(name, str):
            scope.report("type-mismatch", '`added_to` names one attribute, as in `@added_to("header")`', node)
            return None
        if name not in known:
            self.problems.append(unknown("attribute", name, known, scope.at(node.args[0])))
            return None
        to = known[name]
        keys = [None if k is None else k.name for k in (key, to.key)]
        if type_.name != "set" or type_.args[0].name != to.type.name or keys[0] != keys[1]:
            message = f"what is added to `{name}` is a set<{to.type.name}>, by the same kind of key"
            scope.report("type-mismatch", message, node)
            return None
        return name

    def _constant(self, node: t.Expr, type_: Type, scope: Scope) -> Value | None:
        try:
            return constant(node, type_, self.enums)
        except ConstantError as e:
            scope.refuse(e)
            return None

    def _operation(self, entity: str, decl: t.OperationDecl, scope: Scope) -> Operation | None:
        params = self._params(decl.params or (), scope)
        names = {p.name: p for p in params}
        writes = [w for node in decl.writes if (w := self._write(entity, node, names, scope)) is not None]
        if len(writes) < len(decl.writes):
            self.broken.add((entity, decl.name.text))
        nodes = {p.name.text: p for p in reversed(decl.params or ())}
        params = tuple(self._within(p, nodes[p.name], entity, writes, scope) for p in params)
        side: Side | None = "ingress" if decl.side == "ingress" else "egress" if decl.side == "egress" else None
        operation = Operation(entity, decl.name.text, params, side, tuple(writes), decl.doc, scope.at(decl.name))
        known = self.operations[entity].get(decl.name.text)
        if known is None:
            self.operations[entity][decl.name.text] = operation
        elif (known.params, known.writes) != (operation.params, operation.writes) or known.side != operation.side:
            related = (Related(known.place, "declared otherwise here"),) if known.place else ()
            message = f"operation `{decl.name.text}` is declared twice, and not in the same way"
            self.problems.append(Problem("duplicate-name", message, scope.at(decl.name), related))
        elif known.place and known.place.file == scope.file and known.place.decl == scope.decl:
            self._duplicate("operation", decl.name, known.place, scope)
        return operation

    def _within(self, param: Param, node: t.ParamDecl, entity: str, writes: list[WriteDecl], scope: Scope) -> Param:
        """A parameter without limits of its own has those of the attribute that it is written to."""
        written = (self.attributes[entity][w.attribute] for w in writes if w.value_is_param and w.value == param.name)
        limits = next((a.type for a in written if a.type.low is not None or a.type.among is not None), None)
        if limits is None or param.type.said or param.type.name != limits.name:
            return param
        type_ = replace(param.type, low=limits.low, high=limits.high, among=limits.among, said=limits.said)
        if param.default is not None and not type_.admits(param.default) and node.default is not None:
            scope.report("type-mismatch", f"{show(param.default, type_)} is not in {type_.said}", node.default)
        return replace(param, type=type_)

    def _params(self, nodes: tuple[t.ParamDecl, ...], scope: Scope) -> tuple[Param, ...]:
        params: dict[str, Param] = {}
        places: dict[str, Place] = {}
        for p in nodes:
            type_ = resolve_type(p.type, self.enums, scope)
            default = self._constant(p.default, type_, scope) if p.default is not None else None
            if p.name.text in params:
                self._duplicate("parameter", p.name, places[p.name.text], scope)
            places.setdefault(p.name.text, scope.at(p.name))
            params.setdefault(p.name.text, Param(p.name.text, type_, default))
        return tuple(params.values())

    def _write(self, entity: str, node: t.WriteNode, params: Mapping[str, Param], scope: Scope) -> WriteDecl | None:
        attribute = self.attributes[entity].get(node.attribute.text)
        if attribute is None:
            known = self.attributes[entity]
            self.problems.append(unknown("attribute", node.attribute.text, known, scope.at(node.attribute)))
            return None
        if (node.key is None) != (attribute.key is None):
            need = "needs a key in brackets" if attribute.key else "takes no key"
            scope.report("type-mismatch", f"`{attribute.name}` {need}", node.attribute)
            return None
        key, key_is_param = (node.key.text, isinstance(node.key, t.Name)) if node.key else (None, False)
        if isinstance(node.key, t.Name) and node.key.text not in params:
            self.problems.append(unknown("parameter", node.key.text, params, scope.at(node.key)))
            return None
        if isinstance(node.key, t.Name) and attribute.key and params[node.key.text].type.name != attribute.key.name:
            given = params[node.key.text].type
            message = f"a key of `{attribute.name}` is {attribute.key}, but `{node.key.text}` is {given}"
            scope.report("type-mismatch", message, node.key)
        in_set = isinstance(node.value, t.SetLit) and len(node.value.items) == 1
        written = node.value.items[0] if isinstance(node.value, t.SetLit) and in_set else node.value
        if isinstance(written, t.Name | t.Ref):
            name = written if isinstance(written, t.Name) else written.root
            if name.text in params:
                given = params[name.text].type
                if in_set:
                    given = Type("set", (replace(given, low=None, high=None, among=None, domain=None, said=""),))
                if given.name != attribute.type.name or given.args != attribute.type.args:
                    message = f"`{attribute.name}` is {attribute.type}, but `{name.text}` is {given}"
                    scope.report("type-mismatch", message, name)
                return WriteDecl(attribute.name, key, key_is_param, name.text, True, in_set)
        value = self._constant(node.value, attribute.type, scope)
        return None if value is None else WriteDecl(attribute.name, key, key_is_param, value, False)

    def _own(self, item: SpecItem, spec: t.SpecDecl) -> None:
        scope = self._scope(item)
        for supports in spec.supports:
            entity = supports.entity.text
            if entity not in self.entities:
                continue  # reported in _spec
            for attribute in supports.attributes:
                self._attribute(entity, attribute, scope)
            for operation in supports.operations:
                if operation.params is not None or operation.writes:
                    self._operation(entity, operation, scope)

    def _spec(self, item: SpecItem, spec: t.SpecDecl) -> None:
        scope = self._scope(item)
        name = spec.name.text
        if name in self.dataplanes:
            return self._duplicate("spec", spec.name, self.dataplanes[name].place, scope)
        tier = spec.tier.text if spec.tier else "proxy"
        if spec.tier is None:
            scope.report(
                "missing-declaration",
                f"spec `{name}` does not say its tier (`tier kernel;` or `tier proxy;`)",
                spec.name,
                about="tier",
            )
        elif tier not in ("kernel", "proxy"):
            self.problems.append(unknown("tier", tier, ("kernel", "proxy"), scope.at(spec.tier)))
        if spec.cost is None:
            scope.report("missing-declaration", f"spec `{name}` does not say its cost (`cost 10;`)", spec.name)
        reads: dict[tuple[str, str], Reads] = {}
        operations: dict[tuple[str, str], Supports] = {}
        conditions: dict[tuple[str, str], Supports] = {}
        for supports in spec.supports:
            entity = supports.entity.text
            if entity not in self.entities:
                self.problems.append(unknown("entity", entity, self.entities, scope.at(supports.entity)))
                continue
            for read in supports.reads:
                attribute = read.attribute.text
                if attribute not in self.attributes[entity]:
                    known = self.attributes[entity]
                    self.problems.append(unknown("attribute", attribute, known, scope.at(read.attribute)))
                    continue
                comparisons = frozenset(read.comparisons) if read.comparisons else None
                reads[entity, attribute] = Reads(attribute, comparisons, _sides(read.side))
            for decl in supports.operations:
                declared = self.operations[entity].get(decl.name.text)
                if declared is None:
                    known_ops = self.operations[entity]
                    self.problems.append(unknown("operation", decl.name.text, known_ops, scope.at(decl.name)))
                    continue
                sides = tuple(s for s in _sides(decl.side) if declared.side in (None, s))
                if not sides:
                    message = (
                        f"`{decl.name.text}` works at {declared.side} only, so it cannot be supported at {decl.side}"
                    )
                    scope.report("wrong-side", message, decl.name)
                before = operations.get((entity, decl.name.text))
                if before is not None:
                    self._duplicate("operation", decl.name, before.place, scope)
                operations[entity, decl.name.text] = self._supports(decl, sides, tier == "kernel", scope)
            for cond in supports.conditions:
                known_conds = self.entities[entity].conditions
                if cond.name.text not in known_conds:
                    self.problems.append(unknown("condition", cond.name.text, known_conds, scope.at(cond.name)))
                    continue
                conditions[entity, cond.name.text] = self._supports(cond, _sides(cond.side), tier == "kernel", scope)
        files: dict[str, t.Str] = {}
        for file, _, per in spec.artifacts:
            first = files.setdefault(file.text, file)
            if first is not file:
                self._duplicate("artifact", file, scope.at(first), scope)
            if per.text not in PER:
                self.problems.append(unknown("unit of artifacts", per.text, PER, scope.at(per)))
        self.dataplanes[name] = Dataplane(
            name=name,
            tier="kernel" if tier == "kernel" else "proxy",
            cost=cost_of(spec.cost) if spec.cost else Cost(0),
            folder=item.folder,
            reads_context=_context_sides(spec, "reads"),
            writes_context=_context_sides(spec, "writes"),
            peer=tuple(s for s in SIDES if s in spec.peer),
            speaks=self._protocols(spec.speaks, scope) or (DEFAULT_PROTOCOL,),
            reads=reads,
            operations=operations,
            conditions=conditions,
            artifacts=tuple(Artifact(a.text, b.text, c.text, scope.at(a)) for a, b, c in spec.artifacts),
            doc=spec.doc,
            place=scope.at(spec.name),
        )
        return None

    def _supports(
        self, decl: t.OperationDecl | t.ConditionDecl, sides: tuple[Side, ...], kernel: bool, scope: Scope
    ) -> Supports:
        what, roles = "annotation of what a spec supports", {a.name.text: a for a in decl.annotations}
        for role, annotation in roles.items():
            if role not in SUPPORT_ROLES:
                self.problems.append(unknown(what, role, SUPPORT_ROLES, scope.at(annotation.name)))
            elif role == "any_protocol" and not kernel:
                scope.report("type-mismatch", "a proxy has no listener where it does not speak", annotation.name)
        emits = decl.emits.text if decl.emits else None
        return Supports(decl.name.text, emits, sides, scope.at(decl.name), frozenset(roles) & frozenset(SUPPORT_ROLES))


def _sides(side: str | None) -> tuple[Side, ...]:
    return SIDES if side is None else tuple(s for s in SIDES if s == side)


def _context_sides(spec: t.SpecDecl, use: str) -> tuple[Side, ...]:
    named = {s for what, side in spec.context if what == use for s in _sides(side)}
    return tuple(s for s in SIDES if s in named)
