"""A long session: what nobody names any more is forgotten, so that memory does not grow with what was once typed."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

import pytest
from m4c.ide.complete import complete
from m4c.ide.diagnostics import diagnostics
from m4c.ide.hover import hover
from m4c.ide.prepare import prepare
from m4c.workspace import Workspace

SHOP = """mesh shop { graph "graph.yaml"; dataplanes envoy; }
policy guard (HttpRequest r) on web -> db when r.method == "GET" { r.DropRequest(); }
"""
GRAPH = "services:\n  web: {entry: true}\n  db: {}\ncalls:\n  - [web, db]\n"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws/shop.m4").write_text(SHOP)
    (tmp_path / "ws/graph.yaml").write_text(GRAPH)
    (tmp_path / "lib/deep/down").mkdir(parents=True)
    (tmp_path / "lib/deep/down/more.m4").write_text("state Counter hits;\n")
    return Workspace([tmp_path / "ws"])


def session(workspace: Workspace, number: int) -> None:
    """What somebody does in a minute: everything in it has a name that was not there before."""
    (root,) = workspace.paths
    shop, lib = (root / "shop.m4").as_posix(), root.parent / "lib/deep/down"
    texts = [f'import "x{number}/y{number}.m4";\n{SHOP}', SHOP.replace("graph.yaml", f"g{number}/graph.yaml")]
    texts += [f'{SHOP}spec s{number} {{ supports HttpRequest {{ operation DropRequest emits "t{number}.j2"; }} }}\n']
    texts += [f'import "../lib/deep/down/more.m4";\n{SHOP.replace("guard", f"guard_{number}")}', SHOP]
    for text in texts:
        workspace.set_text(shop, text)
        ask(workspace, shop)
    for name in (f"new{number}.m4", f"new{number}.graph.yaml", f"sub{number}/new.m4"):
        file = (lib / name).as_posix()
        workspace.set_text(file, f"state Counter c{number};\n")
        ask(workspace, file)
        workspace.close(file)
    (root / f"gone{number}.m4").write_text(f"policy gone{number} (HttpRequest r) on nowhere -> db {{ }}\n")
    workspace.refresh()
    ask(workspace, shop)
    (root / f"gone{number}.m4").unlink()
    workspace.refresh()
    workspace.close(shop)
    ask(workspace, shop)
    for _ in range(2):  # what is still asked for stays, so it has to be asked for in between
        workspace.tidy()
        ask(workspace, shop)


def ask(workspace: Workspace, file: str) -> None:
    diagnostics(workspace)
    complete(workspace, file, 3)
    hover(workspace, file, 30)
    prepare(workspace)


def held() -> Counter[str]:
    """How many objects of our own types there are."""
    gc.collect()
    return Counter(type(o).__qualname__ for o in gc.get_objects() if str(type(o).__module__).startswith("m4c"))


def test_nothing_grows_with_what_was_once_named(workspace: Workspace) -> None:
    for number in range(5):
        session(workspace, number)
    nodes, before = len(workspace.db._nodes), held()
    for number in range(5, 25):
        session(workspace, number)
    assert len(workspace.db._nodes) == nodes
    grown = {name: (before[name], now) for name, now in held().items() if now > before[name] + 20}
    assert grown == {}, "20 sessions have left something of each of them"


def test_what_is_let_go_comes_back(workspace: Workspace) -> None:
    (root,) = workspace.paths
    shop, more = (root / "shop.m4").as_posix(), (root.parent / "lib/deep/down/more.m4").as_posix()
    workspace.set_text(shop, f'import "../lib/deep/down/more.m4";\n{SHOP}')
    assert workspace.text(more) == "state Counter hits;\n"
    workspace.set_text(shop, SHOP)
    ask(workspace, shop)
    workspace.tidy()
    ask(workspace, shop)
    workspace.tidy()
    assert workspace.text(more) == ""
    Path(more).write_text("state Counter misses;\n")
    workspace.set_text(shop, f'import "../lib/deep/down/more.m4";\n{SHOP}')
    assert workspace.text(more) == "state Counter misses;\n"


def test_a_graph_that_was_open_before_it_was_named_is_the_disks_when_it_is_closed(workspace: Workspace) -> None:
    (root,) = workspace.paths
    other, shop = (root / "other.yaml").as_posix(), (root / "shop.m4").as_posix()
    Path(other).write_text(GRAPH)
    workspace.set_text(other, GRAPH.replace("db", "nothing"))
    workspace.set_text(shop, SHOP.replace("graph.yaml", "other.yaml"))
    assert [p.code for p in workspace.problems()] == ["unknown-name"]
    workspace.close(other)
    assert workspace.problems() == []


def test_a_file_that_cannot_be_read_is_told_as_long_as_something_names_it(workspace: Workspace) -> None:
    (root,) = workspace.paths
    shop, bad = (root / "shop.m4").as_posix(), root.parent / "lib/bad.m4"
    bad.write_bytes(b"\xff")
    workspace.set_text(shop, f'import "../lib/bad.m4";\n{SHOP}')
    assert [(p.code, p.place.file) for p in workspace.problems()] == [("bad-encoding", bad.as_posix())]
    workspace.set_text(shop, SHOP)
    assert workspace.problems() == []
