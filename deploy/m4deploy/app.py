"""The stand-in application: one process per service and version, so that a mesh can be tried without its application.

It answers every request with JSON: which service and version it is, which request of its connection this is, and the
request exactly as it arrived. A request header `x-m4-demo` (base64 of JSON) makes it call the next service of a path
first, as a real application would: a new request with the given method, target, headers and body, and of the incoming
request only the context header, if the service hands that on at all. The answer to that call is nested in its own.

    x-m4-demo: {"path": [service, …], "method", "target", "headers": [[name, value], …], "body": str, "delay": seconds,
                "answer": {"status": int, "headers": [[name, value], …]}}

The last service of the path waits for `delay`. Every service answers as `answer` says, if that is there. A second
listener, a Unix socket outside the mesh, takes the same JSON as the body of a POST and starts such a chain here, as a
service does that acts by itself.

The module runs as a script under `python -I -S` and imports nothing but the standard library, to start fast.
Bytes of requests are Latin-1 in JSON, so every byte survives.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

DEMO_HEADER = "x-m4-demo"
DENIED_HEADER = "x-m4-denied-by"
ANSWERED_HEADER = "x-m4-answered-by"  # redirects and other answers of a dataplane's own
MAX_HEAD = 1 << 20
_BEGIN = '{"service": '

Answer = Callable[["Message"], Awaitable["Reply"]]


class Reply(NamedTuple):
    """What a request is answered with."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Message(NamedTuple):
    """An HTTP/1.1 message: the words of its first line, the header fields as they stood, the body, its number on its
    connection."""

    start: list[str]
    headers: list[tuple[str, str]]
    body: bytes
    number: int = 1

    def header(self, name: str) -> str | None:
        """The value of a header field, repeated ones joined by a comma; None if there is none."""
        values = [value for key, value in self.headers if key.lower() == name]
        return ",".join(values) if values else None


async def read_message(reader: asyncio.StreamReader, *, to_end: bool = False) -> Message | None:
    """The next message of a connection, None at its end; `to_end`: without a length the body goes to the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if end.partial:
            raise
        return None
    first, *lines = head[:-4].decode("latin-1").split("\r\n")
    fields = [line.split(":", 1) for line in lines]
    message = Message(first.split(" ", 2), [(name, value.strip(" \t")) for name, value in fields], b"")
    if (message.header("transfer-encoding") or "").lower().endswith("chunked"):
        return message._replace(body=await read_chunks(reader))
    length = message.header("content-length")
    if length is not None:
        return message._replace(body=await reader.readexactly(int(length)))
    return message._replace(body=await reader.read()) if to_end else message


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        body += (await reader.readexactly(size + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":  # trailers
        pass
    return body


async def serve_connection(answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the requests of one connection, one after the other, until it ends."""
    number = 0
    try:
        while (request := await read_message(reader)) is not None:
            number += 1
            reply = await answer(request._replace(number=number))
            writer.write(b"HTTP/1.1 %d %s\r\n" % (reply.status, b"OK" if reply.status == 200 else b""))
            for name, value in (("content-type", "application/json"), *reply.headers):
                writer.write(f"{name}: {value}\r\n".encode("latin-1"))
            writer.write(b"content-length: %d\r\n\r\n" % len(reply.body) + reply.body)
            await writer.drain()
            if (request.header("connection") or "").lower() == "close":
                break
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass  # the peer went away, or does not speak HTTP/1.1: nobody is left to tell
    finally:
        writer.close()


async def call(address: str, chain: dict[str, Any], context: tuple[str, str] | None) -> dict[str, Any]:
    """One request to the next service of a chain; what came back: status, who denied, and the body."""
    host, port = address.rsplit(":", 1)
    headers = [(name, value) for name, value in chain["headers"]]
    if not any(name.lower() == "host" for name, _ in headers):
        headers.insert(0, ("host", address))
    if context is not None:
        headers.append(context)
    body = (chain.get("body") or "").encode("latin-1")
    if body:
        headers.append(("content-length", str(len(body))))
    if chain["path"][1:] or chain.get("delay") or chain.get("answer"):
        rest = {**chain, "path": chain["path"][1:]}
        headers.append((DEMO_HEADER, base64.b64encode(json.dumps(rest).encode()).decode()))
    lines = [f"{chain['method']} {chain['target']} HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "", ""]
    try:
        reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), limit=MAX_HEAD)
    except OSError as error:
        return {"error": f"{address}: {error.strerror or error}"}
    try:
        writer.write("\r\n".join(lines).encode("latin-1") + body)
        await writer.drain()
        reply = await read_message(reader, to_end=True)
        if reply is None:
            return {"error": f"{address}: closed without an answer"}
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        return {"error": f"{address}: {error}"}
    finally:
        writer.close()
    text = reply.body.decode("latin-1")
    denied_by = reply.header(DENIED_HEADER)
    by_mesh = denied_by or reply.header(ANSWERED_HEADER)
    return {
        "status": int(reply.start[1]),
        "denied_by": denied_by,
        "headers": reply.headers,
        "body": text if by_mesh else told(text),
    }


def told(text: str) -> Any:
    """The body of an answer: what a stand-in application says, whatever the header says of it; any other as it is."""
    return json.loads(text) if text.startswith(_BEGIN) else text


def make_answers(config: dict[str, Any]) -> tuple[Answer, Answer]:
    """What the process does with a request of the mesh, and with one to start a chain by itself.

    `config`: service, version, dial {callee: [address]}, propagates, context (the context header's name).
    """
    dial: dict[str, Iterator[str]] = {callee: itertools.cycle(to) for callee, to in config["dial"].items()}

    async def go_on(chain: dict[str, Any], context: tuple[str, str] | None) -> dict[str, Any] | None:
        if not chain["path"]:
            await asyncio.sleep(float(chain.get("delay") or 0))
            return None
        if chain["path"][0] not in dial:
            return {"error": f"{config['service']} does not call {chain['path'][0]}"}
        return await call(next(dial[chain["path"][0]]), chain, context)

    async def serve(request: Message) -> Reply:
        demo = request.header(DEMO_HEADER)
        chain = {} if demo is None else json.loads(base64.b64decode(demo))
        handed_on = request.header(config["context"]) if config["propagates"] else None
        context = None if handed_on is None else (config["context"], handed_on)
        says = {
            "service": config["service"],
            "version": config["version"],
            "number": request.number,
            "request": {
                "method": request.start[0],
                "target": request.start[1],
                "headers": [field for field in request.headers if field[0].lower() != DEMO_HEADER],
                "body": request.body.decode("latin-1"),
            },
            "next": await go_on(chain, context) if chain else None,
        }
        as_told = chain.get("answer") or {}
        headers = tuple((name, value) for name, value in as_told.get("headers", ()))
        return Reply(json.dumps(says).encode(), as_told.get("status", 200), headers)

    async def start(request: Message) -> Reply:
        return Reply(json.dumps({"next": await go_on(json.loads(request.body), None)}).encode())

    return serve, start


async def run(config: dict[str, Any]) -> None:
    """Serves until the process is ended. `listen`: its address in the mesh; `control`: path of the Unix socket."""
    serve, start = make_answers(config)

    def connection(answer: Answer) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        return lambda reader, writer: serve_connection(answer, reader, writer)

    host, port = config["listen"].rsplit(":", 1)
    # First: who finds the address of the mesh open finds this one open too.
    await asyncio.start_unix_server(connection(start), config["control"], limit=MAX_HEAD)
    server = await asyncio.start_server(connection(serve), host.strip("[]"), int(port), limit=MAX_HEAD)
    await server.serve_forever()


if __name__ == "__main__":
    os.umask(0o077)
    try:
        asyncio.run(run(json.loads(sys.argv[1])))
    except OSError as error:  # its address is taken, or none of this machine
        sys.exit(f"cannot listen: {error.strerror or error}")
