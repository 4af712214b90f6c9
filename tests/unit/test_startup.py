"""What commands import: the slow libraries only where they are needed. Modules are counted, not time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples/online-boutique"
MAIN = "import sys; from m4c.cli.main import main; main(sys.argv[1:])"


def imported(*args: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    code = f"""if True:
        import sys
        before = set(sys.modules)
        sys.stdout = open("/dev/null", "w")
        try:
            {MAIN}
        except SystemExit as end:
            assert not end.code, end.code
        sys.__stdout__.write(" ".join(set(sys.modules) - before))
    """
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def packages(modules: set[str]) -> set[str]:
    """The packages that are not of the standard library, by their top name; not what Cython registers for them."""
    return {m.split(".")[0] for m in modules if "cython" not in m} - set(sys.stdlib_module_names)


@pytest.mark.parametrize("args", [("--help",), ("check", "--help"), ("deploy", "--help"), ("--version",)])
def test_help_needs_nothing(args: tuple[str, ...]) -> None:
    modules = imported(*args)
    assert packages(modules) == {"m4c"}
    assert {m for m in modules if m.startswith("m4c")} <= {"m4c", "m4c.cli", "m4c.cli.errors", "m4c.cli.main"}
    assert modules & {"asyncio", "multiprocessing", "unittest", "inspect", "importlib.metadata", "ctypes"} == set()


FRONT = {"m4c", "lark", "yaml"}
SOLVER = {"highspy", "numpy", "networkx"}


@pytest.mark.parametrize(
    ("args", "needed"),
    [
        (("explain", "contradiction"), {"m4c"}),
        (("fmt", "--check", str(SHOP)), FRONT),
        (("graph", "show", str(SHOP)), FRONT),
        (("graph", "import", str(SHOP / "boutique.graph.yaml")), {"m4c", "yaml"}),
        (("trace", str(SHOP), "--path", "outside,frontend"), FRONT),
        (("check", str(SHOP)), FRONT | SOLVER),
        (("plan", str(SHOP)), FRONT | SOLVER),
        (("status", str(SHOP)), FRONT | {"m4deploy"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_command_imports_what_it_needs(args: tuple[str, ...], needed: set[str]) -> None:
    found = packages(imported(*args))
    assert "m4c" in found
    assert found <= needed
