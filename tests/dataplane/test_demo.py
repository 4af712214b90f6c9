"""The demo as its user runs it: every row as the interpreter says, and nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import m4bpf
import pytest
from m4deploy.targets import unavailable
from ports import free_base

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples/online-boutique"
CONFLICT = ROOT / "examples/online-boutique-conflict"
TEMPORARY = Path(tempfile.gettempdir(), f"demo-{os.getpid()}")


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "m4deploy.demo", str(SHOP), "--base-port", str(free_base()), *args]


def processes() -> list[str]:
    """Those of these demos, except the demo itself; `-ww`, for else `ps` cuts off what tells them."""
    out = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in out.splitlines() if f"{TEMPORARY}/m4-demo-" in line]


def left_behind() -> list[str]:
    """Processes of these demos, and cgroups of their mesh in which nothing lives (others may run the same demo)."""
    root = m4bpf.cgroup_root()
    found = (root / "m4").glob("boutique*") if root else ()
    return processes() + [str(p) for p in found if is_empty(p)]


def wait_for_line(output: IO[str], text: str) -> None:
    for line in output:
        if text in line:
            return
    raise AssertionError(f"it never said {text!r}")


def wait_for_processes() -> None:
    """Of the many that a deployment starts the first one is there; hundreds of requests are still to come."""
    end = time.monotonic() + 120
    while not processes():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_empty(cgroup: Path) -> bool:
    try:
        return "populated 0" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def wait_for_nothing() -> None:
    """What was killed is taken away by those who watch it, a moment later."""
    end = time.monotonic() + 120
    while left_behind() and time.monotonic() < end:
        time.sleep(0.1)
    assert left_behind() == []


@pytest.fixture(autouse=True, scope="module")
def temporary() -> Iterator[None]:
    """Where the demos keep their files: a place of their own, by which their processes are known."""
    TEMPORARY.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(TEMPORARY))
        yield
    shutil.rmtree(TEMPORARY)


def test_every_row_is_as_the_interpreter_says() -> None:
    done = subprocess.run(
        command("--conflict", str(CONFLICT)), capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "error[contradiction]" in done.stdout
    assert "outside -> frontend -> checkoutservice" in done.stdout
    assert "Fixed: Let `payment_canary` override `even_load`" in done.stdout
    assert "a sidecar everywhere would cost" in done.stdout
    counted = re.search(r"all (\d+) rows are as the interpreter says", done.stdout)
    assert counted is not None
    assert int(counted[1]) >= 40
    for seen in ("403 at", "404 at", "405 at", "504 at", "x-mail-kind: receipt", "v1 80%, v2 20%"):
        assert seen in done.stdout
    if m4bpf.probe().ok:
        assert "ebpf at cartservice" in done.stdout
    wait_for_nothing()


@pytest.mark.parametrize("without", [["ebpf"], ["ebpf", "haproxy"]], ids="-".join)
def test_without_some_dataplanes_the_others_do_it_all(without: list[str]) -> None:
    options = [word for name in without for word in ("--without", name)]
    done = subprocess.run(command(*options), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    for name in without:
        assert f"Without {name}: taken out of the mesh" in done.stdout
        assert f"{name} at" not in done.stdout
    lacking = {*without, *unavailable(["haproxy"])}
    assert ("\nfrontend: haproxy\n" in done.stdout) == ("haproxy" not in lacking)
    wait_for_nothing()


def test_what_the_rest_cannot_do_is_said() -> None:
    done = subprocess.run(command("--without", "envoy"), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert "without envoy, `payment_timeout` cannot be enforced" in " ".join(done.stdout.split())
    wait_for_nothing()


@pytest.mark.parametrize("at", ["The plan", "Deployment", "its first process"])
def test_interrupted_it_leaves_nothing(at: str) -> None:
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command(), stdout=pipe, stderr=nowhere, text=True, start_new_session=True) as demo:
        assert demo.stdout is not None
        if at == "its first process":
            wait_for_processes()
        else:
            wait_for_line(demo.stdout, at)
        os.killpg(demo.pid, signal.SIGINT)
        demo.stdout.read()
        assert demo.wait(120) == 130
    wait_for_nothing()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_killed_it_leaves_nothing(number: signal.Signals) -> None:
    with subprocess.Popen(command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        assert demo.stdout is not None
        wait_for_line(demo.stdout, "Deployment")
        wait_for_processes()
        demo.send_signal(number)
        demo.stdout.read()
        assert demo.wait(120) == (-number if number == signal.SIGKILL else 130)
    wait_for_nothing()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.skipif(not (ROOT / ".venv/bin/python").exists(), reason="the checkout has no .venv; `make demo` makes it")
def test_ctrl_c_in_make_demo_leaves_nothing() -> None:
    make = ["make", "-s", "demo", f"ARGS=--base-port {free_base()}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(make, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        wait_for_line(demo.stdout, "Deployment")
        wait_for_processes()
        os.killpg(demo.pid, signal.SIGINT)
        said = demo.stdout.read() + demo.stderr.read()
        assert demo.wait(120) != 0
    assert "interrupted; nothing is left running" in said
    assert "Traceback" not in said
    wait_for_nothing()
