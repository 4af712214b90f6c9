"""`m4 top`: what it shows is what was sent."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import m4bpf
import pytest
from envoy_kit import EACH_PROXY, compare, drop
from local_kit import build
from m4deploy import local
from m4deploy.client import send
from m4deploy.targets import unavailable
from m4deploy.top import Sample, sample, text
from ports import free_base
from test_local import eventually

ROOT = Path(__file__).resolve().parents[2]
KERNEL = m4bpf.probe()
NOBODY = {"counters": {}, "ended": {}, "tallies": {}, "denied": []}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    local.undeploy(tmp_path / "state")


def look(state: Path, before: Sample | None = None) -> Sample:
    found = local.top(state)
    assert found is not None
    return sample(found, before, 2.0)


@pytest.mark.parametrize("proxy", EACH_PROXY)
def test_counts_by_policy_and_hop(tmp_path: Path, state: Path, proxy: str) -> None:
    rules = [drop(0, compare("==", "1", "x-one"), 410), drop(1, compare("==", "1", "x-two"), 411)]
    sites = {(proxy, "cart", "egress.db"): {"rules": rules}}
    base = free_base()
    mesh = local.deploy(build(tmp_path / "built", [("cart", proxy)], sites, base), state)

    def ask(header: str, times: int) -> None:
        for _ in range(times):
            send(mesh, ["cart", "db"], outside=False, target="/x?y", headers=[(header, "1")])

    first = look(state)
    assert (first.mesh, first.healthy, first.denied) == ("shop", True, ())
    assert {p.ended for p in first.policies} <= {0}
    ask("x-one", 2)
    ask("x-two", 3)
    ask("x-none", 1)
    then = look(state, first)
    (hop,) = (h for h in then.hops if h.callee == "db")
    assert (hop.caller, hop.side, hop.dataplane) == ("cart", "egress", proxy)
    assert (hop.seen, hop.allowed, hop.ended, hop.tagged, hop.errors, hop.rate) == (6, 1, 5, None, 0, 3.0)
    assert {(p.policy, p.callee, p.ended, p.rate) for p in then.policies} == {
        ("p0", "db", 2, 1.0),
        ("p1", "db", 3, 1.5),
    }

    if proxy == "envoy":
        assert eventually(lambda: len(look(state).denied) == 5)
        denied = look(state).denied[-1]
        assert (denied.policy, denied.status, denied.method, denied.target) == ("p0", 410, "GET", "/x?y")
        assert (denied.caller, denied.callee) == ("cart", "db")

    # After an edit the counts go on.
    sites = {(proxy, "cart", "egress.db"): {"rules": rules[1:]}}
    local.deploy(build(tmp_path / "edited", [("cart", proxy)], sites, base), state)
    ask("x-one", 1)
    ask("x-two", 1)
    last = look(state, then)
    assert {(p.policy, p.ended) for p in last.policies} == {("p0", 2), ("p1", 4)}
    (hop,) = (h for h in last.hops if h.callee == "db")
    assert (hop.seen, hop.ended) == (8, 6)


@pytest.mark.skipif(not KERNEL.ok, reason="; ".join(KERNEL.reasons))
def test_the_kernel_tells_what_it_refused(tmp_path: Path, state: Path) -> None:
    deny = {**drop(0, compare("==", "1", "x-bad"), 451), "emits": "verdict.c.j2"}
    sites = {
        ("ebpf", "frontend", "egress.cart"): {
            "rules": [deny],
            "tags": {"map": [{"from": [0], "to": 2}], "otherwise": None},
        }
    }
    mesh = local.deploy(build(tmp_path / "built", [("frontend", "ebpf")], sites, free_base()), state)
    for headers in ([("x-bad", "1")], [("x-bad", "1")], []):
        send(mesh, ["frontend", "cart"], outside=False, method="PUT", target="/a", headers=headers)
    seen = look(state)
    (hop,) = (h for h in seen.hops if h.callee == "cart")
    assert (hop.seen, hop.allowed, hop.ended, hop.tagged, hop.errors) == (3, 1, 2, 1, 0)
    assert [(p.policy, p.ended) for p in seen.policies] == [("p0", 2)]
    told = {(d.policy, d.status, d.method, d.target, d.caller, d.callee) for d in seen.denied}
    assert (len(seen.denied), told) == (2, {("p0", 451, "PUT", "/a", "frontend", "cart")})
    shown = text(seen)
    assert "mesh shop: healthy" in shown
    assert "frontend → cart" in shown
    assert "PUT /a" in shown
    assert json.loads(seen.as_json())["policies"][0]["policy"] == "p0"


def test_the_picture_of_the_documentation_can_be_made_again(tmp_path: Path) -> None:
    """With all that the example's mesh needs; what it shows is what the page's own picture shows."""
    if lacking := unavailable(("ebpf", "envoy", "haproxy")):
        pytest.skip("; ".join(lacking.values()))
    made = tmp_path / "top.svg"
    command = [sys.executable, str(ROOT / "scripts/top_picture.py"), "--out", str(made), "--seconds", "2"]
    command += ["--base-port", str(free_base())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    new, old = (path.read_text("utf-8") for path in (made, ROOT / "docs/images/top.svg"))
    assert "@font-face" not in new + old
    hops = [set(re.findall(r"[a-z]+&#160;→&#160;[a-z-]+", picture)) for picture in (new, old)]
    assert hops[0] == hops[1]
    assert len(hops[0]) > 10


def test_what_somebody_sends_does_not_reach_the_terminal() -> None:
    """A target with control characters is shown with their numbers."""
    denied = {"at": 0.0, "site": "egress.db", "policy": "p", "status": 403, "method": "GET", "target": "/\x1b[2J[red]"}
    element = {"service": "cart", "dataplane": "ebpf", **NOBODY, "denied": [denied]}
    shown = text(sample({"mesh": "shop", "healthy": True, "elements": [element]}, None, 1.0))
    assert "/\\x1b[2J[red]" in shown
    assert "\x1b" not in shown
