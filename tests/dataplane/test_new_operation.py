"""A new operation is one declaration and one template: then it is completed, checked, planned, built, and runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from m4c import project
from m4c.cli import jobs
from m4c.ide.complete import complete
from m4c.placement.plan import plan
from m4c.workspace import Workspace
from m4deploy import local
from m4deploy.client import send

ROOT = Path(__file__).resolve().parents[2]
DECLARATION = (
    '        operation RemoveHeader(name: istring) writes header[name] = absent emits "remove_header.yaml.j2";\n'
)
TEMPLATE = """\
{% import "lib.yaml.j2" as lib with context %}
{% macro filter(rule) %}
{{ lib.header_mutation([lib.remove_header(rule.args.name)]) }}
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
policy hide (HttpRequest r) on * -> store when r.method == "GET" {
    r.RemoveHeader("x-secret");
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
    (spec / "remove_header.yaml.j2").write_text(TEMPLATE)
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "shop.m4").write_text(policies)
    return Workspace([folder])


def test_it_is_checked_planned_built_and_runs(tmp_path: Path) -> None:
    ws = workspace(tmp_path / "ws")
    assert ws.problems() == []
    program = project.program(ws.db, "shop")
    assert program is not None
    (placed,) = plan(program).operations
    assert (placed.operation, placed.dataplane) == ("RemoveHeader", "envoy")

    made = jobs.rendered(ws, "shop", base_port=23500)
    built = jobs.write(made, tmp_path / "built").folder
    with local.deploy(built, tmp_path / "state", foreground=True) as deployment:
        path, headers = ["web", "store"], [("x-secret", "1"), ("x-other", "2")]
        hidden = send(deployment, path, outside=True, headers=headers).hops[-1].request
        shown = send(deployment, path, outside=True, method="POST", headers=headers).hops[-1].request
    assert hidden is not None
    assert shown is not None
    assert (hidden.header("x-secret"), hidden.header("x-other")) == (None, "2")
    assert shown.header("x-secret") == "1"


def test_it_brings_its_own_conflicts(tmp_path: Path) -> None:
    more = 'policy show (HttpRequest r) on web -> store { r.SetHeader("X-Secret", "1"); }\n'
    more = more.replace("web -> store", "* -> web -> store")
    ws = workspace(tmp_path, POLICIES + more)
    (found,) = ws.problems()
    assert found.code == "contradiction"
    assert set(found.policies) == {"hide", "show"}
    assert json.dumps(found.message)


def test_it_is_completed(tmp_path: Path) -> None:
    ws = workspace(tmp_path)
    file = (tmp_path / "shop.m4").as_posix()
    offset = ws.text(file).index("r.RemoveHeader") + len("r.")
    assert "RemoveHeader" in [item.proposal.label for item in complete(ws, file, offset).items]
