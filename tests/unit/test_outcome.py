"""What a check of a large workspace printed is printed again as long as it would be the same."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_kit import CLASH, Done, m4, process, shop
from m4c.cli import outcome
from m4c.syntax import disk
from m4c.workspace import Workspace


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every workspace is large enough, and there is a cache."""
    monkeypatch.setattr(outcome, "WORTH", 1)
    monkeypatch.setenv("M4_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    return shop(tmp_path / "shop", CLASH)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows with each workspace that is opened."""
    seen: list[object] = []
    refresh = Workspace.refresh
    monkeypatch.setattr(Workspace, "refresh", lambda self: (seen.append(self), refresh(self))[1])
    return seen


def check(folder: Path, *options: str) -> Done:
    return m4("check", ".", *options, cwd=folder)


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_it_is_printed_again(folder: Path, opened: list[object], form: str) -> None:
    first = check(folder, "--format", form)
    assert (len(opened), first.code) == (1, 1)
    assert check(folder, "--format", form) == first
    assert len(opened) == 1
    assert check(folder, "--format", form, "--all").out == first.out
    assert len(opened) == 2


def _new_file(folder: Path) -> None:
    (folder / "more.m4").write_text("policy p (HttpRequest r) on web -> cart { r.DropRequest(); }\n")


def _edit(folder: Path) -> None:
    (folder / "policies.m4").write_text("")


def _remove(folder: Path) -> None:
    (folder / "policies.m4").unlink()


def _rename(folder: Path) -> None:
    (folder / "policies.m4").rename(folder / "other.m4")


def _graph(folder: Path) -> None:
    (folder / "graph.yaml").write_text("services: {web: {entry: true}}\n")


def _no_graph(folder: Path) -> None:
    (folder / "graph.yaml").unlink()


def _settings(folder: Path) -> None:
    (folder / "m4.toml").write_text('[diagnostics]\ncontradiction = "off"\n')


def _unreadable(folder: Path) -> None:
    (folder / "policies.m4").write_bytes(b"\xff\xfe\x00")


@pytest.mark.parametrize("change", [_new_file, _edit, _remove, _rename, _graph, _no_graph, _settings, _unreadable])
def test_a_change_on_the_disk_is_seen(
    folder: Path, opened: list[object], change: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = check(folder)
    change(folder)
    after = check(folder)
    assert len(opened) == 2
    assert after != before
    monkeypatch.setenv("M4_CACHE", "")
    assert check(folder) == after


def test_a_file_beside_that_a_fix_may_name_is_seen(folder: Path) -> None:
    (folder / "graph.yaml").rename(folder / "graphs.yaml")
    before = check(folder)
    (folder / "graphs.yaml").rename(folder / "graph.yml")
    assert check(folder).out != before.out


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x00" * 100, None])
def test_a_damaged_entry_is_none(folder: Path, opened: list[object], damage: bytes | None, tmp_path: Path) -> None:
    first = check(folder)
    (entry,) = (tmp_path / "cache/outcomes").iterdir()
    for wrong in ([], {}, {"outcome": {}}, {"outcome": {"out": 1, "code": 0}, "inputs": {}}, 5):
        data = json.dumps(wrong).encode()
        entry.write_bytes(disk.seal(entry.name, data) + data if damage is None else damage)
        assert check(folder) == first
    assert len(opened) == 6


def test_an_outcome_is_that_of_its_folder(folder: Path, tmp_path: Path, opened: list[object]) -> None:
    check(folder)
    elsewhere = m4("check", "shop", cwd=tmp_path)
    assert "shop/policies.m4" in elsewhere.out
    assert len(opened) == 2


def test_fixes_are_made_anew(folder: Path) -> None:
    check(folder)
    (folder / "policies.m4").write_text("policy p (HttpRequest r) on web -> cart { r.DropRequest() }\n")
    fixed = check(folder, "--fix")
    assert fixed.code == 0
    assert "r.DropRequest();" in (folder / "policies.m4").read_text()


def test_small_workspaces_are_checked(folder: Path, opened: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outcome, "WORTH", 500)
    check(folder)
    check(folder)
    assert len(opened) == 2


def test_another_version_of_the_program_asks_again(
    folder: Path, opened: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    check(folder)
    monkeypatch.setattr(outcome, "_version", lambda: "another")
    check(folder)
    assert len(opened) == 2


def test_without_a_cache_it_is_checked(folder: Path) -> None:
    first = process("check", ".", cwd=folder, env={**os.environ, "M4_CACHE": ""})
    assert first.code == 1
    assert first.out == check(folder).out
