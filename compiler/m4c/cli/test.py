"""`m4 test`: the tests of a workspace's meshes, a line each, and the whole trace of those that fail."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from m4c import project, testing
from m4c.cli.common import open_workspace
from m4c.cli.errors import UsageError
from m4c.cli.output import colored, counted, print_json, range_json
from m4c.cli.paths import relative
from m4c.semantics.model import Place, Program
from m4c.syntax import tree as t
from m4c.testing import Came, CaseResult, TestResult
from m4c.tracing import trace_json, trace_text
from m4c.workspace import Span, Workspace

_WORDS = {"passed": "ok", "failed": "FAIL", "not run": "?"}
_COLORS = {"passed": "32", "failed": "1;31", "not run": "1;33"}
_CONTROL = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML cannot hold


@dataclass(frozen=True, slots=True)
class Ran:
    """One test and what came of it. Without a result, `why` says why it was not run."""

    title: str
    mesh: str | None
    span: Span
    program: Program | None
    result: TestResult | None
    why: str = ""

    @property
    def outcome(self) -> str:
        return "not run" if self.result is None else "passed" if self.result.holds else "failed"

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace(args.paths)
    ran = run_tests(workspace, args.pattern)
    if args.pattern and not ran:
        raise UsageError(f"no test has `{args.pattern}` in its title")
    match args.format:
        case "json":
            print_json(as_json(workspace, ran))
        case "junit":
            print(as_junit(workspace, ran))
        case _:
            print(as_text(workspace, ran, colored(sys.stdout)), end="")
    return 0 if all(r.passed for r in ran) else 1


def run_tests(workspace: Workspace, pattern: str = "", mesh: str | None = None) -> list[Ran]:
    """The tests of one mesh, or of all, with a text in their title."""
    db = workspace.db
    out: list[Ran] = []
    meshes: Sequence[str | None] = (*workspace.meshes(), None) if mesh is None else (mesh,)
    for name in meshes:
        for ref in project.test_refs(db, name):
            decl = ref.parsed.decl
            title = decl.title if isinstance(decl, t.TestDecl) else getattr(decl, "name", None)
            text = title.text if title is not None else ""
            if pattern.lower() not in text.lower():
                continue
            start, end = (title.start, title.end) if title is not None else (0, len(ref.text))
            span = workspace.span(Place(ref.file, ref.key, start, end))
            program, result = None, None
            if name is not None:
                program, result = project.program(db, name), testing.result(db, ref, name)
            if result is None or not result.cases:
                out.append(Ran(text, name, span, None, None, _why(workspace, ref, name)))
            else:
                out.append(Ran(text, name, span, program, result))
    return sorted(out, key=lambda r: (r.mesh or "", r.span.file, r.span.start))


def _why(workspace: Workspace, ref: project.DeclRef, mesh: str | None) -> str:
    """Why a test was not run."""
    if mesh is None:
        return "it belongs to no mesh"
    if not testing.sound(workspace.db, mesh) and project.test(workspace.db, ref, mesh).test is not None:
        return f"mesh `{mesh}` has errors"
    return "it has errors"


# --- for people -------------------------------------------------------------------------------------------------------


def as_text(workspace: Workspace, ran: Sequence[Ran], color: bool = False) -> str:
    """A line a test; behind one that fails its requests that do, each with its trace."""
    several = len({r.mesh for r in ran}) > 1
    lines = []
    for r in ran:
        word = f"{_WORDS[r.outcome]:4}"
        shown = f"\x1b[{_COLORS[r.outcome]}m{word}\x1b[0m" if color else word
        where = f"{relative(r.span.file)}:{r.span.start_line + 1}"
        of = f" of {r.mesh}" if several and r.mesh else ""
        why = f": {r.why}; `m4 check` shows them" if r.why.endswith("errors") else f": {r.why}" if r.why else ""
        lines.append(f"{shown} {r.title}{of}{f' ({where}){why}' if not r.passed else ''}")
        for case in r.result.cases if r.result is not None and r.program is not None else ():
            lines += _failure(workspace, r, case)
    lines.append(_summary(ran))
    return "\n".join(lines) + "\n"


def _failure(workspace: Workspace, r: Ran, case: CaseResult) -> Iterator[str]:
    if case.holds or r.program is None:
        return
    yield f"    {_source(workspace, case.case.place)}"
    for came in case.came:
        if not came.holds:
            yield f"    {_said(r.program, case, came)}"
    for line in trace_text(r.program, case.trace, case.states).splitlines():
        yield f"        {line}"


def _said(program: Program, case: CaseResult, came: Came) -> str:
    return f"expected {testing.expected_text(program, case.case, came.expected)}, but {came.why}"


def _source(workspace: Workspace, place: Place) -> str:
    """The text of a place, in one line."""
    span = workspace.span(place)
    return " ".join(workspace.text(span.file)[span.start : span.end].split()).rstrip(" ;")


def _summary(ran: Sequence[Ran]) -> str:
    if not ran:
        return 'no tests (`test "…" { request … on …; expect …; }`)'
    counts = [(o, sum(r.outcome == o for r in ran)) for o in _WORDS]
    return f"{counted(len(ran), 'test')}: {', '.join(f'{n} {o}' for o, n in counts if n)}"


# --- for programs -----------------------------------------------------------------------------------------------------


def as_json(workspace: Workspace, ran: Sequence[Ran]) -> dict[str, Any]:
    """The tests with their requests, the traces of these as `m4 trace` has them, and the expectations."""
    counts = {o.replace(" ", "_"): sum(r.outcome == o for r in ran) for o in _WORDS}
    return {"version": 1, "tests": [_test_json(workspace, r) for r in ran], "summary": counts}


def _test_json(workspace: Workspace, r: Ran) -> dict[str, Any]:
    requests = []
    for case in r.result.cases if r.result is not None and r.program is not None else ():
        assert r.program is not None  # noqa: S101
        expectations = [
            {
                "expected": testing.expected_text(r.program, case.case, came.expected),
                "holds": came.holds,
                "message": None if came.holds else _said(r.program, case, came),
                "range": range_json(workspace.span(came.expected.place)),
            }
            for came in case.came
        ]
        span = workspace.span(case.case.place)
        requests.append(
            {
                "text": _source(workspace, case.case.place),
                "range": range_json(span),
                "trace": trace_json(r.program, case.trace, case.states),
                "expectations": expectations,
            }
        )
    return {
        "title": r.title,
        "mesh": r.mesh,
        "file": relative(r.span.file),
        "range": range_json(r.span),
        "outcome": r.outcome,
        "reason": r.why or None,
        "requests": requests,
    }


def as_junit(workspace: Workspace, ran: Sequence[Ran]) -> str:
    """The XML that continuous integration reads: a suite a mesh, a case a test."""
    from xml.etree import ElementTree as Xml

    def text(value: str) -> str:
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value)

    top = Xml.Element("testsuites", name="m4")
    for mesh in dict.fromkeys(r.mesh for r in ran):
        here = [r for r in ran if r.mesh == mesh]
        counts = {o: str(sum(r.outcome == o for r in here)) for o in _WORDS}
        suite = Xml.SubElement(
            top,
            "testsuite",
            name=text(mesh or ""),
            tests=str(len(here)),
            failures=counts["failed"],
            errors=counts["not run"],
        )
        for r in here:
            file, line = relative(r.span.file), str(r.span.start_line + 1)
            case = Xml.SubElement(
                suite, "testcase", classname=text(file), name=text(r.title), file=text(file), line=line
            )
            if r.passed:
                continue
            detail = [line for c in (r.result.cases if r.result else ()) for line in _failure(workspace, r, c)]
            message = r.result.problems[0].message if r.result else r.why
            kind = "failure" if r.outcome == "failed" else "error"
            Xml.SubElement(case, kind, message=text(message)).text = text("\n".join(detail))
    Xml.indent(top)
    return Xml.tostring(top, encoding="unicode", xml_declaration=False)
