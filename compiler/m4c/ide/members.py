"""Proposals of what belongs to an entity: attributes, operations, parameters, and the values that they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace

from lark import Tree

from m4c import project
from m4c.ide import render
from m4c.ide.cursor import kind_of, text_of
from m4c.ide.fitting import fitting, readable
from m4c.ide.scene import Proposal, Scene
from m4c.ide.symbols import symbol_at
from m4c.ide.usage import keys_used, near
from m4c.semantics.conditions import unsupported
from m4c.semantics.model import Attribute, Entity, Operation, Param, StateCondition, Type
from m4c.semantics.values import show
from m4c.syntax import words

_TEXT_COMPARISONS = ("starts_with", "ends_with", "contains", "matches")
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "in", *_TEXT_COMPARISONS)
_ALIKE = 4  # how much more a use counts that is of the same kind as the one at the cursor
_FOREIGN = 5  # the rank of keys that are used otherwise
_MEANINGS = {
    "==": "equal",
    "!=": "not equal, or absent",
    "in": "one of these",
    "matches": "the whole text matches a regular expression (RE2)",
}


# --- attributes and operations ----------------------------------------------------------------------------------------


def _attribute(a: Attribute, rank: int = 0, uses: int | None = None) -> Proposal:
    doc = "\n\n".join(filter(None, (render.code(render.attribute(a)), a.doc)))
    insert, snippet = ("", None) if a.key is None else (f'{a.name}[""]', f'{a.name}["$1"]$0')
    return Proposal(a.name, "attribute", render.attribute_type(a), doc, insert, snippet, rank, uses=uses)


def asked(scene: Scene) -> Iterator[Proposal]:
    """What of an entity can be compared, and what a state can be asked. What a dataplane of the mesh can look at comes
    first."""
    holder = scene.holder()
    if holder is None:
        return
    used = near(scene.db, scene.file).counts
    seen = readable(scene, holder)
    for name, entity in holder.views.items():
        yield Proposal(name, "attribute", f": {entity}", _doc_of(scene, entity), insert=f"{name}.", rank=0)
    for a in () if holder.state else holder.attributes.values():
        yield _attribute(a, 0 if a.name in seen else 1, used.get(("attribute in policy", a.name), 0))
    supported = _supported(scene, holder)
    for c in holder.conditions.values():
        doc = "\n\n".join(filter(None, (render.code(render.condition(c)), c.doc)))
        yield _call(scene, c, doc, c.name in supported, "")


def _doc_of(scene: Scene, entity: str) -> str:
    found = scene.schema.entities.get(entity)
    return found.doc if found is not None else ""


def operations(scene: Scene) -> Iterator[Proposal]:
    """The operations of the entity or state before the cursor; those that a dataplane of the mesh has, and that are of
    use there, come first."""
    holder = scene.holder()
    if holder is None:
        return
    supported = _supported(scene, holder)
    fit = fitting(scene, holder)
    for o in holder.operations.values():
        doc = "\n\n".join(filter(None, (render.code(render.operation(o, holder)), o.doc)))
        call = _call(scene, o, doc, o.name in supported, ";")
        yield replace(call, rank=call.rank + (o.name in fit.idle), likelier=fit.likelier.get(o.name, 0))


def _call(scene: Scene, called: Operation | StateCondition, doc: str, supported: bool, end: str) -> Proposal:
    if not supported:
        doc += "\n\nNo dataplane of the mesh has it."
    places = ", ".join(f"{p.name}" for p in called.params)
    filled = ", ".join(_place(scene, i, p) for i, p in enumerate(_needed(called), 1))
    text, snippet = f"{called.name}({places})", f"{called.name}({filled}){end}$0"
    return Proposal(called.name, "operation", render.signature(called), doc, text, snippet, 0 if supported else 2)


def _needed(o: Operation | StateCondition) -> tuple[Param, ...]:
    """The parameters that must be given; a lone one with a default is shown too."""
    needed = tuple(p for p in o.params if p.default is None)
    return needed or o.params[:1]


def _supported(scene: Scene, entity: Entity) -> frozenset[str]:
    """What of an entity, or of a kind of state, a dataplane of the mesh can do."""
    return frozenset(name for d in scene.planes for e, name in (*d.operations, *d.conditions) if e == entity.name)


def _place(scene: Scene, number: int, p: Param) -> str:
    """The place in a snippet for an argument."""
    if p.default is not None:
        return f"${{{number}:{_escape(show(p.default, p.type))}}}"
    enum = scene.schema.enums.get(p.type.name)
    if enum is not None:
        return f"${{{number}|{','.join(enum.values)}|}}"
    match p.type.name:
        case "string" | "istring":
            return f'"${{{number}:{p.name}}}"'
        case "map":
            return f"{{ ${number} }}"
        case "set":
            return f"[${number}]"
        case _:
            return f"${{{number}:{p.name}}}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("}", "\\}").replace("$", "\\$")


def roots(scene: Scene) -> Iterator[Proposal]:
    """What a statement may begin with."""
    yield from _variable(scene)
    yield from _states(scene, {name for name, kind in scene.states.items() if kind.operations})


def operands(scene: Scene) -> Iterator[Proposal]:
    """What a condition may begin with."""
    yield from _variable(scene)
    yield from _states(scene, {name for name, kind in scene.states.items() if kind.conditions})
    for name in scene.lets:
        yield Proposal(name, "constant", rank=2)
    yield Proposal("exists", "keyword", "not absent", rank=3)


def _variable(scene: Scene) -> Iterator[Proposal]:
    if scene.variable:
        detail = scene.entity.name if scene.entity else ""
        yield Proposal(scene.variable, "variable", detail, insert=f"{scene.variable}.", rank=0)


def _states(scene: Scene, names: Container[str]) -> Iterator[Proposal]:
    for name, state in project.states(scene.db, scene.mesh).items():
        if name in names:
            yield Proposal(name, "state", state.kind, state.doc, insert=f"{name}.", rank=1)


# --- states -----------------------------------------------------------------------------------------------------------


def per_variable(scene: Scene) -> Iterator[Proposal]:
    """What stands before the attribute that a state is kept per value of; its name is free."""
    yield Proposal("r", "variable", "whatever uses the state", insert="r.", rank=0)


def per_attributes(scene: Scene) -> Iterator[Proposal]:
    """The attributes that a state can be kept per value of."""
    found: dict[str, Attribute] = {}
    for a in (a for e in _not_states(scene) for a in e.attributes.values()):
        found.setdefault(a.name, a)
    yield from map(_attribute, found.values())


def per_keys(scene: Scene) -> Iterator[Proposal]:
    name = scene.reference()[-1]
    for e in _not_states(scene):
        if name in e.attributes:
            yield from keys_of(scene, e.attributes[name])


def _not_states(scene: Scene) -> list[Entity]:
    return [e for e in scene.schema.entities.values() if not e.state]


# --- keys -------------------------------------------------------------------------------------------------------------


def keys(scene: Scene) -> Iterator[Proposal]:
    """The keys of an attribute that the workspace names."""
    attribute = scene.attribute()
    return keys_of(scene, attribute, at=scene.ends) if attribute else iter(())


def keys_of(scene: Scene, attribute: Attribute, written: bool = False, at: Sequence[str] = ()) -> Iterator[Proposal]:
    """The keys of an attribute. `written`: see `_keys`; `at`: the services where requests are that it is about."""
    if attribute.key is not None and attribute.key.name == "service":
        for name in scene.graph.services:
            yield Proposal(name, "service", insert=name if scene.cursor.quoted else words.quoted(name))
    else:
        yield from _keys(scene, f"{attribute.entity}.{attribute.name}", written or attribute.travels, at)


def all_keys(scene: Scene) -> Iterator[Proposal]:
    return _keys(scene, "")


def default_keys(scene: Scene) -> Iterator[Proposal]:
    names = scene.names_after("DEFAULT")
    attribute = scene.entity.attributes.get(names[1]) if scene.entity and len(names) > 1 else None
    return keys_of(scene, attribute) if attribute else iter(())


def _keys(scene: Scene, scope: str, written: bool = False, at: Sequence[str] = ()) -> Iterator[Proposal]:
    """The keys of an attribute ("HttpRequest.header"), or of all: what policies write, what they name, and what
    applications hand on. `written`: where one is written, or means nothing before, what others write is likelier than
    what they read. `at`: what policies name whose patterns end at these services is likelier than what others name."""
    cursor = scene.cursor
    typed = symbol_at(scene.workspace, scene.file, cursor.offset) if cursor.quoted else None
    found: dict[str, str] = {}
    uses: Counter[str] = Counter()
    ranks: dict[str, int] = {}
    ends = near(scene.db, scene.file).ends
    for (of, key), known in keys_used(scene.db).items():
        here = typed is not None and (typed.symbol.scope, typed.symbol.name) == (of, key)
        if scope in ("", of) and known.named > here:
            alike = known.written if written else known.read
            there = sum(ends.get((of, key, service), 0) for service in at)
            uses[key] += _ALIKE * alike + known.named - here
            ranks[key] = min(ranks.get(key, _FOREIGN), 3 if alike and there else 4 if alike else _FOREIGN)
            found[key] = found.get(key) or (f"written by {known.writer}" if known.writer else "")
    for mesh in project.mesh_names(scene.db) if _handed_on(scene, scope) else ():
        checked = project.mesh(scene.db, mesh)
        for key in checked.mesh.propagate if checked else ():
            found.setdefault(key, "handed on by applications")
    for key, detail in found.items():
        quoted = words.quoted(key)
        text = quoted[1:-1] if cursor.quoted else quoted
        yield Proposal(key, "key", detail, insert=text, rank=ranks.get(key, _FOREIGN), uses=uses[key])


def _handed_on(scene: Scene, scope: str) -> bool:
    """Whether applications can hand on what stands under the keys of an attribute."""
    entity, _, name = scope.partition(".")
    holder = scene.schema.entities.get(entity)
    attribute = holder.attributes.get(name) if holder is not None else None
    return not scope or (attribute is not None and "propagates" in attribute.roles)


# --- arguments --------------------------------------------------------------------------------------------------------


def arguments(scene: Scene) -> Iterator[Proposal]:
    """The value at hand, and the names of the parameters that are not given yet."""
    called = scene.called()
    if called is None:
        return
    yield from argument_values(scene)
    if scene.cursor.quoted:
        return
    given = scene.given()
    named = {text_of(a.children[0]) for a in given if isinstance(a.children[0], Tree)}
    for i, p in enumerate(called.params):
        if p.name not in named and i >= len(given) - len(named):
            yield Proposal(p.name, "param", f": {p.type}", insert=f"{p.name}: ", rank=3)


def argument_values(scene: Scene) -> Iterator[Proposal]:
    param, called = scene.param(), scene.called()
    if param is None or called is None:
        return
    if param.type.name in ("string", "istring") and isinstance(called, Operation):
        for write in called.writes:
            if write.key_is_param and write.key == param.name:
                yield from _keys(scene, f"{called.entity}.{write.attribute}", written=True, at=scene.ends)
    if param.type.name == "service":
        yield from _service_values(scene)
    if not scene.cursor.quoted:
        yield from values(scene, param.type)
        for name in scene.lets:
            yield Proposal(name, "constant", rank=2)


def _service_values(scene: Scene) -> Iterator[Proposal]:
    """The services of the graph, as values: quoted where an expression could not read them otherwise."""
    for name, service in scene.graph.services.items():
        yield Proposal(name, "service", ", ".join(service.versions), insert=scene.name(name), rank=0)


def map_keys(scene: Scene) -> Iterator[Proposal]:
    """The keys of a map: of versions, those of the services that the policy's pattern ends with."""
    param = scene.param()
    if param is None or not param.type.args or param.type.args[0].name != "version":
        return
    for service in scene.graph.services.values():
        for version in service.versions if service.name in scene.ends else ():
            insert = scene.service_name(version) + ("" if scene.cursor.quoted else ": ")
            yield Proposal(version, "version", f"of {service.name}", insert=insert)


def map_values(scene: Scene) -> Iterator[Proposal]:
    param = scene.param()
    return values(scene, param.type.args[1]) if param and len(param.type.args) > 1 else iter(())


def values(scene: Scene, type_: Type) -> Iterator[Proposal]:
    enum = scene.schema.enums.get(type_.name)
    for value in enum.values if enum else ():
        detail = f"{enum.name}{', terminal' if value in enum.terminal else ''}" if enum else ""
        yield Proposal(value, "enum value", detail, enum.doc if enum else "", rank=0)
    if type_.name == "bool":
        yield Proposal("true", "keyword", rank=0)
        yield Proposal("false", "keyword", rank=0)


# --- comparisons ------------------------------------------------------------------------------------------------------


def comparisons(scene: Scene) -> Iterator[Proposal]:
    """The comparisons that apply to the type of the attribute before the cursor."""
    attribute = scene.attribute()
    for word in _COMPARISONS:
        if attribute is not None and unsupported(word, attribute.type, scene.schema.enums) is None:
            insert = {"in": "in [", "matches": 'matches r"'}.get(word, f"{word} ")
            yield Proposal(word, "operator", _MEANINGS.get(word, ""), insert=insert, rank=1)


def spec_comparisons(scene: Scene) -> Iterator[Proposal]:
    """The comparisons that a spec may say it evaluates."""
    for word in (*_COMPARISONS, "exists"):
        yield Proposal(word, "operator", _MEANINGS.get(word, ""))


def compared_with(scene: Scene) -> Iterator[Proposal]:
    """The values that an attribute is compared with."""
    attribute = scene.attribute()
    if attribute is not None and not scene.cursor.quoted:
        yield from values(scene, attribute.type)
        for name in scene.lets:
            yield Proposal(name, "constant", rank=2)


# --- meshes and specs -------------------------------------------------------------------------------------------------


def default_attributes(scene: Scene) -> Iterator[Proposal]:
    """What a mesh can set: first what is something by default anyway, then what policies write."""
    entity = scene.entity
    used = near(scene.db, scene.file).counts
    written = {w.attribute for o in entity.operations.values() for w in o.writes} if entity else set()
    for a in entity.attributes.values() if entity else ():
        rank = 2 if a.name not in written else 1 if a.default is None else 0
        yield _attribute(a, rank, used.get(("attribute in mesh", a.name), 0))


def default_values(scene: Scene) -> Iterator[Proposal]:
    names = scene.names_after("DEFAULT")
    attribute = scene.entity.attributes.get(names[1]) if scene.entity and len(names) > 1 else None
    if attribute is None:
        return
    yield from values(scene, attribute.type)
    if attribute.type.optional and not scene.cursor.quoted:
        yield Proposal("absent", "keyword", "no value at all", rank=2)


def spec_attributes(scene: Scene) -> Iterator[Proposal]:
    """The names of attributes, without places for keys."""
    for a in scene.entity.attributes.values() if scene.entity else ():
        yield Proposal(a.name, "attribute", render.attribute_type(a), a.doc)


def spec_operations(scene: Scene) -> Iterator[Proposal]:
    """The operations that a spec may implement by naming them."""
    for o in scene.entity.operations.values() if scene.entity else ():
        doc = "\n\n".join(filter(None, (render.code(render.operation(o, scene.entity)), o.doc)))
        yield Proposal(o.name, "attribute", render.signature(o), doc, snippet=f'{o.name} emits "$1";$0')


def spec_conditions(scene: Scene) -> Iterator[Proposal]:
    """The conditions of a state that a spec may implement by naming them."""
    for c in scene.entity.conditions.values() if scene.entity else ():
        doc = "\n\n".join(filter(None, (render.code(render.condition(c)), c.doc)))
        yield Proposal(c.name, "attribute", render.signature(c), doc, snippet=f'{c.name} emits "$1";$0')


def own_params(scene: Scene) -> Iterator[Proposal]:
    """The parameters of the operation that is being declared."""
    params = scene.last("params")
    for p in params.find_data("param") if isinstance(params, Tree) else ():
        yield Proposal(text_of(p), "param")


def attribute_values(scene: Scene) -> Iterator[Proposal]:
    """The default of the attribute that is being declared."""
    return values(scene, Type(text_of(type_))) if (type_ := scene.last("type")) is not None else iter(())


def written_values(scene: Scene) -> Iterator[Proposal]:
    yield from own_params(scene)
    names = [text_of(p) for p in scene.pieces if kind_of(p) == "name"]
    attribute = scene.entity.attributes.get(names[-1]) if scene.entity and names else None
    if attribute is not None:
        yield from values(scene, attribute.type)
