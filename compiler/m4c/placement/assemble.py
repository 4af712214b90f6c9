"""What a plan says of each rule, each tag table and each element, kept from one plan to the next.

What has not changed is the same object as before, so an edit makes only what it touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import is_

from m4c.paths.callpath import Hop
from m4c.placement.model import Candidate, Position, Problem
from m4c.placement.rules import Effect, Rule, Source
from m4c.placement.tags import Meaning, Table, Tagging
from m4c.semantics.model import Side


@dataclass(frozen=True, slots=True)
class Element:
    """One instance of a dataplane at one service, with sentences that say why it is there."""

    service: str
    dataplane: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where an operation of a policy (or of a mesh default) runs on one hop."""

    policy: str
    call: int  # its index in the policy, or the default's in the mesh
    operation: str
    hop: Hop
    side: Side
    service: str
    dataplane: str
    default: bool = False


@dataclass(frozen=True, slots=True)
class Stop:
    """A place on a hop where the tag is written or read."""

    hop: Hop
    side: Side
    service: str
    dataplane: str


@dataclass(frozen=True, slots=True)
class Context:
    bits: int  # 0: no tag travels
    updates: tuple[Stop, ...]
    reads: tuple[Stop, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """A rule at its position. `when` says, for groups of tags as seen there, what it does; None is every tag.
    `other_end`: where it runs as well, if it runs at both ends of its hop."""

    rule: Rule
    position: Position
    when: tuple[tuple[tuple[int, ...] | None, Effect], ...]
    other_end: Position | None = None

    @property
    def positions(self) -> tuple[Position, ...]:
        """Where it runs, in the order in which a request meets it."""
        return (self.position,) if self.other_end is None else (self.other_end, self.position)


class Assembly:
    """Makes the parts of one plan after the other. All that is kept is by the identity of what it is made from, which
    is kept with it."""

    def __init__(self) -> None:
        self._runs: dict[int, tuple[Run, Meaning | None, tuple[Placed, ...]]] = {}  # by rule
        self._elements: dict[Candidate, tuple[list[Run], list[Table], Element]] = {}
        self._reads: dict[tuple[Hop, int], tuple[Position, Stop]] = {}
        self._updates: tuple[tuple[Table, ...], tuple[Stop, ...]] = ((), ())
        self._tables: dict[int, list[Table]] = {}  # by candidate, of the same

    def runs(
        self, problem: Problem, at: Mapping[int, Position], tagging: Tagging
    ) -> tuple[tuple[Run, ...], tuple[Placed, ...]]:
        """Every rule at its position, and where each operation of a policy runs."""
        named: dict[tuple[str, int], str] = {}
        known, self._runs = self._runs, {}
        runs: list[Run] = []
        placed: list[Placed] = []
        carried = False
        for i, rule in enumerate(problem.rules):
            meaning = tagging.meaning[i] if rule.patterns else None
            found = known.get(id(rule))
            if found is None or found[0].rule is not rule or found[0].position is not at[i] or found[1] is not meaning:
                named = named or {(p.name, c.index): c.operation for p in problem.program.policies for c in p.calls}
                said = ((None, rule.cases[0].effect),) if meaning is None else meaning
                run = Run(rule, at[i], said, problem.other_end(rule, at[i]))
                sources = (*rule.sources, *rule.carries)
                of = tuple(_placed(named, rule, source, p) for source in sources for p in run.positions)
                found = (run, meaning, of)
            self._runs[id(rule)] = found
            runs.append(found[0])
            placed += found[2]
            carried = carried or bool(rule.carries)
        return tuple(runs), tuple(dict.fromkeys(placed) if carried else placed)  # several rules can carry one call

    def elements(
        self, chosen: Sequence[Candidate], runs: Sequence[Run], tagging: Tagging
    ) -> tuple[tuple[Element, ...], Context]:
        """The elements, each with why it is there, and where the tag is written and read."""
        runs_at: dict[int, list[Run]] = {}  # by the identity of candidates, of which there is one object each
        for run in runs:
            runs_at.setdefault(id(run.position.at), []).append(run)
            if run.other_end is not None:
                runs_at.setdefault(id(run.other_end.at), []).append(run)
        if self._updates[0] is not tagging.tables:
            self._tables = {}
            for table in tagging.tables:
                self._tables.setdefault(id(table.position.at), []).append(table)
            self._updates = (tagging.tables, tuple([_stop(t.hop, t.position) for t in tagging.tables]))
        known, self._elements = self._elements, {}
        for candidate in chosen:
            own, tables = runs_at.get(id(candidate), []), self._tables.get(id(candidate), [])
            found = known.get(candidate)
            if found is None or not (_same(found[0], own) and _same(found[1], tables)):
                found = (own, tables, _element(candidate, own, tables))
            self._elements[candidate] = found
        reads: dict[tuple[Hop, int], tuple[Position, Stop]] = {}  # by hop, and by the identity of the position
        for run in runs:
            if run.rule.patterns:
                key = run.rule.hop, id(run.position)
                read = self._reads.get(key)
                reads[key] = read if read is not None else (run.position, _stop(run.rule.hop, run.position))
        self._reads = reads
        context = Context(tagging.bits, self._updates[1], tuple([stop for _, stop in reads.values()]))
        return tuple([found[2] for found in self._elements.values()]), context


def _same(a: Sequence[object], b: Sequence[object]) -> bool:
    return len(a) == len(b) and all(map(is_, a, b))


def _stop(hop: Hop, position: Position) -> Stop:
    return Stop(hop, position.side, position.at.service, position.at.dataplane)


def _placed(named: Mapping[tuple[str, int], str], rule: Rule, source: Source, position: Position) -> Placed:
    operation = rule.operation.name if source.default else named[source.policy, source.call]
    at = position.at
    return Placed(
        source.policy, source.call, operation, rule.hop, position.side, at.service, at.dataplane, source.default
    )


def _element(candidate: Candidate, runs: Sequence[Run], tables: Sequence[Table]) -> Element:
    reasons: dict[str, None] = {}
    for run in runs:
        rule = run.rule
        reasons[f"runs {rule.operation.name} of {rule.sources[0].policy} on {shown(rule.hop)}"] = None
    for table in tables:
        reasons[f"writes the context on {shown(table.hop)}"] = None
    return Element(candidate.service, candidate.dataplane, tuple(reasons))


def shown(hop: Hop) -> str:
    return f"{hop[0] or 'outside'} -> {hop[1]}"
