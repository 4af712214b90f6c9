"""`$/cancelRequest` on `m4.deploy`: the request ends, and what it has begun is taken back."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from editor_tools import apart, undeploy
from live_kit import Deployed
from lsprotocol import types
from m4deploy import local
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient
from session_kit import TRUSTED, answering, begin, deploy
from views_kit import COMMAND, changed, opened, until

HOME = tempfile.TemporaryDirectory(prefix="m4-cancel-")
CANCELLED = -32800  # RequestCancelled


ENVIRONMENT = {**os.environ, "XDG_STATE_HOME": HOME.name}
CONFIG = ClientServerConfig(server_command=apart(COMMAND), server_env=ENVIRONMENT, client_factory=answering)


@pytest_lsp.fixture(config=CONFIG)
async def client(lsp_client: LanguageClient, workspace: Path) -> AsyncIterator[None]:
    (workspace / "even.m4").unlink()
    await begin(lsp_client, workspace, TRUSTED)
    yield
    await lsp_client.shutdown_session()
    undeploy(workspace, Path(HOME.name))


async def cancelled(
    client: LanguageClient, at: str, uri: str, *arguments: Any, see: Callable[[], None] = lambda: None
) -> JsonRpcException:
    """Asks for a deployment and cancels the request when progress says something; the error that answers it."""
    features, begun = client.protocol.fm.features, []
    keep = features[types.PROGRESS]

    def progress(params: types.ProgressParams) -> None:
        keep(params)
        said = params.value if isinstance(params.value, dict) else {}
        if at in (said.get("title"), said.get("message")) and not begun:
            begun.append(at)
            see()
            client.cancel_request(types.CancelParams("to be cancelled"))

    features[types.PROGRESS] = progress
    try:
        params = types.ExecuteCommandParams("m4.deploy", [uri, *arguments])
        answer = client.protocol.send_request_async(types.WORKSPACE_EXECUTE_COMMAND, params, msg_id="to be cancelled")
        with pytest.raises(JsonRpcException) as caught:
            await asyncio.wait_for(answer, 120)
    finally:
        features[types.PROGRESS] = keep
    assert begun == [at], "it came that far"
    return caught.value


@pytest.mark.asyncio
async def test_before_anything_is_changed(client: LanguageClient, workspace: Path) -> None:
    uri, out = opened(client, workspace / "shop.m4"), workspace / "out"
    for at in ("Planning", "Validating"):
        assert (await cancelled(client, at, uri, "directory", str(out), "confirm")).code == CANCELLED
        assert client.messages[-1].message == "M4: not deployed, nothing changed"
        assert client.person.asked == [], "nobody is asked about what was cancelled"
        assert not out.exists()
    client.person.answers = ["Deploy"]
    assert (await deploy(client, uri, "directory", str(out), "confirm"))["ok"] is True


@pytest.mark.asyncio
async def test_while_the_person_is_asked(client: LanguageClient, workspace: Path) -> None:
    uri, out = opened(client, workspace / "shop.m4"), workspace / "out"
    answer = asyncio.get_running_loop().create_future()
    asked: list[str] = []

    async def slow(params: types.ShowMessageRequestParams) -> types.MessageActionItem:
        asked.append(params.message)
        await answer
        return types.MessageActionItem("Deploy")

    client.protocol.fm.features[types.WINDOW_SHOW_MESSAGE_REQUEST] = slow
    params = types.ExecuteCommandParams("m4.deploy", [uri, "directory", str(out), "confirm"])
    request = client.protocol.send_request_async(types.WORKSPACE_EXECUTE_COMMAND, params, msg_id="asked")
    waiting = asyncio.ensure_future(request)
    await until(lambda: asked)
    client.cancel_request(types.CancelParams("asked"))
    with pytest.raises(JsonRpcException) as caught:
        await asyncio.wait_for(waiting, 60)
    assert caught.value.code == CANCELLED
    answer.set_result(None)  # the person's answer comes too late
    await asyncio.wait_for(client.workspace_execute_command_async(types.ExecuteCommandParams("m4.map", [])), 60)
    assert not out.exists()


@pytest.mark.asyncio
async def test_in_the_middle_what_ran_before_stays(client: LanguageClient, workspace: Path) -> None:
    uri = opened(client, workspace / "shop.m4")
    state = Deployed(workspace, Path(HOME.name)).state

    def in_force() -> str:
        found = local.current(state)
        assert found is not None
        return (found.built.folder / "envoy/e/envoy.yaml").read_text()

    assert (await cancelled(client, "Starting the applications", uri, "local")).code == CANCELLED
    assert client.messages[-1].message == "M4: not deployed, nothing changed"
    assert local.status(state) is None
    assert list(state.glob("generation-*")) == [], "what was started is gone"

    assert (await deploy(client, uri, "local"))["ok"] is True
    before = local.status(state)
    assert before is not None and before["healthy"] is True
    changed(client, uri, 2, (workspace / "shop.m4").read_text().replace("x-tier", "x-rank"))
    assert (await cancelled(client, "Looking for what is different", uri, "local")).code == CANCELLED
    after = local.status(state)
    assert after is not None
    assert after == before | {"elements": after["elements"]}, "the same processes"
    assert "x-tier" in in_force() and "x-rank" not in in_force()

    assert (await deploy(client, uri, "local"))["ok"] is True
    assert "x-rank" in in_force()
