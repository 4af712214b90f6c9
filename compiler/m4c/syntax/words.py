"""Names and texts as M4 writes them: plain where the grammar takes them so, else between quotes."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_NAME = re.compile(r"[A-Za-z_]\w*", re.A)
# In the grammar, a token that is no single word.
_EXPRESSION = re.compile(r'^[A-Z]+(?:\.[0-9]+)?: (?!"\w+"$).*', re.M)
_SERVICE = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?", re.A)


def quoted(text: str) -> str:
    """A text as a string literal that means it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@cache
def _keywords() -> frozenset[str]:
    """The words that the rules of the grammar hold; lark knows them too, but takes its time to read it."""
    text = files(__package__).joinpath("grammar.lark").read_text("utf-8")
    return frozenset(re.findall(r'"(\w+)"', _EXPRESSION.sub("", text)))


def reserved(word: str) -> bool:
    """Whether a word is a keyword anywhere in the grammar."""
    return word in _keywords()


def name(text: str) -> str:
    """The name of a policy, a group, an operation, … ."""
    return text if _NAME.fullmatch(text) and not reserved(text) else quoted(text)


def service(text: str) -> str:
    """The name of a service or a version."""
    plain = _SERVICE.fullmatch(text) and "->" not in text and not reserved(text)
    return text if plain else quoted(text)
