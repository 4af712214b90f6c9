"""Processes and ports of this machine: starting children that cannot outlive us, and telling who holds what."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from m4deploy.errors import DeployError

_PR_SET_PDEATHSIG = 1
_LISTEN = "0A"  # a socket's state in /proc/net/tcp
_READY_SECONDS = 60.0
_STOP_SECONDS = 5.0


def split_address(address: str) -> tuple[str, int]:
    """ "host:port", the host of IPv6 in brackets, as the socket functions want it."""
    host, port = address.rsplit(":", 1)
    return host.strip("[]"), int(port)


def born(pid: int) -> int | None:
    """When a process began (clock ticks after boot): with the pid, this names it for good. None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def spawn(command: Sequence[str], *, cwd: Path, log: Path, cgroup: Path | None = None) -> subprocess.Popen[bytes]:
    """Starts a process that the kernel kills when this one dies, in a cgroup from its first instruction on.

    Call it from the main thread: the kernel takes the end of the calling thread for the end of the parent.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()
    procs = os.open(cgroup / "cgroup.procs", os.O_WRONLY) if cgroup else None

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        if procs is not None:
            os.write(procs, b"0")

    try:
        with log.open("ab") as out:
            return subprocess.Popen(
                command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=in_child, close_fds=True
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise DeployError(f"{command[0]} cannot be started.", str(error)) from error
    finally:
        if procs is not None:
            os.close(procs)


def stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """Ends processes, politely at first, and waits until they are gone."""
    alive = [p for p in processes if p.poll() is None]
    for process in alive:
        process.terminate()
    end = time.monotonic() + _STOP_SECONDS
    for process in alive:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def kill(pid: int, began: int | None) -> None:
    """Kills a process, if it is still the one that began then, and waits until it is gone."""
    while began is not None and born(pid) == began:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        time.sleep(0.01)


def wait_ready(
    expected: Mapping[str, tuple[subprocess.Popen[bytes], str, Path]], keep_waiting: Callable[[], None]
) -> None:
    """Waits until something accepts connections at every address.

    `expected`: address to (process, what it is, its log). Raises DeployError as soon as one of the processes ends.
    """
    missing = dict(expected)
    end = time.monotonic() + _READY_SECONDS
    while missing:
        for address, (process, what, log) in list(missing.items()):
            if process.poll() is not None:
                raise DeployError(f"{what} ended with status {process.returncode}.", tail(log))
            if listening(address):
                del missing[address]
            elif time.monotonic() > end:
                raise DeployError(f"{what} does not listen at {address} after {_READY_SECONDS:.0f} s.", tail(log))
        keep_waiting()
        time.sleep(0.01)


def listening(address: str) -> bool:
    """Does something accept connections there?"""
    host, port = split_address(address)
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0


def tail(log: Path, lines: int = 12, width: int = 400) -> str:
    """The last lines of a log."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(line[:width] for line in text.splitlines()[-lines:])


def check_free(addresses: Mapping[str, str]) -> None:
    """Raises DeployError if one of the addresses (to what would listen there) cannot be listened at."""
    for address, what in addresses.items():
        host, port = split_address(address)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            # As servers do, so that a port whose old connections still linger counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                holder = port_holder(port)
                message = f"Port {port} of {host}, for {what}, is not free: {error.strerror}."
                if holder:
                    message = f"Port {port} of {host}, for {what}, is in use by {holder}."
                raise DeployError(message, hint="End that program, or choose other ports with --base-port.") from error


def port_holder(port: int) -> str | None:
    """The process that listens at a TCP port, as "name (process 123)", if /proc lets us see it."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text(encoding="ascii").splitlines()[1:]]
        except OSError:
            continue
        there = [row for row in rows if row[3] == _LISTEN and int(row[1].rsplit(":", 1)[1], 16) == port]
        inodes |= {f"socket:[{row[9]}]" for row in there}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(fd.readlink()) in inodes for fd in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text(encoding='utf-8').strip()} (process {process.name})"
        except OSError:
            continue
    return None
