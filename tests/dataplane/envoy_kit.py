"""Elements written by hand, the real Envoy or HAProxy that runs them, and raw HTTP/1.1 to send through it."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from m4c.placement.elements import plain
from m4c.semantics.schema import Schema, SpecItem, build_schema
from m4c.syntax.items import split
from m4c.syntax.parser import parse_item
from m4deploy import app
from m4deploy.drivers import haproxy
from m4deploy.drivers.envoy import binary
from m4deploy.targets import unavailable
from ports import addresses

SPEC = Path(__file__).resolve().parents[2] / "specs" / "envoy"
CORE = SPEC.parent / "core.m4"
PROXIES = ("envoy", "haproxy")
LACKING = unavailable(PROXIES)
EACH_PROXY = [pytest.param(p, marks=pytest.mark.skipif(p in LACKING, reason=LACKING.get(p, ""))) for p in PROXIES]
CONTEXT = {"header": "m4-ctx", "width": 4}
TRUE = {"kind": "true"}


def compare(op: str, value: Any, key: str | None = "x", attribute: str = "header") -> dict[str, Any]:
    named = key if attribute == "header" else None
    return {"kind": "compare", "attribute": attribute, "key": named, "op": op, "value": value}


def rule(ident: int, operation: str, args: dict[str, Any], when: dict[str, Any] = TRUE) -> dict[str, Any]:
    """A rule of one of the operations that the spec supports for requests, as the compiler resolves it."""
    return rule_of(declared(SPEC), ident, operation, args, when)


def rule_of(
    schema: Schema, ident: int, operation: str, args: dict[str, Any], when: dict[str, Any] = TRUE
) -> dict[str, Any]:
    entity = schema.entities["HttpRequest"]
    op = entity.operations[operation]
    full = {p.name: args.get(p.name, p.default) for p in op.params}
    writes, terminal, outward = [], False, False
    for w in op.writes:
        attribute = entity.attributes[w.attribute]
        key = full[str(w.key)].lower() if w.key_is_param else w.key
        writes.append({"attribute": w.attribute, "key": key, "value": plain(w.given(full), attribute.type)})
        enum = schema.enums.get(attribute.type.name)
        terminal |= enum is not None and w.value in enum.terminal
        outward |= "outward" in attribute.roles
    return {
        "id": ident,
        "policy": f"p{ident}",
        "entity": "HttpRequest",
        "operation": operation,
        "emits": schema.dataplanes["envoy"].operations["HttpRequest", operation].emits,
        "args": full,
        "services": [full[p.name] for p in op.params if p.type.name == "service"],
        "writes": writes,
        "terminal": terminal,
        "outward": outward,
        "when": when,
    }


@functools.cache
def declared(spec: Path) -> Schema:
    """What core.m4 and a copy of the spec declare together."""
    files = [CORE, spec / "spec.m4"]
    items = [(f, parse_item(item.text).decl) for f in files for item in split(f.read_text("utf-8"))]
    schema = build_schema(SpecItem(str(f), str(n), str(f.parent), decl) for n, (f, decl) in enumerate(items))
    assert not schema.problems
    return schema


def drop(ident: int, when: dict[str, Any] = TRUE, status: int = 403) -> dict[str, Any]:
    return rule(ident, "DropRequest", {"status": status}, when)


def set_header(ident: int, name: str, value: str, when: dict[str, Any] = TRUE) -> dict[str, Any]:
    return rule(ident, "SetHeader", {"name": name, "value": value}, when)


def site(side: str, peer: str, rules: list[dict[str, Any]], *, service: str = "cart", **more: Any) -> dict[str, Any]:
    caller, callee = (service, peer) if side == "egress" else (None if peer == "outside" else peer, service)
    return {
        "id": f"{side}.{peer}",
        "side": side,
        "caller": caller,
        "callee": callee,
        "entry": caller is None,
        "protocol": "http",
        "requests": True,
        "versions": [],
        "rules": rules,
        "answers": [],
        "tags": None,
        "sealed": False,
        **more,
    }


def element(
    sites: list[dict[str, Any]], wiring: dict[str, Any], service: str = "cart", dataplane: str = "envoy"
) -> dict[str, Any]:
    about = {"mesh": "shop", "service": service, "dataplane": dataplane, "context": CONTEXT}
    return {**about, "wiring": wiring, "sites": sites}


def emitted(what: dict[str, Any]) -> dict[str, Any]:
    """The element with the templates of its own dataplane's operations."""
    operations = declared(SPEC.parent / what["dataplane"]).dataplanes[what["dataplane"]].operations
    sites = [
        {**s, "rules": [{**r, "emits": operations["HttpRequest", r["operation"]].emits} for r in s["rules"]]}
        for s in what["sites"]
    ]
    return {**what, "sites": sites}


def render(spec: Path, what: dict[str, Any], template: str = "envoy.yaml.j2") -> str:
    """An artifact, rendered as the compiler renders it."""
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(spec),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.get_template(template).render(**json.loads(json.dumps(what)))


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return app.Message([], self.headers, b"").header(name)

    @property
    def seen(self) -> app.Message:
        """The request as the application behind the proxy saw it."""
        request = json.loads(self.body)["request"]
        return app.Message([request["method"], request["target"]], [(k, v) for k, v in request["headers"]], b"")

    @property
    def version(self) -> str:
        return str(json.loads(self.body)["version"])


def read_reply(connection: socket.socket) -> Reply:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        assert more, f"closed after {data!r}"
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name, value.strip()) for name, value in (line.split(":", 1) for line in lines)]
    length = int(next((v for k, v in headers if k.lower() == "content-length"), "0"))
    while len(body) < length:
        body += connection.recv(65536)
    return Reply(int(first.split()[1]), headers, body)


@dataclass
class Client:
    """One kept-alive connection."""

    address: str
    connection: socket.socket | None = field(default=None, repr=False)

    def send(
        self,
        target: str = "/",
        headers: Sequence[tuple[str, str | bytes]] = (),
        method: str = "GET",
        body: bytes = b"",
    ) -> Reply:
        host, port = self.address.rsplit(":", 1)
        if self.connection is None:
            self.connection = socket.create_connection((host, int(port)), timeout=60)
        raw = f"{method} {target} HTTP/1.1\r\nhost: test\r\n".encode("latin-1")
        for name, value in headers:
            raw += name.encode() + b": " + (value.encode() if isinstance(value, str) else value) + b"\r\n"
        if body:
            raw += b"content-length: %d\r\n" % len(body)
        self.connection.sendall(raw + b"\r\n" + body)
        reply = read_reply(self.connection)
        if reply.header("connection") == "close":
            self.connection.close()
            self.connection = None
        return reply


def wait_listening(address: str, process: subprocess.Popen[bytes], log: Path | None = None) -> None:
    host, port = address.rsplit(":", 1)
    for _ in range(4000):
        assert process.poll() is None, log.read_text() if log else f"{process.args!r} ended"
        with socket.socket() as s:
            if s.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.01)
    raise AssertionError(f"nothing listens at {address}")


@contextmanager
def running(
    command: list[str], address: str, log: Path, folder: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "NO_COLOR": "1"}, cwd=folder)
    try:
        wait_listening(address, process, log)
        yield process
    finally:
        process.kill()
        process.wait()


Step: TypeAlias = int | float | None  # answer with this status; wait so many seconds and answer 200; hang up


class Scripted:
    """An HTTP/1.1 server in a thread: it keeps the requests that it gets, and answers the first ones by its script, all
    others with 200 and no body."""

    def __init__(self, script: Sequence[Step] = (), address: str | None = None) -> None:
        self.requests: list[app.Message] = []
        self.script = list(script)
        self.address = address or addresses(1)[0]
        kept = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                kept.requests.append(app.Message([self.command, self.path], self.headers.items(), body))
                step = kept.script.pop(0) if kept.script else 200
                if step is None:
                    self.close_connection = True
                    return
                if isinstance(step, float):
                    time.sleep(step)
                with suppress(OSError):  # whoever asked may have given up
                    self.send_response(step if isinstance(step, int) else 200)
                    self.send_header("content-length", "0")
                    self.end_headers()

            do_GET = do_HEAD = do_POST = do_PUT = answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        host, port = self.address.rsplit(":", 1)
        self.server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def expect(self, count: int) -> list[app.Message]:
        """The requests, once there are so many; they are taken away. That there are no more is seen a little later."""
        end = time.monotonic() + 60
        while len(self.requests) < count and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        taken, self.requests = self.requests, []
        assert len(taken) == count, taken
        return taken


class Bench:
    """Runs proxies and stand-in applications for the length of one `with`."""

    def __init__(self, folder: Path, dataplane: str = "envoy") -> None:
        self.folder = folder
        self.dataplane = dataplane
        self.stack = ExitStack()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def can(self, what: dict[str, Any]) -> bool:
        """Whether the proxy reads what a condition compares, in that way; whether it has the operation of a rule."""
        spec = declared(SPEC.parent / self.dataplane).dataplanes[self.dataplane]
        if "operation" in what:
            return ("HttpRequest", what["operation"]) in spec.operations and self.can(what["when"])
        match what["kind"]:
            case "all" | "any":
                return all(map(self.can, what["of"]))
            case "not":
                return self.can(what["of"])
            case "compare":
                return what["op"] in (spec.reads["HttpRequest", what["attribute"]].comparisons or ())
        return True

    def application(self, address: str, version: str = "") -> None:
        number = len(list(self.folder.iterdir()))
        config = {
            "service": "cart",
            "version": version,
            "dial": {},
            "propagates": True,
            "context": CONTEXT["header"],
            "listen": address,
            "control": str(self.folder / f"{number}.s"),
        }
        command = [sys.executable, "-I", "-S", app.__file__, json.dumps(config)]
        self.stack.enter_context(running(command, address, self.folder / f"{number}.app"))

    def envoy(self, text: str, address: str) -> None:
        number = len(list(self.folder.iterdir()))
        config = self.folder / f"{number}.yaml"
        config.write_text(text, encoding="utf-8")
        command = [str(binary()), "--disable-hot-restart", "--concurrency", "1", "-l", "warning", "-c", str(config)]
        command += ["--file-flush-interval-msec", "50"]
        self.stack.enter_context(running(command, address, self.folder / f"{number}.log"))

    def haproxy(self, artifacts: Mapping[str, str], address: str) -> None:
        number = len(list(self.folder.iterdir()))
        place = self.folder / f"{number}"
        place.mkdir()
        for name, text in artifacts.items():
            (place / name).write_text(text, encoding="utf-8")
        command = haproxy.command(place / haproxy.CONFIG)
        self.stack.enter_context(running(command, address, self.folder / f"{number}.log", place))

    def proxy(self, what: dict[str, Any], address: str, spec: Path | None = None) -> None:
        """Runs the proxy of an element; `spec` is where its templates are, if they are not those that ship."""
        if spec is None:
            what, spec = emitted(what), SPEC.parent / what["dataplane"]
        if what["dataplane"] == "envoy":
            self.envoy(render(spec, what), address)
        else:
            names = (haproxy.CONFIG, haproxy.SCRIPT)
            self.haproxy({name: render(spec, what, f"{name}.j2") for name in names}, address)

    def scripted(self, *script: Step) -> Scripted:
        """A server that answers as it is told."""
        server = Scripted(script)
        self.stack.callback(server.stop)
        return server

    @property
    def output(self) -> str:
        """What the proxies have written to their standard output and error."""
        return "".join(p.read_text(errors="replace") for p in sorted(self.folder.glob("*.log")))

    def logged(self, least: int) -> list[dict[str, Any]]:
        """The requests of the log, once there are so many at least. A line that is still being written is none."""
        end = time.monotonic() + 60
        while True:
            logs = [p.read_bytes().split(b"\n")[:-1] for p in sorted(self.folder.glob("*.log"))]
            requests = [json.loads(line) for log in logs for line in log if line.startswith(b'{"')]
            if len(requests) >= least or time.monotonic() > end:
                return requests
            time.sleep(0.1)

    def sites(
        self,
        *sites: dict[str, Any],
        spec: Path | None = None,
        services: Mapping[str, str] | None = None,
        callee: str | None = None,
        dataplane: str | None = None,
    ) -> list[Client]:
        """Runs one proxy with these sites in front of one application a version; a client for each site. `services`:
        where others are that rules name. `callee`: what is there instead of applications."""
        listen = []
        for each in sites:
            at = [callee] if callee else addresses(len(each["versions"] or [""]))
            forward = [{"version": v, "address": a} for v, a in zip(each["versions"] or [""], at, strict=True)]
            for stop in forward if callee is None else []:
                self.application(stop["address"], stop["version"])
            if each["side"] == "egress":
                listen.append({"site": each["id"], "version": "", "address": addresses(1)[0], "forward": forward})
            else:
                for stop in forward:
                    address = addresses(1)[0]
                    listen.append(
                        {"site": each["id"], "version": stop["version"], "address": address, "forward": [stop]}
                    )
        others = {name: [{"version": "", "address": at}] for name, at in (services or {}).items()}
        wiring = {"listen": listen, "services": others, "admin": addresses(1)[0]}
        self.proxy(element(list(sites), wiring, dataplane=dataplane or self.dataplane), listen[-1]["address"], spec)
        return [Client(each["address"]) for each in listen]


def sleeping(seconds: float) -> tuple[str, str]:
    """The header that makes the stand-in application answer late."""
    chain = {"path": [], "method": "GET", "target": "/", "headers": [], "delay": seconds}
    return app.DEMO_HEADER, base64.b64encode(json.dumps(chain).encode()).decode()


def evaluate(cond: dict[str, Any], target: str, headers: Sequence[tuple[str, str | bytes]], version: str = "") -> bool:
    """A condition's meaning, from the language page: strings are bytes, absent compares false, fields are joined."""

    def value(attribute: str, key: str | None) -> bytes | None:
        if attribute != "header":
            path = target.split("?", 1)[0]
            raw = {"method": "GET", "target": target, "url_path": path, "target_host": "test"}[attribute]
            return raw.encode()
        found = [v if isinstance(v, bytes) else v.encode() for k, v in headers if k.lower() == key]
        return b",".join(found) if found else None

    def holds(c: dict[str, Any]) -> bool:
        match c["kind"]:
            case "all":
                return all(holds(part) for part in c["of"])
            case "any":
                return any(holds(part) for part in c["of"])
            case "not":
                return not holds(c["of"])
            case "version":
                return version in c["in"]
            case "tag":
                raw = value("header", CONTEXT["header"]) or b""
                return (int(raw, 16) if re.fullmatch(rb"[0-9a-f]{4}", raw) else 0) in c["in"]
            case "compare":
                return compared(value(c["attribute"], c["key"]), c["op"], c["value"])
        return bool(c["kind"] == "true")

    def compared(there: bytes | None, op: str, constant: Any) -> bool:
        if there is None:
            return False
        if op == "exists":
            return True
        if op == "in":
            return there in [v.encode() for v in constant]
        constant = constant.encode()
        return {
            "==": there == constant,
            "starts_with": there.startswith(constant),
            "ends_with": there.endswith(constant),
            "contains": constant in there,
            "matches": op == "matches" and re.fullmatch(constant, there) is not None,
        }[op]

    return holds(cond)
