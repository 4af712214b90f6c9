"""What elements cost: an instance, and the requests that go through it."""

from __future__ import annotations

import re
from pathlib import Path

from m4c import project
from m4c.placement.plan import Plan, plan
from m4c.workspace import Workspace

RATED = """
services:
  door: {entry: true, origin: false, rps: 120}
  relay: {origin: false}
  vault: {origin: false}
calls:
  - {from: door, to: relay, rps: 100}
  - {from: relay, to: vault, rps: 4}
"""


def planned(folder: Path, graph: str, mesh: str) -> Plan:
    (folder / "g.yaml").write_text(graph)
    text = f'mesh m {{ graph "g.yaml"; dataplanes ebpf, envoy; {mesh} }}\n'
    (folder / "m.m4").write_text(text + "policy p (HttpRequest r) on door -> relay { r.DropRequest(); }\n")
    workspace = Workspace([folder])
    assert workspace.problems() == []
    program = project.program(workspace.db, "m")
    assert program is not None
    return plan(program)


def chosen(made: Plan) -> list[tuple[str, str]]:
    return [(e.service, e.dataplane) for e in made.elements]


def test_requests_cost_where_the_graph_has_rates(tmp_path: Path) -> None:
    mesh = "place door never ebpf; place relay never ebpf; cost envoy on %s 10 + 5 per 60/m;"
    dear = planned(tmp_path, RATED, mesh % "relay")
    assert (chosen(dear), dear.cost) == ([("door", "envoy")], 50 + 154), "70 for each 100 of 220 requests a second"
    made = planned(tmp_path, RATED, mesh % "door")
    assert (chosen(made), made.cost) == ([("relay", "envoy")], 50 + 73), "of 104 it is 72.8, and 1,100 more at the door"
    assert made.baseline_cost == (10 + 5 * 220) + (50 + 73) + (50 + 3)
    without = planned(tmp_path, re.sub(r",? rps: \d+", "", RATED), mesh % "relay")
    assert (chosen(without), without.cost) == ([("relay", "envoy")], 10)
