"""textDocument/documentLink"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_LINK)
    async def links(params: types.DocumentLinkParams) -> list[types.DocumentLink]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.DocumentLink]:
            from m4c.ide.links import links

            found = links(workspace, file)
            return [types.DocumentLink(convert.range(link.span), convert.uri(link.target)) for link in found]

        return await server.ask_file(params.text_document.uri, question, [])
