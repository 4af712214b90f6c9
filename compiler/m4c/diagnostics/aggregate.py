"""Many findings of one kind about pairs of policies as few, so that people can read them.

Pairs of one kind about one thing (an attribute) are the edges of a graph whose nodes are policies. A policy that is in
more than `FEW` of them is *crowded*. Pairs of which neither policy is crowded stay by themselves: there are at most
1.5 × FEW for each policy. Each connected piece of the others becomes one group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from m4c.diagnostics.registry import RULES
from m4c.semantics.model import Place
from m4c.semantics.problems import Problem, Related

FEW = 3  # pairs in which a policy may be before they are grouped
SHOWN = 3  # pairs of a group that are shown

Policy: TypeAlias = tuple[str, str]  # its file, and its key there; names may be those of several meshes


@dataclass(frozen=True, slots=True)
class Group:
    """Findings about pairs of policies that hang together, those with the shortest call path first."""

    pairs: tuple[Problem, ...]

    @property
    def policies(self) -> tuple[str, ...]:
        """The names of all policies, those of the first pairs first."""
        return tuple(dict.fromkeys(n for p in self.pairs for n in p.policies))


def grouped(problems: Iterable[Problem]) -> list[Problem | Group]:
    """The findings with those about many pairs in groups, each group in the place of its first pair."""
    problems = list(problems)
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for p in problems:
        if RULES[p.code].pairs and len(p.policies) == 2:
            kinds.setdefault((p.code, p.about), []).append(p)
    group_of: dict[int, Group] = {}
    for pairs in kinds.values():
        if len(pairs) > FEW:
            for group in _groups(pairs):
                group_of |= {id(p): group for p in group.pairs}
    out: dict[int, Problem | Group] = {}
    for p in problems:
        entry = group_of.get(id(p), p)
        out.setdefault(id(entry), entry)
    return list(out.values())


def _groups(pairs: Sequence[Problem]) -> Iterator[Group]:
    """The connected pieces of the pairs in which a policy is crowded."""
    ends = [(p, *sides(p)) for p in pairs]
    count: dict[Policy, int] = {}
    for _, a, b in ends:
        count[a] = count.get(a, 0) + 1
        count[b] = count.get(b, 0) + 1
    many = [(p, a, b) for p, a, b in ends if max(count[a], count[b]) > FEW]
    root: dict[Policy, Policy] = {}

    def find(x: Policy) -> Policy:
        while (up := root.setdefault(x, x)) != x:
            root[x] = x = root[up]
        return x

    for _, a, b in many:
        root[find(a)] = find(b)
    pieces: dict[Policy, list[Problem]] = {}
    for p, a, _ in many:
        pieces.setdefault(find(a), []).append(p)
    for piece in pieces.values():
        yield Group(tuple(sorted(piece, key=_plainness)))


def sides(problem: Problem) -> tuple[Policy, Policy]:
    """The two policies of a pair, in the order of their names in it."""
    places = [problem.place, *(r.place for r in problem.related)]
    one, two = (_identity(name, places) for name in problem.policies)
    return one, two


def _identity(name: str, places: Sequence[Place]) -> Policy:
    key = f"policy:{name}"
    return next(((p.file, p.decl) for p in places if p.decl == key or p.decl.startswith(f"{key}#")), ("", key))


def _plainness(problem: Problem) -> tuple[int, int, tuple[str, ...], str]:
    w = problem.witness
    return (len(w.path), len(w.attributes), w.path, problem.message) if w else (0, 0, (), problem.message)


# --- for a list -------------------------------------------------------------------------------------------------------


def aggregated(problems: Iterable[Problem]) -> list[Problem]:
    """The findings with each group as one, which names all its policies and the pairs with the shortest call paths."""
    return [_as_one(p) if isinstance(p, Group) else p for p in grouped(problems)]


def _as_one(group: Group) -> Problem:
    first, shown = group.pairs[0], group.pairs[:SHOWN]
    names, pairs = group.policies, len(group.pairs)
    count = _counts(group)
    most = max(count, key=lambda name: count[name])
    hub = f", {count[most]:,} of them with `{most}`" if len(names) > FEW and 2 * count[most] > pairs else ""
    what = _what(first, f"{len(names):,} policies")
    plainest = "; ".join(f"`{p.policies[0]}` and `{p.policies[1]}`{_on(p)}" for p in shown)
    message = f"{what} in {pairs:,} pairs{hub}: {plainest}; and {pairs - SHOWN:,} more, which `m4 check --all` lists"
    places = {first.place: ""}
    related = []
    for r in (r for p in shown for r in (Related(p.place, p.mirrored or "and this"), *p.related)):
        if r.place not in places:
            places[r.place] = r.message
            related.append(r)
    return replace(first, message=message, related=tuple(related), policies=names, fixes=(), mirrored="", pairs=pairs)


def _what(problem: Problem, policies: str) -> str:
    return RULES[problem.code].pairs.format(policies=policies, about=f"`{problem.about}`")


def _on(problem: Problem) -> str:
    return f" on {problem.witness}" if problem.witness is not None else ""


def _counts(group: Group) -> Mapping[str, int]:
    count: dict[str, int] = {}
    for p in group.pairs:
        for name in p.policies:
            count[name] = count.get(name, 0) + 1
    return count


# --- for an editor ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nearest:
    """What an editor says at one policy of a group. `pairs`: those of it with the shortest call paths."""

    place: Place
    message: str
    related: tuple[Related, ...]
    pairs: tuple[Problem, ...]


def at_policies(group: Group) -> Iterator[Nearest]:
    """A group as what it is to each of its policies: the nearest few, and how many more."""
    of: dict[Policy, list[tuple[str, str, Place, Related | None, Problem]]] = {}
    for p in group.pairs:
        here, there = p.place, p.related[0].place if p.related else None
        for own, name, other in zip(sides(p), p.policies, reversed(p.policies), strict=True):
            if own == (here.file, here.decl):
                back = p.related[0] if p.related else None
                of.setdefault(own, []).append((name, other, here, back, p))
            elif p.mirrored and there is not None and own == (there.file, there.decl):
                of.setdefault(own, []).append((name, other, there, Related(here, p.mirrored), p))
    for found in of.values():
        name, _, place, _, first = found[0]
        shown, more = found[:SHOWN], len(found) - SHOWN
        others = f"{len(found):,} other{'s' * (len(found) > 1)}"
        plainest = "; ".join(f"`{other}`{_on(p)}" for _, other, _, _, p in shown)
        rest = f"; and {more:,} more" if more > 0 else ""
        message = f"{_what(first, f'`{name}` and {others}')}: {plainest}{rest}"
        related = tuple(r for _, _, _, r, _ in shown if r is not None)
        yield Nearest(place, message, related, tuple(p for *_, p in shown))
