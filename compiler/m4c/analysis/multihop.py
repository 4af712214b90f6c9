"""Findings over several hops of one path, outside the guarantee of exactness: they assume that the headers that the
mesh lists under `propagate` pass unchanged, and nothing else of a request does.

Which attribute is a time limit, which one repeats requests, and which one applications hand on, the specs say
(`@deadline`, `@repeats`, `@propagates`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from m4c.analysis.effects import Effects, Situation, names_version
from m4c.analysis.later import Pair, on_earlier_hop, pairs, propagates
from m4c.semantics.model import ABSENT, AttrKey, Cond, OpCall, Policy, Write, all_of, any_of, negate
from m4c.semantics.problems import Problem, Related
from m4c.semantics.values import show


class _Writer(NamedTuple):
    policy: Policy
    call: OpCall
    write: Write


def multihop(effects: Effects) -> Iterator[Problem]:
    """All findings of this module."""
    yield from timeout_inversions(effects)
    yield from retry_amplifications(effects)
    yield from lost_headers(effects)


def _writers(effects: Effects, role: str) -> list[_Writer]:
    return [
        _Writer(p, c, w)
        for p in effects.program.policies
        for c in p.calls
        for w in c.writes
        if role in effects.program.attribute(w.attr).roles
    ]


def _hop(at: Situation) -> str:
    caller, callee = at.path.hop
    return f"{caller or 'outside'} -> {callee}"


def _path(effects: Effects, pair: Pair) -> str:
    named = any(names_version(effects.policies[n].pattern) for n in pair.second.firing)
    return str(pair.second.path) if named else pair.second.path.by_service


def timeout_inversions(effects: Effects) -> Iterator[Problem]:
    """`timeout-inversion`: a hop may wait longer than the caller of an earlier hop waits for all of it."""
    writers = [w for w in _writers(effects, "deadline") if isinstance(w.write.value, int)]
    told: set[tuple[str, str]] = set()
    for outer in writers:
        for inner in writers:
            names = (outer.policy.name, inner.policy.name)
            limit, longer = outer.write.value, inner.write.value
            if names in told or not (isinstance(limit, int) and isinstance(longer, int) and limit < longer):
                continue
            shorter = [
                w
                for w in writers
                if w.write.attr == inner.write.attr
                and isinstance(w.write.value, int)
                and w.write.value <= limit
                and w.policy is not inner.policy
            ]
            merges = effects.program.attribute(inner.write.attr).merge == "min"
            also = {w.policy.name for w in shorter} if merges else set()
            for pair in pairs(effects, outer.policy, inner.policy, also):
                holds = all_of(
                    effects.effective(inner.policy, inner.call, pair.second),
                    *(negate(effects.effective(w.policy, w.call, pair.second)) for w in shorter if merges),
                )
                before = on_earlier_hop(effects, effects.effective(outer.policy, outer.call, pair.first))
                if effects.possible(holds, before):
                    told.add(names)
                    yield _inversion(effects, outer, inner, pair, holds)
                    break


def _inversion(effects: Effects, outer: _Writer, inner: _Writer, pair: Pair, holds: Cond) -> Problem:
    type_ = effects.program.attribute(inner.write.attr).type
    attempts = _attempts(effects, pair.second)
    limit, longer = show(outer.write.value, type_), show(inner.write.value, type_)
    times = f", up to {attempts} times" if attempts > 1 else ""
    message = (
        f"on {_path(effects, pair)} {_hop(pair.second)} may take {longer}{times} (`{inner.policy.name}`), but "
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
        for w in _writers(effects, "repeats")
        if w.policy.name in at.firing and isinstance(w.write.value, int) and effects.performed(w.call, at)
    ]
    return 1 + max(counts, default=0)


def retry_amplifications(effects: Effects) -> Iterator[Problem]:
    """`retry-amplification`: hops of one path repeat requests that repeat requests."""
    writers = [w for w in _writers(effects, "repeats") if isinstance(w.write.value, int) and w.write.value > 0]
    told: set[frozenset[str]] = set()
    for outer in writers:
        for inner in writers:
            names = frozenset((outer.policy.name, inner.policy.name))
            if names in told:
                continue
            for pair in pairs(effects, outer.policy, inner.policy):
                holds = effects.effective(inner.policy, inner.call, pair.second)
                before = on_earlier_hop(effects, effects.effective(outer.policy, outer.call, pair.first))
                if effects.possible(holds, before):
                    told.add(names)
                    yield _amplification(effects, outer, inner, pair, holds)
                    break


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


def lost_headers(effects: Effects) -> Iterator[Problem]:
    """`overwritten-header` and `unpropagated-read`: a policy asks on a later hop for what another one wrote before.

    If applications hand it on, the policy sees what was written, whatever the client had sent; if they do not, it does
    not see what was written. Either is reported where it changes what the policy does.
    """
    told: set[tuple[str, str, AttrKey]] = set()
    for writer in _writers(effects, "propagates"):
        attr = writer.write.attr
        for reader in effects.program.policies:
            if (writer.policy.name, reader.name, attr) in told or attr not in effects.reads(reader):
                continue
            for pair in pairs(effects, writer.policy, reader):
                problem = _lost(effects, writer, reader, pair)
                if problem is not None:
                    told.add((writer.policy.name, reader.name, attr))
                    yield problem
                    break


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
