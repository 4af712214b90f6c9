"""What has to stand before what on a hop.

All conditions are about what arrived, and a position sees what earlier ones wrote. So

- a reader stands no later than a writer, unless what is written cannot change its answer; what asks or changes a state
  that is kept for each value of something reads that. A reader that the language
  puts after the writer has the written value inside its condition already and stands at the same position;
- what is added to an attribute when all else is done stands no earlier than what writes that attribute, and no earlier
  than what reads it;
- what shows even if the request ends stands no earlier than what may end it;
- what ends the request stands no earlier than what asks or changes a state: that happens all the same;
- what denies a connection stands no later than what is about what it carries: nothing of that happens.

An answer comes back the other way: of two rules about it, the later one stands nearer to the caller. What it reads of
the request is read where it stands, on the request's way; and what the mesh answers it must not see, so it stands no
earlier than what may end the request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from itertools import combinations
from typing import TypeAlias

from m4c.placement.athop import AtHop
from m4c.placement.logic import substitute
from m4c.placement.rules import Order, Rule
from m4c.predicates.atoms import check_of, passes, view_of
from m4c.semantics.effects import carriers
from m4c.semantics.model import (
    Atom,
    AttrKey,
    Cond,
    Const,
    Program,
    StateAtom,
    Value,
    all_of,
    any_of,
    atoms,
    negate,
)

Meet: TypeAlias = Callable[..., bool]  # can these conditions hold together on the hop?


def orders_of(program: Program, here: AtHop, conds: Sequence[Cond], rules: Sequence[Rule], meet: Meet) -> list[Order]:
    """The orders between the rules of one hop, by their number on it. `conds`: when each of them holds."""
    added = [_added_to(program, rule) for rule in rules]
    answers = [program.entities[rule.entity].answers for rule in rules]
    denied = set(_denied(program, rules))
    found = {(i, j): False for i, j in denied if meet(conds[i], conds[j])}
    added_to = set[AttrKey]().union(*added)
    touched = {w.attr for rule in rules if not rule.terminal for w in rule.writes} | added_to
    shown = [j for j, rule in enumerate(rules) if rule.outward or answers[j]]
    ending = [j for j, rule in enumerate(rules) if rule.terminal]
    adding = [j for j, attrs in enumerate(added) if attrs]
    for i, rule in enumerate(rules):
        for j, same in _readers(program, here, conds, rules, i, added, meet, touched):
            found[(j, i) if answers[j] else (i, j)] = same
        written = {w.attr for w in rule.writes}
        counts = rule.of_state is not None and not answers[i]
        later = {*(ending if counts else ()), *(shown if rule.terminal else ())}
        later.update(adding if written & added_to else ())
        for j in sorted(later):
            other = rules[j]
            if (i, j) in denied or (j, i) in denied:
                continue
            adds = bool(written & added[j])
            ends = rule.terminal and (other.outward or answers[j])
            if i != j and (adds or ends or (counts and other.terminal)) and meet(conds[i], conds[j]):
                found.setdefault((j, i) if adds and answers[j] else (i, j), False)
    return [Order(i, j, same) for (i, j), same in found.items()]


def _denied(program: Program, rules: Sequence[Rule]) -> Iterator[tuple[int, int]]:
    """The rules that deny a connection, each with those about what it carries."""
    for i, ending in enumerate(rules):
        if ending.terminal and program.entities[ending.entity].connection:
            for j, rule in enumerate(rules):
                if any(e.name == ending.entity for e in carriers(program.entities, rule.entity)):
                    yield i, j


def _added_to(program: Program, rule: Rule) -> set[AttrKey]:
    """The attributes to whose values a rule adds when all else of the hop is done."""
    targets = ((w.attr, program.attribute(w.attr).added_to) for w in rule.writes)
    return {AttrKey(attr.entity, name, attr.key) for attr, name in targets if name is not None}


def _readers(
    program: Program,
    here: AtHop,
    conds: Sequence[Cond],
    rules: Sequence[Rule],
    i: int,
    added: Sequence[set[AttrKey]],
    meet: Meet,
    touched: Set[AttrKey],
) -> Iterator[tuple[int, bool]]:
    """The rules that must not stand before rule `i`, because they change what it reads; whether at the same place.
    `touched`: all that some rule changes."""
    reader, when = rules[i], conds[i]
    schema = program.attribute
    read = {view_of(a.attr, schema).source for a in atoms(when) if isinstance(a, Atom) and a.attr.entity}
    if reader.per is None and read.isdisjoint(touched):
        return
    for j in range(len(rules)):
        if j != i and added[j] & read and meet(conds[j]):
            yield j, False
    writers = [j for j, r in enumerate(rules) if j != i and not r.terminal and any(w.attr in read for w in r.writes)]
    if reader.per is not None:
        of_value = view_of(reader.per, schema).source
        for j, other in enumerate(rules):
            changes = any(w.attr == of_value for w in other.writes) or of_value in added[j]
            if j != i and changes and not other.terminal and meet(when, conds[j]):
                yield j, False
    said: set[int] = set()
    for chosen in (c for size in (1, 2) for c in combinations(writers, size)):
        if all(j in said for j in chosen):
            continue
        written = {w.attr: w.value for j in chosen for w in rules[j].writes}
        changed = _after(program, when, written)
        differs = any_of(all_of(when, negate(changed)), all_of(changed, negate(when)))
        if meet(differs, *(conds[j] for j in chosen)):
            said |= set(chosen)
            for j in chosen:
                later = (here.orders.after.get(b.policy, frozenset()) for b in reader.sources)
                names = {a.policy for a in rules[j].sources}
                yield j, any(names & policies for policies in later)


def _after(program: Program, cond: Cond, written: dict[AttrKey, Value]) -> Cond:
    """A condition about the request with these values written."""

    def change(atom: Atom | StateAtom) -> Cond:
        if isinstance(atom, StateAtom) or not atom.attr.entity:
            return atom
        view = view_of(atom.attr, program.attribute)
        value = written.get(view.source)
        return atom if value is None else Const(passes(check_of(atom, True, view), value))

    return substitute(cond, change)
