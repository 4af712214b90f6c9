"""textDocument/diagnostic and workspace/diagnostic, for clients that pull."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from m4ls.documents import path_of

if TYPE_CHECKING:
    from m4ls.reports import Report
    from m4ls.server import M4Server


class ServerCancelled(JsonRpcException):
    """There is no answer any more; the client may have reason to ask again."""

    CODE = -32802

    def __init__(self, again: bool) -> None:
        super().__init__("the document has changed", data={"retriggerRequest": again})


def register(server: M4Server) -> None:
    """Offers both; called only if the client pulls."""
    options = types.DiagnosticOptions(inter_file_dependencies=True, workspace_diagnostics=True, identifier="m4")

    @server.feature(types.TEXT_DOCUMENT_DIAGNOSTIC, options)
    async def document(params: types.DocumentDiagnosticParams) -> types.DocumentDiagnosticReport:
        path = path_of(params.text_document.uri)
        if path is None:
            return types.RelatedFullDocumentDiagnosticReport([])
        before = server.documents.get(path)
        version = before.version if before else None
        await server.checker.settled()
        now = server.documents.get(path)
        if now is not before or (now.version if now else None) != version:
            raise ServerCancelled(again=now is not None)
        related = _related(server, path)
        report = server.reports.pull(path)
        if report.id == params.previous_result_id:
            return types.RelatedUnchangedDocumentDiagnosticReport(report.id, related_documents=related)
        return types.RelatedFullDocumentDiagnosticReport(report.items, result_id=report.id, related_documents=related)

    @server.feature(types.WORKSPACE_DIAGNOSTIC)
    async def workspace(params: types.WorkspaceDiagnosticParams) -> types.WorkspaceDiagnosticReport:
        """Waits for news if there is none, as the protocol provides for."""
        known = {path: p.value for p in params.previous_result_ids if (path := path_of(p.uri)) is not None}
        answers = server.reports.pulls_workspace()
        while True:
            await server.checker.settled()
            reports = {path: server.reports.of(path) for path in (*server.reports.paths(), *known)}
            if answers or any(known.get(path) != report.id for path, report in reports.items()):
                return types.WorkspaceDiagnosticReport([_item(server, p, known.get(p)) for p in sorted(reports)])
            await server.reports.changed()


def _related(server: M4Server, path: str) -> dict[str, _Full | _Unchanged] | None:
    """What has changed in other open documents, if the client takes it along."""
    documents = server.client_capabilities.text_document
    able = documents.diagnostic if documents else None
    if not (able and able.related_document_support):
        return None
    return {server.documents.uri(p): _full(server.reports.pull(p)) for p in server.reports.behind(path)} or None


def _full(report: Report) -> _Full:
    return types.FullDocumentDiagnosticReport(report.items, result_id=report.id)


def _item(server: M4Server, path: str, known: str | None) -> types.WorkspaceDocumentDiagnosticReport:
    report = server.reports.pull(path)
    uri, document = server.documents.uri(path), server.documents.get(path)
    version = document.version if document else None
    if report.id == known:
        return types.WorkspaceUnchangedDocumentDiagnosticReport(uri, report.id, version)
    return types.WorkspaceFullDocumentDiagnosticReport(uri, report.items, version, result_id=report.id)


_Full = types.FullDocumentDiagnosticReport
_Unchanged = types.UnchangedDocumentDiagnosticReport
