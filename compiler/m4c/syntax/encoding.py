"""The items of a file with their trees as bytes, and back.

They are JSON: whatever the bytes are, reading them runs no code and cannot harm the interpreter; at worst it raises.
A node is a list of the number of its class and its fields, a tuple one of 0 and its parts. Numbers and fields are as
this version of the sources has them, so bytes are for the version that wrote them alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from operator import attrgetter
from typing import Any

from m4c.syntax import tree as t
from m4c.syntax.items import Item
from m4c.syntax.literals import SyntaxProblem
from m4c.syntax.parser import ParsedItem, known, remember

Parsed = tuple[tuple[Item, ParsedItem], ...]

_NODES = (*(c for _, c in sorted(vars(t).items()) if isinstance(c, type) and is_dataclass(c)), SyntaxProblem)
_PLAIN = frozenset(("str", "int", "bool", "str | None", "int | None", "LiteralKind"))  # types that JSON has too
# For each class, its number, what takes its fields, and which of the list's places may hold nodes or tuples.
_FIELDS: dict[type, tuple[int, Callable[[Any], tuple[Any, ...]], tuple[int, ...]]] = {
    node: (
        number,
        attrgetter(*(f.name for f in fields(node))),
        tuple(i for i, f in enumerate(fields(node), 1) if f.type not in _PLAIN),
    )
    for number, node in enumerate(_NODES, 1)
}
_MAKE: list[tuple[Any, tuple[int, ...]]] = [(None, ()), *((node, _FIELDS[node][2]) for node in _NODES)]


def encode(parsed: Iterable[tuple[Item, ParsedItem]]) -> bytes:
    """The bytes for the items of a file; their texts are not in them."""
    rows = [(i.kind, i.start, i.end, _listed(p.decl), _listed(p.problems), p.whole) for i, p in parsed]
    return json.dumps(rows, separators=(",", ":")).encode("ascii")


def decode(data: bytes, text: str) -> Parsed:
    """The items of the file with that text. Raises ValueError if the bytes are none of `encode`."""
    out = []
    try:
        for kind, start, end, decl, problems, whole in json.loads(data):
            item = Item(kind, text[start:end], start)
            parsed = known(item.text)
            if parsed is None:
                parsed = remember(item.text, ParsedItem(_built(decl), _built(problems), whole))
            out.append((item, parsed))
    except (TypeError, LookupError, RecursionError) as e:
        raise ValueError(f"these are no items: {e}") from e
    return tuple(out)


def _listed(value: Any) -> Any:
    if value.__class__ is tuple:
        return [0, *map(_listed, value)]
    found = _FIELDS.get(value.__class__)
    if found is None:
        return value
    number, take, deep = found
    out = [number, *take(value)]
    for i in deep:
        out[i] = _listed(out[i])
    return out


def _built(value: list[Any]) -> Any:
    make, deep = _MAKE[value[0]]
    if make is None:
        return tuple([_built(v) if v.__class__ is list else v for v in value[1:]])
    for i in deep:
        part = value[i]
        if part.__class__ is list:
            value[i] = _built(part) if len(part) > 1 else ()
    return make(*value[1:])
