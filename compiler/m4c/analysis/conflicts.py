"""Writes that meet: contradictions, merges that decide, and results that depend on an order that nobody gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement, product
from typing import TypeAlias

from m4c.analysis.effects import Effects
from m4c.semantics.model import (
    AttrKey,
    Cond,
    OpCall,
    Policy,
    Value,
    Write,
    all_of,
    any_of,
    negate,
)
from m4c.semantics.problems import Problem, Related, Witness
from m4c.semantics.values import show


@dataclass(frozen=True, slots=True)
class _Writer:
    policy: Policy
    call: OpCall
    write: Write


_Pair: TypeAlias = tuple[_Writer, _Writer]


def conflicts(effects: Effects) -> Iterator[Problem]:
    """`contradiction` and `merged`: for every two policies (or one) whose differing writes take effect on one input."""
    policies = effects.program.policies
    for one, two in combinations_with_replacement(policies, 2):
        yield from conflicts_of(effects, one, two)
    yield from default_conflicts(effects)


def conflicts_of(effects: Effects, one: Policy, two: Policy) -> Iterator[Problem]:
    """The conflicts of two policies, or of one with itself: one finding an attribute."""
    first, second = _writers(one), _writers(two)
    for attr in sorted(first.keys() & second.keys()):
        pairs = combinations(first[attr], 2) if one is two else product(first[attr], second[attr])
        differing = [(a, b) for a, b in pairs if a.write.value != b.write.value]
        problem = _meeting(effects, differing, attr) if differing else None
        if problem is not None:
            yield problem


def _writers(policy: Policy) -> dict[AttrKey, list[_Writer]]:
    found: dict[AttrKey, list[_Writer]] = {}
    for call in policy.calls:
        for w in call.writes:
            found.setdefault(w.attr, []).append(_Writer(policy, call, w))
    return found


def _meeting(effects: Effects, pairs: list[_Pair], attr: AttrKey) -> Problem | None:
    """The problem of the first pair of writes that meets; all pairs are of the same policies."""
    one, two = pairs[0][0].policy, pairs[0][1].policy
    if not effects.ends(one.pattern) & effects.ends(two.pattern):
        return None
    names = dict.fromkeys((one.name, two.name))
    related = effects.relevant(names)
    after = effects.orders.after
    if not related and one.name not in after[two.name] and two.name not in after[one.name]:  # they see the same
        pairs = [(a, b) for a, b in pairs if effects.possible(one.when, a.call.guard, two.when, b.call.guard)]
    if not pairs:
        return None
    for at in effects.situations(names, related):
        meets = [all_of(effects.effective(one, a.call, at), effects.effective(two, b.call, at)) for a, b in pairs]
        found = effects.solve(any_of(*meets), at)
        if found is not None:
            first, second = next(p for p, c in zip(pairs, meets, strict=True) if effects.true(c, found))
            return _problem(effects, first, second, attr, effects.witness(one.entity, at, found))
    return None


def _problem(effects: Effects, a: _Writer, b: _Writer, attr: AttrKey, witness: Witness) -> Problem:
    attribute = effects.program.attribute(attr)
    merges = attribute.merge is not None
    first = f"`{a.policy.name}` writes {attr} = {show(a.write.value, attribute.type)}"
    second = f"`{b.policy.name}` writes {attr} = {show(b.write.value, attribute.type)}"
    where = f"on {witness}"
    if merges:
        message = f"{first} and {second} {where}; the merge `{attribute.merge}` decides"
    elif a.policy is b.policy:
        message = (
            f"`{a.policy.name}` contradicts itself {where}: it writes {attr} twice, and `{attr.attribute}` has no "
            "merge. A body has no order, so only its author can say which of the two is meant"
        )
    else:
        message = (
            f"`{a.policy.name}` and `{b.policy.name}` contradict each other {where}: {first}, {second}, "
            f"and `{attr.attribute}` has no merge. Say which one overrides the other, or narrow a pattern"
        )
    return Problem(
        "merged" if merges else "contradiction",
        message,
        b.call.place,
        (Related(a.call.place, first),),
        tuple(dict.fromkeys((a.policy.name, b.policy.name))),
        witness,
        mirrored=second,
        about=str(attr),
    )


def default_conflicts(effects: Effects) -> Iterator[Problem]:
    """Two mesh defaults that differ on one input that no policy writes."""
    program = effects.program
    for a, b in combinations(program.mesh.defaults, 2):
        if a.attr != b.attr or a.value == b.value:
            continue
        writers = [(p, c) for p in program.policies for c in p.calls if any(w.attr == a.attr for w in c.writes)]
        names = list(dict.fromkeys(p.name for p, _ in writers))
        names += sorted(effects.relevant(names))
        for at in effects.situations((), names, (a.pattern, b.pattern), all_extra=True):
            found = effects.solve(negate(any_of(*(effects.effective(p, c, at) for p, c in writers))), at)
            if found is not None:
                witness = effects.witness(a.attr.entity, at, found)
                message = (
                    f"two defaults differ on {witness}: {a.attr} = {_shown(effects, a.attr, a.value)} "
                    f"and {_shown(effects, b.attr, b.value)}"
                )
                related = (Related(a.place, "the other default"),)
                mirror = "the other default"
                about = str(a.attr)
                yield Problem("contradiction", message, b.place, related, (), witness, mirrored=mirror, about=about)
                break


def _shown(effects: Effects, attr: AttrKey, value: Value) -> str:
    return show(value, effects.program.attribute(attr).type)


def order_dependent(effects: Effects, writer: Policy, reader: Policy) -> Problem | None:
    """`order-dependent`: one policy's writes change what another requests, and no `after` orders the two."""
    read = effects.reads(reader)
    if writer is reader or not read or _ordered(effects, writer, reader):
        return None
    before = effects.orders.after[reader.name]
    droppers = {name for n in before for name in effects.orders.over[n]}  # of what the reader sees now
    concerned = writer.name in droppers or any(w.attr in read for c in writer.calls for w in c.writes)
    if not concerned or not effects.ends(writer.pattern) & effects.ends(reader.pattern):
        return None
    return _order_problem(effects, writer, reader)


def _ordered(effects: Effects, a: Policy, b: Policy) -> bool:
    return a.name in effects.orders.after[b.name] or b.name in effects.orders.after[a.name]


def _order_problem(effects: Effects, writer: Policy, reader: Policy) -> Problem | None:
    """Whether some call of `reader` is requested on an input if and only if it does not see what `writer` writes."""
    names = (writer.name, reader.name)
    for at in effects.situations(names, effects.relevant(names)):
        changes: list[Cond] = []
        for call in reader.calls:
            if effects.performed(call, at):
                wanted = all_of(reader.when, call.guard)
                one, two = effects.seen(reader, wanted, at), effects.seen_after(reader, writer, wanted, at)
                changes += [all_of(one, negate(two)), all_of(two, negate(one))]
        found = effects.solve(any_of(*changes), at)
        if found is None:
            continue
        witness = effects.witness(reader.entity, at, found)
        causes = (c for c in writer.calls if effects.true(effects.effective(writer, c, at), found))
        cause = next(causes, writer.calls[0])
        read = effects.reads(reader)
        written = {w.attr for c in writer.calls for w in c.writes}
        what = ", ".join(str(a) for a in sorted(written & read or written))
        message = (
            f"`{writer.name}` writes {what}, which `{reader.name}` reads, so on {witness} the result depends on "
            f"which comes first. Say `after {writer.name}` or `after {reader.name}`"
        )
        related = (Related(cause.place, f"`{writer.name}` writes it here"),)
        place = reader.when_place or reader.place
        reads = f"`{reader.name}` reads it here"
        return Problem("order-dependent", message, place, related, names, witness, mirrored=reads, about=what)
    return None
