"""A service of the graph as a value: the editor completes it and knows what it stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from m4c.ide.complete import complete
from m4c.ide.definition import definition
from m4c.ide.hover import hover
from m4c.ide.symbols import everywhere, symbol_at
from m4c.workspace import Workspace

SPEC = """\
spec tap {
    tier proxy;
    cost 1;
    supports HttpRequest {
        attribute tapped[by: service]: percent;
        operation Tap(by: service, share: percent = 100%) writes tapped[by] = share emits "tap.j2";
        operation Watch(services: set<service>) emits "tap.j2";
    }
}
"""
GRAPH = """\
services: {web: {entry: true}, store: {}, store-shadow: {versions: [v1]}, audit: {}}
calls: [[web, store]]
"""
MESH = 'mesh shop { graph "graph.yaml"; dataplanes tap; }\n'
POLICY = "policy shadow (HttpRequest r) on web -> store { %s }\n"


def opened(folder: Path, body: str) -> tuple[Workspace, str, int]:
    """A workspace, its file, and where `|` stands in the body of the policy."""
    text = MESH + POLICY % body
    at = text.index("|")
    (folder / "tap.m4").write_text(SPEC)
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text(text.replace("|", "", 1))
    return Workspace([folder]), (folder / "shop.m4").as_posix(), at


def proposed(folder: Path, body: str) -> dict[str, str]:
    """The services that are proposed, each with the text that it inserts."""
    ws, file, at = opened(folder, body)
    return {i.proposal.label: i.proposal.text for i in complete(ws, file, at).items if i.proposal.kind == "service"}


@pytest.mark.parametrize("body", ["r.Tap(|", "r.Tap(share: 5%, by: |", "r.Tap(|);"])
def test_arguments_are_completed(tmp_path: Path, body: str) -> None:
    wanted = {"web": "web", "store": "store", "store-shadow": '"store-shadow"', "audit": "audit"}
    assert proposed(tmp_path, body) == wanted, "a name that an expression could not read is quoted"


def test_within_quotes_the_quotes_stay(tmp_path: Path) -> None:
    assert proposed(tmp_path, 'r.Tap("|')["store-shadow"] == "store-shadow"


def test_keys_are_completed(tmp_path: Path) -> None:
    text = 'if (r.tapped["|"] > 5%) { r.Tap(audit); }'
    assert set(proposed(tmp_path, text)) == {"web", "store", "store-shadow", "audit"}


@pytest.mark.parametrize("body", ["r.Tap(au|dit);", 'r.Tap("au|dit");', "r.Watch([store, au|dit]);"])
def test_a_value_stands_for_the_service(tmp_path: Path, body: str) -> None:
    ws, file, at = opened(tmp_path, body)
    found = symbol_at(ws, file, at)
    assert found is not None
    assert (found.symbol.kind, found.symbol.name) == ("service", "audit")
    assert {Path(f.file).name for f in everywhere(ws, found.symbol)} == {"shop.m4", "graph.yaml"}
    assert [Path(d.file).name for d in definition(ws, file, at)] == ["graph.yaml"]
    page = hover(ws, file, at)
    assert page is not None
    assert "service `audit`" in page.text
