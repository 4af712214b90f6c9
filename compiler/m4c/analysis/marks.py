"""What chains can carry: the marks that a hop begins with, as earlier hops can leave them.

A mark is an attribute that travels. Which values it can have on a hop depends on the whole path, on what the requests
of the hops before were like, and on what these carried. So the search walks the product of the automata with the graph
and with the values of the marks at hand: from each node, every combination of values that some request leaves behind.
It is breadth first and goes on in cycles until nothing new turns up; the values are those that some policy writes, so
they are few. Verdicts on the way are not looked at: the language never prunes paths by them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from m4c.analysis.effects import Effects, names_version, outcomes
from m4c.analysis.ground import Earlier, Situation
from m4c.paths.callpath import CallPath, Letter, callees
from m4c.paths.product import JointPaths, States
from m4c.predicates import Assignment
from m4c.semantics.effects import start_value
from m4c.semantics.model import AttrKey, Cond, Pattern, Value, all_of, negate

Marks: TypeAlias = tuple[tuple[AttrKey, Value], ...]


@dataclass(frozen=True, slots=True)
class _Node:
    """A path up to here; `marks` is what the chain carries when it arrives, before this hop's own writes."""

    letter: Letter
    states: States
    path: CallPath
    marks: Marks
    earlier: tuple[Earlier, ...]

    @property
    def order(self) -> tuple[object, ...]:
        versions = tuple(v or "" for v in self.path.versions)
        attributes = sum(len(e.attributes) for e in self.earlier)
        return (self.path.services, self.path.outside, versions, attributes, repr(self.marks))


def marked_situations(
    effects: Effects,
    first: Sequence[str],
    names: Sequence[str],
    extra: Sequence[Pattern],
    all_extra: bool,
    read: frozenset[AttrKey],
) -> Iterator[Situation]:
    """As `Effects.situations`, told apart by the values of the marks that are read as well."""
    writers, marks = _closure(effects, names, read)
    everyone = [*names, *sorted(writers - set(names))]
    defaults = [d for d in effects.whole.mesh.defaults if d.attr in marks]
    patterns = [*(effects.policies[n].pattern for n in everyone), *extra, *(d.pattern for d in defaults)]
    joint = JointPaths(effects.program.graph, [effects.dfa(p) for p in patterns])
    must = {*range(len(first)), *(range(len(everyone), len(everyone) + len(extra)) if all_extra else ())}
    versioned = any(map(names_version, patterns))
    known: set[tuple[object, ...]] = set()
    leaving = _Leaving(effects, sorted(marks))
    of_mesh = {len(everyone) + len(extra) + i: (d.attr, d.value) for i, d in enumerate(defaults)}
    for node in _walk(effects, joint, must, leaving, everyone, of_mesh):
        accepted = joint.accepted(node.states)
        if not node.path.has_hop or not must <= accepted:
            continue
        fired = frozenset(names[i] for i in accepted if i < len(names))
        also = frozenset(i - len(everyone) for i in accepted if 0 <= i - len(everyone) < len(extra))
        carried = tuple((a, v) for a, v in node.marks if a in read)
        kind = (fired, also, carried, node.path.hop[0] is None)
        if kind not in known:
            known.add(kind)
            yield Situation(fired, node.path, versioned, also, carried, node.earlier)


def _closure(effects: Effects, names: Iterable[str], read: frozenset[AttrKey]) -> tuple[set[str], set[AttrKey]]:
    """The policies that decide what some marks are, and the marks that these policies read in turn."""
    marks, writers = set(read), set[str]()
    grown = True
    while grown:
        found = {p.name for p in effects.whole.policies if any(w.attr in marks for c in p.calls for w in c.writes)}
        found |= effects.relevant(found)
        more = effects.marks_read(found)
        grown = not (found <= writers and more <= marks)
        writers |= found
        marks |= more
    return writers, marks


def _walk(
    effects: Effects,
    joint: JointPaths,
    must: set[int],
    leaving: _Leaving,
    policies: Sequence[str],
    defaults: Mapping[int, tuple[AttrKey, Value]],
) -> Iterator[_Node]:
    """Every node of the product with the marks, the shortest paths first. The first automata are those of `policies`;
    `defaults`: what the mesh gives a mark where another automaton accepts, by its number."""
    program = effects.program
    to = callees(program.graph)
    start: Marks = tuple((a, start_value(program.attribute(a), program.enums)) for a in leaving.marks)
    level: list[_Node] = []
    for name, service in program.graph.services.items():
        for letter in joint.letters(name):
            for outside, possible in ((False, service.origin), (True, service.entry)):
                if possible:
                    path = CallPath(outside, (name,), (letter[1],))
                    level.append(_Node(letter, joint.first(letter, outside), path, start, ()))
    seen: set[tuple[object, ...]] = set()
    while level:
        following: list[_Node] = []
        for node in sorted(level, key=lambda n: n.order):
            entry = node.path.has_hop and node.path.hop[0] is None
            key = (node.letter, node.states, node.path.has_hop, entry, node.marks)
            if key in seen or any(node.states[i] is None for i in must):
                continue
            seen.add(key)
            yield node
            left = [(node.marks, node.earlier)]
            if node.path.has_hop:
                accepted = joint.accepted(node.states)
                firing = frozenset(policies[i] for i in accepted if i < len(policies))
                default = frozenset(defaults[i] for i in accepted if i in defaults)
                at = Situation(firing, node.path, marks=node.marks)
                ways = leaving.after(at, default)
                left = [(after, (*node.earlier, Earlier(node.path.hop, r.attributes, r.states))) for after, r in ways]
                if len(ways) == 1 and ways[0][0] == node.marks:  # whatever the request is like
                    left = [(node.marks, node.earlier)]
            for callee in to[node.letter[0]]:
                for letter in joint.letters(callee):
                    states = joint.step(node.states, letter)
                    path = CallPath(node.path.outside, (*node.path.services, callee), (*node.path.versions, letter[1]))
                    following += [_Node(letter, states, path, after, earlier) for after, earlier in left]
        level = following


class _Leaving:
    """What a hop can leave behind, remembered by what fires on it and what arrives."""

    def __init__(self, effects: Effects, marks: Sequence[AttrKey]) -> None:
        self.effects = effects
        self.marks = marks
        self.known: dict[tuple[object, ...], list[tuple[Marks, Assignment]]] = {}

    def after(self, at: Situation, defaults: frozenset[tuple[AttrKey, Value]]) -> list[tuple[Marks, Assignment]]:
        """The marks that requests can leave, each with the plainest such request."""
        key = (at.firing, at.entry, at.marks, defaults)
        if key not in self.known:
            self.known[key] = list(self._combine(self._cases(at, defaults), at))
        return self.known[key]

    def _cases(self, at: Situation, defaults: frozenset[tuple[AttrKey, Value]]) -> list[list[tuple[Value, Cond]]]:
        program, carried = self.effects.program, dict(at.marks)
        cases = []
        for attr in self.marks:
            writes = [
                (self.effects.effective(self.effects.policies[n], c, at), w.value)
                for n in sorted(at.firing)
                for c in self.effects.policies[n].calls
                for w in c.writes
                if w.attr == attr
            ]
            of_mesh = dict(defaults).get(attr)
            here: list[tuple[Value, Cond]] = []
            for value, cond in outcomes(program.attribute(attr), writes):
                if value is None and of_mesh is not None:
                    unwritten = all_of(*(negate(c) for c, _ in writes))
                    here += [(of_mesh, all_of(cond, unwritten)), (carried[attr], all_of(cond, negate(unwritten)))]
                else:
                    here.append((carried[attr] if value is None else value, cond))
            cases.append(here)
        return cases

    def _combine(self, cases: list[list[tuple[Value, Cond]]], at: Situation) -> Iterator[tuple[Marks, Assignment]]:
        found: dict[tuple[Value, ...], Assignment] = {}
        stack: list[tuple[tuple[Value, ...], Cond]] = [((), at.given)]
        while stack:
            values, cond = stack.pop()
            if len(values) == len(cases):
                if values not in found:
                    request = self.effects.solve(cond)
                    if request is not None:
                        carried = dict(at.marks)
                        attributes = {a: v for a, v in request.attributes.items() if a not in carried}
                        found[values] = Assignment(attributes, request.states)
                continue
            for value, more in reversed(cases[len(values)]):
                both = all_of(cond, more)
                if self.effects.possible(both):
                    stack.append(((*values, value), both))
        for values, request in found.items():
            yield tuple(zip(self.marks, values, strict=True)), request
