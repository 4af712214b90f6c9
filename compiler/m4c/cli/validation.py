"""What dataplanes say of the artifacts that they would get, as findings at the lines of the templates.

For that the templates of the workspace's specs run, and the programs that validate; nothing else is started, and
nothing is written but below a temporary folder.
"""

from __future__ import annotations

import hashlib
import posixpath
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from m4c import checks
from m4c.backends.render import Build, ElementFailure, RenderedFile, given, render_some
from m4c.backends.templates import line_of
from m4c.backends.traces import Traced, blamed, traced
from m4c.backends.wiring import BASE_PORT, NoPortLeft
from m4c.cli.jobs import DeployResult, JobError, Prepared, planned, provided, without, write
from m4c.cli.output import counted
from m4c.cli.text import render_text
from m4c.placement.elements import elements, rules_of
from m4c.placement.plan import Plan
from m4c.semantics.model import Place, Program
from m4c.semantics.problems import Problem, Related
from m4c.workspace import Workspace

RELATED = 3  # policies of an element that are named
SHOWN = 120  # characters of a line of an artifact that are shown
Known: TypeAlias = dict[str, str | None]  # what was said of artifacts, by their digest; None: they were taken
Element: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Validated:
    """What is wrong with the artifacts of a mesh, what was said of each element's, and the dataplanes that said
    nothing."""

    problems: tuple[Problem, ...]
    known: Known
    silent: tuple[str, ...]


def validate(
    workspace: Workspace,
    mesh: str,
    known: Known,
    most: int | None = None,
    base_port: int = BASE_PORT,
    lacking: frozenset[str] = frozenset(),
) -> Validated:
    """Renders the artifacts of a mesh and asks the dataplanes. `known`: what they have said before. `most`: so many
    elements only, which need as much as possible of the specs. `lacking`: dataplanes to do without. Raises JobError if
    there is no plan."""
    program, plan = without(workspace, mesh, lacking) if lacking else planned(workspace, mesh)
    everything = elements(program, plan)
    chosen = everything if most is None else tuple(_various(everything))[:most]
    try:
        made, failed = render_some(program, everything, chosen, base_port)
    except NoPortLeft as e:
        raise JobError(f"{e}; choose a smaller --base-port") from None
    asking = _Asking(workspace, program, plan, everything, base_port)
    by_name = {(e["dataplane"], e["service"]): e for e in chosen}
    files: dict[tuple[str, str], list[RenderedFile]] = {}
    for file in made.files:
        files.setdefault((file.dataplane, file.service), []).append(file)
    said = _said(program, made, files, known)
    found = [("", asking.fails(element, e)) for element, e in failed]
    for element in sorted(files):
        words = said.get(_digest(files[element]))
        if words is not None:
            problem = asking.rejected(by_name[element], files[element], words)
            found.append(("" if not problem.place.decl else words, problem))
    silent = {dataplane for (dataplane, _), of in files.items() if _digest(of) not in said}
    return Validated(tuple(_merged(found)), said, tuple(sorted(silent)))


def explained(
    workspace: Workspace, prepared: Prepared, result: DeployResult, color: bool = False, base_port: int = BASE_PORT
) -> tuple[DeployResult, tuple[Problem, ...]]:
    """A deployment that failed, with what made the artifacts so that a dataplane does not take them, where that is
    found: the lines of the templates."""
    if not result.rejected:
        return result, ()
    found = validate(workspace, prepared.mesh, {}, base_port=base_port, lacking=frozenset(prepared.lacking)).problems
    text = render_text(workspace, workspace.in_order(found), color)
    return (replace(result, text=text) if found else result), found


def _various(everything: Sequence[Element]) -> Iterator[Element]:
    """Those first with which something of the specs is used that was not used before."""
    seen: set[tuple[str, ...]] = set()
    later = []
    for element in everything:
        uses: set[tuple[str, ...]] = {(element["dataplane"],)}
        for rule in rules_of(element):
            uses.add((element["dataplane"], str(rule["emits"]), rule["operation"], _kinds(rule["when"])))
        if uses <= seen:
            later.append(element)
        else:
            seen |= uses
            yield element
    yield from later


def _kinds(when: Mapping[str, Any]) -> str:
    """What a condition is made of."""
    inner = when.get("of", ())
    inside = [inner] if isinstance(inner, Mapping) else inner
    return " ".join((when["kind"], str(when.get("attribute", "")), str(when.get("op", "")), *map(_kinds, inside)))


def _said(
    program: Program, made: Build, files: Mapping[tuple[str, str], list[RenderedFile]], known: Known
) -> dict[str, str | None]:
    """What is said of the artifacts of each element, by their digest."""
    digests = {element: _digest(of) for element, of in files.items()}
    said = {d: known[d] for d in digests.values() if d in known}
    new = {element for element, d in digests.items() if d not in said}
    if not new:
        return said
    asked = Build(made.mesh, tuple(f for f in made.files if (f.dataplane, f.service) in new), made.wiring)
    with tempfile.TemporaryDirectory(prefix="m4-build-") as folder:
        built = write(asked, Path(folder)).folder
        for dataplane, service, words in provided().verdicts(built):
            if (dataplane, service) in new:
                said[digests[dataplane, service]] = words
    return said


def _digest(files: Sequence[RenderedFile]) -> str:
    return hashlib.sha256("".join(f"{f.dataplane} {f.kind} {f.sha256}\n" for f in files).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Asking:
    """What a finding is made with."""

    workspace: Workspace
    program: Program
    plan: Plan
    everything: Sequence[Element]
    base_port: int

    def fails(self, element: Element, why: ElementFailure) -> Problem:
        """A template that cannot be rendered."""
        at = why.at if isinstance(why.at, Place) else self.line(why.at)
        message = str(why)
        if at is None and not isinstance(why.at, Place):
            message += f" ({why.at[0]}:{why.at[1]})"
        return Problem("bad-template", message, at or self.declared(element, None), self.related(element, None, None))

    def rejected(self, element: Element, files: Sequence[RenderedFile], words: str) -> Problem:
        """Artifacts that a dataplane does not take."""
        dataplane = self.program.dataplanes[element["dataplane"]]
        variables = given(self.program, self.everything, element, self.base_port)
        templates = {a.name: a.template for a in dataplane.artifacts}
        artifacts: dict[str, Traced] = {}
        for file in files:
            one = traced(dataplane.folder, templates[file.kind], variables, file.text)
            if one is not None:
                artifacts[file.kind] = one
        message = f"`{dataplane.name}` does not take what it would get at `{element['service']}`: {words}"
        found = blamed(words, artifacts)
        if found is None:
            related = self.related(element, None, None)
            return Problem("rejected-artifact", message, self.declared(element, None), related)
        name, offset = found
        line = self.made_by(dataplane.folder, artifacts[name], offset)
        at = self.line(line) if line else None
        if line is not None and at is None:
            message += f" (it comes from {line[0]}:{line[1]})"
        related = self.related(element, name, line[0] if line else None, artifacts[name].source(offset)[:SHOWN])
        return Problem("rejected-artifact", message, at or self.declared(element, name), related)

    def made_by(self, folder: str, artifact: Traced, offset: int) -> tuple[str, int] | None:
        """The line of a template that made a place. Where an expression has made the whole line of the artifact, it is
        where that stands in the templates, if it stands in one line of them only."""
        source = artifact.source(offset)
        if source and artifact.made_whole(offset):
            files = (f for f in checks.own_templates(self.workspace.db) if posixpath.dirname(f) == folder)
            numbered = ((f, n, said) for f in files for n, said in enumerate(self.workspace.text(f).splitlines(), 1))
            found = [(file, number) for file, number, said in numbered if source in said]
            if len(found) == 1:
                return found[0]
        return artifact.line(offset)

    def line(self, line: tuple[str, int]) -> Place | None:
        """The place of a line of a template, if that is one of the workspace's own specs."""
        file, number = line
        if file not in checks.own_templates(self.workspace.db):
            return None
        start, end = line_of(self.workspace.text(file), number)
        return Place(file, "", start, end)

    def declared(self, element: Element, artifact: str | None) -> Place:
        """Where a spec of the workspace says that an artifact is made; else what the element runs."""
        dataplane = self.program.dataplanes[element["dataplane"]]
        place = next((a.place for a in dataplane.artifacts if artifact in (None, a.name)), None) or dataplane.place
        own = self.workspace.db.input("files")
        policies = [place for _, place in self.runs(element, None)]
        if place is None or (place.file not in own and policies):
            return policies[0]
        return place

    def related(
        self, element: Element, artifact: str | None, template: str | None, source: str = ""
    ) -> tuple[Related, ...]:
        """The artifact, and what the element runs."""
        dataplane, service = element["dataplane"], element["service"]
        out = []
        for a in self.program.dataplanes[dataplane].artifacts:
            if a.place is not None and artifact in (None, a.name):
                says = f", which says `{source}` there" if source and artifact else ""
                out.append(Related(a.place, f"`{a.name}` of `{dataplane}` at `{service}`{says}"))
        runs = self.runs(element, template) or self.runs(element, None)
        out += [Related(at, f"`{dataplane}` at `{service}` runs this for `{name}`") for name, at in runs[:RELATED]]
        return tuple(dict.fromkeys(out))

    def runs(self, element: Element, template: str | None) -> list[tuple[str, Place]]:
        """The policies whose operations an element runs, each with the call: those of one template, if one is named."""
        policies = {p.name: p for p in self.program.policies}
        out: dict[tuple[str, Place], None] = {}
        for rule in rules_of(element):
            if template is None or template.endswith(f"/{rule['emits']}"):
                for source in self.plan.runs[rule["id"] - 1].rule.sources:
                    if not source.default:
                        out[source.policy, policies[source.policy].calls[source.call].place] = None
        return list(out)


def _merged(found: Sequence[tuple[str, Problem]]) -> Iterator[Problem]:
    """Of many elements with the same mistake the first, with how many others there are. Each comes with what was said,
    if there may be several mistakes at its place."""
    same: dict[tuple[str, str, Place], list[Problem]] = {}
    for said, problem in found:
        same.setdefault((said, problem.code, problem.place), []).append(problem)
    for first, *others in same.values():
        more = f" (and {counted(len(others), 'other')} like it)" if others else ""
        yield Problem(first.code, first.message + more, first.place, first.related)
