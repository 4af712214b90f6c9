"""Of two policies that contradict each other, one made narrower by what both apply to, where that can be written."""

from __future__ import annotations

from collections.abc import Iterator

from m4c.analysis.effects import Effects, shares_writes
from m4c.analysis.reachability import pattern_text
from m4c.analysis.shadowing import is_stateful
from m4c.fixes.scene import Scene
from m4c.fixes.surgery import Source
from m4c.paths.search import Search
from m4c.semantics.model import TRUE, AnyOne, NotOne, Pattern, Policy, Step, all_of, negate
from m4c.semantics.problems import Edit, Fix
from m4c.syntax import tree as t


def narrowed(scene: Scene, winner: Policy, loser: Policy) -> Iterator[Fix]:
    """`loser` without what `winner` applies to: by its pattern if the winner has no condition, else by a condition."""
    effects = scene.effects
    if effects is None or not _whole(winner, loser) or _counts_elsewhere(effects, loser):
        return
    if winner.when == TRUE:
        pattern = _difference(effects, loser.pattern, winner.pattern)
        source, decl = scene.declared[loser.name]
        if pattern is not None and not _commented(source, decl.pattern):
            text = pattern_text(pattern)
            edits: tuple[Edit, ...] = (source.edit(decl.pattern.start, decl.pattern.end, text),)
            yield Fix(f"Narrow `{loser.name}` to `{text}`", edits, meets=scene.meets(winner.name, loser.name))
    elif within(effects, loser.pattern, winner.pattern) and effects.possible(all_of(loser.when, negate(winner.when))):
        title = f"Narrow `{loser.name}` to requests that `{winner.name}` is not about"
        yield Fix(title, _excepted(scene, winner, loser), meets=scene.meets(winner.name, loser.name))


def _whole(winner: Policy, loser: Policy) -> bool:
    """Whether the winner, where it fires, opposes all that the loser does, and both look at their input alone."""
    if winner.after or loser.after or is_stateful(winner) or is_stateful(loser):
        return False
    always = [c for c in winner.calls if c.guard == TRUE]
    return all(any(shares_writes(c, d) and c.side == d.side for d in always) for c in loser.calls)


def _counts_elsewhere(effects: Effects, loser: Policy) -> bool:
    """Whether it matters to others that a policy fires where it loses: to those that it overrides even then, and to
    those that are after it and read what it writes."""
    orders, written = effects.orders, {w.attr for c in loser.calls for w in c.writes}
    return any(
        loser.name in orders.over[p.name] or (loser.name in orders.after[p.name] and effects.reads(p) & written)
        for p in effects.program.policies
    )


def within(effects: Effects, inner: Pattern, outer: Pattern) -> bool:
    """Whether one pattern matches wherever another one does."""
    search = Search(effects.ground.letters, [inner, outer])
    return all(1 in found.accepted for found in search.firings((0,)))


def _commented(source: Source, node: t.PatternNode) -> bool:
    return any(node.start <= c.start < node.end for c in source.comments)


# --- conditions -------------------------------------------------------------------------------------------------------


def _excepted(scene: Scene, winner: Policy, loser: Policy) -> tuple[Edit, ...]:
    """The loser's `when` with the winner's taken out."""
    theirs, their_decl = scene.declared[winner.name]
    source, decl = scene.declared[loser.name]
    parts = [_renamed(theirs, when, winner.var, loser.var) for when in their_decl.whens]
    other = f"!({' && '.join(f'({p})' for p in parts) if len(parts) > 1 else parts[0]})"
    if not decl.whens:
        return (source.edit(decl.pattern.end, decl.pattern.end, f" when {other}"),)
    last = decl.whens[-1]
    if not (isinstance(last, t.Binary) and last.op == "||" and source.text[last.start] != "("):
        return (source.edit(last.end, last.end, f" && {other}"),)
    return (source.edit(last.start, last.start, "("), source.edit(last.end, last.end, f") && {other}"))


def _renamed(source: Source, when: t.Expr, old: str, new: str) -> str:
    """The text of a condition, about a variable of another name; in one line, without its comments."""
    out, at = "", when.start
    for p in source.tokens:
        if not when.start <= p.start < when.end:
            continue
        gap = source.text[at : p.start]
        out += " " if out and gap else ""
        is_variable = (p.text == old or p.text.startswith(f"{old}.")) and not out.endswith(".")
        out += new + p.text[len(old) :] if is_variable else p.text
        at = p.end
    return out


# --- patterns ---------------------------------------------------------------------------------------------------------


def _difference(effects: Effects, loser: Pattern, winner: Pattern) -> Pattern | None:
    """A pattern that matches, on this graph, just where the loser's matches and the winner's does not."""
    for candidate in _candidates(loser, winner):
        search = Search(effects.ground.letters, [candidate, loser, winner])
        firings = [found.accepted for found in search.firings(())]
        if all((0 in f) == (1 in f and 2 not in f) for f in firings) and any(0 in f for f in firings):
            return candidate
    return None


def _candidates(loser: Pattern, winner: Pattern) -> Iterator[Pattern]:
    """The loser's pattern with one service that the winner names excluded: at one of its steps, at either end of a `*`,
    or anywhere in it; first where the winner's pattern has it."""
    steps = winner.steps
    for i, named in enumerate(steps):
        if named.star or isinstance(named.one, AnyOne | NotOne):
            continue
        other = NotOne(named.one)
        for j, step in enumerate(loser.steps):
            if not isinstance(step.one, AnyOne):
                continue
            choices: list[tuple[Step, ...]] = [(Step(other),)]
            if step.star:
                choices = [(Step(other, star=True),), (step, Step(other)), (Step(other), step)]
                first = 2 if i == 0 else 1 if i + 2 == len(steps) else 0
                choices.insert(0, choices.pop(first))
            for middle in choices:
                yield Pattern((*loser.steps[:j], *middle, *loser.steps[j + 1 :]), loser.outside)
