"""The pages of this folder: their programs have the diagnostics that they announce, and no others."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
from m4c import project
from m4c.cli.trace import call_path, values_of
from m4c.diagnostics.registry import rule
from m4c.reference import trace
from m4c.semantics.model import Program
from m4c.semantics.values import show
from m4c.workspace import Workspace
from sections import Expected, Section, sections

HERE = Path(__file__).parent
CASES = [
    pytest.param(section, id=f"{page.stem}:{section.title}")
    for page in sorted(HERE.glob("*.md"))
    for section in sections(page)
]
WORDS = {"error": "error", "warning": "warning", "information": "info", "hint": "hint"}


def open_section(section: Section, folder: Path) -> Workspace:
    for name, text in section.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return Workspace([folder])


def diagnostics(workspace: Workspace, folder: Path) -> list[Expected]:
    out = []
    for p in workspace.problems():
        span = workspace.span(p.place)
        file = Path(span.file)
        name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else span.file
        out.append(Expected(name, span.start_line + 1, WORDS[rule(p.code).severity.word], p.code, p.message))
    return sorted(out)


def unmatched(expected: list[Expected], seen: list[Expected]) -> tuple[list[Expected], list[Expected]]:
    """What was expected and not seen, and what was seen and not expected."""
    left = list(seen)
    missing = []
    for e in sorted(expected, key=lambda e: -len(e.text)):  # those with a text first: they fit fewer
        wanted = (e.file, e.line, e.severity, e.code)
        fits = (s for s in left if (s.file, s.line, s.severity, s.code) == wanted and e.text in s.text)
        found = next(fits, None)
        if found is None:
            missing.append(e)
        else:
            left.remove(found)
    return missing, left


@pytest.mark.parametrize("section", CASES)
def test_section(section: Section, tmp_path: Path) -> None:
    workspace = open_section(section, tmp_path)
    missing, surplus = unmatched(section.expected, diagnostics(workspace, tmp_path))
    wrong = [f"expected, not reported: {e}" for e in missing] + [f"reported, not expected: {e}" for e in surplus]
    assert not wrong, "\n" + "\n".join(wrong)
    for request, outcome in section.traces:
        check_trace(workspace, request, outcome)


def check_trace(workspace: Workspace, request: str, outcome: str) -> None:
    """Sends a request through the reference interpreter; `outcome` is `deny 403 on a -> b`, or `allow` with what the
    last hop writes: `allow, timeout = 1s`."""
    (mesh,) = workspace.meshes()
    program = project.program(workspace.db, mesh)
    assert program is not None
    parser = argparse.ArgumentParser()
    parser.add_argument("call_path")
    for option in ("--method", "--target"):
        parser.add_argument(option)
    for option in ("--header", "--set"):
        parser.add_argument(option, action="append", default=[])
    args = parser.parse_args(shlex.split(request))
    path = call_path(program, args.call_path)
    result = trace(program, path, values_of(program, "HttpRequest", args))
    last = result.hops[-1]
    verdict, *writes = re.split(r",\s*(?=[\w]+(?:\[\"[^\"]*\"\])? = )", outcome)
    on = f"{last.hop[0] or 'outside'} -> {last.hop[1]}"
    seen = f"{last.value('verdict')} {last.value('status')} on {on}" if result.terminal else str(last.value("verdict"))
    assert seen == verdict, f"{request}: {seen}, expected {verdict}; fired {last.fired}"
    shown = written(program, last.writes)
    if writes or not result.terminal:
        assert shown == sorted(writes), request


def written(program: Program, writes: object) -> list[str]:
    assert isinstance(writes, dict)
    return sorted(f"{a} = {show(v, program.attribute(a).type)}" for a, v in writes.items() if a.attribute != "verdict")
