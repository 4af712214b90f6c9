"""The items of files with their trees, kept on the disk (`disk`) from one start to the next.

An entry is named by the text of a file and the version of what parses it, so none is ever out of date, and processes
that write the same entry write the same bytes. Entries are JSON (encoding.py).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from m4c.garbage import uncollected
from m4c.syntax import parser
from m4c.syntax.disk import folder_of
from m4c.syntax.items import split
from m4c.syntax.parser import parse_item

if TYPE_CHECKING:
    from m4c.syntax.encoding import Parsed

KIND = "items"
KNOWN = 1 << 13  # files that are remembered

_known: dict[str, Parsed] = {}


def parse_file(text: str) -> Parsed:
    """The items of a file, in order, each with its tree: as remembered, as on the disk, or parsed."""
    known = _known.get(text)
    if known is not None:
        return known
    with uncollected():
        found = load(text)
        if found is None:
            found = tuple((item, parse_item(item.text)) for item in split(text))
    return _remember(text, found)


def unparsed(texts: Iterable[str]) -> list[str]:
    """Those of some files that are neither remembered nor on the disk."""
    out = []
    for text in dict.fromkeys(texts):
        if text not in _known:
            found = load(text)
            if found is None:
                out.append(text)
            else:
                _remember(text, found)
    return out


def parsed_elsewhere(text: str, data: bytes) -> None:
    """Remembers the items of a file that another process has parsed and encoded."""
    from m4c.syntax.encoding import decode

    with uncollected():
        _remember(text, decode(data, text))


def encoded(text: str) -> bytes:
    """The items of a file for another process."""
    from m4c.syntax.encoding import encode

    return encode(parse_file(text))


def _remember(text: str, found: Parsed) -> Parsed:
    if len(_known) >= KNOWN:
        for old in tuple(islice(_known, KNOWN // 2)):
            _known.pop(old, None)
    _known[text] = found
    return found


def retain(texts: Iterable[str]) -> None:
    """Forgets all but some files and their items."""
    left = {text: parsed for text in texts if (parsed := _known.get(text)) is not None}
    _known.clear()
    _known.update(left)
    parser.retain(item.text for parsed in left.values() for item, _ in parsed)


def forget() -> None:
    """Every file is read and parsed again."""
    _known.clear()
    parser.forget()


def load(text: str) -> Parsed | None:
    """The items of a file as they are on the disk; None if they are not, or if what is there is damaged."""
    folder, name = folder_of(KIND), _name(text)
    data = folder.read(name) if folder is not None and name is not None else None
    if data is None or folder is None or name is None:
        return None
    from m4c.syntax.encoding import decode

    try:
        found = decode(data, text)
    except ValueError:
        return None
    folder.there.add(name)
    return found


def store(texts: Iterable[str]) -> None:
    """Puts the items of files on the disk, if they are not there: for texts that are likely to be read again."""
    from m4c.syntax.encoding import encode

    folder = folder_of(KIND, create=True)
    if folder is None:
        return
    with uncollected():
        for text in texts:
            name = _name(text)
            if name is not None and name not in folder.there:
                folder.write(name, encode(parse_file(text)))


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
