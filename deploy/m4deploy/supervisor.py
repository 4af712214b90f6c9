"""The process in the background that owns a deployment: its children, and the kernel's programs.

It is started by `local.deploy` with a *leash*, a socket to the command that deploys. Over it go progress and the
result, as JSON lines. When everything answers, the command is asked, and only its word makes the new deployment the one
in force: "keep", and from then on it stands alone, or "hold" for one in the foreground, which is never let off the
leash. If the leash ends before, because the command was interrupted or killed, everything is taken back.

Children die with this process even if it is killed, the kernel's programs too, since nothing else holds them; a
watcher, forked at the start, then removes the folders and cgroups.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from m4deploy.errors import DeployError
from m4deploy.mesh import Journal, Mesh, sweep
from m4deploy.processes import check_free
from m4deploy.state import GENERATION, NEXT, ask, forget, read_state, short_path, write_state
from m4deploy.steps import KILL_AT, reached
from m4deploy.update import Update

KEEP, HOLD = b"keep\n", b"hold\n"
_RENEW_SECONDS = 3600.0
NOTHING_LEFT = "Nothing is in force now: deploy again."


class Stopped(Exception):
    """The command that deploys is gone, or we are told to end: take everything back."""


class Leash:
    """The connection to the command that deploys."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection: socket.socket | None = connection
        self.told_to_end = False
        self.kept = False  # the deployment stands alone
        self._last = ""

    def send(self, **message: Any) -> None:
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.sendall(json.dumps(message).encode() + b"\n")

    def progress(self, what: str, fraction: float) -> None:
        """Tells how far we are; raises Stopped when nobody wants to know any more."""
        if what != self._last:
            self.send(progress=what, fraction=fraction)
            self._last = what
        if self.told_to_end or (self.connection is not None and self._ended(self.connection)):
            raise Stopped

    @staticmethod
    def _ended(connection: socket.socket) -> bool:
        try:
            return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def confirm(self) -> None:
        """Asks whether what was started shall stay, in place of what was there before; raises Stopped if not."""
        self.send(ready=True)
        if self.told_to_end or self.connection is None:
            raise Stopped
        word = self.connection.recv(64)
        if word not in (KEEP, HOLD):
            raise Stopped
        self.kept = word == KEEP

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def watch(state: Path) -> tuple[int, int]:
    """Forks the watcher. It waits for our end, then removes what we could not. Returns its pid, and the pipe's end
    whose closing it waits for."""
    end, held = os.pipe()
    me = os.getpid()
    pid = os.fork()
    if pid:
        os.close(end)
        return pid, held
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
            if fd != end:
                with contextlib.suppress(OSError):
                    os.close(fd)
        os.read(end, 1)
        for folder in state.glob(f"{GENERATION}*"):
            if any(entry["supervisor"] == me for entry in Journal(folder).entries("supervisor")):
                sweep(folder)
        forget(state, me)
    finally:
        os._exit(0)


def launch(state: Path, generation: str, leash: Leash) -> Mesh:
    """Puts a generation in force, in place of the one that runs. If that fails, the old one runs on, or again."""
    folder = state / generation
    previous = read_state(state)
    kill_at = os.environ.get(KILL_AT)
    try:
        mesh = Mesh(folder, leash.progress)
    except BaseException:
        sweep(folder)
        raise
    yielded = False
    try:
        mesh.prepare()
        reached("supervisor", "prepare", kill_at)
        if previous is None:
            check_free(mesh.built.addresses())
        else:
            old = Mesh(state / previous["generation"], leash.progress).built.addresses()
            check_free({a: what for a, what in mesh.built.addresses().items() if a not in old})
            leash.progress("Stopping the previous deployment", 0.5)
            yielded = True
            if ask(state, "yield") is None:
                raise DeployError("The previous deployment does not answer.", hint="End it with: m4 undeploy")
            reached("supervisor", "yield", kill_at)
        mesh.start()
        reached("supervisor", "start", kill_at)
        leash.progress("In force", 1.0)
        leash.confirm()
        reached("supervisor", "confirm", kill_at)
        return mesh
    except BaseException as error:
        mesh.close()
        if yielded and previous is not None:
            _restore(state, previous["generation"], error, leash)
        raise


class Restored(Exception):
    """A deployment failed, and the previous one is in force again, in this process."""

    def __init__(self, mesh: Mesh, error: DeployError) -> None:
        super().__init__(str(error))
        self.mesh = mesh
        self.error = error


def _restore(state: Path, generation: str, error: BaseException, leash: Leash) -> None:
    reason = error if isinstance(error, DeployError) else DeployError("The deployment was interrupted.")
    if isinstance(error, OSError):
        reason = DeployError(_plain(error))
    mesh = Mesh(state / generation, lambda what, fraction: None)
    try:
        mesh.prepare()
        mesh.start()
    except DeployError as again:
        mesh.close()
        detail = f"{reason.detail}\nThe previous deployment did not come back: {again}"
        raise DeployError(reason.message, detail, NOTHING_LEFT, changed=True) from error
    raise Restored(mesh, reason) from error


def _plain(error: OSError) -> str:
    return f"{error.filename or 'The deployment'}: {error.strerror or error}."


class Watched:
    """Somebody watches for some seconds after each time that they asked: who watches may be killed."""

    SECONDS = 10.0

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._until: float | None = None

    def renew(self) -> None:
        self._mesh.watch(True)
        self._until = time.monotonic() + self.SECONDS

    def seconds(self) -> float:
        """How long it lasts; infinite if nobody watches."""
        return math.inf if self._until is None else max(0.0, self._until - time.monotonic())

    def end_if_over(self) -> None:
        if self._until is not None and time.monotonic() >= self._until:
            self._mesh.watch(False)
            self._until = None


def serve(state: Path, mesh: Mesh, leash: Leash, wakeup: socket.socket) -> None:
    """Answers questions until somebody says stop. Everything is gone before the one who said so is answered."""
    selector = selectors.DefaultSelector()
    with selector, short_path(state) as folder, socket.socket(socket.AF_UNIX) as listener:
        (state / "socket").unlink(missing_ok=True)
        listener.bind(str(folder / "socket"))
        listener.listen()
        selector.register(listener, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        write_state(state, mesh.folder.name, mesh.built, leash.connection is not None and not leash.kept)
        reached("supervisor", "commit", os.environ.get(KILL_AT))
        leash.send(serving=True)
        if leash.kept:
            leash.drop()
        if leash.connection is not None:
            selector.register(leash.connection, selectors.EVENT_READ)
        mesh.renew()
        watched = Watched(mesh)
        renewed = time.monotonic()
        while True:
            ready = selector.select(min(watched.seconds(), _RENEW_SECONDS))
            watched.end_if_over()
            if time.monotonic() - renewed >= _RENEW_SECONDS:
                mesh.renew()
                renewed = time.monotonic()
            for key, _ in ready:
                if key.fileobj is wakeup:
                    if leash.told_to_end:
                        mesh.close()
                        return
                    wakeup.recv(64)
                elif key.fileobj is listener:
                    if _answer(listener, state, mesh, leash, watched):
                        return
                elif leash.connection is not None:
                    if leash.connection.recv(64) != KEEP:
                        mesh.close()
                        return
                    write_state(state, mesh.folder.name, mesh.built, False)
                    selector.unregister(leash.connection)
                    leash.drop()


def _answer(listener: socket.socket, state: Path, mesh: Mesh, owner: Leash, watched: Watched) -> bool:
    """One question. True: it was the last."""
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError, ValueError):
        connection.settimeout(5)
        asked = json.loads(_line(connection))
        do = asked.get("do")
        if do == "status":
            connection.sendall(json.dumps({**mesh.status(), "supervisor": os.getpid()}).encode())
        elif do == "top":
            watched.renew()
            connection.sendall(json.dumps(mesh.top()).encode())
        elif do in ("stop", "yield"):
            mesh.close(keep=do == "yield")
            forget(state, os.getpid())
            connection.sendall(b"{}")
            return True
        elif do == "update":
            connection.settimeout(None)

            def note() -> None:
                write_state(state, mesh.folder.name, mesh.built, owner.connection is not None)

            _update(mesh, mesh.folder / asked["folder"], Leash(connection), note, asked.get("kill_at"))
    return False


def _line(connection: socket.socket) -> bytes:
    """What is asked, and no byte more: what follows is the word that confirms."""
    line = b""
    while not line.endswith(b"\n") and (byte := connection.recv(1)):
        line += byte
    return line


def _update(mesh: Mesh, folder: Path, leash: Leash, note: Callable[[], None], kill_at: str | None) -> None:
    """Other policies in the place of those in force, or, if anything fails, the same ones as before. `note`: writes
    down what is in force."""
    for left in mesh.folder.glob(f"{NEXT}*"):  # of a command that was killed before it asked
        if left != folder:
            shutil.rmtree(left, ignore_errors=True)
    told, mesh.progress = mesh.progress, leash.progress
    update: Update | None = None
    try:
        update = Update(mesh, folder)
        reason = update.obstacle()
        if reason is not None:
            leash.send(anew=reason)
            return
        for step, said, share in (
            ("prepare", "Looking for what is different", 0.05),
            ("validate", "Validating", 0.1),
            ("load", "Loading what is new", 0.6),
            ("swap", "Swapping", 0.8),
            ("verify", "Verifying", 0.9),
        ):
            leash.progress(said, share)
            getattr(update, step)()
            reached("supervisor", step, kill_at)
        leash.progress("In force", 1.0)
        leash.confirm()
        reached("supervisor", "confirm", kill_at)
    except BaseException as error:
        _take_back(update, folder, error, leash)
        return
    finally:
        mesh.progress = told
    update.commit()
    note()
    reached("supervisor", "commit", kill_at)
    leash.send(serving=True)
    update.settle()
    reached("supervisor", "settle", kill_at)


def _take_back(update: Update | None, folder: Path, error: BaseException, leash: Leash) -> None:
    """After a failure: everything as it was, and why it is said to whoever asked."""
    failed = error if isinstance(error, DeployError) else DeployError(f"{type(error).__name__}: {error}")
    if isinstance(error, OSError):
        failed = DeployError(_plain(error))
    try:
        if update is not None:
            update.take_back()
        shutil.rmtree(folder, ignore_errors=True)
    except DeployError as again:
        failed.detail = f"{failed.detail}\nWhat ran before could not be put back: {again}".strip()
        failed.hint, failed.changed = "Deploy again, or end it with: m4 undeploy", True
    _tell(leash, failed)


def _tell(leash: Leash, error: DeployError) -> None:
    leash.send(error=error.message, detail=error.detail, hint=error.hint, changed=error.changed, words=error.words)


def main(state: Path, generation: str, leash_fd: int, lock_fd: int) -> int:
    """The life of a supervisor: 0 if it put its generation in force."""
    leash = Leash(socket.socket(fileno=leash_fd))
    os.set_inheritable(leash_fd, False)
    os.set_inheritable(lock_fd, False)
    pid, held = watch(state)
    wakeup, wake = socket.socketpair()
    wakeup.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: setattr(leash, "told_to_end", True))
    try:
        return _life(state, generation, leash, lock_fd, wakeup)
    finally:
        forget(state, os.getpid())
        os.close(held)
        os.waitpid(pid, 0)
        leash.drop()


def _life(state: Path, generation: str, leash: Leash, lock_fd: int, wakeup: socket.socket) -> int:
    try:
        mesh = launch(state, generation, leash)
    except Restored as restored:
        error = restored.error
        hint = f"{error.hint}\nThe previous deployment is in force again.".strip()
        leash.send(error=error.message, detail=error.detail, hint=hint, changed=True)
        leash.drop()
        os.close(lock_fd)
        serve(state, restored.mesh, leash, wakeup)
        return 1
    except DeployError as error:
        _tell(leash, error)
        return 1
    except OSError as error:  # a full disk, a folder that may not be written
        leash.send(
            error=f"{error.filename or 'The deployment'}: {error.strerror or error}", detail="", hint="", changed=False
        )
        return 1
    except Stopped:
        return 1
    for folder in state.glob(f"{GENERATION}*"):
        if folder != mesh.folder:
            sweep(folder)
    os.close(lock_fd)
    serve(state, mesh, leash, wakeup)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
