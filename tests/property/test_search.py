"""Call paths by sets of letters against call paths one by one."""

from __future__ import annotations

from random import Random

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from m4c.paths import masks
from m4c.paths.masks import Letters, bits
from m4c.paths.pattern import compile_pattern
from m4c.paths.product import JointPaths
from m4c.paths.search import Search, Tag
from m4c.semantics.model import (
    AnyOne,
    Call,
    Graph,
    GroupOf,
    Labelled,
    Named,
    NotOne,
    One,
    OneOf,
    Pattern,
    Service,
    Step,
)

from tests.property.budget import many

NAMES = "abcdef"


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = NAMES[: draw(st.integers(1, 6))]
    services = {
        name: Service(
            name,
            versions=tuple(sorted(draw(st.sets(st.sampled_from(("v1", "v2")))))),
            labels=(("kind", "x"),) if draw(st.booleans()) else (),
            entry=draw(st.booleans()),
            origin=draw(st.booleans()),
        )
        for name in names
    }
    every = [(a, b) for a in names for b in names]
    calls = draw(st.lists(st.sampled_from(every), unique=True, max_size=len(every) // 2))
    return Graph(services, tuple(Call(a, b) for a, b in sorted(calls)))


NAMED = st.builds(Named, st.sampled_from((*NAMES, "nobody")), st.sampled_from((None, None, "v1")))
GROUPS = st.lists(st.sampled_from((*NAMES, "nobody")), max_size=3).map(lambda m: GroupOf("g", tuple(m)))
PLAIN: st.SearchStrategy[One] = st.one_of(NAMED, NAMED, st.just(AnyOne()), st.just(Labelled((("kind", "x"),))), GROUPS)
ONES = st.one_of(PLAIN, PLAIN.map(NotOne), st.lists(PLAIN, min_size=1, max_size=2).map(lambda p: OneOf(tuple(p))))
STEPS = st.lists(st.builds(Step, ONES, st.booleans()), min_size=1, max_size=4)
PATTERNS = st.builds(Pattern, STEPS.map(tuple), st.booleans())
SEVERAL = st.lists(PATTERNS, min_size=1, max_size=4)


def joint(graph: Graph, patterns: list[Pattern]) -> JointPaths:
    return JointPaths(graph, [compile_pattern(p, graph) for p in patterns])


@pytest.mark.parametrize("few", [64, 0], ids=["letter by letter", "all calls at once"])
@given(graphs(), SEVERAL)
@many(300)
def test_patterns_meet_where_they_accept_together(few: int, graph: Graph, patterns: list[Pattern]):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masks, "_FEW", few)
        patch.setattr(masks, "_MANY", few)
        _meet_where_they_accept_together(graph, patterns)


def _meet_where_they_accept_together(graph: Graph, patterns: list[Pattern]):
    paths, letters = joint(graph, patterns), Letters(graph)
    everyone = frozenset(range(len(patterns)))
    expected = {
        (arrival.letter[0], version)
        for arrival in paths.arrivals(everyone)
        if arrival.has_hop and paths.accepted(arrival.states) == everyone
        for version in paths.versions_like(arrival.letter)
    }
    assert {letters.all_letters[i] for i in bits(letters.meeting(patterns))} == expected


@given(st.integers(0, 2**32), st.integers(1, 600), st.integers(1, 300))
@many(20)
def test_what_large_sets_lead_to(seed: int, size: int, some: int):
    """One way and the other, over one hop and over any number, against a library's graphs."""
    random = Random(seed)
    names = [f"s{i:03}" for i in range(size)]
    services = {n: Service(n, versions=("v1", "v2")[: random.randrange(3)]) for n in names}
    calls = {(random.choice(names), random.choice(names)) for _ in range(2 * size)}
    letters = Letters(Graph(services, tuple(Call(a, b) for a, b in sorted(calls))))
    digraph = networkx.DiGraph([((a, v), (b, w)) for a, b in calls for v in _of(services, a) for w in _of(services, b)])
    digraph.add_nodes_from(letters.all_letters)
    chosen = set(random.sample(letters.all_letters, min(some, len(letters.all_letters))))
    mask = sum(1 << i for i, letter in enumerate(letters.all_letters) if letter in chosen)
    behind = {b for a in chosen for s in digraph.successors(a) for b in (s, *networkx.descendants(digraph, s))}
    ahead = {b for a in chosen for p in digraph.predecessors(a) for b in (p, *networkx.ancestors(digraph, p))}
    for found, expected in (
        (letters.after(mask), {b for a in chosen for b in digraph.successors(a)}),
        (letters.before(mask), {b for a in chosen for b in digraph.predecessors(a)}),
        (letters.behind(mask), behind),
        (letters.ahead(mask), ahead),
    ):
        assert {letters.all_letters[i] for i in bits(found)} == expected


def _of(services: dict[str, Service], name: str) -> tuple[str | None, ...]:
    return services[name].versions or (None,)


@given(graphs(), SEVERAL, st.data())
@many(300)
def test_firings_are_those_of_single_paths(graph: Graph, patterns: list[Pattern], data: st.DataObject):
    must = range(data.draw(st.integers(0, len(patterns))))
    expected = [(f, p.hop[0] is None, p) for f, p in joint(graph, patterns).firings(must)]
    found = [(f.accepted, f.entry, f.path) for f in Search(Letters(graph), patterns).firings(must)]
    assert found == expected


def _onward(accepted: frozenset[int], entry: bool, first: Tag) -> tuple[Tag, ...]:
    return (None, (accepted, entry)) if first is None and 0 in accepted else (first,)


@given(graphs(), st.lists(PATTERNS, min_size=2, max_size=3))
@many(300)
def test_one_fires_on_a_later_hop_than_another(graph: Graph, patterns: list[Pattern]):
    """What is found on a later hop, and how long its path is, against all paths up to a length."""
    paths = joint(graph, patterns)
    found = {
        (f.tag, f.accepted): f
        for f in Search(Letters(graph), patterns).found(
            frozenset((1,)),
            _onward,
            counts=lambda accepted, first: first is not None and 1 in accepted,
            dead=lambda reading, first: first is None and not reading[0],
        )
    }
    shortest: dict[tuple[Tag, frozenset[int]], int] = {}
    # For each path by its end: what is read, and what fired on the earlier hops with the first pattern.
    level = {
        (x, paths.first(x, outside), outside, frozenset[Tag]())
        for name, service in graph.services.items()
        for x in paths.letters(name)
        for outside, possible in ((False, service.origin), (True, service.entry))
        if possible
    }
    for length in range(1, 6):
        following = set()
        for letter, states, hop, tags in level:
            accepted = paths.accepted(states)
            after = tags
            if hop:
                for tag in tags if 1 in accepted else ():
                    shortest.setdefault((tag, accepted), length)
                after = tags | ({(accepted, length == 1)} if 0 in accepted else set())
            for callee in graph.callees(letter[0]):
                for x in paths.letters(callee):
                    following.add((x, paths.step(states, x), True, after))
        level = following
    for key, length in shortest.items():
        assert len(found[key].path.services) == length
        before = found[key].before.path
        assert before.services == found[key].path.services[: len(before.services)]
        assert before.has_hop
        assert len(before.services) < length
    for key, way in found.items():
        assert key in shortest or len(way.path.services) > 5
