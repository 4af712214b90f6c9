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
    Named,
    Not,
    NotOne,
    One,
    OneOf,
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
    versioned: bool = False  # a pattern names a version, so the path's versions matter

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
        patterns = [self.policies[n].pattern for n in names]
        joint = JointPaths(self.program.graph, [self.dfa(p) for p in patterns])
        versioned = any(map(names_version, patterns))
        for firing, path in joint.firings(range(len(first))):
            yield Situation(frozenset(names[i] for i in firing), path, versioned)

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

    def performed(self, call: OpCall, at: Situation) -> bool:
        """An operation at egress does not happen on the entry hop."""
        return not (call.side == "egress" and at.entry)

    def requested(self, policy: Policy, call: OpCall, at: Situation) -> Cond:
        """When the policy requests the call (rules 1 and 2)."""
        if policy.name not in at.firing or not self.performed(call, at):
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
        return self.substitute(cond, self._written(before, at)) if before else cond

    def seen_after(self, policy: Policy, writer: Policy, cond: Cond, at: Situation) -> Cond:
        """As `seen`, if the policy saw what `writer` writes on this input too."""
        before = self.orders.after[policy.name] & at.firing
        writers = self._written(before, at, writer)
        for call in writer.calls:
            for w in call.writes:
                writers.setdefault(w.attr, []).append((self.effective(writer, call, at), w.value))
        return self.substitute(cond, writers)

    def _written(
        self, names: frozenset[str], at: Situation, beside: Policy | None = None
    ) -> dict[AttrKey, list[tuple[Cond, Value]]]:
        """What policies write by themselves, or `beside` another one whose writes may drop theirs."""
        writers: dict[AttrKey, list[tuple[Cond, Value]]] = {}
        for name in sorted(names):
            for call in self.policies[name].calls:
                effective = self.effective(self.policies[name], call, at, names)
                if beside is not None and beside.name in self.orders.over[name]:
                    drops = [self.effective(beside, c, at) for c in beside.calls if shares_writes(c, call)]
                    effective = all_of(effective, *map(negate, drops))
                for w in call.writes:
                    writers.setdefault(w.attr, []).append((effective, w.value))
        return writers

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
        by_value: dict[Value, Cond] = {}
        for c, written in writes:
            by_value[written] = any_of(by_value.get(written, FALSE), c)
        cases = [all_of(atom, *map(negate, by_value.values()))]
        for n in range(1, len(by_value) + 1):
            for some in combinations(by_value, n):
                value = merge(attribute, list(some))
                case = all_of(*(c if v in some else negate(c) for v, c in by_value.items()))
                if value is None:  # they contradict each other, so what arrived is all there is
                    cases.append(all_of(case, atom))
                elif holds(atom, {source: value}, {}, self.program.attribute):
                    cases.append(case)
        return any_of(*cases)

    # --- answers ---

    def possible(self, *conds: Cond) -> bool:
        return self._solver.satisfiable(*conds)

    def solve(self, cond: Cond) -> Assignment | None:
        return self._solver.satisfy(cond)

    def true(self, cond: Cond, found: Assignment) -> bool:
        """Whether a condition holds on an input that was found."""
        return holds(cond, found.attributes, found.states, self.program.attribute)

    def witness(self, entity: str, at: Situation, found: Assignment | None) -> Witness:
        """The input that shows a finding, as people read it."""
        path = at.path
        attributes = []
        for attr in sorted(found.attributes) if found else ():
            value = found.attributes[attr] if found else ""
            attributes.append((str(attr), value, show(value, self.program.attribute(attr).type)))
        services = [f"{s}:{v}" if at.versioned and v is not None else s for s, v in path.letters]
        caller, callee = path.hop
        return Witness(
            tuple(["outside", *services] if path.outside else services),
            (caller or "outside", callee),
            entity,
            tuple(attributes),
        )


def names_version(pattern: Pattern) -> bool:
    """Whether a pattern tells versions of a service apart."""

    def names(one: One) -> bool:
        match one:
            case Named(version=version):
                return version is not None
            case NotOne(inner):
                return names(inner)
            case OneOf(parts):
                return any(map(names, parts))
        return False

    return any(names(step.one) for step in pattern.steps)


def shares_writes(a: OpCall, b: OpCall) -> bool:
    """Whether two calls write one of the same attributes (and keys)."""
    return bool({w.attr for w in a.writes} & {w.attr for w in b.writes})
