"""Fixes that look at what lies beside a file: graphs and imports that are named wrongly or not at all."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from m4c import project
from m4c.fixes.scene import Scene
from m4c.fixes.surgery import opening
from m4c.semantics.model import Place
from m4c.semantics.problems import Edit, Fix, nearest
from m4c.syntax import tree as t
from m4c.syntax import words

GRAPHS = (".yaml", ".yml", ".json")
TEMPLATES = (".j2",)


def missing_file(scene: Scene) -> Iterator[Fix]:
    """The file that is there and is called much the same; of templates, only their author knows whether it does too."""
    source, decl, place = scene.source, scene.decl, scene.problem.place
    endings: tuple[str, ...] = (".m4",)
    if isinstance(decl, t.Import):
        path = decl.path.text
    elif isinstance(decl, t.MeshDecl) and decl.graphs:
        path, endings = decl.graphs[0].text, GRAPHS
    elif (template := _template(scene)) is not None:
        path, endings = template, TEMPLATES
    else:
        return
    folder, name = posixpath.split(path)
    here = project.resolve_path(place.file, path)
    there = [f for f in scene.beside(posixpath.dirname(here)) if f.endswith(endings) and f != posixpath.basename(here)]
    if isinstance(decl, t.Import):
        there = [f for f in there if posixpath.join(posixpath.dirname(here), f) != place.file]
    same = [f for f in there if posixpath.splitext(f)[0] == posixpath.splitext(name)[0]]
    near = same[0] if len(same) == 1 else nearest(name, there)
    if near is not None and source is not None:
        new = words.quoted(posixpath.join(folder, near))
        by_hand = endings == TEMPLATES
        yield Fix(f"Change to `{new}`", (source.edit(place.start, place.end, new),), by_hand=by_hand)


def _template(scene: Scene) -> str | None:
    """The name of the template at the place of the problem."""
    place = scene.problem.place
    named = project.templates(scene.db, place.file)
    return next((n.text for key, n in named if (key, n.start) == (place.decl, place.start)), None)


def missing_declaration(scene: Scene) -> Iterator[Fix]:
    """The statement that lacks, as far as what is there says what it must be."""
    source, decl = scene.source, scene.decl
    if source is None:
        return
    if scene.problem.about == "mesh":
        yield from _mesh(scene)
        return
    if not isinstance(decl, t.MeshDecl | t.SpecDecl):
        return
    brace = opening(source, decl.name.end)

    def add(statement: str, sure: bool = False) -> Fix:
        edit = source.edit(brace.end, brace.end, f"\n    {statement}")
        return Fix(f"Add `{statement}`", (edit,), by_hand=not sure)

    match scene.problem.about:
        case "graph":
            found = _graphs(scene)
            yield from (add(f"graph {words.quoted(f)};", len(found) == 1) for f in found)
        case "dataplanes":
            known = dataplanes(scene)
            yield from (add(f"dataplanes {words.name(d)};") for d in known)
            if len(known) > 1:
                yield add(f"dataplanes {', '.join(map(words.name, known))};")
        case "tier":
            yield from (add(f"tier {tier};") for tier in ("kernel", "proxy"))


def _graphs(scene: Scene) -> list[str]:
    """What looks like a graph beside the file at hand: a file called so, else any of the kind."""
    there = [f for f in scene.beside(posixpath.dirname(scene.problem.place.file)) if f.endswith(GRAPHS)]
    return [f for f in there if "graph" in f.lower()] or [f for f in there if not f.endswith(".json")]


def dataplanes(scene: Scene) -> list[str]:
    """Every dataplane that a mesh could name."""
    shipped = [name for name, path in scene.db.input("shipped") if name in project.specs_in(scene.db, path)]
    return sorted({*shipped, *project.schema(scene.db).dataplanes})


def _mesh(scene: Scene) -> Iterator[Fix]:
    """A mesh for a workspace that has none, if it is clear what it is about."""
    file = scene.problem.place.file
    graphs = _graphs(scene)
    if len(graphs) != 1:
        return
    name = words.name(posixpath.basename(posixpath.dirname(file)) or "main")
    listed = ", ".join(map(words.name, dataplanes(scene)))
    text = f"mesh {name} {{\n    graph {words.quoted(graphs[0])};\n    dataplanes {listed};\n}}\n\n"
    yield Fix(f"Declare a mesh `{name}` over `{graphs[0]}`", (Edit(Place(file, "", 0, 0), text),), by_hand=True)
