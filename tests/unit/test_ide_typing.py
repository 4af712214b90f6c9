"""What helps while a text is written: formatting, growing selections, names that change together."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from cursors import Desk
from hypothesis import given, settings
from hypothesis import strategies as st
from m4c.ide.edits import TextEdit, apply_edits
from m4c.ide.format import format_document, format_edits, format_on_type, format_range
from m4c.ide.selection import linked, selection_ranges
from m4c.workspace import Workspace

FILES = {
    "graph.yaml": "services:\n  web: {entry: true}\n  db: {}\ncalls: [[web, db]]\n",
    "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes envoy; }\n',
}
UGLY = (
    "policy  a(HttpRequest r)   on web->db {\n"
    "  r.DropRequest( 404 ) ;\n"
    "}\n"
    "\n\n\n"
    "/* é 😀 */ policy b (HttpRequest r) on *->db\n"
    "{ r.SetTimeout(1s) ; // soon\n"
    '      r.Mark("😀") ;\n'
    "}\n"
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def applied(workspace: Workspace, file: str, edits: tuple[TextEdit, ...]) -> str:
    return apply_edits(workspace, edits).get(file, workspace.text(file))


# --- formatting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_edits_make_the_formatted_text(desk: Desk, end: str) -> None:
    text = UGLY.replace("\n", end)
    desk.put(text + "$0")
    edits = format_edits(desk.workspace, desk.here)
    assert applied(desk.workspace, desk.here, edits) == format_document(desk.workspace, desk.here) != text
    assert {e.text.strip() for e in edits} == {""}, "white space and nothing else"
    desk.put(applied(desk.workspace, desk.here, edits) + "$0")
    assert format_edits(desk.workspace, desk.here) == ()


def test_what_is_not_m4_is_left_alone(desk: Desk) -> None:
    foreign = desk.folder / "configure.m4"
    foreign.write_text("dnl   a  macro\ndefine(`x',  `y')\n\n\n\nx\n")
    desk.workspace.refresh()
    assert format_edits(desk.workspace, foreign.as_posix()) == ()
    assert format_on_type(desk.workspace, foreign.as_posix(), 5, ";") == ()
    assert format_edits(desk.workspace, (desk.folder / "nowhere.m4").as_posix()) == ()


@pytest.mark.parametrize("text", ["", "\n", "policy", "policy a (HttpRequest r on {", '"', "/*"])
def test_a_text_that_does_not_parse_stays_or_gets_an_end(desk: Desk, text: str) -> None:
    desk.put(text + "$0")
    assert applied(desk.workspace, desk.here, format_edits(desk.workspace, desk.here)).strip() == text.strip()


def test_some_lines_are_formatted_and_no_others(desk: Desk) -> None:
    desk.put(UGLY + "$0")
    start = UGLY.index("policy  a")
    end = UGLY.index("  r.DropRequest")  # the first line, with its end
    changed = applied(desk.workspace, desk.here, format_range(desk.workspace, desk.here, start, end))
    assert changed == UGLY.replace("policy  a(HttpRequest r)   on web->db {", "policy a (HttpRequest r) on web -> db {")
    everything = format_range(desk.workspace, desk.here, 0, len(UGLY))
    assert everything == format_edits(desk.workspace, desk.here)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_range_changes_no_line_outside(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("ws")
    file = (folder / "here.m4").as_posix()
    workspace = Workspace([folder])
    workspace.set_text(file, UGLY)
    start = data.draw(st.integers(0, len(UGLY)))
    end = data.draw(st.integers(start, len(UGLY)))
    edits = format_range(workspace, file, start, end)
    first, last = workspace.position(file, start)[0], workspace.position(file, end)[0]
    for e in edits:
        assert first <= e.span.start_line
        assert e.span.end_line <= last
    assert "".join(applied(workspace, file, edits).split()) == "".join(UGLY.split())


@pytest.mark.parametrize(
    ("text", "typed", "made"),
    [
        (
            "policy  a (HttpRequest r) on * -> db {\n  r.DropRequest( 404 ) ;$0\n  r.Mark( \"x\" );\n}\n",
            ";",
            "policy  a (HttpRequest r) on * -> db {\n    r.DropRequest(404);\n  r.Mark( \"x\" );\n}\n",
        ),
        (
            "policy  a (HttpRequest r) on * -> db {\n  r.DropRequest( 404 );\n}$0\nmesh   m;\n",
            "}",
            "policy a (HttpRequest r) on * -> db {\n    r.DropRequest(404);\n}\nmesh   m;\n",
        ),
        (  # an inner block: what comes after it waits
            "policy a (HttpRequest r) on * -> db {\nif (r.method == \"\") {\nr.DropRequest();\n}$0\n"
            "r.Mark(\"x\");\n}\n",
            "}",
            "policy a (HttpRequest r) on * -> db {\n    if (r.method == \"\") {\n        r.DropRequest();\n    }\n"
            "r.Mark(\"x\");\n}\n",
        ),
        ("mesh   m;$0\n", ";", "mesh m;\n"),
        ("policy  a (HttpRequest r) on  {\n  r.X( ;$0\n", ";", None),  # it does not parse
        ("// a  comment ;$0\n", ";", None),
        ("mesh m { }   mesh  n { }$0\n", "}", None),  # in the middle of a line
        ("mesh   m;$0\n", "x", None),
        ("$0", "}", None),
        (";$0", ";", None),
    ],
)  # fmt: skip
def test_a_line_is_formatted_when_it_ends(desk: Desk, text: str, typed: str, made: str | None) -> None:
    at = desk.put(text)
    edits = format_on_type(desk.workspace, desk.here, at, typed)
    assert applied(desk.workspace, desk.here, edits) == (text.replace("$0", "") if made is None else made)


# --- selections -------------------------------------------------------------------------------------------------------


def grown(desk: Desk, text: str) -> list[str]:
    at = desk.put(text)
    plain = text.replace("$0", "")
    return [plain[a:b] for a, b in selection_ranges(desk.workspace, desk.here, at)]


def test_a_selection_grows_by_what_the_text_means(desk: Desk) -> None:
    policy = 'policy a (HttpRequest r) on web -> db when r.method == "GET" && r.url_path == "/" { r.Mark("x y"); }'
    assert grown(desk, policy.replace("x y", "x$0 y") + "\n") == [
        "x", "x y", '"x y"', '("x y")', 'r.Mark("x y")', 'r.Mark("x y");', ' r.Mark("x y"); ', '{ r.Mark("x y"); }',
        policy, policy + "\n",
    ]  # fmt: skip
    assert grown(desk, policy.replace('"GET"', '$0"GET"') + "\n")[:4] == [
        '"GET"', 'r.method == "GET"', 'r.method == "GET" && r.url_path == "/"', policy,
    ]  # fmt: skip
    assert grown(desk, policy.replace("web", "w$0eb"))[:3] == ["web", "web -> db", policy]


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("$0", [""]),
        ("\n\n$0\n", ["\n\n\n"]),
        ("policy a (HttpRequest r on {$0", ["{", "policy a (HttpRequest r on {"]),
        ("mesh m { gra$0ph }", ["graph", " graph ", "{ graph }", "mesh m { graph }"]),
        ("// é 😀$0 x\nmesh m;", ["// é 😀 x\nmesh m;"]),
        ("mesh m;$0", [";", "mesh m;"]),
    ],
)
def test_selections_at_odd_places(desk: Desk, text: str, spans: list[str]) -> None:
    assert grown(desk, text) == spans


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet='policy ar(){}[];"/*\n->é😀', max_size=60), st.integers(0, 60))
def test_each_selection_is_within_the_next(tmp_path_factory: pytest.TempPathFactory, text: str, at: int) -> None:
    workspace = Workspace([])
    file = "/nowhere/here.m4"
    workspace.set_text(file, text)
    spans = selection_ranges(workspace, file, at)
    assert spans[-1] == (0, len(text))
    for inner, outer in pairwise(spans):
        assert outer[0] <= inner[0] and inner[1] <= outer[1] and inner != outer
    assert all(a <= min(at, len(text)) <= b for a, b in spans)


# --- linked editing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("policy a (HttpRequest $0r) on * -> db when r.method == \"r\" { r.Mark(\"r\"); }", 3),
        ("policy a (HttpRequest r$0) on * -> db { r.DropRequest(); }", 2),
        ("policy a (HttpRequest r) on * -> db { let c$0 = 404; r.DropRequest(c); }", 2),
        # not from where it is used, for there another name may be meant
        ("policy a (HttpRequest r) on * -> db { $0r.DropRequest(); }", 0),
        # nothing else would change, or more than this policy
        ("policy a (HttpRequest $0r) on * -> db { }", 0),
        ("policy $0a (HttpRequest r) on * -> db { }\npolicy b (HttpRequest r) on db after a { }", 0),
        ("policy a (HttpRequest r) on * -> $0db { }", 0),
        ("policy a (HttpRequest r) on * -> db { let $0c = 1; let c = 2; r.DropRequest(c); }", 0),
        ("policy a (HttpRequest $0r", 0),
        ("$0", 0),
    ],
)  # fmt: skip
def test_local_names_change_together_from_where_they_are_declared(desk: Desk, text: str, count: int) -> None:
    found = linked(desk.workspace, desk.here, desk.put(text))
    assert len(found) == count
    assert len({desk.workspace.text(desk.here)[f.start : f.end] for f in found}) == (count > 0)
