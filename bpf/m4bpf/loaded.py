"""Which of the two loaders takes a compiled program."""

from __future__ import annotations

from pathlib import Path

from m4bpf._errors import KernelError
from m4bpf.bcc import BccObject
from m4bpf.elf import ElfObject
from m4bpf.interface import Loaded
from m4bpf.layout import FULL, SMALL, Limits

_ELF = b"\x7fELF"


def limits_of(path: Path) -> Limits:
    """What policies for a compiled program may hold. Raises :class:`KernelError`."""
    try:
        with path.open("rb") as begin:
            return FULL if begin.read(4) == _ELF else SMALL
    except OSError as error:
        raise KernelError(f"{path} cannot be opened: {error.strerror}") from error


def load(path: Path, callees: int, beside: Loaded | None = None) -> Loaded:
    """Load a compiled program into the kernel. *beside* another one it shares that one's maps, only judges, and is
    attached nowhere. Raises :class:`KernelError`; if the verifier refuses, its last lines are the detail."""
    if limits_of(path) is SMALL:
        return BccObject(path, callees, beside)
    return ElfObject(path, callees, beside)
