"""Which line of which template a place in an artifact comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from m4c.backends.render import environment_for
from m4c.backends.traces import Traced, blamed, traced

MAIN = """\
{% import "lib.j2" as lib with context %}
# for {{ service }}
{% for site in sites %}
site {{ site }} {{ lib.rule(site)[1:] }}
  {{ lib.rule(site) | trim | indent(4) }}
{% endfor %}
{% set body %}
   kept: é😀 {{ service }}
{% endset %}
{{ body | trim }}
"""
LIB = """\
{# A macro. #}
{% macro rule(site) %}
{first: {{ site }},
second: two}
{%- endmacro %}
"""


def trace(folder: Path, main: str, **variables: Any) -> tuple[str, Traced | None]:
    (folder / "main.j2").write_text(main)
    (folder / "lib.j2").write_text(LIB)
    text = environment_for(str(folder)).get_template("main.j2").render(variables)
    return text, traced(str(folder), "main.j2", variables, text)


def test_each_piece_is_traced_to_its_line(tmp_path: Path) -> None:
    text, found = trace(tmp_path, MAIN, service="cart", sites=["a", "b"])
    assert found is not None and found.text == text

    def line(piece: str) -> tuple[str, int]:
        at = found.line(text.index(piece))
        assert at is not None
        return Path(at[0]).name, at[1]

    assert line("for cart") == ("main.j2", 2)
    assert line("site b") == ("main.j2", 4)
    assert line("first: b") == ("lib.j2", 3)
    assert line("second: two") == ("lib.j2", 4)
    assert line("kept: é😀") == ("main.j2", 8)
    assert found.source(text.index("kept")) == "kept: é😀 cart"


def test_what_looks_at_what_others_made_is_not_traced(tmp_path: Path) -> None:
    main = '{% import "lib.j2" as lib %}{{ lib.rule("a") | length }}\n'
    text, found = trace(tmp_path, main)
    assert text.strip().isdecimal() and found is None
    assert trace(tmp_path, '{% import "lib.j2" as lib %}{{ lib.rule("a") | urlencode }}\n')[1] is None


TEXT = "one: 1\n  two: [2]\nthree: one\n"
PIECES = Traced(TEXT, (0, 9, TEXT.index("three")), (("t", 1), ("t", 2), ("t", 7)))


@pytest.mark.parametrize(
    ("words", "piece"),
    [
        ("parsing [a.cfg:2] : unknown word", "two"),
        ("a.cfg:2:8: error: no such thing", "[2]"),
        ("yaml: error at line 2, column 9: end of sequence", "2]"),
        ("no such field: 'two' has unknown fields", "two"),
        ('near "three", unknown', "three"),
        ("no such field: 'one'", None),  # comes from two lines
        ("no such field: '2'", None),  # stands there by chance
        ("a.cfg:17: error", None),
        ("other.cfg:2: error", None),
        ("something is wrong", None),
    ],
)
def test_what_is_said_of_an_artifact_blames_one_place_of_it_or_none(words: str, piece: str | None) -> None:
    expected = None if piece is None else ("a.cfg", TEXT.index(piece))
    assert blamed(words, {"a.cfg": PIECES}) == expected


def test_of_several_artifacts_the_named_one_is_blamed() -> None:
    other = Traced("x\ny\nz\n", (0,), (("u", 1),))
    both = {"b.cfg": other, "a.cfg": PIECES}
    assert blamed("parsing [a.cfg:2]: wrong", both) == ("a.cfg", TEXT.index("two"))
    assert blamed("wrong at line 2", both) is None
