"""The language server over standard input and output, as an editor talks to it."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

HERE = Path(__file__).parent


@pytest_lsp.fixture(config=ClientServerConfig(server_command=[sys.executable, "-m", "m4ls"]))
async def client(lsp_client: LanguageClient, tmp_path: Path) -> AsyncIterator[None]:
    @lsp_client.feature(types.CLIENT_REGISTER_CAPABILITY)
    @lsp_client.feature(types.WORKSPACE_CODE_LENS_REFRESH)
    def agree(*_: object) -> None:
        """The client watches no files and draws nothing, so it only agrees."""

    shutil.copytree(HERE / "workspace", tmp_path / "ws")
    folder = types.WorkspaceFolder(uri=(tmp_path / "ws").as_uri(), name="ws")
    params = types.InitializeParams(
        capabilities=client_capabilities("visual-studio-code"),
        workspace_folders=[folder],
        root_uri=folder.uri,
        initialization_options={"trusted": True},
    )
    await lsp_client.initialize_session(params)
    yield
    await lsp_client.shutdown_session()


def opened(client: LanguageClient, file: Path) -> str:
    uri, text = file.as_uri(), file.read_text()
    client.text_document_did_open(
        types.DidOpenTextDocumentParams(types.TextDocumentItem(uri=uri, language_id="m4", version=1, text=text))
    )
    return uri


async def until_diagnosed(client: LanguageClient, uri: str, codes: list[str]) -> list[types.Diagnostic]:
    """Waits until a file has diagnostics with just these codes."""

    def found() -> list[types.Diagnostic]:
        return list(client.diagnostics.get(uri, ()))

    await until(lambda: sorted(str(d.code) for d in found()) == sorted(codes), lambda: f"{uri} has {found()}")
    return found()


async def until(holds: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    end = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < end, otherwise()
        await asyncio.sleep(0.02)


def at(text: str, fragment: str) -> types.Position:
    """The position behind the first occurrence of a fragment."""
    before = text[: text.index(fragment) + len(fragment)]
    return types.Position(before.count("\n"), len(before) - before.rfind("\n") - 1)


@pytest.mark.asyncio
async def test_a_contradiction_is_shown_at_both_policies_and_mended(client: LanguageClient, tmp_path: Path) -> None:
    files = sorted((tmp_path / "ws").glob("*.m4"))
    uris = [opened(client, f) for f in files]

    def contradictions() -> list[tuple[str, types.Diagnostic]]:
        return [(u, d) for u in uris for d in client.diagnostics.get(u, ()) if d.code == "contradiction"]

    await until(lambda: len(contradictions()) == 2, lambda: f"there are {contradictions()}")
    places = contradictions()
    for _, diagnostic in places:
        assert " -> " in diagnostic.message
        assert diagnostic.code_description is not None
        page = Path(diagnostic.code_description.href.removeprefix("file://"))
        assert page.name == "contradiction.md" and page.read_text().startswith("<!--"), "what the code leads to"
    others = {Path(u).name: [r.message for r in d.related_information or ()] for u, d in places}
    assert others == {
        "even.m4": ["`send_some` writes route = { v1: 80%, v2: 20% }"],
        "shop.m4": ["`even` writes route = { v1: 50%, v2: 50% }"],
    }
    uri, diagnostic = places[0]
    actions = await client.text_document_code_action_async(
        types.CodeActionParams(
            text_document=types.TextDocumentIdentifier(uri),
            range=diagnostic.range,
            context=types.CodeActionContext(diagnostics=[diagnostic]),
        )
    )
    titles = [a.title for a in actions or ()]
    assert any("override" in t for t in titles)
    assert "Emit sidecar artifacts" in titles
    fix = next(a for a in actions or () if isinstance(a, types.CodeAction) and "override" in a.title)
    assert fix.edit is not None
    assert fix.edit.changes
    for changed, edits in fix.edit.changes.items():
        client.text_document_did_change(
            types.DidChangeTextDocumentParams(
                text_document=types.VersionedTextDocumentIdentifier(version=2, uri=changed),
                content_changes=[types.TextDocumentContentChangePartial(range=e.range, text=e.new_text) for e in edits],
            )
        )
    await until(lambda: not contradictions(), lambda: "the contradiction is still there")


@pytest.mark.asyncio
async def test_what_has_no_effect_is_said_to_be_unnecessary(client: LanguageClient, tmp_path: Path) -> None:
    file = tmp_path / "ws/idle.m4"
    file.write_text("policy first (HttpRequest r) on web -> f { r.SetTimeout(3s); }\n")
    uri = opened(client, file)
    twice = file.read_text() + "policy again (HttpRequest r) on web -> f { r.SetTimeout(3s); }\n"
    change = types.TextDocumentContentChangeWholeDocument(twice)
    document = types.VersionedTextDocumentIdentifier(version=2, uri=uri)
    client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def redundant() -> list[types.Diagnostic]:
        return [d for d in client.diagnostics.get(uri, ()) if d.code == "redundant"]

    await until(lambda: redundant(), lambda: f"there are {client.diagnostics.get(uri)}")
    (found,) = redundant()
    assert found.severity == types.DiagnosticSeverity.Hint
    assert list(found.tags or ()) == [types.DiagnosticTag.Unnecessary]
    assert found.range.start.line == 1


@pytest.mark.asyncio
async def test_what_is_deprecated_is_struck_through(client: LanguageClient, tmp_path: Path) -> None:
    """Where it is used, and where it is proposed."""
    file = tmp_path / "ws/old.m4"
    file.write_text(
        "spec old {\n    tier proxy;\n    cost 1;\n    supports HttpRequest {\n"
        "        attribute zone: string;\n        /// Deprecated: use a header.\n"
        "        operation SetZone(to: string) writes zone = to;\n    }\n}\n"
        'policy p (HttpRequest r) on web -> f { r.SetZone("a"); }\n'
    )
    uri = opened(client, file)

    def deprecated() -> list[types.Diagnostic]:
        return [d for d in client.diagnostics.get(uri, ()) if d.code == "deprecated"]

    await until(lambda: deprecated(), lambda: f"there are {client.diagnostics.get(uri)}")
    (found,) = deprecated()
    assert list(found.tags or ()) == [types.DiagnosticTag.Deprecated]
    position = types.Position(9, file.read_text().splitlines()[9].index("SetZone"))
    params = types.CompletionParams(types.TextDocumentIdentifier(uri), position)
    answer = await client.text_document_completion_async(params)
    assert isinstance(answer, types.CompletionList)
    struck = {item.label: list(item.tags or ()) for item in answer.items}
    assert struck["SetZone"] == [types.CompletionItemTag.Deprecated]
    assert struck["SetHeader"] == []


@pytest.mark.asyncio
async def test_everything_in_a_file_is_fixed_when_that_is_asked_for(client: LanguageClient, tmp_path: Path) -> None:
    file = tmp_path / "ws/more.m4"
    file.write_text(
        "policy slow (HttpRequest r) on * -> f { r.SetTimeout(3s) }\n\n"
        "policy quick (HttpRequest r) on * -> f when r.method == GET { r.SetTimeuot(1s); }\n"
    )
    uri = opened(client, file)
    everywhere = types.Range(types.Position(0, 0), types.Position(0, 0))

    async def asked(*only: str) -> list[types.CodeAction]:
        context = types.CodeActionContext(diagnostics=[], only=list(only) or None)
        params = types.CodeActionParams(types.TextDocumentIdentifier(uri), everywhere, context)
        found = await client.text_document_code_action_async(params)
        return [a for a in found or () if isinstance(a, types.CodeAction)]

    (action,) = await asked("source.fixAll.m4")
    assert action.kind == "source.fixAll.m4"
    assert action.edit is not None and action.edit.changes is not None
    assert [e.new_text for e in action.edit.changes.pop(uri)] == [
        "policy slow (HttpRequest r) on * -> f { r.SetTimeout(3s); }\n",
        'policy quick (HttpRequest r) on * -> f when r.method == "GET" { r.SetTimeout(1s); }\n',
    ]
    assert action.edit.changes == {}, "of this file alone"
    assert [a.title for a in await asked("source.fixAll")] == [action.title]
    assert "source.fixAll.m4" not in {a.kind for a in await asked()}, "that would be much work at each key"


@pytest.mark.asyncio
async def test_settings_on_the_disk_count(client: LanguageClient, tmp_path: Path) -> None:
    file = tmp_path / "ws/more.m4"
    file.write_text("policy lost (HttpRequest r) on f -> web { r.SetTimeout(1s); }\n")
    uri = opened(client, file)
    (found,) = await until_diagnosed(client, uri, ["dead-path"])
    assert found.severity == types.DiagnosticSeverity.Warning
    settings = tmp_path / "ws/m4.toml"
    for level, codes in (("error", ["dead-path"]), ("off", [])):
        settings.write_text(f'[diagnostics]\ndead-path = "{level}"\nshadow = 1\n')
        event = types.FileEvent(settings.as_uri(), types.FileChangeType.Changed)
        client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))
        await until_diagnosed(client, settings.as_uri(), ["bad-setting"])
        shown = await until_diagnosed(client, uri, codes)
        assert [d.severity for d in shown] == [types.DiagnosticSeverity.Error for _ in codes]


@pytest.mark.asyncio
async def test_a_template_on_the_disk_counts(client: LanguageClient, tmp_path: Path) -> None:
    file = tmp_path / "ws/gate.m4"
    supports = 'supports HttpRequest { operation DropRequest emits "deny.j2"; }'
    file.write_text(f"spec gate {{ tier proxy; cost 1; {supports} }}\n")
    uri = opened(client, file)
    await until_diagnosed(client, uri, ["missing-file"])
    template = tmp_path / "ws/deny.j2"

    def save(text: str, how: types.FileChangeType = types.FileChangeType.Changed) -> None:
        template.write_text(text)
        event = types.FileEvent(template.as_uri(), how)
        client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([event]))

    save("", types.FileChangeType.Created)
    await until_diagnosed(client, uri, [])
    save("é😀 {{ service }} {{ servise }}\n")
    (found,) = await until_diagnosed(client, template.as_uri(), ["bad-template"])
    assert found.range == types.Range(types.Position(0, 21), types.Position(0, 28))
    assert "did you mean `service`?" in found.message
    save("é😀 {{ service }}\n")
    await until_diagnosed(client, template.as_uri(), [])
    save("é😀 {{ service }} {% for %}\n")
    (found,) = await until_diagnosed(client, template.as_uri(), ["bad-template"])
    assert "the template is broken" in found.message
    save("é😀 {{ service }}\n")
    await until_diagnosed(client, template.as_uri(), [])


@pytest.mark.asyncio
async def test_a_folder_that_is_deleted_takes_its_files_along(client: LanguageClient, tmp_path: Path) -> None:
    """VS Code tells of the folder, and of none of the files in it."""
    folder = tmp_path / "ws/sub"
    folder.mkdir()
    file = folder / "lost.m4"
    file.write_text("policy lost (HttpRequest r) on f -> web { r.SetTimeout(1s); }\n")

    def tell(path: Path, how: types.FileChangeType) -> None:
        client.workspace_did_change_watched_files(
            types.DidChangeWatchedFilesParams([types.FileEvent(path.as_uri(), how)])
        )

    tell(file, types.FileChangeType.Created)
    await until_diagnosed(client, file.as_uri(), ["dead-path"])
    shutil.rmtree(folder)
    tell(folder, types.FileChangeType.Deleted)
    await until_diagnosed(client, file.as_uri(), [])


@pytest.mark.asyncio
async def test_completion_hover_and_definition(client: LanguageClient, tmp_path: Path) -> None:
    file = tmp_path / "ws/shop.m4"
    text = file.read_text()
    uri = opened(client, file)
    document = types.TextDocumentIdentifier(uri)
    found = await client.text_document_completion_async(types.CompletionParams(document, at(text, "    r.")))
    items = found.items if isinstance(found, types.CompletionList) else found or []
    assert {"Split", "DropRequest", "SetTimeout"} <= {i.label for i in items}
    inside = at(text, "r.Spl")
    hover = await client.text_document_hover_async(types.HoverParams(document, inside))
    assert hover is not None
    assert "versions" in str(hover.contents)
    policy = await client.text_document_hover_async(types.HoverParams(document, at(text, "policy send_")))
    assert policy is not None
    assert isinstance(policy.contents, types.MarkupContent)
    assert policy.contents.value.endswith("Matches 1 call path:\n- `e -> f`")
    target = await client.text_document_definition_async(types.DefinitionParams(document, inside))
    assert "core.m4" in str(target)


@pytest.mark.asyncio
async def test_runs_the_tests_of_a_text_that_is_not_saved(client: LanguageClient, tmp_path: Path) -> None:
    test = 'test "all" { request GET "/" on web -> f; expect deny; request GET "/" on e -> f; expect allow; }\n'
    mesh = tmp_path / "ws/shop.m4"
    uri = opened(client, mesh)
    found = await until_diagnosed(client, uri, ["contradiction"])
    text = f"{mesh.read_text()}\n{test}"
    change = types.TextDocumentContentChangeWholeDocument(text=text)
    document = types.VersionedTextDocumentIdentifier(uri=uri, version=2)
    client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
    found = await until_diagnosed(client, uri, ["contradiction", "failed-test"])
    (failed,) = (d for d in found if d.code == "failed-test")
    assert failed.message == "expected verdict = deny, but it is allow on web -> f: no policy writes it"
    assert [r.message for r in failed.related_information or ()] == [
        "`even` fires on web -> f: route = { v1: 50%, v2: 50% }"
    ]
    answer = await client.workspace_execute_command_async(types.ExecuteCommandParams("m4.test", [uri]))
    assert isinstance(answer, dict)
    assert (answer["ok"], answer["tests"]["summary"]) == (False, {"passed": 0, "failed": 1, "not_run": 0})
    assert "expected verdict = deny, but it is allow on web -> f" in answer["text"]


@pytest.mark.asyncio
async def test_deploys_into_a_folder(client: LanguageClient, tmp_path: Path) -> None:
    mesh = tmp_path / "ws/shop.m4"
    (tmp_path / "ws/even.m4").unlink()

    async def deploy(*where: str) -> dict[str, object]:
        given = types.ExecuteCommandParams("m4.deploy", [mesh.as_uri(), *where])
        answer = await client.workspace_execute_command_async(given)
        assert isinstance(answer, dict)
        return answer

    assert (await deploy("directory", str(tmp_path / "out")))["ok"] is True
    assert (tmp_path / "out/manifest.json").is_file()
    refused = await deploy("directory", str(tmp_path / "ws"))
    assert refused["ok"] is False
    assert "holds something else" in str(refused["message"])
    unknown = await deploy("the-moon")
    assert unknown == {
        "ok": False,
        "message": "not deployed, nothing changed: There is no target `the-moon`.",
        "text": "The targets are `local` and `directory`.",
    }
    with pytest.raises(JsonRpcException, match="`out` is no absolute path"):
        await deploy("directory", "out")


@pytest.mark.asyncio
async def test_a_policy_for_a_call_is_created_from_the_graph_file(client: LanguageClient, tmp_path: Path) -> None:
    graph = tmp_path / "ws/shop.graph.yaml"
    opened(client, tmp_path / "ws/shop.m4")
    item = types.TextDocumentItem(graph.as_uri(), "yaml", 1, graph.read_text())
    client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    line = graph.read_text().splitlines().index("  - [web, e]")
    at = types.Range(types.Position(line, 5), types.Position(line, 5))
    document = types.TextDocumentIdentifier(graph.as_uri())
    params = types.CodeActionParams(document, at, types.CodeActionContext([]))
    (action,) = (a for a in await client.text_document_code_action_async(params) or () if a.title.startswith("Create"))
    assert isinstance(action, types.CodeAction)
    assert action.title == "Create policy `web_to_e` for this call"
    if action.edit is None:
        action = await client.code_action_resolve_async(action)
    assert action.edit is not None and action.edit.changes is not None
    ((file, edits),) = action.edit.changes.items()
    assert file == (tmp_path / "ws/shop.m4").as_uri()
    assert "policy web_to_e (HttpRequest h) on * -> web -> e\n{\n}\n" in edits[0].new_text
