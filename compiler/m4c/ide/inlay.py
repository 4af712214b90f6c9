"""Inlay hints: what a reader of the text would have to look up, beside it.

How many call paths a pattern matches, where each operation runs, how wide the tag of the mesh is, and the parameters
that arguments without a name stand for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from m4c import project
from m4c.ide.journeys import as_tag, said_of
from m4c.ide.render import plural
from m4c.ide.survey import MeshSurvey, Survey, matching, places
from m4c.semantics.model import Operation, Param, StateCondition
from m4c.syntax import tree as t
from m4c.workspace import Workspace

HintKind: TypeAlias = Literal["paths", "runs", "tag", "parameter"]


@dataclass(frozen=True, slots=True)
class Hint:
    """A text at an offset of the file. Parameters stand before it, all else behind it. `about`: shown on demand."""

    kind: HintKind
    offset: int
    text: str
    about: str = ""


def hints(workspace: Workspace, known: Survey, file: str, start: int, end: int) -> tuple[Hint, ...]:
    """The hints between two offsets of a file."""
    db = workspace.db
    mesh = project.mesh_of_file(db, file)[0]
    out: list[Hint] = []
    for (_, item), ref in zip(project.keyed(db, file), project.decls(db, file), strict=True):
        if item.end < start or end < item.start:
            continue
        match ref.parsed.decl:
            case t.PolicyDecl() as decl:
                found = [*_parameters(workspace, decl)]
                if mesh is not None:
                    found += _paths(workspace, mesh, ref, decl)
                    found += _runs(known[mesh], decl) if mesh in known else ()
            case t.MeshDecl(name=name) if name.text in known:
                found = [*_tag(known[name.text], name)]
            case _:
                continue
        out += [Hint(h.kind, item.start + h.offset, h.text, h.about) for h in found]
    return tuple(sorted((h for h in out if start <= h.offset <= end), key=lambda h: h.offset))


def _paths(workspace: Workspace, mesh: str, ref: project.DeclRef, decl: t.PolicyDecl) -> Iterator[Hint]:
    said = matching(workspace.db, mesh, ref)
    if said:
        yield Hint("paths", decl.pattern.end, said, "Call paths of the graph that the pattern matches")


def _runs(known: MeshSurvey, decl: t.PolicyDecl) -> Iterator[Hint]:
    """Where the plan has put each call. The calls of a text that has changed since may be others: then nothing is
    said of them."""
    facts = known.of(decl.name.text)
    for index, call in enumerate(_calls(decl.body)):
        runs = tuple(r for r in facts.runs if r.call == index)
        names = [a.text for a in call.call.ref.accessors[-1:]]
        if any(r.operation not in names for r in runs):
            return
        if index in facts.refused:
            yield Hint("runs", call.end, "unenforceable", "No dataplane of the mesh can run it on every hop")
        elif runs:
            lines = {
                f"{r.dataplane} at {r.service}, {r.side} of {r.hop[0] or 'outside'} -> {r.hop[1]}": None for r in runs
            }
            yield Hint("runs", call.end, places(runs), "\n".join(lines))
            yield from _marked(known, decl.name.text, call.end, index)


def _tag(known: MeshSurvey, name: t.Name) -> Iterator[Hint]:
    if known.bits:
        about = ["What travels with requests, so that sites can tell call paths apart"]
        about += [line for journey in known.journeys[:1] for line in said_of(journey, known.bits)]
        yield Hint("tag", name.end, f"tag of {plural(known.bits, 'bit')}", "\n".join(about))


def _marked(known: MeshSurvey, policy: str, at: int, call: int) -> Iterator[Hint]:
    """What the tag is where a call writes a mark."""
    for journey in known.journeys:
        if journey.mark is not None and any((policy, call) in touch.calls for touch in journey.writes):
            yield Hint("tag", at, as_tag(journey, known.bits), "\n".join(said_of(journey, known.bits)))


def _calls(body: Sequence[t.Statement]) -> Iterator[t.CallStatement]:
    """The calls of a body in the order of the text."""
    for statement in body:
        match statement:
            case t.CallStatement():
                yield statement
            case t.IfStatement(then=then, otherwise=otherwise):
                yield from _calls(then)
                yield from _calls(otherwise)


# --- parameters -------------------------------------------------------------------------------------------------------


def _parameters(workspace: Workspace, decl: t.PolicyDecl) -> Iterator[Hint]:
    """The names of parameters before the arguments that are given by place, where there is more than one."""
    entity = project.schema(workspace.db).entities.get(decl.entity.text)
    for statement in _calls(decl.body):
        ref = statement.call.ref
        if entity is None or ref.root.text != decl.var.text or len(ref.accessors) != 1:
            continue
        called: Operation | StateCondition | None = entity.operations.get(ref.accessors[0].text)
        if called is not None and len(called.params) > 1:
            yield from _named(called.params, statement.call.args)


def _named(params: Sequence[Param], args: Sequence[tuple[t.Name | None, t.Expr]]) -> Iterator[Hint]:
    for param, (name, value) in zip(params, args, strict=False):
        if name is not None:
            return
        yield Hint("parameter", value.start, f"{param.name}:")
