"""What the two loaders have in common: a compiled program with its maps, in the kernel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from m4bpf import libbpf
from m4bpf._errors import KernelError
from m4bpf.layout import Limits

CGROUP_PROGRAMS = {
    "m4_connected": libbpf.ATTACH_SOCK_OPS,
    "m4_connect4": libbpf.ATTACH_CONNECT4,
    "m4_connect6": libbpf.ATTACH_CONNECT6,
}
# By all programs of a service, one after another.
SHARED = (
    "m4_hops",
    "m4_closed",
    "m4_sockets",
    "m4_conns",
    "m4_counts",
    "m4_judges",
    "m4_states",
    "m4_buckets",
    "m4_keeper",
    "m4_refused",
    "m4_refusals",
)


class Loaded(Protocol):
    """A program in the kernel; the numbers are descriptors, which stay its own."""

    limits: Limits
    shapes: Mapping[str, tuple[int, int]]  # bytes of a value, and number of elements, of the maps that can be shared

    def map(self, name: str) -> int: ...

    def program(self, name: str) -> int: ...

    def close(self) -> None: ...


def compare(path: Path, theirs: Mapping[str, tuple[int, int]], ours: Mapping[str, tuple[int, int]]) -> None:
    """Whether a program can use the maps of another one."""
    for name in SHARED:
        if theirs.get(name) != ours[name]:
            raise KernelError(f"{path} cannot take over: its map {name} is of another kind")
