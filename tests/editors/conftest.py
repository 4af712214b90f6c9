"""What the tests in real editors share: the language server, and a workspace that may be changed."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from editor_tools import beside

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The language server that the editors start; the variable M4LS names another one.

    Where that is possible it has a network of its own: a deployment then meets no port that is in use here.
    """
    program = os.environ.get("M4LS", str(beside("m4ls")))
    for unshare in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        try:
            tried = subprocess.run([*unshare, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
        except FileNotFoundError:
            break
        if tried.returncode == 0:
            apart = [*unshare, "sh", "-c", 'ip link set lo up && exec "$0" "$@"', program]
            wrapper = tmp_path_factory.mktemp("server") / "m4ls"
            wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(apart)} "$@"\n')
            wrapper.chmod(0o755)
            return wrapper
    return Path(program)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A copy of the small workspace: two policies in two files that contradict each other."""
    return Path(shutil.copytree(HERE / "workspace", tmp_path / "workspace"))
