"""The extension for Zed, which the tests neither build nor run: that its files agree with one another and with the
package, and that its pattern takes no file of GNU m4."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ZED = ROOT / "editors/zed"
EXTENSION = tomllib.loads((ZED / "extension.toml").read_text())
LANGUAGE = tomllib.loads((ZED / "languages/m4/config.toml").read_text())
PATTERN = re.compile(LANGUAGE["first_line_pattern"])
OURS = [*sorted((ROOT / "examples").rglob("*.m4")), *sorted((ROOT / "specs").rglob("*.m4"))]


def first_line(file: Path) -> str:
    return file.read_text("utf-8", "replace").partition("\n")[0]


def test_its_files_agree() -> None:
    package = tomllib.loads((ZED / "Cargo.toml").read_text())["package"]
    assert EXTENSION["id"] == package["name"]
    assert EXTENSION["version"] == package["version"] == version("xmesh")
    server = EXTENSION["language_servers"]["m4ls"]
    assert server["languages"] == [LANGUAGE["name"]] == list(server["language_ids"])
    assert server["language_ids"]["M4"] == "m4", "what the other editors call it"
    assert LANGUAGE["path_suffixes"] == [], "the suffix is GNU m4's, too"


@pytest.mark.parametrize("file", sorted((HERE / "detect/gnu").iterdir()), ids=lambda p: p.name)
def test_files_of_gnu_m4_are_left_alone(file: Path) -> None:
    assert not PATTERN.search(first_line(file))


def test_declarations_are_known_as_such() -> None:
    begun = re.compile(r"(mesh|spec|entity|enum|policy)\s|import\s*\"|@")
    lines = {line for file in OURS for line in file.read_text("utf-8").split("\n") if begun.match(line)}
    assert len(lines) > 20
    assert {line for line in lines if not PATTERN.search(line)} == set()
    for line in ('@owner("a")', "policy p (HttpRequest r) on a -> b", 'import "x.m4";', "mesh shop {", "spec envoy"):
        assert PATTERN.search(line), line
    for line in ("mesh networks are", "policy", "import os", "define(`a', `b')", "dnl mesh shop {", "@mesh networks"):
        assert not PATTERN.search(line), line
