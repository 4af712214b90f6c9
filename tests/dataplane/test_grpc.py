"""gRPC through a real Envoy: its calls are requests in HTTP/2, and policies judge them like others."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy_kit import Bench, addresses, compare, drop, set_header, site

UNARY, STREAM = "/shop.Pay/Charge", "/shop.Pay/Watch"
REFUSED = "/shop.Pay/Refund"


class Pay(grpc.GenericRpcHandler):
    """Answers each message with itself, and keeps the metadata of each call by its method."""

    def __init__(self) -> None:
        self.calls: dict[str, dict[str, str | bytes]] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        self.calls[details.method] = dict(details.invocation_metadata)
        if details.method == STREAM:
            return grpc.stream_stream_rpc_method_handler(lambda messages, _: messages)
        return grpc.unary_unary_rpc_method_handler(lambda message, _: message)


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
