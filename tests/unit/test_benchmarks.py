"""What the benchmarks measure on, and that they measure at all; how fast anything is, no test says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from m4c import project
from m4c.diagnostics.registry import Severity, rule
from m4c.workspace import Workspace

from benchmarks.edits import edits
from benchmarks.generate import GUARD, Size, program, write
from benchmarks.results import figure

ROOT = Path(__file__).resolve().parents[2]
SMALL = Size.of(60)
COLLISIONS = {"contradiction", "order-dependent"}  # what policies that are let collide may come to


def test_a_seed_gives_one_text(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.generate", str(tmp_path), "--policies", "60", "--seed", "3"]
    subprocess.run(command, cwd=ROOT, env={"PYTHONHASHSEED": "7"}, check=True)
    written = {f.relative_to(tmp_path).as_posix(): f.read_text() for f in tmp_path.rglob("*") if f.is_file()}
    assert written == program(SMALL, 3)
    assert written != program(SMALL, 4)


@pytest.mark.parametrize("seed", [0, 1])
def test_programs_are_sound(seed: int, tmp_path: Path) -> None:
    write(tmp_path, SMALL, seed)
    workspace = Workspace([tmp_path])
    wrong = [p for p in workspace.problems() if rule(p.code).severity is Severity.ERROR and p.code not in COLLISIONS]
    assert wrong == []
    refs = project.policy_refs(workspace.db, "shop")
    assert len(refs) == SMALL.policies
    graph = project.mesh_graph(workspace.db, "shop")
    assert graph is not None
    assert len(graph.services) == SMALL.services
    assert len(project.sources(workspace.db)) >= SMALL.files
    assert sum(f"overrides {GUARD}" in ref.text for ref in refs) >= 1


def test_sizes_are_kept() -> None:
    size = Size(policies=500, services=60, calls=300, files=25)
    files = program(size)
    assert sum(text.count("policy ") for path, text in files.items() if path.endswith(".m4")) == 500
    assert sum(path.endswith(".m4") for path in files) == 25
    assert files["graph.yaml"].count("\n  - [") == 300


def test_edits_are_of_policies_and_can_be_taken_back() -> None:
    files = {path: text for path, text in program(SMALL).items() if path.endswith(".m4")}
    drawn = list(edits(files, 200, seed=1))
    assert {e.kind for e in drawn} == {"body", "condition", "broken"}
    for edit in drawn:
        before = files[edit.file]
        after = edit.of(before)
        assert after != before
        assert edit.undo(before).of(after) == before
    assert drawn == list(edits(files, 200, seed=1))


def test_percentiles_are_measurements() -> None:
    of_hundred = figure("x", "ms", list(range(1, 101)))
    assert (of_hundred.median, of_hundred.p99) == (50.5, 99)
    assert figure("x", "ms", [3.0]).p99 == 3.0
    assert figure("x", "ms", []).count == 0
