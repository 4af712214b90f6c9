"""Evaluate: the requests that are proposed, what comes of requests, and what is said beside the policies."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from m4c.ide.evaluate import CannotEvaluate, evaluate, proposal

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "graph.yaml": (
        "services:\n  web: {entry: true, origin: false}\n  nightly: {}\n  cart: {origin: false, versions: [v1, v2]}\n"
        "  db: {origin: false}\n"
        "calls: [[web, cart], [nightly, cart], [cart, db]]\n"
    ),
    "mesh.m4": (
        'mesh shop { graph "graph.yaml"; dataplanes ebpf, envoy; default HttpRequest.verdict = deny on * -> db; }\n'
    ),
    "policies.m4": (
        'state TokenBucket limiter(rate: 100/s, burst: 20) per r.header["x-user"];\n'
        'policy open (HttpRequest r) on * -> cart -> db when r.header["x-from"] == "é😀\\"" { r.AllowRequest(); }\n'
        'policy shut (HttpRequest r) on * -> db when r.method in ["PUT", "POST"] overrides open {\n'
        "    r.DropRequest(405);\n}\n"
        "policy slow (HttpRequest r) on * -> cart -> db when limiter.Take() { r.SetTimeout(1s); }\n"
        "policy second (HttpRequest r) on * -> cart:v2 { r.SetTimeout(2s); }\n"
        "policy port (TcpConnection c) on ? -> db when c.port == 81 { c.DropConnection(); }\n"
        'policy back (HttpResponse p) on * -> cart when p.status >= 500 { p.SetHeader("x-was", "bad"); }\n'
        "policy never (HttpRequest r) on web -> db { r.DropRequest(); }\n"
        "policy wrong (HttpRequest r) on * -> db { r.SetTimeout(red); }\n"
    ),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


@pytest.mark.parametrize(
    ("policy", "request_"),
    [
        ("open", 'GET "/" on nightly -> cart -> db with header["x-from"] = "é😀\\""'),
        ("shut", 'POST "/" on nightly -> cart -> db'),
        ("second", 'GET "/" on nightly -> cart:v2'),
        ("port", "TcpConnection on cart -> db with port = 81"),
        ("back", 'GET "/" on nightly -> cart with HttpResponse.status = 500'),
    ],
)
def test_a_policy_proposes_a_request_on_which_it_fires(desk: Desk, policy: str, request_: str) -> None:
    assert proposal(desk.workspace, "shop", policy) == request_
    found = evaluate(desk.workspace, "shop", request_)
    assert policy in {n.policy for n in found.notes if n.fired}


def test_every_policy_of_the_example_proposes_a_request_on_which_it_fires() -> None:
    from m4c import project
    from m4c.workspace import Workspace

    workspace = Workspace([ROOT / "examples/online-boutique"])
    program = project.program(workspace.db, "boutique")
    assert program is not None and len(program.policies) > 5
    for policy in program.policies:
        found = evaluate(workspace, "boutique", proposal(workspace, "boutique", policy.name))
        assert policy.name in {n.policy for n in found.notes if n.fired}, policy.name


def test_what_comes_of_a_request(desk: Desk) -> None:
    request = 'request PUT "/x" on outside -> web -> cart -> db with limiter.Take = false, header["x-from"] = "é😀\\"";'
    found = evaluate(desk.workspace, "shop", request)
    assert {(n.policy, n.fired): n.text for n in found.notes} == {
        ("open", True): "cart -> db: AllowRequest is overridden",
        ("shut", True): "cart -> db: verdict = deny, status = 405 (ebpf at cart)",
        ("slow", False): "does not fire on cart -> db: its condition is false there",
    }
    assert desk.shown(found.notes[0].span) == "policies.m4:2: open"
    assert found.left_out == ("wrong",)
    plain = found.plain()
    assert (plain["verdict"], plain["status"]) == ("deny", 405)
    assert plain["outcome"] == "ended on cart -> db with status = 405, verdict = deny"
    assert plain["states"] == {"limiter.Take": False}
    assert [h["fired"] for h in plain["hops"]] == [[], [], ["open", "shut"]]
    assert plain["hops"][2]["ran"] == [
        {"policy": "shut", "operation": "DropRequest", "service": "cart", "dataplane": "ebpf", "side": "egress"}
    ]
    assert "shut: DropRequest by ebpf at egress of cart" in found.text
    assert "`wrong` has errors and is left out" in found.text


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("", "a request is written like"),
        ('GET "/" on', "a request is written like"),
        ('GET "/" on web -> nowhere', "no service of the graph is named `nowhere`"),
        ('GET "/" on web -> db', "no call from `web` to `db`; `outside -> web -> cart -> db` is a call path"),
        ('GET "/" on outside -> web with haeder["x"] = "1"', "did you mean `header`?"),
        ('get "/" on outside -> web', 'does not match r"[A-Z]+"'),
        ('GET "/" on outside -> web; } test "x" { request GET "/" on web -> cart', "a request is written like"),
        ('GET "/" on outside -> web; expect deny', "a request is written like"),
    ],
)
def test_what_is_no_request_is_said(desk: Desk, request_: str, message: str) -> None:
    with pytest.raises(CannotEvaluate) as caught:
        evaluate(desk.workspace, "shop", request_)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("never", "no call path of the graph matches the pattern of `never`"),
        ("wrong", "it has errors"),
        ("nobody", "has no policy `nobody`"),
    ],
)
def test_a_policy_for_which_nothing_can_be_proposed(desk: Desk, policy: str, message: str) -> None:
    with pytest.raises(CannotEvaluate) as caught:
        proposal(desk.workspace, "shop", policy)
    assert message in str(caught.value)


def test_policies_that_contradict_are_shown_without_a_plan(desk: Desk) -> None:
    desk.put("policy a (HttpRequest r) on * -> cart { r.Split({ v1: 100% }); }\n$0")
    text = desk.workspace.text(desk.here)
    desk.put(text + "policy b (HttpRequest r) on * -> cart { r.Split({ v2: 100% }); }\n$0")
    found = evaluate(desk.workspace, "shop", 'GET "/" on outside -> web -> cart')
    assert {n.policy: n.text for n in found.notes}["a"] == "web -> cart: contradiction about route"
    assert found.plain()["hops"][1]["ran"] == []


def test_without_a_graph(tmp_path: Path) -> None:
    alone = Desk(tmp_path, {"mesh.m4": 'mesh shop { graph "nowhere.yaml"; dataplanes envoy; }\n'})
    with pytest.raises(CannotEvaluate, match="has no readable graph"):
        evaluate(alone.workspace, "shop", 'GET "/" on web -> cart')
