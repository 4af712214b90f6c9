"""Go to definition and find references."""

from __future__ import annotations

from m4c import project
from m4c.ide.symbols import Found, declarations, everywhere, symbol_at
from m4c.semantics.model import Place
from m4c.workspace import Span, Workspace


def definition(workspace: Workspace, file: str, offset: int) -> tuple[Span, ...]:
    """Where the name at an offset is declared; for a path, the start of the file that it names."""
    found = symbol_at(workspace, file, offset)
    if found is None:
        return ()
    if found.symbol.kind in ("import", "graph"):
        target = _file_named(workspace, found)
        return (workspace.span(Place(target, "", 0, 0)),) if target is not None else ()
    return tuple(_span(workspace, f) for f in declarations(workspace, found.symbol))


def references(workspace: Workspace, file: str, offset: int, declarations: bool = True) -> tuple[Span, ...]:
    """Every place where what is named at an offset is named."""
    found = symbol_at(workspace, file, offset)
    if found is None or found.symbol.kind in ("import", "graph"):
        return ()
    return tuple(_span(workspace, f) for f in everywhere(workspace, found.symbol) if declarations or not f.declares)


def _span(workspace: Workspace, found: Found) -> Span:
    return workspace.span(Place(found.file, "", found.start, found.end))


def _file_named(workspace: Workspace, found: Found) -> str | None:
    db = workspace.db
    if found.symbol.kind == "graph":
        candidates: tuple[str, ...] = (project.resolve_path(found.file, found.symbol.name),)
    else:
        candidates = project.import_candidates(db, found.file, found.symbol.name)
    return next((c for c in candidates if db.input_or("text", c, default=None) is not None), None)
