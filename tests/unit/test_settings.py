"""`m4.toml`: how bad a project takes each diagnostic, the same in the command line and in editors."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from cli_kit import hold, m4, shop, write
from hypothesis import given, settings
from hypothesis import strategies as st
from m4c.diagnostics.registry import RULES, Severity
from m4c.diagnostics.settings import _keys, read_settings
from m4c.ide.diagnostics import diagnostics
from m4c.workspace import Workspace

# A hint and a warning.
POLICIES = """\
policy no_deletes (HttpRequest r) on * -> db         when r.method == "DELETE" { r.DropRequest(); }
policy also_cart  (HttpRequest r) on * -> cart -> db when r.method == "DELETE" { r.DropRequest(); }
policy guard      (HttpRequest r) on db -> cart { r.SetTimeout(2s); }
"""


def found(folder: Path) -> list[tuple[str, str]]:
    done = m4("check", folder, "--format", "json")
    diagnostics = hold(done.json, "check")["diagnostics"]
    assert done.code == (1 if any(d["severity"] == "error" for d in diagnostics) else 0)
    return [(d["code"], d["severity"]) for d in diagnostics]


def test_without_settings_the_rules_decide(tmp_path: Path) -> None:
    assert found(shop(tmp_path, POLICIES)) == [("redundant", "hint"), ("dead-path", "warning")]


def test_a_severity_counts_everywhere(tmp_path: Path) -> None:
    toml = '[diagnostics]\nredundant = "error"\ndead-path = "information"\n'
    folder = shop(tmp_path, POLICIES, **{"m4.toml": toml})
    assert found(folder) == [("redundant", "error"), ("dead-path", "information")]
    text = m4("check", folder)
    assert (text.code, "error[redundant]" in text.out, "information[dead-path]" in text.out) == (1, True, True)
    (run,) = hold(m4("check", folder, "--format", "sarif").json, "sarif")["runs"]
    assert [r["level"] for r in run["results"]] == ["error", "note"]
    assert m4("check", folder, "--format", "github").out.startswith("::error ")
    shown = [d.severity for found in diagnostics(Workspace([folder])).values() for d in found]
    assert shown == [Severity.ERROR, Severity.INFORMATION]
    refused = m4("build", folder, "-o", tmp_path / "out")
    assert (refused.code, "redundant" in refused.err) == (2, True)


def test_what_is_off_is_not_reported(tmp_path: Path) -> None:
    folder = shop(tmp_path, POLICIES, **{"m4.toml": 'diagnostics = { redundant = "off", dead-path = "off" }\n'})
    assert found(folder) == []
    assert diagnostics(Workspace([folder])) == {}


def test_the_nearest_file_counts_whatever_is_checked(tmp_path: Path) -> None:
    folder = shop(tmp_path / "project/shop", POLICIES)
    write(tmp_path, {"m4.toml": '[diagnostics]\nredundant = "error"\ndead-path = "error"\n'})
    assert found(folder) == [("redundant", "error"), ("dead-path", "error")], "in a folder above"
    write(tmp_path / "project", {"m4.toml": '[diagnostics]\nredundant = "warning"\n'})
    for checked in (folder, folder / "policies.m4", tmp_path / "project", tmp_path):
        if checked == folder / "policies.m4":
            write(folder, {"policies.m4": 'import "shop.m4";\n' + POLICIES})
        assert found(checked) == [("redundant", "warning"), ("dead-path", "warning")], checked


@pytest.mark.parametrize(
    ("toml", "message", "at"),
    [
        ('[diagnostics]\nredundnat = "off"\n', "no diagnostic has the code `redundnat`; did you mean `redundant`?",
         "redundnat"),
        ('[diagnostics]\nredundant = "warn"  # soon\n', "did you mean `warning`?", '"warn"'),
        ("[diagnostics]\nredundant = 3\n", 'one of "error", "warning", "information", "hint", "off"', "3"),
        ('[diagnostics]\r\n"contradiction" = "warning"\r\n', "`contradiction` is an error of the language",
         '"contradiction"'),
        ('diagnostics.syntax-error = "off"\n', "can be neither turned off nor taken for less",
         "diagnostics.syntax-error"),
        ('[diagnostic]\nredundant = "off"\n', "there is no setting `diagnostic`; did you mean `diagnostics`?",
         "diagnostic"),
        ('x = """\n[diagnostics]"""\n', "there is no setting `x`", "x"),
        ("diagnostics = 1\n", "`diagnostics` is a table of codes", "1"),
        ("[diagnostics]\nredundant = off\n", "this is not TOML: Invalid value", "o"),
        ("[diagnostics\n", "this is not TOML", "\n"),
        ('[diagnostics]\nredundant = "', "this is not TOML", '"'),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_reported_where_it_stands(tmp_path: Path, toml: str, message: str, at: str) -> None:
    folder = shop(tmp_path, POLICIES, **{"m4.toml": toml})
    workspace = Workspace([folder])
    (problem,) = [p for p in workspace.problems() if p.code == "bad-setting"]
    assert message in problem.message
    span = workspace.span(problem.place)
    assert span.file == (folder / "m4.toml").as_posix()
    assert workspace.text(span.file)[span.start : span.end] == at
    assert "bad-setting" in dict(found(folder))


def test_a_misspelt_setting_is_fixed(tmp_path: Path) -> None:
    toml = '# ours\n[diagnostics]\nredundnat = "of"\nshadowed = "errors"\n'
    folder = shop(tmp_path, POLICIES, **{"m4.toml": toml})
    m4("check", "--fix", folder)
    mended = '# ours\n[diagnostics]\nredundant = "off"\nshadowed = "error"\n'
    assert (folder / "m4.toml").read_text() == mended


def test_settings_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    folder = shop(tmp_path, POLICIES, **{"m4.toml": "[diagnostics]\n# é\n".encode("latin-1")})
    assert ("bad-encoding", "error") in found(folder)


def test_no_error_of_the_language_can_be_configured() -> None:
    for code, rule in RULES.items():
        (problem, *_) = read_settings(f'[diagnostics]\n{code} = "off"\n', "m4.toml").problems or (None,)
        assert (problem is not None) == (rule.severity == Severity.ERROR), code
    kept = read_settings("".join(f'diagnostics.{code} = "error"\n' for code in RULES), "m4.toml")
    assert kept.problems == (), "to say that an error is one does no harm"


def test_settings_that_are_open_or_change_count_at_once(tmp_path: Path) -> None:
    folder = shop(tmp_path, POLICIES)
    file = (folder / "m4.toml").as_posix()
    workspace = Workspace([folder])
    assert len(workspace.problems()) == 2
    workspace.set_text(file, '[diagnostics]\nredundant = "off"\n')
    assert [p.code for p in workspace.problems()] == ["dead-path"]
    workspace.close(file)
    assert len(workspace.problems()) == 2
    Path(file).write_text('[diagnostics]\ndead-path = "off"\n')
    workspace.refresh()
    assert [p.code for p in workspace.problems()] == ["redundant"]
    Path(file).unlink()
    workspace.refresh()
    assert len(workspace.problems()) == 2


# --- where keys stand -------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(("a", "b-c", "d_1", "e.f", "g h", "i'j", "7"))
SCALARS = st.sampled_from(("1", '"x # y"', "'[z]'", "true", "1.5", '"""\nm = 1\n"""', "[1, [2, 3],\n 4]", "1979-05-27"))


def quoted(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() else f'"{name}"'


@st.composite
def tables(draw: st.DrawFn, depth: int = 0) -> tuple[str, set[tuple[str, ...]]]:
    """The inside of a table in one line, and the paths of its keys."""
    pairs, paths = [], set()
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        if depth < 2 and draw(st.booleans()):
            inner, below = draw(tables(depth + 1))
            pairs.append(f"{quoted(name)} = {{ {inner.replace(chr(10), ' ')} }}")
            paths |= {(name,), *((name, *p) for p in below)}
        else:
            value = draw(SCALARS) if depth == 0 else draw(SCALARS.filter(lambda s: "\n" not in s))
            pairs.append(f"{quoted(name)} = {value}")
            paths.add((name,))
    return ("\n# a comment\n" if depth == 0 else ", ").join(pairs), paths


@given(tables(), tables(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_every_key_is_found(
    top: tuple[str, set[tuple[str, ...]]], table: tuple[str, set[tuple[str, ...]]], crlf: bool
) -> None:
    text = f'{top[0]}\n\n[ tab . "le" ]  # a table\n{table[0]}\n'
    tomllib.loads(text)
    text = text.replace("\n", "\r\n") if crlf else text
    wanted = top[1] | {("tab", "le", *p) for p in table[1]} | {("tab", "le")}
    seen = {path: (key, value) for path, key, value in _keys(text)}
    assert set(seen) == wanted
    for path, ((start, end), (first, last)) in seen.items():
        if path != ("tab", "le"):
            assert list(tomllib.loads(f"{text[start:end]} = {text[first:last]}")) == [path[-1]]
