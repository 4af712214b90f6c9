"""Conditions while a program is being resolved: firing and versions as pseudo comparisons, and semantic simplification.

Two things that are no attribute of an entity decide whether an operation runs: whether a path pattern fires on the hop,
and which version of the callee answers. Both are comparisons of a pseudo attribute of no entity here, so conditions
stay ordinary conditions; they are replaced (firing) or split off (versions) before a solver or a dataplane sees them.
"""

from __future__ import annotations

from collections.abc import Callable

from m4c.predicates import Outline, Solver, TooComplex, outline_of
from m4c.semantics.model import (
    FALSE,
    TRUE,
    And,
    Atom,
    AttrKey,
    Cond,
    Const,
    Not,
    Or,
    Program,
    StateAtom,
    all_of,
    any_of,
    negate,
)

_FIRING = AttrKey("", "firing")
_NONE: frozenset[int] = frozenset()
_MANY = 12  # parts of a condition beyond which its redundant ones are not looked for


def firing(pattern: int | None) -> Cond:
    """The pattern of this number fires on the hop at hand. None is one that always does."""
    return TRUE if pattern is None else Atom(_FIRING, "==", pattern)


def fired_patterns(cond: Cond) -> frozenset[int]:
    """The numbers of the patterns on whose firing a condition depends."""
    if isinstance(cond, Atom) and cond.attr.entity:
        return _NONE
    found: set[int] = set()
    left = [cond]
    while left:
        part = left.pop()
        if isinstance(part, Atom):
            if part.attr == _FIRING and isinstance(part.value, int):
                found.add(part.value)
        elif isinstance(part, Not):
            left.append(part.of)
        elif isinstance(part, And | Or):
            left.extend(part.of)
    return frozenset(found)


def substitute(cond: Cond, change: Callable[[Atom | StateAtom], Cond]) -> Cond:
    """The condition with every comparison replaced, constants folded."""
    match cond:
        case Const():
            return cond
        case Not(inner):
            return negate(substitute(inner, change))
        case And(parts):
            return all_of(*(substitute(p, change) for p in parts))
        case Or(parts):
            return any_of(*(substitute(p, change) for p in parts))
        case _:
            return change(cond)


def with_firings(cond: Cond, fired: Callable[[int], bool]) -> Cond:
    """The condition once it is known which patterns fire."""

    def change(atom: Atom | StateAtom) -> Cond:
        if isinstance(atom, Atom) and atom.attr == _FIRING and isinstance(atom.value, int):
            return Const(fired(atom.value))
        return atom

    return substitute(cond, change)


class Logic:
    """Questions to the solver of conditions, remembered. A question that is too complex gets the cautious answer."""

    def __init__(self, program: Program) -> None:
        self._solver = Solver(program.attribute, program.enums)
        self._satisfiable: dict[Cond, bool] = {}
        self._simple: dict[Cond, Cond] = {}

    def satisfiable(self, cond: Cond) -> bool:
        """Can it hold? True also when that is too hard to tell."""
        if isinstance(cond, Const):
            return cond.value
        known = self._satisfiable.get(cond)
        if known is None:
            try:
                known = self._solver.satisfiable(cond)
            except TooComplex:
                known = True
            self._satisfiable[cond] = known
        return known

    def implies(self, a: Cond, b: Cond) -> bool:
        if a is b or a == b:
            return True
        if isinstance(a, And | Or) or isinstance(b, And | Or):
            return not self.satisfiable(all_of(a, negate(b)))
        try:  # quick: single comparisons are compiled once each, not once for each pair
            return self._solver.implies(a, b)
        except TooComplex:
            return False

    def equivalent(self, a: Cond, b: Cond) -> bool:
        return self.implies(a, b) and self.implies(b, a)

    def outline(self, cond: Cond) -> Outline:
        """The outline of what a condition says of attributes, whichever patterns fire."""
        return outline_of(cond, self._solver.view)

    def simplified(self, cond: Cond) -> Cond:
        """An equivalent condition without parts that decide nothing, so that it reads no more than it must."""
        known = self._simple.get(cond)
        if known is None:
            known = self._simple[cond] = self._simplify(cond)
        return known

    def _simplify(self, cond: Cond) -> Cond:
        if not self.satisfiable(cond):
            return FALSE
        if not self.satisfiable(negate(cond)):
            return TRUE
        match cond:
            case Not(And(parts)):
                return self.simplified(any_of(*map(negate, parts)))
            case Not(Or(parts)):
                return self.simplified(all_of(*map(negate, parts)))
            case And(parts) if len(parts) <= _MANY:
                kept = [self.simplified(p) for p in parts]
                for part in list(kept):
                    others = [p for p in kept if p is not part]
                    if self.implies(all_of(*others), part):
                        kept = others
                return all_of(*(self._under(p, [q for q in kept if q is not p]) for p in kept))
            case Or(parts) if len(parts) <= _MANY:
                kept = [self.simplified(p) for p in parts]
                for part in list(kept):
                    others = [p for p in kept if p is not part]
                    if self.implies(part, any_of(*others)):
                        kept = others
                return any_of(*kept)
            case _:
                return cond

    def _under(self, part: Cond, others: list[Cond]) -> Cond:
        """An alternative of a conjunct goes if the other conjuncts rule it out."""
        if not isinstance(part, Or):
            return part
        beside = all_of(*others)
        return any_of(*(p for p in part.of if self.satisfiable(all_of(beside, p))))
