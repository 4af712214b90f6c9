"""textDocument/inlayHint"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.ide.inlay import Hint
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_INLAY_HINT)
    async def inlay_hint(params: types.InlayHintParams) -> list[types.InlayHint]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.InlayHint]:
            from m4c.ide.inlay import hints

            lines = convert.lines(file)
            start, end = lines.offset(params.range.start), lines.offset(params.range.end)
            found = hints(workspace, server.survey.known, file, start, end)
            return [_hint(h, file, convert) for h in found]

        return await server.ask_file(params.text_document.uri, question, [])


def _hint(hint: Hint, file: str, convert: Converter) -> types.InlayHint:
    parameter = hint.kind == "parameter"
    return types.InlayHint(
        position=convert.lines(file).position(hint.offset),
        label=hint.text,
        kind=types.InlayHintKind.Parameter if parameter else None,
        tooltip=hint.about or None,
        padding_left=not parameter or None,
        padding_right=parameter or None,
    )
