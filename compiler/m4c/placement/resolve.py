"""From policies to rules: for each hop, which operations run there and when, with nothing left to decide at run time.

Overrides, merges, `after` and the mesh's defaults are folded into conditions, so that the rules of a hop are a set. A
call whose writes all equal the attributes' declared defaults needs no operation: what it keeps from running has its
condition inside, and without either of them the attribute is what the call asks for. A mesh default runs as the
entity's operation that writes just that. Calls that ask for the same operation are one rule where one always covers the
other, or where only their paths differ.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations

from m4c.paths.callpath import Hop, Version
from m4c.paths.product import Situation, TooManyStates
from m4c.placement.alike import Alike
from m4c.placement.athop import AtHop, call_paths
from m4c.placement.logic import Logic, fired_patterns, firing, with_firings
from m4c.placement.marks import Marking, one_place, without_idle, written
from m4c.placement.merging import unmergeable
from m4c.placement.orders import orders_of
from m4c.placement.patterns import Patterns
from m4c.placement.rules import Case, Order, Rule, Source, Unenforceable, default_source, effect_of, realised
from m4c.predicates import PLAIN
from m4c.semantics.effects import Orders, orders
from m4c.semantics.model import (
    FALSE,
    STATE,
    Atom,
    AttrKey,
    Cond,
    Default,
    OpCall,
    Operation,
    Policy,
    Program,
    Side,
    StateAtom,
    Value,
    Write,
    all_of,
    any_of,
    atoms,
    negate,
)
from m4c.semantics.values import show

_CHECK = 4  # hops, or policies, between two looks at whether to go on


@dataclass(frozen=True, slots=True)
class Resolved:
    rules: tuple[Rule, ...]
    orders: tuple[Order, ...]  # between rules of one hop, by their index
    patterns: Patterns
    unenforceable: tuple[Unenforceable, ...]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An operation on a hop, with its condition over firing and attributes."""

    when: Cond
    entity: str  # what the policies are about
    operation: Operation
    args: tuple[tuple[str, Value], ...]
    writes: tuple[Write, ...]
    side: Side | None
    sources: tuple[Source, ...]
    carries: tuple[Source, ...] = ()
    asks: StateAtom | None = None
    per: AttrKey | None = None  # what the state that it asks or changes is kept for each value of
    only_read: bool = False  # it asks for the sake of those that read the answer alone

    @property
    def counts(self) -> bool:
        """Each time that it is asked for counts: what two ask for is never one."""
        return self.asks is not None or any(w.attr.entity.startswith(STATE) for w in self.writes)


@dataclass(frozen=True, slots=True)
class _AtHop:
    """What one hop came to, and what it was made from. `orders` count from the hop's first rule."""

    made_from: tuple[object, ...]
    rules: tuple[Rule, ...]
    orders: tuple[Order, ...]
    unenforceable: tuple[Unenforceable, ...]


def resolve(program: Program) -> Resolved:
    """The rules of every hop, by hop and then by file and line. The program has no contradiction."""
    return Resolver(program).resolve(program)


class Resolver:
    """Resolves one program after the other that differ in their policies only. A hop with the same policies as before
    keeps its rules."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.patterns = Patterns(program.graph)
        self.logic = Logic(program)
        self.marking = Marking(self.patterns, self.logic)
        self.unenforceable: list[Unenforceable] = []  # of the hop at hand
        self._known: dict[Hop, _AtHop] = {}
        self._numbers: dict[int, tuple[Policy, int]] = {}  # of the patterns of policies, by their identity
        # Of the hop at hand: conditions by their identity, with them.
        self._tables: dict[tuple[int, tuple[int, ...]], tuple[Cond, dict[tuple[Situation, Version], Cond]]] = {}

    def overgrown(self, program: Program) -> bool:
        """Whether most of what is known is of policies that are gone."""
        return len(self.patterns.numbers) > 4 * len(program.policies) + 1000

    def resolve(self, program: Program, checkpoint: Callable[[], None] = lambda: None) -> Resolved:
        """As `resolve`. `checkpoint` is called now and then, and may raise."""
        self.program = program
        ordering = orders(program)
        self.marking.update(program, ordering)
        policies: dict[Hop, list[tuple[Policy, int | None]]] = {}
        defaults: dict[Hop, list[tuple[int, Default, int | None]]] = {}
        numbers, self._numbers = self._numbers, {}
        for count, policy in enumerate(program.policies):
            if count % _CHECK == 0:
                checkpoint()
            of, number = numbers.get(id(policy), (None, 0))
            if of is not policy:
                number = self.patterns.number(call_paths(program, policy.entity, policy.pattern))
            self._numbers[id(policy)] = policy, number
            for hop, always in self.patterns.hops[number].items():
                policies.setdefault(hop, []).append((policy, None if always else number))
        for index, default in enumerate(program.mesh.defaults):
            number = self.patterns.number(call_paths(program, default.attr.entity, default.pattern))
            for hop, always in self.patterns.hops[number].items():
                defaults.setdefault(hop, []).append((index, default, None if always else number))
        known: dict[Hop, _AtHop] = {}
        rules: list[Rule] = []
        tied: list[Order] = []
        refused: list[Unenforceable] = []
        for count, hop in enumerate(self._sorted({**policies, **defaults})):
            if count % _CHECK == 0:
                checkpoint()
            found = self._hop(ordering, hop, policies.get(hop, []), defaults.get(hop, []))
            known[hop] = found
            if found.orders:
                tied += [Order(len(rules) + o.first, len(rules) + o.then, o.same) for o in found.orders]
            rules += found.rules
            refused += found.unenforceable
        self._known = known
        kept, between = without_idle(self.patterns, tuple(rules), tuple(tied))
        return Resolved(kept, between, self.patterns, tuple(refused))

    def _sorted(self, hops: Mapping[Hop, object]) -> list[Hop]:
        """By name; those that were there before are sorted already."""
        out = [hop for hop in self._known if hop in hops]
        new = [hop for hop in hops if hop not in self._known]
        if len(new) > len(out):
            return sorted(hops, key=_name)
        for hop in new:
            insort(out, hop, key=_name)
        return out

    def _hop(
        self,
        of: Orders,
        hop: Hop,
        policies: list[tuple[Policy, int | None]],
        defaults: list[tuple[int, Default, int | None]],
    ) -> _AtHop:
        ordered = tuple((of.over[p.name], of.after[p.name]) for p, _ in policies) if of.over or of.after else ()
        marked = self.marking.of(policies)
        of_hop = (tuple(policies), tuple(defaults), ordered, marked)
        known = self._known.get(hop)
        if known is not None and known.made_from == of_hop:  # quick: what has not changed is the same object
            return known
        self.unenforceable = []
        self._tables.clear()
        carried = None if marked is None else marked.carried
        rules, tied = self._resolved(AtHop(self.program, of, hop, policies, defaults, self.logic.outline, carried))
        return _AtHop(of_hop, tuple(rules), tuple(tied), tuple(self.unenforceable))

    def _resolved(self, here: AtHop) -> tuple[list[Rule], list[Order]]:
        wanted: list[_Wanted] = []
        for policy, call in here.calls():
            if not here.idle(policy.entity, call.writes):
                source = Source(policy.name, call.index)
                wanted += self._bounded(here.hop, source, partial(self._of_call, here, policy, call, source))
        unwritten: list[_Wanted] = []
        for index, default, pattern in here.defaults:
            if not here.idle(default.attr.entity, (Write(default.attr, default.value),)):
                source = default_source(index, default)
                unwritten += self._bounded(here.hop, source, partial(self._of_default, here, index, default, pattern))
        if self.program.states:
            wanted += self._asking(here, [each.when for each in (*wanted, *unwritten)])
        wanted += unwritten
        if len(wanted) > 1:
            wanted = self._apart(here.hop, self._fold(here.hop, wanted))
        rules: list[Rule] = []
        roles = [self._roles(w) for w in wanted]
        sealing = tuple(dict.fromkeys(w.operation for w, of in zip(wanted, roles, strict=True) if "both_ends" in of))
        for w, of in zip(wanted, roles, strict=True):
            patterns, cases = self._cases(w.when, here.hop)
            terminal = any(self._is_terminal(write) for write in w.writes)
            shows, both_ends = "outward" in of, "both_ends" in of
            said = (here.hop, w.entity, w.operation, w.args, w.writes, terminal, shows, w.side, w.sources, w.carries)
            sealed = tuple(o for o in sealing if o != w.operation)
            marks = written(self.program, w.writes)
            rules.append(Rule(*said, patterns, cases, w.asks, both_ends, sealed, w.per, w.only_read, marks))
        if len(rules) < 2:
            return rules, []
        meet = partial(self._meet, here.hop)
        tied = {(o.first, o.then): o for o in orders_of(self.program, here, [w.when for w in wanted], rules, meet)}
        for i, asking in enumerate(rules):  # the answer is known only where it was asked for
            for j, reader in enumerate(rules) if asking.asks is not None else ():
                if i != j and asking.asks in reader.reads:
                    tied[i, j] = Order(i, j, same=True)
        tied |= {(i, j): Order(i, j, same=True) for i, j in one_place(rules)}
        return rules, list(tied.values())

    def _roles(self, wanted: _Wanted) -> frozenset[str]:
        """The annotations of the attributes that it writes."""
        return frozenset().union(*[self.program.attribute(write.attr).roles for write in wanted.writes])

    def _meet(self, hop: Hop, *conds: Cond) -> bool:
        """Can conditions hold together on the hop? Where the paths are too many to say: yes."""
        try:
            return self.possible(hop, all_of(*conds))
        except TooManyStates:
            return True

    # --- what is wanted ---

    def _bounded(self, hop: Hop, source: Source, make: Callable[[], _Wanted | None]) -> list[_Wanted]:
        try:
            made = make()
        except TooManyStates:
            path = self.patterns.path(hop)
            reason = "the path patterns that decide it can fire in too many combinations to plan for"
            refusal = Unenforceable(source.policy, source.call, hop, path, (reason,), source.default)
            self.unenforceable.append(refusal)
            return []
        return [] if made is None else [made]

    def _of_call(self, here: AtHop, policy: Policy, call: OpCall, source: Source) -> _Wanted | None:
        """None if it never runs on this hop, needs no operation, or cannot be had."""
        if here.is_passive(call):
            return None
        when = here.effective(policy, call)
        if not self.possible(here.hop, when):
            return None
        problem = unmergeable(here, policy, call, partial(self.possible, here.hop))
        if problem is not None:
            self._refuse(source, here.hop, here.left(policy, call), problem)
            return None
        operation = self.program.entities[call.entity].operations[call.operation]
        given = dict(call.args)
        args = tuple((p.name, given.get(p.name, p.default)) for p in operation.params)
        written = {w.attr for w in call.writes}
        over = here.orders.over[policy.name]
        silent = [(p, c) for p, c in here.calls(over) if _writes_any(c, written)] if over else []
        silent += here.passive_over(call)
        carries = tuple(dict.fromkeys(Source(p.name, c.index) for p, c in silent if here.is_passive(c)))
        return _Wanted(
            when,
            policy.entity,
            operation,
            tuple((name, value) for name, value in args if value is not None),
            call.writes,
            call.side,
            (source,),
            carries,
            per=self._per(policy, call.entity.removeprefix(STATE)) if call.entity.startswith(STATE) else None,
        )

    def _of_state(
        self, here: AtHop, policy: Policy, source: Source, atom: StateAtom, when: Cond, idle: bool
    ) -> _Wanted | None:
        """A condition of a state, as what asks it."""
        if not self.possible(here.hop, when):
            return None
        state = next(s for s in self.program.states if s.name == atom.state)
        params = self.program.entities[state.kind].conditions[atom.condition].params
        asked = Operation(state.kind, atom.condition, params)
        per = self._per(policy, atom.state)
        sources = (source,)
        return _Wanted(when, policy.entity, asked, atom.args, (), policy.side, sources, (), atom, per, only_read=idle)

    def _asking(self, here: AtHop, reading: list[Cond]) -> list[_Wanted]:
        """What asks states: for policies that are not idle here, and for others as far as conditions read it."""
        asked = [(p, here.idle(p.entity), *each) for p, pattern in here.policies for each in here.asked(p, pattern)]
        reading += [when for _, idle, _, _, when in asked if not idle]
        read: set[Atom | StateAtom] = set()
        while reading:  # whether one is asked may depend on the answer of another
            found = set(chain.from_iterable(map(atoms, reading))) - read
            read |= found
            reading = [when for _, idle, atom, _, when in asked if idle and atom in found]
        out: list[_Wanted] = []
        for policy, idle, atom, call, when in asked:
            if not idle or atom in read:
                source = Source(policy.name, call.index)
                make = partial(self._of_state, here, policy, source, atom, when, idle)
                out += self._bounded(here.hop, source, make)
        return out

    def _per(self, policy: Policy, name: str) -> AttrKey | None:
        """What a state is kept for each value of."""
        state = next(s for s in self.program.states if s.name == name)
        return None if state.per is None else AttrKey(policy.entity, *state.per)

    def _of_default(self, here: AtHop, index: int, default: Default, pattern: int | None) -> _Wanted | None:
        if self.program.attribute(default.attr).default == default.value:
            return None
        when = all_of(firing(pattern), here.unwritten(default.attr))
        if not self.possible(here.hop, when):
            return None
        source = default_source(index, default)
        found = realised(self.program, default)
        if found is None:
            value = show(default.value, self.program.attribute(default.attr).type)
            reason = f"no operation of {default.attr.entity} writes {default.attr} = {value} and nothing else"
            self._refuse(source, here.hop, when, reason)
            return None
        operation, args, writes = found
        # One that ends the request keeps nothing of what others write.
        if not any(self._is_terminal(w) for w in writes):
            for w in writes:
                others = any_of(*(here.left(p, c) for p, c, _ in here.writers(w.attr)))
                if w.attr != default.attr and self.possible(here.hop, all_of(when, others)):
                    self._refuse(
                        source, here.hop, when, f"{operation.name} would also write {w.attr}, as a policy does"
                    )
                    return None
        carries = (Source(p.name, c.index) for p, c, _ in here.writers(default.attr) if here.is_passive(c))
        carried = tuple(dict.fromkeys(carries))
        return _Wanted(when, default.attr.entity, operation, args, writes, operation.side, (source,), carried)

    def _is_terminal(self, write: Write) -> bool:
        return self.program.is_terminal(write.attr, write.value)

    def _refuse(self, source: Source, hop: Hop, when: Cond, reason: str) -> None:
        patterns, cases = self._cases(when, hop)
        path = self.patterns.path(hop, patterns, cases)
        self.unenforceable.append(Unenforceable(source.policy, source.call, hop, path, (reason,), source.default))

    # --- situations ---

    def table(self, when: Cond, hop: Hop, patterns: Iterable[int]) -> Mapping[tuple[Situation, Version], Cond]:
        """The condition in every situation that can arise on the hop, for each version that is told apart."""
        numbers = tuple(sorted(patterns))
        if not numbers:
            return {((), None): when}
        made_of, out = self._tables.get((id(when), numbers), (None, {}))
        if made_of is not when:
            said: dict[frozenset[int], Cond] = {}
            for situation in self.patterns.situations(numbers, hop):
                for version, accepting in situation:
                    if accepting not in said:
                        fired = {numbers[i] for i in accepting}
                        said[accepting] = with_firings(when, fired.__contains__)
                    out[situation, version] = said[accepting]
            self._tables[id(when), numbers] = when, out
        return out

    def possible(self, hop: Hop, when: Cond) -> bool:
        """Can the condition hold on some path and input?"""
        return any(self.logic.satisfiable(c) for c in self.table(when, hop, fired_patterns(when)).values())

    def _cases(self, when: Cond, hop: Hop) -> tuple[tuple[int, ...], tuple[Case, ...]]:
        patterns = tuple(sorted(fired_patterns(when)))
        if not patterns:
            versions = self.patterns.versions(hop[1])
            return (), (Case((), ((versions, self.logic.simplified(when)),)),)
        spread = self.patterns.spread(patterns)
        distinct: list[Cond] = []  # equivalent conditions become one, so that no context is spent on telling them apart

        def canonical(cond: Cond) -> Cond:
            simple = self.logic.simplified(cond)
            for known in distinct:
                if self.logic.equivalent(known, simple):
                    return known
            distinct.append(simple)
            return simple

        by_situation: dict[Situation, dict[Cond, list[Version]]] = {}
        for (situation, version), cond in self.table(when, hop, patterns).items():
            alike = spread.versions_like(hop[1], version)
            by_situation.setdefault(situation, {}).setdefault(canonical(cond), []).extend(alike)
        cases = tuple(Case(s, effect_of(by_cond)) for s, by_cond in by_situation.items())
        if len({case.effect for case in cases}) <= 1:
            return (), (Case((), cases[0].effect),)
        return patterns, cases

    # --- folding ---

    def _fold(self, hop: Hop, wanted: Sequence[_Wanted]) -> list[_Wanted]:
        out: list[_Wanted] = []
        alike: dict[object, Alike] = {}
        for new in wanted:
            if new.counts:
                out.append(new)
                continue
            of = alike.setdefault((new.operation.entity, new.operation.name, new.args, new.writes), Alike())
            # Of two that are one where their conditions meet, neither is covered by the other where they do not.
            outline = PLAIN if self._adds(new) else self.logic.outline(new.when)
            for i in of.meeting(outline):
                one = self._folded(hop, out[i], new)
                if one is not None:
                    out[i] = one
                    of.put(i, PLAIN if self._adds(one) else self.logic.outline(one.when))
                    break
            else:
                of.put(len(out), outline)
                out.append(new)
        return out if len(out) == len(wanted) else self._fold(hop, out)

    def _adds(self, wanted: _Wanted) -> bool:
        """Whether two that do the same add the same to a union."""
        return any(self.program.attribute(w.attr).merge == "union" for w in wanted.writes)

    def _folded(self, hop: Hop, old: _Wanted, new: _Wanted) -> _Wanted | None:
        """One operation in place of two that do the same, where that is never worse."""
        if old.counts or (old.operation, old.args, old.writes) != (new.operation, new.args, new.writes):
            return None
        adds = self._adds(new)
        patterns = fired_patterns(old.when) | fired_patterns(new.when)
        try:
            a, b = self.table(old.when, hop, patterns), self.table(new.when, hop, patterns)
        except TooManyStates:
            return None
        covers = all(self.logic.implies(b[k], a[k]) for k in a)
        if covers and new.side in (None, old.side):
            return _both(old, new)
        covered = all(self.logic.implies(a[k], b[k]) for k in a)
        if covered and old.side in (None, new.side):
            return replace(_both(old, new), when=new.when, side=new.side)
        if old.side != new.side and None not in (old.side, new.side):
            return None
        if not patterns and not adds and not (covers and covered):
            return None
        conds = [c for c in (*a.values(), *b.values()) if self.logic.satisfiable(c)]
        if adds or all(self.logic.equivalent(conds[0], c) for c in conds[1:]):  # or only their paths differ
            return replace(_both(old, new), when=any_of(old.when, new.when), side=old.side or new.side)
        return None

    def _apart(self, hop: Hop, wanted: Sequence[_Wanted]) -> list[_Wanted]:
        """Operations that add the same to a union, and could not become one: the later one only without the earlier."""
        out = list(wanted)
        changed: set[int] = set()
        for i, j in combinations([i for i, w in enumerate(out) if self._adds(w)], 2):
            a, b = out[i], out[j]
            mine = {w.attr: w.value for w in a.writes if self.program.attribute(w.attr).merge == "union"}
            if not any(w.attr in mine and mine[w.attr] == w.value for w in b.writes):
                continue
            if set(b.writes) <= set(a.writes):
                out[j] = replace(b, when=all_of(b.when, negate(a.when)))
                changed.add(j)
            elif set(a.writes) <= set(b.writes):
                out[i] = replace(a, when=all_of(a.when, negate(b.when)))
                changed.add(i)
            elif self._meet(hop, a.when, b.when):
                for source in b.sources:
                    reason = f"no single operation has the merged result of this and {a.sources[0].policy}'s"
                    self._refuse(source, hop, b.when, reason)
                out[j] = replace(b, when=FALSE)
                changed.add(j)
        return [w for i, w in enumerate(out) if i not in changed or self._meet(hop, w.when)]


def _both(old: _Wanted, new: _Wanted) -> _Wanted:
    """The one, for whoever asked for either."""
    return replace(old, sources=old.sources + new.sources, carries=tuple(dict.fromkeys(old.carries + new.carries)))


def _name(hop: Hop) -> tuple[str, str]:
    return hop[0] or "", hop[1]


def _writes_any(call: OpCall, attrs: set[AttrKey]) -> bool:
    return any(w.attr in attrs for w in call.writes)
