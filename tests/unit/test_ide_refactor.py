"""Rewritings: what is offered where, what it makes of the text, and that the new text means what the old one did."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from m4c.ide.actions import actions
from m4c.ide.edits import apply_edits
from m4c.workspace import Workspace

FILES = {
    "graph.yaml": (
        "services:\n  web: {entry: true}\n  cart: {labels: {team: shop, kind: app}}\n"
        "  pay: {labels: {team: money, kind: app}}\n  mail: {labels: {team: shop, kind: app}}\n  db: {}\n"
        "calls:\n  - [web, cart]\n  - [web, pay]\n  - [web, mail]\n  - [cart, db]\n  - [pay, db]\n  - [mail, db]\n"
    ),
    "mesh.m4": 'mesh shop {\n    graph "graph.yaml";\n    dataplanes envoy;\n    group taken = { cart };\n}\n',
}
CALM = "policy calm (HttpRequest r) on * -> db { r.SetTimeout(1s); }\n"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def test_a_group_is_made_of_the_services_of_a_pattern(desk: Desk) -> None:
    made = desk.rewritten('policy p (HttpRequest r) on web -> (cart | p$0ay) -> db { r.SetHeader("x", "1"); }\n')
    assert made["Extract group `cart_or_pay`"] == {
        "here.m4": 'policy p (HttpRequest r) on web -> @cart_or_pay -> db { r.SetHeader("x", "1"); }\n',
        "mesh.m4": FILES["mesh.m4"].replace("};\n}", "};\n    group cart_or_pay = { cart, pay };\n}"),
    }
    assert sound(desk, made["Extract group `cart_or_pay`"])


def test_a_group_in_a_mesh_of_one_line_and_of_what_is_excluded(tmp_path: Path) -> None:
    files = {**FILES, "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes envoy; group cart_or_pay = { cart }; }\n'}
    desk = Desk(tmp_path, files)
    made = desk.rewritten("policy p (HttpRequest r) on !(cart$0 | pay) -> db { r.SetTimeout(1s); }\n")
    changed = made["Extract group `cart_or_pay_2`"]
    assert changed["mesh.m4"].endswith("group cart_or_pay = { cart }; group cart_or_pay_2 = { cart, pay }; }\n")
    assert "on !@cart_or_pay_2 -> db" in changed["here.m4"]
    assert sound(desk, changed)


def test_a_policy_is_split_by_the_teams_of_its_callers(desk: Desk) -> None:
    text = (
        "/// Not for long.\n"
        "policy p (HttpRequest r) on (cart | pay$0 | mail) -> db overrides calm { r.SetTimeout(2s); }\n"
        f"{CALM}policy q (HttpRequest r) on cart -> db overrides p, calm {{ r.SetTimeout(3s); }}\n"
    )
    made = desk.rewritten(text)
    assert set(made) == {"Extract group `cart_or_pay_or_mail`", "Split `p` by `team` into 2"}
    changed = made["Split `p` by `team` into 2"]
    assert changed["here.m4"] == (
        '/// Not for long.\n@owner("shop")\n'
        "policy p_shop (HttpRequest r) on (cart | mail) -> db overrides calm { r.SetTimeout(2s); }\n\n"
        '/// Not for long.\n@owner("money")\n'
        "policy p_money (HttpRequest r) on pay -> db overrides calm { r.SetTimeout(2s); }\n"
        f"{CALM}policy q (HttpRequest r) on cart -> db overrides p_shop, p_money, calm {{ r.SetTimeout(3s); }}\n"
    )
    assert sound(desk, changed)


def test_an_owner_that_is_named_is_replaced(desk: Desk) -> None:
    made = desk.rewritten('@owner("all")\npolicy p (HttpRequest r) on web -> (cart | $0pay) { r.SetTimeout(2s); }\n')
    (text,) = made["Split `p` by `team` into 2"].values()
    assert '@owner("shop")\npolicy p_shop' in text and '@owner("money")\npolicy p_money' in text
    assert '@owner("all")' not in text


@pytest.mark.parametrize(
    "pattern",
    [
        "web -> (cart | pay$0) -> db",  # a path may pass several of them, if the graph lets it: only ends are sure
        "(cart | m$0ail) -> db",  # of one team
        "(cart | web$0) -> db",  # not everybody has one
        "(cart | pay$0)* -> db",
    ],
)
def test_what_is_not_split(desk: Desk, pattern: str) -> None:
    made = desk.rewritten(f"policy p (HttpRequest r) on {pattern} {{ r.SetTimeout(1s); }}\n")
    assert not [title for title in made if title.startswith("Split")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("after ca$0lm", "overrides calm"),
        ("after ca$0lm, low", "overrides calm after low"),
        ("overrides low after ca$0lm", "overrides low, calm"),
    ],
)
def test_after_becomes_overrides(desk: Desk, before: str, after: str) -> None:
    rest = f"{CALM}policy low (HttpRequest r) on * -> pay {{ r.SetTimeout(1s); }}\n"
    made = desk.rewritten(f"policy p (HttpRequest r) on cart -> db {before} {{ r.SetTimeout(1s); }}\n{rest}")
    changed = made["Override `calm` instead of coming after it"]
    assert f"on cart -> db {after} {{" in changed["here.m4"]
    assert sound(desk, changed)


def test_a_policy_for_the_call_path_of_a_test(desk: Desk) -> None:
    test = 'test "t" { request GET "/" on outside -> web -> ca$0rt; expect allow; }\n'
    made = desk.rewritten(f"{CALM}\n{test}")
    changed = made["Create policy `on_cart` for this call path"]
    new = "policy on_cart (HttpRequest h) on outside -> web -> cart\n{\n}\n\n"
    assert changed["here.m4"] == f"{CALM}\n{new}{test.replace('$0', '')}"
    assert sound(desk, changed)


@pytest.mark.parametrize(
    "text",
    [
        "$0",
        "$0policy p (HttpRequest r) on web -> (cart | pay) { r.SetTimeout(1s); }",
        "policy p (HttpRequest r) on web -> (cart | pay) { r.SetTim$0eout(1s); }",
        "policy p (HttpRequest r) on web -> (cart | pa$0y { r.SetTimeout(1s); }",
        "policy p (HttpRequest r) on web -> (cart | @ta$0ken) { r.SetTimeout(1s); }",
        "policy p (HttpRequest r) on web -> (cart:v1 | pa$0y) { r.SetTimeout(1s); }",
        'test "t" { request GE$0T "/" on web -> cart; }',
        'test "$0',
        "mesh shop { $0 }",
    ],
)
def test_where_there_is_nothing_to_rewrite(desk: Desk, text: str) -> None:
    assert desk.rewritten(text) == {}


def test_an_unknown_name_of_a_file_beside_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "policies.m4").write_text("policy base (HttpRequest r) on * -> db { r.DropRequest(); }\n")
    workspace, file = Workspace([]), (tmp_path / "here.m4").as_posix()
    text = "policy p (HttpRequest r) on * -> db overrides base { r.DropRequest(); }\n"
    workspace.set_text(file, text)
    at = text.index("base")
    (found,) = [a for a in actions(workspace, file, at, at) if a.title.startswith("Import")]
    assert found.title == "Import `policies.m4`, which declares `base`"
    assert apply_edits(workspace, found.edits) == {file: f'import "policies.m4";\n\n{text}'}


def sound(desk: Desk, changed: dict[str, str]) -> bool:
    """Whether the new texts have no error."""
    workspace = Workspace([desk.folder])
    for name, text in changed.items():
        workspace.set_text((desk.folder / name).as_posix(), text)
    wrong = [p for p in workspace.problems() if workspace.severity(p) == 1]
    assert not wrong, [(p.code, p.message) for p in wrong]
    return True


def on_call(desk: Desk, fragment: str, graph: str = "graph.yaml") -> dict[str, dict[str, str]]:
    """What is offered at the first place of a text in the graph."""
    file = (desk.folder / graph).as_posix()
    at = desk.workspace.text(file).index(fragment) + 1
    found = [a for a in actions(desk.workspace, file, at, at) if a.later is not None]
    made = {a.title: apply_edits(desk.workspace, a.later()) for a in found if a.later is not None}
    return {title: {Path(f).name: new for f, new in texts.items()} for title, texts in made.items()}


def test_a_policy_for_a_call_of_the_graph(desk: Desk) -> None:
    desk.put(f"{CALM}$0")
    made = on_call(desk, "[web, cart]")
    policy = "policy web_to_cart (HttpRequest h) on * -> web -> cart\n{\n}\n"
    assert made == {"Create policy `web_to_cart` for this call": {"here.m4": f"{CALM}\n{policy}"}}
    assert sound(desk, made["Create policy `web_to_cart` for this call"])
    desk.put(f"{CALM}{policy}$0")
    assert set(on_call(desk, "[web, cart]")) == {"Create policy `web_to_cart_2` for this call"}


def test_a_policy_for_a_call_where_there_is_none_yet_and_for_each_mesh(tmp_path: Path) -> None:
    graph = 'services: {web: {}, "a b": {}}\ncalls:\n  - {from: web, to: "a b", rps: 2}\n'
    files = {"g.yaml": graph, "mesh.m4": 'mesh shop { graph "g.yaml"; dataplanes envoy; }\r\n'}
    desk = Desk(tmp_path, files)
    ((title, texts),) = on_call(desk, "from: web", "g.yaml").items()
    assert title == "Create policy `web_to_a_b` for this call"
    policy = 'policy web_to_a_b (HttpRequest h) on * -> web -> "a b"\r\n{\r\n}\r\n'
    assert texts == {"mesh.m4": files["mesh.m4"] + "\r\n" + policy}
    assert sound(desk, texts)
    desk.put('mesh second { graph "g.yaml"; dataplanes envoy; }\n$0')
    assert set(on_call(desk, "from: web", "g.yaml")) == {
        "Create policy `web_to_a_b` of mesh `second` for this call",
        "Create policy `web_to_a_b` of mesh `shop` for this call",
    }


@pytest.mark.parametrize("fragment", ["services", "web: {entry", "calls:"])
def test_where_there_is_no_call_there_is_no_policy_for_it(desk: Desk, fragment: str) -> None:
    assert on_call(desk, fragment) == {}
