"""Policies about answers, on a running Envoy: what the application says, byte by byte, and what Envoy says itself."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from envoy_kit import LACKING, SPEC, Bench, Client, Reply, render
from m4c import project
from m4c.placement.elements import elements
from m4c.placement.plan import plan
from m4c.workspace import Workspace
from m4deploy import local
from m4deploy.client import header, send
from ports import addresses, free_base
from test_counters import built
from test_local import eventually

pytestmark = pytest.mark.skipif("envoy" in LACKING, reason=LACKING.get("envoy", ""))

ON = "(HttpResponse p) on outside -> web"
POLICIES = f"""
policy seen {ON} {{ p.SetHeader("x-seen", "1"); }}
policy one_cookie {ON} when p.request.url_path == "/one" {{ p.SetHeader("set-cookie", "only=1"); }}
policy no_cookie {ON} when p.request.url_path == "/none" {{ p.RemoveHeader("set-cookie"); }}
policy more {ON} when p.request.url_path in ["/more", "/one"] {{ p.AppendHeader("set-cookie", "more=100%"); }}
policy joined {ON} when p.header["set-cookie"] == "a=1,b=2" {{ p.SetHeader("x-joined", "1"); }}
policy bytes {ON} when p.header["x-bytes"] ends_with "é" {{ p.SetHeader("x-said", "“%”"); }}
policy empty {ON} when exists p.header["x-empty"] && p.header["x-empty"] != "1" {{ p.SetHeader("x-was", "empty"); }}
policy failed {ON} when p.status >= 500 && p.status != 503 {{ p.SetHeader("x-failed", "1"); }}
policy swap {ON} when p.header["x-left"] == "1" {{ p.SetHeader("x-right", "1"); p.RemoveHeader("x-left"); }}
policy swap_back {ON} when p.header["x-right"] == "1" {{ p.SetHeader("x-left", "1"); }}
policy posted {ON} when p.request.method == "POST" || p.status == 404 && !(exists p.request.header["x-quiet"])
{{ p.LogSample(); }}
policy louder (HttpRequest r) on outside -> web {{ r.SetHeader("x-quiet", "set"); }}
policy renamed (HttpRequest r) on outside -> web when r.url_path in ["/one", "/none"] {{ r.RewriteTarget("/more"); }}
policy closed (HttpRequest r) on outside -> web when r.url_path == "/closed" {{ r.DropRequest(404); }}
policy fails (HttpRequest r) on outside -> web when r.url_path == "/fails" {{ r.Abort(404); }}
"""


class Answering:
    """A server that sends the bytes that the request has in `x-give`, as base64, and hangs up if there are none."""

    def __init__(self) -> None:
        (self.address,) = addresses(1)
        host, port = self.address.rsplit(":", 1)
        self.listening = socket.create_server((host, int(port)))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    more = connection.recv(65536)
                    if not more:
                        return
                    head += more
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n\r\n")[0].split(b"\r\n")[1:])
                if b"x-give" not in fields:
                    return
                connection.sendall(base64.b64decode(fields[b"x-give"]))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[tuple[Bench, Client]]:
    (tmp_path / "g.yaml").write_text("services:\n  web: {entry: true, origin: false}\n")
    (tmp_path / "m.m4").write_text(f'mesh m {{ graph "g.yaml"; dataplanes envoy; }}\n{POLICIES}')
    workspace = Workspace([tmp_path])
    assert not [p.message for p in workspace.problems() if p.code == "unenforceable"]
    program = project.program(workspace.db, "m")
    assert program is not None
    (element,) = elements(program, plan(program))
    server = Answering()
    listen, admin = addresses(2)
    stop = {"version": "", "address": server.address}
    at = {"site": "ingress.outside", "version": "", "address": listen, "forward": [stop]}
    place = tmp_path / "run"
    place.mkdir()
    with Bench(place) as bench:
        bench.envoy(render(SPEC, {**element, "wiring": {"listen": [at], "services": {}, "admin": admin}}), listen)
        yield bench, Client(listen)
    server.listening.close()


def get(
    client: Client, target: str, *lines: bytes, status: bytes = b"200", method: str = "GET", quiet: bool = False
) -> Reply:
    """What becomes of an answer with some header lines."""
    raw = b"".join(line + b"\r\n" for line in (b"HTTP/1.1 " + status + b" Said", *lines, b"content-length: 0", b""))
    quietly = [("x-quiet", "")] if quiet else []
    return client.send(target, [("x-give", base64.b64encode(raw).decode()), *quietly], method=method)


COOKIES = (b"Set-Cookie: a=1", b"Set-Cookie: b=2")


def test_every_field_of_a_name_is_one_value(bench: tuple[Bench, Client]) -> None:
    def cookies(target: str) -> list[str]:
        reply = get(client, target, *COOKIES)
        assert reply.header("x-joined") == "1", target  # whatever others write
        return [v for k, v in reply.headers if k == "set-cookie"]

    _, client = bench
    assert cookies("/") == ["a=1", "b=2"]
    assert cookies("/none") == []
    assert cookies("/one") == ["only=1", "more=100%"]
    assert cookies("/more") == ["a=1", "b=2", "more=100%"]
    assert get(client, "/", COOKIES[0]).header("x-joined") is None
    assert get(client, "/", *reversed(COOKIES)).header("x-joined") is None


def test_values_are_bytes_and_absent_is_not_empty(bench: tuple[Bench, Client]) -> None:
    _, client = bench
    said = get(client, "/", "x-bytes: caf\u00e9".encode())
    assert said.header("x-said") == "“%”".encode().decode("latin-1")
    assert get(client, "/", "x-bytes: caf\u00e9".encode("latin-1")).header("x-said") is None
    assert get(client, "/", b"X-Empty: ").header("x-was") == "empty"
    assert get(client, "/", b"X-Empty: 1").header("x-was") is None
    assert get(client, "/").header("x-was") is None


def test_statuses_are_compared_as_numbers(bench: tuple[Bench, Client]) -> None:
    _, client = bench
    found = {s: get(client, "/", status=b"%d" % s).header("x-failed") for s in (200, 304, 499, 500, 502, 503, 504, 599)}
    assert found == {200: None, 304: None, 499: None, 500: "1", 502: "1", 503: None, 504: "1", 599: "1"}
    assert get(client, "/", method="HEAD", status=b"500").header("x-failed") == "1"


def test_all_is_decided_on_the_answer_as_it_came(bench: tuple[Bench, Client]) -> None:
    _, client = bench

    def sides(*lines: bytes) -> tuple[str | None, str | None]:
        reply = get(client, "/", *lines)
        return reply.header("x-left"), reply.header("x-right")

    assert sides() == (None, None)
    assert sides(b"x-left: 1") == (None, "1")
    assert sides(b"x-right: 1") == ("1", "1")


def test_the_log_has_what_was_asked_for(bench: tuple[Bench, Client]) -> None:
    running, client = bench
    forged = [b"x-m4-rule-%d: 1" % n for n in range(1, 30)]
    get(client, "/forged", *forged)
    get(client, "/found")
    get(client, "/missing?q=1", status=b"404")
    get(client, "/quiet", status=b"404", quiet=True)
    assert client.send("/closed").status == client.send("/fails").status == 404
    get(client, "/posted", method="POST", quiet=True)
    logged = running.logged(2)
    assert [(each["target"], each["status"], each["policy"]) for each in logged] == [
        ("/missing?q=1", 404, "posted"),
        ("/posted", 200, "posted"),
    ]


def test_what_envoy_answers_itself_is_not_seen(bench: tuple[Bench, Client]) -> None:
    _, client = bench
    assert get(client, "/").header("x-seen") == "1"
    for target, status in (("/closed", 404), ("/fails", 404), ("/nothing-comes-back", 503)):
        reply = client.send(target)
        assert (reply.status, reply.header("x-seen")) == (status, None), target


def test_each_attempt_is_answered_and_one_answer_comes_back(tmp_path: Path, state_folder: Path) -> None:
    policies = """
        policy again (HttpRequest r) on front -> pay { r.Retry(2); }
        policy told (HttpResponse p) on front -> pay when p.status == 503
        { all.Increment(); p.AppendHeader("x-try", "1"); }
        policy fine (HttpResponse p) on front -> pay when p.status < 300 { level.Increment(); }
    """
    states = "state Counter all;\nstate Counter level;\n"
    _, out = built(tmp_path / "mesh", "envoy", states + policies, free_base())
    with local.deploy(out, state_folder, foreground=True) as deployment:
        seen = send(deployment, ("front", "pay"), outside=False, answer=(503, ())).hops[-1]
        assert (seen.reached, seen.status, header(seen.headers, "x-try")) == (True, 503, "1")
        assert send(deployment, ("front", "pay"), outside=False).status == 200

        def counted() -> dict[str, int]:
            found: dict[str, int] = {}
            for element in deployment.status()["elements"]:
                found |= {k: found.get(k, 0) + v for k, v in element["tallies"].items()}
            return found

        eventually(lambda: counted() == {"all": 3, "level": 1})


@pytest.fixture
def state_folder(tmp_path: Path) -> Path:
    return tmp_path / "state"
