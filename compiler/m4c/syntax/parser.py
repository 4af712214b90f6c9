"""The parser of one item. It never fails: it returns a tree, whatever the text, and what is wrong with the text.

lark, and what makes the tables of the grammar, are slow to load; a program whose trees are on the disk (cache.py) needs
neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

from m4c.syntax import tree as t
from m4c.syntax.literals import SyntaxProblem

if TYPE_CHECKING:
    from lark import Lark

    from m4c.syntax.fastparse import FastParser

KNOWN = 1 << 18  # texts that are remembered: those of a large workspace, and of what was typed since


@dataclass(frozen=True, slots=True)
class ParsedItem:
    """The tree of an item (a `Broken` one at worst) and its problems. `whole`: the tree is that of all of the text."""

    decl: t.Decl
    problems: tuple[SyntaxProblem, ...] = ()
    whole: bool = True


_known: dict[str, ParsedItem] = {}


@cache
def grammar() -> Lark:
    """The LALR(1) parser of one item; completion asks it what it would accept."""
    from lark import Lark

    text = files(__package__).joinpath("grammar.lark").read_text("utf-8")
    return Lark(
        text,
        parser="lalr",
        lexer="contextual",
        start="item",
        propagate_positions=True,
        maybe_placeholders=True,
    )


@cache
def fast() -> FastParser:
    """The parser of texts that are items."""
    from m4c.syntax.fastparse import FastParser

    return FastParser(grammar())


def parse_item(text: str) -> ParsedItem:
    """Parses the text of one item. Equal texts share one tree."""
    return known(text) or remember(text, parse_anew(text))


def known(text: str) -> ParsedItem | None:
    """What is remembered of a text."""
    return _known.get(text)


def parse_anew(text: str) -> ParsedItem:
    """As `parse_item`, whatever is remembered."""
    from m4c.syntax.fastparse import Glued

    try:
        found = fast().parse(text)
    except Glued:
        found = None
    if found is None:
        from m4c.syntax.recovery import parse_thoroughly

        return parse_thoroughly(text)
    decl, problems = found
    return ParsedItem(decl, in_order(problems))


def remember(text: str, parsed: ParsedItem) -> ParsedItem:
    """What `parse_item` says about a text from now on: this, or what it says already."""
    if len(_known) >= KNOWN:
        for old in tuple(islice(_known, KNOWN // 2)):
            _known.pop(old, None)
    return _known.setdefault(text, parsed)


def retain(texts: Iterable[str]) -> None:
    """Forgets what is known of all other texts."""
    left = {text: parsed for text in texts if (parsed := _known.get(text)) is not None}
    _known.clear()
    _known.update(left)


def forget() -> None:
    """Every text is parsed again."""
    _known.clear()


def in_order(problems: Iterable[SyntaxProblem]) -> tuple[SyntaxProblem, ...]:
    return tuple(sorted(problems, key=lambda p: (p.start, p.end)))
