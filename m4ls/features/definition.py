"""textDocument/definition and textDocument/references"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    async def definition(params: types.DefinitionParams) -> list[types.Location]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.Location]:
            from m4c.ide.definition import definition

            spans = definition(workspace, file, convert.lines(file).offset(params.position))
            return [convert.location(s) for s in spans]

        return await server.ask_file(params.text_document.uri, question, [])

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    async def references(params: types.ReferenceParams) -> list[types.Location]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.Location]:
            from m4c.ide.definition import references

            offset = convert.lines(file).offset(params.position)
            spans = references(workspace, file, offset, params.context.include_declaration)
            return [convert.location(s) for s in spans]

        return await server.ask_file(params.text_document.uri, question, [])
