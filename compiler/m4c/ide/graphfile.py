"""Completion and hover in a graph file, by the lines around the cursor: while it is written it is often no YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from m4c.ide.scene import Proposal
from m4c.ide.symbols import meshes_of_graph
from m4c.semantics.model import DEFAULT_PROTOCOL
from m4c.workspace import Workspace

SECTIONS = {
    "services": "The services, each with what is known of it: `cart: {versions: [v1, v2]}`.",
    "calls": "Who calls whom: a list of `[caller, callee]` or `{from: caller, to: callee, rps: 10}`.",
}
KEYS = {
    "versions": "The versions of the service that run side by side, as in `[v1, v2]`.",
    "labels": "What patterns select it by, as in `{kind: store}` for `[kind: store]`.",
    "protocol": f"What it speaks, `{DEFAULT_PROTOCOL}` if it does not say: what does not speak it lets it pass by.",
    "entry": "Outside traffic comes in here; `trusted` if what is in front of it strips our context header.",
    "origin": "`false`: it never starts a chain of requests by itself.",
    "propagates": "`false`: it does not hand the context on.",
    "external": "`true`: it is outside of the mesh, and nothing of ours runs beside it.",
    "rps": "Requests a second that come from outside: what elements cost can depend on it.",
}
CALL_KEYS = {
    "from": "The caller.",
    "to": "The callee.",
    "rps": "Requests a second: what elements cost can depend on it.",
}
_FLAGS = ("entry", "origin", "propagates", "external")
_SECTION = re.compile(r"^(\w+)[ \t]*:", re.M)
_NAME = r"""(?:"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[\w.-]+)"""
_CALL = re.compile(rf"[\[{{][ \t]*(?:from[ \t]*:[ \t]*)?({_NAME})[ \t]*,[ \t]*(?:to[ \t]*:[ \t]*)?({_NAME})")
_VALUE = re.compile(r"(\w+)[ \t]*:[ \t]+$")
_WORD = re.compile(r"[\w.-]*\Z")


class GraphCursor:
    """A place in the text of a graph."""

    def __init__(self, text: str, offset: int) -> None:
        word = _WORD.search(text, 0, offset)
        self.start = word.start() if word is not None else offset
        self.text = text
        self.line_start = text.rfind("\n", 0, self.start) + 1
        self.line = text[self.line_start : self.start]

    @cached_property
    def section(self) -> str:
        """The key at the left margin that the cursor is below; empty at the margin itself."""
        if not self.line[:1].isspace() and not self.line.startswith("-"):
            return ""
        found = [m[1] for m in _SECTION.finditer(self.text, 0, self.line_start)]
        return found[-1] if found else ""

    @cached_property
    def services(self) -> dict[str, None]:
        """The names below `services:`, at the first column that one stands at."""
        found: dict[str, None] = {}
        section, column = "", None
        for line in self.text.split("\n"):
            heading = _SECTION.match(line)
            section = heading[1] if heading is not None else section
            name = re.match(rf"([ \t]+)({_NAME})[ \t]*:", line)
            if section == "services" and name is not None and column in (None, len(name[1])):
                column = len(name[1])
                found[name[2].strip("\"'")] = None
        return found

    @cached_property
    def column(self) -> int | None:
        """Where the names of services stand."""
        names = "|".join(map(re.escape, self.services))
        found = re.search(rf"^([ \t]+)[\"']?(?:{names})[\"']?[ \t]*:", self.text, re.M) if names else None
        return len(found[1]) if found is not None else None

    @cached_property
    def calls(self) -> set[tuple[str, str]]:
        return {(a.strip("\"'"), b.strip("\"'")) for a, b in _CALL.findall(self.text)}

    def key(self) -> str:
        """The key whose value the cursor is at; empty at a key."""
        found = _VALUE.search(self.line)
        return found[1] if found is not None else ""


def is_graph(workspace: Workspace, file: str) -> bool:
    return not file.endswith(".m4") and bool(meshes_of_graph(workspace.db, file))


def graph_proposals(cursor: GraphCursor, protocols: Mapping[str, Sequence[str]]) -> Iterator[Proposal]:
    """What may stand at a place. `protocols`: those that are known, each with the dataplanes that speak it."""
    match cursor.section:
        case "" if not cursor.line:
            given = set(_SECTION.findall(cursor.text))
            yield from _keys({k: doc for k, doc in SECTIONS.items() if k not in given})
        case "services":
            yield from _of_service(cursor, protocols)
        case "calls":
            yield from _of_call(cursor)


def _keys(keys: dict[str, str]) -> Iterator[Proposal]:
    for rank, (key, doc) in enumerate(keys.items()):
        yield Proposal(key, "label", "", doc, insert=f"{key}: ", rank=rank)


def _of_service(cursor: GraphCursor, protocols: Mapping[str, Sequence[str]]) -> Iterator[Proposal]:
    key, line = cursor.key(), cursor.line
    if key == "protocol":
        for name, speaking in protocols.items():
            yield Proposal(name, "constant", f"spoken by {', '.join(speaking)}" if speaking else "")
    elif key:
        values = ("true", "false", *(("trusted",) if key == "entry" else ())) if key in _FLAGS else ()
        yield from (Proposal(v, "enum value") for v in values)
    elif line.count("{") == line.count("}") + 1 and line.count("[") == line.count("]"):
        yield from _keys({k: doc for k, doc in KEYS.items() if f"{k}:" not in line})
    elif not line.strip() and cursor.column is not None and len(line) > cursor.column:
        yield from _keys(KEYS)


def _of_call(cursor: GraphCursor) -> Iterator[Proposal]:
    opened = re.search(r"(\[|\{)([^\[\]{}]*)$", cursor.line)
    if opened is None:
        return
    key, before = cursor.key(), opened[2]
    if opened[1] == "{" and key not in ("from", "to"):
        yield from _keys({k: doc for k, doc in CALL_KEYS.items() if f"{k}:" not in before}) if not key else iter(())
        return
    caller = re.search(rf"({_NAME})[ \t]*,", before.replace("from:", ""))
    first = key == "from" or (opened[1] == "[" and "," not in before)
    known = {b for a, b in cursor.calls if caller is not None and a == caller[1].strip("\"'")}
    for name in cursor.services:
        called = not first and (name in known or (caller is not None and name == caller[1].strip("\"'")))
        yield Proposal(name, "service", "called already" if called else "", rank=int(called))


def graph_key_at(text: str, offset: int) -> tuple[str, int, int] | None:
    """What a key at an offset means, and its span; None if there is none."""
    for found in re.finditer(r"(?<![\w.-])(\w+)(?=[ \t]*:(?:\s|$))", text):
        if found.start() <= offset <= found.end():
            cursor = GraphCursor(text, found.start())
            known = {"": SECTIONS, "services": KEYS, "calls": CALL_KEYS}.get(cursor.section, {})
            is_name = cursor.section == "services" and cursor.column == len(cursor.line)
            doc = None if is_name else known.get(found[1])
            return (f"`{found[1]}`\n\n{doc}", found.start(), found.end()) if doc is not None else None
    return None
