"""The state folder of the local target: which generation runs, and how to talk to its supervisor.

lock        held while a deployment is made, changed or taken away
state.json  the manifest: {"supervisor", "born", "generation", "mesh", "foreground", "built"}, written when something
            else is in force. `built`: the digest of what is
socket      its supervisor's: one JSON line asked, one answered
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from m4deploy.built import Built
from m4deploy.errors import DeployError
from m4deploy.mesh import Journal, sweep
from m4deploy.processes import born

GENERATION = "generation-"
NEXT = "next-"  # in the folder of a generation: what was built, and is to be in force there
ANSWER_SECONDS = 60.0


@contextmanager
def locked(state: Path) -> Iterator[int]:
    """Holds the folder's lock; a second deployment at the same time is told so. Yields the lock's descriptor."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        fd = os.open(state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DeployError(f"The state folder {state} cannot be written: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DeployError(
                f"Another deployment from {state} is being made or taken away.", hint="Try again when it is done."
            ) from error
        yield fd
    finally:
        os.close(fd)


def changing(state: Path) -> bool:
    """Whether somebody makes, changes or takes away a deployment."""
    with contextlib.suppress(OSError):
        fd = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
    return False


def read_state(state: Path) -> dict[str, Any] | None:
    """What is in force, None if nothing is: a supervisor that was killed is nothing."""
    try:
        found = json.loads((state / "state.json").read_text(encoding="utf-8"))
        alive = born(found["supervisor"]) == found["born"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if alive and isinstance(found, dict) else None


def write_state(state: Path, generation: str, built: Built, foreground: bool) -> None:
    value = {
        **_supervisor(os.getpid()),
        "generation": generation,
        "mesh": built.mesh,
        "foreground": foreground,
        "built": built.digest,
    }
    partial = state / "state.json.part"
    partial.write_text(json.dumps(value) + "\n", encoding="utf-8")
    partial.replace(state / "state.json")


@cache
def _supervisor(me: int) -> Mapping[str, Any]:
    """Who owns a mesh."""
    return {"supervisor": me, "born": born(me)}


def forget(state: Path, supervisor: int) -> None:
    """Removes what a supervisor wrote into the folder, if it is still the last one that did."""
    try:
        written_by = json.loads((state / "state.json").read_text(encoding="utf-8"))["supervisor"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if written_by == supervisor:
        (state / "state.json").unlink(missing_ok=True)
        (state / "socket").unlink(missing_ok=True)


def clear_up(state: Path) -> None:
    """Removes the generations that no living supervisor looks after: theirs was killed, and everything with it."""
    for folder in sorted(state.glob(f"{GENERATION}*")):
        if Journal(folder).supervisor() is None:
            sweep(folder)


@contextmanager
def short_path(folder: Path) -> Iterator[Path]:
    """The folder under a name of a few characters: the path of a Unix socket is limited to some hundred."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def connect(path: Path) -> socket.socket:
    """A connection to a Unix socket, however long its path is."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        with short_path(path.parent) as folder:
            connection.connect(str(folder / path.name))
    except OSError:
        connection.close()
        raise
    return connection


def ask(state: Path, what: str, seconds: float = ANSWER_SECONDS) -> dict[str, Any] | None:
    """One question to the supervisor: "status", "top", "stop", or "yield" (stop, but keep what was built). None: nobody
    there, or no answer in so many seconds.

    After "stop" and "yield" everything is gone when this returns.
    """
    with contextlib.suppress(OSError, ValueError), connect(state / "socket") as connection:
        connection.settimeout(seconds)
        connection.sendall(json.dumps({"do": what}).encode() + b"\n")
        answer = b""
        while more := connection.recv(65536):
            answer += more
        found = json.loads(answer)
        return found if isinstance(found, dict) else None
    return None
