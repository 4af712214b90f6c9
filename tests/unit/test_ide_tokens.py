"""Semantic tokens: which name has which type, whatever the text."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types
from m4c.ide.tokens import tokens

from m4ls.features.semantic_tokens import LEGEND, difference, encoded
from m4ls.positions import ENCODINGS, Encoding, Lines

FILES = {
    "graph.yaml": "services:\n  web: {entry: true}\n  db: {labels: {kind: store}}\ncalls: [[web, db]]\n",
    "mesh.m4": (
        'mesh shop { graph "graph.yaml"; dataplanes gate; group inner = { web, db }; }\n'
        "spec gate { tier proxy; cost 1; supports HttpRequest { reads method; operation DropRequest; } }\n"
    ),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def shown(desk: Desk, text: str) -> list[str]:
    """Each token of a text, with its type and modifiers."""
    desk.put(text + "$0")
    return [
        " ".join((text[token.start : token.end], token.type, *token.modifiers))
        for token in tokens(desk.workspace, desk.here)
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("// only words\n", []),
        ("policy", []),
        (
            "policy stop (HttpRequest r) on web -> @inner -> db:v1 after first when r.method == \"GET\" {\n"
            "    let code = 404;\n    r.DropRequest(status: code);\n}",
            [
                "stop function declaration", "HttpRequest class defaultLibrary", "r parameter declaration",
                "web service", "inner group", "db service", "v1 version", "first function", "r parameter",
                "method property defaultLibrary", "code variable declaration readonly", "r parameter",
                "DropRequest method defaultLibrary", "status parameter", "code variable readonly",
            ],
        ),
        (
            "state Counter hits;\npolicy count (HttpRequest r) on [kind: store] { hits.Increment(); }",
            [
                "Counter class defaultLibrary", "hits variable declaration", "count function declaration",
                "HttpRequest class defaultLibrary", "r parameter declaration", "kind label", "store label readonly",
                "hits variable", "Increment method defaultLibrary",
            ],
        ),
        (
            "mesh shop { dataplanes gate; default HttpRequest.verdict = deny on * -> db; }",
            [
                "shop namespace declaration", "gate namespace", "HttpRequest class defaultLibrary",
                "verdict property defaultLibrary", "deny enumMember readonly", "db service",
            ],
        ),
        (
            'policy "é 😀" (HttpRequest r) on "db" { }',
            [
                '"é 😀" function declaration', "HttpRequest class defaultLibrary", "r parameter declaration",
                '"db" service',
            ],
        ),
        # within errors: what can be read is told
        ("policy stop (HttpRequest r) on web -> ", ["stop function declaration"]),
        (
            "policy stop (HttpRequest r) on * -> db { r.Drop( }\npolicy go (HttpRequest r) on db { }",
            [
                "stop function declaration", "HttpRequest class defaultLibrary", "r parameter declaration",
                "db service", "go function declaration", "HttpRequest class defaultLibrary",
                "r parameter declaration", "db service",
            ],
        ),
    ],
)  # fmt: skip
def test_names_have_types(desk: Desk, text: str, found: list[str]) -> None:
    assert shown(desk, text) == found


def test_a_part_of_a_file_has_the_tokens_in_it(desk: Desk) -> None:
    text = "".join(f"policy p{i} (HttpRequest r) on * -> db {{ r.DropRequest(); }}\n" for i in range(20))
    desk.put(text + "$0")
    everything = list(tokens(desk.workspace, desk.here))
    for start, end in (
        (0, 0),
        (0, len(text)),
        (100, 300),
        (text.index("p7"), text.index("p9")),
        (len(text), len(text)),
    ):
        part = list(tokens(desk.workspace, desk.here, start, end))
        assert part == [t for t in everything if start <= t.start <= end]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_places_are_in_the_units_of_the_client(desk: Desk, encoding: Encoding) -> None:
    text = '/* é 😀 */ policy "é😀" (HttpRequest r) on db {\r\n    /* 😀 */ r.DropRequest(); }\r\n'
    desk.put(text + "$0")
    found = list(tokens(desk.workspace, desk.here))
    data = encoded(found, Lines(text, encoding))
    line = character = 0
    said = []
    for i in range(0, len(data), 5):
        line, character = line + data[i], data[i + 1] + (0 if data[i] else character)
        start = Lines(text, encoding).offset(types.Position(line, character))
        end = Lines(text, encoding).offset(types.Position(line, character + data[i + 2]))
        said.append((start, end, LEGEND.token_types[data[i + 3]]))
    assert said == [(t.start, t.end, t.type) for t in found]
    assert text[found[0].start : found[0].end] == '"é😀"'


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_a_difference_makes_the_one_of_the_other(before: list[int], now: list[int]) -> None:
    after = list(before)
    for edit in difference(before, now):
        after[edit.start : edit.start + edit.delete_count] = edit.data or []
    assert after == now
    assert bool(difference(before, now)) == (before != now)
