"""workspace/symbol and workspaceSymbol/resolve"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.documents import path_of
from m4ls.features.outline import KINDS

if TYPE_CHECKING:
    from m4c.ide.workspace_symbols import Named
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

_KINDS = {**KINDS, "service": types.SymbolKind.Object}


def register(server: M4Server) -> None:
    @server.feature(types.WORKSPACE_SYMBOL)
    async def search(params: types.WorkspaceSymbolParams) -> list[types.WorkspaceSymbol]:
        lazy = _resolves(server)

        def question(workspace: Workspace) -> list[types.WorkspaceSymbol]:
            from m4c.ide.workspace_symbols import search

            return [_symbol(server, workspace, named, lazy) for named in search(workspace, params.query)]

        return await server.ask(question)

    @server.feature(types.WORKSPACE_SYMBOL_RESOLVE)
    async def resolve(params: types.WorkspaceSymbol) -> types.WorkspaceSymbol:
        file, data = path_of(params.location.uri), params.data
        if file is None or not isinstance(data, list) or len(data) != 3:
            return params
        key, start, end = data

        def question(workspace: Workspace) -> types.WorkspaceSymbol:
            from m4c.ide.workspace_symbols import Named

            params.location = _location(server, workspace, Named("", "", "", file, key, start, end))
            return params

        return await server.ask(question)


def _resolves(server: M4Server) -> bool:
    """Whether the client asks for the place of a symbol by itself."""
    workspace = server.client_capabilities.workspace
    able = workspace.symbol.resolve_support if workspace and workspace.symbol else None
    return able is not None and "location.range" in able.properties


def _symbol(server: M4Server, workspace: Workspace, named: Named, lazy: bool) -> types.WorkspaceSymbol:
    location: types.Location | types.LocationUriOnly = types.LocationUriOnly(server.documents.uri(named.file))
    if not lazy:
        location = _location(server, workspace, named)
    data = [named.key, named.start, named.end] if lazy else None
    return types.WorkspaceSymbol(location, named.name, _KINDS[named.kind], data, container_name=named.inside or None)


def _location(server: M4Server, workspace: Workspace, named: Named) -> types.Location:
    from m4c.ide.workspace_symbols import place

    convert = server.converter(workspace)
    return convert.location(place(workspace, named) or workspace.at(named.file, 0, 0))
