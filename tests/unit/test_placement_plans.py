"""Plans of small meshes that a reader can check by hand, from M4 text to element data."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from m4c.paths.callpath import CallPath
from m4c.placement.assemble import Stop
from m4c.placement.elements import elements
from m4c.placement.plan import Plan, Planner, plan
from m4c.placement.resolve import resolve
from m4c.placement.simulate import simulate
from relayed import CHAIN, HEADER, loaded, where


@pytest.fixture
def load(tmp_path: Path):
    return partial(loaded, tmp_path)


def chosen(made: Plan) -> list[tuple[str, str]]:
    return [(e.service, e.dataplane) for e in made.elements]


ISOLATE = "policy isolate (HttpRequest r) on batch -> * -> vault { r.DropRequest(); }\n"


def test_no_policy_needs_no_element(load):
    made = plan(load(""))
    assert (made.cost, made.elements, made.context.bits, made.optimal) == (0, (), 0, True)
    assert made.baseline_cost == 4 * 50


def test_a_refusal_alone_runs_in_the_kernel_of_the_caller(load):
    made = plan(load("policy p (HttpRequest r) on * -> vault { r.DropRequest(); }"))
    assert chosen(made) == [("relay", "ebpf")]
    assert where(made) == [("p", "relay -> vault", "relay", "ebpf")]
    assert made.context.bits == 0


def test_where_a_chain_began_travels_as_one_bit(load):
    made = plan(load(ISOLATE, CHAIN.replace("entry: true", "entry: trusted")))
    assert chosen(made) == [("batch", "ebpf"), ("relay", "ebpf")], "the kernel at batch marks what batch starts"
    assert made.context.bits == 1
    assert made.context.updates == (Stop(("batch", "relay"), "egress", "batch", "ebpf"),)
    assert made.context.reads == (Stop(("relay", "vault"), "egress", "relay", "ebpf"),)


def test_a_tag_forged_outside_is_overwritten(load):
    """From an untrusted entry any tag may come: somebody has to write one before it is believed."""
    program = load(ISOLATE)
    made = plan(program)
    assert ("door", "ebpf") in chosen(made)
    dicts = elements(program, made)
    outside = CallPath(True, ("door", "relay", "vault"), (None,) * 3)
    batch = CallPath(False, ("batch", "relay", "vault"), (None,) * 3)
    for tag in range(20):
        assert not simulate(dicts, program, outside, {}, tag)[-1].terminal
    assert simulate(dicts, program, batch, {})[-1].writes == {("verdict", None): "deny", ("status", None): 403}


def test_a_header_forces_a_proxy(load):
    made = plan(load('policy p (HttpRequest r) on * -> vault { r.SetHeader("x", "1"); }'))
    assert chosen(made) == [("relay", "envoy")], "of two proxies that could, the first by name"
    one_proxy = plan(
        load(
            'policy p (HttpRequest r) on * -> vault { r.SetHeader("x", "1"); }\n'
            'policy q (HttpRequest r) on * -> vault when r.method == "PUT" { r.DropRequest(); }'
        )
    )
    assert chosen(one_proxy) == [("relay", "envoy")], "the refusal costs nothing in a proxy that is there anyway"


def test_place_and_cost_are_respected(load):
    program = load("policy p (HttpRequest r) on * -> vault { r.DropRequest(); }", mesh="place relay never ebpf;")
    assert chosen(plan(program)) == [("relay", "envoy")]
    cheap = load(
        "policy p (HttpRequest r) on * -> vault { r.DropRequest(); }",
        mesh="place relay only envoy; cost envoy on vault 7;",
    )
    made = plan(cheap)
    assert (chosen(made), made.cost, made.baseline_cost) == ([("vault", "envoy")], 7, 157)


def test_what_nobody_can_do_is_said_and_the_rest_is_planned(load):
    header = 'mesh m { graph "g.graph.yaml"; dataplanes ebpf; %s }\n'
    program = load(
        'policy a (HttpRequest r) on batch -> * -> vault { r.SetHeader("x", "1"); }\n'
        "policy b (HttpRequest r) on * -> vault { r.DropRequest(); }",
        header=header,
    )
    made = plan(program)
    (problem,) = made.unenforceable
    assert (problem.policy, problem.call, problem.hop) == ("a", 0, ("relay", "vault"))
    assert str(problem.path) == "batch -> relay -> vault"
    assert problem.reasons == ("ebpf has no SetHeader",)
    assert where(made) == [("b", "relay -> vault", "relay", "ebpf")]


def test_context_that_is_lost_on_the_way_is_said(load):
    made = plan(load(ISOLATE, CHAIN.replace("relay: {", "relay: {propagates: false, ")))
    (problem,) = made.unenforceable
    assert problem.policy == "isolate"
    assert problem.reasons == (
        "relay does not hand on the context that tells batch -> relay from outside -> door -> relay",
    )
    assert made.elements == ()


def test_versions_are_known_at_ingress_only(load):
    graph = CHAIN.replace("vault: {", "vault: {versions: [v1, v2], ")
    program = load("policy p (HttpRequest r) on * -> vault:v2 { r.DropRequest(); }", graph)
    made = plan(program)
    assert chosen(made) == [("vault", "envoy")]
    (site,) = [s for s in elements(program, made)[0]["sites"] if s["rules"]]
    assert (site["id"], site["versions"]) == ("ingress.relay", ["v1", "v2"])
    assert site["rules"][0]["when"] == {"kind": "version", "in": ["v2"]}


def test_a_version_in_the_middle_is_told_by_its_own_ingress(load):
    graph = CHAIN.replace("relay: {", "relay: {versions: [v1, v2], ")
    program = load("policy p (HttpRequest r) on * -> relay:v2 -> vault { r.DropRequest(); }", graph)
    made = plan(program)
    assert ("relay", "envoy") in chosen(made)
    dicts = elements(program, made)
    relay = next(e for e in dicts if e["service"] == "relay")
    (tags,) = [s["tags"] for s in relay["sites"] if s["id"] == "ingress.outside" or s["id"] == "ingress.batch"]
    assert tags["map"] is None
    assert {v: update["otherwise"] for v, update in tags["by_version"].items()} == {"v1": 0, "v2": 1}
    for version, denied in (("v1", False), ("v2", True)):
        for origin, outside in (("door", True), ("batch", False)):
            path = CallPath(outside, (origin, "relay", "vault"), (None, version, None))
            assert simulate(dicts, program, path, {}, 3)[-1].terminal is denied


def test_a_default_is_the_refusal_of_everything_else(load):
    program = load(
        'policy p (HttpRequest r) on * -> vault when r.header["x-role"] == "admin" { r.AllowRequest(); }',
        mesh="default HttpRequest.verdict = deny on * -> vault;",
    )
    made = plan(program)
    assert where(made) == [
        ("default HttpRequest.verdict", "relay -> vault", "relay", "ebpf"),
        ("p", "relay -> vault", "relay", "ebpf"),
    ]
    (site,) = elements(program, made)[0]["sites"]
    assert site == {
        "id": "egress.vault",
        "side": "egress",
        "caller": "relay",
        "callee": "vault",
        "entry": False,
        "protocol": "http",
        "requests": True,
        "versions": [],
        "rules": [
            {
                "id": 1,
                "policy": "default HttpRequest.verdict",
                "entity": "HttpRequest",
                "operation": "DropRequest",
                "emits": "verdict.c.j2",
                "args": {"status": 403},
                "services": [],
                "writes": [
                    {"attribute": "verdict", "key": None, "value": "deny"},
                    {"attribute": "status", "key": None, "value": 403},
                ],
                "terminal": True,
                "state": None,
                "asks": None,
                "outward": False,
                "when": {
                    "kind": "not",
                    "of": {
                        "kind": "compare",
                        "attribute": "header",
                        "key": "x-role",
                        "op": "==",
                        "value": "admin",
                    },
                },
            }
        ],
        "answers": [],
        "tags": None,
        "sealed": False,
    }


def test_overrides_and_merges_become_conditions(load):
    program = load(
        'policy slow (HttpRequest r) on * -> vault when r.method == "PUT" { r.SetTimeout(2s); }\n'
        'policy fast (HttpRequest r) on * -> vault when exists r.header["x"] { r.SetTimeout(1s); }\n'
        "policy base (HttpRequest r) on * -> vault { r.DropRequest(); }\n"
        'policy open (HttpRequest r) on * -> vault when r.method == "GET" overrides base { r.AllowRequest(); }'
    )
    made = plan(program)
    assert chosen(made) == [("relay", "envoy")]
    dicts = elements(program, made)
    path = CallPath(False, ("batch", "relay", "vault"), (None,) * 3)

    def at_vault(**request):
        values = {("header", "x") if k == "x" else (k, None): v for k, v in request.items()}
        return simulate(dicts, program, path, values)[-1].writes

    assert at_vault(method="PUT") == {("verdict", None): "deny", ("status", None): 403}
    assert at_vault(method="GET") == {}
    assert at_vault(method="GET", x="1") == {("timeout", None): 10**9}
    limits = {
        r["args"]["limit"]: r["when"] for e in dicts for s in e["sites"] for r in s["rules"] if "limit" in r["args"]
    }
    assert limits[10**9]["kind"] == "compare"
    assert limits[2 * 10**9] == {
        "kind": "all",
        "of": [
            {"kind": "compare", "attribute": "method", "key": None, "op": "==", "value": "PUT"},
            {"kind": "not", "of": limits[10**9]},
        ],
    }


def test_a_policy_after_another_sees_what_it_writes(load):
    program = load(
        'policy mark (HttpRequest r) on * -> vault when r.method == "GET" { r.SetHeader("x-kind", "read"); }\n'
        'policy gate (HttpRequest r) on * -> vault when r.header["x-kind"] == "read" after mark { r.DropRequest(); }'
    )
    made = plan(program)
    assert made.unenforceable == ()
    dicts = elements(program, made)
    path = CallPath(False, ("batch", "relay", "vault"), (None,) * 3)
    kind = ("header", "x-kind")
    for request, denied in (
        ({("method", None): "GET"}, True),
        ({("method", None): "PUT"}, False),
        ({("method", None): "PUT", kind: "read"}, True),
        ({("method", None): "GET", kind: "other"}, True),
    ):
        assert simulate(dicts, program, path, request)[-1].terminal is denied


def test_equal_operations_are_one(load):
    program = load("policy all (HttpRequest r) on * -> vault { r.DropRequest(); }\n" + ISOLATE)
    made = plan(program)
    assert made.context.bits == 0, "whether a chain began at batch changes nothing"
    assert [w[0] for w in where(made)] == ["all", "isolate"]
    assert sum(len(s["rules"]) for e in elements(program, made) for s in e["sites"]) == 1


def test_tag_bits_are_a_limit(load):
    graph = """
services: {a: {}, b: {}, c: {}, d: {}, hub: {origin: false}, vault: {origin: false}}
calls: [[a, hub], [b, hub], [c, hub], [d, hub], [hub, vault]]
"""
    text = "".join(
        f'policy {n}{k} (HttpRequest r) on {n} -> * -> vault {{ r.SetHeader("{k}-{n}", "1"); }}\n'
        for k, n in zip("wxyz", "abcd", strict=True)
    )
    assert plan(load(text, graph)).context.bits == 2, "four origins; the hub may write 0 for one of them"
    program = load(text, graph)
    made = plan(replace(program, mesh=replace(program.mesh, tag_bits=1)))
    assert made.context.bits <= 1
    assert made.unenforceable
    assert all("more than 1 bits" in u.reasons[0] for u in made.unenforceable)


def test_elements_are_json_and_the_same_every_time(load):
    program = load(ISOLATE + 'policy p (HttpRequest r) on * -> relay { r.SetHeader("x", "1"); }')
    made = plan(program)
    assert plan(program) == made
    text = json.dumps(elements(program, made))
    assert json.dumps(elements(program, plan(program))) == text
    for element in json.loads(text):
        assert element["context"] == {"header": "m4-ctx", "width": 4}
        assert len({s["id"] for s in element["sites"]}) == len(element["sites"])
        if element["dataplane"] == "ebpf":
            assert {s["side"] for s in element["sites"]} <= {"egress"}


def test_combinations_of_patterns_that_explode_are_refused_instead_of_counted(load, monkeypatch):
    monkeypatch.setattr("m4c.placement.patterns.STATE_LIMIT", 50)
    names = "abcdefg"
    ring = ", ".join(f"[{u}, {v}]" for u in names for v in (*names, "vault") if u != v)
    graph = f"services: {{{', '.join(f'{n}: {{}}' for n in names)}, vault: {{}}}}\ncalls: [{ring}]\n"
    text = "".join(
        f'policy p_{n} (HttpRequest r) on * -> {n} -> * -> vault when r.header["{n}"] == "1" {{ r.AllowRequest(); }}\n'
        for n in names
    )
    made = plan(load(text, graph, mesh="default HttpRequest.verdict = deny on * -> vault;"))
    assert {u.policy for u in made.unenforceable} == {"default HttpRequest.verdict"}
    assert "too many combinations" in made.unenforceable[0].reasons[0]


def test_what_adds_the_same_adds_it_once(load):
    program = load(
        'policy a (HttpRequest r) on * -> vault when r.method == "GET" { r.AppendHeader("via", "m"); }\n'
        'policy b (HttpRequest r) on batch -> * -> vault when exists r.header["x"] { r.AppendHeader("Via", "m"); }\n'
        'policy c (HttpRequest r) on * -> vault at ingress when exists r.header["y"] { r.AppendHeader("via", "m"); }\n'
        'policy d (HttpRequest r) on * -> vault at egress when exists r.header["z"] { r.AppendHeader("via", "m"); }\n'
        'policy e (HttpRequest r) on * -> vault { r.AppendHeader("via", "edge"); }'
    )
    made = plan(program)
    assert made.unenforceable == ()
    dicts = elements(program, made)
    path = CallPath(False, ("batch", "relay", "vault"), (None,) * 3)
    added = ("added_header", "via")
    for method in ("GET", "PUT"):
        for n in range(8):
            names = [name for i, name in enumerate("xyz") if n >> i & 1]
            request = {("method", None): method, **{("header", name): "1" for name in names}}
            expected = ["edge", "m"] if method == "GET" or names else ["edge"]
            assert sorted(simulate(dicts, program, path, request)[-1].writes[added]) == expected, request


def test_what_is_added_comes_behind_what_writes_and_reads(load):
    """The write is bound to the callee's side, so what is appended cannot be appended before."""
    program = load(
        'policy set (HttpRequest r) on * -> vault at ingress { r.SetHeader("via", "1"); }\n'
        'policy add (HttpRequest r) on * -> vault { r.AppendHeader("via", "2"); }\n'
        'policy ask (HttpRequest r) on * -> relay at ingress when exists r.header["x"] { r.SetHeader("asked", "1"); }\n'
        'policy more (HttpRequest r) on * -> relay { r.AppendHeader("x", "2"); }\n'
        'policy at_door (HttpRequest r) on outside -> door { r.SetHeader("y", "1"); }\n'
        'policy free (HttpRequest r) on door -> relay { r.SetHeader("y", "1"); }'
    )
    placed = {p.policy: (p.side, p.service) for p in plan(program).operations}
    assert placed["add"] == ("ingress", "vault")
    assert placed["free"] == ("egress", "door"), "early where nothing stands against it"
    assert placed["more"] == ("ingress", "relay")
    at_egress = load(
        'policy set (HttpRequest r) on * -> vault at ingress { r.SetHeader("via", "1"); }\n'
        'policy add (HttpRequest r) on * -> vault at egress { r.AppendHeader("via", "2"); }'
    )
    (refused,) = plan(at_egress).unenforceable
    assert refused.reasons == ("its order with others leaves no position that can run it",)


def test_what_shows_stands_behind_what_ends_the_request(load):
    """In the kernel the refusal would come behind the caller's proxy, which has logged the request by then."""
    log = "policy log (HttpRequest r) on * -> vault at egress { r.LogSample(); }\n"
    deny = "policy deny (HttpRequest r) on * -> vault when r.method == %s { r.DropRequest(); }"
    program = load(log + deny % '"PUT"')
    made = plan(program)
    assert {(p.policy, p.service, p.dataplane) for p in made.operations} == {
        ("log", "relay", "envoy"),
        ("deny", "relay", "envoy"),
    }
    rules = [r for e in elements(program, made) for s in e["sites"] for r in s["rules"]]
    assert {r["policy"]: (r["terminal"], r["outward"]) for r in rules} == {"log": (False, True), "deny": (True, False)}
    assert len(resolve(program).orders) == 1
    apart = log.replace("at egress", 'at egress when r.method == "GET"')
    assert resolve(load(apart + deny % '"PUT"')).orders == (), "on no request do both hold"


def test_faults_and_copies_belong_to_the_callee(load):
    program = load("policy p (HttpRequest r) on * -> vault { r.Delay(1s, 5%); r.Mirror(door, 10%); }")
    made = plan(program)
    assert {(p.operation, p.side, p.service) for p in made.operations} == {
        ("Delay", "ingress", "vault"),
        ("Mirror", "ingress", "vault"),
    }
    rules = [r for e in elements(program, made) for s in e["sites"] for r in s["rules"]]
    assert {r["operation"]: r["services"] for r in rules} == {"Delay": [], "Mirror": ["door"]}
    outside = load(
        "policy p (HttpRequest r) on * -> vault { r.Delay(1s); }",
        CHAIN.replace("vault: {origin: false}", "vault: {origin: false, external: true}"),
    )
    (refused,) = plan(outside).unenforceable
    assert "vault is outside the mesh" in refused.reasons


def test_defaults_run_as_the_operation_that_writes_them(load):
    mesh = """
    default HttpRequest.log_share = 5% on * -> vault;
    default HttpRequest.mirror_share["door"] = 10% on * -> vault;
    default HttpRequest.added_header["via"] = ["mesh"] on * -> vault;
    default HttpRequest.fault_delay = 2s on * -> vault;
    default HttpRequest.verdict = redirect on * -> relay;
"""
    program = load('policy log (HttpRequest r) on * -> vault when r.method == "PUT" { r.LogSample(); }', mesh=mesh)
    made = plan(program)
    rules = [r for e in elements(program, made) for s in e["sites"] for r in s["rules"]]
    assert sorted((r["operation"], str(r["args"])) for r in rules) == [
        ("AppendHeader", "{'name': 'via', 'value': 'mesh'}"),
        ("LogSample", "{'share': 10000}"),
        ("LogSample", "{'share': 500}"),
        ("Mirror", "{'to': 'door', 'share': 1000}"),
    ]
    assert sorted(u.reasons[0] for u in made.unenforceable)[0] == (
        "no operation of HttpRequest writes fault_delay = 2s and nothing else"
    )
    assert {u.policy for u in made.unenforceable} == {
        "default HttpRequest.fault_delay",
        "default HttpRequest.verdict",
    }


def test_a_default_of_nothing_runs_as_what_takes_away(load):
    """Not as what sets: no argument of it is absent."""
    mesh = """
    default HttpRequest.header["x-debug"] = absent on * -> vault;
    default HttpRequest.header["x-by"] = "mesh" on * -> vault;
"""
    program = load("", mesh=mesh)
    rules = [r for e in elements(program, plan(program)) for s in e["sites"] for r in s["rules"]]
    assert sorted((r["operation"], str(r["args"]), r["writes"][0]["value"]) for r in rules) == [
        ("RemoveHeader", "{'name': 'x-debug'}", None),
        ("SetHeader", "{'name': 'x-by', 'value': 'mesh'}", "mesh"),
    ]

    sets = """
spec setter {
    tier proxy; cost 1; peer egress, ingress;
    supports HttpRequest { operation SetHeader; }
}
"""
    made = plan(load(sets, mesh=mesh, header=HEADER.replace("ebpf, envoy", "setter")))
    assert {u.policy for u in made.unenforceable} == {'default HttpRequest.header["x-debug"]'}
    assert {o.operation for o in made.operations} == {"SetHeader"}


def test_planning_can_be_stopped_anywhere_and_begun_again(load):
    """Whatever question ends it, the plan after that is that from the beginning."""
    graph = CHAIN.replace("relay: {", "relay: {versions: [v1, v2], ")
    text = ISOLATE + 'policy p (HttpRequest r) on * -> relay:v2 -> vault { r.SetHeader("x", "1"); }'
    program = load(text, graph)
    asked = 0

    def count() -> None:
        nonlocal asked
        asked += 1

    expected = Planner().plan(program, checkpoint=count)
    assert asked > 5
    planner = Planner()
    for last in range(asked):
        left = last

        def stop() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise InterruptedError

        with pytest.raises(InterruptedError):
            Planner().plan(program, checkpoint=stop)
        left = last
        with contextlib.suppress(InterruptedError):  # what is known already is not asked for again
            planner.plan(program, checkpoint=stop)
        assert planner.plan(program) == expected


def test_a_policy_on_connections_is_wanted_wherever_the_call_path_began(load):
    """The relay begins no chain itself, so no call path is `relay -> vault` alone."""
    made = plan(load("policy p (TcpConnection c) on relay -> vault { c.DropConnection(); }"))
    assert made.unenforceable == ()
    assert where(made) == [("p", "relay -> vault", "relay", "ebpf")]
    beside = plan(load("policy p (TcpConnection c) on relay -> vault when c.port == 22 { c.DropConnection(); }"))
    assert {(u.policy, u.hop) for u in beside.unenforceable} == {("p", ("relay", "vault"))}
    assert beside.unenforceable[0].path.services[-2:] == ("relay", "vault")
