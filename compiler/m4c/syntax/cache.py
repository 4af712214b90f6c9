"""The items of files with their trees, kept on the disk from one start to the next.

An entry is named by the text of a file and the version of what parses it, so none is ever out of date. The folder is
`items` in $M4_CACHE, else in xmesh in $XDG_CACHE_HOME or ~/.cache; an empty $M4_CACHE switches it off.

What is on the disk may be anything, so:
- Entries are JSON (encoding.py). No bytes make Python run code or crash, as those of `pickle` and `marshal` can.
- The folder is used only if it is no link, belongs to the user, and nobody else may enter it. It is opened once, and
  files are opened within what was opened and checked, so nobody can put another in its place meanwhile.
- An entry begins with a checksum of its name and the rest. What has been cut, changed or renamed is no entry. The
  checksum is no secret: whoever can write there can give a text another tree, and is the user, or root, or what
  filled the folder on their behalf.
- A file appears under its name when it is complete. Processes that write the same entry write the same bytes.
- Whatever fails, the text is parsed. A cache that cannot be read or written is none, and no error.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from hashlib import blake2b
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from m4c.syntax.items import split
from m4c.syntax.parser import parse_item

if TYPE_CHECKING:
    from m4c.syntax.encoding import Parsed

LIMIT = 256 * 2**20  # bytes of all entries, about; what was used least recently goes first
LARGEST = 64 * 2**20  # bytes of an entry
_SEAL = 16  # bytes of a checksum
_DAY = 24 * 3600  # seconds; how exactly it is known when an entry was used


@lru_cache(maxsize=1 << 13)
def parse_file(text: str) -> Parsed:
    """The items of a file, in order, each with its tree: as remembered, as on the disk, or parsed."""
    with uncollected():
        found = load(text)
        return tuple((item, parse_item(item.text)) for item in split(text)) if found is None else found


def load(text: str) -> Parsed | None:
    """The items of a file as they are on the disk; None if they are not, or if what is there is damaged."""
    folder, name = _folder(), _name(text)
    if folder is None or name is None:
        return None
    try:
        data = _read(folder, name)
        if data is None or data[:_SEAL] != _seal(name, data[_SEAL:]):
            return None
        from m4c.syntax.encoding import decode

        found = decode(data[_SEAL:], text)
    except (OSError, ValueError):
        return None
    folder.there.add(name)
    return found


def store(texts: Iterable[str]) -> None:
    """Puts the items of files on the disk, if they are not there: for texts that are likely to be read again."""
    from m4c.syntax.encoding import encode

    folder, written = _folder(create=True), 0
    if folder is None:
        return
    with contextlib.suppress(OSError), uncollected():
        for text in texts:
            name = _name(text)
            if name is not None and name not in folder.there:
                data = encode(parse_file(text))
                written += _write(folder, name, _seal(name, data) + data)
        if random.random() < 16 * written / LIMIT:  # so as often as it is worth it, whoever writes how much
            _prune(folder)


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Collects no garbage meanwhile: trees hold no cycles, and looking for some takes longer than reading them. Around
    the opening of a workspace it saves more still."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


# --- names ------------------------------------------------------------------------------------------------------------


@cache
def _version() -> bytes | None:
    """Tells apart all that trees depend on besides a text: this package, lark, Python. None: it cannot be known."""
    lark = find_spec("lark")
    if lark is None or lark.origin is None or __package__ is None:
        return None
    try:
        sources = sorted((f.name, f.read_bytes()) for f in files(__package__).iterdir() if f.is_file())
        release = Path(lark.origin).read_bytes()  # it holds the version; importing it takes long
    except OSError:
        return None
    digest = blake2b(repr((sys.version_info, release)).encode())
    for name, source in sources:
        digest.update(f"{name}\0{len(source)}\0".encode() + source)
    return digest.digest()


def _name(text: str) -> str | None:
    """The name of the entry for a text."""
    version = _version()
    if version is None:
        return None
    return blake2b(version + text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _seal(name: str, data: bytes) -> bytes:
    return blake2b(data, key=name.encode(), digest_size=_SEAL).digest()


# --- the folder -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Folder:
    """An open folder, and the names of the entries that are known to be in it."""

    descriptor: int
    there: set[str] = field(default_factory=set)


_opened: dict[Path, _Folder] = {}


def _path() -> Path | None:
    """Where entries are; None for nowhere."""
    chosen = os.environ.get("M4_CACHE")
    if chosen is not None:
        return Path(chosen, "items") if chosen else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # a relative path there counts as none
        base = os.path.expanduser("~/.cache")  # noqa: PTH111 - Path.expanduser fails where there is no home
    return Path(base, "xmesh", "items") if base.startswith("/") else None


def _folder(create: bool = False) -> _Folder | None:
    """The folder of the entries; None if there is none, or none that is safe to use."""
    path = _path()
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
    return _opened.setdefault(path, _Folder(descriptor))


def _read(folder: _Folder, name: str) -> bytes | None:
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


def _write(folder: _Folder, name: str, data: bytes) -> int:
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


def _prune(folder: _Folder) -> None:
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
