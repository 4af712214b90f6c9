"""Elements written by hand, the real Envoy that runs them, and raw HTTP/1.1 to send through it."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from m4deploy import app
from m4deploy.drivers.envoy import binary

SPEC = Path(__file__).resolve().parents[2] / "specs" / "envoy"
CONTEXT = {"header": "m4-ctx", "width": 4}
TRUE = {"kind": "true"}

_taken: set[int] = set()


def addresses(n: int) -> list[str]:
    """Free addresses of this machine, none handed out twice."""
    out: list[str] = []
    while len(out) < n:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        if port not in _taken:
            _taken.add(port)
            out.append(f"127.0.0.1:{port}")
    return out


def compare(op: str, value: Any, key: str | None = "x", attribute: str = "header") -> dict[str, Any]:
    named = key if attribute == "header" else None
    return {"kind": "compare", "attribute": attribute, "key": named, "op": op, "value": value}


def rule(ident: int, operation: str, args: dict[str, Any], when: dict[str, Any] = TRUE) -> dict[str, Any]:
    """A rule of one of the operations of core.m4, as the compiler resolves it."""
    emits, writes, terminal = {
        "AllowRequest": ("allow.yaml.j2", [("verdict", None, "allow")], False),
        "DropRequest": ("drop.yaml.j2", [("verdict", None, "deny"), ("status", None, args.get("status"))], True),
        "SetHeader": ("set_header.yaml.j2", [("header", str(args.get("name")).lower(), args.get("value"))], False),
        "RemoveHeader": ("remove_header.yaml.j2", [("header", str(args.get("name")).lower(), None)], False),
        "Split": ("split.yaml.j2", [("route", None, args.get("versions"))], False),
        "SetTimeout": ("timeout.yaml.j2", [("timeout", None, args.get("limit"))], False),
    }[operation]
    return {
        "id": ident,
        "policy": f"p{ident}",
        "operation": operation,
        "emits": emits,
        "args": args,
        "writes": [{"attribute": a, "key": k, "value": v} for a, k, v in writes],
        "terminal": terminal,
        "when": when,
    }


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
        "versions": [],
        "rules": rules,
        "tags": None,
        **more,
    }


def element(sites: list[dict[str, Any]], wiring: dict[str, Any], service: str = "cart") -> dict[str, Any]:
    about = {"mesh": "shop", "service": service, "dataplane": "envoy", "context": CONTEXT}
    return {**about, "wiring": wiring, "sites": sites}


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
            self.connection = socket.create_connection((host, int(port)), timeout=20)
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
def running(command: list[str], address: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, "NO_COLOR": "1"})
    try:
        wait_listening(address, process, log)
        yield process
    finally:
        process.kill()
        process.wait()


class Bench:
    """Runs Envoys and stand-in applications for the length of one `with`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = ExitStack()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

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
        self.stack.enter_context(running(command, address, self.folder / f"{number}.log"))

    def sites(self, *sites: dict[str, Any], spec: Path = SPEC) -> list[Client]:
        """Runs one Envoy with these sites in front of one application a version; a client for each site."""
        listen = []
        for each in sites:
            forward = [{"version": v, "address": a} for v in each["versions"] or [""] for a in addresses(1)]
            for stop in forward:
                self.application(stop["address"], stop["version"])
            if each["side"] == "egress":
                listen.append({"site": each["id"], "version": "", "address": addresses(1)[0], "forward": forward})
            else:
                for stop in forward:
                    address = addresses(1)[0]
                    listen.append(
                        {"site": each["id"], "version": stop["version"], "address": address, "forward": [stop]}
                    )
        wiring = {"app": {}, "listen": listen, "remote": {}, "dial": {}, "entry": [], "admin": addresses(1)[0]}
        self.envoy(render(spec, element(list(sites), wiring)), listen[-1]["address"])
        return [Client(each["address"]) for each in listen]


def sleeping(seconds: float) -> tuple[str, str]:
    """The header that makes the stand-in application answer late."""
    chain = {"path": [], "method": "GET", "target": "/", "headers": [], "delay": seconds}
    return app.DEMO_HEADER, base64.b64encode(json.dumps(chain).encode()).decode()


def evaluate(cond: dict[str, Any], target: str, headers: Sequence[tuple[str, str | bytes]], version: str = "") -> bool:
    """A condition's meaning, from the language page: strings are bytes, absent compares false, fields are joined."""

    def value(attribute: str, key: str | None) -> bytes | None:
        if attribute != "header":
            raw = {"method": "GET", "target": target, "url_path": target.split("?", 1)[0]}[attribute]
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
