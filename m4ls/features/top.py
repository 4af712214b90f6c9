"""workspace/executeCommand `m4.top`: what the elements of a deployed mesh have done, for maps that show it live.

It takes the URI of a file or folder, and a mesh; without one it is the mesh of the file. The answer has the counts
since the elements started, and rates since an earlier look of half a second or more; or says in words that nothing is
deployed, or that what is deployed does not answer: then it has no counts. A client asks again for as long as somebody
looks at them, and when `$/m4/deployed` tells that the server has deployed or stopped something. A question that comes
while another one on the same deployment waits gets the same answer. In a workspace that is not trusted nobody is asked.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams

from m4ls.documents import path_of
from m4ls.jobs import CommandFailed, for_people, paths_for
from m4ls.telling import optional

if TYPE_CHECKING:
    from m4c.cli.jobs import Watch
    from m4c.workspace import Workspace

    from m4ls.server import M4Server

DEPLOYED = "$/m4/deployed"  # a notification that clients may ignore: look again whether something is deployed
UNTRUSTED = "the workspace is not trusted"


@dataclass(slots=True)
class _Watches:
    """The deployments that were asked about, each with the question that waits for its answer."""

    known: dict[Path, Watch] = field(default_factory=dict)
    asked: dict[Path, asyncio.Task[dict[str, Any]]] = field(default_factory=dict)

    async def look(self, paths: list[Path], mesh: str) -> dict[str, Any]:
        from m4c.cli import jobs

        state = jobs.state_of(paths, mesh)
        if state not in self.known:
            self.known[state] = jobs.provided().watch(state)
        if state not in self.asked:
            self.asked[state] = asyncio.create_task(asyncio.to_thread(self.known[state].look))
            self.asked[state].add_done_callback(lambda _: self.asked.pop(state))
        return await asyncio.shield(self.asked[state])  # who cancels a question leaves the others theirs


def register(server: M4Server) -> None:
    watches = _Watches()

    @server.command("m4.top")
    async def top(*given: Any) -> dict[str, Any]:
        path = path_of(given[0]) if given and isinstance(given[0], str) else None
        if path is None:
            raise JsonRpcInvalidParams("`m4.top` needs the URI or the path of a file or folder")
        mesh = optional(given, 1)
        if not server.trust.given:
            return {"deployed": False, "message": UNTRUSTED, "mesh": mesh}
        if mesh is None:
            mesh = await server.ask(lambda workspace: _mesh(workspace, path))
        try:
            return {"mesh": mesh, **await watches.look(paths_for(path, server.roots()), mesh)}
        except JsonRpcException:
            raise
        except Exception as error:
            raise for_people("m4.top", error) from None


def _mesh(workspace: Workspace, path: str) -> str:
    from m4c.project import mesh_of_file

    found = mesh_of_file(workspace.db, path)[0]
    if found is not None:
        return found
    meshes = workspace.meshes()
    if len(meshes) != 1:
        raise CommandFailed(f"{path} belongs to no mesh; name one")
    return meshes[0]
