"""``hops.json``: where the hops of a service lead, and the policies on each, read into values.

    {"callees": N, "hops": [{"site", "index", "remote": ["host:port", …], "closed": CLOSED, "rules": [RULE, …],
    "tags": TAGS}, …]}

CLOSED is None, or ``{"policy", "dial": ["host:port", …]}``: by that policy the service connects neither to *remote*
nor, at *dial*, to its own proxy for that.

RULE is ``{"policy", "when", "effect", "values"}``: the operation with the number *effect* of the compiled program is
performed with the numbers *values* if the tree *when* holds; ``{"state": NAME}`` stands for the number of a state, and
``{"part", "key"}`` for that of a part of the request. TAGS is None or ``{"map": [{"from": [tag, …], "to": tag},
…], "otherwise": tag or None}``, or a list of such that also have ``"when"``: the first that holds is it. The trees are
described in :mod:`m4bpf.layout`.
"""

from __future__ import annotations

import ipaddress
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from m4bpf._errors import KernelError

Source = Mapping[str, Any] | Path
Sites = list[tuple[str, int, list[str]]]  # name, number, addresses


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the request, in place of its number, which depends on what else is looked at."""

    attribute: str
    key: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """An operation of a policy, and when it is performed."""

    site: str
    policy: str
    when: Any
    effect: int
    values: tuple[int | Part, ...]

    @property
    def counted(self) -> tuple[str, str]:
        """What refusals are counted by."""
        return self.site, self.policy


@dataclass(frozen=True, slots=True)
class Hop:
    site: str
    index: int
    rules: tuple[Rule, ...]
    tags: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
    closed_by: str | None = None  # the policy by which nothing connects to the addresses in `closed`
    closed: tuple[bytes, ...] = ()

    @property
    def counted(self) -> frozenset[tuple[str, str]]:
        """What refusals are counted by."""
        rules = frozenset(rule.counted for rule in self.rules)
        return rules if self.closed_by is None else rules | {(self.site, self.closed_by)}


@dataclass(frozen=True, slots=True)
class Policies:
    """All that the loader is told of one service."""

    callees: int
    sites: Sites
    hops: tuple[Hop, ...]


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


def state_number(name: str) -> int:
    """The key of ``m4_states`` for a state's name: FNV-1a of 64 bits."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = (key ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return key


def read_policies(source: Source) -> Policies:
    """Reads the file, or its content. Raises :class:`KernelError`."""
    try:
        data = json.loads(source.read_text()) if isinstance(source, Path) else source
        sites = [(str(hop["site"]), int(hop["index"]), [str(a) for a in hop["remote"]]) for hop in data["hops"]]
        hops = tuple(_hop(hop) for hop in data["hops"])
        callees = int(data.get("callees", 1 + max((index for _, index, _ in sites), default=0)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise KernelError("the list of hops cannot be read", f"{type(error).__name__}: {error}") from error
    owner: dict[bytes, str] = {}
    for site, _, addresses in sites:
        for address in addresses:
            if owner.setdefault(remote_key(address), site) != site:
                raise KernelError(f"{address} belongs to {site} and to {owner[remote_key(address)]}")
    return Policies(callees, sites, hops)


def _hop(hop: Mapping[str, Any]) -> Hop:
    site = str(hop["site"])
    rules = [
        Rule(site, str(r["policy"]), r["when"], int(r["effect"]), tuple(_number(v) for v in r["values"]))
        for r in hop.get("rules", ())
    ]
    found = Hop(site, int(hop["index"]), tuple(rules), hop.get("tags"))
    closed = hop.get("closed")
    if closed is None:
        return found
    addresses = tuple(remote_key(str(address)) for address in (*hop["remote"], *closed["dial"]))
    return replace(found, closed_by=str(closed["policy"]), closed=addresses)


def _number(value: Any) -> int | Part:
    if not isinstance(value, Mapping):
        return int(value) & 0xFFFFFFFFFFFFFFFF
    if "part" in value:
        return Part(str(value["part"]), value["key"])
    return state_number(str(value["state"]))
