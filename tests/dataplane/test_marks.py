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
MESHES = (("ebpf", "envoy"), ("ebpf", "haproxy"), ("envoy",), ("haproxy",))

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
    dataplanes DATAPLANES;
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
policy forget_orders (HttpRequest r) on * -> ledger -> archive
    when r.header["x-done"] == "yes" { r.Unmark("order"); }
"""


class Shop:
    """The deployed mesh, from outside."""

    def __init__(self, address: str, dataplanes: tuple[str, ...], plan: list[tuple[str, str, str]]) -> None:
        self.address = address
        self.dataplanes = dataplanes
        self.plan = plan  # (policy, service, dataplane)

    def get(
        self, *path: str, method: str = "GET", inside: tuple[str, str] | None = None, **headers: str
    ) -> tuple[int, dict[str, str]]:
        """The status of the last hop that answers, and the headers with which the request came to the last service.
        `headers` are those of the request from outside alone; the requests that it causes have `inside`."""
        host, _, port = self.address.rpartition(":")
        sets = [inside] if inside else []
        chain = {"method": method, "target": "/", "headers": sets, "body": "", "delay": 0.0, "path": list(path)}
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


@pytest.fixture(scope="module", params=MESHES, ids="-".join)
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The mesh, with each of these sets of dataplanes."""
    dataplanes: tuple[str, ...] = request.param
    if "ebpf" in dataplanes and not KERNEL.ok:
        pytest.skip("; ".join(KERNEL.reasons))
    for name in LACKING.keys() & set(dataplanes):
        pytest.skip(LACKING[name])
    folder = tmp_path_factory.mktemp("marks")
    (folder / "mesh").mkdir()
    (folder / "mesh" / "graph.yaml").write_text(GRAPH)
    (folder / "mesh" / "mesh.m4").write_text(MESH.replace("DATAPLANES", ", ".join(dataplanes)))
    workspace = Workspace([folder / "mesh"])
    program, plan = jobs.planned(workspace, "shop")
    assert elements(program, plan)
    jobs.write(jobs.rendered(workspace, "shop", free_base()), folder / "built")
    with local.deploy(folder / "built", folder / "state", foreground=True) as deployment:
        placed = [(o.policy, o.service, o.dataplane) for o in plan.operations]
        yield Shop(deployment.built.services["frontend"]["entry"][0], dataplanes, placed)


def test_the_dataplanes_hand_marks_to_each_other(shop: Shop) -> None:
    """In a mesh with the kernel: it can neither be at the door nor set a header, and is the cheapest for all else."""
    first, proxy = shop.dataplanes[0], shop.dataplanes[-1]
    assert ("label_beta", "frontend", proxy) in shop.plan
    assert ("show_orders", "stock", proxy) in shop.plan or ("show_orders", "ledger", proxy) in shop.plan
    assert "forget_orders" in {policy for policy, _, _ in shop.plan}
    found = {policy: dataplane for policy, _, dataplane in shop.plan}
    elsewhere = ("beta_only", "note_orders", "orders_end_here")
    assert {policy: found[policy] for policy in elsewhere} == dict.fromkeys(elsewhere, first)


def test_who_was_labelled_at_the_door_is_known_later(shop: Shop) -> None:
    status, headers = shop.get("catalog", "experimental", x_user_group="beta")
    assert status == 200
    assert "x-user-group" not in headers, "it is known without the header"
    assert shop.get("catalog", "experimental")[0] == 404
    assert shop.get("catalog", "experimental", x_user_group="alpha")[0] == 404


def test_what_a_hop_marks_a_later_one_knows(shop: Shop) -> None:
    status, headers = shop.get("catalog", "stock", "ledger", method="POST")
    assert (status, headers.get("x-order")) == (200, "yes")
    status, headers = shop.get("catalog", "stock", "ledger", method="GET", x_user_group="beta")
    assert (status, headers.get("x-order")) == (200, None)


@pytest.mark.parametrize(
    ("method", "group", "status"),
    [("POST", "beta", 409), ("POST", "alpha", 200), ("GET", "beta", 200), ("GET", "alpha", 200)],
)
def test_both_marks_are_known_four_hops_later(shop: Shop, method: str, group: str, status: int) -> None:
    path = ("catalog", "stock", "ledger", "archive", "experimental")
    assert shop.get(*path, method=method, x_user_group=group)[0] == status


def test_who_is_unmarked_is_not_known_any_more(shop: Shop) -> None:
    path = ("catalog", "stock", "ledger", "archive", "experimental")
    for value, status in (("no", 409), ("yes", 200)):
        assert shop.get(*path, method="POST", x_user_group="beta", inside=("x-done", value))[0] == status


@pytest.mark.parametrize("forged", [f"{tag:04x}" for tag in range(8)] + ["ffff", "1", "beta"])
def test_nobody_marks_himself_from_outside(shop: Shop, forged: str) -> None:
    assert shop.get("catalog", "experimental", m4_ctx=forged)[0] == 404
    status, headers = shop.get("catalog", "stock", "ledger", m4_ctx=forged)
    assert (status, headers.get("x-order")) == (200, None)
    assert shop.get("catalog", "experimental", m4_ctx=forged, x_user_group="beta")[0] == 200
