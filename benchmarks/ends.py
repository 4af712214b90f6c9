"""Measures the kernel at both ends of a hop: the shipped program at the caller, and at the callee a stream verdict
(`sk_skb`) on what arrives, with a program (`sk_msg`) on what is answered: no refusal finds its place without it.

What stands at the callee grows from arm to arm, from programs that let everything pass to such as read every head; see
`bpf/callee/m4_msg.h` for what they lack. Rounds are interleaved, with nothing twice, as in `benchmarks.hooks`; then a
number of requests one after the other, of which none should stall. Then what applications find on connections whose
arriving bytes are under control, and what becomes of bytes that a program changes. `docs/kernel.md` has what was
decided.

Usage: python -m benchmarks.ends [--rounds N] [--seconds S] [--stalls N]
"""

from __future__ import annotations

import argparse
import errno
import select
import socket
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from m4bpf import KernelError

from benchmarks import dataplane_table as table
from benchmarks.answers import WAYS, Verdict, Way, connections, follows, readings
from benchmarks.beside import compare, options, stall
from benchmarks.dataplane import CALLER, CONTEXT, CONTROL, GROUP, NOTHING, Arm, check
from benchmarks.dataplane_stand import Refused, Standing, build, cgroups, compile_app, root, stand, write_hop
from benchmarks.hooks import refused
from benchmarks.programs import DROP, PASS, at_callee, resized, sent_back

AT_CALLER = "caller"
NAMES = {
    NOTHING: "nothing",
    CONTROL: "nothing again (control)",
    AT_CALLER: "caller only",
    "arrives": "both, what arrives passes",
    "passes": "both, what arrives and what is answered passes",
    "reads": "both, heads are read",
    "reads-passes": "both, heads are read, answers pass",
    "reads-counts": "both, heads are read, answers are counted",
}
# What an arm does with what arrives (reads heads?), and with what is answered (counts it? None: does not see it).
CALLEE: dict[str, tuple[bool, bool | None]] = {
    "arrives": (False, None),
    "passes": (False, False),
    "reads": (True, None),
    "reads-passes": (True, False),
    "reads-counts": (True, True),
}
CONNECTIONS = (1, 16, 64)
LARGE = 10 << 20  # bytes of a large body
BLOCKED = 0.05  # seconds after which a recv() waits
WAKES = 5.0  # seconds within which what arrives must have ended it
PIECES: dict[str, Verdict] = {
    "passes": PASS,
    "is dropped": DROP,
    "is sent back": sent_back,
    "is cut by 4": resized(-4),
    "is lengthened by 4": resized(4),
}


def _urgent(ours: socket.socket, theirs: socket.socket) -> str:
    theirs.send(b"!", socket.MSG_OOB)
    theirs.sendall(b"more")
    got = b""
    while not got.endswith(b"more"):
        got += ours.recv(100)
    return "among the rest" if b"!" in got else "apart from the rest"


def _unread(ours: socket.socket, theirs: socket.socket) -> str:
    ours.close()
    try:
        return "an end" if not theirs.recv(1) else "an answer"
    except ConnectionResetError:
        return "a reset"


def _half_closed(ours: socket.socket, theirs: socket.socket) -> str:
    theirs.shutdown(socket.SHUT_WR)
    if (ours.recv(100), ours.recv(100)) != (b"waiting", b""):
        return "not all"
    ours.sendall(b"answer")
    return "all, and can answer" if theirs.recv(100) == b"answer" else "all, and cannot answer"


def _large(ours: socket.socket, theirs: socket.socket) -> str:
    sender = threading.Thread(target=theirs.sendall, args=(b"b" * LARGE,))
    sender.start()
    got = 0
    while got < LARGE + 7 and (piece := len(ours.recv(1 << 16))):
        got += piece
    sender.join()
    return "all" if got == LARGE + 7 else f"{got:,} bytes"


MORE_WAYS: dict[str, Way] = {
    "recv() of urgent data (MSG_OOB)": _urgent,
    "close() with 7 bytes unread: the sender gets": _unread,
    "recv() after the sender's shutdown()": _half_closed,
    f"recv() of {LARGE >> 20} MiB": _large,
}


def _received(ours: socket.socket) -> str:
    try:
        got = len(ours.recv(1000))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return f"{got} bytes" if got else "the end"


def changed(verdict: Verdict) -> list[str]:
    """What becomes of a connection on which a program does something to a piece of 7 bytes: what a recv() gets that
    waits for it, what poll() says then, and what arrives when the sender has closed its side."""
    found: list[str] = []
    with connections(verdict) as connect:
        ours, theirs = connect()
        ours.settimeout(None)
        reader = threading.Thread(target=lambda: found.append(_received(ours)))
        reader.start()
        time.sleep(BLOCKED)
        theirs.sendall(b"request")
        reader.join(WAKES)
        if not found:
            found.append("nothing")
        readable = select.select([ours], [], [], 0)[0]
        theirs.shutdown(socket.SHUT_WR)
        reader.join()
        return [found[0], "there is more" if readable else "nothing", found[1] if found[1:] else _received(ours)]


def measure(args: argparse.Namespace, folder: Path, stack: ExitStack) -> None:
    """The rounds, and the requests one after the other."""
    app = compile_app(folder)
    group = Path(f"m4-ends-{args.base_port}")
    stack.enter_context(cgroups(group))
    meshes: dict[str, Standing] = {}
    headers: list[str] = []
    for number, arm in enumerate(NAMES):
        policies = () if arm in (NOTHING, CONTROL) else ("caller",)
        write_hop(folder / arm, "ebpf", policies)
        built = build(folder / arm, folder / f"{arm}-built", args.base_port + 50 * number)
        up = stand(built, app, group / arm, folder / f"{arm}-run", caller="client", callee="server")
        meshes[arm] = mesh = stack.enter_context(up)
        if arm in CALLEE:
            reads, answers = CALLEE[arm]
            stack.enter_context(at_callee(built, mesh, folder / f"{arm}-callee", reads=reads, answers=answers))
        if policies:
            headers = [f"{CONTEXT}: {check(Arm(arm, NAMES[arm], 'ebpf', policies, CALLER), mesh)}", f"{GROUP}: beta"]
    compare(args, meshes, NAMES, folder, CONNECTIONS, headers)
    stall(args, meshes, NAMES, folder, headers)
    print()
    for arm in CALLEE:
        print(f"a refused request past the caller, {NAMES[arm]}: {refused(meshes[arm], root())}")


def main() -> int:
    args = options("ends", __doc__, rounds=15, seconds=1, port=29000, stalls=True)
    with tempfile.TemporaryDirectory(prefix="m4-ends-") as name, ExitStack() as stack:
        measure(args, Path(name), stack)
    print()
    head = ("an application that uses", "nothing", "what is sent is seen", "what is received, too")
    print(table.text(head, list(readings(WAYS | MORE_WAYS))))
    head = ("a piece of 7 bytes", "recv() gets", "then poll() says", "at the end comes")
    print("\n" + table.text(head, [[name, *changed(verdict)] for name, verdict in PIECES.items()]))
    print(f"\nbehind a piece that was lengthened {follows()}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Refused, KernelError) as why:
        sys.exit(f"cannot be measured here: {why}")
