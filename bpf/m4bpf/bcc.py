"""The second way to make a program: bcc compiles it, where there is no clang.

Debian's `python3-bpfcc` belongs to the system's Python, so it is asked in a process of its own. It only compiles:
:class:`BccObject` loads the result, with maps that are made here. `m4_loader.h` has what the source does for it.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import struct
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from m4bpf import kernel_types, libbpf
from m4bpf._errors import KernelError
from m4bpf.interface import CGROUP_PROGRAMS, SHARED, Loaded, compare
from m4bpf.layout import SMALL

PYTHON = os.environ.get("M4_BCC_PYTHON", "/usr/bin/python3")  # a Python that has bcc
_SECONDS = 120.0
_PROGRAMS = {  # type, and where it is attached
    "m4_msg": (libbpf.PROG_TYPE_SK_MSG, libbpf.ATTACH_SK_MSG_VERDICT),
    "m4_entry": (libbpf.PROG_TYPE_SK_MSG, libbpf.ATTACH_SK_MSG_VERDICT),
    "m4_connected": (libbpf.PROG_TYPE_SOCK_OPS, CGROUP_PROGRAMS["m4_connected"]),
    "m4_connect4": (libbpf.PROG_TYPE_CGROUP_SOCK_ADDR, CGROUP_PROGRAMS["m4_connect4"]),
    "m4_connect6": (libbpf.PROG_TYPE_CGROUP_SOCK_ADDR, CGROUP_PROGRAMS["m4_connect6"]),
}
_TABLES = ("m4_class", "m4_step")
_FIELDS = ("bytes_received", "copied_seq", "rcv_nxt", "fastopen_req")
_BIT = "fastopen_connect"
_INSTRUCTION = struct.Struct("<BBhi")
_LOAD = 0x18  # a 64-bit constant, in two instructions
_LOG = 1 << 20


@cache
def available() -> bool:
    """Whether the system's Python has bcc."""
    command = [PYTHON, "-I", "-c", "import importlib.util as u; raise SystemExit(u.find_spec('bcc') is None)"]
    try:
        return subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).returncode == 0
    except OSError:
        return False


def compile_with_bcc(source: Path, out: Path, folders: Sequence[Path]) -> None:
    """Compile *source*; raises :class:`KernelError` with the first errors. *out* is written whole or not at all."""
    text = _expanded(source, folders, set())
    about = re.findall(r"^M4_DEFINE(?:_RING)?\((m4_\w+)", text, re.MULTILINE)
    octets = [f"0{group}{digit}" if group else f"0{digit}" for group in ("", "1", "2", "3") for digit in range(8)]
    functions = [
        *_PROGRAMS,
        *(f"m4_about_{name}" for name in about),
        *(f"m4_table_{table}_{octet}" for table in _TABLES for octet in octets),
    ]
    flags = ["-DM4_BCC", "-w", *(f"-I{folder}" for folder in folders), "-isystem/usr/include"]
    flags.append(f"-isystem/usr/include/{os.uname().machine}-linux-gnu")
    flags += [f"-DM4_TCP_{name}={kernel_types.bit_of('tcp_sock', name) // 8}" for name in (*_FIELDS, _BIT)]
    flags.append(f"-DM4_TCP_BIT_{_BIT}={kernel_types.bit_of('tcp_sock', _BIT) % 8}")
    order = json.dumps({"text": text, "flags": flags, "functions": functions})
    script = Path(__file__).with_name("bcc_compile.py")
    try:
        done = subprocess.run(
            [PYTHON, "-I", str(script)], input=order, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"{source} cannot be compiled with bcc", str(error)) from error
    if done.returncode:
        raise KernelError(f"{source} does not compile with bcc", libbpf.last_lines(done.stderr))
    code: dict[str, str] = json.loads(done.stdout)
    made = {
        "programs": {name: code[name] for name in _PROGRAMS},
        "maps": {name: _constant(code[f"m4_about_{name}"]) for name in about},
        "tables": [_constant(code[f"m4_table_{table}_{octet}"]) for table in _TABLES for octet in octets],
    }
    partial = out.with_name(out.name + ".part")
    partial.write_text(json.dumps(made))
    partial.replace(out)


def _expanded(source: Path, folders: Sequence[Path], seen: set[str]) -> str:
    """The text with the runtime's headers in it: bcc makes programs of what is in one file."""
    lines = []
    for line in source.read_text().splitlines():
        found = re.match(r'#include "(m4_\w+\.h)"', line)
        if found is None:
            lines.append(line)
        elif found[1] not in seen:
            seen.add(found[1])
            path = next((folder / found[1] for folder in folders if (folder / found[1]).is_file()), None)
            if path is None:
                raise KernelError(f"{source} includes {found[1]}, which is nowhere")
            lines.append(_expanded(path, folders, seen).replace("#pragma once", ""))
    return "\n".join(lines)


def _constant(code: str) -> int:
    """What a function returns that does nothing else."""
    raw = bytes.fromhex(code)
    kind, _, _, low = _INSTRUCTION.unpack_from(raw)
    if kind == _LOAD:
        high = _INSTRUCTION.unpack_from(raw, 8)[3]
        return int((low & 0xFFFFFFFF) | (high & 0xFFFFFFFF) << 32)
    return int(low & 0xFFFFFFFFFFFFFFFF)


class BccObject:
    """A compiled program, loaded; see :class:`m4bpf.loaded.Loaded`."""

    limits = SMALL

    def __init__(self, path: Path, callees: int, beside: Loaded | None) -> None:
        try:
            made: dict[str, Any] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise KernelError(f"{path} cannot be opened", str(error)) from error
        self._own: list[int] = []
        self._maps: dict[str, int] = {}
        self._programs: dict[str, int] = {}
        entries = {name: about >> 30 & 0x1FFFF for name, about in made["maps"].items()}
        entries["m4_counts"] = max(callees, 1)
        self.shapes: Mapping[str, tuple[int, int]] = {
            name: (about & 0x1FFFFFFF, entries[name]) for name, about in made["maps"].items()
        }
        numbers: dict[int, int] = {}
        try:
            if beside is not None:
                compare(path, self.shapes, beside.shapes)
            for name, about in made["maps"].items():
                if beside is None or name not in SHARED:
                    self._maps[name] = self._make(name, about, entries[name])
                else:
                    self._maps[name] = beside.map(name)
                numbers[about >> 53 & 0x1F] = self._maps[name]
            tables = struct.pack(f"={len(made['tables'])}Q", *made["tables"])
            libbpf.map_write(self._maps["m4_tables"], struct.pack("=I", 0), tables)
            for name, (kind, where) in _PROGRAMS.items():
                if beside is None or kind == libbpf.PROG_TYPE_SK_MSG:
                    code = _linked(bytes.fromhex(made["programs"][name]), numbers)
                    self._programs[name] = self._keep(_load(path, name, kind, where, code))
        except BaseException:
            self.close()
            raise

    def _keep(self, fd: int) -> int:
        self._own.append(fd)
        return fd

    def _make(self, name: str, about: int, entries: int) -> int:
        kind, key, flags, value = about >> 58, about >> 47 & 0x3F, about >> 29 & 1, about & 0x1FFFFFFF
        options = libbpf.MapOptions(size=ctypes.sizeof(libbpf.MapOptions), flags=flags)
        types = None
        if kind == libbpf.MAP_TYPE_SK_STORAGE:
            types = kernel_types.Described(name, value)
            options.types, options.key_type, options.value_type = types.fd, types.key, types.value
        try:
            return self._keep(
                libbpf.call(
                    f"the map {name} cannot be made",
                    "bpf_map_create",
                    kind,
                    name.encode()[:15],
                    key,
                    value,
                    entries,
                    ctypes.byref(options),
                )
            )
        finally:
            if types is not None:
                types.close()

    def map(self, name: str) -> int:
        if name not in self._maps:
            raise KernelError(f"the object has no map {name}")
        return self._maps[name]

    def program(self, name: str) -> int:
        if name not in self._programs:
            raise KernelError(f"the object has no program {name}")
        return self._programs[name]

    def close(self) -> None:
        for fd in reversed(self._own):
            os.close(fd)
        self._own.clear()


def _linked(code: bytes, numbers: dict[int, int]) -> bytes:
    """With the descriptors of the maps in place of their numbers."""
    made = bytearray(code)
    at = 0
    while at < len(made):
        kind, registers, offset, value = _INSTRUCTION.unpack_from(made, at)
        if kind == _LOAD and registers >> 4 == 1:
            _INSTRUCTION.pack_into(made, at, kind, registers, offset, numbers[value])
        at += 16 if kind == _LOAD else 8
    return bytes(made)


def _load(path: Path, name: str, kind: int, where: int, code: bytes) -> int:
    def load(log: Any) -> int:
        options = libbpf.ProgramOptions(size=ctypes.sizeof(libbpf.ProgramOptions), attach_type=where)
        if log is not None:
            options.log_level, options.log_size, options.log = 1, len(log), ctypes.cast(log, ctypes.c_void_p)
        arguments = kind, name.encode(), b"Dual BSD/GPL", code, len(code) // 8, ctypes.byref(options)
        return libbpf.call(f"the kernel refuses {path}", "bpf_prog_load", *arguments)

    try:
        return load(None)
    except KernelError:
        log = ctypes.create_string_buffer(_LOG)
        try:
            return load(log)
        except KernelError as error:
            raise KernelError(
                error.message, f"{name}: {libbpf.last_lines(log.value.decode(errors='replace'))}"
            ) from None
