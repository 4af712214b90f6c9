"""`override-cycle`: `overrides` or `after` go round, so there is no order to follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from m4c.semantics.model import Policy
from m4c.semantics.problems import Problem, Related


def order_cycles(policies: Sequence[Policy]) -> Iterator[Problem]:
    """One finding for each set of policies that go round: a shortest cycle through the first of them in the text."""
    by_name = {p.name: p for p in policies}
    for clause in ("overrides", "after"):
        edges = [(p.name, q) for p in policies for q in getattr(p, clause)]
        for cycle in _cycles(list(by_name), edges):
            first = by_name[cycle[0]]
            around = " -> ".join(f"`{n}`" for n in (*cycle, cycle[0]))
            message = f"`{clause}` goes round: {around}. Remove one of them"
            related = tuple(Related(by_name[n].place, f"`{n}`") for n in cycle[1:])
            yield Problem("override-cycle", message, first.place, related, tuple(cycle), about=clause)


def _cycles(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    """For each strongly connected set a shortest cycle through its first name."""
    if not edges:
        return
    import networkx as nx  # slow to import, and rarely needed

    graph: nx.DiGraph[str] = nx.DiGraph(edges)
    order = {name: i for i, name in enumerate(names)}
    components = [sorted(c, key=order.__getitem__) for c in nx.strongly_connected_components(graph) if len(c) > 1]
    for component in sorted(components, key=lambda c: order[c[0]]):
        first = component[0]
        ways = [nx.shortest_path(graph, n, first) for n in graph.successors(first) if n in component]
        yield [first, *min(ways, key=len)[:-1]]
