"""All fixes at once, on programs that nobody wrote: they end, they bring no error, and they keep what programs mean."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from budget import many
from hypothesis import example, given
from hypothesis import strategies as st
from m4c.diagnostics.registry import Severity
from m4c.ide.edits import apply_edits, text_edits
from m4c.ide.fixall import fix_all
from m4c.semantics.effects import orders
from m4c.syntax.items import TOKEN
from m4c.workspace import Workspace
from test_broken_programs import CIRCLE, GRAPH, MESH, texts

sys.path.append(str(Path(__file__).parents[1] / "unit"))

from meaning import assert_alike, program

PATTERNS = (
    "* -> db",
    "* -> cart -> db",
    "web -> db",
    "* -> cart",
    "outside -> * -> db",
    "db -> cart",
    "? -> !web -> db",
)
ATOMS = ('r.method == "GET"', 'r.method != "PUT"', 'r.header["x-a"] == "1"', 'exists r.header["x-a"]',
         'r.target starts_with "/a"')  # fmt: skip
CALLS = ("r.Split({ v1: 50%, v2: 50% });", "r.Split({ v1: 100% });", "r.SetTimeout(1s);", "r.SetTimeout(2s);",
         'r.SetHeader("x-a", "1");', "r.DropRequest();", "r.DropRequest(451);", "r.AllowRequest();")  # fmt: skip


@st.composite
def conditions(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.sampled_from(ATOMS), min_size=1, max_size=2))
    text = draw(st.sampled_from((" && ", " || "))).join(parts)
    return f"!({text})" if draw(st.integers(0, 3)) == 0 else text


@st.composite
def bodies(draw: st.DrawFn, depth: int = 0) -> str:
    out = []
    for _ in range(draw(st.integers(1, 2))):
        if depth < 2 and draw(st.integers(0, 3)) == 0:
            text = f"if ({draw(conditions())}) {{ {draw(bodies(depth + 1))} }}"
            if draw(st.booleans()):
                other = draw(bodies(depth + 1))
                chained = other.startswith("if") and other.count("if") == 1 and other.endswith("}")
                text += f" else {other}" if chained else f" else {{ {other} }}"
            out.append(text)
        else:
            out.append(draw(st.sampled_from(CALLS)))
    return " ".join(out)


@st.composite
def sound(draw: st.DrawFn) -> str:
    """A few policies that make sense by themselves, each below a comment of its own."""
    out = []
    number = draw(st.integers(1, 5))
    for i in range(number):
        owner = draw(st.sampled_from(("", "", '@owner("a") ', '@owner("b") ')))
        clauses = [f"when {draw(conditions())}"] if draw(st.booleans()) else []
        for clause in ("overrides", "after"):
            names = draw(st.lists(st.integers(0, number - 1), max_size=2, unique=True))
            # Mostly in one direction, for circles are reported and nothing else then.
            named = [f"p{n}" for n in names if n != i and (n < i or draw(st.integers(0, 9)) == 0)]
            clauses += [f"{clause} {', '.join(named)}"] if named else []
        head = f"{owner}policy p{i} (HttpRequest r) on {draw(st.sampled_from(PATTERNS))} {' '.join(clauses)}"
        out.append(f"// about p{i}\n{head} {{ {draw(bodies())} }}\n")
    return "".join(out)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text(MESH)
    yield Workspace([folder])


def errors(workspace: Workspace) -> int:
    return sum(workspace.severity(p) == Severity.ERROR for p in workspace.problems())


def comments(text: str) -> list[str]:
    return [m.group() for m in TOKEN.finditer(text) if m.lastgroup == "comment"]


@many(120)
@example(text=CIRCLE)
@given(text=sound())
def test_what_a_program_means_stays(workspace: Workspace, text: str) -> None:
    file = (workspace.paths[0] / "policies.m4").as_posix()
    workspace.set_text(file, text)
    outcome = fix_all(workspace, lambda f: f == file)
    after = outcome.workspace
    assert outcome.finished
    # Policies on a circle take no part in the analyses: what else is wrong with them shows once it is broken.
    before = fix_all(workspace, lambda f: f == file, codes=("override-cycle",)).workspace
    assert errors(after) <= errors(before), [m.title for m in outcome.made]
    assert comments(after.text(file)) == comments(text)
    if not errors(before):
        assert_alike(program(before), program(after))
    again = fix_all(after, lambda f: f == file)
    assert again.made == (), [m.title for m in again.made]


@many(120)
@given(text=sound())
def test_what_is_narrowed_means_what_an_override_means(workspace: Workspace, text: str) -> None:
    """For each pair of fixes of one contradiction, of which one narrows the policy that the other overrides."""
    file = (workspace.paths[0] / "policies.m4").as_posix()
    workspace.set_text(file, text)
    for problem in workspace.problems():
        if problem.code != "contradiction" or len(problem.policies) != 2:
            continue
        fixes = workspace.fixes(problem)
        over = orders(program(workspace)).over
        for narrow in (f for f in fixes if f.title.startswith("Narrow")):
            loser = narrow.title.split("`")[1]
            override = next((f for f in fixes if f"override `{loser}`" in f.title), None)
            winner = next(name for name in problem.policies if name != loser)
            if override is None or not over[winner] <= over[loser]:
                continue  # who overrides the winner would override the loser too
            results = []
            for fix in (narrow, override):
                other = workspace.fork()
                other.set_text(file, apply_edits(workspace, text_edits(workspace, fix))[file])
                results.append(program(other))
            assert_alike(*results)


@many(100)
@example(text=CIRCLE)
@example(text="mesh other;\nmesh shop;\n")
@given(text=texts())
def test_a_wrong_program_is_no_failure(workspace: Workspace, text: str) -> None:
    file = (workspace.paths[0] / "policies.m4").as_posix()
    workspace.set_text(file, text)
    for problem in workspace.problems():
        for fix in workspace.fixes(problem):
            edits = text_edits(workspace, fix)
            assert edits
            spans = sorted((e.span.file, e.span.start, e.span.end) for e in edits)
            for name, start, end in spans:
                assert 0 <= start <= end <= len(workspace.text(name)), fix.title
            for (one, _, end), (two, start, _) in itertools.pairwise(spans):
                assert one != two or end <= start, fix.title
    outcome = fix_all(workspace, lambda f: f == file)
    assert outcome.finished
    assert fix_all(outcome.workspace, lambda f: f == file).made == ()
