"""A plan as plain data: one dictionary for each element, as the templates of its dataplane get it.

Everything in it can be written as JSON, and is ordered, so that equal plans give equal bytes. `wiring`, the addresses,
is added by whoever knows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from m4c.paths.callpath import Hop, Letter, Version, callees, instances
from m4c.placement.assemble import Run
from m4c.placement.plan import Plan
from m4c.placement.tags import Table, Update
from m4c.semantics.model import (
    SIDES,
    Absent,
    And,
    Atom,
    Cond,
    Const,
    Dataplane,
    Not,
    Or,
    Program,
    Side,
    StateAtom,
    Type,
    Value,
)

CONTEXT_HEADER = "m4-ctx"
ELEMENT = ("mesh", "service", "dataplane", "context", "sites")  # what there is of each element

Json: TypeAlias = Any  # dictionaries and lists of strings, numbers, booleans and None


def rules_of(element: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """All rules of an element, for what comes along its hops and for what comes back."""
    for site in element["sites"]:
        yield from site["rules"]
        yield from site["answers"]


def elements(program: Program, plan: Plan) -> tuple[dict[str, Json], ...]:
    """One dictionary for each element of the plan, in its order."""
    out: list[dict[str, Json]] = []
    runs_at: dict[tuple[str, str, Side, Hop], list[tuple[int, Run]]] = {}
    for number, run in enumerate(plan.runs, start=1):
        for p in run.positions:
            runs_at.setdefault((p.at.service, p.at.dataplane, p.side, run.rule.hop), []).append((number, run))
    sealed = {run.rule.hop: run.positions[0].at.dataplane for run in plan.runs if run.rule.both_ends}
    tables = {(t.position.at.service, t.position.at.dataplane, t.position.side, t.hop): t for t in plan.tables}
    for element in plan.elements:
        spec = program.dataplanes[element.dataplane]
        sites = []
        for side, hop in _hops(program, element.service, spec):
            at = (element.service, element.dataplane, side, hop)
            if at in runs_at or program.graph.services[hop[1]].protocol in spec.speaks:
                by_other = sealed.get(hop, element.dataplane) != element.dataplane
                sites.append(_site(program, hop, side, runs_at.get(at, []), tables.get(at), spec, by_other))
        out.append(
            {
                "mesh": program.mesh.name,
                "service": element.service,
                "dataplane": element.dataplane,
                "context": {"header": CONTEXT_HEADER, "width": max(1, -(-program.mesh.tag_bits // 4))},
                "sites": sites,
            }
        )
    return tuple(out)


def _hops(program: Program, service: str, spec: Dataplane) -> list[tuple[Side, Hop]]:
    """The hops that an element of this dataplane sits on, if it speaks their protocols: a proxy on all of them."""
    to = callees(program.graph)
    sides: set[Side] = set(SIDES)
    if spec.tier == "kernel":
        sides = {side for s in spec.operations.values() for side in s.sides}
        sides |= {*spec.reads_context, *spec.writes_context}
    out: list[tuple[Side, Hop]] = []
    if "egress" in sides:
        out += [("egress", (service, callee)) for callee in to[service]]
    if "ingress" in sides:
        if program.graph.services[service].entry:
            out.append(("ingress", (None, service)))
        out += [("ingress", (caller, service)) for caller in to if service in to[caller]]
    return out


def _site(
    program: Program,
    hop: Hop,
    side: Side,
    runs: Sequence[tuple[int, Run]],
    table: Table | None,
    spec: Dataplane,
    sealed: bool,
) -> dict[str, Json]:
    caller, callee = hop
    letters = instances(program.graph.services[callee])
    versions = [v for _, v in letters if v is not None]
    return {
        "id": f"egress.{callee}" if side == "egress" else f"ingress.{caller or 'outside'}",
        "side": side,
        "caller": caller,
        "callee": callee,
        "entry": caller is None,
        "protocol": program.graph.services[callee].protocol,
        "requests": program.carries_context(program.graph.services[callee].protocol),
        "versions": versions,
        "rules": [_rule(program, n, run, letters, spec) for n, run in _asking_first(runs) if not _back(program, run)],
        "answers": [_rule(program, n, run, letters, spec) for n, run in _asking_first(runs) if _back(program, run)],
        "tags": None if table is None else _tags(program, table, runs),
        "sealed": sealed,
    }


def _back(program: Program, run: Run) -> bool:
    """Whether a rule is about what comes back."""
    return program.entities[run.rule.entity].answers


def _asking_first(runs: Sequence[tuple[int, Run]]) -> list[tuple[int, Run]]:
    """With what asks states in front, each behind those whose answers it depends on."""
    waiting = [(n, run) for n, run in runs if run.rule.asks is not None]
    out: list[tuple[int, Run]] = []
    while waiting:
        unknown = {run.rule.asks for _, run in waiting}
        ready = next(i for i, (_, run) in enumerate(waiting) if not run.rule.reads & unknown)
        out.append(waiting.pop(ready))
    return [*out, *(item for item in runs if item[1].rule.asks is None)]


def _state(program: Program, name: str | None) -> dict[str, Json] | None:
    """A state that a rule asks or changes: its name, its kind, what it was made with and what it is kept for each value
    of."""
    state = next((s for s in program.states if s.name == name), None)
    if state is None:
        return None
    types = {p.name: p.type for p in program.entities[state.kind].params}
    args = {n: plain(v, types[n]) for n, v in state.args}
    per = None if state.per is None else {"attribute": state.per[0], "key": state.per[1]}
    return {"name": state.name, "kind": state.kind, "args": args, "per": per}


def _answer(atom: StateAtom) -> dict[str, Json]:
    return {
        "kind": "state",
        "state": atom.state,
        "condition": atom.condition,
        "asked": f"{atom.policy} {atom.occurrence}",
    }


def _rule(program: Program, number: int, run: Run, letters: Sequence[Letter], spec: Dataplane) -> dict[str, Json]:
    rule = run.rule
    operation = rule.operation
    types = {p.name: p.type for p in operation.params}
    entity = program.entities[operation.entity]
    return {
        "id": number,
        "policy": rule.sources[0].policy,
        "entity": rule.entity,
        "operation": operation.name,
        "emits": (spec.operations if rule.asks is None else spec.conditions)[operation.entity, operation.name].emits,
        "state": _state(program, rule.of_state),
        "asks": None if rule.asks is None else _answer(rule.asks),
        "args": {name: plain(value, types[name]) for name, value in rule.args},
        "services": sorted({s for name, value in rule.args for s in _services(value, types[name])}),
        "writes": [
            {
                "attribute": w.attr.attribute,
                "key": w.attr.key,
                "value": plain(w.value, entity.attributes[w.attr.attribute].type),
            }
            for w in rule.writes
        ],
        "terminal": rule.terminal,
        "outward": rule.outward,
        "when": _when(program, run, letters),
    }


def _when(program: Program, run: Run, letters: Sequence[Letter]) -> dict[str, Json]:
    """The groups of tags, each with its condition for each group of versions."""
    alternatives: list[dict[str, Json]] = []
    by_cond: dict[str, tuple[list[int], dict[str, Json]]] = {}
    for tags, effect in run.when:
        parts = []
        for versions, cond in effect:
            said = condition(program, cond, run.rule.entity)
            if len(effect) > 1:
                said = _all([{"kind": "version", "in": [v for v in versions if v is not None]}, said])
            parts.append(said)
        said = _any(parts)
        if tags is None:
            alternatives.append(said)
        else:
            by_cond.setdefault(repr(said), ([], said))[0].extend(tags)
    for numbers, said in by_cond.values():
        alternatives.append(_all([{"kind": "tag", "in": sorted(set(numbers))}, said]))
    return _any(alternatives)


def condition(program: Program, cond: Cond, entity: str) -> dict[str, Json]:
    """A condition about an entity as plain data. A comparison of something of what it answers has a `view`: the name of
    the attribute that this is as a whole."""
    match cond:
        case Const(value):
            return {"kind": "true" if value else "false"}
        case Not(inner):
            return {"kind": "not", "of": condition(program, inner, entity)}
        case And(parts):
            return _all([condition(program, p, entity) for p in parts])
        case Or(parts):
            return _any([condition(program, p, entity) for p in parts])
        case Atom(attr, op, value):
            kind = program.attribute(attr).type
            views = program.entities[entity].views.items()
            view = next(({"view": name} for name, of in views if of == attr.entity), {})
            return {
                "kind": "compare",
                **view,
                "attribute": attr.attribute,
                "key": attr.key,
                "op": op,
                "value": [plain(v, kind) for v in value]
                if op == "in" and isinstance(value, tuple)
                else value
                if op == "exists"
                else plain(value, kind),
            }
        case _:
            return _answer(cond)


def _all(parts: list[dict[str, Json]]) -> dict[str, Json]:
    kept = [p for p in parts if p["kind"] != "true"]
    if any(p["kind"] == "false" for p in kept):
        return {"kind": "false"}
    return {"kind": "true"} if not kept else kept[0] if len(kept) == 1 else {"kind": "all", "of": kept}


def _any(parts: list[dict[str, Json]]) -> dict[str, Json]:
    kept = [p for p in parts if p["kind"] != "false"]
    if any(p["kind"] == "true" for p in kept):
        return {"kind": "true"}
    return {"kind": "false"} if not kept else kept[0] if len(kept) == 1 else {"kind": "any", "of": kept}


def _tags(program: Program, table: Table, runs: Sequence[tuple[int, Run]]) -> dict[str, Json]:
    """An update; or, where it depends on what the site writes to marks, one for each of that in `by_marks`, the last of
    them for nothing written: `rules` has for each of the values the numbers of the rules of which one has to hold.

    In that case there is no `map`: whoever overlooks `by_marks` fails, instead of losing the context.
    """
    if not table.marked:
        return _by_version(table.updates)
    cases = []
    for written, updates in (*table.marked, ((), table.updates)):
        rules = [[n for n, run in runs if any((w.attr, w.value) == one for w in run.rule.marks)] for one in written]
        said = [
            {"attribute": a.attribute, "key": a.key, "value": plain(value, program.attribute(a).type)}
            for a, value in written
        ]
        cases.append({"marks": said, "rules": rules, **_by_version(updates)})
    return {"map": None, "otherwise": None, "by_version": None, "by_marks": cases}


def _by_version(updates: Sequence[tuple[tuple[Version, ...] | None, Update]]) -> dict[str, Json]:
    """An update, or, where it depends on the version that answers (at ingress only), one for each in `by_version`.

    In that case there is no `map`: whoever overlooks `by_version` fails, instead of losing the context.
    """
    if len(updates) == 1:
        return {**_update(updates[0][1]), "by_version": None}
    by_version = {v: _update(update) for versions, update in updates for v in versions or () if v is not None}
    return {"map": None, "otherwise": None, "by_version": by_version}


def _update(update: Update) -> dict[str, Json]:
    entries = [{"from": list(old), "to": new} for old, new in update.map]
    return {"map": entries, "otherwise": update.otherwise}


def _services(value: Value, kind: Type) -> Iterator[str]:
    """The services of the graph that a constant names."""
    if kind.name == "service":
        yield str(value)
    elif kind.name == "set" and isinstance(value, tuple):
        for item in value:
            yield from _services(item, kind.args[0])
    elif kind.name == "map" and isinstance(value, tuple):
        for pair in value:
            if isinstance(pair, tuple):
                yield from _services(pair[0], kind.args[0])
                yield from _services(pair[1], kind.args[1])


def plain(value: Value, kind: Type) -> Json:
    """A constant as JSON: a map becomes a dictionary, a set or a rate a list, an absent value null."""
    if isinstance(value, Absent):
        return None
    if not isinstance(value, tuple):
        return value
    if kind.name == "map":
        pairs = [v for v in value if isinstance(v, tuple) and len(v) == 2]
        return {str(k): plain(v, kind.args[1]) for k, v in pairs}
    inner = kind.args[0] if kind.args else kind
    return [plain(v, inner) for v in value]
