"""`m4 check --fix`: makes what fixes leave no choice, and says what it did."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

from m4c.cli.errors import UsageError
from m4c.cli.output import counted, printable, replace_file
from m4c.cli.paths import relative
from m4c.diagnostics.registry import RULES
from m4c.files import BOM, Unreadable, read_text
from m4c.ide.fixall import Made, Outcome, fix_all
from m4c.semantics.problems import nearest
from m4c.workspace import Workspace


def fixed(workspace: Workspace, codes: Iterable[str]) -> Outcome:
    """What the fixes of a workspace come to (of problems with some codes, if any is named). Changes no file.

    Only files that the workspace was opened for may change: neither what they import from elsewhere, nor shipped specs,
    nor what could not be read.
    """
    wanted = frozenset(codes)
    for code in sorted(wanted - set(RULES)):
        near = nearest(code, RULES)
        raise UsageError(f"no diagnostic has the code `{code}`" + (f"; did you mean `{near}`?" if near else ""))

    def may_change(file: str) -> bool:
        within = any(Path(file) == p or p in Path(file).parents for p in workspace.paths)
        return within and file not in workspace.read_problems

    return fix_all(workspace, may_change, wanted or None)


def write(before: Workspace, texts: Mapping[str, str]) -> None:
    """Writes the new texts; a usage error, and no file is written, if one of them is not as it was read."""
    whole = {}
    for file, text in texts.items():
        try:
            there = read_text(file)
        except (FileNotFoundError, Unreadable) as e:
            raise UsageError(f"{relative(file)} cannot be read again: {e}") from None
        if there.removeprefix(BOM) != before.text(file):
            raise UsageError(f"{relative(file)} has changed meanwhile; nothing was written")
        whole[file] = BOM + text if there.startswith(BOM) else text
    for file, text in whole.items():
        try:
            replace_file(Path(file), text)
        except OSError as e:
            raise UsageError(f"{relative(file)} cannot be written: {e.strerror or e}") from None


def report(outcome: Outcome, dry: bool) -> str:
    """What was changed, a line for each fix."""
    verb = "would fix" if dry else "fixed"
    lines = [printable(f"{verb} {relative(m.file)}:{m.line + 1}: {m.title} [{m.code}]") for m in outcome.made]
    if outcome.waiting:
        lines.append(f"{counted(outcome.waiting, 'more fix', 'more fixes')} can be made once there are no errors")
    if not outcome.finished:
        lines.append("there is more to fix: run it again")
    return "".join(f"{line}\n" for line in lines)


def as_json(made: Iterable[Made]) -> list[dict[str, object]]:
    return [{"code": m.code, "title": m.title, "file": relative(m.file), "line": m.line} for m in made]


def diff(before: Workspace, texts: Mapping[str, str]) -> str:
    """The changes as a unified diff."""
    out = []
    for file, text in texts.items():
        old, new = before.text(file).splitlines(keepends=True), text.splitlines(keepends=True)
        name = relative(file)
        for line in difflib.unified_diff(old, new, name, name):
            out.append(printable(line.rstrip("\r\n")) + "\n")
    return "".join(out)
