"""textDocument/semanticTokens/full, /full/delta and /range, and workspace/semanticTokens/refresh"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from m4ls.convert import Converter

if TYPE_CHECKING:
    from m4c.ide.tokens import Token
    from m4c.workspace import Workspace

    from m4ls.positions import Lines
    from m4ls.server import M4Server

KEPT = 64  # documents whose last tokens are kept, to tell what has changed
# As in `m4c.ide.tokens`, which is not imported before `initialize` is answered; a test holds them to be the same.
LEGEND = types.SemanticTokensLegend(
    token_types=[
        "namespace", "class", "enum", "enumMember", "function", "method", "property", "parameter", "variable",
        "service", "group", "version", "label",
    ],
    token_modifiers=["declaration", "readonly", "defaultLibrary"],
)  # fmt: skip
_TYPES = {name: i for i, name in enumerate(LEGEND.token_types)}
_MODIFIERS = {name: 1 << i for i, name in enumerate(LEGEND.token_modifiers)}


class Colours:
    """What each document's tokens were when the client was last told. When something outside of a document has changed
    them, the client is asked to ask again."""

    def __init__(self, server: M4Server) -> None:
        self.server = server
        self._refresh: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._of: dict[str, tuple[str, list[int]]] = {}

    def last(self, uri: str, result: str) -> list[int] | None:
        known = self._of.get(uri)
        return known[1] if known is not None and known[0] == result else None

    def tell(self, uri: str, data: list[int]) -> str:
        self._of.pop(uri, None)
        self._of[uri] = str(next(self._numbers)), data
        while len(self._of) > KEPT:
            del self._of[next(iter(self._of))]
        return self._of[uri][0]

    @property
    def refreshed(self) -> bool:
        """Whether the client can be asked to ask again."""
        workspace = self.server.client_capabilities.workspace
        return bool(workspace and workspace.semantic_tokens and workspace.semantic_tokens.refresh_support)

    def outdated(self, workspace: Workspace, convert: Converter) -> bool:
        """Whether a document that is open has other tokens than was told last. In the analyser's thread."""
        from m4c.ide.tokens import tokens

        known = [(path, self._of.get(convert.uri(path))) for path in workspace.opened]
        return any(told and encoded(tokens(workspace, path), convert.lines(path)) != told[1] for path, told in known)

    def refresh(self) -> None:
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._ask_again())

    async def _ask_again(self) -> None:
        try:
            await self.server.workspace_semantic_tokens_refresh_async(None)
        except JsonRpcException:
            pass  # the client will ask when the text changes
        finally:
            self._refresh = None


def register(server: M4Server) -> None:
    told = server.colours

    async def tokens(uri: str, part: types.Range | None = None) -> list[int]:
        def question(workspace: Workspace, file: str, convert: Converter) -> list[int]:
            from m4c.ide.tokens import tokens

            lines = convert.lines(file)
            if part is None:
                return encoded(tokens(workspace, file), lines)
            return encoded(tokens(workspace, file, lines.offset(part.start), lines.offset(part.end)), lines)

        return await server.ask_file(uri, question, [])

    @server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, LEGEND)
    async def full(params: types.SemanticTokensParams) -> types.SemanticTokens:
        data = await tokens(params.text_document.uri)
        return types.SemanticTokens(data, told.tell(params.text_document.uri, data))

    @server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL_DELTA)
    async def delta(params: types.SemanticTokensDeltaParams) -> types.SemanticTokens | types.SemanticTokensDelta:
        uri = params.text_document.uri
        data = await tokens(uri)
        before = told.last(uri, params.previous_result_id)
        result = told.tell(uri, data)
        if before is None:
            return types.SemanticTokens(data, result)
        return types.SemanticTokensDelta(difference(before, data), result)

    @server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_RANGE)
    async def some(params: types.SemanticTokensRangeParams) -> types.SemanticTokens:
        return types.SemanticTokens(await tokens(params.text_document.uri, params.range))


def encoded(found: Iterable[Token], lines: Lines) -> list[int]:
    """Five numbers for each token, the first two relative to the token before."""
    data: list[int] = []
    line = character = 0
    for token in found:
        at = lines.position(token.start)
        data += (
            at.line - line,
            at.character - (character if at.line == line else 0),
            lines.length(token.start, token.end),
            _TYPES[token.type],
            sum(_MODIFIERS[m] for m in token.modifiers),
        )
        line, character = at.line, at.character
    return data


def difference(before: list[int], now: list[int]) -> list[types.SemanticTokensEdit]:
    """One edit that makes the one of the other, by what both begin and end with; none if they are equal."""
    most = min(len(before), len(now))
    start = next((i for i in range(most) if before[i] != now[i]), most)
    if start == len(before) == len(now):
        return []
    most -= start
    end = next((i for i in range(most) if before[-1 - i] != now[-1 - i]), most)
    return [types.SemanticTokensEdit(start, len(before) - start - end, now[start : len(now) - end])]
