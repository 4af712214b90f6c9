"""Sends one chain of requests along a call path of a deployed mesh, and tells what became of every hop."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from m4deploy.app import ANSWERED_HEADER, DEMO_HEADER, DENIED_HEADER, told
from m4deploy.errors import DeployError
from m4deploy.local import Deployment
from m4deploy.processes import split_address
from m4deploy.state import connect

Headers = Sequence[tuple[str, str]]
Answer: TypeAlias = tuple[int, Headers]  # status and header fields
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as the application received it."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str

    def header(self, name: str) -> str | None:
        return header(self.headers, name)


def header(fields: Headers, name: str) -> str | None:
    """The value of a header field, repeated ones joined by a comma."""
    values = [value for key, value in fields if key.lower() == name.lower()]
    return ",".join(values) if values else None


@dataclass(frozen=True, slots=True)
class HopSeen:
    """What became of one hop: `request`, `version` are the callee's, None if it was not reached or did not answer.

    `status` and `headers` are what the caller got, without a status if there was no answer at all (`error` says why).
    """

    hop: tuple[str | None, str]
    reached: bool
    status: int | None
    denied_by: str | None
    version: str | None = None
    request: Seen | None = None
    error: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    number: int = 0  # which one it was on the callee's connection, from 1 on


@dataclass(frozen=True, slots=True)
class Observed:
    """The hops that were tried, in order; `status` and `denied_by` are those of the last one."""

    hops: tuple[HopSeen, ...]

    @property
    def status(self) -> int | None:
        return self.hops[-1].status

    @property
    def denied_by(self) -> str | None:
        """The dataplane that answered in place of the service."""
        return self.hops[-1].denied_by


def send(
    deployment: Deployment,
    path: Sequence[str],
    *,
    outside: bool,
    method: str = "GET",
    target: str = "/",
    headers: Headers = (),
    body: str = "",
    delay: float = 0.0,
    version: str | None = None,
    answer: Answer | None = None,
    first: Headers = (),
) -> Observed:
    """Sends requests along `path`, the services in order: from outside to its first one, or by that one itself.

    Every hop's request has the same method, target, headers and body, and what the service before hands on. `version`:
    which version of the first service starts a chain by itself. The last service answers after `delay` seconds, and all
    of them as `answer` says. `first`: more headers, of a request from outside only.
    """
    if not path or (len(path) == 1 and not outside):
        raise ValueError("a path needs a hop")
    chain = {"method": method, "target": target, "headers": [list(h) for h in headers], "body": body, "delay": delay}
    if answer is not None:
        chain["answer"] = {"status": answer[0], "headers": [list(h) for h in answer[1]]}
    if outside:
        entries = deployment.built.services[path[0]]["entry"]
        if not entries:
            raise DeployError(f"{path[0]} is no entry: no request from outside can reach it.")
        reply = _from_outside(entries[0], {**chain, "path": list(path[1:])}, first)
        callers: list[str | None] = [None, *path[:-1]]
        callees = list(path)
    else:
        reply = _by_itself(deployment, path[0], version, {**chain, "path": list(path[1:])})
        callers, callees = list(path[:-1]), list(path[1:])
    hops = []
    for hop in zip(callers, callees, strict=True):
        hops.append(_hop(hop, reply))
        inner = reply.get("body") if hops[-1].reached else None
        following = inner.get("next") if isinstance(inner, Mapping) else None
        if following is None:
            break
        reply = following
    return Observed(tuple(hops))


def _hop(hop: tuple[str | None, str], reply: Mapping[str, Any]) -> HopSeen:
    body = reply.get("body")
    if not isinstance(body, Mapping) or "request" not in body:
        return HopSeen(hop, False, reply.get("status"), reply.get("denied_by"), error=reply.get("error"))
    request = body["request"]
    fields = tuple((name, value) for name, value in request["headers"])
    seen = Seen(request["method"], request["target"], fields, request["body"])
    came = tuple((name, value) for name, value in reply["headers"])
    return HopSeen(hop, True, reply["status"], None, body["version"], seen, headers=came, number=body["number"])


def _from_outside(address: str, chain: Mapping[str, Any], first: Headers) -> dict[str, Any]:
    """A request to an entry; the answer as the stand-in applications report theirs."""
    connection = http.client.HTTPConnection(*split_address(address), timeout=_SECONDS)
    try:
        connection.putrequest(chain["method"], chain["target"], skip_accept_encoding=True, skip_host=True)
        given = {name.lower() for name, _ in chain["headers"]}
        for name, value in (*chain["headers"], *first):
            connection.putheader(name, value.encode("latin-1"))
        if "host" not in given:
            connection.putheader("host", address)
        body = chain["body"].encode("latin-1")
        if body:
            connection.putheader("content-length", str(len(body)))
        if chain["path"] or chain["delay"] or "answer" in chain:
            connection.putheader(DEMO_HEADER, base64.b64encode(json.dumps(chain).encode()).decode())
        connection.endheaders(body or None)
        reply = connection.getresponse()
        text = reply.read().decode("latin-1")
    except (OSError, http.client.HTTPException) as error:
        return {"error": f"{address}: {error}"}
    finally:
        connection.close()
    denied_by = reply.getheader(DENIED_HEADER)
    by_mesh = denied_by or reply.getheader(ANSWERED_HEADER)
    body = text if by_mesh else told(text)
    return {"status": reply.status, "denied_by": denied_by, "headers": reply.getheaders(), "body": body}


def _by_itself(deployment: Deployment, service: str, version: str | None, chain: Mapping[str, Any]) -> dict[str, Any]:
    """Tells a process of the service to start the chain."""
    control = {v: path for (s, v), path in deployment.control.items() if s == service}
    chosen = version if version is not None else next(iter(control), "")
    if chosen not in control:
        raise DeployError(f"There is no process of {service}" + (f" {version}." if version else "."))
    try:
        with connect(control[chosen]) as connection:
            connection.settimeout(_SECONDS)
            order = json.dumps(chain).encode()
            connection.sendall(b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(order))
            connection.sendall(order)
            reply = b"".join(iter(lambda: connection.recv(65536), b""))
    except OSError as error:
        raise DeployError(f"The application {service} does not take orders.", str(error)) from error
    answer = json.loads(reply.split(b"\r\n\r\n", 1)[1])["next"]
    return dict(answer)
