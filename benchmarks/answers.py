"""Measures what it takes to see what arrives on a caller's connections, where a refusal could be put behind answers
that are due: a stream verdict (`sk_skb`) that lets everything pass, beside the program that judges what is sent.

Rounds are interleaved, with nothing twice, as in `benchmarks.hooks`; then a number of requests one after the other, of
which none should stall. Then what applications find that read in other ways than `recv`, and how much a piece of an
answer can hold to be lengthened by a refusal. `docs/kernel.md` has what was decided.

Usage: python -m benchmarks.answers [--rounds N] [--seconds S] [--stalls N]
"""

from __future__ import annotations

import argparse
import array
import fcntl
import os
import select
import socket
import struct
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from m4bpf import KernelError, libbpf

from benchmarks import dataplane_table as table
from benchmarks.beside import compare, options, stall
from benchmarks.dataplane import CALLER, CONTEXT, CONTROL, GROUP, NOTHING, Arm, check
from benchmarks.dataplane_stand import Refused, Standing, build, cgroups, compile_app, stand, write_hop
from benchmarks.programs import ATTACH_STREAM_VERDICT, PASS, PROG_TYPE_SK_SKB, attached, maps_of, resized

SENT, BOTH = "sent", "sent and received"
NAMES = {
    NOTHING: "nothing",
    CONTROL: "nothing again (control)",
    SENT: "what is sent",
    BOTH: "what is sent and received",
}
CONNECTIONS = (1, 16)
PATIENCE = 1.0  # seconds for what should be there at once
MORE = 100  # bytes of a refusal
MOST = 60_000  # bytes of a piece that are tried

_TCP_INQ, _SO_COOKIE = 36, 57  # of the kernel's interface (linux/tcp.h, asm-generic/socket.h)
Verdict = bytes | Callable[[int], bytes]  # a program, or what makes it for a sockhash
LENGTHEN = resized(MORE)


@contextmanager
def connections(verdict: Verdict | None, *, watched: bool = True) -> Iterator[Callable[[], tuple[socket.socket, ...]]]:
    """Makes connections whose first end is under control: what it sends passes, and `verdict` sees what it receives.
    They are in a sockhash by their cookies. Not `watched`: as if there were nothing."""
    with ExitStack() as stack:
        sockets = libbpf.call(
            "a sockhash cannot be made", "bpf_map_create", libbpf.MAP_TYPE_SOCKHASH, b"m4_see", 8, 8, 64, None
        )
        stack.callback(os.close, sockets)
        where = libbpf.PROG_TYPE_SK_MSG, libbpf.ATTACH_SK_MSG_VERDICT
        stack.enter_context(attached(sockets, *where, PASS))
        if verdict is not None:
            code = verdict if isinstance(verdict, bytes) else verdict(sockets)
            stack.enter_context(attached(sockets, PROG_TYPE_SK_SKB, ATTACH_STREAM_VERDICT, code))

        def connect() -> tuple[socket.socket, ...]:
            with socket.create_server(("127.0.0.1", 0)) as server:
                ours = stack.enter_context(socket.create_connection(server.getsockname()))
                theirs = stack.enter_context(server.accept()[0])
            theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ours.settimeout(PATIENCE)
            if watched:
                cookie = ours.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8)
                libbpf.map_write(sockets, cookie, struct.pack("=Q", ours.fileno()))
            return ours, theirs

        yield connect


def _fionread(ours: socket.socket, _: socket.socket) -> str:
    waiting = array.array("i", [0])
    fcntl.ioctl(ours, termios.FIONREAD, waiting)
    return f"{waiting[0]} bytes wait"


def _splice(ours: socket.socket, _: socket.socket) -> str:
    read, write = os.pipe()
    try:
        return f"{os.splice(ours.fileno(), write, 100)} bytes"  # the socket has a timeout, so it does not block
    except BlockingIOError:
        return "nothing"
    finally:
        os.close(read)
        os.close(write)


def _inq(ours: socket.socket, _: socket.socket) -> str:
    ours.setsockopt(socket.IPPROTO_TCP, _TCP_INQ, 1)
    told = ours.recvmsg(3, 100)[1]
    return f"{struct.unpack('i', told[0][2])[0]} bytes are left" if told else "nothing"


Way = Callable[[socket.socket, socket.socket], str]  # what the first finds, for which 7 bytes of the second wait
WAYS: dict[str, Way] = {
    "ioctl(FIONREAD), 7 bytes wait": _fionread,
    "splice() to a pipe, 7 bytes wait": _splice,
    "recvmsg() of 3 with TCP_INQ": _inq,
}


def readings(ways: Mapping[str, Way]) -> Iterator[list[str]]:
    """What applications find where nothing is under control, where what is sent is, and where all is."""
    for name, way in ways.items():
        row = [name]
        for verdict, watched in ((None, False), (None, True), (PASS, True)):
            with connections(verdict, watched=watched) as connect:
                ours, theirs = connect()
                theirs.sendall(b"waiting")
                select.select([ours], [], [], PATIENCE)
                row.append(way(ours, theirs))
        yield row


def lengthened(size: int) -> bool:
    """Whether a piece of so many bytes arrives with what was added."""
    with connections(LENGTHEN) as connect:
        ours, theirs = connect()
        theirs.sendall(b"a" * size)
        got = 0
        try:
            while got < size + MORE:
                got += len(ours.recv(1 << 16))
        except TimeoutError:
            return False
        return got == size + MORE


def longest() -> int:
    """The largest piece that can be lengthened."""
    fits, too_long = 0, MOST
    while too_long - fits > 1:
        size = (fits + too_long) // 2
        fits, too_long = (size, too_long) if lengthened(size) else (fits, size)
    return fits


def follows() -> str:
    """What becomes of what arrives behind bytes that were added."""
    with connections(LENGTHEN) as connect:
        ours, theirs = connect()
        theirs.sendall(b"answer")
        while len(ours.recv(6 + MORE, socket.MSG_PEEK)) < 6 + MORE:
            pass
        ours.recv(6 + MORE)
        theirs.sendall(b"more")
        try:
            return f"{len(ours.recv(4 + MORE))} bytes arrive"
        except TimeoutError:
            return f"nothing arrives within {PATIENCE:.0f} s"


def measure(args: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
    """The rounds, and the requests one after the other."""
    app = compile_app(folder)
    group = Path(f"m4-answers-{args.base_port}")
    stack.enter_context(cgroups(group))
    meshes: dict[str, Standing] = {}
    for number, (arm, policies) in enumerate(((NOTHING, ()), (CONTROL, ()), (SENT, ("caller",)), (BOTH, ("caller",)))):
        before, here = maps_of(libbpf.MAP_TYPE_SOCKHASH), folder / str(number)
        write_hop(here, "ebpf", policies)
        built = build(here, folder / f"{number}-built", args.base_port + 50 * number)
        up = stand(built, app, group / str(number), folder / f"{number}-run", caller="client", callee="server")
        meshes[arm] = stack.enter_context(up)
        if arm == BOTH:
            (sockets,) = maps_of(libbpf.MAP_TYPE_SOCKHASH) - before
            stack.enter_context(attached(sockets, PROG_TYPE_SK_SKB, ATTACH_STREAM_VERDICT, PASS))
    context = {check(Arm(arm, NAMES[arm], "ebpf", ("caller",), CALLER), meshes[arm]) for arm in (SENT, BOTH)}.pop()
    headers = [f"{CONTEXT}: {context}", f"{GROUP}: beta"]
    compare(args, meshes, NAMES, folder, CONNECTIONS, headers)
    stall(args, meshes, NAMES, folder, headers)


def main() -> int:
    args = options("answers", __doc__, rounds=15, seconds=1, port=28500, stalls=True)
    with tempfile.TemporaryDirectory(prefix="m4-answers-") as name, ExitStack() as stack:
        measure(args, Path(name), stack)
    print()
    print(table.text(("an application that reads by", "nothing", NAMES[SENT], NAMES[BOTH]), list(readings(WAYS))))
    print(f"\na piece of an answer can be lengthened up to {longest():,} bytes; behind what was added {follows()}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Refused, KernelError) as why:
        sys.exit(f"cannot be measured here: {why}")
