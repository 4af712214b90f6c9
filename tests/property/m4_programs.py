"""Random programs, derived from the grammar that the parser reads: a production that is added is generated at once.

Only the terminals that are regular expressions need a strategy each (`TERMINALS`). Programs parse; most make no sense.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from hypothesis import strategies as st
from lark.grammar import Rule
from m4c.syntax.items import KEYWORDS
from m4c.syntax.parser import grammar

TOKENS = 60  # of an item, about


@cache
def words() -> Mapping[str, str]:
    """The terminals that are fixed texts."""
    return {p.name: p.pattern.value for p in grammar().terminals if p.pattern.type == "str"}


@cache
def reserved() -> frozenset[str]:
    return frozenset((*words().values(), *KEYWORDS, "starts_with", "ends_with", "contains"))


@cache
def productions() -> Mapping[str, tuple[Rule, ...]]:
    """The expansions of each rule, the shortest first."""
    out: dict[str, list[Rule]] = {}
    for rule in grammar().rules:
        out.setdefault(str(rule.origin.name), []).append(rule)
    return {name: tuple(sorted(rules, key=weight)) for name, rules in out.items()}


@cache
def weights() -> Mapping[str, int]:
    """How many tokens the shortest text of each rule has."""
    out: dict[str, int] = {}
    rules = grammar().rules
    while True:
        before = dict(out)
        for rule in rules:
            parts = [1 if s.is_term else out.get(s.name) for s in rule.expansion]
            if None not in parts:
                found = sum(p for p in parts if p is not None)
                out[rule.origin.name] = min(found, out.get(rule.origin.name, found))
        if out == before:
            return out


def weight(rule: Rule) -> int:
    return sum(1 if s.is_term else weights()[s.name] for s in rule.expansion)


# --- terminals --------------------------------------------------------------------------------------------------------

LETTERS = ["a", "B", "é", "😀", " ", "-", "_", ".", ":", "/", "*", "//", "{", "}", ";", "\u2028", "\xa0", "'", "0"]
TEXT = st.lists(st.sampled_from([*LETTERS, '\\"', "\\\\", "\\t", "\\n"]), max_size=6).map("".join)
QUOTED = (TEXT | st.sampled_from(["policy", "on", "//", "/*", "*/", "///", "a b", "}", "x-id"])).map('"{}"'.format)
WHOLE = st.integers(0, 2**40).map(str) | st.sampled_from(["0", "00", "7", "403"])
NUMBERS = st.integers(-(2**63), 2**63 - 1).map(str) | WHOLE
NAMES = st.sampled_from(["a", "b", "r", "x1", "_", "Request", "header", "a_long_name", "r_", "v2", "s", "ms"])
SERVICES = st.sampled_from(["a", "cart", "redis-cart", "a.b", "v1.2-x", "3", "0a", "_x", "a--b", "x_-.y", "250ms", "r"])

TERMINALS: Mapping[str, st.SearchStrategy[str]] = {
    "NAME": NAMES | st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,8}\Z").filter(lambda w: w not in reserved()),
    "SERVICE": SERVICES
    | st.from_regex(r"\A[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,8}[A-Za-z0-9_.])?\Z").filter(lambda w: w not in reserved()),
    "STRING": QUOTED,
    "REGEX": st.sampled_from(['r""', 'r"a\\"b{2}"', 'r"[A-Z]+//"', 'r"/*"', 'r"\\\\"', 'r"}"']),
    "INT": NUMBERS,
    "COUNT": WHOLE,
    "DURATION": st.builds("{}{}".format, WHOLE, st.sampled_from(["ns", "us", "ms"])) | st.sampled_from(["1.5s", "2h"]),
    "PERCENT": st.sampled_from(["20%", "0.25%", "100.00%", "2.5%"]),
    "RATE": st.builds("{}/{}".format, WHOLE, st.sampled_from("smh")),
    "CMP": st.sampled_from(["==", "!=", "<=", ">=", "starts_with", "ends_with", "contains"]),
}


# One text for each, where it does not matter which.
PLAIN = {"NAME": "a", "SERVICE": "b-c", "STRING": '"s"', "REGEX": 'r"x"', "INT": "-1", "COUNT": "2", "DURATION": "3s"}
PLAIN |= {"PERCENT": "4%", "RATE": "5/s", "CMP": "=="}


# --- items ------------------------------------------------------------------------------------------------------------


class Derivation:
    """Derives the tokens of one item. `pick(n)` chooses one of n ways, `text` the text of a terminal."""

    def __init__(self, pick: Callable[[int], int], text: Callable[[str], str], tokens: int = TOKENS) -> None:
        self.pick = pick
        self.text = text
        self.left = tokens  # when there are none left, every rule takes its shortest way
        self.out: list[str] = []

    def item(self) -> list[str]:
        self.symbol("item", False)
        return self.out

    def symbol(self, name: str, terminal: bool) -> None:
        if terminal:
            self.left -= 1
            self.out.append(words().get(name) or self.text(name))
            return
        ways = productions()[name]
        self.follow(ways[self.pick(len(ways)) if self.left > 0 and len(ways) > 1 else 0])

    def follow(self, rule: Rule) -> None:
        for s in rule.expansion:
            self.symbol(s.name, s.is_term)


class Through(Derivation):
    """The shortest item in which a production takes part."""

    def __init__(self, rule: Rule) -> None:
        super().__init__(lambda n: 0, PLAIN.__getitem__, 0)
        self.route = list(route_to(rule))

    def symbol(self, name: str, terminal: bool) -> None:
        if not terminal and self.route and self.route[0].origin.name == name:
            self.follow(self.route.pop(0))
        else:
            super().symbol(name, terminal)


@cache
def routes() -> Mapping[str, tuple[Rule, ...]]:
    """The productions that lead from `item` to each rule, in order, without one for the rule itself."""
    out: dict[str, tuple[Rule, ...]] = {"item": ()}
    queue = ["item"]
    for name in queue:
        for rule in productions()[name]:
            for s in rule.expansion:
                if not s.is_term and s.name not in out:
                    out[s.name] = (*out[name], rule)
                    queue.append(s.name)
    return out


def route_to(rule: Rule) -> tuple[Rule, ...]:
    return (*routes()[rule.origin.name], rule)


@st.composite
def items(draw: st.DrawFn, tokens: int = TOKENS) -> list[str]:
    """The tokens of an item."""
    return Derivation(lambda n: draw(st.integers(0, n - 1)), lambda name: draw(TERMINALS[name]), tokens).item()


# --- text -------------------------------------------------------------------------------------------------------------

_TIGHT = frozenset("(){}[];,|*") | {"->"}  # tokens that need no white space around them
REMARKS = st.sampled_from(["why", "é 😀", "a {", "policy x", "b; }", '"open', "* tight", "// no", "", "@x", "\u2028 "])
SPACE = st.sampled_from([" ", " ", " ", "  ", "\t", "\n", "\n\n", "\n\n\n  ", "\n\t", " \n   ", "\f "])
COMMENT = st.one_of(
    REMARKS.map(" // {}  \n".format),
    REMARKS.map("\n  /// {}\n".format),
    REMARKS.map(" /* {} */ ".format),
    REMARKS.map("/*{}*/".format),
    REMARKS.map("\n    /* {0}\n     * {0}  \n  {0}\n\n */".format),
)


def spaces(draw: st.DrawFn, quiet: int) -> str:
    """White space, and a comment or two in one of `quiet` cases."""
    if draw(st.integers(0, quiet)):
        return draw(SPACE)
    return draw(SPACE) + draw(COMMENT) + draw(st.sampled_from(["", " ", "\n", "\n\n"]) | COMMENT)


def layout(draw: st.DrawFn, tokens: list[str], quiet: int = 7) -> str:
    """The tokens of an item as text, with white space and comments between them."""
    out = tokens[0]
    begun = out in KEYWORDS
    for before, token in pairwise(tokens):
        free = before in _TIGHT or token in _TIGHT
        gap = "" if free and draw(st.booleans()) else spaces(draw, quiet)
        if begun and token in ("@", *KEYWORDS) and gap[-1:] == "\n":
            gap += " "  # at the start of a line it would begin an item
        begun = begun or token in KEYWORDS
        out += gap + token
    return out


@dataclass(frozen=True)
class Program:
    """A file: its items, and the text with them."""

    items: tuple[str, ...]
    text: str


@st.composite
def programs(draw: st.DrawFn, most: int = 3, tokens: int = TOKENS) -> Program:
    """A file of some items."""
    made = [layout(draw, draw(items(tokens))) for _ in range(draw(st.integers(1, most)))]
    text = draw(st.just("") | SPACE | COMMENT)
    for item in made:
        text += item + draw(st.just("") | SPACE | COMMENT)
    return Program(tuple(made), text)
