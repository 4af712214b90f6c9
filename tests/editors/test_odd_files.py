"""Files as they are in the world, over the protocol as two editors speak it, in each unit of positions: letters that
take several units, other ends of lines, tabs, marks of the byte order, other encodings, and workspaces that lack
something."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types
from m4c.syntax.printer import format_text
from protocol_desk import Desk, open_session
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

HERE = Path(__file__).parent
PROFILES = [(p, e) for p in ("visual-studio-code", "neovim") for e in ("utf-8", "utf-16", "utf-32")]
FAILED = -32803  # the protocol's RequestFailed

TEXT = """/// Ö, é and 😀.
policy "é 😀" (HttpRequest r) on e -> f
{
    /* é 😀 */ r.SetHeader("x-tier", "😀"); r.SetTimeuot(1s);
}

/* 😀 */ policy last (HttpRequest r) on * -> "fé 😀" after "é 😀" when r.header["x-tier"] == "😀" { r.SetTimeout(2s) ; }
"""
WRITTEN = {
    "as it is": TEXT,
    "lines that end with CR LF": TEXT.replace("\n", "\r\n"),
    "tabs": TEXT.replace("    ", "\t\t").replace(" on ", "\ton\t"),
    "a mark of the byte order": "\ufeff" + TEXT,
    "all of it": "\ufeff" + TEXT.replace("    ", "\t\t").replace("\n", "\r\n"),
}


@pytest_lsp.fixture(
    params=PROFILES,
    ids=" in ".join,
    config=ClientServerConfig(server_command=[sys.executable, "-m", "m4ls"]),
)
async def client(lsp_client: LanguageClient, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[None]:
    profile, encoding = request.param
    capabilities = client_capabilities(profile)
    capabilities.general.position_encodings = [encoding]
    answer = await open_session(lsp_client, tmp_path / "ws", capabilities)
    assert answer.capabilities.position_encoding == encoding
    yield
    await lsp_client.shutdown_session()


@pytest.fixture
def desk(client: LanguageClient, tmp_path: Path) -> Desk:
    return Desk(client, tmp_path / "ws")


async def found(desk: Desk, name: str, codes: Iterable[str]) -> list[types.Diagnostic]:
    """Waits until a file has just these findings, whatever their order."""
    wanted = sorted(codes)
    for _ in range(2400):
        now = list(desk.client.diagnostics.get(desk.uri(name), ()))
        if sorted(str(d.code) for d in now) == wanted:
            return now
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name} has {now}, not {wanted}")


@pytest.mark.asyncio
@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN.keys())
async def test_places_are_those_of_the_text(desk: Desk, text: str) -> None:
    (desk.folder / "even.m4").unlink()
    desk.open("odd.m4", text)
    here = desk.document("odd.m4")

    wrong = await found(desk, "odd.m4", ["unknown-name", "unknown-name"])
    assert sorted(desk.said(d.range, "odd.m4") for d in wrong) == ['"fé 😀"', "SetTimeuot"]

    hover = await desk.client.text_document_hover_async(types.HoverParams(*desk.where("odd.m4", '"😀"); r.SetT')))
    assert hover is None, "there is no such operation"
    hover = await desk.client.text_document_hover_async(types.HoverParams(*desk.where("odd.m4", '"😀" { r.SetT')))
    assert hover is not None and hover.range is not None and desk.said(hover.range, "odd.m4") == "SetTimeout"

    document, position = desk.where("odd.m4", '"😀"); r.SetTime')
    items = await desk.client.text_document_completion_async(types.CompletionParams(document, position))
    edit = next(i for i in (items.items if items else ()) if i.label == "SetTimeout").text_edit
    assert isinstance(edit, types.TextEdit)
    assert (desk.said(edit.range, "odd.m4"), edit.range.end) == ("SetTime", position)

    where = desk.where("odd.m4", 'after "é')
    offered = await desk.client.text_document_prepare_rename_async(types.PrepareRenameParams(*where))
    assert isinstance(offered, types.PrepareRenamePlaceholder)
    assert desk.said(offered.range, "odd.m4") == offered.placeholder == '"é 😀"', "which is taken back as it is offered"
    renamed = await desk.client.text_document_rename_async(types.RenameParams(*where, new_name='"é€"'))
    assert desk.edited(renamed) == {"odd.m4": text.replace('"é 😀"', '"é€"')}

    place = next(d.range for d in wrong if desk.said(d.range, "odd.m4") == "SetTimeuot")
    context = types.CodeActionContext(diagnostics=wrong, only=[types.CodeActionKind.QuickFix])
    fixes = await desk.client.text_document_code_action_async(types.CodeActionParams(here, place, context))
    fix = next(a for a in fixes or () if isinstance(a, types.CodeAction) and "SetTimeout" in a.title)
    whole = fix if fix.edit is not None else await desk.client.code_action_resolve_async(fix)
    assert desk.edited(whole.edit) == {"odd.m4": text.replace("SetTimeuot", "SetTimeout")}

    options = types.FormattingOptions(tab_size=4, insert_spaces=True)
    edits = await desk.client.text_document_formatting_async(types.DocumentFormattingParams(here, options))
    pretty = desk.edited(types.WorkspaceEdit({here.uri: edits or []}))["odd.m4"]
    assert pretty == format_text(text) != text
    assert pretty.count("\r\n") == text.count("\r\n") and pretty.count("\ufeff") == text.count("\ufeff")

    tokens = await desk.client.text_document_semantic_tokens_full_async(types.SemanticTokensParams(here))
    named = [desk.said(r, "odd.m4") for r in _ranges(tokens.data if tokens else ())]
    assert {'"é 😀"', "last", "SetHeader", "SetTimeout", "HttpRequest", "e", "f", "r"} <= {*named}
    assert [n for n in named if not re.fullmatch(r'"[^"\n]*"|\w+', n)] == []

    everything = types.Range(types.Position(0, 0), types.Position(99, 0))
    hints = await desk.client.text_document_inlay_hint_async(types.InlayHintParams(here, everything)) or []
    beside = {str(h.label): desk.around(h.position, "odd.m4") for h in hints}
    assert beside["name:"][1].startswith('"x-tier"') and beside["value:"][1].startswith('"😀"')

    symbols = await desk.client.text_document_document_symbol_async(types.DocumentSymbolParams(here))
    assert [desk.said(s.selection_range, "odd.m4") for s in symbols or ()] == ['"é 😀"', "last"]
    folds = await desk.client.text_document_folding_range_async(types.FoldingRangeParams(here))
    assert [(f.start_line, f.end_line) for f in folds or ()] == [(2, 3)]


def _ranges(data: Iterable[int]) -> list[types.Range]:
    """The places of semantic tokens."""
    numbers = iter(data)
    line = character = 0
    out = []
    for down, right, length, _, _ in zip(*[numbers] * 5, strict=True):
        line, character = line + down, right + (0 if down else character)
        out.append(types.Range(types.Position(line, character), types.Position(line, character + length)))
    return out


@pytest.mark.asyncio
async def test_an_edit_behind_other_letters_is_made_where_it_was(desk: Desk) -> None:
    (desk.folder / "even.m4").unlink()
    desk.open("odd.m4", WRITTEN["all of it"])
    await found(desk, "odd.m4", ["unknown-name", "unknown-name"])
    edits = (('on\t* -> "', "fé 😀", ""), ('on\t* -> "', "", "f"), ('"😀"); r.SetTime', "uot", "out"))
    text = desk.texts["odd.m4"].replace(" on ", "\ton\t")
    desk.texts["odd.m4"] = text
    desk.change("odd.m4", types.TextDocumentContentChangeWholeDocument(text))
    for before, old, new in edits:
        place = types.Range(desk.at("odd.m4", before), desk.at("odd.m4", before + old))
        desk.change("odd.m4", types.TextDocumentContentChangePartial(range=place, text=new))
        text = text.replace(before + old, before + new)
        desk.texts["odd.m4"] = text
    merged = await found(desk, "odd.m4", ["merged", "merged", "unpropagated-read"])
    assert {desk.said(d.range, "odd.m4") for d in merged if d.code == "merged"} == {
        "r.SetTimeout(1s)",
        "r.SetTimeout(2s)",
    }
    everything = types.Range(types.Position(0, 0), types.Position(99, 0))
    params = types.InlayHintParams(desk.document("odd.m4"), everything)
    hints = await desk.client.text_document_inlay_hint_async(params) or []
    paths = [desk.around(h.position, "odd.m4")[0] for h in hints if "path" in str(h.label)]
    assert [re.search(r"on\t(.*)$", before)[1] for before in paths] == ["e -> f", '* -> "f"']  # type: ignore[index]


@pytest.mark.asyncio
async def test_files_that_nobody_has_opened(desk: Desk) -> None:
    """What is on the disk counts without its mark of the byte order, as in the editor that opens it."""
    text = 'mesh shop;\r\n/* é 😀 */ policy bom (HttpRequest r) on "é 😀" -> f { r.DropRequest(); }\r\n'
    (desk.folder / "even.m4").unlink()
    (desk.folder / "bom.m4").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (desk.folder / "latin.m4").write_bytes("policy café (HttpRequest r) on e -> f { }\n".encode("latin-1"))
    (desk.folder / "wide.m4").write_bytes("policy wide (HttpRequest r) on e -> f { }\n".encode("utf-16"))
    (desk.folder / "empty.m4").write_bytes(b"")
    names = ("bom.m4", "latin.m4", "wide.m4", "empty.m4")
    created = [types.FileEvent(desk.uri(name), types.FileChangeType.Created) for name in names]
    desk.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams(created))
    for shown in (False, True):
        desk.texts["bom.m4"] = text
        (unknown,) = await found(desk, "bom.m4", ["unknown-name"])
        assert desk.said(unknown.range, "bom.m4") == '"é 😀"'
        if not shown:
            desk.show("bom.m4", text)
    for name, said in (("latin.m4", "byte 0xe9 at offset 10"), ("wide.m4", "it looks like UTF-16")):
        (unread,) = await found(desk, name, ["bad-encoding"])
        assert said in unread.message
        assert unread.range == types.Range(types.Position(0, 0), types.Position(0, 0))
        desk.show(name, f"policy {name[:-3]} (HttpRequest r) on e -> f {{ r.SetTimeuot(1s); }}\n")
        (unknown,) = await found(desk, name, ["unknown-name"])
        assert desk.said(unknown.range, name) == "SetTimeuot", "the editor knows what it says"
        assert await _edits(desk, name) == []
        desk.client.text_document_did_close(types.DidCloseTextDocumentParams(desk.document(name)))
        await found(desk, name, ["bad-encoding"])
    assert await _edits(desk, "latin.m4") == [], "nobody knows what it says"
    assert not desk.client.diagnostics.get(desk.uri("empty.m4"))


async def _edits(desk: Desk, name: str) -> list[types.TextEdit]:
    options = types.FormattingOptions(tab_size=4, insert_spaces=True)
    params = types.DocumentFormattingParams(desk.document(name), options)
    return list(await desk.client.text_document_formatting_async(params) or ())


SHOP = (HERE / "workspace/shop.m4").read_text()
GATE = (
    'spec gate { tier proxy; cost 1; supports HttpRequest { operation SetHeader emits ; operation No emits "x.j2"; }\n'
)
# What a workspace lacks: the files that make it so (None: it is not there), and what is found in each then.
LACKING: dict[str, tuple[dict[str, str | None], dict[str, list[str]]]] = {
    "no file of the graph": ({"shop.graph.yaml": None}, {"shop.m4": ["missing-file"]}),
    "no graph": ({"shop.m4": SHOP.replace('    graph "shop.graph.yaml";\n', "")}, {"shop.m4": ["missing-declaration"]}),
    "a graph that is none": ({"shop.graph.yaml": "services: [\n"}, {"shop.graph.yaml": ["bad-graph"]}),
    "an empty graph": ({"shop.graph.yaml": ""}, {"shop.graph.yaml": ["bad-graph"]}),
    "no spec": ({"shop.m4": SHOP.replace("ebpf, envoy", "gate")}, {"shop.m4": ["unknown-name"]}),
    "no dataplane": (
        {"shop.m4": SHOP.replace("    dataplanes ebpf, envoy;\n", "")},
        {"shop.m4": ["missing-declaration"]},
    ),
    "a broken spec": (
        {"shop.m4": SHOP.replace("ebpf, envoy", "gate"), "gate.m4": GATE},
        {"gate.m4": ["syntax-error", "syntax-error", "unknown-name", "missing-file"], "shop.m4": ["unenforceable"] * 2},
    ),
    "imports that go round": (
        {"a.m4": 'import "b.m4";\n', "b.m4": 'import "a.m4";\nimport "b.m4";\nimport "none.m4";\n'},
        {"a.m4": [], "b.m4": ["missing-file"]},
    ),
    "an empty file": ({"empty.m4": ""}, {"empty.m4": [], "shop.m4": []}),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("client", (PROFILES[1], PROFILES[3]), ids=" in ".join, indirect=True)  # as they come
@pytest.mark.parametrize(("files", "codes"), LACKING.values(), ids=LACKING.keys())
async def test_what_a_workspace_lacks_is_said_and_the_rest_is_answered(
    desk: Desk, files: dict[str, str | None], codes: dict[str, list[str]]
) -> None:
    changes = [types.FileEvent(desk.uri("even.m4"), types.FileChangeType.Deleted)]
    (desk.folder / "even.m4").unlink()
    for name, text in files.items():
        if text is None:
            (desk.folder / name).unlink()
        else:
            (desk.folder / name).write_text(text)
        changes.append(types.FileEvent(desk.uri(name), types.FileChangeType.Changed))
    desk.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams(changes))
    for name in {"shop.m4", *files} - {name for name, text in files.items() if text is None}:
        desk.open(name)
    for name, wanted in codes.items():
        await found(desk, name, wanted)

    where = desk.where("shop.m4", "policy lab")
    hover = await desk.client.text_document_hover_async(types.HoverParams(*where))
    assert hover is not None and isinstance(hover.contents, types.MarkupContent)
    assert "What everybody is told." in hover.contents.value
    document, position = desk.where("shop.m4", "{\n    r.SetH")
    items = await desk.client.text_document_completion_async(types.CompletionParams(document, position))
    assert "SetHeader" in [i.label for i in (items.items if items else ())], "which core.m4 declares"
    renamed = await desk.client.text_document_rename_async(types.RenameParams(*where, new_name="told"))
    assert desk.edited(renamed)["shop.m4"] == desk.texts["shop.m4"].replace("policy label", "policy told")
    assert await _edits(desk, "shop.m4") == []
    for name in desk.texts.keys() & {"shop.m4", *files}:
        for line in range(0, desk.texts[name].count("\n") + 1, 3):
            await _everything(desk, name, types.Position(line, 8))


async def _everything(desk: Desk, name: str, at: types.Position) -> None:
    """Asks all that can be asked about a place: there is an answer to each, or a reason for people."""
    here, whole = desk.document(name), types.Range(types.Position(0, 0), types.Position(99, 0))
    context = types.ReferenceContext(include_declaration=True)
    asked: tuple[tuple[str, Any], ...] = (
        ("completion", types.CompletionParams(here, at)),
        ("hover", types.HoverParams(here, at)),
        ("signatureHelp", types.SignatureHelpParams(here, at)),
        ("definition", types.DefinitionParams(here, at)),
        ("typeDefinition", types.TypeDefinitionParams(here, at)),
        ("implementation", types.ImplementationParams(here, at)),
        ("references", types.ReferenceParams(context, here, at)),
        ("documentHighlight", types.DocumentHighlightParams(here, at)),
        ("prepareRename", types.PrepareRenameParams(here, at)),
        ("prepareCallHierarchy", types.CallHierarchyPrepareParams(here, at)),
        ("selectionRange", types.SelectionRangeParams(here, [at])),
        ("codeAction", types.CodeActionParams(here, types.Range(at, at), types.CodeActionContext([]))),
        ("codeLens", types.CodeLensParams(here)),
        ("inlayHint", types.InlayHintParams(here, whole)),
        ("semanticTokens/full", types.SemanticTokensParams(here)),
        ("documentSymbol", types.DocumentSymbolParams(here)),
        ("foldingRange", types.FoldingRangeParams(here)),
        ("documentLink", types.DocumentLinkParams(here)),
    )
    for method, params in asked:
        try:
            await desk.client.protocol.send_request_async(f"textDocument/{method}", params)
        except JsonRpcException as refused:
            assert (refused.code, method) == (FAILED, "prepareRename"), f"{method} at {name}:{at}: {refused}"
            assert not refused.message.startswith("the language server failed")
