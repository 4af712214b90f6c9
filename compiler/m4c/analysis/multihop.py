"""Findings over several hops of one path, outside the guarantee of exactness: they assume that the headers that the
mesh lists under `propagate` pass unchanged, and nothing else of a request does.

Which attribute is a time limit, which one repeats requests, and which one applications hand on, the specs say
(`@deadline`, `@repeats`, `@propagates`).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

from m4c.analysis.effects import Effects, names_version
from m4c.analysis.ground import Situation
from m4c.analysis.later import Pair, on_earlier_hop, pairs, propagates
from m4c.semantics.model import ABSENT, AttrKey, Cond, OpCall, Policy, Write, all_of, any_of, negate
from m4c.semantics.problems import Problem, Related
from m4c.semantics.values import show


class _Writer(NamedTuple):
    policy: Policy
    call: OpCall
    write: Write


def _writers(effects: Effects, policy: Policy, role: str) -> list[_Writer]:
    """The writes of a policy to attributes with a role."""
    return [
        _Writer(policy, c, w) for c in policy.calls for w in c.writes if role in effects.program.attribute(w.attr).roles
    ]


def _hop(at: Situation) -> str:
    caller, callee = at.path.hop
    return f"{caller or 'outside'} -> {callee}"


def _path(effects: Effects, pair: Pair) -> str:
    named = any(names_version(effects.policies[n].pattern) for n in pair.second.firing)
    return str(pair.second.path) if named else pair.second.path.by_service


def timeout_inversion(effects: Effects, outer: Policy, inner: Policy) -> Problem | None:
    """`timeout-inversion`: a hop may wait longer than the caller of an earlier hop waits for all of it.

    The program has to hold every policy that limits the time on the inner hop too.
    """
    for first, second in product(_writers(effects, outer, "deadline"), _writers(effects, inner, "deadline")):
        limit, longer = first.write.value, second.write.value
        if not (isinstance(limit, int) and isinstance(longer, int) and limit < longer):
            continue
        attr = second.write.attr
        merges = effects.program.attribute(attr).merge == "min"
        shorter = [
            w
            for p in (effects.program.policies if merges else ())
            if p is not inner
            for w in _writers(effects, p, "deadline")
            if w.write.attr == attr and isinstance(w.write.value, int) and w.write.value <= limit
        ]
        for pair in pairs(effects, outer, inner, {w.policy.name for w in shorter}):
            holds = all_of(
                effects.effective(inner, second.call, pair.second),
                *(negate(effects.effective(w.policy, w.call, pair.second)) for w in shorter),
            )
            before = on_earlier_hop(effects, effects.effective(outer, first.call, pair.first))
            if effects.possible(holds, before):
                return _inversion(effects, first, second, pair, holds)
    return None


def _inversion(effects: Effects, outer: _Writer, inner: _Writer, pair: Pair, holds: Cond) -> Problem:
    type_ = effects.program.attribute(inner.write.attr).type
    attempts = _attempts(effects, pair.second)
    limit, longer = show(outer.write.value, type_), show(inner.write.value, type_)
    times = f", up to {attempts} times" if attempts > 1 else ""
    message = (
        f"on {_path(effects, pair)} the hop {_hop(pair.second)} may take {longer}{times} (`{inner.policy.name}`), but "
        f"{_hop(pair.first)} waits {limit} only (`{outer.policy.name}`): the caller has given up by then"
    )
    related = (Related(outer.call.place, f"{limit} on {_hop(pair.first)}"),)
    names = tuple(dict.fromkeys((outer.policy.name, inner.policy.name)))
    witness = effects.witness(inner.policy.entity, pair.second, effects.solve(holds))
    return Problem("timeout-inversion", message, inner.call.place, related, names, witness)


def _attempts(effects: Effects, at: Situation) -> int:
    """How often a request may be sent on this hop at most, by the policies that fire there for certain."""
    counts = [
        w.write.value
        for p in effects.program.policies
        if p.name in at.firing
        for w in _writers(effects, p, "repeats")
        if isinstance(w.write.value, int) and effects.performed(w.call, at)
    ]
    return 1 + max(counts, default=0)


def retry_amplification(effects: Effects, outer: Policy, inner: Policy) -> Problem | None:
    """`retry-amplification`: hops of one path repeat requests that repeat requests."""
    for first, second in product(_writers(effects, outer, "repeats"), _writers(effects, inner, "repeats")):
        if not all(isinstance(w.write.value, int) and w.write.value > 0 for w in (first, second)):
            continue
        for pair in pairs(effects, outer, inner):
            holds = effects.effective(inner, second.call, pair.second)
            before = on_earlier_hop(effects, effects.effective(outer, first.call, pair.first))
            if effects.possible(holds, before):
                return _amplification(effects, first, second, pair, holds)
    return None


def _amplification(effects: Effects, outer: _Writer, inner: _Writer, pair: Pair, holds: Cond) -> Problem:
    assert isinstance(outer.write.value, int) and isinstance(inner.write.value, int)  # noqa: S101
    first, second = 1 + outer.write.value, 1 + inner.write.value
    message = (
        f"on {_path(effects, pair)} one request may become {first * second}: {_hop(pair.first)} sends it up to {first} "
        f"times (`{outer.policy.name}`), and for each of them {_hop(pair.second)} up to {second} times "
        f"(`{inner.policy.name}`). One of the two hops is enough for that"
    )
    related = (Related(outer.call.place, f"up to {first} times on {_hop(pair.first)}"),)
    names = tuple(dict.fromkeys((outer.policy.name, inner.policy.name)))
    witness = effects.witness(inner.policy.entity, pair.second, effects.solve(holds))
    return Problem("retry-amplification", message, inner.call.place, related, names, witness)


def lost_headers(effects: Effects, writer: Policy, reader: Policy) -> Iterator[Problem]:
    """`overwritten-header` and `unpropagated-read`: a policy asks on a later hop for what another one wrote before.

    If applications hand it on, the policy sees what was written, whatever the client had sent; if they do not, it does
    not see what was written. Either is reported where it changes what the policy does.
    """
    told: set[AttrKey] = set()
    for wrote in _writers(effects, writer, "propagates"):
        attr = wrote.write.attr
        if attr in told or attr not in effects.reads(reader):
            continue
        problem = next(
            (p for pair in pairs(effects, writer, reader) if (p := _lost(effects, wrote, reader, pair))), None
        )
        if problem is not None:
            told.add(attr)
            yield problem


def _lost(effects: Effects, writer: _Writer, reader: Policy, pair: Pair) -> Problem | None:
    attr, value = writer.write.attr, writer.write.value
    wanted = [effects.requested(reader, call, pair.second) for call in reader.calls]
    written = [effects.substitute(cond, {attr: [(all_of(), value)]}) for cond in wanted]
    passes = propagates(effects, attr)
    both = list(zip(wanted, written, strict=True))
    # A reader that asks for just what is written wants it to be handed on: only what it misses counts then.
    changed = any_of(
        *(all_of(one, negate(other)) for one, other in both),
        *(all_of(other, negate(one)) for one, other in both if not passes),
    )
    before = on_earlier_hop(effects, effects.effective(writer.policy, writer.call, pair.first))
    if not effects.possible(changed, before):
        return None
    shown = show(value, effects.program.attribute(attr).type)
    does = f"takes {attr} away" if value is ABSENT else f"sets {attr} = {shown}"
    if passes:
        code = "overwritten-header"
        message = (
            f"`{writer.policy.name}` {does} on {_hop(pair.first)}, and applications hand it on, so on "
            f"{_path(effects, pair)} `{reader.name}` does not see what the client had sent"
        )
    else:
        code = "unpropagated-read"
        message = (
            f"`{writer.policy.name}` {does} on {_hop(pair.first)}, for that hop alone: on {_path(effects, pair)} "
            f"`{reader.name}` does not see it unless applications hand it on. If they do, list it under `propagate`"
        )
    place = reader.when_place or reader.place
    related = (Related(writer.call.place, f"`{writer.policy.name}` {does} here"),)
    witness = effects.witness(reader.entity, pair.second, effects.solve(changed))
    names = (writer.policy.name, reader.name)
    return Problem(code, message, place, related, names, witness, about=attr.key or "")
