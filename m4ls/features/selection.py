"""textDocument/selectionRange and textDocument/linkedEditingRange"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_SELECTION_RANGE)
    async def selection(params: types.SelectionRangeParams) -> list[types.SelectionRange] | None:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.SelectionRange]:
            from m4c.ide.selection import selection_ranges

            lines = convert.lines(file)
            out = []
            for position in params.positions:
                ranges = [lines.range(*s) for s in selection_ranges(workspace, file, lines.offset(position))]
                whole = types.SelectionRange(ranges.pop())
                for outer in reversed(ranges):
                    whole = types.SelectionRange(outer, parent=whole)
                out.append(whole)
            return out

        return await server.ask_file(params.text_document.uri, question, None)

    @server.feature(types.TEXT_DOCUMENT_LINKED_EDITING_RANGE)
    async def linked(params: types.LinkedEditingRangeParams) -> types.LinkedEditingRanges | None:
        def question(workspace: Workspace, file: str, convert: Converter) -> types.LinkedEditingRanges | None:
            from m4c.ide.selection import linked

            lines = convert.lines(file)
            found = linked(workspace, file, lines.offset(params.position))
            return types.LinkedEditingRanges([lines.range(f.start, f.end) for f in found], r"\w+") if found else None

        return await server.ask_file(params.text_document.uri, question, None)
