"""A folder on the disk of what is quicker to read than to find out again.

It is in $M4_CACHE, else in xmesh in $XDG_CACHE_HOME or ~/.cache; an empty $M4_CACHE switches it off. What is on the
disk may be anything, so:
- No bytes there make Python run code or crash, as those of `pickle` and `marshal` can: entries are text or JSON.
- The folder is used only if it is no link, belongs to the user, and nobody else may enter it. It is opened once, and
  files are opened within what was opened and checked, so nobody can put another in its place meanwhile.
- An entry begins with a checksum of its name and the rest. What has been cut, changed or renamed is no entry. The
  checksum is no secret: whoever can write there can change what is found, and is the user, or root, or what filled the
  folder on their behalf.
- A file appears under its name when it is complete.
- Whatever fails, there is no entry. A folder that cannot be read or written is none, and no error.
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
import time
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

LIMIT = 256 * 2**20  # bytes of all entries of a folder, about; what was used least recently goes first
LARGEST = 64 * 2**20  # bytes of an entry
_SEAL = 16  # bytes of a checksum
_DAY = 24 * 3600  # seconds; how exactly it is known when an entry was used


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder, and the names of the entries that are known to be in it."""

    descriptor: int
    there: set[str] = field(default_factory=set)

    def read(self, name: str) -> bytes | None:
        """An entry; None if there is none, or if what is there is damaged."""
        try:
            data = _read(self, name)
        except OSError:
            return None
        if data is None or data[:_SEAL] != seal(name, data[_SEAL:]):
            return None
        return data[_SEAL:]

    def write(self, name: str, data: bytes) -> None:
        """Puts an entry there, if that is possible."""
        with contextlib.suppress(OSError):
            written = _write(self, name, seal(name, data) + data)
            if random.random() < 16 * written / LIMIT:  # so as often as it is worth it, whoever writes how much
                _prune(self)


def seal(name: str, data: bytes) -> bytes:
    """The checksum of an entry."""
    return blake2b(data, key=name.encode()[:64], digest_size=_SEAL).digest()


_opened: dict[Path, Folder] = {}


def _path(kind: str) -> Path | None:
    """Where entries of a kind are; None for nowhere."""
    chosen = os.environ.get("M4_CACHE")
    if chosen is not None:
        return Path(chosen, kind) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # a relative path there counts as none
        base = os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.expanduser fails where there is no home
    return Path(base, "xmesh", kind) if base.startswith("/") else None


def folder_of(kind: str, create: bool = False) -> Folder | None:
    """The folder of the entries of a kind; None if there is none, or none that is safe to use."""
    path = _path(kind)
    if path is None or path in _opened or os.open not in os.supports_dir_fd:
        return None if path is None else _opened.get(path)
    try:
        if create:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid() or found.st_mode & 0o077:
        os.close(descriptor)
        return None
    return _opened.setdefault(path, Folder(descriptor))


def _read(folder: Folder, name: str) -> bytes | None:
    """The bytes of a file, which counts as used; None if this is no regular file, or is too large. Raises OSError."""
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder.descriptor)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST:
            return None
        if time.time() - found.st_mtime > _DAY:
            with contextlib.suppress(OSError):
                os.utime(file)
        return os.read(file, found.st_size)
    finally:
        os.close(file)


def _write(folder: Folder, name: str, data: bytes) -> int:
    """Writes a file under another name first; how many bytes it has. Raises OSError."""
    if len(data) > LARGEST:
        return 0
    passing = f"{name}.{os.getpid()}.{random.getrandbits(32):08x}"
    at = folder.descriptor
    file = os.open(passing, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
    try:
        with os.fdopen(file, "wb") as out:
            out.write(data)
        os.replace(passing, name, src_dir_fd=at, dst_dir_fd=at)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(passing, dir_fd=at)
        raise
    folder.there.add(name)
    return len(data)


def _prune(folder: Folder) -> None:
    """Removes what was used least recently, if there is too much; others may do the same meanwhile. Raises OSError."""
    found = []
    with os.scandir(folder.descriptor) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                found.append((status.st_mtime, status.st_size, entry.name))
    total = sum(size for _, size, _ in found)
    wanted = LIMIT * 3 // 4 if total > LIMIT else total
    for _, size, name in sorted(found):
        if total <= wanted:
            return
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(name, dir_fd=folder.descriptor)
            folder.there.discard(name)
        total -= size
