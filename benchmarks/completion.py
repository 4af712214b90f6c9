"""How good completion is: over all names and keywords in our own examples, each taken out of its text in turn, the mean
reciprocal rank of what stood there among what is proposed (1 first, 1/2 second, …, 0 if it is not proposed).

Names that are made up where they stand (of a new policy, say), numbers and free texts cannot be proposed and are left
out. The same is measured after the first letter was typed.

Usage: python -m benchmarks.completion [--misses]
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ("examples/online-boutique", "docs/comparison/m4")
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
    typed: int
    rank: int

    @property
    def reciprocal(self) -> float:
        return 1 / self.rank if 0 < self.rank <= SHOWN else 0.0


def mean(outcomes: Sequence[Outcome]) -> float:
    """The mean reciprocal rank."""
    return sum(o.reciprocal for o in outcomes) / len(outcomes)


def outcomes(folder: Path, typed: int) -> list[Outcome]:
    """What is proposed at every position of a folder's programs, after so many letters."""
    from m4c.workspace import Workspace

    workspace = Workspace([folder])
    found = []
    for position in _positions(workspace):
        text = workspace.text(position.file)
        begun = position.word[:typed]
        workspace.set_text(position.file, text[: position.start] + begun + text[position.end :])
        found.append(Outcome(position, typed, _rank(workspace, position, position.start + len(begun))))
        workspace.set_text(position.file, text)
    return found


def _rank(workspace: Workspace, position: Position, offset: int) -> int:
    from m4c.ide.complete import complete

    proposals = [c.proposal.filter for c in complete(workspace, position.file, offset).items]
    return proposals.index(position.word) + 1 if position.word in proposals else 0


def _positions(workspace: Workspace) -> Iterator[Position]:
    from m4c.ide.cursor import keywords
    from m4c.ide.symbols import in_file
    from m4c.syntax.items import TOKEN

    words = {w for w in keywords().values() if re.fullmatch(r"\w+", w)}
    for file in workspace.db.input("files"):
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--misses", action="store_true", help="list what is not proposed first")
    args = parser.parse_args()
    found = {typed: [o for f in EXAMPLES for o in outcomes(ROOT / f, typed)] for typed in (0, 1)}
    print("| kind of word | positions | nothing typed | one letter typed |")
    print("| --- | --- | --- | --- |")
    for kind in ("", *sorted({o.position.kind for o in found[0]})):
        some = {typed: [o for o in of if kind in ("", o.position.kind)] for typed, of in found.items()}
        print(f"| {kind or 'all'} | {len(some[0])} | {mean(some[0]):.3f} | {mean(some[1]):.3f} |")
    for o in found[0] if args.misses else ():
        if o.rank != 1:
            print(
                f"{o.rank:3} {o.position.kind:10} {o.position.word:25} {Path(o.position.file).name}:{o.position.start}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
