"""Random small programs for the law of the analyses: specs, graphs with cycles, patterns, conditions, marks."""

from __future__ import annotations

from functools import cache
from itertools import combinations

from hypothesis import strategies as st
from m4c.semantics.model import (
    ABSENT,
    TRUE,
    And,
    AnyOne,
    Atom,
    Attribute,
    AttrKey,
    Call,
    Cond,
    Default,
    Entity,
    Enum,
    Graph,
    If,
    Mesh,
    Named,
    Not,
    NotOne,
    One,
    OneOf,
    OpCall,
    Operation,
    Or,
    Pattern,
    Place,
    Policy,
    Program,
    Service,
    StateAtom,
    Step,
    Type,
    Value,
    Write,
    all_of,
    negate,
)

E = "Thing"
TEXT, WHOLE, FLAG = Type("string", optional=True), Type("int"), Type("bool")
VERDICT = Enum("Verdict", ("allow", "deny"), frozenset({"deny"}))
TEXTS, NUMBERS = ("a", "b"), (1, 2, 3)
FRESH = {"string": "fresh", "int": 9}  # values that no condition and no policy names


# Made once: Hypothesis looks at each new strategy before it draws from it, which takes longer than to draw.
BOOLEANS = st.booleans()
ONE_IN_THREE = st.sampled_from([False, False, True])
ONE_IN_FOUR = st.sampled_from([False, False, False, True])
ONE_IN_SEVEN = st.sampled_from([False] * 6 + [True])
SIDES = st.sampled_from([None, None, "egress"])
FEW = st.integers(1, 3)


def key(name: str, of: str | None = None) -> AttrKey:
    return AttrKey(E, name, of)


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Attribute]:
    """One attribute of each kind, with merges and defaults as the example has it."""
    ordered = draw(st.sampled_from(["min", "max", "sum", None]))
    return {
        a.name: a
        for a in (
            Attribute(E, "text", TEXT),
            Attribute(E, "field", TEXT, key=Type("istring")),
            Attribute(E, "number", WHOLE, merge=ordered, default=draw(st.sampled_from([None, 2]))),
            Attribute(E, "flag", FLAG, merge=draw(st.sampled_from(["and", "or", None]))),
            Attribute(E, "verdict", Type("Verdict"), default=draw(st.sampled_from(["allow", None]))),
            Attribute(E, "mark", FLAG, key=Type("string"), travels=True),
        )
    }


@st.composite
def graphs(draw: st.DrawFn, most: int = 4) -> Graph:
    names = "abcdef"[: draw(st.integers(2, most))]
    versioned = draw(st.sampled_from(["", "", *names]))  # one at most: every path counts once a version
    services = {
        n: Service(
            n,
            ("v1", "v2") if n == versioned else (),
            entry=draw(ONE_IN_THREE),
            origin=not draw(ONE_IN_THREE),
        )
        for n in names
    }
    pairs = [(u, v) for u in names for v in names]
    calls = draw(st.lists(st.sampled_from(pairs), min_size=1, max_size=7, unique=True))
    return Graph(services, tuple(Call(u, v) for u, v in sorted(calls)))


@cache
def ones(names: tuple[str, ...], versions: tuple[Named, ...]) -> st.SearchStrategy[One]:
    plain: st.SearchStrategy[One] = st.builds(Named, st.sampled_from(names))
    more = [st.just(AnyOne()), plain.map(NotOne), st.builds(lambda a, b: OneOf((a, b)), plain, plain)]
    return st.one_of(plain, plain, *more, *([st.sampled_from(versions)] if versions else []))


@st.composite
def patterns(draw: st.DrawFn, graph: Graph) -> Pattern:
    steps: list[Step] = []
    versions = tuple(Named(s.name, v) for s in graph.services.values() for v in s.versions)
    one = ones(tuple(sorted(graph.services)), versions)
    for _ in range(draw(FEW)):
        if draw(ONE_IN_THREE):
            steps.append(Step(AnyOne(), True))
        steps.append(Step(draw(one), draw(ONE_IN_SEVEN)))
    return Pattern(tuple(steps), draw(ONE_IN_FOUR))


# What conditions can be about; a program's are about two of these, so that all inputs can be tried.
KINDS: dict[str, st.SearchStrategy[Atom]] = {
    "text": st.one_of(
        st.builds(lambda v: Atom(key("text"), "==", v), st.sampled_from(TEXTS)),
        st.just(Atom(key("text"), "exists", True)),
    ),
    "field": st.builds(lambda v: Atom(key("field", "x"), "==", v), st.sampled_from(TEXTS)),
    "number": st.builds(
        lambda op, v: Atom(key("number"), op, v), st.sampled_from(["==", "<"]), st.sampled_from(NUMBERS)
    ),
    "flag": st.just(Atom(key("flag"), "==", True)),
    "mark": st.builds(lambda m: Atom(key("mark", m), "==", True), st.sampled_from(["m", "n"])),
}
PAIRS = st.sampled_from(list(combinations(KINDS, 2)))


@cache
def conditions(kinds: tuple[str, ...]) -> st.SearchStrategy[Cond]:
    atoms = st.one_of([KINDS[k] for k in kinds])
    literals = st.one_of(atoms, atoms.map(Not))
    return st.one_of(
        st.just(TRUE),
        st.just(TRUE),
        literals,
        st.builds(lambda a, b: And((a, b)), literals, literals),
        st.builds(lambda a, b: Or((a, b)), literals, literals),
    )


WRITTEN: st.SearchStrategy[Value] = st.sampled_from([*TEXTS, ABSENT])
WRITES = st.lists(
    st.one_of(
        st.builds(lambda v: Write(key("text"), v), WRITTEN),
        st.builds(lambda v: Write(key("field", "x"), v), WRITTEN),
        st.builds(lambda v: Write(key("number"), v), st.sampled_from(NUMBERS)),
        st.builds(lambda v: Write(key("flag"), v), st.booleans()),
        st.builds(lambda v: Write(key("verdict"), v), st.sampled_from(VERDICT.values)),
        st.builds(lambda m, v: Write(key("mark", m), v), st.sampled_from(["m", "n"]), st.booleans()),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda w: w.attr,
).map(tuple)


@st.composite
def policies(draw: st.DrawFn, number: int, graph: Graph, kinds: tuple[str, ...], stateful: bool) -> Policy:
    name = f"p{number}"
    place = Place("test.m4", f"policy:{name}", 0, 1)
    side = draw(SIDES)
    calls: list[OpCall] = []
    ifs: list[If] = []

    def call(guard: Cond) -> OpCall:
        made = draw(WRITES)
        return OpCall(len(calls), E, "op", (), guard, made, side, place)

    when = draw(conditions(kinds))
    if stateful and draw(ONE_IN_THREE):
        when = all_of(
            when, draw(st.sampled_from([StateAtom("s", "Ask", name, 0), Not(StateAtom("s", "Ask", name, 0))]))
        )
    calls.append(call(TRUE))
    if draw(ONE_IN_THREE):
        cond = draw(conditions(kinds))
        ifs.append(If(cond, TRUE, Place("test.m4", f"policy:{name}", 2, 3)))
        calls.append(call(cond))
        if draw(BOOLEANS):
            calls.append(call(negate(cond)))
    before = [f"p{i}" for i in range(number)]
    over = draw(st.lists(st.sampled_from(before), max_size=1)) if before else []
    after = draw(st.lists(st.sampled_from(before), max_size=1)) if before else []
    when_place = None if when == TRUE else Place("test.m4", f"policy:{name}", 4, 5)
    return Policy(
        name,
        E,
        "r",
        draw(patterns(graph)),
        when,
        tuple(calls),
        place,
        place,
        when_place,
        side,
        tuple(over),
        tuple(after),
        ifs=tuple(ifs),
    )


@st.composite
def programs(draw: st.DrawFn, most_services: int = 6, most_policies: int = 4, stateful: bool = False) -> Program:
    """A mesh of a few policies; orders point from later policies to earlier ones, so none goes round."""
    graph = draw(graphs(most_services))
    attributes = draw(schemas())
    kinds = draw(PAIRS)
    made = tuple(draw(policies(i, graph, kinds, stateful)) for i in range(draw(st.integers(1, most_policies))))
    defaults: list[Default] = []
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
        attr, value = draw(
            st.sampled_from(
                [
                    (key("verdict"), "deny"),
                    (key("number"), 3),
                    (key("number"), 1),
                    (key("mark", "m"), True),
                    (key("field", "x"), ABSENT),
                ]
            )
        )
        defaults.append(Default(attr, value, draw(patterns(graph)), Place("test.m4", "mesh:w", 0, 1)))
    return Program(
        Mesh("w", None, (), defaults=tuple(defaults)),
        graph,
        {"Verdict": VERDICT},
        {E: Entity(E, attributes=attributes, operations={"op": Operation(E, "op")})},
        {},
        made,
    )
