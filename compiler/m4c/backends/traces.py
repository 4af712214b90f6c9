"""Which line of which template a place in an artifact comes from.

The templates are rendered once more, with a mark in each piece of text that stands in them: behind its first character,
since templates take off the first or the last one of what others have made, and the space around it. They can also look
at it, and make something else of it then: such an artifact is not traced.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from m4c.backends.render import environment_for

if TYPE_CHECKING:
    from jinja2.lexer import Token, TokenStream

Line: TypeAlias = tuple[str, int]  # of a template, by its path, from 1
FIRST, LAST = 0xF0000, 0xFFFFD  # a private area of Unicode, of which the marks are
SHORT = 3  # characters that a piece has at least, and a word that does not stand in an artifact by chance


@dataclass(frozen=True, slots=True)
class Traced:
    """An artifact, and the offsets in it from which on it comes from a line."""

    text: str
    starts: tuple[int, ...]
    lines: tuple[Line, ...]

    def line(self, offset: int) -> Line | None:
        at = bisect_right(self.starts, offset)
        return self.lines[at - 1] if at else None

    def offset(self, line: int, column: int | None) -> int | None:
        """Where a line and a column are, both from 1; without one, where there is something on the line. None if there
        is no such line."""
        found = self.text.splitlines(keepends=True)
        if not 0 < line <= len(found):
            return None
        shown = found[line - 1]
        within = len(shown) - len(shown.lstrip()) if column is None else min(column - 1, len(shown))
        return sum(map(len, found[: line - 1])) + within

    def made_whole(self, offset: int) -> bool:
        """Whether what stands on a line of the artifact up to an offset stands in no template as text."""
        at = bisect_right(self.starts, offset)
        return not at or self.starts[at - 1] < self.text.rfind("\n", 0, offset) + 1

    def source(self, offset: int) -> str:
        """The line of the artifact at an offset."""
        start = self.text.rfind("\n", 0, offset) + 1
        return self.text[start:].partition("\n")[0].strip()


def traced(folder: str, template: str, variables: Mapping[str, Any], text: str) -> Traced | None:
    """An artifact, traced; None if it cannot be."""
    from jinja2.ext import Extension
    from jinja2.lexer import Token

    places: list[Line] = []

    class Marks(Extension):
        """Marks the pieces of text of each template that is loaded."""

        def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
            file = stream.filename or ""
            for token in stream:
                yield token if token.type != "data" else Token(token.lineno, "data", marked(token, file))

    def marked(token: Token, file: str) -> str:
        lines = token.value.split("\n")
        for i, line in enumerate(lines):
            if len(line.strip()) >= SHORT and FIRST + len(places) <= LAST:
                start = len(line) - len(line.lstrip()) + 1
                lines[i] = f"{line[:start]}{chr(FIRST + len(places))}{line[start:]}"
                places.append((file, token.lineno + i))
        return "\n".join(lines)

    try:
        found = environment_for(folder).overlay(extensions=[Marks]).get_template(template).render(variables)
    except Exception:  # a template can raise whatever the code that it calls can
        return None
    parts = re.split(f"([{chr(FIRST)}-{chr(LAST)}])", found)
    if "".join(parts[::2]) != text:
        return None
    starts, lines, at = [], [], len(parts[0])
    for sign, part in zip(parts[1::2], parts[2::2], strict=True):
        starts.append(max(at - 1, 0))
        lines.append(places[ord(sign) - FIRST])
        at += len(part)
    return Traced(text, tuple(starts), tuple(lines))


def blamed(words: str, artifacts: Mapping[str, Traced]) -> tuple[str, int] | None:
    """The artifact that somebody complains about, and the offset in it, as far as the words tell: they name a line, or
    quote what comes from one line of a template only."""
    for name, artifact in artifacts.items():
        at = re.search(rf"(?<![\w.-]){re.escape(name)}:(\d+)(?::(\d+))?", words)
        if at is None and len(artifacts) == 1:
            at = re.search(r"\bline (\d+)(?:, column (\d+))?", words)
        offset = artifact.offset(int(at[1]), int(at[2]) if at[2] else None) if at else None
        if offset is not None:
            return name, offset
    quoted = [q for some in re.findall(r"'([^']+)'|\"([^\"]+)\"|`([^`]+)`", words) for q in some if len(q) >= SHORT]
    for word in reversed(quoted):
        places = {
            artifact.line(m.start()): (name, m.start())
            for name, artifact in artifacts.items()
            for m in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", artifact.text)
        }
        if len(places) == 1:
            return next(iter(places.values()))
    return None
