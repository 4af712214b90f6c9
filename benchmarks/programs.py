"""Programs of the kernel beside those of a built mesh, to be measured: loaded and attached for as long as it takes."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from m4bpf import compile_program, libbpf
from m4bpf.hops import read_policies, remote_key
from m4bpf.layout import lay_out
from m4deploy.built import Built

from benchmarks.dataplane_stand import HERE, Standing

# Numbers of the kernel's interface (linux/bpf.h).
PROG_TYPE_SK_SKB, ATTACH_STREAM_VERDICT = 14, 5
MAP_TYPE_PROG_ARRAY = 3
_CHANGE_TAIL, _GET_SOCKET_COOKIE, _SK_REDIRECT_HASH = 38, 46, 72


def instructions(*all_of_them: tuple[int, int, int, int]) -> bytes:
    return b"".join(struct.pack("=BBhi", *one) for one in all_of_them)


# return SK_PASS
PASS = instructions((0xB7, 0x00, 0, 1), (0x95, 0, 0, 0))
# return SK_DROP
DROP = instructions((0xB7, 0x00, 0, 0), (0x95, 0, 0, 0))


def resized(by: int) -> bytes:
    """return bpf_skb_change_tail(skb, skb->len + BY, 0) ? SK_DROP : SK_PASS"""
    return (
        instructions(
            (0x61, 0x12, 0, 0),
            (0x07, 0x02, 0, by),
            (0xB7, 0x03, 0, 0),
            (0x85, 0x00, 0, _CHANGE_TAIL),
            (0x15, 0x00, 2, 0),
        )
        + DROP
        + PASS
    )


def sent_back(sockets: int) -> bytes:
    """return bpf_sk_redirect_hash(skb, SOCKETS, bpf_get_socket_cookie(skb), 0): out of the socket that it came into"""
    return instructions(
        (0xBF, 0x16, 0, 0),
        (0x85, 0x00, 0, _GET_SOCKET_COOKIE),
        (0x7B, 0x0A, -8, 0),
        (0xBF, 0x61, 0, 0),
        (0x18, 0x12, 0, sockets),
        (0, 0, 0, 0),
        (0xBF, 0xA3, 0, 0),
        (0x07, 0x03, 0, -8),
        (0xB7, 0x04, 0, 0),
        (0x85, 0x00, 0, _SK_REDIRECT_HASH),
        (0x95, 0x00, 0, 0),
    )


def maps_of(kind: int) -> set[int]:
    """The maps of a type that this process holds, by their descriptors."""
    found = set()
    for entry in Path("/proc/self/fdinfo").iterdir():
        try:
            said = entry.read_text()
        except OSError:  # the one that this loop reads by
            continue
        if f"map_type:\t{kind}\n" in said:
            found.add(int(entry.name))
    return found


def let_pass(judges: int) -> None:
    """Puts a program that lets everything pass where the one that judges is. `judges`: the map that leads to it."""
    options = libbpf.ProgramOptions(size=ctypes.sizeof(libbpf.ProgramOptions), attach_type=libbpf.ATTACH_SK_MSG_VERDICT)
    arguments = libbpf.PROG_TYPE_SK_MSG, b"m4_pass", b"Dual BSD/GPL", PASS, len(PASS) // 8, ctypes.byref(options)
    program = libbpf.call("it cannot be loaded", "bpf_prog_load", *arguments)
    try:
        libbpf.map_write(judges, struct.pack("=I", 0), struct.pack("=I", program))
    finally:
        os.close(program)  # the map holds it


@contextmanager
def attached(sockets: int, kind: int, where: int, code: bytes) -> Iterator[None]:
    """A program on all sockets that come into a sockhash from now on."""
    program = libbpf.call(
        "it cannot be loaded", "bpf_prog_load", kind, b"m4_see", b"Dual BSD/GPL", code, len(code) // 8, None
    )
    try:
        with on_sockets(sockets, where, program):
            yield
    finally:
        os.close(program)


@contextmanager
def on_sockets(sockets: int, where: int, program: int) -> Iterator[None]:
    """The same of a program that is loaded."""
    libbpf.call("it cannot be attached", "bpf_prog_attach", program, sockets, where, 0)
    try:
        yield
    finally:
        libbpf.library().bpf_prog_detach2(program, sockets, where)


@contextmanager
def in_cgroup(program: int, group: Path) -> Iterator[None]:
    """A program of an object, attached to a cgroup."""
    fd = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        link = libbpf.call("it cannot be attached", "bpf_program__attach_cgroup", program, fd)
    finally:
        os.close(fd)
    try:
        yield
    finally:
        libbpf.library().bpf_link__destroy(link)


@contextmanager
def loaded(built: Built, mesh: Standing, folder: Path, headers: Path) -> Iterator[int]:
    """The built kernel element of a mesh's caller with its policies, but with other headers in front of the runtime's:
    an object of libbpf, attached nowhere."""
    element = next(e for e in built.elements if e.service == "client")
    folder.mkdir()
    compile_program(element.file("m4.bpf.c"), folder / "m4.o", [headers])
    made = libbpf.call("it cannot be opened", "bpf_object__open_file", str(folder / "m4.o").encode(), None)
    try:
        libbpf.call("the kernel refuses it", "bpf_object__load", made)
        libbpf.map_write(map_of(made, "m4_hops"), remote_key(mesh.address), struct.pack("=I", 0))
        policies = lay_out(read_policies(element.file("hops.json")), lambda counted: 0)
        libbpf.map_write(map_of(made, "m4_sets"), struct.pack("=I", 0), policies)
        yield made
    finally:
        libbpf.library().bpf_object__close(made)


def map_of(made: int, name: str) -> int:
    return libbpf.call(f"it has no map {name}", "bpf_object__find_map_fd_by_name", made, name.encode())


def program_of(made: int, name: str) -> int:
    return libbpf.call(f"it has no program {name}", "bpf_object__find_program_by_name", made, name.encode())


@contextmanager
def at_callee(
    built: Built, mesh: Standing, folder: Path, *, reads: bool = True, answers: bool | None = True
) -> Iterator[None]:
    """Programs at the callee of a mesh, see `bpf/callee/m4_msg.h`. What arrives: heads are read and judged, or all
    passes. `answers`: are counted; False: pass through a program; None: none sees them."""
    with ExitStack() as stack:
        made = stack.enter_context(loaded(built, mesh, folder, HERE.parent / "bpf/callee"))
        sockets = map_of(made, "m4_sockets")

        def put(name: str, kind: int, where: int, does: bool) -> None:
            if does:
                fd = libbpf.call(f"{name} is not loaded", "bpf_program__fd", program_of(made, name))
                stack.enter_context(on_sockets(sockets, where, fd))
            else:
                stack.enter_context(attached(sockets, kind, where, PASS))

        put("m4_arrives", PROG_TYPE_SK_SKB, ATTACH_STREAM_VERDICT, reads)
        if answers is not None:
            put("m4_answers", libbpf.PROG_TYPE_SK_MSG, libbpf.ATTACH_SK_MSG_VERDICT, answers)
        stack.enter_context(in_cgroup(program_of(made, "m4_accepted"), mesh.callee))
        yield
