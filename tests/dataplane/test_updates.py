"""Policies that change under load: no request is lost, and each is judged by the old ones or by the new ones."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import m4bpf
import pytest
from envoy_kit import EACH_PROXY, compare, drop, rule, set_header
from load_kit import Load
from local_kit import build
from m4deploy import local
from m4deploy.drivers.envoy_files import take_apart
from m4deploy.processes import split_address
from ports import free_base

KERNEL = m4bpf.probe()
CLIENTS = 4


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    local.undeploy(tmp_path / "state")


def edition(out: Path, number: int, base: int, proxy: str, extra: list[dict[str, Any]] | None = None) -> Path:
    """Policies that write the number of the edition into two headers, and into the status of a denial."""
    rules = [
        set_header(0, "x-one", str(number)),
        set_header(1, "x-two", str(number), {"kind": "not", "of": compare("==", "nobody", "x-user")}),
        drop(2, compare("==", "yes", "x-deny"), 410 + number),
        *(extra or []),
    ]
    return build(out, [("frontend", proxy)], {(proxy, "frontend", "ingress.outside"): {"rules": rules}}, base)


def told(body: bytes) -> tuple[str, str]:
    """The editions that the application read in the two headers."""
    headers = dict(json.loads(body)["request"]["headers"])
    return headers["x-one"], headers["x-two"]


@pytest.mark.parametrize("proxy", EACH_PROXY)
def test_an_edit_loses_no_request_and_splits_none(tmp_path: Path, state: Path, proxy: str) -> None:
    base = free_base()
    editions = [edition(tmp_path / f"{n}", n, base, proxy) for n in range(4)]
    deployment = local.deploy(editions[0], state)
    before = local.status(state)
    assert before is not None
    address = deployment.built.services["frontend"]["entry"][0]
    with Load(address) as passing, Load(address, headers={"x-deny": "yes"}) as denied:
        for number in (1, 2, 3):
            local.deploy(editions[number], state)
            passing.wait_for(3)
            denied.wait_for(3)
    assert not passing.failures + denied.failures
    assert {status for _, status, _ in passing.seen} == {200}
    found = [told(body) for _, _, body in passing.seen]
    assert all(one == two for one, two in found)
    assert {one for one, _ in found} == {"0", "1", "2", "3"}
    assert {status for _, status, _ in denied.seen} == {410, 411, 412, 413}
    assert {status for status, _ in denied.last()} == {413}
    after = local.status(state)
    assert after is not None
    assert [p["pid"] for p in after["processes"]] == [p["pid"] for p in before["processes"]]
    (element,) = after["elements"]
    assert element["counters"]["ingress.outside"]["seen"] <= len(passing.seen) + len(denied.seen)


def test_envoy_judges_the_next_request_of_an_open_connection(tmp_path: Path, state: Path) -> None:
    """When the command is done no old policy answers any more, however long a connection was open and idle."""
    base = free_base()
    deployment = local.deploy(edition(tmp_path / "0", 0, base, "envoy"), state)
    address = deployment.built.services["frontend"]["entry"][0]
    connections = [http.client.HTTPConnection(*split_address(address), timeout=60) for _ in range(8)]

    def statuses() -> set[int]:
        found = set()
        for connection in connections:
            connection.request("GET", "/", headers={"x-deny": "yes"})
            reply = connection.getresponse()
            reply.read()
            found.add(reply.status)
        return found

    assert statuses() == {410}
    sockets = [connection.sock for connection in connections]
    for number in (1, 2):
        local.deploy(edition(tmp_path / f"{number}", number, base, "envoy"), state)
        assert statuses() == {410 + number}
    assert [connection.sock for connection in connections] == sockets


def test_an_edit_that_replaces_a_listener_loses_no_request(tmp_path: Path, state: Path) -> None:
    """More filters than there are slots, a header that is computed on arrival, and other clusters."""
    base = free_base()
    more = [set_header(n, f"x-{n}", "v", compare("==", "/", None, "url_path")) for n in range(3, 9)]
    more.append(rule(9, "SetHost", {"to": "elsewhere"}))
    few, many = edition(tmp_path / "few", 0, base, "envoy"), edition(tmp_path / "many", 1, base, "envoy", more)
    files = [take_apart((f / "envoy" / "frontend" / "envoy.yaml").read_text()).files for f in (few, many)]
    assert files[0]["listeners.json"] != files[1]["listeners.json"]
    names = [{cluster["name"] for cluster in json.loads(each["clusters.json"])["resources"]} for each in files]
    assert names[0] != names[1]
    deployment = local.deploy(few, state)
    with Load(deployment.built.services["frontend"]["entry"][0]) as load:
        for folder in (many, few, many):
            local.deploy(folder, state)
            load.wait_for(4)
    assert not load.failures
    assert {status for _, status, _ in load.seen} == {200}
    found = [told(body) for _, _, body in load.seen]
    assert all(one == two for one, two in found)
    assert {told(body) for _, body in load.last()} == {("1", "1")}
    assert dict(json.loads(load.last()[0][1])["request"]["headers"])["host"] == "elsewhere"

    def clusters() -> set[str]:
        admin = http.client.HTTPConnection(*split_address(deployment.built.services["frontend"]["admin"]), timeout=60)
        admin.request("GET", "/clusters?format=json")
        return {cluster["name"] for cluster in json.loads(admin.getresponse().read())["cluster_statuses"]}

    # A connection of a replaced listener may still be open, and needs its own.
    assert clusters() == names[0] | names[1]


@pytest.mark.parametrize("proxy", EACH_PROXY)
def test_a_request_under_way_gets_its_answer(tmp_path: Path, state: Path, proxy: str) -> None:
    """One that takes longer than the edit, and was judged before it."""
    base = free_base()
    slow = rule(5, "Delay", {"time": 3_000_000_000, "share": 10000}, compare("==", "yes", "x-slow"))
    one, two = (edition(tmp_path / f"{n}", n, base, proxy, [slow]) for n in (0, 1))
    deployment = local.deploy(one, state)
    address = deployment.built.services["frontend"]["entry"][0]
    connection = http.client.HTTPConnection(*split_address(address), timeout=60)
    connection.request("GET", "/", headers={"x-slow": "yes"})
    local.deploy(two, state)
    reply = connection.getresponse()
    assert (reply.status, told(reply.read())) == (200, ("0", "0"))


@pytest.mark.skipif(not KERNEL.ok, reason="; ".join(KERNEL.reasons))
def test_programs_come_change_and_go_without_a_new_start(tmp_path: Path, state: Path) -> None:
    base = free_base()

    def built(name: str, status: int | None) -> Path:
        rules = [] if status is None else [{**drop(0, compare("==", "yes", "x-deny"), status), "emits": "verdict.c.j2"}]
        elements = [("frontend", "ebpf")] if status else []
        return build(tmp_path / name, elements, {("ebpf", "frontend", "egress.cart"): {"rules": rules}}, base)

    def answer() -> int | None:
        found = local.current(state)
        assert found is not None
        from m4deploy.client import send

        return send(found, ["frontend", "cart"], outside=False, headers=[("x-deny", "yes")]).status

    local.deploy(built("nothing", None), state)
    before = local.status(state)
    assert before is not None
    assert answer() == 200
    for name, status in (("a", 451), ("b", 410), ("none", None), ("c", 418), ("again", 451)):
        local.deploy(built(name, status), state)
        assert answer() == (status or 200)
        after = local.status(state)
        assert after is not None
        assert after["processes"] == before["processes"]
        assert len(after["elements"]) == (status is not None)
