"""client/registerCapability for graph files: they are of another language, so clients hand them to us only if asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lsprotocol import types

from m4ls.features.code_action import OFFERED

if TYPE_CHECKING:
    from m4ls.server import M4Server

PATTERN = "**/*.graph.{yaml,yml,json}"
TRIGGERS = ["[", "{", ",", " "]  # after which a key or a service comes


def registrations(server: M4Server) -> list[types.Registration]:
    """What is asked for; nothing of a client that can be told only when the session begins."""
    documents: Any = server.client_capabilities.text_document
    needed = ("synchronization", "completion", "hover", "definition", "references", "rename")
    if not all(getattr(getattr(documents, name, None), "dynamic_registration", False) for name in needed):
        return []
    selector: list[Any] = [types.TextDocumentFilterPattern(pattern=PATTERN, scheme="file")]
    changes = types.TextDocumentChangeRegistrationOptions(types.TextDocumentSyncKind.Incremental, selector)
    options: dict[str, Any] = {
        types.TEXT_DOCUMENT_DID_OPEN: types.TextDocumentRegistrationOptions(selector),
        types.TEXT_DOCUMENT_DID_CHANGE: changes,
        types.TEXT_DOCUMENT_DID_CLOSE: types.TextDocumentRegistrationOptions(selector),
        types.TEXT_DOCUMENT_COMPLETION: types.CompletionRegistrationOptions(selector, TRIGGERS, resolve_provider=True),
        types.TEXT_DOCUMENT_HOVER: types.HoverRegistrationOptions(selector),
        types.TEXT_DOCUMENT_DEFINITION: types.DefinitionRegistrationOptions(selector),
        types.TEXT_DOCUMENT_REFERENCES: types.ReferenceRegistrationOptions(selector),
        types.TEXT_DOCUMENT_RENAME: types.RenameRegistrationOptions(selector, prepare_provider=True),
    }
    if getattr(documents.code_action, "dynamic_registration", False):
        options[types.TEXT_DOCUMENT_CODE_ACTION] = types.CodeActionRegistrationOptions(
            selector, list(OFFERED.code_action_kinds or ()), resolve_provider=OFFERED.resolve_provider
        )
    return [
        types.Registration(id=f"m4-graphs-{number}", method=method, register_options=of)
        for number, (method, of) in enumerate(options.items())
    ]
