"""textDocument/signatureHelp"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter, markdown

if TYPE_CHECKING:
    from m4c.ide.signature import Signature
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

_OFFERED = types.SignatureHelpOptions(trigger_characters=["("], retrigger_characters=[",", ":"])


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_SIGNATURE_HELP, _OFFERED)
    async def signature_help(params: types.SignatureHelpParams) -> types.SignatureHelp | None:
        offsets = _takes_offsets(server)

        def question(workspace: Workspace, file: str, convert: Converter) -> types.SignatureHelp | None:
            from m4c.ide.signature import signature

            found = signature(workspace, file, convert.lines(file).offset(params.position))
            return types.SignatureHelp([_signature(found, offsets)], 0, _active(found)) if found else None

        return await server.ask_file(params.text_document.uri, question, None)


def _takes_offsets(server: M4Server) -> bool:
    documents = server.client_capabilities.text_document
    help_ = documents.signature_help if documents else None
    of = help_.signature_information if help_ else None
    return bool(of and of.parameter_information and of.parameter_information.label_offset_support)


def _active(found: Signature) -> int:
    """One behind the last parameter if none is due: clients then show none."""
    return found.active if found.active is not None else len(found.parameters)


def _signature(found: Signature, offsets: bool) -> types.SignatureInformation:
    def units(offset: int) -> int:  # these are always counted in UTF-16
        return len(found.label[:offset].encode("utf-16-le")) // 2

    labels = ((units(a), units(b)) if offsets else found.label[a:b] for a, b in found.parameters)
    return types.SignatureInformation(
        label=found.label,
        documentation=markdown(found.doc) if found.doc else None,
        parameters=[types.ParameterInformation(label) for label in labels],
    )
