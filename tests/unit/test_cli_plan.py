"""What `m4 plan` answers: why, what if, and what a deployment would change."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_kit import BOUTIQUE, m4, write
from m4c.backends.wiring import BASE_PORT
from m4c.cli import jobs
from m4c.cli.planning import text_against
from m4c.workspace import Workspace

GRAPH = "services: {web: {entry: true, origin: false}, cart: {origin: false}, db: {origin: false}}\n"
GRAPH += "calls: [[web, cart], [cart, db]]\n"
MESH = 'mesh shop { graph "graph.yaml"; dataplanes ebpf, envoy; }\n'
POLICIES = """
policy shut (HttpRequest r) on * -> db { r.DropRequest(); }
policy open (HttpRequest r) on * -> db when r.method == "GET" overrides shut { r.AllowRequest(); }
policy named (HttpRequest r) on * -> web -> cart { r.SetHeader("x", "1"); }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, {"graph.yaml": GRAPH, "shop.m4": MESH + POLICIES})
    return tmp_path


def test_why_says_what_is_needed_and_what_else_would_cost(folder: Path) -> None:
    kernel = m4("plan", folder, "--why", "cart")
    assert (kernel.code, kernel.err) == (0, "")
    assert "cart: e" in kernel.out
    assert "shut: DropRequest on cart -> db" in kernel.out
    proxy = m4("plan", BOUTIQUE, "--why", "checkoutservice")
    assert "ebpf at checkoutservice has no Split" in proxy.out
    assert "without it this could not be enforced: payment_timeout on " in proxy.out
    nothing = m4("plan", folder, "--why", "db")
    assert nothing.out.startswith("db: nothing is needed\n    shut: DropRequest of cart -> db runs at cart")


def test_without_a_policy_at_other_costs_and_with_pins(folder: Path) -> None:
    as_things_are = m4("plan", folder).out
    less = m4("plan", folder, "--without", "named")
    assert (less.code, less.err) == (0, "")
    assert "costs 49 less than the plan as things are (50)\n+ cart: ebpf\n- cart: envoy" in less.out
    dear = m4("plan", folder, "--cost", "envoy=70")
    assert "costs 20 more than the plan as things are (50)\nthe same elements" in dear.out
    busy = m4("plan", folder, "--cost", "envoy=60 + 5 per 10/s")
    assert "costs 10 more than the plan as things are (50)" in busy.out, "the graph has no rates"
    pinned = m4("plan", folder, "--pin", "cart=none", "--pin", "web=envoy")
    assert "costs 50 more than the plan as things are (50)\n+ db: envoy\n+ web: envoy\n- cart: envoy" in pinned.out
    assert m4("plan", folder).out == as_things_are, "nothing was changed"


def test_rates_that_the_graph_lacks_are_said(folder: Path) -> None:
    said = "the graph has no rate for 1 call, whose requests are not in the costs"
    assert said not in m4("plan", folder).out
    calls = "calls: [{from: web, to: cart, rps: 10}, [cart, db]]\n"
    (folder / "graph.yaml").write_text(GRAPH[: GRAPH.index("calls:")] + calls)
    assert said in m4("plan", folder).out


def test_what_cannot_be_had_is_said(folder: Path) -> None:
    shut = m4("plan", folder, "--pin", "web=none", "--pin", "cart=none")
    assert "`named` could not be enforced on outside -> web -> cart" in shut.out


def test_policies_that_contradict_without_another_have_no_plan(tmp_path: Path) -> None:
    third = 'policy last (HttpRequest r) on * -> db overrides one, two { r.SetHeader("x", "3"); }\n'
    two = "".join(f'policy {n} (HttpRequest r) on * -> db {{ r.SetHeader("x", "{n}"); }}\n' for n in ("one", "two"))
    write(tmp_path, {"graph.yaml": GRAPH, "shop.m4": MESH + two + third})
    assert m4("plan", tmp_path).code == 0
    done = m4("plan", tmp_path, "--without", "last")
    assert done.code == 2
    assert "without `last` there is no plan" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--why", "crt"], "`crt` is no service of the graph; did you mean `cart`?"),
        (["--without", "shutt"], "`shutt` is no policy; did you mean `shut`?"),
        (["--cost", "envoyy=3"], "`envoyy` is no dataplane of the mesh; did you mean `envoy`?"),
        (["--cost", "envoy=cheap"], "a cost is a whole number"),
        (["--cost", "envoy=5 + 1 per 0/s"], "a cost is a whole number"),
        (["--cost", "envoy"], "--cost takes NAME=VALUE"),
        (["--pin", "cart=nginx"], "`nginx` is no dataplane of the mesh"),
        (["--why", "cart", "--format", "json"], "--format json is for the plan alone"),
    ],
)
def test_names_that_the_mesh_lacks_are_usage_errors(folder: Path, options: list[str], said: str) -> None:
    done = m4("plan", folder, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


def test_what_a_deployment_would_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    done = m4("plan", folder, "--diff")
    assert (done.code, done.err) == (0, "")
    assert "is not deployed: 1 element would come" in done.out


def test_the_elements_and_artifacts_that_differ_from_what_is_in_force(folder: Path) -> None:
    assert m4("build", folder, "-o", folder / "out").code == 0
    workspace = Workspace([folder])

    def against() -> list[str]:
        program, plan = jobs.planned(workspace, "shop")
        return text_against(folder / "out", workspace, program, plan, BASE_PORT).splitlines()

    assert against() == ["the same elements", "the same artifacts are in force already"]
    text = MESH + POLICIES.replace('"x", "1"', '"x", "2"')
    workspace.set_text((folder / "shop.m4").as_posix(), text)
    same, artifacts, *listed = against()
    assert (same, artifacts) == ("the same elements", "artifacts: 1 changed")
    assert [line.split()[0] for line in listed] == ["changed"] and listed[0].endswith("envoy.yaml")
    workspace.set_text((folder / "shop.m4").as_posix(), text.split("policy named")[0])
    fewer = against()
    assert any(line.startswith("- ") and line.endswith(": envoy") for line in fewer)
    assert any(line.startswith("    gone") and line.endswith("envoy.yaml") for line in fewer)
