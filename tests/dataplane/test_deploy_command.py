"""`m4 deploy` as people run it: every way to fail says what is wrong and where, and what ran before runs on."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import m4bpf
import pytest
from local_kit import children
from m4deploy import app, local
from m4deploy.processes import born, listening
from ports import free_base

from tests.killed.shop import POLICY, WORKING, Shop, wait

KERNEL = m4bpf.probe()


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A deployed shop; nothing of it is left after the tests."""
    made = Shop(tmp_path_factory.mktemp("deployed"), free_base())
    made.renew()
    code, out, err = made.deploy()
    assert code == 0, err
    assert "mesh `shop` is deployed to `local`" in out
    yield made
    made.renew()
    processes = made.processes()
    assert made.m4("undeploy") == (0, "mesh `shop` is stopped\n", "")
    assert not any(born(pid) for pid in processes)
    assert {p.name for p in made.state.iterdir()} <= {"lock", "supervisor.log"}


@pytest.fixture
def shop(deployed: Shop) -> Shop:
    """The deployed shop with its files as they were."""
    deployed.renew()
    if local.current(deployed.state) is None:  # another test failed
        deployed.deploy()
    assert deployed.answer() == WORKING
    return deployed


def undefined_in_a_template(shop: Shop) -> None:
    shop.change("envoy/drop.yaml.j2", "{direct_response", "{{ rule.reason }}{direct_response")


def syntax_error_in_a_template(shop: Shop) -> None:
    shop.change("envoy/drop.yaml.j2", "{% macro route(rule, listener) %}", "{% macro route(rule %}")


def reach_out_of_the_sandbox(shop: Shop) -> None:
    shop.change("envoy/drop.yaml.j2", "{direct_response", "{{ rule.__class__.mro() }}{direct_response")


def no_template(shop: Shop) -> None:
    (shop.folder / "envoy/drop.yaml.j2").unlink()


def rejected_by_envoy(shop: Shop) -> None:
    shop.change("envoy/envoy.yaml.j2", "codec_type: AUTO  # HTTP/2", "codec_tipe: AUTO  # HTTP/2")


def dead_after_the_start(shop: Shop) -> None:
    """What no validation can see: an address that this machine does not have."""
    shop.change(
        "envoy/envoy.yaml.j2", "address: {{ lib.socket(listener.address) }}", 'address: {{ lib.socket("192.0.2.1:7") }}'
    )


def no_c(shop: Shop) -> None:
    shop.change("shop.m4", "dataplanes envoy", "dataplanes ebpf, envoy")
    shop.write("ebpf/m4.bpf.c.j2", (shop.folder / "ebpf/m4.bpf.c.j2").read_text("utf-8") + "\nthis is no C\n")


def refused_by_the_kernel(shop: Shop) -> None:
    loop = 'SEC("sockops") int m4_extra(struct bpf_sock_ops *s) { volatile int i = 0; while (1) i++; return i; }'
    shop.change("shop.m4", "dataplanes envoy", "dataplanes ebpf, envoy")
    shop.write("ebpf/m4.bpf.c.j2", (shop.folder / "ebpf/m4.bpf.c.j2").read_text("utf-8") + f"\n{loop}\n")


def a_contradiction(shop: Shop) -> None:
    shop.write(
        "more.m4", POLICY.replace("teapot", "gone").replace("418", "410").replace("Drop", "Allow").replace("410", "")
    )


def nothing_that_can_do_it(shop: Shop) -> None:
    spec = (shop.folder / "envoy/spec.m4").read_text("utf-8")
    (supported,) = re.findall(r"operation DropRequest\b.*?;", spec)
    shop.change("envoy/spec.m4", supported, "")


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (undefined_in_a_template, 2, ("a template of `envoy` fails for `cart`", "'reason'", "envoy/drop.yaml.j2:")),
        (syntax_error_in_a_template, 2, ("bad-template in envoy/drop.yaml.j2:3", "`m4 check` shows them")),
        (reach_out_of_the_sandbox, 2, ("access to attribute '__class__'", "is unsafe", "envoy/drop.yaml.j2:")),
        (no_template, 2, ("missing-file in envoy/spec.m4:", "`m4 check` shows them")),
        (
            rejected_by_envoy,
            1,
            (
                "not deployed, nothing changed: Envoy rejects",
                "codec_tipe",
                "--> envoy/envoy.yaml.j2:",
                "`m4 build` writes",
            ),
        ),
        (
            dead_after_the_start,
            1,
            ("not deployed, nothing changed: envoy at cart rejects its configuration", "192.0.2.1"),
        ),
        (
            no_c,
            1,
            ("not deployed, nothing changed: ebpf at web", "does not compile", "--> ebpf/m4.bpf.c.j2:", "this is no C"),
        ),
        (refused_by_the_kernel, 1, ("not deployed, nothing changed: ebpf at web", "the kernel refuses", "m4_extra")),
        (a_contradiction, 2, ("contradiction in ", ".m4:1", "`m4 check` shows them")),
        (nothing_that_can_do_it, 2, ("unenforceable in policies.m4:1", "`m4 check` shows them")),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_failure_is_explained_and_changes_nothing(
    shop: Shop, spoil: Callable[[Shop], None], code: int, said: tuple[str, ...]
) -> None:
    if spoil in (no_c, refused_by_the_kernel) and not KERNEL.ok:
        pytest.skip("; ".join(KERNEL.reasons))
    before = shop.processes()
    spoil(shop)
    found, out, err = shop.deploy()
    assert (found, out) == (code, ""), err
    for words in said:
        assert words in err
    assert shop.answer() == WORKING
    assert shop.processes() == before
    assert len(list(shop.state.glob("generation-*"))) == 1


def test_a_busy_port(shop: Shop) -> None:
    base = free_base() + 7
    holder = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print(flush=True); input()"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", holder, str(base)], stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        code, out, err = shop.m4("deploy", "--base-port", str(base))
        other.communicate("\n")
    assert (code, out) == (1, "")
    assert f"Port {base} of 127.0.0.1" in err
    assert f"(process {other.pid})" in err
    assert "--base-port" in err
    assert shop.answer() == WORKING


def test_ports_that_do_not_exist(shop: Shop) -> None:
    for base, said in (("65533", "choose a smaller --base-port"), ("65536", "no port"), ("-1", "no port")):
        code, out, err = shop.m4("deploy", f"--base-port={base}")
        assert (code, out) == (2, "")
        assert said in err
    assert shop.answer() == WORKING


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("at", ["Validating", "Swapping", "Verifying"])
def test_an_interrupt_changes_nothing(shop: Shop, number: signal.Signals, at: str) -> None:
    """Unless it comes so late that the command has succeeded, which is seldom."""
    for _ in range(20):
        shop.change("policies.m4", "418", "410")
        process = shop.start("deploy", "--base-port", str(shop.base))
        assert process.stderr is not None
        for line in process.stderr:
            if at in line:
                process.send_signal(number)
                break
        said = process.communicate(timeout=600)[1]
        assert "Traceback" not in said
        if number == signal.SIGKILL:  # the supervisor takes it back by itself
            assert wait(
                lambda: len(list(shop.state.glob("generation-*"))) == 1 and local.current(shop.state) is not None
            )
            assert wait(lambda: all(listening(f"127.0.0.1:{shop.base + n}") for n in range(2)))
            assert local.status(shop.state)  # answered when it is done
        assert len(list(shop.state.glob("generation-*"))) == 1
        if process.returncode == 0 or (number == signal.SIGKILL and shop.answer() == 410):
            assert shop.answer() == 410
            shop.renew()
            assert shop.deploy()[0] == 0
            continue
        assert process.returncode == (-number if number == signal.SIGKILL else 130)
        assert shop.answer() == WORKING
        return
    raise AssertionError("every interrupt came too late")


def test_a_supervisor_that_is_killed_is_told(shop: Shop) -> None:
    """After the previous deployment has made way nothing can bring it back; that is said, and the next one succeeds."""
    process = shop.start("deploy", "--base-port", str(free_base()))  # other addresses: a new start
    assert process.stderr is not None
    for line in process.stderr:
        if "Starting envoy" in line:
            process.send_signal(
                signal.SIGSTOP
            )  # so that it cannot say that all is well before the supervisor is killed
            break
    (new,) = (p for p in children(process.pid) if "m4deploy.supervisor" in command_line(p))
    os.kill(new, signal.SIGKILL)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, out) == (1, "")
    assert "not deployed: The supervisor of the deployment ended unexpectedly" in err
    assert "Nothing is in force now: deploy again." in err
    assert "Traceback" not in err
    assert shop.m4("status")[1] == "nothing is deployed\n"
    shop.renew()
    assert shop.deploy()[0] == 0


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_an_application_whose_address_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        config = {"service": "a", "version": "", "dial": {}, "propagates": True, "context": "x"}
        listen = f"127.0.0.1:{holder.getsockname()[1]}"
        config |= {"listen": listen, "control": str(tmp_path / "control")}
        run = [sys.executable, "-I", "-S", app.__file__, json.dumps(config)]
        done = subprocess.run(run, capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("cannot listen: ")
    assert "Traceback" not in done.stderr


def test_a_dead_proxy_is_told_and_replaced(shop: Shop) -> None:
    status = local.status(shop.state)
    assert status is not None
    (victim,) = (p for p in status["processes"] if p["what"] == "envoy at cart")
    os.kill(victim["pid"], signal.SIGKILL)
    assert wait(lambda: shop.m4("status")[0] == 1)
    code, out, err = shop.m4("status")
    assert (code, err) == (1, "")
    assert "mesh shop: NOT healthy" in out
    assert f"dead: envoy at cart (process {victim['pid']})" in out
    assert shop.deploy()[0] == 0
    code, out, err = shop.m4("status")
    assert (code, err) == (0, "")
    assert "mesh shop: healthy" in out
    assert shop.answer() == WORKING


def test_a_supervisor_that_does_not_answer(shop: Shop) -> None:
    door = shop.state / "socket"
    aside = door.rename(shop.state / "aside")
    try:
        for name, expected in (("status", 1), ("undeploy", 1)):
            code, out, err = shop.m4(name)
            assert (code, out) == (expected, "")
            assert "does not answer" in err
            assert "kill " in err
    finally:
        aside.rename(door)


def test_top_once(shop: Shop, tmp_path: Path) -> None:
    code, out, err = shop.m4("top", "--once", "--json", "--interval", "0.2")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert (told["mesh"], told["healthy"]) == ("shop", True)
    assert [(p["policy"], p["dataplane"]) for p in told["policies"]] == [("teapot", "envoy")]
    code, out, err = shop.m4("top", "--once", "--interval", "0.2")
    assert (code, err) == (0, "")
    assert out.startswith("mesh shop: healthy ")
    assert "teapot" in out
    for wrong in ("0", "x"):
        assert shop.m4("top", "--interval", wrong)[0] == 2
    other = Shop(tmp_path, free_base())
    other.renew()
    assert other.m4("top", "--once") == (1, "", "nothing is deployed\n")


def test_top_draws_until_it_is_interrupted(shop: Shop) -> None:
    """On a terminal: it takes the whole screen, and gives it back."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "XDG_STATE_HOME": str(shop.home), "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    command = [sys.executable, "-m", "m4c.cli.main", "top", "--interval", "0.2"]
    process = subprocess.Popen(command, cwd=shop.folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while shown.count(b"mesh \x1b[1mshop") < 3:
            shown += os.read(ours, 65536)
        assert b"\x1b[?1049h" in shown
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # its end is an error on a terminal
            while more := os.read(ours, 65536):
                shown += more
        assert process.wait(60) == 0
        assert b"\x1b[?1049l" in shown
        assert b"Traceback" not in shown
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_the_target_directory(shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "out"
    code, out, err = shop.m4("deploy", "--target", "directory", "-o", str(target))
    assert code == 0
    assert [line.partition("] ")[2].partition(" ")[0] for line in err.splitlines()] == ["Validating"] * err.count("\n")
    assert f"The artifacts are in {target}." in out
    before = {p: p.read_bytes() for p in target.rglob("*") if p.is_file()}
    assert {p.name for p in before} == {"envoy.yaml", "manifest.json", "wiring.json"}
    (target / "mine").mkdir()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    code, out, err = shop.m4("deploy", "--target", "directory", "-o", str(precious))
    assert (code, out) == (1, "")
    assert "holds something else than a built mesh" in err
    assert "Choose an empty folder" in err
    undefined_in_a_template(shop)
    assert shop.m4("deploy", "--target", "directory", "-o", str(target))[0] == 2
    assert {p: p.read_bytes() for p in before} == before


def test_what_the_machine_lacks_is_done_without(tmp_path: Path) -> None:
    """A proxy with another name, and without a driver, is left out where Envoy can do its work, and only there."""
    shop = Shop(tmp_path, free_base())
    shop.renew()
    spec = (shop.folder / "envoy/spec.m4").read_text("utf-8")
    shutil.copytree(shop.folder / "envoy", shop.folder / "cheap")
    (timeout,) = re.findall(r"\n +operation SetTimeout\b.*?;", spec)
    shop.write("cheap/spec.m4", spec.replace("spec envoy", "spec cheap").replace("cost 50", "cost 10"))
    shop.write("envoy/spec.m4", spec.replace(timeout, ""))
    shop.change("shop.m4", "dataplanes envoy", "dataplanes cheap, envoy")
    try:
        code, out, err = shop.deploy()
        assert code == 0, err
        assert "without cheap: There is no driver for the dataplane cheap" in err
        assert "  envoy at " in out
        assert shop.answer() == WORKING
        shop.write("more.m4", "policy patience (HttpRequest r) on web -> cart { r.SetTimeout(1s); }\n")
        code, out, err = shop.deploy()
        assert (code, out) == (2, "")
        assert "without cheap, `patience` cannot be enforced on" in err
        assert "without cheap: There is no driver" in err
    finally:
        shop.m4("undeploy")
    (shop.folder / "more.m4").unlink()
    shop.change("shop.m4", "dataplanes cheap, envoy", "dataplanes cheap")
    code, out, err = shop.deploy()
    assert (code, out) == (1, "")
    assert "There is no driver for the dataplane cheap" in err
