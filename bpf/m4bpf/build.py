"""From generated C to an object file that the kernel's loader takes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from m4bpf import bcc
from m4bpf._errors import KernelError

_VERSIONS = range(19, 13, -1)
_SECONDS = 120.0


def include_dir() -> Path:
    """The runtime's headers: beside this module in an installed wheel, in ``bpf/include`` in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "_include"
    return installed if installed.is_dir() else here.parent / "include"


def find_clang() -> str | None:
    """The C compiler to use: ``$M4_CLANG``, ``clang``, or the newest of ``clang-19`` … ``clang-14``."""
    chosen = os.environ.get("M4_CLANG")
    candidates = [chosen] if chosen else ["clang", *(f"clang-{version}" for version in _VERSIONS)]
    return next((found for name in candidates if (found := shutil.which(name))), None)


def only_bcc() -> bool:
    """Whether programs are compiled by bcc here, for want of a clang."""
    return find_clang() is None and bcc.available()


def system_includes() -> list[Path]:
    """Where this machine's ``asm/types.h`` is, which a compiler for another target does not know by itself."""
    path = Path("/usr/include") / f"{os.uname().machine}-linux-gnu"
    return [path] if path.is_dir() else []


def compile_program(source: Path, out: Path, include: Sequence[Path] = ()) -> None:
    """Compile *source* to the object *out*; headers come from *include* and then :func:`include_dir`. Where there is no
    clang, bcc does it.

    Raises :class:`KernelError` with the compiler's first errors. *out* is written whole or not at all.
    """
    clang = find_clang()
    if clang is None:
        if not bcc.available():
            raise KernelError("no clang is installed: install clang-14 or later")
        return bcc.compile_with_bcc(source, out, [*include, include_dir()])
    folders = [*include, include_dir(), *system_includes()]
    partial = out.with_name(out.name + ".part")
    command = [clang, "-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-Werror=implicit-function-declaration"]
    command += [f"-I{folder}" for folder in folders]
    command += ["-c", str(source), "-o", str(partial)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise KernelError(f"{source} does not compile", _first_errors(done.stderr))
        partial.replace(out)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KernelError(f"{source} cannot be compiled with {clang}", str(error)) from error
    finally:
        partial.unlink(missing_ok=True)


def _first_errors(said: str, count: int = 12) -> str:
    lines = said.splitlines()
    start = next((i for i, line in enumerate(lines) if "error:" in line), 0)
    return "\n".join(lines[start : start + count])
