"""When a call takes effect, as a condition over the input: the rules of the language, symbolically.

For a set of policies that fire together on a hop, rules 1 to 3 turn into conditions on the entity alone: what a policy
reads from those it is `after` is substituted, and what overriding policies drop is negated. With the product of the
automata, which yields every firing set that a call path can bring about, each question about a program becomes
a satisfiability question per firing set, so the answers are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import combinations

from m4c.analysis.ground import Ground, Situation, ground_of
from m4c.paths.pattern import Dfa
from m4c.paths.search import Search
from m4c.predicates import Assignment, holds
from m4c.semantics.effects import Orders, merge, orders
from m4c.semantics.model import (
    FALSE,
    STATE,
    TRUE,
    And,
    Atom,
    Attribute,
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
    StateAtom,
    Value,
    all_of,
    any_of,
    atoms,
    negate,
)
from m4c.semantics.problems import Witness
from m4c.semantics.values import show


class Effects:
    """Answers questions about one program; keeps automata and products.

    `whole`: what the program is a part of. Its other policies are not looked at for themselves, but answers carry the
    marks that those on requests leave.
    """

    def __init__(
        self,
        program: Program,
        whole: Program | None = None,
        ground: Ground | None = None,
        order: Orders | None = None,
    ) -> None:
        self.program = program
        self.whole = whole or program
        self.ground = ground or ground_of(program)
        self.policies = {p.name: p for p in self.whole.policies}
        self._reads: dict[str, frozenset[AttrKey]] = {}
        self.orders: Orders = orders(self.whole) if order is None else order

    @cached_property
    def _rank(self) -> dict[str, int]:
        return {p.name: i for i, p in enumerate(self.program.policies)}

    def in_order(self, names: Iterable[str]) -> list[Policy]:
        """The policies with some names, in the order of the text."""
        rank, policies = self._rank, self.program.policies
        return [policies[i] for i in sorted(rank[n] for n in names if n in rank)]

    # --- paths ---

    def dfa(self, pattern: Pattern) -> Dfa:
        return self.ground.dfa(pattern)

    def ends(self, pattern: Pattern) -> int:
        """The letters at which a call path that matches may end, as bits; a cheap test before any search."""
        return self.ground.letters.ends(pattern)

    def situations(
        self,
        must: Iterable[str],
        also: Iterable[str] = (),
        extra: Sequence[Pattern] = (),
        all_extra: bool = False,
        marks: frozenset[AttrKey] = frozenset(),
    ) -> Iterator[Situation]:
        """Every set of these policies that fires on some hop, all of `must` in it, shortest paths first; for each set
        which of the `extra` patterns match too (with `all_extra`, only those where all do), and what the chain may
        carry of the marks that the policies read and of `marks`."""
        first = list(dict.fromkeys(must))
        names = first + sorted(set(also) - set(first))
        marks |= self.marks_read(names)
        if marks:
            from m4c.analysis.marks import marked_situations

            yield from marked_situations(self, first, names, extra, all_extra, marks)
            return
        asked = [*(self.policies[n].pattern for n in names), *extra]
        patterns = {pattern: i for i, pattern in enumerate(dict.fromkeys(asked))}
        number = [patterns[p] for p in asked]
        versioned = any(map(names_version, patterns))
        wanted = {*number[: len(first)], *(number[len(names) :] if all_extra else ())}
        for found in Search(self.ground.letters, list(patterns)).firings(sorted(wanted)):
            fired = frozenset(n for n, i in zip(names, number, strict=False) if i in found.accepted)
            matching = frozenset(k for k, i in enumerate(number[len(names) :]) if i in found.accepted)
            yield Situation(fired, found, versioned, matching)

    def marks_read(self, names: Iterable[str]) -> frozenset[AttrKey]:
        """The attributes that travel, of those that the conditions of some policies read."""
        return frozenset(a for n in names for a in self.reads(self.policies[n]) if self.program.attribute(a).travels)

    def relevant(self, names: Iterable[str]) -> frozenset[str]:
        """The policies on which it depends whether calls of `names` take effect: overriders and predecessors."""
        out: set[str] = set()
        queue = [n for n in names if n in self.orders.over or n in self.orders.after]
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
        known = self._reads.get(policy.name)
        if known is None:
            conds = [policy.when, *(c.guard for c in policy.calls)]
            known = frozenset(self.source(a.attr) for c in conds for a in atoms(c) if isinstance(a, Atom))
            self._reads[policy.name] = known
        return known

    def source(self, attr: AttrKey) -> AttrKey:
        """The attribute that carries the value of a derived one; another one itself."""
        return self.ground.solver.view(attr).source

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

    @cached_property
    def ending_attributes(self) -> frozenset[AttrKey]:
        """The attributes that can end a request: a policy or a mesh default gives them a terminal value."""
        writes = {(w.attr, w.value) for p in self.program.policies for c in p.calls for w in c.writes}
        writes |= {(d.attr, d.value) for d in self.program.mesh.defaults}
        return frozenset(attr for attr, value in writes if self.is_terminal(attr, value))

    def is_terminal(self, attr: AttrKey, value: Value | None) -> bool:
        return self.program.is_terminal(attr, value)

    def endings(self, at: Situation, defaults: Mapping[AttrKey, Value]) -> dict[AttrKey, Cond]:
        """When each attribute ends the request (rule 5). `defaults`: the mesh's, on this hop."""
        out: dict[AttrKey, Cond] = {}
        for attr in sorted(self.ending_attributes):
            writes = [
                (self.effective(p, c, at), w.value)
                for p in self.program.policies
                if p.name in at.firing
                for c in p.calls
                for w in c.writes
                if w.attr == attr
            ]
            cases = [
                cond for value, cond in outcomes(self.program.attribute(attr), writes) if self.is_terminal(attr, value)
            ]
            if self.is_terminal(attr, defaults.get(attr)):
                cases.append(all_of(*(negate(c) for c, _ in writes)))
            out[attr] = any_of(*cases)
        return out

    def unsuppressed(self, call: OpCall, endings: Mapping[AttrKey, Cond]) -> Cond:
        """When the call counts although something may end the request: nothing does, or the call itself."""
        if call.entity.startswith(STATE):
            return TRUE
        own = [endings[w.attr] for w in call.writes if w.attr in endings]
        return any_of(negate(any_of(*endings.values())), *own)

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
        cases = []
        for value, case in outcomes(self.program.attribute(source), writes):
            if value is None:  # what arrived is all there is
                cases.append(all_of(case, atom))
            elif holds(atom, {source: value}, {}, self.program.attribute):
                cases.append(case)
        return any_of(*cases)

    # --- answers ---

    def possible(self, *conds: Cond, at: Situation | None = None) -> bool:
        """Whether conditions hold together on some input (with the marks of a situation)."""
        return self.ground.solver.satisfiable(*conds, *([at.given] if at is not None and at.marks else ()))

    def ever(self, policy: Policy, cond: Cond) -> bool:
        """Whether a condition of a policy holds on some input, with what it reads from the policies that it is after
        and the marks that chains can carry."""
        related = self.relevant([policy.name])
        if not related & self.orders.after[policy.name] and not self.marks_read([policy.name]):
            return self.possible(cond)
        situations = self.situations([policy.name], related)
        return any(self.possible(self.seen(policy, cond, at), at=at) for at in situations)

    def solve(self, cond: Cond, at: Situation | None = None) -> Assignment | None:
        """The plainest input on which a condition holds (with the marks of a situation)."""
        return self.ground.solver.satisfy(cond if at is None or not at.marks else all_of(at.given, cond))

    def true(self, cond: Cond, found: Assignment) -> bool:
        """Whether a condition holds on an input that was found."""
        return holds(cond, found.attributes, found.states, self.program.attribute)

    def witness(self, entity: str, at: Situation, found: Assignment | None) -> Witness:
        """The input that shows a finding, as people read it."""
        path = at.path
        services = [f"{s}:{v}" if at.versioned and v is not None else s for s, v in path.letters]
        caller, callee = path.hop
        return Witness(
            tuple(["outside", *services] if path.outside else services),
            (caller or "outside", callee),
            entity,
            self._shown(entity, found.attributes if found else {}),
            tuple(
                ((e.hop[0] or "outside", e.hop[1]), self._shown(entity, e.attributes), _answers(e.states))
                for e in at.earlier
            ),
            _answers(found.states) if found else (),
        )

    def _shown(self, entity: str, values: Mapping[AttrKey, Value]) -> tuple[tuple[str, Value, str], ...]:
        """Values by attribute, as M4 writes both; another entity's attributes by the view that leads to it."""
        views = {of: f"{name}." for name, of in self.program.entities[entity].views.items()}
        return tuple(
            (f"{views.get(attr.entity, '')}{attr}", values[attr], show(values[attr], self.program.attribute(attr).type))
            for attr in sorted(values)
        )


def _answers(states: Mapping[StateAtom, bool]) -> tuple[tuple[str, bool], ...]:
    return tuple((name, states[atom]) for atom, name in state_names(states).items())


def state_names(asked: Iterable[StateAtom]) -> dict[StateAtom, str]:
    """What to call each question to a state: `limiter.Take`, and who asks where several do."""
    ordered = sorted(asked, key=lambda a: (str(a), a.policy, a.occurrence))
    plain = [str(a) for a in ordered]
    twice = [f"{a} of {a.policy}" if plain.count(str(a)) > 1 else str(a) for a in ordered]
    return {
        a: f"{name} #{a.occurrence + 1}" if twice.count(name) > 1 else name
        for a, name in zip(ordered, twice, strict=True)
    }


def outcomes(attribute: Attribute, writes: Sequence[tuple[Cond, Value]]) -> list[tuple[Value | None, Cond]]:
    """Rule 4 for conditional writes: each value that can come out, and when; None for as it arrived, be it that nothing
    is written or that writes contradict each other. The conditions exclude one another and leave nothing out."""
    items: list[tuple[Value, Cond]]
    if attribute.merge == "sum":  # equal writes count apart
        items = [(value, cond) for cond, value in writes]
    else:
        by_value: dict[Value, Cond] = {}
        for cond, value in writes:
            by_value[value] = any_of(by_value.get(value, FALSE), cond)
        items = list(by_value.items())
    out: list[tuple[Value | None, Cond]] = [(None, all_of(*(negate(c) for _, c in items)))]
    for n in range(1, len(items) + 1):
        for some in combinations(range(len(items)), n):
            case = all_of(*(c if i in some else negate(c) for i, (_, c) in enumerate(items)))
            if case != FALSE:
                out.append((merge(attribute, [items[i][0] for i in some]), case))
    return out


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
