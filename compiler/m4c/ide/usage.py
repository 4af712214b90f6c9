"""How often names and words are used: what people have used often is what they are likely to mean again.

The counts are kept file by file and added up in pieces of some files, so that an edit costs no look at the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from m4c import project
from m4c.db import Database, query
from m4c.ide.cursor import keywords
from m4c.ide.occurrences import Occurrence
from m4c.ide.symbols import names_in

_NO_CODE = re.compile(r'//[^\r\n]*|/\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?|"(?:[^"\\\r\n]|\\[^\r\n])*"?')
_WORD = re.compile(r"[a-z_]+|[=!<>]=|->|&&|\|\||[<>]")


_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "starts_with", "ends_with", "contains")  # one terminal


class KeyUses(NamedTuple):
    """How often a key of an attribute is read, written and named in tests, and a policy that writes it, or ""."""

    read: int = 0
    written: int = 0
    tested: int = 0
    writer: str = ""

    @property
    def named(self) -> int:
        return self.read + self.written + self.tested

    def and_also(self, other: KeyUses) -> KeyUses:
        return KeyUses(
            self.read + other.read,
            self.written + other.written,
            self.tested + other.tested,
            self.writer or other.writer,
        )


@dataclass(frozen=True, slots=True)
class Uses:
    """What some files use. `counts`: how often each name, by its kind, and each word of the language (of kind
    "keyword") stands there; `keys`: how each key is used, by its attribute."""

    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    keys: Mapping[tuple[str, str], KeyUses] = field(default_factory=dict)


@query
def uses_in(db: Database, file: str) -> Uses:
    """What a file uses. Where a name is made up it is not used."""
    counts: Counter[tuple[str, str]] = Counter()
    keys: dict[tuple[str, str], KeyUses] = {}
    for ref, o in names_in(db, file):
        symbol = o.symbol
        if symbol.kind == "key":
            key = symbol.scope, symbol.name
            keys[key] = keys.get(key, KeyUses()).and_also(_used(ref, o))
        elif not o.declares:
            counts[symbol.kind, symbol.name] += 1
    text = str(db.input_or("text", file, default=None) or "")
    known = {*keywords().values(), *_COMPARISONS}
    words = Counter(_WORD.findall(_NO_CODE.sub(" ", text)))
    counts.update({("keyword", word): n for word, n in words.items() if word in known})
    return Uses(dict(counts), keys)


def _used(ref: project.DeclRef, o: Occurrence) -> KeyUses:
    if ref.key.startswith("test:"):
        return KeyUses(tested=1)
    return KeyUses(written=1, writer=project.named(ref)) if o.declares else KeyUses(read=1)


@query
def uses_of_some(db: Database, some: int) -> Uses:
    """What the files of one piece use; the shipped specs are nobody's habit."""
    shipped = {path for _, path in db.input("shipped")}
    return _together(uses_in(db, file) for file in project.some_files(db, some) if file not in shipped)


@query
def all_uses(db: Database) -> Uses:
    """What the workspace uses."""
    return _together(uses_of_some(db, some) for some in range(project.some_files_count(db)))


def keys_used(db: Database) -> Mapping[tuple[str, str], KeyUses]:
    """The keys that the workspace names."""
    return all_uses(db).keys


def near(db: Database, file: str) -> Uses:
    """What the workspace uses; of a large one, what the file uses: that costs little also the first time."""
    return all_uses(db) if len(db.input("files")) <= project.SOME else uses_in(db, file)


def _together(parts: Iterable[Uses]) -> Uses:
    counts: Counter[tuple[str, str]] = Counter()
    keys: dict[tuple[str, str], KeyUses] = {}
    for part in parts:
        counts.update(part.counts)
        for key, uses in part.keys.items():
            keys[key] = keys.get(key, KeyUses()).and_also(uses)
    return Uses(dict(counts), keys)
