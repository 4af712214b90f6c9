"""Evaluate: what one request gets on one call path, by the reference interpreter, beside the policies that fire.

A request is written as in a test: `GET "/" on outside -> web -> cart with header["x-user"] = "ann"`. A policy has one
that it proposes: its shortest call path, and a plainest entity under which its conditions hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from m4c import checks, project
from m4c.analysis.effects import names_version
from m4c.analysis.reachability import wrong_patterns
from m4c.diagnostics.registry import Severity
from m4c.paths.callpath import CallPath, instances
from m4c.paths.pattern import compile_pattern
from m4c.paths.product import some_paths
from m4c.predicates import RegexError, TooComplex, regex_matches
from m4c.predicates.solve import satisfy
from m4c.reference import HopResult, Trace, matches, may_end, trace
from m4c.semantics.model import STATE, AttrKey, Cond, Entity, Policy, Program, StateAtom, Value, all_of
from m4c.semantics.tests import Case, check_request
from m4c.semantics.values import show
from m4c.syntax import tree as t
from m4c.syntax import words
from m4c.syntax.parser import parse_item
from m4c.testing import answering, arriving, hop_text
from m4c.tracing import Sites, outcome, ran, sites, trace_json, trace_text
from m4c.workspace import Span, Workspace

USUAL = (("GET", "/"), ("POST", "/"))  # the words of a request line, where a condition asks for no others
TRIES = 8  # requests that are tried before one is proposed on which the policy may not fire


class CannotEvaluate(Exception):
    """There is no answer; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is said beside the name of a policy."""

    policy: str
    span: Span
    text: str
    fired: bool


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a request. `left_out`: policies with errors, which take no part."""

    mesh: str
    request: str
    program: Program
    states: dict[StateAtom, bool]
    trace: Trace
    where: Sites
    notes: tuple[Note, ...]
    left_out: tuple[str, ...]

    @property
    def text(self) -> str:
        lines = [self.request, ""]
        lines += [f"`{name}` has errors and is left out" for name in self.left_out]
        return "\n".join(lines) + "\n" + trace_text(self.program, self.trace, self.states, self.where)

    def plain(self) -> dict[str, Any]:
        """As `m4 trace` has it, with the request and, hop by hop, where each operation ran."""
        found = trace_json(self.program, self.trace, self.states)
        for results, out in ((self.trace.hops, found["hops"]), (self.trace.answers, found["answers"])):
            for hop, plain in zip(results, out, strict=True):
                plain["ran"] = _ran_json(hop, self.where)
                for carrier, inner in zip(hop.carriers, plain["carriers"], strict=True):
                    inner["ran"] = _ran_json(carrier, self.where)
        said = outcome(self.program, self.trace)
        left_out = list(self.left_out)
        return {"mesh": self.mesh, "request": self.request, "outcome": said, "left_out": left_out, **found}


def _ran_json(hop: HopResult, where: Sites) -> list[dict[str, str]]:
    return [
        {
            "policy": r.policy,
            "operation": r.operation,
            "service": r.service,
            "dataplane": r.dataplane,
            "side": r.side,
        }
        for r in ran(hop, where)
    ]


# --- what is evaluated ------------------------------------------------------------------------------------------------


def traceable(workspace: Workspace, mesh: str) -> tuple[Program, tuple[str, ...]]:
    """A mesh as far as the interpreter can run it, and the policies that it lacks, or lacks a part of, for errors."""
    program = project.program(workspace.db, mesh)
    if program is None or not program.graph.services:
        raise CannotEvaluate(f"mesh `{mesh}` has no readable graph; `m4 check` says why")
    unusable = {p.name for p in program.policies if any(wrong_patterns(p))}
    program = replace(program, policies=tuple(p for p in program.policies if p.name not in unusable))
    return program, (*_unsound(workspace, mesh), *sorted(unusable))


def _unsound(workspace: Workspace, mesh: str) -> Iterator[str]:
    """The policies of a mesh with errors of their own."""
    wrong: dict[str, set[str]] = {}
    for ref in project.policy_refs(workspace.db, mesh):
        if ref.file not in wrong:
            problems = checks.file_problems(workspace.db, ref.file)
            wrong[ref.file] = {p.place.decl for p in problems if workspace.severity(p) == Severity.ERROR}
        if ref.key in wrong[ref.file]:
            yield project.named(ref)


def evaluate(workspace: Workspace, mesh: str, request: str) -> Evaluation:
    """What comes of a request, given as a test writes it. Raises CannotEvaluate."""
    program, left_out = traceable(workspace, mesh)
    case = _read(workspace, mesh, request)
    path = CallPath(case.path.outside, case.path.services, case.path.versions)
    states = _states(program, case)
    found = _trace(program, case)
    here = [program.graph.services[s] for s in path.services]
    near = {p.name: p for p in program.policies if any(may_end(p.pattern, s) for s in here)}
    asked = {atom: answer for atom, answer in states.items() if atom.policy in near}
    where = sites(project.plan(workspace.db, mesh))
    notes = tuple(_notes(workspace, program, near, path, found, where))
    return Evaluation(mesh, request.strip(), program, asked, found, where, notes, left_out)


def _states(program: Program, case: Case) -> dict[StateAtom, bool]:
    return answering(program, {(state, cond): answer for state, cond, answer in case.states})


def _trace(program: Program, case: Case) -> Trace:
    path = CallPath(case.path.outside, case.path.services, case.path.versions)
    values = arriving(program, case.entity, dict(case.values))
    try:
        return trace(program, path, values, case.entity, _states(program, case))
    except (RegexError, TooComplex) as e:
        raise CannotEvaluate(str(e)) from None


def _results(found: Trace) -> list[HopResult]:
    """Everything that happened, in order."""
    return [*(h for hop in found.hops for h in (*hop.carriers, hop)), *found.answers]


def _read(workspace: Workspace, mesh: str, request: str) -> Case:
    """A request from its text, held to the mesh."""
    db = workspace.db
    words_of = " ".join(request.split()).rstrip("; ").removeprefix("request ")
    item = parse_item(f'test "" {{ request {words_of}; }}')
    statements = item.decl.statements if isinstance(item.decl, t.TestDecl) else ()
    if item.problems or len(statements) != 1 or not isinstance(statements[0], t.TestRequest):
        why = item.problems[0].message if item.problems else "it is no request"
        example = 'GET "/" on outside -> web -> cart with header["x-user"] = "ann"'
        raise CannotEvaluate(f"`{words_of}`: {why}; a request is written like `{example}`")
    schema = project.schema(db)
    case, problems = check_request(statements[0], schema, project.names(db, mesh), project.mesh_graph(db, mesh))
    if case is None:
        raise CannotEvaluate("; ".join(p.message for p in problems) or "the graph is not there")
    program = project.frame(db, mesh)
    for attr, value in case.values if program is not None else ():
        type_ = program.attribute(attr).type if program is not None else None
        if type_ is not None and type_.domain and isinstance(value, str) and not regex_matches(type_.domain, value):
            raise CannotEvaluate(f'{attr} is {type_}, and `{value}` does not match r"{type_.domain}"')
    return case


# --- a request to begin with ------------------------------------------------------------------------------------------


def proposal(workspace: Workspace, mesh: str, policy: str) -> str:
    """A request on which a policy fires, if one is found: where an earlier hop ends the chain, that is tried again with
    what else the policies there ask for. Raises CannotEvaluate."""
    program, left_out = traceable(workspace, mesh)
    found = next((p for p in program.policies if p.name == policy), None)
    if found is None:
        errors = "; it has errors" if policy in left_out else ""
        raise CannotEvaluate(f"mesh `{mesh}` has no policy `{policy}` that could be evaluated{errors}")
    path = _example(program, found)
    if path is None:
        raise CannotEvaluate(f"no call path of the graph matches the pattern of `{policy}`, so it never fires")
    entity = program.entities[found.entity]
    asked = program.entities[next(iter(entity.views.values()))] if entity.views else entity
    first = ""
    waiting: list[tuple[Cond, ...]] = [()]
    for _ in range(TRIES):
        if not waiting:
            break
        more = waiting.pop(0)
        values = _values(program, found, asked, more)
        if values is None:
            continue
        request = f"{_line(asked, values)} on {_path(path, found)}{_settings(program, asked, values)}"
        first = first or request
        result = _trace(program, _read(workspace, mesh, request))
        if any(policy in h.fired for h in _results(result)):
            return request
        last = result.hops[-1]
        idle = (p for p in program.policies if p.name not in last.fired and _matches(program, p, path, last))
        waiting += [(*more, p.when) for p in idle if p.entity == asked.name and p.when not in more]
    return first


def _values(program: Program, policy: Policy, asked: Entity, more: tuple[Cond, ...]) -> dict[AttrKey, Value] | None:
    """A plainest entity, with what goes with it, under which a policy fires and does something, and more conditions
    hold; None if there is none. The words of a request line are usual ones, where the conditions leave that open."""
    conds = [*(all_of(policy.when, c.guard, *more) for c in policy.calls), all_of(policy.when, *more)]
    keys = [AttrKey(asked.name, a) for a in asked.request_line]
    best: tuple[int, dict[AttrKey, Value]] | None = None
    for line in USUAL:
        usual: dict[AttrKey, Value] = {
            key: word for key, word in zip(keys, line, strict=False) if _admitted(program, key, word)
        }
        try:
            assigned = next(filter(None, (satisfy(c, program.attribute, program.enums, usual) for c in conds)), None)
        except (RegexError, TooComplex):
            return usual
        if assigned is None:
            return None
        other = sum(assigned.attributes.get(key, word) != word for key, word in usual.items())
        if best is None or other < best[0]:
            best = other, {**usual, **assigned.attributes}
    return best[1] if best is not None else None


def _admitted(program: Program, attr: AttrKey, word: str) -> bool:
    domain = program.attribute(attr).type.domain
    return domain is None or regex_matches(domain, word)


def _line(entity: Entity, values: dict[AttrKey, Value]) -> str:
    """The words behind `request`; what they say is taken out of the values."""
    if len(entity.request_line) != 2:
        return words.name(entity.name)
    name, text = (str(values.pop(AttrKey(entity.name, a), "")) for a in entity.request_line)
    return f"{words.name(name)} {words.quoted(text)}"


def _example(program: Program, policy: Policy) -> CallPath | None:
    """A shortest call path that a policy matches; a connection's is any call."""
    graph = program.graph
    if not program.entities[policy.entity].connection:
        return next(iter(some_paths(compile_pattern(policy.pattern, graph), graph, 1)), None)
    for call in graph.calls:
        ends = tuple(graph.services[s] for s in (call.caller, call.callee))
        for versions in product(*([v for _, v in instances(s)] for s in ends)):
            path = CallPath(False, (call.caller, call.callee), versions)
            if matches(policy.pattern, path, program):
                return path
    return None


def _path(path: CallPath, policy: Policy) -> str:
    versioned = names_version(policy.pattern)
    steps = [words.service(s) + (f":{words.service(v)}" if versioned and v else "") for s, v in path.letters]
    return " -> ".join(["outside", *steps] if path.outside else steps)


def _settings(program: Program, asked: Entity, values: dict[AttrKey, Value]) -> str:
    said = []
    for attr, value in sorted(values.items()):
        if not attr.entity.startswith(STATE):
            owner = "" if attr.entity == asked.name else f"{attr.entity}."
            said.append(f"{owner}{attr} = {show(value, program.attribute(attr).type)}")
    return f" with {', '.join(said)}" if said else ""


# --- beside the policies ----------------------------------------------------------------------------------------------


def _notes(
    workspace: Workspace, program: Program, near: dict[str, Policy], path: CallPath, found: Trace, where: Sites
) -> Iterator[Note]:
    """What each policy did whose pattern matches somewhere on the way."""
    results = _results(found)
    for name, policy in near.items():
        fired = [_did(program, policy, h, where) for h in results if name in h.fired]
        if fired:
            yield Note(name, workspace.span(policy.place), "; ".join(fired), True)
            continue
        idle = [h for h in results if h.entity == policy.entity and _matches(program, policy, path, h)]
        if idle:
            text = f"does not fire on {hop_text(idle[-1].hop)}: its condition is false there"
            yield Note(name, workspace.span(policy.place), text, False)


def _matches(program: Program, policy: Policy, path: CallPath, hop: HopResult) -> bool:
    prefixes = (p for p in path.prefixes() if p.hop == hop.hop)
    return any(matches(policy.pattern, p, program) for p in prefixes)


def _did(program: Program, policy: Policy, hop: HopResult, where: Sites) -> str:
    calls = [policy.calls[i] for name, i in hop.effective if name == policy.name]
    wrote = {
        str(w.attr): show(hop.writes[w.attr], program.attribute(w.attr).type)
        for c in calls
        for w in c.writes
        if w.attr in hop.writes
    }
    did = [f"{attr} = {value}" for attr, value in wrote.items()]
    did += [f"{operation} is overridden" for name, operation in hop.dropped if name == policy.name]
    clash = [str(c.attr) for c in hop.contradictions if policy.name in {name for name, _ in c.writes}]
    did += [f"contradiction about {attr}" for attr in clash]
    at = {f"{r.dataplane} at {r.service}": None for r in ran(hop, where) if r.policy == policy.name}
    sites_ = f" ({', '.join(at)})" if at else ""
    return f"{hop_text(hop.hop)}: {', '.join(did) or 'fires, and changes nothing'}{sites_}"
