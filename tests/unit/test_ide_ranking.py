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
        ("$0", {"web", "nightly"}),  # where chains begin
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
    typed = typed - {"cart"} if "(cart |" in pattern else typed  # it stands there already
    assert allowed == first & (allowed | others)
    assert typed <= allowed | others, "all are proposed, somewhere"


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (
            'policy p (HttpRequest r) on * -> audit when r.header["$0"] == "x" { }',
            ["x-team", "x-user", "x-from", "traceparent"],
        ),
        (  # what is looked at where the requests end
            'policy p (HttpRequest r) on * -> db when r.header["$0"] == "x" { }',
            ["x-user", "x-team", "x-from", "traceparent"],
        ),
        ('policy p (HttpRequest r) on * -> db { r.SetHeader("$0") }', ["x-from", "x-team", "x-user", "traceparent"]),
        ('test "t" { request GET "/" on web -> cart with header["$0"] = "x"; }', ["x-team", "x-user", "x-from"]),
        ('test "t" { request GET "/" on audit -> db with header["$0"] = "x"; }', ["x-user", "x-team", "x-from"]),
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


# Of a zero-trust mesh: what nobody allows is denied, at db everything.
DENIED = 'mesh shop { graph "graph.yaml"; dataplanes envoy; default HttpRequest.verdict = deny on * -> db; }\n'


@pytest.mark.parametrize(
    ("body", "idle"),
    [
        ("on * -> cart { r.$0 }", {"AllowRequest", "Split"}),  # it may pass anyway, and cart has no versions
        ("on * -> db { r.$0 }", {"Split"}),
        ("on * -> ? { r.$0 }", set()),  # db is among them
        ("on web { r.$0 }", {"AllowRequest", "SetTimeout", "Split"}),  # no caller could wait
        ("on * -> db at ingress { r.$0 }", {"SetTimeout"}),
        ("on * -> db at egress { r.$0 }", {"Mirror"}),
        ("on * -> db { r.DropRequest(); r.$0 }", {"DropRequest", "AllowRequest"}),
        ('on * -> db { if (r.method == "GET") { r.DropRequest(); } r.$0 }', set()),
        ('on * -> db { if (r.method == "GET") { r.DropRequest(); } else { r.$0 } }', set()),
        ('on * -> db { r.SetHeader("x", "y"); r.$0 }', set()),  # another header
        ("on * -> cart overrides c { r.$0 }", {"Split"}),  # it allows what another one denies
    ],
)
def test_what_is_of_no_use_comes_late(tmp_path: Path, body: str, idle: set[str]) -> None:
    desk = Desk(tmp_path, {**FILES, "mesh.m4": DENIED})
    found = {p.label: p.rank for p in desk.proposals(f"policy p (HttpRequest r) {body}") if p.kind == "operation"}
    late = {name for name, rank in found.items() if rank}
    assert idle <= late
    assert not (late - idle) & {"AllowRequest", "DropRequest", "SetHeader", "SetTimeout", "Mirror"}


@pytest.mark.parametrize(
    ("pattern", "first"),
    [("* -> db", "AllowRequest"), ("* -> audit -> db", "AllowRequest"), ("* -> cart", "SetTimeout")],
)
def test_what_undoes_a_default_of_the_mesh_comes_first(tmp_path: Path, pattern: str, first: str) -> None:
    desk = Desk(tmp_path, {**FILES, "mesh.m4": DENIED})
    assert desk.labels(f"policy p (HttpRequest r) on {pattern} {{ r.$0 }}")[0] == first


def test_what_no_dataplane_can_look_at_comes_late(desk: Desk) -> None:
    found = {p.label: p.rank for p in desk.proposals("policy p (HttpRequest r) on * -> db when r.$0 { }")}
    assert {found[name] for name in ("header", "method", "url_path", "mark")} == {0}
    assert {found[name] for name in ("timeout", "status", "verdict", "redirect_to")} == {1}


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("expect $0", ["allow", "deny", "timeout", "header", "status"]),
        ("expect deny, $0", ["status"]),  # the rest has no effect then
        ("expect allow, $0", ["timeout", "header"]),  # what is denied has a status
    ],
)
def test_what_policies_lead_to_is_expected_first(desk: Desk, text: str, first: list[str]) -> None:
    assert desk.labels(f'test "t" {{ request GET "/" on web -> cart; {text}')[: len(first)] == first


@pytest.mark.parametrize(
    ("text", "some", "gone"),
    [
        ("mesh m { dataplanes envoy, haproxy, $0", {"ebpf"}, {"envoy", "haproxy"}),
        ("policy p (HttpRequest r) on * overrides a, b, $0", {"c", "d"}, {"a", "b"}),
        ("policy p (HttpRequest r) on * after a, b, $0", {"c", "d"}, {"a", "b"}),
        ("policy p (HttpRequest r) on web -> (cart | db | $0", {"audit"}, {"cart", "db"}),
        ("policy p (HttpRequest r) on [a: b, c: d, $0", {"e"}, {"a", "c"}),
        ("policy p (HttpRequest r) on [a: b, c: d, e: $0", {"f"}, set()),
        ("policy p (HttpRequest r) on * -> many { r.Split({ v1: 1%, v2: 2%, $0", {"v3"}, {"v1", "v2"}),
        ('policy p (HttpRequest r) on * -> db { r.Respond(200, "", $0', {"content_type"}, {"status", "body"}),
        ('policy p (HttpRequest r) on * -> db { r.Respond(status: 200, body: "", $0', {"content_type"}, {"status"}),
        ('test "t" { request GET "/" on web with target = "a", header["x"] = "b", $0', {"header"}, {"target"}),
        ('test "t" { request GET "/" on web with a = "a", b = "b", header["$0', {"x-team"}, set()),
        ('test "t" { request GET "/" on web; expect allow, status = 404, $0', {"timeout"}, {"allow", "status"}),
        ("mesh shop { group g = { web, cart, $0", set(), {"web", "cart"}),
        ('mesh m { propagate "x-team", "x-user", "$0', {"x-from"}, {"x-team", "x-user"}),
        ('spec s { tier proxy; speaks "http", "grpc", "$0', {"http2", "redis"}, {"http", "grpc"}),
        ('entity E { protocols "http", "grpc", "$0', {"http2", "redis"}, {"http", "grpc"}),
        ("spec s { supports HttpRequest { reads method, target, $0", {"header"}, {"method", "target"}),
        ("spec s { supports HttpRequest { operation X(a: int) writes status = a, timeout = b, $0", {"header"}, set()),
        ("spec s { supports HttpRequest { reads method with (== != $0", {"in"}, set()),
    ],
)  # fmt: skip
def test_lists_go_on_behind_their_second_element(tmp_path: Path, text: str, some: set[str], gone: set[str]) -> None:
    graph = FILES["graph.yaml"].replace("lonely: {", "many: {versions: [v1, v2, v3], labels: {a: b, c: d, e: f}, ")
    found = set(Desk(tmp_path, {**FILES, "graph.yaml": graph}).labels(text))
    assert some <= found
    assert not gone & found


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


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("policy limit_timeouts (HttpRequest r) on * -> db { r.$0 }", "SetTimeout"),
        ("/// Only a while, then the time is out.\npolicy p (HttpRequest r) on * -> db { r.$0 }", None),
        ("/// In time.\npolicy p (HttpRequest r) on * -> db { r.$0 }", "SetTimeout"),
        ("/// Mirrored for a while.\npolicy p (HttpRequest r) on * -> db { r.$0 }", "Mirror"),
        ('policy p (HttpRequest r) on * -> db { r.SetHeader("a", "b"); r.$0 }', "SetHeader"),
        ("policy p (HttpRequest r) on * -> db { r.$0 }", None),
    ],
)
def test_what_the_declaration_is_about_comes_first(desk: Desk, text: str, first: str | None) -> None:
    plain = desk.labels("policy p (HttpRequest r) on * -> db { r.$0 }")[0]
    assert desk.labels(text)[0] == (first or plain)


# --- how good it is ---------------------------------------------------------------------------------------------------


def test_the_measure_is_the_mean_reciprocal_rank() -> None:
    at = Position("f", "service", "web", 0, 3)
    assert mean([Outcome(at, 1), Outcome(at, 2), Outcome(at, 0), Outcome(at, 1000)]) == 0.375


# Measured: 0.88, 0.96 and 0.81. Before the order minded what an operation would do where it stands, what a dataplane
# can look at, where chains begin and what else stands in a list: 0.84, 0.94 and 0.71.
@pytest.mark.parametrize(("typed", "alone", "floor"), [(0, False, 0.85), (1, False, 0.93), (0, True, 0.78)])
def test_what_stood_there_is_proposed_early(typed: int, alone: bool, floor: float) -> None:
    found = [o for folder in EXAMPLES for o in outcomes(ROOT / folder, typed, alone)]
    assert len(found) > 350
    assert len({o.position.kind for o in found}) > 10
    assert mean(found) >= floor


def test_the_weakest_kinds_are_proposed_early() -> None:
    found = [o for folder in EXAMPLES for o in outcomes(ROOT / folder, 0)]
    floors = {"operation": 0.66, "attribute": 0.7, "key": 0.62, "service": 0.76}
    for kind, floor in floors.items():
        assert mean([o for o in found if o.position.kind == kind]) >= floor, kind
