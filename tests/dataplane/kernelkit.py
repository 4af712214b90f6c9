"""What the tests of the kernel dataplane share: elements, rendering, a server that logs, and a client of raw bytes."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
import m4bpf
import pytest

SPEC = Path(__file__).resolve().parents[2] / "specs" / "ebpf"
TRUE: dict[str, Any] = {"kind": "true"}


def render(element: Mapping[str, Any], folder: Path, spec: Path = SPEC) -> None:
    """Write the element's artifacts to *folder*, as the compiler's renderer is told to."""
    env = jinja2.sandbox.SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(spec),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("m4.bpf.c", "hops.json"):
        (folder / name).write_text(env.get_template(name + ".j2").render(**element))


def compare(attribute: str, op: str, value: Any = None, key: str | None = None) -> dict[str, Any]:
    return {"kind": "compare", "attribute": attribute, "key": key, "op": op, "value": value}


def header(key: str, op: str, value: Any = None) -> dict[str, Any]:
    return compare("header", op, value, key)


def negate(when: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "not", "of": when}


def deny(number: int, when: dict[str, Any], status: int = 403) -> dict[str, Any]:
    return {
        "id": number,
        "policy": f"policy_{number}",
        "operation": "DropRequest",
        "emits": "verdict.c.j2",
        "args": {"status": status},
        "writes": [
            {"attribute": "verdict", "key": None, "value": "deny"},
            {"attribute": "status", "key": None, "value": status},
        ],
        "terminal": True,
        "when": when,
    }


def allow(number: int, when: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "policy": f"policy_{number}",
        "operation": "AllowRequest",
        "emits": "verdict.c.j2",
        "args": {},
        "writes": [{"attribute": "verdict", "key": None, "value": "allow"}],
        "terminal": False,
        "when": when,
    }


def egress(callee: str, rules: Iterable[dict[str, Any]], tags: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "id": f"egress.{callee}",
        "side": "egress",
        "caller": "front",
        "callee": callee,
        "entry": False,
        "protocol": "http",
        "requests": True,
        "versions": [],
        "rules": list(rules),
        "tags": tags,
        "sealed": False,
    }


def element(
    sites: Sequence[dict[str, Any]], remote: Mapping[str, Sequence[str]] | None = None, width: int = 4
) -> dict[str, Any]:
    """An element of the service ``front``; *remote* tells where each callee listens."""
    remote = remote or {site["callee"]: [f"127.0.0.1:{20000 + i}"] for i, site in enumerate(sites)}
    value = {
        "mesh": "shop",
        "service": "front",
        "dataplane": "ebpf",
        "context": {"header": "m4-ctx", "width": width},
        "sites": list(sites),
        "wiring": {
            "app": {"": "127.0.0.1:19999"},
            "listen": [],
            "remote": {name: [{"version": "", "address": a} for a in where] for name, where in remote.items()},
            "dial": {name: list(where) for name, where in remote.items()},
            "entry": [],
            "admin": None,
        },
    }
    return json.loads(json.dumps(value))  # type: ignore[no-any-return]


@dataclass
class Seen:
    """A request as the callee got it."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]


@dataclass
class Server:
    """A callee: a strict reader of HTTP/1.1 that answers 200 and keeps what it read."""

    host: str = "127.0.0.1"
    seen: list[Seen] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family, backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            try:
                while (seen := _read_request(stream)) is not None:
                    self.seen.append(seen)
                    answer = b"" if seen.method == "HEAD" else b"fine\n"
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + answer)
                    if seen.values("connection") == ["close"]:
                        return
            except ValueError as error:
                self.broken.append(str(error))
            except OSError:
                return


def _read_request(stream: Any) -> Seen | None:
    line = stream.readline()
    if not line:
        return None
    if not line.endswith(b"\r\n"):
        raise ValueError(f"request line {line!r}")
    method, target, _ = line.decode("latin-1").split(" ")
    fields: list[tuple[str, str]] = []
    while (line := stream.readline()) != b"\r\n":
        if not line.endswith(b"\r\n"):
            raise ValueError(f"field {line!r}")
        name, _, value = line.decode("latin-1").partition(":")
        fields.append((name, value.strip()))
    names = {name.lower(): value for name, value in fields}
    body = b""
    if names.get("transfer-encoding", "").lower() == "chunked":
        while size := int(stream.readline(), 16):
            body += stream.read(size)
            if stream.read(2) != b"\r\n":
                raise ValueError("chunk end")
        while stream.readline() != b"\r\n":
            pass
    elif "content-length" in names:
        body = stream.read(int(names["content-length"]))
    return Seen(method, target, fields, body)


@dataclass(frozen=True)
class Answer:
    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def ours(self) -> bool:
        return self.fields.get("x-m4-denied-by") == "ebpf"


class Client:
    """One connection that sends exactly the pieces it is given."""

    def __init__(self, server: Server, host: str | None = None) -> None:
        self.socket = socket.create_connection((host or server.host, server.port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if piece:
                self.socket.sendall(piece)

    def answer(self, head: bool = False) -> Answer:
        """The next response; raises TimeoutError or EOFError if there is none."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        text, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        lines = text.decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = 0 if head else int(fields.get("content-length", "0"))
        while len(self._buffer) < length:
            self._more()
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        match = re.fullmatch(r"HTTP/1\.1 (\d\d\d) .*", lines[0])
        assert match, lines[0]
        return Answer(int(match[1]), fields, body)

    def quiet(self, seconds: float = 0.05) -> bool:
        """Does nothing more arrive for a while?"""
        self.socket.settimeout(seconds)
        try:
            return not self._buffer and self.socket.recv(1, socket.MSG_PEEK) == b""
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(60)

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self._buffer += data


@contextmanager
def in_force(
    sites: Sequence[dict[str, Any]],
    remote: Mapping[str, Sequence[str]],
    folder: Path,
    cgroup: Path,
    width: int = 4,
) -> Iterator[m4bpf.Attached]:
    """Render, compile and attach; in force for this process's new connections while inside."""
    render(element(sites, remote, width), folder)
    m4bpf.compile_program(folder / "m4.bpf.c", folder / "m4.bpf.o", [])
    with m4bpf.attach(folder / "m4.bpf.o", cgroup, folder / "hops.json") as attached:
        yield attached


@contextmanager
def inside(cgroup: Path) -> Iterator[None]:
    """Move this process into the group and back to where it was."""
    root = m4bpf.cgroup_root()
    assert root is not None
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    before = next(line[3:] for line in lines if line.startswith("0::"))
    m4bpf.enter_cgroup(cgroup, os.getpid())
    try:
        yield
    finally:
        m4bpf.enter_cgroup(root / before.lstrip("/"), os.getpid())


def elsewhere(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in another process."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def kernel_group() -> Iterator[Path]:
    """A cgroup of this test run's own; skips where the kernel dataplane cannot run, with the reason."""
    found = m4bpf.probe()
    if not found.ok:
        pytest.skip("; ".join(found.reasons))
    path = m4bpf.make_cgroup(f"m4-test-{os.getpid()}/front")
    yield path
    m4bpf.remove_cgroup(path)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server for all tests of a module."""
    server = Server()
    yield server
    server.close()


def edit(attached: m4bpf.Attached, hops: Path) -> None:
    """Puts other rules in force."""
    change = attached.edition(hops)
    change.swap()
    change.settle()


@contextmanager
def meanwhile(asks: Iterable[Callable[[], bool]]) -> Iterator[None]:
    """Asks in threads of their own, each again and again until it answers False, while the body runs."""
    ended = threading.Event()

    def keep_asking(ask: Callable[[], bool]) -> None:
        while not ended.is_set() and ask():
            pass

    threads = [threading.Thread(target=keep_asking, args=(ask,)) for ask in asks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)
