"""gRPC through a real Envoy: its calls are requests in HTTP/2, and policies judge them like others."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy_kit import LACKING, SPEC, Bench, addresses, compare, drop, render, set_header, site
from m4c.cli import jobs
from m4c.placement.elements import elements
from m4c.workspace import Workspace

UNARY, STREAM = "/shop.Pay/Charge", "/shop.Pay/Watch"
REFUSED = "/shop.Pay/Refund"
FAILING = "/shop.Pay/Fail"


class Pay(grpc.GenericRpcHandler):
    """Answers each message with itself, and keeps the metadata of each call by its method."""

    def __init__(self) -> None:
        self.calls: dict[str, dict[str, str | bytes]] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        self.calls[details.method] = dict(details.invocation_metadata)
        if details.method == STREAM:
            return grpc.stream_stream_rpc_method_handler(self._watch)
        return grpc.unary_unary_rpc_method_handler(self._fail if details.method == FAILING else self._charge)

    def _watch(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._tell(context)
        yield from messages

    def _charge(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        self._tell(context)
        return message

    def _fail(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        context.set_trailing_metadata((("x-inner", "trailing"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "no such payment")

    def _tell(self, context: grpc.ServicerContext) -> None:
        context.send_initial_metadata((("x-inner", "secret"), ("x-more", "a"), ("x-more", "b")))
        context.set_trailing_metadata((("x-inner", "trailing"),))


@pytest.fixture
def pay() -> Iterator[tuple[Pay, str]]:
    handler, (address,) = Pay(), addresses(1)
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
    server.add_insecure_port(address)
    server.start()
    yield handler, address
    server.stop(None).wait()


def call(channel: grpc.Channel, method: str, message: bytes, headers: list[tuple[str, str]] | None = None) -> bytes:
    done: bytes = channel.unary_unary(method)(message, metadata=headers, timeout=60)
    return done


@pytest.mark.parametrize("side", ["egress", "ingress"])
def test_calls_are_judged_and_changed(tmp_path: Path, pay: tuple[Pay, str], side: str) -> None:
    handler, address = pay
    rules: list[dict[str, Any]] = [
        drop(1, compare("==", REFUSED, None, "url_path")),
        set_header(2, "x-tier", "gold", compare("==", "yes", "x-beta")),
    ]
    tags = {"map": [{"from": [0], "to": 2}, {"from": [2], "to": 5}], "otherwise": None, "by_version": None}
    with Bench(tmp_path) as bench:
        (client,) = bench.sites(site(side, "door", rules, tags=tags), callee=address)
        with grpc.insecure_channel(client.address) as channel:
            assert call(channel, UNARY, b"7 EUR", [("x-beta", "yes"), ("m4-ctx", "0002")]) == b"7 EUR"
            seen = handler.calls[UNARY]
            assert (seen["x-tier"], seen["m4-ctx"]) == ("gold", "0005")
            assert call(channel, UNARY, b"8 EUR") == b"8 EUR"
            seen = handler.calls[UNARY]
            assert ("x-tier" in seen, seen["m4-ctx"]) == (False, "0002")
            with pytest.raises(grpc.RpcError) as refused:
                call(channel, REFUSED, b"7 EUR")
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
            assert REFUSED not in handler.calls
            messages = [b"one", b"two", b"three"]
            assert list(channel.stream_stream(STREAM)(iter(messages), timeout=60)) == messages


ON = "(HttpResponse p) on web -> pay"
ANSWERS = f"""
mesh shop {{ graph "graph.yaml"; dataplanes envoy; }}
state Counter failed;
policy told {ON} {{ p.SetHeader("x-told", "1"); }}
policy hidden {ON} after known {{ p.RemoveHeader("x-inner"); }}
policy known {ON} when p.header["x-inner"] == "secret" && p.header["x-more"] == "a,b" {{ p.SetHeader("x-known", "1"); }}
policy more {ON} when p.request.url_path == "{UNARY}" && p.status == 200 {{ p.AppendHeader("x-more", "c"); }}
policy absent {ON} when !(exists p.header["x-more"]) {{ p.SetHeader("x-absent", "1"); }}
policy never {ON} when p.status != 200 {{ p.SetHeader("x-never", "1"); }}
policy refused (HttpRequest r) on web -> pay when r.url_path == "{REFUSED}" {{ r.DropRequest(); }}
"""


@pytest.mark.skipif("envoy" in LACKING, reason=LACKING.get("envoy", ""))
def test_answers_are_changed_while_calls_go_on(tmp_path: Path, pay: tuple[Pay, str]) -> None:
    """Of a call that says anything, the metadata before its messages; of one that only fails, all that there is."""
    _, address = pay
    (tmp_path / "graph.yaml").write_text("services:\n  web: {}\n  pay: {protocol: grpc}\ncalls: [[web, pay]]\n")
    (tmp_path / "shop.m4").write_text(ANSWERS)
    workspace = Workspace([tmp_path])
    assert not [p.message for p in workspace.problems() if p.code == "unenforceable"]
    program, plan = jobs.planned(workspace, "shop")
    (element,) = elements(program, plan)
    listen, admin = addresses(2)
    at = {"site": "ingress.web", "version": "", "address": listen, "forward": [{"version": "", "address": address}]}
    (tmp_path / "run").mkdir()
    with Bench(tmp_path / "run") as bench:
        wiring = {"listen": [at], "services": {}, "admin": admin}
        bench.envoy(render(SPEC, {**element, "wiring": wiring}), listen)
        with grpc.insecure_channel(listen) as channel:
            answer, done = channel.unary_unary(UNARY).with_call(b"7 EUR", timeout=60)
            assert answer == b"7 EUR"
            assert said(done.initial_metadata()) == [
                ("x-known", "1"),
                ("x-more", "a"),
                ("x-more", "b"),
                ("x-more", "c"),
                ("x-told", "1"),
            ]
            assert said(done.trailing_metadata()) == [("x-inner", "trailing")]

            go_on = [threading.Event() for _ in range(3)]
            watching = channel.stream_stream(STREAM)(said_in_turn(go_on), timeout=60)
            for number, event in enumerate(go_on):  # each comes back before the next one is sent
                event.set()
                assert next(watching) == b"%d" % number
            assert list(watching) == []
            known = [("x-known", "1"), ("x-more", "a"), ("x-more", "b"), ("x-told", "1")]
            assert said(watching.initial_metadata()) == known
            assert said(watching.trailing_metadata()) == [("x-inner", "trailing")]

            with pytest.raises(grpc.RpcError) as failed:
                call(channel, FAILING, b"7 EUR")
            assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.NOT_FOUND, "no such payment")
            everything = [*failed.value.initial_metadata(), *failed.value.trailing_metadata()]
            assert said(everything) == [("x-absent", "1"), ("x-told", "1")]

            with pytest.raises(grpc.RpcError) as refused:
                call(channel, REFUSED, b"7 EUR")
            assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
            assert said([*refused.value.initial_metadata(), *refused.value.trailing_metadata()]) == []


def said(metadata: Iterable[tuple[str, str | bytes]]) -> list[tuple[str, str]]:
    """What the service or the policies say of an answer, sorted by name."""
    named = [(name, str(value)) for name, value in metadata if name.startswith("x-") and "envoy" not in name]
    return sorted((n, v) for n, v in named if n not in ("x-m4-denied-by", "x-m4-answered-by"))


def said_in_turn(events: Sequence[threading.Event]) -> Iterator[bytes]:
    """A message behind each event."""
    for number, event in enumerate(events):
        event.wait(60)
        yield b"%d" % number


@pytest.mark.parametrize("field", ["grpc-status", "grpc-message", "grpc-status-details-bin"])
def test_how_a_call_ended_is_no_header_field_of_its_answer(tmp_path: Path, field: str) -> None:
    """It comes behind the messages, and only in the head if there are none: a condition on it would mostly be wrong."""
    (tmp_path / "graph.yaml").write_text("services:\n  web: {}\n  pay: {protocol: grpc}\ncalls: [[web, pay]]\n")
    failing = f'policy bad {ON} when p.header["{field}"] != "0" {{ p.SetHeader("x-failed", "1"); }}\n'
    (tmp_path / "shop.m4").write_text('mesh shop { graph "graph.yaml"; dataplanes envoy; }\n' + failing)
    (found,) = (p for p in Workspace([tmp_path]).problems() if p.code == "reserved-key")
    assert field in found.message
