"""textDocument/completion and completionItem/resolve"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from m4ls.convert import Converter, markdown

if TYPE_CHECKING:
    from m4c.ide.complete import Completion, Completions
    from m4c.ide.scene import Proposal
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


KEPT = 8  # answers: an editor may still show an older one while it asks anew, and while a second window asks


class _Sent:
    """The proposals of the last answers; what was left out of them is told when one of them is looked at."""

    def __init__(self) -> None:
        self.number = 0
        self.answers: deque[tuple[int, str, list[Proposal]]] = deque(maxlen=KEPT)

    def keep(self, file: str, found: Completions) -> None:
        self.number += 1
        self.answers.append((self.number, file, [c.proposal for c in found.items]))

    def find(self, data: Any) -> tuple[str, Proposal] | None:
        """The file that a proposal was made for, and the proposal."""
        match data:
            case [int(number), int(index)]:
                for kept, file, proposals in self.answers:
                    if kept == number and 0 <= index < len(proposals):
                        return file, proposals[index]
        return None


def register(server: M4Server) -> None:
    sent = _Sent()
    offered = types.CompletionOptions(trigger_characters=TRIGGERS, resolve_provider=True)

    @server.feature(types.TEXT_DOCUMENT_COMPLETION, offered)
    async def completion(params: types.CompletionParams) -> types.CompletionList:
        def question(workspace: Workspace, file: str, convert: Converter) -> types.CompletionList:
            from m4c.ide.complete import complete

            found = complete(workspace, file, convert.lines(file).offset(params.position))
            sent.keep(file, found)
            items = [_item(c, file, convert, able) for c in found.items]
            for index, (item, c) in enumerate(zip(items, found.items, strict=True)):
                item.data = [sent.number, index]
                _add(item, c.proposal, file, convert, able, later=False)
            return types.CompletionList(found.incomplete, items)

        able = _Able.of(server)
        return await server.ask_file(params.text_document.uri, question, types.CompletionList(False, []))

    @server.feature(types.COMPLETION_ITEM_RESOLVE)
    async def resolve(item: types.CompletionItem) -> types.CompletionItem:
        def question(workspace: Workspace) -> types.CompletionItem:
            if (found := sent.find(item.data)) is not None:
                file, proposal = found
                _add(item, proposal, file, server.converter(workspace), _Able.of(server), later=True)
            return item

        return await server.ask(question)


@dataclass(frozen=True, slots=True)
class _Able:
    """What the client can do with proposals. `later`: what it asks for when one of them is looked at."""

    snippets: bool = False
    signatures: bool = False
    strikes: bool = False  # what is deprecated through
    later: frozenset[str] = frozenset()

    @classmethod
    def of(cls, server: M4Server) -> _Able:
        documents = server.client_capabilities.text_document
        item = documents.completion.completion_item if documents and documents.completion else None
        if item is None:
            return cls()
        later = item.resolve_support.properties if item.resolve_support else ()
        tags = item.tag_support.value_set if item.tag_support else ()
        strikes = types.CompletionItemTag.Deprecated in tags
        return cls(bool(item.snippet_support), bool(item.label_details_support), strikes, frozenset(later))


def _add(
    item: types.CompletionItem, proposal: Proposal, file: str, convert: Converter, able: _Able, later: bool
) -> None:
    """Adds what is asked for now, or what is asked for later."""
    if proposal.doc and ("documentation" in able.later) is later:
        item.documentation = markdown(proposal.doc)
    if proposal.imports and ("additionalTextEdits" in able.later) is later:
        from m4c.ide.unimported import import_edit

        edit = import_edit(convert.workspace, file, proposal.imports)
        item.additional_text_edits = [types.TextEdit(convert.range(edit.span), edit.text)]


def _item(c: Completion, file: str, convert: Converter, able: _Able) -> types.CompletionItem:
    p = c.proposal
    snippet = p.snippet if able.snippets else None
    beside = able.signatures and p.kind in _SIGNED and bool(p.detail)  # not once more above the documentation
    return types.CompletionItem(
        label=p.label,
        label_details=types.CompletionItemLabelDetails(detail=p.detail) if beside else None,
        kind=_KINDS[p.kind],
        tags=[types.CompletionItemTag.Deprecated] if able.strikes and p.deprecated else None,
        detail=None if beside else p.detail or None,
        sort_text=f"{c.order:04}",
        filter_text=p.filter if p.filter != p.label else None,
        text_edit=types.TextEdit(convert.lines(file).range(c.start, c.end), snippet if snippet else p.text),
        insert_text_format=types.InsertTextFormat.Snippet if snippet else types.InsertTextFormat.PlainText,
    )
