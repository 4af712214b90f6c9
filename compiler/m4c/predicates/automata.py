"""Deterministic automata over code points, built as far as they are walked, and their shortest common word.

Every comparison of strings is an automaton: equality and membership a trie, `contains` and `ends_with` the search of
Knuth, Morris and Pratt, a regular expression its subset construction (`dfa`). States are small ints.
A product is never built: the search walks the automata in step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock
from typing import Protocol

from m4c.predicates.charset import LAST, lower_ascii, plainest_between

STATE_LIMIT = 10_000


class TooComplex(Exception):
    """A condition whose automaton passes STATE_LIMIT states, or whose search does not end in a bounded time."""


class Automaton(Protocol):
    """A complete deterministic automaton. `dead` and `full` may miss a state, never claim one wrongly."""

    start: int

    def step(self, state: int, char: str) -> int: ...

    def accepts(self, state: int) -> bool: ...

    def dead(self, state: int) -> bool:
        """No word is accepted from here."""
        ...

    def full(self, state: int) -> bool:
        """Every word of allowed characters is accepted from here."""
        ...

    def starts(self) -> Iterable[int]:
        """The code points at which a new interval begins, inside which the automaton tells no characters apart."""
        ...

    def class_of(self, code: int) -> object:
        """Equal for characters that the automaton does not tell apart."""
        ...


_DEAD = -1


class _Literal:
    """What the automata made from constant strings share: which characters they tell apart.

    With `fold`, ASCII case does not matter, and the words are in lower case.
    """

    def __init__(self, words: Iterable[str], fold: bool) -> None:
        self.fold = fold
        self.chars = frozenset(char for word in words for char in word)

    def starts(self) -> set[int]:
        codes = {ord(char) for char in self.chars}
        if self.fold:
            codes |= {ord(char.upper()) for char in self.chars if char.isascii()}
        return codes | {code + 1 for code in codes}

    def class_of(self, code: int) -> object:
        char = lower_ascii(chr(code)) if self.fold else chr(code)
        return char if char in self.chars else None


class Trie(_Literal):
    """The words of a finite set; with `prefix`, the words that begin with one of them."""

    def __init__(self, words: Sequence[str], fold: bool = False, prefix: bool = False) -> None:
        super().__init__(words, fold)
        self.start = 0
        self.prefix = prefix
        self.next: list[dict[str, int]] = [{}]
        self.final: set[int] = set()
        for word in words:
            state = 0
            for char in word:
                if char not in self.next[state]:
                    self.next[state][char] = len(self.next)
                    self.next.append({})
                state = self.next[state][char]
            self.final.add(state)

    def step(self, state: int, char: str) -> int:
        if state == _DEAD or (self.prefix and state in self.final):
            return state
        return self.next[state].get(lower_ascii(char) if self.fold else char, _DEAD)

    def accepts(self, state: int) -> bool:
        return state in self.final

    def dead(self, state: int) -> bool:
        return state == _DEAD

    def full(self, state: int) -> bool:
        return self.prefix and state in self.final


class Search(_Literal):
    """The words that contain `word`, or with `at_end` end with it. A state is how much of it has just been read."""

    def __init__(self, word: str, fold: bool = False, at_end: bool = False) -> None:
        super().__init__((word,), fold)
        self.start = 0
        self.word = word
        self.at_end = at_end
        self.border = _borders(word)

    def step(self, state: int, char: str) -> int:
        if state == len(self.word) and not self.at_end:
            return state
        return _advance(self.word, self.border, state, lower_ascii(char) if self.fold else char)

    def accepts(self, state: int) -> bool:
        return state == len(self.word)

    def dead(self, state: int) -> bool:
        return False

    def full(self, state: int) -> bool:
        return state == len(self.word) and (not self.at_end or not self.word)


def _borders(word: str) -> list[int]:
    """For each prefix of `word` the length of its longest proper border, as Knuth, Morris and Pratt have it."""
    border = [0] * (len(word) + 1)
    k = 0
    for i in range(1, len(word)):
        while k and word[i] != word[k]:
            k = border[k]
        k += word[i] == word[k]
        border[i + 1] = k
    return border


def _advance(word: str, border: list[int], state: int, char: str) -> int:
    while state == len(word) or word[state] != char:
        if state == 0:
            return 0
        state = border[state]
    return state + 1


class Cut:
    """The words whose part before the first `cut` (the whole, if there is none) the inner automaton accepts.

    A state is where the inner automaton is, and how many characters behind that could begin the cut: they are not fed
    to it before they are known not to. A found cut freezes the answer.
    """

    def __init__(self, inner: Automaton, cut: str) -> None:
        if not cut:
            raise ValueError("a derived attribute needs something to cut at")
        self.inner = inner
        self.cut = cut
        self.border = _borders(cut)
        self.lock = Lock()
        self.states: list[tuple[int, int]] = []
        self.index: dict[tuple[int, int], int] = {}
        self.start = self._intern((inner.start, 0))

    def _intern(self, pair: tuple[int, int]) -> int:
        with self.lock:
            if pair not in self.index:
                self.index[pair] = len(self.states)
                self.states.append(pair)
            return self.index[pair]

    def _feed(self, state: int, text: str) -> int:
        for char in text:
            state = self.inner.step(state, char)
        return state

    def step(self, state: int, char: str) -> int:
        inner, pending = self.states[state]
        if pending == len(self.cut):
            return state
        now = _advance(self.cut, self.border, pending, char)
        text = self.cut[:pending] + char
        return self._intern((self._feed(inner, text[: len(text) - now]), now))

    def accepts(self, state: int) -> bool:
        inner, pending = self.states[state]
        found = pending == len(self.cut)
        return self.inner.accepts(inner if found else self._feed(inner, self.cut[:pending]))

    def dead(self, state: int) -> bool:
        inner, pending = self.states[state]
        return self.inner.dead(inner) or (pending == len(self.cut) and not self.inner.accepts(inner))

    def full(self, state: int) -> bool:
        inner, pending = self.states[state]
        return self.inner.full(inner) or (pending == len(self.cut) and self.inner.accepts(inner))

    def starts(self) -> set[int]:
        codes = {ord(char) for char in self.cut}
        return codes.union((code + 1 for code in codes), self.inner.starts())

    def class_of(self, code: int) -> object:
        return self.cut.find(chr(code)), self.inner.class_of(code)


def shortest(parts: Sequence[tuple[Automaton, bool]]) -> str | None:
    """The plainest of the shortest words of allowed characters that each automaton accepts, or rejects where False.

    Breadth-first over the product, with one character, its plainest, for each class that no automaton tells apart. The
    first word to reach a state is its least by length and plainness, so the first accepted one is the answer. None if
    there is no such word. Raises TooComplex.
    """
    automata = [part for part, _ in parts]
    wanted = [accepted for _, accepted in parts]
    symbols = _symbols(automata)

    def hopeless(state: tuple[int, ...]) -> bool:
        return any(a.dead(q) if want else a.full(q) for a, want, q in zip(automata, wanted, state, strict=True))

    def accepted(state: tuple[int, ...]) -> bool:
        return all(a.accepts(q) == want for a, want, q in zip(automata, wanted, state, strict=True))

    start = tuple(a.start for a in automata)
    if accepted(start):
        return ""
    if hopeless(start):
        return None
    seen = {start}
    level = [(start, "")]
    while level:
        following = []
        for state, word in level:
            for char in symbols:
                target = tuple([a.step(q, char) for a, q in zip(automata, state, strict=True)])
                if target in seen:
                    continue
                if accepted(target):
                    return word + char
                if len(seen) >= STATE_LIMIT:
                    raise TooComplex(f"a condition needs more than {STATE_LIMIT} states")
                seen.add(target)
                if not hopeless(target):
                    following.append((target, word + char))
        level = following
    return None


def _symbols(automata: Sequence[Automaton]) -> list[str]:
    """The plainest allowed character of each class that the automata together tell apart, plainest first."""
    starts = sorted({0}.union(*(a.starts() for a in automata)) - {LAST + 1})
    best: dict[tuple[object, ...], tuple[int, int]] = {}
    for i, low in enumerate(starts):
        high = starts[i + 1] - 1 if i + 1 < len(starts) else LAST
        found = plainest_between(low, high)
        if found is not None:
            classes = tuple(a.class_of(low) for a in automata)
            best[classes] = min(best.get(classes, found), found)
    return [chr(code) for _, code in sorted(best.values())]
