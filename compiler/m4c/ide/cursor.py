"""What stands before the cursor, as the grammar sees it, also in a text that does not parse.

The text from the start of the item up to the word under the cursor is fed to lark's interactive parser. Its stack is
what was read so far (whole constructs as trees, open ones as tokens), and it says which terminals may come next. A
mistake further up is mended by a token put in or a statement blanked, for only the stack matters, not its offsets.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from lark import Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from m4c import project
from m4c.syntax.items import KEYWORDS, TOKEN
from m4c.syntax.literals import unescape
from m4c.syntax.parser import grammar
from m4c.workspace import Workspace

Piece: TypeAlias = "Token | Tree[Token]"

MAX_MENDS = 16  # mistakes before the cursor that are stepped over
MAX_PREFIX = 200_000  # characters of an item that are looked at
_SERVICE_WORD = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.]|-(?!>))*)?\Z")
_NAME_WORD = re.compile(r"\w*\Z", re.A)
_ITEM_START = re.compile(rf"^(?:{'|'.join(KEYWORDS)})\b", re.M)
_SYMBOLS = {"->": "ARROW", "&&": "AND", "||": "OR", "@": "ATSIGN"}  # lark numbers the terminals of these


@dataclass(frozen=True, slots=True)
class Cursor:
    """A cursor in code. `word` is what was typed of the word at hand; inside a string it is the string so far. `item`:
    where the declaration around it begins."""

    file: str
    offset: int
    pieces: tuple[Piece, ...]
    accepts: frozenset[str]
    word: str
    word_start: int
    quoted: bool
    item: int

    @property
    def shape(self) -> str:
        """The kinds of the pieces, each followed by a space: "POLICY name LPAR "."""
        return "".join(f"{kind_of(p)} " for p in self.pieces)


@cache
def keywords() -> dict[str, str]:
    """The terminals that are words or signs, by their name in the grammar."""
    return {p.name: p.pattern.value for p in grammar().terminals if p.pattern.type == "str"}


def kind_of(piece: Piece) -> str:
    """The rule of a tree or the terminal of a token."""
    if isinstance(piece, Token):
        return _SYMBOLS.get(keywords().get(piece.type, ""), piece.type)
    return str(piece.data)


def text_of(piece: Piece) -> str:
    """The text of a name, a service or a string, unquoted; empty for anything else."""
    while isinstance(piece, Tree):
        if len(piece.children) < 1 or piece.children[0] is None:
            return ""
        piece = piece.children[0]
    return unescape(piece) if piece.startswith('"') else str(piece)


def item_start(workspace: Workspace, file: str, offset: int) -> int:
    """Where the item begins in which an offset lies: an item that does not end may have swallowed the next."""
    text = workspace.text(file)
    start = 0
    for item in project.items(workspace.db, file):
        if item.start >= offset:
            break
        start = item.end if item.end <= offset and _complete(item.text) else item.start
    code = _without_comments(text[start:offset])
    later = list(_ITEM_START.finditer(code))
    if later and later[-1].start() > 0 and _is_head(code, later[-1].start()):
        return start + later[-1].start()
    return start


def _complete(item: str) -> bool:
    """Whether an item has its closing brace or semicolon."""
    depth = 0
    last = ""
    for m in TOKEN.finditer(item):
        if m.lastgroup != "comment":
            last = m[0]
            depth += {"{": 1, "}": -1}.get(last, 0)
    return depth <= 0 and last in (";", "}")


def _is_head(code: str, at: int) -> bool:
    """Whether a keyword at the start of a line begins an item: not `state entity`'s or a spec's own members."""
    if not code.startswith(("entity", "enum"), at):
        return True
    return code.count("{", 0, at) == code.count("}", 0, at)


def _without_comments(code: str) -> str:
    """The code with comments and strings blanked; no offset moves."""
    return TOKEN.sub(lambda m: re.sub(r"[^\n]", " ", m[0]) if m.lastgroup in ("comment", "string") else m[0], code)


def cursor_at(workspace: Workspace, file: str, offset: int) -> Cursor | None:
    """The cursor at an offset; None within a comment or a regular expression."""
    text = workspace.text(file)
    offset = max(0, min(offset, len(text)))
    start = max(item_start(workspace, file, offset), offset - MAX_PREFIX)
    prefix = text[start:offset]
    opened = _unclosed(prefix)
    if opened is not None:
        kind, at = opened
        if kind == "comment" or prefix[at] != '"':
            return None
        pieces, accepts = read(prefix[:at])
        return Cursor(file, offset, pieces, accepts, prefix[at + 1 :], start + at + 1, True, start)
    for pattern in (_SERVICE_WORD, _NAME_WORD):
        found = pattern.search(prefix)
        at = found.start() if found else len(prefix)
        pieces, accepts = read(prefix[:at])
        if pattern is _NAME_WORD or "SERVICE" in accepts:
            break
    return Cursor(file, offset, pieces, accepts, prefix[at:], start + at, False, start)


def _unclosed(prefix: str) -> tuple[str, int] | None:
    """The comment or string that is still open at the end: its kind and where it begins."""
    last = next(iter(deque(TOKEN.finditer(prefix), maxlen=1)), None)
    if last is None or last.end() < len(prefix):
        return None
    text = last[0]
    if last.lastgroup == "comment":
        return None if text.startswith("/*") and len(text) > 3 and text.endswith("*/") else ("comment", last.start())
    if last.lastgroup == "string":
        body = text[text.index('"') + 1 :]
        return None if re.fullmatch(r'(?:[^"\\]|\\.)*"', body) else ("string", last.start())
    return None


def read(prefix: str) -> tuple[tuple[Piece, ...], frozenset[str]]:
    """The parser's stack after a text, and what it accepts next; mistakes in the text are stepped over."""
    tried: set[str] = set()
    for _ in range(MAX_MENDS):
        pieces, accepts, error = _feed(prefix)
        if error is None:
            return pieces, accepts
        tried.add(prefix)
        mended = next((m for m in _mends(prefix, error, accepts) if m not in tried), None)
        if mended is None:
            break
        prefix = mended
    return (), frozenset()


def _feed(prefix: str) -> tuple[tuple[Piece, ...], frozenset[str], int | None]:
    """The stack, what may come next, and where the first mistake is, if there is one."""
    parser = grammar().parse_interactive(prefix)
    error: int | None = None
    try:
        parser.exhaust_lexer()
    except UnexpectedInput as e:
        error = _position(e, prefix)
    accepts: set[str] = parser.accepts()  # type: ignore[no-untyped-call]  # lark does not annotate it
    return tuple(_flat(parser.parser_state.value_stack)), frozenset(accepts), error


def _flat(values: list[Piece]) -> Iterator[Piece]:
    """The pieces of a stack; lists that lark builds for repetitions are their elements."""
    for value in values:
        if isinstance(value, Tree) and str(value.data).startswith("__"):
            yield from _flat([c for c in value.children if c is not None])
        else:
            yield value


def _position(error: UnexpectedInput, prefix: str) -> int:
    if isinstance(error, UnexpectedToken):
        return len(prefix) if error.token.type == "$END" else error.token.start_pos or 0
    return int(error.pos_in_stream or 0) if isinstance(error, UnexpectedCharacters) else 0


def _mends(prefix: str, at: int, accepts: frozenset[str]) -> Iterator[str]:
    """Texts that may be readable further than the one with a mistake at `at`, the most likely one first."""
    for terminal, missing in (("SEMICOLON", " ; "), ("SERVICE", " _ "), ("NAME", " _ ")):
        if terminal in accepts:
            mended = prefix[:at] + missing + prefix[at:]
            again = _feed(mended)[2]
            if again is None or again > at + len(missing):
                yield mended
    bounds = [m.end() for m in TOKEN.finditer(prefix) if m.lastgroup == "punct"]
    before = max((b for b in bounds if b <= at), default=None)
    after = next((b for b in bounds if b > at), None)
    if before is not None and after is not None and prefix[after - 1] == ";":
        yield prefix[:before] + " " + prefix[after:]
    if before is not None and (line := prefix.find("\n", at)) >= 0:
        yield prefix[:before] + " " + prefix[line:]
    token = TOKEN.match(prefix, at)
    if token is not None and token.end() < len(prefix):
        yield prefix[:at] + prefix[token.end() :]
