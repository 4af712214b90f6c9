"""Marks on real requests: who is labelled once, at the door, is known on later hops that carry no header of it."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator

import m4bpf
import pytest
from envoy_kit import LACKING
from m4c.cli import jobs
from m4c.placement.elements import elements
from m4c.workspace import Workspace
from m4deploy import local
from m4deploy.app import DEMO_HEADER
from ports import free_base

KERNEL = m4bpf.probe()
pytestmark = pytest.mark.skipif(not KERNEL.ok or "envoy" in LACKING, reason="the kernel and Envoy are needed")

GRAPH = """\
services:
  frontend: {entry: true, origin: false}
  catalog: {origin: false}
  stock: {origin: false}
  experimental: {origin: false}
  ledger: {origin: false}
  archive: {origin: false}
calls: [[frontend, catalog], [catalog, experimental], [catalog, stock], [stock, ledger],
        [ledger, archive], [archive, experimental]]
"""
MESH = """\
mesh shop {
    graph "graph.yaml";
    dataplanes ebpf, envoy;
}
policy label_beta (HttpRequest r) on outside -> frontend
    when r.header["x-user-group"] == "beta" { r.Mark("beta"); }
policy beta_only (HttpRequest r) on * -> catalog -> experimental
    when !r.mark["beta"] { r.DropRequest(404); }
policy note_orders (HttpRequest r) on * -> catalog -> stock
    when r.method == "POST" { r.Mark("order"); }
policy show_orders (HttpRequest r) on * -> stock -> ledger
    when r.mark["order"] { r.SetHeader("x-order", "yes"); }
policy orders_end_here (HttpRequest r) on * -> archive -> experimental
    when r.mark["order"] && r.mark["beta"] { r.DropRequest(409); }
"""


class Shop:
    """The deployed mesh, from outside."""

    def __init__(self, address: str, plan: list[tuple[str, str, str]]) -> None:
        self.address = address
        self.plan = plan  # (policy, service, dataplane)

    def get(self, *path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str]]:
        """The status of the last hop that answers, and the headers with which the request came to the last service.
        `headers` are those of the request from outside alone."""
        host, _, port = self.address.rpartition(":")
        chain = {"method": method, "target": "/", "headers": [], "body": "", "delay": 0.0, "path": list(path)}
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            sent[DEMO_HEADER] = base64.b64encode(json.dumps(chain).encode()).decode()
            connection.request(method, "/", headers=sent)
            reply = connection.getresponse()
            answer = {"status": reply.status, "body": json.loads(reply.read())}
        finally:
            connection.close()
        while answer["body"].get("next"):
            answer = answer["body"]["next"]
            if not isinstance(answer.get("body"), dict):
                return answer["status"], {}
        return answer["status"], {name.lower(): value for name, value in answer["body"]["request"]["headers"]}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("marks")
    (folder / "mesh").mkdir()
    (folder / "mesh" / "graph.yaml").write_text(GRAPH)
    (folder / "mesh" / "mesh.m4").write_text(MESH)
    workspace = Workspace([folder / "mesh"])
    program, plan = jobs.planned(workspace, "shop")
    assert elements(program, plan)
    jobs.write(jobs.rendered(workspace, "shop", free_base()), folder / "built")
    with local.deploy(folder / "built", folder / "state", foreground=True) as deployment:
        placed = [(o.policy, o.service, o.dataplane) for o in plan.operations]
        yield Shop(deployment.built.services["frontend"]["entry"][0], placed)


def test_kernel_and_proxy_hand_marks_to_each_other(shop: Shop) -> None:
    assert ("label_beta", "frontend", "envoy") in shop.plan
    assert ("beta_only", "catalog", "ebpf") in shop.plan
    assert ("note_orders", "catalog", "ebpf") in shop.plan
    assert ("show_orders", "stock", "envoy") in shop.plan or ("show_orders", "ledger", "envoy") in shop.plan
    assert ("orders_end_here", "archive", "ebpf") in shop.plan


def test_who_was_labelled_at_the_door_is_known_in_the_kernel_later(shop: Shop) -> None:
    status, headers = shop.get("catalog", "experimental", x_user_group="beta")
    assert status == 200
    assert "x-user-group" not in headers, "it is known without the header"
    assert shop.get("catalog", "experimental")[0] == 404
    assert shop.get("catalog", "experimental", x_user_group="alpha")[0] == 404


def test_what_the_kernel_marks_a_proxy_knows(shop: Shop) -> None:
    status, headers = shop.get("catalog", "stock", "ledger", method="POST")
    assert (status, headers.get("x-order")) == (200, "yes")
    status, headers = shop.get("catalog", "stock", "ledger", method="GET", x_user_group="beta")
    assert (status, headers.get("x-order")) == (200, None)


@pytest.mark.parametrize(
    ("method", "group", "status"),
    [("POST", "beta", 409), ("POST", "alpha", 200), ("GET", "beta", 200), ("GET", "alpha", 200)],
)
def test_both_marks_come_back_to_the_kernel(shop: Shop, method: str, group: str, status: int) -> None:
    path = ("catalog", "stock", "ledger", "archive", "experimental")
    assert shop.get(*path, method=method, x_user_group=group)[0] == status


@pytest.mark.parametrize("forged", [f"{tag:04x}" for tag in range(8)] + ["ffff", "1", "beta"])
def test_nobody_marks_himself_from_outside(shop: Shop, forged: str) -> None:
    assert shop.get("catalog", "experimental", m4_ctx=forged)[0] == 404
    status, headers = shop.get("catalog", "stock", "ledger", m4_ctx=forged)
    assert (status, headers.get("x-order")) == (200, None)
    assert shop.get("catalog", "experimental", m4_ctx=forged, x_user_group="beta")[0] == 200
