"""Writes that meet: contradictions, merges that decide, and results that depend on an order that nobody gave."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from m4c.analysis.effects import Effects, Situation
from m4c.paths.product import JointPaths, count_paths
from m4c.predicates import Assignment
from m4c.semantics.model import (
    AttrKey,
    OpCall,
    Place,
    Policy,
    Value,
    Write,
    all_of,
    any_of,
    negate,
)
from m4c.semantics.problems import Edit, Fix, Problem, Related, Witness
from m4c.semantics.values import show


@dataclass(frozen=True, slots=True)
class _Writer:
    policy: Policy
    call: OpCall
    write: Write


def conflicts(effects: Effects) -> Iterator[Problem]:
    """`contradiction` and `merged`: for every pair of differing writes that take effect on one input."""
    by_attr: dict[AttrKey, list[_Writer]] = {}
    for policy in effects.program.policies:
        for call in policy.calls:
            for w in call.writes:
                by_attr.setdefault(w.attr, []).append(_Writer(policy, call, w))
    said: set[tuple[str, str, AttrKey, bool]] = set()
    for attr, writers in by_attr.items():
        merges = effects.program.attribute(attr).merge is not None
        for a, b in combinations(writers, 2):
            key = (a.policy.name, b.policy.name, attr, merges)
            if a.write.value == b.write.value or key in said:
                continue
            problem = _meeting(effects, a, b, attr, merges)
            if problem is not None:
                said.add(key)
                yield problem
    yield from _default_conflicts(effects)


def _meeting(effects: Effects, a: _Writer, b: _Writer, attr: AttrKey, merges: bool) -> Problem | None:
    both = {a.policy.name, b.policy.name}
    if not effects.ends(a.policy.pattern) & effects.ends(b.policy.pattern):
        return None
    related = effects.relevant(both)
    if not related and not effects.possible(a.policy.when, a.call.guard, b.policy.when, b.call.guard):
        return None
    for at in effects.situations([a.policy.name, b.policy.name], related):
        found = effects.solve(all_of(effects.effective(a.policy, a.call, at), effects.effective(b.policy, b.call, at)))
        if found is not None:
            return _problem(effects, a, b, attr, merges, effects.witness(a.policy, at.path, found))
    return None


def _problem(effects: Effects, a: _Writer, b: _Writer, attr: AttrKey, merges: bool, witness: Witness) -> Problem:
    attribute = effects.program.attribute(attr)
    first = f"`{a.policy.name}` writes {attr} = {show(a.write.value, attribute.type)}"
    second = f"`{b.policy.name}` writes {attr} = {show(b.write.value, attribute.type)}"
    where = f"on {witness}"
    if merges:
        message = f"{first} and {second} {where}; the merge `{attribute.merge}` decides"
        fixes: tuple[Fix, ...] = ()
    elif a.policy is b.policy:
        message = (
            f"`{a.policy.name}` contradicts itself {where}: it writes {attr} twice, and `{attr.attribute}` has no merge"
        )
        fixes = ()
    else:
        message = (
            f"`{a.policy.name}` and `{b.policy.name}` contradict each other {where}: {first}, {second}, "
            f"and `{attr.attribute}` has no merge. Say which one overrides the other, or narrow a pattern"
        )
        fixes = override_fixes(effects, a.policy, b.policy)
    return Problem(
        "merged" if merges else "contradiction",
        message,
        b.call.place,
        (Related(a.call.place, first),),
        tuple(dict.fromkeys((a.policy.name, b.policy.name))),
        witness,
        fixes,
        mirrored=True,
    )


def override_fixes(effects: Effects, a: Policy, b: Policy) -> tuple[Fix, ...]:
    """Both directions, the policy for fewer services first: it is most likely the exception to the other."""

    def fix(winner: Policy, loser: Policy) -> Fix:
        return Fix(f"Let `{winner.name}` override `{loser.name}`", (clause_edit(winner, "overrides", loser.name),))

    first, second = (a, b) if effects.orders.over[b.name].isdisjoint({a.name}) else (b, a)
    if _breadth(effects, second) < _breadth(effects, first):
        first, second = second, first
    fixes = []
    if second.name not in effects.orders.over[first.name]:
        fixes.append(fix(first, second))
    if first.name not in effects.orders.over[second.name]:
        fixes.append(fix(second, first))
    return tuple(fixes)


def _breadth(effects: Effects, policy: Policy) -> int:
    count = count_paths(effects.dfa(policy.pattern), effects.program.graph)
    return 2**62 if count is None else count


def clause_edit(policy: Policy, clause: str, name: str) -> Edit:
    """Adds `overrides NAME` or `after NAME` behind the policy's pattern."""
    at = policy.pattern_place
    quoted = name if name.isidentifier() else f'"{name}"'
    return Edit(Place(at.file, at.decl, at.end, at.end), f" {clause} {quoted}")


def _default_conflicts(effects: Effects) -> Iterator[Problem]:
    """Two mesh defaults that differ on one input that no policy writes."""
    program = effects.program
    for a, b in combinations(program.mesh.defaults, 2):
        if a.attr != b.attr or a.value == b.value:
            continue
        writers = [(p, c) for p in program.policies for c in p.calls if any(w.attr == a.attr for w in c.writes)]
        names = list(dict.fromkeys(p.name for p, _ in writers))
        names += sorted(effects.relevant(names))
        patterns = [a.pattern, b.pattern, *(effects.policies[n].pattern for n in names)]
        joint = JointPaths(program.graph, [effects.dfa(p) for p in patterns])
        for firing, path in joint.firings((0, 1)):
            at = Situation(frozenset(names[i - 2] for i in firing if i > 1), path)
            found: Assignment | None = effects.solve(negate(any_of(*(effects.effective(p, c, at) for p, c in writers))))
            if found is not None:
                message = (
                    f"two defaults differ on {path}: {a.attr} = {_shown(effects, a.attr, a.value)} "
                    f"and {_shown(effects, b.attr, b.value)}"
                )
                yield Problem(
                    "contradiction", message, b.place, (Related(a.place, "the other default"),), mirrored=True
                )
                break


def _shown(effects: Effects, attr: AttrKey, value: Value) -> str:
    return show(value, effects.program.attribute(attr).type)


def order_dependent(effects: Effects) -> Iterator[Problem]:
    """`order-dependent`: one policy's write changes what another requests, and no `after` orders the two."""
    program = effects.program
    for reader in program.policies:
        read = effects.reads(reader)
        if not read:
            continue
        for writer in program.policies:
            if writer is reader or _ordered(effects, writer, reader):
                continue
            calls = [c for c in writer.calls if any(w.attr in read for w in c.writes)]
            if calls and effects.ends(writer.pattern) & effects.ends(reader.pattern):
                problem = _order_problem(effects, writer, calls, reader)
                if problem is not None:
                    yield problem


def _ordered(effects: Effects, a: Policy, b: Policy) -> bool:
    return a.name in effects.orders.after[b.name] or b.name in effects.orders.after[a.name]


def _order_problem(effects: Effects, writer: Policy, calls: list[OpCall], reader: Policy) -> Problem | None:
    related = effects.relevant({writer.name, reader.name})
    for at in effects.situations([writer.name, reader.name], related):
        writes = {w.attr: [(effects.effective(writer, c, at), w.value)] for c in calls for w in c.writes}
        for call in reader.calls:
            before = effects.requested(reader, call, at)
            after = effects.substitute(before, writes)
            changed = any_of(all_of(before, negate(after)), all_of(after, negate(before)))
            found = effects.solve(changed)
            if found is None:
                continue
            witness = effects.witness(reader, at.path, found)
            what = ", ".join(str(a) for a in sorted(set(writes) & effects.reads(reader)))
            message = (
                f"`{writer.name}` writes {what}, which `{reader.name}` reads, so on {witness} the result depends on "
                f"which comes first. Say `after {writer.name}` or `after {reader.name}`"
            )
            fixes = tuple(
                Fix(f"Put `{x.name}` after `{y.name}`", (clause_edit(x, "after", y.name),))
                for x, y in ((reader, writer), (writer, reader))
            )
            return Problem(
                "order-dependent",
                message,
                reader.when_place or reader.place,
                (Related(calls[0].place, f"`{writer.name}` writes it here"),),
                (writer.name, reader.name),
                witness,
                fixes,
                mirrored=True,
            )
    return None
