"""The two sources of colours agree: what the server says of names, and what the grammar of words takes them for."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

from editor_tools import missing
from m4c.ide.tokens import MODIFIERS, TYPES, tokens
from m4c.workspace import Workspace

from m4ls.features.semantic_tokens import LEGEND

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "vscode-extension"
NODE = ROOT / ".tools/bin/node"
FOLDERS = ("examples/online-boutique", "specs", "docs/comparison", "tests/editors/workspace", "vscode-extension/test")
PROTOCOL = {"namespace", "class", "enum", "enumMember", "function", "method", "property", "parameter", "variable"}

# What the grammar may take a name of each type for, beside a text between quotes, and nothing in particular.
TAKEN_FOR = {
    "namespace": {"entity.name.namespace.m4"},
    "class": {"entity.name.type.entity.m4", "support.type.m4"},
    "enum": {"entity.name.type.enum.m4", "support.type.m4"},
    "enumMember": {"variable.other.enummember.m4"},
    "function": {"entity.name.function.policy.m4"},
    "method": {"entity.name.function.operation.m4", "entity.name.function.condition.m4"},
    "property": {"variable.other.property.m4"},
    "parameter": {"variable.parameter.m4", "variable.other.object.m4", "variable.other.key.m4"},
    "variable": {"variable.other.constant.m4", "variable.other.state.m4", "variable.other.object.m4"},
    "service": {"entity.name.tag.service.m4"},
    "group": {"variable.other.group.m4"},
    "version": {"constant.other.version.m4", "variable.other.key.m4"},
    "label": {"variable.other.label.m4", "constant.other.label.m4"},
}
ANYTHING = ("source.xmesh.m4", "meta.", "string.quoted", "punctuation.definition.string")


def scopes(texts: list[str]) -> list[list[list[tuple[int, str]]]]:
    if not NODE.exists() or not (EXTENSION / "node_modules/vscode-textmate").exists():
        missing("the extension's packages", "setup-test")
    command = [str(NODE), str(ROOT / "tests/editors/vscode/scopes.mjs"), str(EXTENSION)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=120)
    found: list[list[list[tuple[int, str]]]] = json.loads(done.stdout)
    return found


def test_the_server_and_the_grammar_take_names_for_the_same() -> None:
    workspaces = [Workspace([ROOT / folder]) for folder in FOLDERS]
    files = [(w, f) for w in workspaces for f in w.db.input("files")]
    taken = scopes([w.text(f) for w, f in files])
    wrong, seen = [], Counter[str]()
    for (workspace, file), lines in zip(files, taken, strict=True):
        for token in tokens(workspace, file):
            line, character = workspace.position(file, token.start)
            scope = next(s for end, s in lines[line] if character < end)
            seen[token.type] += scope in TAKEN_FOR[token.type]
            if scope not in TAKEN_FOR[token.type] and not scope.startswith(ANYTHING):
                wrong.append(f"{Path(file).name}:{line + 1}: {workspace.text(file)[token.start : token.end]}: {scope}")
    assert wrong == []
    assert {t for t, n in seen.items() if n} >= TAKEN_FOR.keys()


def test_each_type_has_its_colour_in_vs_code() -> None:
    contributes = json.loads((EXTENSION / "package.json").read_text())["contributes"]
    own = {t["id"] for t in contributes["semanticTokenTypes"]}
    assert own == set(TYPES) - PROTOCOL
    (colours,) = contributes["semanticTokenScopes"]
    assert colours["language"] == "m4"
    for name, given in colours["scopes"].items():
        assert set(given) <= TAKEN_FOR[name.partition(".")[0]], name
    assert {name.partition(".")[0] for name in colours["scopes"]} == TAKEN_FOR.keys()


def test_the_legend_is_that_of_the_compiler() -> None:
    assert (tuple(LEGEND.token_types), tuple(LEGEND.token_modifiers)) == (TYPES, MODIFIERS)
