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
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from m4bpf import libbpf
from m4bpf._errors import KernelError

COUNTERS = ("seen", "allowed", "denied", "tagged", "errors")

_CGROUP_PROGRAMS = ("m4_connected", "m4_connect4", "m4_connect6")
_ENTRY, _JUDGE = "m4_entry", "m4_msg"  # what sockets are given to, and what it leads to
_SHARED = (
    "m4_hops",
    "m4_sockets",
    "m4_conns",
    "m4_counts",
    "m4_judges",
    "m4_states",
    "m4_refusals",
)  # by all programs of a service, one after another
_COOKIE = 8  # bytes of a key of m4_sockets
_STATE = struct.Struct("=Qq")  # when a token bucket is full again, and what a counter has counted
_REFUSAL = struct.Struct("=QIIII")
_LATEST = 50
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


def state_key(name: str) -> bytes:
    """The key of ``m4_states`` for a state's name: FNV-1a of 64 bits."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = (key ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return struct.pack("=Q", key)


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


def read_rules(hops: Mapping[str, Any] | Path) -> list[tuple[str, str]]:
    """The site and the policy of each rule of ``hops.json``, by number."""
    try:
        data = json.loads(hops.read_text()) if isinstance(hops, Path) else hops
        return [(str(rule["site"]), str(rule["policy"])) for rule in data.get("rules", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KernelError("the list of rules cannot be read", f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request: when (seconds of the monotonic clock), on which site, by which policy, with what status, and
    the beginning of its head."""

    at: float
    site: str
    policy: str
    status: int
    head: bytes


class Attached:
    """A program in force. Close it, or use it as a context manager."""

    def __init__(self, program: Path, cgroup: Path, hops: Mapping[str, Any] | Path) -> None:
        self._sites = read_hops(hops)
        self._rules: dict[int, list[tuple[str, str]]] = {}  # by object, of all that are loaded
        self._refused: Counter[tuple[str, str]] = Counter()  # by programs that are closed
        self._latest: deque[Refusal] = deque(maxlen=_LATEST)
        self._object = self._judge = self._verdict = self._sockets = 0
        self._links: list[int] = []
        try:
            self._object = _open(program)
            libbpf.call(f"the kernel refuses {program}", "bpf_object__load", self._object)
            self._judge = self._object
            self._rules[self._object] = read_rules(hops)
            self._fill_hops()
            self._put_judge()
            sockets = self._map("m4_sockets")
            verdict = _descriptor(self._object, _ENTRY)
            libbpf.call(
                f"{_ENTRY} cannot be attached", "bpf_prog_attach", verdict, sockets, libbpf.ATTACH_SK_MSG_VERDICT, 0
            )
            self._verdict, self._sockets = verdict, sockets
            self._attach_cgroup(cgroup)
        except BaseException:
            self.close()
            raise

    def _map(self, name: str) -> int:
        return libbpf.call(
            f"the object has no map {name}", "bpf_object__find_map_fd_by_name", self._object, name.encode()
        )

    def _fill_hops(self) -> None:
        hops = self._map("m4_hops")
        for address, index in _indices(self._sites).items():
            libbpf.map_write(hops, address, struct.pack("=I", index))

    def _put_judge(self) -> None:
        judge = _descriptor(self._judge, _JUDGE)
        libbpf.map_write(self._map("m4_judges"), struct.pack("=I", 0), struct.pack("=I", judge))

    def _attach_cgroup(self, cgroup: Path) -> None:
        try:
            fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise KernelError(f"the cgroup {cgroup} cannot be opened: {error.strerror}") from error
        try:
            for name in _CGROUP_PROGRAMS:
                what = f"{name} cannot be attached to {cgroup}"
                self._links.append(libbpf.call(what, "bpf_program__attach_cgroup", _program(self._object, name), fd))
        finally:
            os.close(fd)

    def replacement(self, program: Path, hops: Mapping[str, Any] | Path) -> Replacement:
        """Load another program for the same service, beside the one in force, which stays so until
        :meth:`Replacement.swap`. Raises :class:`KernelError`, as :func:`attach` does."""
        sites = read_hops(hops)
        loaded = _open(program)
        try:
            for name in _SHARED:
                theirs = _find_map(loaded, name)
                ours = _find_map(self._object, name)
                lib = libbpf.library()
                for about in (lib.bpf_map__value_size, lib.bpf_map__max_entries):
                    if about(theirs) != about(ours):
                        raise KernelError(f"{program} cannot take over: its map {name} is of another kind")
                libbpf.call(f"the map {name} cannot be shared", "bpf_map__reuse_fd", theirs, lib.bpf_map__fd(ours))
            for name in _CGROUP_PROGRAMS:
                libbpf.call(f"{name} is needed", "bpf_program__set_autoload", _program(loaded, name), False)
            libbpf.call(f"the kernel refuses {program}", "bpf_object__load", loaded)
            self._rules[loaded] = read_rules(hops)
        except BaseException:
            libbpf.library().bpf_object__close(loaded)
            raise
        return Replacement(self, loaded, sites)

    def use(self, judge: int, sites: list[tuple[str, int, list[str]]]) -> None:
        """Put a loaded object in force: one step for all connections, also in the middle of a request, whose head was
        judged by the program before."""
        self.refusals()  # their rules are numbered as in the program that is still in force
        hops = self._map("m4_hops")
        old, new = _indices(self._sites), _indices(sites)
        for address in old.keys() - new.keys():
            libbpf.map_delete(hops, address)
        self._judge = judge
        self._put_judge()
        self._sites = sites
        for address in new.keys() - old.keys():
            libbpf.map_write(hops, address, struct.pack("=I", new[address]))

    def release(self) -> Release:
        """What takes the rules out of force, as :meth:`replacement` puts others in."""
        return Release(self)

    def let_pass(self, released: bool, sites: list[tuple[str, int, list[str]]]) -> None:
        """Whether requests on open connections pass unjudged. They are followed all the same, to be judged again when
        another program comes; new connections are not under control where there are no sites."""
        lib = libbpf.library()
        flag = lib.bpf_map__fd(_find_map(self._judge, "m4_released"))
        libbpf.map_write(flag, struct.pack("=I", 0), struct.pack("=I", released))
        self.use(self._judge, sites)

    @property
    def judged(self) -> tuple[int, list[tuple[str, int, list[str]]]]:
        """The object in force, and its sites."""
        return self._judge, self._sites

    def discard(self, loaded: int) -> None:
        """Close an object that is not in force. The first one stays: connections were given to its programs."""
        if loaded not in (self._judge, self._object):
            self._refused += self._count_refused(loaded)
            self._rules.pop(loaded, None)
            libbpf.library().bpf_object__close(loaded)

    def refused(self) -> dict[str, dict[str, int]]:
        """Per site and policy: the requests that it refused."""
        found: dict[str, dict[str, int]] = {}
        for (site, policy), count in sum(map(self._count_refused, self._rules), self._refused).items():
            found.setdefault(site, {})[policy] = count
        return found

    def _count_refused(self, loaded: int) -> Counter[tuple[str, str]]:
        fd = libbpf.library().bpf_map__fd(_find_map(loaded, "m4_refused"))
        cpus = libbpf.call("the CPUs cannot be counted", "libbpf_num_possible_cpus")
        found: Counter[tuple[str, str]] = Counter()
        for number, rule in enumerate(self._rules.get(loaded, ())):
            raw = libbpf.map_read(fd, struct.pack("=I", number), 8 * cpus)
            found[rule] += sum(struct.unpack(f"={cpus}Q", raw))
        return found

    def refusals(self) -> list[Refusal]:
        """The latest refused requests that were told, the oldest first. The kernel keeps some hundred until this is
        asked; what comes while there is no room is not among them."""
        rules = self._rules.get(self._judge, [])
        sites = {index: site for site, index, _ in self._sites}
        for raw in libbpf.ring_read(self._map("m4_refusals")) if self._object else ():
            at, site, rule, status, size = _REFUSAL.unpack_from(raw)
            head = raw[_REFUSAL.size : _REFUSAL.size + min(size, len(raw) - _REFUSAL.size)]
            policy = rules[rule][1] if rule < len(rules) else ""
            self._latest.append(Refusal(at / 1e9, sites.get(site, ""), policy, status, head))
        return list(self._latest)

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

    def tallies(self, names: Iterable[str]) -> dict[str, int]:
        """What counters of policies have counted, by name; it goes on when a program takes over."""
        if not self._object:
            raise KernelError("the program is no longer attached")
        states = self._map("m4_states")
        raw = {name: libbpf.map_get(states, state_key(name), _STATE.size) for name in names}
        return {name: 0 if value is None else _STATE.unpack(value)[1] for name, value in raw.items()}

    def close(self) -> None:
        """Take the program out of force, also for open connections (the beginning of a request that was held back
        because it is incomplete is lost). May be called twice."""
        lib = libbpf.library()
        for link in self._links:
            lib.bpf_link__destroy(link)
        if self._verdict:
            lib.bpf_prog_detach2(self._verdict, self._sockets, libbpf.ATTACH_SK_MSG_VERDICT)
            libbpf.map_clear(self._sockets, _COOKIE)
        for loaded in {self._object, self._judge} - {0}:
            lib.bpf_object__close(loaded)
        self._object = self._judge = self._verdict = self._sockets = 0
        self._links = []

    def __enter__(self) -> Attached:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Replacement:
    """A program that is loaded and verified, to take the place of the one in force."""

    def __init__(self, attached: Attached, loaded: int, sites: list[tuple[str, int, list[str]]]) -> None:
        self._attached = attached
        self._old = attached.judged
        self._new = (loaded, sites)

    def swap(self) -> None:
        """Put it in force."""
        self._attached.use(*self._new)

    def revert(self) -> None:
        """Put the one of before in force again."""
        self._attached.use(*self._old)

    def settle(self) -> None:
        """Close the one that is not in force."""
        for loaded, _ in (self._old, self._new):
            self._attached.discard(loaded)


class Release:
    """No program in the place of the one in force; the methods are those of :class:`Replacement`."""

    def __init__(self, attached: Attached) -> None:
        self._attached = attached
        _, self._sites = attached.judged

    def swap(self) -> None:
        self._attached.let_pass(True, [])

    def revert(self) -> None:
        self._attached.let_pass(False, self._sites)

    def settle(self) -> None:
        pass


def _open(program: Path) -> int:
    return libbpf.call(f"{program} cannot be opened", "bpf_object__open_file", os.fsencode(program), None)


def _program(loaded: int, name: str) -> int:
    return libbpf.call(f"the object has no program {name}", "bpf_object__find_program_by_name", loaded, name.encode())


def _descriptor(loaded: int, name: str) -> int:
    return libbpf.call(f"{name} has no descriptor", "bpf_program__fd", _program(loaded, name))


def _find_map(loaded: int, name: str) -> int:
    return libbpf.call(f"the object has no map {name}", "bpf_object__find_map_by_name", loaded, name.encode())


def _indices(sites: list[tuple[str, int, list[str]]]) -> dict[bytes, int]:
    """The number of each address's site, by its key."""
    return {remote_key(address): index for _, index, addresses in sites for address in addresses}


def attach(program: Path, cgroup: Path, hops: Mapping[str, Any] | Path) -> Attached:
    """Load the object file *program* and put it in force for connections that processes of *cgroup* open from now on to
    the addresses of *hops*. Raises :class:`KernelError`; if the verifier refuses, its last lines are the detail."""
    return Attached(program, cgroup, hops)
