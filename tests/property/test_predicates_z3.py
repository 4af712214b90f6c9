"""Conditions against z3, which decides strings in a way of its own: both say whether some value satisfies a condition.

What z3 gives up on within its time is left out, and counted: a test that left out much would prove little.
"""

from __future__ import annotations

from functools import reduce

import z3
from budget import many
from hypothesis import given
from hypothesis import strategies as st
from m4c.predicates import holds, satisfy
from m4c.semantics.model import And, Atom, Attribute, AttrKey, Cond, Const, Not, Or, Type

SETTINGS = many(250)
MILLISECONDS = 4_000  # for one question to z3

E = "Request"
TEXT, MAYBE, SIZE, WAIT, FLAG = (AttrKey(E, name) for name in ("text", "maybe", "size", "wait", "flag"))
ATTRIBUTES = {
    "text": Attribute(E, "text", Type("string")),
    "maybe": Attribute(E, "maybe", Type("string", optional=True)),
    "size": Attribute(E, "size", Type("int")),
    "wait": Attribute(E, "wait", Type("duration")),
    "flag": Attribute(E, "flag", Type("bool")),
}
LIMITS = {SIZE: (-(2**63), 2**63 - 1), WAIT: (0, 2**63 - 1)}


def schema(attr: AttrKey) -> Attribute:
    return ATTRIBUTES[attr.attribute]


# --- regular expressions, as M4 writes them and as z3 has them --------------------------------------------------------

Both = tuple[str, z3.ReRef]


def sequence(parts: list[Both]) -> Both:
    return "".join(p for p, _ in parts), z3.Concat(*(r for _, r in parts)) if len(parts) > 1 else parts[0][1]


def either(parts: list[Both]) -> Both:
    return f"(?:{'|'.join(p for p, _ in parts)})", z3.Union(*(r for _, r in parts)) if len(parts) > 1 else parts[0][1]


LEAVES: st.SearchStrategy[Both] = st.one_of(
    st.sampled_from("abc").map(lambda c: (c, z3.Re(c))),
    st.just(("[ab]", z3.Range("a", "b"))),
    st.just((r"\d", z3.Range("0", "9"))),
)
REGEXES: st.SearchStrategy[Both] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(sequence),
        st.lists(inner, min_size=2, max_size=3).map(either),
        inner.map(lambda b: (f"(?:{b[0]})*", z3.Star(b[1]))),
        inner.map(lambda b: (f"(?:{b[0]})?", z3.Option(b[1]))),
        inner.map(lambda b: (f"(?:{b[0]}){{1,2}}", z3.Loop(b[1], 1, 2))),
    ),
    max_leaves=4,
)

# --- conditions -------------------------------------------------------------------------------------------------------

Pair = tuple[Cond, z3.BoolRef]  # a condition and what it is for z3
PRESENT = z3.Bool("present")
STRINGS = {TEXT: z3.String("text"), MAYBE: z3.String("maybe")}
NUMBERS = {SIZE: z3.Int("size"), WAIT: z3.Int("wait")}
WORDS = st.text("abc", max_size=3)


def there(attr: AttrKey, of: z3.BoolRef) -> z3.BoolRef:
    """A comparison with an absent value is false."""
    return z3.And(PRESENT, of) if attr == MAYBE else of


def text_atoms(attr: AttrKey) -> st.SearchStrategy[Pair]:
    x = STRINGS[attr]

    def make(op: str, word: str) -> Pair:
        value = z3.StringVal(word)
        meaning = {
            "==": x == value,
            "starts_with": z3.PrefixOf(value, x),
            "ends_with": z3.SuffixOf(value, x),
            "contains": z3.Contains(x, value),
        }
        return Atom(attr, op, word), there(attr, meaning[op])

    def listed(some: list[str]) -> Pair:
        members = tuple(sorted(set(some)))
        return Atom(attr, "in", members), there(attr, z3.Or(*(x == z3.StringVal(w) for w in members)))

    def matches(both: Both) -> Pair:
        return Atom(attr, "matches", both[0]), there(attr, z3.InRe(x, both[1]))

    plain = st.builds(make, st.sampled_from(["==", "starts_with", "ends_with", "contains"]), WORDS)
    kinds = [plain, st.lists(WORDS, min_size=1, max_size=3).map(listed), REGEXES.map(matches)]
    if attr == MAYBE:
        kinds.append(st.just((Atom(attr, "exists", True), PRESENT)))
    return st.one_of(kinds)


def number_atoms(attr: AttrKey) -> st.SearchStrategy[Pair]:
    x = NUMBERS[attr]

    def make(op: str, n: int) -> Pair:
        return Atom(attr, op, n), {"==": x == n, "<": x < n, "<=": x <= n, ">": x > n, ">=": x >= n}[op]

    low, high = LIMITS[attr]
    numbers = st.one_of(st.integers(max(low, -3), 3), st.sampled_from([low, high]))
    return st.builds(make, st.sampled_from(["==", "<", "<=", ">", ">="]), numbers)


FLAGS: st.SearchStrategy[Pair] = st.just((Atom(FLAG, "==", True), z3.Bool("flag")))
ATOMS = st.one_of(text_atoms(TEXT), text_atoms(TEXT), text_atoms(MAYBE), number_atoms(SIZE), number_atoms(WAIT), FLAGS)


def all_of(parts: list[Pair]) -> Pair:
    return And(tuple(c for c, _ in parts)), z3.And(*(f for _, f in parts))


def any_of(parts: list[Pair]) -> Pair:
    return Or(tuple(c for c, _ in parts)), z3.Or(*(f for _, f in parts))


CONDITIONS: st.SearchStrategy[Pair] = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        inner.map(lambda p: (Not(p[0]), z3.Not(p[1]))),
        st.lists(inner, min_size=2, max_size=4).map(all_of),
        st.lists(inner, min_size=2, max_size=3).map(any_of),
    ),
    max_leaves=8,
)

ASKED = {"all": 0, "unknown": 0}


def ask(formula: z3.BoolRef) -> bool | None:
    """What z3 says; None if it does not know."""
    solver = z3.Solver()
    solver.set("timeout", MILLISECONDS)
    for attr, (low, high) in LIMITS.items():
        solver.add(low <= NUMBERS[attr], NUMBERS[attr] <= high)
    # Of a field's value only visible ASCII is of interest: the two have different ideas of all characters.
    visible = z3.Star(z3.Range("!", "~"))
    solver.add(*(z3.InRe(x, visible) for x in STRINGS.values()))
    solver.add(formula)
    answer = solver.check()
    ASKED["all"] += 1
    ASKED["unknown"] += answer == z3.unknown
    return None if answer == z3.unknown else bool(answer == z3.sat)


@given(CONDITIONS)
@SETTINGS
def test_both_say_whether_a_condition_can_hold(pair: Pair) -> None:
    cond, formula = pair
    found = satisfy(cond, schema, {})
    expected = ask(formula)
    if found is not None:
        assert holds(cond, found.attributes, found.states, schema)
    if expected is not None:
        assert (found is not None) == expected


@given(st.lists(CONDITIONS, min_size=2, max_size=2))
@SETTINGS
def test_both_say_whether_one_condition_implies_another(pairs: list[Pair]) -> None:
    (one, first), (other, second) = pairs
    found = satisfy(And((one, Not(other))), schema, {})
    expected = ask(z3.And(first, z3.Not(second)))
    if expected is not None:
        assert (found is not None) == expected


def test_z3_knew_nearly_always() -> None:
    """Runs after the two above, whose questions it counts."""
    assert ASKED["all"] > 100
    assert ASKED["unknown"] * 20 < ASKED["all"], ASKED


def test_a_condition_that_only_one_string_satisfies() -> None:
    """The comparison by itself: strings of which both must find the very one."""
    parts: list[Pair] = [
        (Atom(TEXT, "starts_with", "ab"), z3.PrefixOf(z3.StringVal("ab"), STRINGS[TEXT])),
        (Atom(TEXT, "ends_with", "bc"), z3.SuffixOf(z3.StringVal("bc"), STRINGS[TEXT])),
        (Not(Atom(TEXT, "contains", "bb")), z3.Not(z3.Contains(STRINGS[TEXT], z3.StringVal("bb")))),
        (Atom(TEXT, "matches", "[abc]{1,3}"), z3.InRe(STRINGS[TEXT], z3.Loop(z3.Range("a", "c"), 1, 3))),
    ]
    cond, formula = reduce(lambda p, q: all_of([p, q]), parts)
    found = satisfy(cond, schema, {})
    assert found is not None
    assert found.attributes == {TEXT: "abc"}
    assert ask(formula) is True
    assert ask(z3.And(formula, STRINGS[TEXT] != z3.StringVal("abc"))) is False
    assert satisfy(Const(False), schema, {}) is None
