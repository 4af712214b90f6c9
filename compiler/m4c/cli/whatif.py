"""What a deployment would change: the artifacts that it would put in force, beside those that are."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from m4c.backends.render import Build
from m4c.cli.jobs import MANIFEST, WIRING, DeployResult, JobError, Prepared, Progress, is_refusal, provided, said, write


@dataclass(frozen=True, slots=True)
class Change:
    """An artifact that would change. `before` and `after`: its text; None where there is none."""

    path: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        return "new" if self.before is None else "gone" if self.after is None else "changed"

    def diff(self) -> Iterator[str]:
        """As a unified diff, line by line."""
        old, new = ((text or "").splitlines() for text in (self.before, self.after))
        names = ("/dev/null" if self.before is None else f"a/{self.path}"), f"b/{self.path}"
        yield from difflib.unified_diff(
            old, new, names[0], "/dev/null" if self.after is None else names[1], lineterm=""
        )


@dataclass(frozen=True, slots=True)
class WhatIf:
    """`first`: nothing is in force there yet."""

    prepared: Prepared
    first: bool
    changes: tuple[Change, ...]

    @property
    def summary(self) -> str:
        """`1 artifact new, 2 changed`"""
        return summary(self.changes)

    @property
    def text(self) -> str:
        """The plan, what would change, and the differences, as people read them."""
        where = self.prepared.output if self.prepared.output is not None else f"`{self.prepared.target}`"
        nothing = "; nothing is in force there" if self.first else ""
        lines = [f"What deploying mesh {self.prepared.mesh} to {where} would do{nothing}", "", self.summary]
        lines += listed(self.changes)
        lines += [f"without {name}: {reason}" for name, reason in self.prepared.lacking.items()]
        lines += ["", *self.prepared.plan.rstrip().splitlines()]
        for change in self.changes:
            lines += ["", *change.diff()]
        return "\n".join(lines) + "\n"


def what_if(prepared: Prepared) -> WhatIf:
    """What would change. Raises JobError for a target that cannot be."""
    targets = provided()
    try:
        running = targets.running(prepared.target, prepared.state, prepared.output)
    except targets.DeployError as e:
        raise JobError(_refused(e)) from None
    return WhatIf(prepared, running is None, changes(running, prepared.made))


def changes(running: Path | None, made: Build) -> tuple[Change, ...]:
    """What differs between the artifacts in a folder, if there is one, and some that were made."""
    new = {f.path: f.text for f in made.files} | {WIRING: made.wiring}
    old = _texts(running) if running is not None else {}
    paths = sorted(p for p in {*new, *old} if new.get(p) != old.get(p))
    return tuple(Change(p, old.get(p), new.get(p)) for p in paths)


def summary(found: Sequence[Change]) -> str:
    """`artifacts: 1 new, 2 changed`"""
    if not found:
        return "the same artifacts are in force already"
    kinds = [(k, sum(c.kind == k for c in found)) for k in ("new", "changed", "gone")]
    return f"artifacts: {', '.join(f'{n} {kind}' for kind, n in kinds if n)}"


def listed(found: Sequence[Change]) -> list[str]:
    """A line for each."""
    return [f"    {c.kind:8}{c.path}" for c in found]


def validated(prepared: Prepared, progress: Progress) -> DeployResult:
    """Has the dataplanes validate what they would get; changes nothing."""
    targets = provided()
    with tempfile.TemporaryDirectory(prefix="m4-build-") as folder:
        built = write(prepared.made, Path(folder)).folder
        try:
            targets.validate(prepared.target, built, progress)
        except targets.DeployError as e:
            message, rest = said(e)
            return DeployResult(False, f"not deployed, nothing changed: {message}", rest, is_refusal(e))
    return DeployResult(True, "the dataplanes take it", "")


def _refused(error: Exception) -> str:
    message, rest = said(error)
    return f"not deployed, nothing changed: {message}" + (f" {rest}" if rest else "")


def _texts(folder: Path) -> dict[str, str]:
    """The artifacts below a folder, by path."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and p != folder / MANIFEST)
    return {p.relative_to(folder).as_posix(): p.read_text("utf-8", errors="replace") for p in files}
