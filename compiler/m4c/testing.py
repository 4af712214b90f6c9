"""Runs the tests of a mesh, as queries.

What a request of a test comes to is what the reference interpreter makes of it: its trace along the path, with what
the test says of it on every hop, and with the marks that earlier hops leave. Policies reach a test by the services that
they may fire at, so that an edit of one runs the tests that pass such a service, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from itertools import pairwise

from m4c import project
from m4c.analysis.cycles import order_cycles
from m4c.db import Database, query
from m4c.paths.callpath import CallPath, Hop
from m4c.predicates import RegexError, TooComplex, holds, regex_matches
from m4c.predicates.atoms import cut_at, normal, view_of
from m4c.project import DeclRef
from m4c.reference import HopResult, Trace, may_end, trace
from m4c.semantics.effects import answers, carriers, closure, merge, plain_values, start_value
from m4c.semantics.model import (
    ABSENT,
    STATE,
    Atom,
    AttrKey,
    Entity,
    Policy,
    Program,
    StateAtom,
    Value,
    WriteDecl,
    atoms,
)
from m4c.semantics.problems import Problem, Related
from m4c.semantics.tests import Case, Expectation, Test
from m4c.semantics.values import show

SHOWN = 8  # policies that a failure names, at most: the last ones that fired


@dataclass(frozen=True, slots=True)
class Came:
    """What came of one expectation. `why`: of what was not expected, what it is, where, and who says so."""

    expected: Expectation
    holds: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class CaseResult:
    case: Case
    states: Mapping[StateAtom, bool]  # what they answered to the policies that may fire on the way
    trace: Trace
    came: tuple[Came, ...]

    @property
    def holds(self) -> bool:
        return all(c.holds for c in self.came)


@dataclass(frozen=True, slots=True)
class TestResult:
    """What came of a test. Without cases it was not run: its requests are such as nobody can make."""

    test: Test
    cases: tuple[CaseResult, ...]
    problems: tuple[Problem, ...]

    @property
    def holds(self) -> bool:
        return not self.problems


# --- what a test is about ---------------------------------------------------------------------------------------------


@query
def sound(db: Database, mesh: str) -> bool:
    """Whether a mesh means something as a whole, so that its tests can be run: all that it consists of can be read, and
    its policies have an order. Conflicts are no obstacle."""
    checked, program = project.mesh(db, mesh), project.program(db, mesh)
    if checked is None or program is None or not checked.whole or project.schema(db).problems:
        return False
    policies = project.policy_refs(db, mesh)
    if len(program.policies) < len(policies):
        return False
    if any(ref.parsed.problems for ref in policies) or any(order_cycles(program.policies)):
        return False
    return not any(project.state(db, ref)[1] for ref in project.state_refs(db, mesh))


@query
def frame(db: Database, mesh: str) -> Program | None:
    """A mesh without its policies."""
    found = project.program(db, mesh) if sound(db, mesh) else None
    return replace(found, policies=()) if found is not None else None


def by_end(program: Program) -> dict[str, tuple[Policy, ...]]:
    """The policies that may fire at each service, in order. Each names all that it overrides and is after, so that it
    does not matter which others are left out."""
    over, after = ({p.name: getattr(p, way) for p in program.policies} for way in ("overrides", "after"))
    out: dict[str, list[Policy]] = {}
    for p in program.policies:
        ways = (tuple(sorted(closure(way[p.name], way) - {p.name})) for way in (over, after))
        whole = replace(p, overrides=next(ways), after=next(ways))
        for name, service in program.graph.services.items():
            if may_end(p.pattern, service):
                out.setdefault(name, []).append(whole)
    return {name: tuple(policies) for name, policies in out.items()}


def joined(program: Program, some: Iterable[tuple[Policy, ...]]) -> Program:
    """A program with these policies instead of its own, each row of them in its order."""
    order: TopologicalSorter[str] = TopologicalSorter()
    policies: dict[str, Policy] = {}
    for row in some:
        policies |= {p.name: p for p in row}
        for p in row[:1]:
            order.add(p.name)
        for before, p in pairwise(row):
            order.add(p.name, before.name)
    return replace(program, policies=tuple(policies[name] for name in order.static_order()))


@query
def _ends(db: Database, mesh: str) -> dict[str, tuple[Policy, ...]]:
    found = project.program(db, mesh)
    return by_end(found) if found is not None else {}


@query
def policies_at(db: Database, mesh: str, service: str) -> tuple[Policy, ...]:
    """The policies of a mesh that may fire where a hop leads to a service."""
    return _ends(db, mesh).get(service, ())


def program_along(db: Database, mesh: str, services: tuple[str, ...]) -> Program | None:
    """A mesh with the policies that may fire on the hops to some services; None if the mesh is not sound."""
    found = frame(db, mesh)
    if found is None:
        return None
    return joined(found, [policies_at(db, mesh, service) for service in dict.fromkeys(services)])


# --- running ----------------------------------------------------------------------------------------------------------


@query
def result(db: Database, ref: DeclRef, mesh: str) -> TestResult | None:
    """What comes of one test; None if it, or its mesh, is not sound."""
    test = project.test(db, ref, mesh).test
    if test is None:
        return None
    cases: list[CaseResult] = []
    problems: list[Problem] = []
    impossible: list[Problem] = []
    for case in test.cases:
        program = program_along(db, mesh, case.path.services)
        if program is None:
            return None
        try:
            impossible += _out_of_domain(program, case)
            found = run(program, case)
        except (RegexError, TooComplex):
            return None  # said at the policy, or the attribute
        cases.append(found)
        problems += [failure(program, found, came) for came in found.came if not came.holds]
    return TestResult(test, (), tuple(impossible)) if impossible else TestResult(test, tuple(cases), tuple(problems))


@query
def failures(db: Database, mesh: str) -> tuple[Problem, ...]:
    """What is wrong with what the tests of a mesh come to."""
    results = (result(db, ref, mesh) for ref in project.test_refs(db, mesh))
    return tuple(p for r in results if r is not None for p in r.problems)


def run(program: Program, case: Case) -> CaseResult:
    """Makes the request of a case and compares."""
    values = arriving(program, case.entity, dict(case.values))
    path = CallPath(case.path.outside, case.path.services, case.path.versions)
    said = {(state, cond): answer for state, cond, answer in case.states}
    states = answering(program, said)
    found = trace(program, path, values, case.entity, states)
    return CaseResult(case, states, found, tuple(_came(program, case, found, values, e) for e in case.expects))


def arriving(program: Program, entity: str, given: Mapping[AttrKey, Value]) -> dict[AttrKey, Value]:
    """An entity with its carriers and answers as they arrive on every hop: what is given, and what is plain."""
    related = (*carriers(program.entities, entity), program.entities[entity], *answers(program.entities, entity))
    plain = {a: v for e in related for a, v in plain_values(e, program.enums).items()}
    return {**plain, **given}


def answering(program: Program, said: Mapping[tuple[str, str], bool]) -> dict[StateAtom, bool]:
    """What states answer to the policies of a program: what is said, else yes."""
    conds = (cond for p in program.policies for cond in (p.when, *(c.guard for c in p.calls)))
    asked = (a for cond in conds for a in atoms(cond) if isinstance(a, StateAtom))
    return {a: said.get((a.state, a.condition), True) for a in asked}


def _out_of_domain(program: Program, case: Case) -> Iterator[Problem]:
    """Settings that no entity could arrive with."""
    for attr, value in case.values:
        type_ = program.attribute(attr).type
        if type_.domain is None or not isinstance(value, str) or regex_matches(type_.domain, value):
            continue
        message = f'{attr} is {type_}, and `{value}` does not match r"{type_.domain}"'
        yield Problem("type-mismatch", message, dict(case.places)[attr])


# --- comparing --------------------------------------------------------------------------------------------------------


def _came(program: Program, case: Case, found: Trace, values: Mapping[AttrKey, Value], expected: Expectation) -> Came:
    """What came of one expectation, on the last hop that the request reached."""
    attr, last = expected.attr, found.hops[-1]
    view = view_of(attr, program.attribute)
    here = _results(found, attr.entity)
    where = hop_text(last.hop)
    if last.terminal and attr.entity in {e.name for e in answers(program.entities, case.entity)}:
        return Came(expected, False, f"no answer comes back: the {case.entity} ends on {where}")
    quarrel = next((c for h in here for c in h.contradictions if c.attr == view.source), None)
    if quarrel is not None:
        names = " and ".join(dict.fromkeys(f"`{who}`" for who, _ in quarrel.writes))
        return Came(expected, False, f"on {where} {names} contradict each other")
    value, origin = _value(program, last, here, values, view.source)
    more, adding = _added(program, here, view.source)
    if more and (value is ABSENT or isinstance(value, str)):
        first, rest = value or ABSENT, tuple(filter(None, more))  # an empty field is none beside others
        if not view.cuts and _joins(expected.value, first, rest, view.fold):
            return Came(expected, True)
        value = ",".join(rest if first is ABSENT else (str(first), *rest))
        who = " and ".join(dict.fromkeys(adding)) or "the mesh's default"
        origin = f"{who} add{'s' * (len(set(adding)) <= 1)} to it"
    if value is not ABSENT and view.cuts:
        value = cut_at(str(value), view.cuts)
    if value is ABSENT or expected.value is ABSENT:
        same = value is expected.value
    else:
        same = holds(Atom(attr, "==", expected.value), {view.source: value}, {}, program.attribute)
    if same:
        return Came(expected, True)
    ended = f", and the {case.entity} ends there" if last.terminal else ""
    shown = show(value, program.attribute(attr).type)
    return Came(expected, False, f"it is {shown} on {where}{f': {origin}' if origin else ''}{ended}")


def _results(found: Trace, entity: str) -> list[HopResult]:
    """What happened to an entity on the last hop; for a state, all that happened there."""
    last = found.hops[-1]
    back = found.answers[: len({a.entity for a in found.answers})]
    return [h for h in (*last.carriers, last, *back) if entity == h.entity or entity.startswith(STATE)]


def _value(
    program: Program, last: HopResult, here: list[HopResult], values: Mapping[AttrKey, Value], attr: AttrKey
) -> tuple[Value, str]:
    """What an attribute is in the end, by rule 4, and who says so."""
    attribute = program.attribute(attr)
    written = [h.writes[attr] for h in here if attr in h.writes]
    if written:
        merged = written[0] if len(written) == 1 else merge(attribute, written)
        return (ABSENT if merged is None else merged), _writers(program, last, here, attr)
    if attr in last.carried:
        return last.carried[attr], "an earlier hop left it so"
    default = here[0].declared.get(attr) if here else attribute.default
    if default is not None:
        return default, "no policy writes it"
    if attr in values:
        return values[attr], "as it arrives"
    if attribute.travels:
        return start_value(attribute, program.enums), "no hop writes it"
    if attr.entity == last.entity and last.carriers and last.carriers[-1].terminal:
        return ABSENT, f"its {last.carriers[-1].entity} is denied"
    writable = any(w.attribute == attr.attribute for w in _writes(program.entities[attr.entity]))
    return ABSENT, "no policy writes it" if writable else "the test does not set it"


def _added(program: Program, here: list[HopResult], attr: AttrKey) -> tuple[tuple[str, ...], list[str]]:
    """The texts that are added to an attribute when all else of the hop is done, and the policies that add them."""
    holders = [
        AttrKey(attr.entity, a.name, attr.key)
        for a in program.entities[attr.entity].attributes.values()
        if a.added_to == attr.attribute
    ]
    sets = [h.writes[a] for a in holders for h in here if a in h.writes]
    texts = (v for some in sets if isinstance(some, tuple) for v in some if isinstance(v, str))
    return tuple(dict.fromkeys(texts)), [name for a in holders for name in _writing(program, here, a)]


def _joins(text: Value, first: Value, rest: tuple[str, ...], fold: bool) -> bool:
    """Whether a text is one value with others behind it, these in any order, joined as repeated fields are."""
    if not isinstance(text, str):
        return False
    if isinstance(first, str):
        start = f"{first}," if rest else first
        left = text[len(start) :]
        begins = normal(text[: len(start)]) == normal(start) if fold else text.startswith(start)
        return begins and (_joins(left, ABSENT, rest, fold) if rest else not left)
    return any(_joins(text, each, rest[:i] + rest[i + 1 :], fold) for i, each in enumerate(rest))


def _writes(entity: Entity) -> Iterator[WriteDecl]:
    return (w for o in entity.operations.values() for w in o.writes)


def _writers(program: Program, last: HopResult, here: list[HopResult], attr: AttrKey) -> str:
    names = _writing(program, here, attr)
    if names:
        return f"{' and '.join(dict.fromkeys(names))} write{'s' * (len(set(names)) == 1)} it"
    if last.carriers and last.carriers[-1].terminal:
        return f"its {last.carriers[-1].entity} is denied"
    return "the mesh's default"


def _writing(program: Program, here: list[HopResult], attr: AttrKey) -> list[str]:
    """The policies whose operations write an attribute."""
    policies = {p.name: p for p in program.policies}
    calls = [(policies[name], policies[name].calls[index]) for h in here for name, index in h.effective]
    return [f"`{p.name}`" for p, c in calls if any(w.attr == attr for w in c.writes)]


def hop_text(hop: Hop) -> str:
    return f"{hop[0] or 'outside'} -> {hop[1]}"


def failure(program: Program, found: CaseResult, came: Came) -> Problem:
    """The problem that an expectation is which does not hold, with what fired on the way."""
    steps = list(_steps(program, found.trace))[-SHOWN:]
    message = f"expected {expected_text(program, found.case, came.expected)}, but {came.why}"
    names = tuple(dict.fromkeys(name for h in _everything(found.trace) for name in h.fired))
    return Problem("failed-test", message, came.expected.place, tuple(steps), names)


def expected_text(program: Program, case: Case, expected: Expectation) -> str:
    """An expectation as M4 writes it."""
    attr = expected.attr
    owner = "" if attr.entity == case.entity or attr.entity.startswith(STATE) else f"{attr.entity}."
    return f"{owner}{attr} = {show(expected.value, program.attribute(attr).type)}"


def _everything(found: Trace) -> Iterator[HopResult]:
    for hop in found.hops:
        yield from hop.carriers
        yield hop
    yield from found.answers


def _steps(program: Program, found: Trace) -> Iterator[Related]:
    """Each policy that fired, with what it did."""
    policies = {p.name: p for p in program.policies}
    for h in _everything(found):
        where = f"{hop_text(h.hop)}{' on the way back' if h in found.answers else ''}"
        for name in h.fired:
            calls = [policies[name].calls[i] for n, i in h.effective if n == name]
            kept = {w.attr: w.value for c in calls for w in c.writes if w.attr in h.writes}
            wrote = ", ".join(f"{a} = {show(v, program.attribute(a).type)}" for a, v in kept.items())
            dropped = [operation for n, operation in h.dropped if n == name]
            what = [wrote] if wrote else []
            what += [f"{' and '.join(dropped)} {'is' if len(dropped) == 1 else 'are'} overridden"] if dropped else []
            did = f": {'; '.join(what)}" if what else ""
            yield Related(policies[name].place, f"`{name}` fires on {where}{did}")
