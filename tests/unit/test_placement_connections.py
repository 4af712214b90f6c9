"""Plans for policies about connections: what a denied one leaves of its hop, and what cannot be told of connections."""

from __future__ import annotations

from pathlib import Path

import pytest
from m4c import project
from m4c.paths.callpath import CallPath
from m4c.placement.elements import elements
from m4c.placement.plan import Plan, plan
from m4c.placement.resolve import resolve
from m4c.placement.simulate import simulate
from m4c.reference import trace
from m4c.semantics.model import AttrKey, Program
from m4c.workspace import Workspace

GRAPH = """
services:
  door: {entry: true, origin: false}
  batch: {versions: [v1, v2]}
  relay: {origin: false}
  vault: {origin: false, versions: [v1, v2]}
calls: [[door, relay], [batch, relay], [relay, vault]]
"""
MESH = """
spec wall {
    tier proxy;
    cost 10;
    context reads, writes;
    peer egress, ingress;
    supports HttpRequest { reads header; operation SetHeader; operation DropRequest; operation Mark; }
    supports TcpConnection {
        reads port;
        operation DropConnection at egress; operation AllowConnection at egress; operation SetConnectTimeout;
    }
    supports Counter { operation Increment; }
    supports TokenBucket { condition Take; }
}
mesh m { graph "graph.yaml"; dataplanes wall; %s }
state Counter hits;
state TokenBucket often(rate: 1/s, burst: 1);
"""


@pytest.fixture
def load(tmp_path: Path):
    def load(policies: str, mesh: str = "") -> Program:
        (tmp_path / "graph.yaml").write_text(GRAPH)
        (tmp_path / "m.m4").write_text(MESH % mesh + policies)
        workspace = Workspace([tmp_path])
        assert not [p for p in workspace.problems() if p.code in ("syntax-error", "unknown-name", "type-mismatch")]
        made = project.program(workspace.db, "m")
        assert made is not None
        return made

    return load


def rules(made: Plan) -> set[tuple[str, str, str]]:
    return {(p.operation, f"{p.hop[0]} -> {p.hop[1]}", p.side) for p in made.operations}


CLOSED = "policy closed (TcpConnection c) on relay -> vault { c.DropConnection(); }\n"
BESIDE = """
policy told (HttpRequest r) on * -> ? -> ? { r.SetHeader("x-a", "1"); hits.Increment(); }
policy soon (TcpConnection c) on relay -> ? { c.SetConnectTimeout(1s); }
"""


def test_nothing_is_done_on_a_hop_whose_connection_is_denied(load):
    made = plan(load(CLOSED + BESIDE))
    assert made.unenforceable == ()
    assert {r for r in rules(made) if r[1] == "relay -> vault"} == {("DropConnection", "relay -> vault", "egress")}
    assert {r[0] for r in rules(made) if r[1] == "door -> relay"} == {"SetHeader", "Increment"}
    assert "SetConnectTimeout" in {r[0] for r in rules(plan(load(BESIDE)))}


def test_a_default_denies_what_no_policy_lets_in(load):
    mesh = "default TcpConnection.verdict = deny on ? -> relay;"
    made = plan(load("policy let (TcpConnection c) on door -> ? { c.AllowConnection(); }" + BESIDE, mesh))
    assert ("DropConnection", "batch -> relay", "egress") in rules(made)
    assert {r[0] for r in rules(made) if r[1] == "door -> relay"} == {"SetHeader", "Increment"}
    assert {r[0] for r in rules(made) if r[1] == "batch -> relay"} == {"DropConnection"}


def test_a_denial_that_is_overridden_changes_nothing(load):
    made = plan(load(CLOSED + "policy open (TcpConnection c) on ? -> vault overrides closed { c.AllowConnection(); }"))
    assert (rules(made), made.unenforceable) == (set(), ())


def test_a_mark_is_told_along_the_whole_path(load):
    """How a request ended makes no difference to which marks the hops behind are planned for."""
    policies = """
        policy closed (TcpConnection c) on ? -> relay { c.DropConnection(); }
        policy mark (HttpRequest r) on * -> batch -> relay when exists r.header["x-m"] { r.Mark("m"); }
        policy read (HttpRequest r) on * -> vault when r.mark["m"] { r.DropRequest(); }
    """
    made = plan(load(policies))
    assert made.unenforceable == ()
    assert {r[0] for r in rules(made) if r[1] == "batch -> relay"} == {"DropConnection", "Mark"}


DEPENDS = {
    "a version of the caller": "policy p (TcpConnection c) on batch:v1 -> relay { c.DropConnection(); }",
    "a state": "policy p (TcpConnection c) on relay -> vault when often.Take() { c.DropConnection(); }",
}


@pytest.mark.parametrize("policy", list(DEPENDS.values()), ids=list(DEPENDS))
def test_what_a_connection_cannot_depend_on(load, policy):
    made = plan(load(policy))
    assert {u.policy for u in made.unenforceable} == {"p"}
    said = [reason for u in made.unenforceable for reason in u.reasons]
    assert any("when a connection is made, before any request" in reason for reason in said), said


def test_connections_are_not_counted_by_what_counts_requests(load):
    made = plan(load("policy p (TcpConnection c) on relay -> vault { hits.Increment(); }"))
    assert [(u.policy, u.hop) for u in made.unenforceable] == [("p", ("relay", "vault"))]


BY_PORT = """
policy closed (TcpConnection c) on relay -> vault when c.port == 22 { c.DropConnection(); }
policy told (HttpRequest r) on * -> vault { r.SetHeader("x-a", "1"); hits.Increment(); }
policy refused (HttpRequest r) on * -> vault { r.DropRequest(); }
"""


def test_a_denial_under_a_condition_stands_before_all_that_is_carried(load):
    program = load(BY_PORT)
    resolved = resolve(program)
    at = {rule.operation.name: i for i, rule in enumerate(resolved.rules)}
    tied = {(o.first, o.then) for o in resolved.orders}
    for other in ("SetHeader", "Increment", "DropRequest"):
        assert (at["DropConnection"], at[other]) in tied
        assert (at[other], at["DropConnection"]) not in tied


@pytest.mark.parametrize("policies", [CLOSED + BESIDE, BESIDE], ids=["denied", "made"])
def test_a_plan_does_what_the_interpreter_says(load, policies):
    program = load(policies)
    made = elements(program, plan(program))
    path = CallPath(True, ("door", "relay", "vault"), (None, None, "v1"))
    expected = trace(program, path, {AttrKey("HttpRequest", "method"): "GET"}, "HttpRequest").hops
    for said, done in zip(expected, simulate(made, program, path, {("method", None): "GET"}), strict=False):
        wanted = {a.attribute: v for r in (*said.carriers, said) for a, v in r.writes.items()}
        got = {name.rpartition(".")[2]: v for (name, _), v in done.writes.items()}
        assert (got, done.terminal) == (wanted, said.terminal)
