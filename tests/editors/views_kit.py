"""What the tests of the server's own views share: documents of a client that pytest-lsp drives."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from lsprotocol import types
from pytest_lsp import LanguageClient

COMMAND = [sys.executable, "-m", "m4ls"]


def opened(client: LanguageClient, file: Path) -> str:
    item = types.TextDocumentItem(file.as_uri(), "m4", 1, file.read_text())
    client.text_document_did_open(types.DidOpenTextDocumentParams(item))
    return file.as_uri()


def changed(client: LanguageClient, uri: str, version: int, text: str) -> None:
    document = types.VersionedTextDocumentIdentifier(version, uri)
    change = types.TextDocumentContentChangeWholeDocument(text)
    client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))


async def until(holds: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.perf_counter() + seconds
    while not holds():
        assert time.perf_counter() < end, "it did not come to that"
        await asyncio.sleep(0.01)
