"""The dataplanes under test: each is built by `m4` for one hop and stands before a server that keeps every byte."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from m4bpf import cgroup_root, enter_cgroup, make_cgroup, remove_cgroup
from m4deploy import processes
from m4deploy.built import read_built
from m4deploy.drivers import driver
from m4deploy.drivers.base import Place

PREFIX = b"/admin"
PROGRAM = """
mesh framing { graph "framing.graph.yaml"; dataplanes %s; }
policy no_admin (HttpRequest r) on front -> pay at egress when r.target starts_with "/admin" { r.DropRequest(); }
"""
GRAPH = "services:\n  front: {}\n  pay: {origin: false}\ncalls: [[front, pay]]\n"
KERNEL = "ebpf"
Serves = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SUBJECTS = (KERNEL, "envoy", "haproxy")


@dataclass(eq=False)
class Server:
    """Answers every request that it reads strictly with 200 and its target, and keeps all bytes of each connection.

    `once`: behind a proxy, which uses connections for several clients, each is closed for writing after one answer;
    what still comes is kept, too.
    """

    once: bool
    streams: list[bytearray] = field(default_factory=list)
    open: dict[asyncio.StreamWriter, asyncio.Task[None] | None] = field(default_factory=dict)

    async def close(self) -> None:
        """Ends what clients or proxies have left open."""
        left = [task for task in self.open.values() if task is not None]
        for writer in self.open:
            writer.transport.abort()
        await asyncio.gather(*left)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream = bytearray()
        self.streams.append(stream)
        self.open[writer] = asyncio.current_task()
        at: int | None = 0
        try:
            while data := await reader.read(65536):
                stream += data
                while at is not None and (found := request(bytes(stream), at)) is not None:
                    target, at = found
                    more = b"Connection: close\r\n" if self.once else b""
                    writer.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (more, len(target), target))
                    await writer.drain()
                    if self.once:
                        writer.write_eof()
                        at = None
        except OSError:
            pass
        finally:
            del self.open[writer]
            writer.close()


def request(stream: bytes, at: int) -> tuple[bytes, int] | None:
    """The target of the request that begins there and where it ends; None if it is not complete, or malformed."""
    head, blank, rest = stream[at:].partition(b"\r\n\r\n")
    first = re.match(rb"[A-Z]+ (\S+) HTTP/1\.[01](?=\r\n|$)", head)
    if not blank or not first:
        return None
    at += len(head) + 4
    if re.search(rb"(?i)\r\ntransfer-encoding:\s*chunked\s*(?=\r\n|$)", head):
        end = 0
        while body := re.compile(rb"([0-9A-Fa-f]+)(?:;[^\r\n]*)?\r\n").match(rest, end):
            size = int(body[1], 16)
            end = body.end() + size + 2
            if not size:
                last = re.compile(rb"(?:[^\r\n]+\r\n)*\r\n").match(rest, body.end())
                return None if last is None else (first[1], at + last.end())
        return None
    length = re.search(rb"(?i)\r\ncontent-length:\s*(\d+)", head)
    end = int(length[1]) if length else 0
    return (first[1], at + end) if len(rest) >= end else None


@dataclass(frozen=True, slots=True)
class Subject:
    """A dataplane in force; `address` is where the caller connects to."""

    name: str
    address: tuple[str, int]
    server: Server


@asynccontextmanager
async def in_force(
    dataplane: str, folder: Path, base_port: int, behind: Serves | None = None
) -> AsyncIterator[Subject]:
    """`behind`: a server in place of the usual one. Raises DeployError or KernelError where it cannot run."""
    program = folder / "program"
    program.mkdir(parents=True)
    (program / "framing.m4").write_text(PROGRAM % dataplane)
    (program / "framing.graph.yaml").write_text(GRAPH)
    m4 = Path(sys.executable).with_name("m4")
    command = [str(m4), "build", str(program), "-o", str(folder / "out"), "--base-port", str(base_port)]
    subprocess.run(command, check=True, capture_output=True)
    built = read_built(folder / "out")
    server = Server(once=dataplane != KERNEL)
    host, port = processes.split_address(built.services["pay"]["app"][""])
    listening = await asyncio.start_server(behind or server.serve, host, port, backlog=1024)
    try:
        with ExitStack() as stack:
            group = make_cgroup(f"m4-framing-{os.getpid()}/front")
            stack.callback(remove_cgroup, group)
            for element in built.elements:
                here = driver(element.dataplane)
                here.validate(element, folder)
                running = here.start(element, Place(folder, group))
                stack.callback(running.close)
                if running.process is not None:
                    about = (running.process, str(element), folder / f"{element.dataplane}.log")
                    processes.wait_ready({x["address"]: about for x in element.wiring["listen"]}, lambda: None)
            stack.enter_context(_inside(group))
            address = processes.split_address(built.services["front"]["dial"]["pay"][0])
            yield Subject(dataplane, address, server)
    finally:
        listening.close()
        await server.close()


@contextmanager
def _inside(group: Path) -> Iterator[None]:
    """This process is the caller meanwhile."""
    root = cgroup_root()
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    before = next(line[3:] for line in lines if line.startswith("0::"))
    enter_cgroup(group, os.getpid())
    try:
        yield
    finally:
        if root is not None:
            enter_cgroup(root / before.lstrip("/"), os.getpid())
