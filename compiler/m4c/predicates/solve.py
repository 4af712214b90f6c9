"""Exact satisfiability of conditions, with the plainest witness.

A condition is a Boolean formula over comparisons; comparisons of different attributes are independent. So the search is
Davis, Putnam, Logemann and Loveland's over the formula, with each attribute's conjunction of comparisons decided on the
way (`domains.choose`). A conjunction needs no search at all. For the plainest witness it goes on as branch and bound:
what an attribute costs can only grow with more comparisons, so the cost so far is a lower bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from m4c.predicates.atoms import Check, Schema, View, begin_apart, check_of, holds, passes, view_of
from m4c.predicates.automata import TooComplex
from m4c.predicates.domains import FREE, Choice, Domain, choose, domain_of
from m4c.semantics.model import ABSENT, Absent, And, Atom, AttrKey, Cond, Const, Enum, Not, Or, StateAtom, Value

# Steps of the search before it gives up with TooComplex, and those it spends on making a found witness plainer.
SEARCH_LIMIT = 200_000
POLISH_LIMIT = 2_000
_REMEMBERED = 1 << 17  # conditions that a solver remembers

_NOTHING: Mapping[AttrKey, Value | Absent] = {}


@dataclass(frozen=True, slots=True)
class Assignment:
    """A witness: the value of every attribute that the condition reads (an absent one is left out, a derived one stands
    for its source), and every state condition in it. `holds` on it is true."""

    attributes: Mapping[AttrKey, Value]
    states: Mapping[StateAtom, bool]


class _Literal(NamedTuple):
    atom: Atom | StateAtom
    positive: bool


class _All(NamedTuple):
    of: tuple[_Formula, ...]


class _Any(NamedTuple):
    of: tuple[_Formula, ...]


_Formula: TypeAlias = _Literal | _All | _Any | bool


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A condition as the search takes it. Of a conjunction of comparisons, `units` is all of it, by its sources."""

    cond: Cond  # kept alive: the cache knows it by its identity
    formula: _Formula
    sources: tuple[AttrKey, ...]
    states: tuple[StateAtom, ...]
    units: Mapping[AttrKey, tuple[Check, ...]] | None
    possible: bool  # false for a conjunction that nothing satisfies


class _Node:
    """What the search has assumed so far, and the plainest values under it."""

    __slots__ = ("checks", "choices", "cost", "known", "prefer", "solver")

    def __init__(self, solver: Solver, prefer: Mapping[AttrKey, Value | Absent]) -> None:
        self.solver = solver
        self.prefer = prefer
        self.known: dict[Atom | StateAtom, bool] = {}
        self.checks: dict[AttrKey, tuple[Check, ...]] = {}
        self.choices: dict[AttrKey, Choice] = {}
        self.cost: tuple[int, ...] = (*FREE, 0)  # the last: how many state conditions are true

    def copy(self) -> _Node:
        other = _Node.__new__(_Node)
        other.solver = self.solver
        other.prefer = self.prefer
        other.known = dict(self.known)
        other.checks = dict(self.checks)
        other.choices = dict(self.choices)
        other.cost = self.cost
        return other

    def assume(self, literal: _Literal) -> bool:
        """Adds a comparison or its negation; False if nothing satisfies it beside the others."""
        atom, positive = literal
        known = self.known.get(atom)
        if known is not None:
            return known == positive
        self.known[atom] = positive
        if isinstance(atom, StateAtom):
            self.cost = (*self.cost[:-1], self.cost[-1] + positive)
            return True
        view = self.solver.view(atom.attr)
        checks = (*self.checks.get(view.source, ()), check_of(atom, positive, view))
        choice = choose(self.solver.domain(view.source), checks, self.prefer.get(view.source))
        if choice is None:
            return False
        before = self.choices.get(view.source)
        old = before.cost if before is not None else FREE
        self.cost = (*(c + new - o for c, new, o in zip(self.cost, choice.cost, old, strict=False)), self.cost[-1])
        self.checks[view.source] = checks
        self.choices[view.source] = choice
        return True

    def propagate(self, formulas: Sequence[_Formula]) -> list[_Formula] | None:
        """Assumes what has to be, until nothing more has to; the rest, or None if it cannot be."""
        while True:
            rest: list[_Formula] = []
            again = False
            for formula in formulas:
                reduced = _reduce(formula, self.known)
                if reduced is False:
                    return None
                for part in reduced.of if isinstance(reduced, _All) else (reduced,):
                    if isinstance(part, _Literal):
                        again = True
                        if not self.assume(part):
                            return None
                    elif part is not True:
                        rest.append(part)
            if not again:
                return rest
            formulas = rest


class Solver:
    """Decides conditions over one schema. Keep one for many questions: it remembers what it made of each condition.

    Every method raises TooComplex, and RegexError for a malformed regular expression in a condition.
    """

    def __init__(self, schema: Schema, enums: Mapping[str, Enum]) -> None:
        self._schema = schema
        self._enums = enums
        self._views: dict[AttrKey, View] = {}
        self._domains: dict[AttrKey, Domain] = {}
        self._compiled: dict[tuple[int, bool], _Compiled] = {}
        self._examples: dict[int, Assignment | None] = {}  # of compiled conditions, which keep their identity

    def tidy(self, limit: int) -> None:
        """Forgets the conditions that were asked about, if those are more."""
        if len(self._compiled) > limit:
            self._forget()

    def _forget(self) -> None:
        self._compiled.clear()
        self._examples.clear()

    def satisfy(self, cond: Cond, prefer: Mapping[AttrKey, Value | Absent] = _NOTHING) -> Assignment | None:
        """The plainest assignment that satisfies a condition; None exactly if there is none. See `satisfy`."""
        return self._assignment(cond, prefer, plainest=True)

    def example(self, cond: Cond) -> Assignment | None:
        """Some assignment that satisfies a condition; None exactly if there is none."""
        return self._assignment(cond, _NOTHING, plainest=False)

    def plain(self, source: AttrKey) -> Value | Absent:
        """What an attribute is that nothing is asked of."""
        choice = choose(self.domain(source), ())
        return ABSENT if choice is None else choice.value

    def _assignment(self, cond: Cond, prefer: Mapping[AttrKey, Value | Absent], plainest: bool) -> Assignment | None:
        compiled = self._compile(cond, True)
        if not compiled.possible:
            return None
        checks, known = compiled.units, {}
        if checks is None:
            node = self._solve([compiled], prefer, plainest)
            if node is None:
                return None
            checks, known = node.checks, node.known
        attributes: dict[AttrKey, Value] = {}
        for source in compiled.sources:
            choice = choose(self.domain(source), checks.get(source, ()), prefer.get(source))
            if choice is None:  # a domain without any value
                return None
            if not isinstance(choice.value, Absent):
                attributes[source] = choice.value
        return Assignment(attributes, {state: known.get(state, False) for state in compiled.states})

    def satisfiable(self, *conds: Cond) -> bool:
        """Whether one assignment satisfies all the conditions."""
        return self._satisfiable([self._remembered(cond, True) for cond in conds])

    def overlaps(self, a: Cond, b: Cond) -> bool:
        """Whether some assignment satisfies both conditions."""
        return self._satisfiable([self._remembered(a, True), self._remembered(b, True)])

    def implies(self, a: Cond, b: Cond) -> bool:
        """Whether every assignment that satisfies `a` satisfies `b`."""
        one = self._remembered(a, True)
        if self._refuted(one, b):
            return False
        return not self._satisfiable([one, self._remembered(b, False)])

    def _refuted(self, one: _Compiled, b: Cond) -> bool:
        """Whether some example of one condition shows that it does not imply another. Quick: it is made once."""
        if id(one.cond) not in self._examples:
            try:
                found = self.example(one.cond) if one.possible else None
            except TooComplex:
                found = None
            self._examples[id(one.cond)] = found
        example, two = self._examples[id(one.cond)], self._remembered(b, True)
        if example is None or one.states or not all(source in one.sources for source in two.sources):
            return False
        if two.units is None:
            return not holds(b, example.attributes, example.states, self._schema)
        values = ((example.attributes.get(source, ABSENT), checks) for source, checks in two.units.items())
        return not all(passes(check, value) for value, checks in values for check in checks)

    def equivalent(self, a: Cond, b: Cond) -> bool:
        """Whether the same assignments satisfy both conditions."""
        return self.implies(a, b) and self.implies(b, a)

    def view(self, attr: AttrKey) -> View:
        view = self._views.get(attr)
        if view is None:
            view = self._views[attr] = view_of(attr, self._schema)
        return view

    def domain(self, source: AttrKey) -> Domain:
        domain = self._domains.get(source)
        if domain is None:
            domain = self._domains[source] = domain_of(self._schema(source), self._enums)
        return domain

    def _remembered(self, cond: Cond, positive: bool) -> _Compiled:
        key = (id(cond), positive)
        compiled = self._compiled.get(key)
        if compiled is None:
            if len(self._compiled) >= _REMEMBERED:
                self._forget()
            compiled = self._compiled[key] = self._compile(cond, positive)
        return compiled

    def _compile(self, cond: Cond, positive: bool) -> _Compiled:
        formula = _normal_form(cond, positive)
        literals = _literals(formula)
        sources = dict.fromkeys(self.view(atom.attr).source for atom, _ in literals if isinstance(atom, Atom))
        states = dict.fromkeys(atom for atom, _ in literals if isinstance(atom, StateAtom))
        units: dict[AttrKey, tuple[Check, ...]] | None = None
        possible = formula is not False
        if not states and (isinstance(formula, _Literal) or formula is True or _is_conjunction(formula)):
            units = {}
            for atom, wanted in literals:
                if isinstance(atom, Atom):
                    view = self.view(atom.attr)
                    units[view.source] = (*units.get(view.source, ()), check_of(atom, wanted, view))
            possible = all(choose(self.domain(source), checks) is not None for source, checks in units.items())
        return _Compiled(cond, formula, tuple(sorted(sources)), tuple(sorted(states, key=repr)), units, possible)

    def _satisfiable(self, conds: Sequence[_Compiled]) -> bool:
        for cond in conds:
            if not cond.possible:
                return False
        merged: dict[AttrKey, tuple[Check, ...]] = {}
        for cond in conds:
            if cond.units is None:
                break
            for source, checks in cond.units.items():
                others = merged.get(source)
                if others is not None and others != checks:
                    if begin_apart(others, checks):
                        return False
                    checks = others + checks
                    if choose(self.domain(source), checks) is None:
                        return False
                merged[source] = checks
        else:
            return True
        node = self._solve(conds, _NOTHING, plainest=False)
        return node is not None and all(
            source in node.choices or choose(self.domain(source), ()) is not None
            for cond in conds
            for source in cond.sources
        )

    def _solve(
        self, conds: Sequence[_Compiled], prefer: Mapping[AttrKey, Value | Absent], plainest: bool
    ) -> _Node | None:
        """A node under which every condition holds, whatever the comparisons are that it does not know."""
        root = _Node(self, prefer)
        rest = root.propagate([cond.formula for cond in conds])
        if rest is None:
            return None
        # Parts that share no variable are solved apart: one does not multiply the search of another.
        for part in _components(rest, self):
            found = _search(root, part, plainest)
            if found is None:
                return None
            root = found
        return root


def satisfy(
    cond: Cond,
    schema: Schema,
    enums: Mapping[str, Enum],
    prefer: Mapping[AttrKey, Value | Absent] = _NOTHING,
) -> Assignment | None:
    """The plainest assignment that satisfies a condition; None exactly if there is none.

    Plainest: the fewest attributes that are not as `prefer` says; then the fewest that are not at their plain value
    (absent, else the default, else the plainest of the type); then short strings, small numbers, few state conditions.
    Of a condition with very many alternatives the witness may be less plain than it could be (POLISH_LIMIT); the answer
    whether there is one is always exact. `prefer` speaks of sources, not of derived attributes.

    Raises TooComplex, and RegexError for a malformed regular expression.
    """
    return Solver(schema, enums).satisfy(cond, prefer)


def satisfiable(schema: Schema, enums: Mapping[str, Enum], *conds: Cond) -> bool:
    """Whether one assignment satisfies all the conditions."""
    return Solver(schema, enums).satisfiable(*conds)


def overlaps(a: Cond, b: Cond, schema: Schema, enums: Mapping[str, Enum]) -> bool:
    """Whether some assignment satisfies both conditions. For many pairs keep a `Solver`."""
    return Solver(schema, enums).overlaps(a, b)


def implies(a: Cond, b: Cond, schema: Schema, enums: Mapping[str, Enum]) -> bool:
    """Whether every assignment that satisfies `a` satisfies `b`."""
    return Solver(schema, enums).implies(a, b)


def equivalent(a: Cond, b: Cond, schema: Schema, enums: Mapping[str, Enum]) -> bool:
    """Whether the same assignments satisfy both conditions."""
    return Solver(schema, enums).equivalent(a, b)


# --- formulas ---------------------------------------------------------------------------------------------------------


def _normal_form(cond: Cond, positive: bool) -> _Formula:
    """Pushes negations to the comparisons."""
    match cond:
        case Atom() | StateAtom():
            return _Literal(cond, positive)
        case Not(inner):
            return _normal_form(inner, not positive)
        case Const(value):
            return value == positive
        case And(parts) | Or(parts):
            formulas = tuple([_normal_form(part, positive) for part in parts])
            return _All(formulas) if isinstance(cond, And) == positive else _Any(formulas)


def _is_conjunction(formula: _Formula) -> bool:
    return isinstance(formula, _All) and all(isinstance(part, _Literal) or _is_conjunction(part) for part in formula.of)


def _reduce(formula: _Formula, known: Mapping[Atom | StateAtom, bool]) -> _Formula:
    """The formula under what is known; an `_All` of more than one part at most at the top of it or of an `_Any`."""
    if isinstance(formula, bool):
        return formula
    if isinstance(formula, _Literal):
        value = known.get(formula.atom)
        return formula if value is None else value == formula.positive
    conjunctive = isinstance(formula, _All)
    parts: list[_Formula] = []
    for part in formula.of:
        reduced = _reduce(part, known)
        if isinstance(reduced, bool):
            if reduced != conjunctive:
                return reduced
        elif type(reduced) is type(formula):
            parts.extend(reduced.of)
        else:
            parts.append(reduced)
    if len(parts) <= 1:
        return parts[0] if parts else conjunctive
    return _All(tuple(parts)) if conjunctive else _Any(tuple(parts))


def _literals(formula: _Formula) -> list[_Literal]:
    """The comparisons of a formula, from left to right, repeated ones included."""
    if isinstance(formula, bool):
        return []
    if isinstance(formula, _Literal):
        return [formula]
    return [literal for part in formula.of for literal in _literals(part)]


# --- search -----------------------------------------------------------------------------------------------------------


def _components(formulas: Sequence[_Formula], solver: Solver) -> list[list[_Formula]]:
    groups: list[tuple[set[AttrKey | StateAtom], list[_Formula]]] = []
    for formula in formulas:
        variables = {
            atom if isinstance(atom, StateAtom) else solver.view(atom.attr).source for atom, _ in _literals(formula)
        }
        members = [formula]
        apart = []
        for group in groups:
            if group[0] & variables:
                variables |= group[0]
                members = group[1] + members
            else:
                apart.append(group)
        groups = [*apart, (variables, members)]
    return [members for _, members in groups]


def _search(root: _Node, formulas: list[_Formula], plainest: bool) -> _Node | None:
    """Depth first, with an explicit stack: a condition may have more comparisons than Python frames.

    With `plainest`, the cheapest node (the first of equal ones); else the first. Raises TooComplex.
    """
    best: _Node | None = None
    stack = [(root.copy(), formulas)]
    steps = 0
    limit = SEARCH_LIMIT
    while stack:
        if steps >= limit:
            if best is not None:
                break
            raise TooComplex(f"a condition has too many alternatives (more than {SEARCH_LIMIT} steps)")
        steps += 1
        node, pending = stack.pop()
        rest = node.propagate(pending)
        if rest is None or (best is not None and node.cost >= best.cost):
            continue
        if not rest:
            best = node
            if not plainest or node.cost == root.cost:
                break
            limit = min(limit, steps + POLISH_LIMIT) if limit == SEARCH_LIMIT else limit
            continue
        literal = min((_literals(formula) for formula in rest), key=len)[0]
        without = node.copy()
        if without.assume(literal._replace(positive=not literal.positive)):
            stack.append((without, rest))
        if node.assume(literal):
            stack.append((node, rest))
    return best
