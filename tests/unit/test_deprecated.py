"""What is deprecated is said where it is used, and what uses it means what it meant."""

from __future__ import annotations

from pathlib import Path

import pytest
from m4c import checks, project
from m4c.semantics.deprecated import deprecation
from m4c.workspace import Workspace

SPEC = """
spec gate {
    tier proxy;
    cost 1;
    supports HttpRequest {
        /// Where it is from. Deprecated: no, not here.
        attribute region: string;
        /// Deprecated: use `region`.
        attribute zone: string;
        /// Puts it into a zone.
        ///
        /// Deprecated: use
        /// `SetRegion`.
        operation SetZone(name: string) writes zone = name;
        operation SetRegion(name: string) writes region = name;
        reads region, zone;
    }
    state entity Quota {
        /// Deprecated:
        condition Left();
    }
    supports Quota { condition Left; }
}
state Quota q;
"""
POLICY = "policy p (HttpRequest r) on * -> b"


@pytest.mark.parametrize(
    ("doc", "said"),
    [
        ("", None),
        ("Sets it.", None),
        ("It is deprecated: no.", None),
        ("Not deprecated.\nDeprecated: in the middle of a paragraph", None),
        ("Deprecated: use X.", "use X."),
        ("Sets it.\n\nDeprecated: use X,\nor Y.\n\nMore.", "use X, or Y."),
        ("Deprecated:", ""),
    ],
)
def test_what_says_so(doc: str, said: str | None) -> None:
    assert deprecation(doc) == said


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        ('{ r.SetZone("a"); }', ("SetZone", "`SetZone` is deprecated: use `SetRegion`.")),
        ('{ r.SetRegion("a"); }', None),
        ('when r.zone == "a" { r.DropRequest(); }', ("zone", "`zone` is deprecated: use `region`.")),
        ('when r.region == "a" { r.DropRequest(); }', None),
        ("when q.Left() { r.DropRequest(); }", ("Left", "`Left` is deprecated")),
    ],
)
def test_uses_are_warned_of(tmp_path: Path, use: str, expected: tuple[str, str] | None) -> None:
    (tmp_path / "g.yaml").write_text("services: {a: {}, b: {}}\ncalls: [[a, b]]\n")
    file = tmp_path / "m.m4"
    file.write_text(f'mesh m {{ graph "g.yaml"; dataplanes gate; }}\n{SPEC}{POLICY} {use}\n')
    workspace = Workspace([tmp_path])
    found = [p for p in checks.file_problems(workspace.db, str(file)) if p.code == "deprecated"]
    text = file.read_text()
    spans = [workspace.span(p.place) for p in found]
    assert [(text[s.start : s.end], p.message) for s, p in zip(spans, found, strict=True)] == [expected] * bool(
        expected
    )
    for problem in found:
        (declared,) = problem.related
        at = workspace.span(declared.place)
        assert text[at.start : at.end] == (expected or "")[0]
    program = project.program(workspace.db, "m")
    assert program is not None
    assert [p.name for p in program.policies] == ["p"], "it is no error"
