"""Call paths by sets of letters against call paths one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
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


@given(graphs(), SEVERAL)
@many(300)
def test_patterns_meet_where_they_accept_together(graph: Graph, patterns: list[Pattern]):
    paths, letters = joint(graph, patterns), Letters(graph)
    everyone = frozenset(range(len(patterns)))
    expected = {
        (arrival.letter[0], version)
        for arrival in paths.arrivals(everyone)
        if arrival.has_hop and paths.accepted(arrival.states) == everyone
        for version in paths.versions_like(arrival.letter)
    }
    assert {letters.all_letters[i] for i in bits(letters.meeting(patterns))} == expected


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
