"""The pages of this folder: their programs have the diagnostics that they announce, and no others."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
from m4c import project
from m4c.cli.inputs import read_inputs
from m4c.cli.main import input_options
from m4c.diagnostics.registry import rule
from m4c.reference import HopResult, trace
from m4c.semantics.model import Program
from m4c.semantics.values import show
from m4c.testing import answering, hop_text
from m4c.tracing import refusal_status
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
    for problem in workspace.problems():
        if problem.code == "duplicate-name" and "declared twice" in problem.message:
            assert [r.place for r in problem.related if r.place != problem.place], f"{problem}: where is the first one?"
    for request, outcome in section.traces:
        check_trace(workspace, request, outcome)


def check_trace(workspace: Workspace, request: str, outcome: str) -> None:
    """Sends a request through the reference interpreter; `outcome` is `deny 403 on a -> b`, or another verdict
    with what the last hop writes: `allow, timeout = 1s`. The request is a path with the options of `m4 trace`.

    Behind the last hop's own writes come those of its carriers and of the answer, each behind its entity's name.
    """
    (mesh,) = workspace.meshes()
    program = project.program(workspace.db, mesh)
    assert program is not None
    parser = argparse.ArgumentParser()
    input_options(parser)
    inputs = read_inputs(program, parser.parse_args(["--path", *shlex.split(request)]))
    result = trace(program, inputs.path, inputs.values, inputs.entity, answering(program, inputs.states))
    last = result.hops[-1]
    verdict, *writes = re.split(r",\s*(?=[\w.]+(?:\[\"[^\"]*\"\])? = )", outcome)
    end = [str(v) for v in (last.value("verdict"), refusal_status(last)) if v is not None]
    seen = f"{' '.join(end)} on {hop_text(last.hop)}" if result.terminal else end[0]
    assert seen == verdict, f"{request}: {seen}, expected {verdict}; fired {last.fired}"
    shown = written(program, last)
    for other in (*last.carriers, *result.answers[: len({a.entity for a in result.answers})]):
        shown += [f"{other.entity}.{w}" for w in written(program, other)]
    if writes or not result.terminal:
        assert sorted(shown) == sorted(writes), request


def written(program: Program, hop: HopResult) -> list[str]:
    kept = {a: v for a, v in hop.writes.items() if a.attribute != "verdict"}
    return [f"{a} = {show(v, program.attribute(a).type)}" for a, v in kept.items()]
