"""The registry's pages and examples: they are current, and each example shows what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from m4c.cli.common import errors
from m4c.cli.validation import validate
from m4c.diagnostics.examples import example, workspace_files
from m4c.diagnostics.registry import RULES, explain
from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
WITH_EXAMPLE = [code for code in RULES if example(code)]
# What is wrong is not in the text of a program: its bytes, its size, the time that the solver had.
WITHOUT = {"bad-encoding", "too-large", "unreadable-file", "no-plan", "not-optimal"}


def codes(folder: Path, shown: str, code: str) -> tuple[set[str], bool]:
    """What is reported for a program, and whether any of it is an error."""
    folder.mkdir()
    for name, text in workspace_files(shown).items():
        (folder / name).write_text(text, "utf-8")
    workspace = Workspace([folder])
    problems = workspace.problems()
    if not problems and code == "rejected-artifact":  # what only running the templates shows
        problems += [p for mesh in workspace.meshes() for p in validate(workspace, mesh, {}).problems]
    return {p.code for p in problems}, bool(errors(workspace, problems))


@pytest.mark.parametrize("code", WITH_EXAMPLE)
def test_the_wrong_example_gives_the_code_and_the_right_one_nothing(tmp_path: Path, code: str) -> None:
    shown = example(code)
    assert shown is not None
    assert codes(tmp_path / "wrong", shown.wrong, code)[0] == {code}
    assert codes(tmp_path / "right", shown.right, code) == (set(), False)
    assert shown.wrong in explain(code)
    assert shown.right in explain(code)


def test_only_what_no_text_can_show_has_no_example() -> None:
    assert set(RULES) - set(WITH_EXAMPLE) == WITHOUT


def test_the_pages_are_current() -> None:
    command = [sys.executable, str(ROOT / "scripts/gen_docs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
