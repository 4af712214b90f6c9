"""The law of the analyses: a finding is reported if and only if the interpreter shows it on some input.

Random programs are analysed, and tried out on everything that can happen (`brute.py`). Every witness is replayed, the
hops before it too, with the answers and marks that it tells of.
"""

from __future__ import annotations

from analysis_worlds import E, programs
from brute import World, conditions
from budget import many
from hypothesis import assume, given, note
from m4c.analysis.run import analyse
from m4c.paths.callpath import CallPath
from m4c.paths.pattern import compile_pattern
from m4c.paths.product import JointPaths
from m4c.reference import run_hop
from m4c.semantics.model import AttrKey, Pattern, Program, StateAtom, Value, atoms
from m4c.semantics.problems import Answers, Problem, Witness

MANY = many(150)
BLOCKING = {"contradiction", "order-dependent"}


MOST = 3_000  # inputs of one program; what has more is left to another example


def tried(program: Program) -> World:
    world = World(program)
    assume(len(world.inputs) <= MOST)
    return world


def of(problems: tuple[Problem, ...], code: str) -> list[Problem]:
    return [p for p in problems if p.code == code]


def attr_named(name: str) -> AttrKey:
    attribute, _, key = name.partition("[")
    return AttrKey(E, attribute, key.rstrip("]").strip('"') if key else None)


def values_of(shown: tuple[tuple[str, Value, str], ...]) -> dict[AttrKey, Value]:
    return {attr_named(name): value for name, value, _ in shown}


def answers_of(program: Program, states: Answers) -> dict[StateAtom, bool]:
    """What states answer in a witness, by who asks."""
    asked = {a for p in program.policies for c in conditions(p) for a in atoms(c) if isinstance(a, StateAtom)}
    told = dict(states)
    return {a: told[n] for a in asked for n in (str(a), f"{a} of {a.policy}") if n in told}


def replay(program: Program, witness: Witness) -> tuple[CallPath, dict[AttrKey, Value]]:
    """The path and the entity of a witness; the marks in it must be those that the earlier hops leave."""
    steps = [s.partition(":") for s in witness.path if s != "outside"]
    services = tuple(name for name, _, _ in steps)
    versions = tuple(v or next(iter(program.graph.services[n].versions), None) for n, _, v in steps)
    path = CallPath(witness.path[0] == "outside", services, versions)
    assert path.hop == tuple(None if s == "outside" else s for s in witness.hop)
    values = values_of(witness.attributes)
    marks = {a: v for a, v in values.items() if program.attribute(a).travels}
    earlier = list(witness.earlier)
    carried: dict[AttrKey, Value] = {}
    for prefix in list(path.prefixes())[:-1]:
        hop = (prefix.hop[0] or "outside", prefix.hop[1])
        entity: dict[AttrKey, Value] = {}
        answers: dict[StateAtom, bool] = {}
        if earlier and earlier[0][0] == hop:
            _, shown, states = earlier.pop(0)
            entity, answers = values_of(shown), answers_of(program, states)
        carried |= run_hop(program, prefix, {**entity, **carried}, answers, E).leaves
    for attr, value in marks.items():
        assert carried.get(attr, False) == value, (witness, attr)
    return path, {**values, **carried}


@given(programs(stateful=True))
@MANY
def test_conflicts_are_those_that_some_input_shows(program: Program):
    problems, world = analyse(program), tried(program)
    for code, merging in (("contradiction", False), ("merged", True)):
        reported = {(frozenset(p.policies), p.message) for p in of(problems, code) if p.policies}
        expected = world.meetings(merging)
        assert len({names for names, _ in reported}) == len({names for names, _ in expected}), (reported, expected)
        for names, attr in expected:
            assert any(n == names and f" writes {attr} " in m for n, m in reported), (names, attr, reported)
        assert len(reported) == len(expected)
    assert any(not p.policies for p in of(problems, "contradiction")) == world.default_conflicts()
    for problem in of(problems, "contradiction"):
        assert problem.witness is not None
        path, values = replay(program, problem.witness)
        wrong = run_hop(program, path, values, answers_of(program, problem.witness.states), E).contradictions
        names = {n for c in wrong for n, _ in c.writes}
        assert set(problem.policies or ("default",)) <= names, problem


@given(programs())
@MANY
def test_orders_that_nobody_gave_are_found(program: Program):
    problems, world = analyse(program), tried(program)
    assert {tuple(p.policies) for p in of(problems, "order-dependent")} == world.order_dependent()


def is_far(program: Program, pattern: Pattern) -> bool:
    """Whether a pattern matches call paths, but only such as are too long to try all of that length."""
    firings = JointPaths(program.graph, [compile_pattern(pattern, program.graph)]).firings([0])
    lengths = [len(path.services) for _, path in firings]
    assert not lengths or min(lengths) > 5, "all paths of that length were tried"
    return bool(lengths)


@given(programs(stateful=True))
@MANY
def test_what_never_happens_is_found(program: Program):
    problems, world = analyse(program), tried(program)
    far = {name for name in world.dead_paths() if is_far(program, world.policies[name].pattern)}
    assert {p.policies[0] for p in of(problems, "dead-path") if p.policies} == world.dead_paths() - far
    nowhere = [d for i in world.dead_defaults() if not is_far(program, (d := program.mesh.defaults[i]).pattern)]
    told = [p.message for p in of(problems, "dead-path") if not p.policies]
    assert {m.split("this default of `")[1].split("`, so")[0] for m in told} == {str(d.attr) for d in nowhere}
    assert len(told) == len(nowhere)
    dead: dict[str, set[str]] = {}
    for p in of(problems, "dead-condition"):
        assert p.policies
        policy = world.policies[p.policies[0]]
        if policy.name in far:
            continue
        always = "always" in p.message
        which = "when" if p.place == policy.when_place else "if 0"
        dead.setdefault(policy.name, set()).add(f"{which} {'always' if always else 'never'}")
    assert dead == world.constant_conditions()


@given(programs(stateful=True))
@MANY
def test_policies_without_a_point_are_found(program: Program):
    problems, world = analyse(program), tried(program)
    assume(not BLOCKING & {p.code for p in problems})
    shadowed = {p.policies[0] for p in of(problems, "shadowed")}
    assert shadowed == world.shadowed()
    redundant = {p.policies[0] for p in of(problems, "redundant")}
    expected = world.redundant() - shadowed
    assert redundant <= expected
    for name in expected - redundant:  # only what another one equals is left out, and that one is reported
        note(name)
        assert any(f"`{name}` says the same" in p.message for p in of(problems, "redundant")), name


@given(programs(stateful=True))
@MANY
def test_operations_that_something_always_ends_are_found(program: Program):
    problems, world = analyse(program), tried(program)
    assume(not BLOCKING & {p.code for p in problems})
    redundant = {p.policies[0] for p in of(problems, "redundant")}
    expected = sorted(name for name, _ in world.suppressed() if name not in redundant)
    assert sorted(p.policies[0] for p in of(problems, "suppressed")) == expected
