"""`m4 trace`: the reference interpreter on one call path."""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from typing import Any

from m4c.cli.common import choose_mesh, open_workspace, sound_program, unsound_policies
from m4c.cli.errors import UsageError
from m4c.cli.output import print_json
from m4c.paths.callpath import CallPath
from m4c.reference import HopResult, Trace, trace
from m4c.semantics.conditions import attribute_key
from m4c.semantics.model import Absent, Attribute, AttrKey, Program, Type, Value
from m4c.semantics.problems import nearest
from m4c.semantics.values import ConstantError, constant, fold, show
from m4c.syntax import tree as t

OUTSIDE = "outside"


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    mesh = choose_mesh(workspace, args.mesh)
    program = sound_program(workspace, mesh)
    for name in unsound_policies(workspace, mesh):
        print(f"m4: `{name}` has errors and is not traced as it stands; `m4 check` shows them", file=sys.stderr)
    entity = args.entity or _entity(program)
    path = call_path(program, args.call_path)
    result = trace(program, path, values_of(program, entity, args))
    if args.format == "json":
        print_json(as_json(program, result))
    else:
        print(as_text(program, result), end="")
    return 0


def _entity(program: Program) -> str:
    """The entity that the policies are about; the first one if they are about several."""
    used = list(dict.fromkeys(p.entity for p in program.policies))
    for name in used or program.entities:
        return name
    raise UsageError("the specs of the mesh declare no entity")


def call_path(program: Program, text: str) -> CallPath:
    """The call path that `A,B:v2,D` names; `outside` may come first. Checked against the graph."""
    steps = [s.strip() for s in text.replace("->", ",").split(",") if s.strip()]
    outside = bool(steps) and steps[0] == OUTSIDE
    steps = steps[1:] if outside else steps
    if not steps:
        raise UsageError("a call path names at least one service, as in --path A,B,D")
    services, versions = [], []
    for step in steps:
        name, _, version = step.partition(":")
        service = program.graph.services.get(name)
        if service is None:
            near = nearest(name, program.graph.services)
            raise UsageError(f"the graph has no service `{name}`" + (f"; did you mean `{near}`?" if near else ""))
        if version and version not in service.versions:
            raise UsageError(f"`{name}` has no version `{version}`; it has {', '.join(service.versions) or 'none'}")
        services.append(name)
        versions.append(version or (service.versions[0] if service.versions else None))
    calls = {(c.caller, c.callee) for c in program.graph.calls}
    for u, v in pairwise(services):
        if (u, v) not in calls:
            raise UsageError(f"the graph has no call from `{u}` to `{v}`")
    first = program.graph.services[services[0]]
    if outside and not first.entry:
        raise UsageError(f"`{first.name}` is no entry: nothing from outside reaches it directly")
    if not outside and (not first.origin or (len(services) == 1 and first.entry)):
        if not first.entry:
            raise UsageError(f"`{first.name}` never starts a request by itself (`origin: false`)")
        outside = True
    if not outside and len(services) == 1:
        raise UsageError("a path of one service has no hop, unless it is an entry")
    return CallPath(outside, tuple(services), tuple(versions))


def values_of(program: Program, entity: str, args: argparse.Namespace) -> dict[AttrKey, Value]:
    """The entity as it arrives, from the options."""
    known = program.entities[entity].attributes if entity in program.entities else {}
    sugar = [("method", args.method, "GET"), ("target", args.target, "/")]
    settings: list[tuple[str, str | None, str]] = [
        (name, None, given or plain) for name, given, plain in sugar if given or name in known
    ]
    for text in args.header:
        name, eq, value = text.partition("=")
        if not eq:
            raise UsageError(f"--header takes NAME=VALUE, not `{text}`")
        settings.append(("header", name.strip(), value))
    for text in args.set:
        name, eq, value = text.partition("=")
        if not eq:
            raise UsageError(f"--set takes ATTRIBUTE=VALUE, not `{text}`")
        attribute, bracket, key = name.partition("[")
        settings.append((attribute.strip(), key.rstrip("]").strip('" ') if bracket else None, value))
    out: dict[AttrKey, Value] = {}
    for name, key, value in settings:
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean `{near}`?" if near else ""
            raise UsageError(f"{entity} has no attribute `{name}`{hint}")
        attr = attribute_key(entity, known[name], key)
        value = _value(known[name], value, program)
        out[attr] = f"{out[attr]},{value}" if attr in out and key is not None else value
    for name, attribute in known.items():
        type_ = attribute.type
        if (
            attribute.key is None
            and type_.name in ("string", "istring")
            and not type_.optional
            and not attribute.derived
        ):
            out.setdefault(AttrKey(entity, name), "")
    return out


def _value(attribute: Attribute, text: str, program: Program) -> Value:
    type_: Type = attribute.type
    if type_.name in ("string", "istring", "version"):
        return fold(text) if type_.name == "istring" else text
    from m4c.syntax.parser import parse_item

    item = parse_item(f"policy p (E e) on * {{ e.o({text}); }}").decl
    node: Any = None
    if isinstance(item, t.PolicyDecl) and isinstance(item.body[0], t.CallStatement) and item.body[0].call.args:
        node = item.body[0].call.args[0][1]
    try:
        if node is None:
            raise UsageError(f"`{text}` is not a value of {attribute.name}: {type_}")
        return constant(node, type_, program.enums)
    except ConstantError as e:
        raise UsageError(f"{attribute.name}: {e}") from None


def _hop_json(program: Program, hop: HopResult) -> dict[str, Any]:
    return {
        "hop": [hop.hop[0] or OUTSIDE, hop.hop[1]],
        "fired": list(hop.fired),
        "dropped": [f"{policy}.{operation}" for policy, operation in hop.dropped],
        "verdict": hop.value("verdict"),
        "status": hop.value("status") if hop.terminal else None,
        "writes": {str(a): _plain_value(program, a, v) for a, v in sorted(hop.writes.items())},
        "contradictions": [str(c.attr) for c in hop.contradictions],
    }


def _plain_value(program: Program, attr: AttrKey, value: Value) -> Any:
    if isinstance(value, Absent):
        return None
    return value if isinstance(value, str) else show(value, program.attribute(attr).type)


def as_json(program: Program, result: Trace) -> dict[str, Any]:
    """The JSON of the command line's contract."""
    hops = [_hop_json(program, h) for h in result.hops]
    last = hops[-1] if hops else {"verdict": None, "status": None}
    return {"hops": hops, "verdict": last["verdict"], "status": last["status"]}


def as_text(program: Program, result: Trace) -> str:
    lines = []
    for hop in result.hops:
        lines.append(f"{hop.hop[0] or OUTSIDE} -> {hop.hop[1]}")
        lines.append(f"    fired: {', '.join(hop.fired) or 'none'}")
        lines += [f"    overridden: {operation} of {policy}" for policy, operation in hop.dropped]
        for attr, value in sorted(hop.writes.items()):
            lines.append(f"    {attr} = {show(value, program.attribute(attr).type)}")
        for clash in hop.contradictions:
            type_ = program.attribute(clash.attr).type
            written = ", ".join(f"{policy} writes {show(value, type_)}" for policy, value in clash.writes)
            lines.append(f"    contradiction: {clash.attr}: {written}")
    ended = result.hops[-1] if result.terminal else None
    lines.append(f"ended on {ended.hop[0] or OUTSIDE} -> {ended.hop[1]}" if ended else "reaches the last service")
    return "\n".join(lines) + "\n"
