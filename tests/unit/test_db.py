"""The query engine against what it promises: values as from nothing, and no more work than it needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from m4c.db import Cancelled, CycleError, Database, Durability, MissingInput, bounded_query, firewall, query

from tests.property.budget import many

# A little world: texts by name; each text is words; "=name" in a text stands for the length of that name's text.


@query
def words(db: Database, name: str) -> tuple[str, ...]:
    return tuple(db.input_or("text", name, default="").split())


@query
def length(db: Database, name: str) -> int:
    return sum(len(w) for w in words(db, name) if not w.startswith("="))


@firewall
def names(db: Database) -> tuple[str, ...]:
    """The first word of each text."""
    return tuple(words(db, n)[:1][0] if words(db, n) else "" for n in db.input("names"))


@firewall
def longest(db: Database) -> int:
    """Reads another firewall, by way of an ordinary query."""
    return max((_size_of_name(db, i) for i in range(len(db.input("names")))), default=0)


@query
def _size_of_name(db: Database, i: int) -> int:
    return len(names(db)[i])


@query
def line(db: Database, name: str) -> str:
    """Its own words, and what everybody is called."""
    return " ".join((*words(db, name), *names(db), str(longest(db))))


@bounded_query(8)
def first_letter(db: Database, name: str) -> str:
    return "".join(w[0] for w in words(db, name))


@query
def everything(db: Database) -> tuple[object, ...]:
    return tuple((line(db, n), length(db, n), first_letter(db, n)) for n in db.input("names"))


NAMES = ("a", "b", "c", "d")
TEXTS = st.lists(st.sampled_from(("x", "yy", "zzz", "=a")), max_size=3).map(" ".join)
STEPS = st.one_of(
    st.tuples(st.just("text"), st.sampled_from(NAMES), TEXTS, st.sampled_from(Durability)),
    st.tuples(st.just("names"), st.lists(st.sampled_from(NAMES), unique=True)),
    st.tuples(st.just("ask"), st.sampled_from(("everything", "line", "length")), st.sampled_from(NAMES)),
)


@given(st.lists(STEPS, max_size=30))
@many(400)
def test_answers_are_as_from_nothing(steps: list[tuple[object, ...]]):
    db = Database()
    texts: dict[str, tuple[str, Durability]] = {}
    called: list[str] = []
    db.set("names", ())
    for step in steps:
        match step:
            case ("text", str(name), str(text), Durability() as durability):
                texts[name] = text, durability
                db.set("text", name, text, durability=durability)
            case ("names", list(found)):
                called = found
                db.set("names", tuple(found), durability=Durability.STORED)
            case ("ask", kind, str(name)):
                fresh = Database()
                fresh.set("names", tuple(called))
                for n, (text, _) in texts.items():
                    fresh.set("text", n, text)
                ask = {"everything": lambda d: everything(d), "line": lambda d, n=name: line(d, n)}
                question = ask.get(str(kind), lambda d, n=name: length(d, n))
                assert question(db) == question(fresh)


def ran(db: Database, ask: object) -> list[str]:
    db.log = []
    assert callable(ask)
    ask(db)
    found = [f"{k.name.partition('.')[2]}({', '.join(map(str, k.args))})" for k in db.log]
    db.log = None
    return found


def world() -> Database:
    db = Database()
    db.set("names", ("a", "b", "c"), durability=Durability.STORED)
    db.set("text", "a", "one two", durability=Durability.EDITED)
    for name in "bc":
        db.set("text", name, f"{name} text", durability=Durability.STORED)
    everything(db)
    return db


def test_what_comes_to_the_same_stops_the_wave():
    db = world()
    db.set("text", "a", "one  two")
    assert ran(db, everything) == ["words(a)"]


def test_an_edit_behind_a_firewall_is_felt_by_one_file():
    db = world()
    db.set("text", "a", "one three")
    assert ran(db, everything) == ["words(a)", "names()", "line(a)", "length(a)", "first_letter(a)", "everything()"]


def test_a_firewall_that_changes_is_felt_by_all():
    db = world()
    db.set("text", "a", "uno two")
    assert [q for q in ran(db, everything) if q.startswith("line")] == ["line(a)", "line(b)", "line(c)"]


def test_what_is_durable_is_not_looked_at():
    db = world()
    walked: list[str] = []
    stands = db._stands

    def watched(memo: object) -> bool:
        found = stands(memo)  # type: ignore[arg-type]
        if not found:
            walked.append(memo.query.fn.__name__)  # type: ignore[attr-defined]
        return found

    db._stands = watched  # type: ignore[method-assign]
    db.set("text", "c", "c text")  # two files are open
    everything(db)
    walked.clear()
    db.set("text", "a", "one three")
    everything(db)
    assert not {"line", "words"} & set(walked) - {"x"} or walked.count("line") == walked.count("words") == 1


def test_what_becomes_less_durable_is_looked_at_again():
    db = world()
    db.set("text", "b", "b text")  # an editor opens it: the same text, from now on edited
    assert ran(db, everything) == []
    db.set("text", "b", "b texts")
    assert "line(b)" in ran(db, everything)


def test_values_that_are_evicted_are_made_again():
    @bounded_query(1)
    def last_letter(db: Database, name: str) -> str:
        return "".join(w[-1] for w in words(db, name))

    db = world()
    assert [last_letter(db, n) for n in ("a", "b", "a")] == ["eo", "bt", "eo"]
    assert ran(db, lambda d: last_letter(d, "a")) == []
    assert ran(db, lambda d: last_letter(d, "b")) != []
    db.set("text", "b", "brown")
    assert [last_letter(db, n) for n in ("a", "b", "a")] == ["eo", "n", "eo"]


def test_a_query_that_needs_itself():
    @query
    def left(db: Database) -> int:
        return right(db)

    @query
    def right(db: Database) -> int:
        return left(db) + 1

    with pytest.raises(CycleError, match=r"left -> \S*right -> \S*left"):
        left(Database())


def test_an_input_that_nobody_set():
    with pytest.raises(MissingInput):
        Database().input("text", "a")


def test_what_was_finished_is_kept_when_the_work_is_stopped():
    db = world()

    @query
    def slow(db: Database) -> int:
        found = length(db, "b")
        db.cancel()
        db.checkpoint()
        return found

    db.set("text", "b", "longer text")
    with pytest.raises(Cancelled):
        slow(db)
    db.resume()
    assert "words(b)" not in ran(db, everything)


def test_a_fork_goes_its_own_way():
    db = world()
    kept = db.kept("notes", make=list)
    other = db.fork()
    other.set("text", "a", "other two")
    assert line(other, "a").startswith("other")
    assert line(db, "a").startswith("one")
    assert other.kept("notes", make=list) is not kept
