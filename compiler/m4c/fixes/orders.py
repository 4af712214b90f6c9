"""Fixes by `overrides` and `after`: contradictions, results that depend on an order, shadowed policies, circles."""

from __future__ import annotations

from collections.abc import Iterator

from m4c.analysis.effects import Effects, shares_writes
from m4c.analysis.reachability import dead_conditions
from m4c.analysis.shadowing import is_stateful, without_effect
from m4c.fixes.narrow import narrowed, within
from m4c.fixes.scene import Scene, changed, contradicts, never_effective, with_name, without_name
from m4c.fixes.surgery import add_to_clause, listed
from m4c.paths.product import count_paths
from m4c.semantics.model import TRUE, Policy, all_of, negate
from m4c.semantics.problems import Edit, Fix
from m4c.syntax import tree as t


def contradiction(scene: Scene) -> Iterator[Fix]:
    """`overrides` in either direction, the more specific policy first; for one team also a narrower loser."""
    effects = scene.effects
    if not scene.problem.policies:
        yield from _defaults(scene)
    if len(scene.problem.policies) != 2 or effects is None:
        return
    first, second = (effects.policies[n] for n in scene.problem.policies)
    if _inside(effects, second, first) or (not _inside(effects, first, second) and _wider(effects, first, second)):
        first, second = second, first
    exception = _inside(effects, first, second) and not _inside(effects, second, first)
    for winner, loser in ((first, second), (second, first)):
        if loser.name in effects.orders.over[winner.name]:
            continue  # it would go round
        sure = exception and winner is first and one_team(first, second) and not _ends(scene, loser)
        yield _override(scene, winner, loser, sure)
    if one_team(first, second):
        for winner, loser in ((first, second), (second, first)):
            yield from narrowed(scene, winner, loser)


def one_team(a: Policy, b: Policy) -> bool:
    """Whether the owner of one policy may decide about the other."""
    return a.owner == b.owner


def _wider(effects: Effects, a: Policy, b: Policy) -> bool:
    def breadth(policy: Policy) -> float:
        count = count_paths(effects.dfa(policy.pattern), effects.program.graph)
        return float("inf") if count is None else count

    return breadth(a) > breadth(b)


def _inside(effects: Effects, a: Policy, b: Policy) -> bool:
    """Whether `b` fires wherever `a` does, as far as their own texts say."""
    return not effects.possible(all_of(a.when, negate(b.when))) and within(effects, a.pattern, b.pattern)


def _ends(scene: Scene, loser: Policy) -> bool:
    """Whether what the loser would lose ends requests: nobody lets something through unasked."""
    writes = (w for c in loser.calls for w in c.writes if str(w.attr) == scene.problem.about)
    return scene.effects is not None and any(scene.effects.is_terminal(w.attr, w.value) for w in writes)


def _override(scene: Scene, winner: Policy, loser: Policy, sure: bool) -> Fix:
    title = f"Let `{winner.name}` override `{loser.name}`"
    if scene.effects and never_effective(scene.effects, [with_name(winner, "overrides", loser.name)], loser.name):
        title += ", which then never takes effect"
        sure = False
    also = _also(scene.effects, winner, loser) if scene.effects else []
    if also:
        a, b = also[0]
        title += f"; `{a}` then overrides `{b}` too" + (f", and so on for {len(also)} pairs" if len(also) > 1 else "")
        sure = False
    source, decl = scene.declared[winner.name]
    edits = add_to_clause(source, decl, "overrides", loser.name)
    return Fix(title, edits, sure, meets=scene.meets(winner.name, loser.name))


def _also(effects: Effects, winner: Policy, loser: Policy) -> list[tuple[str, str]]:
    """The other pairs of which one would override the other, once `winner` overrides `loser`, and drop what is not
    dropped anyhow by the policy between them."""
    over = effects.orders.over
    if not over:
        return []
    above = effects.in_order({winner.name, *over[winner.name]})
    below = effects.in_order({loser.name, *(n for n, by in over.items() if loser.name in by)})
    return [
        (a.name, b.name)
        for a in above
        for b in below
        if (a is not winner or b is not loser)
        and a.name not in over[b.name]
        and effects.ends(a.pattern) & effects.ends(b.pattern)
        and _drops(effects, a, loser if a is winner else winner, b)
    ]


def _drops(effects: Effects, a: Policy, between: Policy, b: Policy) -> bool:
    """Whether `a` drops a call of `b` that `between` may let pass where `a` fires."""
    with_a = not (a.after or between.after) and _inside(effects, a, between)
    always = [c for c in between.calls if with_a and c.guard == TRUE]
    return any(
        any(shares_writes(c, d) for c in a.calls)
        and not any(shares_writes(c, d) and c.side in (None, d.side) for c in always)
        for d in b.calls
    )


def _defaults(scene: Scene) -> Iterator[Fix]:
    """Of two defaults that differ, either one may go."""
    places = (scene.problem.place, *(r.place for r in scene.problem.related))
    for place, what in zip(places, ("this default", "the other default"), strict=False):
        if scene.source is not None and isinstance(scene.decl, t.MeshDecl) and place.decl == scene.problem.place.decl:
            edits = scene.source.cut_statement(place.start, place.end)
            yield Fix(f"Remove {what}", edits, by_hand=True)


def order_dependent(scene: Scene) -> Iterator[Fix]:
    """`after` in either of the two, the one that reads what the other writes first."""
    effects = scene.effects
    if effects is None:
        return
    writer, reader = (effects.policies[n] for n in scene.problem.policies)
    both = bool(effects.reads(writer) & {w.attr for c in reader.calls for w in c.writes})
    for later, earlier in ((reader, writer), (writer, reader)):
        source, decl = scene.declared[later.name]
        edits = add_to_clause(source, decl, "after", earlier.name)
        title = f"Put `{later.name}` after `{earlier.name}`"
        then = changed(effects, [with_name(later, "after", earlier.name)], later.name, earlier.name)
        constant = later is reader and any(dead_conditions(then, then.policies[later.name]))
        if constant:
            title += ", which makes a condition of it constant"
        sure = later is reader and not both and not constant and one_team(reader, writer)
        yield Fix(title, edits, sure, meets=scene.meets(later.name, earlier.name))


def shadowed(scene: Scene) -> Iterator[Fix]:
    """The other direction, if that leaves both something to do; no `overrides` at all, if the two then do not
    contradict each other; or no such policy, if really nothing depends on it."""
    effects = scene.effects
    if effects is None:
        return
    name, *over = scene.problem.policies
    policy = effects.policies[name]
    meets = scene.meets(name, *over)
    for other in over:
        if name not in effects.policies[other].overrides:
            continue  # by way of others
        freed = without_name(effects.policies[other], "overrides", name)
        if other in changed(effects, [freed], name).orders.over[name]:
            continue
        back = _without(scene, other, "overrides", name)
        if not back:
            continue
        turned = [freed, with_name(policy, "overrides", other)]
        if not any(never_effective(effects, turned, n) or contradicts(effects, turned, n) for n in (name, other)):
            source, decl = scene.declared[name]
            edits = (*back, *add_to_clause(source, decl, "overrides", other))
            yield Fix(f"Let `{name}` override `{other}` instead", edits, by_hand=True, meets=meets)
        if not never_effective(effects, [freed], name) and not contradicts(effects, [freed], name):
            yield Fix(f"Let `{other}` no longer override `{name}`", back, by_hand=True, meets=meets)
    followed = any(name in effects.orders.after[p] for p in effects.policies)
    if not followed and not is_stateful(policy) and without_effect(effects, policy):
        yield Fix(f"Remove `{name}`", scene.removed(name), by_hand=True, meets=meets)


def _without(scene: Scene, policy: str, clause: str, name: str) -> tuple[Edit, ...]:
    source, decl = scene.declared[policy]
    at = next((n for n in listed(decl, clause) if n.text == name), None)
    return () if at is None else source.remove_listed(at.start, at.end)  # another policy of that name says it


def override_cycle(scene: Scene) -> Iterator[Fix]:
    """One `overrides` (or `after`) of the circle less; the one that closes it first."""
    decl = scene.decl
    if not scene.problem.policies:
        if isinstance(decl, t.PolicyDecl) and scene.source is not None:
            at = scene.problem.place
            yield Fix("Leave it out", scene.source.remove_listed(at.start, at.end))
        return
    circle = scene.problem.policies
    clause = scene.problem.about
    edges = list(zip(circle, (*circle[1:], circle[0]), strict=True))
    for i, (policy, other) in enumerate(reversed(edges)):
        verb = "override" if clause == "overrides" else "be after"
        edits = _without(scene, policy, clause, other)
        title = f"Let `{policy}` no longer {verb} `{other}`"
        if edits:
            yield Fix(title, edits, preferred=i == 0, meets=frozenset((f"{scene.mesh}/{clause}",)))
