"""From the plain values of `m4c.ide` to the types of the protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.positions import Encoding, Lines

if TYPE_CHECKING:
    from m4c.ide.diagnostics import Diagnostic
    from m4c.workspace import Span, Workspace

SOURCE = "m4"


class Converter:
    """Converts the spans of a workspace; lives for one answer, for the lines that it keeps may change after it."""

    def __init__(self, workspace: Workspace, encoding: Encoding, uri: Callable[[str], str]) -> None:
        self.workspace = workspace
        self.encoding = encoding
        self.uri = uri
        self._lines: dict[str, Lines] = {}

    def lines(self, file: str) -> Lines:
        if file not in self._lines:
            self._lines[file] = Lines(self.workspace.text(file), self.encoding)
        return self._lines[file]

    def range(self, span: Span) -> types.Range:
        return self.lines(span.file).range(span.start, span.end)

    def location(self, span: Span) -> types.Location:
        return types.Location(self.uri(span.file), self.range(span))


def diagnostic(found: Diagnostic, convert: Converter) -> types.Diagnostic:
    related = [types.DiagnosticRelatedInformation(convert.location(r.span), r.message) for r in found.related]
    return types.Diagnostic(
        range=convert.range(found.span),
        message=found.message,
        severity=types.DiagnosticSeverity(int(found.severity)),
        code=found.code,
        source=SOURCE,
        related_information=related or None,
        tags=[types.DiagnosticTag.Unnecessary] if found.unnecessary else None,
    )


def markdown(text: str) -> types.MarkupContent:
    return types.MarkupContent(types.MarkupKind.Markdown, text)
