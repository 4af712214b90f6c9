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
        ("rps: many", "`rps:` is a number of requests per second, 0 or more"),
        ("orgin: false", "unknown key `orgin`; did you mean `origin`?"),
    ],
)
def test_services_that_are_wrong(known: str, message: str) -> None:
    loaded = load_graph(f"services:\n  a:\n    entry: true\n    {known}\n  b: {{origin: false}}\n", "g.yaml")
    assert [p.message for p in loaded.problems] == [message]
    assert loaded.graph is not None
    assert not loaded.graph.services["b"].origin


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
