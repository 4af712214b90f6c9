"""The paths in a file that lead to other files: imports, graphs, the templates of a spec."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass

from m4c import project
from m4c.semantics.model import Place
from m4c.syntax import tree as t
from m4c.workspace import Span, Workspace


@dataclass(frozen=True, slots=True)
class Link:
    """A path, without its quotes, and the file that it leads to."""

    span: Span
    target: str


def links(workspace: Workspace, file: str) -> tuple[Link, ...]:
    """The paths in a file whose files are there, in order."""
    found = []
    for ref in project.outline(workspace.db, file).others:
        for path, target in paths_in(workspace, file, ref.parsed.decl):
            end = max(path.end - 1, path.start + 1)
            found.append(Link(workspace.span(Place(file, ref.key, path.start + 1, end)), target))
    return tuple(sorted(found, key=lambda link: link.span.start))


def paths_in(workspace: Workspace, file: str, decl: t.Decl) -> Iterator[tuple[t.Str, str]]:
    """The paths in a declaration, each with the file that it leads to, if that is there."""
    db = workspace.db
    match decl:
        case t.Import(path=path):
            target = next((c for c in project.import_candidates(db, file, path.text) if project.exists(db, c)), None)
            if target is not None:
                yield path, target
        case t.MeshDecl(graphs=graphs):
            for path in graphs:
                target = project.resolve_path(file, path.text)
                if project.exists(db, target):
                    yield path, target
        case t.SpecDecl():
            for name in project.templates_of(decl):
                template = project.template_path(posixpath.dirname(file), name.text)
                if template is not None and db.input_or("there", template, default=False):
                    yield name, template
