"""The distinct path patterns of a program, by number: where each fires, and their products with the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from m4c.paths.callpath import CallPath, Hop, Version
from m4c.paths.machine import Machine, machine
from m4c.paths.marked import MarkedSpread
from m4c.paths.masks import Letters, bits
from m4c.paths.product import Situation
from m4c.paths.spread import Spread, State
from m4c.placement.rules import Case
from m4c.semantics.model import FALSE, AttrKey, Graph, Pattern, Value

if TYPE_CHECKING:
    from m4c.placement.marks import Marks

STATE_LIMIT = 100_000  # nodes of a product; 20 patterns that may all fire together, or not, would have a million

Hops = Mapping[Hop, bool]  # where a pattern fires; whether on every call path that comes there


@dataclass(slots=True)
class Patterns:
    """The patterns of a program, and what is known of them on its graph; all of it is computed once."""

    graph: Graph
    letters: Letters = field(init=False)
    hops: list[Hops] = field(default_factory=list)
    numbers: dict[Pattern, int] = field(default_factory=dict)
    _patterns: list[Pattern | None] = field(default_factory=list)
    _marked: dict[int, tuple[Marks, AttrKey, Value]] = field(default_factory=dict)  # the others stand for a mark
    _machines: dict[int, Machine] = field(default_factory=dict)
    _of_meaning: dict[object, int] = field(default_factory=dict)
    _spreads: dict[tuple[int, ...], Spread] = field(default_factory=dict)
    _situations: dict[tuple[tuple[int, ...], Hop], dict[Situation, list[State]]] = field(default_factory=dict)
    _versions: dict[str, tuple[Version, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.letters = Letters(self.graph)

    def number(self, pattern: Pattern) -> int:
        """The number of a pattern; those that mean the same mostly have the same, those that do not never."""
        known = self.numbers.get(pattern)
        if known is None:
            meaning: object = self._last_hop(pattern)  # which takes no automaton
            if meaning is None:
                meaning = machine(pattern, self.letters)
            known = self._of_meaning.get(meaning)
            if known is None:
                known = self._of_meaning[meaning] = len(self.hops)
                self._patterns.append(pattern)
                self.hops.append(self._on_last_hop(*meaning) if isinstance(meaning, tuple) else {})
                if isinstance(meaning, Machine):
                    self._machines[known] = meaning
                    self.hops[known] = self._hops(known)
            self.numbers[pattern] = known
        return known

    def machine(self, number: int) -> Machine:
        pattern = self._patterns[number]
        if number not in self._machines and pattern is not None:
            self._machines[number] = machine(pattern, self.letters)
        return self._machines[number]

    def number_of_mark(self, marks: Marks, attr: AttrKey, value: Value) -> int:
        """A number that stands for what a chain carries, as if that were a pattern: it fires on the hops to which the
        chain brings a mark with this value."""
        number = len(self.hops)
        self._patterns.append(None)
        self.hops.append({})
        self._marked[number] = (marks, attr, value)
        return number

    def spread(self, patterns: tuple[int, ...]) -> Spread:
        """The product of some patterns and the graph. Raises TooManyStates."""
        if patterns not in self._spreads:
            limit = STATE_LIMIT if len(patterns) > 1 else None
            if not self._marked.keys().isdisjoint(patterns):
                self._spreads[patterns] = self._spread_with_marks(patterns)
            else:
                self._spreads[patterns] = Spread(self.letters, [self.machine(i) for i in patterns], limit)
        return self._spreads[patterns]

    def _spread_with_marks(self, patterns: tuple[int, ...]) -> Spread:
        """Whatever decides what marks are is in it too."""
        read = {attr for i in patterns if i in self._marked for _, attr, _ in [self._marked[i]]}
        of = next(self._marked[i][0] for i in patterns if i in self._marked)
        marks, deciding = of.closed(read)
        numbers = tuple(sorted({i for i in (*patterns, *deciding) if i not in self._marked}))
        return MarkedSpread(
            self.letters,
            [self.machine(i) for i in numbers],
            STATE_LIMIT,
            numbers=numbers,
            marks=marks,
            start=tuple(of.domains[m][0] for m in marks),
            left=of.left(marks),
            told=tuple(self._marked[i][1:] if i in self._marked else i for i in patterns),
        )

    def situations(self, patterns: tuple[int, ...], hop: Hop) -> dict[Situation, list[State]]:
        """What can arise on a hop, with the states of its caller in which it does."""
        key = (patterns, hop)
        if key not in self._situations:
            self._situations[key] = self.spread(patterns).situations(hop)
        return self._situations[key]

    def versions(self, service: str) -> tuple[Version, ...]:
        if service not in self._versions:
            every = self.letters.all_letters
            self._versions[service] = tuple(every[i][1] for i in bits(self.letters.service(service)))
        return self._versions[service]

    def path(self, hop: Hop, patterns: tuple[int, ...] = (), cases: Sequence[Case] = ()) -> CallPath:
        """A shortest path over a hop; with cases, to one in which something runs."""
        spread = self.spread(patterns)
        running = {c.situation for c in cases if any(cond != FALSE for _, cond in c.effect)}
        if not patterns:
            return spread.path(hop, spread.before_hop(hop))
        states = [s for situation, of in self.situations(patterns, hop).items() if situation in running for s in of]
        return spread.path(hop, states)

    # --- where patterns fire ---

    def _last_hop(self, pattern: Pattern) -> tuple[int, int, bool] | None:
        """Of a pattern that asks for the last hop only, `* -> A -> B` or `* -> B`: its callers and callees, and whether
        it asks for no caller. It fires on every path to such a hop. None if it asks for more."""
        shape = self.letters.shape(pattern)
        everything = self.letters.everything
        if shape.outside or not 2 <= len(shape.steps) <= 3 or shape.steps[0] != (everything, True):
            return None
        if any(star for _, star in shape.steps[1:]):
            return None
        callees = shape.steps[-1][0]
        callers = shape.steps[1][0] if len(shape.steps) == 3 else everything
        if self.letters.whole(callees) != callees or self.letters.whole(callers) != callers:  # versions
            return None
        return callers, callees, len(shape.steps) == 2

    def _on_last_hop(self, callers: int, callees: int, any_caller: bool) -> Hops:
        out: dict[Hop, bool] = {}
        if any_caller:
            out = {(None, name): True for name in self.letters.services(callees & self.letters.entries)}
        callers &= self._anywhere()
        for callee in self.letters.services(callees):
            for caller in self.letters.services(self.letters.before(self.letters.service(callee)) & callers):
                out[caller, callee] = True
        return out

    def _anywhere(self) -> int:
        """The letters to which call paths lead at all."""
        return self.spread(()).reach[0]

    def _hops(self, number: int) -> Hops:
        letters, spread = self.letters, self.spread((number,))
        of_entry = spread.fires_at_entry()
        out: dict[Hop, bool] = {
            (None, name): not letters.service(name) & ~of_entry for name in self.letters.services(of_entry)
        }
        cells = list(spread.firing())
        for cell, firing, quiet in cells:
            for v in bits(cell & letters.after(firing)):
                callee = letters.all_letters[v][0]
                versions = letters.service(callee)
                silent = quiet
                if versions & ~cell:  # another version of it may be one for which the pattern does not fire
                    for other, _, also in cells:
                        silent |= also if other & versions else 0
                for caller in self.letters.services(letters.before(1 << v) & firing):
                    out[caller, callee] = not letters.service(caller) & silent
        return out
