"""What the plan says about one policy, for hover."""

from __future__ import annotations

from m4c.workspace import Workspace


def plan_lines(workspace: Workspace, mesh: str, policy: str) -> list[str]:
    """Where the operations of a policy run, one line each; empty without a plan."""
    return []
