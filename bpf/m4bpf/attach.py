"""Load a compiled program and put it in force for one service's cgroup.

Nothing is pinned: programs, maps and the link live as long as this process holds them. When it ends, however that
comes, no new connection is under control; one that is open then stays so until it is closed. :meth:`Attached.close`
releases open connections too. Connections that are older than the program are never under control: attach before the
service starts.
"""

from __future__ import annotations

import ipaddress
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from m4bpf import libbpf
from m4bpf._errors import KernelError

COUNTERS = ("seen", "allowed", "denied", "tagged", "errors")

_CGROUP_PROGRAMS = ("m4_connected", "m4_connect4", "m4_connect6")
_COOKIE = 8  # bytes of a key of m4_sockets
_COUNTS = struct.Struct(f"={len(COUNTERS)}Q")


def remote_key(address: str) -> bytes:
    """The key of ``m4_hops`` for ``"host:port"``: IPv6, or IPv4 as ``::ffff:a.b.c.d``, in network order; port."""
    host, _, port = address.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.strip("[]"))
        number = int(port)
    except ValueError as error:
        raise KernelError(f"{address!r} is not an IP address and a port") from error
    packed = ip.packed if isinstance(ip, ipaddress.IPv6Address) else bytes(10) + b"\xff\xff" + ip.packed
    return packed + struct.pack("=I", number)


def read_hops(hops: Mapping[str, Any] | Path) -> list[tuple[str, int, list[str]]]:
    """``hops.json`` or its content: ``{"hops": [{"site", "index", "remote": ["host:port", …]}, …]}``."""
    try:
        data = json.loads(hops.read_text()) if isinstance(hops, Path) else hops
        read = [(str(hop["site"]), int(hop["index"]), [str(a) for a in hop["remote"]]) for hop in data["hops"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KernelError("the list of hops cannot be read", f"{type(error).__name__}: {error}") from error
    owner: dict[bytes, str] = {}
    for site, _, addresses in read:
        for address in addresses:
            if owner.setdefault(remote_key(address), site) != site:
                raise KernelError(f"{address} belongs to {site} and to {owner[remote_key(address)]}")
    return read


class Attached:
    """A program in force. Close it, or use it as a context manager."""

    def __init__(self, program: Path, cgroup: Path, hops: Mapping[str, Any] | Path) -> None:
        self._sites = read_hops(hops)
        self._object = self._verdict = self._sockets = 0
        self._links: list[int] = []
        try:
            self._object = libbpf.call(
                f"{program} cannot be opened", "bpf_object__open_file", os.fsencode(program), None
            )
            libbpf.call(f"the kernel refuses {program}", "bpf_object__load", self._object)
            self._fill_hops()
            sockets = self._map("m4_sockets")
            verdict = libbpf.call("m4_msg has no descriptor", "bpf_program__fd", self._program("m4_msg"))
            libbpf.call(
                "m4_msg cannot be attached", "bpf_prog_attach", verdict, sockets, libbpf.ATTACH_SK_MSG_VERDICT, 0
            )
            self._verdict, self._sockets = verdict, sockets
            self._attach_cgroup(cgroup)
        except BaseException:
            self.close()
            raise

    def _program(self, name: str) -> int:
        return libbpf.call(
            f"the object has no program {name}", "bpf_object__find_program_by_name", self._object, name.encode()
        )

    def _map(self, name: str) -> int:
        return libbpf.call(
            f"the object has no map {name}", "bpf_object__find_map_fd_by_name", self._object, name.encode()
        )

    def _fill_hops(self) -> None:
        hops = self._map("m4_hops")
        for _, index, addresses in self._sites:
            for address in addresses:
                libbpf.map_write(hops, remote_key(address), struct.pack("=I", index))

    def _attach_cgroup(self, cgroup: Path) -> None:
        try:
            fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise KernelError(f"the cgroup {cgroup} cannot be opened: {error.strerror}") from error
        try:
            for name in _CGROUP_PROGRAMS:
                what = f"{name} cannot be attached to {cgroup}"
                self._links.append(libbpf.call(what, "bpf_program__attach_cgroup", self._program(name), fd))
        finally:
            os.close(fd)

    def counters(self) -> dict[str, dict[str, int]]:
        """Per site: requests ``seen``, of them ``allowed``, ``denied``; ``tagged`` (context tag written); ``errors``
        (requests that cannot be read without doubt, and failures of the kernel's helpers: both are refused)."""
        if not self._object:
            raise KernelError("the program is no longer attached")
        counts = self._map("m4_counts")
        cpus = libbpf.call("the CPUs cannot be counted", "libbpf_num_possible_cpus")
        result: dict[str, dict[str, int]] = {}
        for site, index, _ in self._sites:
            raw = libbpf.map_read(counts, struct.pack("=I", index), _COUNTS.size * cpus)
            sums = [sum(values) for values in zip(*_COUNTS.iter_unpack(raw), strict=True)]
            result[site] = dict(zip(COUNTERS, sums, strict=True))
        return result

    def close(self) -> None:
        """Take the program out of force, also for open connections (the beginning of a request that was held back
        because it is incomplete is lost). May be called twice."""
        lib = libbpf.library()
        for link in self._links:
            lib.bpf_link__destroy(link)
        if self._verdict:
            lib.bpf_prog_detach2(self._verdict, self._sockets, libbpf.ATTACH_SK_MSG_VERDICT)
            libbpf.map_clear(self._sockets, _COOKIE)
        if self._object:
            lib.bpf_object__close(self._object)
        self._object = self._verdict = self._sockets = 0
        self._links = []

    def __enter__(self) -> Attached:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attach(program: Path, cgroup: Path, hops: Mapping[str, Any] | Path) -> Attached:
    """Load the object file *program* and put it in force for connections that processes of *cgroup* open from now on to
    the addresses of *hops*. Raises :class:`KernelError`; if the verifier refuses, its last lines are the detail."""
    return Attached(program, cgroup, hops)
