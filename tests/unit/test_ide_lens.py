"""Code lenses and inlay hints: what they say, and that typing makes no plan for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from m4c.ide.inlay import hints
from m4c.ide.lens import lens_title, lenses
from m4c.ide.survey import Survey, survey

FILES = {
    "graph.yaml": (
        "services:\n  web: {entry: true, origin: false}\n  nightly: {}\n  cart: {origin: false}\n"
        "  db: {origin: false, versions: [v1, v2]}\n"
        "calls: [[web, cart], [nightly, cart], [cart, db], [db, cart]]\n"
    ),
    "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes ebpf, envoy; propagate "m4-ctx", "traceparent"; }\n',
}
POLICIES = (
    "// café 😀\r\n"
    'policy label (HttpRequest r) on outside -> web -> cart { r.SetHeader("x-from", "web"); r.SetTimeout(1s); }\r\n'
    'policy gate (HttpRequest r) on nightly -> cart -> db {\r\n\tif (r.method == "GET") { r.DropRequest(); }\r\n}\r\n'
    "policy quick (HttpRequest r) on * -> db { r.SetTimeout(1s); }\r\n"
    'policy marked (HttpRequest r) on web -> cart when r.peer == "x" { r.RemoveHeader("x"); }\r\n'
    "policy nobody (HttpRequest r) on web -> db { r.DropRequest(); }\r\n"
    'test "shut" { request GET "/" on nightly -> cart -> db; expect deny; }\r\n'
)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def shown(desk: Desk, text: str, known: Survey) -> dict[str, list[str]]:
    """What stands above each name."""
    desk.put(f"{text}$0")
    out: dict[str, list[str]] = {}
    for lens in lenses(desk.workspace, desk.here):
        at = desk.workspace.text(desk.here)[lens.span.start : lens.span.end]
        title = lens_title(desk.workspace, known, lens.kind, lens.file, lens.key)
        out.setdefault(at, []).append(title)
    return out


def hinted(desk: Desk, known: Survey) -> list[str]:
    """Each hint, with some of the text before it."""
    text = desk.workspace.text(desk.here)
    found = hints(desk.workspace, known, desk.here, 0, len(text))
    return [f"{text[max(h.offset - 12, 0) : h.offset]}«{h.text}»" for h in found]


def test_lenses_say_what_the_plan_and_the_findings_do(desk: Desk) -> None:
    desk.put(f"{POLICIES}$0")
    said = shown(desk, POLICIES, survey(desk.workspace))
    assert {name: titles[0] for name, titles in said.items()} == {
        "label": "1 path · proxy at web",
        "gate": "1 path · proxy at cart",
        "quick": "endless paths · proxy at cart",
        "marked": "1 path · unenforceable",
        "nobody": "no path",
        '"shut"': "Run",
    }


def test_conflicts_are_counted_and_nothing_is_said_of_where_things_run(desk: Desk) -> None:
    text = (
        "policy a (HttpRequest r) on * -> cart -> db { r.Split({ v1: 100% }); }\n"
        "policy b (HttpRequest r) on * -> cart -> db { r.Split({ v2: 100% }); }\n"
        "policy c (HttpRequest r) on * -> cart -> db { r.SetTimeout(1s); }\n"
    )
    desk.put(f"{text}$0")
    said = {name: titles[0] for name, titles in shown(desk, text, survey(desk.workspace)).items()}
    assert said == {
        "a": "endless paths · 1 conflict",
        "b": "endless paths · 1 conflict",
        "c": "endless paths",
    }


def test_hints(desk: Desk) -> None:
    desk.put(f"{POLICIES}$0")
    known = survey(desk.workspace)
    assert hinted(desk, known) == [
        " web -> cart«1 path»",
        "r.SetHeader(«name:»",
        'r("x-from", «value:»',
        'om", "web");«proxy at web»',
        "Timeout(1s);«proxy at web»",
        "> cart -> db«1 path»",
        "opRequest();«proxy at cart»",
        ") on * -> db«endless paths»",
        "Timeout(1s);«proxy at cart»",
        " web -> cart«1 path»",
        'Header("x");«unenforceable»',
        "on web -> db«no path»",
    ]
    mesh = (desk.folder / "mesh.m4").as_posix()
    assert [h.text for h in hints(desk.workspace, known, mesh, 0, 1000)] == ["tag of 1 bit"]
    assert hints(desk.workspace, known, mesh, 20, 1000) == (), "only what is asked for"


def test_nothing_is_said_of_calls_that_are_others_by_now(desk: Desk) -> None:
    desk.put(f"{POLICIES}$0")
    known = survey(desk.workspace)
    desk.put(POLICIES.replace('r.SetHeader("x-from", "web"); ', "") + "$0")
    label = [h for h in hinted(desk, known) if "at web" in h]
    assert label == [], "what was the first call is gone"


def test_what_is_typed_makes_no_plan(desk: Desk) -> None:
    desk.put(f"{POLICIES}$0")
    known = survey(desk.workspace)
    desk.workspace.db.log = log = []
    changed = POLICIES.replace("x-from", "x-origin").replace("nobody", "noone")
    assert shown(desk, changed, known)["label"] == shown(desk, POLICIES, known)["label"]
    assert hinted(desk, known)
    names = {key.name for key in log}
    assert names & {"survey._matching"}, "the log is kept"
    assert not names & {"project.plan", "project.findings", "project.program", "testing.result"}


def test_a_survey_stays_the_same_unless_it_says_something_else(desk: Desk) -> None:
    desk.put(f"{POLICIES}$0")
    known = survey(desk.workspace)
    desk.put(f"/* somewhere else */ {POLICIES}$0")
    assert survey(desk.workspace) == known
    desk.put(POLICIES.replace("quick", "slow") + "$0")
    assert survey(desk.workspace) != known


@pytest.mark.parametrize(
    "text", ["", "policy", "policy (", "policy x (", 'test "', "policy é😀 (HttpRequest r) on web"]
)
def test_broken_text_has_lenses_and_hints_or_none(desk: Desk, text: str) -> None:
    known = survey(desk.workspace)
    shown(desk, text, known)
    assert all("«" in h for h in hinted(desk, known))


def test_without_a_mesh_and_without_a_graph(tmp_path: Path) -> None:
    alone = Desk(tmp_path, {})
    assert shown(alone, POLICIES, survey(alone.workspace)) == {}
    without = POLICIES + 'mesh shop { graph "nowhere.yaml"; dataplanes envoy; }\n'
    said = shown(alone, without, survey(alone.workspace))
    assert said["label"][0] == "nothing is known of it yet"
