"""Load a compiled program and put it in force for one service's cgroup.

Nothing is pinned: programs, maps and the link live as long as this process holds them. When it ends, however that
comes, no new connection is under control; one that is open then stays so until it is closed. :meth:`Attached.close`
releases open connections too. Connections that are older than the program are never under control: attach before the
service starts.
"""

from __future__ import annotations

import os
import struct
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from m4bpf import libbpf, quiet
from m4bpf._errors import KernelError
from m4bpf.hops import Policies, Sites, Source, read_policies, remote_key, state_number
from m4bpf.interface import CGROUP_PROGRAMS, Loaded
from m4bpf.layout import RULES, lay_out
from m4bpf.loaded import load

COUNTERS = ("seen", "allowed", "denied", "tagged", "errors")

_ENTRY, _JUDGE = "m4_entry", "m4_msg"  # what sockets are given to, and what it leads to
_COOKIE = 8  # bytes of a key of m4_sockets
_STATE = struct.Struct("=Qq")  # when a token bucket is full again, and what a counter has counted
_REFUSAL = struct.Struct("=QIIII")
_LATEST = 50
_COUNTS = struct.Struct(f"={len(COUNTERS)}Q")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused request: when (seconds of the monotonic clock), on which site, by which policy, with what status, and
    the beginning of its head."""

    at: float
    site: str
    policy: str
    status: int
    head: bytes


@dataclass(frozen=True, slots=True)
class InForce:
    """What judges, or could: a loaded object, which of its two sets of policies, and where they are for."""

    loaded: Loaded | None
    number: int
    sites: Sites
    counted: frozenset[tuple[str, str]]  # sites and policies
    closed: Mapping[bytes, int]  # addresses to which nothing connects, with the number of what says so


class Attached:
    """A program in force. Close it, or use it as a context manager."""

    def __init__(self, program: Path, cgroup: Path, hops: Source) -> None:
        policies = read_policies(hops)
        self._callees = policies.callees
        self._numbers: dict[tuple[str, str], int] = {}  # of sites and policies, in m4_refused
        self._refused: Counter[tuple[str, str]] = Counter()  # by those that lost their number
        self._latest: deque[Refusal] = deque(maxlen=_LATEST)
        self._left = 0.0  # when the other set of policies was in force last
        self._changing = False
        self._object: Loaded | None = None
        self._verdict = self._sockets = 0
        self._judge = InForce(None, 0, [], frozenset(), {})
        self._links: list[int] = []
        try:
            self._object = load(program, policies.callees)
            self.use(self._written(self._object, 0, policies))
            sockets = self.descriptor("m4_sockets")
            verdict = self._object.program(_ENTRY)
            libbpf.call(
                f"{_ENTRY} cannot be attached", "bpf_prog_attach", verdict, sockets, libbpf.ATTACH_SK_MSG_VERDICT, 0
            )
            self._verdict, self._sockets = verdict, sockets
            self._attach_cgroup(cgroup)
        except BaseException:
            self.close()
            raise

    def descriptor(self, name: str) -> int:
        """The descriptor of one of the program's maps, which stays its own."""
        if self._object is None:
            raise KernelError("the program is no longer attached")
        return self._object.map(name)

    def _written(self, loaded: Loaded, number: int, policies: Policies) -> InForce:
        """Writes policies to a set that is not in force."""
        counted = frozenset[tuple[str, str]]().union(*(hop.counted for hop in policies.hops))
        self._give_numbers(counted)
        made = lay_out(policies, self._numbers.__getitem__, loaded.limits)
        libbpf.map_write(loaded.map("m4_sets"), struct.pack("=I", number), made)
        closed = {
            address: self._numbers[hop.site, hop.closed_by]
            for hop in policies.hops
            if hop.closed_by is not None
            for address in hop.closed
        }
        return InForce(loaded, number, policies.sites, counted, closed)

    def _give_numbers(self, counted: frozenset[tuple[str, str]]) -> None:
        """Each keeps its number for as long as there are enough: there are, for the policies in force and the next."""
        if len(counted) > RULES:
            raise KernelError(f"one service has {RULES} rules at most in the kernel, not {len(counted)}")
        missing = sorted(counted - self._numbers.keys())
        if len(self._numbers) + len(missing) > 2 * RULES:
            self.refusals()
            cpus = libbpf.call("the CPUs cannot be counted", "libbpf_num_possible_cpus")
            for rule in self._numbers.keys() - counted - self._judge.counted:
                self._refused[rule] += self._count_refused(rule)
                key = struct.pack("=I", self._numbers.pop(rule))
                libbpf.map_write(self.descriptor("m4_refused"), key, bytes(8 * cpus))
        if missing:
            free = sorted(set(range(2 * RULES)) - set(self._numbers.values()))
            self._numbers.update(zip(missing, free, strict=False))

    def _attach_cgroup(self, cgroup: Path) -> None:
        try:
            fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise KernelError(f"the cgroup {cgroup} cannot be opened: {error.strerror}") from error
        try:
            for name, where in CGROUP_PROGRAMS.items():
                what = f"{name} cannot be attached to {cgroup}"
                program = self._object.program(name) if self._object is not None else 0
                self._links.append(libbpf.call(what, "bpf_link_create", program, fd, where, None))
        finally:
            os.close(fd)

    def replacement(self, program: Path, hops: Source) -> Replacement:
        """Load another program for the same service, beside the one in force, which stays so until
        :meth:`Replacement.swap`. Raises :class:`KernelError`, as :func:`attach` does."""
        policies = read_policies(hops)
        loaded = load(program, policies.callees, self._object)
        try:
            return self._change(loaded, 0, policies)
        except BaseException:
            loaded.close()
            raise

    def edition(self, hops: Source) -> Replacement:
        """Other policies for the program in force, laid out beside those that it judges by. Raises
        :class:`KernelError`."""
        policies = read_policies(hops)
        if self._changing:
            raise KernelError("the policies are being changed already")
        if self._judge.loaded is None:
            raise KernelError("the program is no longer attached")
        quiet.wait_since(self._left)
        return self._change(self._judge.loaded, 1 - self._judge.number, policies)

    def release(self) -> Replacement:
        """What takes the rules out of force: no policies. Requests on open connections are followed all the same, to be
        judged again when there are policies again; new connections are not under control."""
        return self.edition({"callees": self._callees, "hops": []})

    def use(self, new: InForce) -> None:
        """Put policies in force: one step for all connections, also in the middle of a request, whose head was judged
        by those before. Hops are closed before that step and opened behind it, so that nothing passes that neither
        would let pass."""
        closed, hops = self.descriptor("m4_closed"), self.descriptor("m4_hops")
        old, zero = self._judge, struct.pack("=I", 0)
        for address in _indices(old.sites).keys() - _indices(new.sites).keys():
            libbpf.map_delete(hops, address)
        if new.loaded is None:
            raise KernelError("the program is no longer attached")
        for address, rule in new.closed.items():
            libbpf.map_write(closed, address, struct.pack("=I", rule))
        libbpf.map_write(new.loaded.map("m4_current"), zero, struct.pack("=I", new.number))
        libbpf.map_write(self.descriptor("m4_judges"), zero, struct.pack("=I", new.loaded.program(_JUDGE)))
        self._judge, self._left = new, quiet.now() if old.loaded else 0.0
        for address, index in _indices(new.sites).items():
            libbpf.map_write(hops, address, struct.pack("=I", index))
        for address in old.closed.keys() - new.closed.keys():
            libbpf.map_delete(closed, address)

    @property
    def judged(self) -> InForce:
        """What is in force."""
        return self._judge

    def _change(self, loaded: Loaded, number: int, policies: Policies) -> Replacement:
        if self._changing:
            raise KernelError("the policies are being changed already")
        new = self._written(loaded, number, policies)
        self._changing = True
        return Replacement(self, new)

    def settle(self, *both: InForce) -> None:
        """A change is over; give back what is not in force. The first object stays: connections were given to its
        programs."""
        if self._changing and self._object is not None:
            for one in {id(one.loaded): one.loaded for one in both}.values():
                if one is not None and one not in (self._judge.loaded, self._object):
                    one.close()
            self._changing = False
            quiet.wait_since(self._left)

    def refused(self) -> dict[str, dict[str, int]]:
        """Per site and policy: the requests that it refused."""
        found: dict[str, dict[str, int]] = {}
        now = Counter({rule: self._count_refused(rule) for rule in self._numbers}) if self._object else Counter()
        for rule in sorted(self._numbers.keys() | self._refused.keys()):
            found.setdefault(rule[0], {})[rule[1]] = now[rule] + self._refused[rule]
        return found

    def _count_refused(self, rule: tuple[str, str]) -> int:
        cpus = libbpf.call("the CPUs cannot be counted", "libbpf_num_possible_cpus")
        raw = libbpf.map_read(self.descriptor("m4_refused"), struct.pack("=I", self._numbers[rule]), 8 * cpus)
        return sum(struct.unpack(f"={cpus}Q", raw))

    def refusals(self) -> list[Refusal]:
        """The latest refused requests that were told, the oldest first. The kernel keeps some hundred until this is
        asked; what comes while there is no room is not among them."""
        rules = {number: rule for rule, number in self._numbers.items()}
        for raw in libbpf.ring_read(self.descriptor("m4_refusals")) if self._object else ():
            at, _, rule, status, size = _REFUSAL.unpack_from(raw)
            head = raw[_REFUSAL.size : _REFUSAL.size + min(size, len(raw) - _REFUSAL.size)]
            site, policy = rules.get(rule, ("", ""))
            self._latest.append(Refusal(at / 1e9, site, policy, status, head))
        return list(self._latest)

    def counters(self) -> dict[str, dict[str, int]]:
        """Per site: requests ``seen``, of them ``allowed``, ``denied``; ``tagged`` (context tag written); ``errors``
        (requests that cannot be read without doubt, and failures of the kernel's helpers: both are refused)."""
        if not self._object:
            raise KernelError("the program is no longer attached")
        counts = self.descriptor("m4_counts")
        cpus = libbpf.call("the CPUs cannot be counted", "libbpf_num_possible_cpus")
        result: dict[str, dict[str, int]] = {}
        for site, index, _ in self._judge.sites:
            raw = libbpf.map_read(counts, struct.pack("=I", index), _COUNTS.size * cpus)
            sums = [sum(values) for values in zip(*_COUNTS.iter_unpack(raw), strict=True)]
            result[site] = dict(zip(COUNTERS, sums, strict=True))
        return result

    def tallies(self, names: Iterable[str]) -> dict[str, int]:
        """What counters of policies have counted, by name; it goes on when a program takes over."""
        if not self._object:
            raise KernelError("the program is no longer attached")
        states = self.descriptor("m4_states")
        raw = {name: libbpf.map_get(states, state_key(name), _STATE.size) for name in names}
        return {name: 0 if value is None else _STATE.unpack(value)[1] for name, value in raw.items()}

    def close(self) -> None:
        """Take the program out of force, also for open connections (the beginning of a request that was held back
        because it is incomplete is lost). May be called twice."""
        lib = libbpf.library()
        for link in self._links:
            os.close(link)
        if self._verdict:
            lib.bpf_prog_detach2(self._verdict, self._sockets, libbpf.ATTACH_SK_MSG_VERDICT)
            libbpf.map_clear(self._sockets, _COOKIE)
        for loaded in (self._judge.loaded, self._object if self._object is not self._judge.loaded else None):
            if loaded is not None:
                loaded.close()
        self._object, self._verdict, self._sockets = None, 0, 0
        self._judge = InForce(None, 0, [], frozenset(), {})
        self._links = []

    def __enter__(self) -> Attached:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Replacement:
    """Policies that are ready to take the place of those in force: for the same program, or with another one, which is
    loaded and verified."""

    def __init__(self, attached: Attached, new: InForce) -> None:
        self._attached = attached
        self._old, self._new = attached.judged, new

    def swap(self) -> None:
        """Put it in force."""
        self._attached.use(self._new)

    def revert(self) -> None:
        """Put what was before in force again."""
        self._attached.use(self._old)

    def settle(self) -> None:
        """Give back what is not in force."""
        self._attached.settle(self._old, self._new)


def state_key(name: str) -> bytes:
    """The key of ``m4_states`` for a state's name."""
    return struct.pack("=Q", state_number(name))


def _indices(sites: Sites) -> dict[bytes, int]:
    """The number of each address's site, by its key."""
    return {remote_key(address): index for _, index, addresses in sites for address in addresses}


def attach(program: Path, cgroup: Path, hops: Source) -> Attached:
    """Load the object file *program* and put it in force for connections that processes of *cgroup* open from now on to
    the addresses of *hops*. Raises :class:`KernelError`; if the verifier refuses, its last lines are the detail."""
    return Attached(program, cgroup, hops)
