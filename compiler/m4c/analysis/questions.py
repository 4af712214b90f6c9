"""The questions about the policies of one program, one at a time, and the answers so far.

Each question is put to a program that holds the policies on which its answer depends and no others, so the answer is
the same whatever else the mesh holds, and costs what the neighbourhood costs.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from m4c.analysis.conflicts import conflicts_of, default_conflicts, order_dependent
from m4c.analysis.effects import Effects
from m4c.analysis.ground import Ground, ground_of
from m4c.analysis.later import on_earlier_hop
from m4c.analysis.multihop import lost_headers, retry_amplification, timeout_inversion
from m4c.analysis.near import Near, Row, row_of
from m4c.analysis.ontheway import OnTheWay
from m4c.analysis.reachability import (
    dead_conditions,
    dead_default,
    dead_paths,
    defaults_out_of_domain,
    is_simple,
    out_of_domain,
    too_complex,
    unknown_versions,
    wrong_patterns,
)
from m4c.analysis.shadowing import idle
from m4c.analysis.sharing import foreign_override, shared_states, unsided_state
from m4c.analysis.standing import Proof, Scenery, is_plain, proofs
from m4c.predicates import Solver, TooComplex
from m4c.semantics.effects import Orders
from m4c.semantics.model import AttrKey, Policy, Program
from m4c.semantics.problems import Problem

Problems: TypeAlias = tuple[Problem, ...]
Unit: TypeAlias = tuple[str, str, str]  # a kind of question, and the two policies that it is about, in its order
_EACH = 16  # conditions and pairs of patterns that are remembered for a policy
KINDS = ("meeting", "inversion", "amplification", "lost")
ROLES = {"inversion": "deadline", "amplification": "repeats", "lost": "propagates"}  # what makes a policy matter later


@dataclass(frozen=True, slots=True, eq=False)
class _General:
    """What a general answer was found from: the policies in order, and their orders."""

    policies: tuple[Policy, ...]
    orders: Orders

    def same(self, other: _General) -> bool:
        return (
            len(self.policies) == len(other.policies)
            and all(a is b for a, b in zip(self.policies, other.policies, strict=True))
            and self.orders == other.orders
        )


@dataclass(frozen=True, slots=True)
class Answers:
    """What there is to say about some policies, as `Questions` keeps it."""

    own: dict[str, Problems]
    units: dict[Unit, Problems]
    proven: dict[str, tuple[Proof, ...] | None]
    pointless: dict[str, Problems]
    unsided: dict[str, Problems]


class Questions:
    """Asks about the policies in `near`, and keeps what there is to say about each and each two of them."""

    def __init__(self, program: Program) -> None:
        self.near = Near(program.attribute)
        self.rank: dict[str, tuple[int, int]] = {}  # where each policy stands: its file's number, and its own in there
        self.own: dict[str, Problems] = {}
        self.units: dict[Unit, Problems] = {}
        self.units_of: dict[str, set[Unit]] = {}
        self.proven: dict[str, tuple[Proof, ...] | None] = {}  # None: whether it has a point was found out in general
        self.pointless: dict[str, Problems] = {}
        self._general: dict[str, tuple[_General, Problems]] = {}
        self.unsided: dict[str, Problems] = {}
        self.states: dict[str, Problems] = {}
        self.of_role = {kind: OnTheWay() for kind in ROLES}
        self.defaults: dict[AttrKey, Problems] = {}
        self.empty = replace(program, policies=())
        defaults = program.mesh.defaults
        self.contested = {a.attr for a in defaults if any(a.attr == b.attr and a.value != b.value for b in defaults)}
        self._solver = Solver(program.attribute, program.enums)
        self._about: dict[str, Program] = {}
        self._grounds: dict[int, Ground] = {}
        self._scenery: dict[str, Scenery] = {}
        dead = (p for d in defaults for p in dead_default(self._effects({}, d.attr.entity), d))
        self.of_mesh: Problems = (*defaults_out_of_domain(program), *dead)

    def tidy(self) -> None:
        """Forgets what is known of conditions and patterns if most of it is of policies that are gone."""
        limit = _EACH * (len(self.near.rows) + 100)
        self._solver.tidy(limit)
        for ground in self._grounds.values():
            ground.letters.tidy(limit)

    # --- the policies ---

    def add(self, policy: Policy) -> None:
        row = row_of(policy, self._effects({}, policy.entity))
        self.near.add(row)
        for kind, role in ROLES.items():
            writes = [w for c in policy.calls for w in c.writes if role in self.near.attribute(w.attr).roles]
            if writes:
                self.of_role[kind].add(row, [w.value for w in writes if isinstance(w.value, int)])

    def remove(self, name: str) -> Row:
        for of in self.of_role.values():
            of.remove(name)
        return self.near.remove(name)

    def forget(self, name: str) -> None:
        self.own.pop(name, None)
        self.proven.pop(name, None)
        self.pointless.pop(name, None)
        self.unsided.pop(name, None)
        for unit in self.units_of.pop(name, ()):
            self.units.pop(unit, None)
            for other in unit[1:]:
                if other != name:
                    self.units_of[other].discard(unit)

    def keep(self, unit: Unit, found: Problems) -> None:
        if found:
            self.units[unit] = found
            for name in unit[1:]:
                self.units_of.setdefault(name, set()).add(unit)

    def drop(self, unit: Unit) -> None:
        if self.units.pop(unit, None) is not None:
            for name in set(unit[1:]):
                self.units_of[name].discard(unit)

    def answers(self, names: Set[str]) -> Answers:
        """What was found about some policies, and between two of whatever kind."""
        own, pointless, unsided = (
            {n: some for n, some in of.items() if n in names} for of in (self.own, self.pointless, self.unsided)
        )
        return Answers(own, self.units, {n: self.proven[n] for n in names}, pointless, unsided)

    def take(self, found: Answers) -> None:
        """Adds what was found elsewhere."""
        self.own |= found.own
        self.proven |= found.proven
        self.pointless |= found.pointless
        self.unsided |= found.unsided
        for unit, problems in found.units.items():
            self.keep(unit, problems)

    # --- the programs that questions are put to ---

    def _ground(self, entity: str) -> Ground:
        about_it = self._about_it(entity)
        key = id(about_it.graph)
        if key not in self._grounds:
            self._grounds[key] = ground_of(about_it, self._solver)
        return self._grounds[key]

    def _about_it(self, entity: str) -> Program:
        if entity not in self._about:
            self._about[entity] = about(self.empty, entity)
        return self._about[entity]

    def _effects(self, rows: Mapping[str, Row], entity: str) -> Effects:
        """The part of the program with some policies; about one entity."""
        policies = [rows[n].policy for n in sorted(rows, key=self.rank.__getitem__)]
        mine = tuple(p for p in policies if p.entity == entity)
        program = replace(self._about_it(entity), policies=mine)
        whole = program if len(mine) == len(policies) else replace(self.empty, policies=tuple(policies))
        return Effects(program, whole, self._ground(entity), self.near.orders.among(rows.keys()))

    def _among(self, names: set[str], fires: Sequence[Row], entity: str, marks: Iterable[AttrKey] = ()) -> Effects:
        """As `_effects`, with all on which it depends what some policies do where those of `fires` fire together."""
        return self._effects({n: self.near.rows[n] for n in self.near.closed(names, fires, marks)}, entity)

    def wrong_by_itself(self, policy: Policy) -> Iterator[Problem]:
        """What is wrong with the conditions of a policy, so that nothing can be said about it."""
        if is_simple(policy):
            return
        found = list(wrong_patterns(policy))
        yield from found
        if not found:
            yield from too_complex(self._effects({}, policy.entity), policy)

    def _ask(self, names: tuple[str, ...], question: Callable[[], Iterable[Problem]]) -> Problems:
        try:
            return tuple(question())
        except TooComplex as e:
            who = " and ".join(f"`{n}`" for n in dict.fromkeys(names))
            policy = self.near.rows[names[0]].policy
            message = f"the conditions of {who} are too complex together: {e}"
            return (Problem("too-complex", message, policy.when_place or policy.place, policies=names),)

    # --- questions about one policy and about two ---

    def ask_alone(self, row: Row) -> None:
        policy = row.policy

        def found() -> Iterator[Problem]:
            bare = self._effects({policy.name: row}, policy.entity)
            yield from dead_paths(bare, policy)
            yield from out_of_domain(bare.program, policy)
            yield from unknown_versions(bare, policy)
            sees = self.near.orders.after.get(policy.name) or self.near.marks((policy.name,))
            yield from dead_conditions(self._among({policy.name}, (row,), policy.entity) if sees else bare, policy)
            if len(policy.calls) > 1:
                yield from conflicts_of(self._among({policy.name}, (row,), policy.entity), policy, policy)
            for name in policy.overrides:
                other = self.near.rows.get(name)
                if other is not None and policy.owner is not None and other.policy.owner not in (None, policy.owner):
                    effects = self._among({policy.name, name}, (row, other), policy.entity)
                    problem = foreign_override(effects, policy, other.policy)
                    if problem is not None:
                        yield problem

        own = self._ask((policy.name,), found)
        self.own.pop(policy.name, None)
        if own:
            self.own[policy.name] = own

    def partners(self, row: Row, within: int) -> Iterator[Row]:
        """The policies with which one can conflict or depend on an order, or of which that was said before; `within`:
        at some letters."""
        near, name = self.near, row.policy.name
        others = near.differing(row, within, is_plain(row, near))
        if row.reads:
            others |= near.writers(row.reads, row, within)
        others |= near.readers(row.writes, row, within)
        told = (n for unit in self.units_of.get(name, ()) if unit[0] == "meeting" for n in unit[1:])
        others.update((n, near.rows[n]) for n in (*self.droppers(name), *told))  # what was told may hold no more
        others.pop(name, None)
        yield from others.values()

    def droppers(self, name: str) -> set[str]:
        """The policies that override what one sees of others, and those that see what it overrides."""
        near = self.near
        found: set[str] = {q for n in near.orders.after.get(name, ()) for q in near.orders.over.get(n, ())}
        found |= {q for n in near.overridden.get(name, ()) for q in near.followers.get(n, ())}
        return (found & near.rows.keys()) - {name}

    def ask_pair(self, a: Row, b: Row) -> None:
        if self.rank[a.policy.name] > self.rank[b.policy.name]:
            a, b = b, a
        one, two = a.policy, b.policy
        for unit in (("meeting", one.name, two.name), ("meeting", two.name, one.name)):
            self.drop(unit)
        if one.entity != two.entity or not a.ends & b.ends:
            return
        differ = _differ(a, b)
        reads = bool(a.writes & b.reads or b.writes & a.reads) or two.name in self.droppers(one.name)
        if not (differ or reads):
            return
        ground = self._ground(one.entity)
        plain = not reads and is_plain(a, self.near) and is_plain(b, self.near)
        if plain and not ground.solver.satisfiable(one.when, two.when):
            return
        if not ground.letters.meet(a.shape, b.shape):
            return

        def found() -> Iterator[Problem]:
            effects = self._among({one.name, two.name}, (a, b), one.entity)
            if differ:
                yield from conflicts_of(effects, one, two)
            for writer, reader in ((one, two), (two, one)) if reads else ():
                problem = order_dependent(effects, writer, reader)
                if problem is not None:
                    yield problem

        self.keep(("meeting", one.name, two.name), self._ask((one.name, two.name), found))

    # --- over several hops ---

    def ask_from(self, row: Row, later_names: Container[str], inner: Container[str]) -> None:
        """What is wrong over several hops with one policy; not with those of `later_names`, which ask themselves, nor
        about time limits that `inner` ask."""
        name, at, rows = row.policy.name, row.ends, self.near.rows
        for unit in [u for u in self.units_of.get(name, ()) if u[0] != "meeting"]:
            self.drop(unit)
        limited, repeating, writing = (self.of_role[kind] for kind in ROLES)
        if name in limited:
            for later in limited.longer(limited.rows[name].shortest, row.letters.behind(at)):
                if later.policy.name not in inner:
                    self.ask_later("inversion", row, later)
        if name in repeating:
            for other in repeating.at(row.letters.behind(at) | row.letters.ahead(at)):
                if other is row or other.policy.name not in later_names:
                    one, two = sorted((row, other), key=lambda r: r.policy.name)
                    if not self.ask_later("amplification", one, two):  # told once for both directions
                        self.ask_later("amplification", two, one)
        if name in writing:
            for reader in set().union(*map(self.near.all_readers, row.writes)):
                if reader == name or reader not in later_names:
                    self.ask_later("lost", row, rows[reader])
        for writer in set().union(*map(self.near.all_writers, row.reads)) - {name}:
            if writer in writing and writer not in later_names:
                self.ask_later("lost", rows[writer], row)

    def ask_inner(self, row: Row) -> None:
        """Which earlier hops do not wait as long as a policy lets its own last."""
        name, limited = row.policy.name, self.of_role["inversion"]
        for unit in [u for u in self.units_of.get(name, ()) if u[0] == "inversion" and u[2] == name]:
            self.drop(unit)
        for outer in limited.shorter(limited.rows[name].longest, row.letters.ahead(row.ends)):
            self.ask_later("inversion", outer, row)

    def ask_later(self, kind: str, outer: Row, inner: Row) -> bool:
        """Whether something is wrong where one policy fires on a later hop of a path than another."""
        first, second = outer.policy, inner.policy
        letters = inner.letters
        if first.entity != second.entity or not inner.ends & letters.behind(outer.ends):
            return False
        if not letters.meet(outer.and_on, inner.shape):
            return False
        beside: dict[str, Row] = {}
        if kind == "inversion":
            limits = {a for a in inner.writes if "deadline" in self.near.attribute(a).roles}
            beside = {n: r for n, r in self.near.writers(limits, inner).items() if letters.meet(inner.shape, r.shape)}

        if kind != "lost" and not beside.keys() - {second.name} and not self._can_follow(kind, outer, inner):
            return False

        def found() -> Iterator[Problem]:
            effects = self._among({first.name, second.name, *beside}, (), first.entity)
            if kind == "lost":
                yield from lost_headers(effects, first, second)
            else:
                ask = timeout_inversion if kind == "inversion" else retry_amplification
                problem = ask(effects, first, second)
                if problem is not None:
                    yield problem

        problems = self._ask((first.name, second.name), found)
        self.keep((kind, first.name, second.name), problems)
        return bool(problems)

    def _can_follow(self, kind: str, outer: Row, inner: Row) -> bool:
        """Whether the conditions of two policies allow for a path on which first one and then the other takes effect,
        as far as that is quick to see."""
        near = self.near
        for row in (outer, inner):
            if not is_plain(row, near) or near.orders.over.get(row.policy.name):
                return True
        effects = self._effects({}, outer.policy.entity)
        return effects.possible(inner.policy.when, on_earlier_hop(effects, outer.policy.when))

    def scene(self, entity: str) -> Scenery:
        if entity not in self._scenery:
            program = self._about_it(entity)
            ending = frozenset(
                AttrKey(e.name, a.name)
                for e in program.entities.values()
                for a in e.attributes.values()
                if a.key is None and a.type.name in program.enums and program.enums[a.type.name].terminal
            )
            self._scenery[entity] = Scenery(self._ground(entity), self.near, program, program.mesh.defaults, ending)
        return self._scenery[entity]

    def ask_point(self, row: Row) -> None:
        """Whether a policy is shadowed, suppressed or redundant: by a proof that it is not, or in general."""
        policy, near = row.policy, self.near
        scenery = self.scene(policy.entity)
        proven = proofs(scenery, row)
        self.proven[policy.name] = proven
        self.pointless.pop(policy.name, None)
        if proven is not None:
            return

        depend, marks = self._around(row, scenery)
        rows = {n: near.rows[n] for n in near.closed(depend, (row,), marks)}
        in_order = sorted(rows.values(), key=lambda r: self.rank[r.policy.name])
        asked = _General(tuple(r.policy for r in in_order), near.orders.among(rows.keys()))
        known = self._general.get(policy.name)
        if known is None or not known[0].same(asked):
            effects = self._effects(rows, policy.entity)
            known = self._general[policy.name] = asked, self._ask((policy.name,), partial(idle, effects, policy))
        if known[1]:
            self.pointless[policy.name] = known[1]

    def _around(self, row: Row, scenery: Scenery) -> tuple[set[str], list[AttrKey]]:
        """The policies and marks that decide whether one has a point, before those that decide what these do."""
        policy, near = row.policy, self.near
        depend = {policy.name, *near.influence({policy.name: row.ends})}
        touched = {a for n in depend for a in near.rows[n].writes}
        marks = [a for a in touched if near.attribute(a).travels]
        plain = is_plain(row, near) and not marks
        concerned = touched | scenery.ending
        if row.writes & scenery.ending:
            others = near.beside(row, plain)
            others.update(near.moving(row) if plain else ())
        else:
            others = near.writers(concerned, row, -1, plain)
            others.update((n, r) for n, r in (near.moving(row) if plain else ()) if r.writes & concerned)
        for name, other in others.items():
            if name in depend or not scenery.ground.letters.meet(row.shape, other.shape):
                continue
            silent = plain and is_plain(other, near) and not near.influence({name: -1})
            if silent and not scenery.ground.solver.satisfiable(policy.when, other.policy.when):
                continue  # where the policy asks for nothing, nothing changes without it
            depend.add(name)
        return depend, marks

    def ask_sides(self, row: Row) -> None:
        policy = row.policy
        self.unsided.pop(policy.name, None)
        others = self.of_role["amplification"].at(row.ends)
        repeating = {other.policy.name for other in others if other.policy.entity == policy.entity}
        if not repeating:
            return

        def found() -> Iterator[Problem]:
            problem = unsided_state(self._among({policy.name, *repeating}, (row,), policy.entity), policy)
            if problem is not None:
                yield problem

        unsided = self._ask((policy.name,), found)
        if unsided:
            self.unsided[policy.name] = unsided

    # --- what is about the mesh ---

    def ask_state(self, name: str) -> None:
        """What policies share by a state, and whether several elements keep it."""
        state = next(s for s in self.empty.states if s.name == name)
        users = self.near.states.get(name, {})
        entity = next((r.policy.entity for r in users.values()), "")
        effects = Effects(self.empty, ground=self._ground(entity))
        policies = [users[n].policy for n in sorted(users, key=self.rank.__getitem__)]
        self.states[name] = self._ask(tuple(users), partial(shared_states, effects, policies, state))

    def ask_defaults(self, attr: AttrKey) -> None:
        """Whether defaults of the mesh contradict each other about an attribute."""
        names = set(self.near.all_writers(attr))
        found = default_conflicts(self._among(names, (), attr.entity))
        self.defaults[attr] = tuple(p for p in found if p.about == str(attr))

    # --- the answers ---

    def findings(self) -> Iterator[Problem]:
        rank = self.rank
        yield from self.of_mesh
        for found in (self.own, self.pointless, self.unsided):
            for name in sorted(found, key=rank.__getitem__):
                yield from found[name]
        for unit in sorted(self.units, key=lambda u: (KINDS.index(u[0]), rank[u[1]], rank[u[2]])):
            yield from self.units[unit]
        for of_mesh in (self.states, self.defaults):
            for some in of_mesh.values():
                yield from some


def _differ(a: Row, b: Row) -> bool:
    """Whether two policies write different values to one attribute."""
    shared = a.writes & b.writes
    if not shared:
        return False
    first, second = ({(w.attr, w.value) for c in r.policy.calls for w in c.writes if w.attr in shared} for r in (a, b))
    return first != second or len(first) > len(shared)


def about(program: Program, entity: str) -> Program:
    """The part of a program about one entity: policies on different ones never meet.

    A connection has no call path: to its policies every call is a path of its own, and nothing comes from outside.
    """
    policies = tuple(p for p in program.policies if p.entity == entity)
    defaults = tuple(d for d in program.mesh.defaults if d.attr.entity == entity)
    graph = program.graph
    if entity in program.entities and program.entities[entity].connection:
        services = {n: replace(s, origin=True, entry=False) for n, s in graph.services.items()}
        graph = replace(graph, services=services)
    return replace(program, policies=policies, graph=graph, mesh=replace(program.mesh, defaults=defaults))
