"""workspace/executeCommand `m4.evaluate`: what a request gets, with a note for each policy that it meets.

Its arguments are the URI of a file, the name of a policy, and a request as a test writes it. Without the request it is
the one that was last evaluated for that policy, else one that the server proposes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcInvalidParams

from m4ls.convert import Converter
from m4ls.documents import path_of
from m4ls.errors import Failure

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    remembered: dict[tuple[str, str], str] = {}  # by mesh and policy

    @server.command("m4.evaluate")
    async def evaluate(*given: Any) -> dict[str, Any]:
        uri, policy, request = _arguments(given)

        def question(workspace: Workspace, file: str, convert: Converter) -> dict[str, Any]:
            from m4c.ide.evaluate import CannotEvaluate, evaluate, proposal

            mesh = mesh_at(workspace, file)
            asked = request or remembered.get((mesh, policy))
            try:
                found = evaluate(workspace, mesh, asked or proposal(workspace, mesh, policy))
            except CannotEvaluate as e:
                raise Failure(str(e)) from None
            remembered[mesh, policy] = found.request
            notes = [
                {
                    "policy": n.policy,
                    "uri": convert.uri(n.span.file),
                    "range": convert.range(n.span),
                    "text": n.text,
                    "fired": n.fired,
                }
                for n in found.notes
            ]
            return {"policy": policy, **found.plain(), "notes": notes, "text": found.text}

        return await server.ask_path(uri, question, {}, long=True)


def mesh_at(workspace: Workspace, file: str) -> str:
    """The mesh of a file; of a folder, and of a file that is in none, the only one."""
    from m4c.project import mesh_of_file

    known = workspace.meshes()
    mesh = mesh_of_file(workspace.db, file)[0] or (known[0] if len(known) == 1 else None)
    if mesh is None:
        raise Failure("the file belongs to no mesh")
    return mesh


def _arguments(given: tuple[Any, ...]) -> tuple[str, str, str | None]:
    match given:
        case (str(uri), *rest) if path_of(uri) is not None and len(rest) <= 2:
            policy, request = (*rest, None, None)[:2]
            if (policy or request) and all(part is None or isinstance(part, str) for part in (policy, request)):
                return uri, policy or "", request or None
    raise JsonRpcInvalidParams("`m4.evaluate` needs the URI of a file, and the name of a policy or a request")
