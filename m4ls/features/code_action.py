"""textDocument/codeAction"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from m4ls.convert import Converter, diagnostic

if TYPE_CHECKING:
    from m4c.ide.actions import Action
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

EMIT = "source.emitArtifacts"
FIX_ALL = f"{types.CodeActionKind.SourceFixAll.value}.m4"
_KINDS = [types.CodeActionKind.QuickFix, types.CodeActionKind.Source, FIX_ALL]
_OFFERED = types.CodeActionOptions(_KINDS)


def register(server: M4Server) -> None:
    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, _OFFERED)
    async def code_action(params: types.CodeActionParams) -> list[types.CodeAction]:
        only = params.context.only

        def question(workspace: Workspace, file: str, convert: Converter) -> list[types.CodeAction]:
            from m4c.ide.actions import actions, fix_all_action

            fixed = []
            if only and _asks(only, FIX_ALL):  # not at every move of the cursor: it checks the workspace several times
                everything = fix_all_action(workspace, file)
                fixed = [_action(everything, convert, True)] if everything is not None else []
            lines = convert.lines(file)
            start, end = lines.offset(params.range.start), lines.offset(params.range.end)
            found = (_action(a, convert, bool(only)) for a in actions(workspace, file, start, end, quick=True))
            allowed = (a for a in found if a.command is None or not server.trust.refused)
            return fixed + [a for a in allowed if only is None or _wanted(a, only)]

        return await server.ask_file(params.text_document.uri, question, [], long=True)


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
    changes: dict[str, list[types.TextEdit]] = {}
    for edit in action.edits:
        at = convert.uri(edit.span.file)
        changes.setdefault(at, []).append(types.TextEdit(convert.range(edit.span), edit.text))
    return types.CodeAction(
        action.title,
        FIX_ALL if action.kind == "source.fixAll" else types.CodeActionKind.QuickFix,
        diagnostics=[diagnostic(action.fixes, convert)] if action.fixes else None,
        edit=types.WorkspaceEdit(changes=changes),
        is_preferred=action.preferred or None,
    )
