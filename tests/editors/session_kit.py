"""What tests of the server over pytest-lsp begin with: clients, who sits at them, sessions, and commands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from lsprotocol import types
from pytest_lsp import LanguageClient, client_capabilities, make_test_lsp_client

# What the server asks for by itself, and these clients have nothing to do for.
_ASKED = (
    types.CLIENT_REGISTER_CAPABILITY,
    types.WORKSPACE_CODE_LENS_REFRESH,
    types.WORKSPACE_INLAY_HINT_REFRESH,
)


def quiet() -> LanguageClient:
    """A client that agrees to what the server asks for, and draws nothing."""
    client = make_test_lsp_client()
    for method in _ASKED:
        client.feature(method)(lambda *_: None)
    return client


class Person:
    """Who answers the server's questions: with the first of the answers that is offered, else with none."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.asked: list[tuple[str, list[str]]] = []
        self.shown: list[tuple[str, str, types.Range | None]] = []

    def answer(self, params: types.ShowMessageRequestParams) -> types.MessageActionItem | None:
        offered = [a.title for a in params.actions or ()]
        self.asked.append((params.message, offered))
        wanted = self.answers.pop(0) if self.answers else ""
        return next((a for a in params.actions or () if a.title.startswith(wanted) and wanted), None)

    def show(self, params: types.ShowDocumentParams) -> types.ShowDocumentResult:
        file = Path(params.uri.removeprefix("file://"))
        self.shown.append((file.name, file.read_text(), params.selection))
        return types.ShowDocumentResult(success=True)


def answering() -> LanguageClient:
    """A client with a person."""
    client = quiet()
    client.person = person = Person()
    client.protocol.fm.features[types.WINDOW_SHOW_MESSAGE_REQUEST] = person.answer
    client.protocol.fm.features[types.WINDOW_SHOW_DOCUMENT] = person.show  # pytest-lsp only records what is to be shown
    return client


async def begin(
    client: LanguageClient, folder: Path, options: Any, able: types.ClientCapabilities | str = "visual-studio-code"
) -> types.InitializeResult:
    """Begins a session in a folder. `able`: what the client can do, or which editor it is like."""
    able = client_capabilities(able) if isinstance(able, str) else able
    root = types.WorkspaceFolder(folder.as_uri(), folder.name)
    params = types.InitializeParams(able, workspace_folders=[root], initialization_options=options)
    return await client.initialize_session(params)


TRUSTED = {"trusted": True}


async def command(client: LanguageClient, name: str, *arguments: Any) -> dict[str, Any]:
    """The answer to a command of the server."""
    params = types.ExecuteCommandParams(name, list(arguments))
    found = await asyncio.wait_for(client.workspace_execute_command_async(params), 120)
    assert isinstance(found, dict)
    return found


async def deploy(client: LanguageClient, uri: str, *arguments: Any) -> dict[str, Any]:
    return await command(client, "m4.deploy", uri, *arguments)
