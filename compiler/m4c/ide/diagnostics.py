"""Diagnostics by file, as an editor shows them.

They are made anew at each edit, so what has been made is kept: a finding that is the same object as last time is at the
same places, as long as the texts of their files have not changed.
"""

from __future__ import annotations

import operator
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from m4c import checks, project
from m4c.diagnostics.aggregate import Group, at_policies, grouped
from m4c.diagnostics.registry import Severity, rule
from m4c.diagnostics.settings import NAME
from m4c.semantics.model import Place
from m4c.semantics.problems import Problem
from m4c.workspace import Span, Workspace


@dataclass(frozen=True, slots=True)
class RelatedSpan:
    span: Span
    message: str
    place: Place


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
    deprecated: bool
    problems: tuple[Problem, ...]
    place: Place


_Identity: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Shown:
    """What was made of some problems, and what it depends on; the problems are held so that no other can have their
    identities meanwhile."""

    problems: tuple[Problem, ...]
    files: frozenset[str]
    severity: Severity
    diagnostics: tuple[Diagnostic, ...]


@dataclass(frozen=True, slots=True)
class _OfFile:
    """What was shown in a file, as it was found and by place."""

    found: list[Diagnostic]
    shown: tuple[Diagnostic, ...]


@dataclass(slots=True)
class _Known:
    """What was shown last, and the revision of the texts that it was made of."""

    revision: int = -1
    severities: dict[tuple[str, str], Severity] = field(default_factory=dict)  # of (code, file)
    shown: dict[_Identity, _Shown] = field(default_factory=dict)
    files: dict[str, _OfFile] = field(default_factory=dict)
    own: dict[str, tuple[Problem, ...]] = field(default_factory=dict)  # of the files that are open, their own problems


def diagnostics(workspace: Workspace, quick: bool = False) -> dict[str, tuple[Diagnostic, ...]]:
    """Everything that is wrong in the workspace, by file and place; files without a finding are not in it.
    `quick`: as `Workspace.problems` takes it.

    A diagnostic that was shown last time and has not changed, nor a text that it is about, is the same object again;
    so is a tuple of them.
    """
    known = _known(workspace)
    edited, revision = workspace.read_since(known.revision), workspace.db.revision
    severities = known.severities
    if any(posixpath.basename(file) == NAME for file in edited):
        severities.clear()
    shown: dict[_Identity, _Shown] = {}
    out: dict[str, list[Diagnostic]] = {}
    for found in grouped(workspace.problems(quick)):
        problems = found.pairs if isinstance(found, Group) else (found,)
        first = problems[0]
        key = (first.code, first.place.file)
        if key not in severities:
            severities[key] = workspace.severity(first)
        identity = tuple(map(id, problems))
        before = known.shown.get(identity)
        if before is None or before.severity is not severities[key] or not before.files.isdisjoint(edited):
            made = tuple(_of_group(workspace, found) if isinstance(found, Group) else shown_as(workspace, found))
            about = frozenset(place.file for p in problems for place in _places(p))
            before = _Shown(problems, about, severities[key], made)
        shown[identity] = before
        for d in before.diagnostics:
            out.setdefault(d.span.file, []).append(d)
    files = {file: _by_place(known.files.get(file), found) for file, found in sorted(out.items())}
    own = {file: checks.file_problems(workspace.db, file) for file in workspace.opened if file.endswith(".m4")}
    known.shown, known.files, known.own, known.revision = shown, files, own, revision
    return {file: of.shown for file, of in files.items()}


def own_errors_first(workspace: Workspace, file: str) -> tuple[Diagnostic, ...]:
    """The errors of the language in a file's own declarations as they are now, and what else was found in the file when
    everything was asked for last, where its declarations are still there: what can be shown of a file that is being
    edited before everything is known again."""
    known = _known(workspace)
    own = [p for p in checks.file_problems(workspace.db, file) if not rule(p.code).configurable]
    before = {id(p) for p in known.own.get(file, ()) if not rule(p.code).configurable}
    shown = known.files[file].shown if file in known.files else ()
    others = (d for d in shown if not any(id(p) in before for p in d.problems))
    found = [d for p in own for d in shown_as(workspace, p) if d.span.file == file]
    found += [_moved(workspace, d) for d in others if _is_there(workspace, d.place)]
    return tuple(sorted(found, key=lambda d: d.span.start))


def _is_there(workspace: Workspace, place: Place) -> bool:
    return not place.decl or place.decl in project.offsets(workspace.db, place.file)


def _moved(workspace: Workspace, shown: Diagnostic) -> Diagnostic:
    """A diagnostic where its declarations are now."""
    related = (replace(r, span=workspace.span(r.place)) for r in shown.related if _is_there(workspace, r.place))
    return replace(shown, span=workspace.span(shown.place), related=tuple(related))


def _known(workspace: Workspace) -> _Known:
    return workspace.db.kept("diagnostics", make=_Known)


def _places(problem: Problem) -> Iterator[Place]:
    yield problem.place
    for related in problem.related:
        yield related.place


def _by_place(before: _OfFile | None, found: list[Diagnostic]) -> _OfFile:
    """The diagnostics of a file by place; what it was before if they are still the same objects."""
    if before is not None and len(before.found) == len(found) and all(map(operator.is_, before.found, found)):
        return before
    return _OfFile(found, tuple(sorted(found, key=lambda d: d.span.start)))


def shown_as(workspace: Workspace, problem: Problem) -> tuple[Diagnostic, ...]:
    """A problem at its place, and a mirrored one at the other place too, each with the other as related."""
    related = tuple(_related(workspace, r.place, r.message) for r in problem.related)
    shown = _diagnostic(workspace, problem, problem.place, problem.message, related, (problem,))
    if not problem.mirrored or not related or related[0].span == shown.span:
        return (shown,)
    others = (_related(workspace, problem.place, problem.mirrored), *related[1:])
    return shown, _diagnostic(workspace, problem, related[0].place, problem.message, others, (problem,))


def _of_group(workspace: Workspace, group: Group) -> tuple[Diagnostic, ...]:
    """Many findings about pairs of policies, at each of the policies."""
    return tuple(
        _diagnostic(
            workspace,
            n.pairs[0],
            n.place,
            n.message,
            tuple(_related(workspace, r.place, r.message) for r in n.related),
            n.pairs,
        )
        for n in at_policies(group)
    )


def _related(workspace: Workspace, place: Place, message: str) -> RelatedSpan:
    return RelatedSpan(workspace.span(place), message, place)


def _diagnostic(
    workspace: Workspace,
    problem: Problem,
    place: Place,
    message: str,
    related: tuple[RelatedSpan, ...],
    problems: tuple[Problem, ...],
) -> Diagnostic:
    kind = rule(problem.code)
    severity = workspace.severity(problem)
    tags = (kind.unnecessary, kind.deprecated)
    return Diagnostic(workspace.span(place), severity, problem.code, message, related, *tags, problems, place)
