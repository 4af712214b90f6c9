"""Where what is named comes from, what it is of, who implements it, and where else it is named."""

from __future__ import annotations

from collections.abc import Iterator

from m4c import project
from m4c.ide.occurrences import Symbol
from m4c.ide.symbols import Found, declarations, everywhere, graph_names, in_file, may_hold, symbol_at, symbols_at
from m4c.semantics.model import Place
from m4c.syntax import tree as t
from m4c.workspace import Span, Workspace


def definition(workspace: Workspace, file: str, offset: int) -> tuple[Span, ...]:
    """Where the name at an offset is declared; for a path, the start of the file that it names.

    M4 declares nothing in one place and defines it in another, so this is also what editors call the declaration.
    """
    found = symbols_at(workspace, file, offset)
    if found and found[0].symbol.kind in ("import", "graph"):
        target = _file_named(workspace, found[0])
        return (workspace.span(Place(target, "", 0, 0)),) if target is not None else ()
    return tuple(span for f in found for span in _declared(workspace, f.symbol))


def type_definition(workspace: Workspace, file: str, offset: int) -> tuple[Span, ...]:
    """Where that is declared which the thing at an offset is one of: the entity of a policy, of its variable and of
    an operation, the type of an attribute or a parameter, the kind of a state, the enum of a value."""
    found = symbol_at(workspace, file, offset)
    if found is None:
        return ()
    return tuple(span for of in _types(workspace, found) for span in _declared(workspace, of))


def implementation(workspace: Workspace, file: str, offset: int) -> tuple[Span, ...]:
    """Where the specs of dataplanes say that they perform the operation at an offset, ask the condition, or read the
    attribute; of an entity, where they say what of it they support."""
    found = symbol_at(workspace, file, offset)
    return tuple(_implementations(workspace, found.symbol)) if found is not None else ()


def references(workspace: Workspace, file: str, offset: int, declarations: bool = True) -> tuple[Span, ...]:
    """Every place where what is named at an offset is named."""
    named = [f.symbol for f in symbols_at(workspace, file, offset) if f.symbol.kind not in ("import", "graph")]
    found = (f for symbol in named for f in everywhere(workspace, symbol) if declarations or not f.declares)
    return tuple(dict.fromkeys(_span(workspace, f) for f in found))


def highlights(workspace: Workspace, file: str, offset: int) -> tuple[Found, ...]:
    """The places in the same file where what is named at an offset is named. Nothing else is looked at."""
    found = symbol_at(workspace, file, offset)
    if found is None or not may_hold(workspace.text(file), found.symbol):
        return ()
    names = graph_names(workspace, file)
    if names is None:
        names = in_file(workspace, file, found.symbol)
    return tuple(f for f in names if f.symbol == found.symbol)


def _declared(workspace: Workspace, symbol: Symbol) -> tuple[Span, ...]:
    return tuple(_span(workspace, f) for f in declarations(workspace, symbol))


def _span(workspace: Workspace, found: Found) -> Span:
    return workspace.span(Place(found.file, "", found.start, found.end))


def _file_named(workspace: Workspace, found: Found) -> str | None:
    db = workspace.db
    if found.symbol.kind == "graph":
        candidates: tuple[str, ...] = (project.resolve_path(found.file, found.symbol.name),)
    else:
        candidates = project.import_candidates(db, found.file, found.symbol.name)
    return next((c for c in candidates if db.input_or("text", c, default=None) is not None), None)


def _types(workspace: Workspace, found: Found) -> Iterator[Symbol]:
    """What a symbol is one of."""
    db, symbol = workspace.db, found.symbol
    schema = project.schema(db)
    match symbol.kind:
        case "variable":
            ref = project.decl(db, found.file, found.decl)
            if ref is not None and isinstance(ref.parsed.decl, t.PolicyDecl):
                yield Symbol("entity", ref.parsed.decl.entity.text)
        case "policy":
            entity = project.policy_names(db, symbol.scope or None).get(symbol.name)
            if entity:
                yield Symbol("entity", entity)
        case "state":
            state = project.states(db, symbol.scope or None).get(symbol.name)
            if state is not None:
                yield Symbol("state kind", state.kind)
        case "operation" | "condition":
            yield from (Symbol(kind, symbol.scope) for kind in ("entity", "state kind"))
        case "enum value":
            yield Symbol("enum", symbol.scope)
        case "key":
            entity, _, attribute = symbol.scope.rpartition(".")
            yield Symbol("attribute", attribute, entity)
        case "attribute":
            holder = schema.entities.get(symbol.scope)
            known = holder.attributes.get(symbol.name) if holder is not None else None
            if holder is not None and symbol.name in holder.views:
                yield Symbol("entity", holder.views[symbol.name])
            elif known is not None:
                yield from (Symbol("enum", of.name) for of in (known.type, *known.type.args) if of.name in schema.enums)
        case "param":
            owner, _, called = symbol.scope.rpartition(".")
            holder = schema.entities.get(owner or called)
            of_call = (holder.operations.get(called) or holder.conditions.get(called) or holder) if holder else None
            for p in of_call.params if of_call is not None else ():
                if p.name == symbol.name:
                    yield from (Symbol("enum", of.name) for of in (p.type, *p.type.args) if of.name in schema.enums)


def _implementations(workspace: Workspace, symbol: Symbol) -> Iterator[Span]:
    for ref in project.spec_refs(workspace.db):
        spec = ref.parsed.decl
        for supports in spec.supports if isinstance(spec, t.SpecDecl) else ():
            if symbol.kind == "entity" or symbol.kind == "state kind":
                names = [supports.entity] if supports.entity.text == symbol.name else []
            elif supports.entity.text != symbol.scope:
                continue
            else:
                by_kind: dict[str, list[t.Name]] = {
                    "operation": [o.name for o in supports.operations],
                    "condition": [c.name for c in supports.conditions],
                    "attribute": [r.attribute for r in supports.reads],
                }
                names = [n for n in by_kind.get(symbol.kind, ()) if n.text == symbol.name]
            for name in names:
                yield workspace.span(Place(ref.file, ref.key, name.start, name.end))
