"""The vocabulary of requests from M4 text to real Envoys: what the policies say is what requests meet."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envoy_kit import Bench, Client, Scripted
from m4c import project
from m4c.cli import jobs
from m4c.placement.plan import plan
from m4c.workspace import Workspace
from m4deploy import local, proof
from ports import free_base

GRAPH = """\
services:
  web: {entry: true, origin: false}
  cart: {origin: false, versions: [v1, v2]}
  db: {origin: false}
  audit: {}
  shadow: {}
calls: [[web, cart], [cart, db]]
"""
MESH = """\
mesh shop {
    graph "graph.yaml";
    dataplanes envoy;
}
"""


def opened(folder: Path, policies: str) -> Workspace:
    """A workspace without errors; what merges decide may be said."""
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text(MESH + policies)
    ws = Workspace([folder])
    assert {p.code for p in ws.problems()} <= {"merged"}
    return ws


JUDGED = """
policy moved (HttpRequest r) on outside -> web when r.url_path == "/old" {
    r.Redirect("/new%20place?x=1", status: 308);
}
policy ping (HttpRequest r) on outside -> web when r.url_path == "/ping" {
    r.Respond(200, "[not JSON", "application/json");
}
policy busy (HttpRequest r) on web -> cart when r.header["x-busy"] == "1" {
    r.Respond(503, "busy");
}
policy closed (HttpRequest r) on * -> db when r.method == "DELETE" { r.DropRequest(405); }

policy seen (HttpRequest r) on * -> web { r.SetHeader("x-seen", "web"); }
policy via (HttpRequest r) on outside -> web -> cart { r.AppendHeader("via", "1.1 mesh"); }
policy via_more (HttpRequest r) on * -> cart when exists r.header["via"] { r.AppendHeader("via", "1.1 edge"); }
policy hide (HttpRequest r) on web -> cart when r.header["x-keep"] != "1" { r.RemoveHeader("x-debug"); }
policy show (HttpRequest r) on * -> cart when exists r.header["x-debug"] after hide { r.SetHeader("x-debugs", "1"); }

policy short (HttpRequest r) on * -> cart -> db when r.url_path == "/c" { r.RewriteTarget("/carts?short=1"); }
policy direct (HttpRequest r) on * -> cart -> db when r.target == "/carts?short=1" after short {
    r.SetHeader("x-short", "1");
}
policy canary (HttpRequest r) on web -> cart when r.url_path == "/c" { r.Split({ v1: 0%, v2: 100% }); }
policy limit (HttpRequest r) on * -> cart -> db { r.SetTimeout(2s); r.Retry(1); r.SetAttemptTimeout(1s); }
"""


def test_a_deployed_mesh_does_what_the_interpreter_says(tmp_path: Path) -> None:
    ws = opened(tmp_path, JUDGED)
    program = project.program(ws.db, "shop")
    assert program is not None
    made = plan(program)
    assert made.unenforceable == ()
    built = jobs.write(jobs.rendered(ws, "shop", base_port=free_base()), tmp_path / "built").folder
    rows = []
    with local.deploy(built, tmp_path / "state", foreground=True) as deployment:
        for path, request in proof.requests(program):
            rows.append(proof.check(program, made, deployment, path, request))
    assert [row for row in rows if not row.same] == []
    assert len(rows) >= 40
    seen = {row.seen for row in rows}
    assert {"308 at web", "200 at web", "503 at cart", "405 at db", "504 at db"} <= seen
    assert any("via: " in text and "1.1 edge,1.1 mesh" in text for text in seen)
    assert any("x-debug: absent" in text for text in seen)


# --- what the interpreter cannot judge by one request ---------------------------------------------------------------


@dataclass
class Mesh:
    """Compiled policies, their Envoys, and servers of the test in place of the applications."""

    services: dict[str, Scripted]
    client: Client
    bench: Bench


@contextmanager
def compiled(folder: Path, policies: str) -> Iterator[Mesh]:
    ws = opened(folder, policies)
    built = jobs.write(jobs.rendered(ws, "shop", base_port=free_base()), folder / "built").folder
    wiring = json.loads((built / "wiring.json").read_text())
    (folder / "run").mkdir()
    with Bench(folder / "run") as bench:
        services = {}
        for name, about in wiring["services"].items():
            for version, address in about["app"].items():
                server = services[f"{name}:{version}" if version else name] = Scripted(address=address)
                bench.stack.callback(server.stop)
        for element in wiring["elements"]:
            config = built / element["dataplane"] / element["service"] / "envoy.yaml"
            bench.envoy(config.read_text(), wiring["services"][element["service"]]["listen"][0]["address"])
        yield Mesh(services, Client(wiring["services"]["web"]["entry"][0]), bench)


DELAYED = 1.8  # seconds that a delay of 2s takes at least: Envoy's timers and the clock of the tests are not the same
SHOWN = """
policy moved (HttpRequest r) on outside -> web when r.url_path == "/old" { r.Redirect("/new"); }
policy denied (HttpRequest r) on outside -> web when r.header["x-role"] == "guest" overrides moved { r.DropRequest(); }
policy copies (HttpRequest r) on outside -> web { r.Mirror(audit); }
policy more_copies (HttpRequest r) on * -> web when r.method == "POST" { r.Mirror(shadow); }
policy slow (HttpRequest r) on * -> web when r.url_path starts_with "/slow" { r.Delay(2s); }
policy broken (HttpRequest r) on * -> web when r.header["x-break"] == "1" { r.Abort(502); }
policy kept (HttpRequest r) on outside -> web { r.LogSample(); }
policy set (HttpRequest r) on * -> web { r.SetHeader("x-seen", "1"); r.SetHost("web.internal"); }
"""


def test_what_ends_a_request_shows_nothing_else(tmp_path: Path) -> None:
    """A redirect or a denial under a condition, beside all that shows by itself."""
    with compiled(tmp_path, SHOWN) as mesh:
        web, audit, shadow = (mesh.services[name] for name in ("web", "audit", "shadow"))
        for target, headers, status in (
            ("/old", [("x-break", "1")], 302),
            ("/slow", [("x-role", "guest"), ("x-break", "1")], 403),
        ):
            begin = time.monotonic()
            reply = mesh.client.send(target, headers, method="POST", body=b"x")
            assert reply.status == status
            assert time.monotonic() - begin < DELAYED
        for server in (web, audit, shadow):
            server.expect(0)

        begin = time.monotonic()
        assert mesh.client.send("/slow?x", method="POST", body=b"body").status == 200
        assert time.monotonic() - begin >= DELAYED
        for server in (web, audit, shadow):
            (seen,) = server.expect(1)
            assert (seen.start, seen.body, seen.header("x-seen")) == (["POST", "/slow?x"], b"body", "1")
            assert seen.header("host") == "web.internal"
        assert mesh.client.send("/", [("x-break", "1")]).status == 502
        assert mesh.client.send("/").status == 200
        web.expect(1)
        audit.expect(1)
        shadow.expect(0)
        lines = mesh.bench.logged(3)
        assert [(line["policy"], line["target"], line["status"]) for line in lines] == [
            ("kept", "/slow?x", 200),
            ("kept", "/", 502),
            ("kept", "/", 200),
        ]
