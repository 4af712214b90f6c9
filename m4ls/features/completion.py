"""textDocument/completion"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import Converter, markdown

if TYPE_CHECKING:
    from m4c.ide.complete import Completion
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

TRIGGERS = [".", "@", '"', ">", ":", "[", "("]
_KINDS = {
    "keyword": types.CompletionItemKind.Keyword,
    "policy": types.CompletionItemKind.Function,
    "service": types.CompletionItemKind.Module,
    "version": types.CompletionItemKind.EnumMember,
    "group": types.CompletionItemKind.Struct,
    "label": types.CompletionItemKind.Property,
    "mesh": types.CompletionItemKind.Module,
    "dataplane": types.CompletionItemKind.Module,
    "entity": types.CompletionItemKind.Class,
    "operation": types.CompletionItemKind.Method,
    "attribute": types.CompletionItemKind.Field,
    "key": types.CompletionItemKind.Value,
    "param": types.CompletionItemKind.Variable,
    "enum value": types.CompletionItemKind.EnumMember,
    "constant": types.CompletionItemKind.Constant,
    "variable": types.CompletionItemKind.Variable,
    "state": types.CompletionItemKind.Variable,
    "operator": types.CompletionItemKind.Operator,
    "type": types.CompletionItemKind.TypeParameter,
    "file": types.CompletionItemKind.File,
}

_SIGNED = ("operation", "attribute", "param")  # their details stand right behind their names, where clients can do that


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=TRIGGERS))
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        def question(workspace: Workspace, file: str, convert: Converter) -> types.CompletionList:
            from m4c.ide.complete import complete

            found = complete(workspace, file, convert.lines(file).offset(params.position))
            items = [_item(c, file, convert, snippets, signatures) for c in found.items]
            return types.CompletionList(found.incomplete, items)

        able = _abilities(server)
        snippets = bool(able and able.snippet_support)
        signatures = bool(able and able.label_details_support)
        return await server.ask_file(params.text_document.uri, question, types.CompletionList(False, []))


def _abilities(server: M4Server) -> types.ClientCompletionItemOptions | None:
    documents = server.client_capabilities.text_document
    return documents.completion.completion_item if documents and documents.completion else None


def _item(c: Completion, file: str, convert: Converter, snippets: bool, signatures: bool) -> types.CompletionItem:
    p = c.proposal
    snippet = p.snippet if snippets else None
    beside = signatures and p.kind in _SIGNED and bool(p.detail)  # not once more above the documentation
    return types.CompletionItem(
        label=p.label,
        label_details=types.CompletionItemLabelDetails(detail=p.detail) if beside else None,
        kind=_KINDS[p.kind],
        detail=None if beside else p.detail or None,
        documentation=markdown(p.doc) if p.doc else None,
        sort_text=f"{c.order:04}",
        filter_text=p.filter if p.filter != p.label else None,
        text_edit=types.TextEdit(convert.lines(file).range(c.start, c.end), snippet if snippet else p.text),
        insert_text_format=types.InsertTextFormat.Snippet if snippet else types.InsertTextFormat.PlainText,
    )
