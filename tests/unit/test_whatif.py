"""What a deployment would change, and what the dataplanes say before anything does."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from m4c.backends.render import Build
from m4c.cli.jobs import Prepared, prepare, put
from m4c.cli.whatif import validated, what_if
from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
GRAPH = "services: {web: {entry: true}, cart: {}, db: {}}\ncalls: [[web, cart], [cart, db]]\n"
MESH = 'mesh shop { graph "shop.graph.yaml"; dataplanes envoy; }\n'
ONE = 'policy one (HttpRequest r) on web -> cart at egress { r.SetHeader("x-a", "1"); }\n'
TWO = 'policy two (HttpRequest r) on cart -> db at ingress { r.SetHeader("x-b", "2"); }\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.graph.yaml").write_text(GRAPH)
    (tmp_path / "shop.m4").write_text(MESH + ONE)
    return tmp_path


def quiet(what: str, share: float) -> None:
    assert what and 0 <= share <= 1


def prepared(folder: Path) -> Prepared:
    return prepare(Workspace([folder / "shop.m4"]), "shop", "directory", folder / "out")


def test_what_is_new_changed_and_gone(folder: Path) -> None:
    first = what_if(prepared(folder))
    assert first.first
    assert first.summary == "artifacts: 2 new"
    assert "nothing is in force there" in first.text
    assert put(prepared(folder), quiet).ok
    same = what_if(prepared(folder))
    assert (same.first, same.changes, same.summary) == (False, (), "the same artifacts are in force already")

    (folder / "shop.m4").write_text(MESH + ONE.replace('"1"', '"3"') + TWO)
    more = what_if(prepared(folder))
    assert {c.path: c.kind for c in more.changes}.items() >= {"envoy/web/envoy.yaml": "changed"}.items()
    diff = "\n".join(next(c for c in more.changes if c.path == "envoy/web/envoy.yaml").diff())
    assert diff.startswith("--- a/envoy/web/envoy.yaml\n+++ b/envoy/web/envoy.yaml\n@@")
    assert 'value: "1"' in diff and 'value: "3"' in diff

    (folder / "shop.m4").write_text(MESH + TWO)
    less = {c.path: c for c in what_if(prepared(folder)).changes}
    assert less["envoy/web/envoy.yaml"].kind == "gone"
    assert "+++ /dev/null" in list(less["envoy/web/envoy.yaml"].diff())


def test_the_dataplanes_are_asked_and_nothing_changes(folder: Path) -> None:
    good = prepared(folder)
    assert validated(good, quiet).ok
    files = tuple(replace(f, text=f.text.replace("static_resources", "nonsense")) for f in good.made.files)
    bad = replace(good, made=Build(good.made.mesh, files, good.made.wiring))
    refused = validated(bad, quiet)
    assert (refused.ok, refused.message) == (
        False,
        "not deployed, nothing changed: Envoy rejects the configuration of web.",
    )
    assert "nonsense" in refused.text
    assert not (folder / "out").exists()


def test_the_command_line_shows_it_and_changes_nothing(folder: Path) -> None:
    command = [Path(sys.executable).with_name("m4"), "deploy", folder / "shop.m4", "--target", "directory"]
    done = subprocess.run([*command, "-o", folder / "out", "--what-if"], capture_output=True, text=True, check=True)
    assert done.stdout == what_if(prepared(folder)).text
    assert not (folder / "out").exists()
    (folder / "shop.m4").write_text(MESH + ONE.replace("Set", "Sat"))
    failed = subprocess.run([*command, "-o", folder / "out", "--what-if"], capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert "the workspace has errors" in failed.stderr
