"""The target `local`: every service of a mesh as a small process on this machine, with real dataplanes in between."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from m4deploy.built import Built, read_built
from m4deploy.errors import DeployError
from m4deploy.mesh import control_sockets
from m4deploy.processes import tail
from m4deploy.state import ANSWER_SECONDS, GENERATION, NEXT, ask, changing, clear_up, connect, locked, read_state
from m4deploy.steps import KILL_AT, reached
from m4deploy.supervisor import HOLD, KEEP, NOTHING_LEFT

Progress = Callable[[str, float], None]


class StartAnew(Exception):
    """What runs cannot become what was built without a new start; nothing was changed. It says why."""


class Deployment:
    """A mesh in force. Only one in the foreground has an owner: whoever holds this, and it ends with them."""

    def __init__(
        self,
        state: Path,
        folder: Path,
        leash: socket.socket | None = None,
        supervisor: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.state = state
        self.folder = folder
        self.built: Built = read_built(folder / "built")
        self._leash = leash
        self._supervisor = supervisor

    @property
    def control(self) -> Mapping[tuple[str, str], Path]:
        """Where the stand-in applications take orders, by service and version."""
        return control_sockets(self.built, self.folder)

    def status(self) -> dict[str, Any]:
        """See `mesh.Mesh.status`. Raises DeployError if it is gone."""
        found = status(self.state)
        if found is None:
            raise DeployError("The deployment is no longer in force.")
        return found

    def keep(self) -> None:
        """Lets it stand alone, in the background."""
        if self._leash is not None:
            self._leash.sendall(KEEP)
            self._leash.recv(1)  # its end: the supervisor has taken note
            self._leash.close()
            self._leash = None

    def stop(self) -> None:
        """Takes it away; nothing of it is left when this returns. May be called twice."""
        if self._leash is not None:
            self._leash.close()
            self._leash = None
        elif (read_state(self.state) or {}).get("generation") == self.folder.name:
            ask(self.state, "stop")
        if self._supervisor is not None:
            self._supervisor.wait()

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def deploy(
    built: Path,
    state_dir: Path,
    progress: Progress = lambda what, fraction: None,
    *,
    foreground: bool = False,
    take: bool = False,
) -> Deployment:
    """Puts a built mesh in force, in place of the one that was deployed from the same state folder before.

    Everything is validated first, by the dataplanes themselves. If anything fails, or this is interrupted, the machine
    is as it was: nothing new is left, and a previous deployment is in force. `progress` is told what happens and the
    fraction that is done. It is the last that can interrupt: after it was told 1, the new deployment takes the place of
    the old one. `foreground`: it ends with this process at the latest, however that ends. `take`: nobody else needs the
    folder, so it need not be copied; it may be gone behind this.

    Raises DeployError.
    """
    state = state_dir.absolute()
    new = read_built(built)
    with locked(state) as lock:
        clear_up(state)
        running = read_state(state)
        if running is not None and running["foreground"]:
            message = f"A deployment in the foreground runs from {state} (process {running['supervisor']})."
            raise DeployError(message, hint="End it first.")
        brought: Path | None = None
        if running is not None and not foreground:
            brought = state / running["generation"] / f"{NEXT}{uuid.uuid4().hex[:8]}"
            updated = _update(state, running, new, brought, take, progress)
            if updated is not None:
                return updated
        folder = state / f"{GENERATION}{uuid.uuid4().hex[:8]}"
        if brought is None:
            _bring(new, folder / "built", folder, take)
        else:
            folder.mkdir()
            brought.rename(folder / "built")
        reached("command", "copy", os.environ.get(KILL_AT))
        leash, theirs = socket.socketpair()
        with (state / "supervisor.log").open("wb") as log:
            command = [sys.executable, "-m", "m4deploy.supervisor", str(state), folder.name]
            supervisor = subprocess.Popen(
                [*command, str(theirs.fileno()), str(lock)],
                pass_fds=(theirs.fileno(), lock),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        theirs.close()
        try:
            _follow(leash, progress, state, HOLD if foreground else KEEP)
            if not foreground:
                leash.close()
            return Deployment(state, folder, leash if foreground else None, supervisor)
        except BaseException as error:
            leash.close()
            _wait_for_old_state(state, supervisor)
            if isinstance(error, DeployError) and running is not None and read_state(state) is None:
                error.hint, error.changed = NOTHING_LEFT, True
            raise


def _bring(built: Built, to: Path, rest: Path, take: bool) -> None:
    """Puts the files of what was built elsewhere, or a copy of them. `rest`: what to remove if that fails."""
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        if take:
            with contextlib.suppress(OSError):  # it is on another file system
                built.folder.rename(to)
                return
        to.mkdir()
        made = {to}
        for path in built.paths:
            copy = to / path.relative_to(built.folder)
            if copy.parent not in made:
                copy.parent.mkdir(parents=True, exist_ok=True)
                made.add(copy.parent)
            shutil.copyfile(path, copy)
    except OSError as error:
        shutil.rmtree(rest, ignore_errors=True)
        raise DeployError(f"{built.folder} cannot be copied to {to}.", str(error)) from error


def _update(
    state: Path, running: Mapping[str, Any], new: Built, following: Path, take: bool, progress: Progress
) -> Deployment | None:
    """Gives what runs other policies; the process that owns it does that. None if the mesh has to start anew, which
    `progress` is told the reason of; `following` has then what was built."""
    kill_at = os.environ.get(KILL_AT)
    folder = following.parent
    _bring(new, following, following, take)
    reached("command", "copy", kill_at)
    try:
        leash = connect(state / "socket")
    except OSError as error:
        shutil.rmtree(following, ignore_errors=True)
        raise _silent(running) from error
    with leash:
        order = {"do": "update", "folder": following.name, "kill_at": kill_at}
        leash.sendall(json.dumps(order).encode() + b"\n")
        reached("command", "ask", kill_at)
        if not select.select([leash], [], [], ANSWER_SECONDS)[0]:
            raise _silent(running)
        try:
            _follow(leash, progress, state, KEEP)
        except StartAnew as reason:
            progress(f"The mesh starts anew: {reason}", 0.0)
            return None
        except BaseException as error:
            leash.close()
            if ask(state, "status") is None and isinstance(error, DeployError):  # answered when all is as it was
                error.hint, error.changed = NOTHING_LEFT, True
            raise
    return Deployment(state, folder)


def _wait_for_old_state(state: Path, supervisor: subprocess.Popen[bytes]) -> None:
    """Waits until a supervisor whose leash was closed has taken everything back. It ends then, unless the previous
    deployment had to be started again: that one is its own now."""
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            supervisor.wait(0.02)
            return clear_up(state)
        found = read_state(state)
        if found is not None and found["supervisor"] == supervisor.pid and not found["foreground"]:
            return None


def _follow(leash: socket.socket, progress: Progress, state: Path, word: bytes) -> None:
    """Passes on what the supervisor tells, answers with the word when it is ready, and returns when the deployment can
    be asked; raises what it failed with."""
    with leash.makefile("rb") as lines:
        for line in lines:
            message = json.loads(line)
            if "serving" in message:
                return
            if "ready" in message:
                leash.sendall(word)
                reached("command", "confirm", os.environ.get(KILL_AT))
                continue
            if "error" in message:
                about = message["error"], message["detail"], message["hint"]
                raise DeployError(*about, changed=message["changed"], words=message.get("words", ""))
            if "anew" in message:
                raise StartAnew(message["anew"])
            progress(message["progress"], message["fraction"])
    raise DeployError("The supervisor of the deployment ended unexpectedly.", tail(state / "supervisor.log"))


def current(state_dir: Path) -> Deployment | None:
    """The deployment that is in force from this state folder."""
    state = state_dir.absolute()
    found = read_state(state)
    return None if found is None else Deployment(state, state / found["generation"])


def status(state_dir: Path) -> dict[str, Any] | None:
    """What runs, see `mesh.Mesh.status`; None if nothing does. Raises DeployError if who knows does not answer."""
    return _asked(state_dir, "status")


def top(state_dir: Path, seconds: float | None = None) -> dict[str, Any] | None:
    """See `mesh.Mesh.top`; None if nothing runs. Raises DeployError if who knows does not answer in so many seconds."""
    return _asked(state_dir, "top", *(() if seconds is None else (seconds,)))


def _asked(state_dir: Path, what: str, *seconds: float) -> dict[str, Any] | None:
    state = state_dir.absolute()
    running = read_state(state)
    if running is None:
        return None
    found = ask(state, what, *seconds)
    if found is None and read_state(state) is not None:
        if changing(state):
            raise DeployError("The deployment is being changed.", hint="Try again when that is done.")
        raise _silent(running)
    return found


def _silent(running: Mapping[str, Any]) -> DeployError:
    supervisor = running["supervisor"]
    hint = f"Try again; or end it with `kill {supervisor}`, which takes everything of it away."
    return DeployError(f"The deployment (process {supervisor}) does not answer.", hint=hint)


def undeploy(state_dir: Path) -> bool:
    """Takes the deployment away, also what a killed one left. False if there was none. Raises DeployError."""
    state = state_dir.absolute()
    if not state.is_dir():
        return False
    with locked(state):
        running = read_state(state)
        if running is not None and ask(state, "stop") is None:
            raise _silent(running)
        left = (state / "state.json").exists() or any(state.glob(f"{GENERATION}*"))
        clear_up(state)
        if left and running is None:
            for name in ("state.json", "socket"):
                (state / name).unlink(missing_ok=True)
    return running is not None or left
