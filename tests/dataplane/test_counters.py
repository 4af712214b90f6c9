"""Counters of policies in a deployment: they hold what the interpreter says, through edits, and are shown by name."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from m4c import project
from m4c.paths.callpath import CallPath
from m4c.reference import run_hop
from m4c.semantics.model import STATE, AttrKey, Program
from m4c.workspace import Workspace
from m4deploy import local, targets
from m4deploy.client import send
from m4deploy.top import Sample, sample, text
from ports import free_base
from test_local import eventually

GRAPH = "services:\n  front: {}\n  pay: {origin: false}\ncalls: [[front, pay]]\n"
PATH = CallPath(False, ("front", "pay"), (None, None))
STATES = """
state Counter all;
state Counter refused;
state Counter weighed;
state Counter level;
"""
ON = "(HttpRequest r) on front -> pay at egress"
BEFORE = f"""
policy a {ON} {{ all.Increment(); level.Increment(by: 3); }}
policy b {ON} when r.method == "POST" {{ level.Increment(by: -11); weighed.Increment(by: 0); }}
policy c {ON} when r.url_path == "/admin" {{ r.DropRequest(); refused.Increment(); }}
policy d {ON} when r.header["x-group"] == "beta" {{ weighed.Increment(by: 7); }}
"""
AFTER = f"""
policy a {ON} {{ all.Increment(by: 2); r.RemoveHeader("x-none"); }}
policy c {ON} when r.url_path == "/admin" {{ r.DropRequest(410); refused.Increment(); }}
policy e {ON} when exists r.header["x-group"] {{ weighed.Increment(by: 1); }}
"""
KERNEL_AFTER = AFTER.replace('r.RemoveHeader("x-none"); ', "")
LACKING = targets.unavailable(("envoy", "ebpf"))
CASES = [
    pytest.param(d, after, marks=pytest.mark.skipif(d in LACKING, reason=LACKING.get(d, "")), id=d)
    for d, after in (("envoy", AFTER), ("ebpf", KERNEL_AFTER))
]


def built(folder: Path, dataplane: str, policies: str, base: int) -> tuple[Program, Path]:
    folder.mkdir()
    (folder / "shop.graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text(f'mesh shop {{ graph "shop.graph.yaml"; dataplanes {dataplane}; }}\n{policies}')
    m4 = Path(sys.executable).with_name("m4")
    command = [m4, "build", folder, "-o", folder / "out", "--base-port", str(base)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    program = project.program(Workspace([folder]).db, "shop")
    assert program is not None
    return program, folder / "out"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    local.undeploy(tmp_path / "state")


def tallies(state: Path) -> Mapping[str, int]:
    found = local.status(state)
    assert found is not None
    (element,) = found["elements"]
    return {name: count for name, count in element["tallies"].items() if count}


def look(state: Path, before: Sample | None = None) -> Sample:
    found = local.top(state)
    assert found is not None
    return sample(found, before, 2.0)


@pytest.mark.parametrize(("dataplane", "after"), CASES)
def test_counters_count_what_the_interpreter_says(tmp_path: Path, state: Path, dataplane: str, after: str) -> None:
    base, chosen = free_base(), random.Random(7)
    editions = [
        built(tmp_path / "one", dataplane, STATES + BEFORE, base),
        built(tmp_path / "two", dataplane, STATES + after, base),
        built(tmp_path / "three", dataplane, STATES + BEFORE, base),
    ]
    expected: dict[str, int] = {}
    before = None
    for program, out in editions:
        mesh = local.deploy(out, state)
        for _ in range(30):
            method, target = chosen.choice(["GET", "POST"]), chosen.choice(["/", "/admin"])
            group = chosen.choice(["", "beta", "b"])
            request = {AttrKey("HttpRequest", "method"): method, AttrKey("HttpRequest", "target"): target}
            if group:
                request[AttrKey("HttpRequest", "header", "x-group")] = group
            result = run_hop(program, PATH, request)
            headers = [("x-group", group)] if group else []
            seen = send(mesh, ["front", "pay"], outside=False, method=method, target=target, headers=headers)
            assert (seen.status == 200) != result.terminal
            for attr, value in result.writes.items():
                if attr.attribute == "tally":
                    name = str(attr).removesuffix(".tally")
                    expected[name] = expected.get(name, 0) + value
        used = {w.attr.entity for p in program.policies for c in p.calls for w in c.writes}
        counting = {name for name in expected if STATE + name in used}
        wanted = {name: expected[name] for name in counting}
        assert eventually(lambda wanted=wanted: tallies(state).items() >= wanted.items()), (wanted, tallies(state))
        before = look(state, before)
    assert {t.state: t.value for t in before.tallies if t.value} == expected
    assert f"counter refused: {expected['refused']}" in targets.status(state)[1]
    shown = [line.split() for line in text(look(state, before)).splitlines()]
    assert ["weighed", "front", dataplane, "0.0", str(expected["weighed"])] in shown
    assert expected["level"] < 0 < expected["refused"] < expected["all"]
