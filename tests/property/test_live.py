"""The findings of a program that changes are those of the program that it has become."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given, note
from hypothesis import strategies as st

from m4c.analysis.live import Analysis
from m4c.semantics.model import Policy, Program
from tests.property.analysis_worlds import programs
from tests.property.budget import many


@st.composite
def histories(draw: st.DrawFn) -> list[Program]:
    """A program, and what becomes of it: policies come, go, change, move, and the mesh changes."""
    program = draw(programs(stateful=True, most_policies=5))
    everyone = program.policies
    history = []
    for _ in range(draw(st.integers(2, 6))):
        here = draw(st.lists(st.sampled_from(everyone), unique_by=lambda p: p.name)) if everyone else []
        names = {p.name for p in here}
        policies = tuple(_known(draw(_changed(p, everyone)), names) for p in here)
        some = replace(program, policies=policies)
        if draw(st.integers(0, 9)) == 0:
            some = replace(some, mesh=replace(some.mesh, defaults=()))
        history.append(some)
    return history


@st.composite
def _changed(draw: st.DrawFn, policy: Policy, others: tuple[Policy, ...]) -> Policy:
    """The policy, mostly; or with a part of another one."""
    other = draw(st.sampled_from(others))
    match draw(st.integers(0, 9)):
        case 0:
            return replace(policy, pattern=other.pattern)
        case 1:
            return replace(policy, when=other.when, when_place=other.when_place)
        case 2:
            return replace(policy, calls=other.calls, ifs=other.ifs)
        case 3:
            return replace(policy, overrides=(), after=())
        case 4 if other.name != policy.name:
            return replace(policy, overrides=(other.name,))
        case 5 if other.name != policy.name:
            return replace(policy, after=(other.name,))
    return policy


def _known(policy: Policy, names: set[str]) -> Policy:
    over, after = (tuple(n for n in of if n in names) for of in (policy.overrides, policy.after))
    return replace(policy, overrides=over, after=after)


class _Stopped(Exception):
    pass


@given(histories())
@many(150)
def test_findings_follow_a_program(history: list[Program]):
    live = Analysis()
    for program in history:
        found, fresh = live.update(program), Analysis().update(program)
        note(program)
        assert found == fresh


@given(histories(), st.lists(st.integers(0, 30), min_size=6, max_size=6))
@many(100)
def test_work_that_is_stopped_is_taken_up(history: list[Program], steps: list[int]):
    live = Analysis()
    for program, allowed in zip(history, steps, strict=False):
        left = iter(range(allowed))

        def checkpoint(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise _Stopped

        with contextlib.suppress(_Stopped):
            live.update(program, checkpoint)
    assert live.update(history[-1]) == Analysis().update(history[-1])
