"""Hover over what travels: who writes it and who asks for it, on which hops, and along which it goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cursors import Desk
from m4c import project
from m4c.ide import marks
from m4c.ide.marks import life
from m4c.paths.callpath import CallPath, Hop, callees
from m4c.paths.pattern import accepts, compile_pattern
from m4c.semantics.model import Graph

FILES = {
    "graph.yaml": (
        "services:\n  web: {entry: true, origin: false}\n  nightly: {}\n  cart: {origin: false}\n"
        "  db: {origin: false}\n  side: {origin: false}\n  beta: {origin: false, versions: [v1, v2]}\n"
        "calls: [[web, cart], [nightly, cart], [cart, db], [web, side], [cart, beta], [db, cart], [side, side]]\n"
    ),
    "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes ebpf, envoy; }\n',
}
LABEL = 'policy label (HttpRequest r) on {} {{ r.Mark("be$0ta"); }}\n'
ASK = 'policy ask (HttpRequest r) on {} when r.mark["beta"] {{ r.DropRequest(); }}\n'


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


@pytest.mark.parametrize(
    ("writes", "asks", "lines"),
    [
        (
            "outside -> web",
            "* -> beta",
            [
                "Written by `label` on `outside -> web`.",
                "Read by `ask` on `cart -> beta`.",
                "It goes along `web -> cart`, `cart -> beta`, `cart -> db`, `db -> cart`.",
            ],
        ),
        ("nightly -> cart", "* -> db", ["It goes along `cart -> db`, `db -> cart`."]),
        ("* -> db", "* -> side", ["Read by `ask`.", "No chain of requests leads from a hop where it is written"]),
        ("? -> ?", "nightly -> cart", ["No chain of requests leads"]),  # what starts by itself has nothing yet
    ],
)  # fmt: skip
def test_where_a_mark_lives(desk: Desk, writes: str, asks: str, lines: list[str]) -> None:
    found = desk.hover(LABEL.format(writes) + ASK.format(asks))
    assert 'mark["beta"]: bool travels' in found
    assert [line for line in lines if line not in found] == [], found


def test_what_nobody_writes_or_asks_for_is_told(desk: Desk) -> None:
    assert "Written by `label`, and asked for by no policy." in desk.hover(LABEL.format("* -> db"))
    asked = desk.hover(ASK.format("* -> db").replace('"beta"', '"be$0ta"'))
    assert "Read by `ask`, and written by no policy." in asked


def test_an_attribute_that_travels_tells_its_keys(desk: Desk) -> None:
    text = LABEL.format("* -> db").replace("$0", "") + ASK.format("* -> db").replace("r.mark", "r.ma$0rk")
    assert "Named in the workspace: `beta`." in desk.hover(text)


def test_a_graph_that_is_too_large_is_said_to_be(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MOST_NODES", 2)
    found = desk.hover(LABEL.format("outside -> web") + ASK.format("* -> beta"))
    assert "The graph is too large" in found and "It goes along" not in found


PATTERNS = (
    *("outside -> web", "* -> cart", "nightly -> * -> db", "* -> (cart | side) -> ?", "web -> (!db)* -> beta"),
    *("* -> beta:v1", "* -> side", "?"),
)


@pytest.mark.parametrize("writes", PATTERNS)
@pytest.mark.parametrize("asks", PATTERNS)
def test_it_goes_along_the_hops_of_call_paths_between(desk: Desk, writes: str, asks: str) -> None:
    """As looking at every call path of some length one by one finds it."""
    desk.put(LABEL.format(writes) + ASK.format(asks))
    program = project.program(desk.workspace.db, "shop")
    assert program is not None
    writer, reader = (next(p for p in program.policies if p.name == name) for name in ("label", "ask"))
    found = life(desk.workspace.db, "shop", [writer], [reader])
    wrote, asked = (compile_pattern(p.pattern, program.graph) for p in (writer, reader))
    written: set[Hop] = set()
    carried: set[Hop] = set()
    ends: set[Hop] = set()
    for path in paths(program.graph, 8):
        parts = [CallPath(path.outside, path.services[:n], path.versions[:n]) for n in range(1, len(path.services) + 1)]
        fired = [i for i, part in enumerate(parts) if part.has_hop and accepts(wrote, part)]
        written |= {parts[i].hop for i in fired}
        if fired and fired[0] < len(parts) - 1 and accepts(asked, path):
            ends.add(path.hop)
            carried |= {part.hop for part in parts[fired[0] + 1 :]}
    assert set(found.written) == written
    assert set(found.asked) == ends
    assert set(found.carried) == carried


def paths(graph: Graph, longest: int) -> Iterator[CallPath]:
    to = callees(graph)

    def from_here(path: CallPath) -> Iterator[CallPath]:
        yield path
        for callee in to[path.services[-1]] if len(path.services) < longest else ():
            for version in sorted(graph.services[callee].versions) or [None]:
                yield from from_here(CallPath(path.outside, (*path.services, callee), (*path.versions, version)))

    for name, service in graph.services.items():
        for outside, begins in ((True, service.entry), (False, service.origin)):
            if begins:
                yield from from_here(CallPath(outside, (name,), (None,)))
