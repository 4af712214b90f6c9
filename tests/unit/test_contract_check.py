"""The contract of `m4 check`: the same findings in every format, at the right places, with the right exit code."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from cli_kit import BOUTIQUE, CLASH, CONFLICT, ROOT, errors, hold, m4, process, shop
from m4c.diagnostics.registry import RULES

WARNING = "policy never (HttpRequest r) on cart -> web { r.DropRequest(); }\n"
SYNTAX = "policy p (HttpRequest r) on web -> cart { r.DropRequest() }\nnonsense\n"


@pytest.mark.parametrize(
    ("policies", "code", "summary"),
    [
        ("", 0, {"errors": 0, "warnings": 0, "policies": 0, "services": 3}),
        (WARNING, 0, {"errors": 0, "warnings": 1, "policies": 1, "services": 3}),
        (CLASH + WARNING, 1, {"errors": 1, "warnings": 1, "policies": 3, "services": 3}),
        (SYNTAX, 1, {"errors": 2, "warnings": 0, "policies": 1, "services": 3}),
    ],
    ids=["nothing", "warning", "contradiction", "syntax"],
)
def test_check_says_the_same_in_every_format(tmp_path: Path, policies: str, code: int, summary: dict[str, int]) -> None:
    folder = shop(tmp_path, policies)
    outputs = {}
    for form in ("text", "json", "sarif", "github"):
        done = m4("check", ".", "--format", form, cwd=folder)
        assert (done.code, done.err) == (code, "")
        outputs[form] = done
    found = hold(outputs["json"].json, "check")
    assert found["summary"] == summary
    diagnostics = found["diagnostics"]
    assert {d["file"] for d in diagnostics} <= {"policies.m4"}
    starts = [d["range"]["start"] for d in diagnostics]
    places = [(start["line"], start["character"]) for start in starts]
    assert places == sorted(places)
    codes = [d["code"] for d in diagnostics]
    assert set(codes) <= set(RULES)

    (run,) = hold(outputs["sarif"].json, "sarif")["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [r["ruleId"] for r in run["results"]] == codes
    assert [rules[r["ruleIndex"]]["id"] for r in run["results"]] == codes
    for result, diagnostic, (line, character) in zip(run["results"], diagnostics, places, strict=True):
        where = result["locations"][0]["physicalLocation"]
        assert (where["region"]["startLine"], where["region"]["startColumn"]) == (line + 1, character + 1)
        assert where["artifactLocation"]["uri"] == diagnostic["file"]
        assert len(result["relatedLocations"]) == len(diagnostic["related"])

    annotation = r"::(error|warning|notice) file=policies\.m4,line=(\d+).*,title=([a-z-]+)::.+"
    lines = [re.fullmatch(annotation, line) for line in outputs["github"].out.splitlines()]
    words = [d["severity"] if d["severity"] in ("error", "warning") else "notice" for d in diagnostics]
    said = [(m[1], int(m[2]) - 1, m[3]) for m in lines if m is not None]
    assert said == [(w, line, c) for w, (line, _), c in zip(words, places, codes, strict=True)]
    assert None not in lines

    heads = re.findall(r"^(\w+)\[([a-z-]+)\]: ", outputs["text"].out, re.M)
    assert heads == [(d["severity"], d["code"]) for d in diagnostics]
    counted = [f"{n} {w}{'s' * (n != 1)}" for w in ("error", "warning") if (n := summary[f"{w}s"])]
    policies_ = f"{summary['policies']} polic{'y' if summary['policies'] == 1 else 'ies'}"
    assert outputs["text"].out.splitlines()[-1] == f"{policies_} over 3 services: {', '.join(counted) or 'no errors'}"


def test_a_contradiction_in_full(tmp_path: Path) -> None:
    folder = shop(tmp_path, CLASH)
    (found,) = m4("check", ".", "--format", "json", cwd=folder).json["diagnostics"]
    assert (found["code"], found["severity"], found["policies"]) == ("contradiction", "error", ["one", "two"])
    witness = found["witness"]
    assert (witness["path"], witness["hop"]) == (["outside", "web", "cart"], ["web", "cart"])
    assert witness["entity"] == "HttpRequest"
    assert witness["attributes"]['header["x-a"]'] == "b"
    (related,) = found["related"]
    lines = (folder / "policies.m4").read_text().splitlines()
    starts = []
    for place in (found, related):
        start, end = place["range"]["start"], place["range"]["end"]
        assert start["line"] == end["line"]
        starts.append(lines[start["line"]][start["character"] : end["character"]])
    assert sorted(starts) == ['r.SetHeader("X-From", "shop")', 'r.SetHeader("x-from", "web")']

    text = m4("check", ".", cwd=folder).out
    shown = text[text.index("   --> ") :].splitlines()
    assert shown[0].startswith("   --> policies.m4:")
    number, source = re.fullmatch(r"  (\d) \| (.*)", shown[2]).groups()  # type: ignore[union-attr]
    assert source == lines[int(number) - 1]
    caret = shown[3].index("^")
    assert shown[2][caret : caret + shown[3].count("^")] in starts
    assert text.count("   --> ") == 2
    assert "   = fix: Let `one` override `two`" in text


def test_the_gutter_is_as_wide_as_the_longest_line_number(tmp_path: Path) -> None:
    one, two = CLASH.splitlines(keepends=True)
    text = m4("check", ".", cwd=shop(tmp_path, one + "\n" * 120 + two)).out
    lines = text.splitlines()
    sources = sorted(line for line in lines if re.match(r" *\d+ \|", line))
    assert sources == [f"    1 | {one[:-1]}", f"  122 | {two[:-1]}"]
    assert [line.index("-->") for line in lines if "-->" in line] == [5, 5]
    assert {line.index("|") for line in lines if re.match(r" *\d* \|", line)} == {6}
    assert {line.index("=") for line in lines if re.match(r" *= (fix|help): ", line)} == {5}


def test_all_shows_every_pair(tmp_path: Path) -> None:
    names = ("a", "b", "c")
    policies = "".join(f'policy {n} (HttpRequest r) on web -> cart {{ r.SetHeader("x", "{n}"); }}\n' for n in names)
    found = m4("check", shop(tmp_path, policies), "--all", "--format", "json").json["diagnostics"]
    assert sorted(tuple(sorted(d["policies"])) for d in found) == [("a", "b"), ("a", "c"), ("b", "c")]


def test_check_takes_files_and_folders(tmp_path: Path) -> None:
    folder = shop(
        tmp_path, CLASH, **{"deep/er/more.m4": WARNING, ".hidden/x.m4": "nonsense", "node_modules/y.m4": "no"}
    )
    assert {file for _, file, _ in errors(folder)} == {"policies.m4", "more.m4"}
    assert m4("check", folder / "shop.m4").code == 0
    both = m4("check", folder / "shop.m4", folder / "deep", "--format", "json").json
    assert both["summary"] == {"errors": 0, "warnings": 1, "policies": 1, "services": 3}
    assert m4("check", cwd=folder).code == 1
    assert m4("check", BOUTIQUE, CONFLICT).code == 1


def test_every_example_is_in_order() -> None:
    assert m4("check", BOUTIQUE).out == "8 policies over 12 services: no errors\n"
    assert m4("check", CONFLICT).code == 1


# --- positions --------------------------------------------------------------------------------------------------------

WIDE = "policy p (HttpRequest r) on web -> cart { /* é😀𝔘 */ r.Nope(); }"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "bom"])
def test_characters_are_utf16_units(tmp_path: Path, end: str, mark: bytes) -> None:
    text = end.join(("// é", f"{WIDE}", "/* 😀", "*/ policy q (HttpRequest r) on web -> kart { r.DropRequest(); }", ""))
    folder = shop(tmp_path, mark + text.encode("utf-8"))
    found = m4("check", folder, "--format", "json").json["diagnostics"]
    ranges = [d["range"] for d in found]
    column = len(WIDE[: WIDE.index("Nope")].encode("utf-16-le")) // 2
    assert ranges[0]["start"] == {"line": 1, "character": column}
    assert ranges[0]["end"] == {"line": 1, "character": column + 4}
    assert ranges[1]["start"] == {"line": 3, "character": len("*/ policy q (HttpRequest r) on web -> ")}
    text = m4("check", folder).out
    assert f"policies.m4:2:{column + 1}\n" in text
    lines = text.splitlines()
    (at,) = (i for i, line in enumerate(lines) if "Nope();" in line)
    # In a terminal 😀 takes two columns, é and 𝔘 one.
    assert lines[at + 1].index("^") == lines[at].index("Nope") + 1
    assert "\r" not in text


def test_the_first_line_is_counted_without_its_mark(tmp_path: Path) -> None:
    text = "policy p (HttpRequest r) on web -> kart { r.DropRequest(); }\n"
    ranges = []
    for mark in (b"", b"\xef\xbb\xbf"):
        folder = shop(tmp_path / str(len(mark)), mark + text.encode())
        ranges.append(m4("check", folder, "--format", "json").json["diagnostics"][0]["range"])
        assert m4("fmt", folder).code == 0
        assert (folder / "policies.m4").read_bytes().startswith(mark or b"policy")
    assert ranges[0] == ranges[1]
    assert ranges[0]["start"] == {"line": 0, "character": 35}


def test_long_lines_are_cut_around_the_place(tmp_path: Path) -> None:
    line = f"policy p (HttpRequest r) on web -> cart {{ /* {'x' * 500} */ r.Nope(); /* {'y' * 500} */ }}"
    done = m4("check", shop(tmp_path, line))
    source, under = done.out.splitlines()[-5:-3]
    assert len(source) < 200
    assert source.count("…") == 2
    assert source[under.index("^") :].startswith("Nope()")


def test_what_would_steer_the_terminal_is_shown(tmp_path: Path) -> None:
    text = 'policy p (HttpRequest r) on web -> "k\x1b[31mart" { /* \u202e */ r.DropRequest(); }\n'
    out = m4("check", shop(tmp_path, text)).out
    assert "unknown-name" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_paths_with_strange_characters(tmp_path: Path) -> None:
    names = ["a b.m4", "100%.m4", "é😀.m4", "a,b:c.m4", "#x?.m4"]
    folder = shop(tmp_path, "", **dict.fromkeys(names, "nonsense;"))
    (run,) = hold(m4("check", ".", "--format", "sarif", cwd=folder).json, "sarif")["runs"]
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]]
    assert sorted(map(unquote, uris)) == sorted(names)
    (run,) = hold(m4("check", folder, "--format", "sarif", cwd=ROOT).json, "sarif")["runs"]
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]]
    assert all(uri.startswith("file:///") for uri in uris)
    out = m4("check", ".", "--format", "github", cwd=folder).out
    for line in out.splitlines():
        properties = line.removeprefix("::error ").split("::")[0]
        assert all(re.fullmatch(r"[A-Za-z]+=[^,:]+", p) for p in properties.split(",")), line
    assert "file=a%2Cb%3Ac.m4," in out
    assert "file=100%25.m4," in out


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    folder = shop(tmp_path)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.m4")).write_text("nonsense;")
    for form in ("text", "json", "sarif", "github"):
        done = process("check", ".", "--format", form, cwd=folder)
        assert done.code == 1
        assert "syntax-error" in done.out
        if form in ("json", "sarif"):
            hold(done.json, "check" if form == "json" else "sarif")
