"""Every feature at every place of texts as people leave them: none fails, and none answers with places that are not
there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from m4c.ide.complete import complete
from m4c.ide.definition import definition, highlights, implementation, references, type_definition
from m4c.ide.format import format_edits, format_on_type, format_range
from m4c.ide.hierarchy import incoming, outgoing, prepare
from m4c.ide.hover import hover
from m4c.ide.links import links
from m4c.ide.outline import folds, outline
from m4c.ide.rename import Refused, prepare_rename, rename
from m4c.ide.selection import linked, selection_ranges
from m4c.ide.signature import signature
from m4c.ide.tokens import tokens
from m4c.ide.workspace_symbols import place, search
from m4c.workspace import Span, Workspace

GRAPH = (
    "services:\n  web: {entry: true}\n  'd b': {versions: [v1, v2]}\n  😀: {}\n"
    "calls: [[web, 'd b'], [web, 😀], [web, nobody]]\n"
)
TEXTS = {
    "empty": "",
    "blank": "\n \t\n",
    "a mark of the byte order": "\ufeffmesh m;\n",
    "sound": (
        '/* é 😀 */ mesh shop { graph "graph.yaml"; dataplanes envoy; group g = { web, "d b" }; }\r\n'
        'policy "é 😀" (HttpRequest r) on web -> "d b":v1 when r.header["x-😀"] == "é" { r.SetHeader("x", "é"); }\r\n'
        'test "😀" { request GET "/é" on web -> 😀; expect allow; }\r\n'
    ),
    "begun": 'policy p (HttpRequest r) on web -> \n\npolicy q (HttpRequest r) on * -> "d b" { r.Set',
    "a text that does not end": 'policy p (HttpRequest r) on web when r.header["é\npolicy q (HttpRequest r) on * { }',
    "a comment that does not end": "policy p (HttpRequest r) on web { } /* é 😀\npolicy q",
    "brackets": "policy p (HttpRequest r) on ((((web | { r.X([[[\n}}}}\n",
    "words": "when on policy mesh -> overrides é 😀 ;;; \r spec { supports",
    "a spec": (
        "spec mine {\n    tier proxy; cost 1;\n    supports HttpRequest { reads method;\n"
        '        operation Do(a: string = "é") writes header["é"] = a emits "é.j2"; }\n}\nstate Counter hits per r.x;\n'
    ),
}
Feature = Callable[[Workspace, str, int], object]


def _spans(found: Iterable[Span]) -> list[Span]:
    return list(found)


def _renamed(workspace: Workspace, file: str, at: int) -> list[Span]:
    try:
        found = prepare_rename(workspace, file, at)
        assert found.start <= at <= found.end
        return [edit.span for _, edit in rename(workspace, file, at, "another_name").edits]
    except Refused as refused:
        assert str(refused)
        return []


def _hierarchy(workspace: Workspace, file: str, at: int) -> list[Span]:
    nodes = prepare(workspace, file, at)
    hops = [h for n in nodes for of in (incoming, outgoing) for h in of(workspace, n.mesh, n.service)]
    return [n.span for n in nodes] + [s for h in hops for s in (h.node.span, *h.calls)]


def _signature(workspace: Workspace, file: str, at: int) -> None:
    found = signature(workspace, file, at)
    assert found is None or found.active is None or found.active < len(found.parameters)


def _selected(workspace: Workspace, file: str, at: int) -> list[Span]:
    return [workspace.at(file, a, b) for a, b in selection_ranges(workspace, file, at)]


FEATURES: dict[str, Callable[[Workspace, str, int], list[Span] | None]] = {
    "completion": lambda w, f, at: [w.at(f, c.start, c.end) for c in complete(w, f, at).items],
    "hover": lambda w, f, at: [w.at(f, h.start, h.end)] if (h := hover(w, f, at)) else [],
    "definition": lambda w, f, at: _spans(definition(w, f, at)),
    "type definition": lambda w, f, at: _spans(type_definition(w, f, at)),
    "implementation": lambda w, f, at: _spans(implementation(w, f, at)),
    "references": lambda w, f, at: _spans(references(w, f, at)),
    "highlights": lambda w, f, at: [w.at(f, x.start, x.end) for x in highlights(w, f, at)],
    "linked editing": lambda w, f, at: [w.at(f, x.start, x.end) for x in linked(w, f, at)],
    "selections": _selected,
    "signature help": _signature,
    "rename": _renamed,
    "call hierarchy": _hierarchy,
    "formatting of a range": lambda w, f, at: [e.span for e in format_range(w, f, 0, at)],
    "formatting of a line": lambda w, f, at: [e.span for e in format_on_type(w, f, at, ";")],
    "formatting of a block": lambda w, f, at: [e.span for e in format_on_type(w, f, at, "}")],
    "colours of a part": lambda w, f, at: [w.at(f, t.start, t.end) for t in tokens(w, f, at, at + 20)],
}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("text", TEXTS)
def test_every_place_is_answered_for(tmp_path: Path, text: str, feature: str) -> None:
    workspace, file = _workspace(tmp_path, TEXTS[text])
    for at in (-1, *range(len(TEXTS[text]) + 2)):
        for span in FEATURES[feature](workspace, file, at) or ():
            _is_there(workspace, span)


@pytest.mark.parametrize("feature", FEATURES)
def test_every_place_of_a_graph_is_answered_for(tmp_path: Path, feature: str) -> None:
    workspace, _ = _workspace(tmp_path, TEXTS["sound"])
    for at in range(-1, len(GRAPH) + 2):
        for span in FEATURES[feature](workspace, (tmp_path / "graph.yaml").as_posix(), at) or ():
            _is_there(workspace, span)


@pytest.mark.parametrize("text", TEXTS)
def test_every_file_is_answered_for(tmp_path: Path, text: str) -> None:
    workspace, file = _workspace(tmp_path, TEXTS[text])
    lines = TEXTS[text].count("\n") + TEXTS[text].count("\r")
    assert all(f.start_line <= f.end_line <= lines for f in folds(workspace, file))
    spans = [link.span for link in links(workspace, file)] + [e.span for e in format_edits(workspace, file)]
    spans += [s for entry in outline(workspace, file) for s in (entry.span, entry.selection)]
    spans += [workspace.at(file, t.start, t.end) for t in tokens(workspace, file)]
    spans += [s for n in search(workspace, "") if n.file == file and (s := place(workspace, n)) is not None]
    for span in spans:
        _is_there(workspace, span)


def test_a_file_that_nobody_knows_is_answered_for(tmp_path: Path) -> None:
    workspace = Workspace([tmp_path])
    for feature in FEATURES.values():
        for at in (0, 7):
            for span in feature(workspace, (tmp_path / "nowhere.m4").as_posix(), at) or ():
                _is_there(workspace, span)


def _workspace(folder: Path, text: str) -> tuple[Workspace, str]:
    (folder / "graph.yaml").write_text(GRAPH)
    (folder / "other.m4").write_text("policy other (HttpRequest r) on web -> 😀 { r.DropRequest(); }\n")
    workspace = Workspace([folder])
    file = (folder / "here.m4").as_posix()
    workspace.set_text(file, text)
    return workspace, file


def _is_there(workspace: Workspace, span: Span) -> None:
    assert 0 <= span.start <= span.end <= len(workspace.text(span.file))
