"""HAProxy: found, asked whether it accepts a configuration, and started with it."""

from __future__ import annotations

import contextlib
import csv
import re
import shutil
import subprocess
from pathlib import Path

from m4deploy.built import Element
from m4deploy.drivers.base import LOOK_AT_IT, Counters, Place
from m4deploy.errors import DeployError
from m4deploy.processes import spawn, stop
from m4deploy.state import connect

CONFIG = "haproxy.cfg"
SCRIPT = "m4.lua"
_SOCKET = "admin.sock"  # in the folder in which it runs, as the configuration says
_COUNTED = {"req_tot": "seen", "intercepted": "answered", "hrsp_5xx": "5xx"}
PLACES = ("/usr/sbin", "/usr/local/sbin")  # where distributions put it, which is not on every PATH


def binary() -> Path:
    """The HAProxy to run. Raises DeployError."""
    found = shutil.which("haproxy") or shutil.which("haproxy", path=":".join(PLACES))
    if found is None:
        raise DeployError("HAProxy is not installed.", hint="Install it with: apt-get install haproxy")
    return Path(found)


def command(config: Path) -> list[str]:
    """Runs in the foreground. The folder in which it is started becomes that of its socket."""
    return [str(binary()), "-db", "-f", str(config)]


def said(output: str) -> str:
    """What matters of HAProxy's complaint: its alerts, without who says so."""
    alerts = [line for line in output.splitlines() if "[ALERT]" in line]
    reasons = [re.sub(r"^\[ALERT\]\s+\(\d+\) : ", "", line) for line in alerts]
    return "\n".join(line if len(line) <= 600 else f"{line[:200]} … {line[-400:]}" for line in reasons[:4])


class HaproxyProcess:
    """A running HAProxy."""

    def __init__(self, element: Element, place: Place) -> None:
        config = element.file(CONFIG)
        self._folder = place.folder
        self._sites = {f"hop{i}": listen["site"] for i, listen in enumerate(element.wiring["listen"])}
        self._process = spawn(command(config), cwd=place.folder, log=place.folder / "haproxy.log", cgroup=place.cgroup)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._process

    def counters(self) -> Counters:
        """Per site: requests `seen`, of them `answered` by HAProxy itself as policies say (denied, redirected, answered
        or made to fail), and `5xx` answers."""
        counts = {site: dict.fromkeys(_COUNTED.values(), 0) for site in self._sites.values()}
        for row in csv.DictReader(self._asked("show stat").removeprefix("# ").splitlines()):
            site = self._sites.get(row["pxname"])
            if site is not None and row["svname"] == "FRONTEND":
                for name, counter in _COUNTED.items():
                    counts[site][counter] += int(row[name] or 0)
        return counts

    def _asked(self, question: str) -> str:
        """The answer to a command of its socket; "" if there is none."""
        with contextlib.suppress(OSError), connect(self._folder / _SOCKET) as connection:
            connection.settimeout(5)
            connection.sendall(question.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return ""

    def close(self) -> None:
        stop([self._process])


class HaproxyDriver:
    needs_cgroup = False

    def __init__(self) -> None:
        """Looks for the binary, so that its absence is told before anything else is done."""
        binary()

    def validate(self, element: Element, folder: Path) -> None:
        """HAProxy's own check: unknown words, missing parts, broken scripts."""
        element.file(SCRIPT)
        asked = [*command(element.file(CONFIG)), "-c"]
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            message = f"HAProxy rejects the configuration of {element.service}."
            raise DeployError(message, said(done.stdout + done.stderr), LOOK_AT_IT)

    def start(self, element: Element, place: Place) -> HaproxyProcess:
        return HaproxyProcess(element, place)
