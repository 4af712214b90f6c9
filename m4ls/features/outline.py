"""textDocument/documentSymbol and textDocument/foldingRange"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.ide.outline import Entry
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

KINDS = {
    "mesh": types.SymbolKind.Namespace,
    "group": types.SymbolKind.Array,
    "spec": types.SymbolKind.Module,
    "supports": types.SymbolKind.Interface,
    "entity": types.SymbolKind.Class,
    "attribute": types.SymbolKind.Field,
    "operation": types.SymbolKind.Method,
    "enum": types.SymbolKind.Enum,
    "enum value": types.SymbolKind.EnumMember,
    "policy": types.SymbolKind.Function,
    "state": types.SymbolKind.Variable,
    "test": types.SymbolKind.Event,
    "case": types.SymbolKind.Property,
}


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    async def symbols(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.DocumentSymbol]:
            from m4c.ide.outline import outline

            return [_symbol(e, convert) for e in outline(workspace, file)]

        return await server.ask_file(params.text_document.uri, question, [])

    @server.feature(types.TEXT_DOCUMENT_FOLDING_RANGE)
    async def folding(params: types.FoldingRangeParams) -> list[types.FoldingRange]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.FoldingRange]:
            from m4c.ide.outline import folds

            return [
                types.FoldingRange(f.start_line, f.end_line, kind=types.FoldingRangeKind.Comment if f.comment else None)
                for f in folds(workspace, file)
            ]

        return await server.ask_file(params.text_document.uri, question, [])


def _symbol(entry: Entry, convert: Converter) -> types.DocumentSymbol:
    return types.DocumentSymbol(
        name=entry.name,
        kind=KINDS[entry.kind],
        range=convert.range(entry.span),
        selection_range=convert.range(entry.selection),
        detail=entry.detail or None,
        children=[_symbol(e, convert) for e in entry.children] or None,
    )
