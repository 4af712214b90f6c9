"""The table of docs/editors.md says what the language server says of itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import editor_table  # noqa: E402 - it is in no package


def test_a_row_says_what_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    found = editor_table.capabilities()
    assert editor_table.unlisted(found) == set()
    lines = editor_table.table().splitlines()[2 : 2 + len(editor_table.FEATURES)]
    rows = {line.split("|")[1].strip(): line.split("|")[2].strip() for line in lines}
    assert len(rows) == len(editor_table.FEATURES)
    assert rows["rename"] == rows["… of what has changed"] == "yes"
    assert rows["type hierarchy"] == "nothing in M4 inherits"
    without = {name: value for name, value in found.items() if name != "renameProvider"}
    monkeypatch.setattr(editor_table, "capabilities", lambda: without)
    assert "| rename | – | yes |" in editor_table.table()


def test_what_has_no_row_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(editor_table, "capabilities", lambda: {"monikerProvider": True, "hoverProvider": True})
    with pytest.raises(ValueError, match="no row for monikerProvider"):
        editor_table.table()
