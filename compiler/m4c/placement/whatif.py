"""Plans of programs that nobody wrote down: without a policy, at other costs, with an element that is kept away.

Why an element is where it is, is such a question too: what a plan without it would cost, and what its policies would
lack."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from m4c.placement.feasible import violations
from m4c.placement.model import Builder, Candidate, Problem, proxies_at
from m4c.placement.plan import Plan, Planner
from m4c.placement.resolve import Resolver
from m4c.placement.rules import Rule
from m4c.semantics.model import Cost, Program


@dataclass(frozen=True, slots=True)
class Need:
    """Something that an element is there for, and for each other way to have it, why that way is closed or what it
    is."""

    what: str
    otherwise: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Why:
    """Why an element is in a plan. `cost`: of the cheapest plan without it, with the elements that come instead; None:
    then `lost` says what could not be enforced."""

    element: Candidate
    needs: tuple[Need, ...]
    cost: int | None
    instead: tuple[Candidate, ...]
    lost: tuple[str, ...]


def changed(
    program: Program,
    without: Collection[str] = (),
    costs: Mapping[str, Cost] | None = None,
    pins: Mapping[str, str | None] | None = None,
) -> Program:
    """A program without some policies, with other costs of dataplanes, and with services that have one dataplane only,
    or none (None). The names are known."""
    kept = tuple(
        replace(
            p,
            overrides=tuple(n for n in p.overrides if n not in without),
            after=tuple(n for n in p.after if n not in without),
        )
        for p in program.policies
        if p.name not in without
    )
    planes = {n: replace(d, cost=(costs or {}).get(n, d.cost)) for n, d in program.dataplanes.items()}
    mesh = program.mesh
    for service, dataplane in (pins or {}).items():
        if dataplane is None:
            mesh = replace(mesh, never=(*mesh.never, *((service, n) for n in planes)))
        else:
            mesh = replace(mesh, only=(*mesh.only, (service, dataplane)))
    return replace(program, policies=kept, dataplanes=planes, mesh=mesh)


def why(program: Program, plan: Plan, service: str) -> list[Why]:
    """Why each element of a plan at a service is there."""
    resolved = Resolver(program).resolve(program)
    problem = Builder(program, resolved.patterns).build(program, resolved.rules, resolved.orders)
    chosen = [Candidate(e.service, e.dataplane) for e in plan.elements]
    return [_why(program, problem, plan, c, chosen) for c in chosen if c.service == service]


@dataclass(frozen=True, slots=True)
class Serves:
    """An element that runs operations of a policy, and why nothing cheaper does. `others`: the policies that it serves
    beside, by name."""

    element: Candidate
    cost: int
    needs: tuple[Need, ...]
    others: tuple[str, ...]


def serves(problem: Problem, plan: Plan, policy: str) -> tuple[Serves, ...]:
    """The elements that a policy has, in the order of the plan."""
    needs: dict[Candidate, dict[Need, None]] = {}
    others: dict[Candidate, set[str]] = {}
    for run in plan.runs:
        asking = {s.policy for s in (*run.rule.sources, *run.rule.carries) if not s.default}
        for at in (p.at for p in run.positions):
            others.setdefault(at, set()).update(asking - {policy})
            if policy in asking:
                needs.setdefault(at, {})[_need(problem, run.rule, at)] = None
    chosen = (Candidate(e.service, e.dataplane) for e in plan.elements)
    return tuple(
        Serves(c, problem.candidates[c], tuple(needs[c]), tuple(sorted(others[c]))) for c in chosen if c in needs
    )


def _why(program: Program, problem: Problem, plan: Plan, element: Candidate, chosen: Sequence[Candidate]) -> Why:
    needs = [_need(problem, run.rule, element) for run in plan.runs if element in {p.at for p in run.positions}]
    others = sum(1 << problem.column[c] for c in chosen if c != element)
    lost_context = dict.fromkeys(v.why for v in violations(problem, others) if v.row >> problem.column[element] & 1)
    needs += [Need("carries the context", (f"without it {said}",)) for said in lost_context]
    apart = replace(
        program, mesh=replace(program.mesh, never=(*program.mesh.never, (element.service, element.dataplane)))
    )
    alone = Planner().plan(apart)
    lost = tuple(dict.fromkeys(f"{u.policy} on {u.path}: {'; '.join(u.reasons)}" for u in alone.unenforceable))
    if len(alone.unenforceable) <= len(plan.unenforceable):
        instead = tuple(c for e in alone.elements if (c := Candidate(e.service, e.dataplane)) not in chosen)
        return Why(element, tuple(dict.fromkeys(needs)), alone.cost, instead, ())
    return Why(element, tuple(dict.fromkeys(needs)), None, (), lost)


def _need(problem: Problem, rule: Rule, element: Candidate) -> Need:
    """A rule that an element runs, and why no cheaper candidate of its hop does."""
    hop = f"{rule.hop[0] or 'outside'} -> {rule.hop[1]}"
    cost = problem.candidates[element]
    said: dict[str, None] = {}
    for position in problem.all_positions(rule.hop):
        other = position.at
        if other == element or problem.candidates[other] > cost:
            continue
        if rule.both_ends and other.dataplane == element.dataplane:  # it is the other end
            continue
        obstacle = problem.obstacle(rule, position)
        if obstacle is None:
            said[f"{other.dataplane} at {other.service} could, for {problem.candidates[other]}"] = None
        elif problem.candidates[other] < cost:
            said[f"{other.dataplane} at {other.service} {obstacle}"] = None
    policies = ", ".join(dict.fromkeys(s.policy for s in rule.sources))
    return Need(f"{policies}: {rule.operation.name} on {hop}", tuple(said))


def where_policies_match(program: Program, plan: Plan) -> int:
    """The cost of the cheapest proxy beside every service that is on either side of a hop on which something runs."""
    return proxies_at(program, {service for run in plan.runs for service in run.rule.hop if service is not None})


def difference(before: Collection[Candidate], after: Collection[Candidate]) -> tuple[list[Candidate], list[Candidate]]:
    """(elements that come, elements that go)"""
    return sorted(set(after) - set(before)), sorted(set(before) - set(after))
