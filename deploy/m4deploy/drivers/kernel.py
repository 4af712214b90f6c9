"""Programs in the kernel: compiled here, verified and put in force for a service's cgroup by `m4bpf`."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from m4deploy.built import Element
from m4deploy.drivers.base import LOOK_AT_IT, Counters, Denied, Ended, Place
from m4deploy.errors import DeployError, Rejected

if TYPE_CHECKING:
    from m4bpf import Limits, Replacement

SOURCE = "m4.bpf.c"
HOPS = "hops.json"
_OBJECT = "m4.bpf.o"
_HEADERS = ("linux/bpf.h", "linux/types.h", "bpf/bpf_endian.h", "bpf/bpf_helpers.h")  # this machine's
NO_KERNEL = "Or leave the kernel dataplane out of the mesh's `dataplanes`: proxies can do all that it does."
_HINT = f"{LOOK_AT_IT}\n{NO_KERNEL}"


@dataclass(frozen=True, slots=True)
class Judging:
    """What judges the requests of a service: the source of its program, and the names of its counters."""

    source: bytes
    counters: tuple[str, ...]

    @classmethod
    def of(cls, element: Element) -> Judging:
        counters = json.loads(element.file(HOPS).read_text(encoding="utf-8"))["counters"]
        return cls(element.file(SOURCE).read_bytes(), tuple(counters))


class KernelElement:
    """A program in force, as long as this process lives."""

    process = None

    def __init__(self, element: Element, place: Place, compiler: Compiler) -> None:
        from m4bpf import KernelError, attach

        if place.cgroup is None:
            raise DeployError(f"{element} needs a cgroup, and none can be made here.", hint=NO_KERNEL)
        self._judging = Judging.of(element)
        self._compiler = compiler
        try:
            self._attached = attach(compiler.put(self._judging.source, place.folder), place.cgroup, element.file(HOPS))
        except KernelError as error:
            raise DeployError(f"{element}: {error.message}", error.detail, _HINT) from error

    def ready(self) -> bool:
        return True

    def change(self, element: Element | None, folder: Path) -> KernelChange:
        from m4bpf import KernelError

        try:
            if element is None:
                return KernelChange(self, self._attached.release(), Judging(self._judging.source, ()))
            judging = Judging.of(element)
            if judging.source == self._judging.source:
                return KernelChange(self, self._attached.edition(element.file(HOPS)), judging)
            made = self._compiler.put(judging.source, folder)
            return KernelChange(self, self._attached.replacement(made, element.file(HOPS)), judging)
        except KernelError as error:
            raise DeployError(f"{element or 'a program'}: {error.message}", error.detail, _HINT) from error

    def runs(self, judging: Judging) -> Judging:
        """Take note of what judges; what did before is returned."""
        before, self._judging = self._judging, judging
        return before

    def counters(self) -> Counters:
        """Per site: requests `seen`, `allowed`, `denied`, `tagged`, and `errors`."""
        return self._attached.counters()

    def ended(self) -> Ended:
        return self._attached.refused()

    def tallies(self) -> dict[str, int]:
        return self._attached.tallies(self._judging.counters)

    def denied(self) -> list[Denied]:
        since = time.time() - time.monotonic()
        found = []
        for told in self._attached.refusals():
            method, target, *_ = [*told.head.split(b"\r\n")[0].decode("latin-1").split(" "), ""]
            found.append(Denied(told.at + since, told.site, told.policy, told.status, method, target))
        return found

    def watch(self, on: bool) -> None:
        """The kernel keeps the latest ones anyway."""

    def renew(self) -> None:
        """Nothing of it runs out."""

    def close(self) -> None:
        self._attached.close()


class KernelChange:
    """Other policies for the same service, or none: as data for its program, or with another program, verified."""

    def __init__(self, element: KernelElement, replacement: Replacement, judging: Judging) -> None:
        self._element = element
        self._replacement = replacement
        self._judging = judging  # after `swap`; after it, before
        self._swapped = False

    def begin(self) -> None:
        """It is reached as before."""

    def finish(self) -> None:
        pass

    def swap(self) -> None:
        from m4bpf import KernelError

        try:
            self._replacement.swap()
        except KernelError as error:
            raise DeployError(error.message, error.detail) from error
        self._judging, self._swapped = self._element.runs(self._judging), True

    def revert(self) -> None:
        self._replacement.revert()
        if self._swapped:
            self._judging, self._swapped = self._element.runs(self._judging), False

    def settle(self) -> None:
        self._replacement.settle()


class Compiler:
    """Compiles programs, each once: one only depends on what operations do, so that most edits and most services need
    none. It needs no kernel that runs them."""

    def __init__(self) -> None:
        self._compiled: dict[bytes, tuple[bytes, Limits]] = {}  # objects by their source, and what there is room for
        self._compiling = threading.Lock()

    def compile(self, element: Element, folder: Path) -> None:
        """Raises DeployError."""
        from m4bpf import KernelError, check, compile_program, limits_of

        source = element.file(SOURCE)
        try:
            with self._compiling:
                text = source.read_bytes()
                if text not in self._compiled:
                    folder.mkdir(parents=True, exist_ok=True)
                    compile_program(source, folder / _OBJECT)
                    self._compiled[text] = (folder / _OBJECT).read_bytes(), limits_of(folder / _OBJECT)
            check(element.file(HOPS), self._compiled[text][1])
        except KernelError as error:
            words = error.detail.partition("\n")[0] or error.message
            raise Rejected(f"{element}: {error.message}", error.detail, LOOK_AT_IT, words) from error

    def put(self, source: bytes, folder: Path) -> Path:
        """Writes what was compiled from a source into a folder: the file."""
        folder.mkdir(parents=True, exist_ok=True)
        made = folder / _OBJECT
        made.write_bytes(self._compiled[source][0])
        return made

    def probe(self) -> None:
        """Raises DeployError where nothing can be compiled."""
        from m4bpf import KernelError, compile_program, only_bcc

        if only_bcc():  # it needs no headers but its own
            return
        with tempfile.TemporaryDirectory(prefix="m4-compile-") as name:
            source = Path(name, SOURCE)
            source.write_text("".join(f"#include <{header}>\n" for header in _HEADERS), encoding="utf-8")
            try:
                compile_program(source, source.with_name(_OBJECT))
            except KernelError as error:
                raise DeployError("No program for the kernel can be compiled here.", str(error)) from error


class KernelDriver:
    needs_cgroup = True

    def __init__(self) -> None:
        """Probes the kernel once: loads, attaches and uses a small program."""
        from m4bpf import probe

        found = probe()
        if not found.ok:
            raise DeployError("This machine cannot run the kernel dataplane.", "\n".join(found.reasons), NO_KERNEL)
        self.notes: tuple[str, ...] = found.notes
        self._compiler = Compiler()

    def validate(self, element: Element, folder: Path) -> None:
        """Compiles the program. The verifier sees it in `start`, which for the kernel comes before anything runs."""
        self._compiler.compile(element, folder)

    def start(self, element: Element, place: Place) -> KernelElement:
        return KernelElement(element, place, self._compiler)
