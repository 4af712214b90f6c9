"""workspace/executeCommand: build, plan, test, status. Nothing of this happens because a file was opened.

The first argument of each is the URI or path of a file or folder. `m4.build` then takes a tier and a policy, `m4.test`
the title of a test.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types

from m4ls.jobs import Target
from m4ls.progress import Progress
from m4ls.telling import optional, say, show

if TYPE_CHECKING:
    from m4c.cli.jobs import BuildResult

    from m4ls.server import M4Server

OUT = Path(".m4")  # beside the mesh: `out` for all artifacts, a folder of its own for those of one tier


def register(server: M4Server) -> None:
    @server.command("m4.build")
    async def build(*given: Any) -> dict[str, Any]:
        tier, policy = (optional(given, i) for i in (1, 2))

        def job(target: Target) -> BuildResult:
            from m4c.cli import jobs

            out = target.folder / OUT / (tier or "out")
            return jobs.build(target.workspace, target.mesh, out, tier, policy)

        await server.trust.require("m4.build")
        async with Progress(server, "Building artifacts"):
            built = await server.jobs.run("m4.build", given, job)
        if tier is not None:
            if not built.files:
                what = f"`{policy}`" if policy else "the mesh"
                say(server, types.MessageType.Info, f"{what} needs nothing of tier {tier}")
            await show(server, built.files)
        return {"folder": str(built.folder), "files": [str(f) for f in built.files]}

    @server.command("m4.plan")
    async def plan(*given: Any) -> dict[str, Any]:
        def job(target: Target) -> dict[str, Any]:
            from m4c.cli import jobs

            text = jobs.plan_text(target.workspace, target.mesh)
            return {"text": text, "plan": jobs.plan_json(target.workspace, target.mesh)}

        return await server.jobs.run("m4.plan", given, job)

    @server.command("m4.test")
    async def test(*given: Any) -> dict[str, Any]:
        title = optional(given, 1)

        def job(target: Target) -> dict[str, Any]:
            from m4c.cli.test import as_json, as_text, run_tests

            ran = [r for r in run_tests(target.workspace, mesh=target.mesh) if title in (None, r.title)]
            text = as_text(target.workspace, ran)
            return {"ok": all(r.passed for r in ran), "text": text, "tests": as_json(target.workspace, ran)}

        return await server.jobs.run("m4.test", given, job)

    @server.command("m4.status")
    async def status(*given: Any) -> dict[str, Any]:
        def job(target: Target) -> dict[str, Any]:
            from m4c.cli import jobs

            result = jobs.status(target.workspace, target.mesh)
            return {"text": "\n".join(filter(None, (result.message, result.text)))}

        return await server.jobs.run("m4.status", given, job)
