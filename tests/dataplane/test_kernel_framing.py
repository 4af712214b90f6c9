"""The kernel program reads HTTP/1.1 as the callee does, however the bytes are cut, and fails closed where it cannot."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import m4bpf
import pytest
from kernelkit import Client, Seen, Server, compare, deny, egress, header, in_force, inside, kernel_group, server

__all__ = ["kernel_group", "server"]

ALLOWED = b"GET /ok HTTP/1.1\r\nHost: x\r\n\r\n"
DENIED = b"GET /admin/1?a=b HTTP/1.1\r\nHost: x\r\n\r\n"
POST = (
    b"POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 36\r\n\r\n" + b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n" + b"zzzz"
)
CHUNKED = (
    b"POST /ch HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
    b"1F\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\r\n5\r\nabcde\r\n0\r\nX-Trailer: 1\r\n\r\n"
)
DENIED_POST = b"POST /admin HTTP/1.1\r\nHost: x\r\ncontent-length: 32\r\n\r\n" + ALLOWED + b"zzz"
DENIED_CHUNKED = b"POST /admin HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"
TAGGED = b"GET /ok HTTP/1.1\r\nM4-CTX: 0007\r\nHost: x\r\n\r\n"

REFUSED = b"refused by the mesh\n"


@pytest.fixture(scope="module")
def program(server: Server, kernel_group: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[m4bpf.Attached]:
    rules = [
        deny(1, compare("url_path", "starts_with", "/admin")),
        deny(2, header("x-group", "==", "evil"), 451),
    ]
    tags = {"map": [{"from": [0], "to": 0x42}, {"from": [7, 9], "to": 0xABCD}], "otherwise": None}
    folder = tmp_path_factory.mktemp("framing")
    with in_force([egress("pay", rules, tags)], {"pay": [server.address]}, folder, kernel_group) as attached:
        yield attached


@pytest.fixture
def client(server: Server, program: m4bpf.Attached, kernel_group: Path) -> Iterator[Client]:
    server.seen.clear()
    with inside(kernel_group), Client(server) as client:
        yield client


def targets(server: Server) -> list[str]:
    return [f"{seen.method} {seen.target}" for seen in server.seen]


def tags(seen: Seen) -> list[str]:
    return seen.values("m4-ctx")


@pytest.mark.parametrize(
    ("request_", "target", "tag"),
    [
        (ALLOWED, "GET /ok", "0042"),
        (TAGGED, "GET /ok", "abcd"),
        (POST, "POST /up", "0042"),
        (CHUNKED, "POST /ch", "0042"),
    ],
    ids=["get", "tagged", "post", "chunked"],
)
def test_an_allowed_request_passes_at_every_split(
    client: Client, server: Server, request_: bytes, target: str, tag: str
) -> None:
    for cut in range(1, len(request_)):
        client.send(request_[:cut], request_[cut:])
        assert (client.answer().status, cut) == (200, cut)
    assert targets(server) == [target] * (len(request_) - 1)
    assert {tuple(tags(seen)) for seen in server.seen} == {(tag,)}
    if b"up" in request_:
        assert {seen.body for seen in server.seen} == {POST[-36:]}
    if b"/ch" in request_:
        assert {seen.body for seen in server.seen} == {b"GET /admin HTTP/1.1\r\nHost: x\r\n\rabcde"}


@pytest.mark.parametrize("request_", [DENIED, DENIED_POST], ids=["get", "post"])
def test_a_denied_request_is_answered_at_every_split_and_the_connection_goes_on(
    client: Client, server: Server, request_: bytes
) -> None:
    for cut in range(1, len(request_)):
        client.send(request_[:cut], request_[cut:])
        answer = client.answer()
        assert (answer.status, answer.body, answer.fields["connection"], cut) == (403, REFUSED, "keep-alive", cut)
        if cut % 8 == 0:
            client.send(ALLOWED)
            assert client.answer().status == 200
    assert set(targets(server)) == {"GET /ok"}


def test_a_denied_chunked_request_is_answered_at_every_split_and_the_connection_ends(
    server: Server, program: m4bpf.Attached, kernel_group: Path
) -> None:
    server.seen.clear()
    with inside(kernel_group):
        for cut in range(1, len(DENIED_CHUNKED)):
            with Client(server) as client:
                client.send(DENIED_CHUNKED[:cut], DENIED_CHUNKED[cut:], ALLOWED)
                answer = client.answer()
                assert (answer.status, answer.body, answer.fields["connection"]) == (403, REFUSED, "close")
    assert server.seen == []


def test_random_cuts_of_pipelined_requests_change_nothing(client: Client, server: Server) -> None:
    chosen = random.Random(7)
    stream = ALLOWED + POST + CHUNKED + TAGGED + CHUNKED + POST + ALLOWED
    for _ in range(60):
        server.seen.clear()
        cuts = sorted(chosen.sample(range(1, len(stream)), chosen.randint(1, 40)))
        client.send(*(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)))
        assert [client.answer().status for _ in range(7)] == [200] * 7
        assert targets(server) == ["GET /ok", "POST /up", "POST /ch", "GET /ok", "POST /ch", "POST /up", "GET /ok"]
        assert [tags(seen) for seen in server.seen] == [["0042"]] * 3 + [["abcd"]] + [["0042"]] * 3


def test_bytes_one_by_one_on_two_connections_at_once(client: Client, server: Server, kernel_group: Path) -> None:
    """Both share the memory that the kernel collects a process's bytes in, so neither lies in one piece."""
    long = ALLOWED[:-2] + b"X-Long: " + b"y" * 300 + b"\r\n\r\n"
    denied = DENIED_POST[:-32].replace(b"32", b"300") + b"b" * 300
    with Client(server) as other:
        for i in range(max(len(long), len(denied))):
            client.send(long[i : i + 1])
            other.send(denied[i : i + 1])
        assert client.answer().status == 200
        assert other.answer().status == 403
        other.send(ALLOWED)
        assert other.answer().status == 200
    assert targets(server) == ["GET /ok", "GET /ok"]
    assert server.seen[0].values("x-long") == ["y" * 300]


def test_fifty_pipelined_requests(client: Client, server: Server) -> None:
    client.send(ALLOWED * 50)
    assert [client.answer().status for _ in range(50)] == [200] * 50
    assert targets(server) == ["GET /ok"] * 50


def test_what_follows_a_denied_request_in_one_message_is_not_sent(client: Client, server: Server) -> None:
    client.send(DENIED + ALLOWED)
    answer = client.answer()
    assert (answer.status, answer.fields["connection"]) == (403, "close")
    client.send(ALLOWED)  # swallowed: an error here could keep the client from reading the answer
    assert server.seen == []


def test_no_answer_overtakes_the_callees(client: Client, server: Server) -> None:
    """A denied request behind one whose response is due cannot be answered in order; the connection fails instead."""
    with pytest.raises(PermissionError):
        client.send(ALLOWED + DENIED)
    answer = client.answer()
    assert answer.status == 200
    assert not answer.ours
    assert client.quiet()
    with pytest.raises(PermissionError):
        client.send(ALLOWED)
    assert targets(server) == ["GET /ok"]


def test_after_pipelining_denied_requests_fail_instead_of_being_misplaced(client: Client, server: Server) -> None:
    client.send(ALLOWED * 2)
    client.answer()
    client.answer()
    with pytest.raises(PermissionError):
        client.send(DENIED)
    assert targets(server) == ["GET /ok"] * 2


def test_a_denied_request_after_the_callee_has_closed(
    kernel_group: Path, program: m4bpf.Attached, server: Server
) -> None:
    with inside(kernel_group), Client(server) as client:
        client.send(ALLOWED.replace(b"x\r\n", b"x\r\nConnection: close\r\n"))
        assert client.answer().status == 200
        assert client.quiet()
        client.send(DENIED)
        assert client.answer().status == 403


def test_other_ways_to_send(client: Client, server: Server, tmp_path: Path) -> None:
    """Many small buffers at once, and a file handed over by the kernel."""
    for request_, status in ((ALLOWED, 200), (DENIED, 403), (DENIED_POST, 403), (CHUNKED, 200)):
        client.socket.sendmsg([request_[i : i + 1] for i in range(len(request_))])
        assert client.answer().status == status
        path = tmp_path / "request"
        path.write_bytes(request_)
        with path.open("rb") as file:
            client.socket.sendfile(file)
        assert client.answer().status == status
    assert targets(server) == ["GET /ok", "GET /ok", "POST /ch", "POST /ch"]


async def test_many_connections_at_once(kernel_group: Path, program: m4bpf.Attached, server: Server) -> None:
    async def talk(number: int) -> list[bool]:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        results = []
        for i in range(40):
            denied = (i + number) % 3 == 0
            target = f"/{'admin' if denied else 'ok'}/{number}/{i}"
            request_ = f"GET {target} HTTP/1.1\r\nX-Pad: {'p' * ((number * 97 + i * 31) % 3000)}\r\n\r\n".encode()
            cut = (number * 13 + i * 7) % len(request_)
            writer.write(request_[:cut])
            await asyncio.sleep(0)
            writer.write(request_[cut:])
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            await reader.readexactly(20 if denied else 5)
            results.append(head.startswith(b"HTTP/1.1 403" if denied else b"HTTP/1.1 200"))
        writer.close()
        await writer.wait_closed()
        return results

    server.seen.clear()
    with inside(kernel_group):
        results = await asyncio.gather(*(talk(number) for number in range(40)))
    assert [len(one) for one in results] == [40] * 40
    assert all(all(one) for one in results)
    assert sorted(seen.target for seen in server.seen) == sorted(
        f"/ok/{number}/{i}" for number in range(40) for i in range(40) if (i + number) % 3
    )
    assert {tuple(tags(seen)) for seen in server.seen} == {("0042",)}


def test_a_denied_head_request_gets_no_body(client: Client, server: Server) -> None:
    client.send(DENIED.replace(b"GET", b"HEAD"))
    answer = client.answer(head=True)
    assert (answer.status, answer.fields["content-length"]) == (403, str(len(REFUSED)))
    client.send(DENIED)
    assert client.answer().body == REFUSED
    client.send(ALLOWED)
    assert client.answer().status == 200


def test_the_status_of_the_rule_is_answered(client: Client, server: Server) -> None:
    client.send(b"GET /ok HTTP/1.1\r\nX-Group:evil \t \r\n\r\n")
    assert client.answer().status == 451
    client.send(b"GET /admin HTTP/1.1\r\nX-Group: evil\r\n\r\n")
    assert client.answer().status == 403
    assert server.seen == []


def test_large_bodies(client: Client, server: Server) -> None:
    size = 3_000_000
    head = b" HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
    body = random.Random(1).randbytes(size)
    client.send(b"POST /up" + head + body + ALLOWED)
    assert [client.answer().status for _ in range(2)] == [200, 200]
    assert server.seen[0].body == body
    server.seen.clear()
    with Client(server) as other:
        other.send(b"POST /admin" + head, body)
        answer = other.answer()
        assert (answer.status, answer.fields["connection"]) == (403, "close")
    with Client(server) as other:
        other.send(b"POST /admin HTTP/1.1\r\nContent-Length: 16384\r\n\r\n", body[:7000], body[:7000], body[:2384])
        answer = other.answer()
        assert (answer.status, answer.fields["connection"]) == (403, "keep-alive")
        other.send(ALLOWED)
        assert other.answer().status == 200
    assert targets(server) == ["GET /ok"]


def test_large_chunks(client: Client, server: Server) -> None:
    chunk = random.Random(2).randbytes(200_000)
    client.send(b"POST /up HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for size in (1, 7, 4096, 65_536, 200_000):
        client.send(b"%x\r\n" % size + chunk[:size] + b"\r\n")
    client.send(b"0\r\n\r\n")
    assert client.answer().status == 200
    assert server.seen[0].body == b"".join(chunk[:size] for size in (1, 7, 4096, 65_536, 200_000))


def test_expect_continue(client: Client, server: Server) -> None:
    expecting = b" HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    client.send(b"POST /up" + expecting)
    client.send(b"body")
    assert client.answer().status == 200
    client.send(b"POST /admin" + expecting)
    answer = client.answer()  # without waiting for the body
    assert (answer.status, answer.fields["connection"]) == (403, "close")
    client.send(b"body")
    assert targets(server) == ["POST /up"]


def test_heads_up_to_the_limit(client: Client, server: Server) -> None:
    def padded(size: int) -> bytes:
        head = b"GET /ok HTTP/1.1\r\nm4-ctx: 0000\r\nPad: \r\n\r\n"
        return head.replace(b"Pad: ", b"Pad: " + b"p" * (size - len(head)))

    client.send(padded(8191))
    assert client.answer().status == 200
    client.send(padded(8192))
    assert client.answer().status == 200
    client.send(padded(8192)[:5000], padded(8192)[5000:])
    assert client.answer().status == 200
    client.send(padded(8193))
    answer = client.answer()
    assert (answer.status, answer.fields["connection"]) == (431, "close")
    assert [len(seen.values("pad")[0]) for seen in server.seen] == [8150, 8151, 8151]


def test_too_many_fields(client: Client, server: Server) -> None:
    client.send(b"GET /ok HTTP/1.1\r\n" + b"a: b\r\n" * 120 + b"\r\n")
    assert client.answer().status == 200
    client.send(b"GET /ok HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n")
    assert client.answer().status == 431
    assert len(server.seen) == 1


MALFORMED = {
    "both-lengths": b"POST /ok HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    "two-lengths": b"POST /ok HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "listed-lengths": b"POST /ok HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nabc",
    "signed-length": b"POST /ok HTTP/1.1\r\nContent-Length: +3\r\n\r\nabc",
    "hex-length": b"POST /ok HTTP/1.1\r\nContent-Length: 0x3\r\n\r\nabc",
    "empty-length": b"POST /ok HTTP/1.1\r\nContent-Length:\r\n\r\n",
    "huge-length": b"POST /ok HTTP/1.1\r\nContent-Length: 1234567890123456789\r\n\r\n",
    "other-coding": b"POST /ok HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "identity": b"POST /ok HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n",
    "two-codings": b"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "coding-in-1.0": b"POST /ok HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "blank-before-colon": b"POST /ok HTTP/1.1\r\nContent-Length : 3\r\n\r\nabc",
    "folded": b"GET /ok HTTP/1.1\r\nX-A: 1\r\n Content-Length: 3\r\n\r\nabc",
    "first-folded": b"GET /ok HTTP/1.1\r\n X-A: 1\r\n\r\n",
    "bare-lf": b"GET /ok HTTP/1.1\nHost: x\r\n\r\n",
    "bare-lf-end": b"GET /ok HTTP/1.1\r\nHost: x\n\nGET /admin HTTP/1.1\r\n\r\n",
    "bare-cr": b"GET /ok HTTP/1.1\r\nHost: x\rContent-Length: 3\r\n\r\nabc",
    "nul": b"GET /ok HTTP/1.1\r\nHost: \0x\r\n\r\n",
    "no-colon": b"GET /ok HTTP/1.1\r\nHost\r\n\r\n",
    "no-name": b"GET /ok HTTP/1.1\r\n: x\r\n\r\n",
    "two-blanks": b"GET  /admin HTTP/1.1\r\n\r\n",
    "blank-in-target": b"GET /ok /admin HTTP/1.1\r\n\r\n",
    "tab-in-line": b"GET\t/ok HTTP/1.1\r\n\r\n",
    "high-byte-in-target": b"GET /o\xa0HTTP/1.1 HTTP/1.1\r\n\r\n",
    "version-0.9": b"GET /ok\r\n\r\n",
    "blank-after-version": b"GET /ok HTTP/1.1 \r\n\r\n",
    "leading-crlf": b"\r\nGET /ok HTTP/1.1\r\n\r\n",
    "connect": b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "two-tags": b"GET /ok HTTP/1.1\r\nm4-ctx: 0001\r\nm4-ctx: 0002\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_can_be_misread_is_refused(client: Client, server: Server, name: str) -> None:
    client.send(ALLOWED)
    assert client.answer().status == 200
    client.send(MALFORMED[name])
    answer = client.answer()
    assert (answer.status, answer.ours, answer.fields["connection"]) == (400, True, "close")
    client.send(ALLOWED)
    assert targets(server) == ["GET /ok"]


@pytest.mark.parametrize("version", [b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1.10", b"http/1.1", b"ICY/1.0"])
def test_other_versions_are_refused(client: Client, server: Server, version: bytes) -> None:
    client.send(b"PRI * " + version + b"\r\n\r\nSM\r\n\r\n")
    assert client.answer().status == 505
    assert server.seen == []


@pytest.mark.parametrize(
    "rest",
    [
        b"5;ext=1\r\nabcde\r\n",
        b"5 \r\nabcde\r\n",
        b"\r\nabcde",
        b"g\r\n",
        b"5\nabcde",
        b"5\r\nabcdeX\r\n0\r\n\r\n",
        b"5\r\nabcde\n0\r\n\r\n",
        b"0000000000000005\r\nabcde\r\n",
        b"0\r\nbad trailer\r\n\r\n",
        b"-1\r\n",
        b"0x5\r\nabcde",
    ],
)
def test_a_malformed_chunk_is_not_passed_on(client: Client, server: Server, rest: bytes) -> None:
    client.send(b"POST /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)
    answer = client.answer()
    assert (answer.status, answer.ours) == (400, True)
    assert server.seen == []


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (b"m4-ctx: 0009\r\n", "abcd"),
        (b"M4-Ctx:0009\r\n", "abcd"),
        (b"m4-ctx: 0010\r\n", "0010"),  # not in the map: kept
        (b"m4-ctx: 0000\r\n", "0042"),
        (b"m4-ctx:\r\n", "0042"),
        (b"m4-ctx:      \r\n", "0042"),
        (b"m4-ctx: 7\r\n", "0042"),
        (b"m4-ctx: 00007\r\n", "0042"),
        (b"m4-ctx: 000A\r\n", "0042"),
        (b"m4-ctx: 00 7\r\n", "0042"),
        (b"m4-ctx: 0042, and much longer than the width of a tag\r\n", "0042"),
        (b"xm4-ctx: 0007\r\n", "0042"),
    ],
)
def test_the_tag_is_read_and_written(client: Client, server: Server, sent: bytes, received: str) -> None:
    stream = b"POST /up HTTP/1.1\r\n" + sent + b"Content-Length: 3\r\n\r\nabc"
    for cut in range(0, len(stream), 3):
        client.send(stream[:cut], stream[cut:])
        assert client.answer().status == 200
    assert {tuple(tags(seen)) for seen in server.seen} == {(received,)}
    assert {seen.body for seen in server.seen} == {b"abc"}
