"""How often names and words are used: what people have used often is what they are likely to mean again.

The counts are kept file by file and added up in pieces of some files, so that an edit costs no look at the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from m4c import project
from m4c.db import Database, query
from m4c.ide.cursor import keywords
from m4c.ide.symbols import names_in

_NO_CODE = re.compile(r'//[^\r\n]*|/\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?|"(?:[^"\\\r\n]|\\[^\r\n])*"?')
_WORD = re.compile(r"[a-z_]+|[=!<>]=|->|&&|\|\||[<>]")


_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "starts_with", "ends_with", "contains")  # one terminal


@dataclass(frozen=True, slots=True)
class Uses:
    """What some files use. `counts`: how often each name, by its kind, and each word of the language (of kind
    "keyword") stands there; `keys`: for each key, by its attribute, how often, and a policy that writes it or ""."""

    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    keys: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)


@query
def uses_in(db: Database, file: str) -> Uses:
    """What a file uses. Where a name is made up it is not used."""
    counts: Counter[tuple[str, str]] = Counter()
    keys: dict[tuple[str, str], tuple[int, str]] = {}
    for ref, o in names_in(db, file):
        symbol = o.symbol
        if symbol.kind == "key":
            number, writer = keys.get((symbol.scope, symbol.name), (0, ""))
            writes = project.named(ref) if o.declares else ""
            keys[symbol.scope, symbol.name] = number + 1, writer or writes
        elif not o.declares:
            counts[symbol.kind, symbol.name] += 1
    text = str(db.input_or("text", file, default=None) or "")
    known = {*keywords().values(), *_COMPARISONS}
    words = Counter(_WORD.findall(_NO_CODE.sub(" ", text)))
    counts.update({("keyword", word): n for word, n in words.items() if word in known})
    return Uses(dict(counts), keys)


@query
def uses_of_some(db: Database, some: int) -> Uses:
    """What the files of one piece use; the shipped specs are nobody's habit."""
    shipped = {path for _, path in db.input("shipped")}
    return _together(uses_in(db, file) for file in project.some_files(db, some) if file not in shipped)


@query
def all_uses(db: Database) -> Uses:
    """What the workspace uses."""
    return _together(uses_of_some(db, some) for some in range(project.some_files_count(db)))


def keys_used(db: Database) -> Mapping[tuple[str, str], tuple[int, str]]:
    """The keys that the workspace names."""
    return all_uses(db).keys


def near(db: Database, file: str) -> Uses:
    """What the workspace uses; of a large one, what the file uses: that costs little also the first time."""
    return all_uses(db) if len(db.input("files")) <= project.SOME else uses_in(db, file)


def _together(parts: Iterable[Uses]) -> Uses:
    counts: Counter[tuple[str, str]] = Counter()
    keys: dict[tuple[str, str], tuple[int, str]] = {}
    for part in parts:
        counts.update(part.counts)
        for key, (number, writer) in part.keys.items():
            known, first = keys.get(key, (0, ""))
            keys[key] = known + number, first or writer
    return Uses(dict(counts), keys)
