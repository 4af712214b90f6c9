"""Control groups: a service's processes are put into one, and the kernel element watches that one."""

from __future__ import annotations

import re
import time
from pathlib import Path

from m4bpf._errors import KernelError

_PATIENCE = 2.0  # seconds for processes that were told to end to leave a group


def cgroup_root(mounts: Path = Path("/proc/self/mounts")) -> Path | None:
    """Where the version 2 hierarchy is mounted, wherever that is; None if it is not."""
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        fields = line.split(" ")
        if len(fields) > 2 and fields[2] == "cgroup2":
            return Path(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[1]))
    return None


def make_cgroup(name: str) -> Path:
    """Make the group *name* (``m4/shop/cart``: parents too) under the root, or find it. Its path is returned."""
    root = cgroup_root()
    if root is None:
        raise KernelError("no cgroup version 2 hierarchy is mounted")
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts:
        raise KernelError(f"{name!r} is not the name of a cgroup")
    path = root / name
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KernelError(f"the cgroup {path} cannot be made: {error.strerror}") from error
    return path


def remove_cgroup(path: Path) -> None:
    """Remove the group and those of its parents below the root that are empty. A missing group is no error.

    Its processes must have been told to end: a group that stays busy raises :class:`KernelError`.
    """
    root = cgroup_root()
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            path.rmdir()
            break
        except FileNotFoundError:
            break
        except OSError as error:
            if time.monotonic() > deadline:
                raise KernelError(f"the cgroup {path} cannot be removed: {error.strerror}") from error
            time.sleep(0.01)
    for parent in path.parents:
        if parent == root or root not in parent.parents:
            return
        while True:
            try:
                parent.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:  # it has others, or the kernel is not done with the last one yet
                if time.monotonic() > deadline or any(p.is_dir() for p in _inside(parent)):
                    return
                time.sleep(0.01)


def _inside(group: Path) -> list[Path]:
    try:
        return list(group.iterdir())
    except OSError:
        return []


def enter_cgroup(path: Path, pid: int) -> None:
    """Move the process *pid* into the group. Only sockets that it opens afterwards belong to the group."""
    try:
        (path / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        raise KernelError(f"process {pid} cannot enter the cgroup {path}: {error.strerror}") from error
