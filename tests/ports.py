"""Free ports of this machine, below those that the system gives to outgoing connections: such a connection could take a
port away between the moment in which it is found free and the one in which a server listens there."""

from __future__ import annotations

import os
import random
import socket

SINGLE, ROWS = range(10_000, 15_000), range(15_000, 32_000)
_chosen = random.Random(os.getpid())  # other runs of the tests on this machine look elsewhere first
_taken: set[int] = set()


def is_free(port: int) -> bool:
    with socket.socket() as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def addresses(n: int) -> list[str]:
    """Free addresses, none handed out twice."""
    out: list[str] = []
    while len(out) < n:
        port = _chosen.choice(SINGLE)
        if port not in _taken and is_free(port):
            _taken.add(port)
            out.append(f"127.0.0.1:{port}")
    return out


def free_base(count: int = 100) -> int:
    """The first of a row of free ports."""
    while True:
        base = _chosen.randrange(ROWS.start, ROWS.stop - count)
        if all(map(is_free, range(base, base + count))):
            return base
