"""Completion: what may stand at the cursor, by what the grammar accepts there and what the names mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from m4c import project
from m4c.ide.cursor import cursor_at
from m4c.ide.graphfile import GraphCursor, graph_proposals, is_graph
from m4c.ide.places import proposals
from m4c.ide.scene import Proposal, ProposalKind, Scene
from m4c.ide.topic import shared, topic
from m4c.ide.usage import near
from m4c.workspace import Workspace

# The kinds of names and words that some proposals are used as.
_USED_AS: dict[ProposalKind, tuple[str, ...]] = {
    "operation": ("operation", "condition"),
    "type": ("state kind", "enum", "entity"),
    "operator": ("keyword",),
}
_IN_ORDER = ("attribute", "operation", "param", "entity", "operator")  # what is basic is proposed first
_ABOUT: frozenset[ProposalKind] = frozenset(("operation", "attribute", "key", "service"))
_AGAIN = 5  # of an operation that the declaration performs already; a word of its own in common counts 4
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
    if is_graph(workspace, file):
        return _in_graph(workspace, file, offset)
    cursor = cursor_at(workspace, file, offset)
    if cursor is None:
        return Completions(())
    used = near(workspace.db, file).counts
    scene = Scene(workspace, cursor)
    proposed = list(proposals(scene))
    chance = _likely(scene, proposed)
    fitting: dict[tuple[str, str], tuple[tuple[int, int, int, int, int, str, str], Proposal]] = {}
    for number, p in enumerate(proposed):
        fit = _fit(p, cursor.word)
        if fit is not None:
            declared = number if p.kind in _IN_ORDER else 0
            order = fit, p.rank, -chance.get((p.kind, p.label), 0), -_uses(p, used), declared, p.label.lower(), p.label
            fitting.setdefault((p.label, p.kind), (order, p))
    ranked = [p for _, p in sorted(fitting.values(), key=lambda entry: entry[0])]
    end = cursor.offset
    items = [
        Completion(_followed(p, workspace.text(file)[end:]), cursor.word_start, end, i)
        for i, p in enumerate(ranked[:LIMIT])
    ]
    return Completions(tuple(items), len(ranked) > LIMIT)


def _in_graph(workspace: Workspace, file: str, offset: int) -> Completions:
    """The same in a graph file."""
    text = workspace.text(file)
    cursor = GraphCursor(text, offset)
    proposed = graph_proposals(cursor, project.schema(workspace.db).protocols)
    found = [(fit, p) for p in proposed if (fit := _fit(p, text[cursor.start : offset])) is not None]
    found.sort(key=lambda entry: (entry[0], entry[1].rank, entry[1].label))
    items = [Completion(p, cursor.start, offset, i) for i, (_, p) in enumerate(found[:LIMIT])]
    return Completions(tuple(items), len(found) > LIMIT)


def _fit(proposal: Proposal, word: str) -> int | None:
    """How well a proposal fits what was typed: 0 at its start, 1 within it, 2 as letters in order; None not at all."""
    label, typed = proposal.filter.lower(), word.lower()
    if label.startswith(typed):
        return 0
    if typed in label:
        return 1
    letters = iter(label)
    return 2 if all(c in letters for c in typed) else None


def _likely(scene: Scene, proposed: Iterable[Proposal]) -> dict[tuple[ProposalKind, str], int]:
    """How likely proposals are, by their kinds and labels: how well names go with what the declaration at the cursor is
    about, and with what it does already."""
    about = topic(scene.workspace, scene.file, scene.cursor.offset)
    labels: dict[ProposalKind, list[str]] = {}
    for p in proposed:
        labels.setdefault(p.kind, []).append(p.label)
    out: dict[tuple[ProposalKind, str], int] = {}
    for kind in _ABOUT & labels.keys():
        for label, much in shared(about, labels[kind]).items():
            out[kind, label] = much
    for p in proposed:
        more = p.likelier + _AGAIN * (p.kind == "operation" and p.label in about.members)
        out[p.kind, p.label] = out.get((p.kind, p.label), 0) + more
    return out


def _uses(proposal: Proposal, used: Mapping[tuple[str, str], int]) -> int:
    """How often what is proposed stands in the files around."""
    if proposal.uses is not None:
        return proposal.uses
    kinds = _USED_AS.get(proposal.kind, (proposal.kind,))
    return max(used.get((kind, proposal.label.lstrip("@")), 0) for kind in kinds)


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
