"""Puts small meshes up for the benchmark of the dataplanes: built by `m4`, started by the drivers of `m4 deploy`, with
applications in C, each mesh in cgroups of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from m4bpf import KernelError, cgroup_root, make_cgroup, remove_cgroup
from m4deploy import processes
from m4deploy.built import Built, Element, read_built
from m4deploy.drivers import driver
from m4deploy.drivers.base import Driver, Place
from m4deploy.errors import DeployError

HERE = Path(__file__).resolve().parent
MESHES = HERE / "dataplane-meshes"
BODY = 1024  # bytes of a request's body, and of an answer's
PORTS = 200  # set aside for one mesh
_LOAD = "(load)"  # no name of a service holds parentheses

Expected = tuple[subprocess.Popen[bytes], str, Path]  # a process, what it is, and its log


class Refused(Exception):
    """Why something cannot be measured here."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A mesh that is up. `caller`: the cgroup in which whoever sends the load must be; `callee`: that of the service to
    which it goes; `group`: all that belongs to it, the load included."""

    group: Path
    caller: Path
    callee: Path
    address: str
    pids: Mapping[str, int]  # of the dataplanes' processes, by what they are
    kernel_bytes: int  # locked by the kernel's programs and maps
    remote: str  # where what stands beside the caller sends requests

    def cpu(self) -> int:
        """Microseconds of the processor that all of it has used."""
        said = dict(line.split() for line in (self.group / "cpu.stat").read_text().splitlines())
        return int(said["usage_usec"])

    def memory(self) -> float:
        """MiB of what stands between the applications: resident memory of processes, locked memory of programs."""
        return self.kernel_bytes / 2**20 + sum(_resident(pid) for pid in self.pids.values())


def _resident(pid: int) -> float:
    """MiB of a process and those that it has started: a master with its workers."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    own = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
    started = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(_resident(int(child)) for child in started)


def write_hop(folder: Path, dataplane: str, policies: Iterable[str]) -> None:
    """The program of the measured hop for one dataplane, out of the policies beside its graph."""
    write(folder, MESHES / "hop.graph.yaml", dataplane, policies)


def write(folder: Path, graph: Path, dataplane: str, policies: Iterable[str]) -> None:
    """A program for a graph, for one dataplane."""
    folder.mkdir(parents=True)
    shutil.copy(graph, folder)
    (folder / "mesh.m4").write_text(f'mesh measured {{ graph "{graph.name}"; dataplanes {dataplane}; }}\n')
    for name in policies:
        shutil.copy(MESHES / f"{name}.m4", folder)


def write_example(folder: Path, example: Path, dataplane: str | None, policies: Iterable[str] = ()) -> None:
    """The program of an example, for another dataplane (None: for its own), with more policies."""
    shutil.copytree(example, folder)
    for name in policies:
        shutil.copy(MESHES / f"{name}.m4", folder)
    if dataplane is None:
        return
    for file in folder.glob("*.m4"):
        text = file.read_text("utf-8")
        file.write_text(re.sub(r"(?m)^(\s*)dataplanes [^;]*;", rf"\1dataplanes {dataplane};", text), "utf-8")


def build(program: Path, out: Path, base_port: int) -> Built:
    """What `m4 build` makes of it. Raises Refused with what the compiler says."""
    m4 = Path(sys.executable).with_name("m4")
    command = [str(m4), "build", str(program), "-o", str(out), "--base-port", str(base_port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"})
    if done.returncode:
        raise Refused(_first_error(m4, program) or done.stderr.strip())
    return read_built(out)


def _first_error(m4: Path, program: Path) -> str | None:
    command = [str(m4), "check", "--format", "json", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)["diagnostics"] if done.stdout else []
    return next((f"{d['code']}: {d['message']}" for d in found if d["severity"] == "error"), None)


def compile_app(folder: Path) -> Path:
    """The applications' program. Raises Refused without a C compiler."""
    compiler = next((found for name in ("cc", "gcc", "clang", "clang-14") if (found := shutil.which(name))), None)
    if compiler is None:
        raise Refused("there is no C compiler for the application")
    out = folder / "app"
    command = [compiler, "-O2", "-pthread", str(HERE / "app.c"), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"the application does not compile: {done.stderr.strip()[:300]}")
    return out


@contextmanager
def cgroups(name: Path) -> Iterator[Path]:
    """A group, as long as it is used: the processor's time is counted by group. Raises Refused where there are none."""
    try:
        group = make_cgroup(str(name))
    except KernelError as error:
        raise Refused(str(error)) from error
    try:
        yield group
    finally:
        remove_cgroup(group)


@contextmanager
def stand(
    built: Built, app: Path, group: Path, folder: Path, *, callee: str, caller: str | None = None
) -> Iterator[Standing]:
    """Starts the applications and elements of a built mesh.

    The load comes from the service `caller`, of which and of whose callee alone something is started then, or from
    outside; it goes to `callee`. Raises Refused.
    """
    chosen = sorted(built.services if caller is None else {caller, callee})
    folder.mkdir(parents=True)
    with ExitStack() as stack:
        stack.enter_context(cgroups(group))
        places: dict[str, Place] = {}
        for number, service in enumerate([*chosen, _LOAD]):
            inside = stack.enter_context(cgroups(group / str(number)))
            places[service] = Place(folder / str(number), inside)
            places[service].folder.mkdir()
        expected: dict[str, Expected] = {}
        try:
            before = locked()
            running = _start_elements([e for e in built.elements if e.service in chosen], places, stack, expected)
            taken = locked() - before
            for service in chosen:
                expected |= _start_apps(built, service, app, places[service], stack)
            processes.wait_ready(expected, lambda: None)
        except DeployError as error:
            raise Refused(str(error)) from error
        address = built.services[callee]["entry"][0] if caller is None else built.services[caller]["dial"][callee][0]
        remote = address if caller is None else built.services[caller]["remote"][callee][0]["address"]
        at = root() / group
        sender, receiver = (at / places[service].folder.name for service in (caller or _LOAD, callee))
        yield Standing(at, sender, receiver, address, running, taken, remote)


def _start_elements(
    elements: Iterable[Element], places: Mapping[str, Place], stack: ExitStack, expected: dict[str, Expected]
) -> dict[str, int]:
    """Starts them, the kernel's first; returns the processes by what they are."""
    drivers: dict[str, Driver] = {}
    pids: dict[str, int] = {}
    for element in sorted(elements, key=lambda e: e.tier != "kernel"):
        place = places[element.service]
        of = drivers.setdefault(element.dataplane, driver(element.dataplane, place.folder.parent))
        of.validate(element, place.folder)
        running = of.start(element, place)
        stack.callback(running.close)
        if running.process is not None:
            pids[str(element)] = running.process.pid
            log = next(iter(place.folder.glob("*.log")), place.folder)
            about = (running.process, str(element), log)
            expected.update({listen["address"]: about for listen in element.wiring["listen"]})
    return pids


def _start_apps(built: Built, service: str, app: Path, place: Place, stack: ExitStack) -> dict[str, Expected]:
    wiring = built.services[service]
    callees = [",".join(addresses) for addresses in wiring["dial"].values()]
    started: dict[str, Expected] = {}
    for version, listen in wiring["app"].items():
        log = place.folder / f"app{version}.log"
        command = [str(app), listen, str(BODY), *callees]
        process = processes.spawn(command, cwd=place.folder, log=log, cgroup=place.cgroup)
        stack.callback(processes.stop, [process])
        started[listen] = (process, f"the application {service}", log)
    return started


def root() -> Path:
    """Of the cgroups. Raises Refused."""
    found = cgroup_root()
    if found is None:
        raise Refused("no cgroup version 2 hierarchy is mounted")
    return found


def locked() -> int:
    """Bytes that the kernel has locked for the programs and maps that this process holds."""
    total, seen = 0, set()
    for info in Path("/proc/self/fdinfo").iterdir():
        try:
            said = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        except OSError:
            continue
        name = next((f"{key}{said[key]}" for key in ("map_id", "prog_id") if key in said), None)
        if name is not None and name not in seen:
            seen.add(name)
            total += int(said.get("memlock", "0"))
    return total
