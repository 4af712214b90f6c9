"""The findings of a program, kept up to date while it changes.

A finding is about one policy or two, and depends on those that these can have to do with (`near`). So a change of some
policies is met by asking again about these, about those whose effect they decide, and about those near them; what is
found is the same whether one policy has changed or all are new, and the cost is that of the neighbourhood and not of
the mesh. What is still to be asked is a list: whoever stops in the middle goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from m4c.analysis.cycles import order_cycles
from m4c.analysis.near import Row
from m4c.analysis.questions import Answers, Problems, Questions
from m4c.analysis.standing import still_holds
from m4c.processes import shared
from m4c.semantics.model import AttrKey, Policy, Program

_BLOCK = 100  # policies that one process takes at a time
MANY = 2000  # policies to ask about from which on it is worth it to start processes


def _never() -> None:
    """Nothing stops the work."""


@dataclass(slots=True)
class _Open:
    """What is still to be asked: policies by name, and for pairs the letters at which to look (-1: all)."""

    alone: dict[str, None] = field(default_factory=dict)
    pairs: dict[str, int] = field(default_factory=dict)
    hops: dict[str, None] = field(default_factory=dict)
    inner: dict[str, None] = field(default_factory=dict)  # those whose time limits come beside others now
    points: dict[str, None] = field(default_factory=dict)
    sides: dict[str, None] = field(default_factory=dict)
    turned: dict[str, None] = field(default_factory=dict)
    states: dict[str, None] = field(default_factory=dict)
    defaults: dict[AttrKey, None] = field(default_factory=dict)

    def forget(self, name: str) -> None:
        for of in (self.alone, self.pairs, self.hops, self.inner, self.points, self.sides, self.turned):
            of.pop(name, None)


class Analysis:
    """The findings of one mesh's program. `update` takes the program as it is now."""

    def __init__(self, processes: int = 1) -> None:
        """`processes`: how many may share the work, where it is much."""
        self._program: Program | None = None
        self._processes = processes

    def _begin(self, program: Program) -> None:
        """Forgets everything: the graph, the specs or the mesh are others."""
        self._parts: Sequence[Sequence[Policy]] = ()
        self._policies: dict[str, Policy] = {}
        self._twice: frozenset[str] = frozenset()  # names that several parts have
        self._ordered: dict[str, Policy] = {}  # the policies that override others or are after some
        self._questions = Questions(program)
        self._open = _Open()
        self._bad: set[str] = set()
        self._wrong: dict[str, Problems] = {}
        self._cycles: Problems = ()
        self._open.states.update(dict.fromkeys(s.name for s in program.states))
        self._open.defaults.update(dict.fromkeys(self._questions.contested))

    def update(
        self, empty: Program, parts: Sequence[Sequence[Policy]], checkpoint: Callable[[], None] = _never
    ) -> Problems:
        """The findings about a program: one without policies, and its policies, file by file. Of two policies of one
        name the first counts. A part that is the same object as before is not looked at again.

        Policies whose own text is wrong are not in it; those with bad regular expressions, and those on an order cycle,
        are reported and then left out of the other analyses. `checkpoint` is called again and again; what it raises
        ends the work, which the next call takes up.
        """
        if self._program is None or not _same_ground(self._program, empty):
            self._begin(empty)
        self._program = None  # whatever fails in the middle leaves nothing to go on from
        self._take(parts)
        if self._processes > 1 and len(self._open.alone) == len(self._questions.near.rows) >= MANY:
            self._share(checkpoint)
        for _ in self._work():
            self._program = empty  # here all is in order
            checkpoint()
            self._program = None
        self._program = empty
        rank = self._questions.rank
        wrong = [p for n in sorted(self._wrong, key=rank.__getitem__) for p in self._wrong[n]]
        return (*wrong, *self._cycles, *self._questions.findings())

    def tidy(self) -> None:
        """Forgets what was worked out about conditions and patterns, where it is more than those that are here need."""
        if self._program is not None:
            self._questions.tidy()

    # --- what has changed ---

    def _take(self, parts: Sequence[Sequence[Policy]]) -> None:
        old, new, moved = self._difference(parts)
        near = self._questions.near
        changed = {n for n, p in new.items() if old.get(n) is not p and old.get(n) != p} | (old.keys() - new.keys())
        round_ = {n for p in self._cycles for n in p.policies}
        orders_changed = not round_.isdisjoint(changed | moved) or any(
            _clauses(old.get(n)) != _clauses(new.get(n)) for n in changed
        )
        for name in changed:
            self._wrong.pop(name, None)
            self._ordered.pop(name, None)
            if name not in new:
                del self._policies[name]
                continue
            policy = self._policies[name] = new[name]
            if policy.overrides or policy.after:
                self._ordered[name] = policy
            wrong = tuple(self._questions.wrong_by_itself(policy))
            if wrong:
                self._wrong[name] = wrong
        if orders_changed:
            rank = self._questions.rank
            self._cycles = tuple(order_cycles([self._ordered[n] for n in sorted(self._ordered, key=rank.__getitem__)]))
        bad = {*self._wrong, *(n for p in self._cycles for n in p.policies)}
        changed |= bad ^ self._bad
        self._bad = bad
        if changed:
            self._replace(changed)
        self._open.turned.update(dict.fromkeys(moved & near.rows.keys()))

    def _difference(self, parts: Sequence[Sequence[Policy]]) -> tuple[dict[str, Policy], dict[str, Policy], set[str]]:
        """The policies of the parts that are others than before, as they were and as they are, and the names that stand
        elsewhere among the rest."""
        before, rank = self._parts, self._questions.rank
        self._parts = parts
        if len(before) != len(parts):
            return self._whole_difference(parts)
        differing = [i for i, (a, b) in enumerate(zip(before, parts, strict=True)) if a is not b]
        old, new = ({p.name: p for i in differing for p in reversed(of[i])} for of in (before, parts))
        several = sum(len({p.name for p in parts[i]}) for i in differing) > len(new)
        elsewhere = any(p.name in old and rank[p.name][0] != i for i in differing for p in parts[i])
        again = any(n not in old and n in rank for n in new)
        if several or elsewhere or again or not self._twice.isdisjoint((*old, *new)):
            return self._whole_difference(parts)
        moved: set[str] = set()
        for i in differing:
            names = list(dict.fromkeys(p.name for p in parts[i]))
            moved |= _moved(list(dict.fromkeys(p.name for p in before[i])), names)
            rank.update((name, (i, k)) for k, name in enumerate(names))
        for name in old.keys() - new.keys():
            rank.pop(name, None)
        return old, new, moved

    def _whole_difference(
        self, parts: Sequence[Sequence[Policy]]
    ) -> tuple[dict[str, Policy], dict[str, Policy], set[str]]:
        """As `_difference`, when parts or policies have moved, or several policies have one name."""
        new: dict[str, Policy] = {}
        rank: dict[str, tuple[int, int]] = {}
        twice: set[str] = set()
        for i, part in enumerate(parts):
            for k, policy in enumerate(part):
                if policy.name not in new:
                    new[policy.name] = policy
                    rank[policy.name] = (i, k)
                elif rank[policy.name][0] != i:
                    twice.add(policy.name)
        old = dict(self._policies)
        by_rank = self._questions.rank
        moved = _moved(sorted(old, key=by_rank.__getitem__), list(new))
        self._questions.rank = rank
        self._twice = frozenset(twice)
        return old, new, moved

    def _replace(self, changed: set[str]) -> None:
        questions, near = self._questions, self._questions.near
        orders = {n: (near.clauses.get(n), n in near.rows) for n in changed}
        influenced = near.influence({n: near.rows[n].ends for n in changed if n in near.rows})
        gone = [questions.remove(name) for name in changed & near.rows.keys()]
        for name in changed:
            policy = self._policies.get(name)
            if policy is not None and name not in self._bad:
                questions.add(policy)
        for name, (clauses, was_here) in orders.items():
            if near.clauses.get(name) != clauses or (was_here != (name in near.rows) and name in near.mentioned):
                near.reorder()
                break
        changed, influenced = self._affected(changed, influenced, gone)
        for name in changed:
            questions.forget(name)
            self._open.forget(name)
        here = [near.rows[n] for n in changed if n in near.rows]
        everyone = [*here, *(near.rows[n] for n in influenced if n in near.rows)]
        self._reopen(here, {n: mask for n, mask in influenced.items() if n in near.rows}, everyone, gone)

    def _affected(
        self, changed: set[str], before: dict[str, int], gone: Iterable[Row]
    ) -> tuple[set[str], dict[str, int]]:
        """The policies about which everything is asked again, for they have changed or read a mark that others leave
        otherwise now; and those whose effect such a one decides, with the letters at which it does."""
        near = self._questions.near
        changed = set(changed)
        while True:
            influenced = near.influence({n: near.rows[n].ends for n in changed if n in near.rows})
            for name, mask in before.items():
                influenced[name] = influenced.get(name, 0) | mask
            writers = [*gone, *(near.rows[n] for n in (*changed, *influenced) if n in near.rows)]
            marks = {a for r in writers for a in r.writes if near.attribute(a).travels}
            readers = {n for a in marks for n in near.all_readers(a)} - changed
            if not readers:
                return changed, {n: mask for n, mask in influenced.items() if n not in changed}
            changed |= readers

    def _reopen(self, here: list[Row], influenced: dict[str, int], everyone: list[Row], gone: list[Row]) -> None:
        """Puts down what to ask again."""
        near, questions, todo = self._questions.near, self._questions, self._open
        names = dict.fromkeys(r.policy.name for r in everyone)
        todo.alone |= names
        todo.hops |= names
        todo.points |= names
        todo.pairs |= dict.fromkeys((r.policy.name for r in here), -1)
        for name, mask in influenced.items():
            todo.pairs[name] = todo.pairs.get(name, 0) | mask
        for row in (*everyone, *gone):
            limits = {a for a in row.writes if "deadline" in near.attribute(a).roles}
            if limits:
                todo.inner |= dict.fromkeys(near.writers(limits, row))
        changed = [*((r, False, -1) for r in gone), *((r, True, influenced.get(r.policy.name, -1)) for r in everyone)]
        for row, is_here, within in changed if len(names) < len(near.rows) else ():
            self._reopen_points(row, is_here, within)
        repeated = [r for r in (*everyone, *gone) if r.repeats]
        for name in {n for of in near.states.values() for n in of}:
            if name in names or any(r.ends & near.rows[name].ends for r in repeated):
                todo.sides[name] = None
        touched = {s for r in (*everyone, *gone) for s in r.states}
        todo.states |= dict.fromkeys(s.name for s in questions.empty.states if s.name in touched)
        written = {a for r in (*everyone, *gone) for a in r.writes}
        todo.defaults |= dict.fromkeys(questions.contested & written)

    def _reopen_points(self, row: Row, is_here: bool, within: int) -> None:
        """Whether others have a point is asked again, beside a policy that is new, has changed or is gone, or whose
        effect is another at some letters."""
        questions, todo = self._questions, self._open
        for name, other in self._beside(row):
            if name in todo.points or not other.ends & within:
                continue
            proven = questions.proven.get(name)
            scenery = questions.scene(other.policy.entity)
            if proven is None or not all(not p.where & within or still_holds(scenery, p, row, is_here) for p in proven):
                todo.points[name] = None

    def _beside(self, row: Row) -> Iterator[tuple[str, Row]]:
        """The policies for which it can matter, beside this one, whether they have a point."""
        questions, near = self._questions, self._questions.near
        ending = questions.scene(row.policy.entity).ending
        found = near.beside(row) if row.writes & ending else near.writers(row.writes | ending, row)
        yield from found.items()
        for name in near.upstream(found):  # who overrides one of these, or is seen by it, changes with it
            if name in near.rows and name not in found and questions.proven.get(name) is None:
                yield name, near.rows[name]

    # --- the work ---

    def _share(self, checkpoint: Callable[[], None]) -> None:
        """Has processes ask all that is to be asked about policies, each about some of them; what one of them leaves
        undone stays open. Of what is between two policies, the one that comes later asks."""
        rank = self._questions.rank
        names = sorted(self._questions.near.rows, key=rank.__getitem__)
        # Neighbours in the text are often neighbours in the mesh, and what is asked about them is the same.
        blocks = [names[at : at + _BLOCK] for at in range(0, len(names), _BLOCK)]
        parts = [frozenset(chain(*blocks[i :: self._processes])) for i in range(self._processes)]

        def work(part: int) -> Answers:
            for _ in self._work(parts[part]):
                pass
            return self._questions.answers(parts[part])

        for mine, answers in zip(parts, shared(len(parts), work, checkpoint), strict=True):
            if answers is not None:
                self._questions.take(answers)
                for name in mine:
                    self._open.forget(name)

    def _work(self, mine: Container[str] | None = None) -> Iterator[None]:
        """Asks what is still to be asked; between any two questions it can be left. `mine`: of the questions about
        policies only those about these."""
        questions, todo = self._questions, self._open
        rows = questions.near.rows
        for some, ask in (
            (todo.turned, self._turn),
            (todo.alone, questions.ask_alone),
            (todo.hops, lambda row: questions.ask_from(row, todo.hops, todo.inner)),
            (todo.inner, questions.ask_inner),
            (todo.points, questions.ask_point),
            (todo.sides, questions.ask_sides),
        ):
            for name in list(some):
                yield
                if name in rows and (mine is None or name in mine):
                    ask(rows[name])
                del some[name]
        asked: set[tuple[str, str]] = set()
        for name, within in list(todo.pairs.items()):
            yield
            asks = name in rows and (mine is None or name in mine)
            for other in questions.partners(rows[name], within) if asks else ():
                key = (name, other.policy.name) if name < other.policy.name else (other.policy.name, name)
                if mine is not None and other.policy.name in todo.pairs:
                    continue
                if key not in asked:
                    asked.add(key)
                    questions.ask_pair(rows[name], other)
            del todo.pairs[name]
        for state in list(todo.states) if mine is None else ():
            yield
            questions.ask_state(state)
            del todo.states[state]
        for attr in list(todo.defaults) if mine is None else ():
            yield
            questions.ask_defaults(attr)
            del todo.defaults[attr]

    def _turn(self, row: Row) -> None:
        """Asks again what depends on which of two policies comes first, where that has changed."""
        questions, rows, name = self._questions, self._questions.near.rows, row.policy.name
        for unit in list(questions.units_of.get(name, ())):
            if unit[0] == "meeting" and questions.rank[unit[1]] > questions.rank[unit[2]]:
                questions.ask_pair(rows[unit[1]], rows[unit[2]])
        if questions.proven.get(name) is None:
            questions.ask_point(row)


def _clauses(policy: Policy | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (policy.overrides, policy.after) if policy is not None else ((), ())


def _same_ground(a: Program, b: Program) -> bool:
    """Whether only policies differ between two programs."""
    return a is b or (
        (a.graph is b.graph or a.graph == b.graph)
        and a.entities == b.entities
        and a.enums == b.enums
        and a.states == b.states
        and (a.mesh.defaults, a.mesh.propagate) == (b.mesh.defaults, b.mesh.propagate)
    )


def _moved(old: list[str], new: list[str]) -> set[str]:
    """Names that stand elsewhere among the others than before: those between the first and the last difference."""
    both = set(old) & set(new)
    before, after = [n for n in old if n in both], [n for n in new if n in both]
    if before == after:
        return set()
    differing = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    return set(after[differing[0] : differing[-1] + 1])
