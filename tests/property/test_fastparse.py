"""What makes sound programs fast changes nothing: every tree is the one that lark's parser gives, to the position, and
every item ends where a look at each of its tokens says that it does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from budget import many
from hypothesis import given
from hypothesis import strategies as st
from lark.grammar import Rule
from m4_programs import Program, Through, programs
from m4c.syntax import items
from m4c.syntax.encoding import decode, encode
from m4c.syntax.fastparse import Glued
from m4c.syntax.items import Item, split
from m4c.syntax.parser import ParsedItem, forget, grammar, parse_anew
from m4c.syntax.recovery import parse_thoroughly
from test_fuzz_syntax import DEEP, FAST, TEXTS, grown, mutated

ROOT = Path(__file__).parents[2]
SETTINGS = many(150)
FENCE = re.compile(r"^```m4\b[^\n]*\n(.*?)^```", re.M | re.S)
FOLDERS = ("benchmarks", "docs", "editors", "examples", "specs", "tests", "vscode-extension/test")
PROGRAMS = [f for folder in FOLDERS for f in sorted((ROOT / folder).rglob("*.m4"))]
PAGES = [f for folder in FOLDERS for f in sorted((ROOT / folder).rglob("*.md")) if FENCE.search(f.read_text("utf-8"))]


def texts(file: Path) -> list[str]:
    """The programs in a file: itself, or the blocks of a page."""
    text = file.read_text("utf-8")
    return FENCE.findall(text) if file.suffix == ".md" else [text]


def same(text: str) -> ParsedItem:
    """Parses an item in both ways. `repr` tells a number from a truth value, and shows every position."""
    slow = parse_thoroughly(text)
    assert repr(parse_anew(text)) == repr(slow)
    return slow


def check(text: str) -> None:
    """Holds both parsers to one tree on a file, and the fast one to parsing all that is whole."""
    for item in split(text):
        slow = same(item.text)
        try:
            found = FAST.parse(item.text)
        except Glued as glued:
            assert re.fullmatch(r"[a-z_]+", item.text[glued.start : glued.end])
            assert re.match(r"\w", item.text[glued.end :])
            found = None
        assert (found is not None) == slow.whole
        assert found is None or repr(found[0]) == repr(slow.decl)


@SETTINGS
@given(programs(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_random_programs(program: Program, eol: str) -> None:
    check(program.text.replace("\n", eol))


@SETTINGS
@given(programs(most=1).flatmap(lambda p: mutated(p.text)))
def test_mutated_programs(text: str) -> None:
    check(text)
    same(text)


@SETTINGS
@given(TEXTS)
def test_any_text(text: str) -> None:
    check(text)
    same(text)


@pytest.mark.parametrize("rule", grammar().rules, ids=lambda r: f"{r.origin.name}:{r.alias or ''}:{r.order}")
def test_every_production(rule: Rule) -> None:
    """The shortest program with each production, with little between its tokens and with a lot."""
    tokens = Through(rule).item()
    for gap in (" ", "\n/* c */ ///\n\ufeff\f"):
        assert same(gap.join(tokens)).whole
        assert FAST.parse(gap.join(tokens)) is not None


@pytest.mark.parametrize("file", [*PROGRAMS, *PAGES], ids=lambda f: f.relative_to(ROOT).as_posix())
def test_what_people_wrote(file: Path) -> None:
    for text in texts(file):
        check(text)


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize("size", [20, 100])
def test_sizes(name: str, size: int) -> None:
    check(grown(name, size))


@pytest.mark.parametrize(
    "name", ["parentheses", "parentheses of a pattern", "ifs", "else ifs", "negations", "maps", "types"]
)
def test_the_limit_of_depth(name: str) -> None:
    """It is met at the same level, wherever that is."""
    whole = [same(grown(name, size)).whole for size in range(10, 110)]
    assert whole[0] and not whole[-1] and whole == sorted(whole, reverse=True)
    for size in range(10, 110):
        assert (FAST.parse(grown(name, size)) is not None) == whole[size - 10]


@pytest.mark.parametrize("name", ["or", "and", "and or"])
def test_the_limit_of_operands(name: str) -> None:
    whole = [same(grown(name, size)).whole for size in range(495, 505)]
    assert whole[0] and not whole[-1] and whole == sorted(whole, reverse=True)
    for size in range(495, 505):
        assert (FAST.parse(grown(name, size)) is not None) == whole[size - 495]


@SETTINGS
@given(st.one_of(TEXTS, programs().map(lambda p: p.text), programs().flatmap(lambda p: mutated(p.text))))
def test_what_is_read_from_the_disk_is_what_was_parsed(text: str) -> None:
    parsed = tuple((item, parse_anew(item.text)) for item in split(text))
    forget()
    assert repr(decode(encode(parsed), text)) == repr(parsed)


# --- items ------------------------------------------------------------------------------------------------------------


def by_token(text: str) -> tuple[Item, ...]:
    """The items of a file, found with a look at each token."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "_plain_end", lambda text, at: None)
        return split(text)


@SETTINGS
@given(st.one_of(TEXTS, programs().map(lambda p: p.text), programs().flatmap(lambda p: mutated(p.text))))
def test_items_are_passed_over_to_the_same_end(text: str) -> None:
    for written in (text, text.replace("\n", "\r")):
        assert split(written) == by_token(written)


def test_items_that_people_wrote() -> None:
    for text in [t for f in (*PROGRAMS, *PAGES) for t in texts(f)]:
        assert split(text) == by_token(text)


@pytest.mark.parametrize("name", DEEP)
def test_items_of_some_size(name: str) -> None:
    assert split(grown(name, 60)) == by_token(grown(name, 60))
