"""What is wrong with a graph file is said where it stands; the rest of the file still counts."""

from __future__ import annotations

import pytest
from m4c.graph.load import load_graph
from m4c.graph.protocols import unknown_protocols


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("calls: [{? [x] : y, from: a, to: a}]", "a key is a text, not a list or a map", "[x]"),
        ("calls: [{from: a, to: a, qps: 3}]", "unknown key `qps`; did you mean `rps`?", "qps"),
        ("calls: [{from: a, to: a, rps: [1]}]", "`rps:` is a number of requests per second, 0 or more", "[1]"),
        ("calls: [{from: a, to: a, rps: nan}]", "`rps:` is a number of requests per second, 0 or more", "nan"),
        ("calls: [{from: a, to: a, rps: -1}]", "`rps:` is a number of requests per second, 0 or more", "-1"),
        ("calls: [[[b], a]]", "an end of a call is a text, not a list or a map", "[b]"),
        ("calls: [[b, a]]", "no service is named `b`", "b"),
        ("calls: [a]", "a call is `[caller, callee]` or `{from: caller, to: callee, rps: 10}`", "a"),
        ("? [x]\n: 1", "a key is a text, not a list or a map", "[x]"),
    ],
)
def test_calls_that_are_none(text: str, message: str, at: str) -> None:
    whole = f"services: {{a: {{entry: true}}}}\n{text}"
    loaded = load_graph(whole, "g.yaml")
    assert [p.message for p in loaded.problems] == [message]
    place = loaded.problems[0].place
    assert whole[place.start : place.end] == at
    assert loaded.graph is not None
    assert loaded.graph.services["a"].entry


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ("? [x]\n    : {}", "a key is a text, not a list or a map"),
        ("labels: {kind: [store]}", "a label is a text, not a list or a map"),
        ("labels: {[kind]: store}", "the key of a label is a text, not a list or a map"),
        ("versions: [[v1]]", "a version is a text, not a list or a map"),
        ("protocol: {}", "`protocol:` is a text, not a list or a map"),
        ("external: [1]", "expected true or false, found a list or a map"),
        ("external: perhaps", "expected true or false, found `perhaps`"),
        ("external: flase", "expected true or false, found `flase`; did you mean `false`?"),
        ("external: TRUE", "expected true or false, found `TRUE`; did you mean `true`?"),
        ("rps: many", "`rps:` is a number of requests per second, 0 or more"),
        ("orgin: false", "unknown key `orgin`; did you mean `origin`?"),
    ],
)
def test_services_that_are_wrong(known: str, message: str) -> None:
    loaded = load_graph(f"services:\n  a:\n    entry: true\n    {known}\n  b: {{origin: false}}\n", "g.yaml")
    assert [p.message for p in loaded.problems] == [message]
    assert loaded.graph is not None
    assert not loaded.graph.services["b"].origin


def test_what_an_entry_may_be() -> None:
    text = "services: {a: {entry: trused}, b: {entry: true}}"
    (problem,) = load_graph(text, "g.yaml").problems
    assert problem.message == "expected true, false or trusted, found `trused`; did you mean `trusted`?"
    assert [(text[e.place.start : e.place.end], e.text) for f in problem.fixes for e in f.edits] == [
        ("trused", "trusted")
    ]


def test_of_what_is_said_twice_the_first_counts() -> None:
    text = """\
services:
  web: {entry: true, versions: [v1, v2, v1], protocol: grpc, protocol: http}
  cart:
    labels: {kind: store, kind: cache}
    rps: 5
    rps: 6
  cart: {versions: [v9]}
calls:
  - [web, cart]
  - from: cart
    to: cart
    rps: 1
    rps: 2

  - {from: web, to: cart, rps: 4}
  - [cart, cart]
calls: []
"""
    loaded = load_graph(text, "g.yaml")
    said = [
        (p.code, p.message, text[: p.place.start].count("\n"), [text[: r.place.start].count("\n") for r in p.related])
        for p in loaded.problems
    ]
    assert said == [
        ("duplicate-name", "version `v1` is there twice", 1, [1]),
        ("duplicate-name", "`protocol:` is there twice", 1, [1]),
        ("duplicate-name", "`kind:` is there twice", 3, [3]),
        ("duplicate-name", "`rps:` is there twice", 5, [4]),
        ("duplicate-name", "service `cart` is there twice", 6, [2]),
        ("duplicate-name", "`calls:` is there twice", 16, [7]),
        ("duplicate-name", "`rps:` is there twice", 12, [11]),
        ("duplicate-name", "the call `web -> cart` is there twice", 14, [8]),
        ("duplicate-name", "the call `cart -> cart` is there twice", 15, [9]),
    ]
    last = loaded.problems[-1].related[0].place
    assert text[last.start : last.end].endswith("rps: 2"), "a map ends with its last line"
    assert loaded.graph is not None
    web, cart = loaded.graph.services["web"], loaded.graph.services["cart"]
    assert (web.versions, web.protocol, cart.labels, cart.rps) == (("v1", "v2"), "grpc", (("kind", "store"),), 5.0)
    assert [(c.caller, c.callee, c.rps) for c in loaded.graph.calls] == [("cart", "cart", 1.0), ("web", "cart", None)]


def test_a_list_is_no_name() -> None:
    loaded = load_graph("services: {? [a] : {entry: true}, b: {entry: true}}", "g.yaml")
    assert [p.message for p in loaded.problems] == ["the name of a service is a text, not a list or a map"]
    assert loaded.graph is not None
    assert list(loaded.graph.services) == ["b"]


def test_what_a_file_says_is_known() -> None:
    loaded = load_graph("services: {a: {entry: false, versions: [v1]}, b: , c: {entry: trusted}}", "g.yaml")
    assert dict(loaded.said) == {"a": {"entry", "versions"}, "c": {"entry"}}


KNOWN = ("http", "http2", "https", "grpc", "grpc-web", "tcp", "tls", "mongo", "mysql", "redis")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("htp", "http"), ("htttp", "http"), ("HTTP", "http"), ("htpp2", None), ("hhtp2", None), ("gprc", "grpc"),
        ("rpc", "grpc"), ("gRPC", "grpc"), ("grpc-we", "grpc-web"), ("grpcweb", "grpc-web"), ("redi", "redis"),
        ("mongodb", "mongo"), ("grpcs", "grpc"), ("Https", "https"),
        ("http3", None), ("http", None), ("mssql", None), ("ftp", None), ("kafka", None), ("tcp6", None), ("x", None),
    ],
)  # fmt: skip
def test_only_slips_of_a_protocol_are_told(written: str, meant: str | None) -> None:
    text = f"services: {{a: {{entry: true, protocol: {written}}}}}\n"
    found = list(unknown_protocols(load_graph(text, "g.yaml"), KNOWN))
    assert [p.fixes[0].title for p in found] == ([f"Change to `{meant}`"] if meant else [])
    for p in found:
        assert text[p.place.start : p.place.end] == written
        assert f"`a` speaks `{written}`" in p.message


@pytest.mark.parametrize("nothing", ["", "null", "~", '""'])
def test_a_protocol_that_is_not_said_is_the_usual_one(nothing: str) -> None:
    loaded = load_graph(f"services: {{a: {{entry: true, protocol: {nothing}}}}}\n", "g.yaml")
    assert loaded.graph is not None
    assert (loaded.problems, loaded.graph.services["a"].protocol, loaded.protocols_at) == ((), "http", ())
