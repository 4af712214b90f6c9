"""`m4 trace`: the reference interpreter on one call path."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from m4c.analysis.reachability import wrong_patterns
from m4c.cli.common import choose_mesh, open_workspace, sound_program, unsound_policies
from m4c.cli.inputs import read_inputs
from m4c.cli.output import print_json
from m4c.reference import HopResult, Trace, may_end, trace
from m4c.semantics.model import Absent, AttrKey, Program, StateAtom, Value
from m4c.semantics.values import show
from m4c.testing import answering, hop_text


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    program = sound_program(workspace, mesh)
    unusable = {p.name for p in program.policies if any(wrong_patterns(p))}
    program = replace(program, policies=tuple(p for p in program.policies if p.name not in unusable))
    for name in (*unsound_policies(workspace, mesh), *sorted(unusable)):
        print(f"m4: `{name}` has errors and is not traced as it stands; `m4 check` shows them", file=sys.stderr)
    inputs = read_inputs(program, args)
    states = answering(program, inputs.states)
    result = trace(program, inputs.path, inputs.values, inputs.entity, states)
    here = [program.graph.services[s] for s in inputs.path.services]
    asking = {p.name for p in program.policies if any(may_end(p.pattern, s) for s in here)}
    states = {atom: answer for atom, answer in states.items() if atom.policy in asking}
    if args.format == "json":
        print_json(as_json(program, result, states))
    else:
        print(as_text(program, result, states), end="")
    return 0


# --- for programs -----------------------------------------------------------------------------------------------------


def as_json(program: Program, result: Trace, states: Mapping[StateAtom, bool] | None = None) -> dict[str, Any]:
    """The JSON of the command line's contract."""
    hops = [_hop_json(program, h) for h in result.hops]
    last = hops[-1] if hops else {"verdict": None, "status": None}
    return {
        "entity": result.hops[-1].entity if result.hops else None,
        "hops": hops,
        "answers": [_hop_json(program, h) for h in result.answers],
        "states": _answers(states or {}),
        "verdict": last["verdict"],
        "status": last["status"],
    }


def _hop_json(program: Program, hop: HopResult) -> dict[str, Any]:
    caller, callee = hop.hop
    return {
        "hop": [caller or "outside", callee],
        "entity": hop.entity,
        "carried": _plain(program, hop.carried),
        "carriers": [_hop_json(program, c) for c in hop.carriers],
        "fired": list(hop.fired),
        "dropped": [f"{policy}.{operation}" for policy, operation in hop.dropped],
        "verdict": hop.value("verdict"),
        "status": refusal_status(hop),
        "writes": _plain(program, hop.writes),
        "contradictions": [str(c.attr) for c in hop.contradictions],
    }


def refusal_status(hop: HopResult) -> Value | None:
    """The status of the refusal that ended a request; None where it goes on, or where more is written of its end."""
    own = {a.attribute for a in hop.writes if a.entity == hop.entity}
    return hop.value("status") if hop.terminal and own <= {"verdict", "status"} else None


def _plain(program: Program, values: Mapping[AttrKey, Value]) -> dict[str, Any]:
    return {str(a): _plain_value(program, a, v) for a, v in sorted(values.items())}


def _plain_value(program: Program, attr: AttrKey, value: Value) -> Any:
    if isinstance(value, Absent):
        return None
    return value if isinstance(value, str) else show(value, program.attribute(attr).type)


def _answers(states: Mapping[StateAtom, bool]) -> dict[str, bool]:
    return {str(atom): answer for atom, answer in sorted(states.items(), key=lambda item: str(item[0]))}


# --- for people -------------------------------------------------------------------------------------------------------


def as_text(program: Program, result: Trace, states: Mapping[StateAtom, bool] | None = None) -> str:
    """A trace hop by hop: what came along, which policies fired, and what they made of it."""
    lines = [f"{state} answers {'yes' if answer else 'no'}" for state, answer in _answers(states or {}).items()]
    for hop in result.hops:
        lines.append(hop_text(hop.hop))
        lines += [f"    carries {text}" for text in _values(program, hop.carried)]
        for carrier in hop.carriers:
            if not (carrier.fired or carrier.writes):
                continue
            lines.append(f"    {carrier.entity}")
            lines += [f"        {line}" for line in _what(program, carrier)]
        if hop.carriers and hop.carriers[-1].terminal:
            lines += [f"    {text}: its {hop.carriers[-1].entity} is denied" for text in _values(program, hop.writes)]
        else:
            lines += [f"    {line}" for line in _what(program, hop)]
    ended = result.hops[-1] if result.terminal else None
    lines.append(f"ended on {hop_text(ended.hop)}" if ended else "reaches the last service")
    for answer in result.answers:
        lines.append(f"{answer.entity} on {hop_text(answer.hop)}")
        lines += [f"    {line}" for line in _what(program, answer)]
    return "\n".join(lines) + "\n"


def _what(program: Program, hop: HopResult) -> Iterator[str]:
    yield f"fired: {', '.join(hop.fired) or 'none'}"
    for policy, operation in hop.dropped:
        yield f"overridden: {operation} of {policy}"
    yield from _values(program, hop.writes)
    for clash in hop.contradictions:
        type_ = program.attribute(clash.attr).type
        written = ", ".join(f"{policy} writes {show(value, type_)}" for policy, value in clash.writes)
        yield f"contradiction: {clash.attr}: {written}"


def _values(program: Program, values: Mapping[AttrKey, Value]) -> Iterator[str]:
    for attr, value in sorted(values.items()):
        yield f"{attr} = {show(value, program.attribute(attr).type)}"
