"""A workspace in an editor that speaks the protocol, in whichever units of positions were agreed on."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from lsprotocol import types
from pygls.protocol import default_converter
from pytest_lsp import LanguageClient


async def open_session(
    client: LanguageClient, folder: Path, capabilities: types.ClientCapabilities
) -> types.InitializeResult:
    """Starts a session of an editor in a copy of the tests' workspace, which it makes in `folder`. What the server asks
    the editor for is taken note of."""
    asked = (types.CLIENT_REGISTER_CAPABILITY, types.WORKSPACE_CODE_LENS_REFRESH, types.WORKSPACE_INLAY_HINT_REFRESH)
    for request_of_the_server in asked:
        client.feature(request_of_the_server)(lambda *_: None)
    shutil.copytree(Path(__file__).parent / "workspace", folder, dirs_exist_ok=True)
    root = types.WorkspaceFolder(uri=folder.as_uri(), name=folder.name)
    params = types.InitializeParams(capabilities=capabilities, workspace_folders=[root], root_uri=root.uri)
    return await client.initialize_session(params)


class Desk:
    """A workspace in an editor: its files, all of them open."""

    def __init__(self, client: LanguageClient, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.texts: dict[str, str] = {}
        self.versions: dict[str, int] = {}

    def open(self, name: str, text: str | None = None) -> None:
        """Opens a file as it is on the disk, or with a text that is saved before."""
        file = self.folder / name
        if text is not None:
            file.write_bytes(text.encode())
        self.show(name, file.read_bytes().decode())

    def show(self, name: str, text: str) -> None:
        """Opens a file with a text that need not be the one on the disk."""
        self.texts[name] = text
        item = types.TextDocumentItem(uri=self.uri(name), language_id="m4", version=1, text=text)
        self.client.text_document_did_open(types.DidOpenTextDocumentParams(item))

    def change(self, name: str, change: types.TextDocumentContentChangeEvent) -> None:
        """Edits an open file; the caller knows what it says then."""
        self.versions[name] = self.versions.get(name, 1) + 1
        document = types.VersionedTextDocumentIdentifier(uri=self.uri(name), version=self.versions[name])
        self.client.text_document_did_change(types.DidChangeTextDocumentParams(document, [change]))

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def document(self, name: str) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri(name))

    def at(self, name: str, fragment: str) -> types.Position:
        """The position behind the first occurrence of a fragment, in the units that were agreed on."""
        text = self.texts[name]
        before = text[: text.index(fragment) + len(fragment)]
        return types.Position(before.count("\n"), self.length(before[before.rfind("\n") + 1 :]))

    def where(self, name: str, fragment: str) -> tuple[types.TextDocumentIdentifier, types.Position]:
        return self.document(name), self.at(name, fragment)

    @property
    def encoding(self) -> str:
        offered = self.client.capabilities.general.position_encodings if self.client.capabilities.general else None
        return offered[0] if offered else "utf-16"

    def length(self, text: str) -> int:
        """How many units a text has."""
        return (
            len(text.encode(f"{self.encoding}-le" if self.encoding != "utf-8" else "utf-8", "surrogatepass"))
            // {
                "utf-8": 1,
                "utf-16": 2,
                "utf-32": 4,
            }[self.encoding]
        )

    def said(self, range_: types.Range, name: str) -> str:
        """The text of a range."""
        lines = self.texts[name].split("\n")
        start, end = (self._offset(lines, p) for p in (range_.start, range_.end))
        return self.texts[name][start:end]

    def around(self, position: types.Position, name: str) -> tuple[str, str]:
        """The texts before and behind a position."""
        at = self._offset(self.texts[name].split("\n"), position)
        return self.texts[name][:at], self.texts[name][at:]

    def _offset(self, lines: list[str], position: types.Position) -> int:
        line = lines[position.line]
        at = next(i for i in range(len(line) + 1) if self.length(line[:i]) == position.character)
        return sum(len(before) + 1 for before in lines[: position.line]) + at

    def edited(self, edit: types.WorkspaceEdit | None) -> dict[str, str]:
        """The files that an edit changes, by name, with their new texts."""
        assert edit is not None
        changes: dict[str, list[Any]] = {uri: list(edits) for uri, edits in (edit.changes or {}).items()}
        for change in edit.document_changes or ():
            assert isinstance(change, types.TextDocumentEdit)
            changes[change.text_document.uri] = list(change.edits)
        out = {}
        for uri, edits in changes.items():
            name = Path(uri).name
            if name not in self.texts:
                self.texts[name] = (self.folder / name).read_text("utf-8")
            text, lines = self.texts[name], self.texts[name].split("\n")
            for e in sorted(edits, key=lambda e: (e.range.start.line, e.range.start.character), reverse=True):
                start, end = self._offset(lines, e.range.start), self._offset(lines, e.range.end)
                text = text[:start] + e.new_text + text[end:]
            out[name] = text
        return out


def advertised(capabilities: types.ServerCapabilities) -> set[str]:
    """What the server offers: each capability, and each further request or notification that its options stand for."""

    def names(of: dict[str, Any], above: str) -> set[str]:
        out = set()
        for name, value in of.items():
            if value is True or (isinstance(value, dict) and (value or not above)) or (value and not above):
                out.add(above + name)
            if isinstance(value, dict):
                out |= names(value, f"{above}{name}.")
        return out

    return names(default_converter().unstructure(capabilities), "")


async def diagnosed(client: LanguageClient, desk: Desk, name: str, *codes: str) -> None:
    """Waits until a file has a finding of each of these kinds; without any, until it has none of an error."""
    for _ in range(2400):
        found = {str(d.code) for d in client.diagnostics.get(desk.uri(name), ())}
        if set(codes) <= found if codes else found.isdisjoint(("unknown-name", "missing-file")):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{name} has {found}, not {codes}")
