"""Proposals of names whose files have to be imported first."""

from __future__ import annotations

from pathlib import Path

import pytest
from m4c.ide.complete import complete
from m4c.ide.edits import apply_edits
from m4c.ide.unimported import import_edit
from m4c.workspace import Workspace

FILES = {
    "policies.m4": "/// Nobody.\npolicy base (HttpRequest r) on * -> db { r.DropRequest(); }\n",
    "gate.m4": (
        "spec gate { tier proxy; cost 1; supports HttpRequest {\n"
        "    attribute paint: bool default false;\n    /// Colours it.\n"
        "    operation Paint() writes paint = true;\n    operation DropRequest;\n} }\n"
    ),
    "state.m4": 'state Counter hits;\nentity Letter { attribute text: string; operation Send() writes text = "x"; }\n',
    "configure.m4": "dnl of the macro processor\npolicy(`x')\n",
    "broken.m4": "policy (",
}


def proposed(folder: Path, text: str, paths: tuple[Path, ...] = ()) -> dict[str, str]:
    """What is proposed with an import, and of what; `text` is an open file of the folder."""
    for name, content in FILES.items():
        (folder / name).write_text(content)
    workspace = Workspace(paths)
    here = (folder / "here.m4").as_posix()
    at = text.index("$0")
    workspace.set_text(here, text.replace("$0", ""))
    found = complete(workspace, here, at).items
    return {c.proposal.label: c.proposal.imports for c in found if c.proposal.imports}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("policy p (HttpRequest r) on * -> db overrides $0", {"base": "policies.m4"}),
        ("policy p (HttpRequest r) on * -> db after b$0", {"base": "policies.m4"}),
        ("policy p (TcpConnection c) on ? -> db after $0", {}),  # of another entity
        ("policy p (HttpRequest r) on * -> db { r.$0 }", {"Paint": "gate.m4"}),
        ("policy p (HttpRequest r) on * -> db { $0 }", {"hits": "state.m4"}),
        ("policy p ($0", {"Letter": "state.m4"}),
        ('import "gate.m4";\npolicy p (HttpRequest r) on * -> db { r.$0 }', {}),  # it is there already
        ("policy p (HttpRequest r) on $0", {}),
        ("$0", {}),
        ("// $0", {}),
    ],
)
def test_names_of_files_beside_are_proposed(tmp_path: Path, text: str, found: dict[str, str]) -> None:
    assert proposed(tmp_path, text) == found


def test_in_a_folder_that_is_open_everything_is_known_already(tmp_path: Path) -> None:
    assert proposed(tmp_path, "policy p (HttpRequest r) on * -> db overrides $0", (tmp_path,)) == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("policy p (", 'import "x.m4";\n\npolicy p ('),
        ("// é 😀\n\n/// Doc.\npolicy p (", '// é 😀\n\nimport "x.m4";\n\n/// Doc.\npolicy p ('),
        (
            'import "a.m4";\nimport "b.m4"; // why\npolicy p (',
            'import "a.m4";\nimport "b.m4";\nimport "x.m4"; // why\npolicy p (',
        ),
        ("mesh m;\r\n", 'import "x.m4";\r\n\r\nmesh m;\r\n'),
        ("", 'import "x.m4";\n\n'),
    ],
)  # fmt: skip
def test_an_import_goes_where_imports_are(before: str, after: str) -> None:
    workspace = Workspace([])
    workspace.set_text("/nowhere/here.m4", before)
    edit = import_edit(workspace, "/nowhere/here.m4", "x.m4")
    assert apply_edits(workspace, (edit,)) == {"/nowhere/here.m4": after}
