"""Types of the running kernel, and types that are described to it, through libbpf (`/sys/kernel/btf/vmlinux`)."""

from __future__ import annotations

import ctypes
import struct
from functools import cache

from m4bpf import libbpf
from m4bpf._errors import KernelError

_STRUCT, _UNION = 4, 5
_SIGNED = 1  # the encoding of an integer


@cache
def bit_of(structure: str, member: str) -> int:
    """At which bit of a structure of the kernel a member begins. Raises :class:`KernelError` if it has none."""
    lib = libbpf.library()
    types = libbpf.call("the kernel's types cannot be read", "btf__load_vmlinux_btf")
    try:
        number = libbpf.call(
            f"the kernel has no {structure}", "btf__find_by_name_kind", types, structure.encode(), _STRUCT
        )
        found = _find(types, number, member)
    finally:
        lib.btf__free(types)
    if found is None:
        raise KernelError(f"the kernel's {structure} has no {member}")
    return found


def _find(types: int, number: int, member: str) -> int | None:
    lib = libbpf.library()
    about = lib.btf__type_by_id(types, number)
    _, info, _ = struct.unpack("=III", ctypes.string_at(about, 12))
    if info >> 24 & 0x1F not in (_STRUCT, _UNION):
        return None
    for each in range(info & 0xFFFF):
        name, kind, offset = struct.unpack("=III", ctypes.string_at(about + 12 * (each + 1), 12))
        begin = offset & 0xFFFFFF if info >> 31 else offset
        text = lib.btf__name_by_offset(types, name)
        if text == member.encode():
            return int(begin)
        if not text:
            inside = _find(types, kind, member)
            if inside is not None:
                return int(begin) + inside
    return None


class Described:
    """An integer for keys and a structure of *size* bytes for values, as the kernel wants to know them of some maps."""

    def __init__(self, name: str, size: int) -> None:
        self._types = libbpf.call("types cannot be described", "btf__new_empty")
        try:
            self.key = libbpf.call("types cannot be described", "btf__add_int", self._types, b"int", 4, _SIGNED)
            self.value = libbpf.call("types cannot be described", "btf__add_struct", self._types, name.encode(), size)
            libbpf.call("the kernel refuses described types", "btf__load_into_kernel", self._types)
            self.fd = libbpf.call("described types have no descriptor", "btf__fd", self._types)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        libbpf.library().btf__free(self._types)
