"""workspace/willRenameFiles and workspace/didRenameFiles"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.convert import workspace_edit
from m4ls.documents import path_of

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

_FILES = types.FileOperationPattern("**/*.{m4,yaml,yml,json,j2}", types.FileOperationPatternKind.File)
_FOLDERS = types.FileOperationPattern("**", types.FileOperationPatternKind.Folder)
_MOVES = types.FileOperationRegistrationOptions(
    [types.FileOperationFilter(_FILES, "file"), types.FileOperationFilter(_FOLDERS, "file")]
)


def register(server: M4Server) -> None:
    @server.feature(types.WORKSPACE_WILL_RENAME_FILES, _MOVES)
    async def will_rename(params: types.RenameFilesParams) -> types.WorkspaceEdit | None:
        versions = server.documents.versions()
        ends = ((path_of(f.old_uri), path_of(f.new_uri)) for f in params.files)
        moves = {old: new for old, new in ends if old is not None and new is not None}

        def question(workspace: Workspace) -> types.WorkspaceEdit | None:
            from m4c.ide.moving import moving

            edits = moving(workspace, moves)
            return workspace_edit(server, edits, server.converter(workspace), versions) if edits else None

        return await server.ask(question, long=True)

    @server.feature(types.WORKSPACE_DID_RENAME_FILES, _MOVES)
    def did_rename(params: types.RenameFilesParams) -> None:
        server.analyst.refresh()
        server.checker.changed()
