"""The findings of a program that changes are those of the program that it has become."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from m4c.analysis import live
from m4c.analysis.live import Analysis
from m4c.analysis.near import Row
from m4c.analysis.questions import Questions
from m4c.analysis.run import analyse
from m4c.semantics.model import TRUE, Policy, Program

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


def parts(program: Program, sizes: list[int]) -> tuple[tuple[Policy, ...], ...]:
    """The policies of a program, in files of these sizes and a last one."""
    out, rest = [], program.policies
    for size in sizes:
        out.append(rest[:size])
        rest = rest[size:]
    return (*out, rest)


def frame(program: Program) -> Program:
    return replace(program, policies=())


class Files:
    """Parts that are the same objects as long as they are equal."""

    def __init__(self) -> None:
        self.known: dict[tuple[Policy, ...], tuple[Policy, ...]] = {}

    def of(self, program: Program, sizes: list[int], again: int = 0) -> tuple[tuple[Policy, ...], ...]:
        """The parts, and one more with some policies said again, otherwise."""
        twice = tuple(replace(p, when=TRUE, place=replace(p.place, file="again.m4")) for p in program.policies[:again])
        return tuple(self.known.setdefault(part, part) for part in (*parts(program, sizes), twice))


SIZES = st.lists(st.integers(0, 2), max_size=3)


@given(histories(), st.lists(st.tuples(SIZES, st.integers(0, 2)), min_size=2))
@many(150)
def test_findings_follow_a_program(history: list[Program], sizes: list[tuple[list[int], int]]):
    kept, files = Analysis(), Files()
    for program, (cut, again) in zip(history, cycle(sizes), strict=False):
        found, fresh = kept.update(frame(program), files.of(program, cut, again)), analyse(program)
        note(program)
        assert found == fresh


@given(programs(most_policies=2), st.lists(st.tuples(SIZES, st.permutations(range(4))), min_size=2, max_size=4))
@many(150)
def test_policies_may_move_from_file_to_file(program: Program, moves: list[tuple[list[int], list[int]]]):
    """Which of two equal ones is reported depends on where they stand."""
    kept, files = Analysis(), Files()
    everyone = [*program.policies, *(replace(p, name=f"as_{p.name}") for p in program.policies)]
    for cut, order in moves:
        policies = tuple(everyone[i] for i in order if i < len(everyone))
        moved = replace(program, policies=policies)
        assert kept.update(frame(moved), files.of(moved, cut)) == analyse(moved)


@given(histories(), st.lists(st.integers(0, 30), min_size=6, max_size=6))
@many(100)
def test_work_that_is_stopped_is_taken_up(history: list[Program], steps: list[int]):
    kept = Analysis()
    for program, allowed in zip(history, steps, strict=False):
        left = iter(range(allowed))

        def checkpoint(left: Iterator[int] = left) -> None:
            if next(left, None) is None:
                raise _Stopped

        with contextlib.suppress(_Stopped):
            kept.update(frame(program), parts(program, [2]), checkpoint)
    last = history[-1]
    assert kept.update(frame(last), parts(last, [2])) == analyse(last)


@given(histories())
@many(50)
def test_a_failure_in_the_middle_leaves_no_trace(history: list[Program]):
    kept = Analysis()
    for program in history:
        with pytest.MonkeyPatch.context() as patch, contextlib.suppress(_Stopped):
            patch.setattr(Questions, "ask_point", _stop)
            kept.update(frame(program), parts(program, [1]))
        assert kept.update(frame(program), parts(program, [1])) == analyse(program)


@given(programs(stateful=True, most_policies=6), st.integers(2, 3))
@settings(max_examples=40, deadline=None)
def test_processes_that_share_the_work_find_the_same(program: Program, processes: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "MANY", 1)
        shared = Analysis(processes)
        found = shared.update(frame(program), parts(program, [2]))
        assert found == analyse(program)
        fewer = replace(
            program, policies=tuple(_known(p, {q.name for q in program.policies[1:]}) for p in program.policies[1:])
        )
        assert shared.update(frame(fewer), parts(fewer, [2])) == analyse(fewer)


@given(programs(stateful=True, most_policies=6))
@settings(max_examples=20, deadline=None)
def test_what_a_process_leaves_undone_is_done(program: Program):
    mine = os.getpid()

    def ask(self: Questions, row: Row, ask: Callable[[Questions, Row], None] = Questions.ask_point) -> None:
        if os.getpid() != mine and row.policy.name == program.policies[0].name:
            raise _Stopped
        ask(self, row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "MANY", 1)
        patch.setattr(Questions, "ask_point", ask)
        assert Analysis(2).update(frame(program), parts(program, [2])) == analyse(program)


def _stop(*_: object) -> None:
    raise _Stopped
