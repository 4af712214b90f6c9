"""What a dataplane's driver does for a target: check an element's files, put it in force, count, take it away."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from m4deploy.built import Element

LOOK_AT_IT = "`m4 build -o OUT` writes what was refused, to look at; the templates stand beside the dataplane's spec."
Counters = Mapping[str, Mapping[str, int]]  # site to what was counted there
Validate = Callable[[Element, Path], None]  # as `Driver.validate`
Ended = Mapping[str, Mapping[str, int]]  # site to policy to how many requests it ended there


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element runs on this machine: a folder of its own for logs and the like, and its service's cgroup."""

    folder: Path
    cgroup: Path | None


@dataclass(frozen=True, slots=True)
class Denied:
    """A request that was denied: when (seconds since 1970), where, by which policy, with what status."""

    at: float
    site: str
    policy: str
    status: int
    method: str
    target: str


class Change(Protocol):
    """Other files for an element in force, accepted by the dataplane, and ready to take the place of those that are."""

    def begin(self) -> None:
        """Makes it ready to be reached both as its files in force say and as the other ones do, while some elements
        have the new files and some the old ones. Raises DeployError."""

    def swap(self) -> None:
        """Puts the new files in force, and returns when they are: no request is lost, and each is judged by the old
        files or by the new ones. Raises DeployError."""

    def finish(self) -> None:
        """Ends what `begin` began: from now on only the files in force count. Raises DeployError."""

    def revert(self) -> None:
        """Puts the old files in force again, also after a `swap` that failed. Raises DeployError."""

    def settle(self) -> None:
        """Gives back what only `revert` or, if there was no `swap`, only that one needs."""


class Running(Protocol):
    """An element in force."""

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """Its process, if it has one."""

    def ready(self) -> bool:
        """Whether it acts as its files say. Raises DeployError if it never will."""

    def counters(self) -> Counters:
        """What it counted since it started, per site."""

    def ended(self) -> Ended:
        """How many requests each policy ended: denied, redirected or answered; since it started."""

    def tallies(self) -> Mapping[str, int]:
        """What the counters of policies hold here, by name."""

    def denied(self) -> Sequence[Denied]:
        """The latest denied requests, the oldest first, of those that came while somebody was watching."""

    def watch(self, on: bool) -> None:
        """Whether somebody looks at `denied`; nothing is spent on it before."""

    def change(self, element: Element | None, folder: Path) -> Change:
        """Prepares other files, which were validated in `folder`; nothing changes yet. None, for elements without a
        process: it is to do nothing any more, until it is changed again. Raises DeployError."""

    def renew(self) -> None:
        """Renews what would run out, certificates for example, and what an edit has used up. Called behind every
        deployment, and every hour, in the main thread."""

    def close(self) -> None:
        """Takes it out of force. May be called twice."""


class Driver(Protocol):
    """Each raises DeployError."""

    needs_cgroup: bool
    notes: tuple[str, ...]  # what to know of it on this machine, each a line

    def validate(self, element: Element, folder: Path) -> None:
        """Asks the dataplane itself whether it takes the files; changes nothing. May run in any thread. For the kernel
        the folder may not be there yet."""

    def start(self, element: Element, place: Place) -> Running:
        """Puts the element in force. Runs in the main thread, after `validate`."""
