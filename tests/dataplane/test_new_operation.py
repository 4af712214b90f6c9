"""A new operation is one declaration and one template: then it is completed, checked, planned, built, and runs."""

from __future__ import annotations

import shutil
from pathlib import Path

from m4c import project
from m4c.cli import jobs
from m4c.ide.complete import complete
from m4c.placement.plan import plan
from m4c.workspace import Workspace
from m4deploy import local
from m4deploy.client import send
from ports import free_base

ROOT = Path(__file__).resolve().parents[2]
DECLARATION = """\
        /// The size of the largest body that goes on, in bytes. Of several, the smallest.
        @outward
        attribute body_limit: int in 1.. merge min;
        /// Answers 413 to a request with a larger body.
        operation LimitBody(bytes: int) writes body_limit = bytes emits "limit_body.yaml.j2";
"""
TEMPLATE = """\
{% macro filter(rule) %}
{name: envoy.filters.http.buffer, typed_config: {
"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: {{ rule.args.bytes }}}}
{%- endmacro %}
"""
GRAPH = """\
services:
  web: {entry: true, origin: false}
  store: {origin: false}
calls:
  - [web, store]
"""
POLICIES = """\
import "envoy/spec.m4";
mesh shop {
    graph "graph.yaml";
    dataplanes envoy;
}
policy small (HttpRequest r) on * -> store when r.method == "POST" {
    r.LimitBody(10);
}
"""


def workspace(folder: Path, policies: str = POLICIES) -> Workspace:
    """A workspace with a copy of the shipped spec that has one more operation."""
    spec = folder / "envoy"
    shutil.copytree(ROOT / "specs/envoy", spec)
    text = (spec / "spec.m4").read_text()
    marker = "        operation AllowRequest"
    assert marker in text
    (spec / "spec.m4").write_text(text.replace(marker, DECLARATION + marker, 1))
    (spec / "limit_body.yaml.j2").write_text(TEMPLATE)
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text(policies)
    return Workspace([folder])


def test_it_is_checked_planned_built_and_runs(tmp_path: Path) -> None:
    ws = workspace(tmp_path / "ws")
    assert ws.problems() == []
    program = project.program(ws.db, "shop")
    assert program is not None
    (placed,) = plan(program).operations
    assert (placed.operation, placed.dataplane) == ("LimitBody", "envoy")

    made = jobs.rendered(ws, "shop", base_port=free_base())
    built = jobs.write(made, tmp_path / "built").folder
    with local.deploy(built, tmp_path / "state", foreground=True) as deployment:

        def status(method: str, body: str) -> int | None:
            return send(deployment, ["web", "store"], outside=True, method=method, body=body).status

        assert status("POST", "x" * 10) == 200
        assert status("POST", "x" * 11) == 413
        assert status("PUT", "x" * 11) == 200


def test_it_brings_its_own_conflicts(tmp_path: Path) -> None:
    more = "policy larger (HttpRequest r) on * -> web -> store { r.LimitBody(50); }\n"
    wrong = "policy none (HttpRequest r) on web -> store { r.LimitBody(0); }\n"
    found = {p.code: p for p in workspace(tmp_path, POLICIES + more + wrong).problems()}
    assert set(found) == {"merged", "type-mismatch"}
    assert set(found["merged"].policies) == {"small", "larger"}
    assert "0 is not in 1.." in found["type-mismatch"].message


def test_it_is_completed(tmp_path: Path) -> None:
    ws = workspace(tmp_path)
    file = (tmp_path / "shop.m4").as_posix()
    offset = ws.text(file).index("r.LimitBody") + len("r.")
    assert "LimitBody" in [item.proposal.label for item in complete(ws, file, offset).items]
