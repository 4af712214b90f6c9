"""An Envoy that has started and waits for a configuration to validate.

Of a validation by Envoy most is its start, which has nothing to do with what is validated. So a deployment keeps one
that has it behind it: what it was told to read is a pipe, and it goes on when something is written there. It serves for
one validation, and only its yes counts. Whoever does not get that asks an Envoy of their own, and hears from that one
what is wrong.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from m4deploy.processes import spawn, stop

_SECONDS = 10.0  # for what is left of its start, and the validation


@dataclass(frozen=True, slots=True)
class Waiting:
    """One that waits, for whoever took it. What its configuration names beside itself, it finds in `folder`."""

    folder: Path
    _config: Path
    _process: subprocess.Popen[bytes]

    def accepts(self, text: str) -> bool:
        """Whether it says that this is a configuration without fault."""
        end = time.monotonic() + _SECONDS
        try:
            return self._written(text.encode(), end) and self._status(end) == 0
        except OSError:
            return False
        finally:
            stop([self._process])

    def _written(self, text: bytes, end: float) -> bool:
        """Whether it was given all of this."""
        pipe = -1
        try:
            while text:
                if self._process.poll() is not None or time.monotonic() > end:
                    return False
                try:
                    pipe = os.open(self._config, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC) if pipe < 0 else pipe
                    text = text[os.write(pipe, text) :]
                except OSError as error:
                    if error.errno not in (errno.ENXIO, errno.EAGAIN):  # it does not read yet, or has to read first
                        raise
                    time.sleep(0.001)
            return True
        finally:
            if pipe >= 0:
                os.close(pipe)

    def _status(self, end: float) -> int | None:
        """How it ended; None if it did not."""
        ended = os.pidfd_open(self._process.pid)
        try:
            select.select([ended], [], [], max(0.0, end - time.monotonic()))
        finally:
            os.close(ended)
        return self._process.poll()


class Spare:
    """At most one."""

    def __init__(self, folder: Path, command: Callable[[Path], Sequence[str]]) -> None:
        """`folder`: it runs there. `command`: what validates the configuration in a file."""
        self._folder = folder
        self._config = folder / "envoy.yaml"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._taking = threading.Lock()

    def prepare(self) -> None:
        """Starts one, unless one waits. Call it from the main thread, when nobody else is waiting."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        with contextlib.suppress(OSError):  # then there is none
            self._folder.mkdir()
            os.mkfifo(self._config, 0o600)
            self._process = spawn(self._command(self._config), cwd=self._folder, log=self._folder / "envoy.log")

    def take(self) -> Waiting | None:
        """The one that waits, if there is one, from any thread."""
        with self._taking:
            process, self._process = self._process, None
        return None if process is None else Waiting(self._folder, self._config, process)

    def close(self) -> None:
        """It is not needed any more, nor what the last one has left."""
        if self._process is not None:
            stop([self._process])
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)
