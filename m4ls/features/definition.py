"""textDocument/definition, declaration, typeDefinition, implementation and references"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.workspace import Span, Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    async def spans(
        document: types.TextDocumentIdentifier,
        position: types.Position,
        find: Callable[[Workspace, str, int], tuple[Span, ...]],
    ) -> list[types.Location]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.Location]:
            found = find(workspace, file, convert.lines(file).offset(position))
            return [convert.location(s) for s in found]

        return await server.ask_file(document.uri, question, [])

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    async def definition(params: types.DefinitionParams) -> list[types.Location]:
        return await spans(params.text_document, params.position, _definition)

    @server.feature(types.TEXT_DOCUMENT_DECLARATION)
    async def declaration(params: types.DeclarationParams) -> list[types.Location]:
        return await spans(params.text_document, params.position, _definition)

    @server.feature(types.TEXT_DOCUMENT_TYPE_DEFINITION)
    async def type_definition(params: types.TypeDefinitionParams) -> list[types.Location]:
        return await spans(params.text_document, params.position, _type_definition)

    @server.feature(types.TEXT_DOCUMENT_IMPLEMENTATION)
    async def implementation(params: types.ImplementationParams) -> list[types.Location]:
        return await spans(params.text_document, params.position, _implementation)

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    async def references(params: types.ReferenceParams) -> list[types.Location]:
        def find(workspace: Workspace, file: str, offset: int) -> tuple[Span, ...]:
            from m4c.ide.definition import references

            return references(workspace, file, offset, params.context.include_declaration)

        return await spans(params.text_document, params.position, find)


# The compiler core is imported when it is asked for the first time.


def _definition(workspace: Workspace, file: str, offset: int) -> tuple[Span, ...]:
    from m4c.ide.definition import definition

    return definition(workspace, file, offset)


def _type_definition(workspace: Workspace, file: str, offset: int) -> tuple[Span, ...]:
    from m4c.ide.definition import type_definition

    return type_definition(workspace, file, offset)


def _implementation(workspace: Workspace, file: str, offset: int) -> tuple[Span, ...]:
    from m4c.ide.definition import implementation

    return implementation(workspace, file, offset)
