"""Many findings about pairs of policies as few: nobody is left out, nothing is counted twice, little stays to read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from cli_kit import hold, m4, shop
from hypothesis import given, settings
from hypothesis import strategies as st
from m4c.diagnostics.aggregate import FEW, SHOWN, Group, aggregated, at_policies, grouped
from m4c.diagnostics.registry import RULES
from m4c.ide.actions import actions
from m4c.ide.diagnostics import diagnostics
from m4c.semantics.model import Place
from m4c.semantics.problems import Problem, Related, Witness
from m4c.workspace import Workspace

PAIRED = [r.code for r in RULES.values() if r.pairs]
MIRRORED = "contradiction"


def finding(code: str, about: str, a: int, b: int, length: int = 2, file: str = "p.m4") -> Problem:
    """A finding about two policies of some numbers."""
    names = (f"p{a}", f"p{b}")
    path = tuple(f"s{i}" for i in range(length))
    witness = Witness(path, (path[-2], path[-1]), "Request", ())
    one, two = (Place(file, f"policy:{n}", 0, 5) for n in names)
    mirrored = "the other one" if code == MIRRORED else ""
    return Problem(code, f"{names} on {path}", two, (Related(one, "one"),), names, witness, (), mirrored, about)


@st.composite
def findings(draw: st.DrawFn) -> list[Problem]:
    """Findings as the analyses make them: of each kind about each thing at most one for two policies."""
    out = []
    for code in draw(st.lists(st.sampled_from(PAIRED), min_size=1, max_size=2, unique=True)):
        for about in draw(st.lists(st.sampled_from(("route", "timeout")), min_size=1, unique=True)):
            n = draw(st.integers(2, 14))
            every = [(a, b) for b in range(n) for a in range(b)]
            chosen = draw(st.lists(st.sampled_from(every), unique=True))
            out += [finding(code, about, a, b, draw(st.integers(2, 4))) for a, b in chosen]
    other = Problem("redundant", "without `p0` nothing changes", Place("p.m4", "policy:p0", 0, 5), policies=("p0",))
    return draw(st.permutations([*out, *[other][: draw(st.integers(0, 1))]]))


def kinds(problems: list[Problem]) -> dict[tuple[str, str], set[str]]:
    out: dict[tuple[str, str], set[str]] = {}
    for p in problems:
        out.setdefault((p.code, p.about), set()).update(p.policies)
    return out


@given(findings())
@settings(max_examples=300, deadline=None)
def test_few_findings_say_of_whom_and_of_how_much_what_many_say(problems: list[Problem]) -> None:
    few = aggregated(problems)
    assert kinds(few) == kinds(problems), "just the same policies, for each kind and thing"
    for kind in kinds(problems):
        count = sum(p.pairs for p in few if (p.code, p.about) == kind)
        assert count == sum((p.code, p.about) == kind for p in problems)
    assert [p for p in few if p.pairs == 1] == [p for p in problems if p in few], "those that stay are as they were"


@given(findings())
@settings(max_examples=300, deadline=None)
def test_little_stays(problems: list[Problem]) -> None:
    few = aggregated(problems)
    for code, about in kinds(problems):
        alone = [p for p in few if (p.code, p.about, p.pairs) == (code, about, 1) and RULES[code].pairs]
        degree = Counter(name for p in alone for name in p.policies)
        assert all(n <= FEW for n in degree.values())
    assert all(len(p.related) < 2 * SHOWN for p in few)


@given(findings())
@settings(max_examples=200, deadline=None)
def test_the_order_of_the_findings_does_not_matter(problems: list[Problem]) -> None:
    def said(found: list[Problem]) -> list[tuple[str, str, int, tuple[str, ...]]]:
        return sorted((p.code, p.about, p.pairs, tuple(sorted(p.policies))) for p in aggregated(found))

    assert said(problems) == said(problems[::-1])


@given(findings())
@settings(max_examples=300, deadline=None)
def test_an_editor_says_it_at_each_policy(problems: list[Problem]) -> None:
    for group in grouped(problems):
        if not isinstance(group, Group):
            continue
        shown = list(at_policies(group))
        assert len(shown) == len({n.place.decl for n in shown})
        owners = {n.place.decl.removeprefix("policy:") for n in shown}
        if group.pairs[0].code == MIRRORED:
            assert owners == set(group.policies)
        else:
            assert owners == {p.policies[1] for p in group.pairs}, "where each of them is"
        for n in shown:
            name = n.place.decl.removeprefix("policy:")
            assert 0 < len(n.pairs) <= SHOWN
            assert all(name in p.policies for p in n.pairs)
            lengths = [len(p.witness.path) for p in n.pairs if p.witness]
            of_all = sorted(len(p.witness.path) for p in group.pairs if p.witness and name in p.policies)
            if group.pairs[0].code == MIRRORED:
                assert lengths == of_all[: len(lengths)], "the nearest ones"


def test_policies_of_two_meshes_do_not_meet() -> None:
    of_one = [finding("contradiction", "route", a, b) for b in range(5) for a in range(b)]
    of_two = [finding("contradiction", "route", a, b, file="q.m4") for b in range(5) for a in range(b)]
    assert [p.pairs for p in aggregated([*of_one, *of_two])] == [10, 10]


def test_few_pairs_stay_by_themselves() -> None:
    four = [finding("contradiction", "route", a, b) for b in range(4) for a in range(b)]
    assert aggregated(four) == four
    five = [finding("contradiction", "route", a, b) for b in range(5) for a in range(b)]
    (one,) = aggregated(five)
    assert (one.pairs, set(one.policies)) == (10, {"p0", "p1", "p2", "p3", "p4"})


def test_the_one_that_all_others_meet_is_named() -> None:
    star = [finding("merged", "timeout", 0, b) for b in range(1, 8)]
    (one,) = aggregated(star)
    assert one.message.startswith("8 policies write `timeout`, and its merge decides in 7 pairs, 7 of them with `p0`: ")


# --- in a program -----------------------------------------------------------------------------------------------------

N = 40
MANY = "".join(
    f"policy p{i} (HttpRequest r) on * -> db {{ r.Split({{ v1: {i}%, v2: {100 - i}% }}); }}\n" for i in range(N)
)
PAIRS = N * (N - 1) // 2


def test_check_reports_many_contradictions_as_one(tmp_path: Path) -> None:
    folder = shop(tmp_path, MANY)
    done = m4("check", folder)
    assert done.code == 1
    assert "40 policies write `route` and contradict one another in 780 pairs: `p0` and `p1" in " ".join(
        done.out.split()
    )
    assert len(done.out.splitlines()) < 40
    assert done.out.endswith(f"{N} policies over 3 services: {PAIRS} errors\n"), "what is counted is all of them"
    every = m4("check", "--all", folder)
    assert (every.code, every.out.count("error[contradiction]")) == (1, PAIRS)
    assert every.out.endswith(f": {PAIRS} errors\n")


def test_programs_get_the_number_of_pairs(tmp_path: Path) -> None:
    folder = shop(tmp_path, MANY)
    few = hold(m4("check", folder, "--format", "json").json, "check")
    every = hold(m4("check", "--all", folder, "--format", "json").json, "check")
    assert few["summary"] == every["summary"]
    (one,) = few["diagnostics"]
    assert one["pairs"] == len(every["diagnostics"]) == PAIRS
    assert set(one["policies"]) == {name for d in every["diagnostics"] for name in d["policies"]}
    assert all("pairs" not in d for d in every["diagnostics"])
    (run,) = hold(m4("check", folder, "--format", "sarif").json, "sarif")["runs"]
    assert [r["occurrenceCount"] for r in run["results"]] == [PAIRS]
    assert m4("check", folder, "--format", "github").out.count("\n") == 1


def test_an_editor_shows_one_at_each_policy_with_the_fixes_of_the_nearest(tmp_path: Path) -> None:
    workspace = Workspace([shop(tmp_path, MANY)])
    ((file, found),) = diagnostics(workspace).items()
    assert len(found) == N
    assert len({d.span.start_line for d in found}) == N
    first = found[0]
    assert first.message.startswith("`p0` and 39 others write `route` and contradict one another: `p1")
    assert first.message.endswith("; and 36 more")
    titles = [a.title for a in actions(workspace, file, first.span.start, first.span.end)]
    assert len([t for t in titles if t.startswith("Let `p0` override")]) == SHOWN
