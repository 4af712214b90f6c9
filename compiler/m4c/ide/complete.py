"""Completion: what may stand at the cursor, by what the grammar accepts there and what the names mean."""

from __future__ import annotations

from dataclasses import dataclass, replace

from m4c.ide.cursor import cursor_at
from m4c.ide.places import proposals
from m4c.ide.scene import Proposal, Scene
from m4c.workspace import Workspace

LIMIT = 200  # more than people read; many small objects are what costs in the protocol


@dataclass(frozen=True, slots=True)
class Completion:
    """A proposal with the span of the text that it replaces: offsets in the file."""

    proposal: Proposal
    start: int
    end: int
    order: int


@dataclass(frozen=True, slots=True)
class Completions:
    """The proposals, the best first. `incomplete`: there are more, so ask again after another letter."""

    items: tuple[Completion, ...]
    incomplete: bool = False


def complete(workspace: Workspace, file: str, offset: int) -> Completions:
    """What may stand at an offset of a file."""
    cursor = cursor_at(workspace, file, offset)
    if cursor is None:
        return Completions(())
    found = proposals(Scene(workspace, cursor))
    ranked = sorted(
        {(p.label, p.kind): (fit, p) for p in reversed(found) if (fit := _fit(p, cursor.word)) is not None}.values(),
        key=lambda entry: (entry[0], entry[1].rank, entry[1].label.lower(), entry[1].label),
    )
    end = cursor.offset
    items = [
        Completion(_followed(p, workspace.text(file)[end:]), cursor.word_start, end, i)
        for i, (_, p) in enumerate(ranked[:LIMIT])
    ]
    return Completions(tuple(items), len(ranked) > LIMIT)


def _fit(proposal: Proposal, word: str) -> int | None:
    """How well a proposal fits what was typed: 0 at its start, 1 within it, 2 as letters in order; None not at all."""
    label, typed = proposal.filter.lower(), word.lower()
    if label.startswith(typed):
        return 0
    if typed in label:
        return 1
    letters = iter(label)
    return 2 if all(c in letters for c in typed) else None


def _followed(proposal: Proposal, rest: str) -> Proposal:
    """A call without its parentheses where they stand already, and without a semicolon where one follows."""
    if proposal.kind != "operation" or proposal.snippet is None:
        return proposal
    after = rest.lstrip(" \t")
    if after.startswith("("):
        return replace(proposal, insert=proposal.label, snippet=None)
    if after.startswith(";"):
        return replace(proposal, snippet=proposal.snippet.removesuffix("$0").removesuffix(";") + "$0")
    return proposal
