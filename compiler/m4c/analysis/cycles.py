"""`override-cycle`: `overrides` or `after` go round, so there is no order to follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from m4c.semantics.model import Policy
from m4c.semantics.problems import Problem, Related


def order_cycles(policies: Sequence[Policy]) -> Iterator[Problem]:
    """One finding for each cycle found, at its first policy in the text."""
    for clause in ("overrides", "after"):
        edges = {p.name: tuple(getattr(p, clause)) for p in policies}
        by_name = {p.name: p for p in policies}
        said: set[str] = set()
        for policy in policies:
            cycle = _cycle(policy.name, edges)
            if cycle and not said & set(cycle):
                said.update(cycle)
                round_ = " -> ".join(f"`{n}`" for n in (*cycle, cycle[0]))
                message = f"`{clause}` goes round: {round_}. Take one of them out"
                related = tuple(Related(by_name[n].place, f"`{n}`") for n in cycle[1:])
                yield Problem("override-cycle", message, policy.place, related, tuple(cycle))


def _cycle(start: str, edges: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A shortest cycle through `start`, empty if there is none."""
    before: dict[str, str] = {}
    queue = [start]
    for name in queue:
        for target in edges.get(name, ()):
            if target == start:
                path = [name]
                while path[-1] != start:
                    path.append(before[path[-1]])
                return path[::-1]
            if target in edges and target not in before:
                before[target] = name
                queue.append(target)
    return []
