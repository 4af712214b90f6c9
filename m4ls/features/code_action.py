"""textDocument/codeAction and codeAction/resolve"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from m4ls.convert import Converter, diagnostic
from m4ls.errors import ContentModified

if TYPE_CHECKING:
    from m4c.ide.actions import Action
    from m4c.ide.edits import TextEdit
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

EMIT = "source.emitArtifacts"
FIX_ALL = f"{types.CodeActionKind.SourceFixAll.value}.m4"
_REFACTOR = [types.CodeActionKind.RefactorExtract, types.CodeActionKind.RefactorRewrite]
_KINDS = [types.CodeActionKind.QuickFix, *_REFACTOR, types.CodeActionKind.Source, FIX_ALL]
OFFERED = types.CodeActionOptions(_KINDS, resolve_provider=True)


class _Last:
    """The actions that were sent last and are worked out when one is chosen, with the texts that they are about."""

    def __init__(self) -> None:
        self.number = 0
        self.versions: dict[str, int | None] = {}
        self.actions: list[Action] = []

    def keep(self, versions: dict[str, int | None], actions: list[Action]) -> None:
        self.number += 1
        self.versions, self.actions = versions, actions

    def find(self, data: Any) -> Action | None:
        match data:
            case [int(number), int(index)] if number == self.number and 0 <= index < len(self.actions):
                return self.actions[index]
        return None


def register(server: M4Server) -> None:
    last = _Last()

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, OFFERED)
    async def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        only = params.context.only
        versions, resolved = server.documents.versions(), _resolves(server)

        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.CodeAction]:
            from m4c.ide.actions import actions, fix_all_action

            fixed = []
            if only and _asks(only, FIX_ALL):  # not at every move of the cursor: it checks the workspace several times
                everything = fix_all_action(workspace, file)
                fixed = [_action(everything, convert, True)] if everything is not None else []
            lines = convert.lines(file)
            start, end = lines.offset(params.range.start), lines.offset(params.range.end)
            found = actions(workspace, file, start, end, quick=True)
            last.keep(versions, [a for a in found if a.later is not None])
            made = []
            for a in found:
                if a.command is None or not server.trust.refused:
                    made.append(_action(a, convert, bool(only)))
                if a.later is not None and resolved:
                    made[-1].data = [last.number, last.actions.index(a)]
                elif a.later is not None:
                    made[-1].edit = _edit(a.later(), convert)
            return fixed + [a for a in made if only is None or _wanted(a, only)]

        return await server.ask_file(params.text_document.uri, question, [], long=True)

    @server.feature(types.CODE_ACTION_RESOLVE)
    async def resolve(action: types.CodeAction) -> types.CodeAction:
        found = last.find(action.data)
        if found is None or found.later is None:
            return action
        if last.versions != server.documents.versions():
            raise ContentModified("the text has changed")
        later = found.later

        def question(workspace: Workspace) -> types.WorkspaceEdit:
            return _edit(later(), server.converter(workspace))

        action.edit = await server.ask(question, long=True)
        return action


def _resolves(server: M4Server) -> bool:
    """Whether the client asks for the edit of an action when it is chosen."""
    documents = server.client_capabilities.text_document
    able = documents.code_action if documents else None
    return bool(able and able.data_support and able.resolve_support and "edit" in able.resolve_support.properties)


def _wanted(action: types.CodeAction, only: Sequence[types.CodeActionKind | str]) -> bool:
    return _asks(only, _text(action.kind) if action.kind else "")


def _asks(only: Sequence[types.CodeActionKind | str], kind: str) -> bool:
    """Whether one of the kinds that are asked for is this one or above it."""
    return any(not o or kind == o or kind.startswith(f"{o}.") for o in map(_text, only))


def _text(kind: types.CodeActionKind | str) -> str:
    return kind.value if isinstance(kind, types.CodeActionKind) else kind


def _action(action: Action, convert: Converter, asked: bool) -> types.CodeAction:
    if action.command is not None:
        arguments: list[Any] = [convert.uri(action.command.file), *action.command.arguments]
        command = types.Command(action.title, action.command.name, arguments=arguments)
        # VS Code hides `source` actions in the menu at the cursor, where these belong too; there they have no kind.
        return types.CodeAction(action.title, EMIT if asked else None, command=command)
    return types.CodeAction(
        action.title,
        FIX_ALL if action.kind == "source.fixAll" else types.CodeActionKind(action.kind),
        diagnostics=[diagnostic(action.fixes, convert)] if action.fixes else None,
        edit=_edit(action.edits, convert) if action.later is None else None,
        is_preferred=action.preferred or None,
    )


def _edit(edits: Iterable[TextEdit], convert: Converter) -> types.WorkspaceEdit:
    changes: dict[str, list[types.TextEdit]] = {}
    for edit in edits:
        at = convert.uri(edit.span.file)
        changes.setdefault(at, []).append(types.TextEdit(convert.range(edit.span), edit.text))
    return types.WorkspaceEdit(changes=changes)
