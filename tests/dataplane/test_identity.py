"""Mutual TLS between real Envoys: who is let in, who is not, and what edits and new certificates cost."""

from __future__ import annotations

import datetime
import http.client
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from load_kit import Load
from m4c import project
from m4c.paths.callpath import CallPath
from m4c.reference import run_hop
from m4c.workspace import Workspace
from m4deploy import client, identity, local, processes
from m4deploy.built import Built, read_built
from m4deploy.drivers import driver
from m4deploy.drivers.base import Place, Running
from m4deploy.drivers.envoy_secrets import IDENTITY
from m4deploy.identity import Authority
from m4deploy.processes import split_address
from m4deploy.targets import unavailable
from ports import free_base

pytestmark = pytest.mark.skipif(bool(unavailable(["envoy"])), reason="Envoy is not installed")

GRAPH = """
services:
  web: {entry: true, origin: false}
  job: {}
  cart: {origin: false}
  db: {origin: false, versions: [v1, v2]}
calls: [[web, cart], [job, cart], [cart, db], [web, db]]
"""
MESH = 'mesh shop { graph "graph.yaml"; dataplanes envoy; }\n'
EVERYWHERE = """
policy seen (HttpRequest r) on * -> ? -> ? at egress { r.SetHeader("x-seen", "1"); }
policy came (HttpRequest r) on * -> ? at ingress { r.SetHeader("x-came", "1"); }
"""
PROVEN = EVERYWHERE + "policy proven (TcpConnection c) on ? -> cart { c.RequireIdentity(); }\n"
OK = b"GET / HTTP/1.1\r\nhost: cart\r\nconnection: close\r\n\r\n"


def write(folder: Path, policies: str, graph: str = GRAPH, mesh: str = MESH) -> Path:
    folder.mkdir()
    (folder / "graph.yaml").write_text(graph)
    (folder / "shop.m4").write_text(mesh + policies)
    return folder


def built(folder: Path, policies: str, base: int, graph: str = GRAPH, mesh: str = MESH) -> Path:
    """What `m4 build` makes of some policies."""
    command = [str(Path(sys.executable).with_name("m4")), "build", str(write(folder, policies, graph, mesh))]
    done = subprocess.run(
        [*command, "-o", str(folder / "out"), "--base-port", str(base)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "state"
    local.undeploy(tmp_path / "state")


def listener(of: Built, caller: str, callee: str) -> tuple[str, int]:
    """Where the callee's proxy waits for the caller's."""
    found = [x["address"] for x in of.services[callee]["listen"] if x["site"] == f"ingress.{caller}"]
    return split_address(found[0])


def context(authority: Authority, folder: Path, name: str | None) -> ssl.SSLContext:
    """A client with a certificate of a name, or with none. It takes whatever certificate the server has."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    if name is not None:
        pair = folder / f"{abs(hash((name, authority.certificate)))}.pem"
        made = authority.issue(name)
        pair.write_text(made.key + made.certificate)
        found.load_cert_chain(pair)
    return found


def answer(address: tuple[str, int], tls: ssl.SSLContext | None) -> bytes:
    """The status line of what a request gets; "" if it is turned away before anything is said."""
    try:
        with socket.create_connection(address, timeout=30) as plain, ExitStack() as stack:
            connection = plain if tls is None else stack.enter_context(tls.wrap_socket(plain))
            connection.sendall(OK)
            return b"".join(iter(lambda: connection.recv(65536), b"")).split(b"\r\n")[0]
    except (ssl.SSLError, ConnectionError):
        return b""


def test_only_the_caller_of_the_hop_is_let_in(tmp_path: Path, state: Path) -> None:
    deployment = local.deploy(built(tmp_path / "shop", PROVEN, free_base()), state)
    here = deployment.built
    seen = client.send(deployment, ["web", "cart", "db"], outside=True)
    assert [(hop.reached, hop.status) for hop in seen.hops] == [(True, 200)] * 3
    (folder,) = state.glob("generation-*/run/authority")
    ours, other = Authority(folder), Authority(tmp_path / "other")
    at = listener(here, "web", "cart")
    assert answer(at, context(ours, tmp_path, "spiffe://shop/web")) == b"HTTP/1.1 200 OK"
    for tls in (
        None,
        context(ours, tmp_path, None),
        context(ours, tmp_path, "spiffe://shop/job"),
        context(ours, tmp_path, "spiffe://shop/cart"),
        context(ours, tmp_path, "spiffe://other/web"),
        context(ours, tmp_path, "spiffe://shop/web/"),
        context(other, tmp_path, "spiffe://shop/web"),
    ):
        assert answer(at, tls) == b""
    assert answer(listener(here, "job", "cart"), context(ours, tmp_path, "spiffe://shop/job")) == b"HTTP/1.1 200 OK"
    assert answer(listener(here, "web", "db"), None) == b"HTTP/1.1 200 OK", "it is not asked for there"


def test_a_connection_that_is_no_http_is_proven_too(tmp_path: Path, state: Path) -> None:
    """Between the two Envoys what is sent is sealed, whatever it is, and it arrives as it was sent."""
    graph = GRAPH.replace("db: {origin: false, versions: [v1, v2]}", "db: {origin: false, protocol: redis}")
    policies = "policy proven (TcpConnection c) on cart -> db { c.RequireIdentity(); }\n"
    deployment = local.deploy(built(tmp_path / "shop", policies, free_base(), graph), state)
    seen = client.send(deployment, ["web", "cart", "db"], outside=True, headers=[("x-envoy-retries", "1")])
    assert [(hop.reached, hop.status) for hop in seen.hops] == [(True, 200)] * 3
    (folder,) = state.glob("generation-*/run/authority")
    at = listener(deployment.built, "cart", "db")
    for name, status in (("spiffe://shop/cart", b"HTTP/1.1 200 OK"), ("spiffe://shop/web", b""), (None, b"")):
        assert answer(at, context(Authority(folder), tmp_path, name)) == status
    assert answer(at, None) == b""
    # What no proxy would pass on as HTTP, to a stand-in that hangs up by itself.
    caller = context(Authority(folder), tmp_path, "spiffe://shop/cart")
    with socket.create_connection(at, timeout=30) as plain, caller.wrap_socket(plain) as sealed:
        sealed.sendall(b"PING\r\n\r\n")
        assert b"400" not in b"".join(iter(lambda: sealed.recv(65536), b""))


def test_keys_are_for_their_owner_and_go_with_the_deployment(tmp_path: Path, state: Path) -> None:
    out = built(tmp_path / "shop", PROVEN, free_base())
    local.deploy(out, state)

    def with_keys(folder: Path) -> list[Path]:
        return [p for p in folder.rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()]

    assert not with_keys(out)
    found = with_keys(state)
    assert sorted(p.name for p in found) == ["authority.key.pem", *[IDENTITY] * 3]
    assert {stat.S_IMODE(p.stat().st_mode) for p in found} == {0o600}
    assert {stat.S_IMODE(p.parent.stat().st_mode) for p in found if p.name.startswith("authority")} == {0o700}
    local.undeploy(state)
    assert not with_keys(state)


def test_an_edit_that_asks_for_identities_loses_no_request(tmp_path: Path, state: Path) -> None:
    base = free_base()
    plain, proven = built(tmp_path / "plain", EVERYWHERE, base), built(tmp_path / "proven", PROVEN, base)
    deployment = local.deploy(plain, state)
    before = local.status(state)
    assert before is not None
    (address,) = deployment.built.services["web"]["dial"]["cart"]
    at = listener(deployment.built, "web", "cart")
    with Load(address) as load:
        for following, refused in ((proven, True), (plain, False), (proven, True)):
            local.deploy(following, state)
            load.wait_for(3)
            assert (answer(at, None) == b"") == refused
    assert not load.failures
    assert {status for _, status, _ in load.seen} == {200}
    after = local.status(state)
    assert after is not None
    assert [p["pid"] for p in after["processes"]] == [p["pid"] for p in before["processes"]]


@pytest.mark.skipif(bool(unavailable(["ebpf"])), reason="this kernel does not run the programs")
def test_the_kernel_beside_an_envoy_lets_alone_what_that_encrypts(tmp_path: Path, state: Path) -> None:
    """A program at a service sees all of its connections, those of its proxy too, and judges those that it can read."""
    limited = f"""{EVERYWHERE}
        state TokenBucket once(rate: 1/h, burst: 1);
        policy limited (HttpRequest r) on web -> db when once.Take() {{ r.DropRequest(429); }}
        """
    proof = "policy proven (TcpConnection c) on ? -> cart { c.RequireIdentity(); }\n"
    both, base = MESH.replace("envoy", "ebpf, envoy"), free_base()
    plain, proven = (
        built(tmp_path / name, text, base, mesh=both)
        for name, text in (("plain", limited), ("proven", limited + proof))
    )
    deployment = local.deploy(proven, state)
    assert ("ebpf", "web") in {(e.dataplane, e.service) for e in deployment.built.elements}

    def status(callee: str) -> int | None:
        return client.send(deployment, ("web", callee), outside=True).hops[-1].status

    assert [status("cart"), status("cart"), status("db"), status("db"), status("cart")] == [200, 200, 429, 200, 200]
    (address,) = deployment.built.services["web"]["dial"]["cart"]
    local.deploy(plain, state)
    with Load(address) as load:
        local.deploy(proven, state)
        load.wait_for(3)
    assert not load.failures
    assert {status for _, status, _ in load.seen} == {200}


# --- single Envoys ----------------------------------------------------------------------------------------------------


@contextmanager
def started(of: Built, folder: Path, *services: str) -> Iterator[dict[str, Running]]:
    """The Envoys of some services, as parts of one deployment."""
    with ExitStack() as stack:
        envoys = driver("envoy", folder)
        found = {}
        for element in of.elements:
            if element.service in services:
                place = Place(folder / element.service, None)
                place.folder.mkdir(parents=True)
                envoys.validate(element, place.folder)
                running = found[element.service] = envoys.start(element, place)
                stack.callback(running.close)
                assert running.process is not None
                expected = {
                    x["address"]: (running.process, str(element), place.folder) for x in element.wiring["listen"]
                }
                processes.wait_ready(expected, lambda: None)
        yield found


def until(address: tuple[str, int], tls: ssl.SSLContext) -> datetime.datetime:
    """When the certificate of a server ends."""
    from cryptography import x509

    with socket.create_connection(address, timeout=30) as plain, tls.wrap_socket(plain) as connection:
        told = connection.getpeercert(binary_form=True)
    assert told is not None
    return x509.load_der_x509_certificate(told).not_valid_after_utc


@contextmanager
def application(address: str, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """A server that answers every request, on connections that last."""

    def serve(plain: socket.socket) -> None:
        try:
            with plain if tls is None else tls.wrap_socket(plain, server_side=True) as connection:
                while connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        except OSError:
            return

    def accept() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(plain,), daemon=True).start()

    with socket.create_server(split_address(address)) as listening:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_new_certificates_lose_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "LIFE", datetime.timedelta(seconds=9))
    here = read_built(built(tmp_path / "shop", PROVEN, free_base()))
    (address,) = here.services["web"]["dial"]["cart"]
    at = listener(here, "web", "cart")
    with application(here.services["cart"]["app"][""]), started(here, tmp_path / "run", "web", "cart") as envoys:
        anyone = context(Authority(tmp_path / "run" / "authority"), tmp_path, None)
        first = until(at, anyone)
        with Load(address) as load:
            while datetime.datetime.now(datetime.UTC) < first:
                load.wait_for(1)
                for envoy in envoys.values():
                    envoy.renew()
        assert not load.failures
        assert {status for _, status, _ in load.seen} == {200}
        assert until(at, anyone) > first
        fresh = http.client.HTTPConnection(*split_address(address), timeout=30)  # over a connection of after that
        fresh.request("GET", "/", headers={"connection": "close"})
        assert fresh.getresponse().status == 200


@pytest.mark.parametrize(("name", "status"), [("spiffe://shop/cart", 200), ("spiffe://shop/db", 503), (None, 503)])
def test_the_caller_talks_to_the_callee_alone(tmp_path: Path, name: str | None, status: int) -> None:
    here = read_built(built(tmp_path / "shop", PROVEN, free_base()))
    run = tmp_path / "run"
    with started(here, run, "web"):
        tls = None
        if name is not None:
            pair = tmp_path / "pair.pem"
            made = Authority(run / "authority").issue(name)
            pair.write_text(made.key + made.certificate)
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(pair)
        host, port = listener(here, "web", "cart")
        with application(f"{host}:{port}", tls):
            (address,) = here.services["web"]["dial"]["cart"]
            connection = http.client.HTTPConnection(*split_address(address), timeout=30)
            connection.request("GET", "/")
            assert connection.getresponse().status == status
            connection.close()


# --- the interpreter --------------------------------------------------------------------------------------------------

POLICIES = {
    "by the callee": "policy a (TcpConnection c) on ? -> cart { c.RequireIdentity(); }",
    "by the caller": "policy a (TcpConnection c) on web -> ? { c.RequireIdentity(); }",
    "of several": """
        policy a (TcpConnection c) on (web | job) -> cart { c.RequireIdentity(); }
        policy b (TcpConnection c) on web -> !db { c.RequireIdentity(); }""",
    "of nobody": "policy a (TcpConnection c) on job -> db { c.RequireIdentity(); }",
}


@pytest.mark.parametrize("policies", list(POLICIES.values()), ids=list(POLICIES))
def test_the_wire_is_as_the_interpreter_says(tmp_path: Path, policies: str) -> None:
    """For each hop: the interpreter says that both ends prove who they are, or plain text is answered."""
    here = read_built(built(tmp_path / "shop", EVERYWHERE + policies, free_base()))
    program = project.program(Workspace([tmp_path / "shop"]).db, "shop")
    assert program is not None
    hops = [(c.caller, c.callee) for c in program.graph.calls]
    said, done = {}, {}
    with started(here, tmp_path / "run", *here.services):
        for caller, callee in hops:
            path = CallPath(False, (caller, callee), (None, None))
            said[caller, callee] = run_hop(program, path, {}, entity="TcpConnection").value("mutual_tls") is True
            done[caller, callee] = answer(listener(here, caller, callee), None) == b""
    assert said == done
