"""A deployment that is killed at the end of one of its steps, and the next run: what each leaves."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import m4bpf
from m4deploy import local, steps
from m4deploy.errors import DeployError
from m4deploy.mesh import cgroup_name
from m4deploy.processes import born

from tests.killed.shop import WORKING, Shop, wait

OTHER = 410  # what a request gets after the edit
SAYS = {WORKING: "the old mesh", OTHER: "the new mesh", None: "nothing"}
EDIT, START = "an edit", "a new start"


@dataclass(frozen=True, slots=True)
class Point:
    """Which deployment is killed when; `left`: what is in force then, by what a request gets."""

    kind: str
    at: str
    left: int | None

    @property
    def late(self) -> bool:
        """The command may have been told that all is well, and sees that the supervisor is dead only later."""
        return self.at == "supervisor:settle"


POINTS = (
    Point(EDIT, "command:copy", WORKING),
    Point(EDIT, "command:ask", WORKING),
    Point(EDIT, "command:confirm", OTHER),
    Point(EDIT, "supervisor:prepare", None),
    Point(EDIT, "supervisor:validate", None),
    Point(EDIT, "supervisor:load", None),
    Point(EDIT, "supervisor:swap", None),
    Point(EDIT, "supervisor:verify", None),
    Point(EDIT, "supervisor:confirm", None),
    Point(EDIT, "supervisor:commit", None),
    Point(EDIT, "supervisor:settle", None),
    Point(START, "command:copy", WORKING),
    Point(START, "command:confirm", OTHER),
    Point(START, "supervisor:prepare", WORKING),
    Point(START, "supervisor:yield", None),
    Point(START, "supervisor:start", None),
    Point(START, "supervisor:confirm", None),
    Point(START, "supervisor:commit", None),
)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of one: what requests got before the next run and behind it, and what is wrong; empty if nothing."""

    point: Point
    left: int | None
    then: int | None
    wrong: tuple[str, ...]


def cgroups_of(state: Path) -> list[Path]:
    """The cgroups of the deployments of a state folder, one a generation."""
    root = m4bpf.cgroup_root()
    return [] if root is None else list((root / "m4").glob(f"{cgroup_name(state, 'shop')}*"))


def attempt(shop: Shop, point: Point, base_port: int) -> Found:
    """Deploys, edits, kills the next deployment, and deploys again. `base_port`: of a new start."""
    wrong = []
    shop.renew()
    code, _, err = shop.deploy()
    before = _pids(shop)
    if code or not before or shop.answer() != WORKING:
        raise RuntimeError(f"it cannot be deployed at all: {err}")

    shop.change("policies.m4", str(WORKING), str(OTHER))
    base = str(base_port if point.kind == START else shop.base)
    process = shop.start("deploy", "--base-port", base, env={steps.KILL_AT: point.at})
    said = process.communicate(timeout=600)[1]
    expected = {-signal.SIGKILL} if point.at.startswith("command:") else {1}
    if process.returncode not in expected | ({0} if point.late else set()) or "Traceback" in said:
        wrong.append(f"the command ended with {process.returncode}: {said}")

    # The supervisor sees that nobody waits, and takes back what it did; or it is dead, and all that it held with it.
    wait(lambda: _now(shop, before) == point.left)
    left = _now(shop, before)
    if left != point.left:
        wrong.append(f"then there was {_named(left)}, not {_named(point.left)}")
    if point.left is None and not point.late and "deploy again" not in said:
        wrong.append(f"the command does not say what to do: {said}")
    if left == WORKING and _pids(shop) != before:
        wrong.append("the processes of the old mesh are others")

    code, _, err = shop.deploy("--base-port", base)
    then = _now(shop, [])
    if code or then != OTHER:
        wrong.append(f"the next run ended with {code}, and then there was {_named(then)}: {err}")
    return Found(point, left, then, (*wrong, *_remains(shop)))


def _named(answer: int | None) -> str:
    return SAYS.get(answer, f"something that answers {answer}")


def _status(shop: Shop) -> dict[str, Any] | None:
    return local.status(shop.state)


def _pids(shop: Shop) -> list[int]:
    found = _status(shop)
    return [p["pid"] for p in found["processes"]] if found else []


def _now(shop: Shop, before: list[int]) -> int | None:
    """What a request gets; None if nothing is deployed, and nothing that ran before lives."""
    if local.current(shop.state) is None:
        return -1 if any(born(pid) for pid in before) else None
    try:
        return shop.answer() if _status(shop) is not None else -1
    except DeployError:  # its supervisor is on its way out, and does not answer any more
        return -1


def _remains(shop: Shop) -> list[str]:
    """What a run must not leave."""
    wrong = []
    code, out, _ = shop.m4("status")
    if code or "healthy" not in out or "NOT" in out:
        wrong.append(f"m4 status ends with {code}: {out}")
    generations = list(shop.state.glob("generation-*"))
    if len(generations) != 1:
        return [*wrong, f"there are {len(generations)} generations"]
    files = {p.name for p in generations[0].iterdir()}
    if files != {"built", "run", "journal"} or (generations[0] / "run" / "update").exists():
        wrong.append(f"files are left: {sorted(files)}")
    if len(cgroups_of(shop.state)) > 1:
        wrong.append("cgroups are left")
    return wrong


def row(found: Found) -> str:
    """As in the documentation."""
    cells = (found.point.kind, f"`{found.point.at}`", _named(found.left), _named(found.then))
    return f"| {' | '.join(cells)} |"


HEAD = "| deployment | killed at the end of | in force then | after the next run |\n| --- | --- | --- | --- |"
