"""From the plain values of `m4c.ide` to the types of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from lsprotocol import types

from m4ls.positions import Encoding, Lines

if TYPE_CHECKING:
    from m4c.ide.diagnostics import Diagnostic
    from m4c.ide.edits import TextEdit
    from m4c.workspace import Span, Workspace

    from m4ls.server import M4Server

SOURCE = "m4"


class Converter:
    """Converts the spans of a workspace; belongs to the analyser's thread."""

    def __init__(self, workspace: Workspace, encoding: Encoding, uri: Callable[[str], str]) -> None:
        self.workspace = workspace
        self.encoding = encoding
        self.uri = uri
        self._lines: dict[str, Lines] = {}

    def lines(self, file: str) -> Lines:
        """The lines of a file as it is now."""
        text = self.workspace.text(file)
        known = self._lines.get(file)
        if known is None or known.text is not text:
            known = self._lines[file] = Lines(text, self.encoding)
        return known

    def range(self, span: Span) -> types.Range:
        if self.encoding == "utf-16":  # the compiler has counted these
            start, end = types.Position(span.start_line, span.start_char), types.Position(span.end_line, span.end_char)
            return types.Range(start, end)
        return self.lines(span.file).range(span.start, span.end)

    def location(self, span: Span) -> types.Location:
        return types.Location(self.uri(span.file), self.range(span))


class Findings:
    """Diagnostics as those of the protocol, by file; what is the same object as last time is not converted again.
    Belongs to the analyser's thread."""

    def __init__(self) -> None:
        self._spellings: object = None
        self._files: dict[str, tuple[tuple[Diagnostic, ...], list[types.Diagnostic]]] = {}

    def convert(
        self, found: Mapping[str, tuple[Diagnostic, ...]], convert: Converter, spellings: object
    ) -> dict[str, list[types.Diagnostic]]:
        """`spellings` changes whenever another URI may stand for a file."""
        old = self._files if self._spellings == spellings else {}
        changed = [was for file, was in old.items() if found.get(file) is not was[0]]
        known = {id(d): c for shown, made in changed for d, c in zip(shown, made, strict=True)}
        files = {}
        for file, now in found.items():
            before = old.get(file)
            if before is not None and before[0] is now:
                files[file] = before
            else:
                files[file] = now, [known.get(id(d)) or diagnostic(d, convert) for d in now]
        self._files, self._spellings = files, spellings
        return {file: made for file, (_, made) in files.items()}


def diagnostic(found: Diagnostic, convert: Converter) -> types.Diagnostic:
    related = [types.DiagnosticRelatedInformation(convert.location(r.span), r.message) for r in found.related]
    return types.Diagnostic(
        range=convert.range(found.span),
        message=found.message,
        severity=types.DiagnosticSeverity(int(found.severity)),
        code=found.code,
        code_description=_described(found.code),
        source=SOURCE,
        related_information=related or None,
        tags=_tags(found),
    )


def _tags(found: Diagnostic) -> list[types.DiagnosticTag] | None:
    if found.unnecessary:
        return [types.DiagnosticTag.Unnecessary]
    return [types.DiagnosticTag.Deprecated] if found.deprecated else None


def _described(code: str) -> types.CodeDescription | None:
    """Leads from the code of a diagnostic to the page that explains it."""
    from m4c.resources import page_of

    page = page_of(code)
    return types.CodeDescription(page.as_uri()) if page is not None else None


def workspace_edit(
    server: M4Server, edits: Iterable[TextEdit], convert: Converter, versions: Mapping[str, int | None]
) -> types.WorkspaceEdit:
    """Edits of one version of each open document, where the client minds that."""
    by_file: dict[str, list[types.TextEdit]] = {}
    for edit in edits:
        by_file.setdefault(edit.span.file, []).append(types.TextEdit(convert.range(edit.span), edit.text))
    able = server.client_capabilities.workspace
    if not (able and able.workspace_edit and able.workspace_edit.document_changes):
        return types.WorkspaceEdit(changes={convert.uri(file): some for file, some in by_file.items()})
    return types.WorkspaceEdit(
        document_changes=[
            types.TextDocumentEdit(
                types.OptionalVersionedTextDocumentIdentifier(convert.uri(file), versions.get(file)), list(some)
            )
            for file, some in by_file.items()
        ]
    )


def markdown(text: str) -> types.MarkupContent:
    return types.MarkupContent(types.MarkupKind.Markdown, text)
