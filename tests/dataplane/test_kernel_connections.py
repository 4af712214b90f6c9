"""Connections that the kernel refuses: whoever asks for one is told at once, by data that an edit changes."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import m4bpf
import pytest
from kernelkit import (
    TRUE,
    Client,
    Server,
    deny,
    edit,
    egress,
    element,
    inside,
    kernel_group,
    meanwhile,
    render,
    wait_until,
)

__all__ = ["kernel_group"]

GET = b"GET / HTTP/1.1\r\nHost: pay\r\n\r\n"


def close(number: int) -> dict[str, Any]:
    """A rule that refuses connections."""
    return deny(number, TRUE) | {
        "operation": "DropConnection",
        "emits": "connection.c.j2",
        "args": {},
        "writes": [{"attribute": "verdict", "key": None, "value": "deny"}],
    }


@pytest.fixture
def pay() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def stock() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def rendered(folder: Path, pay: Server, stock: Server, rules: list[dict[str, Any]], dial: str | None = None) -> Path:
    what = element([egress("pay", rules), egress("stock", [])], {"pay": [pay.address], "stock": [stock.address]})
    what["wiring"]["dial"]["pay"] = [dial or pay.address]
    render(what, folder)
    return folder / "hops.json"


@pytest.fixture
def calling(pay: Server, stock: Server, kernel_group: Path, tmp_path: Path) -> Iterator[m4bpf.Attached]:
    """Nothing is refused yet."""
    hops = rendered(tmp_path / "open", pay, stock, [])
    m4bpf.compile_program(tmp_path / "open" / "m4.bpf.c", tmp_path / "open" / "m4.bpf.o")
    with m4bpf.attach(tmp_path / "open" / "m4.bpf.o", kernel_group, hops) as calling:
        yield calling


def status(client: Client) -> int:
    client.send(GET)
    return client.answer().status


def test_nobody_of_the_service_connects_on_a_closed_hop(
    calling: m4bpf.Attached, pay: Server, stock: Server, kernel_group: Path, tmp_path: Path
) -> None:
    closed = rendered(tmp_path / "closed", pay, stock, [close(1)])
    edit(calling, closed)
    with inside(kernel_group):
        for _ in range(3):
            with pytest.raises(PermissionError):
                Client(pay)
        with Client(stock) as other:
            assert status(other) == 200
    with Client(pay) as outside:
        assert status(outside) == 200, "who is not of the service connects"
    assert calling.refused()["egress.pay"] == {"policy_1": 3}
    edit(calling, tmp_path / "open" / "hops.json")
    with inside(kernel_group), Client(pay) as client:
        assert status(client) == 200


def test_what_stood_before_carries_nothing_more(
    calling: m4bpf.Attached, pay: Server, stock: Server, kernel_group: Path, tmp_path: Path
) -> None:
    with inside(kernel_group), Client(pay) as standing:
        assert status(standing) == 200
        edit(calling, rendered(tmp_path / "closed", pay, stock, [close(1)]))
        before = len(pay.seen)
        assert [status(standing) for _ in range(2)] == [403, 403]
        assert len(pay.seen) == before
        edit(calling, tmp_path / "open" / "hops.json")
        assert status(standing) == 200


def test_the_way_through_the_own_proxy_is_closed_too(
    calling: m4bpf.Attached, pay: Server, stock: Server, kernel_group: Path, tmp_path: Path
) -> None:
    proxy = Server()
    edit(calling, rendered(tmp_path / "closed", pay, stock, [close(1)], proxy.address))
    try:
        with inside(kernel_group):
            for server in (pay, proxy):
                with pytest.raises(PermissionError):
                    Client(server)
            with Client(stock) as other:
                assert status(other) == 200
        edit(calling, tmp_path / "open" / "hops.json")
        with inside(kernel_group), Client(proxy) as client:
            assert status(client) == 200
    finally:
        proxy.close()


def test_another_program_takes_over_what_is_closed(
    calling: m4bpf.Attached, pay: Server, stock: Server, kernel_group: Path, tmp_path: Path
) -> None:
    """The programs that are asked when a connection is made are those of the first one; what they ask is shared."""
    hops = rendered(tmp_path / "closed", pay, stock, [close(1)])
    source = tmp_path / "closed" / "m4.bpf.c"
    source.write_text(source.read_text() + "\n// another one\n")
    m4bpf.compile_program(source, tmp_path / "closed" / "m4.bpf.o")
    change = calling.replacement(tmp_path / "closed" / "m4.bpf.o", hops)
    change.swap()
    with inside(kernel_group), pytest.raises(PermissionError):
        Client(pay)
    change.revert()
    with inside(kernel_group), Client(pay) as client:
        assert status(client) == 200
    change.settle()


def test_a_released_hop_is_open(
    calling: m4bpf.Attached, pay: Server, stock: Server, kernel_group: Path, tmp_path: Path
) -> None:
    edit(calling, rendered(tmp_path / "closed", pay, stock, [close(1)]))
    change = calling.release()
    change.swap()
    change.settle()
    with inside(kernel_group), Client(pay) as client:
        assert status(client) == 200


def test_ipv6_and_ipv4_through_an_ipv6_socket(
    calling: m4bpf.Attached, stock: Server, kernel_group: Path, tmp_path: Path
) -> None:
    six, four = Server("::1"), Server()
    try:
        for server, host in ((six, "::1"), (four, "::ffff:127.0.0.1")):
            edit(calling, rendered(tmp_path / f"{server.port}", server, stock, [close(1)]))
            with inside(kernel_group):
                with socket.socket(socket.AF_INET6) as one, pytest.raises(PermissionError):
                    one.connect((host, server.port))
                with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:
                    datagrams.connect((host, server.port))  # no TCP connection
    finally:
        six.close()
        four.close()


def test_no_request_passes_between_a_refusal_of_requests_and_one_of_connections(
    calling: m4bpf.Attached, pay: Server, stock: Server, kernel_group: Path, tmp_path: Path
) -> None:
    """Edits from the one to the other and back: at no moment neither is in force."""
    refused = rendered(tmp_path / "refused", pay, stock, [deny(1, TRUE, 418)])
    closed = rendered(tmp_path / "closed", pay, stock, [close(2)])
    edit(calling, refused)
    got: list[int | str] = []

    def ask() -> bool:
        try:
            with Client(pay) as client:
                got.append(status(client))
        except PermissionError:
            got.append("no connection")
        return True

    def put_in_force(hops: Path, expected: int | str) -> None:
        since = len(got)
        edit(calling, hops)
        wait_until(lambda: expected in got[since:])

    with inside(kernel_group), meanwhile([ask, ask]):
        for _ in range(20):
            put_in_force(closed, "no connection")
            put_in_force(refused, 418)
    assert set(got) <= {418, 403, "no connection"}
    assert not pay.seen


def test_the_program_is_the_same_whether_hops_are_closed(pay: Server, stock: Server, tmp_path: Path) -> None:
    """So an edit needs no compiler."""
    for name, rules in (("open", []), ("closed", [close(1)])):
        rendered(tmp_path / name, pay, stock, rules)
    assert (tmp_path / "open" / "m4.bpf.c").read_bytes() == (tmp_path / "closed" / "m4.bpf.c").read_bytes()
    hops = json.loads((tmp_path / "closed" / "hops.json").read_text())["hops"]
    assert [hop["closed"] and hop["closed"]["policy"] for hop in hops] == ["policy_1", None]
