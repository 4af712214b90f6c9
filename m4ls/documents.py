"""The texts of the documents that are open in the editor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from lsprotocol import types
from pygls.uris import from_fs_path, to_fs_path

from m4ls.positions import Encoding, Lines


@dataclass(slots=True)
class Document:
    """An open document: the client's name for it, its path, its text in this version."""

    uri: str
    path: str
    text: str
    version: int | None


def path_of(uri: str) -> str | None:
    """The absolute path of a file's URI, or of a path; None for anything that is no file."""
    if uri.startswith("/"):
        return uri
    path = to_fs_path(uri)
    return path.rstrip("/") or "/" if path else None


class Documents:
    """The open documents by path. Changes are applied here and nowhere else."""

    def __init__(self) -> None:
        self.encoding: Encoding = "utf-16"
        self.spellings = 0  # counts how often another URI came to stand for a file
        self._open: dict[str, Document] = {}

    def get(self, path: str) -> Document | None:
        return self._open.get(path)

    def versions(self) -> dict[str, int | None]:
        return {path: d.version for path, d in self._open.items()}

    def texts(self) -> dict[str, str]:
        return {path: d.text for path, d in self._open.items()}

    def uri(self, path: str) -> str:
        """The client's own URI of an open document; another file's is made from its path."""
        document = self._open.get(path)
        return document.uri if document else _uri(path)

    def open(self, item: types.TextDocumentItem) -> Document | None:
        path = path_of(item.uri)
        if path is None:
            return None
        self.spellings += item.uri != self.uri(path)
        self._open[path] = Document(item.uri, path, item.text, item.version)
        return self._open[path]

    def change(
        self, uri: str, version: int | None, changes: Sequence[types.TextDocumentContentChangeEvent]
    ) -> Document | None:
        """Applies changes in order, each to the text that the one before it made; None if it is not open."""
        document = self._open.get(path_of(uri) or "")
        if document is None:
            return None
        text = document.text
        for change in changes:
            if isinstance(change, types.TextDocumentContentChangePartial):
                lines = Lines(text, self.encoding)
                start, end = lines.offset(change.range.start), lines.offset(change.range.end)
                text = text[:start] + change.text + text[max(start, end) :]
            else:
                text = change.text
        document.text, document.version = text, version
        return document

    def close(self, uri: str) -> str | None:
        """Forgets a document; its path if it was open."""
        path = path_of(uri)
        document = self._open.pop(path, None) if path is not None else None
        if path is None or document is None:
            return None
        self.spellings += document.uri != _uri(path)
        return path


@lru_cache(maxsize=65536)
def _uri(path: str) -> str:
    return str(from_fs_path(path))
