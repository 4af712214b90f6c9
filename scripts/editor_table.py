"""The table of docs/editors.md: what m4ls offers, by its own answer to `initialize`, beside what others offer."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.client import started  # noqa: E402 - it is in no package

YES, NO = "yes", "–"


@dataclass(frozen=True, slots=True)
class Feature:
    """One row: what people call it, the capability that stands for it, and which of the others have it, in the order
    of `OTHERS`. `without`: why m4ls has none."""

    title: str
    capability: str
    others: tuple[str, str, str, str]
    without: str = ""


# What each of them says it can do, and where it does.
OTHERS = {
    "rust-analyzer": "`crates/rust-analyzer/src/lsp/capabilities.rs`",
    "gopls": "`gopls/internal/server`",
    "Regal": "the policy of its own that answers `initialize`",
    "Bicep": "the handlers that `src/Bicep.LangServer/Server.cs` registers",
}
CLIENT = {  # a client that can do what an answer may depend on
    "general": {"positionEncodings": ["utf-8", "utf-16", "utf-32"]},
    "workspace": {
        "fileOperations": {"willRename": True, "didRename": True},
        "diagnostics": {"refreshSupport": True},
    },
    "textDocument": {"rename": {"prepareSupport": True}, "diagnostic": {}},
}
FEATURES = (
    Feature("completion", "completionProvider", (YES, YES, YES, YES)),
    Feature("… with documentation when it is looked at", "completionProvider.resolveProvider", (YES, NO, YES, NO)),
    Feature("signature help", "signatureHelpProvider", (YES, YES, YES, YES)),
    Feature("hover", "hoverProvider", (YES, YES, YES, YES)),
    Feature("definition", "definitionProvider", (YES, YES, YES, YES)),
    Feature("declaration", "declarationProvider", (YES, NO, NO, NO)),
    Feature("type definition", "typeDefinitionProvider", (YES, YES, NO, NO)),
    Feature("implementation", "implementationProvider", (YES, YES, NO, NO)),
    Feature("references", "referencesProvider", (YES, YES, NO, YES)),
    Feature("highlights", "documentHighlightProvider", (YES, YES, YES, YES)),
    Feature("rename", "renameProvider", (YES, YES, NO, YES)),
    Feature("outline", "documentSymbolProvider", (YES, YES, YES, YES)),
    Feature("search by name", "workspaceSymbolProvider", (YES, YES, YES, NO)),
    Feature("call hierarchy", "callHierarchyProvider", (YES, YES, NO, NO)),
    Feature("type hierarchy", "typeHierarchyProvider", (NO, YES, NO, NO), "nothing in M4 inherits"),
    Feature("colours by meaning", "semanticTokensProvider.full", (YES, YES, YES, YES)),
    Feature("… of what has changed", "semanticTokensProvider.full.delta", (YES, NO, NO, YES)),
    Feature("… of a part", "semanticTokensProvider.range", (YES, YES, NO, YES)),
    Feature("hints in the text", "inlayHintProvider", (YES, YES, YES, NO)),
    Feature("lenses", "codeLensProvider", (YES, YES, YES, YES)),
    Feature("folding", "foldingRangeProvider", (YES, YES, YES, NO)),
    Feature("growing selections", "selectionRangeProvider", (YES, YES, YES, NO)),
    Feature("linked editing", "linkedEditingRangeProvider", (NO, NO, YES, NO)),
    Feature("formatting", "documentFormattingProvider", (YES, YES, YES, YES)),
    Feature("… of selected lines", "documentRangeFormattingProvider", ("if set", NO, NO, NO)),
    Feature("… while you type", "documentOnTypeFormattingProvider", (YES, NO, NO, NO)),
    Feature("links", "documentLinkProvider", (NO, YES, YES, YES)),
    Feature("quick fixes", "codeActionProvider", (YES, YES, YES, YES)),
    Feature("… worked out when they are chosen", "codeActionProvider.resolveProvider", (YES, YES, "?", "?")),
    Feature("commands", "executeCommandProvider", (NO, YES, YES, YES)),
    Feature("diagnostics, pulled", "diagnosticProvider", (YES, "if set", YES, NO)),
    Feature("… of the workspace", "diagnosticProvider.workspaceDiagnostics", (NO, NO, YES, NO)),
    Feature("several folders", "workspace.workspaceFolders.changeNotifications", (YES, YES, NO, "?")),
    Feature("moving files", "workspace.fileOperations.willRename", (YES, NO, NO, NO)),
    Feature("positions in UTF-8, 16 and 32", "positionEncoding", (YES, NO, NO, "?")),
)


async def _answer() -> dict[str, Any]:
    async with started((str(Path(sys.executable).with_name("m4ls")),)) as client:
        params = {"processId": None, "rootUri": None, "capabilities": CLIENT}
        _, result = await client.request("initialize", params)
        found: dict[str, Any] = result["capabilities"]
        return found


def capabilities() -> dict[str, Any]:
    """What m4ls says it can do."""
    return asyncio.run(_answer())


def offered(found: dict[str, Any], capability: str) -> bool:
    """Whether a capability, or an option of one, is among those that were found."""
    value: Any = found
    for name in capability.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value is not None and value is not False


def unlisted(found: dict[str, Any]) -> set[str]:
    """What is offered and is in no row."""
    known = {f.capability.partition(".")[0] for f in FEATURES} | {"textDocumentSync"}
    return {name for name in found if offered(found, name)} - known


def table() -> str:
    """The table in Markdown, and where it comes from."""
    found = capabilities()
    if unlisted(found):
        raise ValueError(f"scripts/editor_table.py has no row for {', '.join(sorted(unlisted(found)))}")
    lines = [f"| | m4ls | {' | '.join(OTHERS)} |", "| --- | --- | --- | --- | --- | --- |"]
    for f in FEATURES:
        ours = YES if offered(found, f.capability) else f.without or NO
        lines.append(f"| {f.title} | {ours} | {' | '.join(f.others)} |")
    sources = "; ".join(f"{name}: {where}" for name, where in OTHERS.items())
    return "\n".join(
        (
            *lines,
            "",
            f"What the others offer is what their sources say ({sources}).",
            "*If set*: only if a setting asks for it; *?*: not found out.",
            "",
        )
    )
