"""Whose a file named `.m4` is. GNU m4 and Autoconf have that ending, too: their files are left alone, by everybody.
(The editors' own rules are tested on the same samples in the tests of each.)"""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types
from m4c.cli.main import main
from m4c.files import looks_like_m4
from protocol_desk import Desk, diagnosed, open_session
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

HERE = Path(__file__).parent
OURS, GNU = (sorted((HERE / "detect" / kind).iterdir()) for kind in ("ours", "gnu"))
MACROS = [file for file in GNU if file.name not in ("empty.m4", "text.m4")]  # what these are nobody can tell


@pytest.mark.parametrize("file", OURS, ids=lambda p: p.name)
def test_ours(file: Path) -> None:
    text = file.read_text("utf-8")
    assert looks_like_m4(text) and looks_like_m4(text, claimed=True) and looks_like_m4(f"\ufeff{text}")
    assert looks_like_m4(text.replace("\n", "\r\n"))


@pytest.mark.parametrize("file", MACROS, ids=lambda p: p.name)
def test_those_of_gnu_m4(file: Path) -> None:
    text = file.read_text("utf-8")
    assert not looks_like_m4(text)
    assert not looks_like_m4(text, claimed=True), "an editor may take them for ours by their name"
    assert not looks_like_m4(text.replace("\n", "\r\n"))


@pytest.mark.parametrize("text", ["polcy typo (HttpRequest r) on a -> b {\n}\n", "mesh: shop;", "}", "/* a */ half;"])
def test_what_reads_like_code_is_not_passed_over(text: str) -> None:
    """A policy that is misspelt would not be enforced, and nobody would be told."""
    assert looks_like_m4(text)


@pytest.mark.parametrize("text", ["pol", "A text of this house", "# a comment", "// nothing yet"])
def test_what_says_nothing_is_ours_if_somebody_says_so(text: str) -> None:
    assert looks_like_m4(text, claimed=True)


PIECES = ("@a\n", "@a(", '"\\', '"', "/*", "{\n \n", "mesh ", 'mesh "\n', " ", "\n", "policy a\t")


@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_no_text_takes_long(piece: str) -> None:
    start = time.process_time()
    looks_like_m4(piece * 60_000 + "x")
    assert time.process_time() - start < 5, "it was looked at more than once"  # that takes 20 s at least


def test_the_command_line_passes_them_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(HERE / "workspace", tmp_path / "ws")
    (tmp_path / "ws/even.m4").unlink()
    assert main(["check", str(tmp_path / "ws")]) == 0
    before = capsys.readouterr().out
    shutil.copytree(HERE / "detect/gnu", tmp_path / "ws/gnu")
    texts = {file: file.read_bytes() for file in (tmp_path / "ws/gnu").iterdir()}
    assert main(["check", str(tmp_path / "ws")]) == 0
    assert capsys.readouterr().out == before
    assert main(["fmt", str(tmp_path / "ws/gnu")]) == 0
    assert {file: file.read_bytes() for file in (tmp_path / "ws/gnu").iterdir()} == texts


@pytest_lsp.fixture(
    params=("visual-studio-code", "neovim"), config=ClientServerConfig(server_command=[sys.executable, "-m", "m4ls"])
)
async def client(lsp_client: LanguageClient, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[None]:
    shutil.copytree(HERE / "detect/gnu", tmp_path / "ws/gnu")
    await open_session(lsp_client, tmp_path / "ws", client_capabilities(request.param))
    yield
    await lsp_client.shutdown_session()


@pytest.mark.asyncio
async def test_the_server_has_nothing_to_say_of_them(client: LanguageClient, tmp_path: Path) -> None:
    """Neither on the disk nor when an editor hands them over."""
    desk = Desk(client, tmp_path / "ws")
    desk.open("shop.m4")
    await diagnosed(client, desk, "even.m4", "contradiction")
    for file in MACROS:
        name = f"gnu/{file.name}"
        desk.open(name)
        here, start = desk.document(name), types.Position(0, 0)
        whole = types.Range(start, types.Position(99, 0))
        options = types.FormattingOptions(tab_size=4, insert_spaces=True)
        for line in range(len(desk.texts[name].split("\n"))):
            at = types.Position(line, 3)
            asked: dict[str, Any] = {
                "formatting": types.DocumentFormattingParams(here, options),
                "rangeFormatting": types.DocumentRangeFormattingParams(here, whole, options),
                "onTypeFormatting": types.DocumentOnTypeFormattingParams(here, at, ";", options),
                "completion": types.CompletionParams(here, at),
                "hover": types.HoverParams(here, at),
                "definition": types.DefinitionParams(here, at),
                "signatureHelp": types.SignatureHelpParams(here, at),
                "documentHighlight": types.DocumentHighlightParams(here, at),
                "documentSymbol": types.DocumentSymbolParams(here),
                "semanticTokens/full": types.SemanticTokensParams(here),
                "codeAction": types.CodeActionParams(here, types.Range(at, at), types.CodeActionContext([])),
                "codeLens": types.CodeLensParams(here),
                "inlayHint": types.InlayHintParams(here, whole),
                "documentLink": types.DocumentLinkParams(here),
                "foldingRange": types.FoldingRangeParams(here),
            }
            for method, params in asked.items():
                answer = await client.protocol.send_request_async(f"textDocument/{method}", params)
                assert _nothing(answer), f"{name}:{line + 1}: {method} is answered {answer}"
    desk.change("even.m4", types.TextDocumentContentChangeWholeDocument(""))  # a check after all that
    client.text_document_did_close(types.DidCloseTextDocumentParams(desk.document("shop.m4")))
    (desk.folder / "even.m4").unlink()
    gone = types.FileEvent(desk.uri("even.m4"), types.FileChangeType.Deleted)
    client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([gone]))
    for _ in range(2400):
        if not client.diagnostics.get(desk.uri("shop.m4")):
            break
        await asyncio.sleep(0.05)
    assert {uri: found for uri, found in client.diagnostics.items() if found} == {}


def _nothing(answer: Any) -> bool:
    if isinstance(answer, types.CompletionList):
        return not answer.items
    if isinstance(answer, types.SemanticTokens):
        return not answer.data
    return not answer
