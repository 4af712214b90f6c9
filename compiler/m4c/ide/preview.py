"""Preview: what a policy becomes, and which line of which policy each part of it comes from.

Which part comes from what is found by trial: an element is rendered once more without each of its rules, and the lines
that are not there then come from that rule. So it holds for the templates of any dataplane.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from m4c import project
from m4c.backends.render import ElementFailure, RenderedFile, render_element
from m4c.backends.wiring import NoPortLeft
from m4c.placement.elements import elements, rules_of
from m4c.placement.plan import Plan
from m4c.semantics.model import Place, Program
from m4c.workspace import Span, Workspace

MOST = 64  # rules of an element that are tried; of the others only those of the policy are


class NoPreview(Exception):
    """There is nothing to show; the message says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """Lines of an artifact (from 0, the end is exclusive) and where they come from: a call of a policy, or a default of
    the mesh."""

    start: int
    end: int
    policy: str
    operation: str
    source: Span


@dataclass(frozen=True, slots=True)
class Artifact:
    file: RenderedFile
    parts: tuple[Part, ...]


def preview(workspace: Workspace, mesh: str, policy: str) -> tuple[Artifact, ...]:
    """The artifacts of every element that runs a policy. Templates are run. Raises NoPreview."""
    program, plan = project.program(workspace.db, mesh), project.plan(workspace.db, mesh)
    if program is None or plan is None:
        raise NoPreview(f"there is no plan for mesh `{mesh}`; `m4 check` says why")
    if policy not in {p.name for p in program.policies}:
        raise NoPreview(f"mesh `{mesh}` has no policy `{policy}` without errors")
    used = {(o.service, o.dataplane) for o in plan.operations if o.policy == policy and not o.default}
    everything = elements(program, plan)
    out: list[Artifact] = []
    try:
        for element in everything:
            if (element["service"], element["dataplane"]) in used:
                out += _artifacts(workspace, program, plan, everything, element, policy)
    except ElementFailure as e:
        raise NoPreview(str(e)) from None
    except NoPortLeft as e:
        raise NoPreview(str(e)) from None
    if not out:
        raise NoPreview(f"`{policy}` needs nothing anywhere: it runs on no hop of the plan")
    return tuple(out)


def _artifacts(
    workspace: Workspace,
    program: Program,
    plan: Plan,
    everything: Sequence[Mapping[str, Any]],
    element: Mapping[str, Any],
    policy: str,
) -> Iterator[Artifact]:
    whole = render_element(program, everything, element)
    parts: dict[str, list[Part]] = {f.path: [] for f in whole}
    rules = [rule["id"] for rule in rules_of(element)]
    own = [n for n in rules if any(s.policy == policy and not s.default for s in plan.runs[n - 1].rule.sources)]
    for number in rules if len(rules) <= MOST else own:
        try:
            less = {f.path: f.text for f in render_element(program, everything, _without(element, number))}
        except ElementFailure:
            continue  # a template that cannot do without it
        for file in whole:
            for start, end in _lost(file.text, less.get(file.path, "")):
                parts[file.path] += _from(workspace, program, plan, number, start, end)
    for file in whole:
        yield Artifact(file, tuple(sorted(parts[file.path], key=lambda p: (p.start, -p.end, p.policy))))


def _without(element: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    sites = [
        {**s, **{kind: [r for r in s[kind] if r["id"] != number] for kind in ("rules", "answers")}}
        for s in element["sites"]
    ]
    return {**element, "sites": sites}


def _lost(text: str, less: str) -> Iterator[tuple[int, int]]:
    """The lines of a text that another one lacks."""
    a, b = text.splitlines(), less.splitlines()
    first = 0
    while first < min(len(a), len(b)) and a[first] == b[first]:
        first += 1
    last = 0
    while last < min(len(a), len(b)) - first and a[-1 - last] == b[-1 - last]:
        last += 1
    matcher = SequenceMatcher(None, a[first : len(a) - last], b[first : len(b) - last], autojunk=False)
    for kind, start, end, _, _ in matcher.get_opcodes():
        if kind not in ("delete", "replace"):
            continue
        start, end = first + start, first + end
        while kind == "delete" and start and a[start - 1] == a[end - 1]:  # the same lines begin earlier, too
            start, end = start - 1, end - 1
        yield start, end


def _from(workspace: Workspace, program: Program, plan: Plan, number: int, start: int, end: int) -> Iterator[Part]:
    rule = plan.runs[number - 1].rule
    policies = {p.name: p for p in program.policies}
    for source in rule.sources:
        place: Place
        if source.default:
            name, place = "the mesh's default", program.mesh.defaults[source.call].place
        else:
            name, place = source.policy, policies[source.policy].calls[source.call].place
        yield Part(start, end, name, rule.operation.name, workspace.span(place))
