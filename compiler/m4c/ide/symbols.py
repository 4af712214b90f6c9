"""Which name stands where, and what it stands for: the ground of hover, definitions, references and rename.

Whoever looks for a name everywhere passes over the files and declarations whose text does not hold it, which costs as
much as reading the texts once; only what is left is asked what its names stand for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from m4c import project
from m4c.db import Database, query
from m4c.ide.occurrences import Kind, Occurrence, Symbol, Versioned, Walk
from m4c.project import DeclRef
from m4c.semantics.model import Place
from m4c.workspace import Workspace

__all__ = ["Found", "Kind", "Occurrence", "Symbol"]

_ESCAPED = frozenset('"\\\n\t\r\0')  # characters that a text may hold in another form


@dataclass(frozen=True, slots=True)
class Found:
    """An occurrence in its file: offsets in the file, and the key of the declaration around it."""

    symbol: Symbol
    file: str
    decl: str
    start: int
    end: int
    declares: bool
    value: bool = False


@query
def occurrences(db: Database, ref: DeclRef, mesh: str | None) -> tuple[Occurrence, ...]:
    """Every name in a declaration, in the order of the text."""
    return tuple(sorted(_names(db, ref, mesh), key=lambda o: (o.start, o.end)))


def _names(db: Database, ref: DeclRef, mesh: str | None) -> list[Occurrence]:
    states = {name: state.kind for name, state in project.states(db, mesh).items()}
    return Walk(ref, mesh or "", project.schema(db), states, _versioned(db, mesh)).declaration(ref.parsed.decl)


@query
def _versioned(db: Database, mesh: str | None) -> tuple[Versioned, ...]:
    """The services of a mesh that have versions."""
    graph = project.mesh_graph(db, mesh) if mesh is not None else None
    found = [s for s in (graph.services.values() if graph is not None else ()) if s.versions]
    groups = project.names(db, mesh).groups if found else {}
    return tuple(
        Versioned(s.name, s.versions, s.labels, frozenset(g for g, members in groups.items() if s.name in members))
        for s in found
    )


def names_in(db: Database, file: str) -> Iterator[tuple[DeclRef, Occurrence]]:
    """Every name in a file, with its declaration; nothing of it is kept."""
    mesh = project.mesh_of_file(db, file)[0]
    for ref in project.decls(db, file):
        yield from ((ref, o) for o in _names(db, ref, mesh))


@query
def declared(db: Database, file: str) -> dict[Symbol, tuple[tuple[str, int, int], ...]]:
    """What comes from a file, and from where in it: the key of the declaration, and offsets in that."""
    out: dict[Symbol, tuple[tuple[str, int, int], ...]] = {}
    for ref, o in names_in(db, file):
        if o.declares:
            out[o.symbol] = (*out.get(o.symbol, ()), (ref.key, o.start, o.end))
    return out


def in_file(workspace: Workspace, file: str, holding: Symbol | None = None) -> Iterator[Found]:
    """Every name in a file of the workspace. `holding`: only in declarations whose text may hold this one."""
    db = workspace.db
    mesh = project.mesh_of_file(db, file)[0]
    starts = project.offsets(db, file)
    for ref in project.decls(db, file):
        if holding is not None and not may_hold(ref.text, holding):
            continue
        base = starts[ref.key]
        for o in occurrences(db, ref, mesh):
            yield Found(o.symbol, file, ref.key, base + o.start, base + o.end, o.declares, o.value)


def may_hold(text: str, symbol: Symbol) -> bool:
    """Whether a text may name a symbol: it does not, if its name is not in it."""
    if symbol.kind == "key":  # letters of either case may mean the same one
        text = text.lower()
        return symbol.name.lower() in text or not _ESCAPED.isdisjoint(symbol.name)
    return symbol.name in text or not _ESCAPED.isdisjoint(symbol.name)


def symbol_at(workspace: Workspace, file: str, offset: int) -> Found | None:
    """The name at an offset, or right before it; the narrowest one."""
    return next(iter(symbols_at(workspace, file, offset)), None)


def symbols_at(workspace: Workspace, file: str, offset: int) -> list[Found]:
    """As `symbol_at`, with all that the name stands for: a version may be one of several services."""
    db = workspace.db
    names = graph_names(workspace, file)
    if names is None:
        mesh = project.mesh_of_file(db, file)[0]
        around = [(key, item.start) for key, item in project.keyed(db, file) if item.start <= offset <= item.end]
        refs = [(project.decl(db, file, key), start) for key, start in around]
        names = (
            Found(o.symbol, file, ref.key, start + o.start, start + o.end, o.declares, o.value)
            for ref, start in refs
            if ref is not None
            for o in occurrences(db, ref, mesh)
        )
    at = sorted((f for f in names if f.start <= offset <= f.end), key=lambda f: f.end - f.start)
    kinds = ((at[0].start, at[0].end, at[0].symbol.kind),) if at else ()
    return [f for f in at if (f.start, f.end, f.symbol.kind) in kinds]


def everywhere(workspace: Workspace, symbol: Symbol) -> Iterator[Found]:
    """Every occurrence of a symbol in the workspace and its specs, those in the graph file included."""
    for file in project.sources(workspace.db):
        if may_hold(workspace.text(file), symbol):
            yield from (f for f in in_file(workspace, file, symbol) if f.symbol == symbol)
    yield from _in_graph(workspace, symbol)


def declarations(workspace: Workspace, symbol: Symbol) -> Iterator[Found]:
    """Where a symbol comes from: of `everywhere`, the occurrences that declare it, but found without reading all."""
    db = workspace.db
    for file in project.sources(db) if symbol.kind not in OF_GRAPHS else ():  # only graphs declare these
        if not may_hold(workspace.text(file), symbol):
            continue
        for key, start, end in declared(db, file).get(symbol, ()):
            base = project.offsets(db, file)[key]
            yield Found(symbol, file, key, base + start, base + end, True)
    yield from (f for f in _in_graph(workspace, symbol) if f.declares)


# --- graph files ------------------------------------------------------------------------------------------------------


OF_GRAPHS: tuple[Kind, ...] = ("service", "version", "label")  # what graph files declare


def meshes_of_graph(db: Database, file: str) -> tuple[str, ...]:
    """The meshes whose graph is in a file."""
    return tuple(m for m in project.mesh_names(db) if project.graph_file(db, m) == file)


def mesh_of(symbol: Symbol) -> str:
    """The mesh that a service, a version of one, a label or a value of one is of."""
    return symbol.scope.partition("/")[0]


def _in_graph(workspace: Workspace, symbol: Symbol) -> Iterator[Found]:
    db = workspace.db
    if symbol.kind == "protocol":
        files = [project.graph_file(db, mesh) for mesh in project.mesh_names(db)]
    else:
        files = [project.graph_file(db, mesh_of(symbol))] if symbol.kind in OF_GRAPHS else []
    for file in dict.fromkeys(f for f in files if f is not None):
        for start, end, declares in _named_in_graph(db, file).get(_without_mesh(symbol), ()):
            yield Found(symbol, file, "", start, end, declares)


def _without_mesh(symbol: Symbol) -> Symbol:
    return Symbol(symbol.kind, symbol.name, symbol.scope.partition("/")[2])


def _in_mesh(symbol: Symbol, mesh: str) -> str:
    """The scope of what `_named_in_graph` finds, in a mesh."""
    return "" if symbol.kind == "protocol" else f"{mesh}/{symbol.scope}" if symbol.scope else mesh


def graph_names(workspace: Workspace, file: str) -> Iterator[Found] | None:
    """The names in a graph file, as those of the first mesh that it is of; None for another file."""
    if file.endswith(".m4"):
        return None
    mesh = next(iter(meshes_of_graph(workspace.db, file)), None)
    if mesh is None:
        return None
    return (
        Found(Symbol(s.kind, s.name, _in_mesh(s, mesh)), file, "", start, end, declares)
        for s, places in _named_in_graph(workspace.db, file).items()
        for start, end, declares in places
    )


@query
def _named_in_graph(db: Database, file: str) -> dict[Symbol, tuple[tuple[int, int, bool], ...]]:
    """Where a graph file names each service, version, protocol and label, and whether that declares it; first where it
    does. The scope of a version is its service alone here, and that of a label's value the label, for several meshes
    may share a graph."""
    loaded = project.graph(db, file)
    found: dict[Symbol, list[tuple[int, int, bool]]] = {}

    def add(symbol: Symbol, place: Place, declares: bool) -> None:
        found.setdefault(symbol, []).append((place.start, place.end, declares))

    if loaded is not None:
        for places, declares in ((loaded.services_at, True), (loaded.ends_at, False)):
            for name, place in places:
                add(Symbol("service", name), place, declares)
        for service, version, place in loaded.versions_at:
            add(Symbol("version", version, service), place, True)
        for _, protocol, place in loaded.protocols_at:
            add(Symbol("protocol", protocol), place, False)
        for label, place in loaded.labels_at:
            add(Symbol("label", label), place, True)
        for label, value, place in loaded.values_at:
            add(Symbol("label", value, label), place, True)
    return {symbol: tuple(at) for symbol, at in found.items()}
