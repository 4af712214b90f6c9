"""What the plan says about one policy, for hover: where it runs, on which elements, and why on none cheaper."""

from __future__ import annotations

from m4c import project
from m4c.ide.journeys import said_of
from m4c.placement.journey import journeys
from m4c.placement.whatif import Serves
from m4c.semantics.model import AttrKey
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


def mark_lines(workspace: Workspace, mesh: str, mark: AttrKey) -> list[str]:
    """What the plan makes of a mark: which tags say it, who writes and reads it, where it is stripped; empty without a
    plan."""
    program, plan = project.program(workspace.db, mesh), project.plan(workspace.db, mesh)
    if program is None or plan is None:
        return []
    found = [j for j in journeys(program, plan) if j.mark == mark]
    lines = ["In the plan:\n" + "\n".join(f"- {line}" for line in said_of(j, plan.context.bits)) for j in found]
    return lines if lines or plan.unenforceable else ["In the plan nobody has to note it."]


_SHOWN = 3  # reasons, and policies, of one element


def element_lines(workspace: Workspace, mesh: str, policy: str) -> list[str]:
    """The elements that a policy has, each with why nothing cheaper does; empty without a plan."""
    lines: list[str] = []
    for found in project.plan_serves(workspace.db, mesh, policy):
        lines.append(f"- `{found.element.dataplane}` at `{found.element.service}`, for {found.cost}{_beside(found)}")
        reasons = list(dict.fromkeys(said for need in found.needs for said in need.otherwise))
        lines += [f"    - {said}" for said in reasons[:_SHOWN]] or ["    - nothing that costs less is on these hops"]
        if len(reasons) > _SHOWN:
            lines.append("    - …")
    return lines


def _beside(found: Serves) -> str:
    names = [f"`{name}`" for name in found.others[:_SHOWN]]
    if not names:
        return ""
    return f"; it also serves {', '.join(names)}{', …' if len(found.others) > _SHOWN else ''}"
