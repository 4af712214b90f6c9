"""`m4 check --fix`: what leaves no choice is fixed, in files and bytes that nothing else of changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import GRAPH, MESH, hold, m4, process, shop, write
from m4c import project
from m4c.db import Database, query
from m4c.ide.fixall import fix_all
from m4c.workspace import Workspace
from meaning import assert_alike, program

BROKEN = """\
// Shares of the database.
policy canary (HttpRequest r) on * -> cart -> db { r.Split({ v1: 80, v2: 20 }); }
policy even   (HttpRequest r) on * -> db         { r.Split({ v1: 50%, v2: 50% }) }

policy no_deletes (HttpRequest r) on * -> db         when r.method == "DELETE" { r.DropRequest(); }
policy also_cart  (HttpRequest r) on * -> crat -> db when r.method == "DELETE" { r.DropRequest(); }
policy guard      (HttpRequest r) on db -> cart { r.SetTimeout(2s); }
"""
MENDED = """\
// Shares of the database.
policy canary (HttpRequest r) on * -> cart -> db overrides even { r.Split({ v1: 80%, v2: 20% }); }
policy even   (HttpRequest r) on * -> db         { r.Split({ v1: 50%, v2: 50% }); }

policy no_deletes (HttpRequest r) on * -> db         when r.method == "DELETE" { r.DropRequest(); }
policy guard      (HttpRequest r) on db -> cart { r.SetTimeout(2s); }
"""
WEB_DB = GRAPH + "  - [web, db]\n"


def wide(folder: Path, policies: str | bytes, **more: str | bytes) -> Path:
    return shop(folder, policies, **{"graph.yaml": WEB_DB, **more})


def test_what_leaves_no_choice_is_fixed_and_said(tmp_path: Path) -> None:
    folder = wide(tmp_path, BROKEN)
    done = m4("check", "--fix", folder, cwd=tmp_path)
    assert (folder / "policies.m4").read_text() == MENDED
    said, rest = done.out.split("\n\n", 1)
    assert said.splitlines() == [
        "fixed policies.m4:2: Write the shares as percentages [type-mismatch]",
        "fixed policies.m4:3: Add the missing `;` [syntax-error]",
        "fixed policies.m4:6: Change to `cart` [unknown-name]",
        "fixed policies.m4:3: Let `canary` override `even` [contradiction]",
        "fixed policies.m4:6: Remove `also_cart` [redundant]",
    ]
    assert "warning[dead-path]" in rest, "what leaves a choice is reported as before"
    assert done.code == m4("check", folder).code == 0
    again = m4("check", "--fix", folder)
    assert (again.out, (folder / "policies.m4").read_text()) == (m4("check", folder).out, MENDED)


def test_what_brings_about_a_problem_is_tried_again_once_others_are_mended(tmp_path: Path) -> None:
    """While `third` is there, `first` would be shadowed by it alone without `second`."""
    text = """\
policy first (HttpRequest r) on * -> db { r.DropRequest(); }
policy second (HttpRequest r) on * -> db overrides first {
    if (r.method == "GET") { r.DropRequest(); } else { r.Split({ v1: 50%, v2: 50% }); }
}
policy third (HttpRequest r) on * -> db overrides first { r.DropRequest(); }
"""
    workspace = Workspace([wide(tmp_path, text)])
    done = fix_all(workspace, lambda file: True)
    assert [m.title for m in done.made] == ["Remove `third`", "Remove `second`"]
    assert done.finished
    assert_alike(program(workspace), program(done.workspace))
    assert fix_all(done.workspace, lambda file: True).made == ()


def test_a_dry_run_shows_it_and_changes_nothing(tmp_path: Path) -> None:
    folder = wide(tmp_path, BROKEN)
    before = {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.iterdir()}
    done = m4("check", "--fix", "--dry-run", folder, cwd=tmp_path)
    assert {f: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.iterdir()} == before
    assert "would fix policies.m4:6: Remove `also_cart` [redundant]\n" in done.out
    assert "+policy canary (HttpRequest r) on * -> cart -> db overrides even {" in done.out
    assert "-policy also_cart" in done.out
    assert done.code == 0, "the exit code is that of the result"
    assert m4("check", folder).code == 1


def test_only_findings_of_some_codes(tmp_path: Path) -> None:
    folder = wide(tmp_path, BROKEN)
    done = m4("check", "--fix", "--code", "syntax-error", "--code", "unknown-name", folder)
    assert done.code == 1
    text = (folder / "policies.m4").read_text()
    assert text == BROKEN.replace("50% }) }", "50% }); }").replace("crat", "cart")


def test_what_makes_no_sense_is_a_usage_error(tmp_path: Path) -> None:
    folder = wide(tmp_path, BROKEN)
    for args in (["--dry-run"], ["--code", "redundant"]):
        assert m4("check", *args, folder).code == 2
    done = m4("check", "--fix", "--code", "redundnat", folder)
    assert (done.code, done.err) == (
        2, "m4: no diagnostic has the code `redundnat`; did you mean `redundant`?\n",
    )  # fmt: skip
    assert (folder / "policies.m4").read_text() == BROKEN


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends_byte_order_mark_and_permissions_stay(tmp_path: Path, bom: bytes) -> None:
    folder = wide(tmp_path, bom + BROKEN.replace("\n", "\r\n").encode())
    (folder / "policies.m4").chmod(0o640)
    m4("check", "--fix", folder)
    assert (folder / "policies.m4").read_bytes() == bom + MENDED.replace("\n", "\r\n").encode()
    assert (folder / "policies.m4").stat().st_mode & 0o777 == 0o640
    assert sorted(f.name for f in folder.iterdir()) == ["graph.yaml", "policies.m4", "shop.m4"]


def test_files_that_were_not_named_or_cannot_be_read_stay(tmp_path: Path) -> None:
    outside = "policy far (HttpRequest r) on * -> crat { r.SetTimeout(1s); }\n"
    strange = BROKEN.encode("utf-16")
    folder = wide(tmp_path / "shop", 'import "../far/far.m4";\n' + BROKEN, **{"strange.m4": strange})
    write(tmp_path / "far", {"far.m4": outside})
    done = m4("check", "--fix", folder)
    assert done.code == 1
    assert (tmp_path / "far/far.m4").read_text() == outside
    assert (folder / "strange.m4").read_bytes() == strange
    assert "overrides even" in (folder / "policies.m4").read_text()


def test_the_graph_file_is_fixed_too(tmp_path: Path) -> None:
    graph = "services:\n  web: {entri: true}  # the door\n  cart: {}\ncalls: [[web, crat]]\n"
    folder = shop(tmp_path, "", **{"graph.yaml": graph})
    m4("check", "--fix", folder)
    assert (folder / "graph.yaml").read_text() == graph.replace("entri", "entry").replace("crat", "cart")


def test_programs_get_what_was_fixed_too(tmp_path: Path) -> None:
    folder = wide(tmp_path, BROKEN)
    done = m4("check", "--fix", "--format", "json", folder)
    assert [f["code"] for f in done.json["fixed"]] == [
        "type-mismatch", "syntax-error", "unknown-name", "contradiction", "redundant",
    ]  # fmt: skip
    assert hold(done.json, "check")["fixed"][2] == {
        "code": "unknown-name",
        "title": "Change to `cart`",
        "file": str(folder / "policies.m4"),
        "line": 5,
    }
    assert "Remove `also_cart`" in done.err
    assert "fixed" not in m4("check", "--format", "json", folder).json


def test_a_file_that_changes_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = wide(tmp_path, BROKEN)
    made = fix_all

    def slow(*args: object) -> object:
        (folder / "shop.m4").write_text(MESH + "// edited\n")
        (folder / "policies.m4").write_text(BROKEN + "// edited\n")
        return made(*args)  # type: ignore[arg-type]

    monkeypatch.setattr("m4c.cli.fixing.fix_all", slow)
    done = m4("check", "--fix", folder)
    assert (done.code, "has changed meanwhile" in done.err) == (2, True)
    assert (folder / "policies.m4").read_text() == BROKEN + "// edited\n"


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    folder = wide(tmp_path, BROKEN)
    done = process("check", "--fix", folder, cwd=tmp_path)
    assert done.code == 0
    (folder / "policies.m4").write_text(BROKEN)
    monkey = folder / "policies.m4"
    folder.chmod(0o555)
    try:
        done = process("check", "--fix", folder, cwd=tmp_path)
    finally:
        folder.chmod(0o755)
    if done.code == 2:  # root writes anywhere
        assert "cannot be written" in done.err
        assert monkey.read_text() == BROKEN
    else:
        assert monkey.read_text() == MENDED


# --- what is made together --------------------------------------------------------------------------------------------


def test_policies_that_make_each_other_redundant_do_not_all_go(tmp_path: Path) -> None:
    text = """\
policy both (HttpRequest r) on * -> db when r.method == "GET" || r.method == "PUT" { r.Split({ v1: 100% }); }
policy gets (HttpRequest r) on * -> db when r.method == "GET" { r.Split({ v1: 100% }); }
policy puts (HttpRequest r) on * -> db when r.method == "PUT" { r.Split({ v1: 100% }); }
policy cart (HttpRequest r) on * -> cart { r.SetTimeout(1s); }
policy more (HttpRequest r) on * -> web -> cart { r.SetTimeout(1s); }
"""
    before = Workspace([wide(tmp_path, text)])
    redundant = [p.policies[0] for p in before.problems() if p.code == "redundant"]
    assert set(redundant) >= {"both", "gets", "puts"}
    outcome = fix_all(before, lambda file: True)
    assert [p.code for p in outcome.workspace.problems()] == []
    assert len(project.policy_names(outcome.workspace.db, "shop")) < 4
    assert_alike(program(before), program(outcome.workspace))


def test_a_fix_that_would_bring_another_error_is_left(tmp_path: Path) -> None:
    text = """\
policy label (HttpRequest r) on web -> cart when r.method == "PUT" { r.Mark("slow"); }
policy first (HttpRequest r) on web -> cart when r.mark["slow"] { r.AllowRequest(); }
policy other (HttpRequest r) on web -> cart when exists r.header["x"] { r.DropRequest(); }
"""
    before = Workspace([wide(tmp_path, text)])
    (problem,) = [p for p in before.problems() if p.code == "order-dependent"]
    assert [f.title for f in before.fixes(problem) if f.preferred] == ["Put `first` after `label`"]
    outcome = fix_all(before, lambda file: True)
    assert outcome.finished
    assert outcome.made == ()
    assert outcome.texts(before) == {}
    assert outcome.waiting == 1, "that `first` never fires so far"


def test_what_the_analyses_warn_of_waits_for_the_errors(tmp_path: Path) -> None:
    """A policy that is wrong by itself takes no part in the analyses; with it, others may not be redundant."""
    text = """\
policy base  (HttpRequest r) on * -> db { r.Split({ v1: 100% }); }
policy extra (HttpRequest r) on * -> db when r.method == "PUT" { r.Split({ v1: 100% }); }
policy wrong (HttpRequest r) on * -> db overrides base { r.Splitt({ vvv: 100% }); }
"""
    folder = wide(tmp_path, text)
    done = m4("check", "--fix", "--code", "redundant", folder)
    assert done.out.startswith("1 more fix can be made once there are no errors\n")
    assert (folder / "policies.m4").read_text() == text


def test_where_hundreds_disagree_nobody_wins_unasked(tmp_path: Path) -> None:
    """Each of these is an exception to the first, so each would override it; among 101 that says nothing."""

    def many(n: int) -> str:
        shares = "".join(
            f'policy p{i} (HttpRequest r) on * -> db when r.header["x"] == "{i}" '
            f"{{ r.Split({{ v1: {i}%, v2: {100 - i}% }}); }}\n"
            for i in range(n)
        )
        return "policy rest (HttpRequest r) on * -> db { r.Split({ v1: 99.5%, v2: 0.5% }); }\n" + shares

    few = Workspace([wide(tmp_path / "few", many(5))])
    assert len(fix_all(few, lambda file: True).made) == 5
    hundred = Workspace([wide(tmp_path / "many", many(101))])
    outcome = fix_all(hundred, lambda file: True)
    assert (outcome.made, outcome.finished) == ((), True)


def test_a_workspace_is_asked_again_only_for_what_may_change(tmp_path: Path) -> None:
    folder = wide(tmp_path, BROKEN)
    file = (folder / "policies.m4").as_posix()
    before = Workspace([folder])
    outcome = fix_all(before, lambda f: f == "nothing")
    assert (outcome.made, outcome.texts(before)) == ((), {})
    outcome = fix_all(before, lambda f: f == file, ["redundant"])
    assert outcome.made == ()
    assert before.text(file) == BROKEN


def test_a_fork_of_a_database_goes_its_own_way() -> None:
    db = Database()
    db.set("text", "a", "one")
    assert _length(db, "a") == 3
    other = db.fork()
    other.log = []
    assert _length(other, "a") == 3
    assert other.log == [], "it knows what the first one knew"
    other.set("text", "a", "three")
    assert (_length(other, "a"), _length(db, "a")) == (5, 3)
    db.set("text", "a", "twelve")
    assert (_length(other, "a"), _length(db, "a")) == (5, 6)


@query
def _length(db: Database, name: str) -> int:
    return len(db.input("text", name))
