"""The formatter: whatever white space, line breaks and comments a program has, only white space moves, once."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest
from budget import many
from hypothesis import given
from hypothesis import strategies as st
from lark.grammar import Rule
from m4_programs import TERMINALS, Program, Through, programs, words
from m4c.syntax.items import TOKEN, split
from m4c.syntax.parser import grammar, parse_item
from m4c.syntax.printer import format_text, left_alone

ROOT = Path(__file__).parents[2]
SETTINGS = many(250)
SHIPPED = sorted([*ROOT.glob("specs/**/*.m4"), *ROOT.glob("examples/*/*.m4")])


def without_spans(node: object) -> object:
    """A tree as plain values, without its positions."""
    if isinstance(node, tuple):
        return tuple(map(without_spans, node))
    if is_dataclass(node):
        names = (f.name for f in fields(node) if f.name not in ("start", "end"))
        return (type(node).__name__, *((n, without_spans(getattr(node, n))) for n in names))
    return node


def meaning(text: str) -> list[object]:
    return [without_spans(parse_item(item.text).decl) for item in split(text)]


def pieces(text: str) -> list[str]:
    """Words, strings, signs and comments in order; the lines of comments without the white space around them."""
    found = []
    for m in TOKEN.finditer(text):
        if m.lastgroup == "comment":
            found.append("\n".join(line.strip(" \t\f\v") for line in re.split("\r\n|\r|\n", m.group())))
        elif m.lastgroup == "string":
            found.append(m.group())
        else:
            found += re.findall(r"\w+|\W", m.group())
    return found


def check(text: str) -> str:
    """Holds the formatter to its promises on a text; what it makes of it."""
    formatted = format_text(text)
    assert pieces(formatted) == pieces(text)
    assert meaning(formatted) == meaning(text)
    assert format_text(formatted) == formatted
    return formatted


@SETTINGS
@given(programs(), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_only_white_space_moves(program: Program, eol: str, mark: bool) -> None:
    text = "\ufeff" * mark + program.text.replace("\n", eol)
    assert [parse_item(item.text).problems for item in split(text) if not parse_item(item.text).whole] == []
    assert len(split(text)) == len(program.items)
    assert left_alone(text) == []
    formatted = check(text)
    assert left_alone(formatted) == []
    assert formatted.startswith("\ufeff") == mark
    if re.search(r"\S[^\S\r\n]*\r\n", text):
        assert formatted.count("\r\n") == formatted.count("\n")
        formatted = formatted.replace("\r\n", "\n")
    shape(formatted.removeprefix("\ufeff"))


def shape(text: str) -> None:
    """What lines look like: ends, indentation, blank lines."""
    assert "\r" not in text
    assert text.endswith("\n") and not text.endswith("\n\n") and not text.startswith("\n")
    code = re.sub(
        r"/\*.*?\*/", "/**/", TOKEN.sub(lambda m: m[0] if m.lastgroup == "comment" else "x", text), flags=re.S
    )
    assert "\n\n\n" not in code and "\t" not in re.sub(r"//[^\n]*", "", code)
    assert not re.search(r"[ \t\f]$", text, re.M)


@pytest.mark.parametrize("rule", grammar().rules, ids=lambda r: f"{r.origin.name}:{r.alias or ''}:{r.order}")
def test_every_production(rule: Rule) -> None:
    """The shortest program with each production, on one line, with a line for each token, with comments between."""
    tokens = Through(rule).item()
    one = " ".join(tokens)
    assert parse_item(one).whole
    for gap in ("\n ", " /* c */ ", "\n\n // c\n "):
        check(gap.join(tokens))
    assert pieces(check(one)) == pieces(one)


def test_each_terminal_is_generated() -> None:
    assert {p.name for p in grammar().terminals} == {*words(), *TERMINALS, "WS", "COMMENT"}
