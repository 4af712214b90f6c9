"""workspace/executeCommand `m4.preview`: the artifacts of the elements that run a policy, with links back.

Its arguments are the URI of a file and the name of a policy. Templates of specs are run, so it is done in a
trusted workspace only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pygls.exceptions import JsonRpcInvalidParams

from m4ls.convert import Converter
from m4ls.documents import path_of
from m4ls.errors import Failure
from m4ls.features.evaluate import mesh_at

if TYPE_CHECKING:
    from m4c.workspace import Workspace

    from m4ls.server import M4Server


def register(server: M4Server) -> None:
    @server.command("m4.preview")
    async def preview(*given: Any) -> dict[str, Any]:
        uri, policy = _arguments(given)
        await server.trust.require("m4.preview")

        def question(workspace: Workspace, file: str, convert: Converter) -> dict[str, Any]:
            from m4c.ide.preview import NoPreview, preview

            try:
                found = preview(workspace, mesh_at(workspace, file), policy)
            except NoPreview as e:
                raise Failure(str(e)) from None
            artifacts = [
                {
                    "path": a.file.path,
                    "dataplane": a.file.dataplane,
                    "service": a.file.service,
                    "kind": a.file.kind,
                    "text": a.file.text,
                    "parts": [
                        {
                            "start": p.start,
                            "end": p.end,
                            "policy": p.policy,
                            "operation": p.operation,
                            "source": convert.location(p.source),
                        }
                        for p in a.parts
                    ],
                }
                for a in found
            ]
            return {"policy": policy, "artifacts": artifacts}

        return await server.ask_path(uri, question, {}, long=True)


def _arguments(given: tuple[Any, ...]) -> tuple[str, str]:
    match given:
        case (str(uri), str(policy)) if path_of(uri) is not None and policy:
            return uri, policy
    raise JsonRpcInvalidParams("`m4.preview` needs the URI of a file and the name of a policy")
