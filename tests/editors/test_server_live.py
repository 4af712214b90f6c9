"""`m4.top`: the counts of what is deployed, of a real deployment to which real requests are sent."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from editor_tools import undeploy
from live_kit import deployed, prepare
from lsprotocol import types
from m4deploy import local
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient
from session_kit import TRUSTED, begin, command, quiet
from views_kit import COMMAND

HOME = tempfile.TemporaryDirectory(prefix="m4-live-")
ENVIRONMENT = {**os.environ, "XDG_STATE_HOME": HOME.name}


@pytest_lsp.fixture(config=ClientServerConfig(server_command=COMMAND, server_env=ENVIRONMENT, client_factory=quiet))
async def client(lsp_client: LanguageClient, workspace: Path) -> AsyncIterator[None]:
    prepare(workspace)
    await begin(lsp_client, workspace, TRUSTED, "neovim")
    yield
    await lsp_client.shutdown_session()


async def top(client: LanguageClient, *arguments: Any) -> dict[str, Any]:
    return await command(client, "m4.top", *arguments)


async def until(client: LanguageClient, uri: str, text: str) -> dict[str, Any]:
    """The answer whose message has a text."""
    for _ in range(600):
        found = await top(client, uri)
        if text in found["message"]:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"last it said: {found['message']}")


def call(found: dict[str, Any], caller: str, callee: str) -> tuple[int, int, int]:
    (one,) = (c for c in found["calls"] if (c["caller"], c["callee"]) == (caller, callee))
    return one["seen"], one["allowed"], one["ended"]


@pytest.mark.asyncio
async def test_counts_are_those_of_what_was_sent(client: LanguageClient, workspace: Path) -> None:
    uri = (workspace / "shop.m4").as_uri()
    assert await top(client, uri) == {"mesh": "shop", "deployed": False, "message": "nothing is deployed"}
    with deployed(workspace, Path(HOME.name)) as mesh:
        first = await top(client, uri)
        assert (first["mesh"], first["deployed"], first["healthy"], first["message"]) == ("shop", True, True, "")
        assert call(first, "e", "f") == (0, 0, 0)
        assert [mesh.ask(), mesh.ask(), mesh.ask("/shut")] == [200, 200, 403]
        await asyncio.sleep(0.6)  # rates are since a look that is at least half a second old
        found = await top(client, workspace.as_uri(), "shop")
        assert call(found, "e", "f") == (3, 2, 1)
        (hop,) = (c for c in found["calls"] if (c["caller"], c["callee"]) == ("e", "f"))
        assert 0 < hop["ended_rate"] < hop["rate"]
        assert {(p["policy"], p["caller"], p["callee"], p["ended"]) for p in found["policies"] if p["ended"]} == {
            ("shut", "e", "f", 1)
        }
        here = {(h["service"], h["dataplane"]) for h in found["hops"] if (h["caller"], h["callee"]) == ("e", "f")}
        assert here == {tuple(by) for by in hop["by"]} != set()

        client.workspace_did_change_configuration(types.DidChangeConfigurationParams({"m4": {"trusted": False}}))
        assert await top(client, uri) == {"mesh": None, "deployed": False, "message": "the workspace is not trusted"}
        client.workspace_did_change_configuration(types.DidChangeConfigurationParams({"m4": {"trusted": True}}))

        status = local.status(mesh.state)
        assert status is not None
        victim = next(p for p in status["processes"] if p["what"].startswith("envoy at e"))
        os.kill(victim["pid"], signal.SIGKILL)
        dead = await until(client, uri, "dead: ")
        assert dead["message"] == f"dead: {victim['what']}"
        assert dead["healthy"] is False
        assert ("e", "envoy") not in {(h["service"], h["dataplane"]) for h in dead["hops"]}, (
            "it counts nothing any more"
        )
        undeploy(workspace, Path(HOME.name))
        assert await top(client, uri) == {"mesh": "shop", "deployed": False, "message": "the deployment has ended"}
        assert (await top(client, uri))["message"] == "nothing is deployed"


@pytest.mark.asyncio
async def test_one_that_does_not_answer_has_no_counts(client: LanguageClient, workspace: Path) -> None:
    uri = (workspace / "shop.m4").as_uri()
    with deployed(workspace, Path(HOME.name)) as mesh:
        assert (await top(client, uri))["healthy"] is True
        status = local.status(mesh.state)
        assert status is not None
        os.kill(status["supervisor"], signal.SIGSTOP)
        try:
            silent, same = await asyncio.gather(top(client, uri), top(client, uri, "shop"))
        finally:
            os.kill(status["supervisor"], signal.SIGCONT)
        assert silent == same
        assert silent["deployed"] is True
        assert silent["message"] == f"The deployment (process {status['supervisor']}) does not answer."
        assert silent.keys() == {"mesh", "deployed", "message"}
        assert (await top(client, uri))["healthy"] is True


@pytest.mark.asyncio
async def test_what_is_asked_wrongly(client: LanguageClient, workspace: Path) -> None:
    for arguments, message in (
        ((), "needs the URI"),
        ((1,), "needs the URI"),
        ((workspace.as_uri(), 1), "is a string"),
    ):
        with pytest.raises(JsonRpcException, match=message):
            await top(client, *arguments)
    (workspace / "second.m4").write_text("mesh other { }\n")
    event = types.FileEvent((workspace / "second.m4").as_uri(), types.FileChangeType.Created)
    client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))
    with pytest.raises(JsonRpcException, match="name one"):
        await top(client, workspace.as_uri())
