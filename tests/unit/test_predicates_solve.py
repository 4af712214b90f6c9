"""Satisfiability of conditions and their witnesses, an operator, a type and a kind of formula at a time."""

from __future__ import annotations

import pytest
from m4c.predicates import (
    ABSENT,
    Assignment,
    RegexError,
    Solver,
    TooComplex,
    equivalent,
    holds,
    implies,
    overlaps,
    satisfiable,
    satisfy,
)
from m4c.semantics.model import (
    FALSE,
    TRUE,
    And,
    Atom,
    Attribute,
    AttrKey,
    Cond,
    Enum,
    Not,
    Or,
    StateAtom,
    Type,
    Value,
)

E = "Request"
ATTRIBUTES = {
    attribute.name: attribute
    for attribute in (
        Attribute(E, "method", Type("string", domain="[A-Z]+")),
        Attribute(E, "target", Type("string")),
        Attribute(E, "url_path", Type("string"), derived=("target", "?")),
        Attribute(E, "segment", Type("string"), derived=("url_path", "//")),
        Attribute(E, "header", Type("string", optional=True), key=Type("istring")),
        Attribute(E, "host", Type("istring", domain="[A-Z.]*", excluded=("Bad",))),
        Attribute(E, "site", Type("string"), derived=("host", ".")),
        Attribute(E, "status", Type("int"), default=403),
        Attribute(E, "code", Type("int")),
        Attribute(E, "timeout", Type("duration", optional=True)),
        Attribute(E, "share", Type("percent")),
        Attribute(E, "mark", Type("bool"), key=Type("string")),
        Attribute(E, "flag", Type("bool", optional=True)),
        Attribute(E, "verdict", Type("Verdict"), default="allow"),
        Attribute(E, "zone", Type("string", optional=True, domain="z[0-9]"), default="z7"),
        Attribute(E, "never", Type("string", domain="a$b")),
        Attribute(E, "route", Type("map", (Type("version"), Type("percent")))),
        Attribute(E, "tags", Type("set", (Type("string"),))),
        Attribute(E, "verdicts", Type("set", (Type("Verdict"),), optional=True)),
        Attribute(E, "rate", Type("rate")),
        Attribute(E, "version", Type("version")),
    )
}
ENUMS = {"Verdict": Enum("Verdict", ("allow", "deny", "limit"))}


def schema(attr: AttrKey) -> Attribute:
    return ATTRIBUTES[attr.attribute]


def key(name: str) -> AttrKey:
    """`header:x` is the header x."""
    attribute, _, part = name.partition(":")
    return AttrKey(E, attribute, part or None)


def atom(name: str, op: str, value: Value = True) -> Atom:
    return Atom(key(name), op, value)


def no(name: str, op: str, value: Value = True) -> Not:
    return Not(atom(name, op, value))


def both(*conds: Cond) -> And:
    return And(conds)


def either(*conds: Cond) -> Or:
    return Or(conds)


def state(number: int) -> StateAtom:
    return StateAtom("limiter", "Take", "p", number)


def witness(cond: Cond, **prefer: Value) -> dict[str, Value] | None:
    """The witness's attributes by name, after `holds` has agreed with it."""
    found = satisfy(cond, schema, ENUMS, {key(name): value for name, value in prefer.items()})
    assert (found is not None) == satisfiable(schema, ENUMS, cond)
    if found is None:
        return None
    assert holds(cond, found.attributes, found.states, schema)
    return {a.attribute if a.key is None else f"{a.attribute}:{a.key}": v for a, v in found.attributes.items()}


def unsat(*conds: Cond) -> bool:
    return witness(And(conds)) is None


# --- strings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conds", "expected"),
    [
        ([atom("target", "==", "/x")], "/x"),
        ([no("target", "==", "/x")], ""),
        ([no("target", "==", "")], "a"),
        ([atom("target", "in", ("/long", "/b", "/a"))], "/a"),
        ([no("target", "in", ("", "a", "b"))], "c"),
        ([no("target", "in", ("", *"abcdefghijklmnopqrstuvwxyz"))], "0"),
        ([atom("target", "starts_with", "/a"), atom("target", "starts_with", "/abc")], "/abc"),
        ([no("target", "starts_with", "")], None),
        ([no("target", "starts_with", "a"), no("target", "==", "")], "b"),
        ([atom("target", "ends_with", ".png"), atom("target", "ends_with", "g")], ".png"),
        ([no("target", "ends_with", "b"), atom("target", "starts_with", "ab")], "aba"),
        ([atom("target", "contains", "needle")], "needle"),
        ([atom("target", "contains", "ab"), atom("target", "contains", "ba")], "aba"),
        ([no("target", "contains", "a"), no("target", "==", "")], "b"),
        ([atom("target", "matches", "a{2,4}|b")], "b"),
        ([no("target", "matches", "a*"), no("target", "contains", "b")], "c"),
        ([atom("target", "exists")], ""),
        ([no("target", "exists")], None),
        # several at once
        ([atom("target", "starts_with", "aba"), atom("target", "ends_with", "bab")], "abab"),
        ([atom("target", "starts_with", "ab"), atom("target", "ends_with", "ab"), no("target", "==", "ab")], "abab"),
        ([atom("target", "starts_with", "x"), no("target", "matches", "x*")], "xa"),
        ([atom("target", "matches", "[0-9]+"), no("target", "starts_with", "0")], "1"),
        ([atom("target", "matches", ".*z.*z"), atom("target", "matches", "(...)+")], "azz"),
        ([atom("target", "matches", "[^ -~]+")], "\u00a1"),
        ([atom("target", "matches", "(?i)GET|POST")], "get"),
        # impossible
        ([atom("target", "==", "a"), atom("target", "==", "b")], None),
        ([atom("target", "==", "a"), no("target", "exists")], None),
        ([atom("target", "in", ("a", "b")), no("target", "in", ("a", "b", "c"))], None),
        ([atom("target", "starts_with", "a"), atom("target", "starts_with", "b")], None),
        ([atom("target", "starts_with", "abc"), no("target", "starts_with", "ab")], None),
        ([atom("target", "ends_with", "abc"), no("target", "ends_with", "bc")], None),
        ([atom("target", "contains", "abc"), no("target", "contains", "b")], None),
        ([atom("target", "starts_with", "ab"), no("target", "contains", "a")], None),
        ([atom("target", "matches", "a+"), atom("target", "matches", "b+")], None),
        ([atom("target", "matches", "a+"), no("target", "starts_with", "a")], None),
        ([no("target", "matches", "(?s).*")], None),
        # NUL, CR and LF are in no value
        ([atom("target", "==", "a\nb")], None),
        ([atom("target", "contains", "\r")], None),
        ([atom("target", "matches", r"a\x00b")], None),
        ([no("target", "matches", ".*")], None),
    ],
)
def test_string(conds: list[Cond], expected: str | None) -> None:
    assert witness(And(tuple(conds))) == (None if expected is None else {"target": expected})


def test_domain_bounds_a_string() -> None:
    assert witness(atom("method", "exists")) == {"method": "A"}
    assert witness(no("method", "==", "A")) == {"method": "B"}
    assert witness(atom("method", "==", "get")) is None
    assert witness(atom("method", "starts_with", "x")) is None
    assert witness(no("method", "matches", "[A-Z]")) == {"method": "AA"}
    assert witness(no("never", "==", "x")) is None  # no value at all


# --- derived attributes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("conds", "expected"),
    [
        ([atom("url_path", "==", "/a")], "/a"),
        ([atom("url_path", "==", "/a"), no("target", "==", "/a")], "/a?"),
        ([atom("url_path", "==", "/a"), atom("target", "ends_with", "id=7")], "/a?id=7"),
        ([atom("url_path", "==", "/a"), atom("target", "starts_with", "/a/b")], None),
        ([atom("url_path", "==", "a?b")], None),
        ([atom("url_path", "contains", "?")], None),
        ([atom("url_path", "matches", ".*[?].*")], None),
        ([no("url_path", "exists")], None),
        ([atom("url_path", "==", ""), no("target", "==", "")], "?"),
        ([atom("url_path", "ends_with", ".png"), atom("target", "contains", "id=7")], "id=7.png"),
        ([atom("url_path", "ends_with", ".png"), no("target", "ends_with", "g")], ".png?"),
        ([atom("url_path", "in", ("/x", "/y")), no("url_path", "==", "/x")], "/y"),
        ([atom("url_path", "starts_with", "/a"), no("url_path", "starts_with", "/")], None),
        ([atom("url_path", "starts_with", "/a"), no("target", "starts_with", "/")], None),
        ([no("url_path", "matches", "(/[a-z]+)+"), atom("target", "starts_with", "/a")], "/a0"),
        ([atom("target", "==", "/p?q=1"), atom("url_path", "==", "/p")], "/p?q=1"),
        ([atom("target", "==", "/p?q=1"), atom("url_path", "contains", "q")], None),
        # a derived attribute of a derived one, cut at more than one character
        ([atom("segment", "==", "/a"), no("url_path", "==", "/a")], "/a//"),
        ([atom("segment", "==", "/"), atom("url_path", "ends_with", "/"), no("url_path", "==", "/")], None),
        ([atom("segment", "==", "a"), atom("url_path", "matches", "a//[0-9]"), no("target", "==", "a//0")], "a//1"),
        ([atom("segment", "ends_with", "/"), no("target", "==", "/")], "a/"),
    ],
)
def test_derived(conds: list[Cond], expected: str | None) -> None:
    assert witness(And(tuple(conds))) == (None if expected is None else {"target": expected})


def test_a_source_cut_before_the_first_slash_pair() -> None:
    # "///" is cut before its first two slashes, so that nothing is left: the automaton must not look one further.
    assert witness(both(atom("segment", "==", "/"), atom("target", "starts_with", "///"))) is None
    assert witness(both(atom("segment", "==", ""), atom("target", "starts_with", "///"))) == {"target": "///"}


# --- istring ----------------------------------------------------------------------------------------------------------


def test_istring_ignores_ascii_case() -> None:
    assert witness(atom("host", "==", "Shop.EXAMPLE")) == {"host": "shop.example"}
    assert unsat(atom("host", "==", "SHOP"), no("host", "==", "shop"))
    assert unsat(atom("host", "starts_with", "Sh"), no("host", "contains", "H"))
    assert unsat(atom("host", "in", ("A", "B")), no("host", "matches", "a|b"))
    assert unsat(atom("host", "==", "É"))  # its domain is ASCII, and É is not é
    assert witness(no("host", "matches", "A?")) == {"host": "b"}
    assert holds(atom("host", "ends_with", ".Com"), {key("host"): "x.cOM"}, {}, schema)
    assert holds(atom("host", "matches", r"[A-Z]+\.\S"), {key("host"): "ab.C"}, {}, schema)


def test_a_string_derived_from_an_istring_sees_case() -> None:
    assert witness(both(atom("host", "==", "AB.c"), atom("site", "==", "aB"))) == {"host": "aB.c"}
    assert unsat(atom("host", "==", "AB.c"), atom("site", "==", "ac"))


def test_excluded_values_are_not_in_the_domain() -> None:
    assert unsat(atom("host", "==", "bad"))
    assert unsat(atom("host", "==", "BAD"))
    assert witness(atom("host", "starts_with", "bad")) == {"host": "bada"}


# --- absence ----------------------------------------------------------------------------------------------------------


def test_absence() -> None:
    assert witness(no("header:x", "exists")) == {}
    assert witness(no("header:x", "==", "a")) == {}
    assert witness(atom("header:x", "exists")) == {"header:x": ""}
    assert witness(both(no("header:x", "==", ""), atom("header:x", "exists"))) == {"header:x": "a"}
    assert unsat(atom("header:x", "==", "a"), no("header:x", "exists"))
    assert witness(both(atom("header:x", "==", "a"), no("header:y", "exists"))) == {"header:x": "a"}
    assert witness(no("flag", "==", True)) == {}
    assert witness(both(no("flag", "==", True), atom("flag", "exists"))) == {"flag": False}
    assert unsat(no("flag", "==", True), no("flag", "==", False), atom("flag", "exists"))
    assert not holds(atom("header:x", "matches", ".*"), {}, {}, schema)
    assert holds(no("timeout", "<", 5), {}, {}, schema)


def test_not_less_is_more_only_where_the_value_is_there() -> None:
    assert not equivalent(no("timeout", "<", 5), atom("timeout", ">=", 5), schema, ENUMS)
    assert equivalent(no("code", "<", 5), atom("code", ">=", 5), schema, ENUMS)


# --- numbers, booleans, enums -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "conds", "expected"),
    [
        ("code", [("exists", True)], 0),
        ("code", [("<", 0)], -1),
        ("code", [(">", 4), ("<=", 5)], 5),
        ("code", [(">", 4), ("<", 5)], None),
        ("code", [("<", -3)], -4),
        ("code", [("in", (-2, 2, 9))], 2),
        ("code", [("in", (2, 9)), (">", 3)], 9),
        ("code", [("in", (2, 9)), ("in", (3, 4))], None),
        ("code", [("!in", (-1, 0, 1, 2))], -2),
        ("code", [("!==", 0)], 1),
        ("code", [("!==", 0), ("!==", 1)], -1),
        ("code", [("!<", 7), ("!>", 7)], 7),
        ("code", [("!<=", 7), ("!>=", 9)], 8),
        ("code", [(">", 2**63 - 1)], None),
        ("code", [(">=", 2**63 - 1)], 2**63 - 1),
        ("code", [("<", -(2**63))], None),
        ("timeout", [("<", 0)], None),
        ("timeout", [("<=", 10)], 0),
        ("timeout", [(">", 10), ("!==", 11)], 12),
        ("share", [(">", 10_000)], None),
        ("share", [(">=", 10_000)], 10_000),
        ("share", [("<", 0)], None),
        ("status", [("<", 500)], 403),
        ("status", [("!==", 403)], 0),
        ("mark:m", [("==", True)], True),
        ("mark:m", [("!==", True)], False),
        ("mark:m", [("in", (False, True))], False),
        ("mark:m", [("!==", True), ("!==", False)], None),
        ("verdict", [("exists", True)], "allow"),
        ("verdict", [("!==", "allow")], "deny"),
        ("verdict", [("!in", ("allow", "deny"))], "limit"),
        ("verdict", [("!in", ("allow", "deny", "limit"))], None),
        ("verdict", [("==", "nothing")], None),
    ],
)
def test_number_bool_enum(name: str, conds: list[tuple[str, Value]], expected: Value | None) -> None:
    parts = [no(name, op[1:], value) if op[0] == "!" else atom(name, op, value) for op, value in conds]
    found = witness(And(tuple(parts)))
    assert found == (None if expected is None else {name: expected})


def test_sets_maps_rates_and_versions_know_equality() -> None:
    assert witness(no("route", "==", ())) == {"route": (("v1", 0),)}
    assert witness(atom("route", "==", (("v1", 10_000),))) == {"route": (("v1", 10_000),)}
    assert unsat(atom("route", "==", ()), no("route", "==", ()))
    assert witness(both(atom("tags", "contains", "b"), atom("tags", "contains", "a"))) == {"tags": ("a", "b")}
    assert witness(both(atom("tags", "contains", "b"), no("tags", "==", ("b",)))) == {"tags": ("", "b")}
    assert unsat(atom("tags", "contains", "b"), no("tags", "contains", "b"))
    assert unsat(atom("tags", "==", ("a",)), atom("tags", "contains", "b"))
    full = ("allow", "deny", "limit")
    assert witness(And(tuple(atom("verdicts", "contains", v) for v in full))) == {"verdicts": full}
    assert unsat(*(atom("verdicts", "contains", v) for v in full), no("verdicts", "==", full))
    assert unsat(atom("verdicts", "exists"), *(no("verdicts", "contains", v) for v in full), no("verdicts", "==", ()))
    assert witness(no("rate", "==", (1, 1_000_000_000))) == {"rate": (2, 1_000_000_000)}
    assert witness(no("version", "==", "v1")) == {"version": "v2"}


# --- formulas ---------------------------------------------------------------------------------------------------------


def test_constants() -> None:
    assert satisfy(TRUE, schema, ENUMS) == Assignment({}, {})
    assert satisfy(FALSE, schema, ENUMS) is None
    assert witness(Not(And((TRUE, FALSE)))) == {}
    assert witness(And(())) == {}
    assert witness(Or(())) is None


def test_the_fewest_attributes_deviate() -> None:
    a, b, c = (atom(f"header:{name}", "==", "value") for name in "abc")
    assert witness(both(either(a, b), either(b, c))) == {"header:b": "value"}
    assert witness(either(both(a, b), atom("status", "==", 5))) == {"status": 5}
    assert witness(either(both(a, b), atom("status", "<", 500))) == {"status": 403}
    assert witness(either(a, no("header:b", "exists"))) == {}


def test_of_equally_many_the_shorter_strings() -> None:
    assert witness(either(atom("target", "==", "/a/long/one"), atom("target", "==", "/b"))) == {"target": "/b"}
    assert witness(either(atom("code", "==", 70), atom("code", "==", -8))) == {"code": -8}


def test_the_first_of_equal_alternatives() -> None:
    assert witness(either(atom("header:q", "==", "x"), atom("header:a", "==", "x"))) == {"header:q": "x"}


def test_default_is_plainer_than_shorter() -> None:
    assert witness(atom("zone", "exists")) == {"zone": "z7"}
    assert witness(both(atom("zone", "exists"), no("zone", "==", "z7"))) == {"zone": "z0"}
    assert witness(no("zone", "==", "z7")) == {}
    # Yet absence is plainer than the default: a zone counts as an attribute that deviates.
    more = both(atom("zone", "exists"), atom("status", "==", 5))
    assert witness(either(more, atom("status", "==", 6))) == {"status": 6}


def test_prefer() -> None:
    assert witness(atom("target", "starts_with", "/"), target="/home") == {"target": "/home"}
    assert witness(atom("target", "starts_with", "/x"), target="/home") == {"target": "/x"}
    assert witness(no("zone", "==", "z1"), zone="z9") == {"zone": "z9"}
    assert witness(no("zone", "==", "z1"), zone="elsewhere") == {}  # outside its domain
    found = satisfy(atom("zone", "exists"), schema, ENUMS, {key("zone"): ABSENT})
    assert found == Assignment({key("zone"): "z7"}, {})
    cond = either(atom("target", "==", "/a"), atom("method", "==", "GET"))
    assert witness(cond, target="/b", method="PUT") == {"target": "/a", "method": "PUT"}
    assert witness(cond, target="/b", method="GET") == {"target": "/b", "method": "GET"}


def test_states_are_free_and_false_if_they_may_be() -> None:
    one, two = state(1), state(2)
    found = satisfy(both(Or((one, two)), Not(one)), schema, ENUMS)
    assert found is not None
    assert found.states == {one: False, two: True}
    assert satisfy(both(one, Not(one)), schema, ENUMS) is None
    found = satisfy(Or((one, atom("target", "exists"))), schema, ENUMS)
    assert found is not None
    assert found.states == {one: False}
    assert holds(Not(one), {}, {}, schema)


def test_many_alternatives_on_many_attributes() -> None:
    parts = [either(*(atom(f"header:{i}", "==", "v" * (4 - j)) for j in range(4))) for i in range(30)]
    assert witness(And(tuple(parts))) == {f"header:{i}": "v" for i in range(30)}
    clash = both(*parts, *(no("header:7", "==", "v" * n) for n in range(5)))
    assert witness(clash) is None


def test_a_union_covers() -> None:
    low, high = atom("code", "<", 10), atom("code", ">=", 5)
    assert implies(TRUE, either(low, high), schema, ENUMS)
    assert not implies(TRUE, either(low, atom("code", ">=", 11)), schema, ENUMS)
    words = either(*(atom("target", "matches", f"[^{c}]*") for c in "ab"), atom("target", "matches", ".*[ab].*[ab].*"))
    assert equivalent(words, TRUE, schema, ENUMS)
    paths = either(atom("url_path", "==", "/a"), atom("url_path", "starts_with", "/a/"))
    assert implies(paths, atom("target", "matches", r"/a([/?].*)?"), schema, ENUMS)
    assert not implies(atom("target", "starts_with", "/a"), paths, schema, ENUMS)


def test_overlap_implication_and_equivalence() -> None:
    a = both(atom("method", "==", "GET"), atom("url_path", "starts_with", "/cart"))
    b = both(atom("method", "in", ("GET", "PUT")), atom("target", "contains", "/cart/7?"))
    c = both(atom("method", "==", "PUT"), atom("url_path", "starts_with", "/cart"))
    solver = Solver(schema, ENUMS)
    for _ in range(2):  # the second time from memory
        assert solver.overlaps(a, b)
        assert not solver.overlaps(a, c)
        assert not solver.implies(a, b)
        assert solver.implies(a, either(b, a))
        assert solver.equivalent(a, And(tuple(reversed(a.of))))
        assert solver.satisfiable(a, Not(b), Not(c))
        assert not solver.satisfiable(a, b, c)
    assert overlaps(a, b, schema, ENUMS)
    assert not overlaps(either(a, c), Not(atom("url_path", "starts_with", "/c")), schema, ENUMS)
    assert implies(both(a, state(1)), state(1), schema, ENUMS)
    assert not implies(a, state(1), schema, ENUMS)


def test_conditions_with_an_impossible_attribute() -> None:
    assert not satisfiable(schema, ENUMS, either(atom("target", "exists"), atom("never", "exists")))


# --- what cannot be decided -------------------------------------------------------------------------------------------


def test_too_complex() -> None:
    # Both look back a different number of characters: the product has about 2 to the power of the sum of them.
    cond = both(atom("target", "matches", "(?:a|b)*a(?:a|b){12}"), atom("target", "matches", "(?:a|b)*b(?:a|b){13}c"))
    for _ in range(2):  # the failure is remembered
        with pytest.raises(TooComplex):
            satisfy(cond, schema, ENUMS)
    # A few candidates decide without the automata.
    assert witness(both(cond, atom("target", "==", "x"))) is None


def test_malformed_expression() -> None:
    with pytest.raises(RegexError):
        satisfy(atom("target", "matches", "(a"), schema, ENUMS)


def test_derived_attributes_that_go_round() -> None:
    loop = Attribute(E, "loop", Type("string"), derived=("loop", "?"))
    with pytest.raises(ValueError, match="goes round"):
        satisfy(atom("loop", "exists"), lambda _: loop, ENUMS)


def test_the_answer_is_the_same_each_time() -> None:
    cond = either(*(atom(f"header:{name}", "starts_with", "x") for name in "qwerty"), atom("code", ">", 3))
    first = satisfy(cond, schema, ENUMS)
    assert all(satisfy(cond, schema, ENUMS) == first for _ in range(5))
