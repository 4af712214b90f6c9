"""Code lenses: what stands above a policy or a test, and can be clicked.

Where they stand is told by the text alone. What a lens says is worked out when it is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from m4c import project
from m4c.ide.render import plural
from m4c.ide.survey import Survey, matching, places
from m4c.syntax import tree as t
from m4c.workspace import Span, Workspace

LensKind: TypeAlias = Literal["facts", "evaluate", "artifact", "test"]
COMMANDS: dict[LensKind, str] = {
    "facts": "m4.plan",
    "evaluate": "m4.evaluate",
    "artifact": "m4.preview",
    "test": "m4.test",
}
TITLES: dict[LensKind, str] = {"evaluate": "Evaluate", "artifact": "Show artifact", "test": "Run"}


@dataclass(frozen=True, slots=True)
class Lens:
    """A lens at the name of a policy, or at the title of a test, which is `name`. `key`: of the declaration."""

    kind: LensKind
    file: str
    key: str
    name: str
    span: Span


def lenses(workspace: Workspace, file: str) -> tuple[Lens, ...]:
    """The lenses of a file in the order in which they stand."""
    db = workspace.db
    if project.mesh_of_file(db, file)[0] is None:
        return ()
    out: list[Lens] = []
    for ref in project.decls(db, file):
        match ref.parsed.decl:
            case t.PolicyDecl(name=name) if name.text:
                kinds: tuple[LensKind, ...] = ("facts", "evaluate", "artifact")
            case t.TestDecl(title=name):
                kinds = ("test",)
            case _:
                continue
        base = project.offsets(db, file)[ref.key]
        span = workspace.at(file, base + name.start, base + name.end)
        out += [Lens(kind, file, ref.key, name.text, span) for kind in kinds]
    return tuple(out)


def lens_title(workspace: Workspace, known: Survey, kind: LensKind, file: str, key: str) -> str:
    """What a lens says: `3 paths · kernel at cart · 1 conflict`."""
    if kind != "facts":
        return TITLES[kind]
    db = workspace.db
    mesh, ref = project.mesh_of_file(db, file)[0], project.decl(db, file, key)
    if mesh is None or ref is None or not isinstance(ref.parsed.decl, t.PolicyDecl):
        return "…"
    parts = [matching(db, mesh, ref)]
    if mesh in known:
        facts = known[mesh].of(ref.parsed.decl.name.text)
        parts += [places(facts.runs)]
        parts += ["unenforceable"] if facts.refused else []
        parts += [plural(facts.conflicts, "conflict")] if facts.conflicts else []
    return " · ".join(filter(None, parts)) or "nothing is known of it yet"
