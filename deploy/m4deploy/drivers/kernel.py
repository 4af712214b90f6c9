"""Programs in the kernel: compiled here, verified and put in force for a service's cgroup by `m4bpf`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from m4deploy.built import Element
from m4deploy.drivers.base import LOOK_AT_IT, Counters, Denied, Ended, Place
from m4deploy.errors import DeployError

if TYPE_CHECKING:
    from m4bpf import Release, Replacement

SOURCE = "m4.bpf.c"
HOPS = "hops.json"
_OBJECT = "m4.bpf.o"
NO_KERNEL = "Or leave the kernel dataplane out of the mesh's `dataplanes`: proxies can do all that it does."


class KernelElement:
    """A program in force, as long as this process lives."""

    process = None

    def __init__(self, element: Element, place: Place) -> None:
        from m4bpf import KernelError, attach

        if place.cgroup is None:
            raise DeployError(f"{element} needs a cgroup, and none can be made here.", hint=NO_KERNEL)
        try:
            self._attached = attach(place.folder / _OBJECT, place.cgroup, element.file(HOPS))
        except KernelError as error:
            raise DeployError(f"{element}: {error.message}", error.detail, f"{LOOK_AT_IT}\n{NO_KERNEL}") from error

    def ready(self) -> bool:
        return True

    def change(self, element: Element | None, folder: Path) -> KernelChange:
        from m4bpf import KernelError

        try:
            if element is None:
                return KernelChange(self._attached.release())
            return KernelChange(self._attached.replacement(folder / _OBJECT, element.file(HOPS)))
        except KernelError as error:
            raise DeployError(f"{element}: {error.message}", error.detail, f"{LOOK_AT_IT}\n{NO_KERNEL}") from error

    def counters(self) -> Counters:
        """Per site: requests `seen`, `allowed`, `denied`, `tagged`, and `errors`."""
        return self._attached.counters()

    def ended(self) -> Ended:
        return self._attached.refused()

    def denied(self) -> list[Denied]:
        since = time.time() - time.monotonic()
        found = []
        for told in self._attached.refusals():
            method, target, *_ = [*told.head.split(b"\r\n")[0].decode("latin-1").split(" "), ""]
            found.append(Denied(told.at + since, told.site, told.policy, told.status, method, target))
        return found

    def watch(self, on: bool) -> None:
        """The kernel keeps the latest ones anyway."""

    def close(self) -> None:
        self._attached.close()


class KernelChange:
    """Another program for the same service, verified, or none."""

    def __init__(self, replacement: Replacement | Release) -> None:
        self._replacement = replacement

    def swap(self) -> None:
        from m4bpf import KernelError

        try:
            self._replacement.swap()
        except KernelError as error:
            raise DeployError(error.message, error.detail) from error

    def revert(self) -> None:
        self._replacement.revert()

    def settle(self) -> None:
        self._replacement.settle()


class KernelDriver:
    needs_cgroup = True

    def __init__(self) -> None:
        """Probes the kernel once: loads, attaches and uses a small program."""
        from m4bpf import probe

        found = probe()
        if not found.ok:
            raise DeployError("This machine cannot run the kernel dataplane.", "\n".join(found.reasons), NO_KERNEL)
        self.notes: tuple[str, ...] = found.notes

    def validate(self, element: Element, folder: Path) -> None:
        """Compiles the program. The verifier sees it in `start`, which for the kernel comes before anything runs."""
        from m4bpf import KernelError, compile_program

        element.file(HOPS)
        try:
            compile_program(element.file(SOURCE), folder / _OBJECT)
        except KernelError as error:
            raise DeployError(f"{element}: {error.message}", error.detail, LOOK_AT_IT) from error

    def start(self, element: Element, place: Place) -> KernelElement:
        return KernelElement(element, place)
