"""What policies say of connections, and what real dataplanes make of it: how long they last, what they carry, and
whether they are made at all."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from envoy_kit import EACH_PROXY, Bench, Client
from m4c.cli import jobs
from m4c.workspace import Workspace
from m4deploy.processes import split_address
from m4deploy.targets import unavailable
from ports import free_base

needs_envoy = pytest.mark.skipif(bool(unavailable(["envoy"])), reason="Envoy is not installed")

GRAPH = """
services:
  web: {entry: true, origin: false}
  cart: {origin: false}
  db: {origin: false}
  pay: {origin: false, versions: [v1, v2]}
calls: [[web, cart], [web, db], [web, pay]]
"""
MESH = 'mesh shop { graph "graph.yaml"; dataplanes %s; }\n'
SEEN = 'policy seen (HttpRequest r) on * -> web -> ? at egress { r.SetHeader("x-seen", "1"); }\n'


@dataclass
class Carried:
    """A connection that a server got: the heads of the requests on it, and whether its other end has closed it."""

    heads: list[bytes] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)


class Server:
    """Answers every request without a body, on connections that last, and keeps what each has carried. A request for
    `/held` is answered when `let` is set."""

    def __init__(self, address: str) -> None:
        self.connections: list[Carried] = []
        self.let = threading.Event()
        self._listening = socket.create_server(split_address(address))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            carried = Carried()
            self.connections.append(carried)
            threading.Thread(target=self._serve, args=(connection, carried), daemon=True).start()

    def _serve(self, connection: socket.socket, carried: Carried) -> None:
        data = b""
        with connection:
            while True:
                try:
                    more = connection.recv(65536)
                except OSError:
                    more = b""
                if not more:
                    carried.closed.set()
                    return
                data += more
                while b"\r\n\r\n" in data:
                    head, data = data.split(b"\r\n\r\n", 1)
                    carried.heads.append(head)
                    if b" /held " in head:
                        self.let.wait(60)
                    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@dataclass
class Web:
    """The proxy beside `web`, with servers of the test where it leads to."""

    servers: dict[str, Server]
    dial: dict[str, str]
    apps: dict[str, str]  # where the proxy leads to

    def client(self, callee: str) -> Client:
        return Client(self.dial[callee])


@contextmanager
def web(folder: Path, policies: str, *, without: str = "", dataplane: str = "envoy") -> Iterator[Web]:
    """`without`: where nothing is to be."""
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text(MESH % dataplane + SEEN + policies)
    ws = Workspace([folder])
    assert {p.code for p in ws.problems()} <= {"merged", "redundant"}
    built = jobs.write(jobs.rendered(ws, "shop", base_port=free_base()), folder / "built").folder
    services = json.loads((built / "wiring.json").read_text())["services"]
    (folder / "run").mkdir()
    with Bench(folder / "run") as bench:
        called = {name: services[name]["app"] for name in ("cart", "db", "pay")}
        apps = {f"{name}:{v}" if v else name: at for name, versions in called.items() for v, at in versions.items()}
        servers = {}
        for name in apps.keys() - {without}:
            servers[name] = Server(apps[name])
            bench.stack.callback(servers[name].close)
        files = {p.name: p.read_text() for p in (built / dataplane / "web").iterdir()}
        address = services["web"]["listen"][0]["address"]
        if dataplane == "envoy":
            bench.envoy(files["envoy.yaml"], address)
        else:
            bench.haproxy(files, address)
        yield Web(servers, {name: services["web"]["dial"][name][0] for name in called}, apps)


def wait_for(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@needs_envoy
def test_a_connection_carries_so_many_requests_at_most(tmp_path: Path) -> None:
    policies = """
        policy few (HttpConnection c) on ? -> cart { c.SetMaxRequests(3); }
        policy more (HttpConnection c) on web -> ? { c.SetMaxRequests(1000); }"""
    with web(tmp_path, policies) as here:
        for callee, expected in (("cart", [3, 3, 1]), ("db", [7])):
            client = here.client(callee)
            assert [client.send(f"/{n}").status for n in range(7)] == [200] * 7
            connections = here.servers[callee].connections
            assert [len(c.heads) for c in connections] == expected
            for carried in connections[:-1]:
                assert carried.closed.wait(60)
            assert not any(b"connection:" in head.lower() for c in connections for head in c.heads)


@needs_envoy
def test_a_connection_is_closed_when_no_request_came_for_so_long(tmp_path: Path) -> None:
    with web(tmp_path, "policy idle (HttpConnection c) on ? -> cart { c.SetIdleTimeout(400ms); }") as here:
        client, other = here.client("cart"), here.client("db")
        assert other.send().status == client.send().status == 200
        begin = time.monotonic()
        (carried,), (kept,) = (here.servers[name].connections for name in ("cart", "db"))
        assert carried.closed.wait(60)
        assert time.monotonic() - begin > 0.3
        assert client.send().status == other.send().status == 200
        assert len(here.servers["cart"].connections) == 2
        assert here.servers["db"].connections == [kept], "it is not asked for there"


@needs_envoy
def test_a_request_in_flight_keeps_its_connection(tmp_path: Path) -> None:
    with web(tmp_path, "policy idle (HttpConnection c) on ? -> cart { c.SetIdleTimeout(100ms); }") as here:
        server = here.servers["cart"]
        threading.Timer(0.5, server.let.set).start()
        assert here.client("cart").send("/held").status == 200
        assert len(server.connections) == 1


@contextmanager
def asking(clients: list[Client], headers: list[tuple[str, str]]) -> Iterator[list[int]]:
    """Asks for `/held` on each connection at the same time; all have their answers in the end."""
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda c=c: statuses.append(c.send("/held", headers).status)) for c in clients]
    for thread in threads:
        thread.start()
    yield statuses
    for thread in threads:
        thread.join(60)


@needs_envoy
def test_no_more_connections_are_held_than_so_many(tmp_path: Path) -> None:
    """Requests for which there is none wait for one. Where nothing is asked for, there is one for each."""
    with web(tmp_path, "policy few (TcpConnection c) on ? -> cart { c.SetMaxConnections(2); }") as here:
        for callee, most in (("cart", 2), ("db", 6)):
            server = here.servers[callee]
            with asking([here.client(callee) for _ in range(6)], []) as statuses:
                wait_for(lambda server=server, most=most: sum(len(c.heads) for c in server.connections) == most)
                assert not statuses
                server.let.set()
            assert statuses == [200] * 6
            assert len(server.connections) == most


@needs_envoy
def test_connections_to_a_version_are_counted_together(tmp_path: Path) -> None:
    """Also where some requests are sent to it by a policy, and others by chance."""
    policies = """
        policy few (TcpConnection c) on web -> pay { c.SetMaxConnections(1); }
        policy canary (HttpRequest r) on * -> pay when exists r.header["x-canary"] { r.Split({ v1: 100%, v2: 0% }); }"""
    with web(tmp_path, policies) as here:
        servers = [here.servers["pay:v1"], here.servers["pay:v2"]]
        by_chance, canaries = ([here.client("pay") for _ in range(12)] for _ in range(2))
        with asking(by_chance, []) as one, asking(canaries, [("x-canary", "1")]) as other:
            wait_for(lambda: bool(servers[0].connections))
            for server in servers:
                server.let.set()
        assert one == other == [200] * 12
        heads = [sum(len(c.heads) for c in s.connections) for s in servers]
        assert sum(heads) == 24
        assert heads[0] >= 12
        assert [len(s.connections) for s in servers] == [1, 1 if heads[1] else 0]


@contextmanager
def deaf(address: str) -> Iterator[None]:
    """An address at which connections wait for ever: nobody takes those that came before."""
    with socket.create_server(split_address(address), backlog=0) as listening:
        waiting = []
        for _ in range(4):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(listening.getsockname())
        yield
        for one in waiting:
            one.close()


@pytest.mark.parametrize("dataplane", EACH_PROXY)
@pytest.mark.parametrize(("limit", "least", "most"), [("300ms", 0.27, 4.5), ("7s", 6.0, 60)])
def test_a_connection_that_does_not_stand_in_time_is_given_up(
    tmp_path: Path, dataplane: str, limit: str, least: float, most: float
) -> None:
    policies = f"""
        policy soon (TcpConnection c) on ? -> cart {{ c.SetConnectTimeout({limit}); }}
        policy late (TcpConnection c) on web -> cart {{ c.SetConnectTimeout(1h); }}"""
    with web(tmp_path, policies, without="cart", dataplane=dataplane) as here, deaf(here.apps["cart"]):
        begin = time.monotonic()
        assert here.client("cart").send().status == 503
        assert least < time.monotonic() - begin < most
