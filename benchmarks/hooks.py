"""Measures the two hooks of the kernel side by side: what a service hands to its sockets, and its packets.

Both run the same generated rules and the same reader of heads; see `bpf/packets/m4_msg.h` for what the second lacks.
Rounds are interleaved, with nothing twice, as in `benchmarks.dataplane`.

Usage: python -m benchmarks.hooks [--rounds N] [--seconds S]
"""

from __future__ import annotations

import socket
import struct
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from m4deploy.built import Built
from m4deploy.processes import split_address

from benchmarks.beside import compare, options
from benchmarks.dataplane import CALLER, CONTEXT, CONTROL, GROUP, NOTHING, Arm, check, entered
from benchmarks.dataplane_stand import HERE, Refused, Standing, build, cgroups, compile_app, stand, write_hop
from benchmarks.programs import in_cgroup, loaded, program_of

NAMES = {NOTHING: "nothing", CONTROL: "nothing again (control)", "sockets": "sockets", "packets": "packets"}
DENIED = b"GET / HTTP/1.1\r\nhost: server\r\nx-user-group: blocked\r\n\r\n"
CONNECTIONS = (1, 16, 64)
PATIENCE = 3.0  # seconds for the answer to a refused request
_RETRANSMITTED = 100  # where struct tcp_info has tcpi_total_retrans


@contextmanager
def packets(built: Built, mesh: Standing, folder: Path) -> Iterator[None]:
    """The rules of the built kernel element, on packets, for the caller of a mesh."""
    with (
        loaded(built, mesh, folder, HERE.parent / "bpf/packets") as made,
        in_cgroup(program_of(made, "m4_packet"), mesh.caller),
    ):
        yield


def refused(mesh: Standing, group: Path) -> str:
    """What whoever sends a request that is refused gets, out of a cgroup."""
    with entered(group), socket.create_connection(split_address(mesh.address)) as ours:
        ours.settimeout(PATIENCE)
        began = time.perf_counter()
        ours.sendall(DENIED)
        try:
            answer = ours.recv(4096)
        except TimeoutError:
            info = ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            again = struct.unpack_from("=I", info, _RETRANSMITTED)[0]
            return f"no answer within {PATIENCE:.0f} s, sent again {again} times"
        except ConnectionResetError:
            return "the connection is reset"
        took = (time.perf_counter() - began) * 1e6
        return f"{answer.split(b' ')[1].decode()} after {took:.0f} µs" if answer else "the connection is closed"


def main() -> int:
    args = options("hooks", __doc__, rounds=9, seconds=2, port=28000, stalls=False)
    with tempfile.TemporaryDirectory(prefix="m4-hooks-") as name, ExitStack() as stack:
        folder = Path(name)
        app = compile_app(folder)
        group = Path(f"m4-hooks-{args.base_port}")
        stack.enter_context(cgroups(group))
        meshes: dict[str, Standing] = {}
        for number, (arm, policies) in enumerate(
            ((NOTHING, ()), (CONTROL, ()), ("packets", ()), ("sockets", ("caller",)))
        ):
            write_hop(folder / arm, "ebpf", policies)
            built = build(folder / arm, folder / f"{arm}-built", args.base_port + 50 * number)
            up = stand(built, app, group / arm, folder / f"{arm}-run", caller="client", callee="server")
            meshes[arm] = stack.enter_context(up)
        context = check(Arm("sockets", NAMES["sockets"], "ebpf", ("caller",), CALLER), meshes["sockets"])
        headers = [f"{CONTEXT}: {context}", f"{GROUP}: beta"]
        stack.enter_context(packets(built, meshes["packets"], folder / "packets-hook"))
        compare(args, meshes, NAMES, folder, CONNECTIONS, headers)
        for arm in ("sockets", "packets"):
            print(f"a refused request, {arm}: {refused(meshes[arm], meshes[arm].caller)}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Refused as why:
        sys.exit(f"cannot be measured here: {why}")
