"""The plainest string that passes a conjunction of checks: closed forms where they decide, automata where not."""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import cast

from m4c.predicates.atoms import Check, passes
from m4c.predicates.automata import Automaton, Cut, Search, TooComplex, Trie, shortest
from m4c.predicates.charset import is_value, plain_key
from m4c.predicates.dfa import regex_dfa

# Fillers that are tried between a demanded beginning and end, plainest first, before automata decide.
_FILLERS = "abcdefgh"


def plainest_string(checks: tuple[Check, ...]) -> str | None:
    """The shortest string that passes every check, among those the one with the plainest characters; None if none does.

    `exists` must not be among the checks. Raises TooComplex, RegexError.
    """
    answer = _cached(checks)
    if isinstance(answer, TooComplex):
        raise answer
    return answer


@lru_cache(maxsize=1 << 16)
def _cached(checks: tuple[Check, ...]) -> str | TooComplex | None:
    # A failure is remembered as well: it is the most expensive answer of all.
    try:
        if _uniform(checks):
            decided, answer = _closed_form(checks)
            if decided:
                return answer
        if len(checks) > 1:
            for check in checks:
                # The plainest of all that one check lets pass is the plainest of those that the others let pass too.
                word = _cached((check,)) if check.positive and check.op == "matches" else None
                if isinstance(word, str) and _all_pass(checks, word):
                    return word
        return shortest([(automaton_of(check), check.positive) for check in checks])
    except TooComplex as error:
        return error.with_traceback(None)


def _uniform(checks: tuple[Check, ...]) -> bool:
    """Whether it is enough to look at one spelling of a word: all checks see case, or none does, not even by a cut."""
    if not any(check.fold for check in checks):
        return True
    return all(check.fold and not any(char.isalpha() for cut in check.cuts for char in cut) for check in checks)


def _closed_form(checks: tuple[Check, ...]) -> tuple[bool, str | None]:
    """(True, answer) if it can be told without automata. The checks agree on `fold`; their constants are folded."""
    words = _finite(checks)
    if words is not None:
        fit = [word for word in words if is_value(word) and _all_pass(checks, word)]
        return True, min(fit, key=plain_key, default=None)
    head, tail, inner = _anchors(checks)
    if head is None or tail is None or _refuted(checks, head, tail):
        return True, None
    if inner and not head and not tail:
        # Each word contains `inner`, and is longer unless it is `inner`.
        return (True, inner) if _all_pass(checks, inner) else (False, None)
    # Each word has at least this beginning and this end; here they are in order of length, overlapping at first.
    longest = len(head) + len(tail)
    for length in range(max(len(head), len(tail)), longest + 1):
        word = head + tail[longest - length :]
        if _all_pass(checks, word):
            return True, word
    if not any(check.op == "matches" for check in checks):
        for filler in _FILLERS:
            if _all_pass(checks, head + filler + tail):
                return True, head + filler + tail
    return False, None


def _all_pass(checks: tuple[Check, ...], word: str) -> bool:
    return all(passes(check, word) for check in checks)


def _finite(checks: tuple[Check, ...]) -> tuple[str, ...] | None:
    """The only values that the source can have, if some check lists them. Where all checks look at the same part of it,
    these are the plainest of all that it can have: nothing behind that part."""
    for check in checks:
        if check.positive and (not check.cuts or all(other.cuts == check.cuts for other in checks)):
            if check.op == "==":
                return (cast(str, check.value),)
            if check.op == "in":
                return cast("tuple[str, ...]", check.value)
    return None


def _anchors(checks: tuple[Check, ...]) -> tuple[str | None, str | None, str]:
    """The longest beginning, end and part that the positive checks demand of the source.

    None for a beginning or end that cannot be: two disagree, or one holds what no value holds, or a cut.
    """
    head: str | None = ""
    tail: str | None = ""
    inner = ""
    for check in checks:
        if not check.positive or check.op in ("in", "matches"):
            continue
        text = cast(str, check.value)
        if not is_value(text) or any(cut in text for cut in check.cuts):
            return None, None, inner
        if check.op in ("starts_with", "==") and head is not None:
            head = max(head, text, key=len) if head.startswith(text) or text.startswith(head) else None
        elif check.op == "ends_with" and not check.cuts and tail is not None:
            tail = max(tail, text, key=len) if tail.endswith(text) or text.endswith(tail) else None
        elif check.op in ("contains", "ends_with"):
            inner = max(inner, text, key=len)
    return head, tail, inner


def _refuted(checks: tuple[Check, ...], head: str, tail: str) -> bool:
    """Whether some pair of checks contradicts in a plain way; False says nothing."""
    for check in checks:
        text = check.value
        if not check.positive and not check.cuts and isinstance(text, str):
            if check.op == "starts_with" and head.startswith(text):
                return True
            if check.op == "ends_with" and tail.endswith(text):
                return True
            if check.op == "contains" and (text in head or text in tail):
                return True
        elif check.positive and check.cuts:
            for other in checks:
                if other.cuts != check.cuts:
                    continue
                if check.op == "==" and not passes(other._replace(cuts=()), check.value):
                    return True
                if (check.op, other.op, other.positive) == ("starts_with", "starts_with", False) and cast(
                    str, check.value
                ).startswith(cast(str, other.value)):
                    return True
    return False


@lru_cache(maxsize=1 << 12)
def _base(op: str, value: str | tuple[str, ...], fold: bool) -> Automaton:
    match op, value:
        case "==", str():
            return Trie((value,), fold)
        case "in", tuple():
            return Trie(value, fold)
        case "starts_with", str():
            return Trie((value,), fold, prefix=True)
        case "ends_with", str():
            return Search(value, fold, at_end=True)
        case "contains", str():
            return Search(value, fold)
        case "matches", str():
            return regex_dfa(value, fold)
        case _:
            raise ValueError(f"strings have no comparison {op!r}")


def automaton_of(check: Check) -> Automaton:
    """The words that pass a check, or fail it if it is negative: polarity is the search's. Not for `exists`."""
    base = _base(check.op, cast("str | tuple[str, ...]", check.value), check.fold)
    # The last cut is the innermost: it is made in what the ones before it left.
    return reduce(Cut, reversed(check.cuts), base)
