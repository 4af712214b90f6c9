"""What is wrong in a workspace is said where it is, with a way out, and the rest is checked all the same."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cli_kit import GRAPH, MESH, ROOT, Done, checked, command, environment, errors, m4, shop, write
from m4c import project
from m4c.placement.elements import ELEMENT, elements
from m4c.resources import specs_dir
from m4c.workspace import Workspace

GOOD = 'policy good (HttpRequest r) on web -> cart { r.SetHeader("x-from", "web"); }\n'
CLASH = 'policy clash (HttpRequest r) on * -> cart { r.SetHeader("x-from", "shop"); }\n'


# --- programs ---------------------------------------------------------------------------------------------------------


def test_a_broken_file_does_not_hide_the_others(tmp_path: Path) -> None:
    broken = 'policy broken (HttpRequest r) on web -> cart {\n    r.SetHeader("x-a", "1"\n}\npolicy ( on\n'
    folder = shop(tmp_path, GOOD + CLASH, **{"broken.m4": broken})
    found = errors(folder)
    assert ("contradiction", "policies.m4", 2) in found or ("contradiction", "policies.m4", 1) in found
    assert [(code, line) for code, file, line in found if file == "broken.m4"] == [
        ("syntax-error", 2),
        ("syntax-error", 4),
    ]


def test_nothing_runs_on_errors_and_says_where_they_are(tmp_path: Path) -> None:
    folder = shop(tmp_path, GOOD + CLASH)
    for args in (("plan",), ("build", "-o", tmp_path / "out"), ("deploy",)):
        done = m4(args[0], folder, *args[1:])
        assert (done.code, done.out) == (2, "")
        assert "contradiction in " in done.err
        assert "policies.m4:" in done.err
        assert "`m4 check` shows them" in done.err
    assert not (tmp_path / "out").exists()


def test_unknown_names_come_with_the_nearest(tmp_path: Path) -> None:
    policies = (
        "policy a (HttpRequest r) on web -> kart { r.DropRequest(); }\n"
        "policy b (HttpRequest r) on web -> cart { r.DropReqest(); }\n"
        'policy c (HttpRequest r) on web -> cart when r.metod == "GET" { r.DropRequest(); }\n'
        "policy d (HttpRequest r) on web -> cart overrides aa { r.DropRequest(); }\n"
    )
    text = m4("check", shop(tmp_path, policies)).out
    for near in ("cart", "DropRequest", "method", "a"):
        assert f"did you mean `{near}`?" in text
        assert f"= fix: Change to `{near}`" in text


def test_what_no_dataplane_can_do(tmp_path: Path) -> None:
    mesh = MESH.replace("ebpf, envoy", "ebpf")
    folder = shop(tmp_path, GOOD, **{"shop.m4": mesh})
    assert errors(folder) == [("unenforceable", "policies.m4", 1)]
    text = m4("check", folder).out
    assert "`good` cannot be enforced on " in text
    assert "ebpf has no SetHeader" in text
    assert "= fix: Add the dataplane `envoy` to the mesh" in text
    assert "unenforceable" in m4("deploy", folder).err


def test_imports_may_go_round(tmp_path: Path) -> None:
    folder = shop(tmp_path, f'import "a.m4"; import "policies.m4";\n{GOOD}')
    write(folder, {"a.m4": 'import "policies.m4"; import "../nowhere.m4"; import ".";\n'})
    assert errors(folder) == [("missing-file", "a.m4", 1), ("missing-file", "a.m4", 1)]
    assert m4("check", folder / "a.m4").code == 1


@pytest.mark.parametrize("n", [40, 200, 300, 5000])
@pytest.mark.parametrize(
    ("head", "one", "middle", "end"),
    [
        ("when ", "(", 'r.method == "A"', ")"),
        ("when ", "!(", 'r.method == "A"', ")"),
        ("when ", 'r.method == "A" && ', 'r.method == "B"', ""),
        ("when ", 'r.method == "A" || ', 'r.method == "B"', ""),
        ("{ r.AllowRequest(); ", 'if (r.method == "A") { ', "r.AllowRequest();", "}"),
    ],
    ids=["parentheses", "not", "and", "or", "if"],
)
def test_deep_nesting_is_no_crash(tmp_path: Path, n: int, head: str, one: str, middle: str, end: str) -> None:
    deep = f"policy deep (HttpRequest r) on * -> db {head}{one * n}{middle}{end * n}"
    deep += " }" if head.startswith("{") else " { r.AllowRequest(); }"
    folder = shop(tmp_path, f"{deep}\n{GOOD}{CLASH}")
    found = errors(folder)
    assert ("contradiction", "policies.m4", 3) in found
    assert (("syntax-error", "policies.m4", 1) in found) == (n > 500 or (n > 64 and bool(end)))
    assert m4("fmt", "--check", folder).code in (0, 1)
    assert m4("trace", folder, "--path", "outside,web,cart,db").code == 0


# --- graphs -----------------------------------------------------------------------------------------------------------


def test_a_graph_that_is_not_there(tmp_path: Path) -> None:
    folder = shop(tmp_path, GOOD)
    (folder / "graph.yaml").unlink()
    assert errors(folder) == [("missing-file", "shop.m4", 2)]
    for name in ("trace", "graph"):
        args = (name, folder, "--path", "web") if name == "trace" else (name, "show", folder)
        done = m4(*args)
        assert (done.code, done.out) == (2, "")
        assert "mesh `shop` has no readable graph; `m4 check` says why" in done.err
    (folder / "graph.yaml").mkdir()
    assert errors(folder) == [("missing-file", "shop.m4", 2)]


@pytest.mark.parametrize(
    ("graph", "line", "said"),
    [
        ("", 1, "a graph is a map with `services:` and `calls:`"),
        ("services: {}\n", 1, "the graph names no service"),
        ("services:\n  a: {}\n  b: [\n", 4, "not valid YAML"),
        ("services:\n  cart: {}\ncalls:\n  - [cart, kart]\n", 4, "no service is named `kart`; did you mean `cart`?"),
        ("services:\n  a: {}\ncalls:\n  - a\n", 4, "a call is `[caller, callee]`"),
        ("services:\n  a: {entri: true}\n", 2, "unknown key `entri`; did you mean `entry`?"),
        ("services:\n  a: {}\n  a: {}\n", 3, "service `a` is there twice"),
        ("services: " + "[" * 100_000, 1, "not valid YAML: exceeded maximum nesting depth"),
        ("a: &a [x]\nservices: *b\n", 2, "not valid YAML: found undefined alias"),
    ],
)
def test_a_malformed_graph(tmp_path: Path, graph: str, line: int, said: str) -> None:
    folder = shop(tmp_path, GOOD, **{"graph.yaml": graph})
    found = [d for d in m4("check", folder, "--format", "json").json["diagnostics"] if d["file"].endswith(".yaml")]
    assert any(said in d["message"] for d in found if d["range"]["start"]["line"] + 1 == line), found


# --- templates --------------------------------------------------------------------------------------------------------

TEMPLATE = "envoy/set_header.yaml.j2"


@pytest.mark.parametrize(
    ("template", "said", "where"),
    [
        ("{% macro filter(rule) %}{{ rule.nope.x }}{% endmacro %}", "no attribute 'nope'", f"{TEMPLATE}:1"),
        ("{% macro filter(rule) %}{{ rule.__class__ }}{% endmacro %}", "is unsafe", f"{TEMPLATE}:1"),
        ("{% macro filter(rule) %}{{ ''.__class__.mro() }}{% endmacro %}", "is unsafe", f"{TEMPLATE}:1"),
        (
            '{% macro filter(rule) %}{% include "../shop.m4" %}{% endmacro %}',
            "no template `../shop.m4`",
            f"{TEMPLATE}:1",
        ),
        ("{% macro filter(rule) %}{{ filter(rule) }}{% endmacro %}", "without end", f"{TEMPLATE}:1"),
        ("{% macro filter(rule) %}{{ range(10**9) }}{% endmacro %}", "Range too big", f"{TEMPLATE}:1"),
        ("{% macro filter(rule) %}{{ 1 / 0 }}{% endmacro %}", "division by zero", f"{TEMPLATE}:1"),
    ],
)
def test_a_template_that_fails(tmp_path: Path, template: str, said: str, where: str) -> None:
    folder = shop(tmp_path, GOOD, **{"shop.m4": MESH.replace("ebpf, ", "")})
    shutil.copytree(specs_dir() / "envoy", folder / "envoy")
    assert m4("build", ".", "-o", "out", cwd=folder).code == 0
    before = {p: p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()}
    write(folder, {TEMPLATE: template})
    for args in (("build", "-o", "out"), ("deploy", "--target", "directory", "-o", "out")):
        done = m4(args[0], ".", *args[1:], cwd=folder)
        assert (done.code, done.out) == (2, "")
        assert "m4: a template of `envoy` fails for `" in done.err
        assert said in done.err
        assert f"--> {where}" in done.err
        assert {p: p.read_bytes() for p in (folder / "out").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("template", "code", "said", "line"),
    [
        ("\n{% macro filter(rule) %}{{ nope }}{% endmacro %}", "bad-template", "nothing gives this template `nope`", 2),
        ("{% set x = 1 %}{{ wirring }}", "bad-template", "did you mean `wiring`?", 1),
        ("{% macro filter(rule) %}\n{% if %}{% endmacro %}", "bad-template", "Expected an expression", 2),
        ("{% macro filter(rule) %}", "bad-template", "Unexpected end of template", 1),
        ("\r\n\f\n{{ service | uper }}", "bad-template", "No filter named 'uper'", 3),
        ("{{ service is uper }}", "bad-template", "No test named 'uper'", 1),
        ("{{ " + "(" * 5000 + " }}", "bad-template", "", 1),
        (b"{# \xff #}", "bad-encoding", "not UTF-8", 1),
    ],
)
def test_a_template_with_a_mistake(tmp_path: Path, template: str | bytes, code: str, said: str, line: int) -> None:
    """It is found without running it, and nothing is built."""
    folder = shop(tmp_path, GOOD, **{"shop.m4": MESH.replace("ebpf, ", "")})
    shutil.copytree(specs_dir() / "envoy", folder / "envoy")
    write(folder, {TEMPLATE: template})
    (found,) = m4("check", folder, "--format", "json").json["diagnostics"]
    assert (found["code"], found["range"]["start"]["line"] + 1) == (code, line)
    assert said in found["message"]
    assert found["file"].endswith(TEMPLATE)
    done = m4("build", ".", "-o", "out", cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert f"the workspace has errors ({code} in {TEMPLATE}:" in done.err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "template",
    [
        "{% if nope is defined %}{{ nope }}{% endif %}{{ other | default('') }}{{ range(3) | list }}",
        "{% if service %}{% set here = 1 %}{% endif %}{{ here }}",
        "{% macro m(a, b=1) %}{{ a ~ b ~ caller() ~ varargs }}{% endmacro %}",
        "{% for x in sites %}{{ loop.index ~ x }}{% endfor %}{{ listener }}",  # which who imports it has set
        "{{ namespace(a=wiring).a }}",
    ],
)
def test_a_template_without_one(tmp_path: Path, template: str) -> None:
    folder = shop(tmp_path, GOOD, **{"shop.m4": MESH.replace("ebpf, ", "")})
    shutil.copytree(specs_dir() / "envoy", folder / "envoy")
    write(folder, {TEMPLATE: template})
    assert m4("check", folder, "--format", "json").json["diagnostics"] == []


def test_templates_are_given_what_is_said(tmp_path: Path) -> None:
    """The names that are looked for are those of the data that templates get."""
    workspace = Workspace([shop(tmp_path, GOOD)])
    program, plan = project.program(workspace.db, "shop"), project.plan(workspace.db, "shop")
    assert program is not None and plan is not None
    made = elements(program, plan)
    assert made
    assert {tuple(e) for e in made} == {ELEMENT}


def test_an_operation_without_its_template(tmp_path: Path) -> None:
    folder = shop(tmp_path, GOOD, **{"shop.m4": MESH.replace("ebpf, ", "")})
    shutil.copytree(specs_dir() / "envoy", folder / "envoy")
    line = "operation SetHeader;"
    spec = re.sub(r"operation SetHeader .*", line, (folder / "envoy/spec.m4").read_text("utf-8"))
    write(folder, {"envoy/spec.m4": spec})
    done = m4("build", ".", "-o", "out", cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert re.search("m4: `envoy` cannot perform SetHeader for `(web|cart)`: ", done.err)
    assert 'names no template for it, and the dataplane\'s own templates ask for one; add `emits "NAME.j2"`' in done.err
    number = spec[: spec.index(line)].count("\n") + 1
    assert f"--> envoy/spec.m4:{number}\n" in done.err
    assert f"{number} |         {line}\n" in done.err


def test_a_template_that_is_not_there_is_missed_before_anything_is_built(tmp_path: Path) -> None:
    folder = shop(tmp_path, GOOD, **{"shop.m4": MESH.replace("ebpf, ", "")})
    shutil.copytree(specs_dir() / "envoy", folder / "envoy")
    spec = re.sub(r"(operation SetHeader) .*", r'\1 emits "nope.j2";', (folder / "envoy/spec.m4").read_text("utf-8"))
    write(folder, {"envoy/spec.m4": spec})
    done = m4("build", ".", "-o", "out", cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert "the workspace has errors (missing-file in envoy/spec.m4:" in done.err

    workspace = Workspace([folder])
    (problem,) = workspace.problems()
    assert (problem.code, "`nope.j2`" in problem.message) == ("missing-file", True)
    before = workspace.fork()
    write(folder, {"envoy/nope.j2": ""})
    workspace.refresh()
    assert workspace.problems() == []
    assert [p.code for p in before.problems()] == ["missing-file"], "a fork keeps what it has seen"
    (folder / "envoy/nope.j2").unlink()
    workspace.refresh()
    assert workspace.problems() == [problem]


def test_an_operation_needs_no_template_where_none_is_asked_for(tmp_path: Path) -> None:
    spec = """\
        spec gate {
            tier proxy;
            cost 1;
            supports HttpRequest { operation SetHeader; }
            artifact "gate.conf" from "gate.conf.j2" per service;
        }
    """
    template = "{{ sites | map(attribute='rules') | sum(start=[]) | map(attribute='operation') | join }}\n"
    files = {"shop.m4": MESH.replace("ebpf, envoy", "gate"), "gate.m4": spec, "gate.conf.j2": template}
    folder = shop(tmp_path, GOOD, **files)
    done = m4("build", ".", "-o", "out", cwd=folder)
    assert (done.code, done.err) == (0, "")
    (built,) = (folder / "out").rglob("gate.conf")
    assert built.read_text("utf-8") == "SetHeader\n"


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (GOOD.encode("utf-16"), "not UTF-8: byte 0xff at offset 0 (it looks like UTF-16)"),
        (b"policy caf\xe9", "not UTF-8: byte 0xe9 at offset 10"),
    ],
)
def test_a_file_in_another_encoding(tmp_path: Path, data: bytes, said: str) -> None:
    folder = shop(tmp_path, GOOD + CLASH, **{"other.m4": data})
    assert ("bad-encoding", "other.m4", 1) in errors(folder)
    text = m4("check", folder).out
    assert said in text
    assert "= help: Save it as UTF-8." in text
    assert "error[contradiction]" in text
    assert m4("fmt", folder).code == 2
    assert (folder / "other.m4").read_bytes() == data


def test_a_graph_in_another_encoding_is_one_error(tmp_path: Path) -> None:
    assert errors(shop(tmp_path, GOOD, **{"graph.yaml": GRAPH.encode("utf-16")})) == [("bad-encoding", "graph.yaml", 1)]


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    folder = shop(tmp_path, GOOD + CLASH, **{"huge.m4": b"// 0123456\n" * 800_000})
    found = errors(folder)
    assert ("too-large", "huge.m4", 1) in found
    assert len(found) == 2
    assert "larger than 8 MiB" in m4("fmt", "--check", folder).err


@pytest.mark.parametrize("text", ["x", "{", '"', "/*", "policy p"])
def test_a_large_file_of_nonsense(tmp_path: Path, text: str) -> None:
    folder = shop(tmp_path, GOOD + CLASH, **{"large.m4": text * 500_000})
    done = m4("check", folder)
    assert done.code == 1
    assert "error[contradiction]" in done.out
    assert max(map(len, done.out.splitlines())) < 400


@pytest.mark.parametrize("name", ["a" * 300, "a\0", "a\ud800", "d/" * 3000 + "a"], ids=("long", "nul", "half", "deep"))
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    folder = shop(tmp_path, GOOD)
    workspace = Workspace([folder])
    workspace.set_text((folder / "policies.m4").as_posix(), f'import "{name}.m4";\nmesh other {{ graph "{name}"; }}\n')
    assert {p.code for p in workspace.problems()} >= {"missing-file"}
    file = f"/{name}.m4"
    workspace.set_text(file, "policy x")
    assert [p.code for p in workspace.problems() if p.place.file == file] == ["syntax-error"]
    workspace.close(file)
    assert [p.code for p in workspace.problems() if p.place.file.startswith(file[:200])] == []


def test_links_and_pipes(tmp_path: Path) -> None:
    folder = shop(tmp_path, GOOD + CLASH)
    (folder / "dangling.m4").symlink_to("nowhere.m4")
    (folder / "loop.m4").symlink_to("loop.m4")
    (folder / "endless.m4").symlink_to("/dev/zero")
    (folder / ".#policies.m4").symlink_to("me@here.1")  # a lock of Emacs
    (folder / "folder.m4").mkdir()
    os.mkfifo(folder / "pipe.m4")
    (folder / "linked.m4").symlink_to("policies.m4.txt")
    write(folder, {"policies.m4.txt": 'policy linked (HttpRequest r) on web -> cart { r.SetHeader("x-b", "1"); }\n'})
    found = errors(folder)
    names = ["dangling.m4", "endless.m4", "loop.m4", "pipe.m4"]
    assert [file for code, file, _ in found if code == "unreadable-file"] == names
    assert len(found) == len(names) + 1
    assert m4("fmt", "--check", folder).code == 2


def without_privileges(*args: str | Path) -> Done:
    """Runs a command that may not read everything, as root may."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if drop and shutil.which("setpriv") is None:
        pytest.skip("root reads every file, and `setpriv` is not here to prevent it")
    done = subprocess.run([*drop, *command(*args)], env=environment(), capture_output=True, text=True, check=False)
    return checked(Done(done.returncode, done.stdout, done.stderr))


def test_what_may_not_be_read(tmp_path: Path) -> None:
    folder = shop(tmp_path, GOOD + CLASH, **{"closed/more.m4": GOOD, "locked.m4": GOOD})
    for name, mode in (("closed", 0), ("locked.m4", 0)):
        (folder / name).chmod(mode)
    try:
        done = without_privileges("check", folder)
        assert done.code == 1
        assert done.out.count("error[unreadable-file]") == 2
        assert "the folder cannot be read: Permission denied" in done.out
        assert "the file cannot be read: Permission denied" in done.out
        assert "error[contradiction]" in done.out
        assert "= help: Allow reading it" in done.out
        for path in ("closed", "closed/more.m4"):
            refused = without_privileges("check", folder / path)
            assert refused.code == 2
            assert path in refused.err
            assert "Permission denied" in refused.err
        formatted = without_privileges("fmt", "--check", folder)
        assert formatted.code == 2
        assert formatted.err.count("Permission denied") == 2
        refused = without_privileges("build", folder / "shop.m4", "-o", folder / "closed/out")
        assert refused.code == 2
        assert "Permission denied" in refused.err
    finally:
        (folder / "closed").chmod(0o700)


# --- arguments --------------------------------------------------------------------------------------------------------

COMMANDS = {
    "check": (),
    "plan": (),
    "trace": ("--path", "web,cart"),
    "build": ("-o", "out"),
    "deploy": (),
    "status": (),
    "top": (),
    "undeploy": (),
    "fmt": (),
    "graph show": (),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_path_that_is_not_there(tmp_path: Path, name: str) -> None:
    done = m4(*name.split(), "nowhere", *COMMANDS[name], cwd=tmp_path)
    assert (done.code, done.out, done.err) == (2, "", "m4: there is no file or folder `nowhere`\n")
    done = m4(*name.split(), "", *COMMANDS[name], cwd=ROOT / "examples")
    assert (done.code, done.out, done.err) == (2, "", "m4: there is no file or folder ``\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_an_empty_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path, {"empty/configure.m4": "dnl not ours\nAC_INIT([x])\n"} if name != "fmt" else {})
    done = m4(*name.split(), "empty", *COMMANDS[name], cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "`empty`" in done.err
    assert ".m4" in done.err


@pytest.mark.parametrize("name", [n for n in COMMANDS if n not in ("check", "fmt")])
def test_which_mesh(tmp_path: Path, name: str) -> None:
    folder = shop(tmp_path, "")
    write(folder, {"other.m4": MESH.replace("shop", "store")})
    done = m4(*name.split(), folder, *COMMANDS[name], cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == "m4: there are several meshes; choose one with --mesh: store, shop\n"
    unknown = m4(*name.split(), folder, *COMMANDS[name], "--mesh", "stor", cwd=tmp_path)
    assert (unknown.code, unknown.out) == (2, "")
    assert "there is no mesh `stor`; there is `store`, `shop`" in unknown.err
