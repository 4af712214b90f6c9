"""What all questions about the programs of one graph and one set of specs share, and the hops that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from m4c.paths.callpath import CallPath, Hop
from m4c.paths.masks import Letters
from m4c.paths.pattern import Dfa, compile_pattern
from m4c.paths.search import Found
from m4c.predicates import Solver
from m4c.semantics.model import (
    ABSENT,
    Atom,
    AttrKey,
    Cond,
    Graph,
    Pattern,
    Program,
    StateAtom,
    Value,
    all_of,
    negate,
)


@dataclass(eq=False)
class Ground:
    """The sets of letters, the solver and the automata that programs over one graph and one schema have in common.

    Keep one for many programs: it remembers what it made of each pattern and condition.
    """

    graph: Graph
    letters: Letters
    solver: Solver
    _dfas: dict[Pattern, Dfa] = field(default_factory=dict)

    def dfa(self, pattern: Pattern) -> Dfa:
        if pattern not in self._dfas:
            self._dfas[pattern] = compile_pattern(pattern, self.graph)
        return self._dfas[pattern]


def ground_of(program: Program, solver: Solver | None = None) -> Ground:
    """The ground of a program. `solver`: that of another graph with the same schema."""
    return Ground(program.graph, Letters(program.graph), solver or Solver(program.attribute, program.enums))


@dataclass(frozen=True, slots=True)
class Earlier:
    """What an earlier hop of a path had to be like for the marks that a situation begins with."""

    hop: Hop
    attributes: Mapping[AttrKey, Value]
    states: Mapping[StateAtom, bool]


@dataclass(frozen=True, slots=True)
class Situation:
    """A set of policies that fire their patterns together on one hop, with a shortest call path to it.

    `way` leads there: a path, or what spells one out when it is asked for. `extra`: which of the patterns asked for
    beside policies match. `marks`: what the chain carries, of what is read.
    """

    firing: frozenset[str]
    way: CallPath | Found
    versioned: bool = False  # a pattern names a version, so the path's versions matter
    extra: frozenset[int] = frozenset()
    marks: tuple[tuple[AttrKey, Value], ...] = ()
    earlier: tuple[Earlier, ...] = ()

    @property
    def path(self) -> CallPath:
        return self.way if isinstance(self.way, CallPath) else self.way.path

    @property
    def entry(self) -> bool:
        return self.way.hop[0] is None if isinstance(self.way, CallPath) else self.way.entry

    @property
    def given(self) -> Cond:
        """That the chain carries these marks."""
        return all_of(
            *(
                negate(Atom(attr, "exists", True)) if value is ABSENT else Atom(attr, "==", value)
                for attr, value in self.marks
            )
        )
