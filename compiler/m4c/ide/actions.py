"""Code actions: the fixes of the problems at hand, rewritings, and building the artifacts of one tier of dataplanes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from m4c import project
from m4c.diagnostics.registry import rule
from m4c.diagnostics.suppress import PLACEHOLDER
from m4c.ide.complete import complete
from m4c.ide.diagnostics import Diagnostic, diagnostics
from m4c.ide.edits import TextEdit, line_edits, text_edits
from m4c.ide.fixall import fix_all
from m4c.ide.refactor import rewritings
from m4c.ide.unimported import import_edit
from m4c.semantics.problems import Fix, chosen
from m4c.syntax import tree as t
from m4c.syntax.items import head
from m4c.workspace import Workspace

FIX_ALL = "Fix all that leaves no choice"
TIERS = {"proxy": "sidecar", "kernel": "eBPF"}  # what people call what runs in a tier
BUILD = "m4.build"
UNKNOWN = "unknown-name"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the server: the file it is about, and its further arguments."""

    name: str
    file: str
    arguments: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """Something to do at a place: edits of texts, which may be worked out `later`, or a command."""

    title: str
    kind: Literal["quickfix", "source", "source.fixAll", "refactor.extract", "refactor.rewrite"]
    edits: tuple[TextEdit, ...] = ()
    fixes: Diagnostic | None = None
    command: Command | None = None
    preferred: bool = False
    later: Callable[[], tuple[TextEdit, ...]] | None = None


def actions(workspace: Workspace, file: str, start: int, end: int, quick: bool = False) -> tuple[Action, ...]:
    """What can be done about the text between two offsets. `quick`: as `Workspace.problems` takes it."""
    out = []
    for found in diagnostics(workspace, quick).get(file, ()):
        if found.span.start <= end and start <= found.span.end:
            for problem in found.problems:
                fixes = workspace.fixes(problem)
                out += [_fix(workspace, fix, found, fix is chosen(fixes)) for fix in fixes]
            out += [*_imports(workspace, found), *_suppressions(workspace, found)]
    rewritten = (Action(r.title, r.kind, later=r.edits) for r in rewritings(workspace, file, start, end))
    return (*dict.fromkeys(out), *rewritten, *_builds(workspace, file, start))


def fix_all_action(workspace: Workspace, file: str) -> Action | None:
    """All fixes in one file that can be made unasked; None if there is none."""
    outcome = fix_all(workspace, lambda f: f == file)
    new = outcome.texts(workspace).get(file)
    edits = line_edits(workspace, file, new) if new is not None else ()
    return Action(FIX_ALL, "source.fixAll", edits) if edits else None


def _fix(workspace: Workspace, fix: Fix, found: Diagnostic, best: bool) -> Action:
    return Action(fix.title, "quickfix", text_edits(workspace, fix), found, preferred=best)


def _imports(workspace: Workspace, found: Diagnostic) -> list[Action]:
    """The imports of files that declare what is not known at a place."""
    file, end = found.span.file, found.span.end
    if found.code != UNKNOWN or not file.endswith(".m4"):
        return []
    name = workspace.text(file)[found.span.start : end].strip('"')
    paths = {p.imports for c in complete(workspace, file, end).items if (p := c.proposal).label == name and p.imports}
    return [
        Action(f"Import `{path}`, which declares `{name}`", "quickfix", (import_edit(workspace, file, path),), found)
        for path in sorted(paths)
    ]


def _suppressions(workspace: Workspace, found: Diagnostic) -> list[Action]:
    """A comment that suppresses a finding, where that can be done. What is left for its author is the reason: until
    there is one, the finding stays."""
    if not rule(found.code).suppressible or not found.span.file.endswith(".m4"):
        return []
    at = found.span.start
    item = next((i for _, i in project.keyed(workspace.db, found.span.file) if i.start <= at < i.end), None)
    begins = [workspace.position(found.span.file, item.start + h)[0] for h in head(item.text)] if item else []
    if item is not None and found.span.start_line <= max(begins, default=-1):
        at = item.start  # above its documentation
    offset, line = workspace.line(found.span.file, workspace.position(found.span.file, at)[0])
    indent = line[: len(line) - len(line.lstrip(" \t"))]
    crlf = "\r\n" in workspace.text(found.span.file)
    text = f"{indent}// m4: allow({found.code}): {PLACEHOLDER}" + ("\r\n" if crlf else "\n")
    edit = TextEdit(workspace.at(found.span.file, offset, offset), text)
    return [Action(f"Suppress `{found.code}` here, with a reason", "quickfix", (edit,), found)]


def _builds(workspace: Workspace, file: str, offset: int) -> tuple[Action, ...]:
    db = workspace.db
    mesh = project.mesh_of_file(db, file)[0] if file.endswith(".m4") else None
    checked = project.mesh(db, mesh) if mesh is not None else None
    if checked is None:
        return ()
    known = project.schema(db).dataplanes
    tiers = {known[d].tier for d in checked.mesh.dataplanes}
    policy = policy_at(workspace, file, offset)
    return tuple(
        Action(f"Emit {what} artifacts", "source", command=Command(BUILD, file, (tier, policy)))
        for tier, what in TIERS.items()
        if tier in tiers
    )


def policy_at(workspace: Workspace, file: str, offset: int) -> str | None:
    """The name of the policy around an offset."""
    for (_, item), ref in zip(project.keyed(workspace.db, file), project.decls(workspace.db, file), strict=True):
        decl = ref.parsed.decl
        if item.start <= offset <= item.end and isinstance(decl, t.PolicyDecl):
            return decl.name.text
    return None
