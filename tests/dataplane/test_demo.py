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

import m4bpf
import pytest

ROOT = Path(__file__).resolve().parents[2]
SHOP = ROOT / "examples/online-boutique"
CONFLICT = ROOT / "examples/online-boutique-conflict"
BASE_PORT = "23000"
TEMPORARY = Path(tempfile.gettempdir(), f"demo-{os.getpid()}")


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "m4deploy.demo", str(SHOP), "--base-port", BASE_PORT, *args]


def left_behind() -> list[str]:
    """Processes of these demos, and cgroups of their mesh in which nothing lives (others may run the same demo)."""
    out = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    processes = [line for line in out.splitlines() if f"{TEMPORARY}/m4-demo-" in line]
    root = m4bpf.cgroup_root()
    found = (root / "m4").glob("boutique*") if root else ()
    return processes + [str(p) for p in found if is_empty(p)]


def is_empty(cgroup: Path) -> bool:
    try:
        return "populated 0" in (cgroup / "cgroup.events").read_text()
    except OSError:
        return False


def wait_for_nothing() -> None:
    """What was killed is taken away by those who watch it, a moment later."""
    end = time.monotonic() + 30
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
        command("--conflict", str(CONFLICT)), capture_output=True, text=True, timeout=120, check=False
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


def test_without_the_kernel_proxies_do_it_all() -> None:
    done = subprocess.run(command("--without", "ebpf"), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "Without ebpf: taken out of the mesh" in done.stdout
    assert "ebpf at" not in done.stdout
    wait_for_nothing()


@pytest.mark.parametrize("after", [1.0, 2.5, 5.0])
def test_interrupted_it_leaves_nothing(after: float) -> None:
    demo = subprocess.Popen(command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(after)
    os.killpg(demo.pid, signal.SIGINT)
    code = demo.wait(30)
    assert code in (0, 130, -signal.SIGINT)
    wait_for_nothing()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_killed_it_leaves_nothing(number: signal.Signals) -> None:
    with subprocess.Popen(command(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Deployment" in line:
                break
        time.sleep(1.5)
        demo.send_signal(number)
        demo.stdout.read()
        assert demo.wait(30) == (-number if number == signal.SIGKILL else 130)
    wait_for_nothing()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.skipif(not (ROOT / ".venv/bin/python").exists(), reason="the checkout has no .venv; `make demo` makes it")
def test_ctrl_c_in_make_demo_leaves_nothing() -> None:
    make = ["make", "-s", "demo", f"ARGS=--base-port {BASE_PORT}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(make, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        for line in demo.stdout:
            if "Deployment" in line:
                break
        time.sleep(1.5)
        os.killpg(demo.pid, signal.SIGINT)
        said = demo.stdout.read() + demo.stderr.read()
        assert demo.wait(60) != 0
    assert "interrupted; nothing is left running" in said
    assert "Traceback" not in said
    wait_for_nothing()
