"""Edits as people type them into policies: a value changes to another and back, a character breaks the syntax and is
mended."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

POLICY = re.compile(r"^policy \w+ .*?^\}\n", re.M | re.S)
BODY = re.compile(r'(?<=, )"([^"\n]+)"|(?<=\()(\d+)(?=(?:m?s|%)?\))|(?<=\(status: )(\d+)')
CONDITION = re.compile(r'header\["[^"]*"\]|"([^"\n]+)"')  # what is in the group is a value, not the name of a header
QUOTED = re.compile(r'"[^"\n]*"')
NEEDED = re.compile(r"[;(){}]")  # without any of these a policy is none


@dataclass(frozen=True, slots=True)
class Edit:
    """The text from `start` to `end` of a file becomes `new`. `kind` says what is typed."""

    file: str
    kind: str
    start: int
    end: int
    new: str

    def of(self, text: str) -> str:
        """The text after the edit."""
        return text[: self.start] + self.new + text[self.end :]

    def undo(self, text: str) -> Edit:
        """The edit that takes this one back; `text` is the one before it."""
        return Edit(self.file, "mended", self.start, self.start + len(self.new), text[self.start : self.end])


def texts(folder: Path) -> dict[str, str]:
    """The programs of a folder by their absolute paths."""
    return {f.as_posix(): f.read_text(encoding="utf-8") for f in sorted(folder.absolute().rglob("*.m4"))}


def edits(files: dict[str, str], count: int, seed: int) -> Iterator[Edit]:
    """So many edits, each of the text as it is in `files`, at policies that the seed draws."""
    rng = Random(f"edits {seed}")
    policies = [(file, m) for file, text in files.items() for m in POLICY.finditer(text)]
    for number in range(count):
        edit = None
        while edit is None:
            file, policy = rng.choice(policies)
            edit = _drawn(rng, file, policy, number)
        yield edit


def _drawn(rng: Random, file: str, policy: re.Match[str], number: int) -> Edit | None:
    """An edit of a policy; None if there is nothing of the kind in it."""
    kind = rng.choice(("body", "body", "condition", "broken"))
    text, at = policy[0], policy.start()
    body = text.index("\n{\n")
    if kind == "broken":
        quoted = [m.span() for m in QUOTED.finditer(text)]
        spots = [m for m in NEEDED.finditer(text) if not any(a < m.start() < b for a, b in quoted)]
        spot = rng.choice(spots)
        return Edit(file, kind, at + spot.start(), at + spot.end(), "")
    found = BODY.finditer(text, body) if kind == "body" else CONDITION.finditer(text, text.find("\n    on "), body)
    spots = [m for m in found if m.lastindex]
    if not spots:
        return None
    spot = rng.choice(spots)
    group = spot.lastindex or 1
    new = _other(spot[group], text[spot.end(group)], number)
    return Edit(file, kind, at + spot.start(group), at + spot.end(group), new) if new != spot[group] else None


def _other(old: str, behind: str, number: int) -> str:
    """Another value, of the same type; texts and statuses get others each time."""
    if not old.isdigit() or behind == '"':
        return old + "".join("ABCDEFGHIJ"[int(d)] for d in str(number))  # capitals: methods have nothing else
    if behind in "ms":
        return str(max(1, int(old) - 1))  # a time limit that gets shorter stays below those before it
    return str(400 + number % 100) if len(old) == 3 else str(int(old) + 1)
