"""Heads are read in two ways: run by run, and for bcc by an automaton. Both, as programs of this machine, make the same
of every head, whole or not, in order or not."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from m4bpf.build import include_dir

HERE = Path(__file__).parent / "readers"
HEADERS = ("m4_head.h", "m4_rules.h", "m4_runs.h", "m4_steps.h", "m4_text.h", "m4_types.h")
SEED = 7
HEADS = 20_000
FIRST = (
    b"GET / HTTP/1.1",
    b"POST /a/b?c=d?e HTTP/1.1",
    b"HEAD ? HTTP/1.0",
    b"OPTIONS * HTTP/2.0",
    b" / HTTP/1.1",
    b"GET  HTTP/1.1",
    b"M-SEARCH /" + b"p" * 50 + b"?" + b"q" * 50 + b" HTTP/1.1",
)
NAMES = (b"Host", b"x-a", b"X-A", b"Content-Length", b"transfer-encoding", b"Expect", b"m4-ctx", b"a", b"User-Agent")
VALUES = (b"h", b"", b"7", b"chunked", b"0a1f", b"100-continue", b"a b\tc", b"\xc3\xa9", b"x" * 7, b"y" * 8, b"z" * 40)
BLANKS = (b"", b" ", b" ", b" ", b"\t", b"  \t ", b" " * 9)
ODD = b"\r\n \t:?#\0\x01\x7f\x80\xffaZ/"


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The one that clang compiles for the kernel, and the one that bcc does."""
    compiler = next((found for name in ("cc", "gcc", "clang", "clang-14") if (found := shutil.which(name))), None)
    if compiler is None:
        pytest.skip("there is no C compiler (Debian: gcc)")
    folder = tmp_path_factory.mktemp("readers")
    for name in HEADERS:
        shutil.copy(include_dir() / name, folder)
    # What the runtime takes from the kernel's headers is in readers.c.
    text = (include_dir() / "m4_loader.h").read_text()
    (folder / "m4_loader.h").write_text("".join(line for line in text.splitlines(True) if not _of_kernel(line)))
    made = []
    for name, flags in (("runs", []), ("steps", ["-DM4_BCC"])):
        made.append(folder / name)
        command = [compiler, "-O1", "-w", "-fno-strict-aliasing", f"-I{folder}", *flags, str(HERE / "readers.c")]
        subprocess.run([*command, "-o", str(made[-1])], check=True, timeout=120)
    return made


def _of_kernel(line: str) -> bool:
    return line.startswith(("#include <", "typedef __", "#define SEC"))


def heads(chosen: random.Random) -> Iterator[bytes]:
    """Heads that are in order, and such with bytes that are changed, missing or too many; whole, or a beginning."""
    while True:
        lines = [chosen.choice(FIRST)]
        for _ in range(chosen.randrange(7)):
            value = chosen.choice(BLANKS) + chosen.choice(VALUES) + chosen.choice(BLANKS)
            lines.append(chosen.choice(NAMES) + b":" + value)
        made = bytearray(b"\r\n".join(lines) + b"\r\n\r\n")
        for _ in range(chosen.choice((0, 0, 1, 1, 2))):
            at, odd = chosen.randrange(len(made)), chosen.choice(ODD)
            made[at : at + chosen.randrange(2)] = bytes([odd]) * chosen.randrange(2)
        if chosen.randrange(4) == 0:
            made = made[: chosen.randrange(len(made)) + 1]
        if made and len(made) <= 1024:
            yield bytes(made + chosen.choice((b"", b"", b"body\r\n")))[:1024]


def read(reader: Path, all_heads: Sequence[bytes]) -> list[str]:
    given = b"".join(struct.pack("<H", len(head)) + head for head in all_heads)
    done = subprocess.run([str(reader)], input=given, capture_output=True, check=True, timeout=120)
    said = done.stdout.decode().splitlines()
    return [f"{first}{second}" for first, second in zip(said[::2], said[1::2], strict=True)]


def test_both_make_the_same_of_every_head(readers: list[Path]) -> None:
    source = heads(random.Random(SEED))
    all_heads = [next(source) for _ in range(HEADS)]
    runs, steps = (read(reader, all_heads) for reader in readers)
    differ = [(head, a, b) for head, a, b in zip(all_heads, runs, steps, strict=True) if a != b]
    assert not differ, differ[0]
    outcomes = {said.split()[0] for said in runs}
    assert outcomes == {"more", "bad", "done"}
    assert sum(said.startswith("done") for said in runs) > HEADS // 10


def test_both_make_the_same_of_every_byte_in_every_place(readers: list[Path]) -> None:
    head = b"POST /a?b HTTP/1.1\r\nHost: h\r\nx-a:  b c \r\nx-a:\r\ncontent-length: 7\r\n\r\n"
    all_heads = [head[:at] + bytes([byte]) + head[at + 1 :] for at in range(len(head)) for byte in range(256)]
    all_heads += [head[:at] for at in range(1, len(head))]
    runs, steps = (read(reader, all_heads) for reader in readers)
    differ = [(changed, a, b) for changed, a, b in zip(all_heads, runs, steps, strict=True) if a != b]
    assert not differ, differ[0]
    assert all(said.startswith("more") for said in runs[-len(head) + 1 :])
