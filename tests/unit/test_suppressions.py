"""Comments that suppress findings: just those that they are about, with a reason, and not when they are of no use."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import GRAPH, hold, m4, shop
from m4c.diagnostics.registry import RULES
from m4c.diagnostics.suppress import allows
from m4c.ide.actions import actions
from m4c.ide.diagnostics import diagnostics
from m4c.ide.edits import apply_edits
from m4c.workspace import Workspace

BASE = 'policy no_deletes (HttpRequest r) on * -> db when r.method == "DELETE" { r.DropRequest(); }\n'
ALSO = """\
/// For the cart.
@owner("cart")
policy also_cart (HttpRequest r)
    on * -> cart -> db
    when r.method == "DELETE"
{
    r.DropRequest();
}
"""
WHY = "// m4: allow(redundant): the audit asks for it"


def opened(folder: Path, policies: str) -> Workspace:
    return Workspace([shop(folder, policies)])


def reported(folder: Path, policies: str) -> list[str]:
    return sorted(p.code for p in opened(folder, policies).problems())


def test_it_is_there_without_a_comment(tmp_path: Path) -> None:
    assert reported(tmp_path, BASE + ALSO) == ["redundant"]


@pytest.mark.parametrize(
    "policies",
    [
        f"{WHY}\n{ALSO}",
        f"{WHY}\n// another comment\n\n{ALSO}",
        ALSO.replace('@owner("cart")\n', f'@owner("cart") {WHY}\n'),
        ALSO.replace("(HttpRequest r)\n", f"(HttpRequest r) {WHY}\n"),
        ALSO.replace("policy also", f"{WHY}\npolicy also"),
        f"/* m4: allow(redundant): the audit\n asks for it */\n{ALSO}",
        f"//m4:allow( redundant , dead-path ):why\n{ALSO}".replace(" , dead-path ", ""),
        f"{WHY}\n{ALSO}".replace("\n", "\r\n"),
    ],
    ids=["above", "further above", "at the annotation", "at the end", "above the name", "block", "tight", "crlf"],
)
def test_a_comment_with_a_reason_suppresses_it(tmp_path: Path, policies: str) -> None:
    workspace = opened(tmp_path, BASE + policies)
    assert workspace.problems() == []
    ((problem, reason),) = workspace.suppressed()
    assert problem.code == "redundant"
    assert reason.startswith(("the audit", "why"))


@pytest.mark.parametrize(
    "policies",
    [
        f"{WHY}\n{BASE}{ALSO}",
        ALSO.replace("    r.DropRequest();", f"    r.DropRequest(); {WHY}"),
        ALSO + WHY + "\n",
        ALSO.replace('"cart"', '"cart // m4: allow(redundant): no comment"'),
        ALSO.replace("/// For", "/// m4: allow(redundant): no comment"),
        f"// see m4: allow(redundant): no suppression\n{ALSO}",
    ],
    ids=["another policy", "another line", "behind", "in a string", "in documentation", "in a sentence"],
)
def test_what_stands_elsewhere_does_not(tmp_path: Path, policies: str) -> None:
    text = policies if BASE in policies else BASE + policies
    assert "redundant" in reported(tmp_path, text)


def test_a_finding_that_is_shown_at_two_places_is_suppressed_at_either(tmp_path: Path) -> None:
    long = "policy long (HttpRequest r) on * -> db { r.SetTimeout(2s); }"
    short = "policy short (HttpRequest r) on * -> cart -> db { r.SetTimeout(1s); }"
    why = "// m4: allow(merged): both teams know"
    graph = GRAPH + "  - [web, db]\n"
    for name, text, left in (
        ("none", f"{long}\n{short}\n", ["merged"]),
        ("first", f"{long} {why}\n{short}\n", []),
        ("second", f"{long}\n{why}\n{short}\n", []),
    ):
        workspace = Workspace([shop(tmp_path / name, text, **{"graph.yaml": graph})])
        assert [p.code for p in workspace.problems()] == left


def test_a_place_within_a_policy(tmp_path: Path) -> None:
    text = """\
policy slow (HttpRequest r) on * -> cart when r.method == "GET" {
    // m4: allow(dead-condition): until PUT is asked for again
    if (r.method == "PUT") { r.SetTimeout(1s); } else { r.SetTimeout(2s); }
    if (r.method == "GET") { r.SetHeader("x-a", "1"); } // m4: allow(dead-condition): as above
    if (r.method == "POST") { r.SetHeader("x-b", "1"); }
}
"""
    (left,) = opened(tmp_path, text).problems()
    assert (left.code, left.about) == ("dead-condition", "never")


# --- reasons ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["", ":", ": ", ": …", ": ?!"])
def test_without_a_reason_it_suppresses_nothing_and_is_reported(tmp_path: Path, ending: str) -> None:
    workspace = opened(tmp_path, f"{BASE}// m4: allow(redundant){ending}\n{ALSO}")
    assert sorted(p.code for p in workspace.problems()) == ["redundant", "suppression-without-reason"]
    assert workspace.suppressed() == []


def test_errors_of_the_language_stay(tmp_path: Path) -> None:
    one = "policy one (HttpRequest r) on * -> db { r.Split({ v1: 100% }); } // m4: allow(contradiction): we know\n"
    two = "policy two (HttpRequest r) on * -> db { r.Split({ v2: 100% }); }\n"
    workspace = opened(tmp_path, one + two)
    assert sorted(p.code for p in workspace.problems()) == ["contradiction", "unused-suppression"]
    assert m4("check", tmp_path).code == 1
    assert all(RULES[p.code].suppressible for p, _ in workspace.suppressed())


# --- of no use --------------------------------------------------------------------------------------------------------


def test_one_that_suppresses_nothing_is_reported_and_goes(tmp_path: Path) -> None:
    text = f"{WHY}\n{BASE}policy slow (HttpRequest r) on * -> cart {{ r.SetTimeout(1s); }} {WHY}\n"
    folder = shop(tmp_path, text)
    assert [p.code for p in Workspace([folder]).problems()] == ["unused-suppression"] * 2
    assert m4("check", "--fix", folder).code == 0
    assert (folder / "policies.m4").read_text() == text.replace(f"{WHY}\n{BASE}", BASE).replace(f" {WHY}", "")


def test_only_what_is_of_no_use_goes(tmp_path: Path) -> None:
    text = BASE + "// m4: allow(dead-path, redundant, merged): the audit\n" + ALSO
    folder = shop(tmp_path, text)
    assert [p.code for p in Workspace([folder]).problems()] == ["unused-suppression"] * 2
    m4("check", "--fix", folder)
    assert (folder / "policies.m4").read_text() == text.replace("dead-path, redundant, merged", "redundant")


def test_while_there_are_errors_nobody_knows_what_is_of_use(tmp_path: Path) -> None:
    assert reported(tmp_path, f"{WHY}\n{BASE.replace('DropRequest', 'DropReqest')}") == ["unknown-name"]


@pytest.mark.parametrize(
    ("comment", "says"),
    [
        ("// m4: allow(redundnat): why", "did you mean `redundant`?"),
        ("// m4: allow redundant: why", "must be written as"),
        ("// m4: allow(): why", "must be written as"),
        ("// m4: allow(redundant) why", "must be written as"),
        ("// m4: allow(unused-suppression): why", "cannot be suppressed by a comment"),
        ("// m4: allow(assumed-entries): why", "cannot be suppressed by a comment: `m4.toml` may turn it off"),
    ],
)
def test_one_that_is_written_wrongly_is_reported(tmp_path: Path, comment: str, says: str) -> None:
    (problem,) = opened(tmp_path, f"{comment}\n{BASE}").problems()
    assert problem.code == "unused-suppression"
    assert says in problem.message


def test_settings_count_for_what_is_said_about_suppressions(tmp_path: Path) -> None:
    folder = shop(tmp_path, f"{WHY}\n{BASE}", **{"m4.toml": '[diagnostics]\nunused-suppression = "error"\n'})
    assert m4("check", folder).code == 1
    (folder / "m4.toml").write_text('[diagnostics]\nunused-suppression = "off"\n')
    assert m4("check", folder).out == "1 policy over 3 services: no errors\n"


def test_what_is_off_needs_no_suppression(tmp_path: Path) -> None:
    folder = shop(tmp_path, f"{BASE}{WHY}\n{ALSO}", **{"m4.toml": '[diagnostics]\nredundant = "off"\n'})
    workspace = Workspace([folder])
    assert (workspace.problems(), workspace.suppressed()) == ([], [])


# --- who else hears of it ---------------------------------------------------------------------------------------------


def test_programs_get_what_is_suppressed(tmp_path: Path) -> None:
    folder = shop(tmp_path, f"{BASE}{WHY}\n{ALSO}policy lost (HttpRequest r) on db -> cart {{ r.SetTimeout(1s); }}\n")
    (run,) = hold(m4("check", folder, "--format", "sarif").json, "sarif")["runs"]
    assert [(r["ruleId"], r["suppressions"]) for r in run["results"]] == [
        ("dead-path", []),
        ("redundant", [{"kind": "inSource", "justification": "the audit asks for it"}]),
    ]
    plain = hold(m4("check", folder, "--format", "json").json, "check")
    assert [d["code"] for d in plain["diagnostics"]] == ["dead-path"]
    assert plain["summary"]["suppressed"] == 1
    assert m4("check", folder).out.endswith(": 1 warning (1 suppressed)\n")
    assert m4("check", folder, "--format", "github").out.count("\n") == 1


def test_an_editor_offers_it_and_asks_for_the_reason(tmp_path: Path) -> None:
    workspace = opened(tmp_path, BASE + ALSO)
    ((file, (shown,)),) = diagnostics(workspace).items()
    (offer,) = [a for a in actions(workspace, file, shown.span.start, shown.span.end) if "Suppress" in a.title]
    assert (offer.title, offer.preferred) == ("Suppress `redundant` here, with a reason", False)
    text = apply_edits(workspace, offer.edits)[file]
    assert text == f"{BASE}// m4: allow(redundant): …\n{ALSO}"
    workspace.set_text(file, text)
    assert sorted(p.code for p in workspace.problems()) == ["redundant", "suppression-without-reason"]
    workspace.set_text(file, text.replace("…", "the audit asks for it"))
    assert workspace.problems() == []


def test_an_editor_puts_it_above_the_line_that_it_is_about(tmp_path: Path) -> None:
    text = (
        'policy slow (HttpRequest r) on * -> cart when r.method == "GET" {\r\n'
        '    if (r.method == "PUT") { r.SetTimeout(1s); } else { r.SetTimeout(2s); }\r\n}\r\n'
    )
    workspace = opened(tmp_path, text)
    ((file, (shown,)),) = diagnostics(workspace).items()
    (offer,) = [a for a in actions(workspace, file, shown.span.start, shown.span.end) if "Suppress" in a.title]
    made = apply_edits(workspace, offer.edits)[file]
    assert made == text.replace("    if", "    // m4: allow(dead-condition): …\r\n    if")


def test_an_editor_does_not_offer_what_would_not_help(tmp_path: Path) -> None:
    text = "policy a (HttpRequest r) on * -> kart { r.SetTimeout(1s); }\n"
    folder = shop(tmp_path, text, **{"graph.yaml": GRAPH.replace("entry: true, ", "")})
    workspace = Workspace([folder])
    codes = set()
    for file, shown in diagnostics(workspace).items():
        for d in shown:
            codes.add(d.code)
            assert not [a for a in actions(workspace, file, d.span.start, d.span.end) if "Suppress" in a.title]
    assert codes == {"unknown-name", "assumed-entries"}


def test_where_comments_are() -> None:
    text = (
        '"// m4: allow(redundant): a" // m4: allow(merged): b\n'
        "/* m4: allow(dead-path):\n c */ x // m4: allow(shadowed):d"
    )
    assert [(a.codes[0][0], a.reason, a.line) for a in allows(text)] == [
        ("merged", "b", 0), ("dead-path", "c", 2), ("shadowed", "d", 2),
    ]  # fmt: skip
    for a in allows(text):
        assert text[a.start : a.end].startswith(("//", "/*"))
        assert all(text[start:end] == code for code, start, end in a.codes)
