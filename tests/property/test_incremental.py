"""A workspace that has seen any number of edits says what a new one says that sees the same files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from m4c import project
from m4c.ide.diagnostics import diagnostics
from m4c.workspace import Workspace

from benchmarks.generate import Size, write
from tests.property.budget import many

GRAPHS = (
    "services:\n  web: {entry: true}\n  cart: {versions: [v1, v2]}\n  db: {labels: {kind: store}}\n"
    "calls:\n  - [web, cart]\n  - [cart, db]\n  - [web, db]\n",
    "services:\n  web: {entry: true}\n  cart: {}\n  db: {}\n  log: {}\n"
    "calls:\n  - [web, cart]\n  - [cart, db]\n  - [db, log]\n  - [log, cart]\n",
    "services:\n  web: {entry: true}\ncalls: []\n",
    "services: [",
)
MESHES = (
    'mesh shop {\n    graph "graph.yaml";\n    dataplanes ebpf, envoy;\n    group front = { web, cart };\n}\n',
    'mesh shop {\n    graph "graph.yaml";\n    dataplanes envoy;\n    propagate "x-user";\n'
    "    default HttpRequest.verdict = deny on * -> db;\n}\n",
    'mesh shop {\n    graph "graph.yaml";\n    dataplanes own;\n}\n',
    'mesh shop {\n    graph "nowhere.yaml";\n    dataplanes ebpf;\n}\n',
    "mesh shop {\n    dataplanes ebpf;\n",
)
SPECS = (
    "",
    "spec own {\n    cost 3;\n    supports HttpRequest at ingress {\n        operation DropRequest;\n    }\n}\n",
    "entity Mail {\n    attribute address: string;\n    operation Readdress(to: string) writes address = to;\n}\n",
)
ITEMS = (
    "policy a (HttpRequest r) on web -> cart { r.DropRequest(); }\n",
    "policy a (HttpRequest r) on web -> * -> db { r.AllowRequest(); }\n",
    'policy b (HttpRequest r) on * -> db when r.method == "GET" { r.SetHeader("x-user", "b"); }\n',
    'policy b (HttpRequest r) on * -> cart { r.SetHeader("x-user", "c"); r.SetTimeout(2s); }\n',
    'policy c (HttpRequest r) on cart -> db after b when r.header["x-user"] == "b" { r.SetTimeout(3s); }\n',
    'policy c (HttpRequest r) on cart -> db when r.header["x-user"] == "b" overrides a { r.DropRequest(); }\n',
    "policy d (HttpRequest r) on web -> cart overrides a, c { r.AllowRequest(); }\n",
    "policy d (HttpRequest r) on log -> cart after nobody { r.Retry(2); }\n",
    "policy e (HttpRequest r) on @front -> db { r.Split({ v1: 80%, v2: 20% }); }\n",
    'policy e (HttpRequest r) on * -> [kind: store] when r.url_path matches r"(" { r.DropRequest(); }\n',
    "state limit = TokenBucket(rate: 5/s, burst: 5);\n",
    "policy f (HttpRequest r) on web -> cart when !limit.Take() { r.DropRequest(429); }\n",
    'test "through" {\n    request on web -> cart { method: "GET" };\n    expect allow;\n}\n',
    "// m4: allow contradiction because two teams try this out\n",
    "policy g (HttpRequest r on web -> cart { r.DropRequest(); }\n",
    "policy\n",
    'import "other.m4";\n',
    "mesh shop;\n",
    "/// Nothing but a comment.\n",
)
SETTINGS = (
    "",
    '[diagnostics]\ndead-path = "error"\n',
    '[diagnostics]\ncontradiction = "hint"\nredundant = "off"\n',
    "[",
)
FILES = ("a.m4", "b.m4", "other.m4")


class Editing(RuleBasedStateMachine):
    """Somebody who edits a workspace. `texts`: what is on the disk; `open`: what an editor has."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="m4-incremental-"))
        self.open: dict[str, str] = {}
        self.before: list[tuple[str, str]] = []

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, "utf-8")

    def path(self, name: str) -> str:
        return (self.folder / name).resolve().as_posix()

    def text(self, name: str) -> str:
        path = self.folder / name
        return self.open.get(name, path.read_text("utf-8") if path.exists() else "")

    @initialize(items=st.lists(st.sampled_from(ITEMS), max_size=8), cut=st.integers(0, 8))
    def begin(self, items: list[str], cut: int) -> None:
        self.write("graph.yaml", GRAPHS[0])
        self.write("mesh.m4", MESHES[0])
        self.write("a.m4", "".join(items[:cut]))
        self.write("b.m4", "".join(items[cut:]))
        self.workspace = Workspace([self.folder])

    def edit(self, name: str, text: str) -> None:
        self.before.append((name, self.text(name)))
        self.open[name] = text
        self.workspace.set_text(self.path(name), text)

    @rule(name=st.sampled_from(FILES), item=st.sampled_from(ITEMS), at=st.integers(0, 400))
    def insert(self, name: str, item: str, at: int) -> None:
        text = self.text(name)
        lines = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")]
        start = min(lines, key=lambda line: abs(line - at))
        self.edit(name, text[:start] + item + text[start:])

    @rule(name=st.sampled_from(FILES), start=st.integers(0, 300), size=st.integers(1, 60))
    def delete(self, name: str, start: int, size: int) -> None:
        text = self.text(name)
        self.edit(name, text[:start] + text[start + size :])

    @rule(name=st.sampled_from(FILES), start=st.integers(0, 300), new=st.sampled_from(list('{}();"/ ab1')))
    def type(self, name: str, start: int, new: str) -> None:
        text = self.text(name)
        self.edit(name, text[:start] + new + text[start:])

    @rule(name=st.sampled_from(FILES))
    def move(self, name: str) -> None:
        """The first line goes to the end."""
        first, _, rest = self.text(name).partition("\n")
        self.edit(name, f"{rest}{first}\n")

    @precondition(lambda self: self.before)
    @rule()
    def undo(self) -> None:
        name, text = self.before.pop()
        self.open[name] = text
        self.workspace.set_text(self.path(name), text)

    @rule(name=st.sampled_from(("mesh.m4", "spec.m4")), which=st.integers(0, 4))
    def declare(self, name: str, which: int) -> None:
        choices = MESHES if name == "mesh.m4" else SPECS
        self.edit(name, choices[which % len(choices)])

    @rule(graph=st.sampled_from(GRAPHS))
    def change_graph(self, graph: str) -> None:
        self.write("graph.yaml", graph)
        self.workspace.refresh()

    @rule(text=st.sampled_from((None, *SETTINGS)))
    def change_settings(self, text: str | None) -> None:
        if text is None:
            (self.folder / "m4.toml").unlink(missing_ok=True)
        else:
            self.write("m4.toml", text)
        self.workspace.refresh()

    @precondition(lambda self: self.open)
    @rule(save=st.booleans())
    def close(self, save: bool) -> None:
        name, text = self.open.popitem()
        if save:
            self.write(name, text)
        self.workspace.close(self.path(name))

    @rule(name=st.sampled_from(FILES), items=st.lists(st.sampled_from(ITEMS), max_size=3))
    def change_on_disk(self, name: str, items: list[str]) -> None:
        self.write(name, "".join(items))
        self.workspace.refresh()

    @rule(old=st.sampled_from(FILES), new=st.sampled_from(FILES))
    def rename_on_disk(self, old: str, new: str) -> None:
        if (self.folder / old).exists():
            (self.folder / old).rename(self.folder / new)
        self.workspace.refresh()

    @rule(name=st.sampled_from(FILES))
    def open_it(self, name: str) -> None:
        """Without an edit."""
        self.open[name] = text = self.text(name)
        self.workspace.set_text(self.path(name), text)

    @rule()
    def expect_edits(self) -> None:
        self.workspace.expect_edits()

    @rule()
    def ask_quickly(self) -> None:
        self.workspace.problems(quick=True)

    @rule()
    def sweep(self) -> None:
        self.workspace.tidy()

    @invariant()
    def says_what_a_new_one_says(self) -> None:
        fresh = Workspace([self.folder])
        for name, text in self.open.items():
            fresh.set_text(self.path(name), text)
        assert self.workspace.problems() == fresh.problems()
        assert self.workspace.problems(quick=True) == fresh.problems()
        assert diagnostics(self.workspace) == diagnostics(fresh)
        for mesh in fresh.meshes():
            for ask in (project.program, project.plan):
                ask_of: Callable[..., object] = ask
                assert ask_of(self.workspace.db, mesh) == ask_of(fresh.db, mesh)


def test_edits_leave_no_trace():
    usual = many(25)
    run_state_machine_as_test(Editing, settings=settings(usual, stateful_step_count=20))


@pytest.fixture
def edited(tmp_path: Path) -> Workspace:
    """A workspace of two files, asked once, of which one is open."""
    (tmp_path / "graph.yaml").write_text(GRAPHS[0])
    (tmp_path / "mesh.m4").write_text(MESHES[0])
    (tmp_path / "a.m4").write_text("".join((ITEMS[0], ITEMS[2])))
    (tmp_path / "b.m4").write_text("".join((ITEMS[4], ITEMS[8])))
    workspace = Workspace([tmp_path])
    path = (tmp_path / "a.m4").resolve().as_posix()
    workspace.set_text(path, workspace.text(path))
    workspace.problems(quick=True)
    return workspace


def test_a_file_that_is_opened_runs_nothing(edited: Workspace):
    """It is taken as one that changes often when there is time for that, which runs nothing either."""
    db = edited.db
    path = next(f for f in db.input("files") if f not in edited.opened)
    edited.expect_edits()
    edited.problems()
    before, db.log = db.revision, []
    edited.set_text(path, edited.text(path))
    assert db.revision == before
    edited.problems()
    edited.expect_edits()
    assert db.revision > before
    edited.problems()
    edited.close(path)
    edited.problems()
    assert db.log == []


def ran(workspace: Workspace, change: Callable[[str], str]) -> list[str]:
    """The queries that run for an edit of the open file, but for those that only look at a file's items."""
    (file,) = workspace.opened
    workspace.db.log = []
    workspace.set_text(file, change(workspace.text(file)))
    workspace.problems(quick=True)
    names = [key.name.partition(".")[2] for key in workspace.db.log]
    workspace.db.log = None
    of_items = {"exists", "keyed", "decls", "offsets", "items", "outline", "decl", "_by_key", "_suppressions"}
    return [name for name in names if name not in of_items]


def test_a_comment_runs_no_analysis(edited: Workspace):
    assert ran(edited, lambda text: f"// Why this is so.\n\n{text}") == []


def test_a_body_runs_one_policy_and_what_collects_it(edited: Workspace):
    found = ran(edited, lambda text: text.replace('"b");', '"bb");'))
    assert found.count("_policy") == 1
    assert set(found) == {
        "_policy",
        "syntax_problems",
        "file_problems",
        "_problems_of_some",
        "declared_problems",
        "policies_in",
        "_parts_of_some",
        "_parts",
        "findings",
    } & set(found)
    assert "layout" not in found
    assert "schema" not in found


def test_a_moved_item_asks_no_question(edited: Workspace, monkeypatch: pytest.MonkeyPatch):
    from m4c.analysis.questions import Questions

    asked: list[str] = []
    for name in (
        "ask_alone",
        "ask_pair",
        "ask_from",
        "ask_inner",
        "ask_point",
        "ask_sides",
        "ask_state",
        "ask_defaults",
    ):
        monkeypatch.setattr(Questions, name, lambda *args, name=name: asked.append(name))
    one, two = ITEMS[0], ITEMS[2]
    ran(edited, lambda text: text.replace(one + two, two + one))
    assert asked == []
    ran(edited, lambda text: text.replace("DropRequest();", "DropRequest(405);"))
    assert asked


def test_a_checkout_of_many_files_loses_no_edit(tmp_path: Path):
    """Another commit changes 200 files at once, adds some and takes some away, while one is open and edited."""
    write(tmp_path, Size.of(700, files=360), seed=1)
    workspace = Workspace([tmp_path])
    before = workspace.problems()
    opened = sorted(tmp_path.rglob("*.m4"))[5]
    edit = opened.read_text("utf-8") + "policy mine (HttpRequest r) on * -> nowhere { r.DropRequest(); }\n"
    workspace.set_text(opened.as_posix(), edit)
    workspace.problems(quick=True)
    was = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    for file in list(was)[::40]:
        file.unlink()
    write(tmp_path, Size.of(700, files=350), seed=2)
    changed = [file for file in was if file.exists() and file.read_bytes() != was[file]]
    assert len(changed) >= 200

    workspace.refresh()
    fresh = Workspace([tmp_path])
    fresh.set_text(opened.as_posix(), edit)
    assert workspace.problems() == fresh.problems()
    assert workspace.text(opened.as_posix()) == edit
    assert any(p.place.file == opened.as_posix() and "nowhere" in p.message for p in workspace.problems())
    for file, text in was.items():
        file.write_bytes(text)
    for file in tmp_path.rglob("*"):
        if file.is_file() and file not in was:
            file.unlink()
    workspace.close(opened.as_posix())
    workspace.refresh()
    assert workspace.problems() == before
