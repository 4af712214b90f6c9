"""How often names and words are used: what people have used often is what they are likely to mean again.

The counts are kept file by file and added up in pieces of some files, so that an edit costs no look at the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from m4c import project
from m4c.db import Database, query
from m4c.ide.cursor import keywords
from m4c.ide.occurrences import Occurrence
from m4c.ide.symbols import names_in
from m4c.syntax import tree as t

_NO_CODE = re.compile(r'//[^\r\n]*|/\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?|"(?:[^"\\\r\n]|\\[^\r\n])*"?')
_WORD = re.compile(r"[a-z_]+|[=!<>]=|->|&&|\|\||[<>]")


_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=", "starts_with", "ends_with", "contains")  # one terminal


class KeyUses(NamedTuple):
    """How often a key of an attribute is looked at (by policies, and in what tests send), and how often it is written
    (by policies, and in what tests expect), and a policy that writes it, or ""."""

    read: int = 0
    written: int = 0
    writer: str = ""

    @property
    def named(self) -> int:
        return self.read + self.written

    def and_also(self, other: KeyUses) -> KeyUses:
        return KeyUses(
            self.read + other.read,
            self.written + other.written,
            self.writer or other.writer,
        )


@dataclass(frozen=True, slots=True)
class Uses:
    """What some files use. `counts`: how often each name, by its kind, and each word of the language (of kind
    "keyword") stands there, attributes also by the kind of declaration ("attribute in policy"); `keys`: how each key is
    used, by its attribute; `ends`: how many policies name a key of an attribute whose patterns end at a service."""

    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    keys: Mapping[tuple[str, str], KeyUses] = field(default_factory=dict)
    ends: Mapping[tuple[str, str, str], int] = field(default_factory=dict)


@query
def uses_in(db: Database, file: str) -> Uses:
    """What a file uses. Where a name is made up it is not used."""
    counts: Counter[tuple[str, str]] = Counter()
    keys: dict[tuple[str, str], KeyUses] = {}
    ends: Counter[tuple[str, str, str]] = Counter()
    for ref, o in names_in(db, file):
        symbol = o.symbol
        if symbol.kind == "key":
            key = symbol.scope, symbol.name
            keys[key] = keys.get(key, KeyUses()).and_also(_used(ref, o))
            ends.update((*key, service) for service in _last(ref))
        elif not o.declares:
            counts[symbol.kind, symbol.name] += 1
            if symbol.kind == "attribute":
                counts[f"attribute in {ref.key.partition(':')[0]}", symbol.name] += 1
    text = str(db.input_or("text", file, default=None) or "")
    known = {*keywords().values(), *_COMPARISONS}
    words = Counter(_WORD.findall(_NO_CODE.sub(" ", text)))
    counts.update({("keyword", word): n for word, n in words.items() if word in known})
    return Uses(dict(counts), keys, dict(ends))


def _last(ref: project.DeclRef) -> Iterator[str]:
    """The services that the last step of a policy's pattern names."""
    decl = ref.parsed.decl
    waiting: list[t.POne] = [s.one for s in decl.pattern.steps[-1:]] if isinstance(decl, t.PolicyDecl) else []
    while waiting:
        match waiting.pop():
            case t.PNamed(service=service):
                yield service.text
            case t.PAlt(of=parts):
                waiting += parts


def _used(ref: project.DeclRef, o: Occurrence) -> KeyUses:
    decl = ref.parsed.decl
    if isinstance(decl, t.TestDecl):
        expects = any(isinstance(s, t.TestExpect) and s.start <= o.start < s.end for s in decl.statements)
        return KeyUses(written=1) if expects else KeyUses(read=1)
    return KeyUses(written=1, writer=project.named(ref)) if o.declares else KeyUses(read=1)


@query
def uses_of_some(db: Database, some: int) -> Uses:
    """What the files of one piece use; the shipped specs are nobody's habit."""
    shipped = {path for _, path in db.input("shipped")}
    return _together([uses_in(db, file) for file in project.some_files(db, some) if file not in shipped])


@query
def all_uses(db: Database) -> Uses:
    """What the workspace uses."""
    return _together([uses_of_some(db, some) for some in range(project.some_files_count(db))])


def keys_used(db: Database) -> Mapping[tuple[str, str], KeyUses]:
    """The keys that the workspace names."""
    return all_uses(db).keys


def near(db: Database, file: str) -> Uses:
    """What the workspace uses; of a large one, what the file uses: that costs little also the first time."""
    return all_uses(db) if len(db.input("files")) <= project.SOME else uses_in(db, file)


def _together(parts: Sequence[Uses]) -> Uses:
    """The sum of some. Which keys go with which services is told of single files and of few: see `near`."""
    if len(parts) == 1:
        return parts[0]
    counts: Counter[tuple[str, str]] = Counter()
    ends: Counter[tuple[str, str, str]] = Counter()
    keys: dict[tuple[str, str], KeyUses] = {}
    for part in parts:
        counts.update(part.counts)
        if len(parts) <= project.SOME:
            ends.update(part.ends)
        for key, uses in part.keys.items():
            keys[key] = keys.get(key, KeyUses()).and_also(uses)
    return Uses(dict(counts), keys, dict(ends))
