"""The parser of one item. It never fails: it returns a tree, whatever the text, and what is wrong with the text.

lark recovers from single tokens only. Here a statement that does not parse is blanked (so that no offset moves) and the
item is parsed again, so everything around a mistake keeps its meaning. A missing `;` at the end of a line is put there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from m4c.syntax import tree as t
from m4c.syntax.build import Builder
from m4c.syntax.items import KEYWORDS, RESERVED, TOKEN

MAX_ERRORS = 8  # an item with more is left as it is: the first ones say enough
# What is nested more deeply, or has more operators in a row, is refused here: whatever walks a tree can then recurse.
MAX_DEPTH = 64
MAX_OPERATORS = 256
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


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """What is wrong with the text of an item: a message for people, and where (offsets in the item).

    `insert`: a text that mends it, and the offset where it is missing.
    """

    message: str
    start: int
    end: int
    code: str = "syntax-error"
    insert: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class ParsedItem:
    """The tree of an item (a `Broken` one at worst) and its problems."""

    decl: t.Decl
    problems: tuple[SyntaxProblem, ...] = ()


@cache
def grammar() -> Lark:
    """The LALR(1) parser of one item; completion asks it what it would accept."""
    text = files(__package__).joinpath("grammar.lark").read_text("utf-8")
    return Lark(
        text,
        parser="lalr",
        lexer="contextual",
        start="item",
        propagate_positions=True,
        maybe_placeholders=True,
    )


@lru_cache(maxsize=65536)
def parse_item(text: str) -> ParsedItem:
    """Parses the text of one item. Equal texts share one tree."""
    reserved = _reserved(text)
    if reserved is not None:
        return ParsedItem(broken(text), (reserved,))
    deep = _too_deep(text)
    if deep is not None:
        return ParsedItem(broken(text), (deep,))
    problems: list[SyntaxProblem] = []
    source = text
    for _ in range(MAX_ERRORS):
        try:
            return ParsedItem(_parse(source, text), tuple(problems))
        except UnexpectedInput as e:
            problem, mended = _recover(source, e)
            _say(problems, _within(problem, len(text)))
            if mended is None or mended == source:
                break
            source = mended
        except (RecursionError, VisitError) as e:
            if isinstance(e, VisitError) and not isinstance(e.orig_exc, RecursionError):
                raise
            problems.append(SyntaxProblem("this is nested too deeply", 0, len(text)))
            break
    return ParsedItem(broken(text), tuple(problems))


def _say(problems: list[SyntaxProblem], problem: SyntaxProblem) -> None:
    """Adds a problem; what is missing at one place several times is one problem."""
    before = problems[-1] if problems else None
    if before and before.insert and problem.insert and before.insert[0] == problem.insert[0]:
        problems[-1] = replace(before, insert=(before.insert[0], before.insert[1] + problem.insert[1]))
    else:
        problems.append(problem)


def _within(problem: SyntaxProblem, end: int) -> SyntaxProblem:
    """A problem that may be about what was put behind the end of the text, at that end."""
    if problem.end <= end:
        return problem
    insert = (min(problem.insert[0], end), problem.insert[1]) if problem.insert else None
    return replace(problem, start=min(problem.start, max(end - 1, 0)), end=end, insert=insert)


def _parse(source: str, text: str) -> t.Decl:
    return Builder(text).transform(grammar().parse(source))


def _reserved(text: str) -> SyntaxProblem | None:
    """What to say about an item that begins with a word of a later version, whatever the rest of it says."""
    for m in TOKEN.finditer(text):
        if m.lastgroup == "comment":
            continue
        if m.group() not in RESERVED:
            return None
        return SyntaxProblem(f"`{m.group()}` is reserved for a later version of M4", m.start(), m.end(), "reserved")
    return None


def _too_deep(text: str) -> SyntaxProblem | None:
    """What to say about brackets in brackets, or operators in one condition, that are too many."""
    if sum(map(text.count, "([{")) <= MAX_DEPTH and sum(map(text.count, ("&&", "||", "!"))) <= MAX_OPERATORS:
        return None
    depth = operators = 0
    for m in TOKEN.finditer(text):
        if m.lastgroup in ("comment", "string"):
            continue
        at, c = m.start(), m.group()
        depth += (c in ("(", "[", "{")) - (c in (")", "]", "}"))
        operators = 0 if c in (";", "{", "}") else operators + (c == "!" or text[at : at + 2] in ("&&", "||"))
        if depth > MAX_DEPTH:
            return SyntaxProblem(f"this is nested too deeply: more than {MAX_DEPTH} brackets are open", at, at + 1)
        if operators > MAX_OPERATORS:
            return SyntaxProblem(f"this condition has more than {MAX_OPERATORS} operators", at, at + 1)
    return None


def broken(text: str) -> t.Broken:
    """What is left of an item that does not parse: its kind and name, so that references to it still resolve."""
    m = re.search(r"\b(" + "|".join(KEYWORDS) + r')\s+([A-Za-z_]\w*|"[^"\n]*")?', text)
    kind = m[1] if m else ""
    name = t.Name(m[2].strip('"'), m.start(2), m.end(2)) if m and m[2] else None
    return t.Broken(kind, name, 0, len(text))


def _expected(names: Any) -> str:
    """What could stand there, as a phrase; empty if it is too much to list."""
    known = {p.name: p.pattern.value for p in grammar().terminals if p.pattern.type == "str"}
    words = sorted({_TERMINALS.get(n) or (f"`{known[n]}`" if n in known else "") for n in names} - {""})
    if not words or len(words) > 5:
        return ""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _recover(source: str, error: UnexpectedInput) -> tuple[SyntaxProblem, str | None]:
    """What to say about an error, and the item's text with the statement around it blanked (None: give up)."""
    if isinstance(error, UnexpectedToken):
        token: Token = error.token
        at = len(source.rstrip()) if token.type == "$END" else token.start_pos or 0
        end = at if token.type == "$END" else token.end_pos or at + 1
        accepts = error.accepts or error.expected
        found = "the end of the text" if token.type == "$END" else _quoted(str(token))
    elif isinstance(error, UnexpectedCharacters):
        at = int(error.pos_in_stream or 0)
        bad = TOKEN.match(source, at)
        end = bad.end() if bad else at + 1
        accepts = error.allowed or set()
        found = _quoted(source[at:end])
    else:  # pragma: no cover - lark has no third kind for an LALR parser
        return SyntaxProblem(str(error), 0, len(source)), None
    expected = _expected(accepts)
    spot = _code_end(source, at)
    if "SEMICOLON" in accepts and spot < at and source[at - 1] != ";" and _new_line_or_close(source, spot, at):
        message = "expected `;` at the end of the statement"
        problem = SyntaxProblem(message, max(spot - 1, 0), spot, insert=(spot, ";"))
        return problem, source[:spot] + ";" + _spaces(source, spot + 1, at)[spot + 1 :]
    if source[at:end].startswith(('"', 'r"')) and not source[at:end].rstrip("\n").endswith('"'):
        message = "the string is not closed on its line"
    elif isinstance(error, UnexpectedToken) and token.type == "$END":
        message = f"the text ends here, but {expected or 'more'} is missing"
        if "RBRACE" in accepts:  # a brace that is missing at the very end: the tree is whole without it
            problem = SyntaxProblem("a closing `}` is missing", max(at - 1, 0), at, insert=(at, "\n}"))
            return problem, source.rstrip() + "\n}"
        if "SEMICOLON" in accepts:
            problem = SyntaxProblem("a `;` is missing at the end", max(spot - 1, 0), spot, insert=(spot, ";"))
            return problem, source[:spot] + ";" + source[spot:]
    else:
        message = f"expected {expected}, found {found}" if expected else f"{found} cannot stand here"
    return SyntaxProblem(message, at, max(end, at + 1)), _blank_statement(source, at)


def _quoted(text: str) -> str:
    """What stands there, as a message shows it."""
    return f"`{text}`" if len(text) <= LONGEST else f"`{text[:LONGEST]}…`"


def _code_end(source: str, at: int) -> int:
    """Where the last token before `at` ends that is no comment."""
    end = 0
    for m in TOKEN.finditer(source):
        if m.start() >= at:
            break
        if m.lastgroup != "comment":
            end = m.end()
    return end


def _new_line_or_close(source: str, spot: int, at: int) -> bool:
    return "\n" in source[spot:at] or source[at : at + 1] == "}"


def _blank_statement(source: str, at: int) -> str | None:
    """The text with the statement around `at` replaced by spaces; None if `at` is in the item's head."""
    start, depth_at_start, depth = None, 0, 0
    for m in TOKEN.finditer(source):
        if m.lastgroup != "punct":
            continue
        c = m.group()
        if m.start() >= at:
            if c == "{":
                depth += 1
            elif c == "}":
                if depth == depth_at_start:  # the block around the statement ends
                    return None if start is None else _spaces(source, start, m.start())
                depth -= 1
                if depth == depth_at_start and start is not None:
                    return _spaces(source, start, m.end())
            elif depth == depth_at_start and start is not None:
                return _spaces(source, start, m.end())
            continue
        depth += {"{": 1, "}": -1}.get(c, 0)
        if depth > 0:
            start, depth_at_start = m.end(), depth
    return None if start is None else _spaces(source, start, len(source))


def _spaces(source: str, start: int, end: int) -> str:
    blank = re.sub(r"[^\n]", " ", source[start:end])
    return source[:start] + blank + source[end:]
