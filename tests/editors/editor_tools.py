"""What the tests in real editors do before and after an editor runs."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def beside(name: str) -> Path:
    """A program of the environment that runs the tests."""
    return Path(sys.executable).with_name(name)


def apart(command: list[str]) -> list[str]:
    """A command, where that is possible with a network of its own: a deployment then meets no port that is in use."""
    for unshare in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
        try:
            tried = subprocess.run([*unshare, "ip", "link", "set", "lo", "up"], capture_output=True, check=False)
        except FileNotFoundError:
            break
        if tried.returncode == 0:
            return [*unshare, "sh", "-c", 'ip link set lo up && exec "$0" "$@"', *command]
    return command


def missing(what: str, target: str) -> NoReturn:
    """Skips a test whose editor is not installed, or fails it where everything has to be."""
    message = f"{what} is not installed; `make {target}` installs it"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def undeploy(workspace: Path, state: Path) -> None:
    """Stops what a test may have left deployed; `state` is what XDG_STATE_HOME was in the editor."""
    environment = {**os.environ, "XDG_STATE_HOME": str(state)}
    subprocess.run([beside("m4"), "undeploy", workspace], env=environment, check=True, stdout=subprocess.DEVNULL)
