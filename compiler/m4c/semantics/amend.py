"""Constants that do not fit, and what their authors most likely meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from m4c.semantics.model import Enum, Type
from m4c.semantics.problems import nearest
from m4c.syntax import tree as t
from m4c.syntax import words

TEXT_TYPES = ("string", "istring", "version", "service")
WHOLE = 10000  # 100%, in hundredths of a percent
MANY = 4  # shares, from which on nobody is offered each of them by itself
_WRITTEN = {
    "int": re.compile(r"-?\d{1,18}"),
    "bool": re.compile(r"true|false"),
    "duration": re.compile(r"\d+(?:\.\d+)?(?:ns|us|ms|s|m|h)"),
    "percent": re.compile(r"\d+(?:\.\d+)?%"),
    "rate": re.compile(r"\d+/(?:s|m|h)"),
}


@dataclass(frozen=True, slots=True)
class Change:
    """A fix within one declaration: texts instead of spans of its text. The flags are those of `Fix`."""

    title: str
    edits: tuple[tuple[int, int, str], ...]
    preferred: bool = False
    by_hand: bool = False


def _to(node: t.Expr | t.Name, text: str, by_hand: bool = False) -> Change:
    return Change(f"Change to `{text}`", ((node.start, node.end, text),), by_hand=by_hand)


def as_type(node: t.Expr | t.Name, type_: Type, enums: Mapping[str, Enum]) -> tuple[Change, ...]:
    """What a constant of another kind may have been meant to be: a missing unit, quotes that lack or are too many."""
    if isinstance(node, t.Ref) and not node.accessors:
        node = node.root
    enum = enums.get(type_.name)
    match node:
        case t.Name(text=text) if type_.name in TEXT_TYPES:
            return (_to(node, words.quoted(text)),)
        case t.Name(text=text) if enum is not None:
            near = nearest(text, enum.values)
            return (_to(node, words.name(near)),) if near is not None else ()
        case t.Lit(kind="int", value=int(value)):
            return _number(node, value, type_)
        case t.Lit(kind="bool", value=value) if type_.name in TEXT_TYPES:
            return (_to(node, words.quoted("true" if value else "false")),)
        case t.Lit(kind="string", value=str(text)) if enum is not None:
            return (_to(node, words.name(text)),) if text in enum.values else ()
        case t.Lit(kind="string", value=str(text)) if type_.name in _WRITTEN:
            return (_to(node, text),) if _WRITTEN[type_.name].fullmatch(text) else ()
        case t.Lit(kind="string", value=str(text)) if type_.name == "set" and type_.args[0].name in TEXT_TYPES:
            return (_to(node, f"[{words.quoted(text)}]"),)
    return ()


def _number(node: t.Lit, value: int, type_: Type) -> tuple[Change, ...]:
    match type_.name:
        case "percent" if 0 <= value <= 100:
            return (_to(node, f"{value}%"),)
        case "duration" if value >= 0:
            return (_to(node, f"{value}s", by_hand=True), _to(node, f"{value}ms", by_hand=True))
        case "rate" if value >= 0:
            return (_to(node, f"{value}/s", by_hand=True),)
        case name if name in TEXT_TYPES:
            return (_to(node, words.quoted(str(value))),)
    return ()


def as_shares(pairs: Sequence[tuple[t.Name, t.Expr]]) -> tuple[Change, ...]:
    """Plain numbers in the place of percentages, all at once."""
    numbers = [v for _, v in pairs if isinstance(v, t.Lit) and v.kind == "int"]
    if not numbers or any(not isinstance(n.value, int) or not 0 <= n.value <= 100 for n in numbers):
        return ()
    return (Change("Write the shares as percentages", tuple((n.end, n.end, "%") for n in numbers)),)


def to_whole(pairs: Sequence[tuple[t.Name, t.Expr]], shares: Mapping[str, int]) -> tuple[Change, ...]:
    """Shares that do not sum to 100%: in the same proportion, if that comes out even; or the difference for one."""
    total = sum(shares.values())
    nodes = [(name.text, node) for name, node in pairs]
    if any(not isinstance(node, t.Lit) for _, node in nodes):
        return ()  # a constant of a `let`, which may be used elsewhere too

    def change(title: str, new: Mapping[str, int], preferred: bool = False) -> Change:
        edits = [(n.start, n.end, percent(new[k])) for k, n in nodes if new[k] != shares[k]]
        return Change(title, tuple(edits), preferred)

    out: list[Change] = []
    if all(shares.values()) and all(share * WHOLE % total == 0 for share in shares.values()):
        scaled = {name: share * WHOLE // total for name, share in shares.items()}
        out.append(change("Scale the shares to 100%", scaled, preferred=True))
    elif total and len(set(shares.values())) == 1:
        each, rest = divmod(WHOLE, len(shares))
        even = {name: each + (i < rest) for i, name in enumerate(shares)}
        out.append(change("Share 100% evenly", even, preferred=True))
    missing = WHOLE - total
    empty = [name for name, share in shares.items() if not share]
    for name in shares if len(shares) <= MANY else empty if len(empty) == 1 else ():
        if shares[name] + missing < 0:
            continue
        by = percent(abs(missing))
        title = f"Give `{name}` the remaining {by}" if missing > 0 else f"Lower `{name}` by the surplus of {by}"
        sure = empty == [name] and missing > 0
        out.append(change(title, {**shares, name: shares[name] + missing}, preferred=sure))
    return tuple(out)


def percent(hundredths: int) -> str:
    """A percentage as M4 writes it."""
    whole, part = divmod(hundredths, 100)
    return f"{whole}{f'.{part:02}'.rstrip('0') if part else ''}%"
