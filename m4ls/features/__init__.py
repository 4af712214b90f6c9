"""One request of the protocol a file; each module's `register` puts its handlers into the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from m4ls.features import (
    call_hierarchy,
    code_action,
    code_lens,
    commands,
    completion,
    definition,
    deploy,
    evaluate,
    file_operations,
    formatting,
    highlight,
    hover,
    inlay_hint,
    links,
    map,
    outline,
    preview,
    rename,
    selection,
    semantic_tokens,
    signature_help,
    top,
    workspace_symbol,
)

if TYPE_CHECKING:
    from m4ls.server import M4Server

FEATURES: tuple[Callable[[M4Server], None], ...] = (
    completion.register,
    hover.register,
    signature_help.register,
    definition.register,
    highlight.register,
    outline.register,
    workspace_symbol.register,
    links.register,
    code_action.register,
    code_lens.register,
    inlay_hint.register,
    commands.register,
    deploy.register,
    evaluate.register,
    preview.register,
    map.register,
    top.register,
    call_hierarchy.register,
    rename.register,
    file_operations.register,
    formatting.register,
    selection.register,
    semantic_tokens.register,
)
