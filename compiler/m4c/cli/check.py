"""`m4 check`: every problem of a workspace, for people, programs and code hosts."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from m4c import VERSION, project
from m4c.cli import fixing
from m4c.cli.common import errors, open_workspace
from m4c.cli.errors import UsageError
from m4c.cli.outcome import Outcome, keep, recall
from m4c.cli.output import colored, counted, json_text, range_json
from m4c.cli.paths import relative
from m4c.cli.text import render_text
from m4c.diagnostics.aggregate import aggregated
from m4c.diagnostics.registry import RULES, Severity
from m4c.ide.fixall import Made
from m4c.semantics.problems import Problem, Shown, Witness
from m4c.workspace import Span, Workspace


def run(args: argparse.Namespace) -> int:
    if not args.fix and (args.dry_run or args.code):
        raise UsageError("--dry-run and --code say how to --fix; without it they mean nothing")
    asked = ("check", args.format, args.all)
    outcome = None if args.fix else recall([Path(p) for p in args.paths], *asked)
    if outcome is None:
        workspace = open_workspace(args.paths)
        made: list[Made] = []
        if args.fix:
            workspace, made = _fix(args, workspace)
        found, outcome = _checked(args, workspace, made)
        workspace.remember()
        if not args.fix:
            keep(workspace, _summary(found)["policies"], outcome, *asked)
    with contextlib.suppress(BrokenPipeError):  # whoever stops reading still gets the exit code
        print(outcome.out, end="")
    return outcome.code


def _fix(args: argparse.Namespace, workspace: Workspace) -> tuple[Workspace, list[Made]]:
    """Makes the fixes, and says so; the workspace with them, and what was made."""
    outcome = fixing.fixed(workspace, args.code)
    texts = outcome.texts(workspace)
    said = fixing.report(outcome, args.dry_run)
    if args.dry_run:
        said += fixing.diff(workspace, texts)
    else:
        fixing.write(workspace, texts)
    with contextlib.suppress(BrokenPipeError):
        print(f"{said}\n" if said else "", end="", file=sys.stdout if args.format == "text" else sys.stderr)
    return outcome.workspace, list(outcome.made)


def _checked(args: argparse.Namespace, workspace: Workspace, made: list[Made]) -> tuple[Found, Outcome]:
    judged = workspace.judged()
    every = workspace.in_order(judged.left)
    shown = every if args.all else workspace.in_order(aggregated(every))
    found = Found(workspace, every, shown, list(judged.suppressed))
    match args.format:
        case "json":
            out = json_text(as_json(found) | ({"fixed": fixing.as_json(made)} if args.fix else {}))
        case "sarif":
            out = json_text(as_sarif(found))
        case "github":
            out = "".join(as_github(workspace, shown))
        case _:
            out = f"{render_text(workspace, shown, colored(sys.stdout))}{_closing(found)}\n"
    return found, Outcome(out, 1 if errors(workspace, every) else 0)


@dataclass(frozen=True, slots=True)
class Found:
    """What a check comes to: `shown` are the problems as they are reported, of which one may stand for many of `every`;
    `suppressed` comes with the reasons."""

    workspace: Workspace
    every: list[Problem]
    shown: list[Problem]
    suppressed: list[tuple[Problem, str]]


def _closing(result: Found) -> str:
    summary = _summary(result)
    found = [counted(summary[f"{word}s"], word) for word in ("error", "warning") if summary[f"{word}s"]]
    over = f"{counted(summary['policies'], 'policy', 'policies')} over {counted(summary['services'], 'service')}"
    quiet = f" ({summary['suppressed']} suppressed)" if "suppressed" in summary else ""
    return f"{over}: {', '.join(found) or 'no errors'}{quiet}"


def _summary(found: Found) -> dict[str, int]:
    """What there is, and how much is wrong with it: each of the pairs counts that one finding stands for."""
    workspace = found.workspace
    severities = [workspace.severity(p) for p in found.every]
    meshes: list[str | None] = [*workspace.meshes(), None]
    policies = sum(len(project.policy_refs(workspace.db, m)) for m in meshes)
    graphs = [project.mesh_graph(workspace.db, m) for m in workspace.meshes()]
    return {
        "errors": severities.count(Severity.ERROR),
        "warnings": severities.count(Severity.WARNING),
        "policies": policies,
        "services": len({s for g in graphs if g for s in g.services}),
        **({"suppressed": len(found.suppressed)} if found.suppressed else {}),
    }


def _witness(witness: Witness) -> dict[str, Any]:
    return {
        "path": list(witness.path),
        "hop": list(witness.hop),
        "entity": witness.entity,
        "attributes": _attributes(witness.attributes),
        "states": dict(witness.states),
        "earlier": [
            {"hop": list(hop), "attributes": _attributes(of), "states": dict(states)}
            for hop, of, states in witness.earlier
        ],
    }


def _attributes(shown: Shown) -> dict[str, Any]:
    return {name: value if isinstance(value, str | int | bool) else text for name, value, text in shown}


def as_json(found: Found) -> dict[str, Any]:
    """The JSON of the command line's contract, version 1."""
    workspace = found.workspace
    diagnostics = []
    for p in found.shown:
        span = workspace.span(p.place)
        item: dict[str, Any] = {
            "code": p.code,
            "severity": workspace.severity(p).word,
            "message": p.message,
            "file": relative(span.file),
            "range": range_json(span),
            "policies": list(p.policies),
            "related": [
                {"file": relative(r.place.file), "range": range_json(workspace.span(r.place)), "message": r.message}
                for r in p.related
            ],
        }
        if p.pairs > 1:
            item["pairs"] = p.pairs
        if p.witness is not None:
            item["witness"] = _witness(p.witness)
        diagnostics.append(item)
    return {"version": 1, "diagnostics": diagnostics, "summary": _summary(found)}


def as_sarif(found: Found) -> dict[str, Any]:
    """SARIF 2.1.0, with what is suppressed marked as that."""
    workspace = found.workspace
    level = {Severity.ERROR: "error", Severity.WARNING: "warning"}
    indices = {code: index for index, code in enumerate(RULES)}

    def location(span: Span) -> dict[str, Any]:
        region = {
            "startLine": span.start_line + 1,
            "startColumn": span.start_char + 1,
            "endLine": span.end_line + 1,
            "endColumn": span.end_char + 1,
        }
        return {"physicalLocation": {"artifactLocation": {"uri": _uri(span.file)}, "region": region}}

    def result(p: Problem, **more: Any) -> dict[str, Any]:
        return {
            "ruleId": p.code,
            "ruleIndex": indices[p.code],
            "level": level.get(workspace.severity(p), "note"),
            "message": {"text": p.message},
            **({"occurrenceCount": p.pairs} if p.pairs > 1 else {}),
            "locations": [location(workspace.span(p.place))],
            "relatedLocations": [
                {**location(workspace.span(r.place)), "message": {"text": r.message}} for r in dict.fromkeys(p.related)
            ],
            "properties": {"policies": list(p.policies), "witness": _witness(p.witness) if p.witness else None},
            **more,
        }

    said = {"suppressions": list[Any]()} if found.suppressed else {}  # of all results, or of none
    results = [result(p, **said) for p in found.shown]
    results += [
        result(p, suppressions=[{"kind": "inSource", "justification": reason}]) for p, reason in found.suppressed
    ]
    rules = [
        {
            "id": r.code,
            "shortDescription": {"text": r.title},
            "fullDescription": {"text": r.why},
            "help": {"text": r.mend},
            "defaultConfiguration": {"level": level.get(r.severity, "note")},
        }
        for r in RULES.values()
    ]
    driver = {"name": "m4", "semanticVersion": VERSION, "rules": rules}
    run_ = {"tool": {"driver": driver}, "columnKind": "utf16CodeUnits", "results": results}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run_],
    }


def _uri(file: str) -> str:
    """Relative to the working folder where that is above the file, as SARIF wants it."""
    short = relative(file)
    return Path(file).as_uri() if Path(short).is_absolute() else quote(os.fsencode(short))


def as_github(workspace: Workspace, problems: list[Problem]) -> list[str]:
    """Workflow commands, one a line."""
    words = {Severity.ERROR: "error", Severity.WARNING: "warning"}
    out = []
    for p in problems:
        span = workspace.span(p.place)
        start, end = f"line={span.start_line + 1}", f"endLine={span.end_line + 1}"
        if span.start_line == span.end_line:  # columns are taken within one line only
            start, end = f"{start},col={span.start_char + 1}", f"{end},endColumn={span.end_char + 1}"
        where = f"file={_escaped(relative(span.file), ':,')},{start},{end},title={p.code}"
        out.append(f"::{words.get(workspace.severity(p), 'notice')} {where}::{_escaped(p.message)}\n")
    return out


def _escaped(text: str, more: str = "") -> str:
    """Text inside a workflow command; `more` are the characters that also end a property."""
    for c in f"%\r\n{more}":
        text = text.replace(c, f"%{ord(c):02X}")
    return text
