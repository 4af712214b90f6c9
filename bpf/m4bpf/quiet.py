"""Wait until programs in the kernel that may still read what was replaced have ended.

Programs run within a read-side critical section of the kernel's RCU, and an update of an array of maps returns when all
that were running have left theirs (Linux 5.0, "bpf: wait for running BPF programs when updating map-in-map"). It takes
some 10 to 30 ms, so nobody waits twice for the same runs.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time

from m4bpf import libbpf

_since = 0.0  # no run is older


def now() -> float:
    """The time that :func:`wait_since` compares."""
    return time.monotonic()


def wait_since(moment: float) -> None:
    """Returns when all runs that began until *moment* have ended."""
    global _since
    if moment <= _since:
        return
    begun = now()
    key = struct.pack("=I", 0)
    inner = libbpf.call("a map cannot be made", "bpf_map_create", libbpf.MAP_TYPE_ARRAY, b"m4_quiet", 4, 4, 1, None)
    try:
        options = libbpf.MapOptions(size=ctypes.sizeof(libbpf.MapOptions), inner_map=inner)
        outer = libbpf.call(
            "an array of maps cannot be made",
            "bpf_map_create",
            libbpf.MAP_TYPE_ARRAY_OF_MAPS,
            b"m4_quiet",
            4,
            4,
            1,
            ctypes.byref(options),
        )
        try:
            libbpf.map_write(outer, key, struct.pack("=I", inner))
        finally:
            os.close(outer)
    finally:
        os.close(inner)
    _since = max(_since, begun)
