"""Names of files that lie beside one and are no part of the workspace: to use one is to import its file.

In a folder that is open as a whole there are none, for all its files are part of the workspace already.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from m4c import project
from m4c.files import Unreadable, looks_like_m4, read_text
from m4c.ide import members, names
from m4c.ide.edits import TextEdit
from m4c.ide.scene import Proposal, ProposalKind, Scene
from m4c.syntax import tree as t
from m4c.syntax import words
from m4c.syntax.items import split
from m4c.syntax.parser import parse_item
from m4c.workspace import Workspace

MOST = 32  # files that are looked at
LARGEST = 200_000  # bytes of a file that is looked at
# What can be named where a provider of proposals proposes.
_WANTED: dict[object, tuple[ProposalKind, ...]] = {
    names.policies: ("policy",),
    names.entities: ("entity",),
    names.state_kinds: ("type",),
    members.roots: ("state",),
    members.operands: ("state",),
    members.operations: ("operation",),
}


@dataclass(frozen=True, slots=True)
class _Declared:
    kind: ProposalKind
    name: str
    of: str  # the entity of an operation or a policy
    doc: str


def unimported(scene: Scene, provider: object) -> Iterator[Proposal]:
    """What the files beside declare that may stand at the cursor, by who proposes what is known there."""
    wanted = _WANTED.get(provider)
    if wanted is None or scene.cursor.quoted or _is_inside(scene.workspace, scene.file):
        return
    holder = scene.holder() if "operation" in wanted else scene.entity
    for path in _beside(scene):
        for d in _declared_in(path, *_version(path)):
            if d.kind in wanted and d.of in ("", holder.name if holder is not None else ""):
                file = posixpath.basename(path)
                written = f"{d.name}()" if d.kind == "operation" else words.name(d.name)
                yield Proposal(d.name, d.kind, f"import {file}", d.doc, written, rank=6, imports=file)


def import_edit(workspace: Workspace, file: str, path: str) -> TextEdit:
    """Adds an import: behind the ones that are there, else in front of everything but comments."""
    items = project.items(workspace.db, file)
    text = workspace.text(file)
    end = "\r\n" if "\r\n" in text else "\n"
    last = next((i.end for i in reversed(items) if i.kind == "import"), None)
    line = f"import {words.quoted(path)};"
    if last is not None:
        return TextEdit(workspace.at(file, last, last), f"{end}{line}")
    first = items[0].start if items else 0
    return TextEdit(workspace.at(file, first, first), f"{line}{end}{end}")


def _is_inside(workspace: Workspace, file: str) -> bool:
    """Whether a file is in a folder that is part of the workspace as a whole."""
    return any(file.startswith(f"{p.as_posix()}/") for p in workspace.paths if p.is_dir())


def _beside(scene: Scene) -> list[str]:
    folder = posixpath.dirname(scene.file)
    try:
        found = sorted(e.path for e in os.scandir(folder) if e.name.endswith(".m4") and e.is_file())
    except (OSError, ValueError):
        return []
    known = set(project.sources(scene.db))
    return [path for path in found if path != scene.file and path not in known][:MOST]


def _version(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


@lru_cache(maxsize=256)
def _declared_in(path: str, changed: int, size: int) -> tuple[_Declared, ...]:
    try:
        text = read_text(path) if 0 < size <= LARGEST else ""
    except (FileNotFoundError, Unreadable):
        return ()
    return tuple(_names(text)) if looks_like_m4(text) else ()


def _names(text: str) -> Iterator[_Declared]:
    for decl in (parse_item(item.text).decl for item in split(text)):
        match decl:
            case t.PolicyDecl(name=name):
                yield _Declared("policy", name.text, decl.entity.text, decl.doc)
            case t.StateDecl(name=name):
                yield _Declared("state", name.text, "", decl.doc)
            case t.EntityDecl(name=name):
                yield _Declared("entity", name.text, "", decl.doc)
                yield from (_Declared("operation", o.name.text, name.text, o.doc) for o in decl.operations)
            case t.StateEntityDecl(name=name):
                yield _Declared("type", name.text, "", decl.doc)
            case t.SpecDecl():
                for supports in decl.supports:
                    own = (o for o in supports.operations if o.params is not None)
                    yield from (_Declared("operation", o.name.text, supports.entity.text, o.doc) for o in own)
