"""The templates of the proxies: every kind of rule, through a real Envoy and a real HAProxy, before a real server."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from envoy_kit import (
    EACH_PROXY,
    SPEC,
    Bench,
    Client,
    addresses,
    compare,
    declared,
    drop,
    element,
    emitted,
    evaluate,
    render,
    rule,
    rule_of,
    set_header,
    site,
    sleeping,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError
from m4deploy.drivers import haproxy
from m4deploy.drivers.envoy import binary

Json = dict[str, Any]
ODD = "a\"b\\c'd{e}%f,g #h:|i\t~ é€😀\x85\u2028\u2029\ufeff %REQ(:path)% {{ 7 }}"
TAG = "m4-ctx"


def negated(cond: Json) -> Json:
    return {"kind": "not", "of": cond}


# --- conditions -----------------------------------------------------------------------------------------------------

VALUES: list[list[tuple[str, str | bytes]]] = [
    [],
    [("x", "")],
    [("x", "a")],
    [("X", "ab")],
    [("x", "ba")],
    [("x", "A")],
    [("x", "a"), ("x", "b")],
    [("x", "a,b")],
    [("x", ""), ("x", "")],
    [("x", "v12")],
    [("x", ODD)],
    [("x", b"\xff\xfe")],
    [("x", "é")],
    [("y", "a")],
]

COMPARISONS = [
    compare("exists", True),
    *(compare("==", v) for v in ("", "a", "a,b", ",", ODD, "é")),
    compare("in", []),
    compare("in", ["a"]),
    compare("in", ["", "ab", ODD]),
    *(compare(op, v) for op in ("starts_with", "ends_with", "contains") for v in ("", "a", ",", "é", ODD[3:9])),
    *(compare("matches", v) for v in ("", "a|b", "v[0-9]+", ".*,.*", "a.*", "[^a]*")),
]


def observed(bench: Bench, conditions: list[Json], requests: list[tuple[str, list[tuple[str, str | bytes]]]]) -> None:
    """Every condition that the proxy can read decides what it changes and what it denies exactly as `evaluate` does."""
    conditions = [c for c in conditions if bench.can(c)]
    filters = [set_header(n, f"r-{n}", "1", cond) for n, cond in enumerate(conditions)]
    routes = [
        drop(n, {"kind": "all", "of": [cond, compare("==", str(n), "probe")]}, 451) for n, cond in enumerate(conditions)
    ]
    by_filter, by_route = bench.sites(site("egress", "db", filters), site("egress", "store", routes))
    for target, headers in requests:
        seen = by_filter.send(target, headers).seen
        for n, cond in enumerate(conditions):
            expected = evaluate(cond, target, headers)
            assert (seen.header(f"r-{n}") is not None) == expected, (cond, target, headers)
            status = by_route.send(target, [*headers, ("probe", str(n))]).status
            assert status == (451 if expected else 200), (cond, target, headers)


def test_comparisons_of_headers(bench: Bench) -> None:
    conditions = [c for each in COMPARISONS for c in (each, negated(each))]
    observed(bench, conditions, [("/", headers) for headers in VALUES])


def test_comparisons_of_the_target(bench: Bench) -> None:
    constants = ("", "/", "/cart", "/cart?id=7", "?", "id", "/CART", "t")
    conditions = [
        compare(op, value, attribute=attribute)
        for attribute in ("target", "url_path")
        for op in ("==", "starts_with", "ends_with", "contains")
        for value in constants
    ]
    conditions += [compare("matches", v, attribute="url_path") for v in (".*t", "/c.*7", "[^?]*", "/")]
    conditions += [compare("in", ["GET", "POST"], attribute="method"), compare("==", "get", attribute="method")]
    targets = ["/", "/cart", "/cart?id=7", "/cart?", "/cart?a?t", "/?/cart", "//cart/../x", "/c%61rt", "/cart/"]
    observed(bench, conditions, [(t, [("x-m4-url-path", "/cart")]) for t in targets])


def test_conditions_without_parts_and_constants(bench: Bench) -> None:
    conditions: list[Json] = [
        {"kind": "true"},
        {"kind": "false"},
        {"kind": "all", "of": []},
        {"kind": "any", "of": []},
        negated({"kind": "true"}),
        {"kind": "any", "of": [{"kind": "false"}, {"kind": "true"}]},
        *({"kind": "tag", "in": tags} for tags in ([], [0], [1], [0, 1], [1, 255, 65535])),
    ]
    tags = ["0000", "0001", "00ff", "ffff", "1", "00FF", "00001", "", "0002", "zzzz"]
    requests: list[list[tuple[str, str | bytes]]] = [[], *([(TAG, t)] for t in tags), [(TAG, "0001"), (TAG, "0001")]]
    observed(bench, conditions, [("/", headers) for headers in requests])


TEXT = st.text(alphabet="ab,é", max_size=3)
LEAVES = st.one_of(
    st.sampled_from([{"kind": "true"}, {"kind": "false"}]),
    st.builds(lambda tags: {"kind": "tag", "in": tags}, st.lists(st.integers(0, 3), max_size=2, unique=True)),
    st.builds(
        compare, st.sampled_from(["==", "starts_with", "ends_with", "contains"]), TEXT, st.sampled_from(["x", "y"])
    ),
    st.builds(lambda key: compare("exists", True, key), st.sampled_from(["x", "y"])),
    st.builds(lambda values: compare("in", values), st.lists(TEXT, max_size=3)),
    st.builds(lambda r: compare("matches", r), st.sampled_from(["a*", "(a|b)+", "[^b]*,.*", "é?a"])),
    st.builds(lambda v: compare("starts_with", v, attribute="url_path"), st.sampled_from(["/", "/a", "/b?"])),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda kind, of: {"kind": kind, "of": of}, st.sampled_from(["all", "any"]), st.lists(inner, max_size=3)
        ),
        st.builds(negated, inner),
    ),
    max_leaves=8,
)
FIELDS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["x", "y"]), TEXT), st.tuples(st.just(TAG), st.sampled_from(["0001", "0002", "9"]))
    ),
    max_size=4,
)


@pytest.mark.parametrize("dataplane", EACH_PROXY)
@settings(max_examples=8, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    trees=st.lists(TREES, min_size=30, max_size=30),
    requests=st.lists(st.tuples(st.sampled_from(["/", "/a?b", "/b?a"]), FIELDS), min_size=12, max_size=12),
)
def test_random_conditions(
    tmp_path_factory: pytest.TempPathFactory,
    dataplane: str,
    trees: list[Json],
    requests: list[tuple[str, list[tuple[str, str | bytes]]]],
) -> None:
    with Bench(tmp_path_factory.mktemp(dataplane), dataplane) as bench:
        observed(bench, trees, requests)


# --- operations -----------------------------------------------------------------------------------------------------


def test_a_request_without_rules_passes_unchanged(bench: Bench) -> None:
    (client,) = bench.sites(site("ingress", "frontend", [rule(0, "AllowRequest", {})]))
    own = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-client-cert", "By=me"),
        ("x-request-id", "7"),
        ("accept", "*/*"),
        (TAG, "0003"),
    ]
    seen = client.send("//a/../b/%2e%2F?x=%41", own).seen
    assert seen.start == ["GET", "//a/../b/%2e%2F?x=%41"]
    assert seen.headers == [("host", "test"), *own]
    proto = client.send("/", [("x-forwarded-proto", "https")])
    assert proto.seen.headers == [("host", "test"), ("x-forwarded-proto", "https")]
    assert {name for name, _ in proto.headers} <= {"content-type", "content-length", "date"}
    assert client.send("/", method="POST", body=b"x" * 100_000).status == 200


def test_denials(bench: Bench) -> None:
    statuses = (403, 401, 404, 429, 451, 503)
    rules = [drop(n, compare("==", str(s), "want"), s) for n, s in enumerate(statuses)]
    rules.append(set_header(90, "late", "1"))
    egress, ingress = bench.sites(site("egress", "db", rules), site("ingress", "frontend", rules))
    for client in (egress, ingress):
        for status in statuses:
            reply = client.send("/", [("want", str(status))], method="POST", body=b"some body")
            assert (reply.status, reply.header("x-m4-denied-by")) == (status, bench.dataplane)
        reply = client.send()
        assert (reply.status, reply.header("x-m4-denied-by"), reply.seen.header("late")) == (200, None, "1")


def test_a_denial_that_says_its_status_comes_before_one_that_does_not(bench: Bench) -> None:
    plain = drop(0)
    plain["writes"] = plain["writes"][:1]
    (client,) = bench.sites(site("egress", "db", [plain, drop(1, compare("==", "1"), 418)]))
    assert (client.send("/", [("x", "1")]).status, client.send().status) == (418, 403)


@pytest.mark.parametrize("value", ["", "v", ODD, "%", "100%%", "%REQ(x)%", "'", "\u00ff"])
def test_set_header(bench: Bench, value: str) -> None:
    (client,) = bench.sites(site("egress", "db", [set_header(0, "X-Set", value)]))
    for own in ([], [("x-set", "old")], [("X-SET", "a"), ("x-set", "b"), ("x-set", "")]):
        fields = [v for k, v in client.send("/", own).seen.headers if k == "x-set"]
        assert fields == [value.encode().decode("latin-1").strip()]


@pytest.mark.parametrize("value", ["a\nb: c", "a\rb", "a\0b"])
def test_no_value_begins_another_field(tmp_path: Path, value: str) -> None:
    """Envoy refuses such a configuration; HAProxy would send it."""
    listen = [{"site": "egress.db", "version": "", "address": "127.0.0.1:1", "forward": []}]
    wiring = {"listen": listen, "services": {}, "admin": None}
    for operation in ("SetHeader", "AppendHeader"):
        rules = [rule(0, operation, {"name": "x", "value": value})]
        made = emitted(element([site("egress", "db", rules)], wiring, dataplane="haproxy"))
        with pytest.raises(UndefinedError, match="no line break"):
            render(SPEC.parent / "haproxy", made, "haproxy.cfg.j2")


def test_conditions_see_the_request_as_it_arrived(bench: Bench) -> None:
    rules = [
        set_header(0, "a", "new", compare("==", "1", "b")),
        set_header(1, "B", "new", compare("==", "1", "a")),
        set_header(2, "x-forwarded-proto", "gopher", negated(compare("exists", True, "x-forwarded-proto"))),
        set_header(3, "c", "both", {"kind": "all", "of": [compare("==", "1", "a"), compare("==", "1", "b")]}),
        drop(4, compare("==", "new", "a")),
    ]
    (client,) = bench.sites(site("egress", "db", rules))

    def seen(*headers: tuple[str, str]) -> list[str | None]:
        request = client.send("/", [*headers, ("x-m4-rule-0", "1"), ("x-m4-rule-1", "1")]).seen
        passed = [name for name, _ in request.headers if name.startswith("x-m4-")]
        assert passed == ([] if bench.dataplane == "envoy" else ["x-m4-rule-0", "x-m4-rule-1"]), "Envoy takes its own"
        return [request.header(name) for name in ("a", "b", "c", "x-forwarded-proto")]

    assert seen(("a", "1"), ("b", "1")) == ["new", "new", "both", "gopher"]
    assert seen(("a", "1")) == ["1", "new", None, "gopher"]
    assert seen(("b", "1"), ("x-forwarded-proto", "http")) == ["new", "1", None, "http"]
    assert client.send("/", [("a", "new")]).status == 403


def test_split(bench: Bench) -> None:
    split = rule(0, "Split", {"versions": {"v1": 8000, "v2": 2000}}, negated(compare("==", "1", "beta")))
    only = rule(1, "Split", {"versions": {"v1": 0, "v2": 10000}}, compare("==", "1", "beta"))
    here, plain = bench.sites(
        site("egress", "pay", [split, only], versions=["v1", "v2"]), site("egress", "db", [], versions=["v1", "v2"])
    )
    versions = [here.send().version for _ in range(400)]
    # 400 draws at 0.8: mean 320, standard deviation 8; six of them on either side.
    assert 272 <= versions.count("v1") <= 368
    assert set(versions) == {"v1", "v2"}
    assert {here.send("/", [("beta", "1")]).version for _ in range(20)} == {"v2"}
    without = [plain.send().version for _ in range(20)]
    assert without.count("v1") == without.count("v2") == 10


def test_timeout(envoy: Bench) -> None:
    limited = rule(0, "SetTimeout", {"limit": 50_000_000}, compare("starts_with", "/limited", attribute="target"))
    tiny = rule(1, "SetTimeout", {"limit": 1}, compare("==", "/tiny", attribute="target"))
    large = rule(2, "SetTimeout", {"limit": 60_000_000_000}, compare("==", "/large", attribute="target"))
    (client,) = envoy.sites(site("egress", "db", [limited, tiny, large]))
    own = ("x-envoy-upstream-rq-timeout-ms", "1")
    reply = client.send("/limited", [sleeping(30)])
    assert (reply.status, reply.header("x-m4-denied-by")) == (504, None)
    assert client.send("/tiny", [sleeping(30)]).status == 504
    for headers in ([sleeping(0.3)], [sleeping(0.3), own], [sleeping(0.3), own, ("x-forwarded-for", "10.0.0.1")]):
        assert client.send("/free", headers).status == 200
    assert [name for name, _ in client.send("/large").seen.headers] == ["host"]


def test_tags(bench: Bench) -> None:
    updates = {"map": [{"from": [0], "to": 5}, {"from": [5, 7], "to": 6}, {"from": [6], "to": 0}], "otherwise": None}
    reads = [set_header(0, "tagged", "1", {"kind": "tag", "in": [5]})]
    update, constant, strip, keep = bench.sites(
        site("egress", "a", reads, tags=updates),
        site("egress", "b", [], tags={"map": [], "otherwise": 4095}),
        site("ingress", "outside", [], tags={"map": [], "otherwise": 0}),
        site("egress", "c", [], tags={"map": [], "otherwise": None}),
    )
    arriving: list[list[tuple[str, str | bytes]]] = [[], *([(TAG, t)] for t in ("0005", "0007", "0006", "0009", "bad"))]

    def leaving(client: Client) -> list[str | None]:
        return [client.send("/", headers).seen.header(TAG) for headers in arriving]

    assert leaving(update) == ["0005", "0006", "0006", None, "0009", "0005"]
    assert [update.send("/", headers).seen.header("tagged") for headers in arriving[:3]] == [None, "1", None]
    assert leaving(constant) == ["0fff"] * 6
    assert leaving(strip) == [None] * 6
    assert leaving(keep) == [None, "0005", "0007", "0006", "0009", "bad"]
    assert update.send("/", [(TAG, "0007"), (TAG, "0007")]).seen.header(TAG) == "0005"


def test_versions_at_ingress(bench: Bench) -> None:
    rules = [
        drop(0, {"kind": "version", "in": ["v2"]}, 410),
        set_header(1, "v", "1", {"kind": "version", "in": ["v1"]}),
    ]
    v1, v2 = bench.sites(site("ingress", "frontend", rules, versions=["v1", "v2"]))
    assert (v1.send().status, v1.send().version, v1.send().seen.header("v")) == (200, "v1", "1")
    assert v2.send().status == 410


def test_a_new_operation_is_one_declaration_and_one_template(envoy: Bench, tmp_path: Path) -> None:
    spec = tmp_path / "spec"
    shutil.copytree(SPEC, spec)
    before = {path.name: path.read_bytes() for path in spec.iterdir() if path.name != "spec.m4"}
    text = (spec / "spec.m4").read_text()
    marker = "        operation AllowRequest"
    declaration = """
        @outward
        attribute body_limit: int in 1.. merge min;
        operation LimitBody(bytes: int) writes body_limit = bytes emits "limit_body.yaml.j2";
"""
    (spec / "spec.m4").write_text(text.replace(marker, declaration + marker, 1))
    (spec / "limit_body.yaml.j2").write_text(
        "{% macro filter(rule) %}\n"
        '{name: envoy.filters.http.buffer, typed_config: {max_request_bytes: {{ rule.args.bytes }}, "@type": '
        "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer}}\n"
        "{% endmacro %}\n"
    )
    limit = rule_of(declared(spec), 0, "LimitBody", {"bytes": 10}, negated(compare("==", "1", "big")))
    (client,) = envoy.sites(site("egress", "db", [limit, drop(1, compare("==", "1", "no"))]), spec=spec)

    def status(size: int, *headers: tuple[str, str | bytes]) -> int:
        return client.send("/", headers, method="POST", body=b"x" * size).status

    assert [status(10), status(11), status(11, ("big", "1")), status(11, ("no", "1"))] == [200, 413, 200, 403]
    assert {path.name: path.read_bytes() for path in spec.iterdir() if path.name in before} == before


@pytest.mark.parametrize("dataplane", EACH_PROXY)
def test_everything_at_once_is_accepted_and_deterministic(tmp_path: Path, dataplane: str) -> None:
    rules = [
        rule(0, "AllowRequest", {}),
        drop(1, compare("matches", '[^"]*\\\\.*', "x-odd"), 500),
        set_header(2, "x-odd", ODD, compare("==", ODD)),
        rule(3, "Split", {"versions": {"v1": 5000, "v2": 5000}}),
        rule(4, "SetTimeout", {"limit": 2_500_000_000}),
        rule(
            5,
            "Redirect",
            {"location": "/\\\"'%REQ(x)%{{7}}#:"},
            compare("==", "/r"),
        ),
        rule(6, "Respond", {"body": ODD}, compare("==", "/s")),
        rule(7, "AppendHeader", {"name": "x-odd", "value": ODD}),
        rule(8, "RemoveHeader", {"name": "x-gone"}),
        rule(9, "RewriteTarget", {"to": "/\\\"'%"}),
        rule(10, "SetHost", {"to": "a.b-c:8"}),
        rule(11, "Mirror", {"to": "shadow", "share": 1}),
        rule(12, "Mirror", {"to": "audit", "share": 9999}, compare("==", "1")),
        rule(13, "Retry", {"attempts": 3}),
        rule(14, "SetAttemptTimeout", {"limit": 1}),
        rule(15, "Delay", {"time": 1_500_000, "share": 1}),
        rule(16, "Abort", {"status": 200, "share": 9999}),
        rule(17, "LogSample", {"share": 1}),
    ]
    bench = Bench(tmp_path, dataplane)
    rules = [r for r in rules if bench.can(r)]
    tags = {"map": [{"from": [0, 1], "to": 2}], "otherwise": 0}
    sites = [
        site("egress", "pay.ment-1", rules, versions=["v1", "v2"], tags=tags),
        site("egress", "db", []),
        site(
            "ingress",
            "outside",
            [{**r, "id": r["id"] + 100} for r in rules if r["operation"] != "Split"],
            versions=["v1"],
        ),
    ]
    two = [{"version": v, "address": a} for v, a in zip(("v1", "v2"), addresses(2), strict=True)]
    listen = [
        {"site": "egress.pay.ment-1", "version": "", "address": addresses(1)[0], "forward": two},
        {
            "site": "egress.db",
            "version": "",
            "address": "[::1]:1234",
            "forward": [{"version": "", "address": "[::1]:9"}],
        },
        {"site": "ingress.outside", "version": "v1", "address": addresses(1)[0], "forward": two[:1]},
    ]
    services = {name: [{"version": "", "address": "127.0.0.1:9"}] for name in ("shadow", "audit")}
    wiring = {"listen": listen, "services": services, "admin": None}
    made = emitted(element(sites, wiring, dataplane=dataplane))
    for name in [haproxy.CONFIG, haproxy.SCRIPT] if dataplane == "haproxy" else ["envoy.yaml"]:
        text = render(SPEC.parent / dataplane, made, f"{name}.j2")
        assert text == render(SPEC.parent / dataplane, made, f"{name}.j2")
        (tmp_path / name).write_text(text, encoding="utf-8")
    asked = (
        [*haproxy.command(tmp_path / haproxy.CONFIG), "-c"]
        if dataplane == "haproxy"
        else [str(binary()), "--mode", "validate", "-c", str(tmp_path / "envoy.yaml")]
    )
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
