"""What the declaration around the cursor is about, in words: its name or title, its documentation, and a comment right
above the line. A name that has a word in common with them is likelier to be meant than others of its kind."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from m4c import project
from m4c.workspace import Workspace

_DOC = re.compile(r"^\s*///(.*)$", re.M)
_ABOVE = re.compile(r"((?:^[ \t]*//[^\n]*\n)+)[^\n]*\Z", re.M)  # comments, and the line below them up to the cursor
_HEAD = re.compile(r'^[ \t]*(?:@[^\r\n]*?[ \t])?(?:policy|test|state)[ \t]+("[^"\r\n]*"|\w+)', re.M)
_CALLED = re.compile(r"\.\s*(\w+)")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_LEAST = 4  # letters of a word that says something
_STEM = 5  # letters by which words are compared, so that their endings do not matter
_LETTERS = re.compile(r"[A-Za-z]+")
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
            above = _ABOVE.search(item.text[: offset - item.start])
            words = " ".join((*_DOC.findall(item.text), *(m[1] for m in (head, above) if m is not None)))
            return Topic(stems(words), Counter(_CALLED.findall(item.text)))
    return Topic()


def stems(text: str) -> frozenset[str]:
    """The beginnings of the words of a text, or of a name in whichever style."""
    found = (w.lower().removesuffix("s") for w in _WORD.findall(text))
    return frozenset(w[:_STEM] for w in found if len(w) >= _LEAST)


def shared(about: Topic, names: Iterable[str]) -> dict[str, int]:
    """Of names of one kind, those that share words with a topic, each with how much: more for a word of its own, less
    for one that is only a part of a longer word, as `time` is of `timeout`."""
    known = {name: stems(name) for name in names}
    letters = {name: "".join(_LETTERS.findall(name)).lower() for name in known}
    found: Counter[str] = Counter()
    for stem in about.stems:
        having = [name for name, of in known.items() if stem in of]
        within = having or [name for name in known if stem in letters[name]]
        for name in within if len(within) <= _COMMON else ():
            found[name] += (2 if having else 1) * (1 + _COMMON - len(within))
    return dict(found)
