"""textDocument/codeLens and codeLens/resolve"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_CODE_LENS, types.CodeLensOptions(resolve_provider=True))
    async def code_lens(params: types.CodeLensParams) -> list[types.CodeLens]:
        uri = params.text_document.uri

        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.CodeLens]:
            from m4c.ide.lens import lenses

            return [
                types.CodeLens(convert.range(e.span), data={"uri": uri, "kind": e.kind, "key": e.key, "name": e.name})
                for e in lenses(workspace, file)
            ]

        return await server.ask_file(uri, question, [])

    @server.feature(types.CODE_LENS_RESOLVE)
    async def resolve(lens: types.CodeLens) -> types.CodeLens:
        uri, kind, key, name = _data(lens.data)

        def question(workspace: Workspace, file: str, convert: Converter) -> types.Command:
            from m4c.ide.lens import COMMANDS, lens_title

            arguments = [uri] if kind == "facts" else [uri, name]
            return types.Command(
                lens_title(workspace, server.survey.known, kind, file, key), COMMANDS[kind], arguments=arguments
            )

        lens.command = await server.ask_file(uri, question, None)
        return lens


def _data(data: Any) -> tuple[str, Any, str, str]:
    from m4c.ide.lens import COMMANDS

    match data:
        case {"uri": str(uri), "kind": str(kind), "key": str(key), "name": str(name)} if kind in COMMANDS:
            return uri, kind, key, name
    raise JsonRpcInvalidParams("this is none of the lenses of this server")
