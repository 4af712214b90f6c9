"""What a trace says, as data and as text: what came along each hop, which policies fired, and what they made of it.

`m4 trace`, `m4 test` and the editors show traces in this form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from m4c.paths.callpath import Hop
from m4c.placement.plan import Plan
from m4c.reference import HopResult, Trace
from m4c.semantics.model import Absent, AttrKey, Program, StateAtom, Value
from m4c.semantics.values import show
from m4c.testing import hop_text


@dataclass(frozen=True, slots=True)
class Ran:
    """Where an operation ran on a hop. `call`: its index in the policy."""

    policy: str
    call: int
    operation: str
    service: str
    dataplane: str
    side: str


REACHES = "reaches the last service"
Sites: TypeAlias = Mapping[Hop, Sequence[Ran]]


def sites(plan: Plan | None) -> Sites:
    """Where a plan has put the operations of policies, hop by hop."""
    out: dict[Hop, list[Ran]] = {}
    for o in plan.operations if plan is not None else ():
        if not o.default:
            out.setdefault(o.hop, []).append(Ran(o.policy, o.call, o.operation, o.service, o.dataplane, o.side))
    return out


def ran(hop: HopResult, where: Sites) -> list[Ran]:
    """Where the operations ran that took effect on a hop, of those that the plan knows."""
    return [r for r in where.get(hop.hop, ()) if (r.policy, r.call) in hop.effective]


# --- for programs -----------------------------------------------------------------------------------------------------


def trace_json(program: Program, result: Trace, states: Mapping[StateAtom, bool] | None = None) -> dict[str, Any]:
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


def trace_text(
    program: Program, result: Trace, states: Mapping[StateAtom, bool] | None = None, where: Sites | None = None
) -> str:
    """A trace hop by hop: what came along, which policies fired, and what they made of it. `where`: also where that
    ran."""
    lines = [f"{state} answers {'yes' if answer else 'no'}" for state, answer in _answers(states or {}).items()]
    for hop in result.hops:
        lines.append(hop_text(hop.hop))
        lines += [f"    carries {text}" for text in _values(program, hop.carried)]
        for carrier in hop.carriers:
            if not (carrier.fired or carrier.writes):
                continue
            lines.append(f"    {carrier.entity}")
            lines += [f"        {line}" for line in _what(program, carrier, where)]
        if hop.carriers and hop.carriers[-1].terminal:
            lines += [f"    {text}: its {hop.carriers[-1].entity} is denied" for text in _values(program, hop.writes)]
        else:
            lines += [f"    {line}" for line in _what(program, hop, where)]
    lines.append(f"ended on {hop_text(result.hops[-1].hop)}" if result.terminal else REACHES)
    for answer in result.answers:
        lines.append(f"{answer.entity} on {hop_text(answer.hop)}")
        lines += [f"    {line}" for line in _what(program, answer, where)]
    return "\n".join(lines) + "\n"


def outcome(program: Program, result: Trace) -> str:
    """What became of a request, in a line."""
    if not result.terminal:
        return REACHES
    last = result.hops[-1]
    return f"ended on {hop_text(last.hop)} with {', '.join(_values(program, last.writes))}"


def _what(program: Program, hop: HopResult, where: Sites | None) -> Iterator[str]:
    yield f"fired: {', '.join(hop.fired) or 'none'}"
    for policy, operation in hop.dropped:
        yield f"overridden: {operation} of {policy}"
    for r in ran(hop, where) if where is not None else ():
        yield f"{r.policy}: {r.operation} by {r.dataplane} at {r.side} of {r.service}"
    yield from _values(program, hop.writes)
    for clash in hop.contradictions:
        type_ = program.attribute(clash.attr).type
        written = ", ".join(f"{policy} writes {show(value, type_)}" for policy, value in clash.writes)
        yield f"contradiction: {clash.attr}: {written}"


def _values(program: Program, values: Mapping[AttrKey, Value]) -> Iterator[str]:
    for attr, value in sorted(values.items()):
        yield f"{attr} = {show(value, program.attribute(attr).type)}"
