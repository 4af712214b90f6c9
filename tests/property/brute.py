"""What the kinds of findings mean, by trying everything: every call path up to a length, every input that conditions
and writes can tell apart, every mark that earlier hops can leave. Asks the reference interpreter alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, product

from analysis_worlds import FRESH
from m4c.paths.callpath import CallPath, callees, instances
from m4c.reference import HopResult, matches, run_hop
from m4c.reference import _Hop as Hop  # the rules one by one, for what a policy would see of another
from m4c.semantics.effects import orders, start_value
from m4c.semantics.model import (
    ABSENT,
    Atom,
    AttrKey,
    Cond,
    OpCall,
    Policy,
    Program,
    StateAtom,
    Value,
    atoms,
)

Values = Mapping[AttrKey, Value]


@dataclass(frozen=True)
class Input:
    """One input: a path that stands for all those on which the same patterns match, an entity, marks, answers."""

    path: CallPath
    values: Values
    states: Mapping[StateAtom, bool] = field(hash=False)


ENOUGH = 2_000  # paths: past that many, longer ones are left out


def all_paths(program: Program, longest: int) -> Iterator[CallPath]:
    """Every call path of up to so many services, in every version, the shortest first; of a dense graph up to five."""
    graph = program.graph
    to = callees(graph)
    level = [
        CallPath(outside, (name,), (version,))
        for name, s in graph.services.items()
        for outside, possible in ((False, s.origin), (True, s.entry))
        if possible
        for _, version in instances(s)
    ]
    seen = 0
    for length in range(1, longest + 1):
        yield from level
        seen += len(level)
        if seen > ENOUGH and length >= 5:
            return
        level = [
            CallPath(p.outside, (*p.services, v), (*p.versions, version))
            for p in level
            for v in to[p.services[-1]]
            for _, version in instances(graph.services[v])
        ]


def conditions(policy: Policy) -> list[Cond]:
    return [policy.when, *(c.guard for c in policy.calls), *(i.cond for i in policy.ifs)]


class World:
    """A program with everything that can happen in it."""

    def __init__(self, program: Program, longest: int = 7) -> None:
        self.program = program
        self.orders = orders(program)
        self.policies = {p.name: p for p in program.policies}
        self.longest = longest
        self._run: dict[tuple[object, ...], HopResult] = {}

    # --- inputs ---

    @cached_property
    def requests(self) -> list[dict[AttrKey, Value]]:
        """Every entity over the constants of the program and one fresh value of each kind; marks are not in it."""
        named: dict[AttrKey, set[Value]] = {}
        for p in self.program.policies:
            for cond in conditions(p):
                for atom in atoms(cond):
                    if isinstance(atom, Atom) and not self.program.attribute(atom.attr).travels:
                        values = named.setdefault(atom.attr, set())
                        if atom.op != "exists":
                            values.add(atom.value)
        for p in self.program.policies:
            for call in p.calls:
                for w in call.writes:
                    if w.attr in named and w.value is not ABSENT:
                        named[w.attr].add(w.value)
        choices = []
        for attr, values in sorted(named.items()):
            type_ = self.program.attribute(attr).type
            every = (
                {False, True}
                if type_.name == "bool"
                else values | {FRESH[type_.name], *(v - 1 for v in values if isinstance(v, int))}
            )
            if type_.optional:
                every = every | {ABSENT}
            choices.append([(attr, v) for v in sorted(every, key=repr)])
        return [{a: v for a, v in some if v is not ABSENT} for some in product(*choices)]

    @cached_property
    def answers(self) -> list[dict[StateAtom, bool]]:
        asked = sorted(
            {a for p in self.program.policies for c in conditions(p) for a in atoms(c) if isinstance(a, StateAtom)},
            key=repr,
        )
        return [dict(zip(asked, some, strict=True)) for some in product((False, True), repeat=len(asked))]

    @cached_property
    def marks(self) -> list[AttrKey]:
        found = {
            a.attr
            for p in self.program.policies
            for c in conditions(p)
            for a in atoms(c)
            if isinstance(a, Atom) and self.program.attribute(a.attr).travels
        }
        written = {w.attr for p in self.program.policies for c in p.calls for w in c.writes}
        return sorted(found | {a for a in written if self.program.attribute(a).travels})

    def matching(self, path: CallPath) -> tuple[object, ...]:
        """What decides all on a path's last hop beside the input: which patterns match, and whether it is an entry."""
        policies = frozenset(p.name for p in self.program.policies if matches(p.pattern, path, self.program))
        defaults = frozenset(
            i for i, d in enumerate(self.program.mesh.defaults) if matches(d.pattern, path, self.program)
        )
        return policies, defaults, path.hop[0] is None

    def result(self, at: Input) -> HopResult:
        key = (self.matching_of[at.path], tuple(sorted(at.values.items(), key=repr)), tuple(at.states.items()))
        if key not in self._run:
            self._run[key] = run_hop(self.program, at.path, at.values, at.states)
        return self._run[key]

    @cached_property
    def matching_of(self) -> dict[CallPath, tuple[object, ...]]:
        return {p: self.matching(p) for p in all_paths(self.program, self.longest) if p.has_hop}

    @cached_property
    def inputs(self) -> list[Input]:
        """Every input, one for all paths that are alike; shortest paths first."""
        start = tuple(start_value(self.program.attribute(a), self.program.enums) for a in self.marks)
        carried: dict[CallPath, set[tuple[Value, ...]]] = {}
        seen: set[tuple[object, ...]] = set()
        out: list[Input] = []
        left_by: dict[tuple[object, ...], set[tuple[Value, ...]]] = {}
        for path in all_paths(self.program, self.longest):
            shorter = CallPath(path.outside, path.services[:-1], path.versions[:-1])
            arriving: set[tuple[Value, ...]] = {start}
            if len(path.services) > 1:
                arriving = set()
                for marks in carried[shorter]:
                    if not shorter.has_hop:
                        arriving.add(marks)
                        continue
                    key = (self.matching_of[shorter], marks)
                    if key not in left_by:
                        left_by[key] = {
                            tuple(
                                {**dict(zip(self.marks, marks, strict=True)), **self.result(x).leaves}[a]
                                for a in self.marks
                            )
                            for x in self._here(shorter, marks)
                        }
                    arriving |= left_by[key]
            carried[path] = arriving
            if path.has_hop:
                for marks in sorted(arriving, key=repr):
                    if (self.matching_of[path], marks) not in seen:
                        seen.add((self.matching_of[path], marks))
                        out += self._here(path, marks)
        return out

    def _here(self, path: CallPath, marks: tuple[Value, ...]) -> list[Input]:
        chain = dict(zip(self.marks, marks, strict=True))
        return [Input(path, {**values, **chain}, states) for values in self.requests for states in self.answers]

    # --- kinds ---

    def call(self, policy: str, index: int) -> OpCall:
        return next(c for c in self.policies[policy].calls if c.index == index)

    def meetings(self, merging: bool) -> set[tuple[frozenset[str], AttrKey]]:
        """Policies whose differing writes of an attribute take effect on one input."""
        found = set()
        for at in self.inputs:
            writes = [(p, w) for p, i in self.result(at).effective for w in self.call(p, i).writes]
            for (p, v), (q, w) in combinations(writes, 2):
                merges = self.program.attribute(v.attr).merge is not None
                if v.attr == w.attr and v.value != w.value and merges == merging:
                    found.add((frozenset((p, q)), v.attr))
        return found

    def default_conflicts(self) -> bool:
        return any(n == "default" for at in self.inputs for c in self.result(at).contradictions for n, _ in c.writes)

    def order_dependent(self) -> set[tuple[str, str]]:
        """(writer, reader): what the reader requests changes if it sees what the writer writes."""
        found = set()
        for at in self.inputs:
            hop = Hop(self.program, at.path, self.program.policies[0].entity, at.values, at.states)
            names = [p.name for p in hop.matching]
            for reader in hop.matching:
                before = [p for p in hop.matching if p.name in self.orders.after[reader.name]]
                for writer in hop.matching:
                    pair = (writer.name, reader.name)
                    if writer is reader or pair in found or reader.name in self.orders.after[writer.name]:
                        continue
                    if writer in before:
                        continue
                    sees = {**hop.values, **hop.outcome(before)[0]}
                    would = {**hop.values, **self._beside(hop, before, writer)}
                    if self._wants(reader, sees, at) != self._wants(reader, would, at):
                        found.add(pair)
            assert names == [p.name for p in hop.matching]
        return found

    def _beside(self, hop: Hop, before: list[Policy], writer: Policy) -> Values:
        """What policies write by themselves, and another one on this input: what is overridden it does not write."""
        writes = [(p, c) for p, c in hop.effective(hop.matching)[0] if p is writer]
        kept = [
            (p, c)
            for p, c in hop.effective(before)[0]
            if writer.name not in self.orders.over[p.name]
            or not any({w.attr for w in c.writes} & {w.attr for w in d.writes} for _, d in writes)
        ]
        return hop.merged([*kept, *writes])[0]

    def _wants(self, policy: Policy, values: Values, at: Input) -> tuple[int, ...]:
        from m4c.predicates import holds

        schema = self.program.attribute
        given = {a: v for a, v in values.items() if v is not ABSENT}
        if not holds(policy.when, given, at.states, schema):
            return ()
        performed = [c for c in policy.calls if not (c.side == "egress" and at.path.hop[0] is None)]
        return tuple(c.index for c in performed if holds(c.guard, given, at.states, schema))

    def shadowed(self) -> set[str]:
        wants = {p for at in self.inputs for p, _ in self.result(at).requested}
        works = {p for at in self.inputs for p, _ in self.result(at).effective}
        return wants - works

    def suppressed(self) -> set[tuple[str, int]]:
        """Calls that rules 1 to 3 leave somewhere, but that something always ends the request beside."""
        found, counts = set(), set()
        for at in self.inputs:
            result = self.result(at)
            ending = {a for a, v in result.writes.items() if self.terminal(a, v)}
            for p, i in result.effective:
                found.add((p, i))
                writes = [w.attr for w in self.call(p, i).writes]
                if not ending or any(a in ending or self.program.attribute(a).travels for a in writes):
                    counts.add((p, i))
        return found - counts

    def terminal(self, attr: AttrKey, value: Value) -> bool:
        enum = self.program.enums.get(self.program.attribute(attr).type.name)
        return enum is not None and value in enum.terminal

    def redundant(self) -> set[str]:
        """Policies without which no result changes, those included that another equals."""
        return {p.name for p in self.program.policies if self.fires(p) and not self._matters(p)}

    def fires(self, policy: Policy) -> bool:
        return any(policy.name in self.result(at).fired for at in self.inputs)

    def _matters(self, policy: Policy) -> bool:
        if any(isinstance(a, StateAtom) for c in conditions(policy) for a in atoms(c)):
            return True
        rest = tuple(
            replace(
                p,
                overrides=self._without(p.overrides, policy.overrides, policy.name),
                after=self._without(p.after, policy.after, policy.name),
            )
            for p in self.program.policies
            if p is not policy
        )
        smaller = replace(self.program, policies=rest)
        return any(self._final(self.program, at) != self._final(smaller, at) for at in self.inputs)

    @staticmethod
    def _without(names: tuple[str, ...], through: tuple[str, ...], gone: str) -> tuple[str, ...]:
        """References without one policy; what it referred to is still meant (both orders are transitive)."""
        return tuple(n for n in names if n != gone) + (tuple(n for n in through) if gone in names else ())

    def _final(self, program: Program, at: Input) -> dict[object, Value]:
        """What every attribute is after the hop. What nobody writes is as it arrived, and that was something else than
        what policies write unless a condition looked at it."""
        result = run_hop(program, at.path, at.values, at.states)
        arrived = {a: v for a, v in at.values.items() if not program.attribute(a).travels or v is not ABSENT}
        looked = set(self.requests[0]) | {a for r in self.requests for a in r} | set(self.marks)
        final: dict[AttrKey, Value] = {**arrived, **result.declared, **result.writes}
        shown: dict[object, Value] = {a: v for a, v in final.items() if v is not ABSENT or a not in looked}
        carried = {a: v for a, v in at.values.items() if program.attribute(a).travels}
        return shown | {("left", a): v for a, v in {**carried, **result.leaves}.items()}

    def dead_paths(self) -> set[str]:
        alive = {n for key in self.matching_of.values() for n in key[0]}  # type: ignore[attr-defined]
        return set(self.policies) - alive

    def dead_defaults(self) -> set[int]:
        alive = {i for key in self.matching_of.values() for i in key[1]}  # type: ignore[attr-defined]
        return set(range(len(self.program.mesh.defaults))) - alive

    def constant_conditions(self) -> dict[str, set[str]]:
        """For each policy whose pattern matches somewhere: "when never" or "when always"; for each `if` that is reached
        "if 0 never" and so on."""
        seen: dict[str, set[tuple[str, bool]]] = {}
        for at in self.inputs:
            hop = Hop(self.program, at.path, self.program.policies[0].entity, at.values, at.states)
            for policy in hop.matching:
                before = [p for p in hop.matching if p.name in self.orders.after[policy.name]]
                values = {**hop.values, **hop.outcome(before)[0]}
                from m4c.predicates import holds

                true = holds(policy.when, values, at.states, self.program.attribute)
                of = seen.setdefault(policy.name, set())
                of.add(("when", true))
                for i, branch in enumerate(policy.ifs):
                    if true and holds(branch.guard, values, at.states, self.program.attribute):
                        of.add((f"if {i}", holds(branch.cond, values, at.states, self.program.attribute)))
        out: dict[str, set[str]] = {}
        for name, facts in seen.items():
            for what in {w for w, _ in facts}:
                if what == "when" and self.policies[name].when_place is None:
                    continue
                if ((what, True) in facts) != ((what, False) in facts):
                    out.setdefault(name, set()).add(f"{what} {'always' if (what, True) in facts else 'never'}")
        return out
