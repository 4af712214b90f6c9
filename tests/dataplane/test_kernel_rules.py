"""Conditions, tags and sites of generated kernel programs, held against an evaluator in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import m4bpf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernelkit import (
    TRUE,
    Client,
    Server,
    allow,
    compare,
    deny,
    egress,
    element,
    header,
    in_force,
    inside,
    kernel_group,
    negate,
    render,
    server,
)

__all__ = ["kernel_group", "server"]

Request = Mapping[str, Any]  # method, target, fields: list of (name, value), tag: int


def holds(when: dict[str, Any], request: Request) -> bool:
    """The meaning of a condition, written down independently of the templates."""
    match when["kind"]:
        case "true":
            return True
        case "false":
            return False
        case "all":
            return all(holds(part, request) for part in when["of"])
        case "any":
            return any(holds(part, request) for part in when["of"])
        case "not":
            return not holds(when["of"], request)
        case "tag":
            return request["tag"] in when["in"]
    if when["attribute"] == "header":
        values = [value for name, value in request["fields"] if name.lower() == when["key"]]
        text = ",".join(values) if values else None
    elif when["attribute"] == "url_path":
        text = request["target"].partition("?")[0]
    else:
        text = request[when["attribute"]]
    if text is None:
        return False
    right = when["value"]
    match when["op"]:
        case "==":
            return text == right
        case "in":
            return text in right
        case "starts_with":
            return text.startswith(right)
        case "ends_with":
            return text.endswith(right)
        case "contains":
            return right in text
        case "exists":
            return True
    raise AssertionError(when)


def encode(request: Request, width: int = 4) -> bytes:
    lines = [f"{request['method']} {request['target']} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in request["fields"]]
    if request["tag"]:
        lines.append(f"m4-ctx: {request['tag']:0{width}x}")
    return "\r\n".join([*lines, "", ""]).encode()


def request(
    method: str = "GET", target: str = "/", fields: list[tuple[str, str]] | None = None, tag: int = 0
) -> dict[str, Any]:
    return {"method": method, "target": target, "fields": fields or [], "tag": tag}


CONDITIONS: dict[str, dict[str, Any]] = {
    "true": TRUE,
    "false": {"kind": "false"},
    "no-part": {"kind": "all", "of": []},
    "no-choice": {"kind": "any", "of": []},
    "tag": {"kind": "tag", "in": [0, 3, 0xFFFF]},
    "no-tag": {"kind": "tag", "in": []},
    "method-equals": compare("method", "==", "GET"),
    "method-in": compare("method", "in", ["PUT", "POST", "GE"]),
    "method-in-nothing": compare("method", "in", []),
    "method-starts": compare("method", "starts_with", "P"),
    "method-exists": compare("method", "exists"),
    "target-equals": compare("target", "==", "/cart?id=7"),
    "target-ends": compare("target", "ends_with", "=7"),
    "target-contains": compare("target", "contains", "?id="),
    "path-equals": compare("url_path", "==", "/cart"),
    "path-starts": compare("url_path", "starts_with", "/cart"),
    "path-ends": compare("url_path", "ends_with", "items/deep"),
    "path-long": compare("url_path", "==", "/" + "long" * 20),
    "path-empty": compare("url_path", "==", ""),
    "header-equals": header("x-group", "==", "beta"),
    "header-equals-empty": header("x-group", "==", ""),
    "header-in": header("x-group", "in", ["alpha", "beta", "a,b"]),
    "header-starts": header("x-group", "starts_with", "be"),
    "header-starts-empty": header("x-group", "starts_with", ""),
    "header-ends": header("x-group", "ends_with", "ta"),
    "header-contains": header("x-group", "contains", "et"),
    "header-contains-empty": header("x-group", "contains", ""),
    "header-contains-comma": header("x-group", "contains", "a,b"),
    "header-exists": header("x-group", "exists"),
    "header-joined": header("x-group", "==", "beta,beta"),
    "other-header": header("x-a_~^|!#$%&'*+.`1", "==", "special"),
    "utf-8": header("x-name", "==", "Zoë ☃"),
    "quotes": header("x-name", "==", 'a"b\\c??/d%s'),
    "both": {"kind": "all", "of": [header("x-group", "exists"), compare("method", "==", "GET")]},
    "either": {"kind": "any", "of": [header("x-name", "exists"), compare("method", "==", "PUT")]},
    "nested": {
        "kind": "all",
        "of": [negate({"kind": "any", "of": [header("x-name", "exists"), {"kind": "tag", "in": [7]}]}), TRUE],
    },
}

REQUESTS: list[dict[str, Any]] = [
    request(),
    request("PUT", "/cart"),
    request("GE", "/cart?id=7"),
    request("POST", "/Cart?id=7"),
    request("GETT", "/cart/items/deep"),
    request("P", "/cart?x=/items/deep"),
    request(target="/" + "long" * 20),
    request(target="/" + "long" * 20 + "g"),
    request(target="/?id=7"),
    request(target="/x:80/cart?id=77"),
    request(target="*", method="OPTIONS"),
    *(
        request(fields=[(name, value)])
        for name in ("x-group", "X-Group", "x-grouq", "x-grou", "x-group1")
        for value in ("beta", "Beta", "bet", "betaa", "", "eta", "be", "a,b")
    ),
    request(fields=[("x-group", "beta"), ("Host", "h"), ("X-GROUP", "beta")]),
    request(fields=[("x-group", "a"), ("x-group", "b")]),
    request(fields=[("x-group", ""), ("x-group", "")]),
    request(fields=[("x-group", "be"), ("x-name", "1"), ("x-group", "ta"), ("x-name", "2")]),
    request(fields=[("x-group", str(n)) for n in range(60)] + [("x-group", "beta")]),
    request(fields=[("X-A_~^|!#$%&'*+.`1", "special")]),
    request(fields=[("x-a_~~|!#$%&'*+.`1", "special")]),
    request(fields=[("x-a\x5f~^|!#$%&'*+.\x601", "special")]),
    request(fields=[("x-name", "Zoë ☃")]),
    request(fields=[("x-name", "Zoe\u0308 ☃")]),
    request(fields=[("x-name", 'a"b\\c??/d%s')]),
    *(request(tag=tag) for tag in (3, 7, 0x30, 0xFFFF)),
]


def test_every_condition_and_its_negation_decides_real_requests(
    server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    """One site a condition and polarity; a callee is the same server under another loopback address."""
    whens = [when for condition in CONDITIONS.values() for when in (condition, negate(condition))]
    wrong = mismatches(whens, REQUESTS, server, kernel_group, tmp_path)
    assert wrong == []


def mismatches(
    whens: list[dict[str, Any]], requests: list[dict[str, Any]], server: Server, cgroup: Path, folder: Path
) -> list[Any]:
    """Sends each request on each site, where one rule denies under one condition; what differs from `holds`."""
    listener = Server("0.0.0.0")
    hosts = [f"127.1.{i // 250}.{i % 250 + 1}" for i in range(len(whens))]
    sites = [egress(f"s{i}", [deny(i, when, 418)]) for i, when in enumerate(whens)]
    remote = {f"s{i}": [f"{host}:{listener.port}"] for i, host in enumerate(hosts)}
    wrong = []
    try:
        with in_force(sites, remote, folder, cgroup) as attached, inside(cgroup):
            for when, host in zip(whens, hosts, strict=True):
                with Client(listener, host) as client:
                    for one in requests:
                        client.send(encode(one))
                        status = client.answer().status
                        if (status == 418) != holds(when, one) or status not in (200, 418):
                            wrong.append((when, one, status))
            totals = attached.counters()
    finally:
        listener.close()
    denied = sum(counts["denied"] for counts in totals.values())
    assert denied == sum(holds(when, one) for when in whens for one in requests) or wrong
    assert all(counts["seen"] == len(requests) and not counts["errors"] for counts in totals.values())
    return wrong


SMALL = st.sampled_from(["", "a", "b", "ab", "a,b", "aa", "aba"])
TREES = st.recursive(
    st.one_of(
        st.just(TRUE),
        st.just({"kind": "false"}),
        st.builds(lambda tags: {"kind": "tag", "in": tags}, st.lists(st.integers(0, 3), max_size=2, unique=True)),
        st.builds(
            compare,
            st.sampled_from(["method", "target", "url_path"]),
            st.sampled_from(["==", "starts_with", "ends_with", "contains"]),
            st.sampled_from(["A", "B", "AB", "/a", "/", "/a?b", "b", ""]),
        ),
        st.builds(
            header,
            st.sampled_from(["x-a", "x-b"]),
            st.sampled_from(["==", "starts_with", "ends_with", "contains"]),
            SMALL,
        ),
        st.builds(header, st.sampled_from(["x-a", "x-b"]), st.just("in"), st.lists(SMALL, max_size=3)),
        st.builds(header, st.sampled_from(["x-a", "x-b"]), st.just("exists")),
    ),
    lambda inner: st.one_of(
        st.builds(negate, inner),
        st.builds(
            lambda kind, of: {"kind": kind, "of": of}, st.sampled_from(["all", "any"]), st.lists(inner, max_size=3)
        ),
    ),
    max_leaves=8,
)
SMALL_REQUESTS = st.builds(
    request,
    st.sampled_from(["A", "B", "AB", "BA"]),
    st.sampled_from(["/", "/a", "/a?b", "/b?a", "/ab", "/?b"]),
    st.lists(st.tuples(st.sampled_from(["x-a", "X-B", "x-c"]), SMALL), max_size=4),
    st.integers(0, 3),
)


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(whens=st.lists(TREES, min_size=40, max_size=40), requests=st.lists(SMALL_REQUESTS, min_size=25, max_size=25))
def test_random_conditions(
    server: Server,
    kernel_group: Path,
    tmp_path_factory: pytest.TempPathFactory,
    whens: list[dict[str, Any]],
    requests: list[dict[str, Any]],
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    assert mismatches(whens, requests, server, kernel_group, folder) == []


def test_of_several_refusals_the_smallest_status_is_answered(
    server: Server, kernel_group: Path, tmp_path: Path
) -> None:
    rules = [deny(1, header("x-a", "exists"), 451), deny(2, header("x-b", "exists"), 401), allow(3, TRUE)]
    with (
        in_force([egress("pay", rules)], {"pay": [server.address]}, tmp_path, kernel_group),
        inside(kernel_group),
        Client(server) as client,
    ):
        statuses = []
        for fields in ([], [("x-a", "")], [("x-b", "")], [("x-a", ""), ("x-b", "")]):
            client.send(encode(request(fields=fields)))
            statuses.append(client.answer().status)
    assert statuses == [200, 451, 401, 401]


@pytest.mark.parametrize("width", [1, 4, 8])
def test_tags_are_a_function_of_site_and_old_tag(
    server: Server, kernel_group: Path, tmp_path: Path, width: int
) -> None:
    """Also: conditions see the old tag, a denied request is not tagged, no map passes the tag unchanged."""
    top = 16**width - 1
    rules = [deny(1, {"kind": "tag", "in": [5]})]
    mapped = egress("a", rules, {"map": [{"from": [0, 2], "to": 5}, {"from": [1], "to": 0}], "otherwise": top})
    kept = egress("b", [], {"map": [{"from": [1], "to": 3}], "otherwise": None})
    passed = egress("c", [])
    listener = Server("0.0.0.0")
    remote = {name: [f"127.2.0.{i}:{listener.port}"] for i, name in enumerate("abc", 1)}
    seen: dict[str, list[list[str]]] = {}
    try:
        with in_force([mapped, kept, passed], remote, tmp_path, kernel_group, width) as attached, inside(kernel_group):
            for i, name in enumerate("abc", 1):
                listener.seen.clear()
                with Client(listener, f"127.2.0.{i}") as client:
                    for tag in (0, 1, 2, 5, 7):
                        client.send(encode(request(tag=tag), width))
                        assert client.answer().status == (403 if (name, tag) == ("a", 5) else 200)
                seen[name] = [one.values("m4-ctx") for one in listener.seen]
            counters = attached.counters()
    finally:
        listener.close()

    def digits(value: int) -> list[str]:
        return [f"{value:0{width}x}"]

    assert seen["a"] == [digits(5), digits(0), digits(5), digits(top)]
    assert seen["b"] == [[], digits(3), digits(2), digits(5), digits(7)]
    assert seen["c"] == [[], digits(1), digits(2), digits(5), digits(7)]
    assert {site: counts["tagged"] for site, counts in counters.items()} == {
        "egress.a": 4,
        "egress.b": 1,
        "egress.c": 0,
    }


def test_artifacts_are_deterministic_and_compile_for_every_shape(kernel_group: Path, tmp_path: Path) -> None:
    many = [deny(i, when) for i, when in enumerate(CONDITIONS.values())]
    everything = egress("x", many, {"map": [{"from": [1], "to": 2}, {"from": [], "to": 9}], "otherwise": 0})
    ingress = {**egress("front", []), "id": "ingress.front", "side": "ingress", "caller": "x", "callee": "front"}
    shapes = [[], [ingress], [ingress, everything], [egress("a", []), everything, egress("b", many[:3])]]
    for i, sites in enumerate(shapes):
        first, again = tmp_path / f"{i}", tmp_path / f"{i}-again"
        made = element(sites)
        render(made, first)
        render(made, again)
        for name in ("m4.bpf.c", "hops.json"):
            assert (first / name).read_bytes() == (again / name).read_bytes()
        hops = json.loads((first / "hops.json").read_text())["hops"]
        assert [hop["site"] for hop in hops] == [site["id"] for site in sites if site["side"] == "egress"]
        m4bpf.compile_program(first / "m4.bpf.c", first / "m4.bpf.o", [])
        with m4bpf.attach(first / "m4.bpf.o", kernel_group, first / "hops.json") as attached:
            assert set(attached.counters()) == {hop["site"] for hop in hops}


def test_a_large_program_loads(kernel_group: Path, tmp_path: Path) -> None:
    """Eight hops, a dozen rules of fourteen comparisons each: what the verifier must be able to take."""
    rules = [
        deny(
            i,
            {
                "kind": "any",
                "of": [
                    {
                        "kind": "all",
                        "of": [compare("url_path", "starts_with", f"/area/{i}/"), header(f"x-{i % 9}", "exists")],
                    },
                    negate(header(f"x-{i % 5}", "in", [f"value-{j}" for j in range(4)])),
                    {"kind": "tag", "in": list(range(i, i + 8))},
                ],
            },
        )
        for i in range(12)
    ]
    tags = {"map": [{"from": list(range(i, 400, 7)), "to": i} for i in range(7)], "otherwise": 1}
    render(element([egress(f"s{i}", rules, tags) for i in range(8)]), tmp_path)
    m4bpf.compile_program(tmp_path / "m4.bpf.c", tmp_path / "m4.bpf.o", [])
    m4bpf.attach(tmp_path / "m4.bpf.o", kernel_group, tmp_path / "hops.json").close()


@pytest.mark.parametrize(
    "when",
    [
        header("x", "matches", "a+"),
        compare("peer", "==", "x"),
        {"kind": "version", "in": ["v2"]},
        header("x", "==", "y" * 1025),
    ],
)
def test_what_the_kernel_cannot_decide_is_not_rendered(tmp_path: Path, when: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="the kernel"):
        render(element([egress("a", [deny(1, when)])]), tmp_path)
