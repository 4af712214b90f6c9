"""HAProxy: found, asked whether it accepts a configuration, and started with it."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from m4deploy.built import Element
from m4deploy.drivers.base import LOOK_AT_IT, Counters, Denied, Ended, Place
from m4deploy.errors import DeployError, Rejected
from m4deploy.processes import spawn, stop, tail
from m4deploy.state import connect

CONFIG = "haproxy.cfg"
SCRIPT = "m4.lua"
_MASTER = "master.sock"  # in the folder in which it runs
_AT_ONCE = 100  # commands in a line to the master
_RELOAD_SECONDS = 30.0
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
    """A running HAProxy: a master, and a worker that it replaces when it is told to read its files again. The new
    worker takes over the listening sockets, and the old one ends when its connections have."""

    def __init__(self, element: Element, place: Place) -> None:
        self._about = str(element)
        self._folder = place.folder
        self._log = place.folder / "haproxy.log"
        self._sites = {f"hop{i}": listen["site"] for i, listen in enumerate(element.wiring["listen"])}
        self._rules: dict[int, dict[str, tuple[str, str]]] = {}  # what each worker counts
        self._ended: dict[int, dict[tuple[str, str], int]] = {}  # the same
        self._counted: dict[int, dict[str, dict[str, int]]] = {}  # by worker, also those that have ended
        self.files: Mapping[str, bytes] = _files(element)
        self.write(self.files)
        asked = [str(binary()), "-W", "-S", f"unix@{_MASTER}", "-f", str(place.folder / CONFIG)]
        self._process = spawn(asked, cwd=place.folder, log=self._log, cgroup=place.cgroup)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self._process

    def ready(self) -> bool:
        return True  # a configuration that it does not take ends it

    def counters(self) -> Counters:
        """Per site: requests `seen`, of them `answered` by HAProxy itself as policies say (denied, redirected, answered
        or made to fail), and `5xx` answers. What a replaced worker counts in its last moments is not in it."""
        for worker in self._workers():
            self._counted[worker] = self._count(worker) or self._counted.get(worker, {})
        counts = {site: dict.fromkeys(_COUNTED.values(), 0) for site in self._sites.values()}
        for sites in self._counted.values():
            for site, counted in sites.items():
                for name, count in counted.items():
                    counts[site][name] += count
        return counts

    def ended(self) -> Ended:
        for worker in self._workers():
            rules = self._rules.setdefault(worker, _rules(self.files))
            names, answer = list(rules), ""
            for at in range(0, len(names), _AT_ONCE):
                some = names[at : at + _AT_ONCE]
                answer += self._asked("; ".join(f"@!{worker} get var proc.{name}" for name in some))
            said = dict(re.findall(r"(m4_\d+_\d+): type=sint value=<(\d+)>", answer))
            if said:
                self._ended[worker] = {rules[name]: int(count) for name, count in said.items() if name in rules}
        found: dict[str, dict[str, int]] = {}
        for counted in self._ended.values():
            for (site, policy), count in counted.items():
                here = found.setdefault(site, {})
                here[policy] = here.get(policy, 0) + count
        return found

    def tallies(self) -> dict[str, int]:
        return {}  # it keeps no states

    def denied(self) -> list[Denied]:
        return []  # it counts them, and tells nothing else

    def watch(self, on: bool) -> None:
        pass

    def _count(self, worker: int) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for row in csv.DictReader(self._asked(f"@!{worker} show stat").removeprefix("# ").splitlines()):
            site = self._sites.get(row["pxname"])
            if site is not None and row["svname"] == "FRONTEND":
                here = counts.setdefault(site, dict.fromkeys(_COUNTED.values(), 0))
                for name, counter in _COUNTED.items():
                    here[counter] += int(row[name] or 0)
        return counts

    def _workers(self) -> dict[int, int]:
        """The workers, and how often the master has read its files since each of them began."""
        found = {}
        for line in self._asked("show proc").splitlines():
            match line.split():
                case [pid, "worker", reloads, *_]:
                    found[int(pid)] = int(reloads)
        return found

    def _asked(self, question: str) -> str:
        """The master's answer to a command; "" if there is none."""
        with contextlib.suppress(OSError), connect(self._folder / _MASTER) as connection:
            connection.settimeout(5)
            connection.sendall(question.encode() + b"\n")
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return ""

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, content in files.items():
            partial = self._folder / f"{name}.part"
            partial.write_bytes(content)
            partial.replace(self._folder / name)

    def put(self, files: Mapping[str, bytes]) -> None:
        """Puts other files in force."""
        self.counters()
        self.ended()
        before = self._workers()
        self.write(files)
        self.files = files
        self._process.send_signal(signal.SIGUSR2)
        end = time.monotonic() + _RELOAD_SECONDS
        while not self._replaced(before):
            if self._process.poll() is not None or time.monotonic() > end:
                raise DeployError(f"{self._about} did not take what it got.", said(tail(self._log)), LOOK_AT_IT)
            time.sleep(0.001)

    def _replaced(self, before: Iterable[int]) -> bool:
        """Whether there is a new worker, and those of before take no new connections."""
        workers = self._workers()
        if not any(not reloads and pid not in before for pid, reloads in workers.items()):
            return False
        return all("Stopping: 0" not in self._asked(f"@!{pid} show info") for pid in workers if pid in before)

    def change(self, element: Element | None, folder: Path) -> HaproxyChange:
        if element is None:
            raise ValueError("a proxy cannot do nothing: what is sent to it would go nowhere")
        return HaproxyChange(self, _files(element))

    def renew(self) -> None:
        """Nothing of it runs out."""

    def close(self) -> None:
        stop([self._process])


class HaproxyChange:
    """Other files for a running HAProxy."""

    def __init__(self, haproxy: HaproxyProcess, new: Mapping[str, bytes]) -> None:
        self._haproxy = haproxy
        self._old = haproxy.files
        self._new = new

    def begin(self) -> None:
        """It is reached as before."""

    def finish(self) -> None:
        pass

    def swap(self) -> None:
        self._haproxy.put(self._new)

    def revert(self) -> None:
        self._haproxy.put(self._old)

    def settle(self) -> None:
        pass


def _rules(files: Mapping[str, bytes]) -> dict[str, tuple[str, str]]:
    """The site and policy of each rule that is counted, by the name of its variable."""
    found = {}
    for name, about in re.findall(
        r"^ *set-var proc\.(m4_\d+_\d+) .*?# (\{.*\})$", files[CONFIG].decode(), re.MULTILINE
    ):
        told = json.loads(about)
        found[name] = (told["site"], told["policy"])
    return found


def _files(element: Element) -> dict[str, bytes]:
    return {name: element.file(name).read_bytes() for name in (SCRIPT, CONFIG)}


class HaproxyDriver:
    needs_cgroup = False

    def __init__(self) -> None:
        """Looks for the binary, so that its absence is told before anything else is done."""
        self.notes: tuple[str, ...] = (f"it is {binary()}",)

    def validate(self, element: Element, folder: Path) -> None:
        """HAProxy's own check: unknown words, missing parts, broken scripts."""
        element.file(SCRIPT)
        asked = [*command(element.file(CONFIG)), "-c"]
        done = subprocess.run(asked, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            message, found = f"HAProxy rejects the configuration of {element.service}.", said(done.stdout + done.stderr)
            raise Rejected(message, found, LOOK_AT_IT, found.partition("\n")[0])

    def start(self, element: Element, place: Place) -> HaproxyProcess:
        return HaproxyProcess(element, place)
