"""What files declare, as queries: texts → items → declarations → the outline of each file and the layout of all.

Inputs: `files` (the workspace's M4 files, sorted), `roots` (its folders, the innermost first), `text` (a file's text,
None where there is none), `shipped` (the shipped spec programs). Keys of declarations ("policy:canary") hold no
offsets, so editing one declaration re-computes nothing of another that stays as it is, wherever it moves.

The layout holds what others need of a file to know what there is: names, and whatever is no policy and no test. It is
the one query that reads every file and that everything else depends on, so it is a firewall: an edit within a policy
leaves it as it was, and nothing beyond that policy is looked at.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from m4c.db import Database, firewall, query
from m4c.processes import shared
from m4c.syntax import tree as t
from m4c.syntax.cache import encoded, parse_file, parsed_elsewhere, unparsed
from m4c.syntax.items import Item
from m4c.syntax.parser import ParsedItem, grammar, parse_item

SOME = 32  # files that are looked at together: all of them are 500 looks, and 16 and 32 are few
MUCH = 500_000  # characters to parse from which on it is worth it to start processes
SENT = 1.4  # how much longer it takes to parse for another process
_HEAD = re.compile(r"\bpolicy\s+[A-Za-z_]\w*\s*\(?\s*([A-Za-z_]\w*)", re.A)
SPEC_DECLS = (t.SpecDecl, t.EntityDecl, t.EnumDecl, t.StateEntityDecl)


@dataclass(frozen=True, slots=True)
class DeclRef:
    """A declaration: its file, its key in it, and its text."""

    file: str
    key: str
    text: str

    @property
    def parsed(self) -> ParsedItem:
        return parse_item(self.text)


@dataclass(frozen=True, slots=True)
class PolicyName:
    """A policy by its key in a file; the name is "" where it has none, the entity where it cannot be read."""

    key: str
    name: str
    entity: str


@dataclass(frozen=True, slots=True)
class Outline:
    """What a file declares. `others`: all that is neither a policy nor a test, as it stands there."""

    file: str
    policies: tuple[PolicyName, ...]
    tests: tuple[str, ...]
    others: tuple[DeclRef, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The files that the workspace consists of or may consist of, those of them that exist (workspace files first),
    and what these declare. `meshes`: the names of the meshes; `mesh_of`: that of each file, and whether it says so."""

    files: tuple[str, ...]
    graphs: tuple[str, ...]
    sources: tuple[str, ...]
    outlines: tuple[Outline, ...]
    meshes: tuple[str, ...]
    mesh_of: dict[str, tuple[str | None, bool]]

    def of_mesh(self, mesh: str | None) -> tuple[Outline, ...]:
        """The outlines of the files whose policies belong to a mesh."""
        return tuple(o for o in self.outlines if self.mesh_of[o.file][0] == mesh)


# --- one file ---------------------------------------------------------------------------------------------------------


def _text(db: Database, file: str) -> str:
    return str(db.input_or("text", file, default=None) or "")


@query
def exists(db: Database, file: str) -> bool:
    """Whether there is such a file: to ask for its text would be to depend on all that is in it."""
    return db.input_or("text", file, default=None) is not None


@query
def items(db: Database, file: str) -> tuple[Item, ...]:
    """The top-level items of a file, with offsets."""
    return tuple(item for _, item in keyed(db, file))


@query
def keyed(db: Database, file: str) -> tuple[tuple[str, Item], ...]:
    """The items of a file with their keys: kind and name, and a number behind the second of the same."""
    seen: dict[str, int] = {}
    out = []
    for item, parsed in parse_file(_text(db, file)):
        name = getattr(parsed.decl, "name", None) or getattr(parsed.decl, "title", None)
        key = f"{item.kind}:{name.text if name else ''}"
        seen[key] = seen.get(key, 0) + 1
        out.append((key if seen[key] == 1 else f"{key}#{seen[key]}", item))
    return tuple(out)


@query
def decls(db: Database, file: str) -> tuple[DeclRef, ...]:
    """The declarations of a file in order, without offsets: equal as long as no text and no order changes."""
    return tuple(DeclRef(file, key, item.text) for key, item in keyed(db, file))


@query
def offsets(db: Database, file: str) -> dict[str, int]:
    """Where each declaration of a file starts."""
    return {key: item.start for key, item in keyed(db, file)}


@query
def _by_key(db: Database, file: str) -> dict[str, DeclRef]:
    return {ref.key: ref for ref in decls(db, file)}


@query
def decl(db: Database, file: str, key: str) -> DeclRef | None:
    """A declaration by its file and key."""
    return _by_key(db, file).get(key)


@query
def outline(db: Database, file: str) -> Outline:
    policies, tests, others = [], [], []
    for ref in decls(db, file):
        if ref.key.startswith("policy:"):
            of = ref.parsed.decl
            entity = of.entity.text if isinstance(of, t.PolicyDecl) else _entity(ref.text)
            policies.append(PolicyName(ref.key, named(ref), entity))
        elif ref.key.startswith("test:"):
            tests.append(ref.key)
        elif not ref.key.startswith(":"):  # text that belongs to no declaration matters to nobody else
            others.append(ref)
    return Outline(file, tuple(policies), tuple(tests), tuple(others))


def _entity(text: str) -> str:
    """The entity of a policy whose head does not parse, as far as it can be read: while somebody types, it is there."""
    found = _HEAD.search(text)
    return found[1] if found is not None else ""


def named(ref: DeclRef) -> str:
    """The name of a declaration; "" where it has none."""
    name = getattr(ref.parsed.decl, "name", None)
    return name.text if name else ""


# --- all files --------------------------------------------------------------------------------------------------------


@firewall
def layout(db: Database) -> Layout:
    """All files, and what they declare."""
    own = len(db.input("files"))
    known = {o.file: o for some in range(-(-own // SOME)) for o in _outlines_of_some(db, some)}
    files, graphs = _reached(db, known)
    sources = tuple(f for f in files if f in known or exists(db, f))
    outlines = tuple(known.get(f) or outline(db, f) for f in sources)
    meshes = dict.fromkeys(named(r) for o in outlines for r in o.others if isinstance(r.parsed.decl, t.MeshDecl))
    near = _meshes_by_root(db, outlines)
    mesh_of = {o.file: _mesh_of(o, near.get(_root(db, o.file)) or tuple(meshes)) for o in outlines}
    return Layout(files, graphs, sources, outlines, tuple(meshes), mesh_of)


def resolve_path(base: str, path: str) -> str:
    """A path in a program, relative to the folder of the file that names it."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(base), path))


def import_candidates(db: Database, file: str, path: str) -> tuple[str, str]:
    shipped = str(db.input("shipped_folder"))
    return resolve_path(file, path), posixpath.normpath(posixpath.join(shipped, path))


@query
def _outlines_of_some(db: Database, some: int) -> tuple[Outline, ...]:
    """The outlines of some of the workspace's files, those that exist."""
    return tuple(outline(db, f) for f in db.input("files")[some * SOME : (some + 1) * SOME] if exists(db, f))


def _reached(db: Database, known: dict[str, Outline]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(M4 files, graph files) that the workspace consists of or may consist of: what the loader must have read."""
    shipped: dict[str, str] = dict(db.input("shipped"))
    queue = [*db.input("files"), shipped["core"]]
    files: dict[str, None] = {}
    graphs: dict[str, None] = {}
    specs: set[str] = set()
    named_planes: dict[str, None] = {}
    at = 0
    while at < len(queue) or named_planes:
        if at == len(queue):
            name = next(iter(named_planes))
            del named_planes[name]
            if name in shipped and name not in specs:
                queue.append(shipped[name])
            continue
        file = queue[at]
        at += 1
        if file in files:
            continue
        files[file] = None
        for ref in (known.get(file) or outline(db, file)).others:
            match ref.parsed.decl:
                case t.Import(path=path):
                    here, there = import_candidates(db, file, path.text)
                    queue.append(here)
                    if here not in known and not exists(db, here):
                        queue.append(there)
                case t.MeshDecl(dataplanes=names, graphs=paths):
                    named_planes |= dict.fromkeys(n.text for n in names)
                    graphs |= dict.fromkeys(resolve_path(file, g.text) for g in paths)
                case t.SpecDecl(name=spec_name):
                    specs.add(spec_name.text)
    return tuple(files), tuple(graphs)


def _root(db: Database, file: str) -> str | None:
    """The folder of the workspace that a file is in, if there are several."""
    roots: tuple[str, ...] = db.input_or("roots", default=())
    return next((r for r in roots if file.startswith(f"{r}/")), None) if len(roots) > 1 else None


def _meshes_by_root(db: Database, outlines: tuple[Outline, ...]) -> dict[str | None, tuple[str, ...]]:
    """The meshes that each of several folders declares."""
    found: dict[str | None, dict[str, None]] = {}
    for o in outlines:
        root = _root(db, o.file)
        if root is not None:
            names = (named(r) for r in o.others if isinstance(r.parsed.decl, t.MeshDecl))
            found.setdefault(root, {}).update(dict.fromkeys(names))
    return {root: tuple(names) for root, names in found.items()}


def _mesh_of(of: Outline, meshes: tuple[str, ...]) -> tuple[str | None, bool]:
    said = next((r.parsed.decl for r in of.others if isinstance(r.parsed.decl, t.Membership)), None)
    if isinstance(said, t.Membership):
        return said.mesh.text, True
    own = {named(r) for r in of.others if isinstance(r.parsed.decl, t.MeshDecl)}
    if len(own) == 1:
        return own.pop(), False
    return (meshes[0], False) if len(meshes) == 1 else (None, False)


def some_files_count(db: Database) -> int:
    """How many times `SOME` files there are. A query over all files that takes them in these pieces does not look at
    each of them again when one is edited."""
    return -(-len(layout(db).sources) // SOME)


@query
def some_files(db: Database, some: int) -> tuple[str, ...]:
    """The files of one piece."""
    return layout(db).sources[some * SOME : (some + 1) * SOME]


def wanted(db: Database) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(M4 files, graph files) that the loader must have read."""
    found = layout(db)
    return found.files, found.graphs


def sources(db: Database) -> tuple[str, ...]:
    """The files that exist, workspace files first."""
    return layout(db).sources


@query
def mesh_names(db: Database) -> tuple[str, ...]:
    return layout(db).meshes


@query
def mesh_of_file(db: Database, file: str) -> tuple[str | None, bool]:
    """(the mesh that a file's policies belong to, whether the file says so). None: it cannot be known."""
    found = layout(db)
    return found.mesh_of.get(file) or _mesh_of(outline(db, file), found.meshes)


@query
def all_decls(db: Database) -> tuple[DeclRef, ...]:
    return tuple(ref for file in sources(db) for ref in decls(db, file))


@query
def specs_in(db: Database, file: str) -> tuple[str, ...]:
    """The names of the specs that a file declares."""
    return tuple(named(r) for r in outline(db, file).others if isinstance(r.parsed.decl, t.SpecDecl))


@query
def mesh_refs(db: Database) -> tuple[DeclRef, ...]:
    return tuple(r for o in layout(db).outlines for r in o.others if isinstance(r.parsed.decl, t.MeshDecl))


# --- many files -------------------------------------------------------------------------------------------------------


def parse_ahead(files: Iterable[str], processes: int, checkpoint: Callable[[], None]) -> None:
    """Parses the texts of files that are going to be asked about, in several processes if it is much; what one of them
    fails to do is done when it is asked for. `checkpoint`: as `shared` takes it."""
    texts = unparsed(files)
    if sum(map(len, texts)) < MUCH:
        return
    parts: list[list[str]] = [[] for _ in range(processes)]
    loads = [0.0] * processes
    for text in sorted(texts, key=len, reverse=True):
        least = loads.index(min(loads))
        parts[least].append(text)
        loads[least] += len(text) * (SENT if least else 1)
    grammar()  # before there are several that need it

    def here() -> None:
        for text in parts[0]:
            parse_file(text)

    def work(part: int) -> list[bytes]:
        return [encoded(text) for text in parts[part + 1]]

    for mine, sent in zip(parts[1:], shared(processes - 1, work, checkpoint, here), strict=True):
        for text, data in zip(mine, sent or (), strict=False):
            parsed_elsewhere(text, data)
