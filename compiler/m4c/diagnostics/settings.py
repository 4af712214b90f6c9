"""Settings of a project, from the file `m4.toml`: how bad each diagnostic is taken to be.

    [diagnostics]
    shadowed = "error"
    redundant = "off"

A file counts for the folder that it is in and for what is below, unless another one is nearer.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from m4c.diagnostics.registry import LEVELS, RULES, Severity
from m4c.semantics.model import Place
from m4c.semantics.problems import Edit, Fix, Problem, nearest

NAME = "m4.toml"
TABLE = "diagnostics"
OFF = "off"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file of settings says, as far as it makes sense. A code that is not in `severities` is as bad as its rule
    says; None: it is not reported."""

    severities: Mapping[str, Severity | None] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def severity(self, code: str) -> Severity | None:
        return self.severities.get(code, RULES[code].severity)


DEFAULT = Settings()


@lru_cache(maxsize=64)
def read_settings(text: str, file: str) -> Settings:
    """The settings in a text; what is wrong with it is reported at its place in the file."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        at = _where(text, str(e))
        message = f"this is not TOML: {str(e).partition(' (at ')[0]}"
        return Settings(problems=(Problem("bad-setting", message, Place(file, "", at, at + 1)),))
    places = {path: (key, value) for path, key, value in _keys(text)}
    reader = _Reader(file, places)
    for name, value in table.items():
        if name != TABLE:
            reader.say_key((name,), f"there is no setting `{name}`", (TABLE,))
        elif not isinstance(value, dict):
            reader.say_value((name,), f'`{TABLE}` is a table of codes, as in `[{TABLE}]` and `redundant = "off"`')
        else:
            for code, level in value.items():
                reader.severity(code, level)
    return Settings(reader.severities, tuple(reader.problems))


class _Reader:
    def __init__(self, file: str, places: Mapping[tuple[str, ...], tuple[Span, Span]]) -> None:
        self.file = file
        self.places = places
        self.severities: dict[str, Severity | None] = {}
        self.problems: list[Problem] = []

    def severity(self, code: str, level: object) -> None:
        path = (TABLE, code)
        if code not in RULES:
            self.say_key(path, f"no diagnostic has the code `{code}`", RULES)
        elif level not in (*LEVELS, OFF):
            choices = ", ".join(f'"{name}"' for name in (*LEVELS, OFF))
            self.say_value(path, f"a severity is one of {choices}", str(level))
        elif not RULES[code].configurable:
            if level != LEVELS[0]:
                message = (
                    f"`{code}` is an error of the language: with it the program has no meaning that could be relied "
                    "on, so it can be neither turned off nor taken for less"
                )
                self.say_key(path, message, ())
        else:
            self.severities[code] = None if level == OFF else Severity(LEVELS.index(str(level)) + 1)

    def _span(self, path: tuple[str, ...], part: int) -> Span:
        found = next((s for p, s in self.places.items() if p[: len(path)] == path), ((0, 1), (0, 1)))
        return self.places.get(path, found)[part]

    def say_key(self, path: tuple[str, ...], message: str, known: Mapping[str, object] | tuple[str, ...]) -> None:
        near = nearest(path[-1], known)
        self._say(message, self._span(path, 0), near, near)

    def say_value(self, path: tuple[str, ...], message: str, given: str = "") -> None:
        near = nearest(given, (*LEVELS, OFF)) if given else None
        self._say(message, self._span(path, 1), near, f'"{near}"')

    def _say(self, message: str, span: Span, near: str | None, text: str | None) -> None:
        place = Place(self.file, "", *span)
        fixes = (Fix(f"Change to `{near}`", (Edit(place, text),)),) if near is not None and text is not None else ()
        hint = f"; did you mean `{near}`?" if near is not None else ""
        self.problems.append(Problem("bad-setting", message + hint, place, fixes=fixes))


# --- where keys stand: tomllib does not say ---------------------------------------------------------------------------

Span = tuple[int, int]
_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<text>\"\"\"(?:[^\\]|\\.)*?\"{3,5}|'''.*?'{3,5}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')
      | (?P<word>[A-Za-z0-9_+:-]+)
      | (?P<line>\n)
      | (?P<mark>[\[\]{}=,.])""",
    re.X | re.S,
)


def _keys(text: str) -> Iterator[tuple[tuple[str, ...], Span, Span]]:
    """Every key of a text that is TOML: its path, and where it and its value stand."""
    tokens = [m for m in _TOKEN.finditer(text) if m.lastgroup != "comment"]
    table: tuple[str, ...] = ()
    at = 0
    while at < len(tokens):
        if tokens[at].lastgroup == "line":
            at += 1
        elif tokens[at].group() == "[":
            while tokens[at].group() == "[":
                at += 1
            start = tokens[at].start()
            table, at = _path(tokens, at)
            yield table, (start, tokens[at - 1].end()), (start, tokens[at - 1].end())
            while at < len(tokens) and tokens[at].lastgroup != "line":
                at += 1
        else:
            at = yield from _pair(tokens, at, table)


def _path(tokens: list[re.Match[str]], at: int) -> tuple[tuple[str, ...], int]:
    """The dotted key that begins at a token, and what is behind it."""
    names = []
    while True:
        word = tokens[at].group()
        names.append(next(iter(tomllib.loads(f"{word} = 0"))))
        at += 1
        if at >= len(tokens) or tokens[at].group() != ".":
            return tuple(names), at
        at += 1


def _pair(
    tokens: list[re.Match[str]], at: int, table: tuple[str, ...]
) -> Generator[tuple[tuple[str, ...], Span, Span], None, int]:
    """A key with its value, and the keys in that if it is a table in one line; returns what is behind it."""
    start = tokens[at].start()
    path, at = _path(tokens, at)
    key = (start, tokens[at - 1].end())
    at += 1  # the `=`
    first = at
    depth = 0
    while at < len(tokens):
        char = tokens[at].group()
        if depth == 0 and (tokens[at].lastgroup == "line" or char in (",", "}")):
            break
        if char == "{" and depth == 0:
            at += 1
            while tokens[at].group() != "}":
                if tokens[at].group() == "," or tokens[at].lastgroup == "line":
                    at += 1
                else:
                    at = yield from _pair(tokens, at, (*table, *path))
        else:
            depth += (char == "[") - (char == "]")
        at += 1
    yield (*table, *path), key, (tokens[first].start(), tokens[at - 1].end())
    return at


def _where(text: str, message: str) -> int:
    """The offset that an error of tomllib names."""
    found = re.search(r"\(at line (\d+), column (\d+)\)", message)
    if found is None:
        return max(len(text) - 1, 0)
    lines = text.split("\n")
    return sum(len(line) + 1 for line in lines[: int(found[1]) - 1]) + int(found[2]) - 1
