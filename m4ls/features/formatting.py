"""textDocument/formatting, rangeFormatting and onTypeFormatting"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.ide.edits import TextEdit
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

Edits = Callable[["Workspace", str, Converter], "tuple[TextEdit, ...]"]


def register(server: M4Server) -> None:
    async def edits(uri: str, find: Edits) -> list[types.TextEdit]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.TextEdit]:
            return [types.TextEdit(convert.range(e.span), e.text) for e in find(workspace, file, convert)]

        return await server.ask_file(uri, question, [], long=True)

    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    async def document(params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        def find(workspace: Workspace, file: str, convert: Converter) -> tuple[TextEdit, ...]:
            from m4c.ide.format import format_edits

            return format_edits(workspace, file)

        return await edits(params.text_document.uri, find)

    @server.feature(types.TEXT_DOCUMENT_RANGE_FORMATTING)
    async def some_lines(params: types.DocumentRangeFormattingParams) -> list[types.TextEdit]:
        def find(workspace: Workspace, file: str, convert: Converter) -> tuple[TextEdit, ...]:
            from m4c.ide.format import format_range

            lines = convert.lines(file)
            return format_range(workspace, file, lines.offset(params.range.start), lines.offset(params.range.end))

        return await edits(params.text_document.uri, find)

    typed = types.DocumentOnTypeFormattingOptions(first_trigger_character="}", more_trigger_character=[";"])

    @server.feature(types.TEXT_DOCUMENT_ON_TYPE_FORMATTING, typed)
    async def on_type(params: types.DocumentOnTypeFormattingParams) -> list[types.TextEdit]:
        def find(workspace: Workspace, file: str, convert: Converter) -> tuple[TextEdit, ...]:
            from m4c.ide.format import format_on_type

            return format_on_type(workspace, file, convert.lines(file).offset(params.position), params.ch)

        return await edits(params.text_document.uri, find)
