"""textDocument/prepareCallHierarchy, callHierarchy/incomingCalls and outgoingCalls: of services"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.ide.hierarchy import Hop, Node
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_PREPARE_CALL_HIERARCHY)
    async def prepare(params: types.CallHierarchyPrepareParams) -> list[types.CallHierarchyItem] | None:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.CallHierarchyItem] | None:
            from m4c.ide.hierarchy import prepare

            found = prepare(workspace, file, convert.lines(file).offset(params.position))
            return [_item(node, convert) for node in found] or None

        return await server.ask_file(params.text_document.uri, question, None)

    @server.feature(types.CALL_HIERARCHY_INCOMING_CALLS)
    async def incoming(params: types.CallHierarchyIncomingCallsParams) -> list[types.CallHierarchyIncomingCall]:
        found = await _hops(server, params.item, "incoming")
        return [types.CallHierarchyIncomingCall(item, ranges) for item, ranges in found]

    @server.feature(types.CALL_HIERARCHY_OUTGOING_CALLS)
    async def outgoing(params: types.CallHierarchyOutgoingCallsParams) -> list[types.CallHierarchyOutgoingCall]:
        found = await _hops(server, params.item, "outgoing")
        return [types.CallHierarchyOutgoingCall(item, ranges) for item, ranges in found]


async def _hops(
    server: M4Server, item: types.CallHierarchyItem, way: Literal["incoming", "outgoing"]
) -> list[tuple[types.CallHierarchyItem, list[types.Range]]]:
    """The other end of each hop of a service, with the policies there."""
    mesh, service = _data(item.data)

    def question(workspace: Workspace) -> list[tuple[types.CallHierarchyItem, list[types.Range]]]:
        from m4c.ide import hierarchy

        convert = server.converter(workspace)
        hops = (hierarchy.incoming if way == "incoming" else hierarchy.outgoing)(workspace, mesh, service)
        return [(_item(h.node, convert), _ranges(h, convert)) for h in hops]

    return await server.ask(question)


def _item(node: Node, convert: Converter) -> types.CallHierarchyItem:
    place = convert.range(node.span)
    uri = convert.uri(node.span.file)
    data = {"mesh": node.mesh, "service": node.service}
    return types.CallHierarchyItem(
        node.service, types.SymbolKind.Object, uri, place, place, detail=node.detail, data=data
    )


def _ranges(hop: Hop, convert: Converter) -> list[types.Range]:
    return [convert.range(span) for span in hop.calls]


def _data(data: Any) -> tuple[str, str]:
    match data:
        case {"mesh": str(mesh), "service": str(service)}:
            return mesh, service
    raise JsonRpcInvalidParams("this is none of the services of this server")
