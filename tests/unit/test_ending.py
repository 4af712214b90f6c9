"""A command ends at once, but not before what is to be done at the end."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAD = """
import atexit, sys, threading, time
from m4c.ending import ending_at_once

class Held:
    def __del__(self):
        print("taken apart")

held = Held()
"""


def ended(body: str) -> tuple[int, list[str], str]:
    done = subprocess.run([sys.executable, "-c", HEAD + body], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_nothing_is_taken_apart() -> None:
    assert ended("sys.exit(0)")[1] == ["taken apart"]
    assert ended("ending_at_once(lambda: 3)") == (3, [], "")


def test_output_threads_and_what_was_registered_come_first() -> None:
    body = """
def main():
    atexit.register(lambda: print("registered"))
    threading.Thread(target=lambda: (time.sleep(0.2), print("the thread"))).start()
    print("no line end", end="")
    return 1

ending_at_once(main)
"""
    code, out, errors = ended(body)
    assert (code, errors) == (1, "")
    assert out == ["no line endthe thread", "registered"]


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("ending_at_once(lambda: sys.exit(4))", 4, ""),
        ("ending_at_once(sys.exit)", 0, ""),
        ("ending_at_once(lambda: sys.exit('out of order'))", 1, "out of order\n"),
        ("ending_at_once(lambda: 1 // 0)", 1, "ZeroDivisionError"),
    ],
)
def test_exceptions_are_what_they_always_are(body: str, code: int, said: str) -> None:
    was, out, errors = ended(body)
    assert (was, out) == (code, [])
    assert said in errors
