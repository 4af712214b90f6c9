"""Regular expressions as automata: Thompson's construction, then the subset construction, a state at a time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from threading import Lock

from m4c.predicates.automata import STATE_LIMIT, TooComplex
from m4c.predicates.charset import LAST, CharSet, plainest_between
from m4c.predicates.regex import Alt, Begin, Chars, End, Regex, RegexError, Repeat, Seq, check_regex, parse_regex


class _Nfa:
    """Thompson's automaton of a regular expression. Node 0 is where it starts, `final` where it ends."""

    def __init__(self, tree: Regex) -> None:
        self.empty: list[list[int]] = []  # edges of the empty word
        self.char: list[tuple[CharSet, int] | None] = []  # at most one edge with a character a node
        self.begin: dict[int, int] = {}  # edges of the empty word at the start of the text only
        self.end: dict[int, int] = {}
        start = self._node()
        self.final = self._add(tree, start)

    def _node(self) -> int:
        # Thompson's automaton has a few nodes for each state of one without empty edges.
        if len(self.empty) > 4 * STATE_LIMIT:
            raise TooComplex(f"a regular expression needs more than {STATE_LIMIT} states")
        self.empty.append([])
        self.char.append(None)
        return len(self.empty) - 1

    def _add(self, tree: Regex, start: int) -> int:
        """Adds what reads `tree` from `start` on; where it ends."""
        match tree:
            case Chars(chars):
                node, end = self._node(), self._node()
                self.empty[start].append(node)
                self.char[node] = (chars, end)
                return end
            case Seq(of):
                for part in of:
                    start = self._add(part, start)
                return start
            case Alt(of):
                ends = [self._add(part, self._branch(start)) for part in of]
                end = self._node()
                for one in ends:
                    self.empty[one].append(end)
                return end
            case Repeat(of, low, high):
                return self._repeat(of, low, high, start)
            case Begin() | End():
                node, end = self._node(), self._node()
                self.empty[start].append(node)
                (self.begin if isinstance(tree, Begin) else self.end)[node] = end
                return end

    def _branch(self, start: int) -> int:
        node = self._node()
        self.empty[start].append(node)
        return node

    def _repeat(self, of: Regex, low: int, high: int | None, start: int) -> int:
        for _ in range(low):
            start = self._add(of, start)
        end = self._node()
        if high is None:
            loop = self._branch(start)
            back = self._add(of, loop)
            self.empty[back].append(loop)
            self.empty[loop].append(end)
            return end
        for _ in range(high - low):
            self.empty[start].append(end)
            start = self._add(of, self._branch(start))
        self.empty[start].append(end)
        return end

    def closure(self, nodes: Iterable[int], at_start: bool, at_end: bool = False) -> set[int]:
        """What the empty word reaches."""
        seen = set(nodes)
        stack = list(seen)
        while stack:
            node = stack.pop()
            found = list(self.empty[node])
            if at_start and node in self.begin:
                found.append(self.begin[node])
            if at_end and node in self.end:
                found.append(self.end[node])
            for other in found:
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return seen


class RegexDfa:
    """The subset construction of a regular expression's automaton, a state at a time.

    Walking it is safe from several threads: only what adds a state or a transition takes the lock.
    """

    def __init__(self, source: str, fold: bool = False) -> None:
        self.nfa = _Nfa(parse_regex(source, fold))
        sets = dict.fromkeys(edge[0] for edge in self.nfa.char if edge is not None)
        codes = {code for chars in sets for low, high in chars for code in (low, high + 1)}
        self.bounds = sorted((codes | {0}) - {LAST + 1})
        # Intervals that lie in the same sets are one class of characters.
        members: list[list[CharSet]] = [[] for _ in self.bounds]
        for chars in sets:
            for low, high in chars:
                for i in range(bisect_right(self.bounds, low) - 1, bisect_right(self.bounds, high)):
                    members[i].append(chars)
        number: dict[tuple[int, ...], int] = {}
        order = {chars: i for i, chars in enumerate(sets)}
        self.classes = [number.setdefault(tuple(order[chars] for chars in of), len(number)) for of in members]
        self.reads: dict[CharSet, set[int]] = {chars: set() for chars in sets}
        for i, of in enumerate(members):
            for chars in of:
                self.reads[chars].add(self.classes[i])
        least: dict[int, int] = {}  # an allowed character of each class that has one
        for i, low in enumerate(self.bounds):
            high = self.bounds[i + 1] - 1 if i + 1 < len(self.bounds) else LAST
            if found := plainest_between(low, high):
                least.setdefault(self.classes[i], found[1])
        self.samples = [chr(code) for code in least.values()]

        self.lock = Lock()
        self.index: dict[frozenset[int], int] = {}
        self.sets: list[frozenset[int]] = []
        self.final: list[bool] = []
        self.rows: list[dict[int, int]] = []
        self.is_full: dict[int, bool] = {}
        # The start is a state of its own: only there do the anchors of the start hold.
        self.start = self._append(frozenset(self._kept(self.nfa.closure((0,), True))), True)

    def _kept(self, nodes: set[int]) -> frozenset[int]:
        """What matters of a closure: the nodes with a character, those with an anchor of the end, the final one."""
        nfa = self.nfa
        return frozenset(node for node in nodes if nfa.char[node] or node in nfa.end or node == nfa.final)

    def _append(self, nodes: frozenset[int], at_start: bool = False) -> int:
        if len(self.sets) >= STATE_LIMIT:
            raise TooComplex(f"a regular expression needs more than {STATE_LIMIT} states")
        self.final.append(self.nfa.final in self.nfa.closure(nodes, at_start, at_end=True))
        self.rows.append({})
        self.sets.append(nodes)
        return len(self.sets) - 1

    def class_of(self, code: int) -> int:
        return self.classes[bisect_right(self.bounds, code) - 1]

    def starts(self) -> list[int]:
        return self.bounds

    def _successor(self, nodes: frozenset[int], char_class: int) -> frozenset[int]:
        targets = []
        for node in nodes:
            edge = self.nfa.char[node]
            if edge is not None and char_class in self.reads[edge[0]]:
                targets.append(edge[1])
        return self._kept(self.nfa.closure(targets, False))

    def step(self, state: int, char: str) -> int:
        char_class = self.class_of(ord(char))
        known = self.rows[state].get(char_class)
        if known is not None:
            return known
        with self.lock:
            nodes = self._successor(self.sets[state], char_class)
            if nodes not in self.index:
                self.index[nodes] = self._append(nodes)
            self.rows[state][char_class] = self.index[nodes]
            return self.index[nodes]

    def accepts(self, state: int) -> bool:
        return self.final[state]

    def dead(self, state: int) -> bool:
        return not self.sets[state]

    def full(self, state: int) -> bool:
        if not self.final[state]:
            return False
        known = self.is_full.get(state)
        if known is None:
            known = self.is_full[state] = all(self.step(state, char) == state for char in self.samples)
        return known

    def matches(self, text: str) -> bool:
        """Whether the whole text matches, in time linear in it."""
        try:
            state = self.start
            for char in text:
                state = self.step(state, char)
            return self.final[state]
        except TooComplex:
            # The table is full. One text needs no table: walk the sets themselves.
            nodes = self.sets[self.start]
            for char in text:
                nodes = self._successor(nodes, self.class_of(ord(char)))
            return self.nfa.final in self.nfa.closure(nodes, False, at_end=True)


@lru_cache(maxsize=1024)
def regex_dfa(source: str, fold: bool = False) -> RegexDfa:
    """The automaton of a regular expression. Raises RegexError, TooComplex."""
    return RegexDfa(source, fold)


def regex_fault(source: str) -> tuple[str, str] | None:
    """Why a regular expression cannot be used: the code of the finding, and what to say."""
    try:
        wrong = check_regex(source)
        regex_matches(source, "")
    except TooComplex as e:
        return "too-complex", f'`r"{source}"` is too complex: {e}'
    except RegexError as e:
        wrong = e
    return None if wrong is None else ("bad-regex", f'`r"{source}"` is not a regular expression of M4: {wrong.message}')


@lru_cache(maxsize=65536)
def regex_matches(source: str, text: str, fold: bool = False) -> bool:
    """Whether `text` as a whole matches; with `fold`, whatever its ASCII case. Raises RegexError, TooComplex."""
    return regex_dfa(source, fold).matches(text)
