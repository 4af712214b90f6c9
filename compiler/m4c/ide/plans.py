"""What the plan says about one policy, for hover."""

from __future__ import annotations

from m4c import project
from m4c.workspace import Workspace


def plan_lines(workspace: Workspace, mesh: str, policy: str) -> list[str]:
    """Where the operations of a policy run, one line each; empty without a plan."""
    plan = project.plan(workspace.db, mesh)
    if plan is None:
        return []
    lines = {
        f"{o.operation} by {o.dataplane} at {o.side} of {o.hop[0] or 'outside'} -> {o.hop[1]}": None
        for o in plan.operations
        if o.policy == policy and not o.default
    }
    return list(lines)
