"""textDocument/hover"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter, markdown

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_HOVER)
    async def hover(params: types.HoverParams) -> types.Hover | None:
        def question(workspace: Workspace, file: str, convert: Converter) -> types.Hover | None:
            from m4c.ide.hover import hover

            lines = convert.lines(file)
            found = hover(workspace, file, lines.offset(params.position))
            return types.Hover(markdown(found.text), lines.range(found.start, found.end)) if found else None

        return await server.ask_file(params.text_document.uri, question, None)
