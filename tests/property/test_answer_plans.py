"""The placement law for policies about answers: plans do what the language says, and nothing cheaper does."""

from __future__ import annotations

from budget import many
from hypothesis import assume, given
from m4c.placement.elements import elements
from m4c.placement.plan import plan
from m4c.placement.simulate import simulate
from m4c.semantics.model import Program
from placement_rules import Rules, long_paths, requests, undeclared
from placement_worlds import A, E, answered
from test_placement import check_that_nothing_cheaper_does

MANY = many(150)


@given(answered(most_services=3, most_policies=1))
@MANY
def test_a_plan_does_to_answers_what_the_language_says(program: Program):
    check_answers(program)


@given(answered(most_services=3, most_policies=1, able=True))
@MANY
def test_a_plan_of_able_dataplanes_does_to_answers_what_the_language_says(program: Program):
    check_answers(program)


def check_answers(program: Program) -> None:
    """What becomes of answers on every path, for requests and answers that conditions can tell apart."""
    inputs = requests(program)
    pairs = [(i, (i + 2 * i * k + k) % len(inputs)) for i in range(len(inputs)) for k in range(4)]
    paths = long_paths(program.graph, 4)
    wanted: dict = {}
    for prefix in dict.fromkeys(p for path in paths for p in path.prefixes()):
        there, back = Rules(program, prefix), Rules(program, prefix, A)
        for i, j in pairs:
            asked = {(E, key): value for (_, key), value in inputs[i].items()}
            result, came = there.run(inputs[i]), back.run({**inputs[j], **asked})
            assume(not result.wrong and not came.wrong)
            wanted[prefix, i, j] = {} if result.denied else came.writes
    made = plan(program)
    assume(not made.unenforceable)
    dicts = elements(program, made)
    for path in paths:
        for i, j in pairs:
            outcomes = simulate(dicts, program, path, inputs[i], reply=inputs[j])
            for prefix, outcome in zip(path.prefixes(), outcomes, strict=True):
                assert undeclared(dict(outcome.answer)) == wanted[prefix, i, j], (str(path), outcome.hop, i, j)


@given(answered(most_services=3, most_policies=1, able=True))
@MANY
def test_nothing_cheaper_does_with_answers(program: Program):
    check_that_nothing_cheaper_does(program)
