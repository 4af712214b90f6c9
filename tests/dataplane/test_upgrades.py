"""Requests that ask for another protocol: what is said in it is judged by nobody, so it is let through only where that
is sound, and never before the application has agreed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path

import m4bpf
import pytest
from ports import free_base

from tests.framing.corpus import DENIED, get
from tests.framing.subjects import KERNEL, SUBJECTS, in_force

KEY = base64.b64encode(bytes(16))
ACCEPTED = base64.b64encode(hashlib.sha1(KEY + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # RFC 6455, 4.2.2
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n" % KEY
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
OTHER = b"Connection: Upgrade\r\nUpgrade: gossip/1\r\n"
UPGRADES = pytest.mark.parametrize("fields", [WEBSOCKET, H2C, OTHER], ids=["websocket", "h2c", "other"])
PATIENCE, SILENCE = 60.0, 1.0  # seconds until an answer has to come, and until none is expected any more
FRAME = b"\x82\x05hello"  # to WebSocket, a binary message; to HTTP, nothing


@dataclass(eq=False)
class Agreeable:
    """A server that takes every upgrade that it is asked for, or none; it keeps all bytes, and echoes what comes in the
    other protocol."""

    agrees: bool
    received: bytearray = field(default_factory=bytearray)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.received += head
                if self.agrees and (asked := re.search(rb"(?i)\r\n(upgrade: .*?)\r\n", head)):
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n%s\r\n" % asked[1])
                    writer.write(b"Sec-WebSocket-Accept: %s\r\n\r\n" % ACCEPTED)
                    while data := await reader.read(65536):
                        self.received += data
                        writer.write(data)
                    return
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@dataclass(frozen=True, slots=True)
class Said:
    """What a client got and what the application got."""

    status: bytes
    rest: bytes
    application: bytes


async def talk(subject: str, folder: Path, server: Agreeable, first: bytes, then: bytes = b"") -> Said:
    """Sends `first`, reads the head of the answer, sends `then`, and reads until nothing comes."""
    if m4bpf.cgroup_root() is None or (subject == KERNEL and not m4bpf.probe().ok):
        pytest.skip("the kernel dataplane cannot run here")
    async with in_force(subject, folder, free_base(50), server.serve) as there:
        loop = asyncio.get_running_loop()
        with socket.create_connection(there.address) as client:
            client.setblocking(False)
            got = bytearray()

            async def receive(seconds: float) -> bool:
                data = await asyncio.wait_for(loop.sock_recv(client, 65536), seconds)
                got.extend(data)
                return bool(data)

            with contextlib.suppress(PermissionError):  # what is refused behind a request that has no answer yet
                await loop.sock_sendall(client, first)
            while b"\r\n\r\n" not in got and await receive(PATIENCE):
                pass
            head, _, _ = bytes(got).partition(b"\r\n\r\n")
            with contextlib.suppress(TimeoutError, OSError):
                await loop.sock_sendall(client, then)
                while await receive(SILENCE):
                    pass
            rest = bytes(got)[len(head) + 4 :]
        return Said(head.split()[1], rest, bytes(server.received))


@UPGRADES
@pytest.mark.parametrize("subject", SUBJECTS)
async def test_what_follows_an_upgrade_that_is_not_taken_is_judged(subject: str, fields: bytes, tmp_path: Path) -> None:
    """Sent at once, or after the answer: whoever took what follows for the other protocol would pass it on."""
    for first, then in ((get(fields) + DENIED, b""), (get(fields), DENIED)):
        said = await talk(subject, tmp_path / str(len(first)), Agreeable(agrees=False), first, then)
        assert said.status == b"200"
        assert b"/admin" not in said.application


@pytest.mark.parametrize("subject", [s for s in SUBJECTS if s != KERNEL])
async def test_proxies_let_websockets_through(subject: str, tmp_path: Path) -> None:
    said = await talk(subject, tmp_path, Agreeable(agrees=True), get(WEBSOCKET), FRAME)
    assert (said.status, said.rest) == (b"101", FRAME)


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_a_refused_upgrade_is_refused(subject: str, tmp_path: Path) -> None:
    said = await talk(subject, tmp_path, Agreeable(agrees=True), get(WEBSOCKET, target=b"/admin"), FRAME)
    assert said.status == b"403"
    assert said.application == b""


@pytest.mark.parametrize(
    ("subject", "fields"),
    [(s, f) for s in SUBJECTS for f in (WEBSOCKET, H2C, OTHER) if s == KERNEL or f is not WEBSOCKET],
)
async def test_requests_are_not_hidden_in_another_protocol(subject: str, fields: bytes, tmp_path: Path) -> None:
    """A server that speaks HTTP/2 would answer refused requests in it. Proxies ask no server to; the kernel reads what
    follows as HTTP/1.1, and ends the connection. WebSockets carry messages, and no requests."""
    said = await talk(subject, tmp_path, Agreeable(agrees=True), get(fields), FRAME)
    assert said.status == (b"101" if subject == KERNEL else b"200")
    assert FRAME not in said.application
