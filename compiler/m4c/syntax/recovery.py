"""Parses any text as an item, by lark's own parser: it returns a tree, whatever the text, and what is wrong with it.

lark recovers from single tokens only. Here a statement that does not parse is blanked (so that no offset moves) and the
item is parsed again, so everything around a mistake keeps its meaning. A missing `;` at the end of a line is put there.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import lark
from lark import Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from m4c.syntax import tree as t
from m4c.syntax.build import Builder, Span
from m4c.syntax.fastparse import CHAINS, MAX_DEPTH, MAX_OPERANDS, Glued
from m4c.syntax.items import BEFORE_VALUE, KEYWORDS, RESERVED, TOKEN, Head, is_closed
from m4c.syntax.literals import UNITS, SyntaxProblem, Token, unescape
from m4c.syntax.parser import ParsedItem, fast, grammar, in_order

MAX_ERRORS = 8  # an item with more is left as it is: the first ones say enough
_CLOSED = re.compile(r'r?"(?:[^"\\]|\\.)*"')
_WORD = re.compile(r"[A-Za-z_](?:[\w.-]*\w)?", re.A)
_ARROW = re.compile(r"(?<![\w.-])[=-]{2,}>|=>|→|>")
_SINGLE = re.compile(r"'([^'\"\\\r\n]*)'")
_NEGATED = re.compile(r"\bnot[ \t]+\Z")
_SIGNS = {"and": "&&", "or": "||", "AND": "&&", "OR": "||"}  # as other languages write them
LONGEST = 40  # characters of the text that a message repeats

_TERMINALS = {
    "SEMICOLON": "`;`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "COMMA": "`,`",
    "COLON": "`:`",
    "DOT": "`.`",
    "EQUAL": "`=`",
    "BANG": "`!`",
    "STAR": "`*`",
    "AT": "`@`",
    "VBAR": "`|`",
    "LESSTHAN": "`<`",
    "MORETHAN": "`>`",
    "NAME": "a name",
    "SERVICE": "a service",
    "STRING": "a string",
    "REGEX": 'a regular expression (r"…")',
    "INT": "a number",
    "COUNT": "a number",
    "DURATION": "a duration",
    "PERCENT": "a percentage",
    "RATE": "a rate",
    "TRUE": "`true`",
    "FALSE": "`false`",
    "CMP": "a comparison",
    "QUESTION": "`?`",
    "TERMINAL": "`terminal`",
    "$END": "the end",
}


def parse_thoroughly(text: str) -> ParsedItem:
    """The tree and the problems of an item."""
    reserved = _reserved(text)
    if reserved is not None:
        return ParsedItem(broken(text), (reserved,), whole=False)
    problems: list[SyntaxProblem] = []
    source = text
    for _ in range(MAX_ERRORS):
        try:
            tree = grammar().parse(source)
            fast().parse(source)
            _check_size(tree, len(text))
        except UnexpectedInput as e:
            problem, mended = _recover(source, e)
        except Glued as e:
            word = source[e.start : e.end]
            message = f"a space is missing behind `{word}`"
            problem = SyntaxProblem(message, e.start, e.end, insert=(e.end, " "))
            mended = _blank_statement(source, e.start)
        except _TooMuch as e:
            problem, mended = e.problem, _blank_statement(source, e.problem.start)
        else:
            builder = Builder(text)
            decl = _built(tree, builder)
            return ParsedItem(decl, in_order([*problems, *builder.problems]), whole=not problems)
        _say(problems, _within(problem, len(text)))
        if mended is None or mended == source:
            break
        source = mended
    return ParsedItem(broken(text), in_order(problems), whole=False)


def _built(tree: Tree[lark.Token], builder: Builder) -> t.Decl:
    """What a builder makes of a tree of lark's, from the leaves to the root; without recursion."""
    waiting: list[Any] = [tree]
    order: list[Any] = []
    while waiting:
        node = waiting.pop()
        order.append(node)
        if isinstance(node, Tree):
            waiting += node.children
    values: list[Any] = []
    for node in reversed(order):
        if isinstance(node, Tree):
            first = len(values) - len(node.children)
            children = values[first:]
            del values[first:]
            span = Span(node.meta.start_pos, node.meta.end_pos)
            values.append(getattr(builder, node.data)(span, children))
        elif node is None:
            values.append(None)
        else:
            values.append(Token(node.type, str(node), node.start_pos or 0, node.end_pos or 0))
    decl: t.Decl = values.pop()
    return decl


def _say(problems: list[SyntaxProblem], problem: SyntaxProblem) -> None:
    """Adds a problem; what is missing at one place several times is one problem."""
    before = problems[-1] if problems else None
    if before and before.insert and problem.insert and before.insert[0] == problem.insert[0]:
        problems[-1] = replace(before, insert=(before.insert[0], before.insert[1] + problem.insert[1]))
    else:
        problems.append(problem)


def _within(problem: SyntaxProblem, end: int) -> SyntaxProblem:
    """A problem that may be about what was put behind the end of the text, at that end."""
    start = max(0, min(problem.start, end - 1))
    insert = (min(problem.insert[0], end), problem.insert[1]) if problem.insert else None
    return replace(problem, start=start, end=min(max(problem.end, start + 1), end), insert=insert)


class _TooMuch(Exception):
    """A tree that parses, and that what comes behind could not cope with."""

    def __init__(self, message: str, node: Tree[lark.Token]) -> None:
        super().__init__(message)
        self.problem = SyntaxProblem(message, node.meta.start_pos, node.meta.start_pos + 1)


def _check_size(tree: Tree[lark.Token], size: int) -> None:
    """Raises `_TooMuch`; and keeps spans within the text, to which mending may have added its last token."""
    level = [tree]
    for _ in range(MAX_DEPTH):
        for node in level:
            node.meta.end_pos = min(node.meta.end_pos, size)
            if node.data in CHAINS and len(node.children) > MAX_OPERANDS:
                message = f"more than {MAX_OPERANDS} conditions in a row; `in [ … ]` compares with many values at once"
                raise _TooMuch(message, node)
        level = [child for node in level for child in node.children if isinstance(child, Tree)]
        if not level:
            return
    raise _TooMuch(f"this is nested too deeply: {MAX_DEPTH} levels are the limit", level[0])


def _code(text: str) -> Iterator[re.Match[str]]:
    """The tokens of a text without its comments."""
    return (m for m in TOKEN.finditer(text) if m.lastgroup != "comment" or not is_closed(m.group()))


def _reserved(text: str) -> SyntaxProblem | None:
    """What to say about an item that begins with a word of a later version, whatever the rest of it says."""
    head = Head()
    first = next((m for m in _code(text) if not head.takes(m, leads=True)), None)
    if first is None or first.group() not in RESERVED:
        return None
    message = f"`{first.group()}` is reserved for a later version of M4"
    return SyntaxProblem(message, first.start(), first.end(), "reserved")


def broken(text: str) -> t.Broken:
    """What is left of an item that does not parse: its kind and name, so that references to it still resolve."""
    words = list(_code(text))
    at = next((i for i, m in enumerate(words) if m.group() in KEYWORDS), None)
    if at is None:
        return t.Broken("", None, 0, len(text))
    kind = words[at].group()
    named = words[at + 1 : at + (3 if kind == "state" else 2)][-1:]
    for m in named:
        if _CLOSED.fullmatch(m.group()) or re.fullmatch(r"[A-Za-z_]\w*", m.group(), re.A):
            name = unescape(m.group()) if m.lastgroup == "string" else m.group()
            return t.Broken(kind, t.Name(name, m.start(), m.end()), 0, len(text))
    return t.Broken(kind, None, 0, len(text))


# --- recovery ---------------------------------------------------------------------------------------------------------


@cache
def _fixed() -> dict[str, str]:
    """The terminals that are fixed texts: keywords and signs."""
    return {p.name: p.pattern.value for p in grammar().terminals if p.pattern.type == "str"}


@cache
def _keywords() -> frozenset[str]:
    return frozenset(word for word in _fixed().values() if word.isidentifier())


def _comparisons(names: set[str]) -> set[str]:
    """The comparisons that are words, if one could stand there."""
    return set(re.findall(r"[a-z_]+", str(grammar().get_terminal("CMP").pattern.value))) if "CMP" in names else set()


def _expected(names: Iterable[str]) -> str:
    """What could stand there, as a phrase; empty if it is too much to list."""
    known = _fixed()
    words = sorted({_TERMINALS.get(n) or (f"`{known[n]}`" if n in known else "") for n in names} - {""})
    if not words or len(words) > 5:
        return ""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _recover(source: str, error: UnexpectedInput) -> tuple[SyntaxProblem, str | None]:
    """What to say about an error, and the item's text with the statement around it mended or blanked (None: give up).

    Mending moves no offset."""
    if isinstance(error, UnexpectedToken):
        at = len(source) if error.token.type == "$END" else error.token.start_pos or 0
        accepts = error.accepts or error.expected
    else:
        at = int(error.pos_in_stream or 0)
        accepts = error.allowed or set() if isinstance(error, UnexpectedCharacters) else set()
    spot = _code_end(source, at)
    if at >= len(source):
        return _at_the_end(source, spot, accepts)
    if "SEMICOLON" in accepts and spot < at and (source[at] == "}" or re.search(r"[\r\n]", source[spot:at])):
        message = "expected `;` at the end of the statement"
        problem = SyntaxProblem(message, max(spot - 1, 0), spot, insert=(spot, ";"))
        return problem, source[:spot] + ";" + _spaces(source, spot + 1, at)[spot + 1 :]
    for closing, name in ((")", "RPAR"), ("]", "RSQB")):
        if name in accepts and source[at] in ";{}":
            problem = SyntaxProblem(f"a closing `{closing}` is missing", max(spot - 1, 0), spot, insert=(spot, closing))
            return problem, _blank_statement(source, at)
    slip = _slip(source, at, set(accepts))
    if slip is not None:
        return slip, _blank_statement(source, slip.start)
    bad = TOKEN.match(source, at)
    end = bad.end() if bad else at + 1
    found, expected = source[at:end], _expected(accepts)
    message = f"expected {expected}, found {_quoted(found)}" if expected else f"{_quoted(found)} cannot stand here"
    message = _hint(found, source[max(at - 24, 0) : at], set(accepts)) or message
    return SyntaxProblem(message, at, end), _blank_statement(source, at)


def _quoted(text: str) -> str:
    """What stands there, as a message shows it."""
    return f"`{text}`" if len(text) <= LONGEST else f"`{text[:LONGEST]}…`"


def _code_end(source: str, at: int) -> int:
    """Where the last token before `at` ends that is no comment."""
    end = 0
    for m in _code(source):
        if m.start() >= at:
            break
        end = m.end()
    return end


def _at_the_end(source: str, spot: int, accepts: Iterable[str]) -> tuple[SyntaxProblem, str | None]:
    """As `_recover`, for an item that is not whole."""
    if "RBRACE" in accepts:
        closing = "\n}" * _open_blocks(source)
        return SyntaxProblem("a closing `}` is missing", spot - 1, spot, insert=(spot, closing)), source + closing
    if "SEMICOLON" in accepts:
        return SyntaxProblem("a `;` is missing at the end", spot - 1, spot, insert=(spot, ";")), f"{source};"
    message = f"the text ends here, but {_expected(accepts) or 'more'} is missing"
    return SyntaxProblem(message, spot - 1, spot), _blank_statement(source, len(source))


def _open_blocks(source: str) -> int:
    """How many braces have to close at the end: every open block, or a single map."""
    blocks: list[bool] = []
    before = ""
    for m in _code(source):
        if m.group() == "{":
            blocks.append(before not in BEFORE_VALUE)
        elif m.group() == "}" and blocks:
            blocks.pop()
        before = m.group()
    return len(blocks) if all(blocks) and blocks else 1


def _hint(found: str, before: str, accepts: set[str]) -> str:
    """What to say about tokens that people get wrong; `before` is some text in front of it."""
    signs = {_fixed().get(a) for a in accepts}
    number = re.search(r"(?<![A-Za-z_])(-?)[0-9][0-9.]*\Z", before)
    if found.startswith("/*"):
        return "the comment is not closed (`*/`)"
    if found.startswith(('"', 'r"')) and not _CLOSED.fullmatch(found):
        return "the string is not closed on its line"
    if found == "-" and re.search(r"[A-Za-z0-9_.-]\Z", before):
        return "a name does not end in `-`, unless it is quoted"
    if "->" in signs and found[0] in "=-":
        return "the steps of a call path are joined by `->`"
    if found in _keywords() and "STRING" in accepts and not accepts & {"INT", "REGEX"}:
        return f"`{found}` is a keyword here; as a name it stands in quotes"
    if number and found == "/":
        return "a rate is per `s`, `m` or `h`, as in `100/s`"
    if number and number[1] and found in ("%", *UNITS):
        return "durations and percentages are not negative"
    if number and found[0].isalpha():
        return f"{_quoted(found)} is no unit: durations have `ns`, `us`, `ms`, `s`, `m` or `h`"
    if not found.isascii() and found.isalnum():
        return f"{_quoted(found)} stands in quotes only: names have the letters A to Z, digits and `_`"
    if not found.isprintable() or found.isspace():
        return f"an invisible character (U+{ord(found[0]):04X}) cannot stand here"
    return ""


def _slip(source: str, at: int, accepts: set[str]) -> SyntaxProblem | None:
    """What is written as in other languages, or nearly as it should be, with what it should be."""
    signs = {_fixed().get(a) for a in accepts}
    word = _WORD.match(source, at)
    text = _SINGLE.match(source, at)
    negated = _NEGATED.search(source, 0, at)
    arrow = _ARROW.match(source, at)
    if source[at] == "=" and "CMP" in accepts:
        return SyntaxProblem("two things are compared by `==`", at, at + 1, instead="==")
    if source[at] == "=" and accepts == {"COLON"}:
        return SyntaxProblem("expected `:`, found `=`", at, at + 1, instead=":")
    if arrow is not None and "->" in signs:
        return SyntaxProblem("the steps of a call path are joined by `->`", at, arrow.end(), instead="->")
    if text is not None and "STRING" in accepts:
        return SyntaxProblem("a string stands between double quotes", at, text.end(), instead=f'"{text[1]}"')
    if negated is not None and word is not None:
        return SyntaxProblem("what does not hold has a `!` before it", negated.start(), at, instead="!")
    if word is None:
        return None
    if word[0] in _SIGNS and _SIGNS[word[0]] in signs:
        sign = _SIGNS[word[0]]
        return SyntaxProblem(f"`{word[0]}` is written `{sign}`", at, word.end(), instead=sign)
    if accepts == {"STRING"}:
        message = f"expected a string, found {_quoted(word[0])} without quotes"
        return SyntaxProblem(message, at, word.end(), instead=f'"{word[0]}"')
    close = difflib.get_close_matches(word[0], sorted(_keywords() & signs | _comparisons(accepts)), 1, 0.7)
    if close:
        message = f"{_quoted(word[0])} cannot stand here; did you mean `{close[0]}`?"
        return SyntaxProblem(message, at, word.end(), instead=close[0])
    return None


def _blank_statement(source: str, at: int) -> str | None:
    """The text with the statement around `at` replaced by spaces; None if `at` is in the item's head."""
    start: int | None = None
    level = depth = values = 0  # open blocks in front of `at`, and behind it; open maps
    before, ended = "", 0  # where the statement has ended, if no `else` follows
    for m in _code(source):
        c = m.group()
        if ended and c != "else":
            return _spaces(source, start or 0, ended)
        ended = 0
        passed = m.start() >= at
        if passed and start is None:
            return None
        if c == "{" and before in BEFORE_VALUE:
            values += 1
        elif c == "}" and values:
            values -= 1
        elif passed and c == "{":
            depth += 1
        elif passed and c == "}":
            depth -= 1
            if depth < 0:  # the block around the statement ends
                return _spaces(source, start or 0, m.start())
            ended = m.end() if depth == 0 else 0
        elif c in ("{", "}"):
            level += 1 if c == "{" else -1
            start = m.end() if level > 0 else None
        elif c == ";" or (m.lastgroup == "string" and not _CLOSED.fullmatch(c)):  # it has taken in the `;`
            values = 0
            if passed and depth == 0:
                return _spaces(source, start or 0, m.end())
            start = start if passed else m.end() if level > 0 else None
        before = c
    return None if start is None else _spaces(source, start, ended or len(source))


def _spaces(source: str, start: int, end: int) -> str:
    blank = re.sub(r"[^\r\n]", " ", source[start:end])
    return source[:start] + blank + source[end:]
