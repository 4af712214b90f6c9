"""What the reader of heads and bodies is held to, with programs that bcc compiled."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import test_kernel_framing
from kernelkit import kernel_group
from m4bpf import bcc
from test_kernel_framing import client, program, server

__all__ = ["client", "kernel_group", "program", "server"]

if not bcc.available():
    pytest.skip(f"{bcc.PYTHON} has no bcc (Debian: python3-bpfcc)", allow_module_level=True)

# With heads that are longer than the verifier lets bcc's programs read.
TOO_LARGE = {"test_many_connections_at_once", "test_heads_up_to_the_limit", "test_too_many_fields"}
assert vars(test_kernel_framing).keys() >= TOO_LARGE

globals().update({n: t for n, t in vars(test_kernel_framing).items() if n.startswith("test_") and n not in TOO_LARGE})


@pytest.fixture(autouse=True, scope="module")
def without_clang() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("M4_CLANG", "no-clang-here")
        yield
