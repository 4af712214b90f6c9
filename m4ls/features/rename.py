"""textDocument/prepareRename and textDocument/rename"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter, workspace_edit
from m4ls.errors import Failure

if TYPE_CHECKING:
    from m4c.ide.rename import Renaming
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

_LABELS = {
    "declaration": "where it is declared",
    "use": "where it is named",
    "graph": "in the service graph",
    "unread": "in text with errors",
}
MOST = 5  # places that a message names


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    async def prepare(params: types.PrepareRenameParams) -> types.PrepareRenamePlaceholder | None:
        def question(workspace: Workspace, file: str, convert: Converter) -> types.PrepareRenamePlaceholder:
            from m4c.ide.rename import Refused, offered, prepare_rename

            lines = convert.lines(file)
            try:
                found = prepare_rename(workspace, file, lines.offset(params.position))
            except Refused as refused:
                raise Failure(str(refused)) from None
            return types.PrepareRenamePlaceholder(lines.range(found.start, found.end), offered(found.symbol))

        return await server.ask_file(params.text_document.uri, question, None)

    @server.feature(types.TEXT_DOCUMENT_RENAME)
    async def rename(params: types.RenameParams) -> types.WorkspaceEdit | None:
        versions = server.documents.versions()
        annotated = _annotates(server)

        def question(
            workspace: Workspace, file: str, convert: Converter
        ) -> tuple[types.WorkspaceEdit | None, list[str]]:
            from m4c.ide.rename import Refused, rename

            try:
                found = rename(workspace, file, convert.lines(file).offset(params.position), params.new_name)
            except Refused as refused:
                raise Failure(str(refused)) from None
            if annotated:
                return _annotated(found, convert, versions), list(found.templates)
            unread = [e for part, e in found.edits if part == "unread"]
            left = [f"{e.span.file.rpartition('/')[2]}:{e.span.start_line + 1}" for e in unread]
            sure = [e for part, e in found.edits if part != "unread"]
            return workspace_edit(server, sure, convert, versions), [*left, *found.templates]

        nothing: tuple[types.WorkspaceEdit | None, list[str]] = (None, [])
        edit, left = await server.ask_file(params.text_document.uri, question, nothing, long=True)
        if left:
            more = f" and {len(left) - MOST} more places" if len(left) > MOST else ""
            message = f"M4: rename leaves this for you to look at: {', '.join(left[:MOST])}{more}"
            server.window_show_message(types.ShowMessageParams(types.MessageType.Warning, message))
        return edit


def _annotates(server: M4Server) -> bool:
    """Whether the client shows people what edits are about, and asks them about those that need it."""
    able, documents = server.client_capabilities.workspace, server.client_capabilities.text_document
    edits = able.workspace_edit if able else None
    honours = documents.rename.honors_change_annotations if documents and documents.rename else False
    return bool(edits and edits.document_changes and edits.change_annotation_support and honours)


def _annotated(found: Renaming, convert: Converter, versions: dict[str, int | None]) -> types.WorkspaceEdit:
    by_file: dict[str, list[types.AnnotatedTextEdit]] = {}
    for part, edit in found.edits:
        at = convert.range(edit.span)
        by_file.setdefault(edit.span.file, []).append(types.AnnotatedTextEdit(part, at, edit.text))
    annotations: dict[str, types.ChangeAnnotation] = {
        part: types.ChangeAnnotation(f"`{found.old}` {_LABELS[part]}", needs_confirmation=part == "unread")
        for part in dict.fromkeys(part for part, _ in found.edits)
    }
    return types.WorkspaceEdit(
        document_changes=[
            types.TextDocumentEdit(
                types.OptionalVersionedTextDocumentIdentifier(convert.uri(file), versions.get(file)), list(edits)
            )
            for file, edits in by_file.items()
        ],
        change_annotations=annotations,
    )
