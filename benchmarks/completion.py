"""How good completion is: over all names and keywords in our own examples, each taken out of its text in turn, the mean
reciprocal rank of what stood there among what is proposed (1 first, 1/2 second, …, 0 if it is not proposed).

Names that are made up where they stand (of a new policy, say), numbers and free texts cannot be proposed and are left
out. The same is measured after the first letter was typed, and as if the file were being written: nothing of its
declaration behind the cursor, and no other policy, test or state of its file, so that what is proposed can come from
other files alone.

Usage: python -m benchmarks.completion [--misses] [--docs]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = (*(f"examples/{p.name}" for p in sorted((ROOT / "examples").iterdir()) if p.is_dir()), "docs/comparison/m4")
KEPT = ("import", "mesh", "spec", "entity", "enum")  # declarations that a file begins with, and others are written in
PAGE = ROOT / "docs/editors.md"
BEGIN = "<!-- measured by `python -m benchmarks.completion --docs` -->\n"
SHOWN = 20  # what people may look through; a proposal behind that counts as none


@dataclass(frozen=True, slots=True)
class Position:
    """A word of a program: what kind of word, and the span that it stands in, without quotes."""

    file: str
    kind: str
    word: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """At which place what stood at a position is proposed, counted from 1; 0: it is not."""

    position: Position
    rank: int

    @property
    def reciprocal(self) -> float:
        return 1 / self.rank if 0 < self.rank <= SHOWN else 0.0


def mean(outcomes: Sequence[Outcome]) -> float:
    """The mean reciprocal rank."""
    return sum(o.reciprocal for o in outcomes) / len(outcomes)


def outcomes(folder: Path, typed: int, alone: bool = False) -> list[Outcome]:
    """What is proposed at every position of a folder's programs, after so many letters. `alone`: without what follows
    in the declaration, and without the file's other declarations."""
    from m4c.workspace import Workspace

    workspace = Workspace([folder])
    found = []
    for position in list(_positions(workspace, folder)):
        text = workspace.text(position.file)
        begun = position.word[:typed]
        before, after = (
            _without_others(workspace, position) if alone else (text[: position.start], text[position.end :])
        )
        workspace.set_text(position.file, before + begun + after)
        found.append(Outcome(position, _rank(workspace, position, len(before + begun))))
        workspace.set_text(position.file, text)
    return found


def _without_others(workspace: Workspace, position: Position) -> tuple[str, str]:
    """What stands before and behind a position while its file is written from the top, of what `KEPT` names all."""
    from m4c import project

    items = project.items(workspace.db, position.file)
    text = workspace.text(position.file)
    own = next(i for i in items if i.start <= position.start < i.end)
    kept = [i for i in items if i.kind in KEPT and i.start != own.start]
    before = "".join(f"{i.text}\n" for i in kept if i.end <= own.start) + text[own.start : position.start]
    return before, "\n" + "".join(f"{i.text}\n" for i in kept if i.start >= own.end)


def _rank(workspace: Workspace, position: Position, offset: int) -> int:
    from m4c.ide.complete import complete

    proposals = [c.proposal.filter for c in complete(workspace, position.file, offset).items]
    return proposals.index(position.word) + 1 if position.word in proposals else 0


def _positions(workspace: Workspace, folder: Path) -> Iterator[Position]:
    from m4c.ide.cursor import keywords
    from m4c.ide.symbols import in_file
    from m4c.syntax.items import TOKEN

    words = {w for w in keywords().values() if re.fullmatch(r"\w+", w)}
    for file in (f for f in workspace.db.input("files") if Path(f).is_relative_to(folder)):
        text = workspace.text(file)
        names: dict[int, int] = {}
        for found in in_file(workspace, file):
            names[found.start] = found.end
            if found.declares and found.symbol.kind != "key":
                continue
            quoted = text[found.start] == '"'
            start, end = found.start + quoted, found.end - quoted
            if "\\" not in text[start:end]:
                yield Position(file, found.symbol.kind, text[start:end], start, end)
        for token in TOKEN.finditer(text):
            inside = any(start <= token.start() < end for start, end in names.items())
            if token.lastgroup == "word" and token[0] in words and not inside:
                yield Position(file, "keyword", token[0], *token.span())


def table(found: Mapping[str, Sequence[Outcome]]) -> str:
    """The means of some measurements, by their titles, for all kinds of words together and for each."""
    kinds = sorted({o.position.kind for of in found.values() for o in of})
    rows = [["kind of word", "positions", *found], ["---"] * (2 + len(found))]
    for kind in ("", *kinds):
        some = [[o for o in of if kind in ("", o.position.kind)] for of in found.values()]
        rows.append([kind or "all", str(len(some[0])), *(f"{mean(of):.2f}" for of in some)])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--misses", action="store_true", help="list what is not proposed first")
    parser.add_argument("--docs", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    args = parser.parse_args()
    titles = {"nothing typed": (0, False), "one letter typed": (1, False), "in a file that is begun": (0, True)}
    found = {
        title: [o for f in EXAMPLES for o in outcomes(ROOT / f, typed, alone)]
        for title, (typed, alone) in titles.items()
    }
    measured = table(found)
    print(measured, end="")
    if args.docs:
        from benchmarks.docs import put

        PAGE.write_text(put(PAGE.read_text("utf-8"), measured, BEGIN), "utf-8")
    for o in found["nothing typed"] if args.misses else ():
        if o.rank != 1:
            print(
                f"{o.rank:3} {o.position.kind:10} {o.position.word:25} {Path(o.position.file).name}:{o.position.start}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
