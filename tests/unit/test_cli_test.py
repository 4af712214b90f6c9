"""`m4 test`: what it runs, what it prints, how it ends."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from cli_kit import hold, m4, shop, write

POLICIES = """\
policy read_only (HttpRequest r) on * -> db when r.method != "GET" { r.DropRequest(405); }

test "the store can be read" {
    request GET "/" on outside -> web -> cart -> db;
    expect allow;
}

test "carts are stored" {
    request GET "/" on outside -> web -> cart -> db;
    expect allow;
    request PUT "/cart"
        on outside -> web -> cart -> db;
    expect allow, status = 410;
}
"""
BROKEN = 'policy broken (HttpRequest r) on * -> cart { r.SetHedder("x", "y"); }\n'


def test_a_line_for_what_holds_and_the_trace_of_what_does_not(tmp_path: Path) -> None:
    done = m4("test", ".", cwd=shop(tmp_path, POLICIES))
    ended = "on cart -> db: `read_only` writes it, and the HttpRequest ends there\n"
    assert done.code == 1
    assert done.out == (
        "ok   the store can be read\n"
        "FAIL carts are stored (policies.m4:8)\n"
        '    request PUT "/cart" on outside -> web -> cart -> db\n'
        f"    expected verdict = allow, but it is deny {ended}"
        f"    expected status = 410, but it is 405 {ended}"
        "        outside -> web\n"
        "            fired: none\n"
        "        web -> cart\n"
        "            fired: none\n"
        "        cart -> db\n"
        "            fired: read_only\n"
        "            status = 405\n"
        "            verdict = deny\n"
        "        ended on cart -> db\n"
        "2 tests: 1 passed, 1 failed\n"
    )


def test_some_of_them(tmp_path: Path) -> None:
    folder = shop(tmp_path, POLICIES)
    done = m4("test", "-k", "STORE CAN", folder)
    assert (done.code, done.out) == (0, "ok   the store can be read\n1 test: 1 passed\n")
    done = m4("test", "-k", "nothing like it", folder)
    assert (done.code, done.err) == (2, "m4: no test has `nothing like it` in its title\n")


def test_without_tests(tmp_path: Path) -> None:
    done = m4("test", shop(tmp_path))
    assert (done.code, done.out) == (0, 'no tests (`test "…" { request … on …; expect …; }`)\n')


def test_json_holds_the_traces(tmp_path: Path) -> None:
    done = hold(m4("test", "--format", "json", ".", cwd=shop(tmp_path, POLICIES)).json, "test")
    assert done["summary"] == {"passed": 1, "failed": 1, "not_run": 0}
    passed, failed = done["tests"]
    assert (passed["outcome"], failed["outcome"], failed["file"], failed["mesh"]) == (
        "passed", "failed", "policies.m4", "shop",
    )  # fmt: skip
    request = failed["requests"][1]
    assert request["text"] == 'request PUT "/cart" on outside -> web -> cart -> db'
    assert request["range"]["start"] == {"line": 10, "character": 4}
    assert [h["fired"] for h in request["trace"]["hops"]] == [[], [], ["read_only"]]
    assert [(e["expected"], e["holds"]) for e in request["expectations"]] == [
        ("verdict = allow", False),
        ("status = 410", False),
    ]
    assert (
        request["trace"] == m4("trace", tmp_path, "--path", "web,cart,db", "--method", "PUT", "--format", "json").json
    )


def test_junit_is_xml(tmp_path: Path) -> None:
    odd = 'test "a < b & \\"c\\" \\0" { request GET "/" on outside -> web; expect allow; }\n'
    done = m4("test", "--format", "junit", ".", cwd=shop(tmp_path, POLICIES + odd))
    assert done.code == 1
    (suite,) = ElementTree.fromstring(done.out)
    assert (suite.get("name"), suite.get("tests"), suite.get("failures"), suite.get("errors")) == (
        "shop",
        "3",
        "1",
        "0",
    )
    names = [case.get("name") for case in suite]
    assert names == ["the store can be read", "carts are stored", 'a < b & "c" \ufffd']
    (failure,) = suite.findall("testcase/failure")
    assert failure.get("message", "").startswith("expected verdict = allow, but it is deny")
    assert failure.text is not None
    assert "fired: read_only" in failure.text


def test_what_is_not_run_says_why(tmp_path: Path) -> None:
    done = m4("test", ".", cwd=shop(tmp_path, POLICIES, **{"broken.m4": BROKEN}))
    assert done.code == 1
    assert done.out.splitlines() == [
        "?    the store can be read (policies.m4:3): mesh `shop` has errors; `m4 check` shows them",
        "?    carts are stored (policies.m4:8): mesh `shop` has errors; `m4 check` shows them",
        "2 tests: 2 not run",
    ]
    wrong = 'test "no path" { request GET "/" on web -> db; expect allow; }\n'
    wrong += 'test "no method" { request get "/" on outside -> web; expect allow; }\n'
    wrong += 'test "no end" { request GET "/" on outside -> web expect; }\n'
    done = m4("test", ".", cwd=shop(tmp_path, wrong, **{"broken.m4": ""}))
    assert [line.partition(" (")[0] for line in done.out.splitlines()] == [
        "?    no path", "?    no method", "?    no end", "3 tests: 3 not run",
    ]  # fmt: skip
    found = hold(m4("test", "--format", "json", tmp_path).json, "test")
    assert [t["reason"] for t in found["tests"]] == ["it has errors"] * 3


def test_several_meshes(tmp_path: Path) -> None:
    test = 'test "in" { request GET "/" on outside -> web; expect allow; }\n'
    more = {"other.m4": f'mesh other {{ graph "graph.yaml"; dataplanes envoy; }}\n{test}', "lost.m4": test}
    folder = write(shop(tmp_path, f"mesh shop;\n{test}"), more)
    done = m4("test", ".", cwd=folder)
    assert done.code == 1
    assert done.out == (
        "?    in (lost.m4:1): it belongs to no mesh\nok   in of other\nok   in of shop\n3 tests: 2 passed, 1 not run\n"
    )


def test_a_failing_test_keeps_a_mesh_from_being_built(tmp_path: Path) -> None:
    folder = shop(tmp_path, POLICIES)
    assert m4("check", folder).code == 1
    done = m4("build", folder, "-o", tmp_path / "out")
    assert done.code == 2
    assert "failed-test" in done.err
