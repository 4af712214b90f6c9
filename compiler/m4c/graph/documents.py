"""Reads texts that others wrote, YAML or JSON, into values that know where they stand.

Nothing in a text is run or built: tags and aliases are data. What is read lazily is counted, so that a small text whose
aliases stand for a huge value is refused instead of filling the memory.
"""

from __future__ import annotations

import codecs
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

MAX_BYTES = 32 * 1024 * 1024
MAX_VALUES = 1_000_000  # that are read of one text, or one a byte if that is more; what aliases repeat counts again
MAX_AMOUNT = 1e15
_TAG = "tag:yaml.org,2002:"
_PLAIN = frozenset(_TAG + t for t in ("null", "bool", "int", "float", "str", "timestamp", "value", "seq", "map"))
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True, slots=True)
class Input:
    """What is to be read: its name, as messages give it, and its bytes. `asked`: the user named it; it was not just
    found in a folder."""

    name: str
    data: bytes
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say about a place of an input; `line` counts from 1, 0 if it is not known."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.file else self.message

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Malformed(Exception):
    """A text or a value in it is not what its reader needs."""

    def __init__(self, file: str, line: int, message: str) -> None:
        super().__init__(message)
        self.remark = Remark(file, line, message)


def decode(name: str, data: bytes) -> str:
    """The text of some bytes: UTF-8, or what a byte order mark at the start says. `Malformed` if it is neither."""
    if len(data) > MAX_BYTES:
        raise Malformed(name, 0, f"larger than {MAX_BYTES // 2**20} MiB: not read")
    bom, encoding = next((m for m in _MARKS if data.startswith(m[0])), (b"", "utf-8"))
    try:
        return data[len(bom) :].decode(encoding)
    except UnicodeDecodeError as e:
        at = e.start + len(bom)
        line = data.count(b"\n", 0, at) + 1
        raise Malformed(name, line, f"not {encoding.upper()}: byte 0x{data[at]:02x} at offset {at}") from None


@dataclass(slots=True)
class Source:
    """What the values of one text share."""

    file: str
    text: str
    left: int = 0  # values that may still be read
    maps: dict[int, dict[str, Any]] = field(default_factory=dict)  # by YAML node, merge keys resolved

    def __post_init__(self) -> None:
        self.left = max(MAX_VALUES, len(self.text))


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A value in a text. `path` is how messages call it, as in `spec.ports[0].name`."""

    source: Source
    raw: Any
    line: int
    path: str

    @property
    def absent(self) -> bool:
        """Not there, or null."""
        return self.raw is None or (isinstance(self.raw, yaml.Node) and self.raw.tag == _TAG + "null")

    @property
    def is_map(self) -> bool:
        return isinstance(self.raw, dict | yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self.raw, list | yaml.SequenceNode)

    @property
    def is_text(self) -> bool:
        """A scalar that is there: a text, a number, true or false."""
        return not (self.is_map or self.is_list or self.absent)

    @property
    def place(self) -> str:
        return Remark(self.source.file, self.line, "").place

    def get(self, *keys: str) -> Value:
        """What stands below some keys; an absent value if one of them is not there."""
        value = self
        for key in keys:
            value._count(1)
            raw = value._pairs().get(key)
            path = f"{value.path}.{key}" if value.path else key
            value = Value(self.source, None, value.line, path) if raw is None else value._child(raw, path)
        return value

    def fields(self) -> Mapping[str, Value]:
        """The pairs of a map; none if it is absent."""
        pairs = self._pairs()
        self._count(len(pairs))
        return {k: self._child(raw, f"{self.path}.{k}" if self.path else k) for k, raw in pairs.items()}

    def items(self) -> Sequence[Value]:
        """The items of a list; none if it is absent."""
        if self.absent:
            return ()
        raw = self._plain()
        if isinstance(raw, yaml.SequenceNode):
            raw = raw.value
        if not isinstance(raw, list):
            raise self.wrong("a list")
        self._count(len(raw))
        return [self._child(item, f"{self.path}[{i}]") for i, item in enumerate(raw)]

    def text(self) -> str:
        """A scalar as it is written; empty if it is absent."""
        if self.absent:
            return ""
        raw = self._plain()
        if isinstance(raw, yaml.ScalarNode):
            return str(raw.value)
        if isinstance(raw, bool):
            return "true" if raw else "false"
        if isinstance(raw, str | int | float):
            return str(raw)
        raise self.wrong("a text")

    def flag(self) -> bool:
        """Whether it is true; absent is not."""
        return self.text().lower() in ("true", "yes", "on")

    def amount(self) -> float:
        """A number, 0 or more, of which many can be added up."""
        try:
            number = float(self.text())
        except ValueError:
            number = math.nan
        if not 0 <= number <= MAX_AMOUNT:
            raise self.wrong("a number, 0 or more")
        return number

    def wrong(self, expected: str) -> Malformed:
        """What to raise if this is not what is expected."""
        if self.absent:
            found = "is missing"
        else:
            found = f"is {'a map' if self.is_map else 'a list' if self.is_list else f'`{_short(self.text())}`'}"
        return self.malformed(f"`{self.path or 'the document'}` {found}; expected {expected}")

    def malformed(self, message: str) -> Malformed:
        return Malformed(self.source.file, self.line, message)

    def remark(self, message: str) -> Remark:
        return Remark(self.source.file, self.line, message)

    def _child(self, raw: Any, path: str) -> Value:
        return Value(self.source, raw, raw.start_mark.line + 1 if isinstance(raw, yaml.Node) else self.line, path)

    def _plain(self) -> Any:
        """What is behind the value; a tag that is more than plain data is refused."""
        if isinstance(self.raw, yaml.Node) and self.raw.tag not in _PLAIN:
            tag = self.raw.tag.replace(_TAG, "!!")
            raise self.malformed(
                f"`{self.path or 'the document'}` has the tag `{_short(tag)}`, which is not plain data"
            )
        return self.raw

    def _count(self, values: int) -> None:
        self.source.left -= values
        if self.source.left < 0:
            raise self.malformed("too many values, with what aliases repeat: not read")

    def _pairs(self) -> Mapping[str, Any]:
        if self.absent:
            return {}
        if isinstance(self.raw, dict):
            return self.raw
        if isinstance(self._plain(), yaml.MappingNode):
            return self._merged(self.raw, ())
        raise self.wrong("a map")

    def _merged(self, node: Any, above: tuple[int, ...]) -> Mapping[str, Any]:
        """The pairs of a YAML map, with those that `<<` merges into it."""
        if id(node) in self.source.maps:
            return self.source.maps[id(node)]
        if id(node) in above:
            raise self.malformed(f"`{self.path}` merges itself")
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Malformed(self.source.file, key.start_mark.line + 1, "a key is a list or a map; expected a text")
            if key.tag != _TAG + "merge":
                own[key.value] = value
                continue
            for part in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(part, yaml.MappingNode):
                    raise Malformed(self.source.file, key.start_mark.line + 1, "`<<` merges maps only")
                pairs = self._merged(part, (*above, id(node)))
                self._count(len(pairs))
                merged = {**pairs, **merged}
        found = self.source.maps[id(node)] = {**merged, **own}
        return found


def read(name: str, text: str) -> list[Value]:
    """The documents of a text, empty ones left out: one of JSON, any number of YAML. `Malformed` if it is neither."""
    source = Source(name, text)
    if text.lstrip()[:1] in ("{", "["):
        try:
            return [Value(source, json.loads(text), 0, "")]
        except RecursionError:
            raise Malformed(name, 0, "nested too deeply") from None
        except ValueError as e:
            wrong = e
        try:
            return list(_yaml(source))  # maps and lists of YAML may start like this too
        except Malformed:
            if not isinstance(wrong, json.JSONDecodeError):
                raise Malformed(name, 0, f"not valid JSON: {wrong}") from None
            message = f"not valid JSON: {wrong.msg} (column {wrong.colno})"
            raise Malformed(name, wrong.lineno, message) from None
    return list(_yaml(source))


def _yaml(source: Source) -> Iterator[Value]:
    name, text = source.file, source.text
    try:
        for root in yaml.compose_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            value = Value(source, root, root.start_mark.line + 1, "")
            if not value.absent:
                yield value
    except yaml.MarkedYAMLError as e:
        place = e.problem_mark or e.context_mark
        what = ": ".join(part for part in (e.context, e.problem) if part)
        line = min(place.line, text.count("\n")) + 1 if place else 0
        raise Malformed(name, line, f"not valid YAML: {what}") from None
    except yaml.reader.ReaderError as e:
        line = text.encode("utf-8", "replace")[: e.position].count(b"\n") + 1
        raise Malformed(name, line, f"not valid YAML: character #x{e.character:04x}, {e.reason}") from None
    except RecursionError:
        raise Malformed(name, 0, "nested too deeply") from None
    except (yaml.YAMLError, ValueError) as e:
        raise Malformed(name, 0, f"not valid YAML: {str(e).splitlines()[0]}") from None


def _short(text: str) -> str:
    """For messages: one line, not long."""
    text = " ".join(text.split())
    return text if len(text) <= 60 else f"{text[:57]}…"
