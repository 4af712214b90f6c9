"""What the declaration around the cursor is about, in words: its name or title and its documentation. A name that has a
word in common with them is likelier to be meant than others of its kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from m4c import project
from m4c.workspace import Workspace

_DOC = re.compile(r"^\s*///(.*)$", re.M)
_HEAD = re.compile(r'^[ \t]*(?:@[^\r\n]*?[ \t])?(?:policy|test|state)[ \t]+("[^"\r\n]*"|\w+)', re.M)
_CALLED = re.compile(r"\.\s*(\w+)")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LEAST = 4  # letters of a word that says something
_STEM = 5  # letters by which words are compared, so that their endings do not matter
_COMMON = 2  # names of one kind that may share a word: one that more of them hold tells none of them apart


@dataclass(frozen=True, slots=True)
class Topic:
    """The stems of the words, and how often each member of something is named in the declaration."""

    stems: frozenset[str] = frozenset()
    members: Mapping[str, int] = field(default_factory=dict)


def topic(workspace: Workspace, file: str, offset: int) -> Topic:
    """The topic of the declaration at an offset."""
    for _, item in project.keyed(workspace.db, file):
        if item.start <= offset <= item.end:
            head = _HEAD.search(item.text)
            words = " ".join((*_DOC.findall(item.text), head[1] if head is not None else ""))
            return Topic(stems(words), Counter(_CALLED.findall(item.text)))
    return Topic()


def stems(text: str) -> frozenset[str]:
    """The beginnings of the words of a text, or of a name in whichever style."""
    found = (w.lower().removesuffix("s") for w in _WORD.findall(text))
    return frozenset(w[:_STEM] for w in found if len(w) >= _LEAST)


def shared(about: Topic, names: Iterable[str]) -> dict[str, int]:
    """Of names of one kind, those that share words with a topic, each with how much: more for a word of its own."""
    known = {name: stems(name) for name in names}
    often = Counter(stem for of in known.values() for stem in of)
    worth = {stem: 2 * (1 + _COMMON - often[stem]) for stem in about.stems if 0 < often[stem] <= _COMMON}
    found = {name: sum(worth.get(stem, 0) for stem in of) for name, of in known.items()}
    return {name: much for name, much in found.items() if much}
