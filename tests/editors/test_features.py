"""Every capability that the server offers, asked for over the protocol as two editors do it."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_lsp
from lsprotocol import types
from protocol_desk import Desk, advertised, diagnosed, open_session
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

HERE = Path(__file__).parent
PROFILES = ("visual-studio-code", "neovim", "neovim in utf-32")  # the first two count in UTF-16 and in UTF-8
EXTRA = """/// Many words.
policy "é 😀" (HttpRequest r) on e -> f after send_some { r.Mark("seen"); }
policy later (HttpRequest r) on * -> f after "é 😀" when r.mark["seen"] { r.SetTimeout(2s); }
/* é 😀 */ import "even.m4";
"""


@pytest_lsp.fixture(params=PROFILES, config=ClientServerConfig(server_command=[sys.executable, "-m", "m4ls"]))
async def client(lsp_client: LanguageClient, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[None]:
    profile, _, encoding = request.param.partition(" in ")
    capabilities = client_capabilities(profile)
    if encoding:
        capabilities.general.position_encodings = [encoding]
    if request.param == "visual-studio-code":  # the profile is of a version that could not yet do this
        symbol = capabilities.workspace.symbol
        symbol.resolve_support = types.ClientSymbolResolveOptions(["location.range"])
    answer = await open_session(lsp_client, tmp_path / "ws", capabilities)
    lsp_client.offered = answer.capabilities
    yield
    await lsp_client.shutdown_session()


@pytest.fixture
def desk(client: LanguageClient, tmp_path: Path) -> Desk:
    opened = Desk(client, tmp_path / "ws")
    for name in ("shop.m4", "even.m4"):
        opened.open(name)
    opened.open("extra.m4", EXTRA)
    return opened


Exercise = Callable[[LanguageClient, Desk], Awaitable[None]]
EXERCISES: dict[str, Exercise] = {}


def exercises(*names: str) -> Callable[[Exercise], Exercise]:
    """The capabilities that a function asks for, as the protocol spells them."""

    def add(exercise: Exercise) -> Exercise:
        EXERCISES.update(dict.fromkeys(names, exercise))
        return exercise

    return add


@exercises(
    "positionEncoding", "textDocumentSync", "textDocumentSync.openClose", "textDocumentSync.save", "workspace",
    "workspace.workspaceFolders", "workspace.workspaceFolders.supported",
    "workspace.workspaceFolders.changeNotifications",
)  # fmt: skip
async def documents(client: LanguageClient, desk: Desk) -> None:
    document = types.VersionedTextDocumentIdentifier(uri=desk.uri("extra.m4"), version=2)
    change = types.TextDocumentContentChangePartial(
        range=types.Range(desk.at("extra.m4", "on * -> "), desk.at("extra.m4", "on * -> f")), text="nowhere"
    )
    client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))
    await diagnosed(client, desk, "extra.m4", "unknown-name")
    client.text_document_did_save(types.DidSaveTextDocumentParams(desk.document("extra.m4")))
    client.text_document_did_close(types.DidCloseTextDocumentParams(desk.document("extra.m4")))
    await diagnosed(client, desk, "extra.m4")
    desk.open("extra.m4")
    folder = types.WorkspaceFolder(uri=desk.folder.as_uri(), name="ws")
    for event in (
        types.WorkspaceFoldersChangeEvent(added=[], removed=[folder]),
        types.WorkspaceFoldersChangeEvent(added=[folder], removed=[]),
    ):
        client.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(event))
    await diagnosed(client, desk, "even.m4", "contradiction")


@exercises("completionProvider", "completionProvider.resolveProvider")
async def completion(client: LanguageClient, desk: Desk) -> None:
    document, position = desk.where("extra.m4", "send_some { r.Ma")
    found = await client.text_document_completion_async(types.CompletionParams(document, position))
    items = found.items if isinstance(found, types.CompletionList) else found or []
    mark = next(i for i in items if i.label == "Mark")
    assert isinstance(mark.text_edit, types.TextEdit)
    assert desk.said(mark.text_edit.range, "extra.m4") == "Ma"
    assert mark.text_edit.range.end == position
    options = client.capabilities.text_document.completion.completion_item
    later = "documentation" in options.resolve_support.properties
    assert (mark.documentation is None) is later, "who can ask for it gets it when it is looked at"
    await client.text_document_completion_async(types.CompletionParams(document, position))
    whole = await client.completion_item_resolve_async(mark)  # of the answer before: an editor may still show it
    assert isinstance(whole.documentation, types.MarkupContent)
    assert "operation Mark(name: string)" in whole.documentation.value
    await auto_import(client, desk)


async def auto_import(client: LanguageClient, desk: Desk) -> None:
    """A file that is no part of the workspace may use the names of those beside it."""
    beside = desk.folder.parent / "beside"
    beside.mkdir()
    (beside / "base.m4").write_text("policy base (HttpRequest r) on * { r.DropRequest(); }\n")
    uri, text = (beside / "loose.m4").as_uri(), "/* é 😀 */ policy p (HttpRequest r) on * after ba { }\n"
    item = types.TextDocumentItem(uri=uri, language_id="m4", version=1, text=text)
    client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    document, column = types.TextDocumentIdentifier(uri), desk.length(text[: text.index("ba ") + 2])
    params = types.CompletionParams(document, types.Position(0, column))
    found = await client.text_document_completion_async(params)
    base = next(i for i in (found.items if found else ()) if i.label == "base")
    whole = await client.completion_item_resolve_async(base)
    (edit,) = whole.additional_text_edits or ()
    assert edit.new_text == 'import "base.m4";\n\n'
    assert edit.range.start == types.Position(0, desk.length("/* é 😀 */ "))
    client.text_document_did_close(types.DidCloseTextDocumentParams(document))


@exercises("hoverProvider")
async def hover(client: LanguageClient, desk: Desk) -> None:
    found = await client.text_document_hover_async(types.HoverParams(*desk.where("extra.m4", '"seen"] { r.SetT')))
    assert found is not None and found.range is not None
    assert desk.said(found.range, "extra.m4") == "SetTimeout"


@exercises("definitionProvider")
async def definition(client: LanguageClient, desk: Desk) -> None:
    found = await client.text_document_definition_async(types.DefinitionParams(*desk.where("extra.m4", 'after "é')))
    assert isinstance(found, list)
    assert [desk.said(f.range, Path(f.uri).name) for f in found if isinstance(f, types.Location)] == ['"é 😀"']
    version = await client.text_document_definition_async(types.DefinitionParams(*desk.where("shop.m4", "Split({ v")))
    assert isinstance(version, list) and len(version) == 1 and isinstance(version[0], types.Location)
    assert Path(version[0].uri).name == "shop.graph.yaml" and version[0].range.start.line == 3


@exercises("declarationProvider")
async def declaration(client: LanguageClient, desk: Desk) -> None:
    found = await client.text_document_declaration_async(types.DeclarationParams(*desk.where("extra.m4", 'after "é')))
    assert isinstance(found, list)
    assert [desk.said(f.range, Path(f.uri).name) for f in found if isinstance(f, types.Location)] == ['"é 😀"']


@exercises("typeDefinitionProvider")
async def type_definition(client: LanguageClient, desk: Desk) -> None:
    where = desk.where("extra.m4", 'after "é')
    found = await client.text_document_type_definition_async(types.TypeDefinitionParams(*where))
    assert isinstance(found, list)
    assert [Path(f.uri).name for f in found if isinstance(f, types.Location)] == ["core.m4"]


@exercises("implementationProvider")
async def implementation(client: LanguageClient, desk: Desk) -> None:
    where = desk.where("extra.m4", "{ r.SetT")
    found = await client.text_document_implementation_async(types.ImplementationParams(*where))
    assert isinstance(found, list)
    assert {Path(f.uri).parent.name for f in found if isinstance(f, types.Location)} == {"envoy"}


@exercises("documentHighlightProvider")
async def highlight(client: LanguageClient, desk: Desk) -> None:
    where = desk.where("extra.m4", 'after "é')
    found = await client.text_document_document_highlight_async(types.DocumentHighlightParams(*where))
    assert [(desk.said(f.range, "extra.m4"), f.kind) for f in found or ()] == [
        ('"é 😀"', types.DocumentHighlightKind.Write),
        ('"é 😀"', types.DocumentHighlightKind.Read),
    ]


@exercises("workspaceSymbolProvider", "workspaceSymbolProvider.resolveProvider")
async def workspace_symbols(client: LanguageClient, desk: Desk) -> None:
    params = types.WorkspaceSymbolParams("é 😀")
    (symbol,) = await client.protocol.send_request_async(types.WORKSPACE_SYMBOL, params) or ()
    lazy = client.capabilities.workspace.symbol.resolve_support is not None
    assert isinstance(symbol.location, types.LocationUriOnly) is lazy
    if lazy:
        symbol = await client.workspace_symbol_resolve_async(symbol)
    assert isinstance(symbol.location, types.Location)
    assert desk.said(symbol.location.range, "extra.m4") == '"é 😀"'


@exercises("documentLinkProvider")
async def links(client: LanguageClient, desk: Desk) -> None:
    found = await client.text_document_document_link_async(types.DocumentLinkParams(desk.document("shop.m4")))
    assert [(desk.said(f.range, "shop.m4"), f.target) for f in found or ()] == [
        ("shop.graph.yaml", desk.uri("shop.graph.yaml"))
    ]
    found = await client.text_document_document_link_async(types.DocumentLinkParams(desk.document("extra.m4")))
    assert [(desk.said(f.range, "extra.m4"), f.target) for f in found or ()] == [("even.m4", desk.uri("even.m4"))]


@exercises("referencesProvider")
async def references(client: LanguageClient, desk: Desk) -> None:
    where = desk.where("extra.m4", 'after "é')
    context = types.ReferenceContext(include_declaration=True)
    found = await client.text_document_references_async(types.ReferenceParams(context, *where))
    assert [(desk.said(f.range, "extra.m4"), f.range.start.line) for f in found or ()] == [('"é 😀"', 1), ('"é 😀"', 2)]


@exercises("documentSymbolProvider")
async def symbols(client: LanguageClient, desk: Desk) -> None:
    params = types.DocumentSymbolParams(desk.document("extra.m4"))
    found = await client.text_document_document_symbol_async(params)
    assert [s.name for s in found or ()] == ["é 😀", "later"]


@exercises("foldingRangeProvider")
async def folding(client: LanguageClient, desk: Desk) -> None:
    found = await client.text_document_folding_range_async(types.FoldingRangeParams(desk.document("shop.m4")))
    assert [(f.start_line, f.end_line) for f in found or ()] == [(0, 2), (6, 7), (11, 12)]


@exercises("codeActionProvider")
async def actions(client: LanguageClient, desk: Desk) -> None:
    await diagnosed(client, desk, "even.m4", "contradiction")
    place = types.Range(desk.at("even.m4", "r.Spl"), desk.at("even.m4", "r.Spl"))
    params = types.CodeActionParams(desk.document("even.m4"), place, types.CodeActionContext(diagnostics=[]))
    found = await client.text_document_code_action_async(params)
    fix = next(a for a in found or () if isinstance(a, types.CodeAction) and a.title.startswith("Let `even` override"))
    assert " overrides send_some {" in desk.edited(fix.edit)["even.m4"]


@exercises("codeActionProvider.resolveProvider")
async def rewritings(client: LanguageClient, desk: Desk) -> None:
    desk.open("more.m4", "policy more (HttpRequest r) on web -> (e | f) { r.SetTimeout(9s); }\n")
    place = types.Range(desk.at("more.m4", "-> (e"), desk.at("more.m4", "-> (e"))
    only = types.CodeActionContext(diagnostics=[], only=[types.CodeActionKind.Refactor])
    found = await client.text_document_code_action_async(types.CodeActionParams(desk.document("more.m4"), place, only))
    (action,) = [a for a in found or () if isinstance(a, types.CodeAction)]
    assert (action.title, action.kind) == ("Extract group `e_or_f`", types.CodeActionKind.RefactorExtract)
    whole = action if action.edit is not None else await client.code_action_resolve_async(action)
    texts = desk.edited(whole.edit)
    assert "on web -> @e_or_f {" in texts["more.m4"]
    assert "group e_or_f = { e, f };" in texts["shop.m4"]
    (desk.folder / "more.m4").unlink()
    client.text_document_did_close(types.DidCloseTextDocumentParams(desk.document("more.m4")))


@exercises("codeLensProvider", "codeLensProvider.resolveProvider")
async def lenses(client: LanguageClient, desk: Desk) -> None:
    found = await client.text_document_code_lens_async(types.CodeLensParams(desk.document("extra.m4")))
    whole = [await client.code_lens_resolve_async(lens) for lens in found or ()]
    assert {lens.range.start.line for lens in whole} == {1, 2}
    assert all(lens.command is not None and lens.command.title for lens in whole)


@exercises("inlayHintProvider")
async def hints(client: LanguageClient, desk: Desk) -> None:
    everything = types.Range(types.Position(0, 0), types.Position(9, 0))
    params = types.InlayHintParams(desk.document("extra.m4"), everything)
    found = await client.text_document_inlay_hint_async(params) or []
    assert desk.at("extra.m4", "on e -> f") in [h.position for h in found if h.label == "1 path"]


@exercises(
    "semanticTokensProvider", "semanticTokensProvider.full", "semanticTokensProvider.full.delta",
    "semanticTokensProvider.range", "semanticTokensProvider.legend",
)  # fmt: skip
async def semantic_tokens(client: LanguageClient, desk: Desk) -> None:
    document = desk.document("extra.m4")
    full = await client.text_document_semantic_tokens_full_async(types.SemanticTokensParams(document))
    assert full is not None and full.result_id is not None
    assert list(full.data[:3]) == [1, len("policy "), desk.length('"é 😀"')]
    second = types.Range(desk.at("extra.m4", "\n" + EXTRA.split("\n")[1] + "\n"), types.Position(3, 0))
    part = await client.text_document_semantic_tokens_range_async(types.SemanticTokensRangeParams(document, second))
    assert part is not None and list(part.data[1:]) == [len("policy "), *list(full.data)[-len(part.data) + 2 :]]
    again = types.SemanticTokensDeltaParams(document, full.result_id)
    same = await client.text_document_semantic_tokens_full_delta_async(again)
    assert isinstance(same, types.SemanticTokensDelta) and not same.edits
    unknown = types.SemanticTokensDeltaParams(document, "none of ours")
    whole = await client.text_document_semantic_tokens_full_delta_async(unknown)
    assert isinstance(whole, types.SemanticTokens) and list(whole.data) == list(full.data)


@exercises("signatureHelpProvider")
async def signature(client: LanguageClient, desk: Desk) -> None:
    where = desk.where("extra.m4", 'r.Mark("s')
    found = await client.text_document_signature_help_async(types.SignatureHelpParams(*where))
    assert found is not None
    assert (found.signatures[0].label, found.active_parameter) == ("Mark(name: string)", 0)
    assert [p.label for p in found.signatures[0].parameters or ()] == [(5, 17)]


@exercises("documentFormattingProvider", "documentRangeFormattingProvider", "documentOnTypeFormattingProvider")
async def formatting(client: LanguageClient, desk: Desk) -> None:
    ugly = '/* 😀 */ policy  x ("HttpRequest" r) on  "f" { /* é */ r.Mark( "é" ); }\n\n\n\nmesh  shop;\n'
    desk.open("ugly.m4", ugly)
    document, options = desk.document("ugly.m4"), types.FormattingOptions(tab_size=2, insert_spaces=False)
    whole = await client.text_document_formatting_async(types.DocumentFormattingParams(document, options))
    pretty = '/* 😀 */ policy x ("HttpRequest" r) on "f" { /* é */ r.Mark("é"); }\n\nmesh shop;\n'
    assert desk.edited(types.WorkspaceEdit({desk.uri("ugly.m4"): whole or []})) == {"ugly.m4": pretty}
    first = types.Range(types.Position(0, 0), desk.at("ugly.m4", "r.Mark("))
    some = await client.text_document_range_formatting_async(
        types.DocumentRangeFormattingParams(document, first, options)
    )
    partly = pretty.partition("\n")[0] + ugly[ugly.index("\n") :]
    assert desk.edited(types.WorkspaceEdit({desk.uri("ugly.m4"): some or []})) == {"ugly.m4": partly}
    typed = await client.text_document_on_type_formatting_async(
        types.DocumentOnTypeFormattingParams(document, desk.at("ugly.m4", "shop;"), ";", options)
    )
    ended = ugly.replace("mesh  shop", "mesh shop")
    assert desk.edited(types.WorkspaceEdit({desk.uri("ugly.m4"): typed or []})) == {"ugly.m4": ended}
    client.text_document_did_close(types.DidCloseTextDocumentParams(document))


@exercises("selectionRangeProvider")
async def selections(client: LanguageClient, desk: Desk) -> None:
    document, position = desk.where("extra.m4", 'after "é')
    (found,) = await client.text_document_selection_range_async(types.SelectionRangeParams(document, [position])) or ()
    said = []
    while found is not None:
        said.append(desk.said(found.range, "extra.m4"))
        found = found.parent
    assert said[:3] == ["é", "é 😀", '"é 😀"']
    assert said[-1] == EXTRA


@exercises("linkedEditingRangeProvider")
async def linked(client: LanguageClient, desk: Desk) -> None:
    where = desk.where("extra.m4", 'policy "é 😀" (HttpRequest ')
    found = await client.text_document_linked_editing_range_async(types.LinkedEditingRangeParams(*where))
    assert found is not None
    assert [desk.said(r, "extra.m4") for r in found.ranges] == ["r", "r"]


@exercises("callHierarchyProvider")
async def call_hierarchy(client: LanguageClient, desk: Desk) -> None:
    where = desk.where("extra.m4", '"é 😀" (HttpRequest r) on e -> f')
    (f,) = await client.text_document_prepare_call_hierarchy_async(types.CallHierarchyPrepareParams(*where)) or ()
    assert (f.name, Path(f.uri).name) == ("f", "shop.graph.yaml")
    calls = await client.call_hierarchy_incoming_calls_async(types.CallHierarchyIncomingCallsParams(f)) or ()
    assert [(c.from_.name, [(r.start.line, r.start.character) for r in c.from_ranges]) for c in calls] == [
        ("e", [(7, 4)]),
        ("web", [(6, 4)]),
    ]
    assert calls[0].from_.detail == "policies even, é 😀, later and 1 more"
    out = await client.call_hierarchy_outgoing_calls_async(types.CallHierarchyOutgoingCallsParams(calls[1].from_))
    assert [c.to.name for c in out or ()] == ["e", "f"]


@exercises(
    "workspace.fileOperations", "workspace.fileOperations.willRename", "workspace.fileOperations.didRename",
)  # fmt: skip
async def moves(client: LanguageClient, desk: Desk) -> None:
    old, new = desk.folder / "shop.graph.yaml", desk.folder / "data é/😀.yaml"
    params = types.RenameFilesParams([types.FileRename(old.as_uri(), new.as_uri())])
    edit = await client.workspace_will_rename_files_async(params)
    changed = desk.edited(edit)
    assert changed.keys() == {"shop.m4"}
    assert 'graph "data é/😀.yaml";' in changed["shop.m4"]
    new.parent.mkdir()
    old.rename(new)
    client.workspace_did_rename_files(params)
    await diagnosed(client, desk, "shop.m4", "missing-file")
    back = types.RenameFilesParams([types.FileRename(new.as_uri(), old.as_uri())])
    new.rename(old)
    assert await client.workspace_will_rename_files_async(back) is None, "it was not edited in between"
    client.workspace_did_rename_files(back)
    await diagnosed(client, desk, "shop.m4")


@exercises("executeCommandProvider")
async def commands(client: LanguageClient, desk: Desk) -> None:
    given = types.ExecuteCommandParams("m4.test", [desk.uri("shop.m4")])
    answer = await client.workspace_execute_command_async(given)
    assert isinstance(answer, dict) and answer["ok"] is True


@exercises("renameProvider", "renameProvider.prepareProvider")
async def rename(client: LanguageClient, desk: Desk) -> None:
    where = desk.where("extra.m4", 'after "é')
    prepared = await client.text_document_prepare_rename_async(types.PrepareRenameParams(*where))
    assert isinstance(prepared, types.PrepareRenamePlaceholder)
    assert (desk.said(prepared.range, "extra.m4"), prepared.placeholder) == ('"é 😀"', '"é 😀"')
    edit = await client.text_document_rename_async(types.RenameParams(*where, new_name="first"))
    assert desk.edited(edit) == {"extra.m4": EXTRA.replace('"é 😀"', '"first"')}
    edit = await client.text_document_rename_async(types.RenameParams(*desk.where("shop.m4", "on e"), new_name="g"))
    changed = desk.edited(edit)
    assert changed.keys() == {"shop.m4", "extra.m4", "shop.graph.yaml"}
    assert "  - [web, g]\n" in changed["shop.graph.yaml"]
    assert edit is not None
    able = client.capabilities.text_document and client.capabilities.text_document.rename
    if able and able.honors_change_annotations:
        shown = [a.label for a in (edit.change_annotations or {}).values()]
        assert shown == ["`e` where it is named", "`e` in the service graph"]
    version = desk.where("shop.m4", "r.Split({ v")
    edit = await client.text_document_rename_async(types.RenameParams(*version, new_name="old"))
    changed = desk.edited(edit)
    assert changed.keys() == {"shop.m4", "even.m4", "shop.graph.yaml"}
    assert "  e: {versions: [v1, v2]}\n  f: {versions: [old, v2]}\n" in changed["shop.graph.yaml"]
    assert "r.Split({ old: 50%, v2: 50% })" in changed["even.m4"]
    with pytest.raises(JsonRpcException, match="`SetTimeout` is declared in core"):
        await client.text_document_rename_async(types.RenameParams(*desk.where("extra.m4", "r.SetT"), new_name="Wait"))


@pytest.mark.asyncio
async def test_every_capability_does_what_it_says(client: LanguageClient, desk: Desk) -> None:
    offered = advertised(client.offered)
    assert offered <= EXERCISES.keys(), "these are offered and never asked for"
    done: set[Exercise] = set()
    for name in sorted(offered):
        if EXERCISES[name] not in done:
            done.add(EXERCISES[name])
            await EXERCISES[name](client, desk)
    agreed = client.offered.position_encoding
    assert (agreed or "utf-16") == desk.encoding
    assert set(EXERCISES.values()) - done <= {moves}, "files that move are offered to clients that tell of them"


@pytest.mark.asyncio
async def test_folders_of_one_window_do_not_mix(client: LanguageClient, desk: Desk, tmp_path: Path) -> None:
    other = Path(shutil.copytree(HERE / "workspace", tmp_path / "other"))
    mesh = (other / "shop.m4").read_text().replace("mesh shop", "mesh second").replace("send_some", "send_more")
    (other / "shop.m4").write_text(mesh)
    added = types.WorkspaceFolder(uri=other.as_uri(), name="other")
    add = types.WorkspaceFoldersChangeEvent(added=[added], removed=[])
    client.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(add))
    item = types.TextDocumentItem(uri=(other / "shop.m4").as_uri(), language_id="m4", version=1, text=mesh)
    client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    for uri in (item.uri, (other / "even.m4").as_uri(), desk.uri("even.m4")):
        for _ in range(400):
            if found := [d.message for d in client.diagnostics.get(uri, ()) if d.code == "contradiction"]:
                break
            await asyncio.sleep(0.05)
        assert found, uri
        assert not any(d.code in ("which-mesh", "duplicate-name") for d in client.diagnostics[uri])
    context = types.ReferenceContext(include_declaration=True)
    at = types.Position(6, mesh.splitlines()[6].index("send_more"))
    where = types.TextDocumentIdentifier(item.uri), at
    references = await client.text_document_references_async(types.ReferenceParams(context, *where))
    assert {r.uri for r in references or ()} == {item.uri}
    remove = types.WorkspaceFoldersChangeEvent(added=[], removed=[added])
    client.text_document_did_close(types.DidCloseTextDocumentParams(where[0]))
    client.workspace_did_change_workspace_folders(types.DidChangeWorkspaceFoldersParams(remove))
    for _ in range(400):
        if not client.diagnostics.get(item.uri) and not client.diagnostics.get((other / "even.m4").as_uri()):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("findings of a folder that was removed are still shown")
