"""Two policies on one call path, one on an earlier hop than the other: what the findings over several hops are about.

A path is walked with the automata of both policies, and of those that decide whether their calls take effect. The two
hops see different requests: only what the mesh's `propagate` lists is taken to be the same on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from m4c.analysis.effects import Effects, Situation
from m4c.paths.callpath import CallPath, Letter, callees
from m4c.paths.product import JointPaths, States
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


@dataclass(frozen=True, slots=True)
class _Node:
    letter: Letter
    states: States
    path: CallPath
    first: Situation | None


def pairs(effects: Effects, a: Policy, b: Policy, also: Iterable[str] = ()) -> Iterator[Pair]:
    """The ways in which `b` can fire on a later hop of a path on which `a` fires, told apart by the policies that fire
    beside them, of those on which either depends and of `also`; shortest paths first."""
    decide = {*also, *effects.relevant({a.name, b.name})} - {a.name, b.name}
    names = [*dict.fromkeys((a.name, b.name)), *sorted(decide)]
    if not effects.ends(b.pattern) & effects.behind(effects.ends(a.pattern)):
        return
    joint = JointPaths(effects.program.graph, [effects.dfa(effects.policies[n].pattern) for n in names])
    to = callees(effects.program.graph)
    of_b = names.index(b.name)
    level = [
        _Node(letter, joint.first(letter, outside), CallPath(outside, (name,), (letter[1],)), None)
        for name, service in sorted(effects.program.graph.services.items())
        for letter in joint.letters(name)
        for outside, possible in ((False, service.origin), (True, service.entry))
        if possible
    ]
    seen: set[tuple[object, ...]] = set()
    found: set[tuple[object, ...]] = set()
    while level:
        following: list[_Node] = []
        for node in sorted(level, key=lambda n: (n.path.services, n.path.outside, n.first is None)):
            if node.states[of_b] is None or (node.first is None and node.states[0] is None):
                continue  # one of the two can fire no more
            of_first = (node.first.firing, node.first.entry) if node.first else None
            key = (node.letter, node.states, node.path.has_hop, of_first)
            if key in seen:
                continue
            seen.add(key)
            firsts = [node.first]
            if node.path.has_hop:
                at = Situation(frozenset(names[i] for i in joint.accepted(node.states)), node.path)
                if node.first is not None and b.name in at.firing and (of_first, at.firing) not in found:
                    found.add((of_first, at.firing))
                    yield Pair(node.first, at)
                if node.first is None and a.name in at.firing:
                    firsts.append(at)
            for callee in to[node.letter[0]]:
                for letter in joint.letters(callee):
                    path = replace(
                        node.path,
                        services=(*node.path.services, callee),
                        versions=(*node.path.versions, letter[1]),
                    )
                    states = joint.step(node.states, letter)
                    following += [_Node(letter, states, path, first) for first in firsts]
        level = following


def on_earlier_hop(effects: Effects, cond: Cond) -> Cond:
    """A condition about the earlier hop: what is not propagated is another value there than on the later one."""

    def renamed(attr: AttrKey) -> AttrKey:
        if propagates(effects, attr):
            return attr
        return AttrKey(attr.entity, attr.attribute, (attr.key or "") + _EARLIER)

    return _mapped(cond, lambda atom: replace(atom, attr=renamed(atom.attr)))


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
