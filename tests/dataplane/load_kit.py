"""Clients that send one request after another while a test changes something."""

from __future__ import annotations

import http.client
import shutil
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import m4bpf
import pytest
from m4deploy.processes import split_address

CLIENTS = 4


@dataclass
class Load:
    """Clients that each keep a connection, and send one request after another. None of them tries anything twice."""

    address: str
    target: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[int, int, bytes]] = field(default_factory=list)  # client, status, body
    fields: list[dict[str, str]] = field(default_factory=list)  # the header fields of each of them
    failures: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Load:
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        self.wait_for(4)
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def _run(self, client: int) -> None:
        connection = http.client.HTTPConnection(*split_address(self.address), timeout=60)
        while not self.ended.is_set():
            try:
                connection.request("GET", self.target, headers=self.headers)
                reply = connection.getresponse()
                body = reply.read()
                with self.lock:
                    self.seen.append((client, reply.status, body))
                    self.fields.append({name.lower(): value for name, value in reply.getheaders()})
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                connection.close()

    def wait_for(self, more: int) -> None:
        """Until each client has had so many more answers."""
        goal = {n: count + more for n, count in self.counts().items()}
        end = time.monotonic() + 120
        while any(count < goal[n] for n, count in self.counts().items()):
            assert time.monotonic() < end, self.failures[:3]
            time.sleep(0.005)

    def counts(self) -> dict[int, int]:
        found = Counter(client for client, _, _ in list(self.seen))
        return {n: found[n] for n in range(CLIENTS)}

    def last(self) -> list[tuple[int, bytes]]:
        """The last status and body that each client got."""
        return [next((s, b) for c, s, b in reversed(self.seen) if c == n) for n in range(CLIENTS)]


def skip_without_a_stand() -> None:
    """Benchmarks of the dataplanes need a load generator, and a kernel that takes programs."""
    if shutil.which("h2load") is None:
        pytest.skip("h2load is missing: scripts/setup-system.sh bench")
    if m4bpf.cgroup_root() is None or not m4bpf.probe().ok:
        pytest.skip("the kernel dataplane cannot run here")
