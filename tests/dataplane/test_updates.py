"""Policies that change under load: no request is lost, and each is judged by the old ones or by the new ones."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import m4bpf
import pytest
from envoy_kit import EACH_PROXY, LACKING, compare, drop, rule, set_header, sleeping
from load_kit import Load
from local_kit import build
from m4c.cli import jobs
from m4c.workspace import Workspace
from m4deploy import local
from m4deploy.built import Policy
from m4deploy.drivers.envoy_files import take_apart
from m4deploy.processes import split_address
from m4deploy.update import in_turn
from ports import free_base
from test_local import eventually

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


ANSWERS = """
state Counter seen;
state Counter edition_%(n)d;
policy one (HttpResponse p) on outside -> web { p.SetHeader("x-one", "%(n)d"); seen.Increment(); }
policy two (HttpResponse p) on outside -> web when p.status == 200 { p.SetHeader("x-two", "%(n)d"); }
policy three (HttpResponse p) on outside -> web when exists p.request.header["x-load"] {
    p.AppendHeader("x-three", "%(n)d");
    edition_%(n)d.Increment();
}
policy arrives (HttpRequest r) on outside -> web { r.SetHeader("x-asked", "%(n)d"); }
"""
MORE = "".join(
    f'policy more_{n} (HttpResponse p) on outside -> web when p.header["x-{n}"] == "1" {{ p.RemoveHeader("x-{n}"); }}\n'
    for n in range(12)
)


def answering(folder: Path, number: int, base: int, more: str = "") -> Path:
    """Policies that write the number of the edition into answers, in three ways, and into requests."""
    folder.mkdir()
    (folder / "graph.yaml").write_text("services:\n  web: {entry: true, origin: false}\n")
    (folder / "shop.m4").write_text(
        'mesh shop { graph "graph.yaml"; dataplanes envoy; }\n' + ANSWERS % {"n": number} + more
    )
    return jobs.write(jobs.rendered(Workspace([folder]), "shop", base), folder / "built").folder


@pytest.mark.skipif("envoy" in LACKING, reason=LACKING.get("envoy", ""))
def test_an_edit_of_what_answers_get_loses_none_and_splits_none(tmp_path: Path, state: Path) -> None:
    """Each is judged by all of the old policies or by all of the new ones: it, the request that it answers, and what is
    counted. The third edition has so many more that the listener is another one."""
    base = free_base()
    editions = [answering(tmp_path / f"{n}", n, base, MORE if n == 2 else "") for n in range(5)]
    deployment = local.deploy(editions[0], state)
    with Load(deployment.built.services["web"]["entry"][0], headers={"x-load": "1"}) as load:
        for edited in editions[1:]:
            local.deploy(edited, state)
            load.wait_for(4)
    assert not load.failures
    assert {status for _, status, _ in load.seen} == {200}
    found = [(f.get("x-one"), f.get("x-two"), f.get("x-three")) for f in load.fields]
    asked = [dict(json.loads(body)["request"]["headers"])["x-asked"] for _, _, body in load.seen]
    assert {each for each in zip(found, asked, strict=True) if set(each[0]) != {each[1]}} == set()
    assert set(asked) == {"0", "1", "2", "3", "4"}

    def counted() -> dict[str, int]:
        (element,) = (local.status(state) or {})["elements"]
        return dict(element["tallies"])

    expected = {f"edition_{n}": asked.count(str(n)) for n in range(5)} | {"seen": len(asked)}
    assert eventually(lambda: {k: v for k, v in counted().items() if v} == expected), (counted(), expected)


@pytest.mark.skipif("envoy" in LACKING, reason=LACKING.get("envoy", ""))
def test_an_answer_that_comes_after_an_edit_is_judged_as_its_request_was(tmp_path: Path, state: Path) -> None:
    base = free_base()
    deployment = local.deploy(answering(tmp_path / "0", 0, base), state)
    address = deployment.built.services["web"]["entry"][0]
    for number, more in ((1, ""), (2, MORE)):
        connection = http.client.HTTPConnection(*split_address(address), timeout=60)
        connection.request("GET", "/", headers=dict([("x-load", "1"), sleeping(3.0)]))
        local.deploy(answering(tmp_path / f"{number}", number, base, more), state)
        reply = connection.getresponse()
        asked = dict(json.loads(reply.read())["request"]["headers"])["x-asked"]
        assert {reply.getheader(f"x-{name}") for name in ("one", "two", "three")} == {asked}
        assert asked == str(number - 1)


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


def test_what_a_policy_comes_to_changes_first() -> None:
    kernel, proxy, other = ("web", "ebpf"), ("web", "envoy"), ("cart", "envoy")
    gate, seen = ("web", "cart", "gate"), ("web", "db", "seen")
    keys = [kernel, other, proxy]
    both = {kernel: {gate, seen}, proxy: set[Policy](), other: set[Policy]()}
    assert in_turn(keys, both, both) == [(kernel, False), (other, False), (proxy, False)]
    moved = {kernel: {seen}, proxy: {gate}, other: set[Policy]()}
    assert in_turn(keys, both, moved) == [(other, False), (proxy, False), (kernel, True)]
    assert in_turn(keys, moved, both) == [(kernel, False), (other, False), (proxy, True)]
    assert in_turn([kernel, proxy], both, {proxy: {gate, seen}}) == [(proxy, False), (kernel, True)]  # the program goes
    crossed = {kernel: {gate}, proxy: {seen}}, {kernel: {seen}, proxy: {gate}}
    assert in_turn([kernel, proxy], *crossed) == [(kernel, False), (proxy, True)]
    assert in_turn([], both, moved) == []


MOVING = """
mesh shop {{ graph "graph.yaml"; dataplanes ebpf, envoy; }}
state TokenBucket rarely(rate: 1/h, burst: 1000000);
policy limited (HttpRequest r) on web -> db when !rarely.Take() {{ r.DropRequest(429); }}
policy noted (HttpRequest r) on web -> db at egress {{ r.SetHeader("x-noted", "1"); }}
policy gate (HttpRequest r) on web -> cart when r.header["x-deny"] == "yes" {{ {operation}; }}
"""


@pytest.mark.skipif(not KERNEL.ok or "envoy" in LACKING, reason="this machine does not run both")
def test_a_policy_that_moves_to_another_element_is_in_force_all_the_time(tmp_path: Path, state: Path) -> None:
    """What a policy comes to changes before what it leaves: both may judge a request, but never neither."""
    base, built = free_base(), {}
    for name, operation in (("ebpf", "r.DropRequest(451)"), ("envoy", 'r.Redirect("/no", 307)')):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "graph.yaml").write_text("services: {web: {}, cart: {}, db: {}}\ncalls: [[web, cart], [web, db]]\n")
        (folder / "shop.m4").write_text(MOVING.format(operation=operation))
        built[name] = tmp_path / f"{name}.built"
        jobs.write(jobs.rendered(Workspace([folder]), "shop", base), built[name])
    deployment = local.deploy(built["ebpf"], state)
    (address,) = deployment.built.services["web"]["dial"]["cart"]
    with Load(address, headers={"x-deny": "yes"}) as load:
        for name, status in (("envoy", 307), ("ebpf", 451)) * 4:
            local.deploy(built[name], state)
            load.wait_for(3)
            assert {one for one, _ in load.last()} == {status}
    assert not load.failures
    assert {status for _, status, _ in load.seen} == {307, 451}
