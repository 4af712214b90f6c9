"""A mesh that is small enough to plan by hand: two ways into a relay, and one on from there."""

from __future__ import annotations

from pathlib import Path

from m4c import project
from m4c.placement.plan import Plan
from m4c.semantics.model import Program
from m4c.workspace import Workspace

CHAIN = """
services:
  door: {entry: true, origin: false}
  batch: {}
  relay: {origin: false}
  vault: {origin: false}
calls: [[door, relay], [batch, relay], [relay, vault]]
"""
HEADER = 'mesh m { graph "g.graph.yaml"; dataplanes ebpf, envoy; %s }\n'


def loaded(folder: Path, policies: str, graph: str = CHAIN, mesh: str = "", header: str = HEADER) -> Program:
    """The program of some policies, written into a folder. `mesh`: what its declaration says more."""
    (folder / "g.graph.yaml").write_text(graph)
    (folder / "m.m4").write_text(header % mesh + policies)
    workspace = Workspace([folder])
    bad = [p for p in workspace.problems() if p.code in ("syntax-error", "unknown-name", "type-mismatch")]
    assert not bad
    made = project.program(workspace.db, "m")
    assert made is not None
    return made


def where(made: Plan) -> list[tuple[str, str, str, str]]:
    """(policy, hop, service, dataplane) of each operation."""
    return [(p.policy, f"{p.hop[0] or 'outside'} -> {p.hop[1]}", p.service, p.dataplane) for p in made.operations]
