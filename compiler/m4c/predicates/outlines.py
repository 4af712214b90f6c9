"""Of very many conditions those that can hold together with one, or on one input, without looking at the others.

An outline of a condition says of some attributes how their values begin wherever it holds: `r.target starts_with
"/cart/"` and `r.url_path in ["/a", "/b"]` do. Two conditions whose outlines have no beginning in common for one of
these attributes exclude each other. Policies about one hop are often told apart like that, hundreds of them, each by a
path or a name of its own; `Outlines` finds the few that meet by looking the beginnings up. What is found is a superset
of what meets, never less.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from m4c.predicates.atoms import Check, View, check_of
from m4c.predicates.charset import LAST, lower_ascii
from m4c.predicates.regex import RegexError, regex_head
from m4c.semantics.model import Absent, And, Atom, AttrKey, Cond, Const, Not, Or, Value

MOST = 256  # beginnings for one attribute; with more it is left out


class Trait(NamedTuple):
    """What is told apart: an attribute that carries a value, with `fold` as if it were in lower case."""

    source: AttrKey
    fold: bool


Outline: TypeAlias = Mapping[Trait, tuple[str, ...]]
"""For some attributes the beginnings of which a value has one wherever the condition holds; a value is there, then."""

PLAIN: Outline = {}


def outline_of(cond: Cond, view: Callable[[AttrKey], View]) -> Outline:
    """The outline of a condition. `view`: as `Solver.view`; attributes of no entity are not looked at."""
    return _outline(cond, True, view) or PLAIN


def _outline(cond: Cond, positive: bool, view: Callable[[AttrKey], View]) -> Outline | None:
    """None if the condition never holds."""
    match cond:
        case Atom() if positive and cond.attr.entity:
            seen = view(cond.attr)
            texts = _beginnings(check_of(cond, True, seen))
            return {Trait(seen.source, seen.fold): texts} if texts is not None and len(texts) <= MOST else PLAIN
        case Not(inner):
            return _outline(inner, not positive, view)
        case Const(value):
            return PLAIN if value == positive else None
        case And(parts) | Or(parts):
            outlines = [_outline(part, positive, view) for part in parts]
            return _both(outlines) if isinstance(cond, And) == positive else _either(outlines)
        case _:
            return PLAIN


def _both(outlines: list[Outline | None]) -> Outline | None:
    """Of what two say about one attribute the one that has fewer beginnings counts, then the one with longer ones."""
    found: dict[Trait, tuple[str, ...]] = {}
    for outline in outlines:
        if outline is None:
            return None
        for trait, texts in outline.items():
            known = found.get(trait)
            if known is None or (len(texts), -min(map(len, texts))) < (len(known), -min(map(len, known))):
                found[trait] = texts
    return found


def _either(outlines: list[Outline | None]) -> Outline | None:
    left = [o for o in outlines if o is not None]
    if not left:
        return None
    common = [t for t in left[0] if all(t in o for o in left)]
    joined = {t: tuple(dict.fromkeys(text for o in left for text in o[t])) for t in common}
    return {t: texts for t, texts in joined.items() if len(texts) <= MOST}


def _beginnings(check: Check) -> tuple[str, ...] | None:
    # What is cut off stands behind what is compared, so each text begins with the constant all the same.
    match check.op, check.value:
        case "==", value:
            texts: tuple[str, ...] = (text_of(value),)
        case "in", tuple(values):
            texts = tuple(map(text_of, values))
        case "starts_with", str(value):
            texts = (value,)
        case "matches", str(value):
            try:
                texts = (regex_head(value, check.fold),)
            except RegexError:
                return None
        case _:
            return None
    return tuple(dict.fromkeys(texts)) if texts and all(texts) else None  # folded, two can be one


def text_of(value: Value) -> str:
    """A value as it is looked up: of what is no string, none begins as another one does."""
    return value if isinstance(value, str) else f"{value!r}\0"


K = TypeVar("K", bound=Hashable)
E = TypeVar("E")


@dataclass(slots=True)
class _Texts(Generic[K, E]):
    """Entries by beginnings of one attribute."""

    at: dict[str, dict[K, E]] = field(default_factory=dict)
    lengths: Counter[int] = field(default_factory=Counter)
    ordered: list[str] | None = None  # the beginnings, sorted; None: to be sorted

    def add(self, text: str, name: K, entry: E) -> None:
        entries = self.at.get(text)
        if entries is None:
            entries = self.at[text] = {}
            self.lengths[len(text)] += 1
            self.ordered = None
        entries[name] = entry

    def remove(self, text: str, name: K) -> None:
        entries = self.at[text]
        del entries[name]
        if not entries:
            del self.at[text]
            self.ordered = None
            self.lengths[len(text)] -= 1
            if not self.lengths[len(text)]:
                del self.lengths[len(text)]

    def with_text(self, text: str) -> list[str]:
        """The beginnings that a text has."""
        return [text[:n] for n in sorted(self.lengths) if n <= len(text) and text[:n] in self.at]

    def beside(self, text: str) -> list[str]:
        """The beginnings that a text which begins like this can have."""
        if self.ordered is None:
            self.ordered = sorted(self.at)
        low = bisect_left(self.ordered, text)
        high = bisect_left(self.ordered, text + chr(LAST), low)
        while high < len(self.ordered) and self.ordered[high].startswith(text):
            high += 1
        return [*(t for t in self.with_text(text) if t != text), *self.ordered[low:high]]


@dataclass(slots=True)
class _Alike(Generic[K, E]):
    """The entries whose outlines are about the same attributes."""

    every: dict[Hashable, dict[K, E]]  # by their kinds
    by: dict[Trait, _Texts[K, E]]

    def fewest(self, asked: Mapping[Trait, list[str]]) -> Mapping[K, E]:
        """Those with one of some beginnings, of the attribute for which they are fewest."""
        trait, texts = min(asked.items(), key=lambda item: sum(len(self.by[item[0]].at[t]) for t in item[1]))
        of = self.by[trait].at
        if len(texts) == 1:
            return of[texts[0]]
        found: dict[K, E] = {}
        for text in texts:
            found.update(of[text])
        return found

    def but(self, kind: Hashable) -> Iterator[Mapping[K, E]]:
        """All that are of another kind, or of none."""
        return (entries for its, entries in self.every.items() if kind is None or its != kind)


class Outlines(Generic[K, E]):
    """Entries by name, found by their outlines. An entry may be of a kind, of which the others can be asked for alone.

    What is found comes in no order that means anything, but always in the same.
    """

    def __init__(self) -> None:
        self._outlines: dict[K, tuple[Outline, Hashable]] = {}
        self._groups: dict[frozenset[Trait], _Alike[K, E]] = {}

    def add(self, name: K, entry: E, outline: Outline, kind: Hashable = None) -> None:
        key = frozenset(outline)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Alike({}, {trait: _Texts() for trait in outline})
        self._outlines[name] = outline, kind
        group.every.setdefault(kind, {})[name] = entry
        for trait, texts in outline.items():
            for text in texts:
                group.by[trait].add(text, name, entry)

    def remove(self, name: K) -> None:
        outline, kind = self._outlines.pop(name)
        key = frozenset(outline)
        group = self._groups[key]
        del group.every[kind][name]
        if not group.every[kind]:
            del group.every[kind]
        if not group.every:
            del self._groups[key]
            return
        for trait, texts in outline.items():
            for text in texts:
                group.by[trait].remove(text, name)

    def meeting(self, outline: Outline, but: Hashable = None) -> dict[K, E]:
        """The entries whose conditions may hold together with one of this outline; those of the kind `but` may be
        missing."""
        found: dict[K, E] = {}
        for group in self._groups.values():
            asked = {
                trait: list(dict.fromkeys(t for text in outline[trait] for t in of.beside(text)))
                for trait, of in group.by.items()
                if trait in outline
            }
            for some in [group.fewest(asked)] if asked else group.but(but):
                found.update(some)
        return found

    def holding(self, value_of: Callable[[AttrKey], Value | Absent]) -> dict[K, E]:
        """The entries whose conditions may hold on one input."""
        found: dict[K, E] = {}
        for group in self._groups.values():
            asked: dict[Trait, list[str]] = {}
            for trait, of in group.by.items():
                value = value_of(trait.source)
                if isinstance(value, Absent):
                    asked[trait] = []
                    break
                text = text_of(value)
                asked[trait] = of.with_text(lower_ascii(text) if trait.fold else text)
            for some in [group.fewest(asked)] if asked else group.but(None):
                found.update(some)
        return found
