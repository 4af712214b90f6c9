"""Rewritings of sound programs that somebody asks for at a place: each says what it would do, and is worked out when it
is chosen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from m4c import project
from m4c.fixes.scene import declared
from m4c.fixes.surgery import Source, add_to_clause, listed, opening
from m4c.ide.edits import TextEdit, text_edits
from m4c.ide.graphfile import is_graph
from m4c.ide.symbols import meshes_of_graph
from m4c.semantics.model import Graph
from m4c.semantics.problems import Edit, Fix
from m4c.semantics.roles import OWNER
from m4c.syntax import tree as t
from m4c.syntax import words
from m4c.workspace import Workspace

TEAMS = (OWNER, "team")  # labels of the graph whose value is that, where a policy is split by them
Kind: TypeAlias = Literal["refactor.extract", "refactor.rewrite"]


@dataclass(frozen=True, slots=True)
class Rewriting:
    """Something that can be done at a place; `edits` works it out."""

    title: str
    kind: Kind
    edits: Callable[[], tuple[TextEdit, ...]]


@dataclass(frozen=True, slots=True)
class _Place:
    """The declaration at the cursor, and offsets within it."""

    workspace: Workspace
    mesh: str
    source: Source
    start: int
    end: int

    def at(self, start: int, end: int) -> bool:
        """Whether the cursor, or what is selected, touches a span of the declaration."""
        return start <= self.end and self.start <= end

    def made(self, edits: Iterable[Edit]) -> tuple[TextEdit, ...]:
        return text_edits(self.workspace, Fix("", tuple(edits)))


def rewritings(workspace: Workspace, file: str, start: int, end: int) -> tuple[Rewriting, ...]:
    """What can be done with the text between two offsets of a file."""
    db = workspace.db
    if is_graph(workspace, file):
        return tuple(_policy_on_call(workspace, file, start, end))
    mesh = project.mesh_of_file(db, file)[0]
    if mesh is None:
        return ()
    for (_, item), ref in zip(project.keyed(db, file), project.decls(db, file), strict=True):
        if item.start <= start and end <= item.end and not ref.parsed.problems:
            place = _Place(workspace, mesh, Source(ref), start - item.start, end - item.start)
            match ref.parsed.decl:
                case t.PolicyDecl() as policy:
                    return (
                        *_extract_group(place, policy),
                        *_split(place, policy),
                        *_override(place, policy),
                    )
                case t.TestDecl() as test:
                    return tuple(_policy_for(place, test))
    return ()


# --- a group from the services of a pattern ---------------------------------------------------------------------------


def _extract_group(place: _Place, policy: t.PolicyDecl) -> Iterator[Rewriting]:
    found = next((p for p in _alternatives(policy.pattern) if place.at(p.start, p.end)), None)
    home = _mesh_source(place)
    services = _services(found) if found is not None else None
    if found is None or services is None or home is None:
        return
    source, decl = home
    names = {n.text for n, _ in decl.groups}
    name = _free("_or_".join(services[:3]), names)
    group = f"group {words.name(name)} = {{ {', '.join(map(words.service, services))} }};"

    def edits() -> tuple[TextEdit, ...]:
        brace = source.closing(opening(source, decl.name.end))
        line = source.text.rfind("\n", 0, brace.start) + 1
        own = not source.text[line : brace.start].strip()
        if own:
            declare = source.edit(line, line, f"    {group}\n")
        else:
            before = "" if source.text[brace.start - 1] == " " else " "
            declare = source.edit(brace.start, brace.start, f"{before}{group} ")
        return place.made((declare, place.source.edit(found.start, found.end, f"@{words.name(name)}")))

    yield Rewriting(f"Extract group `{name}`", "refactor.extract", edits)


def _alternatives(pattern: t.PatternNode) -> Iterator[t.PAlt]:
    for step in pattern.steps:
        one: t.POne = step.one
        while isinstance(one, t.PNot):
            one = one.of
        if isinstance(one, t.PAlt):
            yield one


def _services(alternatives: t.PAlt) -> list[str] | None:
    """The services that are alternatives, each once; None if something else is among them."""
    named = [p.service.text for p in alternatives.of if isinstance(p, t.PNamed) and p.version is None]
    return list(dict.fromkeys(named)) if len(named) == len(alternatives.of) else None


def _mesh_source(place: _Place) -> tuple[Source, t.MeshDecl] | None:
    """The declaration of the mesh."""
    for ref in project.mesh_refs(place.workspace.db):
        if isinstance(ref.parsed.decl, t.MeshDecl) and project.named(ref) == place.mesh:
            return Source(ref), ref.parsed.decl
    return None


# --- one policy for each team -----------------------------------------------------------------------------------------


def _split(place: _Place, policy: t.PolicyDecl) -> Iterator[Rewriting]:
    """By a label of the services among which a pattern begins or ends: a call path then matches one of the new
    policies, as it matched the old one once."""
    graph = project.mesh_graph(place.workspace.db, place.mesh)
    steps = policy.pattern.steps
    for step in dict.fromkeys((steps[0], steps[-1])) if graph is not None else ():
        services = _services(step.one) if isinstance(step.one, t.PAlt) and not step.star else None
        if services is None or not place.at(step.start, step.end) or graph is None:
            continue
        for label, parts in _by_label(graph, services).items():
            names = [_free(f"{policy.name.text}_{value}", _policies(place)) for value in parts]
            split = dict(zip(names, parts.items(), strict=True))

            def edits(step: t.PStep = step, label: str = label, split: _Parts = split) -> tuple[TextEdit, ...]:
                return place.made(_split_edits(place, policy, step, label, split))

            yield Rewriting(f"Split `{policy.name.text}` by `{label}` into {len(parts)}", "refactor.rewrite", edits)


_Parts: TypeAlias = Mapping[str, tuple[str, list[str]]]  # of each new policy, the value of the label and the services


def _by_label(graph: Graph, services: list[str]) -> dict[str, dict[str, list[str]]]:
    """For each label that all services have and that tells them apart: the services by value."""
    out: dict[str, dict[str, list[str]]] = {}
    known = [dict(graph.services[s].labels) for s in services if s in graph.services]
    for label in sorted(set[str]().union(*known)) if len(known) == len(services) else ():
        parts: dict[str, list[str]] = {}
        for service, labels in zip(services, known, strict=True):
            parts.setdefault(labels.get(label, ""), []).append(service)
        if len(parts) > 1 and "" not in parts:
            out[label] = parts
    return out


def _split_edits(place: _Place, policy: t.PolicyDecl, step: t.PStep, label: str, split: _Parts) -> Iterator[Edit]:
    text = place.source.text
    copies = []
    for name, (value, services) in split.items():
        named = [words.service(s) for s in services]
        changes = {
            (policy.name.start, policy.name.end): words.name(name),
            (step.one.start, step.one.end): named[0] if len(named) == 1 else f"({' | '.join(named)})",
        }
        copy = text
        if label in TEAMS:
            owned = next((a for a in policy.annotations if a.name.text == OWNER), None)
            says = f"@{OWNER}({words.quoted(value)})"
            where = (owned.start, owned.end) if owned is not None else None
            if where is None:
                keyword = place.source.before(policy.name.start).start
                where, says = (keyword, keyword), f"{says}\n"
            changes[where] = says
        for (start, end), new in sorted(changes.items(), reverse=True):
            copy = copy[:start] + new + copy[end:]
        copies.append(copy)
    yield place.source.edit(0, len(text), "\n\n".join(copies))
    for other, (source, decl) in declared(place.workspace.db, place.mesh).items():
        for clause in ("overrides", "after") if other != policy.name.text else ():
            for name_ in listed(decl, clause):
                if name_.text == policy.name.text:
                    yield from source.replace_listed(name_, split)


# --- `overrides` instead of `after` -----------------------------------------------------------------------------------


def _override(place: _Place, policy: t.PolicyDecl) -> Iterator[Rewriting]:
    name = next((n for n in policy.after if place.at(n.start, n.end)), None)
    if name is None or name.text in {n.text for n in policy.overrides}:
        return

    def edits() -> tuple[TextEdit, ...]:
        if len(policy.after) == 1 and not policy.overrides:
            word = place.source.before(name.start)
            return place.made((place.source.edit(word.start, word.end, "overrides"),))
        add = add_to_clause(place.source, policy, "overrides", name.text)
        return place.made((*add, *place.source.remove_listed(name.start, name.end)))

    title = f"Override `{name.text}` instead of coming after it"
    yield Rewriting(title, "refactor.rewrite", edits)


# --- a policy for a call path -----------------------------------------------------------------------------------------


def _policy_for(place: _Place, test: t.TestDecl) -> Iterator[Rewriting]:
    """For the call path of a test's request, in front of the test."""
    requests = [s for s in test.statements if isinstance(s, t.TestRequest)]
    request = next((r for r in requests if place.at(r.pattern.start, r.pattern.end)), None)
    entity = _entity_of(place, request) if request is not None else None
    if request is None or entity is None:
        return
    path = place.source.text[request.pattern.start : request.pattern.end]
    last = request.pattern.steps[-1].one
    name = _free(f"on_{last.service.text}" if isinstance(last, t.PNamed) else "on_path", _policies(place))

    def edits() -> tuple[TextEdit, ...]:
        return place.made((place.source.edit(0, 0, f"{_skeleton(name, entity, path)}\n"),))

    yield Rewriting(f"Create policy `{name}` for this call path", "refactor.extract", edits)


def _entity_of(place: _Place, request: t.TestRequest) -> str | None:
    """The entity that a request is: the one it names, or the only one that is requested with two words."""
    if request.text is None:
        return request.name.text if request.name.text in project.schema(place.workspace.db).entities else None
    return _plain_entity(place.workspace)


def _plain_entity(workspace: Workspace) -> str | None:
    """The only entity that is requested with two words."""
    entities = project.schema(workspace.db).entities
    lines = [e.name for e in entities.values() if not e.state and len(e.request_line) == 2]
    return lines[0] if len(lines) == 1 else None


def _skeleton(name: str, entity: str, pattern: str) -> str:
    return f"policy {words.name(name)} ({words.name(entity)} {entity[0].lower()}) on {pattern}\n{{\n}}\n"


# --- a policy for a call of the graph ---------------------------------------------------------------------------------


def _policy_on_call(workspace: Workspace, file: str, start: int, end: int) -> Iterator[Rewriting]:
    """For the hop that a call in a graph file is, whatever is before it; where the mesh has its policies."""
    db = workspace.db
    loaded = project.graph(db, file)
    spans = [(u, v, workspace.span(place)) for u, v, place in (loaded.calls_at if loaded is not None else ())]
    here = [(u, v) for u, v, span in spans if span.start <= end and start <= span.end]
    entity = _plain_entity(workspace)
    meshes = meshes_of_graph(db, file) if len(here) == 1 and entity is not None else ()
    for mesh in meshes:
        home = _home(workspace, mesh)
        if home is None or entity is None:
            continue
        (caller, callee) = here[0]
        name = _free(f"{caller}_to_{callee}", set(declared(db, mesh)))
        pattern = f"* -> {words.service(caller)} -> {words.service(callee)}"
        policy = _skeleton(name, entity, pattern)

        def edits(home: str = home, policy: str = policy) -> tuple[TextEdit, ...]:
            return (_appended(workspace, home, policy),)

        of = f" of mesh `{mesh}`" if len(meshes) > 1 else ""
        yield Rewriting(f"Create policy `{name}`{of} for this call", "refactor.extract", edits)


def _home(workspace: Workspace, mesh: str) -> str | None:
    """The file that has most of a mesh's policies, else the one that declares it."""
    refs = [source.ref.file for source, _ in declared(workspace.db, mesh).values()]
    counts = {f: -refs.count(f) for f in sorted(refs)}
    if counts:
        return min(counts, key=lambda f: (counts[f], f))
    found = (r.file for r in project.mesh_refs(workspace.db) if project.named(r) == mesh)
    return next(found, None)


def _appended(workspace: Workspace, file: str, declaration: str) -> TextEdit:
    """A declaration at the end of a file, a line apart from what is there."""
    text = workspace.text(file)
    kept = text.rstrip()
    crlf = 2 * text.count("\r\n") > text.count("\n")
    new = f"\n\n{declaration}" if kept else declaration
    return TextEdit(workspace.at(file, len(kept), len(text)), new.replace("\n", "\r\n") if crlf else new)


# --- names ------------------------------------------------------------------------------------------------------------


def _policies(place: _Place) -> set[str]:
    return set(declared(place.workspace.db, place.mesh))


def _free(wanted: str, taken: Iterable[str]) -> str:
    """A name like the one that is wanted, which nothing else has."""
    name = re.sub(r"\W", "_", wanted)
    known, number = set(taken), 2
    free = name
    while free in known:
        free, number = f"{name}_{number}", number + 1
    return free
