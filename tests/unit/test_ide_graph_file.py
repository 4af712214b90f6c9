"""Completion and hover in a graph file, also in one that is no YAML yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from m4c.graph.load import KEYS
from m4c.ide import graphfile
from m4c.ide.complete import complete
from m4c.ide.hover import hover
from m4c.workspace import Workspace

SERVICES = 'services:\n  web: {entry: true}\n  cart: {}\n  "my db": {}\n'


class Graph:
    """A workspace whose graph has a cursor."""

    def __init__(self, folder: Path, text: str) -> None:
        (folder / "mesh.m4").write_text('mesh shop { graph "graph.yaml"; dataplanes envoy; }\n')
        (folder / "graph.yaml").write_text("services: {}\n")
        self.workspace, self.file = Workspace([folder]), (folder / "graph.yaml").as_posix()
        self.at = text.index("$0")
        self.workspace.set_text(self.file, text.replace("$0", ""))

    def labels(self) -> list[str]:
        return [c.proposal.label for c in complete(self.workspace, self.file, self.at).items]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("$0", ["services", "calls"]),
        (f"{SERVICES}$0", ["calls"]),
        (f"{SERVICES}ca$0", ["calls"]),
        ("services:\n  web: {$0", list(graphfile.KEYS)),
        ("services:\n  web: {entry: true, or$0}\n", ["origin"]),
        ("services:\n  web: {entry: $0}\n", ["false", "true", "trusted"]),
        ("services:\n  web: {origin: $0\n", ["false", "true"]),
        ("services:\n  web: {protocol: gr$0\n", ["grpc", "grpc-web"]),
        ("services:\n  web:\n    protocol: redi$0\n", ["redis"]),
        ("services:\n  web:\n    ext$0\n", ["external"]),
        ("services:\n  web: {versions: [$0]}\n", []),
        ("services:\n  $0", []),  # a name that is made up
        (f"{SERVICES}calls:\n  - [$0", ["cart", "my db", "web"]),
        (f"{SERVICES}calls:\n  - [web, cart]\n  - [web, $0]\n", ["my db", "cart", "web"]),
        (f"{SERVICES}calls:\n  - {{$0}}\n", ["from", "to", "rps"]),
        (f"{SERVICES}calls:\n  - {{from: c$0", ["cart"]),
        (f"{SERVICES}calls:\n  - {{from: cart, to: $0}}\n", ["my db", "web", "cart"]),
        (f"{SERVICES}calls:\n  - {{from: cart, to: web, $0}}\n", ["rps"]),
        (f"{SERVICES}calls:\n  - $0", []),
        ("// $0", []),
    ],
)
def test_what_is_proposed(tmp_path: Path, text: str, labels: list[str]) -> None:
    assert Graph(tmp_path, text).labels() == labels


def test_all_keys_are_explained() -> None:
    assert set(graphfile.KEYS) == set(KEYS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("serv$0ices:\n  web: {}\n", "The services, each"),
        ("services:\n  web: {ori$0gin: false}\n", "never starts a chain"),
        ("services:\n  web:\n    entry$0: true\n", "Outside traffic comes in"),
        (f"{SERVICES}calls:\n  - {{fr$0om: web, to: cart}}\n", "The caller."),
        (f"{SERVICES}calls:\n  - {{from: we$0b, to: cart}}\n", "web"),
        ("services:\n  origin$0: {}\n", "origin"),  # a service that is named so
    ],
)
def test_what_a_key_means(tmp_path: Path, text: str, said: str) -> None:
    graph = Graph(tmp_path, text)
    found = hover(graph.workspace, graph.file, graph.at)
    assert found is not None and said in found.text
    assert ("never starts" in found.text) == ("ori$0gin: false" in text)


@pytest.mark.parametrize("text", ["$0", "services:\n  web: {entry: tr$0ue}\n", "what$0: 1\n", "services: [$0\n"])
def test_where_nothing_is_said(tmp_path: Path, text: str) -> None:
    graph = Graph(tmp_path, text)
    assert hover(graph.workspace, graph.file, graph.at) is None
