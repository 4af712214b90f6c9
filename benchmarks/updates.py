"""How long a policy edit takes to be in force, on each dataplane, under a steady load that must lose nothing.

A small mesh is deployed; clients keep their connections and send one request after another, or so many in a second,
half of them to be denied with a status that tells which edition of the policies judged them, half to be passed on with
two headers that tell the same. Then the policies are edited again and again. Two times are taken of each edit:

    the whole   from the edit until the last request that was judged by the old policies was sent: reading, checking,
                planning, building, validating, compiling for the kernel, and the swap
    the swap    from when everything is validated and loaded

The goals are about the whole. Edits are deployed by what the language server's command does, in a process that keeps
the workspace as the server does: `prepare` and `put` of `m4c.cli.jobs`, each behind a look at the disk.

Without a rate the clients take all of the machine that they can get, and an edit has to share it with them. With one,
the times are as exact as requests come: two hundredths of a second at a hundred of them.

Usage: python -m benchmarks.updates [--edits N] [--connections N] [--rate N] [--only DATAPLANE]; 1 if a request was
lost, or judged by half a set of policies; a goal that is missed is said, and is no failure.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from m4bpf import enter_cgroup
from m4c.cli import jobs
from m4c.workspace import Workspace
from m4deploy import local
from m4deploy.mesh import Journal
from m4deploy.processes import split_address
from m4deploy.targets import unavailable

from benchmarks.results import machine

BASE = 24000  # the first port
GOALS = {"ebpf": 20.0, "haproxy": 100.0, "envoy": 100.0}  # ms, of the swap
STATUS = 410  # of edition 0
PAUSE = 0.3  # seconds between edits
GRAPH = "services:\n  web: {entry: true, origin: false}\n  cart: {origin: false}\ncalls:\n  - [web, cart]\n"
DENY = 'policy gone (HttpRequest r) on web -> cart when r.header["x-deny"] == "yes" {{ r.DropRequest({status}); }}\n'
TELL = 'policy tell (HttpRequest r) on web -> cart {{ r.SetHeader("x-one", "{n}"); r.SetHeader("x-two", "{n}"); }}\n'


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: when it was sent and answered (seconds of the machine's monotonic clock), and which edition judged
    it; None if it passed and nothing tells."""

    sent: float
    answered: float
    edition: int | None
    split: bool


@dataclass(frozen=True, slots=True)
class Result:
    """Of one dataplane; times in milliseconds, one an edit."""

    dataplane: str
    requests: int
    lost: int
    split: int
    whole: list[float]
    swap: list[float]

    @property
    def good(self) -> bool:
        return not self.lost and not self.split


def main(argv: Sequence[str] | None = None) -> int:
    """Measures, and prints a table."""
    parser = argparse.ArgumentParser(prog="updates", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--edits", type=int, default=20)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--rate", type=float, help="requests in a second, of all connections together")
    parser.add_argument("--only", choices=sorted(GOALS))
    parser.add_argument("--load", nargs=2, metavar=("ADDRESS", "CGROUP"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.load:
        return _send(args.load[0], args.load[1], args.connections, args.rate)
    chosen = [args.only] if args.only else list(GOALS)
    lacking = unavailable(chosen)
    about = machine()
    print(f"{about['cpu']}, {about['cores']} cores, load {about['load']}, {about['system']}, Python {about['python']}")
    for name in lacking:
        print(f"without {name}: {lacking[name]}")
    results = [measure(name, args.edits, args.connections, args.rate) for name in chosen if name not in lacking]
    print(table(results, args.connections, args.rate))
    return 0 if results and all(r.good for r in results) else 1


def measure(dataplane: str, edits: int, connections: int, rate: float | None = None) -> Result:
    """Deploys, loads, edits."""
    with tempfile.TemporaryDirectory(prefix="m4-updates-") as temporary:
        folder, state = Path(temporary, "mesh"), Path(temporary, "state")
        folder.mkdir()
        (folder / "graph.yaml").write_text(GRAPH)
        (folder / "mesh.m4").write_text(f'mesh edited {{ graph "graph.yaml"; dataplanes {dataplane}; }}\n')
        try:
            _edit(folder, dataplane, 0)
            workspace = Workspace([folder])
            _deploy(workspace, state)
            deployment = local.current(state)
            if deployment is None:
                raise RuntimeError("nothing is deployed")
            address = deployment.built.services["web"]["dial"]["cart"][0]
            groups = [entry["cgroup"] for entry in Journal(deployment.folder).entries("cgroup")]
            group = groups[sorted(deployment.built.services).index("web")] if groups else ""
            command = [sys.executable, "-m", "benchmarks.updates", "--connections", str(connections), "--load"]
            if rate is not None:
                command[-1:-1] = ["--rate", str(rate)]
            with subprocess.Popen(
                [*command, address, group], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            ) as load:
                if load.stdout is None or not load.stdout.readline():
                    raise RuntimeError("the load did not begin")
                begun: list[float] = []
                swapped: list[float] = []

                def told(what: str, share: float) -> None:
                    if what == "Swapping":
                        swapped.append(time.monotonic())

                for number in range(1, edits + 1):
                    begun.append(time.monotonic())
                    _edit(folder, dataplane, number)
                    _deploy(workspace, state, told)
                    time.sleep(PAUSE)
                said: dict[str, Any] = json.loads(load.communicate()[0])
        finally:
            local.undeploy(state)
    asked = [Asked(*each) for each in said["asked"]]
    last = {n: max((a.sent for a in asked if a.edition == n), default=0.0) for n in range(edits)}
    first = {n: min(a.answered for a in asked if a.edition == n) for n in range(1, edits + 1)}
    # In force: no request that is sent from then on is judged by the old policies, and one was judged by the new ones.
    enforced = [max(last[n], first[n + 1]) for n in range(edits)]
    return Result(
        dataplane,
        len(asked),
        len(said["lost"]),
        sum(a.split for a in asked),
        [1000 * (t - b) for t, b in zip(enforced, begun, strict=True)],
        [1000 * (t - s) for t, s in zip(enforced, swapped, strict=True)],
    )


def _edit(folder: Path, dataplane: str, number: int) -> None:
    """The policies of one edition."""
    text = DENY.format(status=STATUS + number) + (TELL.format(n=number) if dataplane != "ebpf" else "")
    (folder / "policies.m4").write_text(text)


def _deploy(workspace: Workspace, state: Path, told: Callable[[str, float], None] = lambda what, share: None) -> None:
    """As the language server does it: two jobs on its copy of the workspace."""
    workspace.refresh()
    prepared = jobs.prepare(workspace, "edited", "local", base_port=BASE)
    workspace.refresh()
    result = jobs.put(replace(prepared, state=state), told)
    if not result.ok:
        raise RuntimeError(f"{result.message}\n{result.text}")


def _send(address: str, cgroup: str, connections: int, rate: float | None) -> int:
    """The load: until the standard input ends; then what came of it, as JSON."""
    if cgroup:
        enter_cgroup(Path(cgroup), 0)
    ended = threading.Event()
    asked: list[tuple[float, float, int | None, bool]] = []
    lost: list[str] = []

    def one() -> None:
        connection = http.client.HTTPConnection(*split_address(address), timeout=30)
        deny = False
        while not ended.wait(0 if rate is None else connections / rate):
            deny = not deny
            begin = time.monotonic()
            try:
                connection.request("GET", "/", headers={"x-deny": "yes"} if deny else {})
                reply = connection.getresponse()
                body = reply.read()
            except (OSError, http.client.HTTPException) as error:
                lost.append(f"{type(error).__name__}: {error}")
                connection.close()
                continue
            end = time.monotonic()
            if deny:
                asked.append((begin, end, reply.status - STATUS, False))
            elif reply.status != 200:
                lost.append(f"status {reply.status}")
            else:
                headers = dict(json.loads(body)["request"]["headers"])
                editions = [headers.get("x-one"), headers.get("x-two")]
                asked.append((begin, end, int(editions[0]) if editions[0] else None, editions[0] != editions[1]))

    threads = [threading.Thread(target=one) for _ in range(connections)]
    for thread in threads:
        thread.start()
    while len(asked) < 10 * connections:
        time.sleep(0.01)
    print("ready", flush=True)
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    json.dump({"asked": asked, "lost": lost}, sys.stdout)
    return 0


def table(results: Sequence[Result], connections: int, rate: float | None = None) -> str:
    """What was measured, as Markdown."""
    how = "" if rate is None else f", {rate:g} requests in a second"
    lines = [
        f"\nEdits under load from {connections} kept connections{how}; milliseconds, median (most)\n",
        "| dataplane | edits | requests | lost | judged by half a set | edit to enforced | swap to enforced | goal | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in results:
        whole, swap = (f"{statistics.median(v):.1f} ({max(v):.1f})" for v in (r.whole, r.swap))
        met = "met" if statistics.median(r.whole) <= GOALS[r.dataplane] else "missed"
        cells = (r.dataplane, len(r.swap), r.requests, r.lost, r.split, whole, swap, f"{GOALS[r.dataplane]:.0f}", met)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
