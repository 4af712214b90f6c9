"""A workspace that nobody trusts is looked at, and nothing more: the server itself holds to that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient
from session_kit import answering, begin
from views_kit import COMMAND, opened

REFUSED = ("m4.build", "m4.preview", "m4.deploy", "m4.undeploy")


@pytest_lsp.fixture(config=ClientServerConfig(server_command=COMMAND, client_factory=answering))
async def client(lsp_client: LanguageClient, workspace: Path) -> AsyncIterator[None]:
    """A client that has not begun its session."""
    (workspace / "even.m4").unlink()
    yield
    await lsp_client.shutdown_session()


async def begun(client: LanguageClient, workspace: Path, options: Any) -> str:
    await begin(client, workspace, options)
    return opened(client, workspace / "shop.m4")


async def run(client: LanguageClient, command: str, uri: str) -> Any:
    given = [uri, "label"] if command == "m4.preview" else [uri]
    params = types.ExecuteCommandParams(command, given)
    return await asyncio.wait_for(client.workspace_execute_command_async(params), 120)


async def emitters(client: LanguageClient, uri: str) -> list[str]:
    everywhere = types.Range(types.Position(0, 0), types.Position(0, 0))
    context = types.CodeActionContext([], only=[types.CodeActionKind.Source])
    params = types.CodeActionParams(types.TextDocumentIdentifier(uri), everywhere, context)
    found = await client.text_document_code_action_async(params)
    return [a.title for a in found or () if a.title.startswith("Emit")]


@pytest.mark.asyncio
async def test_what_the_client_does_not_trust_is_only_looked_at(client: LanguageClient, workspace: Path) -> None:
    uri = await begun(client, workspace, {"trusted": False})
    before = {p: p.read_bytes() for p in workspace.rglob("*") if p.is_file()}
    for command in REFUSED:
        with pytest.raises(JsonRpcException, match=f"`{command}` was not done: the workspace is not trusted") as e:
            await run(client, command, uri)
        assert e.value.code == -32803
    assert client.person.asked == [], "the client has said no: nobody is asked"
    assert await emitters(client, uri) == []
    assert "mesh shop" in (await run(client, "m4.plan", uri))["text"]
    assert {p: p.read_bytes() for p in workspace.rglob("*") if p.is_file()} == before

    settings = types.DidChangeConfigurationParams({"m4": {"trusted": True}})
    client.workspace_did_change_configuration(settings)
    assert (await run(client, "m4.build", uri))["files"]
    assert (await run(client, "m4.preview", uri))["artifacts"]
    assert await emitters(client, uri) != []
    client.workspace_did_change_configuration(types.DidChangeConfigurationParams({"m4": {"trusted": False}}))
    with pytest.raises(JsonRpcException, match="not trusted"):
        await run(client, "m4.build", uri)


@pytest.mark.asyncio
@pytest.mark.parametrize("options", [None, {}, {"trusted": "yes"}])
async def test_where_nobody_has_said_the_person_is_asked(
    client: LanguageClient, workspace: Path, options: dict[str, Any] | None
) -> None:
    uri = await begun(client, workspace, options)
    with pytest.raises(JsonRpcException, match="not trusted"):
        await run(client, "m4.build", uri)
    ((question, offered),) = client.person.asked
    assert f"Do you trust who wrote {workspace}?" in question and offered == ["Trust it", "Cancel"]
    assert not (workspace / ".m4").exists()

    client.person.answers = ["Trust it"]
    assert (await run(client, "m4.build", uri))["files"]
    assert (await run(client, "m4.preview", uri))["artifacts"]
    assert len(client.person.asked) == 2, "once for the session"
