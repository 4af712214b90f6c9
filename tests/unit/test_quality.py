"""The gates that every change passes: style, types, layers, the size of modules, nothing left unfinished."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {".git", ".venv", ".tools", "node_modules", "out", "dist", "build", "__pycache__"}
CODE = {".py", ".pyi", ".lark", ".ts", ".mjs", ".cjs", ".lua", ".c", ".h", ".j2", ".m4", ".sh"}
TEXT = CODE | {".md", ".toml", ".yaml", ".yml", ""}
LINES = 500

# Files that may be longer, each with the reason.
LONG: dict[str, str] = {}

# Put together, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "WI" + "P")) + r")\b")


def files(endings: set[str]) -> Iterator[Path]:
    """The project's files with these endings."""
    folders = [ROOT]
    while folders:
        for path in sorted(folders.pop().iterdir()):
            if path.name in SKIPPED or path.is_symlink():
                continue
            if path.is_dir():
                if not path.name.startswith(".") or path.name == ".ci":
                    folders.append(path)
            elif path.suffix in endings:
                yield path


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tool(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs a tool of this environment on the checkout; its caches are in the checkout too."""
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run([str(program), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "command",
    [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",), ("lint-imports",)],
    ids=" ".join,
)
def test_the_tools_find_nothing(command: tuple[str, ...]) -> None:
    done = tool(*command)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}{done.stderr}", pytrace=False)


def test_the_tools_see_the_code() -> None:
    """A gate that looks at nothing passes always."""
    checked = re.search(r"in (\d+) source files", tool("mypy").stdout)
    typed = ("compiler", "m4ls", "bpf", "deploy", "benchmarks")
    modules = [p for p in files({".py"}) if relative(p).split("/")[0] in typed]
    assert checked is not None
    assert int(checked[1]) == len(modules) > 100
    looked_at = tool("ruff", "check", "--show-files").stdout.split()
    assert {str(p) for p in files({".py"})} <= set(looked_at)
    assert int(re.findall(r"Contracts: (\d+) kept, 0 broken", tool("lint-imports").stdout)[0]) >= 4


def test_no_module_is_long() -> None:
    lengths = {relative(p): p.read_text("utf-8").count("\n") for p in files(CODE)}
    assert len(lengths) > 200
    assert {name: n for name, n in lengths.items() if n > LINES and name not in LONG} == {}
    assert [name for name in LONG if lengths.get(name, 0) <= LINES] == [], "these are short by now"


def test_nothing_is_left_unfinished() -> None:
    found = [
        f"{relative(path)}:{number}: {line.strip()}"
        for path in files(TEXT)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []
    assert UNFINISHED.search("# FIX" + "ME: later")


def test_the_compiler_names_no_package_above_it() -> None:
    """Not even in a string, by which it could be imported."""
    above = re.compile(r"\b(?:m4ls|m4bpf|m4deploy|lsprotocol|pygls)\b")
    modules = list((ROOT / "compiler/m4c").rglob("*.py"))
    assert modules
    assert [relative(p) for p in modules if above.search(p.read_text("utf-8"))] == []
