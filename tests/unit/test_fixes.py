"""Fixes: each does what its title says, mends what it is offered for, and touches nothing else."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from m4c.diagnostics.examples import example, setting, workspace_files
from m4c.diagnostics.registry import RULES, Severity, rule
from m4c.ide.edits import apply_fix, text_edits
from m4c.semantics.problems import Fix, Problem, chosen
from m4c.syntax.items import TOKEN
from m4c.workspace import Workspace
from meaning import assert_alike, program
from pages import blocks

CASES = Path(__file__).parents[1] / "fixes" / "cases.md"
EXAMPLES = [code for code in RULES if example(code)]
# Nobody but the author can know what was meant, or what is wrong is not in the text.
NO_FIX = {
    "deprecated": "what to use instead is said in words",
    "merged": "nothing is wrong",
    "missing-argument": "the value",
    "bad-template": "what the template is to say",
    "rejected-artifact": "what the template is to say",
    "reserved-key": "another header",
    "bad-regex": "the expression",
    "too-complex": "a simpler condition",
    "bad-encoding": "the bytes",
    "too-large": "the size",
    "unreadable-file": "the bytes",
    "unreachable-service": "whether a call is missing, an entry, or the service is one too many",
    "shared-state": "whether it is meant to be shared",
    "split-state": "whether it is meant to be kept apart",
    "foreign-override": "what the other team says",
    "timeout-inversion": "the limits",
    "retry-amplification": "the counts",
    "overwritten-header": "another header",
    "suppression-without-reason": "the reason",
    "failed-test": "whether the test or the policy is right",
    "incomplete-test": "what is expected",
    "no-plan": "the solver's time",
    "not-optimal": "the solver's time",
}
# A policy (or a file) with such an error takes no part in the analyses; what they say of it was hidden until now.
HIDES = {
    "syntax-error", "unknown-name", "type-mismatch", "duplicate-name", "wrong-side", "connection-pattern",
    "which-mesh", "missing-file", "missing-declaration", "bad-graph", "weights-sum",
}  # fmt: skip


@dataclass
class Case:
    """A section of the page: the files, the fix by code and title, and one file afterwards."""

    name: str
    code: str
    title: str
    flag: str
    files: dict[str, str]
    file: str
    after: str
    brings: set[str] = field(default_factory=set)
    same: bool = False  # means the same before and after
    like: str = ""  # means the same as another fix


def cases() -> Iterator[Case]:
    _, *parts = re.split(r"^## (.+)$", CASES.read_text("utf-8"), flags=re.M)
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        wanted = re.search(r"^fix: ([\w-]+): (.+?)(?: (\*|\(by hand\)))?$", body, re.M)
        assert wanted is not None, name
        *before, after = blocks(body)
        files: dict[str, str] = {}
        for b in [*blocks(setting()), *before]:
            files[_file(b.file, b.language)] = b.text
        without = re.search(r"^without: (.+)$", body, re.M)
        files.pop(without[1] if without else "", None)
        brings = re.search(r"^brings: (.+)$", body, re.M)
        like = re.search(r"^same as: (.+)$", body, re.M)
        yield Case(
            name,
            wanted[1],
            wanted[2],
            wanted[3] or "",
            files,
            _file(after.file, after.language),
            after.text,
            set(brings[1].split(", ")) if brings else set(),
            "\nmeans the same\n" in body,
            like[1] if like else "",
        )


def _file(named: str | None, language: str) -> str:
    return named or ("graph.yaml" if language == "yaml" else "policies.m4")


ALL = list(cases())


def opened(folder: Path, files: dict[str, str]) -> Workspace:
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_bytes(text.encode("utf-8"))
    return Workspace([folder])


def changed(workspace: Workspace, fix: Fix) -> Workspace:
    """The workspace with a fix made."""
    after = Workspace(workspace.paths)
    for file, text in apply_fix(workspace, fix).items():
        after.set_text(file, text)
    return after


def identity(p: Problem) -> tuple[object, ...]:
    return p.code, p.policies, p.about, p.place.file, p.place.decl


def weighty(workspace: Workspace) -> Counter[tuple[object, ...]]:
    found = (p for p in workspace.problems() if rule(p.code).severity <= Severity.WARNING)
    return Counter(map(identity, found))


def offered(workspace: Workspace, code: str) -> Iterator[tuple[Problem, Fix]]:
    for problem in workspace.problems():
        if problem.code == code:
            yield from ((problem, fix) for fix in workspace.fixes(problem))


def check_mends(workspace: Workspace, problem: Problem, fix: Fix, brings: set[str]) -> Workspace:
    """The problem is gone, and nothing weighty has come in its place."""
    after = changed(workspace, fix)
    before, now = Counter(map(identity, workspace.problems())), Counter(map(identity, after.problems()))
    assert now[identity(problem)] < before[identity(problem)], fix.title
    if problem.code not in HIDES:
        new = weighty(after) - weighty(workspace)
        assert {str(code) for code, *_ in new} == brings, fix.title
    return after


def comments(text: str) -> list[str]:
    return [m.group() for m in TOKEN.finditer(text) if m.lastgroup == "comment"]


# --- every fix of every example ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", EXAMPLES)
def test_each_fix_of_an_example_mends_it(tmp_path: Path, code: str) -> None:
    shown = example(code)
    assert shown is not None
    workspace = opened(tmp_path / "ws", workspace_files(shown.wrong))
    for problem, fix in offered(workspace, code):
        disclosed = {"shadowed"} if "never takes effect" in fix.title else set[str]()
        disclosed |= {"dead-condition"} if "constant" in fix.title else set()
        if problem.code == "override-cycle" and not fix.preferred:
            disclosed |= {"shadowed"}  # the edge that closes the circle goes first; any other is the author's choice
        check_mends(workspace, problem, fix, disclosed)


def test_every_code_has_a_fix_where_there_can_be_one() -> None:
    assert {c.code for c in ALL} == set(RULES) - set(NO_FIX)


@pytest.mark.parametrize("code", sorted(set(NO_FIX) & set(EXAMPLES)))
def test_nothing_is_offered_where_only_the_author_can_know(tmp_path: Path, code: str) -> None:
    shown = example(code)
    assert shown is not None
    workspace = opened(tmp_path / "ws", workspace_files(shown.wrong))
    assert list(offered(workspace, code)) == []


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.name)
def test_a_fix_does_what_the_page_says(tmp_path: Path, case: Case) -> None:
    workspace = opened(tmp_path / "ws", case.files)
    titles = [fix.title for _, fix in offered(workspace, case.code)]
    found = [(p, f) for p, f in offered(workspace, case.code) if f.title == case.title]
    assert found, titles
    problem, fix = found[0]
    fixes = workspace.fixes(problem)
    assert case.flag == ("*" if chosen(fixes) == fix else "(by hand)" if fix.by_hand else "")
    made = {Path(f).name: text for f, text in apply_fix(workspace, fix).items()}
    assert made == {case.file: case.after}
    after = check_mends(workspace, problem, fix, case.brings)
    if case.same:
        assert_alike(program(workspace), program(after))
    if case.like:
        other = next(f for f in fixes if f.title == case.like)
        assert_alike(program(changed(workspace, other)), program(after))


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.name)
def test_line_ends_stay(tmp_path: Path, case: Case) -> None:
    """The same fix in the same file as another editor writes it."""
    files = {**case.files, case.file: case.files[case.file].replace("\n", "\r\n")}
    workspace = opened(tmp_path / "ws", files)
    fix = next(f for _, f in offered(workspace, case.code) if f.title == case.title)
    made = {Path(f).name: new for f, new in apply_fix(workspace, fix).items()}
    assert made == {case.file: case.after.replace("\n", "\r\n")}


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.name)
def test_comments_outside_of_what_goes_stay(tmp_path: Path, case: Case) -> None:
    workspace = opened(tmp_path / "ws", case.files)
    fix = next(f for _, f in offered(workspace, case.code) if f.title == case.title)
    for edit in text_edits(workspace, fix):
        gone = workspace.text(edit.span.file)[edit.span.start : edit.span.end]
        if not case.same:  # what never happens goes with what is said about it
            assert comments(gone) == [] or "Remove" in fix.title


def test_problems_of_two_teams_are_not_narrowed(tmp_path: Path) -> None:
    text = """
        @owner("a") policy canary (HttpRequest r) on * -> cart -> db { r.Split({ v1: 80%, v2: 20% }); }
        @owner("b") policy even   (HttpRequest r) on * -> db         { r.Split({ v1: 50%, v2: 50% }); }
    """
    workspace = opened(tmp_path / "ws", {**workspace_files(""), "policies.m4": text})
    assert [f.title for _, f in offered(workspace, "contradiction")] == [
        "Let `canary` override `even`",
        "Let `even` override `canary`, which then never takes effect",
    ]


@pytest.mark.parametrize(
    ("clause", "other", "narrowed"),
    [
        ("", "on * -> db { r.SetTimeout(1s); }", True),
        ("", "on * -> db after even { r.SetTimeout(1s); }", True),
        ("", "on * -> db overrides canary { r.SetTimeout(1s); }", True),
        ("", 'on * -> db after even when r.header["x-a"] == "1" { r.SetTimeout(1s); }', False),
        ("overrides other", 'on * -> db { r.SetHeader("x-a", "2"); }', False),
    ],
)
def test_a_policy_that_others_go_by_is_not_narrowed(tmp_path: Path, clause: str, other: str, narrowed: bool) -> None:
    """Where it no longer fires, it would neither drop what it overrides nor be seen by those that come after it."""
    text = f"""
        policy canary (HttpRequest r) on * -> cart -> db {{ r.SetHeader("x-a", "3"); }}
        policy even (HttpRequest r) on * -> db {clause} {{ r.SetHeader("x-a", "1"); }}
        policy other (HttpRequest r) {other}
    """
    workspace = opened(tmp_path / "ws", {**workspace_files(""), "policies.m4": text})
    found = [f.title for p, f in offered(workspace, "contradiction") if set(p.policies) == {"canary", "even"}]
    assert "Let `canary` override `even`" in found
    assert ("Narrow `even` to `* -> !cart -> db`" in found) == narrowed


CHAIN = """
    policy first (HttpRequest r) on * -> cart -> db {first} when r.method == "GET" {{ r.SetTimeout(1s); {one} }}
    policy canary (HttpRequest r) on * -> cart -> db {{ r.Split({{ v1: 80%, v2: 20% }}); {two} }}
    policy even (HttpRequest r) on * -> db overrides rest {{ r.Split({{ v1: 50%, v2: 50% }}); }}
    policy rest (HttpRequest r) on * -> db {{ {three} }}
"""
SPLIT = "r.Split({ v1: 100% });"


@pytest.mark.parametrize(
    ("values", "then"),
    [
        ({"three": SPLIT}, None),
        ({"two": "r.SetTimeout(2s);", "three": SPLIT}, None),
        ({"two": "r.SetTimeout(2s);", "three": f"{SPLIT} r.SetTimeout(3s);"}, "; `canary` then overrides `rest` too"),
        ({"first": "overrides canary", "one": SPLIT, "three": SPLIT}, None),
        (
            {"first": "overrides canary", "one": SPLIT, "three": f"{SPLIT} r.SetTimeout(3s);"},
            "; `first` then overrides `rest` too",
        ),
    ],
)
def test_an_override_that_reaches_others_says_so_and_is_not_made_unasked(
    tmp_path: Path, values: dict[str, str], then: str | None
) -> None:
    """`overrides` is transitive: what the one between two policies lets pass, the other one drops."""
    text = CHAIN.format(**{"first": "", "one": "", "two": "", "three": "", **values})
    workspace = opened(tmp_path / "ws", {**workspace_files(""), "policies.m4": text})
    problem = next(p for p in workspace.problems() if (p.code, p.policies) == ("contradiction", ("canary", "even")))
    fix = workspace.fixes(problem)[0]
    assert fix.title == f"Let `canary` override `even`{then or ''}"
    assert (chosen(workspace.fixes(problem)) == fix) == (then is None)


def test_a_contradiction_within_one_policy_has_no_fix_and_says_why(tmp_path: Path) -> None:
    text = "policy odd (HttpRequest r) on * -> db { r.Split({ v1: 100% }); r.Split({ v2: 100% }); }"
    workspace = opened(tmp_path / "ws", {**workspace_files(""), "policies.m4": text})
    (problem,) = workspace.problems()
    assert problem.code == "contradiction"
    assert workspace.fixes(problem) == ()
    assert "only its author can say" in problem.message


def test_a_condition_that_asks_a_state_stays(tmp_path: Path) -> None:
    text = """
        state TokenBucket some(rate: 5/s, burst: 5);
        policy limit (HttpRequest r) on * -> db at ingress when some.Take() && r.method == "GET" && r.method == "PUT" {
            r.DropRequest();
        }
    """
    workspace = opened(tmp_path / "ws", {**workspace_files(""), "policies.m4": text})
    (problem,) = [p for p in workspace.problems() if p.code == "dead-condition"]
    assert workspace.fixes(problem) == ()
