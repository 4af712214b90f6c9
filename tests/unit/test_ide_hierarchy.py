"""The call hierarchy: who may call whom, and which policies act on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from m4c import project
from m4c.ide.hierarchy import Hop, incoming, outgoing, prepare
from m4c.paths.pattern import compile_pattern
from m4c.paths.product import matching_hops
from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "graph.yaml": (
        "services:\n  web: {entry: true}\n  cart: {}\n  nightly: {}\n"
        "  db: {versions: [v1, v2], labels: {kind: store}}\n"
        "calls:\n  - [web, cart]\n  - from: nightly\n    to: cart\n    rps: 3\n\n  - [cart, db]\n  - [nightly, db]\n"
    ),
    "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes envoy; group inner = { cart, db }; }\n',
    "other.m4": (
        "policy all (HttpRequest r) on * -> db { r.DropRequest(); }\n"
        "policy through (HttpRequest r) on nightly -> cart -> db { r.DropRequest(); }\n"
        "policy direct (HttpRequest r) on nightly -> db:v1 { r.DropRequest(); }\n"
        "policy door (HttpRequest r) on outside -> web { r.DropRequest(); }\n"
        "policy stores (HttpRequest r) on outside -> * -> [kind: store] { r.DropRequest(); }\n"
    ),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def shown(desk: Desk, hops: tuple[Hop, ...]) -> list[str]:
    return [f"{h.node.service}: {h.node.detail}: {', '.join(map(desk.shown, h.calls))}" for h in hops]


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("policy p (HttpRequest r) on * -> d$0b { }", ["db: v1, v2, kind: store, 2 callers"]),
        ("policy p (HttpRequest r) on w$0eb -> * { }", ["web: entry, 0 callers"]),
        ("policy p (HttpRequest r) on @inn$0er { }", ["cart: 2 callers", "db: v1, v2, kind: store, 2 callers"]),
        ("policy p (HttpRequest r) on nowh$0ere { }", []),
        ("policy p$0 (HttpRequest r) on db { }", []),
        ("policy p (HttpRequest r) on web -> $0", []),
        ("$0", []),
    ],
)
def test_a_hierarchy_begins_at_services(desk: Desk, text: str, nodes: list[str]) -> None:
    found = prepare(desk.workspace, desk.here, desk.put(text))
    assert [f"{n.service}: {n.detail}" for n in found] == nodes
    assert all(desk.shown(n.span).endswith(n.service) for n in found)


def test_a_hierarchy_begins_in_the_graph_too(desk: Desk) -> None:
    graph = (desk.folder / "graph.yaml").as_posix()
    for fragment in ("  cart", "[web, cart"):
        at = FILES["graph.yaml"].index(fragment) + len(fragment)
        assert [n.service for n in prepare(desk.workspace, graph, at)] == ["cart"]
    assert prepare(desk.workspace, graph, 0) == ()


def test_who_calls_and_which_policies_act(desk: Desk) -> None:
    assert shown(desk, incoming(desk.workspace, "shop", "db")) == [
        "cart: policies all, through, stores: graph.yaml:12: [cart, db]",
        "nightly: policies all, direct: graph.yaml:13: [nightly, db]",
    ]
    assert shown(desk, incoming(desk.workspace, "shop", "web")) == ["outside: policy door: graph.yaml:2: web"]
    assert shown(desk, incoming(desk.workspace, "shop", "cart")) == [
        "nightly: no policy: graph.yaml:8: from: nightly\n    to: cart\n    rps: 3",
        "web: no policy: graph.yaml:7: [web, cart]",
    ]
    assert shown(desk, outgoing(desk.workspace, "shop", "nightly")) == [
        "cart: no policy: graph.yaml:8: from: nightly\n    to: cart\n    rps: 3",
        "db: policies all, direct: graph.yaml:13: [nightly, db]",
    ]
    for of in (incoming, outgoing):
        assert of(desk.workspace, "shop", "outside") == of(desk.workspace, "nothing", "db") == ()


def test_of_many_policies_some_are_named(desk: Desk) -> None:
    desk.put("".join(f"policy p{i} (HttpRequest r) on * -> cart {{ r.DropRequest(); }}\n" for i in range(5)) + "$0")
    assert {h.node.detail for h in incoming(desk.workspace, "shop", "cart")} == {"policies p0, p1, p2 and 2 more"}


def test_it_agrees_with_a_search_of_all_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m4c.ide.hierarchy.SHOWN", 1000)
    workspace = Workspace([ROOT / "examples/online-boutique"])
    (mesh,) = workspace.meshes()
    program = project.program(workspace.db, mesh)
    assert program is not None
    acting: dict[tuple[str | None, str], list[str]] = {}
    for policy in program.policies:
        for hop, _ in matching_hops(compile_pattern(policy.pattern, program.graph), program.graph):
            acting.setdefault(hop, []).append(policy.name)
    seen = 0
    for service in program.graph.services:
        for hop in incoming(workspace, mesh, service):
            caller = None if hop.node.service == "outside" else hop.node.service
            names = acting.get((caller, service), [])
            expected = f"{'policies' if len(names) > 1 else 'policy'} {', '.join(names)}" if names else "no policy"
            assert hop.node.detail == expected
            seen += bool(names)
    assert seen == len(acting) > 3
