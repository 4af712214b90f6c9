"""When diagnostics are published, and what a client gets that pulls them."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities, make_test_lsp_client

from benchmarks.generate import Size, write

COMMAND = [sys.executable, "-m", "m4ls"]
PUBLISH = types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS


class Published(list[tuple[float, types.PublishDiagnosticsParams]]):
    """All that a server has published, with the time at which it came."""

    def of(self, uri: str) -> list[types.PublishDiagnosticsParams]:
        return [p for _, p in self if p.uri == uri]


def recorded() -> LanguageClient:
    """A client that keeps everything that is published, not only what comes last."""
    client = make_test_lsp_client()
    published = Published()
    features = client.protocol.fm.features
    keep = features[PUBLISH]

    def record(params: types.PublishDiagnosticsParams) -> None:
        published.append((time.perf_counter(), params))
        keep(params)

    features[PUBLISH] = record
    client.published = published
    return client


async def started(client: LanguageClient, folder: Path, capabilities: types.ClientCapabilities) -> dict[str, Any]:
    root = types.WorkspaceFolder(uri=folder.as_uri(), name=folder.name)
    result = await client.initialize_session(
        types.InitializeParams(capabilities=capabilities, workspace_folders=[root], root_uri=root.uri)
    )
    return {"provider": result.capabilities.diagnostic_provider}


def pulling(related: bool = False) -> types.ClientCapabilities:
    """Neovim, with what its later versions say."""
    able = client_capabilities("neovim")
    assert able.text_document is not None and able.workspace is not None
    documents = attrs.evolve(
        able.text_document, diagnostic=types.DiagnosticClientCapabilities(related_document_support=related)
    )
    workspace = attrs.evolve(
        able.workspace,
        diagnostics=types.DiagnosticWorkspaceClientCapabilities(refresh_support=True),
        did_change_watched_files=None,
    )
    return attrs.evolve(able, text_document=documents, workspace=workspace)


@pytest_lsp.fixture(config=ClientServerConfig(server_command=COMMAND, client_factory=recorded))
async def client(lsp_client: LanguageClient, workspace: Path) -> AsyncIterator[None]:
    """A client; each test says what it can do."""

    @lsp_client.feature(types.CLIENT_REGISTER_CAPABILITY)
    @lsp_client.feature(types.WORKSPACE_CODE_LENS_REFRESH)
    @lsp_client.feature(types.WORKSPACE_INLAY_HINT_REFRESH)
    def agree(*_: object) -> None:
        """The client watches no files and draws nothing, so it only agrees."""

    yield
    await lsp_client.shutdown_session()


def opened(client: LanguageClient, file: Path, text: str | None = None) -> str:
    item = types.TextDocumentItem(file.as_uri(), "m4", 1, file.read_text() if text is None else text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    return file.as_uri()


def changed(client: LanguageClient, uri: str, version: int, text: str) -> None:
    client.text_document_did_change(
        types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(version, uri), [types.TextDocumentContentChangeWholeDocument(text)]
        )
    )


async def until(holds: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.perf_counter() + seconds
    while not holds():
        assert time.perf_counter() < end, "it did not come to that"
        await asyncio.sleep(0.01)


async def code_of(answer: Awaitable[Any]) -> tuple[int, Any]:
    """The code and the data of the error that a request is answered with."""
    with pytest.raises(JsonRpcException) as caught:
        await answer
    return caught.value.code, caught.value.data


def codes(items: Any) -> list[str]:
    return sorted(str(d.code) for d in items)


def pull(
    client: LanguageClient, uri: str, known: str | None = None
) -> asyncio.Future[types.RelatedFullDocumentDiagnosticReport | types.RelatedUnchangedDocumentDiagnosticReport]:
    """Asks at once."""
    params = types.DocumentDiagnosticParams(types.TextDocumentIdentifier(uri), previous_result_id=known)
    return asyncio.wrap_future(client.text_document_diagnostic(params))


# --- pushed -----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_burst_of_edits_is_looked_at_together_and_no_old_version_is_told(
    client: LanguageClient, workspace: Path
) -> None:
    await started(client, workspace, client_capabilities("visual-studio-code"))
    file = workspace / "even.m4"
    sound = file.read_text()
    uri = opened(client, file)
    await until(lambda: client.diagnostics.get(uri))
    for version in range(2, 42):  # every second one is broken
        changed(client, uri, version, sound if version % 2 else sound.replace(";", "", 1))
        if version % 10 == 0:
            await asyncio.sleep(0.03)
    await until(lambda: client.published.of(uri)[-1].version == 41)
    told = client.published.of(uri)
    versions = [p.version for p in told]
    assert versions == sorted(versions)
    assert len(versions) < 40, "forty edits in five bursts"
    for p in told:
        assert ("syntax-error" in codes(p.diagnostics)) == (p.version % 2 == 0), p.version


@pytest.mark.asyncio
async def test_an_edited_files_own_errors_come_first(client: LanguageClient, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    write(folder, Size.of(300), 0)
    await started(client, folder, client_capabilities("visual-studio-code"))
    mesh = folder / "mesh.m4"
    uri = opened(client, mesh)
    await until(lambda: client.published.of(uri))
    sound = mesh.read_text()
    wrong = "policy wrong (HttpRequest r) on * { r.SetHeadr(); }"  # known at once; of a group every policy may make use
    changed(client, uri, 2, f"{sound.replace('group edge = {', 'group edge = { nobody,')}\n{wrong}\n")

    def told() -> list[types.PublishDiagnosticsParams]:
        return [p for p in client.published.of(uri) if p.version == 2]

    await until(lambda: told() and len(told()[-1].diagnostics) == 2)
    first, second = told()
    assert [d.range.start.line for d in first.diagnostics] == [sound.count("\n") + 1]
    assert codes(second.diagnostics) == ["unknown-name", "unknown-name"]


@pytest.mark.asyncio
async def test_findings_leave_the_name_that_the_client_has_for_a_file(client: LanguageClient, workspace: Path) -> None:
    """Also where that is not how the server spells it."""
    await started(client, workspace, client_capabilities("neovim"))
    uri = f"{workspace.as_uri()}/%6eew.m4"
    document = types.TextDocumentItem(uri, "m4", 1, "policy x")
    client.text_document_did_open(types.DidOpenTextDocumentParams(document))
    await until(lambda: client.diagnostics.get(uri))
    client.text_document_did_close(types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri)))
    await until(lambda: not client.diagnostics[uri])


@pytest.mark.asyncio
async def test_only_files_with_news_are_published(client: LanguageClient, workspace: Path) -> None:
    await started(client, workspace, client_capabilities("visual-studio-code"))
    uri, other = opened(client, workspace / "even.m4"), (workspace / "shop.m4").as_uri()
    await until(lambda: client.diagnostics.get(uri) and client.diagnostics.get(other))
    before = len(client.published)
    text = (workspace / "even.m4").read_text()
    changed(client, uri, 2, f"{text}\n")
    await until(lambda: client.published[before:])
    await asyncio.sleep(0.7)  # plans and tests are looked at, too
    assert [(p.uri, p.version) for _, p in client.published[before:]] == [(uri, 2)]


@pytest.mark.asyncio
async def test_the_first_check_shows_its_progress(client: LanguageClient, tmp_path: Path) -> None:
    """Of a workspace large enough that the check takes longer than a client's answer that it can show it."""
    write(tmp_path / "large", Size.of(300), 0)
    await started(client, tmp_path / "large", client_capabilities("visual-studio-code"))
    await until(lambda: [r for r in client.progress_reports.values() if len(r) > 1])
    (reports,) = client.progress_reports.values()
    assert [r.kind for r in reports] == ["begin", "end"]
    assert reports[0].title == "Checking policies"


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["visual-studio-code", "neovim"])
async def test_a_client_that_cannot_be_asked_to_pull_is_pushed_to(
    client: LanguageClient, workspace: Path, name: str
) -> None:
    offered = await started(client, workspace, client_capabilities(name))
    assert offered["provider"] is None
    uri = opened(client, workspace / "even.m4")
    await until(lambda: codes(client.diagnostics.get(uri, ())) == ["contradiction"])


# --- pulled -----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_open_documents_are_pulled_and_not_pushed(client: LanguageClient, workspace: Path) -> None:
    offered = await started(client, workspace, pulling())
    assert offered["provider"].inter_file_dependencies and offered["provider"].workspace_diagnostics
    even, shop = opened(client, workspace / "even.m4"), (workspace / "shop.m4").as_uri()
    report = await pull(client, even)
    assert isinstance(report, types.RelatedFullDocumentDiagnosticReport)
    assert codes(report.items) == ["contradiction"]
    again = await pull(client, even, report.result_id)
    assert again.kind == "unchanged" and again.result_id == report.result_id
    await until(lambda: codes(client.diagnostics.get(shop, ())) == ["contradiction"])  # that one is closed
    opened(client, workspace / "shop.m4")
    await until(lambda: not client.diagnostics[shop])
    assert codes((await pull(client, shop)).items) == ["contradiction"]
    assert not any(p.diagnostics for p in client.published.of(even))


@pytest.mark.asyncio
async def test_a_client_is_asked_to_pull_what_an_edit_has_changed_elsewhere(
    client: LanguageClient, workspace: Path
) -> None:
    await started(client, workspace, pulling())
    even, shop = (opened(client, workspace / name) for name in ("even.m4", "shop.m4"))
    assert codes((await pull(client, shop)).items) == ["contradiction"]
    await pull(client, even)
    changed(client, even, 2, "")
    assert not (await pull(client, even)).items
    await until(lambda: client.diagnostic_refresh_count)
    assert not (await pull(client, shop)).items


@pytest.mark.asyncio
async def test_related_documents_come_along(client: LanguageClient, workspace: Path) -> None:
    await started(client, workspace, pulling(related=True))
    even, shop = (opened(client, workspace / name) for name in ("even.m4", "shop.m4"))
    assert (await pull(client, shop)).related_documents is None
    changed(client, even, 2, "")
    report = await pull(client, even)
    assert report.related_documents is not None
    assert [(uri, codes(r.items)) for uri, r in report.related_documents.items()] == [(shop, [])]
    await asyncio.sleep(0.7)
    assert client.diagnostic_refresh_count == 0, "the client knows all of it"


@pytest.mark.asyncio
async def test_an_answer_that_an_edit_overtakes_is_asked_for_again(client: LanguageClient, workspace: Path) -> None:
    await started(client, workspace, pulling())
    path = workspace / "even.m4"
    text = path.read_text()
    uri, broken = opened(client, path), text.replace(";", "", 1)
    versions = itertools.count(2)

    async def overtaken(by: Callable[[], object], again: Callable[[], object]) -> Any:
        """The data of the error. An answer may be faster than what comes behind the question, but not every time."""
        for _ in range(100):
            changed(client, uri, next(versions), broken)
            answer = pull(client, uri)
            by()
            try:
                assert codes((await answer).items) != ["contradiction"], "an answer for an old text"
            except JsonRpcException as e:
                assert e.code == -32802
                return e.data
            again()
        raise AssertionError("no question was overtaken")

    mended = await overtaken(lambda: changed(client, uri, next(versions), text), lambda: None)
    assert mended == {"retriggerRequest": True}
    assert codes((await pull(client, uri)).items) == ["contradiction"]
    close = types.DidCloseTextDocumentParams(types.TextDocumentIdentifier(uri))
    closed = await overtaken(lambda: client.text_document_did_close(close), lambda: opened(client, path))
    assert closed == {"retriggerRequest": False}


@pytest.mark.asyncio
async def test_the_workspace_is_pulled_and_news_are_waited_for(client: LanguageClient, workspace: Path) -> None:
    await started(client, workspace, pulling())
    even, shop = (workspace / "even.m4").as_uri(), (workspace / "shop.m4").as_uri()
    await until(lambda: client.diagnostics.get(shop))
    first = await client.workspace_diagnostic_async(types.WorkspaceDiagnosticParams([]))
    assert {i.uri: codes(i.items) for i in first.items} == {even: ["contradiction"], shop: ["contradiction"]}
    await until(lambda: not client.diagnostics[shop])  # what was pushed before is taken back
    opened(client, workspace / "even.m4")
    known = [types.PreviousResultId(i.uri, i.result_id) for i in first.items]
    waiting = asyncio.wrap_future(client.workspace_diagnostic(types.WorkspaceDiagnosticParams(known)))
    await asyncio.sleep(1)
    assert not waiting.done()
    changed(client, even, 2, "")
    news = {i.uri: i for i in (await asyncio.wait_for(waiting, 120)).items}
    assert (codes(news[even].items), news[even].version) == ([], 2)
    assert (codes(news[shop].items), news[shop].version) == ([], None)


@pytest.mark.asyncio
async def test_a_client_that_forgets_an_id_hears_that_nothing_is_found_any_more(
    client: LanguageClient, workspace: Path
) -> None:
    """As VS Code does for a document that is not visible any more."""
    await started(client, workspace, pulling())
    even = opened(client, workspace / "even.m4")
    assert codes((await pull(client, even)).items) == ["contradiction"]
    changed(client, even, 2, "")
    report = await client.workspace_diagnostic_async(types.WorkspaceDiagnosticParams([]))
    assert {i.uri: codes(i.items) for i in report.items} == {even: []}


@pytest.mark.asyncio
async def test_a_request_can_be_cancelled(client: LanguageClient, workspace: Path) -> None:
    await started(client, workspace, pulling())
    first = await client.workspace_diagnostic_async(types.WorkspaceDiagnosticParams([]))
    known = [types.PreviousResultId(i.uri, i.result_id) for i in first.items]
    params = types.WorkspaceDiagnosticParams(known)
    held = asyncio.wrap_future(client.protocol.send_request(types.WORKSPACE_DIAGNOSTIC, params, msg_id="held"))
    await asyncio.sleep(0.1)
    client.cancel_request(types.CancelParams("held"))
    code, _ = await code_of(asyncio.wait_for(held, 120))
    assert code == -32800


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("messages", [[], ["shutdown"], ["shutdown", "exit"], ["exit"]])
def test_the_server_ends_with_its_client(workspace: Path, messages: list[str]) -> None:
    """With 0 only after `shutdown` and `exit`, or when its input ends."""
    root = {"processId": None, "rootUri": workspace.as_uri(), "capabilities": {}}
    sent: list[dict[str, Any]] = [{"id": 1, "method": "initialize", "params": root}]
    sent += [{"method": "initialized", "params": {}}]
    sent += [{"id": 2, "method": m} if m == "shutdown" else {"method": m} for m in messages]
    bodies = [json.dumps({"jsonrpc": "2.0", **message}).encode() for message in sent]
    given = b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)
    ended = subprocess.run(COMMAND, input=given, stdout=subprocess.DEVNULL, timeout=120, check=False)
    assert ended.returncode == (1 if messages == ["exit"] else 0)
