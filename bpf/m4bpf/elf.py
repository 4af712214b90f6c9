"""The first loader: object files that clang made, through libbpf."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from m4bpf import libbpf
from m4bpf.interface import CGROUP_PROGRAMS, SHARED, Loaded, compare
from m4bpf.layout import FULL


class ElfObject:
    """An object file that clang made; libbpf finds its maps, and the places of the kernel's fields."""

    limits = FULL

    def __init__(self, path: Path, callees: int, beside: Loaded | None) -> None:
        lib = libbpf.library()
        self._object = libbpf.call(f"{path} cannot be opened", "bpf_object__open_file", os.fsencode(path), None)
        try:
            counts = lib.bpf_object__find_map_by_name(self._object, b"m4_counts")
            if counts:
                libbpf.call("the counts cannot be sized", "bpf_map__set_max_entries", counts, max(callees, 1))
            found = {name: lib.bpf_object__find_map_by_name(self._object, name.encode()) for name in SHARED}
            self.shapes: Mapping[str, tuple[int, int]] = {
                name: (lib.bpf_map__value_size(at), lib.bpf_map__max_entries(at)) for name, at in found.items() if at
            }
            if beside is not None:
                compare(path, self.shapes, beside.shapes)
                for name in SHARED:
                    fd = beside.map(name)
                    libbpf.call(f"the map {name} cannot be shared", "bpf_map__reuse_fd", found[name], fd)
                for name in CGROUP_PROGRAMS:
                    libbpf.call(f"{name} is needed", "bpf_program__set_autoload", self._program(name), False)
            libbpf.call(f"the kernel refuses {path}", "bpf_object__load", self._object)
        except BaseException:
            self.close()
            raise

    def _program(self, name: str) -> int:
        what = f"the object has no program {name}"
        return libbpf.call(what, "bpf_object__find_program_by_name", self._object, name.encode())

    def map(self, name: str) -> int:
        return libbpf.call(
            f"the object has no map {name}", "bpf_object__find_map_fd_by_name", self._object, name.encode()
        )

    def program(self, name: str) -> int:
        return libbpf.call(f"{name} has no descriptor", "bpf_program__fd", self._program(name))

    def close(self) -> None:
        libbpf.library().bpf_object__close(self._object)
        self._object = 0
