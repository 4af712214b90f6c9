"""Path patterns, their product with the graph, and context classes, against matching and enumeration by brute force."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from m4c.paths.callpath import CallPath, alphabet, callees, hops, instances
from m4c.paths.classes import Classes, context_classes
from m4c.paths.machine import machine
from m4c.paths.masks import Letters, bits
from m4c.paths.pattern import accepts, compile_pattern
from m4c.paths.product import JointPaths, count_paths, matching_hops, some_paths
from m4c.paths.spread import Spread
from m4c.semantics.model import (
    AnyOne,
    Call,
    Graph,
    GroupOf,
    Labelled,
    Named,
    NotOne,
    OneOf,
    Pattern,
    Service,
    Step,
)

ANY = Step(AnyOne())
STAR = Step(AnyOne(), star=True)


def one(name: str, version: str | None = None) -> Step:
    return Step(Named(name, version))


def pattern(*steps: Step, outside: bool = False) -> Pattern:
    return Pattern(tuple(steps), outside)


def graph(calls: str, **services: dict) -> Graph:
    """`graph("A-B B-C", A={"entry": True})`"""
    pairs = [tuple(c.split("-")) for c in calls.split()]
    names = sorted({n for pair in pairs for n in pair} | set(services))
    return Graph({n: Service(n, **services.get(n, {})) for n in names}, tuple(Call(u, v) for u, v in sorted(pairs)))


def path(text: str, outside: bool = False) -> CallPath:
    steps = [tuple(s.split(":")) for s in text.split()]
    return CallPath(outside, tuple(s[0] for s in steps), tuple(s[1] if len(s) > 1 else None for s in steps))


# --- brute force ------------------------------------------------------------------------------------------------------


def one_matches(of, letter, g: Graph) -> bool:
    service, version = letter
    match of:
        case Named(name, None):
            return service == name
        case Named(name, v):
            return service == name and version == v
        case AnyOne():
            return True
        case Labelled(labels):
            return all(pair in g.services[service].labels for pair in labels)
        case GroupOf(_, members):
            return service in members
        case OneOf(parts):
            return any(one_matches(p, letter, g) for p in parts)
        case NotOne(part):
            return not one_matches(part, letter, g)
    raise AssertionError(of)


def matches(p: Pattern, at: CallPath, g: Graph) -> bool:
    """The definition, step by step, with backtracking."""

    def rest(steps, letters) -> bool:
        if not steps:
            return not letters
        step = steps[0]
        if step.star and rest(steps[1:], letters):
            return True
        if not letters or not one_matches(step.one, letters[0], g):
            return False
        return rest(steps if step.star else steps[1:], letters[1:])

    return at.has_hop and (at.outside or not p.outside) and rest(p.steps, at.letters)


def all_paths(g: Graph, longest: int) -> list[CallPath]:
    to = callees(g)
    out = []
    level = [
        CallPath(outside, (n,), (v,))
        for n, s in g.services.items()
        for outside, possible in ((False, s.origin), (True, s.entry))
        if possible
        for _, v in instances(s)
    ]
    for _ in range(longest):
        out += level
        level = [
            CallPath(p.outside, (*p.services, n), (*p.versions, v))
            for p in level
            for n in to[p.services[-1]]
            for _, v in instances(g.services[n])
        ]
    return [p for p in out if p.has_hop]


def order(p: CallPath) -> tuple:
    return (len(p.services), p.services, p.outside, [v or "" for v in p.versions])


names = st.sampled_from("ABCD")
simple = st.one_of(
    st.builds(Named, names),
    st.builds(Named, names, st.sampled_from(["v1", "v2"])),
    st.just(AnyOne()),
    st.just(Labelled((("kind", "store"),))),
    st.builds(GroupOf, st.just("g"), st.tuples(names, names)),
)
ones = st.one_of(
    simple, st.builds(NotOne, simple), st.builds(OneOf, st.lists(simple, min_size=1, max_size=2).map(tuple))
)
steps = st.one_of(st.just(STAR), st.just(STAR), st.builds(Step, ones, st.booleans()), st.builds(Step, ones))
patterns = st.builds(Pattern, st.lists(steps, min_size=1, max_size=4).map(tuple), st.booleans())


@st.composite
def graphs(draw) -> Graph:
    count = draw(st.integers(1, 4))
    services = {}
    for name in "ABCD"[:count]:
        services[name] = Service(
            name,
            versions=draw(st.sampled_from([(), (), ("v1", "v2"), ("v1", "v2", "v3")])),
            labels=draw(st.sampled_from([(), (("kind", "store"),)])),
            entry=draw(st.booleans()),
            origin=draw(st.sampled_from([True, True, False])),
        )
    pairs = sorted(draw(st.sets(st.tuples(st.sampled_from("ABCD"[:count]), st.sampled_from("ABCD"[:count])))))
    return Graph(services, tuple(Call(u, v) for u, v in pairs))


# --- patterns ---------------------------------------------------------------------------------------------------------


def test_the_page_s_examples():
    g = graph("A-B B-C C-D A-D D-F", A={"entry": True})
    through = compile_pattern(pattern(one("A"), STAR, one("D")), g)
    assert accepts(through, path("A D"))
    assert accepts(through, path("A B C D", outside=True))
    assert not accepts(through, path("B C D"))
    assert not accepts(through, path("A B C"))
    to_f = compile_pattern(pattern(STAR, one("F")), g)
    assert accepts(to_f, path("D F"))
    assert accepts(to_f, path("F", outside=True))
    assert not accepts(to_f, path("F")), "a service that has called nobody has no hop"
    from_outside = compile_pattern(pattern(STAR, one("D"), outside=True), g)
    assert accepts(from_outside, path("A B C D", outside=True))
    assert not accepts(from_outside, path("A B C D"))
    avoiding = compile_pattern(pattern(one("A"), Step(NotOne(Named("C")), star=True), one("D")), g)
    assert accepts(avoiding, path("A D"))
    assert not accepts(avoiding, path("A B C D"))


def test_unknown_services_match_nothing():
    g = graph("A-B")
    assert compile_pattern(pattern(one("A"), one("nobody")), g).empty
    assert compile_pattern(pattern(one("A", "v9")), g).empty
    assert matching_hops(compile_pattern(pattern(STAR, one("nobody")), g), g) == []


def test_equal_languages_have_equal_automata():
    g = graph("A-B B-C")
    twice = compile_pattern(pattern(STAR, STAR, ANY, one("C")), g)
    once = compile_pattern(pattern(ANY, STAR, one("C")), g)
    union = compile_pattern(pattern(ANY, STAR, Step(OneOf((Named("C"), Named("C"))))), g)
    assert twice == once == union
    assert hash(twice) == hash(once)
    assert once != compile_pattern(pattern(STAR, one("C")), g)


@given(graphs(), patterns)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_automaton_agrees_with_the_definition(g: Graph, p: Pattern):
    dfa = compile_pattern(p, g)
    letters = alphabet(g)[:4]
    for length in range(1, 5):
        for word in product(letters, repeat=length):
            for outside in (False, True):
                at = CallPath(outside, tuple(s for s, _ in word), tuple(v for _, v in word))
                assert accepts(dfa, at) == matches(p, at, g), at


# --- product ----------------------------------------------------------------------------------------------------------


def test_firings_come_with_shortest_paths():
    g = graph("A-B B-D A-C C-D", A={"entry": True})
    joint = JointPaths(
        g,
        [
            compile_pattern(pattern(STAR, one("D")), g),
            compile_pattern(pattern(one("A"), STAR, one("D")), g),
            compile_pattern(pattern(STAR, one("D"), outside=True), g),
        ],
    )
    assert list(joint.firings([0])) == [
        (frozenset({0}), path("B D")),
        (frozenset({0, 1}), path("A B D")),
        (frozenset({0, 1, 2}), path("A B D", outside=True)),
    ]
    assert [s for s, _ in joint.firings([2])] == [frozenset({0, 1, 2})]


def test_cycles_are_followed_as_often_as_needed():
    g = graph("A-B B-A B-C", C={"origin": False}, B={"origin": False})
    four = compile_pattern(pattern(one("A"), one("B"), one("A"), one("B"), one("C")), g)
    assert list(JointPaths(g, [four]).firings([0])) == [(frozenset({0}), path("A B A B C"))]
    assert count_paths(four, g) == 1
    every = compile_pattern(pattern(one("A"), STAR, one("C")), g)
    assert count_paths(every, g) is None
    assert some_paths(every, g, 2) == [path("A B C"), path("A B A B C")]


@given(graphs(), st.lists(patterns, min_size=1, max_size=3), st.data())
@settings(max_examples=150, derandomize=True, deadline=None)
def test_product_agrees_with_enumeration(g: Graph, ps: list[Pattern], data):
    dfas = [compile_pattern(p, g) for p in ps]
    must = data.draw(st.sets(st.sampled_from(range(len(ps)))))
    longest = 5
    expected: dict[tuple[frozenset[int], bool], CallPath] = {}  # by firing set, entry hops apart
    for at in sorted(all_paths(g, longest), key=order):
        firing = frozenset(i for i, p in enumerate(ps) if matches(p, at, g))
        if must <= firing:
            expected.setdefault((firing, at.hop[0] is None), at)
    found = list(JointPaths(g, dfas).firings(sorted(must)))
    assert len({(s, p.hop[0] is None) for s, p in found}) == len(found)
    assert [len(p.services) for _, p in found] == sorted(len(p.services) for _, p in found)
    assert {(s, p.hop[0] is None): p for s, p in found if len(p.services) <= longest} == expected


@given(graphs(), patterns)
@settings(max_examples=150, derandomize=True, deadline=None)
def test_hops_and_paths_of_one_pattern(g: Graph, p: Pattern):
    dfa = compile_pattern(p, g)
    longest = 5
    matched = [at for at in sorted(all_paths(g, longest), key=order) if matches(p, at, g)]
    first: dict = {}
    for at in matched:
        first.setdefault(at.hop, at)
    assert {h: at for h, at in matching_hops(dfa, g) if len(at.services) <= longest} == first

    distinct = list(dict.fromkeys((at.services, at.outside) for at in matched))
    listed = some_paths(dfa, g, 12)
    assert all(matches(p, at, g) for at in listed)
    short = [(at.services, at.outside) for at in listed if len(at.services) <= longest]
    assert short == distinct[: len(short)]
    assert len(short) == min(12, len(distinct))
    count = count_paths(dfa, g)
    if count is None:
        assert len(listed) == 12
    else:
        assert len(some_paths(dfa, g, count + 1)) == count >= len(distinct)


# --- context classes --------------------------------------------------------------------------------------------------


def classes_of(g: Graph, *ps: Pattern) -> Classes:
    """The classes that tell apart who fires on every hop."""
    letters = Letters(g)
    spread = Spread(letters, [machine(p, letters) for p in ps])
    hops = [(u, v) for u, to in callees(g).items() for v in to]
    labels = {hop: {s: spread.situation(s, hop[1]) for s in spread.before_hop(hop)} for hop in hops}
    return context_classes(spread, labels)


def test_a_pattern_of_one_hop_needs_no_context():
    g = graph("A-B B-C C-B", A={"entry": True})
    assert classes_of(g, pattern(STAR, one("B"), one("C"))).split == frozenset()


def test_where_a_chain_began_is_told_apart_on_the_way_only():
    g = graph("A-B X-B B-C C-D D-E", A={"entry": True})
    classes = classes_of(g, pattern(one("A"), STAR, one("D")))
    assert classes.split == {"B", "C"}
    assert classes.count("D") == classes.count("E") == 1, "nothing differs behind D"
    (of_b,) = classes.own("B")
    (at_a,), (at_x,) = (classes.spread.states_at(classes.spread.letters.service(n)) for n in "AX")
    assert classes.behind(("A", "B"), at_a).isdisjoint({of_b})
    assert classes.behind(("X", "B"), at_x) == {of_b}


@pytest.mark.parametrize("few", [0, 48])
@given(graphs(), st.lists(patterns, min_size=1, max_size=2))
@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_classes_are_those_that_some_continuation_tells_apart(monkeypatch, few: int, g: Graph, ps: list[Pattern]):
    """In both ways of finding them."""
    monkeypatch.setattr("m4c.paths.classes._FEW", few)
    dfas = [compile_pattern(p, g) for p in ps]
    joint = JointPaths(g, dfas)
    classes = classes_of(g, *ps)
    to = callees(g)

    def run(at: CallPath):
        return tuple(_after(dfa, at) for dfa in dfas)

    def _after(dfa, at: CallPath):
        state = dfa.first(at.outside)
        for letter in at.letters:
            state = dfa.step(state, letter)
        return state

    def behaviour(service: str, states, depth: int):
        """Everything that can be seen in the next `depth` hops."""
        return tuple(
            (v, version, joint.accepted(after := joint.step(states, (v, version))), behaviour(v, after, depth - 1))
            for v in to[service]
            for _, version in instances(g.services[v])
            if depth
        )

    starts = [CallPath(False, (n,), (v,)) for n, s in g.services.items() if s.origin for _, v in instances(s)]
    seen: dict[str, set] = {}
    for at in starts + all_paths(g, 4):
        seen.setdefault(at.services[-1], set()).add(behaviour(at.services[-1], run(at), 3))
    for service, behaviours in seen.items():
        assert classes.count(service) >= len(behaviours)
    small = all(len(dfa.delta) <= 3 for dfa in dfas) and len(g.services) <= 2
    if small:  # then depth 4 and 3 reach everything
        assert {s: len(b) for s, b in seen.items()} == {s: classes.count(s) for s in seen}


@given(graphs(), st.lists(patterns, min_size=1, max_size=2))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_sets_of_letters_say_what_single_paths_do(g: Graph, ps: list[Pattern]):
    """Two products with the graph, made apart from each other: hops, situations and a shortest path to each."""
    joint = JointPaths(g, [compile_pattern(p, g) for p in ps])
    letters = Letters(g)
    spread = Spread(letters, [machine(p, letters) for p in ps])
    expected = joint.situations()
    for hop in hops(g):
        found = {_by_version(g, hop, spread, s): spread.path(hop, of) for s, of in spread.situations(hop).items()}
        wanted = {_by_version(g, hop, joint, s): p for s, p in expected.get(hop, {}).items()}
        assert found == wanted, hop
    for p in ps:
        alone = Spread(letters, [machine(p, letters)])
        fires = {
            (letters.all_letters[u][0], letters.all_letters[v][0])
            for cell, from_, _ in alone.firing()
            for v in bits(cell)
            for u in bits(letters.before(1 << v) & from_)
        }
        fires |= {(None, name) for name in letters.names(alone.fires_at_entry())}
        assert fires == {hop for hop, _ in matching_hops(compile_pattern(p, g), g)}


def _by_version(g: Graph, hop, product_, situation):
    """A situation with every version spelled out."""
    if isinstance(product_, Spread):
        like = {v: product_.versions_like(hop[1], v) for v, _ in situation}
    else:
        like = {v: product_.versions_like((hop[1], v)) for v, _ in situation}
    return frozenset((v, accepting) for first, accepting in situation for v in like[first])


@given(graphs(), patterns, patterns)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_patterns_that_mean_the_same_have_one_automaton(g: Graph, p: Pattern, q: Pattern):
    letters = Letters(g)
    same = compile_pattern(p, g) == compile_pattern(q, g)
    assert (machine(p, letters) == machine(q, letters)) == same


def test_a_path_without_a_hop_has_none():
    with pytest.raises(ValueError, match="no hop"):
        _ = path("A").hop
    assert path("A", outside=True).hop == (None, "A")
    assert [str(p) for p in path("A B:v1", outside=True).prefixes()] == ["outside -> A", "outside -> A -> B:v1"]
