"""The values of literals, in the units of the model. Nothing is cut or rounded: what does not fit is a problem."""

from __future__ import annotations

import re
from dataclasses import dataclass

from m4c.syntax import tree as t

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "0": "\0"}
UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_LARGEST = 2**63 - 1  # of an int, in nanoseconds of a duration, in hundredths of a percentage


@dataclass(slots=True)
class Token:
    """A piece of an item's text, and the name of the terminal that it is. (Not frozen, for there are very many.)"""

    type: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class SyntaxProblem:
    """What is wrong with the text of an item: a message for people, and where (offsets in the item).

    `insert`: a text that mends it, and the offset where it is missing. `instead`: what is meant in place of what stands
    there.
    """

    message: str
    start: int
    end: int
    code: str = "syntax-error"
    insert: tuple[int, str] | None = None
    instead: str | None = None


def problem(message: str, token: Token) -> SyntaxProblem:
    """A problem with a whole token."""
    return SyntaxProblem(message, token.start, token.end)


def unescape(literal: str) -> str:
    """The text of a string literal without its quotes; an unknown escape stands for its own character."""
    body = literal[1:-1]
    if "\\" not in body:
        return body
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), body)


def text_of(token: Token, problems: list[SyntaxProblem]) -> str:
    """As `unescape`; escapes that do not exist are added to `problems`."""
    body = token.text[1:-1]
    if "\\" not in body:
        return body
    for m in re.finditer(r"\\(.)", body):
        if m[1] not in _ESCAPES:
            start = token.start + 1 + m.start()
            message = f"`{m[0]}` is no escape; a backslash in a text is written `\\\\`"
            problems.append(SyntaxProblem(message, start, start + 2))
    return unescape(token.text)


def integer(token: Token, problems: list[SyntaxProblem]) -> int:
    """The value of an integer; 0, and a problem, if 64 bits do not hold it."""
    digits = token.text.lstrip("-").lstrip("0") or "0"
    value = int(digits) if len(digits) < 20 else _LARGEST + 2  # Python reads no more than some thousand digits
    value = -value if token.text.startswith("-") else value
    if -_LARGEST - 1 <= value <= _LARGEST:
        return value
    problems.append(problem(f"an integer has 64 bits: from {-_LARGEST - 1} to {_LARGEST}", token))
    return 0


def scalar(token: Token, problems: list[SyntaxProblem]) -> t.Lit:
    """The literal that a token is."""
    text, start, end = token.text, token.start, token.end
    match token.type:
        case "STRING":
            return t.Lit("string", text_of(token, problems), start, end)
        case "REGEX":
            return t.Lit("regex", text[2:-1], start, end)
        case "INT":
            return t.Lit("int", integer(token, problems), start, end)
        case "PERCENT":
            value, exact = _scaled(text[:-1], 100)
            if not exact:
                message = "a percentage has at most two digits behind the point, and 64 bits in hundredths of a percent"
                problems.append(problem(message, token))
            return t.Lit("percent", value, start, end)
        case "DURATION":
            number, unit = re.fullmatch(r"([0-9.]+)(\w+)", text).groups()  # type: ignore[union-attr]
            value, exact = _scaled(number, UNITS[unit])
            if not exact:
                problems.append(problem("a duration is a whole number of nanoseconds, and has 64 bits of them", token))
            return t.Lit("duration", value, start, end)
        case "RATE":
            number, unit = text.split("/")
            count, exact = _scaled(number, 1)
            if not exact:
                problems.append(problem("the count of a rate has 64 bits", token))
            return t.Lit("rate", (count, UNITS[unit]), start, end)
        case _:
            return t.Lit("bool", text == "true", start, end)


def _scaled(number: str, scale: int) -> tuple[int, bool]:
    """A decimal number times `scale`, and whether that is exact and 64 bits hold it."""
    whole, _, part = number.partition(".")
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    if len(whole) > 19 or len(part) >= len(str(scale)):  # no scale has as many decimal places as digits
        return 0, False
    value, rest = divmod(int(whole + part) * scale, 10 ** len(part))
    return value, rest == 0 and value <= _LARGEST
