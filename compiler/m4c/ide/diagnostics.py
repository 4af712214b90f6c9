"""Diagnostics by file, as an editor shows them."""

from __future__ import annotations

from dataclasses import dataclass

from m4c.diagnostics.aggregate import Group, at_policies, grouped
from m4c.diagnostics.registry import Severity, rule
from m4c.semantics.problems import Problem
from m4c.workspace import Span, Workspace


@dataclass(frozen=True, slots=True)
class RelatedSpan:
    span: Span
    message: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding at one place. `problems` is what it was made of: a mirrored problem makes two of these, and of many
    pairs of policies each policy has one, with the nearest few."""

    span: Span
    severity: Severity
    code: str
    message: str
    related: tuple[RelatedSpan, ...]
    unnecessary: bool
    problems: tuple[Problem, ...]


def diagnostics(workspace: Workspace, quick: bool = False) -> dict[str, tuple[Diagnostic, ...]]:
    """Everything that is wrong in the workspace, by file and place; files without a finding are not in it.
    `quick`: as `Workspace.problems` takes it."""
    out: dict[str, list[Diagnostic]] = {}
    for found in grouped(workspace.problems(quick)):
        shown = _of_group(workspace, found) if isinstance(found, Group) else shown_as(workspace, found)
        for d in shown:
            out.setdefault(d.span.file, []).append(d)
    return {file: tuple(sorted(found, key=lambda d: d.span.start)) for file, found in sorted(out.items())}


def shown_as(workspace: Workspace, problem: Problem) -> tuple[Diagnostic, ...]:
    """A problem at its place, and a mirrored one at the other place too, each with the other as related."""
    span = workspace.span(problem.place)
    related = tuple(RelatedSpan(workspace.span(r.place), r.message) for r in problem.related)
    kind = rule(problem.code)

    def at(here: Span, others: tuple[RelatedSpan, ...]) -> Diagnostic:
        return Diagnostic(
            here, workspace.severity(problem), problem.code, problem.message, others, kind.unnecessary, (problem,)
        )

    shown = at(span, related)
    if not problem.mirrored or not related or related[0].span == span:
        return (shown,)
    return shown, at(related[0].span, (RelatedSpan(span, problem.mirrored), *related[1:]))


def _of_group(workspace: Workspace, group: Group) -> tuple[Diagnostic, ...]:
    """Many findings about pairs of policies, at each of the policies."""
    kind = rule(group.pairs[0].code)
    return tuple(
        Diagnostic(
            workspace.span(n.place),
            workspace.severity(n.pairs[0]),
            kind.code,
            n.message,
            tuple(RelatedSpan(workspace.span(r.place), r.message) for r in n.related),
            kind.unnecessary,
            n.pairs,
        )
        for n in at_policies(group)
    )
