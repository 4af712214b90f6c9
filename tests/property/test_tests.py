"""A test is run with the policies that may fire on its path, and comes out as with all of them."""

from __future__ import annotations

from dataclasses import replace

from analysis_worlds import E, programs
from brute import all_paths
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from m4c.analysis.cycles import order_cycles
from m4c.reference import trace
from m4c.semantics.model import TRUE, AnyOne, Named, Pattern, Program, Step
from m4c.testing import answering, arriving, by_end, joined

NOWHERE = Pattern((Step(Named("nowhere")),))
ANYWHERE = Pattern((Step(AnyOne(), star=True),))


def chained(program: Program, clause: str) -> Program:
    """With each policy overriding, or after, the next one; every second one fires nowhere, the others everywhere."""
    following = [*(p.name for p in program.policies[1:]), None]
    policies = []
    for i, (p, name) in enumerate(zip(program.policies, following, strict=True)):
        calls = tuple(replace(c, guard=TRUE, side=None) for c in p.calls)
        free = replace(p, pattern=NOWHERE if i % 2 else ANYWHERE, when=TRUE, side=None, calls=calls)
        policies.append(replace(free, **{clause: (name,) if name else ()}))  # type: ignore[arg-type]
    return replace(program, policies=tuple(policies))


@given(programs(6, stateful=True), st.sampled_from([None, "overrides", "after"]))
@settings(max_examples=200, deadline=None)
def test_no_other_policy_matters(program: Program, clause: str | None) -> None:
    if clause is not None:
        program = chained(program, clause)
    assume(not any(order_cycles(program.policies)))
    ends = by_end(program)
    for path in all_paths(program, 3):
        few = joined(replace(program, policies=()), [ends.get(s, ()) for s in dict.fromkeys(path.services)])
        values = arriving(program, E, {})
        whole = trace(program, path, values, E, answering(program, {}))
        assert trace(few, path, values, E, answering(few, {})) == whole
