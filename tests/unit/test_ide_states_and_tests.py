"""What editors offer for states, marks, answers, connections, annotations and tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from m4c.ide.outline import Entry, outline
from m4c.workspace import Workspace

FILES = {
    "graph.yaml": (
        "services:\n"
        "  web: {entry: true, origin: false}\n"
        "  cart: {origin: false}\n"
        "  nightly: {}\n"
        "  db: {origin: false, versions: [v1, v2]}\n"
        "calls: [[web, cart], [nightly, cart], [cart, db]]\n"
    ),
    "mesh.m4": (
        'mesh shop { graph "graph.yaml"; dataplanes bench; propagate "traceparent"; group inner = { cart, db }; }\n'
        "spec bench {\n"
        "    tier proxy; cost 1;\n"
        "    supports HttpRequest { reads method; operation Mark; }\n"
        "    supports Counter { operation Increment; }\n"
        "    supports TokenBucket { condition Take; }\n"
        "}\n"
    ),
    "policies.m4": (
        "/// How often.\n"
        "state Counter hits;\n"
        'state TokenBucket limiter(rate: 100/s, burst: 20) per r.header["x-user"];\n'
        'policy label (HttpRequest r) on outside -> web when r.header["x-group"] == "beta" { r.Mark("beta"); }\n'
        'policy patient (HttpRequest r) on * -> db when r.mark["beta"] && r.method in ["PUT", "POST"] {\n'
        "    hits.Increment();\n"
        "}\n"
        "policy proven (TcpConnection c) on ? -> db { c.RequireIdentity(); }\n"
        'policy back (HttpResponse p) on * -> db { p.SetHeader("x-was", "db"); }\n'
        'test "waits" { request DELETE "/" on nightly -> cart -> db; expect allow; }\n'
    ),
}
REQUEST = 'request GET "/" on outside -> web -> cart'


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


# --- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        # states
        ("state $0", ["Counter", "TokenBucket", "entity"]),
        ("state TokenBucket l($0", ["rate", "burst"]),
        ("state TokenBucket l(rate: 1/s, $0", ["burst"]),
        ('state Counter c per r.header["$0', ["x-group", "x-user", "x-was", "traceparent"]),
        ("policy p (HttpRequest r) on * -> db { hits.$0 }", ["Increment"]),
        ("policy p (HttpRequest r) on * -> db { hits.Increment($0 }", ["by"]),
        ("policy p (HttpRequest r) on * -> db when !limiter.$0", ["Take"]),
        ("policy p (HttpRequest r) on * -> db { if (r.method == \"GET\" && limiter.$0", ["Take"]),
        ("spec s { supports TokenBucket { condition $0 } }", ["Take"]),
        # answers
        ('policy p (HttpResponse p) on * -> db when p.request.header["$0', ["x-group", "x-user", "traceparent"]),
        # marks
        ('policy p (HttpRequest r) on * -> db when r.mark["$0', ["beta"]),
        ('policy p (HttpResponse p) on * -> db when p.request.mark["$0', ["beta"]),
        ('policy p (HttpRequest r) on * -> db { r.Mark("$0', ["beta"]),
        # orders
        ("policy p (HttpRequest r) on * -> db overrides $0", ["label", "patient"]),
        ("policy p (TcpConnection c) on ? -> db after $0", ["proven"]),
        # defaults
        ('mesh m { default HttpRequest.header["x"] = $0 on * -> db; }', ["absent"]),
        ("mesh m { default HttpRequest.timeout = $0 on * -> db; }", []),
        # annotations
        ("@$0\nentity X { }", ["connection", "request_line"]),
        ("@$0\npolicy p (HttpRequest r) on web { }", ["owner"]),
        ("entity X { @dead$0 attribute a: string; }", ["deadline"]),
        ("spec s { supports TokenBucket { @key$0 condition Take; } }", ["keyed"]),
        # tests
        ('test "t" { $0 }', ["request", "expect"]),
        ('test "t" { request $0 }', ["DELETE", "POST", "PUT", "HttpRequest", "TcpConnection", "HttpConnection"]),
        ('test "t" { request GET "/" on $0', ["nightly", "outside"]),
        ('test "t" { request GET "/" on outside -> $0', ["web"]),
        ('test "t" { request GET "/" on outside -> web -> $0', ["cart"]),
        ('test "t" { request GET "/" on outside -> web -> cart -> db:$0', ["v1", "v2"]),
        ('test "t" { request TcpConnection on cart -> $0', ["db"]),
        (f'test "t" {{ {REQUEST} with limiter.$0', ["Take"]),
        (f'test "t" {{ {REQUEST} with limiter.Take = $0', ["false", "true"]),
        (f'test "t" {{ {REQUEST} with method = "PUT", mark["$0', ["beta"]),
        (f'test "t" {{ {REQUEST} with mark["beta"] = $0', ["false", "true"]),
        (f'test "t" {{ {REQUEST} with HttpResponse.header["$0', ["x-was"]),
        (f'test "t" {{ {REQUEST} with method = "$0', ["POST", "PUT"]),
        (f'test "t" {{ {REQUEST}; expect hits.$0', ["tally"]),
        (f'test "t" {{ {REQUEST} -> db; expect route = {{ $0', ["v1", "v2"]),
    ],
)  # fmt: skip
def test_what_is_offered(desk: Desk, text: str, labels: list[str]) -> None:
    assert desk.labels(text) == labels


def test_roots_by_what_they_can_do(desk: Desk) -> None:
    """A counter cannot be asked, and a bucket does nothing by itself."""
    assert desk.labels("policy p (HttpRequest r) on * -> db { $0 }") == ["r", "hits", "if", "let"]
    assert desk.labels("policy p (HttpRequest r) on * -> db when $0") == ["r", "limiter", "exists"]


def test_the_members_of_what_an_answer_is_for(desk: Desk) -> None:
    found = desk.labels("policy p (HttpResponse p) on * -> db when p.request.$0")
    assert {"method", "header", "mark", "url_path"} <= set(found)
    assert "request" not in found
    compared = desk.labels("policy p (HttpResponse p) on * -> db when p.request.url_path $0")
    assert {"==", "starts_with", "matches"} <= set(compared)
    assert "<" not in compared


def test_the_members_of_an_answer(desk: Desk) -> None:
    assert {"header", "request", "status"} <= set(desk.labels("policy p (HttpResponse p) on * -> db when p.$0"))
    said = desk.labels(f'test "t" {{ {REQUEST} with HttpResponse.$0')
    assert {"header", "status"} <= set(said)
    assert "request" not in said


def test_values_of_enums(desk: Desk) -> None:
    expected = desk.labels(f'test "t" {{ {REQUEST}; expect timeout = 1s, verdict = $0')
    assert (expected[:2], expected[-1]) == (["allow", "deny"], "absent")
    said = desk.labels('test "t" { request TcpConnection on cart -> db with verdict = $0')
    assert said[:2] == ["allow", "deny"]
    assert "absent" not in said


def test_what_a_test_can_say_and_expect(desk: Desk) -> None:
    said = desk.labels(f'test "t" {{ {REQUEST} with method = "PUT", $0')
    assert {"header", "mark", "limiter", "TcpConnection", "HttpConnection", "HttpResponse"} <= set(said)
    assert not {"url_path", "hits", "allow"} & set(said)
    expected = desk.labels(f'test "t" {{ {REQUEST}; expect $0')
    assert expected[:2] == ["allow", "mark"]  # nothing in this workspace denies requests
    assert {"deny", "url_path", "hits", "HttpResponse"} <= set(expected)
    assert "limiter" not in expected
    second = f'test "t" {{ {REQUEST}; expect allow; request TcpConnection on cart -> db; expect allow, $0'
    assert {"port", "mutual_tls"} <= set(desk.labels(second))
    assert "header" not in desk.labels(second)


def test_what_is_put_into_the_text(desk: Desk) -> None:
    assert desk.inserts("state $0")["TokenBucket"] == "TokenBucket ${1:name}(rate: ${2:rate}, burst: ${3:int});$0"
    assert desk.inserts("policy p (HttpRequest r) on * -> db when !limiter.$0")["Take"] == "Take()$0"
    assert desk.inserts("policy p (HttpRequest r) on * -> db { hits.$0 }")["Increment"] == "Increment(${1:1});$0"
    assert desk.inserts("policy p (HttpResponse p) on * -> db when p.$0")["request"] == "request."
    assert desk.inserts('test "t" { request $0 }')["PUT"] == 'PUT "${1:/}" on $0'
    said = desk.inserts(f'test "t" {{ {REQUEST} with $0')
    assert said["header"] == 'header["$1"] = $0'
    assert said["verdict"].startswith("verdict = ${2|allow,deny")
    assert desk.inserts("@$0\nentity X { }")["request_line"] == 'request_line("$1")$0'


def test_unsupported_ones_come_last(tmp_path: Path) -> None:
    (offered,) = Desk(tmp_path, FILES).proposals("policy p (HttpRequest r) on * -> db { hits.$0 }")
    assert "No dataplane" not in offered.doc
    bare = FILES["mesh.m4"].replace("    supports Counter { operation Increment; }\n", "")
    (offered,) = Desk(tmp_path, {**FILES, "mesh.m4": bare}).proposals("policy p (HttpRequest r) on web { hits.$0 }")
    assert "No dataplane of the mesh has it." in offered.doc


# --- hover, definitions, references -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("policy p (HttpRequest r) on web { hit$0s.Increment(); }", ["state Counter hits;", "How often.", "Increment"]),
        ("policy p (HttpRequest r) on web { hits.Incre$0ment(); }", ["operation Increment(by: int = 1)", "Supported"]),
        ("policy p (HttpRequest r) on web when limiter.Ta$0ke() { }", ["condition Take();", "Supported by `bench`"]),
        ("state Token$0Bucket x(rate: 1/s, burst: 1);", ["state entity TokenBucket(rate: rate, burst: int)", "`Take`"]),
        ("state TokenBucket x(ra$0te: 1/s, burst: 1);", ["rate: rate", "A parameter of `TokenBucket`."]),
        ('mesh b { graph "gra$0ph.yaml"; }', ["4 services, 3 calls", "outside at `web`", "by itself at `nightly`"]),
        ("policy p (HttpResponse p) on web when p.requ$0est.method == \"A\" { }", ["attribute request: HttpRequest;"]),
        ("policy p (HttpResponse p) on web when p.request.meth$0od == \"A\" { }", ["attribute method"]),
        ('policy p (HttpRequest r) on web when r.mark["be$0ta"] { }', ["travels", "by `label` on", "on `cart -> db`."]),
        ("policy p (HttpRequest r) on web when r.ma$0rk[\"beta\"] { }", ["the later ones of the chain begin with"]),
        (f'test "t" {{ {REQUEST}; expect al$0low; }}', ["Verdict.allow"]),
        (f'test "t" {{ {REQUEST}; expect HttpRes$0ponse.status = 1; }}', ["entity HttpResponse"]),
        (f'test "t" {{ {REQUEST} with limiter.Ta$0ke = false; expect allow; }}', ["condition Take();"]),
        (f'test "t" {{ {REQUEST}; expect time$0out = 1s; }}', ["attribute timeout"]),
        ('test "t" { request Tcp$0Connection on cart -> db; expect allow; }', ["entity TcpConnection"]),
    ],
)  # fmt: skip
def test_hover(desk: Desk, text: str, parts: list[str]) -> None:
    found = desk.hover(text)
    assert [p for p in parts if p not in found] == [], found


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("policy p (HttpRequest r) on web { hit$0s.Increment(); }", ["policies.m4:2: hits"]),
        (f'test "t" {{ {REQUEST} with lim$0iter.Take = false; expect allow; }}', ["policies.m4:3: limiter"]),
        ('policy p (HttpRequest r) on web when r.mark["be$0ta"] { }', ['policies.m4:4: "beta"']),
        ('policy p (HttpResponse p) on web when p.request.mark["be$0ta"] { }', ['policies.m4:4: "beta"']),
        (f'test "t" {{ {REQUEST}; expect HttpResponse.header["X-W$0as"] = "db"; }}', ['policies.m4:9: "x-was"']),
        (f'test "t" {{ {REQUEST.replace("cart", "ca$0rt")}; expect allow; }}', ["graph.yaml:3: cart"]),
        ('@request_line("nam$0e", "to") entity X { attribute name: string; }', ["here.m4:1: name"]),
    ],
)
def test_definition(desk: Desk, text: str, declared: list[str]) -> None:
    assert desk.definition(text) == declared


@pytest.mark.parametrize(
    ("text", "declared"),
    [
        ("policy p (HttpRequest r) on web { hits.Incre$0ment(); }", "Increment"),
        ("policy p (HttpRequest r) on web when limiter.Ta$0ke() { }", "Take"),
        ("state Token$0Bucket x(rate: 1/s, burst: 1);", "TokenBucket"),
        ("state TokenBucket x(rate: 1/s, bur$0st: 1);", "burst"),
        ("policy p (HttpResponse p) on web when p.requ$0est.method == \"A\" { }", "request"),
        (f'test "t" {{ {REQUEST}; expect den$0y; }}', "deny"),
    ],
)  # fmt: skip
def test_definitions_in_the_shipped_specs(desk: Desk, text: str, declared: str) -> None:
    (found,) = desk.definition(text)
    assert found.startswith("core.m4:")
    assert found.endswith(f": {declared}")


def test_references_of_a_state(desk: Desk) -> None:
    text = (
        f'policy p (HttpRequest r) on web {{ hit$0s.Increment(); }}\ntest "t" {{ {REQUEST}; expect hits.tally = 1; }}\n'
    )
    assert sorted(desk.references(text)) == [
        "here.m4:1: hits",
        "here.m4:2: hits",
        "policies.m4:2: hits",
        "policies.m4:6: hits",
    ]


def test_references_of_a_mark(desk: Desk) -> None:
    text = f'test "t" {{ {REQUEST} with mark["be$0ta"] = true; expect mark["beta"] = true; }}\n'
    assert sorted(desk.references(text)) == [
        'here.m4:1: "beta"',
        'here.m4:1: "beta"',
        'policies.m4:4: "beta"',
        'policies.m4:5: "beta"',
    ]


# --- outline ----------------------------------------------------------------------------------------------------------


def lines(entries: tuple[Entry, ...], depth: int = 0) -> list[str]:
    return [
        line
        for e in entries
        for line in (f"{'  ' * depth}{e.kind} {e.name} {e.detail}".rstrip(), *lines(e.children, depth + 1))
    ]


def test_outline(tmp_path: Path) -> None:
    text = (
        "state Counter hits;\n"
        "state entity Latch { attribute value: bool; operation Put(to: bool) writes value = to; condition Is(); }\n"
        'test "waits" {\n'
        f"    {REQUEST};\n"
        "    expect allow;\n"
        "    request TcpConnection on cart -> db;\n"
        "    expect allow;\n"
        "}\n"
    )
    (tmp_path / "here.m4").write_text(text)
    assert lines(outline(Workspace([tmp_path]), (tmp_path / "here.m4").as_posix())) == [
        "state hits Counter",
        "entity Latch",
        "  attribute value bool",
        "  operation Put",
        "  operation Is",
        "test waits",
        '  case GET "/" on outside -> web -> cart',
        "  case TcpConnection on cart -> db",
    ]
