"""Rename: a name is changed wherever it stands, or it is said why it cannot be.

What may be read in more than one way is left to people: names in text that does not parse are changed only if they
agree, and templates that mention what is renamed are told, for nobody but their author knows what the word means there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import yaml

from m4c import project
from m4c.files import Unreadable, read_text
from m4c.graph.load import scalar
from m4c.ide.edits import TextEdit
from m4c.ide.occurrences import Kind, Occurrence, Symbol
from m4c.ide.symbols import (
    OF_GRAPHS,
    Found,
    declarations,
    everywhere,
    may_hold,
    mesh_of,
    meshes_of_graph,
    occurrences,
    symbol_at,
)
from m4c.semantics.values import SCALARS
from m4c.syntax import words
from m4c.syntax.items import TOKEN
from m4c.syntax.literals import unescape
from m4c.workspace import Workspace

Part: TypeAlias = Literal["declaration", "use", "graph", "unread"]

WHAT: dict[Kind, str] = {
    "policy": "a policy", "service": "a service", "group": "a group", "mesh": "a mesh", "dataplane": "a dataplane",
    "entity": "an entity", "operation": "an operation", "attribute": "an attribute", "key": "a mark",
    "param": "a parameter", "enum": "an enum", "enum value": "a value", "constant": "a constant",
    "variable": "the policy's variable", "state": "a state", "state kind": "a kind of state",
    "condition": "a condition", "version": "a version", "protocol": "a protocol",
    "label": "a label",
}  # fmt: skip
_TYPES: tuple[Kind, ...] = ("entity", "enum", "state kind")
_BARE: tuple[Kind, ...] = ("constant", "variable", "param", "enum value")  # these stand where quotes make a text
_IN_EXPRESSIONS: tuple[Kind, ...] = (*_BARE, "state")  # of two of one name, one hides the other
_ONE_EACH: tuple[Kind, ...] = ("policy", "group", "state", "mesh")  # a second one is a mistake, not the same one
_ANY_TEXT: tuple[Kind, ...] = ("key", "version", "protocol", "label")  # these may have any name
_IN_TEMPLATES: tuple[Kind, ...] = ("param", "operation", "condition", "attribute", "enum value", "entity")
_NAME = re.compile(r"[A-Za-z_]\w*", re.A)
_YAML_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")


class Refused(Exception):
    """A name cannot be changed; the message is for people."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """The edits of a rename, each with the part of the program that it is in, and the places in templates where people
    have to look themselves. Edits of part "unread" are in text that does not parse: they need people's consent."""

    old: str
    edits: tuple[tuple[Part, TextEdit], ...]
    templates: tuple[str, ...] = ()


def prepare_rename(workspace: Workspace, file: str, offset: int) -> Found:
    """The name at an offset, if it can be changed; raises `Refused`."""
    found = _named(workspace, file, offset)
    _is_ours(workspace, found, tuple(declarations(workspace, found.symbol)))
    return found


def offered(symbol: Symbol) -> str:
    """A name as people get it to change it: between quotes where `rename` would not take it back without them."""
    return symbol.name if symbol.kind in ("service", *_ANY_TEXT) else words.name(symbol.name)


def rename(workspace: Workspace, file: str, offset: int, name: str) -> Renaming:
    """Changes the name at an offset; raises `Refused`. A new name between quotes is what is in them."""
    found = _named(workspace, file, offset)
    symbol = found.symbol
    places = _places(workspace, symbol)
    known = tuple(p for p in places if p.declares and p.symbol == symbol)
    _is_ours(workspace, found, known)
    new = _checked(symbol.kind, name)
    if new == symbol.name:
        return Renaming(symbol.name, ())
    if symbol.kind in _ONE_EACH and len(known) > 1:
        places = [found]  # the other one of that name, a mistake, keeps it
    _is_of_one(workspace, places)
    _is_free(workspace, places, symbol, new)
    edits: dict[tuple[str, int, int], tuple[Part, TextEdit]] = {}
    for place in places:
        span = workspace.at(place.file, place.start, place.end)
        edit = TextEdit(span, _written(workspace, place, new))
        part: Part = "graph" if not place.decl else "declaration" if place.declares else "use"
        edits[place.file, span.start, span.end] = part, edit
    for at_file, start, end in _unread(workspace, symbol):
        if (at_file, start, end) not in edits:
            edits[at_file, start, end] = "unread", TextEdit(workspace.at(at_file, start, end), words.name(new))
    in_order = tuple(edits[key] for key in sorted(edits))
    return Renaming(symbol.name, in_order, tuple(_in_templates(workspace, symbol, places)))


# --- what can be renamed ----------------------------------------------------------------------------------------------


def _named(workspace: Workspace, file: str, offset: int) -> Found:
    """The name at an offset, if it is of a kind that can be changed."""
    found = symbol_at(workspace, file, offset)
    if found is None:
        raise Refused("there is no name here")
    symbol = found.symbol
    match symbol.kind:
        case "import" | "graph":
            raise Refused("this is the path of a file: rename the file, and the paths to it follow")
        case "key" if not _travels(workspace, symbol):
            raise Refused(f"`{symbol.name}` is a name of the protocol, which others depend on")
    return found


def _is_ours(workspace: Workspace, found: Found, known: tuple[Found, ...]) -> None:
    """Raises `Refused` if the declarations of a name are not this workspace's to change."""
    symbol = found.symbol
    named_only = symbol.kind == "service" and project.mesh_graph(workspace.db, symbol.scope) is None
    if not known and not named_only:
        raise Refused(f"nothing declares `{symbol.name}`, so there is nothing to rename")
    own = workspace.db.input("files")
    shipped = {path for _, path in workspace.db.input("shipped")}
    for place in known:
        if place.file in shipped and place.file not in own:
            spec = posixpath.relpath(place.file, workspace.db.input("shipped_folder"))
            raise Refused(f"`{symbol.name}` is declared in {spec}, which ships with xMesh and is not yours to change")
    if symbol.kind in _ONE_EACH and len(known) > 1 and not found.declares:
        shown = " and ".join(_shown(workspace, f) for f in known[:2])
        raise Refused(f"`{symbol.name}` is declared more than once, at {shown}; rename one of these first")


def _travels(workspace: Workspace, symbol: Symbol) -> bool:
    """Whether the keys of an attribute are known to the mesh alone."""
    entity, _, attribute = symbol.scope.rpartition(".")
    holder = project.schema(workspace.db).entities.get(entity)
    known = holder.attributes.get(attribute) if holder is not None else None
    return known is not None and known.travels


def _places(workspace: Workspace, symbol: Symbol) -> list[Found]:
    """Every place of a name."""
    places = list(everywhere(workspace, symbol))
    if symbol.kind in OF_GRAPHS:  # meshes may share a graph
        own = mesh_of(symbol)
        graph = project.graph_file(workspace.db, own)
        others = (m for m in (meshes_of_graph(workspace.db, graph) if graph else ()) if m != own)
        scopes = (mesh + symbol.scope.removeprefix(own) for mesh in others)
        places += (f for scope in scopes for f in everywhere(workspace, Symbol(symbol.kind, symbol.name, scope)))
    return places


def _is_of_one(workspace: Workspace, places: Iterable[Found]) -> None:
    """Raises `Refused` if a place names versions of several services, which are not renamed together."""
    for place in places:
        ref = project.decl(workspace.db, place.file, place.decl) if place.symbol.kind == "version" else None
        if ref is None:
            continue
        start = place.start - project.offsets(workspace.db, place.file)[place.decl]
        for o in occurrences(workspace.db, ref, mesh_of(place.symbol)):
            if o.start == start and o.symbol.kind == "version" and o.symbol != place.symbol:
                mine, theirs = (s.scope.partition("/")[2] for s in (place.symbol, o.symbol))
                what = f"`{place.symbol.name}` at {_shown(workspace, place)}"
                raise Refused(f"{what} is the version of `{theirs}` too, not of `{mine}` alone")


# --- the new name -----------------------------------------------------------------------------------------------------


def _checked(kind: Kind, name: str) -> str:
    """The new name without quotes, if it can be one."""
    quoted = re.fullmatch(r'"(?:[^"\\]|\\.)*"', name) is not None
    text = unescape(name) if quoted else name
    if not text.strip() or text != text.strip() or not text.isprintable():
        raise Refused("a name has at least one letter, no line break, and no white space around it")
    if kind == "service":
        if text == "outside":
            raise Refused("`outside` is where requests from outside the mesh come from; no service can be named so")
        return text
    if kind in _ANY_TEXT:
        return text
    plain = _NAME.fullmatch(text) is not None
    advice = "" if kind in _BARE else "; between quotes any text is one"
    if kind in _BARE and quoted:
        raise Refused(f"{WHAT[kind]} has a name without quotes")
    if not plain and not quoted:
        raise Refused(f"`{text}` is no name: letters, digits and _, and no digit first{advice}")
    if words.reserved(text) and not quoted:
        raise Refused(f"`{text}` is a word of the language{'; between quotes it can be a name' if advice else ''}")
    return text


def _is_free(workspace: Workspace, places: Iterable[Found], symbol: Symbol, new: str) -> None:
    """Raises `Refused` if the new name means something already where it would stand."""
    kinds: tuple[Kind, ...] = _TYPES if symbol.kind in _TYPES else (symbol.kind,)
    scopes = {symbol.scope, *(p.symbol.scope for p in places)}
    for kind, scope in ((k, s) for k in kinds for s in sorted(scopes)):
        taken = next(declarations(workspace, Symbol(kind, new, scope)), None)
        if taken is not None:
            raise Refused(f"`{new}` is taken: {WHAT[kind]} is named so at {_shown(workspace, taken)}")
    if symbol.kind in _TYPES and new in (*SCALARS, "map", "set"):
        raise Refused(f"`{new}` is taken: it is a type of the language")
    if symbol.kind == "dataplane" and new in dict(workspace.db.input("shipped")):
        raise Refused(f"`{new}` is taken: it is a spec that ships with xMesh")
    for place in places:
        if place.decl and (symbol.kind in _IN_EXPRESSIONS or place.value):
            _is_not_hidden(workspace, place, new)


def _is_not_hidden(workspace: Workspace, place: Found, new: str) -> None:
    """Raises `Refused` if a word in the same declaration means something else already."""
    db = workspace.db
    ref = project.decl(db, place.file, place.decl)
    found = occurrences(db, ref, project.mesh_of_file(db, place.file)[0]) if ref is not None else ()
    other = next((o for o in found if o.symbol.name == new and _is_word(o)), None)
    if other is not None and ref is not None:
        start = project.offsets(db, place.file)[place.decl] + other.start
        line = workspace.position(place.file, start)[0] + 1
        where = f"{posixpath.basename(place.file)}:{line}"
        raise Refused(f"`{new}` is taken: {WHAT[other.symbol.kind]} is named so at {where}")


def _is_word(o: Occurrence) -> bool:
    return o.symbol.kind in _IN_EXPRESSIONS or o.value


def _written(workspace: Workspace, place: Found, new: str) -> str:
    """The new name as it has to be written at a place of the old one."""
    old = workspace.text(place.file)[place.start : place.end]
    if not place.decl:
        return _in_yaml(workspace, place, old, new)
    if old.startswith('"'):
        return words.quoted(new)
    return words.service(new) if place.symbol.kind in OF_GRAPHS and not place.value else words.name(new)


def _in_yaml(workspace: Workspace, place: Found, old: str, new: str) -> str:
    """The same in a graph file, in the style of quotes that is there; anchors and tags stay."""
    before = _YAML_PROPERTIES.match(old)
    kept = before[0] if before is not None else ""
    value = old.removeprefix(kept)
    try:
        plain = yaml.safe_load(value) == place.symbol.name or value == place.symbol.name
    except yaml.YAMLError:
        plain = False
    if not plain or "\n" in value:
        raise Refused(
            f"`{place.symbol.name}` is written in an unusual way at {_shown(workspace, place)}; change it there"
        )
    if value.startswith("'"):
        return kept + "'" + new.replace("'", "''") + "'"
    written = scalar(new)
    return kept + (f'"{new}"' if value.startswith('"') and written == new else written)


# --- places that cannot be read ---------------------------------------------------------------------------------------


def _unread(workspace: Workspace, symbol: Symbol) -> Iterator[tuple[str, int, int]]:
    """Where text that does not parse holds the name: file and offsets."""
    if symbol.kind in ("constant", "variable", "param", *_ANY_TEXT):
        return
    db = workspace.db
    word = re.compile(rf"(?<![\w.-]){re.escape(symbol.name)}(?![\w]|-(?!>))")
    for file in project.sources(db):
        if not may_hold(workspace.text(file), symbol):
            continue
        mesh = project.mesh_of_file(db, file)[0]
        if symbol.kind in ("policy", "group", "state", "service") and (mesh or "") != symbol.scope:
            continue
        for ref in project.decls(db, file):
            if not ref.parsed.problems or not may_hold(ref.text, symbol):
                continue
            read = [(o.start, o.end) for o in occurrences(db, ref, mesh)]
            base = project.offsets(db, file)[ref.key]
            code = TOKEN.sub(lambda m: " " * len(m[0]) if m.lastgroup in ("comment", "string") else m[0], ref.text)
            for m in word.finditer(code):
                if not any(start <= m.start() and m.end() <= end for start, end in read):
                    yield file, base + m.start(), base + m.end()


def _in_templates(workspace: Workspace, symbol: Symbol, places: Iterable[Found]) -> Iterator[str]:
    """Where templates of the specs that name it hold the word, as `file:line`."""
    if symbol.kind not in _IN_TEMPLATES:
        return
    word = re.compile(rf"\b{re.escape(symbol.name)}\b")
    seen: dict[str, None] = {}
    for file in dict.fromkeys(p.file for p in places):
        for _, name in project.templates(workspace.db, file):
            path = project.template_path(posixpath.dirname(file), name.text)
            if path is not None:
                seen[path] = None
    for path in seen:
        try:
            text = read_text(path)
        except (FileNotFoundError, Unreadable):
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if word.search(line):
                yield f"{Path(path).name}:{number}"


def _shown(workspace: Workspace, found: Found) -> str:
    line = workspace.position(found.file, found.start)[0] + 1
    return f"{posixpath.basename(found.file)}:{line}"
