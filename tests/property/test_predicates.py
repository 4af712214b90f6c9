"""Conditions against brute force, and regular expressions against RE2 and Python.

The brute force has an evaluator of its own, so that a mistake in `holds` does not excuse one in `satisfy`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product

import re2
from budget import many
from hypothesis import example, given
from hypothesis import strategies as st
from m4c.predicates import check_regex, holds, regex_matches, satisfiable, satisfy
from m4c.predicates.atoms import check_of, passes, view_of
from m4c.predicates.charset import lower_ascii, plain_key
from m4c.predicates.strings import automaton_of
from m4c.semantics.model import And, Atom, Attribute, AttrKey, Cond, Const, Not, Or, StateAtom, Type, Value

SETTINGS = many(400)

E = "Request"
TEXT = AttrKey(E, "text")
HEAD = AttrKey(E, "head")
PART = AttrKey(E, "part")
NAME = AttrKey(E, "name")
STEM = AttrKey(E, "stem")
SIZE = AttrKey(E, "size")
ATTRIBUTES = {
    attribute.name: attribute
    for attribute in (
        Attribute(E, "text", Type("string")),
        Attribute(E, "head", Type("string"), derived=("text", "?")),
        Attribute(E, "part", Type("string"), derived=("head", "ba")),
        Attribute(E, "name", Type("istring", optional=True)),
        Attribute(E, "stem", Type("string"), derived=("name", "B")),
        Attribute(E, "size", Type("int"), default=1),
    )
}
CUTS = {TEXT: (), HEAD: ("?",), PART: ("?", "ba"), NAME: (), STEM: ("B",), SIZE: ()}
SOURCES = {TEXT: TEXT, HEAD: TEXT, PART: TEXT, NAME: NAME, STEM: NAME, SIZE: SIZE}


def schema(attr: AttrKey) -> Attribute:
    return ATTRIBUTES[attr.attribute]


def words(alphabet: str, longest: int) -> list[str]:
    return ["".join(word) for n in range(longest + 1) for word in product(alphabet, repeat=n)]


# --- the other evaluator ----------------------------------------------------------------------------------------------


def truth(cond: Cond, values: Mapping[AttrKey, Value | None], states: Mapping[StateAtom, bool]) -> bool:
    match cond:
        case Const(value):
            return value
        case Not(inner):
            return not truth(inner, values, states)
        case And(parts):
            return all(truth(part, values, states) for part in parts)
        case Or(parts):
            return any(truth(part, values, states) for part in parts)
        case StateAtom():
            return states[cond]
        case Atom(attr, op, constant):
            value = values[SOURCES[attr]]
            if value is None:
                return False
            for cut in CUTS[attr]:
                assert isinstance(value, str)
                value = value.split(cut)[0]
            return compared(op, value, constant, attr == NAME)


def compared(op: str, value: Value, constant: Value, ignore_case: bool) -> bool:
    flags = re.ASCII | (re.IGNORECASE if ignore_case else 0)
    if op == "exists":
        return True
    if isinstance(value, int):
        if op == "in":
            return isinstance(constant, tuple) and value in constant
        assert isinstance(constant, int)
        return {
            "==": value == constant,
            "<": value < constant,
            "<=": value <= constant,
            ">": value > constant,
            ">=": value >= constant,
        }[op]
    assert isinstance(value, str)
    if op == "in":
        assert isinstance(constant, tuple)
        return any(compared("==", value, one, ignore_case) for one in constant)
    assert isinstance(constant, str)
    pattern = re.escape(constant) if op != "matches" else f"(?:{constant})"
    pattern = {
        "starts_with": f"{pattern}.*",
        "ends_with": f".*{pattern}",
        "contains": f".*{pattern}.*",
    }.get(op, pattern)
    return re.fullmatch(pattern, value, flags) is not None


# --- random conditions ------------------------------------------------------------------------------------------------

SMALL_REGEXES = [
    "a*", "(ab)*", ".", "..", "[^a]*", ".*b.", "a|b|ab", r"\??a?", "(a|b)*a(a|b)", "[a?]+", ".*", "b+a+", "[b-z]{1,2}",
    "",
]  # fmt: skip


def text_atoms(attrs: list[AttrKey], alphabet: str, longest: int) -> st.SearchStrategy[Cond]:
    constant = st.text(alphabet, max_size=longest)
    attr = st.sampled_from(attrs)
    return st.one_of(
        st.builds(Atom, attr, st.sampled_from(["==", "starts_with", "ends_with", "contains"]), constant),
        st.builds(Atom, attr, st.just("in"), st.sets(constant, min_size=1, max_size=3).map(lambda s: tuple(sorted(s)))),
        st.builds(Atom, attr, st.just("matches"), st.sampled_from(SMALL_REGEXES)),
        st.builds(Atom, attr, st.just("exists"), st.just(True)),
    )


NUMBER_ATOMS = st.one_of(
    st.builds(Atom, st.just(SIZE), st.sampled_from(["==", "<", "<=", ">", ">="]), st.integers(-2, 2)),
    st.builds(Atom, st.just(SIZE), st.just("in"), st.sets(st.integers(-2, 2)).map(lambda s: tuple(sorted(s)))),
)
STATES = [StateAtom("bucket", "Take", "p", n) for n in range(2)]


def conditions(leaves: st.SearchStrategy[Cond]) -> st.SearchStrategy[Cond]:
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.builds(Not, inner),
            st.builds(And, st.lists(inner, min_size=1, max_size=4).map(tuple)),
            st.builds(Or, st.lists(inner, min_size=1, max_size=4).map(tuple)),
        ),
        max_leaves=8,
    )


def conjunctions(leaves: st.SearchStrategy[Cond]) -> st.SearchStrategy[Cond]:
    literal = st.one_of(leaves, st.builds(Not, leaves))
    return st.lists(literal, min_size=1, max_size=5).map(lambda parts: And(tuple(parts)))


# --- one string -------------------------------------------------------------------------------------------------------

TEXTS = words("ab?c", 4)  # c stands for every character that no condition names


@SETTINGS
@given(conjunctions(text_atoms([TEXT, HEAD, PART], "ab?", 3)))
@example(And((Atom(PART, "==", "b"), Not(Atom(HEAD, "==", "b")))))
@example(And((Atom(PART, "ends_with", "b"), Atom(TEXT, "starts_with", "ba"))))
def test_a_string_is_the_plainest_one(cond: Cond) -> None:
    found = satisfy(cond, schema, {})
    models = [text for text in TEXTS if truth(cond, {TEXT: text}, {})]
    if found is None:
        assert models == []
        return
    text = found.attributes[TEXT]
    assert isinstance(text, str)
    assert truth(cond, {TEXT: text}, {})
    if models:
        plainest = min(models, key=plain_key)
        assert len(text) <= len(plainest)
        assert text == plainest or text not in TEXTS
    else:
        assert text not in TEXTS


@SETTINGS
@given(conditions(text_atoms([TEXT, HEAD, PART], "ab?", 2)))
def test_a_formula_over_one_string_gives_its_shortest(cond: Cond) -> None:
    found = satisfy(cond, schema, {})
    shortest = min((len(text) for text in TEXTS if truth(cond, {TEXT: text}, {})), default=None)
    if found is None:
        assert shortest is None
        return
    text = found.attributes[TEXT]
    assert isinstance(text, str)
    assert truth(cond, {TEXT: text}, {})
    # The empty string is the plain value; of the others the shortest.
    assert shortest is None or len(text) <= shortest


@SETTINGS
@given(conjunctions(text_atoms([NAME, STEM], "aBb", 3)))
def test_an_istring_and_what_is_derived_from_it(cond: Cond) -> None:
    found = satisfy(cond, schema, {})
    names: list[Value | None] = [None, *words("aAbBc", 4)]
    models = [name for name in names if truth(cond, {NAME: name}, {})]
    if found is None:
        assert models == []
        return
    name = found.attributes.get(NAME)
    assert truth(cond, {NAME: name}, {})
    if None in models:
        assert name is None
    elif models:
        assert isinstance(name, str)
        assert len(name) <= min(len(str(model)) for model in models)
    if name is not None and not any(ATTRIBUTES[a.attr.attribute].derived for a in cond_atoms(cond)):
        assert name == lower_ascii(str(name))


def cond_atoms(cond: Cond) -> Iterator[Atom]:
    match cond:
        case Atom():
            yield cond
        case Not(inner):
            yield from cond_atoms(inner)
        case And(parts) | Or(parts):
            for part in parts:
                yield from cond_atoms(part)


@SETTINGS
@given(text_atoms([TEXT, HEAD, PART, NAME, STEM], "aBb?", 4).filter(lambda atom: atom.op != "exists"))
@example(Atom(TEXT, "contains", "aab"))
@example(Atom(PART, "ends_with", "bb"))
def test_an_automaton_accepts_what_passes(atom: Atom) -> None:
    check = check_of(atom, True, view_of(atom.attr, schema))
    automaton = automaton_of(check)
    for text in words("aBb?", 4):
        state = automaton.start
        dead = full = False
        for char in text:
            dead = dead or automaton.dead(state)
            full = full or automaton.full(state)
            state = automaton.step(state, char)
        accepted = truth(atom, dict.fromkeys((TEXT, NAME), text), {})
        assert automaton.accepts(state) == accepted == passes(check, text)
        assert not (dead and accepted)
        assert not (full and not accepted)


# --- several attributes -----------------------------------------------------------------------------------------------

ENTITIES = [
    ({TEXT: text, NAME: name, SIZE: size}, dict(zip(STATES, states, strict=True)))
    for text, name, size, *states in product(
        words("ab?", 2), (None, *words("aB", 2)), range(-3, 4), (False, True), (False, True)
    )
]


def deviations(values: Mapping[AttrKey, Value | None], read: set[AttrKey]) -> int:
    """How many of the attributes that are read are not at their plain value."""
    plain: dict[AttrKey, Value | None] = {TEXT: "", NAME: None, SIZE: 1}
    return sum(values[attr] != plain[attr] for attr in read)


@many(250)
@given(
    conditions(
        st.one_of(text_atoms([TEXT, HEAD], "ab", 2), text_atoms([NAME], "aB", 2), NUMBER_ATOMS, st.sampled_from(STATES))
    )
)
def test_formulas_over_several_attributes(cond: Cond) -> None:
    found = satisfy(cond, schema, {})
    assert satisfiable(schema, {}, cond) == (found is not None)
    # Only what the condition reads needs to vary.
    read = {SOURCES[atom.attr] for atom in cond_atoms(cond)}
    still: dict[AttrKey, Value | None] = {TEXT: "", NAME: None, SIZE: 1}
    models = [
        values
        for values, states in ENTITIES
        if all(values[attr] == plain for attr, plain in still.items() if attr not in read)
        and truth(cond, values, states)
    ]
    if found is None:
        assert models == []
        return
    values: dict[AttrKey, Value | None] = {attr: found.attributes.get(attr) for attr in still}
    assert truth(cond, values, {**dict.fromkeys(STATES, False), **found.states})
    assert holds(cond, found.attributes, found.states, schema)
    assert set(found.attributes) | {NAME} >= read
    if models:
        assert deviations(values, read) <= min(deviations(model, read) for model in models)


@many(150)
@given(
    conditions(st.one_of(text_atoms([TEXT, HEAD], "ab?", 2), text_atoms([NAME, STEM], "aB", 2), NUMBER_ATOMS)),
    st.sampled_from(words("ab?", 3)),
    st.sampled_from([None, *words("aB", 2)]),
    st.integers(-3, 3),
)
def test_the_evaluators_agree(cond: Cond, text: str, name: str | None, size: int) -> None:
    values: dict[AttrKey, Value | None] = {TEXT: text, NAME: name, SIZE: size}
    present = {attr: value for attr, value in values.items() if value is not None}
    assert holds(cond, present, {}, schema) == truth(cond, values, {})


# --- regular expressions ----------------------------------------------------------------------------------------------

ATOMIC = st.sampled_from([
    "a", "b", "K", "s", "é", ".", r"\d", r"\W", r"\s", "[ab]", "[^a]", "[a-k]", "[^\\w]", r"\x41", "^", "$", "()",
    "(?:)", "[-1]",
])  # fmt: skip
QUANTIFIERS = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,}", "{0,2}", "{1,2}?"])
EXPRESSIONS = st.recursive(
    ATOMIC,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.builds(lambda part, quantifier: f"({part}){quantifier}", inner, QUANTIFIERS),
        st.builds(lambda part, flags: f"(?{flags}:{part})", inner, st.sampled_from(["i", "s", "is", "-i", "i-s"])),
    ),
    max_leaves=6,
)
SUBJECTS = st.text("abkKsS\u017f\u212a\u00e9\u00c9A1 -\n", max_size=6)


@SETTINGS
@given(EXPRESSIONS, st.lists(SUBJECTS, min_size=4, max_size=8))
def test_regular_expressions_match_as_in_re2(source: str, subjects: list[str]) -> None:
    pattern = re2.compile(source)
    for subject in subjects:
        assert regex_matches(source, subject) == (pattern.fullmatch(subject) is not None)


@SETTINGS
@given(EXPRESSIONS.filter(lambda source: "$" not in source), st.lists(SUBJECTS, min_size=4, max_size=8))
def test_regular_expressions_match_as_in_python(source: str, subjects: list[str]) -> None:
    # `$` differs before a last newline; case folds and classes beyond ASCII differ.
    pattern = re.compile(source, re.ASCII)
    for subject in subjects:
        if subject.isascii() and not ("i" in source and "é" in source):
            assert regex_matches(source, subject) == (pattern.fullmatch(subject) is not None)


SOUP = st.lists(
    st.sampled_from([
        *"aK*+?|().[]^$-{},:\\é", "{2}", "(?i)", "(?:", "(?P<n>", "[^", "[[:alpha:]]", "\\d", "\\W", "\\x41", "\\Q",
        "\\E", "\\A", "\\z", "\\Z", "\\1", "\\101", "-z]", "\\_", "(?", "{1001}", "\\]]",
    ]),
    max_size=7,
).map("".join)  # fmt: skip


@SETTINGS
@given(SOUP)
def test_what_is_malformed_is_so_in_re2(source: str) -> None:
    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(source, options)
    except re2.error:
        assert check_regex(source) is not None
        return
    assert check_regex(source) is None
    for subject in ("", "a", "aa", "K", "A", "-", "{", "é"):
        assert regex_matches(source, subject) == (pattern.fullmatch(subject) is not None)
