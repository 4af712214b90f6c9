"""The law, on a few meshes: `make law` tries many more."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from envoy_kit import EACH_PROXY
from m4c.cli import jobs
from m4c.paths.callpath import CallPath
from m4deploy import proof
from m4deploy.client import HopSeen, Observed, Seen
from m4deploy.proof import Request, check
from ports import free_base

from tests.law.draws import drawn
from tests.law.holds import hold
from tests.law.tried import Tried
from tests.law.worlds import Part, World, dataplane_sets, sound

WORLDS, MOST = 16, 80
SETS, LACKING = dataplane_sets()


def test_requests_get_what_the_interpreter_says() -> None:
    """In each deployment, some dozens of requests. The floors say that each dataplane had its share of all."""
    tried = Tried()
    for number in range(WORLDS):
        hold(drawn(f"14 {number}", SETS), free_base(), tried, MOST)
    table = f"{tried}\n{tried.table()}"
    assert tried.worlds == WORLDS
    assert tried.requests >= 500, table
    assert tried.meshes >= 24, table
    assert 0 < tried.ended < tried.requests, table
    if LACKING:
        pytest.skip(f"the law held, but its floors are for a machine with all dataplanes: {LACKING}")
    assert min(tried.counted, tried.answered, tried.asked, tried.forged, tried.late) > 0, table
    names = {name for some in SETS for name in some}
    assert set(tried.acted) == names, table
    assert tried.standing["ebpf"] > WORLDS / 2, table
    for name in names:
        assert tried.standing[name] >= 3, table
        assert tried.judged[name] >= 60, table
        assert tried.denied[name] >= 20, table
        assert tried.changed[name] >= 10, table


def test_each_world_is_another_one() -> None:
    worlds = [drawn(number, SETS) for number in range(6)]
    assert worlds[0] == drawn(0, SETS)
    assert all(one != other for one, other in combinations(worlds, 2))


BUCKET = """
policy few (HttpRequest r)
    on a -> b
    when r.method == "POST" && !few.Take()
{
    r.DropRequest(429);
}
"""


@pytest.mark.skipif("ebpf" in LACKING, reason=LACKING.get("ebpf", ""))
def test_tokens_are_foretold() -> None:
    """A bucket for each value, of which each gives two tokens, and none to whom the condition does not hold for."""
    part = Part(
        {"a": "", "b": "origin: false"},
        (("a", "b"),),
        {"few": BUCKET},
        states=('state TokenBucket few(rate: 1/h, burst: 2) per r.header["x-a"];',),
    )
    requests = tuple(
        Request(method, f"/{n}", (("x-a", user),)) for n in range(4) for method in ("GET", "POST") for user in "12"
    )
    tried = Tried()
    hold(World((part,), ("ebpf",), requests), free_base(), tried)
    assert tried.asked >= 8
    assert tried.denied["ebpf"] >= 4
    assert tried.requests >= len(requests)


@pytest.mark.parametrize("dataplane", EACH_PROXY)
def test_what_is_appended_comes_behind_an_empty_field(dataplane: str) -> None:
    part = Part(
        {"a": "entry: true"},
        (),
        {"more": 'policy more (HttpRequest r) on outside -> a {\n    r.AppendHeader("x-a", "1");\n}\n'},
    )
    requests = tuple(Request("GET", "/", headers) for headers in ((), (("x-a", ""),), (("x-a", "2"),)))
    tried = Tried()
    hold(World((part,), (dataplane,), requests), free_base(), tried)
    assert tried.requests >= len(requests)


FEW = """
policy few (HttpConnection c)
    on a -> b
{
    c.SetMaxRequests(2);
}
"""


@pytest.mark.parametrize(("number", "same"), [(1, True), (2, True), (3, False)])
def test_a_connection_that_carries_too_much_breaks_the_law(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, same: bool
) -> None:
    part = Part({"a": "entry: true", "b": "origin: false"}, (("a", "b"),), {"few": FEW})
    _, workspace = sound(World((part,), ("envoy",), ()), tmp_path)
    program, plan = jobs.planned(workspace, "law")
    path = CallPath(False, ("a", "b"), (None, None))
    seen = HopSeen(("a", "b"), True, 200, None, "", Seen("GET", "/", (), ""), number=number)
    monkeypatch.setattr(proof, "send", lambda *_, **__: Observed((seen,)))
    assert check(program, plan, None, path, Request()).same == same  # type: ignore[arg-type]
