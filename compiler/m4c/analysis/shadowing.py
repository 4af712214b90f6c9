"""Policies without a point: always overridden, or without an effect of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from m4c.analysis.effects import Effects, Situation, outcomes, shares_writes
from m4c.semantics.effects import merge
from m4c.semantics.model import (
    ABSENT,
    FALSE,
    STATE,
    Atom,
    AttrKey,
    Cond,
    OpCall,
    Place,
    Policy,
    StateAtom,
    Value,
    all_of,
    any_of,
    atoms,
    negate,
)
from m4c.semantics.problems import Edit, Fix, Problem, Related, Witness


def shadowed(effects: Effects) -> Iterator[Problem]:
    """`shadowed`: fires somewhere, but others always drop everything that it requests."""
    for policy in effects.program.policies:
        over = [q for q in sorted(effects.orders.over[policy.name]) if _meets(effects, policy, q)]
        if not over or not policy.calls:
            continue
        found = _first_request(effects, policy)
        if found is None:
            continue
        who = " and ".join(f"`{q}`" for q in over)
        message = (
            f"`{policy.name}` never takes effect: whatever it requests, {who} override{'s' * (len(over) == 1)} it, "
            f"for instance on {found}"
        )
        related = tuple(Related(effects.policies[q].place, f"`{q}` overrides it") for q in over)
        yield Problem("shadowed", message, policy.place, related, (policy.name, *over), found)


def _meets(effects: Effects, policy: Policy, name: str) -> bool:
    other = effects.policies[name]
    return any(shares_writes(c, d) for c in policy.calls for d in other.calls)


def _first_request(effects: Effects, policy: Policy) -> Witness | None:
    """A witness that the policy requests something, if nothing of it ever takes effect; else None."""
    witness = None
    for at in effects.situations([policy.name], effects.relevant([policy.name])):
        if any(effects.possible(effects.effective(policy, call, at), at=at) for call in policy.calls):
            return None
        if witness is None:
            found = effects.solve(any_of(*(effects.requested(policy, call, at) for call in policy.calls)), at)
            witness = effects.witness(policy.entity, at, found) if found is not None else None
    return witness


def redundant(effects: Effects, shadowed_names: frozenset[str]) -> Iterator[Problem]:
    """`redundant`: without the policy no result changes. Among equal ones only the last in the text is reported."""
    policies = effects.program.policies
    for i, policy in enumerate(policies):
        if policy.name in shadowed_names or not policy.calls or not effects.ends(policy.pattern):
            continue
        if any(policy.name in effects.orders.after[p.name] for p in policies) or is_stateful(policy):
            continue
        if not effects.ever(policy, policy.when):
            continue
        if not _without_effect(effects, policy) or any(_equal(policy, q) for q in policies[i + 1 :]):
            continue
        same = next((q for q in policies[:i] if _equal(policy, q)), None)
        why = f"; `{same.name}` says the same" if same else ""
        message = f"without `{policy.name}` no request would be treated otherwise{why}"
        related = (Related(same.place, "the same"),) if same else ()
        whole = Place(policy.place.file, policy.place.decl, 0, -1)
        fixes = (Fix(f"Remove `{policy.name}`", (Edit(whole, ""),)),)
        yield Problem("redundant", message, policy.place, related, (policy.name,), fixes=fixes)


def _equal(a: Policy, b: Policy) -> bool:
    def effect(p: Policy) -> object:
        calls = tuple((c.guard, c.writes, c.side) for c in p.calls)
        return (p.pattern, p.when, calls, p.overrides, p.after)

    return effect(a) == effect(b)


def _without_effect(effects: Effects, policy: Policy) -> bool:
    """Whether on every input the attributes that the policy touches have the same values with and without it."""
    touched = {w.attr for c in policy.calls for w in c.writes}
    dropped_by = [
        q
        for q in effects.program.policies
        if policy.name in effects.orders.over[q.name] and _meets(effects, q, policy.name)
    ]
    touched |= {w.attr for q in dropped_by for c in q.calls for w in c.writes}
    ends = effects.ends(policy.pattern)
    concerned = touched | effects.ending_attributes
    writers = [
        q
        for q in effects.program.policies
        if any(w.attr in concerned for c in q.calls for w in c.writes) and effects.ends(q.pattern) & ends
    ]
    if effects.ending_attributes & {w.attr for c in policy.calls for w in c.writes}:
        # Without it a request may go on: whatever the others write then counts, or counts no more.
        touched |= {w.attr for q in effects.program.policies for c in q.calls for w in c.writes}
        writers = [q for q in effects.program.policies if effects.ends(q.pattern) & ends]
    names = {q.name for q in writers} - {policy.name}
    defaults = [d for d in effects.program.mesh.defaults if d.attr in touched | concerned]
    also = names | effects.relevant({policy.name, *names})
    for at in effects.situations([policy.name], also, [d.pattern for d in defaults]):
        without = replace(at, firing=at.firing - {policy.name})
        of_mesh = {defaults[i].attr: defaults[i].value for i in sorted(at.extra, reverse=True)}
        ends_with, ends_without = effects.endings(at, of_mesh), effects.endings(without, of_mesh)
        for attr in touched:
            default = of_mesh.get(attr, effects.program.attribute(attr).default)
            before = _values(effects, writers, attr, at, ends_with)
            after = _values(effects, writers, attr, without, ends_without)
            if _differ(effects, attr, before, after, default, at):
                return False
    return True


def is_stateful(policy: Policy) -> bool:
    """Whether a policy asks or changes a state: what it does is then no function of its input."""
    conds = [policy.when, *(c.guard for c in policy.calls)]
    asks = any(isinstance(a, StateAtom) for cond in conds for a in atoms(cond))
    return asks or any(c.entity.startswith(STATE) for c in policy.calls)


Writes = list[tuple[Cond, Value]]


def _values(
    effects: Effects, writers: list[Policy], attr: AttrKey, at: Situation, endings: Mapping[AttrKey, Cond]
) -> Writes:
    """The writes of an attribute that count (rules 3 and 5), each with its condition."""
    calls: list[tuple[Policy, OpCall]] = [(q, c) for q in writers if q.name in at.firing for c in q.calls]
    return [
        (cond, w.value)
        for q, c in calls
        for w in c.writes
        if w.attr == attr and (cond := all_of(effects.effective(q, c, at), effects.unsuppressed(c, endings))) != FALSE
    ]


def _differ(
    effects: Effects, attr: AttrKey, before: Writes, after: Writes, default: Value | None, at: Situation
) -> bool:
    """Whether the merged value of the writes can differ between two lists of conditional writes."""
    attribute = effects.program.attribute(attr)
    values = sorted({v for _, v in (*before, *after)}, key=repr)
    merged = attribute.merge in ("min", "max", "and", "or")
    if merged:
        order = {v: _rank(effects, attr, v, values) for v in values}
        values.sort(key=lambda v: order[v])

    def results(writes: Writes) -> dict[Value | None, Cond]:
        """Each value that can come out, with the condition for it."""
        out: dict[Value | None, Cond] = {}
        if attribute.merge in ("union", "sum"):
            for value, cond in outcomes(attribute, writes):
                result = default if value is None else value
                out[result] = any_of(out.get(result, FALSE), cond)
            return out
        rest: Cond = negate(any_of(*(c for c, _ in writes)))
        for value in values:
            here = any_of(*(c for c, v in writes if v == value))
            if merged:
                better = [c for c, v in writes if order[v] < order[value]]
                here = all_of(here, *(negate(c) for c in better))
            out[value] = here
        out[default] = any_of(out.get(default, FALSE), rest)
        return out

    one, two = results(before), results(after)
    for value in {*one, *two}:
        a, b = one.get(value, FALSE), two.get(value, FALSE)
        changed = any_of(all_of(a, negate(b)), all_of(b, negate(a)))
        arrived = _arrives_otherwise(effects, attr, value, default)
        if effects.possible(changed, *arrived, at=at):
            return True
    return False


def _rank(effects: Effects, attr: AttrKey, value: Value, values: list[Value]) -> int:
    """How many of the values win against this one in a merge."""
    attribute = effects.program.attribute(attr)
    return sum(merge(attribute, [value, v]) == v and v != value for v in values)


def _arrives_otherwise(effects: Effects, attr: AttrKey, value: Value | None, default: Value | None) -> tuple[Cond, ...]:
    """Writing what the attribute is anyway changes nothing."""
    if default is not None or value is None:
        return ()
    return (Atom(attr, "exists", True),) if value is ABSENT else (negate(Atom(attr, "==", value)),)
