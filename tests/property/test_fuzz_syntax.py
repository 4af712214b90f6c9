"""Any text at all: it is split and parsed without an exception, in time, and what is sound in it is understood."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import cache, partial
from pathlib import Path
from types import FrameType

import pytest
from budget import many
from hypothesis import assume, example, given
from hypothesis import strategies as st
from m4_programs import items, layout, words
from m4c.syntax import tree as t
from m4c.syntax.fastparse import FastParser
from m4c.syntax.items import KEYWORDS, TOKEN, WHITE, is_closed, is_doc, split
from m4c.syntax.parser import ParsedItem, grammar, parse_anew, parse_item
from m4c.syntax.printer import format_text, left_alone
from m4c.syntax.recovery import parse_thoroughly
from m4c.workspace import Workspace

ROOT = Path(__file__).parents[2]
SETTINGS = many(150)
GUARD = 20  # seconds of the processor for one text: some ten times what the slowest takes

FAST = FastParser(grammar())

# Python calls that splitting and parsing may take: for a character, and for a text.
CALLS_PER_CHARACTER = 400
CALLS = 20_000


# --- what holds for every text ----------------------------------------------------------------------------------------


def nodes(node: object) -> Iterator[t.Name]:
    """Everything in a tree that has a span."""
    queue = [node]
    while queue:
        found = queue.pop()
        if isinstance(found, tuple):
            queue += found
        elif is_dataclass(found):
            queue += [getattr(found, f.name) for f in fields(found)]
            if hasattr(found, "start"):
                yield found  # type: ignore[misc]


def check(text: str) -> list[ParsedItem]:
    """Splits and parses a text, and holds the result to what is always true."""
    at, parsed = 0, []
    for item in split(text):
        assert item.start >= at and item.text == text[item.start : item.end] != ""
        assert between(text[at : item.start])
        at = item.end
        parsed.append(parse_item(item.text))
        for node in nodes(parsed[-1].decl):
            assert 0 <= node.start <= node.end <= len(item.text), node
        for problem in parsed[-1].problems:
            assert problem.message and 0 <= problem.start < problem.end <= len(item.text), problem
        assert parsed[-1].problems or parsed[-1].whole
        assert not (parsed[-1].whole and isinstance(parsed[-1].decl, t.Broken))
    assert between(text[at:])
    return parsed


def between(gap: str) -> bool:
    """Whether nothing but white space and whole comments is in a text."""
    return not TOKEN.sub(lambda m: "" if m.lastgroup == "comment" and is_closed(m[0]) else "x", gap).strip(WHITE)


def check_format(text: str) -> None:
    """What does not parse stays to the byte, and formatting again changes nothing."""
    formatted = format_text(text)
    assert [i.text for i in left_alone(formatted)] == [i.text for i in left_alone(text)]
    assert format_text(formatted) == formatted


def calls(work: Callable[[], object]) -> int:
    """How many Python functions are called."""
    count = 0

    def profile(frame: FrameType, event: str, arg: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def parse_all(parse: Callable[[str], object], text: str) -> None:
    for item in split(text):
        parse(item.text)


# --- any text ---------------------------------------------------------------------------------------------------------

SIGNS = ' \t\r\n\f\v\ufeff\xa0\u2028\x00{}()[];:,.!@?*|-<>="/\\aé1%_😀\ud800\udc00'
VOCABULARY = sorted({*words().values(), *KEYWORDS, "a", "r", '"s"', "1", "2s", "3%", "4/s", 'r"x"', "//", "/*", "*/"})
TEXTS = st.one_of(
    st.text(st.sampled_from(SIGNS), max_size=80),
    st.text(st.characters(), max_size=60),
    st.binary(max_size=60).map(lambda b: b.decode("utf-8", "surrogateescape")),
    st.lists(st.sampled_from([*VOCABULARY, "\n", "\n", "///", "\n@x"]), max_size=60).map(" ".join),
    st.lists(st.sampled_from([*VOCABULARY, "\n"]), max_size=40).map("".join),
)


@SETTINGS
@given(TEXTS)
@example("/* open")
@example("mesh a; /// \n/*/")
@example("@")
@example("\ufeff\ufeff;")
def test_any_text(text: str) -> None:
    check(text)
    check_format(text)


@SETTINGS
@given(TEXTS)
def test_any_text_in_bounded_time(text: str) -> None:
    assert calls(lambda: parse_all(parse_anew, text)) <= CALLS + CALLS_PER_CHARACTER * len(text)


# (in front, many times, in the middle, as many times, behind)
DEEP = {
    "parentheses": ("policy p (E r) on a when ", "(", "r.x", ")", " {}"),
    "parentheses of a pattern": ("policy p (E r) on ", "(", "a", ")", " {}"),
    "open parentheses": ("policy p (E r) on a when ", "(", "", "", ""),
    "open parentheses of annotations": ("", "@x(", "", "", ""),
    "open brackets": ("mesh m { group g = ", "[", "", "", ""),
    "open braces": ("policy p (E r) on a ", "{", "", "", ""),
    "closed braces": ("", "}", "", "", ""),
    "ifs": ("policy p (E r) on a { ", "if (r.x) { ", "", "}", " }"),
    "open ifs": ("policy p (E r) on a { ", "if (r.x) { r.A(); ", "", "", ""),
    "else ifs": ("policy p (E r) on a { if (r.x) {} ", "else if (r.x) {} ", "", "", "}"),
    "negations": ("policy p (E r) on a when ", "!", "r.x {}", "", ""),
    "negations of a pattern": ("policy p (E r) on ", "!", "a {}", "", ""),
    "or": ("policy p (E r) on a when ", "r.x || ", "r.x {}", "", ""),
    "and": ("policy p (E r) on a when ", "r.x && ", "r.x {}", "", ""),
    "and or": ("policy p (E r) on a when ", "r.x && r.y || ", "r.x {}", "", ""),
    "calls": ("policy p (E r) on a { ", "r.A(", "", ")", "; }"),
    "maps": ("policy p (E r) on a { r.A(", "{ a: ", "1", " }", "); }"),
    "sets": ("policy p (E r) on a when r.x in ", "[", "", "]", " {}"),
    "members": ("policy p (E r) on a when r", ".x", " {}", "", ""),
    "keys": ("policy p (E r) on a when r", '["x"]', " {}", "", ""),
    "types": ("entity E { attribute a: ", "set<", "int", ">", "; }"),
    "steps": ("policy p (E r) on ", "* -> ", "a {}", "", ""),
    "statements": ("policy p (E r) on a { ", "r.A(); ", "}", "", ""),
    "wrong statements": ("policy p (E r) on a { ", "r.A(; ", "}", "", ""),
    "attributes": ("entity E {\n", "/// d\n@x attribute a: int;\n", "}", "", ""),
    "items": ("", "policy p (E r) on a {}\n", "", "", ""),
    "broken items": ("", "policy p (E r) on a {\n", "", "", ""),
    "semicolons": ("", ";", "", "", ""),
    "names": ("", "a\n", "", "", ""),
    "doc comments": ("", "/// d\n", "mesh m;", "", ""),
    "open comments": ("", "/*", "", "", ""),
    "stars in a comment": ("/*", "*", "/ mesh m;", "", ""),
    "open strings": ("", 'import "', "", "", ""),
    "open strings in lines": ("", 'mesh m { graph "\n', "", "", ""),
    "a long string": ('import "', "é", '";', "", ""),
    "a long escape": ('import "', "\\\\", "", "", ""),
    "a long name": ("mesh ", "a", ";", "", ""),
    "a long service": ("policy p (E r) on ", "a-", " {}", "", ""),
    "a long number": ("policy p (E r) on a when r.x == ", "9", " {}", "", ""),
    "a long fraction": ("policy p (E r) on a when r.x == 0.", "9", "s && r.y == 1.", "0", "% {}"),
    "a long line": ("", "x ", "", "", ""),
    "white space": ("", " ", "", "", ""),
    "line ends": ("", "\r", "", "", ""),
    "invisible characters": ("", "\x00\xa0", "", "", ""),
}


def grown(name: str, n: int) -> str:
    before, one, middle, other, behind = DEEP[name]
    return before + one * n + middle + other * n + behind


@pytest.mark.parametrize("name", DEEP)
def test_sizes(name: str) -> None:
    """A text that is longer takes as much longer, in both parsers, and none is too deep for them."""
    short, long = grown(name, 250), grown(name, 1000)
    before = time.process_time()
    for parse in (FAST.parse, parse_thoroughly):
        few, many = calls(partial(parse_all, parse, short)), calls(partial(parse_all, parse, long))
        assert many <= 5 * few + CALLS
    check(long)
    format_text(long)
    assert time.process_time() - before < GUARD


@pytest.mark.parametrize(
    "name", ["parentheses", "ifs", "else ifs", "negations of a pattern", "maps", "types", "or", "and"]
)
def test_too_much(name: str) -> None:
    """Nesting and rows of conditions have a limit that is said, far from what people write."""
    assert [p.problems for p in check(grown(name, 40))] == [()]
    (parsed,) = check(grown(name, 1000))
    (problem,) = parsed.problems
    assert re.match("this is nested too deeply|more than .* in a row", problem.message)


# --- sound items beside broken ones -----------------------------------------------------------------------------------


def cut(text: str) -> list[str]:
    """The tokens of a text, each with the white space behind it."""
    starts = [m.start() for m in TOKEN.finditer(text)]
    return [text[a:b] for a, b in zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True)] if starts else [text]


@st.composite
def mutated(draw: st.DrawFn, text: str) -> str:
    """A text with some tokens dropped, doubled, swapped, put in, or with its end cut off."""
    parts = cut(text)
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, max(len(parts) - 1, 0)))
        match draw(st.integers(0, 5)):
            case 0:
                del parts[i : i + 1]
            case 1:
                parts[i:i] = parts[i : i + 1]
            case 2 if parts:
                j = draw(st.integers(0, len(parts) - 1))
                parts[i], parts[j] = parts[j], parts[i]
            case 3:
                parts.insert(i, draw(st.sampled_from(VOCABULARY)) + " ")
            case 4 if parts and (names := [j for j, part in enumerate(parts) if part[0].isalpha()]):
                i, j = draw(st.sampled_from(names)), draw(st.sampled_from(names))
                parts[i] = parts[j]
            case 5:
                del parts[i:]
    return "".join(parts)


def swallows(broken: str, behind: str) -> bool:
    """Whether the language itself says that a text takes in the start of what follows it."""
    tokens = list(TOKEN.finditer(broken))
    code = [m for m in tokens if m.lastgroup != "comment"]
    if any(m.lastgroup == "comment" and not is_closed(m[0]) for m in tokens) or (tokens and is_doc(tokens[-1][0])):
        return True
    last = split(broken)[-1] if code else None
    if last is None or not last.kind:
        return True  # comments or annotations, perhaps: they belong to what follows
    return last.kind in ("spec", "state") and re.match(r"(?s).*\b(?:entity|enum)\b", behind) is not None


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[str, str, str]:
    """An item, one with mistakes, and one behind it."""
    before, broken, behind = (layout(draw, draw(items(25)), quiet=20) for _ in range(3))
    return before, draw(mutated(broken)), behind


@SETTINGS
@given(neighbours(), st.sampled_from(["\n", "\r\n"]))
def test_a_broken_item_leaves_its_neighbours_alone(three: tuple[str, str, str], eol: str) -> None:
    before, broken, behind = (text.replace("\n", eol) for text in three)
    assume(not swallows(broken, behind))
    assert parse_item(before).whole and parse_item(behind).whole
    text = f"{before}{eol}{broken}{eol}{behind}{eol}"
    check(text)
    found = split(text)
    assert found[0].text == before
    assert found[-1].text == behind
    check_format(text)


# --- the whole workspace ----------------------------------------------------------------------------------------------


sys.path.append(str(ROOT / "tests/language"))
from sections import sections  # noqa: E402

PAGES = [section.files for page in sorted((ROOT / "tests/language").glob("*.md")) for section in sections(page)]
NAMES = [(i, name) for i, files in enumerate(PAGES) for name in files if name.endswith(".m4")]


@pytest.fixture(scope="module")
def workspaces(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], tuple[Path, Workspace]]:
    """The programs of the language's pages, each a workspace that is opened when it is first needed."""

    @cache
    def opened(number: int) -> tuple[Path, Workspace]:
        folder = tmp_path_factory.mktemp("page")
        for name, text in PAGES[number].items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8")
        return folder, Workspace([folder])

    return opened


@st.composite
def edited(draw: st.DrawFn) -> tuple[int, str, str]:
    """A program of the pages, and another text for one of its files."""
    number, name = draw(st.sampled_from(NAMES))
    return number, name, draw(mutated(PAGES[number][name]) if draw(st.integers(0, 5)) else TEXTS)


@SETTINGS
@given(edited())
def test_a_workspace_with_any_text(
    workspaces: Callable[[int], tuple[Path, Workspace]], edit: tuple[int, str, str]
) -> None:
    """Every analysis comes through, and what it says has a place in a file."""
    number, name, text = edit
    folder, workspace = workspaces(number)
    workspace.set_text((folder / name).as_posix(), text)
    for problem in workspace.problems():
        span = workspace.span(problem.place)
        assert 0 <= span.start <= span.end <= len(workspace.text(span.file)), problem
        assert (span.start_line, span.start_char) <= (span.end_line, span.end_char), problem
    workspace.set_text((folder / name).as_posix(), PAGES[number][name])
