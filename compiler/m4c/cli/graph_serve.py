"""`m4 graph show --serve`: the page with the map, from a server of this machine that knows what is deployed.

It listens at the loopback address, and only below a path that nobody can guess: other people of the machine, and pages
of other sites, do not get at it. The page is made anew each time it is loaded.
"""

from __future__ import annotations

import json
import secrets
import socketserver
import threading
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from m4c.cli import jobs
from m4c.cli.common import choose_mesh, open_workspace
from m4c.cli.errors import UsageError
from m4c.cli.graph_page import of_mesh, page

HOST = "127.0.0.1"
LIVE = "live"


def serve(path: str, mesh: str | None, listen: int) -> int:
    """Serves at a port, or at any for 0, until it is interrupted."""
    workspace = open_workspace([path])
    chosen = choose_mesh(workspace, mesh)
    watch = jobs.provided().watch(jobs.state_dir(workspace, chosen))
    turn = threading.Lock()  # one page and one look at a time

    def made() -> str:
        return page(of_mesh(open_workspace([path]), chosen), LIVE)

    def look() -> str:
        return json.dumps({"mesh": chosen, **watch.look()})

    below = f"/{secrets.token_urlsafe(12)}/"
    answers = {below: ("text/html", made), below + LIVE: ("application/json", look)}

    def answer(asked: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        status, kind, text = "404 Not Found", "text/plain", "There is nothing here.\n"
        if asked["PATH_INFO"] in answers:
            kind, make = answers[asked["PATH_INFO"]]
            try:
                with turn:
                    status, text = "200 OK", make()
            except (UsageError, OSError) as e:
                status, kind, text = "500 Internal Server Error", "text/plain", f"{e}\n"
        body = text.encode()
        start(
            status,
            [
                ("content-type", f"{kind}; charset=utf-8"),
                ("content-length", str(len(body))),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
            ],
        )
        return [body]

    try:
        server = make_server(HOST, listen, answer, _Server, _Quiet)
    except OSError as e:
        raise UsageError(f"cannot listen at {HOST}:{listen}: {e.strerror}") from None
    with server:
        print(f"the map is at http://{HOST}:{server.server_address[1]}{below} until this is interrupted", flush=True)
        server.serve_forever()
    return 0


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: a page asks every second."""
