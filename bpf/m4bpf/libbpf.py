"""A thin binding of the system's libbpf: the few calls that loading and attaching need.

The library is opened at the first use, so that importing this package works on machines without it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from ctypes import c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache

from m4bpf._errors import KernelError

SONAME = "libbpf.so.1"

# Numbers of the kernel's interface (linux/bpf.h).
PROG_TYPE_SOCK_OPS = 13
PROG_TYPE_SK_MSG = 16
PROG_TYPE_CGROUP_SOCK_ADDR = 18
MAP_TYPE_ARRAY = 2
MAP_TYPE_ARRAY_OF_MAPS = 12
MAP_TYPE_SOCKHASH = 18
MAP_TYPE_SK_STORAGE = 24
ATTACH_SOCK_OPS = 3
ATTACH_SK_MSG_VERDICT = 7
ATTACH_CONNECT4 = 10
ATTACH_CONNECT6 = 11

_WARN = 0
_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)
SAMPLE = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t)  # what is called with each sample of a ring buffer
_SIGNATURES: dict[str, tuple[object, tuple[object, ...]]] = {
    "bpf_object__open_file": (c_void_p, (c_char_p, c_void_p)),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__find_program_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__find_map_fd_by_name": (c_int, (c_void_p, c_char_p)),
    "bpf_object__find_map_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__reuse_fd": (c_int, (c_void_p, c_int)),
    "bpf_map__value_size": (c_uint32, (c_void_p,)),
    "bpf_map__max_entries": (c_uint32, (c_void_p,)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_program__set_autoload": (c_int, (c_void_p, c_bool)),
    "bpf_program__attach_cgroup": (c_void_p, (c_void_p, c_int)),
    "bpf_link_create": (c_int, (c_int, c_int, c_uint32, c_void_p)),
    "btf__load_vmlinux_btf": (c_void_p, ()),
    "btf__find_by_name_kind": (c_int, (c_void_p, c_char_p, c_uint32)),
    "btf__type_by_id": (c_void_p, (c_void_p, c_uint32)),
    "btf__name_by_offset": (c_char_p, (c_void_p, c_uint32)),
    "btf__new_empty": (c_void_p, ()),
    "btf__add_int": (c_int, (c_void_p, c_char_p, c_size_t, c_int)),
    "btf__add_struct": (c_int, (c_void_p, c_char_p, c_uint32)),
    "btf__load_into_kernel": (c_int, (c_void_p,)),
    "btf__fd": (c_int, (c_void_p,)),
    "btf__free": (None, (c_void_p,)),
    "bpf_link__destroy": (c_int, (c_void_p,)),
    "bpf_prog_attach": (c_int, (c_int, c_int, c_int, c_uint32)),
    "bpf_prog_detach2": (c_int, (c_int, c_int, c_int)),
    "bpf_prog_load": (c_int, (c_int, c_char_p, c_char_p, c_void_p, c_size_t, c_void_p)),
    "bpf_map_create": (c_int, (c_int, c_char_p, c_uint32, c_uint32, c_uint32, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_void_p, c_void_p, c_uint64)),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_delete_elem": (c_int, (c_int, c_void_p)),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p)),
    "ring_buffer__new": (c_void_p, (c_int, SAMPLE, c_void_p, c_void_p)),
    "ring_buffer__consume": (c_int, (c_void_p,)),
    "ring_buffer__free": (None, (c_void_p,)),
    "libbpf_num_possible_cpus": (c_int, ()),
    "libbpf_set_print": (c_void_p, (_PRINT,)),
}


class MapOptions(ctypes.Structure):
    """``struct bpf_map_create_opts`` as far as it is used."""

    _fields_ = (
        ("size", c_size_t),
        ("types", c_uint32),
        ("key_type", c_uint32),
        ("value_type", c_uint32),
        ("kernel_type", c_uint32),
        ("inner_map", c_uint32),
        ("flags", c_uint32),
    )


class ProgramOptions(ctypes.Structure):
    """``struct bpf_prog_load_opts`` as far as it is used."""

    _fields_ = (
        ("size", c_size_t),
        ("attempts", c_int),
        ("attach_type", c_uint32),
        ("unused", c_uint32 * 7),
        ("descriptors", c_void_p),
        ("functions", c_void_p),
        ("functions_size", c_uint32 * 2),
        ("lines", c_void_p),
        ("lines_size", c_uint32 * 2),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log", c_void_p),
    )


_lock = threading.Lock()
_messages: list[str] = []
_libc = ctypes.CDLL(None, use_errno=True)
_libc.vsnprintf.argtypes = [c_char_p, c_size_t, c_char_p, c_void_p]


@_PRINT  # type: ignore[untyped-decorator]
def _collect(level: int, form: bytes, arguments: int) -> int:
    if level <= _WARN:
        buffer = ctypes.create_string_buffer(1 << 18)
        _libc.vsnprintf(buffer, len(buffer), form, arguments)
        _messages.append(buffer.value.decode(errors="replace"))
    return 0


@cache
def library() -> ctypes.CDLL:
    """The loaded library with its functions' types set. Raises :class:`KernelError` if it is not installed."""
    try:
        lib = ctypes.CDLL(SONAME, use_errno=True)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = list(arguments)
    except (OSError, AttributeError) as error:
        raise KernelError(f"{SONAME} cannot be used", str(error)) from error
    lib.libbpf_set_print(_collect)
    return lib


def call(what: str, function: str, *arguments: object) -> int:
    """Call a function that returns a negative number or a null pointer on failure; the error then says *what*."""
    lib = library()
    with _lock:
        _messages.clear()
        result = getattr(lib, function)(*arguments)
        code = ctypes.get_errno()
        said = "".join(_messages)
    if result is None or result < 0:
        code = code or -(result or 0)
        raise KernelError(f"{what}: {os.strerror(code)}", last_lines(said))
    return int(result)


def last_lines(text: str, count: int = 20) -> str:
    """The last *count* non-empty lines: of a verifier's log, the ones that say what is wrong."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n".join(lines[-count:])


def map_write(fd: int, key: bytes, value: bytes) -> None:
    """Set one element of a map."""
    call("a map element cannot be set", "bpf_map_update_elem", fd, _bytes(key), _bytes(value), 0)


def map_read(fd: int, key: bytes, size: int) -> bytes:
    """Read one element of *size* bytes (a per-CPU map: of all CPUs together)."""
    buffer = ctypes.create_string_buffer(size)
    call("a map element cannot be read", "bpf_map_lookup_elem", fd, _bytes(key), buffer)
    return buffer.raw


def ring_read(fd: int) -> list[bytes]:
    """What a ring buffer holds; it is empty afterwards."""
    found: list[bytes] = []

    def keep(_: object, data: int, size: int) -> int:
        found.append(ctypes.string_at(data, size))
        return 0

    lib = library()
    callback = SAMPLE(keep)
    ring = call("a ring buffer cannot be read", "ring_buffer__new", fd, callback, None, None)
    try:
        lib.ring_buffer__consume(ring)
    finally:
        lib.ring_buffer__free(ring)
    return found


def map_delete(fd: int, key: bytes) -> None:
    """Remove one element of a map, if it is there."""
    library().bpf_map_delete_elem(fd, _bytes(key))


def map_get(fd: int, key: bytes, size: int) -> bytes | None:
    """Read one element of *size* bytes; None if the map does not have it."""
    buffer = ctypes.create_string_buffer(size)
    if library().bpf_map_lookup_elem(fd, _bytes(key), buffer) == 0:
        return buffer.raw
    code = ctypes.get_errno()
    if code != errno.ENOENT:
        raise KernelError(f"a map element cannot be read: {os.strerror(code)}")
    return None


def map_clear(fd: int, key_size: int) -> None:
    """Remove every element of a map, also those that are added meanwhile until none is left."""
    lib = library()
    key = ctypes.create_string_buffer(key_size)
    while lib.bpf_map_get_next_key(fd, None, key) == 0:
        if lib.bpf_map_delete_elem(fd, key) != 0 and ctypes.get_errno() != errno.ENOENT:
            return


def _bytes(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, len(data))
