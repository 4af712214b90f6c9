"""Policies without a point: always overridden, or without an effect of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from m4c.analysis.effects import Effects, outcomes, shares_writes
from m4c.analysis.ground import Situation
from m4c.predicates import Assignment
from m4c.semantics.effects import merge
from m4c.semantics.model import (
    ABSENT,
    FALSE,
    STATE,
    TRUE,
    Atom,
    AttrKey,
    Cond,
    Default,
    OpCall,
    Pattern,
    Place,
    Policy,
    StateAtom,
    Value,
    all_of,
    any_of,
    atoms,
    negate,
)
from m4c.semantics.problems import Problem, Related, Witness


def shadowed(effects: Effects, policy: Policy) -> Problem | None:
    """`shadowed`: fires somewhere, but others always drop everything that it requests."""
    over = [q for q in sorted(effects.orders.over[policy.name]) if _meets(effects, policy, q)]
    found = _first_request(effects, policy) if over and policy.calls else None
    if found is None:
        return None
    who = " and ".join(f"`{q}`" for q in over)
    message = (
        f"`{policy.name}` never takes effect: whatever it requests, {who} override{'s' * (len(over) == 1)} it, "
        f"for instance on {found}"
    )
    related = tuple(Related(effects.policies[q].place, f"`{q}` overrides it") for q in over)
    return Problem("shadowed", message, policy.place, related, (policy.name, *over), found)


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


def suppressed(effects: Effects, policy: Policy) -> Iterator[Problem]:
    """`suppressed`: an operation that is performed somewhere, but always beside something that ends the request."""
    if not effects.ending_attributes:
        return
    for call in policy.calls:
        found = _only_suppressed(effects, policy, call)
        if found is None:
            continue
        witness, (who, ending) = found
        by = "the mesh's default" if who is None else f"`{who.name}`"
        message = (
            f"`{call.operation}` of `{policy.name}` never has an effect: wherever it is requested, {by} ends it, "
            f"for instance on {witness}"
        )
        related = (Related(ending, "this ends it, and nothing else happens then"),)
        names = (policy.name,) if who in (None, policy) else (policy.name, who.name)
        yield Problem("suppressed", message, call.place, related, names, witness)


def _only_suppressed(
    effects: Effects, policy: Policy, call: OpCall
) -> tuple[Witness, tuple[Policy | None, Place]] | None:
    """A witness that the call is left by the other rules, and what ends the request there, if it never counts."""
    ends = effects.ends(policy.pattern)
    if any(effects.is_terminal(w.attr, w.value) or effects.program.attribute(w.attr).travels for w in call.writes):
        return None
    enders = [
        q
        for q in effects.program.policies
        if any(w.attr in effects.ending_attributes for c in q.calls for w in c.writes)
        and effects.ends(q.pattern) & ends
    ]
    defaults = [d for d in effects.program.mesh.defaults if d.attr in effects.ending_attributes]
    if call.entity.startswith(STATE) or not (enders or defaults):
        return None
    names = {q.name for q in enders}
    also = names | effects.relevant({policy.name, *names})
    shown = None
    for at in effects.situations([policy.name], also, [d.pattern for d in defaults]):
        of_mesh = {defaults[i].attr: defaults[i].value for i in sorted(at.extra, reverse=True)}
        left = effects.effective(policy, call, at)
        if left == FALSE:
            continue
        endings = effects.endings(at, of_mesh)
        if effects.possible(left, effects.unsuppressed(call, endings), at=at):
            return None
        found = None if shown else effects.solve(all_of(left, any_of(*endings.values())), at)
        if found is not None:
            shown = (effects.witness(policy.entity, at, found), _ender(effects, enders, defaults, at, found))
    return shown


def _ender(
    effects: Effects, enders: list[Policy], defaults: list[Default], at: Situation, found: Assignment
) -> tuple[Policy | None, Place]:
    """What ends the request on an input: a policy's call, else a default of the mesh."""
    for q in enders:
        for c in q.calls if q.name in at.firing else ():
            ends = any(effects.is_terminal(w.attr, w.value) for w in c.writes)
            if ends and effects.true(effects.effective(q, c, at), found):
                return q, c.place
    matching = [defaults[i] for i in sorted(at.extra)]
    return None, next(d.place for d in matching if effects.is_terminal(d.attr, d.value))


def idle(effects: Effects, policy: Policy) -> Iterator[Problem]:
    """Why a policy has no point, if it has none: `shadowed`, else `redundant`, else the calls that are `suppressed`."""
    hidden = shadowed(effects, policy)
    if hidden is not None:
        yield hidden
        yield from suppressed(effects, policy)
        return
    ended = list(suppressed(effects, policy))
    pointless = redundant(effects, policy, ended[-1] if ended else None)
    yield from ended if pointless is None else (pointless,)


def redundant(effects: Effects, policy: Policy, ended: Problem | None) -> Problem | None:
    """`redundant`: without the policy no result changes. Among equal ones only the last in the text is reported.

    `ended`: the finding `suppressed` about it; a policy of which nothing else is left is redundant for that reason.
    """
    policies = effects.program.policies
    if not policy.calls or not effects.ends(policy.pattern) or is_stateful(policy):
        return None
    if not effects.ever(policy, policy.when) or not without_effect(effects, policy):
        return None
    i = next(i for i, q in enumerate(policies) if q is policy)
    if any(_equal(effects, policy, q) for q in policies[i + 1 :]):
        return None
    same = next((q for q in policies[:i] if _equal(effects, policy, q)), None)
    why, related = "", tuple[Related, ...]()
    general = same or next((q for q in policies if q is not policy and _covers(effects, q, policy)), None)
    if same is not None:
        why, related = f"; `{same.name}` says the same", (Related(same.place, "the same"),)
    elif general is not None:
        why = f"; wherever it fires, `{general.name}` asks for the same, and elsewhere too"
        related = (Related(general.place, f"`{general.name}` is the more general one"),)
    elif ended is not None:
        why, related = "; what it asks for is always ended by something else", ended.related
    elif (default := _default_for(effects, policy)) is not None:
        why = "; where nothing else is said, the mesh's default says the same"
        related = (Related(default.place, "the default"),)
    elif all(c.side == "egress" for c in policy.calls) and _enters(policy.pattern):
        why = "; what it asks for happens at the caller's egress, and what comes from outside has no caller here"
    message = f"without `{policy.name}` no request would be treated otherwise{why}"
    return Problem("redundant", message, policy.place, related, (policy.name,))


def _default_for(effects: Effects, policy: Policy) -> Default | None:
    """A default of the mesh with a value that the policy writes, where the policy fires."""
    written = {(w.attr, w.value) for c in policy.calls for w in c.writes}
    ends = effects.ends(policy.pattern)
    defaults = (d for d in effects.program.mesh.defaults if (d.attr, d.value) in written)
    return next((d for d in defaults if effects.ends(d.pattern) & ends == ends), None)


def _enters(pattern: Pattern) -> bool:
    """Whether a pattern matches requests only as they enter the mesh: it names one service."""
    return len(pattern.steps) == 1 and not pattern.steps[0].star


def _covers(effects: Effects, general: Policy, policy: Policy) -> bool:
    """Whether one policy writes all that another one writes, on every input on which that one's writes take effect."""
    wanted = [(c, w) for c in policy.calls for w in c.writes]
    offered = {w: [c for c in general.calls if w in c.writes] for _, w in wanted}
    if not all(offered.values()) or effects.ends(policy.pattern) & ~effects.ends(general.pattern):
        return False
    for at in effects.situations([policy.name], {general.name, *effects.relevant((policy.name, general.name))}):
        for call, w in wanted:
            also = any_of(*(effects.effective(general, c, at) for c in offered[w]))
            if effects.possible(effects.effective(policy, call, at), negate(also), at=at):
                return False
    return True


def _equal(effects: Effects, a: Policy, b: Policy) -> bool:
    """Whether two policies request the same writes on every input, and stand in the same orders."""
    if (set(a.overrides), set(a.after)) != (set(b.overrides), set(b.after)):
        return False
    if effects.ends(a.pattern) != effects.ends(b.pattern):
        return False
    if {c.writes for c in a.calls} != {c.writes for c in b.calls}:
        return False
    related = effects.relevant((a.name, b.name))
    seen: set[frozenset[str]] = set()
    for one, other in ((a, b), (b, a)):
        for at in effects.situations([one.name], {other.name, *related}):
            if other.name not in at.firing:
                return False
            if at.firing in seen and not at.marks:
                continue
            seen.add(at.firing)
            for writes in {c.writes for c in a.calls}:
                first, second = (
                    any_of(*(effects.requested(p, c, at) for c in p.calls if c.writes == writes)) for p in (a, b)
                )
                differ = any_of(all_of(first, negate(second)), all_of(second, negate(first)))
                if effects.possible(differ, at=at):
                    return False
    return True


def without_effect(effects: Effects, policy: Policy) -> bool:
    """Whether on every input the attributes that the policy touches have the same values with and without it."""
    touched = {w.attr for n in _dependents(effects, policy.name) for c in effects.policies[n].calls for w in c.writes}
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
    marks = frozenset(a for a in touched if effects.program.attribute(a).travels)
    for at in effects.situations([policy.name], also, [d.pattern for d in defaults], marks=marks):
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


def _dependents(effects: Effects, name: str) -> set[str]:
    """The policies whose effect a policy can change: itself, those after one of them, those that one may override."""
    found = {name}
    queue = [name]
    while queue:
        of = queue.pop()
        for q in effects.program.policies:
            overridden = of in effects.orders.over[q.name] and _meets(effects, q, of)
            if q.name not in found and (overridden or of in effects.orders.after[q.name]):
                found.add(q.name)
                queue.append(q.name)
    return found


def is_stateful(policy: Policy) -> bool:
    """Whether a policy asks or changes a state: what it does is then no function of its input."""
    conds = [policy.when, *(c.guard for c in policy.calls)]
    asks = any(isinstance(a, StateAtom) for cond in conds for a in atoms(cond))
    return asks or any(c.entity.startswith(STATE) for c in policy.calls)


Writes = list[tuple[Cond, Value]]


def _values(
    effects: Effects, writers: list[Policy], attr: AttrKey, at: Situation, endings: Mapping[AttrKey, Cond]
) -> Writes:
    """The writes of an attribute that count (rules 3 and 5), each with its condition. Of what travels all do: paths are
    not pruned by verdicts, so later hops see it."""
    travels = effects.program.attribute(attr).travels
    calls: list[tuple[Policy, OpCall]] = [(q, c) for q in writers if q.name in at.firing for c in q.calls]
    written = [
        (all_of(effects.effective(q, c, at), TRUE if travels else effects.unsuppressed(c, endings)), w.value)
        for q, c in calls
        for w in c.writes
        if w.attr == attr
    ]
    return [(cond, value) for cond, value in written if cond != FALSE]


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
    for first, second in ((one, two), (two, one)):
        arrives = second.get(None, FALSE)  # when nothing is written, so that what arrived stays
        for value, cond in first.items():
            if value is None:
                continue
            lost = all_of(cond, negate(second.get(value, FALSE)))
            if effects.possible(lost, negate(arrives), at=at):
                return True
            if effects.possible(lost, arrives, _arrives_otherwise(attr, value), at=at):
                return True
    return False


def _rank(effects: Effects, attr: AttrKey, value: Value, values: list[Value]) -> int:
    """How many of the values win against this one in a merge."""
    attribute = effects.program.attribute(attr)
    return sum(merge(attribute, [value, v]) == v and v != value for v in values)


def _arrives_otherwise(attr: AttrKey, value: Value) -> Cond:
    """That the attribute arrives as something else: writing what it is anyway changes nothing."""
    return Atom(attr, "exists", True) if value is ABSENT else negate(Atom(attr, "==", value))
