"""Finds and reads source files. What cannot be read is said in one way, whoever asks."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

MAX_BYTES = 8 * 1024 * 1024
BOM = "\ufeff"
_SKIPPED = frozenset(("node_modules", "__pycache__", "venv", "target", "dist", "build"))
_LOCK = ".#"  # how Emacs names its locks: links beside the file that lead nowhere
_LOOKED_AT = 65_536  # how much of a text is looked at to tell whose it is, in characters; enough for a licence
_ANNOTATION = r"@\w+(?:\([^()\n]*\))?"
_BEFORE = re.compile(rf"(?:\s|{_ANNOTATION}|//[^\n]*|/\*.*?(?:\*/|\Z))*", re.S)
_COMMENTS = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"?|//[^\n]*|/\*.*?(?:\*/|\Z)', re.S)
_NAME = r'(?:[\w-]+|"[^"\n]*")'
_DECLARATION = (
    r"(?:(?:import|test)[ \t]*\""
    rf"|(?:mesh|spec|entity|enum)[ \t]+{_NAME}[ \t]*(?:[{{;]|over\b|extends\b|$)"
    rf"|(?:policy|template|apply)[ \t]+{_NAME}[ \t]*(?:\(|$)"
    rf"|state[ \t]+{_NAME}[ \t]+{_NAME}[ \t]*(?:[({{;]|per\b|$))"
)
_BEGINS = re.compile(_DECLARATION, re.M)
_OURS = re.compile(rf"^[ \t]*(?:{_ANNOTATION}[ \t]*)*{_DECLARATION}", re.M)
_GNU = re.compile(  # a line that only GNU m4 has: its own macros, those of Autoconf and of sendmail
    r"^[ \t]*(?:dnl\b|(?:A[CMX]|AH|AS|AU|LT|PKG)_[A-Z]|m4_[a-z]"
    r"|(?:define|undefine|ifdef|ifelse|s?include|un?divert|divert|changequote|changecom|pushdef|popdef|syscmd|esyscmd"
    r"|VERSIONID|OSTYPE|MAILER|FEATURE)\()",
    re.M,
)
_CODE = re.compile(r"[{};]\s*$", re.M)


class Unreadable(Exception):
    """A file or folder cannot be read; `code` is that of the diagnostic."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def looks_like_m4(text: str, claimed: bool = False) -> bool:
    """Whether a file named `.m4` is ours, by its text: the ending belongs to the macro processor m4 too.

    A declaration makes it ours, unless a macro of GNU m4 stands before it. Without either it is ours if somebody claims
    so, else if it reads like code: a file whose only declaration is misspelt must not be passed over. The editors' rule
    is stricter there, for they look at files of which nobody has said anything.
    """
    text = text[:_LOOKED_AT].removeprefix(BOM)
    before = _BEFORE.match(text)
    if before is not None and _BEGINS.match(text, before.end()):
        return True
    code = _COMMENTS.sub(lambda m: m[0] if m[0].startswith('"') else " ", text)
    ours, foreign = _OURS.search(code), _GNU.search(code)
    if foreign is not None:
        return ours is not None and ours.start() < foreign.start()
    if ours is not None or claimed or not code.strip():
        return True
    return _CODE.search(code) is not None and not code.lstrip().startswith("#")


def m4_files(path: Path) -> tuple[list[str], list[tuple[str, Unreadable]]]:
    """The files below a folder that end in `.m4`, whosever they are, and the folders that cannot be looked into.

    A file stands for itself.
    """
    if path.is_file():
        return [path.as_posix()], []
    closed: list[OSError] = []
    found = []
    for folder, folders, files in os.walk(path, onerror=closed.append):
        folders[:] = sorted(d for d in folders if not d.startswith(".") and d not in _SKIPPED)
        names = sorted(f for f in files if f.endswith(".m4") and not f.startswith(_LOCK))
        found += [Path(folder, name).as_posix() for name in names]
    return found, [(Path(str(e.filename)).as_posix(), _unreadable("folder", e)) for e in closed]


def read_text(file: str) -> str:
    """The text of a file, with its byte order mark if it has one.

    Raises FileNotFoundError, also for a folder, and Unreadable.
    """
    try:
        status = Path(file).stat()
        if stat.S_ISDIR(status.st_mode):
            raise FileNotFoundError(file)
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise Unreadable("unreadable-file", "this is no regular file and is not read")
        if status.st_size > MAX_BYTES:
            raise Unreadable("too-large", f"the file is larger than {MAX_BYTES // 2**20} MiB and is not read")
        return Path(file).read_bytes().decode("utf-8")
    except UnicodeDecodeError as e:
        wide = " (it looks like UTF-16)" if e.object.startswith((b"\xff\xfe", b"\xfe\xff")) else ""
        message = f"the file is not UTF-8: byte 0x{e.object[e.start]:02x} at offset {e.start}{wide}"
        raise Unreadable("bad-encoding", message) from None
    except (FileNotFoundError, NotADirectoryError):
        if Path(file).is_symlink():
            raise Unreadable("unreadable-file", "the link leads nowhere") from None
        raise FileNotFoundError(file) from None
    except OSError as e:
        if e.errno == errno.ENAMETOOLONG:
            raise FileNotFoundError(file) from None
        raise _unreadable("file", e) from None
    except ValueError:  # characters that no name has
        raise FileNotFoundError(file) from None


def beside(folder: str) -> tuple[str, ...]:
    """The names of the files in a folder."""
    try:
        return tuple(sorted(f.name for f in Path(folder).iterdir() if f.is_file()))
    except (OSError, ValueError):
        return ()


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was read from the disk, to tell later whether that would be the same."""

    listed: Sequence[str]  # the M4 files that were found
    texts: Mapping[str, str | None]  # the digest of each file that was read; None for one that was not there
    there: Mapping[str, bool]  # files of which only matters whether they are there
    beside: Mapping[str, Sequence[str]]  # the names of the files in folders

    def hold(self, paths: Iterable[Path]) -> bool:
        """Whether all this is on the disk now; `paths`: where M4 files are looked for."""
        found = [m4_files(path) for path in paths]
        if any(closed for _, closed in found) or sorted({f for files, _ in found for f in files}) != [*self.listed]:
            return False
        if any(Path(f).is_file() != there for f, there in self.there.items()):
            return False
        if any(beside(folder) != (*names,) for folder, names in self.beside.items()):
            return False
        return all(_digest_now(file) == digest for file, digest in self.texts.items())


def digest(text: str) -> str:
    """Stands for a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()


def _digest_now(file: str) -> str | None:
    try:
        return digest(read_text(file).removeprefix(BOM))
    except FileNotFoundError:
        return None
    except Unreadable:
        return ""  # that of no text


def is_file(path: str) -> bool:
    """Whether there is a regular file of a name that may be none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # too long, or with characters that no name has
        return False


def _unreadable(what: str, error: OSError) -> Unreadable:
    return Unreadable("unreadable-file", f"the {what} cannot be read: {error.strerror or error}")
