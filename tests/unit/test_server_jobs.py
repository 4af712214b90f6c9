"""Jobs of the language server: each sees the workspace as it is, though the copy that it works on is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from m4c.cli.jobs import planned

from m4ls import jobs
from m4ls.jobs import CommandFailed, Jobs, Target
from m4ls.server import M4Server

GRAPH = "services:\n  web: {entry: true}\n  cart: {}\ncalls:\n  - [web, cart]\n"
MESH = 'mesh shop { graph "graph.yaml"; dataplanes envoy; }\n'


def policy(status: int) -> str:
    return f"policy teapot (HttpRequest r) on web -> cart {{ r.DropRequest({status}); }}\n"


class Editor:
    """What jobs ask of a server: the folders of its workspace, and the texts that are open."""

    def __init__(self, folder: Path) -> None:
        self.texts: dict[str, str] = {}
        documents = SimpleNamespace(texts=lambda: dict(self.texts))
        self.jobs = Jobs(cast(M4Server, SimpleNamespace(roots=lambda: [folder.as_posix()], documents=documents)))
        self.folder = folder

    async def run(self, job: Callable[[Target], Any]) -> Any:
        return await self.jobs.run("m4.plan", (self.folder.as_posix(),), job)

    async def status(self) -> Any:
        """What the policy in force at the moment answers."""
        return await self.run(_status)

    async def copy(self) -> Any:
        return await self.run(lambda target: target.workspace)


def _status(target: Target) -> Any:
    (run,) = planned(target.workspace, target.mesh)[1].runs
    return dict(run.rule.args)["status"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "mesh.m4").write_text(MESH)
    (tmp_path / "policies.m4").write_text(policy(410))
    return tmp_path


def test_a_job_sees_what_is_on_the_disk_and_in_editors(folder: Path) -> None:
    file = (folder / "policies.m4").as_posix()

    async def session() -> None:
        editor = Editor(folder)
        assert await editor.status() == 410
        kept = await editor.copy()
        (folder / "policies.m4").write_text(policy(411))
        assert await editor.status() == 411
        editor.texts[file] = policy(412)
        assert await editor.status() == 412
        editor.texts[file] = "policy teapot (HttpRequest r) on web -> nobody { }"
        with pytest.raises(CommandFailed, match="the workspace has errors"):
            await editor.status()
        del editor.texts[file]  # closed without being saved
        assert await editor.status() == 411
        (folder / "policies.m4").rename(folder / "others.m4")
        assert await editor.status() == 411
        assert await editor.copy() is kept

    asyncio.run(session())


def test_a_copy_is_let_go_when_nobody_asks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "KEPT_SECONDS", 0.0)

    async def session() -> None:
        editor = Editor(folder)
        kept = await editor.copy()
        await asyncio.sleep(0.01)
        assert await editor.copy() is not kept

    asyncio.run(session())
