"""What was tried so far, by which dataplane it was judged, and what became of it: thin coverage is to be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from m4c.paths.callpath import CallPath
from m4c.placement.assemble import Placed
from m4c.placement.plan import Plan
from m4c.reference import HopResult, matches
from m4c.semantics.model import Policy, Program, Write


@dataclass(slots=True)
class Tried:
    """A request that passes several dataplanes is judged by each, and on several hops several times."""

    worlds: int = 0
    meshes: int = 0  # parts of worlds that do not call each other
    requests: int = 0
    by: Counter[str] = field(default_factory=Counter)  # requests by the dataplanes of the mesh
    ended: int = 0  # requests that something ended
    answered: int = 0  # answers of which something was made
    counted: int = 0  # by counters, in all
    asked: int = 0  # of token buckets
    late: int = 0  # requests whose answers were later than callers wait
    forged: int = 0  # requests with a context tag from outside
    standing: Counter[str] = field(default_factory=Counter)  # worlds in whose plans a dataplane is
    acted: Counter[str] = field(default_factory=Counter)  # operations in the plans, by dataplane
    judged: Counter[str] = field(default_factory=Counter)  # requests where a dataplane had something to decide
    denied: Counter[str] = field(default_factory=Counter)  # of these, those that it ended
    changed: Counter[str] = field(default_factory=Counter)  # and those that it changed, marked or counted

    def __str__(self) -> str:
        by = ", ".join(f"{name}: {n}" for name, n in sorted(self.by.items()))
        return (
            f"{self.requests} requests in {self.meshes} meshes ({by}), of which {self.ended} were ended; {self.late} "
            f"were answered late, {self.forged} pretended a context; something was made of {self.answered} answers; "
            f"{self.counted} counted, {self.asked} times asked for tokens"
        )

    def table(self) -> str:
        """A line for each dataplane."""
        lines = [("", "deployments", "operations", "judged", "ended", "changed")]
        lines += [
            (name, *(f"{of[name]:,}" for of in (self.standing, self.acted, self.judged, self.denied, self.changed)))
            for name in sorted(self.acted)
        ]
        return "\n".join(f"{name:<10}" + "".join(f"{cell:>13}" for cell in cells) for name, *cells in lines)

    def placed(self, plan: Plan) -> None:
        """A deployment of a plan."""
        self.worlds += 1
        self.standing.update({e.dataplane for e in plan.elements})
        self.acted.update(o.dataplane for o in plan.operations)


class Places:
    """Which dataplanes of a plan have to do with what happens on a hop."""

    def __init__(self, program: Program, plan: Plan) -> None:
        self._program = program
        self._policies: Mapping[str, Policy] = {p.name: p for p in program.policies}
        self._at: dict[object, list[Placed]] = {}
        for each in plan.operations:
            self._at.setdefault(each.hop, []).append(each)

    def note(self, tried: Tried, path: CallPath, results: tuple[HopResult, ...], times: int) -> None:
        """Adds what became of a request on the last hop of a path: itself, its connections, its answer."""
        here = self._at.get(path.hop, [])
        judging = {o.dataplane for o in here if o.default or self._meets(self._policies[o.policy], path)}
        ended = any(r.terminal for r in results)
        effective = {call for r in results for call in r.effective}
        for name in judging:
            mine = [o for o in here if o.dataplane == name]
            ends = any(self._ends(o, effective) for o in mine)
            tried.judged[name] += times
            tried.denied[name] += times * (ended and ends)
            tried.changed[name] += times * any(self._changes(o, effective, ended) for o in mine)

    def _meets(self, policy: Policy, path: CallPath) -> bool:
        if self._program.entities[policy.entity].connection:
            path = CallPath(path.outside and len(path.services) == 1, path.services[-2:], path.versions[-2:])
        return matches(policy.pattern, path, self._program)

    def _ends(self, placed: Placed, effective: set[tuple[str, int]]) -> bool:
        """Whether it is what ended a request that something ended."""
        return placed.default or (
            (placed.policy, placed.call) in effective and any(map(self._is_end, self._of(placed)))
        )

    def _changes(self, placed: Placed, effective: set[tuple[str, int]], ended: bool) -> bool:
        """Whether something was made of the request beside its verdict; if it ended, only what states were told."""
        if placed.default or (placed.policy, placed.call) not in effective:
            return False
        writes = self._of(placed)
        if any(self._program.entities[w.attr.entity].state for w in writes):
            return True
        verdict = any(self._program.attribute(w.attr).type.name in self._program.enums for w in writes)
        return not (ended or verdict)

    def _of(self, placed: Placed) -> tuple[Write, ...]:
        return self._policies[placed.policy].calls[placed.call].writes

    def _is_end(self, write: Write) -> bool:
        return self._program.is_terminal(write.attr, write.value)
