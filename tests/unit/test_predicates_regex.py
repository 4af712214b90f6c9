"""The regular expressions of M4, against RE2 itself."""

from __future__ import annotations

from random import Random

import pytest
import re2
from m4c.predicates import STATE_LIMIT, RegexError, TooComplex, check_regex, regex_matches
from m4c.predicates.charset import PLAIN_ORDER, char_set, complement, fold_unicode
from m4c.predicates.dfa import regex_dfa
from m4c.predicates.regex import NESTING_LIMIT

MATCHES = [
    # literals, escapes
    ("abc", "abc", True),
    ("abc", "abcd", False),
    ("", "", True),
    (r"a\.b\*", "a.b*", True),
    (r"a\.b", "axb", False),
    (r"\x41\x{1F600}\101\07", "A😀A\x07", True),
    (r"\t\n\v\f\r\a", "\t\n\v\f\r\a", True),
    (r"\_\-\/", "_-/", True),
    (r"\Qa.b*\E+", "a.b**", True),
    (r"\Qa.b", "a.b", True),
    ("é", "é", True),
    # shorthands are ASCII
    (r"\d+", "09", True),
    (r"\d", "٣", False),
    (r"\w\W\s\S\D", "_- xé", True),
    (r"\s", "\v", False),
    # classes
    ("[a-c]+", "abc", True),
    ("[^a-c]", "d", True),
    ("[^a-c]", "b", False),
    ("[]a]+", "]a", True),
    ("[^]a]", "]", False),
    ("[a-]+", "a-", True),
    ("[-a]+", "-a", True),
    (r"[\d\-x]+", "4-x", True),
    (r"[\]\\]+", "]\\", True),
    ("[[:alpha:]][[:digit:]][[:^digit:]]", "a1x", True),
    ("[^[:space:]]", " ", False),
    (r"[^\D]", "5", True),
    ("[^x]", "\n", True),
    # any character
    (".", "\n", False),
    ("(?s).", "\n", True),
    (".", "😀", True),
    # groups, alternation, flags
    ("(a|b)(?:c|d)", "bd", True),
    ("(?P<x>a)(?<y>b)", "ab", True),
    ("a|bc|", "", True),
    ("a(?i)b|c", "aB", True),
    ("a(?i)b|c", "C", True),
    ("a(?i)b|c", "AB", False),
    ("(?i:a)b", "Ab", True),
    ("(?i:a)b", "AB", False),
    ("(?i)a(?-i)b", "AB", False),
    ("(?i)[a-c]+", "AbC", True),
    ("(?i)[^a]", "A", False),
    ("(?i)k", "\u212a", True),
    ("(?i)É", "é", True),
    ("(?i)\\W", "\u017f", False),
    ("(?isU)a.", "A\n", True),
    ("()a()", "a", True),
    # repetition, lazy or not
    ("a*b+c?", "aabb", True),
    ("a*?b+?c??", "aabbc", True),
    ("a{2}", "aa", True),
    ("a{2}", "aaa", False),
    ("a{2,}", "aaaa", True),
    ("a{2,}", "a", False),
    ("a{1,3}?", "aaa", True),
    ("a{1,3}", "aaaa", False),
    ("a{0}b", "b", True),
    ("(?:ab){2,3}", "abab", True),
    ("(a*)*", "aaa", True),
    ("(a*)+b", "b", True),
    ("a{,2}", "a{,2}", True),
    ("{a}", "{a}", True),
    # anchors
    ("^abc$", "abc", True),
    (r"\Aabc\z", "abc", True),
    ("a^b", "ab", False),
    ("a$b", "ab", False),
    ("(^a|b)*", "abb", True),
    ("(^a|b)*", "ba", False),
    ("(a$|b)+", "bba", True),
    ("(a$|b)+", "ab", False),
    ("a$", "a\n", False),
    ("^*a$*", "a", True),
]


@pytest.mark.parametrize(("source", "text", "expected"), MATCHES)
def test_full_match(source: str, text: str, expected: bool) -> None:
    assert regex_matches(source, text) is expected
    assert (re2.fullmatch(source, text) is not None) is expected  # the table itself says what RE2 says


@pytest.mark.parametrize(
    ("source", "part", "position"),
    [
        ("(a", "missing `)`", 0),
        ("a)", "without `(`", 1),
        ("[a", "missing `]`", 0),
        ("[]", "missing `]`", 0),
        ("[a-", "missing `]`", 0),
        ("[z-a]", "empty", 1),
        (r"[a-\d]", "escape", 3),
        ("x[[:foo:]]", "unknown character class", 2),
        ("*a", "nothing to repeat", 0),
        ("a|*", "nothing to repeat", 2),
        ("(+)", "nothing to repeat", 1),
        ("(?i)*", "nothing to repeat", 4),
        ("a**", "cannot be repeated", 2),
        ("a*{2}", "cannot be repeated", 2),
        ("a{3,2}", "less than the lower", 1),
        ("a{1001}", "larger than 1000", 1),
        ("(a{100}){11}", "multiply", 8),
        ("a\\", "backslash", 1),
        (r"\q", "unknown escape", 0),
        (r"\8", "back references", 0),
        (r"(a)\1", "back references", 3),
        (r"a\b", "word boundaries", 1),
        (r"\Bx", "word boundaries", 0),
        (r"\pL", "property", 0),
        (r"\C", "single byte", 0),
        (r"\x{110000}", r"\x", 0),
        (r"\xZ", r"\x", 0),
        ("(?=a)", "lookahead", 0),
        ("a(?<!b)", "lookbehind", 1),
        ("(?#x)", "unknown kind of group", 0),
        ("(?P<a>x)(?P<a>y)", "twice", 8),
        ("(?P<>x)", "group name", 0),
        ("(" * (NESTING_LIMIT + 1) + ")" * (NESTING_LIMIT + 1), "nested", NESTING_LIMIT),
    ],
)
def test_malformed(source: str, part: str, position: int) -> None:
    error = check_regex(source)
    assert error is not None
    assert part in error.message
    assert error.position == position
    assert str(position) in str(error)
    with pytest.raises(RegexError):
        regex_matches(source, "")


def test_well_formed_is_no_error() -> None:
    assert check_regex(r"/api/v[0-9]+(/.*)?") is None
    assert check_regex("(" * NESTING_LIMIT + "a" + ")" * NESTING_LIMIT) is None


def test_fold_ignores_ascii_case_only() -> None:
    assert regex_matches("abc[d-f]", "ABCE", fold=True)
    assert regex_matches("ABC", "abc", fold=True)
    assert not regex_matches("[^a]", "A", fold=True)
    assert not regex_matches("é", "É", fold=True)
    assert not regex_matches("k", "\u212a", fold=True)
    assert regex_matches(r"\S\D", "ab", fold=True)  # the expression's own letters keep their case


def test_no_backtracking() -> None:
    text = "a" * 20_000
    assert not regex_matches("(a*)*(a|aa)+b", text)
    assert regex_matches("(a*)*(a|aa)+b", text + "b")


def test_text_that_outgrows_the_table_still_matches() -> None:
    # Each window of 15 characters is a state of its own; a random text meets more of them than the table holds.
    source = "(a|b)*a(a|b){14}"
    text = "".join(Random(7).choices("ab", k=12_000))
    for end in range(4):
        assert regex_matches(source, text[: len(text) - end]) == (text[-15 - end] == "a")
    assert len(regex_dfa(source, False).sets) == STATE_LIMIT


def test_too_many_states() -> None:
    with pytest.raises(TooComplex):
        regex_matches("(?:[a-y]z?[b-x]y?[c-w]x?[d-v]w?[e-u]v?){1000}" * 3, "")


def test_character_sets() -> None:
    assert char_set([(5, 9), (1, 3), (4, 4), (20, 30), (25, 26)]) == ((1, 9), (20, 30))
    assert complement(complement(((3, 9), (11, 11)))) == ((3, 9), (11, 11))
    assert fold_unicode(((0x53, 0x53),)) == ((0x53, 0x53), (0x73, 0x73), (0x17F, 0x17F))
    missing = complement(char_set(PLAIN_ORDER))
    assert missing == ((0x00, 0x00), (0x0A, 0x0A), (0x0D, 0x0D), (0xD800, 0xDFFF))
    assert sum(high - low + 1 for low, high in PLAIN_ORDER) == 0x110000 - 3 - 0x800  # no character twice


@pytest.mark.parametrize("letter", "kKsSåÅµßẞσςΣǅΩιͅΐᾀ")
def test_case_folding_is_that_of_re2(letter: str) -> None:
    ours = {code for low, high in fold_unicode(((ord(letter), ord(letter)),)) for code in range(low, high + 1)}
    pattern = re2.compile(f"(?i){letter}")
    theirs = {code for code in range(0x20, 0x3000) if pattern.fullmatch(chr(code))}
    assert ours == theirs
