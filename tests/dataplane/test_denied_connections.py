"""Connections that policies deny, on real dataplanes: nobody answers, and an edit leaves no way for a request."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy_kit import Client
from m4c import project
from m4c.cli import jobs
from m4c.placement.plan import plan
from m4c.workspace import Workspace
from m4deploy import client, local, proof
from m4deploy.local import Deployment
from m4deploy.processes import split_address
from m4deploy.targets import unavailable
from ports import free_base

GRAPH = """
services:
  web: {entry: true, origin: false}
  job: {versions: [v1, v2]}
  cart: {origin: false}
  db: {origin: false, versions: [v1, v2]}
calls: [[web, cart], [job, cart], [cart, db], [web, db]]
"""
MESH = 'mesh shop { graph "graph.yaml"; dataplanes %s; %s }\n'
SETS = (("envoy",), ("haproxy",), ("ebpf",), ("ebpf", "haproxy", "envoy"))


def ids(planes: tuple[str, ...]) -> str:
    return " and ".join(planes)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    local.undeploy(tmp_path / "state")


def needs(planes: tuple[str, ...]) -> None:
    lacking = unavailable(planes)
    if lacking:
        pytest.skip("; ".join(lacking.values()))


def opened(folder: Path, planes: tuple[str, ...], policies: str, mesh: str = "") -> Workspace:
    folder.mkdir()
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text(MESH % (", ".join(planes), mesh) + policies)
    ws = Workspace([folder])
    assert not [p for p in ws.problems() if p.code in ("syntax-error", "unenforceable", "contradiction")]
    return ws


def built(folder: Path, planes: tuple[str, ...], policies: str, base: int) -> Path:
    ws = opened(folder, planes, policies)
    return jobs.write(jobs.rendered(ws, "shop", base_port=base), folder / "built").folder


WORLDS = {
    "by a policy": (
        "",
        """
        policy closed (TcpConnection c) on ? -> db { c.DropConnection(); }
        policy open (TcpConnection c) on cart -> ? overrides closed { c.AllowConnection(); }
        policy refused (HttpRequest r) on * -> cart when r.method == "DELETE" { r.DropRequest(418); }
        policy never (HttpRequest r) on * -> db when r.method == "PUT" { r.DropRequest(405); }
        """,
    ),
    "by default": (
        "default TcpConnection.verdict = deny on ? -> cart;",
        """
        policy let (TcpConnection c) on job -> ? { c.AllowConnection(); }
        policy seen (HttpRequest r) on outside -> web when r.method == "PUT" { r.DropRequest(405); }
        """,
    ),
}


@pytest.mark.parametrize("planes", SETS, ids=ids)
@pytest.mark.parametrize("world", list(WORLDS))
def test_what_it_carries_gets_no_answer(tmp_path: Path, planes: tuple[str, ...], world: str) -> None:
    """On every call path what the interpreter says, and nothing of what other policies say of the requests."""
    needs(planes)
    mesh, policies = WORLDS[world]
    if "envoy" not in planes and "haproxy" not in planes:
        policies = policies.replace("on outside -> web", "on * -> cart -> db")
    ws = opened(tmp_path / "mesh", planes, policies, mesh)
    program = project.program(ws.db, "shop")
    assert program is not None
    made = plan(program)
    assert made.unenforceable == ()
    out = jobs.write(jobs.rendered(ws, "shop", base_port=free_base()), tmp_path / "built").folder
    with local.deploy(out, tmp_path / "state", foreground=True) as deployment:
        rows = [proof.check(program, made, deployment, *todo) for todo in proof.requests(program)]
    assert [row for row in rows if not row.same] == []
    seen = {row.seen for row in rows}
    assert any(text.startswith("no answer") for text in seen), seen
    assert any(text.startswith("200") for text in seen), seen


def answer(address: str) -> bytes:
    """All that comes on a new connection that asks for something; empty also if there is no connection."""
    try:
        with socket.create_connection(split_address(address), timeout=60) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: db\r\nconnection: close\r\n\r\n")
            return b"".join(iter(lambda: connection.recv(65536), b""))
    except ConnectionError:
        return b""


STAYS = """
policy seen (HttpRequest r) on * -> web -> cart { r.SetHeader("x-seen", "1"); }
policy here (HttpRequest r) on * -> web -> db when r.method == "PUT" { r.DropRequest(405); }
"""
CLOSED = "policy closed (TcpConnection c) on web -> db { c.DropConnection(); }\n"


def test_an_edit_in_the_kernel_is_in_force_for_the_next_connection(tmp_path: Path, state: Path) -> None:
    planes = ("ebpf",)
    needs(planes)
    base = free_base()
    refusal = STAYS[STAYS.index("policy here") :]
    before = built(tmp_path / "open", planes, refusal, base)
    after = built(tmp_path / "closed", planes, refusal + CLOSED, base)
    deployment = local.deploy(before, state)
    processes = [p["pid"] for p in (local.status(state) or {})["processes"]]
    for out, reached in ((after, False), (before, True), (after, False)):
        deployment = local.deploy(out, state)
        seen = client.send(deployment, ["web", "db"], outside=True).hops
        assert [hop.reached for hop in seen] == [True, reached]
        assert reached or (seen[1].status, seen[1].denied_by) == (None, None)
        assert client.send(deployment, ["web", "cart"], outside=True).status == 200
    assert [p["pid"] for p in (local.status(state) or {})["processes"]] == processes


def proxied(deployment: Deployment, caller: str, callee: str) -> str:
    return str(deployment.built.services[caller]["dial"][callee][0])


@pytest.mark.parametrize(
    ("dataplane", "status", "denied_by"), [("envoy", 403, "envoy"), ("haproxy", 200, None)], ids=["envoy", "haproxy"]
)
def test_an_edit_at_a_proxy_ends_connections_that_stand(
    tmp_path: Path, state: Path, dataplane: str, status: int, denied_by: str | None
) -> None:
    """HAProxy's next answer is one under the policies of before."""
    planes = (dataplane,)
    needs(planes)
    base = free_base()
    before = built(tmp_path / "open", planes, STAYS, base)
    after = built(tmp_path / "closed", planes, STAYS + CLOSED, base)
    deployment = local.deploy(before, state)
    address = proxied(deployment, "web", "db")
    processes = [p["pid"] for p in (local.status(state) or {})["processes"]]
    for _ in range(2):
        standing = Client(address)
        assert standing.send().status == 200
        local.deploy(after, state)
        reply = standing.send()
        assert (reply.status, reply.header("x-m4-denied-by")) == (status, denied_by)
        assert reply.header("connection") == "close"
        assert answer(address) == b""
        assert answer(proxied(deployment, "web", "cart")).startswith(b"HTTP/1.1 200")
        local.deploy(before, state)
        assert answer(address).startswith(b"HTTP/1.1 200")
    assert [p["pid"] for p in (local.status(state) or {})["processes"]] == processes
