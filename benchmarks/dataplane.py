"""Measures what stands between two services: nothing, a program in the kernel, one proxy, a pair; and an application.

All of it is built by `m4` from policies beside this file, and asked whether it enforces them before it is measured.
Everything is up at the same time; each round sends load through every arm, in an order that the seed draws, and holds
"nothing" twice: a ratio is claimed only where nothing against nothing is near 1. Goals that are missed are said, and
are no failure; an arm that does not enforce, or loses requests, is one.

Usage: python -m benchmarks.dataplane [--rounds N] [--seconds S] …
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from m4bpf import KernelError
from m4deploy.processes import split_address

from benchmarks import dataplane_table as table
from benchmarks.dataplane_load import Sample, load
from benchmarks.dataplane_stand import (
    BODY,
    PORTS,
    Refused,
    Standing,
    build,
    cgroups,
    compile_app,
    locked,
    root,
    stand,
    write_example,
    write_hop,
)
from benchmarks.dataplane_stand import write as write_mesh
from benchmarks.programs import MAP_TYPE_PROG_ARRAY, at_callee, let_pass, maps_of
from benchmarks.results import machine

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples/online-boutique"
BASE = 21000  # the first port
CONNECTIONS = (1, 16, 64)
GROUP = "x-user-group"
CONTEXT = "m4-ctx"
NOTHING, CONTROL = "nothing", "control"
FIXED_SHARE = 0.3  # of what nothing can do at 16 connections: the fixed rate
FIXED_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class Arm:
    """What stands on the measured hop. `groups`: user groups that must be refused, with the status. `proven`: both ends
    must prove who they are. `reads`: what arrives is read at the callee too, as far as that was followed. `passes`:
    once it was seen to enforce, it lets everything pass."""

    key: str
    name: str
    dataplane: str
    policies: tuple[str, ...] = ()
    groups: Mapping[str, int] = field(default_factory=dict)
    proven: bool = False
    reads: bool = False
    passes: bool = False


CALLER = {"blocked": 451}
BOTH = CALLER | {"gone": 410}
ARMS = (
    Arm(NOTHING, "nothing", "envoy"),
    Arm(CONTROL, "nothing again (control)", "envoy"),
    Arm("kernel", "eBPF at the caller", "ebpf", ("caller", "counted"), CALLER),
    Arm("kernel-floor", "eBPF that lets all pass", "ebpf", ("caller", "counted"), CALLER, passes=True),
    Arm("kernel-both", "eBPF at both ends", "ebpf", ("caller", "counted", "callee"), BOTH),
    Arm("kernel-least", "the least that both ends take", "ebpf", ("caller", "counted"), CALLER, reads=True),
    Arm("haproxy", "one HAProxy", "haproxy", ("caller",), CALLER),
    Arm("envoy", "one Envoy", "envoy", ("caller",), CALLER),
    Arm("envoy-pair", "an Envoy pair", "envoy", ("caller", "callee"), BOTH),
    Arm("envoy-mtls", "an Envoy pair with mTLS", "envoy", ("caller", "callee", "identity"), BOTH, True),
)
NAMES = {arm.key: arm.name for arm in ARMS}
INSTEAD = {"kernel-both": "kernel-least"}  # of an arm that cannot be: what tells how it would fare at best
WHY = "docs/kernel.md, “At the callee”"
PLAN, EVERYWHERE = "plan", "everywhere"
APPLICATION = {
    NOTHING: "nothing",
    CONTROL: "nothing again (control)",
    PLAN: "xMesh's plan",
    EVERYWHERE: "Envoy beside every service",
}


def hop_goals() -> list[table.Goal]:
    """Of the measured hop, at one connection for the 99th percentile, at 16 for the rest."""
    control = (NOTHING, CONTROL)
    return [
        table.Goal("kernel at the caller: throughput", "kernel", NOTHING, table.rate, True, 0.9, control),
        table.Goal("kernel at both ends: throughput", "kernel-both", NOTHING, table.rate, True, 0.85, control),
        table.Goal("kernel at the caller: CPU per request", "kernel", NOTHING, table.cpu, False, 1.15, control),
        table.Goal("kernel at both ends: CPU per request", "kernel-both", NOTHING, table.cpu, False, 1.25, control),
        table.Goal("kernel against an Envoy pair: throughput", "kernel", "envoy-pair", table.rate, True, 8, control),
    ]


def tail_goal(where: str) -> table.Goal:
    return table.Goal(f"kernel p99, {where}", "kernel", NOTHING, table.p99, False, 1.3, (NOTHING, CONTROL))


def application_goals(connections: int) -> list[table.Goal]:
    control = (NOTHING, CONTROL)
    at = f"plan against Envoy everywhere, {connections} connection{'s' if connections > 1 else ''}"
    return [
        table.Goal(f"{at}: p99", PLAN, EVERYWHERE, table.p99, False, 0.4, control),
        table.Goal(f"{at}: CPU", PLAN, EVERYWHERE, table.cpu, False, 0.3, control),
    ]


def ask(mesh: Standing, headers: Mapping[str, str]) -> int:
    """The status of one request, sent from inside the caller's cgroup as the load is."""
    with entered(mesh.caller):
        connection = http.client.HTTPConnection(*split_address(mesh.address), timeout=30)
        connection.request("POST", "/", b"b" * BODY, dict(headers))
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status


def answers_plainly(address: str) -> bool:
    """Whether a request without TLS gets any answer."""
    connection = http.client.HTTPConnection(*split_address(address), timeout=30)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    except (ConnectionError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


@contextmanager
def entered(group: Path) -> Iterator[None]:
    """This process in a cgroup, and back."""
    home = _own_group()
    (group / "cgroup.procs").write_text("0")
    try:
        yield
    finally:
        (home / "cgroup.procs").write_text("0")


def _own_group() -> Path:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return root() / next(line[3:] for line in lines if line.startswith("0::")).lstrip("/")


def check(arm: Arm, mesh: Standing) -> str:
    """That it enforces what it is measured for; returns the context of requests that may pass. Raises Refused."""
    if not arm.policies:
        return "0001"
    if arm.proven and answers_plainly(mesh.remote):
        raise Refused(f"failed: {arm.name} takes plain text from anybody")
    tags = {f"{tag:04x}": ask(mesh, {CONTEXT: f"{tag:04x}"}) for tag in range(4)}
    if 403 not in tags.values():
        raise Refused(f"failed: {arm.name} refuses no context: {tags}")
    for tag in sorted((t for t, status in tags.items() if status == 200), key="0000".__eq__):
        found = {group: ask(mesh, {CONTEXT: tag, GROUP: group}) for group in arm.groups}
        if found == dict(arm.groups):
            return tag
    raise Refused(f"failed: {arm.name} does not refuse the groups {dict(arm.groups)} in any context: {tags}")


class Run:
    """One run: its options, its temporary folder, what was refused, and what came out."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args = args
        self.folder = folder
        self.chosen = random.Random(args.seed)
        self.app = compile_app(folder)
        self.body = folder / "body"
        self.body.write_bytes(b"b" * BODY)
        self.group = Path(f"m4-bench-{os.getpid()}")
        self.base: int = args.base_port
        self.refused: dict[str, str] = {}
        self.memory: dict[str, float] = {}
        self.verdicts: list[table.Verdict] = []
        self.sections: list[tuple[str, tuple[str, ...], list[list[str]]]] = []
        self.raw: dict[str, dict[str, list[Any]]] = {}

    def ports(self) -> int:
        self.base += PORTS
        return self.base - PORTS

    def rounds(self, title: str, meshes: Mapping[str, Standing], **how: Any) -> dict[str, list[Sample]]:
        """Sends load through all, round by round; `headers` of `how` are by arm."""
        headers: Mapping[str, Sequence[str]] = how.pop("headers")
        out: dict[str, list[Sample]] = {key: [] for key in meshes}
        for number in range(self.args.rounds):
            _say(f"{title}: round {number + 1} of {self.args.rounds}")
            for key in self.chosen.sample(list(meshes), len(meshes)):
                out[key].append(load(meshes[key], self.folder, headers=headers[key], **how))
        for key, mesh in meshes.items():
            self.memory[key] = mesh.memory()
            lost = sum(s.failed for s in out[key])
            if lost:
                self.refused[key] = f"failed: {lost} requests were lost or refused"
        self.raw[title] = {key: [asdict(s) for s in samples] for key, samples in out.items()}
        return out

    def show(self, title: str, rounds: table.Rounds, names: Mapping[str, str]) -> None:
        self.sections.append((title, table.HEAD, list(table.rows(rounds, names, self.memory, NOTHING))))

    # --- the measured hop ----------------------------------------------------------------------------------------

    def hop(self) -> None:
        with ExitStack() as stack:
            meshes: dict[str, Standing] = {}
            headers: dict[str, list[str]] = {}
            for arm in ARMS:
                if self.args.only and arm.key not in (*self.args.only, NOTHING, CONTROL):
                    continue
                try:
                    program = self.folder / arm.key
                    write_hop(program, arm.dataplane, arm.policies)
                    built = build(program, self.folder / f"{arm.key}-built", self.ports())
                    at = self.group / arm.key
                    judges = maps_of(MAP_TYPE_PROG_ARRAY)
                    up = stand(built, self.app, at, self.folder / f"{arm.key}-run", caller="client", callee="server")
                    meshes[arm.key] = stack.enter_context(up)
                    if arm.reads:
                        before = locked()
                        stack.enter_context(at_callee(built, meshes[arm.key], self.folder / f"{arm.key}-callee"))
                        both = meshes[arm.key].kernel_bytes + locked() - before
                        meshes[arm.key] = replace(meshes[arm.key], kernel_bytes=both)
                    headers[arm.key] = [f"{CONTEXT}: {check(arm, meshes[arm.key])}", f"{GROUP}: beta"]
                    if arm.passes:
                        let_pass((maps_of(MAP_TYPE_PROG_ARRAY) - judges).pop())
                        if (status := ask(meshes[arm.key], {GROUP: next(iter(arm.groups))})) != 200:
                            raise Refused(f"failed: {arm.name} answers {status}")
                except (Refused, KernelError) as refused:
                    self.refused[arm.key] = str(refused)
                    meshes.pop(arm.key, None)
            if self._comparable(meshes, NOTHING):
                self._measure_hop(meshes, headers)

    def _comparable(self, meshes: Mapping[str, Standing], refused: str) -> bool:
        """Whether there is anything to compare with; if not, that is the finding. `refused`: its name there."""
        if NOTHING not in meshes:
            why = self.refused[refused].removeprefix("failed: ")
            self.refused[refused] = f"failed: without it there is nothing to compare with: {why}"
        return NOTHING in meshes

    def _measure_hop(self, meshes: Mapping[str, Standing], headers: Mapping[str, Sequence[str]]) -> None:
        args = self.args
        how = {"headers": headers, "seconds": args.seconds, "body": self.body}
        by_connections: dict[int, dict[str, list[Sample]]] = {}
        for n in args.connections:
            title = f"{n} connection{'s' if n > 1 else ''}, as fast as answers come"
            by_connections[n] = self.rounds(title, meshes, connections=n, **how)
            self.show(title, by_connections[n], NAMES)
        if 16 in by_connections:
            self.verdicts += [self._judged(goal, by_connections[16]) for goal in hop_goals()]
        if 1 in by_connections:
            self.verdicts.append(self._judged(tail_goal("one connection in a closed loop"), by_connections[1]))
        if 16 in by_connections:
            self._fixed_rate(meshes, by_connections[16], how)
        if args.stalls:
            self._stalls({k: m for k, m in meshes.items() if k in (NOTHING, CONTROL, "kernel")}, headers)

    def _fixed_rate(self, meshes: Mapping[str, Standing], rounds: table.Rounds, how: dict[str, Any]) -> None:
        rate = FIXED_SHARE * statistics.median(s.rate for s in rounds[NOTHING])
        able = {k: m for k, m in meshes.items() if statistics.median(s.rate for s in rounds[k]) > 1.5 * rate}
        title = f"{FIXED_CONNECTIONS} connections, {rate:,.0f} requests/s"
        found = self.rounds(title, able, connections=FIXED_CONNECTIONS, rate=rate, **how)
        self.show(title, found, NAMES)
        self.verdicts.append(self._judged(tail_goal("at a fixed rate below saturation"), found))

    def _stalls(self, meshes: Mapping[str, Standing], headers: Mapping[str, Sequence[str]]) -> None:
        """Requests one after the other on one connection, in turns of a tenth each."""
        total = self.args.stalls
        done = dict.fromkeys(meshes, 0)
        stalled = dict.fromkeys(meshes, 0)
        slowest = dict.fromkeys(meshes, 0.0)
        for turn in range(10):
            _say(f"stalls: turn {turn + 1} of 10")
            for key in self.chosen.sample(list(meshes), len(meshes)):
                found = load(meshes[key], self.folder, 1, headers[key], requests=max(1, total // 10), body=self.body)
                done[key] += found.requests
                stalled[key] += found.stalled
                slowest[key] = max(slowest[key], found.slowest)
        head = ("arm", "requests", "over 20 ms", "slowest ms")
        lines = [[NAMES[k], f"{done[k]:,}", str(stalled[k]), f"{slowest[k] / 1000:.1f}"] for k in meshes]
        self.sections.append(("stalls on one quiet connection", head, lines))
        self.raw["stalls"] = {key: [done[key], stalled[key], slowest[key]] for key in meshes}
        goal = f"stalls over 20 ms of {total:,}"
        if "kernel" not in meshes:
            self.verdicts.append(table.not_measured(goal, "0", self.refused.get("kernel", "it did not run")))
            return
        without = f"{stalled[NOTHING]} and {stalled[CONTROL]} with nothing in between"
        quiet = not (stalled[NOTHING] or stalled[CONTROL])
        verdict = "holds" if not stalled["kernel"] else "missed" if quiet else "not claimed"
        self.verdicts.append(table.Verdict(goal, "0", str(stalled["kernel"]), verdict, without))

    def _judged(self, goal: table.Goal, rounds: table.Rounds) -> table.Verdict:
        for key in (goal.arm, goal.base):
            if key in self.refused:
                if rounds.get(INSTEAD.get(key, "")):
                    return table.not_there(table.judge(replace(goal, arm=INSTEAD[key]), rounds), WHY)
                return table.not_measured(goal.what, table.said(goal), self.refused[key])
        return table.judge(goal, rounds)

    # --- a whole application -------------------------------------------------------------------------------------

    def application(self) -> None:
        """Every request to the frontend makes all services call all of those that they call."""
        writers: dict[str, Callable[[Path], None]] = {
            NOTHING: lambda to: write_mesh(to, EXAMPLE / "boutique.graph.yaml", "envoy", ()),
            CONTROL: lambda to: write_mesh(to, EXAMPLE / "boutique.graph.yaml", "envoy", ()),
            PLAN: lambda to: write_example(to, EXAMPLE, None),
            EVERYWHERE: lambda to: write_example(to, EXAMPLE, "envoy", ("everywhere",)),
        }
        self.memory.clear()
        with ExitStack() as stack:
            meshes: dict[str, Standing] = {}
            for key, write in writers.items():
                name = f"application-{key}"
                try:
                    write(self.folder / name)
                    built = build(self.folder / name, self.folder / f"{name}-built", self.ports())
                    up = stand(built, self.app, self.group / name, self.folder / f"{name}-run", callee="frontend")
                    meshes[key] = stack.enter_context(up)
                    if (status := ask(meshes[key], {GROUP: "beta"})) != 200:
                        raise Refused(f"failed: {APPLICATION[key]} answers {status}")
                except Refused as refused:
                    self.refused[name] = str(refused)
                    meshes.pop(key, None)
            for n in self.args.application if self._comparable(meshes, f"application-{NOTHING}") else ():
                title = f"Online Boutique end to end, {n} connection{'s' if n > 1 else ''}"
                headers = {key: [f"{GROUP}: beta"] for key in meshes}
                found = self.rounds(title, meshes, connections=n, headers=headers, seconds=self.args.seconds)
                self.show(title, found, APPLICATION)
                self.verdicts += [table.judge(goal, found) for goal in application_goals(n)]

    # --- what came out -------------------------------------------------------------------------------------------

    def report(self, render: Any = table.text) -> str:
        parts = []
        for title, head, lines in self.sections:
            parts.append(f"{title}\n\n{render(head, lines)}")
        parts.append(f"goals\n\n{render(table.GOALS_HEAD, table.goal_rows(self.verdicts))}")
        if self.refused:
            parts.append("\n".join(f"{NAMES.get(k, k)}: {why}" for k, why in self.refused.items()))
        return "\n\n".join(parts)


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dataplane", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="each through every arm (default: 9)")
    parser.add_argument("--seconds", type=float, default=3, help="of load for an arm in a round (default: 3)")
    parser.add_argument("--connections", type=numbers, default=CONNECTIONS, help="default: 1,16,64")
    parser.add_argument(
        "--application", type=numbers, default=(1, 16), help="its connections (default: 1,16; '' for none)"
    )
    parser.add_argument("--stalls", type=int, default=1_000_000, help="requests on a quiet connection; 0 for none")
    parser.add_argument("--only", type=str, nargs="+", choices=list(NAMES), help="arms beside the two of nothing")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--base-port", type=int, default=BASE)
    parser.add_argument("--out", type=Path, default=ROOT / "out/bench/dataplane.json", help="where the JSON goes")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # takes all of it away
    where = machine()
    with tempfile.TemporaryDirectory(prefix="m4-bench-") as name:
        run = Run(args, Path(name))
        with cgroups(run.group):
            if args.connections:
                run.hop()
            if args.application:
                run.application()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    out = {"machine": where, "rounds": args.rounds, "seconds": args.seconds, "samples": run.raw}
    out |= {"goals": [asdict(v) for v in run.verdicts], "refused": run.refused}
    args.out.write_text(json.dumps(out, indent=1) + "\n")
    print(
        f"{where['cpu']}, {where['cores']} cores (load {where['load']} before), {where['system']}; "
        f"{args.rounds} rounds of {args.seconds:g} s; bodies of {BODY} bytes; × is the ratio to nothing in the same "
        "round\n"
    )
    print(run.report())
    return 1 if any(why.startswith("failed") for why in run.refused.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
