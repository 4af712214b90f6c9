"""Policies about answers in plans: where they may stand, what they may not see; held to the interpreter."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from m4c import project
from m4c.paths.callpath import CallPath
from m4c.placement.elements import elements, rules_of
from m4c.placement.plan import Plan, plan
from m4c.placement.simulate import simulate
from m4c.reference import trace
from m4c.semantics.model import STATE, AttrKey, Program
from m4c.workspace import Workspace

GRAPH = """
services:
  web: {entry: true, origin: false}
  job: {}
  api: {origin: false}
  db: {origin: false, versions: [v1, v2]}
calls: [[web, api], [job, api], [api, db]]
"""
# What is at both ends of a hop, in all orders: `inner` sees at egress and ingress what only proxies do in what ships.
SPECS = """
spec inner {
    tier kernel;
    cost 1;
    context reads, writes;
    peer egress, ingress;
    supports HttpRequest { reads method; operation DropRequest emits "x"; }
    supports HttpResponse { reads status; reads header; operation SetHeader emits "x"; operation LogSample emits "x"; }
}
spec outer {
    tier proxy;
    cost 10;
    context reads, writes;
    peer egress, ingress;
    supports HttpRequest { reads method; reads header; operation DropRequest emits "x"; operation SetHeader emits "x"; }
    supports HttpResponse {
        reads status; reads header;
        operation SetHeader emits "x"; operation AppendHeader emits "x"; operation RemoveHeader emits "x";
        operation LogSample emits "x";
    }
    supports Counter { operation Increment emits "x"; }
}
"""
PROGRAMS = {
    "a reader before a writer": """
        policy a (HttpResponse p) on * -> api when p.header["x-a"] == "1" { p.SetHeader("x-b", "1"); }
        policy b (HttpResponse p) on * -> api { p.SetHeader("x-a", "2"); }""",
    "a reader that sees what was written": """
        policy a (HttpResponse p) on * -> api { p.SetHeader("x-a", "1"); }
        policy b (HttpResponse p) on * -> api when p.header["x-a"] == "1" after a { p.SetHeader("x-b", "1"); }""",
    "appended behind all else": """
        policy a (HttpResponse p) on * -> api { p.AppendHeader("x-a", "9"); p.SetHeader("x-a", "2"); }
        policy b (HttpResponse p) on * -> api when p.header["x-a"] starts_with "1" { p.SetHeader("x-b", "1"); }""",
    "the request as it arrived": """
        policy a (HttpRequest r) on * -> api { r.SetHeader("x-a", "2"); }
        policy b (HttpResponse p) on * -> api when p.request.header["x-a"] == "1" { p.SetHeader("x-b", "1"); }""",
    "the request as it arrived, written early": """
        policy a (HttpRequest r) on * -> api at egress { r.SetHeader("x-a", "2"); }
        policy b (HttpResponse p) on * -> api when p.request.header["x-a"] == "1" { p.SetHeader("x-b", "1"); }""",
    "a refusal is not seen": """
        policy a (HttpRequest r) on * -> api when r.method == "PUT" at ingress { r.DropRequest(); }
        policy b (HttpResponse p) on * -> api { p.LogSample(); }""",
    "the call path, and versions": """
        policy a (HttpResponse p) on job -> api -> db { p.SetHeader("x-a", "2"); }
        policy b (HttpResponse p) on web -> * -> db:v1 when p.status >= 500 { p.SetHeader("x-a", "3"); }""",
    "counted when it comes": """
        policy a (HttpRequest r) on * -> api when r.method == "PUT" { r.DropRequest(); failed.Increment(); }
        policy b (HttpResponse p) on * -> api when p.status == 500 { failed.Increment(by: 2); }""",
    "overridden": """
        policy a (HttpResponse p) on * -> api when p.status == 500 overrides b { p.SetHeader("x-a", "1"); }
        policy b (HttpResponse p) on * -> api { p.SetHeader("x-a", "2"); p.SetHeader("x-b", "2"); }""",
}
ENDS = (("web", None), ("web", "v1"), ("web", "v2"), ("job", None), ("job", "v2"))
PATHS = [
    CallPath(
        first == "web", (first, "api", *(["db"] if version else [])), (None, None, *([version] if version else []))
    )
    for first, version in ENDS
]


@pytest.fixture
def planned(tmp_path: Path):
    def load(policies: str, dataplanes: str = "inner, outer") -> tuple[Program, Plan]:
        (tmp_path / "x").write_text("{% macro x() %}{% endmacro %}")
        (tmp_path / "g.yaml").write_text(GRAPH)
        (tmp_path / "specs.m4").write_text(SPECS)
        mesh = f'mesh m {{ graph "g.yaml"; dataplanes {dataplanes}; }}\nstate Counter failed;\n'
        (tmp_path / "m.m4").write_text(f'import "specs.m4";\n{mesh}{policies}')
        made = project.program(Workspace([tmp_path]).db, "m")
        assert made is not None
        return made, plan(made)

    return load


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("dataplanes", ["inner, outer", "outer"])
def test_a_plan_does_what_the_interpreter_says(planned, name: str, dataplanes: str) -> None:
    program, made = planned(PROGRAMS[name], dataplanes)
    assert made.unenforceable == ()
    dicts = elements(program, made)
    seen = 0
    for path, method, sent, status, field in product(PATHS, ("GET", "PUT"), (None, "1"), (200, 500), (None, "1")):
        request = {("method", None): method} | ({} if sent is None else {("header", "x-a"): sent})
        reply = {("status", None): status} | ({} if field is None else {("header", "x-a"): field})
        values = {AttrKey("HttpRequest", *k): v for k, v in request.items()}
        values |= {AttrKey("HttpResponse", *k): v for k, v in reply.items()}
        said = trace(program, path, values, "HttpRequest")
        if len(said.hops) < len(path.services) - (not path.outside):
            continue  # it ends before
        found = simulate(dicts, program, path, request, reply=reply)[-1]
        back = said.answers[:1]
        writes = {(a.attribute, a.key): v for b in back for a, v in b.writes.items() if a.entity == "HttpResponse"}
        assert {k: tuple(v) if isinstance(v, list) else v for k, v in found.answer.items()} == writes
        counted = sum(v for r in (*said.hops[-1:], *back) for a, v in r.writes.items() if a.entity.startswith(STATE))
        assert found.writes.get(("failed.tally", None), 0) == counted
        assert found.terminal == said.terminal
        seen += len(writes) + counted
    assert seen > 0


def where(made: Plan) -> dict[str, tuple[str, str]]:
    return {o.policy: (o.dataplane, o.side) for o in made.operations if o.hop == ("web", "api")}


def test_what_is_read_of_the_request_is_read_before_it_is_written(planned) -> None:
    early = 'policy a (HttpRequest r) on web -> api at egress { r.SetHeader("x-a", "2"); }\n'
    on_header = 'policy b (HttpResponse p) on web -> api when p.request.header["x-a"] == "1"'
    _, made = planned(early + on_header + ' { p.SetHeader("x-b", "1"); }')
    assert where(made) == {"a": ("outer", "egress"), "b": ("outer", "egress")}
    _, made = planned(early + on_header + ' at ingress { p.SetHeader("x-b", "1"); }')
    assert [(u.policy, u.reasons) for u in made.unenforceable] == [
        ("b", ("its order with others leaves no position that can run it",))
    ]
    other = on_header.replace("x-a", "x-c")
    _, made = planned(early + other + ' at ingress { p.SetHeader("x-b", "1"); }')
    assert where(made) == {"a": ("outer", "egress"), "b": ("outer", "ingress")}


def test_what_is_read_of_an_answer_is_read_on_its_way_back(planned) -> None:
    reads = 'policy a (HttpResponse p) on web -> api when p.header["x-a"] == "1"'
    writes = ' { p.SetHeader("x-b", "1"); }\npolicy b (HttpResponse p) on web -> api'
    _, made = planned(f'{reads} at ingress{writes} at egress {{ p.SetHeader("x-a", "1"); }}')
    assert made.unenforceable == ()
    _, made = planned(f'{reads} at egress{writes} at ingress {{ p.SetHeader("x-a", "1"); }}')
    assert len(made.unenforceable) == 1


def test_an_answer_is_seen_where_no_refusal_can_be_behind(planned) -> None:
    refuses = 'policy a (HttpRequest r) on web -> api when r.method == "PUT" at ingress { r.DropRequest(); }\n'
    _, made = planned(refuses + "policy b (HttpResponse p) on web -> api at egress { p.LogSample(); }")
    assert [u.policy for u in made.unenforceable] == ["b"]
    others = 'policy b (HttpResponse p) on web -> api when p.request.method == "GET" at egress { p.LogSample(); }'
    _, made = planned(refuses + others)
    assert made.unenforceable == ()


def test_what_sees_no_answers_counts_none(planned) -> None:
    spec = (
        'spec counts { tier proxy; cost 1; peer egress, ingress; supports Counter { operation Increment emits "x"; } }'
    )
    policies = f"{spec}\npolicy a (HttpResponse p) on web -> api {{ failed.Increment(); }}"
    _, made = planned(policies, "counts")
    assert made.unenforceable[0].reasons == (
        "counts does not see HttpResponse at egress",
        "counts does not see HttpResponse at ingress",
    )


def test_an_element_gets_rules_about_answers_by_themselves(planned) -> None:
    program, made = planned(
        'policy a (HttpResponse p) on web -> api when p.status == 200 && p.request.method == "GET"\n'
        '{ p.RemoveHeader("x-a"); }\npolicy b (HttpRequest r) on web -> api { r.SetHeader("x-a", "1"); }'
    )
    (element,) = elements(program, made)
    assert sorted((r["policy"], r["entity"]) for r in rules_of(element)) == [
        ("a", "HttpResponse"),
        ("b", "HttpRequest"),
    ]
    (site,) = [s for s in element["sites"] if s["answers"]]
    (rule,) = site["answers"]
    status, method = rule["when"]["of"]
    assert "view" not in status
    assert method == {
        "kind": "compare",
        "view": "request",
        "attribute": "method",
        "key": None,
        "op": "==",
        "value": "GET",
    }
