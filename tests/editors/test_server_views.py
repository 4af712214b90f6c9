"""What the server shows around the text: lenses and hints, and when clients are told to draw them anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities, make_test_lsp_client
from session_kit import TRUSTED, begin
from views_kit import COMMAND, changed, opened, until

WHOLE = types.Range(types.Position(0, 0), types.Position(1000, 0))


def drawing() -> LanguageClient:
    """A client that counts how often it is asked to draw anew."""
    client = make_test_lsp_client()
    client.asked = {"lenses": 0, "hints": 0, "planned": 0, "colours": 0}

    def count(what: str) -> Callable[..., None]:
        def asked(*_: Any) -> None:
            client.asked[what] += 1

        return asked

    client.feature(types.WORKSPACE_CODE_LENS_REFRESH)(count("lenses"))
    client.feature(types.WORKSPACE_INLAY_HINT_REFRESH)(count("hints"))
    client.feature(types.WORKSPACE_SEMANTIC_TOKENS_REFRESH)(count("colours"))
    client.feature("$/m4/planned")(count("planned"))
    client.feature(types.CLIENT_REGISTER_CAPABILITY)(lambda *_: None)
    return client


@pytest_lsp.fixture(config=ClientServerConfig(server_command=COMMAND, client_factory=drawing))
async def client(lsp_client: LanguageClient, workspace: Path) -> AsyncIterator[None]:
    able = client_capabilities("visual-studio-code")
    assert able.workspace is not None
    redrawn = attrs.evolve(able.workspace, inlay_hint=types.InlayHintWorkspaceClientCapabilities(refresh_support=True))
    await begin(lsp_client, workspace, TRUSTED, attrs.evolve(able, workspace=redrawn))
    yield
    await lsp_client.shutdown_session()


async def lenses(client: LanguageClient, uri: str) -> list[tuple[int, str, str]]:
    """Line, title and command of each lens."""
    found = await client.text_document_code_lens_async(types.CodeLensParams(types.TextDocumentIdentifier(uri)))
    out = []
    for lens in found or ():
        assert lens.command is None, "what it says is worked out when it is seen"
        command = (await client.code_lens_resolve_async(lens)).command
        assert command is not None and command.arguments is not None and command.arguments[0] == uri
        out.append((lens.range.start.line, command.title, command.command))
    return out


async def hints(client: LanguageClient, uri: str, within: types.Range = WHOLE) -> list[tuple[int, int, str]]:
    params = types.InlayHintParams(types.TextDocumentIdentifier(uri), within)
    found = await client.text_document_inlay_hint_async(params)
    return [(h.position.line, h.position.character, str(h.label)) for h in found or ()]


@pytest.mark.asyncio
async def test_lenses_and_hints_follow_the_plan(client: LanguageClient, workspace: Path) -> None:
    file, other = workspace / "shop.m4", workspace / "even.m4"
    uri = opened(client, file)
    await until(lambda: client.asked["hints"])
    facts = [e for e in await lenses(client, uri) if e[2] == "m4.plan"]
    assert facts == [(6, "1 path · 1 conflict", "m4.plan"), (11, "2 paths", "m4.plan")]
    assert (6, 42, "1 path") in await hints(client, uri)
    before = {what: client.asked[what] for what in ("lenses", "hints", "planned")}
    even = opened(client, other)
    changed(client, even, 2, other.read_text().replace("* -> f", "web -> f"))
    await until(lambda: client.asked["hints"] > before["hints"])
    assert all(client.asked[what] > before[what] for what in before), client.asked
    facts = [e for e in await lenses(client, uri) if e[2] == "m4.plan"]
    assert facts == [(6, "1 path · proxy at e", "m4.plan"), (11, "2 paths · proxy at web", "m4.plan")]
    policy = types.Range(types.Position(11, 0), types.Position(13, 0))
    assert await hints(client, uri, policy) == [
        (11, 40, "2 paths"),
        (12, 16, "name:"),
        (12, 26, "value:"),
        (12, 34, "proxy at web"),
    ]
    # In UTF-16 units, also behind é and 😀.
    assert [character for _, character, label in await hints(client, even) if label == "proxy at web"] == [96]


@pytest.mark.asyncio
async def test_a_lens_of_somebody_else_is_refused(client: LanguageClient, workspace: Path) -> None:
    await until(lambda: client.asked["hints"])
    with pytest.raises(JsonRpcException, match="none of the lenses of this server"):
        await client.code_lens_resolve_async(types.CodeLens(WHOLE, data={"uri": 1}))
    gone = types.CodeLens(
        WHOLE, data={"uri": (workspace / "shop.m4").as_uri(), "kind": "facts", "key": "policy:gone", "name": "gone"}
    )
    resolved = await client.code_lens_resolve_async(gone)
    assert resolved.command is not None and resolved.command.title == "…"


async def run(client: LanguageClient, command: str, *arguments: Any) -> Any:
    params = types.ExecuteCommandParams(command, list(arguments))
    return await asyncio.wait_for(client.workspace_execute_command_async(params), 60)


@pytest.mark.asyncio
async def test_evaluate(client: LanguageClient, workspace: Path) -> None:
    uri = opened(client, workspace / "shop.m4")
    found = await run(client, "m4.evaluate", uri, "label")
    request = 'GET "/" on web -> e with header["x-user-group"] = "beta"'
    assert (found["request"], found["verdict"]) == (request, "allow")
    (note,) = found["notes"]
    assert (note["policy"], note["uri"], note["fired"]) == ("label", uri, True)
    assert note["range"]["start"] == {"line": 11, "character": 7}
    other = request.replace("web -> e", "outside -> web -> e").replace("beta", "gold")
    found = await run(client, "m4.evaluate", uri, "label", other)
    assert [n["fired"] for n in found["notes"]] == [False]
    assert (await run(client, "m4.evaluate", uri, "label"))["request"] == other, "it is remembered"
    assert (await run(client, "m4.evaluate", uri, "send_some"))["request"] == 'GET "/" on e -> f', "policy by policy"
    for arguments, message in (
        ((), "needs the URI of a file"),
        ((uri,), "the name of a policy or a request"),
        ((uri, 1), "the name of a policy or a request"),
        ((uri, "nobody"), "has no policy `nobody`"),
        ((uri, "label", "GET"), "a request is written like"),
        (((workspace / "nowhere.m4").as_uri(), "nobody"), "has no policy `nobody`"),
    ):
        with pytest.raises(JsonRpcException) as caught:
            await run(client, "m4.evaluate", *arguments)
        assert message in str(caught.value)


@pytest.mark.asyncio
async def test_preview_of_a_text_that_is_not_saved(client: LanguageClient, workspace: Path) -> None:
    (workspace / "even.m4").unlink()
    uri = opened(client, workspace / "shop.m4")
    text = (workspace / "shop.m4").read_text()
    changed(client, uri, 2, text.replace("x-tier", "x-rank"))
    found = await run(client, "m4.preview", uri, "label")
    (artifact,) = found["artifacts"]
    assert (artifact["dataplane"], artifact["service"], artifact["kind"]) == ("envoy", "e", "envoy.yaml")
    assert "x-rank" in artifact["text"] and "x-tier" not in artifact["text"]
    parts = [p for p in artifact["parts"] if p["policy"] == "label"]
    assert any("x-rank" in line for p in parts for line in artifact["text"].splitlines()[p["start"] : p["end"]])
    assert {p["source"]["uri"] for p in parts} == {uri}
    assert [p["source"]["range"]["start"] for p in parts] == [{"line": 12, "character": 4}] * len(parts)
    changed(client, uri, 3, text.replace("r.SetHeader", "r.SetHaeder"))
    for arguments, message in (((), "needs the URI"), ((uri, "label"), "without errors"), ((uri, "no"), "no policy")):
        with pytest.raises(JsonRpcException) as caught:
            await run(client, "m4.preview", *arguments)
        assert message in str(caught.value)


@pytest.mark.asyncio
async def test_map(client: LanguageClient, workspace: Path) -> None:
    uri = opened(client, workspace / "shop.m4")
    await until(lambda: client.asked["planned"])
    (mesh,) = (await run(client, "m4.map"))["meshes"]
    assert (mesh["mesh"], mesh["planned"], mesh["graph"]) == ("shop", False, (workspace / "shop.graph.yaml").as_uri())
    assert {tuple(c["path"]) for c in mesh["conflicts"]} == {("e", "f")}
    assert {p["name"]: p["source"]["uri"] for p in mesh["policies"]}["send_some"] == uri
    (workspace / "even.m4").unlink()
    client.workspace_did_change_watched_files(
        types.DidChangeWatchedFilesParams(
            [types.FileEvent((workspace / "even.m4").as_uri(), types.FileChangeType.Deleted)]
        )
    )
    before = client.asked["planned"]
    await until(lambda: client.asked["planned"] > before)
    (mesh,) = (await run(client, "m4.map", uri))["meshes"]
    elements = {s["name"]: [e["dataplane"] for e in s["elements"]] for s in mesh["services"]}
    assert (mesh["planned"], elements) == (True, {"web": [], "e": ["envoy"], "f": []})
    with pytest.raises(JsonRpcException, match="takes the URI of a file"):
        await run(client, "m4.map", 1)


ODD = {
    "nothing": "",
    "no mesh": "policy label (HttpRequest r) on web -> e { r.DropRequest(); }\n",
    "no graph": 'mesh shop { graph "gone.yaml"; dataplanes envoy; }\npolicy label (HttpRequest r) on web -> e { }\n',
    "no dataplane": 'mesh shop { graph "shop.graph.yaml"; dataplanes nobody; }\n'
    "policy label (HttpRequest r) on web -> e { r.DropRequest(); }\n",
    "broken": 'mesh shop { graph\r\n\tpolicy label (HttpRequest r) on web -> "é 😀\r\n\ttest "x" { request',
    "no operation": 'mesh shop { graph "shop.graph.yaml"; dataplanes envoy; }\n'
    "policy label (Http r) on web -> e { r.No(); }\n",
    "GNU m4": "dnl\npolicy label (HttpRequest r) on web -> e { r.DropRequest(); }\n",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("text", ODD.values(), ids=ODD.keys())
async def test_odd_workspaces_are_answered(client: LanguageClient, workspace: Path, text: str) -> None:
    """Every view has an answer, or an error that is for people: whatever the workspace lacks."""
    (workspace / "even.m4").unlink()
    file = workspace / "shop.m4"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    event = types.FileEvent(file.as_uri(), types.FileChangeType.Changed)
    client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))
    for shown in (False, True):  # first as it is on the disk, with its byte order mark
        if shown:
            item = types.TextDocumentItem(file.as_uri(), "m4", 1, text)
            client.text_document_did_open(types.DidOpenTextDocumentParams(item))
        await lenses(client, file.as_uri())
        await hints(client, file.as_uri())
        meshes = (await run(client, "m4.map"))["meshes"]
        assert [m["mesh"] for m in meshes] == (["shop"] if text.startswith("mesh") else [])
        for command in ("m4.evaluate", "m4.preview"):
            try:
                assert (await run(client, command, file.as_uri(), "label"))["policy"] == "label"
            except JsonRpcException as error:
                assert error.code == -32803, error  # RequestFailed
                assert "language server failed" not in error.message


@pytest.mark.asyncio
async def test_colours_are_asked_for_again_when_another_file_changes_them(
    client: LanguageClient, workspace: Path
) -> None:
    text = "policy counted (HttpRequest r) on e -> f { hits.Increment(); }\n"
    (workspace / "counted.m4").write_text(text)
    uri = opened(client, workspace / "counted.m4")

    async def colours() -> list[int]:
        params = types.SemanticTokensParams(types.TextDocumentIdentifier(uri))
        found = await client.text_document_semantic_tokens_full_async(params)
        assert found is not None
        return list(found.data)

    before = await colours()
    (workspace / "hits.m4").write_text("state Counter hits;\n")
    opened(client, workspace / "hits.m4")
    await until(lambda: client.asked["colours"] == 1)
    after = await colours()
    assert len(after) > len(before)
    changed(client, (workspace / "hits.m4").as_uri(), 2, "state Counter hits;\nstate Counter misses;\n")
    changed(client, uri, 2, "\n" + text)
    moved = await colours()
    assert moved != after
    changed(client, (workspace / "hits.m4").as_uri(), 3, "")
    await until(lambda: client.asked["colours"] >= 2)
    assert len(await colours()) == len(before)
