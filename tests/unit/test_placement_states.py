"""States in plans: who asks first, what counts, what a refusal does not stop; held to the interpreter."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from m4c import project
from m4c.paths.callpath import CallPath
from m4c.placement.elements import elements
from m4c.placement.plan import plan
from m4c.placement.simulate import simulate
from m4c.reference import run_hop
from m4c.semantics.model import STATE, AttrKey, Program, StateAtom, atoms
from m4c.workspace import Workspace

GRAPH = "services:\n  web: {entry: trusted}\n  job: {}\n  api: {origin: false}\n  db: {origin: false}\n"
CALLS = "calls: [[web, api], [job, api], [api, db]]\n"
STATES = """
state Counter hits;
state Counter lost;
state TokenBucket slow(rate: 1/h, burst: 5);
state TokenBucket fast(rate: 100/s, burst: 50);
"""
PROGRAMS = {
    "a refusal counts too": """
        policy a (HttpRequest r) on * -> db { hits.Increment(by: 2); }
        policy b (HttpRequest r) on * -> db when r.method == "PUT" { r.DropRequest(); lost.Increment(); }""",
    "sums": """
        policy a (HttpRequest r) on * -> db { hits.Increment(); hits.Increment(); }
        policy b (HttpRequest r) on job -> * -> db { hits.Increment(); }
        policy c (HttpRequest r) on * -> db when r.method == "GET" { hits.Increment(by: 5); }""",
    "asked behind a condition": """
        policy a (HttpRequest r) on * -> db when r.method == "GET" && !slow.Take() { r.DropRequest(429); }""",
    "one after another": """
        policy a (HttpRequest r) on * -> db when fast.Take() && slow.Take() { hits.Increment(); }""",
    "both branches": """
        policy a (HttpRequest r) on * -> db {
            if (r.method == "GET" && slow.Take()) { hits.Increment(); } else { lost.Increment(); }
        }""",
    "by the path": """
        policy a (HttpRequest r) on job -> api -> db when !slow.Take() { r.DropRequest(429); }
        policy b (HttpRequest r) on web -> api -> db when !fast.Take() { r.DropRequest(429); }""",
    "overridden": """
        policy a (HttpRequest r) on * -> db when fast.Take() overrides b { r.DropRequest(410); hits.Increment(by: 7); }
        policy b (HttpRequest r) on * -> db when slow.Take() { r.DropRequest(420); hits.Increment(); }""",
    "two that ask": """
        policy a (HttpRequest r) on * -> db when !slow.Take() { r.DropRequest(430); }
        policy b (HttpRequest r) on * -> db when !slow.Take() { r.DropRequest(431); }""",
}
PATHS = [
    CallPath(outside, (origin, "api", "db"), (None,) * 3)
    for outside, origin in ((True, "web"), (False, "web"), (False, "job"))
]


def load(folder: Path, policies: str, dataplanes: str = "ebpf") -> Program:
    (folder / "g.yaml").write_text(GRAPH + CALLS)
    (folder / "m.m4").write_text(f'mesh m {{ graph "g.yaml"; dataplanes {dataplanes}; }}\n{STATES}{policies}')
    made = project.program(Workspace([folder]).db, "m")
    assert made is not None
    return made


def questions(program: Program) -> list[StateAtom]:
    conds = [c for p in program.policies for c in (p.when, *(call.guard for call in p.calls))]
    found = {a for c in conds for a in atoms(c) if isinstance(a, StateAtom)}
    return sorted(found, key=lambda a: (a.policy, a.occurrence))


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_plan_does_what_the_interpreter_says(tmp_path: Path, name: str) -> None:
    program = load(tmp_path, PROGRAMS[name])
    made = plan(program)
    assert made.unenforceable == ()
    dicts = elements(program, made)
    asked = questions(program)
    for path, method in product(PATHS, ("GET", "PUT")):
        for answers in product((False, True), repeat=len(asked)):
            states = dict(zip(asked, answers, strict=True))
            by_name = {f"{a.policy} {a.occurrence}": answer for a, answer in states.items()}
            result = run_hop(program, path, {AttrKey("HttpRequest", "method"): method}, states)
            found = simulate(dicts, program, path, {("method", None): method}, answers=by_name)[-1]
            tallies = {f"{a}": v for a, v in result.writes.items() if a.entity.startswith(STATE)}
            assert found.terminal == result.terminal
            assert {k: v for (k, _), v in found.writes.items() if "." in k} == tallies
            if found.terminal:
                assert found.writes["status", None] == result.writes[AttrKey("HttpRequest", "status")]


def rules(program: Program) -> list[dict[str, Any]]:
    return [r for e in elements(program, plan(program)) for s in e["sites"] for r in s["rules"]]


def test_who_asks_stands_before_who_reads(tmp_path: Path) -> None:
    found = rules(load(tmp_path, PROGRAMS["one after another"]))
    assert [(r["operation"], r["asks"] and r["asks"]["asked"]) for r in found] == [
        ("Take", "a 0"),
        ("Take", "a 1"),
        ("Increment", None),
    ]
    assert found[0]["when"] == {"kind": "true"}
    args = {"rate": [100, 10**9], "burst": 50}
    assert found[0]["state"] == {"name": "fast", "kind": "TokenBucket", "args": args, "per": None}
    assert found[1]["when"] == found[0]["asks"]
    assert found[2]["when"] == {"kind": "all", "of": [found[0]["asks"], found[1]["asks"]]}


def test_a_question_is_asked_once_for_several_operations(tmp_path: Path) -> None:
    policies = "policy a (HttpRequest r) on * -> db when !slow.Take() { r.DropRequest(429); lost.Increment(); }"
    assert [r["operation"] for r in rules(load(tmp_path, policies))].count("Take") == 1


@pytest.mark.parametrize(("of", "asked"), [("m", ["a 0", "a 1"]), ("other", [])])
def test_where_nothing_passes_a_state_is_asked_only_for_a_mark_that_is_read(
    tmp_path: Path, of: str, asked: list[str]
) -> None:
    """What is told along a path is told however a request ends, so what that depends on has to be known."""
    policies = f"""
        policy a (HttpRequest r) on web -> api {{
            if (fast.Take() && !slow.Take()) {{ r.Mark("m"); }} else {{ hits.Increment(); }}
        }}
        policy b (HttpRequest r) on web -> api when slow.Take() {{ r.DropRequest(); }}
        policy c (HttpRequest r) on * -> api -> db when r.mark["{of}"] {{ r.DropRequest(); }}
        policy d (TcpConnection c) on web -> api {{ c.DropConnection(); }}"""
    program = load(tmp_path, policies)
    made = plan(program)
    assert made.unenforceable == ()
    sites = [s for e in elements(program, made) for s in e["sites"] if s["callee"] == "api"]
    found = [r for s in sites for r in s["rules"]]
    assert [r["asks"]["asked"] for r in found if r["asks"]] == asked
    assert [r["operation"] for r in found if not r["asks"]] == ["Mark"] * (of == "m") + ["DropConnection"]
    whens = json.dumps([r["when"] for r in found])
    assert whens.count('"kind": "state"') == 3 * (of == "m")  # "a 1" asks if "a 0" says yes, and the mark reads both


@pytest.mark.parametrize(
    ("dataplanes", "policy", "why"),
    [
        ("envoy", "when slow.Take() { r.DropRequest(); }", r"envoy (has no Take|keeps no state)"),
        ("haproxy", "{ hits.Increment(); }", "haproxy has no Increment"),
        ("ebpf", "at ingress { hits.Increment(); }", "ingress"),
        ("ebpf", "when !each.Take() { r.DropRequest(); }", "ebpf cannot keep a state for each peer"),
        ("ebpf", 'when r.method == "GET" { counted.Increment(); }', r'ebpf cannot keep a state for each header\["x"\]'),
    ],
)
def test_what_cannot_be_kept_is_said(tmp_path: Path, dataplanes: str, policy: str, why: str) -> None:
    keyed = 'state TokenBucket each(rate: 1/s, burst: 2) per r.peer;\nstate Counter counted per r.header["x"];\n'
    made = plan(load(tmp_path, f"{keyed}policy p (HttpRequest r) on * -> db {policy}", dataplanes))
    assert made.unenforceable
    reasons = "; ".join(reason for u in made.unenforceable for reason in u.reasons)
    assert re.search(why, reasons), reasons


def test_a_state_for_each_value_reads_it_before_it_is_written(tmp_path: Path) -> None:
    """What asks it stands before who writes the value, or the plan is refused; others do not matter."""
    keyed = 'state TokenBucket each(rate: 1/s, burst: 2) per r.header["X-User"];\n'
    limited = f"{keyed}policy p (HttpRequest r) on * -> db when !each.Take() {{ r.DropRequest(429); }}\n"
    for name, placed in (("x-user", False), ("x-other", True)):
        write = f'policy w (HttpRequest r) on * -> api -> db at egress {{ r.SetHeader("{name}", "1"); }}'
        made = plan(load(tmp_path, limited + write, "ebpf, haproxy"))
        assert (not made.unenforceable) is placed
    found = rules(load(tmp_path, limited))
    assert found[0]["state"]["per"] == {"attribute": "header", "key": "x-user"}
