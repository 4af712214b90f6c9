"""The wheel, installed into an empty environment away from the checkout, is whole."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the built wheel in it, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("package")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
    pip = [str(folder / "env/bin/pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(pip, check=True, cwd=folder)
    return folder


def run(installed: Path, *args: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [str(installed / "env/bin" / args[0]), *args[1:]]
    return subprocess.run(command, cwd=installed, env=env, capture_output=True, text=True, check=False)


def test_the_commands_work_away_from_the_checkout(installed: Path) -> None:
    shutil.copytree(ROOT / "examples/online-boutique", installed / "shop")
    checked = run(installed, "m4", "check", "shop", "--format", "json")
    assert (checked.returncode, json.loads(checked.stdout)["diagnostics"]) == (0, [])

    built = run(installed, "m4", "build", "shop", "-o", "out")
    assert built.returncode == 0, built.stderr
    manifest = json.loads((installed / "out/manifest.json").read_text())
    kinds = {a["kind"] for a in manifest["artifacts"]}
    assert kinds == {"envoy.yaml", "haproxy.cfg", "hops.json", "m4.bpf.c", "m4.lua"}

    asked = run(installed, "m4", "status", "shop")
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, "nothing is deployed\n", "")

    served = run(installed, "m4ls", "--help")
    assert served.returncode == 0
    assert "language server" in served.stdout.lower()


def test_specs_templates_and_kernel_sources_are_inside(installed: Path) -> None:
    script = (
        "from m4c.resources import page_of, specs_dir; from m4bpf import include_dir; import m4ls, m4deploy;"
        "print(specs_dir()); print(include_dir()); print(page_of('contradiction').parent)"
    )
    found = run(installed, "python", "-c", script)
    assert found.returncode == 0, found.stderr
    specs, include, pages = map(Path, found.stdout.split())
    for folder, names in (
        (specs, ("core.m4", "envoy/spec.m4", "envoy/envoy.yaml.j2", "ebpf/m4.bpf.c.j2")),
        (include, ("m4_msg.h",)),
        (pages, ("contradiction.md", "../howto/findings.md")),
    ):
        assert folder.is_relative_to(installed / "env")
        assert [n for n in names if not (folder / n).is_file()] == []
