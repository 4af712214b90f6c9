"""textDocument/documentHighlight"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

_READ, _WRITE = types.DocumentHighlightKind.Read, types.DocumentHighlightKind.Write


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    async def highlight(params: types.DocumentHighlightParams) -> list[types.DocumentHighlight]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.DocumentHighlight]:
            from m4c.ide.definition import highlights

            lines = convert.lines(file)
            found = highlights(workspace, file, lines.offset(params.position))
            kinds = [_WRITE if f.declares else _READ for f in found]
            places = [lines.range(f.start, f.end) for f in found]
            return [types.DocumentHighlight(place, kind) for place, kind in zip(places, kinds, strict=True)]

        return await server.ask_file(params.text_document.uri, question, [])
