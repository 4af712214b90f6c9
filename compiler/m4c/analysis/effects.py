"""When a call takes effect, as a condition over the input: the rules of the language, symbolically.

For a set of policies that fire together on a hop, rules 1 to 3 turn into conditions on the entity alone: what a policy
reads from those it is `after` is substituted, and what overriding policies drop is negated. With the product of the
automata, which yields every firing set that a call path can bring about, each question about a program becomes
a satisfiability question per firing set, so the answers are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from m4c.paths.callpath import CallPath
from m4c.paths.pattern import Dfa, compile_pattern
from m4c.paths.product import JointPaths
from m4c.predicates import Assignment, Solver, holds
from m4c.semantics.effects import Orders, merge, orders
from m4c.semantics.model import (
    FALSE,
    And,
    Atom,
    AttrKey,
    Cond,
    Not,
    OpCall,
    Or,
    Pattern,
    Policy,
    Program,
    Value,
    all_of,
    any_of,
    atoms,
    negate,
)
from m4c.semantics.problems import Witness
from m4c.semantics.values import show


@dataclass(frozen=True, slots=True)
class Situation:
    """A set of policies that fire their patterns together on one hop, with a shortest call path to it."""

    firing: frozenset[str]
    path: CallPath

    @property
    def entry(self) -> bool:
        return self.path.hop[0] is None


class Effects:
    """Answers questions about one program; keeps automata and products."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.policies = {p.name: p for p in program.policies}
        self.orders: Orders = orders(program)
        self._solver = Solver(program.attribute, program.enums)
        self._dfas: dict[Pattern, Dfa] = {}
        self._ends: dict[Pattern, frozenset[str]] = {}

    # --- paths ---

    def dfa(self, pattern: Pattern) -> Dfa:
        if pattern not in self._dfas:
            self._dfas[pattern] = compile_pattern(pattern, self.program.graph)
        return self._dfas[pattern]

    def ends(self, pattern: Pattern) -> frozenset[str]:
        """The services at which a call path that matches may end; a cheap test before any product."""
        if pattern not in self._ends:
            joint = JointPaths(self.program.graph, [self.dfa(pattern)])
            arrivals = joint.arrivals(frozenset((0,)))
            self._ends[pattern] = frozenset(a.letter[0] for a in arrivals if a.has_hop and joint.accepted(a.states))
        return self._ends[pattern]

    def situations(self, must: Iterable[str], also: Iterable[str] = ()) -> Iterator[Situation]:
        """Every set of these policies that fires on some hop, all of `must` in it; shortest paths first."""
        first = list(dict.fromkeys(must))
        names = first + sorted(set(also) - set(first))
        joint = JointPaths(self.program.graph, [self.dfa(self.policies[n].pattern) for n in names])
        for firing, path in joint.firings(range(len(first))):
            yield Situation(frozenset(names[i] for i in firing), path)

    def relevant(self, names: Iterable[str]) -> frozenset[str]:
        """The policies on which it depends whether calls of `names` take effect: overriders and predecessors."""
        out: set[str] = set()
        queue = list(names)
        while queue:
            policy = self.policies[queue.pop()]
            written = {w.attr for c in policy.calls for w in c.writes}
            read = self.reads(policy)
            before = self.orders.after[policy.name]
            related = [
                q
                for q in self.orders.over[policy.name] | before
                if any(
                    w.attr in written or (q in before and w.attr in read)
                    for c in self.policies[q].calls
                    for w in c.writes
                )
            ]
            queue += [q for q in related if q not in out]
            out.update(related)
        return frozenset(out) - set(names)

    def reads(self, policy: Policy) -> frozenset[AttrKey]:
        """The attributes that a policy's conditions read; a derived one counts as its source."""
        conds = [policy.when, *(c.guard for c in policy.calls)]
        return frozenset(self.source(a.attr) for c in conds for a in atoms(c) if isinstance(a, Atom))

    def source(self, attr: AttrKey) -> AttrKey:
        derived = self.program.attribute(attr).derived
        return AttrKey(attr.entity, derived[0]) if derived else attr

    # --- conditions ---

    def requested(self, policy: Policy, call: OpCall, at: Situation) -> Cond:
        """When the policy requests the call (rules 1 and 2)."""
        if policy.name not in at.firing or (call.side == "egress" and at.entry):
            return FALSE
        return self.seen(policy, all_of(policy.when, call.guard), at)

    def effective(self, policy: Policy, call: OpCall, at: Situation, among: frozenset[str] | None = None) -> Cond:
        """When the call is requested and no overriding policy drops it (rule 3), of the policies `among` (all)."""
        return all_of(
            self.requested(policy, call, at),
            *(
                negate(self.requested(self.policies[q], other, at))
                for q in sorted(self.orders.over[policy.name] & at.firing)
                if among is None or q in among
                for other in self.policies[q].calls
                if shares_writes(call, other)
            ),
        )

    def seen(self, policy: Policy, cond: Cond, at: Situation) -> Cond:
        """A condition of a policy in terms of the input: what it reads from those it is after is substituted."""
        before = self.orders.after[policy.name] & at.firing
        if not before:
            return cond
        writers: dict[AttrKey, list[tuple[Cond, Value]]] = {}
        for name in sorted(before):
            for call in self.policies[name].calls:
                for w in call.writes:
                    effective = self.effective(self.policies[name], call, at, before)
                    writers.setdefault(w.attr, []).append((effective, w.value))
        return self.substitute(cond, writers)

    def substitute(self, cond: Cond, writers: dict[AttrKey, list[tuple[Cond, Value]]]) -> Cond:
        """The condition after the writes: each comparison of a written attribute by cases of which writes happen."""
        match cond:
            case Not(inner):
                return negate(self.substitute(inner, writers))
            case And(parts):
                return all_of(*(self.substitute(p, writers) for p in parts))
            case Or(parts):
                return any_of(*(self.substitute(p, writers) for p in parts))
            case Atom(attr=attr) if (source := self.source(attr)) in writers:
                return self._by_cases(cond, source, writers[source])
            case _:
                return cond

    def _by_cases(self, atom: Atom, source: AttrKey, writes: list[tuple[Cond, Value]]) -> Cond:
        attribute = self.program.attribute(source)
        cases = [all_of(atom, *(negate(c) for c, _ in writes))]
        for n in range(1, len(writes) + 1):
            for some in combinations(range(len(writes)), n):
                value = merge(attribute, [writes[i][1] for i in some])
                if value is not None and holds(atom, {source: value}, {}, self.program.attribute):
                    cases.append(all_of(*(c if i in some else negate(c) for i, (c, _) in enumerate(writes))))
        return any_of(*cases)

    # --- answers ---

    def possible(self, *conds: Cond) -> bool:
        return self._solver.satisfiable(*conds)

    def solve(self, cond: Cond) -> Assignment | None:
        return self._solver.satisfy(cond)

    def witness(self, policy: Policy, path: CallPath, found: Assignment | None) -> Witness:
        """The input that shows a finding, as people read it."""
        attributes = []
        for attr in sorted(found.attributes) if found else ():
            value = found.attributes[attr] if found else ""
            attributes.append((str(attr), value, show(value, self.program.attribute(attr).type)))
        services = [s if v is None else f"{s}:{v}" for s, v in path.letters] if _versioned(policy) else path.services
        caller, callee = path.hop
        return Witness(
            tuple(["outside", *services] if path.outside else services),
            (caller or "outside", callee),
            policy.entity,
            tuple(attributes),
        )


def _versioned(policy: Policy) -> bool:
    return "version='" in repr(policy.pattern)


def shares_writes(a: OpCall, b: OpCall) -> bool:
    """Whether two calls write one of the same attributes (and keys)."""
    return bool({w.attr for w in a.writes} & {w.attr for w in b.writes})
