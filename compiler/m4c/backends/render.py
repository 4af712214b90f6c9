"""Renders the templates of the specs, in Jinja2's sandbox, for every element of a plan."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from m4c.backends.wiring import BASE_PORT, Wiring, stops, wire
from m4c.placement.elements import rules_of
from m4c.semantics.model import Dataplane, Place, Program

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

CONTEXT_HEADER = "m4-ctx"


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One artifact: its path below the output folder, its text, and what it is for."""

    path: str
    text: str
    dataplane: str
    service: str
    kind: str  # the artifact's file name in the spec

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Build:
    """Everything that a plan becomes: the artifacts and how the services are wired."""

    mesh: str
    files: tuple[RenderedFile, ...]
    wiring: str  # JSON

    def manifest(self) -> str:
        """The text of `manifest.json`."""
        artifacts = [
            {"path": f.path, "dataplane": f.dataplane, "service": f.service, "kind": f.kind, "sha256": f.sha256}
            for f in self.files
        ]
        wiring = hashlib.sha256(self.wiring.encode()).hexdigest()
        return json.dumps({"mesh": self.mesh, "artifacts": artifacts, "wiring": wiring}, indent=2) + "\n"


class TemplateFailure(Exception):
    """A template of a spec does not render: what is wrong, in which file, on which line (from 1; 0: unknown)."""

    def __init__(self, message: str, file: str, line: int) -> None:
        super().__init__(message)
        self.file = file
        self.line = line


class Unnamed(TemplateFailure):
    """A template asks for another one, but nothing names it."""


class ElementFailure(Exception):
    """An element cannot be rendered: why, and where the mistake is: in a template, on which line (from 1; 0: unknown),
    or in the declaration of a spec."""

    def __init__(self, message: str, at: tuple[str, int] | Place) -> None:
        super().__init__(message)
        self.at = at


def render(program: Program, elements: Sequence[Mapping[str, Any]], base_port: int = BASE_PORT) -> Build:
    """The artifacts of a plan. `elements`: one plain dict an element, as the templates get it, without `wiring`.

    Raises ElementFailure for what a spec or its templates lack, and NoPortLeft.
    """
    wiring = _wired(program, elements, base_port)
    files = [file for element in elements for file in _files(program, element, wiring)]
    return _build(program, elements, files, wiring, base_port)


def render_element(
    program: Program, elements: Sequence[Mapping[str, Any]], changed: Mapping[str, Any], base_port: int = BASE_PORT
) -> tuple[RenderedFile, ...]:
    """The artifacts of one element beside the others of a plan; it may be changed. Raises as `render` does."""
    return tuple(_files(program, changed, _wired(program, elements, base_port)))


def render_some(
    program: Program,
    elements: Sequence[Mapping[str, Any]],
    chosen: Iterable[Mapping[str, Any]],
    base_port: int = BASE_PORT,
) -> tuple[Build, tuple[tuple[Mapping[str, Any], ElementFailure], ...]]:
    """The artifacts of some elements of a plan, and those of them that have none, each with the reason. Raises
    NoPortLeft."""
    wiring = _wired(program, elements, base_port)
    made, files, failed = [], [], []
    for element in chosen:
        try:
            files += list(_files(program, element, wiring))
            made.append(element)
        except ElementFailure as e:
            failed.append((element, e))
    return _build(program, made, files, wiring, base_port), tuple(failed)


def given(
    program: Program,
    elements: Sequence[Mapping[str, Any]],
    element: Mapping[str, Any],
    base_port: int = BASE_PORT,
) -> Mapping[str, Any]:
    """What the templates of an element get: `elements` are all of the plan. Raises NoPortLeft."""
    return _variables(element, _wired(program, elements, base_port))


def _build(
    program: Program,
    elements: Sequence[Mapping[str, Any]],
    files: list[RenderedFile],
    wiring: Mapping[str, Wiring],
    base_port: int,
) -> Build:
    tiers = {d.name: d.tier for d in program.dataplanes.values()}
    graph = {
        "services": {
            s.name: {
                "versions": list(s.versions),
                "entry": s.entry,
                "origin": s.origin,
                "propagates": s.propagates and program.carries_context(s.protocol),
            }
            for s in program.graph.services.values()
        },
        "calls": [[c.caller, c.callee] for c in program.graph.calls],
    }
    plain = {
        "mesh": program.mesh.name,
        "context": elements[0]["context"] if elements else {"header": CONTEXT_HEADER, "width": 4},
        "base_port": base_port,
        "services": {name: w.plain() for name, w in wiring.items()},
        "graph": graph,
        "elements": [
            {
                "service": e["service"],
                "dataplane": e["dataplane"],
                "tier": tiers[e["dataplane"]],
                "policies": [list(place) for place in _policies(e)],
            }
            for e in elements
        ],
    }
    files.sort(key=lambda f: f.path)
    return Build(program.mesh.name, tuple(files), json.dumps(plain, indent=2) + "\n")


def _policies(element: Mapping[str, Any]) -> list[tuple[str | None, str, str]]:
    """The policies and defaults that an element has to do with, each with a hop: who deploys has to know when one moves
    from one element to another."""
    sites = element["sites"]
    found = {(s["caller"], s["callee"], r["policy"]) for s in sites for r in (*s["rules"], *s["answers"])}
    return sorted(found, key=lambda place: (place[0] or "", *place[1:]))


def _wired(program: Program, elements: Sequence[Mapping[str, Any]], base_port: int) -> dict[str, Wiring]:
    planes = [(e["service"], program.dataplanes[e["dataplane"]]) for e in elements]
    proxies = {service: plane.speaks for service, plane in planes if plane.tier == "proxy"}
    return wire(program.graph, proxies, base_port)


def _files(program: Program, element: Mapping[str, Any], wiring: Mapping[str, Wiring]) -> Iterator[RenderedFile]:
    dataplane = program.dataplanes[element["dataplane"]]
    service = element["service"]
    variables = _variables(element, wiring)
    for artifact in dataplane.artifacts:
        try:
            text = _render(dataplane, artifact.template, variables)
        except TemplateFailure as e:
            raise _failure(e, dataplane, element) from None
        path = PurePosixPath(*map(_safe, (dataplane.name, service, artifact.name)))
        yield RenderedFile(str(path), text, dataplane.name, service, artifact.name)


def _variables(element: Mapping[str, Any], wiring: Mapping[str, Wiring]) -> Mapping[str, Any]:
    named = {s for rule in rules_of(element) for s in rule["services"]}
    others = {name: stops(wiring[name].app) for name in sorted(named)}
    return {**element, "wiring": {**wiring[element["service"]].plain(), "services": others}}


def _failure(e: TemplateFailure, dataplane: Dataplane, element: Mapping[str, Any]) -> ElementFailure:
    """Why an element cannot be rendered. A template that one of its operations lacks is a mistake in the spec."""
    service = element["service"]
    if isinstance(e, Unnamed):
        asked = {rule["operation"] for rule in rules_of(element) if rule["emits"] is None}
        lacking = (s for _, s in sorted(dataplane.operations.items()) if s.emits is None and s.operation in asked)
        operation = next(lacking, None)
        if operation is not None and operation.place is not None:
            said = (
                f"`{dataplane.name}` cannot perform {operation.operation} for `{service}`: "
                "its spec names no template for it, and the dataplane's own templates ask for one; add "
                f'`emits "NAME.j2"` to `operation {operation.operation}`, and write that file beside the spec'
            )
            return ElementFailure(said, operation.place)
    return ElementFailure(f"a template of `{dataplane.name}` fails for `{service}`: {e}", (e.file, e.line))


def _safe(name: str) -> str:
    """A name as one part of a path: different names stay different, and none leads out of the output folder."""
    quoted = quote(name, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted


@lru_cache(maxsize=16)
def environment_for(folder: str | None) -> SandboxedEnvironment:
    """Compiles the templates of a spec; one that has changed on the disk is compiled again. None: finds no file."""
    from jinja2 import FileSystemLoader, StrictUndefined, Template, TemplateNotFound
    from jinja2.sandbox import SandboxedEnvironment

    class Environment(SandboxedEnvironment):
        """Finds that a rule has no template, where Jinja2 takes every name for a text."""

        def get_template(self, name: Any, parent: str | None = None, globals: Any = None) -> Template:
            if name is None:
                raise TemplateNotFound(None, "a template asks for another one, but nothing names it")
            return super().get_template(name, parent, globals)

    environment = Environment(
        loader=None if folder is None else FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment


def _render(dataplane: Dataplane, template: str, variables: Mapping[str, Any]) -> str:
    from jinja2 import TemplateError, TemplateNotFound, TemplateSyntaxError

    environment = environment_for(dataplane.folder)
    try:
        return environment.get_template(template).render(variables)
    except TemplateSyntaxError as e:
        raise TemplateFailure(e.message or "syntax error", e.filename or template, e.lineno) from None
    except TemplateNotFound as e:
        at = _where(e, dataplane.folder, template)
        if e.name is None:
            raise Unnamed(str(e.message), *at) from None
        message = f"there is no template `{e.name}` beside the spec: write it, or correct the name"
        raise TemplateFailure(message, *at) from None
    except UnicodeDecodeError as e:
        message = "the template that is named here is not UTF-8"
        raise TemplateFailure(message, *_where(e, dataplane.folder, template)) from None
    except RecursionError as e:
        message = "its macros call each other without end"
        raise TemplateFailure(message, *_where(e, dataplane.folder, template)) from None
    except Exception as e:  # a template can raise whatever the code that it calls can
        said = str(e) if isinstance(e, TemplateError) else f"{type(e).__name__}: {e}"
        raise TemplateFailure(said, *_where(e, dataplane.folder, template)) from None


def _where(error: BaseException, folder: str, template: str) -> tuple[str, int]:
    """The innermost place in a template that an error came through."""
    file, line = f"{folder}/{template}", 0
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(folder):
            file, line = name, trace.tb_lineno
        trace = trace.tb_next
    return file, line
