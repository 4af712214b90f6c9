"""Workspaces with a cursor: `$0` in a text stands for it."""

from __future__ import annotations

from pathlib import Path

from m4c.ide.complete import complete
from m4c.ide.definition import definition, highlights, implementation, references, type_definition
from m4c.ide.edits import apply_edits
from m4c.ide.hover import hover
from m4c.ide.refactor import rewritings
from m4c.ide.rename import Refused, rename
from m4c.ide.scene import Proposal
from m4c.ide.signature import signature
from m4c.workspace import Span, Workspace


class Desk:
    """A folder with some files, and one more, `here.m4`, that the cursor is in."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.folder = folder
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
        self.here = (folder / "here.m4").as_posix()
        self.workspace = Workspace([folder])

    def put(self, text: str) -> int:
        """Makes a text the one of `here.m4`; returns where the cursor is in it."""
        at = text.index("$0")
        self.workspace.set_text(self.here, text.replace("$0", ""))
        return at

    def proposals(self, text: str) -> list[Proposal]:
        offset = self.put(text)
        return [c.proposal for c in complete(self.workspace, self.here, offset).items]

    def labels(self, text: str) -> list[str]:
        return [p.label for p in self.proposals(text)]

    def inserts(self, text: str) -> dict[str, str]:
        """What each proposal puts into the text, its places to fill in included."""
        return {p.label: p.snippet or p.text for p in self.proposals(text)}

    def hover(self, text: str) -> str:
        found = hover(self.workspace, self.here, self.put(text))
        return found.text if found is not None else ""

    def definition(self, text: str) -> list[str]:
        return [self.shown(s) for s in definition(self.workspace, self.here, self.put(text))]

    def references(self, text: str) -> list[str]:
        return [self.shown(s) for s in references(self.workspace, self.here, self.put(text))]

    def type_definition(self, text: str) -> list[str]:
        return [self.shown(s) for s in type_definition(self.workspace, self.here, self.put(text))]

    def implementation(self, text: str) -> list[str]:
        return [self.shown(s) for s in implementation(self.workspace, self.here, self.put(text))]

    def highlights(self, text: str) -> str:
        """The text with `<` and `>` around each place that is shown, `<<` and `>>` around a declaration."""
        shown = text.replace("$0", "")
        for f in reversed(highlights(self.workspace, self.here, self.put(text))):
            a, b = ("<<", ">>") if f.declares else ("<", ">")
            shown = shown[: f.start] + a + shown[f.start : f.end] + b + shown[f.end :]
        return shown

    def signature(self, text: str) -> str:
        """The signature with `<` and `>` around the parameter that is due; empty if there is none."""
        found = signature(self.workspace, self.here, self.put(text))
        if found is None or found.active is None:
            return found.label if found is not None else ""
        start, end = found.parameters[found.active]
        return f"{found.label[:start]}<{found.label[start:end]}>{found.label[end:]}"

    def renamed(self, text: str, name: str) -> dict[str, str]:
        """The files that the rename of what is under the cursor changes, by name, with their new texts."""
        found = rename(self.workspace, self.here, self.put(text), name)
        texts = apply_edits(self.workspace, tuple(edit for _, edit in found.edits))
        return {Path(file).name: new for file, new in texts.items()}

    def rewritten(self, text: str) -> dict[str, dict[str, str]]:
        """Of each rewriting that is offered at the cursor, by its title, the files that it changes with their texts."""
        offset = self.put(text)
        found = rewritings(self.workspace, self.here, offset, offset)
        return {
            r.title: {Path(f).name: new for f, new in apply_edits(self.workspace, r.edits()).items()} for r in found
        }

    def refused(self, text: str, name: str) -> str:
        """Why what is under the cursor cannot be renamed."""
        try:
            found = rename(self.workspace, self.here, self.put(text), name)
        except Refused as refused:
            return str(refused)
        raise AssertionError(f"`{found.old}` is renamed: {found.edits}")

    def shown(self, span: Span) -> str:
        """A span as `file:line: text`."""
        return f"{Path(span.file).name}:{span.start_line + 1}: {self.workspace.text(span.file)[span.start : span.end]}"
