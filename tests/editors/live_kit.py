"""A small mesh that is deployed on this machine, for tests of what shows its counts."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from editor_tools import beside, undeploy
from m4c.cli.jobs import state_of
from m4deploy import local
from m4deploy.client import send
from m4deploy.errors import DeployError
from ports import free_base

SHUT = 'policy shut (HttpRequest r) on * -> e -> f when r.target == "/shut" { r.DropRequest(); }\n'


@dataclass(frozen=True, slots=True)
class Deployed:
    """The mesh in force. `home`: its XDG_STATE_HOME."""

    workspace: Path
    home: Path

    @property
    def state(self) -> Path:
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = str(self.home)
        try:
            return state_of([self.workspace], "shop")
        finally:
            if before is None:
                del os.environ["XDG_STATE_HOME"]
            else:
                os.environ["XDG_STATE_HOME"] = before

    def ask(self, target: str = "/") -> int | None:
        """Sends a request from outside through web and e to f; the status on the last hop, None if there is none."""
        mesh = local.current(self.state)
        assert mesh is not None
        return send(mesh, ["web", "e", "f"], outside=True, target=target).hops[-1].status


def prepare(workspace: Path) -> None:
    """Leaves the policies that are not in conflict, and one that denies what asks for `/shut`."""
    (workspace / "even.m4").unlink()
    (workspace / "shut.m4").write_text(SHUT)


@contextmanager
def deployed(workspace: Path, home: Path) -> Iterator[Deployed]:
    environment = {**os.environ, "XDG_STATE_HOME": str(home)}
    command = [beside("m4"), "deploy", workspace, "--base-port", str(free_base())]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    try:
        yield Deployed(workspace, home)
    finally:
        undeploy(workspace, home)


@contextmanager
def requests_passing(mesh: Deployed) -> Iterator[None]:
    """Sends requests until the end of a test: two that go on, then one that does not."""
    ended = threading.Event()

    def go_on() -> None:
        for target in itertools.cycle(("/", "/", "/shut")):
            if ended.wait(0.02):
                return
            with contextlib.suppress(DeployError, AssertionError):  # the mesh ends before the test does
                mesh.ask(target)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def served(mesh: Deployed) -> Iterator[tuple[str, int]]:
    """The address of the page with the map, and the process that serves it."""
    environment = {**os.environ, "XDG_STATE_HOME": str(mesh.home)}
    command = [beside("m4"), "graph", "show", mesh.workspace, "--serve"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            yield said.split()[4], process.pid
        finally:
            process.terminate()
