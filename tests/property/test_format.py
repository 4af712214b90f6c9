"""The formatter: whatever white space, line breaks and comments a program has, only these move, once.

Programs are pieces of shipped and of made-up text, taken apart into the tokens of the grammar and put together again
with random white space and comments between them.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from m4c.cli import fmt
from m4c.cli.main import UsageError
from m4c.ide.format import format_document
from m4c.syntax.items import TOKEN, split
from m4c.syntax.parser import grammar, parse_item
from m4c.syntax.printer import format_text, left_alone, same_meaning
from m4c.workspace import Workspace, looks_like_m4

ROOT = Path(__file__).parents[2]
SETTINGS = settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], database=None
)
SHIPPED = sorted([*ROOT.glob("specs/**/*.m4"), *ROOT.glob("examples/*/*.m4")])

EVERYTHING = r"""import "core.m4";
mesh shop;
mesh "odd shop" extends shop {
    graph "g.yaml"; dataplanes a, b; place cart.v1 never a; place "on" only b; cost a on redis-cart 3; tag_bits 4;
    propagate "x-a", "x-b"; group edge = { web, load-gen, "at", } group inner = { a-b };
    default HttpRequest.header["x-a"] = deny on outside -> !(a | b:v2)* -> ?* -> @edge* -> [kind: store, "a b": "c"];
}
@since("2024", 3) @internal
spec demo {
    tier proxy; cost 50; context reads at egress, writes; peer egress, ingress;
    artifact "e.yaml" from "e.j2" per service;
    enum Level { low, high terminal, }
    entity Thing over Other { attribute "odd name": int; attribute n[k: istring except ["te"]]: map<int, percent>?; }
    supports HttpRequest {
        reads method with (== != < <= > >= in starts_with ends_with contains matches exists) at egress, t, x at ingress;
        reads header with (exists);
        operation Allow emits "a.j2";
        operation RemoveAll at egress emits "b.j2";
        operation Put(name: istring = "a", m: map<version, percent>? = { v1: 1% }) at egress
            writes h[name] = m, x["k"] = 1 emits "p.j2";
        attribute url: string? in r"[A-Z]+" merge min default 250ms travels from target before "?";
    }
}
state entity Bucket(rate: rate, burst: int = 20) { attribute left: int; condition Take(n: int) emits "t.j2"; }
state Bucket limiter(100/s, burst: 20) per r.header["x"];
state Counter hits;
policy p (HttpRequest r) on cart->redis-cart:v2 -> A* -> ("odd" | c)* -> * at ingress overrides a, b after c
    when !r.a && (exists r.h["x"] || r.m in ["G", -1, 2.5%] && r.t matches r"a\"b{2}") when limiter.Take(1) {
    let limit = { v1: 80%, "v 2": 20.5% }; r.Split({}); r.Set(status: 429, [{ a: 1s }]);
    if (r.n < 3) { } else if (r.n >= 100/m) { r.Drop(); } else { r.Set("é 😀 // no /* comment"); }
}
test "all of it" { request GET "/" on outside -> a -> b with h["x"] = "1", m = "GET"; expect deny; }
"""


def tokens(text: str) -> list[str]:
    """What the grammar sees, an item after the other."""
    return [str(token) for item in split(text) for token in grammar().parse_interactive(item.text).iter_parse()]


def comments(text: str) -> list[str]:
    """Comments in order, their lines without the white space around them."""
    found = (m.group() for m in TOKEN.finditer(text) if m.lastgroup == "comment")
    return ["\n".join(line.strip() for line in c.split("\n")) for c in found]


def same_trees(a: str, b: str) -> bool:
    left, right = split(a), split(b)
    return len(left) == len(right) and all(
        same_meaning(parse_item(x.text).decl, parse_item(y.text).decl) for x, y in zip(left, right, strict=True)
    )


def sound(text: str) -> bool:
    return all(not parse_item(item.text).problems for item in split(text))


SOURCES = [EVERYTHING, *(path.read_text("utf-8") for path in SHIPPED)]
ITEMS = [item.text for source in SOURCES for item in split(source)]
SPACES = st.text(" \t", min_size=1, max_size=3)
BREAKS = st.sampled_from([" ", "  ", "\t", "\n", "\n\n", "\n\n\n  ", "\n\t", " \n   "])
WORDS = st.sampled_from(["why", "é 😀", "a {", "policy x", "b; }", '"open', "* tight", "// no", ""])
COMMENTS = st.one_of(
    WORDS.map(lambda w: f" // {w}  \n"),
    WORDS.map(lambda w: f"\n  /// {w}\n"),
    WORDS.map(lambda w: f" /* {w} */ "),
    WORDS.map(lambda w: f"\n    /* {w}\n     * {w}  \n  {w} */"),
)
BETWEEN = st.one_of(BREAKS, BREAKS, BREAKS, COMMENTS)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Some items with other white space and comments between their tokens, and some as they were."""
    out = []
    for text in draw(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=3)):
        if draw(st.booleans()):
            out.append(text)
        else:
            words = tokens(text)
            out.append(words[0] + "".join(draw(BETWEEN) + word for word in words[1:]))
        out.append(draw(BETWEEN))
    return "".join(out)


@SETTINGS
@given(programs())
def test_only_white_space_moves(text: str) -> None:
    assume(sound(text))  # a keyword that comes to begin a line within braces begins an item
    formatted = format_text(text)
    assert not left_alone(text)
    assert tokens(formatted) == tokens(text)
    assert comments(formatted) == comments(text)
    assert same_trees(formatted, text)
    assert format_text(formatted) == formatted


@SETTINGS
@given(programs())
def test_the_shape_of_lines(text: str) -> None:
    assume(sound(text))
    formatted = format_text(text)
    assert formatted.endswith("\n") and not formatted.endswith("\n\n") and not formatted.startswith("\n")
    assert "\n\n\n" not in re.sub(r"/\*.*?\*/", "", formatted, flags=re.S)
    assert not re.search(r"[ \t]$", formatted, re.M)
    assert "\t" not in "".join(line for line in re.sub(r"/\*.*?\*/", "", formatted, flags=re.S).split("\n"))


@SETTINGS
@given(st.data(), st.sampled_from(SOURCES))
def test_spaces_do_not_matter(data: st.DataObject, text: str) -> None:
    """Other spaces on the same lines, and other indentation, come out the same."""
    # Never none: a keyword that begins its line within braces begins an item.
    out, at = [], 0
    for item in split(text):
        out.append(text[at : item.start])
        at, end = item.end, 0
        for token in grammar().parse_interactive(item.text).iter_parse():
            start = token.start_pos or 0
            gap = item.text[end:start]
            keep = gap.strip() or not gap or data.draw(st.integers(0, 3))
            out.append(gap if keep else "\n" * gap.count("\n") + data.draw(SPACES))
            out.append(str(token))
            end = token.end_pos or start
    assert format_text("".join(out) + text[at:]) == format_text(text)


@SETTINGS
@given(st.data(), st.sampled_from(SOURCES))
def test_broken_items_stay_and_the_rest_is_formatted(data: st.DataObject, text: str) -> None:
    """Cutting a piece out of a program breaks it somewhere: what does not parse stays to the byte."""
    start = data.draw(st.integers(0, len(text) - 1))
    text = text[:start] + text[start + data.draw(st.integers(1, 40)) :]
    if data.draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    formatted = format_text(text)
    assert [i.text for i in left_alone(formatted)] == [i.text for i in left_alone(text)]
    assert len(split(formatted)) == len(split(text))
    assert same_trees(formatted, text)
    assert format_text(formatted) == formatted


@SETTINGS
@given(st.text(alphabet=' \t\r\n\f\ufeff\xa0{}()[];:,.!@?*|-<>="/\\aé1%', max_size=60))
def test_any_text_at_all(text: str) -> None:
    formatted = format_text(text)
    assert format_text(formatted) == formatted
    assert re.sub(r"\s", "", formatted.replace("\ufeff", "")) == re.sub(r"\s", "", text.replace("\ufeff", ""))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_shipped_programs_are_formatted(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not left_alone(text)
    assert format_text(text) == text


MESSY = """

import   "core.m4" ;
/*lead*/mesh   shop { graph"g.yaml";


  dataplanes a ,b; // both


  // the end
}
policy p(HttpRequest r)on(a|b : v2)* ->[kind:store]->! c
when r . header [ "x" ]=="1"
{
r.Split( {v1:80% ,v2:20%} );   // a
      if(r.n<3){r.Drop( );}else{ }  // bb

}
spec s { supports E { operation Aa emits "x";
 operation B emits "y"; reads x with(== in);
}}
/// Doc.
policy q (E e) on a ->
  ? {}"""

NEAT = """import "core.m4";

/*lead*/ mesh shop { graph "g.yaml";

    dataplanes a, b; // both

    // the end
}

policy p (HttpRequest r) on (a | b:v2)* -> [kind: store] -> !c
    when r.header["x"] == "1"
{
    r.Split({ v1: 80%, v2: 20% });         // a
    if (r.n < 3) { r.Drop(); } else {} // bb
}

spec s { supports E { operation Aa emits "x";
    operation B emits "y"; reads x with (== in);
}}

/// Doc.
policy q (E e) on a ->
    ? {}
"""


def test_a_messy_program() -> None:
    assert format_text(MESSY) == NEAT.replace('});         // a', '});     // a')


def test_line_ends_and_the_byte_order_mark() -> None:
    assert format_text("\ufeffmesh  a;\r\n/* x\r\n y */\r\nmesh b;") == "\ufeffmesh a;\r\n/* x\r\n y */\r\nmesh b;\r\n"
    assert format_text("mesh  a;\r\nmesh b;\nmesh c;\n") == "mesh a;\nmesh b;\nmesh c;\n"
    assert format_text("") == format_text(" \n\n") == ""


def test_a_file_is_formatted_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, gnu, link = tmp_path / "a.m4", tmp_path / "gnu.m4", tmp_path / "sub" / "link.m4"
    ours.write_bytes(MESSY.encode())
    ours.chmod(0o640)
    gnu.write_text("dnl no\ndefine(`x',   `y')\n")
    link.parent.mkdir()
    link.symlink_to(ours)
    check = argparse.Namespace(paths=[str(tmp_path)], check=True)
    assert fmt.run(check) == 1
    assert ours.read_text() == MESSY and "a.m4" in capsys.readouterr().out
    assert fmt.run(argparse.Namespace(paths=[str(link)], check=False)) == 0
    assert ours.read_text() == format_text(MESSY) and link.is_symlink()
    assert ours.stat().st_mode & 0o777 == 0o640
    assert gnu.read_text() == "dnl no\ndefine(`x',   `y')\n" and not looks_like_m4(gnu.read_text())
    capsys.readouterr()
    assert fmt.run(check) == 0
    assert capsys.readouterr().out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.m4", "gnu.m4", "sub"]


def test_files_that_cannot_be_formatted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.m4").write_bytes(b"mesh \xff;")
    (tmp_path / "half.m4").write_text("mesh  a;\n\npolicy  half (\n")
    assert fmt.run(argparse.Namespace(paths=[str(tmp_path)], check=False)) == 2
    said = capsys.readouterr()
    assert "not UTF-8" in said.err and "half.m4:3" in said.err
    assert (tmp_path / "half.m4").read_text() == "mesh a;\n\npolicy  half (\n"
    with pytest.raises(UsageError, match="no file or folder"):
        fmt.run(argparse.Namespace(paths=[str(tmp_path / "none")], check=False))


def test_a_document(tmp_path: Path) -> None:
    file = tmp_path / "a.m4"
    file.write_text("mesh   a ;")
    workspace = Workspace([tmp_path])
    assert format_document(workspace, file.as_posix()) == "mesh a;\n"
    workspace.set_text(file.as_posix(), "mesh a;\n")
    assert format_document(workspace, file.as_posix()) is None
