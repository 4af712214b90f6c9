"""Two policies on one call path, one on an earlier hop than the other: what the findings over several hops are about.

A path is walked with the automata of both policies, and of those that decide whether their calls take effect. The two
hops see different requests: only what the mesh's `propagate` lists is taken to be the same on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from m4c.analysis.effects import Effects
from m4c.analysis.ground import Situation
from m4c.paths.search import Search, Tag
from m4c.semantics.model import (
    And,
    Atom,
    AttrKey,
    Cond,
    Not,
    Or,
    Policy,
    all_of,
    any_of,
    negate,
)

_EARLIER = "\0earlier"  # behind the key of an attribute: what it is on the earlier hop


@dataclass(frozen=True, slots=True)
class Pair:
    """A shortest call path on whose last hop one policy fires, and on an earlier hop another."""

    first: Situation
    second: Situation


def pairs(effects: Effects, a: Policy, b: Policy, also: Iterable[str] = ()) -> Iterator[Pair]:
    """The ways in which `b` can fire on a later hop of a path on which `a` fires, told apart by the policies that fire
    beside them, of those on which either depends and of `also`; shortest paths first."""
    letters = effects.ground.letters
    if not letters.ends(b.pattern) & letters.behind(letters.ends(a.pattern)):
        return
    decide = {*also, *effects.relevant({a.name, b.name})} - {a.name, b.name}
    names = [*dict.fromkeys((a.name, b.name)), *sorted(decide)]
    of_b = names.index(b.name)

    def onward(accepted: frozenset[int], entry: bool, first: Tag) -> tuple[Tag, ...]:
        return (None, (accepted, entry)) if first is None and 0 in accepted else (first,)

    search = Search(letters, [effects.policies[n].pattern for n in names])
    for found in search.found(
        frozenset((of_b,)),
        onward,
        counts=lambda accepted, first: first is not None and of_b in accepted,
        dead=lambda reading, first: first is None and not reading[0],
    ):
        yield Pair(
            Situation(frozenset(names[i] for i in found.before.accepted), found.before),
            Situation(frozenset(names[i] for i in found.accepted), found),
        )


def on_earlier_hop(effects: Effects, cond: Cond) -> Cond:
    """A condition about the earlier hop: what is not propagated is another value there than on the later one."""

    def renamed(attr: AttrKey) -> AttrKey:
        if propagates(effects, attr):
            return attr
        return AttrKey(attr.entity, attr.attribute, (attr.key or "") + _EARLIER)

    return _mapped(cond, lambda atom: atom._replace(attr=renamed(atom.attr)))


def propagates(effects: Effects, attr: AttrKey) -> bool:
    """Whether applications hand the attribute on: the mesh lists its key under `propagate`."""
    handed_on = "propagates" in effects.program.attribute(attr).roles
    return handed_on and attr.key is not None and attr.key.lower() in effects.program.mesh.propagate


def _mapped(cond: Cond, of: Callable[[Atom], Cond]) -> Cond:
    match cond:
        case Not(inner):
            return negate(_mapped(inner, of))
        case And(parts):
            return all_of(*(_mapped(p, of) for p in parts))
        case Or(parts):
            return any_of(*(_mapped(p, of) for p in parts))
        case Atom():
            return of(cond)
        case _:
            return cond
