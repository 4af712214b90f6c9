"""workspace/executeCommand `m4.map`: the meshes of the workspace, as trees and maps show them.

Its argument is the URI of a file, for its mesh alone; without one it is about all meshes. It makes no plan: what is not
known yet is left out, and `$/m4/planned` tells when more is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcInvalidParams

from m4ls.documents import path_of

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.command("m4.map")
    async def map_(*given: Any) -> dict[str, Any]:
        uri = given[0] if given else None
        path = path_of(uri) if isinstance(uri, str) else None
        if uri is not None and path is None:
            raise JsonRpcInvalidParams("`m4.map` takes the URI of a file, or nothing")

        def question(workspace: Workspace) -> dict[str, Any]:
            from m4c.ide.map import map_of, plain
            from m4c.project import mesh_of_file

            convert, known = server.converter(workspace), server.survey.known
            mesh = mesh_of_file(workspace.db, path)[0] if path is not None else None
            meshes = workspace.meshes() if mesh is None else (mesh,)
            found = [plain(map_of(workspace, m, known.get(m)), convert.location) for m in meshes]
            for each in found:
                each["graph"] = convert.uri(each["graph"]) if each["graph"] else None
                for test in each["tests"]:
                    test["file"] = convert.uri(test["file"])
            return {"meshes": found}

        return await server.ask(question, long=True)
