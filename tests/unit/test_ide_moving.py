"""Files that move, and folders side by side in one workspace."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from m4c import project
from m4c.ide.definition import definition
from m4c.ide.edits import apply_edits
from m4c.ide.moving import moving
from m4c.workspace import Workspace

FILES = {
    "mesh.m4": (
        'import "specs/gate.m4";\nimport "core.m4";\nimport "lost.m4";\nmesh shop { graph "data/graph.yaml"; }\n'
    ),
    "specs/gate.m4": (
        'spec gate {\n    tier proxy; cost 1;\n    supports HttpRequest { operation DropRequest emits "deny.j2"; }\n}\n'
    ),
    "specs/deny.j2": "\n",
    "data/graph.yaml": "services: {web: {entry: true}}\n",
    "teams/a/policies.m4": 'import "../../specs/gate.m4";\npolicy p (HttpRequest r) on web { r.DropRequest(); }\n',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def moved(folder: Path, *moves: tuple[str, str]) -> dict[str, list[str]]:
    """The lines that change; the program is as sound after the moves as before."""
    workspace = Workspace([folder])
    before = sorted(p.message for p in workspace.problems())
    full = {(folder / old).as_posix(): (folder / new).as_posix() for old, new in moves}
    edits = moving(workspace, full)
    texts = apply_edits(workspace, edits)
    lines = {Path(file).relative_to(folder).as_posix(): texts[file].splitlines() for file in sorted(texts)}
    for file, text in texts.items():
        Path(file).write_text(text)
    for old, new in full.items():
        Path(new).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(old, new)
    assert sorted(p.message for p in Workspace([folder]).problems()) == before
    return {f: [line for line in made if line not in FILES[f].splitlines()] for f, made in lines.items()}


@pytest.mark.parametrize(
    ("moves", "lines"),
    [
        (
            [("specs/gate.m4", "specs/fence.m4")],
            {
                "mesh.m4": ['import "specs/fence.m4";'],
                "teams/a/policies.m4": ['import "../../specs/fence.m4";'],
            },
        ),
        (
            [("mesh.m4", "prod/mesh.m4")],
            {
                "mesh.m4": [
                    'import "../specs/gate.m4";',
                    'mesh shop { graph "../data/graph.yaml"; }',
                ]
            },
        ),
        ([("data/graph.yaml", "graph.yaml")], {"mesh.m4": ['mesh shop { graph "graph.yaml"; }']}),
        (
            [("specs/deny.j2", "specs/answers/no.j2")],
            {"specs/gate.m4": ['    supports HttpRequest { operation DropRequest emits "answers/no.j2"; }']},
        ),
        # a folder takes along what belongs together
        (
            [("specs", "dataplanes")],
            {
                "mesh.m4": ['import "dataplanes/gate.m4";'],
                "teams/a/policies.m4": ['import "../../dataplanes/gate.m4";'],
            },
        ),
        ([("teams", "crews")], {}),
        ([("teams/a", "a")], {"teams/a/policies.m4": ['import "../specs/gate.m4";']}),
        # several at once
        ([("mesh.m4", "x/mesh.m4"), ("specs", "x/specs"), ("data", "x/data"), ("teams", "x/teams")], {}),
    ],
)  # fmt: skip
def test_paths_follow_files_that_move(folder: Path, moves: list[tuple[str, str]], lines: dict[str, list[str]]) -> None:
    assert moved(folder, *moves) == lines


def test_what_nobody_names_moves_without_edits(folder: Path) -> None:
    workspace = Workspace([folder])
    for old, new in (("/nowhere/a.m4", "/nowhere/b.m4"), ((folder / "other").as_posix(), (folder / "o").as_posix())):
        assert moving(workspace, {old: new}) == ()
    assert moving(workspace, {}) == ()


def test_a_template_is_not_followed_out_of_the_folder_of_its_spec(folder: Path) -> None:
    workspace = Workspace([folder])
    assert moving(workspace, {(folder / "specs/deny.j2").as_posix(): (folder / "deny.j2").as_posix()}) == ()


# --- several folders --------------------------------------------------------------------------------------------------


def shop(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "graph.yaml").write_text("services: {web: {entry: true}, db: {}}\ncalls: [[web, db]]\n")
    (folder / "mesh.m4").write_text(f'mesh {name} {{ graph "graph.yaml"; dataplanes envoy; }}\n')
    (folder / "policies.m4").write_text("policy guard (HttpRequest r) on web -> db { r.DropRequest(); }\n")
    return folder


def test_each_folder_of_a_workspace_has_its_own_mesh(tmp_path: Path) -> None:
    one, two = shop(tmp_path / "one", "first"), shop(tmp_path / "two", "second")
    workspace = Workspace([one, two])
    assert [p.message for p in workspace.problems()] == []
    for folder, mesh in ((one, "first"), (two, "second")):
        file = (folder / "policies.m4").as_posix()
        assert project.mesh_of_file(workspace.db, file) == (mesh, False)
        text = workspace.text(file)
        for name, where in (("guard", "policies.m4"), ("db", "graph.yaml")):
            (span,) = definition(workspace, file, text.index(name))
            assert span.file == (folder / where).as_posix()
    assert [p.code for p in Workspace([tmp_path]).problems()].count("which-mesh") == 2, "as one folder they are mixed"


def test_a_folder_without_a_mesh_belongs_to_the_only_one_there_is(tmp_path: Path) -> None:
    one = shop(tmp_path / "one", "first")
    (tmp_path / "two").mkdir()
    (tmp_path / "two/more.m4").write_text("policy more (HttpRequest r) on web { r.SetTimeout(1s); }\n")
    workspace = Workspace([one, tmp_path / "two"])
    assert project.mesh_of_file(workspace.db, (tmp_path / "two/more.m4").as_posix()) == ("first", False)
