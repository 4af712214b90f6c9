"""A small mesh that is deployed as people do it, with the `m4` command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from m4deploy import local
from m4deploy.client import send

ROOT = Path(__file__).resolve().parents[2]
GRAPH = "services:\n  web: {entry: true, origin: false}\n  cart: {origin: false}\ncalls:\n  - [web, cart]\n"
MESH = 'mesh shop {\n    graph "graph.yaml";\n    dataplanes envoy;\n}\n'
POLICY = 'policy teapot (HttpRequest r) on web -> cart when r.method == "GET" { r.DropRequest(418); }\n'
WORKING = 418


class Shop:
    """A workspace with specs of its own, and what is deployed from it."""

    def __init__(self, folder: Path, base_port: int) -> None:
        self.folder = folder / "shop"
        self.home = folder / "state"
        self.base = base_port

    def renew(self) -> None:
        """Puts the files back as they were."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name in ("envoy", "ebpf"):
            shutil.copytree(ROOT / "specs" / name, self.folder / name)
        self.write("graph.yaml", GRAPH)
        self.write("shop.m4", MESH)
        self.write("policies.m4", POLICY)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, "utf-8")

    def change(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text("utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "m4c.cli.main", *args]
        full = {**os.environ, "XDG_STATE_HOME": str(self.home), **(env or {})}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.folder, env=full, stdout=pipe, stderr=pipe, text=True)

    def m4(self, *args: str) -> tuple[int, str, str]:
        """A command's exit code, output and errors; it never ends in a traceback."""
        process = self.start(*args)
        out, err = process.communicate(timeout=6000)
        assert "Traceback" not in out + err, err
        assert "bug in M4" not in err, err
        return process.returncode, out, err

    def deploy(self, *args: str) -> tuple[int, str, str]:
        return self.m4("deploy", "--base-port", str(self.base), *args)

    @property
    def state(self) -> Path:
        (found,) = (self.home / "m4").iterdir()
        return found

    def answer(self) -> int | None:
        """What a request on the mesh's call gets now."""
        mesh = local.current(self.state)
        assert mesh is not None
        return send(mesh, ["web", "cart"], outside=True).status

    def processes(self) -> list[int]:
        found = local.status(self.state)
        assert found is not None
        return [p["pid"] for p in found["processes"]]


def wait(holds: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether it holds, soon."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
