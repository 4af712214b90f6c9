"""When a choice of elements can carry the context, and which rows of the solver a choice violates.

Per component, with the silent hops of the chosen elements (`model`):

(a) *zero*: from everything that carries tag 0 together (services that start chains, services that hand nothing on, and
    trusted outside), silent hops reach at most one class of each service;
(b) *branching*: the same from each single (service, class) that hands context on;
(c) *outside*: from an untrusted entry that hands context on, over a silent entry hop, silent hops reach no service with
    several classes, itself included;
(d) *versions*: where the class behind a hop depends on the version that answers, the callee's side updates the tag.

A row is a set of candidates of which at least one has to be chosen, as a bit set of columns. Every feasible choice
satisfies every row that is made here, whatever choice it was made from, so adding them one after another keeps the
solver's bound valid. What can be said of sets of letters at once is; single ways are followed only where something is
violated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from m4c.paths.callpath import CallPath, Hop
from m4c.paths.machine import lowest
from m4c.paths.marked import MarkedSpread
from m4c.paths.masks import bits
from m4c.paths.spread import State
from m4c.placement.marks import lost
from m4c.placement.model import Component, Problem

Row = int
_ROWS = 12  # rows of one component in one round
_SHARING = 4  # of those, how many are told nevertheless
_PASSED = 100  # violations that are passed over for what mends others, before no more are looked for
_CHECK = 16  # components between two looks at whether to go on


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken condition of one component: what would mend it, and why it is needed."""

    component: int
    row: Row  # 0: nothing mends it
    why: str


class Silence:
    """The hops on which no chosen element updates the tag, as sets of letters: `loud_in` are those whose ingress side
    updates, `loud_out` those whose egress side does, for each group of callees (see `spoken`)."""

    def __init__(self, problem: Problem, chosen: int) -> None:
        self.problem = problem
        self._onward: dict[str, list[tuple[str, int]]] = {}
        self.loud_in = 0
        letters = problem.letters
        loud_out = [0] * len(problem.spoken.groups)
        callees = {number: name for name, number in problem.spoken.group.items()}  # one of each group
        for service in dict.fromkeys(problem.columns[i].service for i in bits(chosen)):
            if problem.updaters((None, service), "ingress") & chosen:
                self.loud_in |= letters.service(service)
            for number, callee in callees.items():
                if problem.updaters((service, callee), "egress") & chosen:
                    loud_out[number] |= letters.service(service)
        self.loud_out = tuple(loud_out)

    def after(self, mask: int) -> int:
        """The letters to which silent hops lead from some."""
        letters, out = self.problem.letters, 0
        for own, loud in zip(self.problem.spoken.groups, self.loud_out, strict=True):
            quiet = mask & ~loud
            if quiet:
                out |= letters.after(quiet) & own
        return out & ~self.loud_in

    def onward(self, service: str) -> list[tuple[str, int]]:
        """The services to which silent hops lead from one, with their letters."""
        found = self._onward.get(service)
        if found is None:
            letters, group = self.problem.letters, self.problem.spoken.group
            here = letters.service(service)
            quiet = [not here & loud for loud in self.loud_out]
            every = [(c, letters.service(c)) for c in self.problem.callees[service] if quiet[group[c]]]
            found = self._onward[service] = [(callee, own) for callee, own in every if not own & self.loud_in]
        return found

    def before(self, mask: int) -> int:
        """The letters from which silent hops lead to some."""
        out = 0
        for own, loud in zip(self.problem.spoken.groups, self.loud_out, strict=True):
            quiet = mask & own & ~self.loud_in
            if quiet:
                out |= self.problem.letters.before(quiet) & ~loud
        return out

    def silent(self, hop: Hop) -> bool:
        service = self.problem.letters.service
        if service(hop[1]) & self.loud_in:
            return False
        return hop[0] is None or not service(hop[0]) & self.loud_out[self.problem.spoken.group[hop[1]]]


def violations(problem: Problem, chosen: int, checkpoint: Callable[[], None] = lambda: None) -> list[Violation]:
    """Broken conditions of every component, several at once, without repeated rows; none: the choice is feasible."""
    silence = Silence(problem, chosen)
    forged = [_Forged(problem, silence, entry) for entry in _untrusted(problem, silence)]
    out: list[Violation] = []
    for i, component in enumerate(problem.components):
        if i % _CHECK == 0:
            checkpoint()
        context = component.context
        updating = tuple([loud & context.area for loud in (silence.loud_in, *silence.loud_out)])
        carried = context.carried
        if carried is not None and not any(was & ~now for was, now in zip(carried, updating, strict=True)):
            continue  # more updates than in a choice that carries it
        taken = rows = passed = 0
        for why, row, common in _of_component(problem, component, silence, forged):
            if row & ~common & taken:  # what mends the others may mend it
                passed += 1
                if passed > _PASSED:
                    break
                if passed > _SHARING:
                    continue
            taken |= row & ~common
            rows += 1
            context.rows[row] = why
            out.append(Violation(i, row, why))
            if not row or rows == _ROWS:
                break
        if not rows:
            context.carried = updating
    return out


def fixed_rows(problem: Problem) -> Iterator[Violation]:
    """(d), and what nothing can mend: neither depends on the choice."""
    for i, component in enumerate(problem.components):
        context = component.context
        if context.fixed is None:
            context.fixed = tuple(_fixed(problem, component))
        for row, why in context.fixed:
            yield Violation(i, row, why)


def _fixed(problem: Problem, component: Component) -> Iterator[tuple[Row, str]]:
    services, letters, classes = problem.services, problem.letters, component.classes
    for service in letters.services(classes.split_letters & problem.ending):
        one, other = _confused(problem, component, service)
        said, protocol = problem.program.graph.services[service], services[service].protocol
        why = (
            f"{service} speaks {protocol}, in which nothing carries"
            if said.propagates
            else f"{service} does not hand on"
        )
        yield 0, f"{why} the context that tells {one} from {other}"
    for hop, marks in lost(classes, component.context.seen):
        names = " and ".join(str(attr) for attr in sorted(marks))
        yield 0, f"nothing that can run on {hop[0] or 'outside'} -> {hop[1]} notes what becomes of {names} there"
    for service in letters.services(classes.split_letters & letters.versioned):
        if services[service].origin and len(classes.own(service)) > 1:
            yield 0, f"requests that {service} starts by itself carry nothing that tells its versions apart"
        if classes.lands_apart(service, services[service].entry):
            why = f"which version of {service} answers is known at its ingress only"
            yield problem.updaters((None, service), "ingress"), why


def _confused(problem: Problem, component: Component, service: str) -> tuple[str, str]:
    """Shortest paths to two classes of a service, which some continuation tells apart."""
    classes, spread = component.classes, component.classes.spread
    first: dict[int, State] = {}
    for state, number in classes.of[service].items():
        first.setdefault(number, state)
    onward = problem.callees[service][0]  # there is one, for otherwise nothing would be told apart
    paths = (spread.path((service, onward), [state]) for state in list(first.values())[:2])
    said = [CallPath(p.outside, p.services[:-1], p.versions[:-1]).by_service for p in paths]
    if isinstance(spread, MarkedSpread):
        marked = [spread.carried(state) for state in list(first.values())[:2]]
        with_marks = zip(said, marked, strict=True)
        said = [f"{path} with {' and '.join(map(str, sorted(of)))}" if of else path for path, of in with_marks]
    one, other = sorted(said)
    return one, other


# --- single components ------------------------------------------------------------------------------------------------


def _of_component(
    problem: Problem, component: Component, silence: Silence, forged: Sequence[_Forged]
) -> Iterator[tuple[str, Row, Row]]:
    """What is broken: (why, what would mend it, what of that would also mend others that are told beside it)."""
    classes = component.classes
    if not classes.of:
        return
    broken = False
    leading = _silently_to(problem, silence, classes.split_letters)
    if _zero_meets(problem, component, silence):
        sources = _zero(problem, component, silence, leading)
        for row, service in _meet(problem, component, silence, leading, sources):
            broken = True
            yield f"requests without a tag reach {service} in ways that later hops must tell apart", row, 0
    for tag in forged:
        if tag.reached & classes.split_letters:
            broken = True
            for at, row in tag.ways(classes.split_letters):
                yield f"a tag forged outside would reach {at}", row, tag.door
    if broken:
        return
    for service, state in _branching(problem, component, silence):
        for row, at in _meet(problem, component, silence, leading, [(service, state, 0)]):
            yield f"requests through {service} reach {at} in ways that later hops must tell apart", row, 0


def _silently_to(problem: Problem, silence: Silence, mask: int) -> int:
    """The letters from which silent hops lead to some, these included."""
    known, fresh = 0, mask
    while fresh:
        known |= fresh
        fresh = problem.letters.whole(silence.before(fresh) & ~problem.ending) & ~known
    return known | problem.letters.whole(silence.before(known))


def _zero(problem: Problem, component: Component, silence: Silence, within: int) -> Iterator[tuple[str, State, Row]]:
    """What carries tag 0 within some letters: (service, state, what would change that)."""
    spread, classes, letters = component.classes.spread, component.classes, problem.letters

    def landed(service: str, before: State, row: Row) -> Iterator[tuple[str, State, Row]]:
        """Once for each class, over the versions."""
        states = [spread.moves[before][cell] for _, cell in spread.landings(service)]
        for state in {classes.at(service, s): s for s in reversed(states)}.values():
            yield service, state, row

    for service in letters.services(letters.origins & within):
        yield from landed(service, spread.by_itself, 0)
    for service in letters.services(problem.ending & within & ~classes.split_letters):
        states = spread.states_at(letters.service(service))
        if states:
            yield service, states[0], 0
    for service in letters.services(problem.trusted & within & ~silence.loud_in):
        yield from landed(service, spread.from_outside, problem.silencers((None, service)))


def _zero_meets(problem: Problem, component: Component, silence: Silence) -> bool:
    """Whether tag 0 comes to two classes of a service, by sets of letters."""
    spread, letters = component.classes.spread, problem.letters
    reach: dict[State, int] = {}
    fresh: dict[State, int] = {}
    for begin, chains in (
        (spread.by_itself, letters.origins),
        (spread.from_outside, problem.trusted & ~silence.loud_in),
    ):
        for target, cell in zip(spread.moves[begin], spread.cells, strict=True):
            if cell & chains:
                fresh[target] = fresh.get(target, 0) | (cell & chains)
    ends = problem.ending & ~component.classes.split_letters
    for state in range(len(spread.reach)) if ends else ():
        here = ends & spread.reach[state]
        if here:
            fresh[state] = fresh.get(state, 0) | here
            ends &= ~letters.whole(here)
    first = dict(fresh)
    while fresh:
        following: dict[State, int] = {}
        for state, mask in fresh.items():
            mask &= ~reach.get(state, 0)
            if not mask:
                continue
            reach[state] = reach.get(state, 0) | mask
            after = silence.after(mask & ~(problem.ending & ~first.get(state, 0)))
            if after:
                for target, cell in zip(spread.moves[state], spread.cells, strict=True):
                    new = after & cell & ~reach.get(target, 0)
                    if new:
                        following[target] = following.get(target, 0) | new
        fresh = following
    return component.classes.clash(reach)


def _meet(
    problem: Problem,
    component: Component,
    silence: Silence,
    leading: int,
    sources: Iterable[tuple[str, State, Row]],
) -> Iterator[tuple[Row, str]]:
    """Breadth first over silent hops, among the letters that lead to a service with several classes; where a second
    class of a service is reached, what would change either way."""
    spread, classes = component.classes.spread, component.classes
    services, letters = problem.services, problem.letters
    queue: list[tuple[str, State, int]] = []  # with the number of the one before
    first: dict[int, Row] = {}
    for service, state, row in sources:
        if letters.service(service) & leading:
            first[len(queue)] = row
            queue.append((service, state, -1))

    def change(at: int) -> Row:
        service, _, before = queue[at]
        row = first.get(at, 0)
        while before >= 0:
            row |= problem.silencers((queue[before][0], service)) | first.get(before, 0)
            service, _, before = queue[before]
        return row

    reached: dict[str, tuple[int, int]] = {}
    for number, (service, state, before) in enumerate(queue):
        here = classes.at(service, state)
        known = reached.get(service)
        if known is not None:
            if known[0] != here:
                yield change(known[1]) | change(number), service
            continue
        reached[service] = (here, number)
        if not services[service].propagates and before >= 0:
            continue
        for callee, own in silence.onward(service):
            if not own & leading:
                continue
            states = [spread.moves[state][cell] for _, cell in spread.landings(callee)]
            if len(states) > 1:
                states = list({classes.at(callee, s): s for s in reversed(states)}.values())
            queue.extend((callee, s, number) for s in states)


def _branching(problem: Problem, component: Component, silence: Silence) -> Iterator[tuple[str, State]]:
    """Nodes from which silent hops lead to two classes of some service. Found backwards, for each service that has
    several: the nodes that lead to each of its classes."""
    classes, spread, letters = component.classes, component.classes.spread, problem.letters
    found: set[tuple[str, State]] = set()
    loud = silence.loud_out[0]  # whatever they call
    for of in silence.loud_out:
        loud &= of
    if not component.context.diverges or not _may_branch(problem, component, silence):
        return
    for service, states in classes.of.items():
        here = letters.service(service)
        before = silence.before(here)
        # Over a single silent hop two classes come only out of two classes, which are met there; unless the hop closes
        # a circle.
        if not before or (before == letters.whole(before & -before) and here & loud):
            continue
        leading: dict[int, dict[State, int]] = {}
        for state, number in states.items():
            at = leading.setdefault(number, {})
            at[state] = spread.reach[state] & here
        for number, at in leading.items():
            leading[number] = _leading(problem, component, silence, at)
        sets = list(leading.values())
        for i, one in enumerate(sets):
            for other in sets[i + 1 :]:
                for state, mask in one.items():
                    both = mask & other.get(state, 0) & ~problem.ending
                    for x in bits(both):
                        node = (letters.all_letters[x][0], state)
                        if node not in found:
                            found.add(node)
                            yield node
                        break


def _may_branch(problem: Problem, component: Component, silence: Silence) -> bool:
    """Whether silent hops from the nodes of one state, taken together, lead to several classes of a service."""
    classes, spread = component.classes, component.classes.spread
    for begin, mask in enumerate(spread.reach):
        reach: dict[State, int] = {}
        fresh = {begin: mask}
        while fresh:
            state, new = fresh.popitem()
            new &= ~reach.get(state, 0)
            if new:
                reach[state] = reach.get(state, 0) | new
                after = silence.after(new & ~problem.ending)
                for target, cell in zip(spread.moves[state], spread.cells, strict=True):
                    if after & cell & ~reach.get(target, 0):
                        fresh[target] = fresh.get(target, 0) | (after & cell)
        if classes.clash(reach):
            return True
    return False


def _leading(problem: Problem, component: Component, silence: Silence, at: dict[State, int]) -> dict[State, int]:
    """The nodes from which silent hops lead to some nodes, these included."""
    spread = component.classes.spread
    known: dict[State, int] = {}
    fresh = dict(at)
    while fresh:
        following: dict[State, int] = {}
        for target, mask in fresh.items():
            mask &= ~known.get(target, 0)
            if not mask:
                continue
            known[target] = known.get(target, 0) | mask
            for cell_number, cell in enumerate(spread.cells):
                landed = mask & cell
                before = silence.before(landed) & ~problem.ending if landed else 0
                if before:
                    for state, to in enumerate(spread.moves):
                        if to[cell_number] == target:
                            new = before & spread.reach[state] & ~known.get(state, 0)
                            if new:
                                following[state] = following.get(state, 0) | new
        fresh = following
    return known


# --- from outside -----------------------------------------------------------------------------------------------------


def _untrusted(problem: Problem, silence: Silence) -> Iterator[str]:
    for service, of in problem.services.items():
        if of.entry and not of.trusted and of.propagates and silence.silent((None, service)):
            yield service


class _Forged:
    """Where a tag from outside comes to over silent hops from one entry, a set of letters for each number of hops.
    `door`: what would keep it from coming in."""

    def __init__(self, problem: Problem, silence: Silence, entry: str) -> None:
        self.problem, self.silence, self.entry = problem, silence, entry
        letters = problem.letters
        level = self.reached = letters.service(entry)
        self.door = problem.silencers((None, entry))
        self.levels = [level]
        while level:
            level = silence.after(level & ~problem.ending) & ~self.reached
            self.reached |= level
            self.levels.append(level)

    def ways(self, goal: int) -> Iterator[tuple[str, Row]]:
        """Some services out of a set, the nearest first, and what would keep the tag from each on one way. No two ways
        have a service in common, but for the entry."""
        letters = self.problem.letters
        met = 0
        for depth, level in enumerate(self.levels):
            for service in letters.services(level & goal & ~met):
                own = letters.service(service)
                if own & met:
                    continue
                found = self._way(service, depth, met)
                if found is not None:
                    row, passed = found
                    met |= passed & ~self.levels[0]
                    yield service, row

    def _way(self, service: str, depth: int, met: int) -> tuple[Row, int] | None:
        letters = self.problem.letters
        row, passed = self.door, letters.service(service)
        for level in reversed(self.levels[:depth]):
            ways = self.silence.before(letters.service(service)) & ~self.problem.ending & level & ~met
            if not ways:
                return None
            caller = letters.all_letters[lowest(ways)][0]
            row |= self.problem.silencers((caller, service))
            service = caller
            passed |= letters.service(caller)
        return row, passed
