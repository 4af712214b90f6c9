"""Whatever is done to a program, its problems are found without a failure, and the same ones whatever was there before.

Programs are those of the pages, the examples and the specs, in which tokens were taken out, put in, or exchanged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from m4c.cli.check import Found, as_github, as_json, as_sarif
from m4c.cli.text import render_text
from m4c.syntax.items import split
from m4c.syntax.printer import format_text
from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
TOKEN = re.compile(r'"[^"\n]*"|\w+|\s+|.', re.S)
SHOWN = re.compile(r"^```m4[^\n]*\n(.*?)^```", re.M | re.S)
GRAPH = """\
services:
  web: {entry: true, origin: false}
  cart: {origin: false}
  db: {origin: false, versions: [v1, v2]}
calls:
  - [web, cart]
  - [web, db]
  - [cart, db]
"""
MESH = 'mesh shop { graph "graph.yaml"; dataplanes ebpf, envoy; }\n'
CIRCLE = """\
policy a (HttpRequest r) on * -> db overrides b { r.DropRequest(); }
policy b (HttpRequest r) on * -> db overrides a { r.AllowRequest(); }
policy c (HttpRequest r) on web -> db overrides a { r.AllowRequest(); }
policy d (HttpRequest r) on * -> db after a { r.AllowRequest(); }
"""
LATER = """\
policy a (HttpRequest r) on web -> cart when r.url_path starts_with "/a" && r.target != "/a" { r.SetTimeout(1s); }
policy b (HttpRequest r) on * -> cart -> db when r.header["x-user"] == "admin" { r.SetTimeout(9s); }
"""


@cache
def programs() -> list[str]:
    """Every program that the project shows."""
    pages = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/language/*.md"), *ROOT.glob("compiler/**/*.md")]
    shown = [text for page in sorted(pages) for text in SHOWN.findall(page.read_text("utf-8"))]
    return shown + [
        p.read_text("utf-8") for folder in ("examples", "specs") for p in sorted(ROOT.glob(f"{folder}/**/*.m4"))
    ]


@cache
def items() -> list[str]:
    return sorted({item.text for text in programs() for item in split(text)})


@cache
def tokens() -> list[str]:
    return sorted({token for text in programs() for token in TOKEN.findall(text)})


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A few declarations in which some tokens are wrong."""
    parts = TOKEN.findall("\n".join(draw(st.lists(st.sampled_from(items()), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(parts) - 1))
        match draw(st.sampled_from(("out", "in", "other", "swap"))):
            case "out" if len(parts) > 1:
                del parts[at : at + draw(st.integers(1, 4))]
            case "in":
                parts.insert(at, draw(st.sampled_from(tokens())))
            case "swap":
                to = draw(st.integers(0, len(parts) - 1))
                parts[at], parts[to] = parts[to], parts[at]
            case _:
                parts[at] = draw(st.sampled_from(tokens()))
        if not parts:
            break
    return "".join(parts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = tmp_path_factory.mktemp("shop")
    (made / "graph.yaml").write_text(GRAPH)
    (made / "shop.m4").write_text(MESH)
    yield made


@pytest.fixture(scope="module")
def edited(folder: Path) -> Workspace:
    """The workspace in which one text comes after the other."""
    return Workspace([folder])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@example(text="policy p (HttpRequest r) on /* -> db { }")  # a comment that is never closed
@example(text=CIRCLE)
@example(text=LATER)
@given(text=texts())
def test_a_wrong_program_is_no_failure(folder: Path, edited: Workspace, text: str) -> None:
    file = (folder / "policies.m4").as_posix()
    edited.set_text(file, text)
    found = edited.problems()
    every = Found(edited, found, found, edited.suppressed())
    whole = as_json(every)
    assert len(whole["diagnostics"]) == len(as_github(edited, found)) == len(found)
    assert len(as_sarif(every)["runs"][0]["results"]) == len(found) + len(every.suppressed)
    assert render_text(edited, found, color=False).count("[") >= len(found)

    fresh = Workspace([folder])
    fresh.set_text(file, text)
    again = fresh.problems()
    assert as_json(Found(fresh, again, again, fresh.suppressed())) == whole

    formatted = format_text(text)
    assert format_text(formatted) == formatted
