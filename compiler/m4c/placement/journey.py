"""Where the context tag goes, and the marks with it: who writes it, along which hops, who reads it, where it ends.

All of it is read off a plan. The tag is one number, in which call paths and marks are told apart together, so a mark
has no bits of its own: what says it is that number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import chain

from m4c.paths.callpath import Hop, callees
from m4c.placement.assemble import Run, Stop
from m4c.placement.model import Position
from m4c.placement.plan import Plan
from m4c.placement.tags import Table, Update
from m4c.semantics.model import Atom, AttrKey, Policy, Program, Side, atoms


@dataclass(frozen=True, slots=True)
class Touch:
    """A place where the tag is written, read or stripped. `calls`: for which, as policies and indices in them."""

    at: Stop
    calls: tuple[tuple[str, int], ...] = ()

    @property
    def policies(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(policy for policy, _ in self.calls))


@dataclass(frozen=True, slots=True)
class Journey:
    """`mark`: what travels; None for the tag as a whole. `tags`: those that say the mark where it is written; `along`:
    the hops between who writes and who reads. `strips`: where whatever came ends."""

    mark: AttrKey | None
    tags: tuple[int, ...]
    writes: tuple[Touch, ...]
    along: tuple[Hop, ...]
    reads: tuple[Touch, ...]
    strips: tuple[Touch, ...]


def journeys(program: Program, plan: Plan) -> tuple[Journey, ...]:
    """That of the tag, and of each mark that is noted, by name; none if no tag travels."""
    if not plan.context.bits:
        return ()
    marks = sorted({write.attr for run in plan.runs for write in run.rule.marks})
    return (_of_tag(program, plan), *(_of_mark(program, plan, mark) for mark in marks))


def _of_tag(program: Program, plan: Plan) -> Journey:
    writes = [t for t in plan.tables if any(_outcomes(t))]
    changes = [t for t in plan.tables if not _constant(t)]  # what it becomes depends on what it was
    reading = [run for run in plan.runs if _reads(run)]
    ends = {t.hop for t in changes} | {run.rule.hop for run in reading}
    along, _ = _between(program, plan, {t.hop: t.position.side for t in writes}, ends)
    strips = [t for t in plan.tables if t.hop[0] is None or not any(_outcomes(t))]
    return Journey(None, (), _touches(writes), along, _read_by(reading), _touches(strips))


def _of_mark(program: Program, plan: Plan, mark: AttrKey) -> Journey:
    writing = [run for run in plan.runs if any(write.attr == mark for write in run.rule.marks)]
    asking = _asking(program.policies, mark)
    reading = [run for run in plan.runs if _reads(run) and not asking.isdisjoint(policy for policy, _ in _calls(run))]
    tags: set[int] = set()
    for table in plan.tables:
        of = [updates for written, updates in table.marked if any(attr == mark for attr, _ in written)]
        tags |= set(_made_by(*of)) - set(_made_by(table.updates))
    written = {run.rule.hop: run.position.side for run in writing}
    along, reached = _between(program, plan, written, {run.rule.hop for run in reading})
    strips = [t for t in plan.tables if t.hop[0] in reached and not any(_outcomes(t))]
    read = [run for run in reading if run.rule.hop[0] in reached]
    return Journey(mark, tuple(sorted(tags)), _read_by(writing), along, _read_by(read), _touches(strips))


def _asking(policies: Iterable[Policy], mark: AttrKey) -> set[str]:
    """The policies of which it depends on a mark what they do: they ask for it, or one that keeps them out does."""
    known = list(policies)
    conds = {p.name: [p.when, *(c.guard for c in p.calls)] for p in known}
    found = {n for n, of in conds.items() if any(isinstance(a, Atom) and a.attr == mark for c in of for a in atoms(c))}
    return found | {kept_out for p in known if p.name in found for kept_out in p.overrides}


def _reads(run: Run) -> bool:
    """Whether what a rule does differs by the tag."""
    return len(run.when) > 1 and run.rule.contextual


def _calls(run: Run) -> list[tuple[str, int]]:
    return [(source.policy, source.call) for source in (*run.rule.sources, *run.rule.carries)]


# --- tables -----------------------------------------------------------------------------------------------------------


def _outcomes(table: Table) -> Iterator[int]:
    """The tags that a table makes."""
    return _made_by(table.updates, *(of for _, of in table.marked))


def _made_by(*updates: Sequence[tuple[object, Update]]) -> Iterator[int]:
    for _, update in chain(*updates):
        yield from [update.otherwise] if update.otherwise is not None else [new for _, new in update.map]


def _constant(table: Table) -> bool:
    """Whether the new tag does not depend on the old one."""
    every = (table.updates, *(of for _, of in table.marked))
    return all(update.otherwise is not None for updates in every for _, update in updates)


def _touches(tables: Iterable[Table]) -> tuple[Touch, ...]:
    return tuple([Touch(_stop(t.hop, t.position)) for t in tables])


def _read_by(runs: Sequence[Run]) -> tuple[Touch, ...]:
    by: dict[tuple[Hop, int], tuple[Stop, dict[tuple[str, int], None]]] = {}  # by the identity of positions
    for run in runs:
        key = run.rule.hop, id(run.position)
        if key not in by:
            by[key] = _stop(run.rule.hop, run.position), {}
        by[key][1].update(dict.fromkeys(_calls(run)))
    return tuple([Touch(stop, tuple(calls)) for stop, calls in by.values()])


def _stop(hop: Hop, position: Position) -> Stop:
    return Stop(hop, position.side, position.at.service, position.at.dataplane)


# --- hops -------------------------------------------------------------------------------------------------------------


def _between(
    program: Program, plan: Plan, starts: Mapping[Hop, Side], ends: Collection[Hop]
) -> tuple[tuple[Hop, ...], Set[str]]:
    """The hops from some to others along which the tag can go, in the order of their ways; and the services that it
    comes to. It goes on over a service that hands it on, and not over a hop on which it is made anew. `starts`: on
    which side it is written; what the caller's writes goes over the hop itself."""
    to = callees(program.graph)
    cut = {t.hop for t in plan.tables if _constant(t)}
    onward = {
        name: [callee for callee in to[name] if (name, callee) not in cut or (name, callee) in ends]
        for name, service in program.graph.services.items()
        if service.propagates
    }
    reached: dict[str, None] = dict.fromkeys(hop[1] for hop in sorted(starts, key=_name))
    for name in (queue := list(reached)):
        for callee in onward.get(name, ()):
            if callee not in reached and (name, callee) not in cut:
                reached[callee] = None
                queue.append(callee)
    leading = {caller for caller, _ in ends if caller is not None}
    before: dict[str, list[str]] = {}
    for name, of in onward.items():
        for callee in of:
            if (name, callee) not in cut:
                before.setdefault(callee, []).append(name)
    waiting = list(leading)
    for name in waiting:
        for caller in before.get(name, ()):
            if caller not in leading:
                leading.add(caller)
                waiting.append(caller)
    along: dict[Hop, None] = {}
    for hop in sorted(starts, key=_name):
        if starts[hop] == "egress" and (hop in ends or hop[1] in leading):
            along[hop] = None
    for name in reached:
        for callee in onward.get(name, ()):
            way: Hop = (name, callee)
            if way in ends or (callee in leading and way not in cut):
                along[way] = None
    return tuple(along), reached.keys()


def _name(hop: Hop) -> tuple[str, str]:
    return hop[0] or "", hop[1]
