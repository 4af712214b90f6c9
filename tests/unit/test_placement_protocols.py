"""Protocols: who is put where, what passes whom by, and what is said where nobody understands what is sent."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from m4c import project
from m4c.backends.render import render
from m4c.ide.hover import hover
from m4c.paths.callpath import CallPath
from m4c.placement.elements import elements
from m4c.placement.plan import Plan, plan
from m4c.placement.simulate import simulate
from m4c.semantics.model import Program
from m4c.semantics.problems import Problem
from m4c.workspace import Workspace

GRAPH = """
services:
  web: {entry: true, origin: false}
  cart: {origin: false}
  pay: {origin: false, protocol: grpc}
  cache: {origin: false, protocol: redis}
calls: [[web, cart], [web, pay], [cart, cache]]
"""
REFUSED = """
policy admin (HttpRequest r) on web -> cart when r.url_path == "/admin" { r.DropRequest(); }
policy refund (HttpRequest r) on web -> pay when r.url_path == "/shop.Pay/Refund" { r.DropRequest(); }
"""


class Case:
    """A mesh in a folder. `mesh`: its dataplanes, and what else it says."""

    def __init__(self, folder: Path, policies: str, mesh: str, graph: str = GRAPH) -> None:
        (folder / "g.yaml").write_text(graph)
        (folder / "m.m4").write_text(f'mesh m {{ graph "g.yaml"; dataplanes {mesh}; }}\n{policies}')
        self.workspace = Workspace([folder])
        made = project.program(self.workspace.db, "m")
        assert made is not None
        self.program: Program = made
        self.plan: Plan = plan(made)
        self.dicts = elements(self.program, self.plan)

    def refused(self) -> list[Problem]:
        return [p for p in project.plan_problems(self.workspace.db, "m") if p.code == "unenforceable"]

    def elements(self) -> list[tuple[str, str]]:
        return [(e.service, e.dataplane) for e in self.plan.elements]


def test_each_hop_has_who_understands_it(tmp_path: Path) -> None:
    case = Case(tmp_path, REFUSED, "ebpf, haproxy, envoy; place web never envoy")
    assert case.elements() == [("pay", "envoy"), ("web", "ebpf")]
    assert not case.plan.unenforceable
    sites = {(e["service"], s["id"]): s["protocol"] for e in case.dicts for s in e["sites"]}
    assert sites == {("pay", "ingress.web"): "grpc", ("web", "egress.cart"): "http"}, "none where it does not speak"


def test_one_that_speaks_both_is_enough(tmp_path: Path) -> None:
    assert Case(tmp_path, REFUSED, "ebpf, haproxy, envoy").elements() == [("web", "envoy")]


def test_a_proxy_is_passed_by_where_it_does_not_speak(tmp_path: Path) -> None:
    """It has neither a listener nor an address there: who connects gets to the service itself."""
    told = 'policy told (HttpRequest r) on web -> cart { r.SetHeader("x-from", "web"); }'
    graph = GRAPH.replace("web: {entry: true,", "web: {entry: true, protocol: grpc,")
    case = Case(tmp_path, told, "haproxy; place cart never haproxy", graph)
    assert case.elements() == [("web", "haproxy")]
    built = render(case.program, case.dicts)
    (text,) = (f.text for f in built.files if f.kind == "haproxy.cfg")
    assert text.count("\nfrontend ") == 1
    wiring: dict[str, Any] = json.loads(built.wiring)["services"]
    (listener,) = wiring["web"]["listen"]
    assert listener["site"] == "egress.cart"
    assert wiring["web"]["dial"]["cart"] == [listener["address"]]
    assert wiring["web"]["dial"]["pay"] == [*wiring["pay"]["app"].values()]
    assert wiring["web"]["entry"] == [*wiring["web"]["app"].values()], "what comes in is gRPC"
    hands_on = {name: of["propagates"] for name, of in json.loads(built.wiring)["graph"]["services"].items()}
    assert hands_on == {"web": True, "cart": True, "pay": True, "cache": False}, "to Redis comes no header"


def test_what_nobody_understands_is_said(tmp_path: Path) -> None:
    case = Case(tmp_path, REFUSED, "ebpf, haproxy")
    assert case.elements() == [("web", "ebpf")]
    (problem,) = case.refused()
    assert problem.policies == ("refund",)
    for word in ("web -> pay", "ebpf does not speak grpc", "haproxy does not speak grpc"):
        assert word in problem.message
    (related,) = problem.related
    assert (tmp_path / "g.yaml").read_text()[related.place.start : related.place.end] == "pay"
    assert related.message.startswith("`pay` speaks `grpc`, and no dataplane of the mesh: name one that does")


@pytest.mark.parametrize(
    ("mesh", "protocol", "said"),
    [
        ("ebpf", "gprc", "; did you mean `grpc`?"),
        (
            "ebpf, envoy; place pay never envoy; place web never envoy",
            "grpc",
            ", and of the mesh's dataplanes only `envoy`",
        ),
    ],
)
def test_what_may_help_is_said_at_the_service(tmp_path: Path, mesh: str, protocol: str, said: str) -> None:
    (problem,) = Case(tmp_path, REFUSED, mesh, GRAPH.replace("grpc", protocol)).refused()
    assert [r.message for r in problem.related] == [f"`pay` speaks `{protocol}`{said}"]


def test_connections_are_refused_in_the_kernel_whatever_they_carry(tmp_path: Path) -> None:
    """It takes no look at what is sent; on other hops that it does not speak it has no part."""
    closed = "policy closed (TcpConnection c) on ? -> cache { c.DropConnection(); }\n"
    case = Case(tmp_path, closed + REFUSED.splitlines()[1], "ebpf, envoy")
    assert case.elements() == [("cart", "ebpf"), ("web", "ebpf")]
    assert not case.plan.unenforceable
    (site,) = (s for e in case.dicts if e["service"] == "cart" for s in e["sites"])
    assert (site["id"], site["protocol"], len(site["rules"])) == ("egress.cache", "redis", 1)
    assert [s["callee"] for e in case.dicts if e["service"] == "web" for s in e["sites"]] == ["cart"]
    files = {f.service: json.loads(f.text) for f in render(case.program, case.dicts).files if f.kind == "hops.json"}
    (hop,) = files["cart"]["hops"]
    assert hop["remote"] == [], "what stands is let alone"
    assert hop["closed"]["policy"] == "closed" and len(set(hop["closed"]["dial"])) == 1


def test_a_proxy_cannot_do_what_it_has_no_listener_for(tmp_path: Path) -> None:
    spec = "spec p { tier proxy; cost 1; supports TcpConnection { @any_protocol operation DropConnection; } }\n"
    case = Case(tmp_path, spec, "ebpf")
    (problem,) = project.schema(case.workspace.db).problems
    assert problem.code == "type-mismatch" and "no listener" in problem.message


RAW = """
spec raw {
    tier proxy; cost 1; peer egress, ingress; speaks "redis";
    supports HttpRequest { operation DropRequest emits "x.j2"; }
    supports Counter { operation Increment emits "x.j2"; }
}
state Counter hits;
"""


@pytest.mark.parametrize("body", ["r.DropRequest()", "hits.Increment()"])
def test_where_there_are_no_requests_nobody_judges_them(tmp_path: Path, body: str) -> None:
    """Not even who would speak the protocol."""
    case = Case(tmp_path, f"{RAW}policy no (HttpRequest r) on * -> cart -> cache at egress {{ {body}; }}", "raw, envoy")
    assert case.elements() == []
    (problem,) = case.refused()
    assert problem.message.endswith("cache speaks redis, and in that there is no HttpRequest")
    (related,) = problem.related
    assert related.message.endswith("leave this service out of the pattern, or correct `protocol:`")


RELAYS = """
services:
  a: {}
  b: {}
  relay: {origin: false}
  middle: {origin: false, protocol: %s}
  vault: {origin: false}
calls: [[a, relay], [b, relay], [relay, middle], [middle, vault]]
"""
ISOLATE = "policy isolate (HttpRequest r) on a -> * -> vault { r.DropRequest(); }"


def test_a_tag_passes_hops_that_nobody_is_on(tmp_path: Path) -> None:
    """The kernel does not speak gRPC; its tag is a header, which the applications hand on all the same."""
    case = Case(tmp_path, ISOLATE, "ebpf", RELAYS.replace("  a: {}", "  a: {entry: trusted}") % "grpc")
    assert case.elements() == [("a", "ebpf"), ("middle", "ebpf")]
    assert (case.plan.context.bits, case.plan.unenforceable) == (1, ())
    for origin, denied in (("a", True), ("b", False)):
        path = CallPath(False, (origin, "relay", "middle", "vault"), (None,) * 4)
        assert simulate(case.dicts, case.program, path, {})[-1].terminal is denied


def test_a_tag_is_written_where_its_hop_is_understood(tmp_path: Path) -> None:
    """Who calls the relay speaks gRPC to it: the kernel cannot write there, Envoy can."""
    graph = RELAYS.replace("relay: {origin: false}", "relay: {origin: false, protocol: grpc}") % "http"
    graph = graph.replace("  a: {}", "  a: {entry: trusted}")
    assert Case(tmp_path, ISOLATE, "ebpf", graph).refused()
    case = Case(tmp_path, ISOLATE, "ebpf, envoy; place relay never envoy", graph)
    assert not case.refused()
    written = {(u.dataplane, u.hop) for u in case.plan.context.updates}
    assert ("envoy", ("a", "relay")) in written
    assert ("ebpf", ("a", "relay")) not in written


def test_no_tag_comes_where_there_are_no_requests(tmp_path: Path) -> None:
    (problem,) = Case(tmp_path, ISOLATE, "ebpf, envoy", RELAYS % "redis").refused()
    assert (
        "middle speaks redis, in which nothing carries the context that tells a -> relay -> middle" in problem.message
    )


def test_hover_tells_who_speaks_what(tmp_path: Path) -> None:
    case = Case(tmp_path, REFUSED, "ebpf, envoy")
    files = {name: (tmp_path / name).as_posix() for name in ("g.yaml", "m.m4")}
    text = (tmp_path / "m.m4").read_text()

    def said(file: str, word: str, text: str) -> str:
        found = hover(case.workspace, files[file], text.index(word) + 1)
        assert found is not None
        return found.text

    assert "Speaks: `http`\n" in said("m.m4", "ebpf", text)
    assert "Speaks: `http`, `http2`, `grpc`" in said("m.m4", "envoy", text)
    assert "In `http`, `http2`, `https`, `grpc`, `grpc-web`" in said("m.m4", "HttpRequest", text)
    assert "- speaks `grpc`, and `ebpf` does not" in said("m.m4", "pay when", text)
    assert "does not" not in said("m.m4", "cart when", text)
    assert "- speaks `redis`, and `ebpf` does not" in said("g.yaml", "cache:", GRAPH)


def test_online_boutique_as_it_speaks_in_reality(tmp_path: Path) -> None:
    """gRPC, but for the frontend; its store is a Redis, about which no policy on requests can be."""
    example = Path(__file__).resolve().parents[2] / "examples/online-boutique"
    graph = (example / "boutique.graph.yaml").read_text()
    graph = re.sub(r"(?m)^(  \w+service: \{)", r"\1protocol: grpc, ", graph)
    graph = re.sub(r"(?m)^(  redis-cart: \{)", r"\1protocol: redis, ", graph)
    assert graph.count("grpc") == 9
    (tmp_path / "boutique.graph.yaml").write_text(graph)
    (tmp_path / "boutique.m4").write_text((example / "boutique.m4").read_text())
    workspace = Workspace([tmp_path])
    (refused,) = project.plan_problems(workspace.db, "boutique")
    assert refused.policies == ("no_admin",)
    made = project.plan(workspace.db, "boutique")
    assert made is not None
    chosen = [("checkoutservice", "envoy"), ("frontend", "haproxy"), ("recommendationservice", "envoy")]
    assert ([(e.service, e.dataplane) for e in made.elements], made.cost, made.baseline_cost) == (chosen, 125, 300)
