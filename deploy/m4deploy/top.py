"""`m4 top`: what the dataplanes of a mesh do, now.

Where the numbers come from:

    ebpf      maps of the kernel: counts by hop and by policy, counters; denied requests from a ring buffer
    envoy     its administration: requests by listener, and by how they ended and the route of a policy that ended them;
              counters, by the requests that are over; denied requests from a file that it writes while somebody watches
    haproxy   its master's socket: requests by frontend, and variables that count the requests that a policy ended

Rates are between two looks. A proxy does not tell denials from other answers of its own, by hop: `ended` is both.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m4deploy import local
from m4deploy.errors import DeployError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

LATEST = 12


@dataclass(frozen=True, slots=True)
class Hop:
    """Counts of one side of a hop at one element since it started; None for what it does not count. `rate`: requests in
    a second, and of them those that it ended."""

    caller: str  # "outside" for an entry
    callee: str
    service: str
    dataplane: str
    seen: int
    allowed: int
    ended: int
    tagged: int | None
    errors: int
    rate: float
    ended_rate: float

    @property
    def side(self) -> str:
        return "egress" if self.service == self.caller else "ingress"


@dataclass(frozen=True, slots=True)
class Policy:
    """How many requests a policy ended on a hop: denied, redirected or answered."""

    policy: str
    caller: str
    callee: str
    service: str
    dataplane: str
    ended: int
    rate: float


@dataclass(frozen=True, slots=True)
class Tally:
    """What a counter of policies holds at one element."""

    state: str
    service: str
    dataplane: str
    value: int
    rate: float


@dataclass(frozen=True, slots=True)
class Call:
    """What became of the requests of a hop at all elements on their way together. What one of them ended no later one
    sees; the one that saw most tells how many there were. `by`: those elements, as service and dataplane."""

    caller: str
    callee: str
    seen: int
    allowed: int
    ended: int
    rate: float
    ended_rate: float
    by: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Denial:
    """A denied request; `at` in seconds since 1970."""

    at: float
    caller: str
    callee: str
    dataplane: str
    policy: str
    status: int
    method: str
    target: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One look. `seconds`: since the one before; rates are 0 at the first. `dead`: what should live, in words."""

    mesh: str
    healthy: bool
    seconds: float
    hops: tuple[Hop, ...]
    policies: tuple[Policy, ...]
    tallies: tuple[Tally, ...]
    denied: tuple[Denial, ...]  # the latest first
    dead: tuple[str, ...] = ()

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def sample(found: Mapping[str, object], before: Sample | None, seconds: float) -> Sample:
    """What a look found (see `mesh.Mesh.top`), with rates since the look before."""
    seen = {(h.service, h.dataplane, h.caller, h.callee): h.seen for h in before.hops} if before else {}
    stops = {(h.service, h.dataplane, h.caller, h.callee): h.ended for h in before.hops} if before else {}
    ended = {(p.policy, p.service, p.dataplane, p.caller, p.callee): p.ended for p in before.policies} if before else {}

    held = {(t.state, t.service, t.dataplane): t.value for t in before.tallies} if before else {}

    def rate(now: int, then: int | None) -> float:
        return round(max(0, now - then) / seconds, 1) if then is not None and seconds > 0 else 0.0

    hops, policies, tallies, denied = [], [], [], []
    elements = found["elements"]
    for e in elements if isinstance(elements, Sequence) else ():
        here = (e["service"], e["dataplane"])
        for site, counts in e["counters"].items():
            caller, callee = ends(e["service"], site)
            stopped = counts["denied"] if "denied" in counts else counts["answered"]
            errors = counts["errors"] if "errors" in counts else counts["5xx"]
            rest = counts["allowed"] if "allowed" in counts else max(0, counts["seen"] - stopped)
            at = (*here, caller, callee)
            speeds = rate(counts["seen"], seen.get(at)), rate(stopped, stops.get(at))
            tagged = counts.get("tagged")
            hops.append(Hop(caller, callee, *here, counts["seen"], rest, stopped, tagged, errors, *speeds))
        for site, by in e["ended"].items():
            caller, callee = ends(e["service"], site)
            for policy, count in by.items():
                speed = rate(count, ended.get((policy, *here, caller, callee), 0 if before else None))
                policies.append(Policy(policy, caller, callee, *here, count, speed))
        for state, value in e["tallies"].items():
            speed = rate(value, held.get((state, *here), 0 if before else None))
            tallies.append(Tally(state, *here, value, speed))
        for d in e["denied"]:
            about = (d["policy"], d["status"], d["method"], d["target"])
            denied.append(Denial(d["at"], *ends(e["service"], d["site"]), e["dataplane"], *about))
    hops.sort(key=lambda h: (h.caller, h.callee, h.service))
    policies.sort(key=lambda p: (-p.ended, p.policy, p.caller, p.callee))
    tallies.sort(key=lambda t: (t.state, t.service, t.dataplane))
    denied.sort(key=lambda d: -d.at)
    about_mesh = str(found["mesh"]), bool(found["healthy"]), round(seconds, 3)
    dead = found.get("dead")
    lost = tuple(map(str, dead)) if isinstance(dead, Sequence) else ()
    return Sample(*about_mesh, tuple(hops), tuple(policies), tuple(tallies), tuple(denied), lost)


def calls(now: Sample) -> tuple[Call, ...]:
    """The hops of a sample, each once."""
    together: dict[tuple[str, str], list[Hop]] = {}
    for h in now.hops:
        together.setdefault((h.caller, h.callee), []).append(h)
    out = []
    for ends, at in together.items():
        most, stopped = max(h.seen for h in at), sum(h.ended for h in at)
        rates = max(h.rate for h in at), round(sum(h.ended_rate for h in at), 1)
        by = tuple(sorted({(h.service, h.dataplane) for h in at}))
        out.append(Call(*ends, most, max(0, most - stopped), stopped, *rates, by))
    return tuple(out)


class Watch:
    """Looks at one deployment again and again, whoever asks: rates are since an earlier look of some age."""

    LEAST, MOST = 0.5, 30.0  # seconds since a look that rates begin with
    PATIENCE = 5.0  # seconds for an answer

    def __init__(self, state: Path) -> None:
        self._state = state
        self._looks: list[tuple[float, Sample]] = []

    def look(self) -> dict[str, Any]:
        """What the protocol and pages have: whether it is `deployed`, in words what is wrong (`message`), and only if
        it answers now, its counts."""
        try:
            found, at = local.top(self._state, self.PATIENCE), time.monotonic()
        except DeployError as error:
            self._looks.clear()
            return {"deployed": True, "message": error.message}
        if found is None:
            ended = bool(self._looks)
            self._looks.clear()
            return {"deployed": False, "message": "the deployment has ended" if ended else "nothing is deployed"}
        self._looks = [(then, s) for then, s in self._looks if at - then <= self.MOST]
        then, before = next(((t, s) for t, s in reversed(self._looks) if at - t >= self.LEAST), (at, None))
        now = sample(found, before, at - then)
        self._looks = [*self._looks[-8:], (at, now)]
        message = f"dead: {', '.join(now.dead)}" if now.dead else ""
        return {"deployed": True, "message": message, **asdict(now), "calls": [asdict(c) for c in calls(now)]}


def ends(service: str, site: str) -> tuple[str, str]:
    """Caller and callee of a site."""
    side, _, peer = site.partition(".")
    return (service, peer) if side == "egress" else (peer, service)


def show(state: Path, *, once: bool, as_json: bool, interval: float) -> bool:
    """Prints samples until it is interrupted, or one; False if nothing is deployed."""
    found = local.top(state)
    if found is None:
        return False
    last, at = sample(found, None, 0.0), time.monotonic()

    def look() -> Sample | None:
        nonlocal last, at
        time.sleep(interval)
        found, now = local.top(state), time.monotonic()
        if found is None:
            return None
        last, at = sample(found, last, now - at), now
        return last

    if once or as_json or not sys.stdout.isatty():
        while (now := look()) is not None:
            print(now.as_json() if as_json else text(now), flush=True)
            if once:
                return True
        return True
    _live(look, last)
    return True


def _live(look: Callable[[], Sample | None], first: Sample) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(screen_of(first, console.height), console=console, screen=True, auto_refresh=False) as live:
        try:
            while (now := look()) is not None:
                live.update(screen_of(now, console.height), refresh=True)
        except KeyboardInterrupt:
            return


def text(now: Sample, width: int = 120) -> str:
    """A sample as plain text."""
    import io

    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(screen_of(now, 1000))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def screen_of(now: Sample, height: int) -> RenderableType:
    """The screen, of so many lines: hops, policies, and with what is left the latest denied requests."""
    from rich.console import Group
    from rich.text import Text

    total = sum(h.rate for h in now.hops)
    state = ("healthy", "green") if now.healthy else ("NOT healthy", "bold red")
    head = Text.assemble("mesh ", (now.mesh, "bold"), ": ", state, f"   {total:,.0f} requests/s seen by all elements")
    hops = _table("hop", "at", "by", ("requests/s", "seen", "allowed", "ended", "tagged", "errors"))
    for h in now.hops:
        numbers: list[int | str | None] = [f"{h.rate:,.1f}", h.seen, h.allowed, h.ended, h.tagged, h.errors]
        hops.add_row(f"{h.caller} → {h.callee}", h.side, h.dataplane, *map(_number, numbers))
    policies = _table("policy", "hop", "by", ("requests/s", "ended"))
    for p in now.policies:
        policies.add_row(p.policy, f"{p.caller} → {p.callee}", p.dataplane, f"{p.rate:,.1f}", _number(p.ended))
    tallies = _table("counter", "at", "by", ("a second", "counted"))
    for t in now.tallies:
        tallies.add_row(t.state, t.service, t.dataplane, f"{t.rate:,.1f}", _number(t.value))
    counted: list[RenderableType] = [tallies, ""] if now.tallies else []
    used = 11 + len(now.hops) + len(now.policies) + (2 + len(now.tallies) if now.tallies else 0)
    denied = _table("denied at", "hop", "by", ())
    for name in ("policy", "status", "request"):
        denied.add_column(name, overflow="ellipsis", no_wrap=True)
    for d in now.denied[: max(3, min(LATEST, height - used))]:
        when = time.strftime("%H:%M:%S", time.localtime(d.at)) + f".{int(d.at * 1000) % 1000:03}"
        request = f"{d.method} {d.target}".encode("unicode_escape").decode()
        denied.add_row(when, f"{d.caller} → {d.callee}", d.dataplane, d.policy, str(d.status), Text(request))
    return Group(head, "", hops, "", policies, "", *counted, denied)


def _table(first: str, second: str, third: str, numbers: Sequence[str]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold reverse", expand=False, padding=(0, 2, 0, 0))
    for name in (first, second, third):
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _number(value: int | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:,}"
