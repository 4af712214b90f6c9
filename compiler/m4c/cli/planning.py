"""What `m4 plan` answers beside the plan: why, what if, and what a deployment would change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from m4c.analysis.live import Analysis
from m4c.cli import jobs
from m4c.cli.errors import UsageError
from m4c.cli.output import counted
from m4c.cli.whatif import changes, listed, summary
from m4c.diagnostics.registry import rule
from m4c.ide.journeys import at_service
from m4c.placement.journey import journeys
from m4c.placement.model import Candidate
from m4c.placement.plan import Plan
from m4c.placement.whatif import changed, difference, why
from m4c.semantics.model import Cost, Program
from m4c.syntax.literals import UNITS
from m4c.workspace import Workspace

NONE = "none"


def parsed(pairs: Iterable[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` arguments."""
    out: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals and value):
            raise UsageError(f"{option} takes NAME=VALUE, not `{pair}`")
        out[name] = value
    return out


def _cost(value: str) -> Cost:
    """A cost as in a spec."""
    found = re.fullmatch(r"\s*(\d+)\s*(?:\+\s*(\d+)\s+per\s+(\d+)/([smh])\s*)?", value, re.ASCII)
    if found is None or (found[3] and not int(found[3])):
        raise UsageError(f"a cost is a whole number of at least 0, or one and more for requests, not `{value}`")
    if found[2] is None:
        return Cost(int(found[1]))
    return Cost(int(found[1]), int(found[2]), int(found[3]), UNITS[found[4]])


def variant(program: Program, without: Sequence[str], costs: Sequence[str], pins: Sequence[str]) -> Program:
    """The program that the options describe; `UsageError` for what they name and the mesh lacks."""
    for name in without:
        _known(name, [p.name for p in program.policies], "policy")
    prices: dict[str, Cost] = {}
    for name, value in parsed(costs, "--cost").items():
        _known(name, program.dataplanes, "dataplane of the mesh")
        prices[name] = _cost(value)
    places: dict[str, str | None] = {}
    for name, value in parsed(pins, "--pin").items():
        _known(name, program.graph.services, "service of the graph")
        if value != NONE:
            _known(value, [*program.dataplanes, NONE], "dataplane of the mesh")
        places[name] = None if value == NONE else value
    made = changed(program, without, prices, places)
    if without:
        _sound(made, without)
    return made


def _sound(program: Program, without: Sequence[str]) -> None:
    """Without a policy that overrides, those that it kept apart may contradict: then there is no plan."""
    found = Analysis().update(replace(program, policies=()), (program.policies,), lambda: None)
    wrong = [p for p in found if rule(p.code).blocks_plan]
    if wrong:
        gone = ", ".join(f"`{n}`" for n in without)
        raise jobs.JobError(f"without {gone} there is no plan: {wrong[0].message}")


def _known(name: str, names: Iterable[str], what: str) -> None:
    known = sorted(names)
    if name not in known:
        near = get_close_matches(name, known, 1)
        raise UsageError(f"`{name}` is no {what}" + (f"; did you mean `{near[0]}`?" if near else ""))


def text_of_variant(before: Plan, program: Program, plan: Plan) -> str:
    """A plan beside the one that is in force without the options."""
    more = plan.cost - before.cost
    cost = "as much as" if not more else f"{abs(more)} {'more' if more > 0 else 'less'} than"
    lines = [f"costs {cost} the plan as things are ({before.cost})", *_changes(before, plan)]
    for policy in sorted({u.policy for u in plan.unenforceable}):
        first = next(u for u in plan.unenforceable if u.policy == policy)
        lines.append(f"`{policy}` could not be enforced on {first.path}: {'; '.join(first.reasons)}")
    return jobs.describe(program, plan) + "\n" + "\n".join(lines) + "\n"


def _changes(before: Plan, after: Plan) -> list[str]:
    return _said(_elements(before), _elements(after))


def _elements(plan: Plan) -> set[Candidate]:
    return {Candidate(e.service, e.dataplane) for e in plan.elements}


def _said(before: Iterable[Candidate], after: Iterable[Candidate]) -> list[str]:
    come, go = difference(set(before), set(after))
    lines = [f"+ {c.service}: {c.dataplane}" for c in come] + [f"- {c.service}: {c.dataplane}" for c in go]
    return lines or ["the same elements"]


def text_of_why(program: Program, plan: Plan, service: str) -> str:
    """Why there is what there is at a service."""
    _known(service, program.graph.services, "service of the graph")
    lines: list[str] = []
    travelling = journeys(program, plan)
    for found in why(program, plan, service):
        lines.append(f"{service}: {found.element.dataplane}")
        for need in found.needs:
            lines.append(f"    {need.what}")
            lines += [f"        {said}" for said in need.otherwise]
        lines += [f"    {said}" for journey in travelling for said in at_service(journey, service)]
        if found.cost is None:
            lines += [f"    without it this could not be enforced: {said}" for said in found.lost]
        else:
            instead = ", ".join(f"{c.dataplane} at {c.service}" for c in found.instead)
            lines.append(
                f"    the cheapest plan without it costs {found.cost} in place of {plan.cost}"
                + (f", with {instead}" if instead else "")
            )
    if not lines:
        lines.append(f"{service}: nothing is needed")
        lines += _nothing(program, plan, service)
    return "\n".join(lines) + "\n"


def _nothing(program: Program, plan: Plan, service: str) -> list[str]:
    """What runs elsewhere on the hops of a service without an element."""
    runs = {
        f"    {o.policy}: {o.operation} of {o.hop[0] or 'outside'} -> {o.hop[1]} runs at {o.service}": None
        for o in plan.operations
        if service in o.hop
    }
    if not runs:
        return ["    no policy is about a request that it sends or gets"]
    context = plan.context.bits and any(service in s.hop for s in (*plan.context.updates, *plan.context.reads))
    tag = ["    the context tag passes it unchanged: its application hands it on"] if context else []
    return [*runs, *tag]


def text_of_diff(workspace: Workspace, mesh: str, program: Program, plan: Plan, base_port: int) -> str:
    """What deploying would change, against the local deployment."""
    targets = jobs.provided()
    folder = targets.running("local", jobs.state_dir(workspace, mesh), None)
    if folder is None:
        return f"mesh `{mesh}` is not deployed: {counted(len(plan.elements), 'element')} would come\n"
    return text_against(Path(folder), workspace, program, plan, base_port)


def text_against(folder: Path, workspace: Workspace, program: Program, plan: Plan, base_port: int) -> str:
    """The elements and the artifacts that a plan has other than a folder with a build."""
    try:
        wiring = json.loads((folder / jobs.WIRING).read_text("utf-8"))
        deployed = {Candidate(str(e["service"]), str(e["dataplane"])) for e in wiring["elements"]}
        found = changes(folder, jobs.rendered_plan(workspace, program, plan, base_port))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise jobs.JobError(f"cannot read what is deployed: {e}") from None
    return "\n".join([*_said(deployed, _elements(plan)), summary(found), *listed(found)]) + "\n"
