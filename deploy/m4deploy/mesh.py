"""A built mesh on this machine: put in force piece by piece, counted, and taken away without a trace.

A *generation* is one attempt to deploy, with a folder of its own:

    built/     a copy of what was built, so that it can be started again whatever becomes of the original
    run/       logs, compiled programs, control sockets
    journal    what exists outside the folder (cgroups, processes), one JSON line each, written before it matters

The journal is enough to clear up after a supervisor that was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m4deploy import app, processes
from m4deploy.built import Built, Element, read_built
from m4deploy.drivers import driver
from m4deploy.drivers.base import Driver, Place, Running
from m4deploy.errors import DeployError

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Application:
    """One stand-in process: of a service, in a version ("" if it has none). `control`: its socket's name in run/."""

    service: str
    version: str
    listen: str
    control: str

    def __str__(self) -> str:
        return f"the application {self.service}" + (f" {self.version}" if self.version else "")


def applications(built: Built) -> list[Application]:
    """The processes that stand in for the services, in a fixed order."""
    found = [(s, v, a) for s, wiring in sorted(built.services.items()) for v, a in sorted(wiring["app"].items())]
    return [Application(s, v, a, f"app-{n}.sock") for n, (s, v, a) in enumerate(found)]


class Journal:
    """What a generation has outside its folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "journal"

    def add(self, **entry: Any) -> None:
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(entry) + "\n")

    def entries(self, kind: str) -> Iterator[dict[str, Any]]:
        """Those with this key; a line that was cut off by the end of its writer is no entry."""
        with contextlib.suppress(OSError):
            for line in self._path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    if kind in entry:
                        yield entry

    def supervisor(self) -> int | None:
        """The process that looks after this generation, if it lives."""
        for entry in self.entries("supervisor"):
            if processes.born(entry["supervisor"]) == entry["born"]:
                return int(entry["supervisor"])
        return None


def sweep(folder: Path, *, keep: bool = False) -> None:
    """Ends whatever a generation left behind, and removes its folder (`keep`: all but the copy of what was built)."""
    journal = Journal(folder)
    for entry in journal.entries("process"):
        processes.kill(entry["process"], entry["born"])
    for entry in journal.entries("cgroup"):
        _remove_cgroup(Path(entry["cgroup"]))
    if keep:
        (folder / "journal").unlink(missing_ok=True)
        shutil.rmtree(folder / "run", ignore_errors=True)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_cgroup(cgroup: Path) -> None:
    from m4bpf import KernelError, remove_cgroup

    with contextlib.suppress(OSError):
        (cgroup / "cgroup.kill").write_text("1")
    with contextlib.suppress(KernelError):  # a group that is gone may have left its parents
        remove_cgroup(cgroup)


class Mesh:
    """One generation of a deployment. `close` takes back whatever was done, at any point."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder = folder
        self.run = folder / "run"
        self.built: Built = read_built(folder / "built")
        self.progress = progress
        self._journal = Journal(folder)
        self._cgroups: dict[str, Path] = {}
        self._drivers: dict[str, Driver] = {}
        self.elements: list[tuple[Element, Place, Running]] = []
        self.idle: set[tuple[str, str]] = set()  # services and dataplanes of elements that do nothing any more
        self._apps: list[tuple[Application, subprocess.Popen[bytes]]] = []

    # --- before anything that runs is touched --------------------------------------------------------------------

    def prepare(self) -> None:
        """Everything that can fail without harm: drivers, validation, compilation, the kernel's verifier.

        The kernel's programs are in force after this, for cgroups that are still empty.
        """
        self.run.mkdir(exist_ok=True)
        self._journal.add(supervisor=os.getpid(), born=processes.born(os.getpid()))
        self.progress("Looking for the dataplanes", 0.02)
        for name in sorted({e.dataplane for e in self.built.elements}):
            self.driver(name)
        self._make_cgroups()
        self._validate()
        self._start([e for e in self.built.elements if e.tier == "kernel"], 0.4, 0.5)

    def _make_cgroups(self) -> None:
        """One for each service, if the machine lets us; without one only the kernel's elements cannot be."""
        from m4bpf import KernelError, cgroup_root, make_cgroup

        needed = any(d.needs_cgroup for d in self._drivers.values())
        root = cgroup_root()
        if root is None and not needed:
            return
        group = cgroup_name(self.folder.parent, self.built.mesh) + self.folder.name.removeprefix("generation")
        for number, service in enumerate(sorted(self.built.services)):
            name = f"m4/{group}/{number}"
            self._journal.add(cgroup=str((root or Path("/")) / name))
            try:
                self._cgroups[service] = make_cgroup(name)
            except KernelError as error:
                if needed:
                    raise DeployError(error.message, error.detail) from error
                self._cgroups.clear()
                return

    def _validate(self) -> None:
        elements = self.built.elements
        with ThreadPoolExecutor(max(1, min(len(elements), os.cpu_count() or 1))) as pool:
            jobs = [(e, pool.submit(self.driver(e.dataplane).validate, e, self.place(e).folder)) for e in elements]
            try:
                for done, (element, job) in enumerate(jobs):
                    self.progress(f"Validating {element}", 0.05 + 0.35 * done / len(jobs))
                    job.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def driver(self, dataplane: str) -> Driver:
        """The driver of a dataplane, made once."""
        if dataplane not in self._drivers:
            self._drivers[dataplane] = driver(dataplane, self.run)
        return self._drivers[dataplane]

    def place(self, element: Element) -> Place:
        folder = self.run / f"{element.dataplane}-{sorted(self.built.services).index(element.service)}"
        folder.mkdir(exist_ok=True)
        return Place(folder, self._cgroups.get(element.service))

    # --- in force ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the applications and proxies, and waits until all of them accept connections."""
        processes.check_free(self.built.addresses())
        self._start_applications()
        self._start([e for e in self.built.elements if e.tier != "kernel"], 0.55, 0.7)
        self._wait_ready()

    def _start(self, elements: list[Element], begin: float, end: float) -> None:
        for number, element in enumerate(elements):
            self.progress(f"Starting {element}", begin + (end - begin) * number / len(elements))
            place = self.place(element)
            running = self.driver(element.dataplane).start(element, place)
            self.elements.append((element, place, running))
            self._note(running.process)

    def _start_applications(self) -> None:
        self.progress("Starting the applications", 0.5)
        for each in applications(self.built):
            about = self.built.graph["services"].get(each.service) or {}
            config = {
                "service": each.service,
                "version": each.version,
                "dial": self.built.services[each.service]["dial"],
                "propagates": about.get("propagates", True),
                "context": self.built.context["header"],
                "listen": each.listen,
                "control": each.control,
            }
            command = [sys.executable, "-I", "-S", app.__file__, json.dumps(config)]
            log = self.run / f"{each.control}.log"
            process = processes.spawn(command, cwd=self.run, log=log, cgroup=self._cgroups.get(each.service))
            self._apps.append((each, process))
            self._note(process)

    def _note(self, process: subprocess.Popen[bytes] | None) -> None:
        if process is not None:
            self._journal.add(process=process.pid, born=processes.born(process.pid))

    def _wait_ready(self) -> None:
        expected = {each.listen: (process, str(each), self.run / f"{each.control}.log") for each, process in self._apps}
        for element, place, running in self.elements:
            if running.process is not None:
                log = next(iter(sorted(place.folder.glob("*.log"))), place.folder)
                about = (running.process, str(element), log)
                expected.update({listen["address"]: about for listen in element.wiring["listen"]})
        self.progress("Waiting until everything answers", 0.75)
        processes.wait_ready(expected, self._still_waiting)

    def _still_waiting(self) -> None:
        self.progress("Waiting until everything answers", 0.8)
        for _, _, running in self.elements:
            running.ready()  # raises if it refused what it got: it would never answer

    def adopt(self, built: Built, started: list[tuple[Element, Place, Running]]) -> None:
        """Takes note that what runs is this now, with some elements more. Those that are not in it do nothing."""
        self.elements += started
        elements = {(e.service, e.dataplane): e for e in built.elements}
        self.elements = [(elements.get((e.service, e.dataplane), e), p, r) for e, p, r in self.elements]
        self.idle = {(e.service, e.dataplane) for e, _, _ in self.elements} - elements.keys()
        self.built = built

    def _processes(self) -> list[tuple[str, str, subprocess.Popen[bytes]]]:
        """What each is, and its service."""
        running = [(str(each), each.service, process) for each, process in self._apps]
        return running + [(str(e), e.service, r.process) for e, _, r in self.elements if r.process is not None]

    def dead(self) -> list[str]:
        """What has ended."""
        return [what for what, _, process in self._processes() if process.poll() is not None]

    def status(self) -> dict[str, Any]:
        """What runs: {"mesh", "healthy", "processes": [{"what", "service", "pid", "alive"}], "elements": [{"service",
        "dataplane", "tier", "counters": {site: {name: count}}, "tallies": {state: count}}]}."""
        listed = [{"what": w, "service": s, "pid": p.pid, "alive": p.poll() is None} for w, s, p in self._processes()]
        elements = [
            {
                "service": e.service,
                "dataplane": e.dataplane,
                "tier": e.tier,
                "counters": r.counters(),
                "tallies": r.tallies(),
            }
            for e, _, r in self.elements
            if (e.service, e.dataplane) not in self.idle
        ]
        healthy = all(p["alive"] for p in listed)
        return {"mesh": self.built.mesh, "healthy": healthy, "processes": listed, "elements": elements}

    def top(self) -> dict[str, Any]:
        """What `top.Sample` is made of: the counts of each element that lives, by site and by policy, and denied
        requests; and what is dead."""
        counted = []
        for element, _, running in self.elements:
            if (element.service, element.dataplane) in self.idle:
                continue
            about: dict[str, Any] = {"service": element.service, "dataplane": element.dataplane, "tier": element.tier}
            denied = [asdict(one) for one in running.denied()]
            about |= {"counters": running.counters(), "ended": running.ended(), "denied": denied}
            about |= {"tallies": running.tallies()}
            counted.append((running.process, about))
        # Whoever lives now has lived while it was counted.
        dead = {process.pid: what for what, _, process in self._processes() if process.poll() is not None}
        elements = [about for process, about in counted if process is None or process.pid not in dead]
        return {"mesh": self.built.mesh, "healthy": not dead, "dead": list(dead.values()), "elements": elements}

    def renew(self) -> None:
        """Renews what would run out."""
        for _, _, running in self.elements:
            running.renew()

    def watch(self, on: bool) -> None:
        """Whether somebody looks at denied requests."""
        for _, _, running in self.elements:
            running.watch(on)

    def close(self, *, keep: bool = False) -> None:
        """Stops everything. `keep`: leave the copy of what was built, to start it again."""
        processes.stop([p for _, p in self._apps] + [r.process for _, _, r in self.elements if r.process is not None])
        for _, _, running in self.elements:
            running.close()
        self.elements.clear()
        self._apps.clear()
        sweep(self.folder, keep=keep)


def cgroup_name(state: Path, mesh: str) -> str:
    """How the names of the cgroups of a state folder's generations begin."""
    place = hashlib.sha256(os.fsencode(state)).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', mesh)}-{place}"


def control_sockets(built: Built, folder: Path) -> Mapping[tuple[str, str], Path]:
    """Where the processes of a running generation take orders, by service and version."""
    return {(each.service, each.version): folder / "run" / each.control for each in applications(built)}
