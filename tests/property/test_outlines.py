"""What outlines leave out is nothing that any question is about: the answers are the same without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from analysis_worlds import TEXTS, key, programs
from budget import many
from hypothesis import example, given, note
from hypothesis import strategies as st
from m4c.analysis import postings
from m4c.analysis.live import Analysis
from m4c.analysis.run import analyse
from m4c.placement import alike, athop
from m4c.predicates import Outlines, Solver, holds, outline_of, regex_matches, satisfiable, satisfy
from m4c.predicates.charset import lower_ascii
from m4c.predicates.regex import regex_head
from m4c.semantics.model import Absent, And, Atom, AttrKey, Cond, Not, Or, Policy, Program, Write
from placement_worlds import worlds
from test_placement import check_by_simulation
from test_predicates import (
    HEAD,
    NAME,
    NUMBER_ATOMS,
    PART,
    SIZE,
    SMALL_REGEXES,
    STEM,
    TEXT,
    conditions,
    schema,
    text_atoms,
    words,
)

HEADS = ["ab+", "a[b]c", "(?i)ab", "(ab)c", "^ab", "[aA]b", "a?b", "ab?", "a{2}b", r"a\.b", "B[aA]", "(a|b)a", "K"]
ANY = conditions(st.one_of(text_atoms([TEXT, HEAD, PART], "ab?", 3), text_atoms([NAME, STEM], "aAbB", 2), NUMBER_ATOMS))


def beginning(attrs: list[AttrKey], alphabet: str) -> st.SearchStrategy[Cond]:
    """Comparisons that say how a text begins."""
    attr, constant = st.sampled_from(attrs), st.text(alphabet, max_size=3)
    return st.one_of(
        st.builds(Atom, attr, st.sampled_from(["==", "starts_with"]), constant),
        st.builds(lambda a, v: Atom(a, "in", tuple(sorted(v))), attr, st.sets(constant, min_size=1, max_size=3)),
        st.builds(Atom, attr, st.just("matches"), st.sampled_from(HEADS)),
    )


BEGINNINGS = st.one_of(
    beginning([TEXT], "ab"), beginning([TEXT, HEAD, PART], "ab?"), beginning([NAME], "aAB"), NUMBER_ATOMS
)
CONDITIONS = st.one_of(
    BEGINNINGS,
    BEGINNINGS,
    st.builds(lambda a, b: And((a, b)), BEGINNINGS, st.one_of(BEGINNINGS, ANY)),
    st.builds(lambda a, b: Or((a, b)), BEGINNINGS, BEGINNINGS),
    st.builds(lambda a, b: Not(Or((Not(a), b))), BEGINNINGS, ANY),
    ANY,
)
SEVERAL = Atom(NAME, "in", ("AAA", "AAa"))


def listed(conds: list[Cond]) -> Outlines[int, Cond]:
    solver, found = Solver(schema, {}), Outlines[int, Cond]()
    for i, cond in enumerate(conds):
        found.add(i, cond, outline_of(cond, solver.view), i % 2)
    return found


@many(600)
@example(SEVERAL, [SEVERAL] * 2, {0})  # two constants that are one without regard to case
@given(CONDITIONS, st.lists(CONDITIONS, max_size=12), st.sets(st.integers(0, 5)))
def test_what_is_not_found_excludes_each_other(cond: Cond, others: list[Cond], gone: set[int]) -> None:
    found = listed(others)
    for i in gone & set(range(len(others))):
        found.remove(i)
    outline = outline_of(cond, Solver(schema, {}).view)
    near, of_other_kind = found.meeting(outline), found.meeting(outline, 1)
    for i, other in enumerate(others):
        if i in gone:
            assert i not in near
        elif satisfiable(schema, {}, cond, other):
            assert near[i] is other
            assert i % 2 == 1 or of_other_kind[i] is other


@many(300)
@example(Atom(NAME, "matches", "ab+"), [Atom(STEM, "==", "A")])  # that of `AB`, not of `ab`
@given(CONDITIONS, st.lists(CONDITIONS, max_size=12))
def test_what_holds_on_an_input_is_found(cond: Cond, others: list[Cond]) -> None:
    solver, found = Solver(schema, {}), listed([cond, *others])
    inputs = [a for c in (cond, *others) if (a := satisfy(c, schema, {})) is not None]
    for made in inputs:
        values = {a: made.attributes.get(a, solver.plain(a)) for a in (TEXT, NAME, SIZE)}
        here = found.holding(values.__getitem__)
        present = {a: v for a, v in values.items() if not isinstance(v, Absent)}
        assert all(here[i] is c for i, c in enumerate((cond, *others)) if holds(c, present, {}, schema))


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("source", [*SMALL_REGEXES, *HEADS])
def test_all_that_matches_begins_with_the_head(source: str, fold: bool) -> None:
    head = regex_head(source, fold)
    matching = [w for w in words("abAB.K", 4) if regex_matches(source, w, fold)]
    assert matching or "c" in source or source in SMALL_REGEXES  # `c` is no letter of these words
    assert all((lower_ascii(w) if fold else w).startswith(head) for w in matching)


def test_the_head_of_a_path_is_all_before_what_varies() -> None:
    assert regex_head(r"/cart/[0-9]+") == "/cart/"
    assert regex_head(r"/Cart/.*", fold=True) == "/cart/"
    assert regex_head(r"(?i)/k.*") == "/"


@contextmanager
def looked_up(few: int) -> Iterator[None]:
    """Lists of more than so many are looked up by outlines."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (postings, alike, athop):
            patch.setattr(module, "FEW", few)
        yield


@st.composite
def crowds(draw: st.DrawFn) -> list[Program]:
    """Programs one after the other, in which many policies are told apart by a text."""
    program = draw(programs(stateful=draw(st.sampled_from([False, False, True])), most_policies=7))
    text, field = key("text"), key("field", "x")
    beginnings = st.sampled_from([*TEXTS, "ab", "aba", "abab", "b"])
    attr = st.sampled_from([text, text, text, field])
    atoms = st.one_of(
        st.builds(Atom, attr, st.sampled_from(["==", "starts_with", "starts_with"]), beginnings),
        st.builds(lambda v: Atom(text, "in", tuple(sorted(v))), st.sets(beginnings, min_size=1, max_size=2)),
        st.just(Atom(text, "matches", "ab.*")),
    )
    conds = st.one_of(
        atoms,
        atoms,
        st.builds(lambda a, b: And((a, b)), atoms, atoms),
        st.builds(lambda a, b: Or((a, b)), atoms, atoms),
    )
    writes = st.one_of(
        st.builds(lambda v: (Write(key("number"), v),), st.sampled_from([1, 2])),
        st.builds(lambda v: (Write(key("verdict"), v),), st.sampled_from(["allow", "deny"])),
    )
    somewhere = program.policies[0].pattern
    orders = draw(st.sampled_from([False, False, True]))

    def told_apart(policy: Policy) -> Policy:
        made = policy
        if draw(st.integers(0, 4)):
            made = replace(made, when=draw(conds))
        if draw(st.integers(0, 3)):
            made = replace(made, pattern=somewhere)
        if draw(st.integers(0, 2)):
            made = replace(made, ifs=(), calls=(replace(made.calls[0], writes=draw(writes)),))
        return made if orders else replace(made, overrides=(), after=())

    history = [replace(program, policies=tuple(map(told_apart, program.policies)))]
    for _ in range(draw(st.integers(1, 3))):
        last = history[-1].policies
        changed = draw(st.sampled_from(range(len(last))))
        gone = draw(st.integers(0, 4)) == 0
        policies = [told_apart(p) if i == changed and not gone else p for i, p in enumerate(last)]
        if gone and len(last) > 1:
            name = policies.pop(changed).name
            policies = [
                replace(
                    p,
                    overrides=tuple(n for n in p.overrides if n != name),
                    after=tuple(n for n in p.after if n != name),
                )
                for p in policies
            ]
        history.append(replace(program, policies=tuple(policies)))
    return history


@given(crowds())
@many(300)
def test_findings_are_the_same_with_outlines(history: list[Program]) -> None:
    kept = Analysis()
    for program in history:
        note(program)
        with looked_up(10**9):
            wanted = analyse(program)
        with looked_up(0):
            assert analyse(program) == wanted
            assert kept.update(replace(program, policies=()), (program.policies,)) == wanted


@given(worlds(most_services=5, most_policies=6))
@many(100)
def test_a_plan_made_with_outlines_does_what_the_language_says(program: Program) -> None:
    with looked_up(0):
        check_by_simulation(program, longest=5)


@given(worlds(most_services=4, most_policies=5, able=True, marks=True))
@many(100)
def test_a_plan_with_marks_made_with_outlines_does_what_the_language_says(program: Program) -> None:
    with looked_up(0):
        check_by_simulation(program, longest=4)
