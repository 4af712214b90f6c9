"""What completion proposes first, and how often that is what people meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk

from benchmarks.completion import EXAMPLES, Outcome, Position, mean, outcomes

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "graph.yaml": (
        "services:\n  web: {entry: true, origin: false}\n  cart: {origin: false}\n  nightly: {}\n"
        "  db: {origin: false}\n  audit: {origin: false}\n  lonely: {origin: false}\n"
        "calls: [[web, cart], [nightly, audit], [cart, db], [audit, db]]\n"
    ),
    "mesh.m4": (
        'mesh shop { graph "graph.yaml"; dataplanes envoy; propagate "traceparent"; group inner = { cart, db }; }\n'
    ),
    "other.m4": (
        'policy a (HttpRequest r) on web -> cart when r.header["x-team"] == "a" { r.SetTimeout(1s); }\n'
        'policy b (HttpRequest r) on web -> cart when r.header["x-team"] == "b" { r.SetTimeout(2s); }\n'
        'policy c (HttpRequest r) on * -> db when r.header["x-user"] == "c" { r.DropRequest(); }\n'
        'policy d (HttpRequest r) on nightly -> audit { r.SetHeader("x-from", "nightly"); }\n'
    ),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def services(desk: Desk, pattern: str) -> tuple[set[str], set[str]]:
    """The services that are proposed first in a pattern, and those that are proposed behind them."""
    found = [p for p in desk.proposals(f"policy p (HttpRequest r) on {pattern} {{ }}") if p.kind == "service"]
    assert [p.rank for p in found] == sorted(p.rank for p in found)
    return {p.label for p in found if p.rank == 0}, {p.label for p in found if p.rank}


ALL = {"web", "cart", "nightly", "db", "audit", "lonely"}


@pytest.mark.parametrize(
    ("pattern", "first"),
    [
        ("$0", ALL),
        ("web -> $0", {"cart"}),
        ("web -> c$0", {"cart"}),
        ('web -> "$0"', {"cart"}),
        ("web -> * -> $0", {"cart", "db"}),
        ("nightly -> * -> $0", {"audit", "db"}),
        ("* -> audit -> $0", {"db"}),
        ("outside -> $0", {"web"}),
        ("outside -> * -> $0", {"web", "cart", "db"}),
        ("(web | nightly) -> $0", {"cart", "audit"}),
        ("web -> (cart | $0)", {"cart"}),
        ("@inner -> $0", set()),  # chains begin neither at cart nor at db
        ("* -> @inner -> $0", {"db"}),
        ("* -> !cart -> $0", {"cart", "audit", "db"}),
        # what is behind the cursor counts too
        ("$0 -> audit -> db", {"nightly"}),
        ("nightly -> $0 -> db", {"audit"}),
        ("* -> $0 -> db", {"cart", "audit"}),
        ("web -> $0 -> nowhere", {"cart"}),
        # nothing is known of what follows a mistake
        ("nowhere -> $0", set()),
        ("web -> -> $0", ALL),
    ],
)
def test_what_the_graph_allows_comes_first(desk: Desk, pattern: str, first: set[str]) -> None:
    allowed, others = services(desk, pattern)
    typed = {n for n in ALL if n.startswith("c")} if " c$0" in pattern else ALL
    assert allowed == first & (allowed | others)
    assert typed <= allowed | others, "all are proposed, somewhere"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (
            'policy p (HttpRequest r) on * -> db when r.header["$0"] == "x" { }',
            ["x-team", "x-user", "x-from", "traceparent"],
        ),
        ('policy p (HttpRequest r) on * -> db { r.SetHeader("$0") }', ["x-from", "x-team", "x-user", "traceparent"]),
        ('test "t" { request GET "/" on web -> cart with header["$0"] = "x"; }', ["x-team", "x-user", "x-from"]),
        ('test "t" { request GET "/" on web -> cart; expect header["$0"] = "x"; }', ["x-from", "x-team", "x-user"]),
        ("policy p (HttpRequest r) on * -> db { r.$0 }", ["SetTimeout", "DropRequest", "SetHeader"]),
        ("policy p (HttpRequest r) on * -> db when r.$0 { }", ["header", "method"]),
        ("policy p ($0", ["HttpRequest"]),
        ("policy p (HttpRequest r) on * -> db { }\n$0", ["policy"]),
        ('test "t" { request GET "/" on web -> cart; expect allow; }\n$0', ["test"]),
        ('test "t" { $0', ["request", "expect"]),
        ('test "t" { request GET "/" on web -> cart; $0', ["expect", "request"]),
        ('test "t" { request GET "/" on web -> cart; expect allow; $0', ["request", "expect"]),
        ("mesh m { }\n$0", ["policy"]),
        ("mesh m { $0", ["graph", "dataplanes"]),
        ('mesh m { graph "g.yaml"; $0', ["dataplanes"]),
        ("policy p (HttpRequest r) on * -> db $0", ["when"]),
    ],
)  # fmt: skip
def test_what_is_usual_comes_first(desk: Desk, text: str, first: list[str]) -> None:
    assert desk.labels(text)[: len(first)] == first


def test_without_a_mesh_there_has_to_be_one_first(tmp_path: Path) -> None:
    assert Desk(tmp_path, {}).labels("$0")[0] == "mesh"


def test_a_key_that_is_being_written_is_not_proposed_to_itself(desk: Desk) -> None:
    text = 'policy p (HttpRequest r) on * -> db when r.header["x-te$0"] == "x" { }'
    assert desk.labels(text) == ["x-team"]
    assert "x-new" not in desk.labels('policy p (HttpRequest r) on * -> db when r.header["x-new$0"] == "x" { }')


def test_an_edit_counts_the_names_of_no_other_file_again(desk: Desk) -> None:
    text = 'policy p (HttpRequest r) on * -> db when r.header["x-$0"] == "x" { r.DropRequest(404); }'
    desk.labels(text)
    desk.workspace.db.log = []
    desk.labels(text.replace("404", "405").replace("x-$0", "x-t$0"))
    counted = [key.args[0] for key in desk.workspace.db.log if key.name == "usage.uses_in"]
    assert counted == [desk.here]


# --- how good it is ---------------------------------------------------------------------------------------------------


def test_the_measure_is_the_mean_reciprocal_rank() -> None:
    at = Position("f", "service", "web", 0, 3)
    assert mean([Outcome(at, 0, 1), Outcome(at, 0, 2), Outcome(at, 0, 0), Outcome(at, 0, 1000)]) == 0.375


# Measured: 0.85 and 0.95. Before the order of proposals minded the graph and what is used: 0.52 and 0.83; before it
# minded what the declaration is about: 0.79 and 0.92, and 0.42 for keys, 0.40 for operations.
@pytest.mark.parametrize(("typed", "floor"), [(0, 0.82), (1, 0.92)])
def test_what_stood_there_is_proposed_early(typed: int, floor: float) -> None:
    found = [o for folder in EXAMPLES for o in outcomes(ROOT / folder, typed)]
    assert len(found) > 250
    assert len({o.position.kind for o in found}) > 9
    assert mean(found) >= floor


def test_keys_and_operations_are_proposed_early() -> None:
    found = [o for folder in EXAMPLES for o in outcomes(ROOT / folder, 0)]
    assert mean([o for o in found if o.position.kind == "key"]) >= 0.65
    assert mean([o for o in found if o.position.kind == "operation"]) >= 0.58


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("policy limit_timeouts (HttpRequest r) on * -> db { r.$0 }", "SetTimeout"),
        ("/// Only a while, then the time is out.\npolicy p (HttpRequest r) on * -> db { r.$0 }", None),
        ("/// Mirrored for a while.\npolicy p (HttpRequest r) on * -> db { r.$0 }", "Mirror"),
        ('policy p (HttpRequest r) on * -> db { r.SetHeader("a", "b"); r.$0 }', "SetHeader"),
        ("policy p (HttpRequest r) on * -> db { r.$0 }", None),
    ],
)
def test_what_the_declaration_is_about_comes_first(desk: Desk, text: str, first: str | None) -> None:
    plain = desk.labels("policy p (HttpRequest r) on * -> db { r.$0 }")[0]
    assert desk.labels(text)[0] == (first or plain)
