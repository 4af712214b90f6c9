"""What a dataplane can run, by its spec alone."""

from __future__ import annotations

from m4c.placement.rules import Rule
from m4c.semantics.model import Atom, Dataplane, Side, StateAtom


def what_lacks(rule: Rule, spec: Dataplane, side: Side, versioned: bool, answers: bool) -> str | None:
    """What a dataplane lacks to run a rule on one side, whatever else is at its service. `answers`: it is about what
    comes back, so what a state is told there can be told only by what sees that."""
    operation = rule.operation
    known = spec.operations if rule.asks is None else spec.conditions
    supports = known.get((operation.entity, operation.name))
    if supports is None:
        return f"has no {operation.name}"
    if rule.side not in (None, side):
        return f"would have to run it at {rule.side}"
    if side not in supports.sides:
        return f"has no {operation.name} at {side}"
    if answers and not _sees(spec, rule.entity, side):
        return f"does not see {rule.entity} at {side}"
    if versioned and side == "egress":
        return "does not know at egress which version will answer"
    if rule.per is not None:
        reads = spec.reads.get((rule.per.entity, rule.per.attribute))
        if "keyed" not in supports.roles or reads is None or side not in reads.sides:
            return f"cannot keep a state for each {rule.per}"
    for atom in sorted(rule.reads, key=repr):
        lacking = _unreadable(spec, side, atom)
        if lacking is not None:
            return lacking
    if (rule.contextual or rule.marks) and side not in spec.reads_context:
        return f"cannot read the context at {side}"
    if rule.marks and side not in spec.writes_context:
        return f"cannot write the context at {side}"
    return None


def in_any_protocol(rule: Rule, spec: Dataplane) -> bool:
    """Whether a dataplane runs a rule without a look at what is sent."""
    supports = spec.operations.get((rule.operation.entity, rule.operation.name))
    return supports is not None and "any_protocol" in supports.roles


def _sees(spec: Dataplane, entity: str, side: Side) -> bool:
    """Whether a dataplane can read or do anything with an entity on one side."""
    operations = (s.sides for (of, _), s in spec.operations.items() if of == entity)
    reads = (r.sides for (of, _), r in spec.reads.items() if of == entity)
    return any(side in sides for sides in (*operations, *reads))


def _unreadable(spec: Dataplane, side: Side, atom: Atom | StateAtom) -> str | None:
    if isinstance(atom, StateAtom):
        supports = [s for (_, name), s in spec.conditions.items() if name == atom.condition]
        if any(side in s.sides for s in supports):
            return None  # what asks it, at the same position, needs it of the right kind of state
        return f"keeps no state, and so has no {atom.state}.{atom.condition}"
    reads = spec.reads.get((atom.attr.entity, atom.attr.attribute))
    if reads is None:
        return f"cannot read {atom.attr}"
    if side not in reads.sides:
        return f"cannot read {atom.attr} at {side}"
    if reads.comparisons is not None and atom.op not in reads.comparisons:
        return f"has no {atom.op} on {atom.attr}"
    return None
