"""Can this machine run the kernel dataplane, and if not, what is missing? Cheap, and never raises."""

from __future__ import annotations

import array
import fcntl
import os
import select
import socket
import struct
import termios
from dataclasses import dataclass
from pathlib import Path

from m4bpf import bcc, libbpf
from m4bpf._errors import KernelError
from m4bpf.build import find_clang, include_dir, system_includes
from m4bpf.cgroup import cgroup_root

_NET_ADMIN, _SYS_ADMIN, _PERFMON, _BPF = 12, 21, 38, 39
_RETURN_PASS = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)  # r0 = SK_PASS; exit

FIONREAD_NOTE = (
    "on this kernel FIONREAD answers 0 on watched connections while data waits, so applications that ask it before "
    "they read (nginx, Java, .NET) can stall: give their services a proxy instead"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """``ok``: programs can be compiled and put in force. ``reasons``: why not, each with what to do about it.
    ``notes``: what to know even if it works."""

    ok: bool
    reasons: tuple[str, ...]
    notes: tuple[str, ...] = ()


def probe() -> Probe:
    """Look for privileges, tools and headers, and load and use a small program to be sure."""
    reasons = [reason for check in (_privileges, _tools, _machine) for reason in check()]
    notes: list[str] = []
    if not reasons:
        notes.append(_compilers())
        try:
            if not _fionread_works():
                notes.append(FIONREAD_NOTE)
        except KernelError as error:
            reasons.append(f"the kernel does not take a test program ({error.message}): allow eBPF on this machine")
        except OSError as error:
            reasons.append(
                f"a connection on the loopback interface fails ({error.strerror}): bring up the interface lo"
            )
    return Probe(not reasons, tuple(reasons), tuple(notes))


def _privileges() -> list[str]:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        held = next(int(line.split()[1], 16) for line in lines if line.startswith("CapEff:"))
    except (OSError, StopIteration, ValueError):
        return ["this is not Linux, or /proc is not mounted: the kernel dataplane needs both"]
    if held >> _SYS_ADMIN & 1 or all(held >> number & 1 for number in (_NET_ADMIN, _PERFMON, _BPF)):
        return []
    return ["eBPF needs privileges: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON"]


def _tools() -> list[str]:
    reasons: list[str] = []
    clang = find_clang() is not None
    if not clang and not bcc.available():
        reasons.append("clang is missing: install it (Debian: apt-get install clang-14), or bcc (python3-bpfcc)")
    try:
        libbpf.library()
    except KernelError:
        reasons.append(f"{libbpf.SONAME} is missing: install it (Debian: apt-get install libbpf1)")
    if clang and not Path("/usr/include/bpf/bpf_helpers.h").is_file():
        reasons.append("the headers of libbpf are missing: install them (Debian: apt-get install libbpf-dev)")
    folders = [Path("/usr/include"), *system_includes()]
    if not all(any((folder / name).is_file() for folder in folders) for name in ("linux/bpf.h", "asm/types.h")):
        reasons.append("the kernel's headers are missing: install them (Debian: apt-get install linux-libc-dev)")
    if not (include_dir() / "m4_msg.h").is_file():
        reasons.append(f"the runtime's headers are not in {include_dir()}: install this package again")
    return reasons


def _compilers() -> str:
    """What compiles here."""
    clang, other = find_clang(), bcc.available()
    if clang is None:
        return "programs are compiled by bcc; with clang (Debian: clang-14) there is more room for policies"
    return f"programs are compiled by {Path(clang).name}; bcc, the other way, is {'there' if other else 'not there'}"


def _machine() -> list[str]:
    reasons: list[str] = []
    root = cgroup_root()
    if root is None:
        reasons.append("no cgroup version 2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup")
    elif not os.access(root, os.W_OK):
        reasons.append(f"the cgroup hierarchy at {root} is read-only: mount it writable")
    if not Path("/sys/kernel/btf/vmlinux").is_file():
        reasons.append(
            "the kernel has no type information (/sys/kernel/btf/vmlinux): use one with CONFIG_DEBUG_INFO_BTF"
        )
    return reasons


def _fionread_works() -> bool:
    """Put a loopback connection under a program that lets everything pass. Does FIONREAD tell of data that waits?"""
    opened: list[int] = []
    try:
        sockets = libbpf.call(
            "a sockhash cannot be made", "bpf_map_create", libbpf.MAP_TYPE_SOCKHASH, b"m4_probe", 8, 8, 1, None
        )
        opened.append(sockets)
        program = libbpf.call(
            "an sk_msg program cannot be loaded",
            "bpf_prog_load",
            libbpf.PROG_TYPE_SK_MSG,
            b"m4_probe",
            b"Dual BSD/GPL",
            _RETURN_PASS,
            len(_RETURN_PASS) // 8,
            None,
        )
        opened.append(program)
        libbpf.call(
            "an sk_msg program cannot be attached",
            "bpf_prog_attach",
            program,
            sockets,
            libbpf.ATTACH_SK_MSG_VERDICT,
            0,
        )
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as ours:
            theirs, _ = server.accept()
            with theirs:
                libbpf.map_write(sockets, struct.pack("=Q", 1), struct.pack("=Q", ours.fileno()))
                theirs.sendall(b"waiting")
                select.select([ours], [], [], 1.0)
                waiting = array.array("i", [0])
                fcntl.ioctl(ours, termios.FIONREAD, waiting)
                return waiting[0] > 0
    finally:
        for fd in reversed(opened):
            os.close(fd)
