"""Where commands write: pipes that nobody reads, full disks, any encoding, terminals with and without colors."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from pathlib import Path

import pytest
from cli_kit import BOUTIQUE, CONFLICT, command, environment, hold, process, shop

PRINTING = [
    ("--help",),
    ("explain",),
    ("check", str(CONFLICT)),
    ("check", str(CONFLICT), "--format", "json"),
    ("plan", str(BOUTIQUE)),
    ("graph", "show", str(BOUTIQUE)),
]


@pytest.mark.parametrize("args", PRINTING, ids=" ".join)
@pytest.mark.parametrize("unbuffered", [None, "1"])
def test_nobody_reads(args: tuple[str, ...], unbuffered: str | None) -> None:
    """A closed pipe is no error, and changes no exit code."""
    reader, writer = os.pipe()
    os.close(reader)
    done = process(*args, stdout=writer, env=environment(PYTHONUNBUFFERED=unbuffered))
    os.close(writer)
    assert (done.code, done.err) == (int("check" in args), "")


@pytest.mark.parametrize("args", PRINTING[1:], ids=" ".join)
def test_a_full_disk(args: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = process(*args, stdout=full)
    assert (done.code, done.err) == (2, "m4: No space left on device\n")


def test_no_standard_output_at_all() -> None:
    shell = ["sh", "-c", '"$@" >&-', "sh", *command("check", CONFLICT)]
    done = subprocess.run(shell, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_encoding(tmp_path: Path, encoding: str) -> None:
    folder = shop(tmp_path, "policy p (HttpRequest r) on web -> cart { /* é😀 */ r.Nope(); }")
    env = environment(PYTHONIOENCODING=encoding)
    for form in ("text", "json"):
        done = subprocess.run(command("check", folder, "--format", form), env=env, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (1, b"")
        text = done.stdout.decode(encoding)
        assert "Nope" in text
        if form == "json":
            hold(json.loads(text), "check")


def on_a_terminal(*args: str, **env: str | None) -> str:
    """What a command writes to a terminal."""
    main, side = pty.openpty()
    given = environment(**{"TERM": "xterm", **env})
    with subprocess.Popen(command(*args), env=given, stdout=side, stderr=side) as done:
        os.close(side)
        written = b""
        try:
            while more := os.read(main, 65536):
                written += more
        except OSError:  # how the end of a terminal shows
            pass
        os.close(main)
    assert done.returncode == 1
    return written.decode()


def test_colors_only_where_they_are_wanted() -> None:
    args = ("check", str(CONFLICT))
    assert "\x1b[1;31merror[contradiction]\x1b[0m" in on_a_terminal(*args)
    assert "\x1b" not in on_a_terminal(*args, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(*args, TERM="dumb")
    assert "\x1b[1;31m" in on_a_terminal(*args, NO_COLOR="")
    assert "\x1b" not in process(*args).out
    assert "\x1b" not in on_a_terminal(*args, "--format", "github")
