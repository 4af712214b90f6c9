"""Tests of M4 are run as queries: an edit runs again what it can change, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from m4c import project, testing
from m4c.workspace import Workspace

GRAPH = """
services:
  web: {entry: true}
  cart: {}
  mail: {}
  post: {}
calls: [[web, cart], [web, mail], [cart, mail], [mail, post]]
"""
MESH = 'mesh shop { graph "graph.yaml"; dataplanes envoy; }\n'
CART = 'policy cart (HttpRequest r) on * -> cart { r.SetHeader("x-at", "cart"); }\n'
MAIL = 'policy mail (HttpRequest r) on * -> mail { r.SetHeader("x-at", "mail"); }\n'
TESTS = """
test "to the cart" { request GET "/" on web -> cart; expect header["x-at"] = "cart"; }
test "to the mail" { request GET "/" on web -> cart -> mail; expect header["x-at"] = "mail"; }
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "graph.yaml").write_text(GRAPH)
    for name, text in (("mesh", MESH), ("cart", CART), ("mail", MAIL), ("tests", TESTS)):
        (tmp_path / f"{name}.m4").write_text(text)
    return Workspace([tmp_path])


def edit(workspace: Workspace, name: str, text: str) -> None:
    workspace.set_text((workspace.paths[0] / f"{name}.m4").as_posix(), text)


def ran(workspace: Workspace) -> tuple[list[str], list[str]]:
    """The tests that are run for an answer, and the messages of those that fail."""
    workspace.db.log = []
    failed = [p.message for p in testing.failures(workspace.db, "shop")]
    names = [k.args[0].key for k in workspace.db.log if k.name == "testing.result"]  # type: ignore[attr-defined]
    return names, failed


def test_an_edit_runs_the_tests_that_pass_where_the_policy_fires(workspace: Workspace) -> None:
    assert ran(workspace) == (["test:to the cart", "test:to the mail"], [])
    edit(workspace, "mail", MAIL.replace('"mail")', '"post")'))
    tests, failed = ran(workspace)
    assert tests == ["test:to the mail"]
    assert failed == ['expected header["x-at"] = "mail", but it is "post" on cart -> mail: `mail` writes it']
    edit(workspace, "mail", MAIL)
    assert ran(workspace) == (["test:to the mail"], [])


def test_what_only_moves_or_is_said_elsewhere_runs_nothing(workspace: Workspace) -> None:
    ran(workspace)
    edit(workspace, "mail", f"// A comment above it.\n\n{MAIL}")
    edit(workspace, "tests", f"// And here.\n{TESTS}")
    assert ran(workspace) == ([], [])


def test_an_edited_test_alone_is_run(workspace: Workspace) -> None:
    ran(workspace)
    edit(workspace, "tests", TESTS.replace('= "cart"', '= "card"'))
    tests, failed = ran(workspace)
    assert tests == ["test:to the cart"]
    assert len(failed) == 1


def test_a_policy_that_cannot_be_read_stops_all_tests(workspace: Workspace) -> None:
    edit(workspace, "mail", MAIL.replace("SetHeader", "SetHedder"))
    assert ran(workspace)[1] == []
    assert not testing.sound(workspace.db, "shop")
    refs = project.test_refs(workspace.db, "shop")
    assert [testing.result(workspace.db, ref, "shop") for ref in refs] == [None, None]


@pytest.mark.parametrize(
    "policies",
    [
        pytest.param(
            'policy a (HttpRequest r) on * -> mail after b { r.SetHeader("x", "1"); }\n'
            'policy b (HttpRequest r) on * -> mail after a { r.SetHeader("x", "2"); }\n',
            id="order cycle",
        ),
        pytest.param(MAIL.replace("-> mail", '-> mail when r.url_path matches r"("'), id="regular expression"),
        pytest.param(MAIL.replace("-> mail", "-> mail when"), id="syntax"),
        pytest.param(MAIL + MAIL, id="twice"),
    ],
)
def test_no_broken_program_is_run(workspace: Workspace, policies: str) -> None:
    edit(workspace, "mail", policies)
    found = [p.code for p in workspace.problems()]
    assert found
    assert "failed-test" not in found


def test_an_order_holds_through_policies_that_are_elsewhere(workspace: Workspace) -> None:
    """`a` overrides `c` by way of `b`, which cannot fire where the two meet."""
    edit(
        workspace,
        "mail",
        'policy a (HttpRequest r) on * -> mail overrides b { r.SetHeader("x-at", "a"); }\n'
        'policy b (HttpRequest r) on * -> post overrides c { r.SetHeader("x-b", "b"); }\n'
        'policy c (HttpRequest r) on * -> mail { r.SetHeader("x-at", "c"); }\n',
    )
    assert ran(workspace)[1] == ['expected header["x-at"] = "mail", but it is "a" on cart -> mail: `a` writes it']


def test_policies_are_named_in_the_order_of_the_text(workspace: Workspace) -> None:
    """Also those that are collected from several services."""
    policies = [
        'policy only_mail (HttpRequest r) on * -> mail { r.SetHeader("x-1", "1"); }',
        'policy both (HttpRequest r) on * -> (cart | mail) { r.SetHeader("x-2", "1"); }',
        'policy only_cart (HttpRequest r) on * -> cart { r.SetHeader("x-3", "1"); }',
        'policy everywhere (HttpRequest r) on * { r.SetHeader("x-4", "1"); }',
    ]
    edit(workspace, "mail", "\n".join(policies))
    along = testing.program_along(workspace.db, "shop", ("web", "cart", "mail"))
    assert along is not None
    fired = [p.name for p in along.policies if p.name != "cart"]
    assert fired.index("only_mail") < fired.index("both") < fired.index("everywhere")
    assert fired.index("both") < fired.index("only_cart") < fired.index("everywhere")
    assert len(fired) == 4
