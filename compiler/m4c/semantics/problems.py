"""What is wrong with a program, as values. Severity and titles come from the diagnostics registry, by code."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from m4c.semantics.model import Place, Value
from m4c.syntax import words


@dataclass(frozen=True, slots=True)
class Related:
    """Another place that a problem is about."""

    place: Place
    message: str


@dataclass(frozen=True, slots=True)
class Edit:
    """Replaces the text between `place.start` and `place.end`."""

    place: Place
    text: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A change of the text after which the problem is gone.

    `preferred`: the one to make, of several. `by_hand`: it may not be what the author means, so nobody makes it but who
    was asked for just this one. `meets`: what it changes the meaning of; fixes that share any of it are not made in one
    go, for each is right only as long as the other is not made.
    """

    title: str
    edits: tuple[Edit, ...]
    preferred: bool = False
    by_hand: bool = False
    meets: frozenset[str] = frozenset()


def chosen(fixes: Sequence[Fix]) -> Fix | None:
    """The fix that can be made unasked: the preferred one, or the only one."""
    sure = [f for f in fixes if not f.by_hand]
    return next((f for f in sure if f.preferred), sure[0] if len(sure) == 1 else None)


Answers: TypeAlias = tuple[tuple[str, bool], ...]
Shown: TypeAlias = tuple[tuple[str, Value, str], ...]  # name, value, the value as M4 writes it; absent ones left out


def _listed(attributes: Shown, states: Answers) -> str:
    values = [f"{name} = {shown}" for name, _, shown in attributes]
    return ", ".join([*values, *(name if holds else f"!{name}" for name, holds in states)])


@dataclass(frozen=True, slots=True)
class Witness:
    """A concrete input that shows a finding: one hop of a call path and the entity as it arrives there."""

    path: tuple[str, ...]  # services; "outside" first if the chain came from there
    hop: tuple[str, str]  # ("outside", s) for the entry hop
    entity: str
    attributes: Shown
    earlier: tuple[tuple[tuple[str, str], Shown, Answers], ...] = ()  # earlier hops, for the marks that they left
    states: Answers = ()  # what states answer, where that matters

    def __str__(self) -> str:
        what = _listed(self.attributes, self.states)
        text = " -> ".join(self.path) + (f" with {what}" if what else "")
        before = [
            f"{hop[0]} -> {hop[1]} had {had}"
            for hop, attributes, states in self.earlier
            if (had := _listed(attributes, states))
        ]
        return f"{text}, where {' and '.join(before)}" if before else text


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. `message` says what is wrong and why it matters; fixes say how to mend it.

    With a text in `mirrored`, an editor shows it at the first related place too, and there says this of `place`.
    `fixes` are those that are known where the problem is found; `m4c.fixes` knows more, which need the text, or are
    worth their time only when somebody looks at the problem. `about` says in one word what the problem turns on, where
    its places do not: the attribute of a conflict, the clause of a circle, how a condition is constant.
    """

    code: str
    message: str
    place: Place
    related: tuple[Related, ...] = ()
    policies: tuple[str, ...] = ()
    witness: Witness | None = None
    fixes: tuple[Fix, ...] = ()
    mirrored: str = ""
    about: str = ""
    pairs: int = 1  # findings about two policies that this one stands for


_BEGUN = 3  # letters after which the beginning of a name says which one is meant


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be, if any is close."""
    names = sorted(set(known))
    folded = [n for n in names if n.lower() == name.lower() and n != name]
    begun = [n for n in names if n.lower().startswith(name.lower())] if len(name) >= _BEGUN else []
    close = folded or difflib.get_close_matches(name, names, 1, 0.6) or (begun if len(begun) == 1 else [])
    return next(iter(close), None)


def unknown(
    what: str,
    name: str,
    known: Iterable[str],
    place: Place,
    code: str = "unknown-name",
    written: Callable[[str], str] = words.name,
) -> Problem:
    """A name that stands for nothing, with the nearest one that does as the fix. `written`: how it is written there."""
    names = sorted(set(known))
    near = nearest(name, names)
    hint = ""
    if near is not None:
        hint = f"; did you mean `{near}`?"
    elif 0 < len(names) <= 6:
        hint = f"; there is {', '.join(f'`{n}`' for n in names)}"
    fixes = (Fix(f"Change to `{near}`", (Edit(place, written(near)),)),) if near is not None else ()
    return Problem(code, f"no {what} is named `{name}`{hint}", place, fixes=fixes)
