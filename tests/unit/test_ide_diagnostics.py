"""Diagnostics while texts change: nothing is made anew without need, and nothing stays that has changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from m4c.ide.diagnostics import Diagnostic, diagnostics, own_errors_first
from m4c.workspace import Workspace

LEFT = 'policy left (HttpRequest r) on * -> b { r.SetHeader("x", "left"); }\n'
RIGHT = 'policy right (HttpRequest r) on * -> b { r.SetHeader("x", "right"); }\n'
WRONG = 'policy wrong (HttpRequest r) on * -> b { r.SetHeadr("y", "1"); }\n'
GRAPH = "services:\n  a: {entry: true}\n  b: {}\ncalls:\n  - [a, b]\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "mesh.m4").write_text('mesh m { graph "graph.yaml"; dataplanes envoy; }\n')
    (tmp_path / "left.m4").write_text(LEFT)
    (tmp_path / "right.m4").write_text(RIGHT)
    (tmp_path / "wrong.m4").write_text(WRONG)
    return Workspace([tmp_path])


def file(workspace: Workspace, name: str) -> str:
    return (workspace.paths[0] / f"{name}.m4").as_posix()


def fresh(workspace: Workspace) -> dict[str, tuple[Diagnostic, ...]]:
    """What a workspace says that has seen nothing but the texts as they are."""
    other = Workspace(workspace.paths)
    for name in workspace.opened:
        other.set_text(name, workspace.text(name))
    return diagnostics(other)


def test_only_what_an_edit_is_about_is_made_anew(workspace: Workspace) -> None:
    before = diagnostics(workspace)
    left, right, wrong = (file(workspace, name) for name in ("left", "right", "wrong"))
    assert {f: [d.code for d in found] for f, found in before.items()} == {
        left: ["contradiction"],
        right: ["contradiction"],
        wrong: ["unknown-name"],
    }
    assert all(now is before[f] for f, now in diagnostics(workspace).items())
    workspace.set_text(left, f"\n{LEFT}")
    now = diagnostics(workspace)
    assert now[wrong] is before[wrong]
    assert now[left][0].span.start == before[left][0].span.start + 1
    assert now[right][0].span == before[right][0].span
    assert now[right][0].related[0].span == now[left][0].span, "the other place has moved"
    assert now == fresh(workspace)


def test_settings_change_what_is_kept(workspace: Workspace) -> None:
    left = file(workspace, "left")
    workspace.set_text(left, LEFT.replace("* -> b", "b -> a"))
    settings = (workspace.paths[0] / "m4.toml").as_posix()
    before = diagnostics(workspace)[left]
    assert [(d.code, d.severity.word) for d in before] == [("dead-path", "warning")]
    workspace.set_text(settings, '[diagnostics]\ndead-path = "error"\n')
    assert [(d.code, d.severity.word) for d in diagnostics(workspace)[left]] == [("dead-path", "error")]


def test_own_errors_are_known_first_and_the_rest_stays_where_its_declarations_are(workspace: Workspace) -> None:
    left = file(workspace, "left")
    workspace.set_text(left, LEFT)
    diagnostics(workspace)
    workspace.set_text(left, f"\n\n{LEFT}{WRONG.replace('wrong', 'mistake')}")
    first = own_errors_first(workspace, left)
    assert [d.code for d in first] == ["contradiction", "unknown-name"]
    assert first == diagnostics(workspace)[left]
    workspace.set_text(left, WRONG.replace("wrong", "mistake"))
    assert [d.code for d in own_errors_first(workspace, left)] == ["unknown-name"]
    workspace.set_text(left, LEFT)
    assert [d.code for d in own_errors_first(workspace, left)] == ["contradiction"], "what was mended is gone"
