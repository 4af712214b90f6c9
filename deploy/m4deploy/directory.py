"""The target `directory`: the artifacts in a folder, for whatever takes them from there."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from pathlib import Path

from m4deploy.built import read_built
from m4deploy.errors import DeployError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def current(target: Path) -> Path | None:
    """The folder, if it holds a built mesh; None if there is nothing yet. Raises DeployError if it holds something
    else."""
    if (target / "manifest.json").is_file():
        return target
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        hint = "Choose an empty folder, or a new one."
        raise DeployError(f"{target} holds something else than a built mesh.", hint=hint)
    return None


def deploy(built: Path, target: Path) -> None:
    """Copies what was built to `target`, all at once: who looks sees the old files or the new ones, never a mixture.

    What `target` held before is gone; a folder that holds something else than a built mesh is refused (DeployError).
    """
    read_built(built)
    target = target.absolute()
    current(target)
    partial: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        partial.chmod(0o755)
        shutil.copytree(built, partial, dirs_exist_ok=True)
        if target.exists():
            exchange(partial, target)
        else:
            partial.rename(target)
    except OSError as error:
        raise DeployError(f"{target} cannot be written.", str(error)) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def exchange(one: Path, other: Path) -> None:
    """Swaps two folders in one step (Linux's renameat2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))
