"""Callees that speak different protocols behind one caller: each hop is judged by who understands it, and what passes
others by arrives as it was sent."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import grpc
import m4bpf
import pytest
from envoy_kit import LACKING, Bench, Client
from kernelkit import inside, kernel_group  # noqa: F401 - a fixture
from m4c.backends.render import Build
from m4c.cli import jobs
from m4c.placement.elements import elements
from m4c.workspace import Workspace
from m4deploy.processes import split_address
from ports import free_base
from test_grpc import REFUSED, UNARY, Pay, call

GRAPH = """
services:
  web: {entry: true, origin: false}
  cart: {origin: false}
  pay: {origin: false, protocol: %s}
calls: [[web, cart], [web, pay]]
"""
ADMIN = 'policy admin (HttpRequest r) on web -> cart when r.url_path == "/admin" { r.DropRequest(); }\n'
REFUND = f'policy refund (HttpRequest r) on web -> pay when r.url_path == "{REFUSED}" {{ r.DropRequest(); }}\n'
TOLD = 'policy told (HttpRequest r) on web -> cart { r.SetHeader("x-from", "web"); }\n'


class Shop:
    """Two callees, one of which speaks gRPC whatever the graph says, and the elements of a plan around them."""

    def __init__(self, bench: Bench, group: Path | None, mesh: str, policies: str, protocol: str = "grpc") -> None:
        folder = bench.folder / "mesh"
        folder.mkdir()
        (folder / "graph.yaml").write_text(GRAPH % protocol)
        (folder / "mesh.m4").write_text(f'mesh shop {{ graph "graph.yaml"; dataplanes {mesh}; }}\n{policies}')
        workspace = Workspace([folder])
        program, plan = jobs.planned(workspace, "shop")
        self.elements = [(e.service, e.dataplane) for e in plan.elements]
        self.wiring: dict[str, Any] = {}
        self.pay = Pay()
        self._start(bench, group, jobs.rendered(workspace, "shop", free_base()), elements(program, plan))

    def _start(self, bench: Bench, group: Path | None, built: Build, made: tuple[dict[str, Any], ...]) -> None:
        self.wiring = json.loads(built.wiring)["services"]
        bench.application(self.wiring["cart"]["app"][""])
        server = grpc.server(ThreadPoolExecutor(4), handlers=[self.pay])
        server.add_insecure_port(self.wiring["pay"]["app"][""])
        server.start()
        bench.stack.callback(lambda: server.stop(None).wait())
        for element in made:
            service, dataplane = element["service"], element["dataplane"]
            texts = {f.kind: f.text for f in built.files if (f.service, f.dataplane) == (service, dataplane)}
            listening = [each["address"] for each in self.wiring[service]["listen"]]
            if dataplane == "envoy":
                bench.envoy(texts["envoy.yaml"], listening[0])
            elif dataplane == "haproxy":
                bench.haproxy(texts, listening[0])
            else:
                assert group is not None
                place = bench.folder / "kernel"
                place.mkdir()
                for name, text in texts.items():
                    (place / name).write_text(text)
                m4bpf.compile_program(place / "m4.bpf.c", place / "m4.bpf.o", [])
                bench.stack.enter_context(m4bpf.attach(place / "m4.bpf.o", group, place / "hops.json"))

    def get(self, target: str) -> tuple[int, str | None]:
        """The status of a request of web to cart, and what cart was told of where it is from."""
        (address,) = self.wiring["web"]["dial"]["cart"]
        reply = Client(address).send(target)
        return reply.status, reply.seen.header("x-from") if reply.status == 200 else None

    def charge(self, method: str = UNARY) -> bytes | grpc.StatusCode:
        """What a call of web to pay gets."""
        (address,) = self.wiring["web"]["dial"]["pay"]
        with grpc.insecure_channel(address) as channel:
            try:
                return call(channel, method, b"7 EUR")
            except grpc.RpcError as error:
                return error.code()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    for name in LACKING.keys() & {"envoy"}:
        pytest.skip(LACKING[name])
    with Bench(tmp_path) as made:
        yield made


def test_the_kernel_judges_http_and_envoy_grpc(bench: Bench, kernel_group: Path) -> None:  # noqa: F811
    shop = Shop(bench, kernel_group, "ebpf, haproxy, envoy; place web never envoy", ADMIN + REFUND)
    assert shop.elements == [("pay", "envoy"), ("web", "ebpf")]
    with inside(kernel_group):
        assert [shop.get("/")[0], shop.get("/admin")[0]] == [200, 403]
        assert [shop.charge(), shop.charge(REFUSED)] == [b"7 EUR", grpc.StatusCode.PERMISSION_DENIED]
    assert REFUSED not in shop.pay.calls


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        ("haproxy, envoy; place web never envoy; place cart never haproxy", [("pay", "envoy"), ("web", "haproxy")]),
        ("haproxy, envoy", [("web", "envoy")]),
    ],
    ids=["two proxies", "one proxy"],
)
def test_a_proxy_that_rewrites_http_leaves_grpc_to_another(
    bench: Bench, mesh: str, expected: list[tuple[str, str]]
) -> None:
    if ("web", "haproxy") in expected and "haproxy" in LACKING:
        pytest.skip(LACKING["haproxy"])
    shop = Shop(bench, None, mesh, TOLD + REFUND)
    assert shop.elements == expected
    assert shop.get("/") == (200, "web")
    assert [shop.charge(), shop.charge(REFUSED)] == [b"7 EUR", grpc.StatusCode.PERMISSION_DENIED]
    assert REFUSED not in shop.pay.calls


@pytest.mark.parametrize("mesh", ["ebpf", "haproxy"])
@pytest.mark.parametrize("said", ["grpc", "http"])
def test_what_is_not_understood_passes_by(bench: Bench, request: pytest.FixtureRequest, mesh: str, said: str) -> None:
    """An element that another hop needs, beside one that speaks gRPC. Taken for HTTP/1.1, its calls would fail."""
    if mesh in LACKING:
        pytest.skip(LACKING[mesh])
    group: Path | None = request.getfixturevalue("kernel_group") if mesh == "ebpf" else None
    everywhere = ADMIN if said == "grpc" else ADMIN.replace("web -> cart", "web -> ?")
    with ExitStack() as stack:
        shop = Shop(bench, group, f"{mesh}; place cart never {mesh}", everywhere, said)
        assert shop.elements == [("web", mesh)]
        stack.enter_context(inside(group) if group is not None else nullcontext())
        assert [shop.get("/")[0], shop.get("/admin")[0]] == [200, 403]
        answer = shop.charge()
    assert (answer == b"7 EUR") is (said == "grpc"), answer
    assert (UNARY in shop.pay.calls) is (said == "grpc")


def test_the_kernel_refuses_connections_that_it_does_not_understand(
    bench: Bench,
    kernel_group: Path,  # noqa: F811
) -> None:
    closed = "policy closed (TcpConnection c) on web -> pay { c.DropConnection(); }\n"
    shop = Shop(bench, kernel_group, "ebpf", ADMIN + closed)
    assert shop.elements == [("web", "ebpf")]
    assert shop.charge() == b"7 EUR", "nobody of web's calls"
    with inside(kernel_group):
        assert [shop.get("/")[0], shop.get("/admin")[0]] == [200, 403]
        assert shop.charge() is grpc.StatusCode.UNAVAILABLE
    assert len(shop.pay.calls) == 1


@pytest.mark.parametrize("refused", [False, True])
def test_a_callee_may_speak_first(bench: Bench, refused: bool) -> None:
    """A connection without requests passes Envoy as it is; one that is refused shows nothing of the callee."""
    folder = bench.folder / "mesh"
    folder.mkdir()
    (folder / "graph.yaml").write_text(GRAPH % "mysql")
    no = "policy no (TcpConnection c) on web -> pay { c.DropConnection(); }" if refused else ""
    (folder / "mesh.m4").write_text(
        f'mesh shop {{ graph "graph.yaml"; dataplanes envoy; place cart never envoy; }}\n{TOLD}{no}'
    )
    built = jobs.rendered(Workspace([folder]), "shop", free_base())
    (text,) = (f.text for f in built.files)
    wiring = json.loads(built.wiring)["services"]
    with socket.create_server(split_address(wiring["pay"]["app"][""])) as callee:
        bench.envoy(text, wiring["web"]["listen"][0]["address"])
        (dialled,) = wiring["web"]["dial"]["pay"]
        with socket.create_connection(split_address(dialled), timeout=60) as caller:
            if refused:
                assert caller.recv(100) == b""
                callee.setblocking(False)
                with pytest.raises(BlockingIOError):
                    callee.accept()
                return
            with callee.accept()[0] as connection:
                connection.sendall(b"\x0a8.0.36\x00")
                assert caller.recv(100) == b"\x0a8.0.36\x00"
                caller.sendall(b"\x01\r\n\r\n\xff")
                caller.shutdown(socket.SHUT_WR)
                assert b"".join(iter(lambda: connection.recv(100), b"")) == b"\x01\r\n\r\n\xff"
                connection.sendall(b"bye")
            assert b"".join(iter(lambda: caller.recv(100), b"")) == b"bye"
