"""Files that move: the paths that lead to them, and those in them, follow."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping

from m4c import project
from m4c.ide.edits import TextEdit
from m4c.ide.links import paths_in
from m4c.semantics.model import Place
from m4c.syntax import tree as t
from m4c.syntax import words
from m4c.workspace import Workspace


def moving(workspace: Workspace, moves: Mapping[str, str]) -> tuple[TextEdit, ...]:
    """The edits, in the files as they are before they move, after which imports, graphs and templates are found again
    when files or folders have moved from one path to another."""
    shipped = {path for _, path in workspace.db.input("shipped")}
    own = workspace.db.input("files")
    out: list[TextEdit] = []
    for file in project.sources(workspace.db):
        if file in own or file not in shipped:
            out += _in_file(workspace, file, moves)
    return tuple(out)


def _in_file(workspace: Workspace, file: str, moves: Mapping[str, str]) -> Iterator[TextEdit]:
    new_file = _moved(file, moves)
    folder = posixpath.dirname(new_file)
    for ref in project.outline(workspace.db, file).others:
        for path, target in paths_in(workspace, file, ref.parsed.decl):
            new_target = _moved(target, moves)
            if (new_file, new_target) == (file, target) or project.resolve_path(file, path.text) != target:
                continue  # nothing has moved, or it is found in the shipped specs, wherever this file is
            new = posixpath.relpath(new_target, folder)
            outside = isinstance(ref.parsed.decl, t.SpecDecl) and new.startswith("..")  # of the spec's folder
            if project.resolve_path(new_file, path.text) != new_target and not outside:
                place = Place(file, ref.key, path.start, path.end)
                yield TextEdit(workspace.span(place), words.quoted(new))


def _moved(path: str, moves: Mapping[str, str]) -> str:
    """Where a file is afterwards: it may move itself, or a folder that it is in."""
    above = path
    while True:
        if above in moves:
            return moves[above] + path[len(above) :]
        folder = posixpath.dirname(above)
        if folder == above:
            return path
        above = folder
