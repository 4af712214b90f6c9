"""The page on how xMesh is built names the layers that the contracts check, in their order."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text()


def test_the_layers_are_those_of_the_contracts() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    expected = [
        name
        for contract in contracts
        if contract["type"] == "layers"
        for layer in contract["layers"]
        for name in layer.split(" | ")
        if name not in ("m4c", "m4bpf")  # the compiler is all that follows, and the kernel's loader is by itself
    ]
    table = PAGE.split("| layer | what it is |")[1].split("\n\n")[0]
    assert [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])] == expected


def test_every_package_of_the_compiler_is_on_the_page() -> None:
    packages = {p.parent.name for p in (ROOT / "compiler/m4c").glob("*/__init__.py")}
    assert len(packages) >= 10
    assert {name for name in packages if f"`{name}`" not in PAGE} == set()
