"""`m4 graph import` and `m4 graph show`: formats, several inputs, files, and inputs that are no good."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import environment, m4, process
from importing import calls, entries, graph, notes, rates, run
from m4c.graph.documents import MAX_BYTES, Input
from m4c.graph.imported import Options
from m4c.graph.importers import FORMATS, import_graph
from m4c.graph.load import load_graph

COMPOSE = "services: {web: {image: x, ports: [80], environment: {A: 'http://cart'}}, cart: {image: x}}"
JAEGER = '{"data": [{"parent": "web", "child": "cart", "callCount": 60}], "errors": null}'
KIALI = (
    '{"elements": {"nodes": [{"data": {"id": "1", "nodeType": "app", "namespace": "n", "app": "web"}}], "edges": []}}'
)
POD = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: []}}"
OURS = "services: {web: {origin: false, entry: trusted}, cart: {protocol: grpc}}\ncalls: [[cart, web]]"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- formats and merging ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (POD, "kubernetes"),
        (json.dumps({"apiVersion": "v1", "kind": "List", "items": []}), "kubernetes"),
        (COMPOSE, "compose"),
        ("name: x\nservices: {web: }", "compose"),
        (JAEGER, "jaeger"),
        ('[{"parent": "a", "child": "b"}]', "jaeger"),
        ('{"data": null, "errors": [{"msg": "x"}]}', "jaeger"),
        (KIALI, "kiali"),
        (OURS, "m4"),
        ("services: {web: }", "m4"),
        ("# nothing but\n---\n---\nservices: {web: {image: x}}", "compose"),
    ],
)
def test_the_format_is_seen_from_the_text(text: str, form: str) -> None:
    assert [name for name, _ in run(text).used] == [form]


@pytest.mark.parametrize(
    "text", ["a: 1", "[]", "[1]", "{}", "x", '{"data": [{"traceID": "1"}]}', "services: [a]", "1: 2"]
)
def test_no_format_is_made_up(text: str) -> None:
    result = run(text)
    assert result.used == ()
    assert [p.message.partition(";")[0] for p in result.problems] == ["is of no known format"]


def test_inputs_add_to_each_other() -> None:
    found = graph(COMPOSE, JAEGER, options=Options(period=60))
    assert rates(found) == {"web->cart": 1.0}
    assert entries(found) == ["web"]


def test_what_people_added_stays_when_the_rest_is_imported_anew() -> None:
    found = graph(OURS, COMPOSE)
    assert calls(found) == ["cart->web", "web->cart"]
    web, cart = found.services["web"], found.services["cart"]
    assert (web.entry, web.trusted, web.origin) == (True, True, False)
    assert (cart.protocol, cart.entry, cart.origin) == ("grpc", False, True)


def test_the_first_input_counts_where_two_differ() -> None:
    one = "services: {a: {protocol: grpc, labels: {x: '1'}, entry: false}, b: {entry: true}}"
    other = "services: {a: {image: x, labels: {x: '2', y: '3'}, ports: [{app_protocol: http}]}}"
    found = graph(one, other)
    assert found.services["a"].protocol == "grpc"
    assert found.services["a"].labels == (("x", "1"), ("y", "3"))
    assert not found.services["a"].entry
    assert [n for n in notes(one, other) if n.startswith("`a` has another")] == [
        f"`a` has another {what} in `b` than in the inputs before, which count"
        for what in ("label `x`", "`protocol`", "`entry`")
    ]


def test_services_that_only_one_input_knows_may_be_misnamed() -> None:
    more = COMPOSE.replace("cart: {image: x}", "cart: {image: x}, db: {image: x}")
    said = notes(more, JAEGER.replace("cart", "card"))
    assert "only in `b`: `card`; is one of them called otherwise elsewhere?" in said
    assert not [n for n in notes(COMPOSE, JAEGER) if n.startswith("only in")]


def test_entries_are_not_guessed_where_one_is_known() -> None:
    assert run(COMPOSE).guesses == ()
    closed = COMPOSE.replace("ports: [80], ", "")
    assert entries(graph(closed)) == ["web"]
    assert [str(g) for g in run(closed).guesses] == [
        "no input says where outside traffic comes in; taken for entries are those that nobody calls: `web`"
    ]
    ring = '[{"parent": "a", "child": "b"}, {"parent": "b", "child": "a"}]'
    assert entries(graph(ring)) == []


# --- inputs that are no good ------------------------------------------------------------------------------------------

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
)
MERGES = "x: &x {<<: [&y {a: 1}]}\n" + "".join(
    f"k{i + 1}: &k{i + 1} {{<<: [{', '.join(['*y' if i == 0 else f'*k{i}'] * 9)}], n{i}: 1}}\n" for i in range(200)
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a: is empty"),
        (b"# a comment\n---\n", "a: is empty"),
        (b"a: [1", "a:1: not valid YAML: while parsing a flow sequence: did not find expected ',' or ']'"),
        (
            b"a: 1\nb:\n\t- c\n",
            "a:3: not valid YAML: while scanning for the next token: found character that cannot start",
        ),
        (b"a: *b", "a:1: not valid YAML: found undefined alias"),
        (b'{"a": 1,\n "b" 2}', "a:2: not valid JSON: Expecting ':' delimiter (column 6)"),
        (b"a: 1\nb: \x00", "a:2: not valid YAML: character #x0000, control characters are not allowed"),
        ("ä: 1\nb: ä".encode("latin-1"), "a:1: not UTF-8: byte 0xe4 at offset 0"),
        ("a: ä".encode("utf-16") + b"\x00", "a:1: not UTF-16-LE: byte 0x00 at offset 10"),
        (b"\xff\xfe\x00\xd8", "a:1: not UTF-16-LE"),
        (b"[" * 100_000, "a: nested too deeply"),
        (b"- " * 100_000, "a:1: not valid YAML"),
        (b'{"n": ' + b"9" * 5000 + b', "a" "b"}', "a: not valid JSON: Exceeds the limit"),
        (b"x" * (MAX_BYTES + 1), "a: larger than 32 MiB: not read"),
        (b"kind: {{ .Values.kind }}", "a:1: is of no known format"),
        (b"kind: {{ .Values.kind }}", "It looks like a template: import what `helm template` makes of it"),
        (b"{{- if .Values.web }}\nkind: Pod\n", "It looks like a template: import what `helm template` makes of it"),
        (f"apiVersion: v1\nkind: Pod\n{BOMB}metadata: {{name: *j}}".encode(), "a:12: `metadata.name` is a list"),
        (f"{BOMB}services: *j".encode(), "a:1: is of no known format"),
        (b"services: {outside: {image: x}}", "`outside` cannot be the name of a service: in call paths"),
        (b'services: {"": {image: x}}', "`` cannot be the name of a service: it is empty"),
        (b'services: {"a\\nb": {image: x}}', "`a\\nb` cannot be the name of a service: it is empty, or has characters"),
        (b"services: {%s: {image: x}}" % (b"a" * 254), "cannot be the name of a service: it is longer than 253"),
        (rb'{"services": {"a": {"image": 1, "labels": {"k": "\ud800"}}}}', "`a` has a version, a label or a protocol"),
        (b"services: {a: {versions: v1}, b: {}}\ncalls: [[a, c]]", "a:1: `versions:` is a list, as in `[v1, v2]`"),
    ],
)
def test_bad_inputs_are_told_with_their_place(data: bytes, message: str) -> None:
    result = import_graph([Input("a", data)])
    assert result.graph is None
    assert str(result.problems[0]).startswith(message) or message in str(result.problems[0]), result.problems


def test_aliases_that_stand_for_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("m4c.graph.documents.MAX_VALUES", 100_000)
    pods = "[&p {name: c, env: &e [" + ", ".join(["{name: A, value: b}"] * 3000) + "]}" + ", *p" * 3000 + "]"
    result = run(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: {pods}}}")
    assert [str(p) for p in result.problems] == ["a:4: too many values, with what aliases repeat: not read"]


def test_merges_of_merges_take_no_time() -> None:
    found = graph(f"{MERGES}services: {{a: {{image: x, labels: *k200}}}}")
    assert len(found.services["a"].labels) == 201


def test_templates_are_told_from_manifests() -> None:
    chart = Input("chart/web.yaml", b"apiVersion: v1\nkind: {{ .Values.kind }}\n", asked=False)
    result = import_graph([chart, Input("pod.yaml", POD.encode())])
    assert result.graph is not None
    assert str(result.notes[0]) == (
        "left out, for they look like templates: import what `helm template` makes of them: `chart/web.yaml`"
    )


def test_other_files_of_a_folder_are_left_out() -> None:
    texts = {"pod.yaml": POD, "values.yaml": "a: 1", "package.json": "{", "own.yaml": OURS, "empty.yaml": ""}
    result = import_graph([Input(name, text.encode(), asked=False) for name, text in texts.items()])
    assert result.problems == ()
    assert result.used == (("kubernetes", ("pod.yaml",)),)
    assert [str(n) for n in result.notes][:3] == [
        "package.json:1: not valid JSON: Expecting property name enclosed in double quotes (column 2)",
        "left out, for a graph of M4 is taken only if it is named itself: `own.yaml`",
        "left out, for they are of no known format: `values.yaml`",
    ]
    broken = import_graph([Input("pod.yaml", b"apiVersion: v1\nkind: [", asked=False), Input("p", POD.encode())])
    assert [p.file for p in broken.problems] == ["pod.yaml"]
    only = import_graph([Input("pod.yaml", POD.encode(), asked=False), Input("c", COMPOSE.encode())], form="compose")
    assert [str(n) for n in only.notes] == ["left out, for they are Kubernetes manifests: `pod.yaml`"]


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_graph_is_printed(here: Path) -> None:
    (here / "compose.yaml").write_text(COMPOSE)
    (here / "k8s").mkdir()
    (here / "k8s/pod.yaml").write_text(POD.replace("web", "batch"))
    ran = m4("graph", "import", "compose.yaml", "k8s", "compose.yaml")
    assert (ran.code, ran.out) == (
        0,
        "# Made by `m4 graph import` from Compose files: compose.yaml; Kubernetes manifests: k8s (1 file).\n"
        "# Say `origin: false` of services that never start a request by themselves: no input knows it.\n"
        "services:\n"
        "  batch: {}\n"
        "  cart: {}\n"
        "  web: {entry: true}\n"
        "calls:\n"
        "  - [web, cart]\n",
    )
    assert ran.err == (
        "note: no input knows of calls to or from `batch`\n"
        "note: only in `k8s/pod.yaml`: `batch`; is one of them called otherwise elsewhere?\n"
    )
    assert m4("graph", "import", "compose.yaml", "k8s").out == ran.out


def test_a_file_is_written_once(here: Path) -> None:
    (here / "c.yaml").write_text(COMPOSE)
    ran = m4("graph", "import", "c.yaml", "-o", "g.yaml")
    assert (ran.code, ran.out, ran.err) == (0, "g.yaml: 2 services, 1 call\n", "")
    first = (here / "g.yaml").read_text()
    assert load_graph(first, "g.yaml").problems == ()
    (here / "g.yaml").write_text("mine")
    ran = m4("graph", "import", "c.yaml", "-o", "g.yaml")
    assert (ran.code, ran.err) == (2, "m4: `g.yaml` is there already; --force overwrites it\n")
    assert (here / "g.yaml").read_text() == "mine"
    (here / "g.yaml").write_text(OURS)
    assert m4("graph", "import", ".", "-o", "g.yaml", "--force").code == 0
    assert (here / "g.yaml").read_text().partition("services")[2] == first.partition("services")[2]


def test_nothing_is_written_if_an_input_is_wrong(here: Path) -> None:
    (here / "c.yaml").write_text(COMPOSE)
    (here / "bad.yaml").write_text("apiVersion: v1\nkind: Pod\n")
    ran = m4("graph", "import", "c.yaml", "bad.yaml", "-o", "g.yaml")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "bad.yaml:1: error: `metadata.name` is missing; expected the name of a Pod\n"
    assert not (here / "g.yaml").exists()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("gone.yaml",), "there is no file or folder `gone.yaml`"),
        (("empty",), "no files that end in .yaml, .yml, .json in `empty`"),
        (("c.yaml", "-o", "empty"), "`empty` is a folder; -o takes a file"),
        (("c.yaml", "-o", "gone/g.yaml"), "there is no folder `gone`"),
        (("c.yaml", "--from", "composer"), "no format is called `composer`; did you mean `compose`?"),
        (
            ("c.yaml", "--from", "x"),
            "no format is called `x`; there is `kubernetes`, `compose`, `jaeger`, `kiali`, `m4`",
        ),
        (("c.yaml", "--period", "soon"), "`--period soon` is no time: say it as in `90s`, `30m`, `1h` or `1d`"),
        (("c.yaml", "--period", "0s"), "`--period 0s` is no time: say it as in `90s`, `30m`, `1h` or `1d`"),
    ],
)
def test_what_cannot_be_done(here: Path, args: tuple[str, ...], message: str) -> None:
    (here / "c.yaml").write_text(COMPOSE)
    (here / "empty").mkdir()
    ran = m4("graph", "import", *args)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"m4: {message}")


@pytest.mark.parametrize(
    ("period", "rps"), [("60s", "1"), ("1m", "1"), ("60", "1"), ("0.5h", "0.03333"), ("1d", "0.0006944")]
)
def test_periods(here: Path, period: str, rps: str) -> None:
    (here / "j.json").write_text(JAEGER)
    assert f"  - {{from: web, to: cart, rps: {rps}}}\n" in m4("graph", "import", "j.json", "--period", period).out


def test_standard_input(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + COMPOSE.encode())))
    ran = m4("graph", "import", "-")
    assert ran.code == 0
    assert "from Compose files: <stdin>." in ran.out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"services: [")))
    assert m4("graph", "import", "-").err.startswith("<stdin>:1: error: not valid YAML")


def test_what_an_input_says_is_shown_safely(here: Path) -> None:
    (here / "c.yaml").write_text('services: {a: {image: x, environment: {"X\\e[31m": b}}, b: {image: x}}')
    said = m4("graph", "import", "c.yaml").err
    assert "`X\\x1b[31m` of `a` may be the address of `b`" in said
    assert "\x1b" not in said
    (here / "g.yaml").write_text('services: {"a\\e[31m": {entry: true, labels: {"k\\n": v}}}')
    assert "\na\\x1b[31m (k\\n: v; entry)\n" in m4("graph", "show", "g.yaml").out


def test_the_same_inputs_give_the_same_bytes(here: Path) -> None:
    (here / "c.yaml").write_text(COMPOSE.replace("cart: {image: x}", "cart: {image: x, depends_on: [d, c, b, web]}"))
    (here / "j.json").write_text(JAEGER)
    names = [f"svc{i}" for i in range(20)]
    pods = [POD.replace("web", n).replace("[]", f"[{{args: {[f'http://{m}' for m in names]}}}]") for n in names]
    services = [
        POD.replace("web", n).replace("Pod", "Service").replace("containers: []", "type: NodePort") for n in names
    ]
    (here / "k.yaml").write_text("\n---\n".join(pods + services))
    ran = [
        process("graph", "import", "c.yaml", "k.yaml", "j.json", env=environment(PYTHONHASHSEED=str(seed)), cwd=here)
        for seed in range(3)
    ]
    assert ran[0].code == 0
    assert ran[0].out.count("  - [svc") == 20 * 19
    assert ran[0] == ran[1] == ran[2]


def test_forcing_a_format(here: Path) -> None:
    (here / "c.yaml").write_text("services: {a: {labels: {x: y}}}")
    assert "graphs of M4" in m4("graph", "import", "c.yaml").out
    assert "Compose files" in m4("graph", "import", "c.yaml", "--from", "compose").out
    ran = m4("graph", "import", "c.yaml", "--from", "kubernetes")
    assert (ran.code, ran.err) == (1, "c.yaml:1: error: `kind` is missing; expected the kind of a Kubernetes object\n")


def test_help_names_every_format() -> None:
    text = process("graph", "import", "--help").out
    assert [f for f in FORMATS if f not in text] == []


def test_names_in_other_letters(here: Path) -> None:
    """Where standard output takes no UTF-8, the file is as good."""
    (here / "ä.yaml").write_text("services: {größe: {image: x, labels: {team: müller}}}", "utf-8")
    for env in (environment(PYTHONUTF8="1"), environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0")):
        ran = process("graph", "import", "ä.yaml", env=env, cwd=here)
        assert ran.code == 0
        loaded = load_graph(ran.out, "g.yaml")
        assert loaded.problems == ()
        assert loaded.graph is not None
        assert dict(loaded.graph.services["größe"].labels) == {"team": "müller"}
    assert "größe" not in ran.out


def test_a_pipe_is_read_if_it_is_named(here: Path) -> None:
    shell = "m() { " + sys.executable + ' -m m4c.cli.main "$@"; }; m graph import <(echo "$0") -o g.yaml'
    subprocess.run(["bash", "-c", shell, COMPOSE], check=True)
    assert (here / "g.yaml").read_text().startswith("# Made by `m4 graph import` from Compose files: /dev/fd/")


def test_what_cannot_be_read_in_a_folder(here: Path) -> None:
    os.mkfifo(here / "pipe.yaml")
    (here / "gone.yaml").symlink_to("nowhere.yaml")
    (here / "c.yaml").write_text(COMPOSE)
    assert m4("graph", "import", ".").code == 0


# --- m4 graph show ----------------------------------------------------------------------------------------------------

SHOWN = """\
services:
  cart: {versions: [v1, v2], protocol: grpc, origin: false}
  mail: {external: true, origin: false}
  web: {entry: trusted, labels: {team: front}, propagates: false, rps: 12}
calls:
  - [web, cart]
  - {from: web, to: mail, rps: 0.5}
"""


def test_a_graph_file_is_shown(here: Path) -> None:
    (here / "g.yaml").write_text(SHOWN)
    ran = m4("graph", "show", "g.yaml")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "3 services, 2 calls\n"
        "requests from outside come in at web\n"
        "requests start by themselves at web\n"
        "cart (versions v1, v2; grpc; starts no request by itself)\n"
        "mail (starts no request by itself; outside the mesh)\n"
        "web (team: front; entry, trusted; does not hand context on; 12/s from outside)\n"
        "    -> cart\n"
        "    -> mail (0.5/s)\n"
    )


def test_a_graph_is_shown_as_json(here: Path) -> None:
    (here / "g.yaml").write_text(SHOWN)
    (here / "g.m4").write_text('mesh g { graph "g.yaml"; dataplanes envoy; }')
    shown = json.loads(m4("graph", "show", "g.yaml", "--format", "json").out)
    assert shown["services"]["web"] == {
        "versions": [],
        "labels": {"team": "front"},
        "protocol": "http",
        "entry": "trusted",
        "origin": True,
        "propagates": False,
        "external": False,
        "rps": 12.0,
    }
    assert shown["calls"] == [{"from": "web", "to": "cart"}, {"from": "web", "to": "mail", "rps": 0.5}]
    assert json.loads(m4("graph", "show", "--format", "json").out) == shown
    written = m4("graph", "import", "g.yaml").out
    assert "web: {labels: {team: front}, entry: trusted, propagates: false, rps: 12}" in written
    again = load_graph(json.dumps(shown), "g.json")
    assert again.problems == ()
    assert again.graph == load_graph(SHOWN, "g.yaml").graph


def test_a_graph_file_with_errors_is_shown_as_far_as_it_can_be_read(here: Path) -> None:
    (here / "g.yaml").write_text("services:\n  a: {orgin: false}\n")
    ran = m4("graph", "show", "g.yaml")
    assert ran.code == 1
    assert "g.yaml:2: error: unknown key `orgin`; did you mean `origin`?" in ran.err
    assert "g.yaml:1: note: no service says `entry:`" in ran.err
    assert ran.out.startswith("1 service, 0 calls\n")
    (here / "g.yaml").write_text("[")
    assert m4("graph", "show", "g.yaml").code == 2
