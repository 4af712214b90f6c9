"""What the benchmarks measure on, and that they measure at all; how fast anything is, no test says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from m4c import project
from m4c.diagnostics.registry import Severity, rule
from m4c.placement.plan import plan
from m4c.workspace import Workspace

from benchmarks import placement
from benchmarks.docs import PAGE, put, section
from benchmarks.edits import edits
from benchmarks.generate import GUARD, Size, program, write
from benchmarks.plot import Curve, draw, points
from benchmarks.results import Figure, figure, machine, stopped
from benchmarks.table import ROWS, lines, markdown, text
from benchmarks.wire import Mesh, conflicts

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


@pytest.mark.parametrize("size", [Size(500, 60, 300, 25), Size(12, 80, 200, 3)])
def test_sizes_are_kept(size: Size) -> None:
    files = program(size)
    assert sum(text.count("policy ") for path, text in files.items() if path.endswith(".m4")) == size.policies
    assert sum(path.endswith(".m4") for path in files) == size.files
    assert files["graph.yaml"].count("\n  - [") == size.calls


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


def test_the_table_is_measured(tmp_path: Path) -> None:
    """A run on a tiny workspace: each row has a figure, or says why it has none."""
    sizes = ["--policies", "16", "--services", "6", "--calls", "8", "--files", "2", "--large", "0"]
    often = ["--edits", "1", "--checks", "1", "--starts", "1", "--peer-limit", "5"]
    command = [sys.executable, "-m", "benchmarks", *sizes, *often, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "16.json").read_text())
    figures = {f["key"]: f for f in results["figures"]}
    assert {row.key for row in ROWS} == set(figures)
    assert {key for key, f in figures.items() if not f["count"]} == set()
    assert results["facts"]["policies"] == 16
    assert figures["edit-all"]["count"] == 2
    for row in lines(results):
        assert row.title in done.stdout
    assert done.stdout.count("holds") + done.stdout.count("missed") == 11


def test_a_budget_holds_or_is_missed() -> None:
    figures = [Figure("edit-file", "ms", 9, 1.5, 6.0), Figure("start", "ms", 9, 300, 400)]
    figures += [
        Figure("start-bare", "ms", 9, 310, 400),
        stopped("check", "s", 7),
        stopped("check-cached", "s", 1),
        Figure("hover", "ms", note="no time"),
    ]
    results = {"size": {"policies": 1}, "figures": [f.as_json() for f in figures]}
    verdicts = {line.figure.key: line.verdict for line in lines(results)}
    assert verdicts == {
        "edit-file": "missed",
        "start": "holds",
        "start-bare": "",
        "check": "missed",
        "hover": "",
        "check-cached": "",
    }
    assert "not done within 7 s" in text(lines(results))
    assert markdown(lines(results)).splitlines()[2].startswith("| edit → the file's own")


def test_the_peer_compares_path_strings(tmp_path: Path) -> None:
    """It takes policies that exclude each other by a condition for a conflict, and `b2` for `b`."""
    (tmp_path / "graph.yaml").write_text(
        "services:\n  a: {entry: true, origin: false}\n  b: {origin: false}\n  b2: {origin: false}\n"
        "calls:\n  - [a, b]\n  - [a, b2]\n  - [b, b2]\n  - [b2, b]\n"
    )
    (tmp_path / "mesh.m4").write_text('mesh shop {\n    graph "graph.yaml";\n    group g = { b, b2 };\n}\n')
    policy = 'policy {} (HttpRequest r)\n    on {}\n    when r.method == "{}"\n{{\n    r.DropRequest();\n}}\n'
    made = [("one", "a -> b", "GET"), ("two", "a -> b", "PUT"), ("three", "outside -> a -> b2", "GET")]
    (tmp_path / "x.m4").write_text("\n".join(policy.format(*of) for of in made))
    found = conflicts(tmp_path, limit=10)
    assert (found.complete, found.policies, found.paths, found.compared, found.pairs) == (True, 3, 3, 3, 3)
    mesh = Mesh(tmp_path)
    assert sorted(mesh.paths("* -> b")) == [("a", "b"), ("a", "b2", "b")]
    assert sorted(mesh.paths("a -> (!b2)* -> @g")) == [("a", "b"), ("a", "b", "b2"), ("a", "b2")]
    assert sorted(mesh.paths("? -> (b | b2)")) == [("a", "b"), ("a", "b2")]


def results_of(policies: int, ms: float) -> dict[str, Any]:
    """Results with one figure that was measured, and one that was not."""
    figures = [Figure("edit-all", "ms", 300, ms, 3 * ms), stopped("check", "s", 1)]
    return {
        "size": {"policies": policies, "services": 12, "calls": 60, "files": 3},
        "seed": 0,
        "machine": machine(),
        "facts": {"policies": policies, "conflicting": 3, "share": 0.01, "findings": {"contradiction": 2}},
        "figures": [f.as_json() for f in figures],
    }


def test_the_page_gets_its_figures() -> None:
    page = PAGE.read_text("utf-8")
    results = [results_of(100, 1.0), results_of(10_000, 4.0), results_of(100_000, 12.0)]
    made = put(page, section(results))
    assert "10,000 policies in 3 files, 12 services" in made
    assert "| 4 ms | 5 ms | 12 ms | 15 ms | holds |" in made
    assert "100,000 policies: edit → all conflicts, in process | 12 ms |  | 36 ms | 50 ms | holds |" in made
    assert "not done within 1 s" in made
    assert "images/performance.svg" in made
    assert put(made, section(results)) == made
    with pytest.raises(ValueError, match="no place"):
        put("# A page\n", "")


def test_what_was_not_measured_has_no_point() -> None:
    results = [results_of(1000, 2.0), results_of(100, 1.0)]
    assert points(results, Curve("edit-all", "p99", "")) == [(100, 3.0), (1000, 6.0)]
    assert points(results, Curve("check", "median", "")) == []


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the extra `bench`")
    results = [results_of(100, 1.0), results_of(10_000, 4.0)]
    for name in ("a.svg", "b.svg"):
        draw(results, tmp_path / name)
    drawn = (tmp_path / "a.svg").read_bytes()
    assert drawn.startswith(b"<?xml")
    assert drawn == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("kernel", ["ebpf", "filter"])
def test_meshes_for_the_planner_are_sound_and_the_peers_agree(kernel: str, tmp_path: Path) -> None:
    shape = placement.Shape(30, 90, 40, 1 / 3, kernel)
    placement.write(tmp_path, shape)
    workspace = Workspace([tmp_path])
    assert [p.code for p in workspace.problems() if rule(p.code).severity is Severity.ERROR] == []
    placement.write(tmp_path, replace(shape, context=0.0))
    _, mesh, program_ = placement.opened(tmp_path)
    assert mesh == "shop"
    made = plan(program_)
    assert made.optimal
    assert placement.plain_peer(program_, 60)[1] == made.cost
    _, cost = placement.peer(program_, 60)
    assert cost is not None
    assert cost >= made.cost, "a policy on one side of all its hops, or on the other of all"


def test_edits_of_the_planner_come_out_as_they_began(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "MIXED", placement.Shape(30, 90, 40, 1 / 3))
    found = placement.measure_edits(3, 0)
    assert found.count == 6, found.note
