"""Rename: what changes where, and what is refused and why."""

from __future__ import annotations

from pathlib import Path

import pytest
from cursors import Desk
from m4c.ide.edits import apply_edits
from m4c.ide.rename import Refused, prepare_rename, rename

FILES = {
    "graph.yaml": (
        "services:\n  web: {entry: true}\n  cart: {}\n  'db': {versions: [v1, v2]}\n"
        'calls:\n  - [web, cart]\n  - {from: "cart", to: db, rps: 3}\n'
    ),
    "mesh.m4": (
        'mesh shop { graph "graph.yaml"; dataplanes gate; place db never gate; cost gate on cart 2;\n'
        "    group inner = { cart, db };\n"
        "    default HttpRequest.verdict = deny on * -> db;\n}\n"
    ),
    "gate.m4": (
        "enum Colour { red, green }\n"
        "spec gate {\n"
        "    tier proxy; cost 1;\n"
        "    supports HttpRequest {\n"
        "        reads method;\n"
        "        attribute paint: Colour? merge min;\n"
        '        operation Paint(colour: Colour, coats: int = 1) writes paint = colour emits "paint.j2";\n'
        "    }\n"
        "}\n"
    ),
    "paint.j2": "{{ rule.args.colour }}\n{{ rule.args.coats }}\n",
    "other.m4": (
        "state Counter hits;\n"
        "policy first (HttpRequest r) on web -> cart -> db overrides second { r.DropRequest(); }\n"
        'policy second (HttpRequest r) on @inner -> "db" { hits.Increment(); r.Mirror(to: cart); r.Mark("seen"); }\n'
        'policy third (HttpRequest q) on * -> db:v1 when q.mark["seen"] after second { q.Paint(red, coats: 2); }\n'
        'test "all" { request GET "/" on web -> cart with mark["seen"] = true; expect allow; }\n'
    ),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


def changed(desk: Desk, text: str, name: str) -> list[str]:
    """The lines that a rename makes, each with its file."""
    out = []
    for file, new in sorted(desk.renamed(text, name).items()):
        old = FILES.get(file, text.replace("$0", "")).splitlines()
        out += [f"{file}: {line.strip()}" for line, was in zip(new.splitlines(), old, strict=True) if line != was]
    return out


@pytest.mark.parametrize(
    ("text", "name", "lines"),
    [
        (
            "policy mine (HttpRequest r) on * -> db after sec$0ond { }",
            "last",
            [
                "here.m4: policy mine (HttpRequest r) on * -> db after last { }",
                "other.m4: policy first (HttpRequest r) on web -> cart -> db overrides last { r.DropRequest(); }",
                'other.m4: policy last (HttpRequest r) on @inner -> "db" { hits.Increment(); r.Mirror(to: cart);'
                ' r.Mark("seen"); }',
                'other.m4: policy third (HttpRequest q) on * -> db:v1 when q.mark["seen"] after last'
                " { q.Paint(red, coats: 2); }",
            ],
        ),
        (
            "policy mine (HttpRequest r) on * -> d$0b { }",
            "stock-db",
            [
                "graph.yaml: 'stock-db': {versions: [v1, v2]}",
                'graph.yaml: - {from: "cart", to: stock-db, rps: 3}',
                "here.m4: policy mine (HttpRequest r) on * -> stock-db { }",
                'mesh.m4: mesh shop { graph "graph.yaml"; dataplanes gate; place stock-db never gate;'
                " cost gate on cart 2;",
                "mesh.m4: group inner = { cart, stock-db };",
                "mesh.m4: default HttpRequest.verdict = deny on * -> stock-db;",
                "other.m4: policy first (HttpRequest r) on web -> cart -> stock-db overrides second"
                " { r.DropRequest(); }",
                'other.m4: policy second (HttpRequest r) on @inner -> "stock-db" { hits.Increment();'
                ' r.Mirror(to: cart); r.Mark("seen"); }',
                'other.m4: policy third (HttpRequest q) on * -> stock-db:v1 when q.mark["seen"] after second'
                " { q.Paint(red, coats: 2); }",
            ],
        ),
        (  # a version, wherever it is one of this service
            "policy mine (HttpRequest r) on web -> @inner { r.Split({ v$01: 60%, v2: 40% }); }\n"
            'test "split" { request GET "/" on web -> cart -> db:v1; expect route = { v1: 60%, v2: 40% }; }',
            "v 9",
            [
                "graph.yaml: 'db': {versions: [\"v 9\", v2]}",
                'here.m4: policy mine (HttpRequest r) on web -> @inner { r.Split({ "v 9": 60%, v2: 40% }); }',
                'here.m4: test "split" { request GET "/" on web -> cart -> db:"v 9";'
                ' expect route = { "v 9": 60%, v2: 40% }; }',
                'other.m4: policy third (HttpRequest q) on * -> db:"v 9" when q.mark["seen"] after second'
                " { q.Paint(red, coats: 2); }",
            ],
        ),
        (
            'spec mine { tier proxy; cost 1; speaks "m$0q"; }\n'
            'entity Letter over TcpConnection { protocols "mq"; attribute size: int; }',
            "amqp",
            [
                'here.m4: spec mine { tier proxy; cost 1; speaks "amqp"; }',
                'here.m4: entity Letter over TcpConnection { protocols "amqp"; attribute size: int; }',
            ],
        ),
        (  # a value in an expression needs quotes where a step of a path does not
            "policy mine (HttpRequest r) on web -> $0cart { r.Mirror(to: cart); }",
            "cart-2",
            [
                "graph.yaml: cart-2: {}",
                "graph.yaml: - [web, cart-2]",
                'graph.yaml: - {from: "cart-2", to: db, rps: 3}',
                'here.m4: policy mine (HttpRequest r) on web -> cart-2 { r.Mirror(to: "cart-2"); }',
                'mesh.m4: mesh shop { graph "graph.yaml"; dataplanes gate; place db never gate; cost gate on cart-2 2;',
                "mesh.m4: group inner = { cart-2, db };",
                "other.m4: policy first (HttpRequest r) on web -> cart-2 -> db overrides second { r.DropRequest(); }",
                'other.m4: policy second (HttpRequest r) on @inner -> "db" { hits.Increment(); r.Mirror(to: "cart-2");'
                ' r.Mark("seen"); }',
                'other.m4: test "all" { request GET "/" on web -> cart-2 with mark["seen"] = true; expect allow; }',
            ],
        ),
        (
            "policy mine (HttpRequest r) on @in$0ner -> db { }",
            '"the stores"',
            [
                'here.m4: policy mine (HttpRequest r) on @"the stores" -> db { }',
                'mesh.m4: group "the stores" = { cart, db };',
                'other.m4: policy second (HttpRequest r) on @"the stores" -> "db" { hits.Increment();'
                ' r.Mirror(to: cart); r.Mark("seen"); }',
            ],
        ),
        (
            "policy mine (HttpRequest r) on * -> db { hi$0ts.Increment(); }",
            "count",
            [
                "here.m4: policy mine (HttpRequest r) on * -> db { count.Increment(); }",
                "other.m4: state Counter count;",
                'other.m4: policy second (HttpRequest r) on @inner -> "db" { count.Increment(); r.Mirror(to: cart);'
                ' r.Mark("seen"); }',
            ],
        ),
        (
            "policy mine (HttpRequest $0r) on * -> db when r.method == \"r\" { r.Mark(\"r\"); }",
            "it",
            ['here.m4: policy mine (HttpRequest it) on * -> db when it.method == "r" { it.Mark("r"); }'],
        ),
        (
            "policy mine (HttpRequest r) on * -> db { let x$0 = 404; if (r.method == \"x\") { r.DropRequest(x); } }",
            "code",
            [
                "here.m4: policy mine (HttpRequest r) on * -> db { let code = 404;"
                ' if (r.method == "x") { r.DropRequest(code); } }'
            ],
        ),
        (
            "policy mine (HttpRequest r) on * -> db { r.Paint(colour: green, co$0ats: 3); }",
            "layers",
            [
                "gate.m4: operation Paint(colour: Colour, layers: int = 1) writes paint = colour emits \"paint.j2\";",
                "here.m4: policy mine (HttpRequest r) on * -> db { r.Paint(colour: green, layers: 3); }",
                'other.m4: policy third (HttpRequest q) on * -> db:v1 when q.mark["seen"] after second'
                " { q.Paint(red, layers: 2); }",
            ],
        ),
        (
            "policy mine (HttpRequest r) on * -> db { r.Pa$0int(green); }",
            "Varnish",
            [
                "gate.m4: operation Varnish(colour: Colour, coats: int = 1) writes paint = colour emits \"paint.j2\";",
                "here.m4: policy mine (HttpRequest r) on * -> db { r.Varnish(green); }",
                'other.m4: policy third (HttpRequest q) on * -> db:v1 when q.mark["seen"] after second'
                " { q.Varnish(red, coats: 2); }",
            ],
        ),
        (
            "policy mine (HttpRequest r) on * -> db when r.paint == gre$0en { }",
            "lime",
            [
                "gate.m4: enum Colour { red, lime }",
                "here.m4: policy mine (HttpRequest r) on * -> db when r.paint == lime { }",
            ],
        ),
        (
            "mesh other { dataplanes ga$0te; }",
            "fence",
            [
                "gate.m4: spec fence {",
                "here.m4: mesh other { dataplanes fence; }",
                'mesh.m4: mesh shop { graph "graph.yaml"; dataplanes fence; place db never fence;'
                " cost fence on cart 2;",
            ],
        ),
        (  # what travels with the chain is known to the mesh alone
            'policy mine (HttpRequest r) on * -> db when r.mark["se$0en"] { }',
            "known",
            [
                'here.m4: policy mine (HttpRequest r) on * -> db when r.mark["known"] { }',
                'other.m4: policy second (HttpRequest r) on @inner -> "db" { hits.Increment(); r.Mirror(to: cart);'
                ' r.Mark("known"); }',
                'other.m4: policy third (HttpRequest q) on * -> db:v1 when q.mark["known"] after second'
                " { q.Paint(red, coats: 2); }",
                'other.m4: test "all" { request GET "/" on web -> cart with mark["known"] = true; expect allow; }',
            ],
        ),
    ],
)  # fmt: skip
def test_a_name_changes_wherever_it_stands(desk: Desk, text: str, name: str, lines: list[str]) -> None:
    assert changed(desk, text, name) == lines
    problems = {(p.code, p.message) for p in desk.workspace.problems()}
    for edited, new in desk.renamed(text, name).items():
        desk.workspace.set_text((desk.folder / edited).as_posix(), new)
    after = {(p.code, p.message) for p in desk.workspace.problems()}
    assert {code for code, _ in after} == {code for code, _ in problems}, "the program is as sound as before"


_BACK = {"policy second": "last", "state Counter hits": "count"}


@pytest.mark.parametrize(("fragment", "name"), _BACK.items())
def test_the_rename_of_a_rename_is_what_it_was(desk: Desk, fragment: str, name: str) -> None:
    other = (desk.folder / "other.m4").as_posix()
    before = {file: desk.workspace.text((desk.folder / file).as_posix()) for file in FILES}
    at = FILES["other.m4"].index(fragment) + len(fragment)
    for new in (name, fragment.rpartition(" ")[2]):
        found = rename(desk.workspace, other, at, new)
        for file, text in apply_edits(desk.workspace, tuple(e for _, e in found.edits)).items():
            desk.workspace.set_text(file, text)
        at = at - len(fragment.rpartition(" ")[2]) + 1
    assert {file: desk.workspace.text((desk.folder / file).as_posix()) for file in FILES} == before


POLICY = "policy mi$0ne (HttpRequest r) on * -> db { r.DropRequest(); }"


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        # not a name
        (POLICY, "", "a name has at least one letter, no line break, and no white space around it"),
        (POLICY, " x", "a name has at least one letter, no line break, and no white space around it"),
        (POLICY, "a\nb", "a name has at least one letter, no line break, and no white space around it"),
        (POLICY, "a-b", "`a-b` is no name: letters, digits and _, and no digit first; between quotes any text is one"),
        (POLICY, "1st", "`1st` is no name: letters, digits and _, and no digit first; between quotes any text is one"),
        (POLICY.replace("(HttpRequest r)", "(HttpRequest $0r)").replace("mi$0", "mi"), "é",
         "`é` is no name: letters, digits and _, and no digit first"),
        (POLICY.replace("(HttpRequest r)", "(HttpRequest $0r)").replace("mi$0", "mi"), '"it"',
         "the policy's variable has a name without quotes"),
        # reserved
        (POLICY, "policy", "`policy` is a word of the language; between quotes it can be a name"),
        (POLICY.replace("(HttpRequest r)", "(HttpRequest $0r)").replace("mi$0", "mi"), "when",
         "`when` is a word of the language"),
        ("policy p (HttpRequest r) on * -> d$0b { }", "outside",
         "`outside` is where requests from outside the mesh come from; no service can be named so"),
        # taken
        (POLICY, "first", "`first` is taken: a policy is named so at other.m4:2"),
        ("policy p (HttpRequest r) on * -> d$0b { }", "web", "`web` is taken: a service is named so at graph.yaml:2"),
        ("mesh shop { group a$0 = { db }; group b = { web }; }", "b", "`b` is taken: a group is named so at here.m4:1"),
        ("policy p (HttpRequest $0r) on * -> db { let x = 1; r.DropRequest(x); }", "x",
         "`x` is taken: a constant is named so at here.m4:1"),
        ("policy p (HttpRequest r) on * -> db { let $0x = 1; r.DropRequest(x); hits.Increment(); }", "hits",
         "`hits` is taken: a state is named so at here.m4:1"),
        ("state Counter mi$0ne;\npolicy p (HttpRequest r) on * -> db { mine.Increment(); }", "r",
         "`r` is taken: the policy's variable is named so at here.m4:2"),
        ("policy p (HttpRequest r) on * -> ca$0rt { let x = 1; r.Mirror(to: cart); r.DropRequest(x); }", "x",
         "`x` is taken: a constant is named so at here.m4:1"),
        ("mesh other { dataplanes ga$0te; }", "envoy", "`envoy` is taken: it is a spec that ships with xMesh"),
        ("enum Sha$0pe { round }", "Colour", "`Colour` is taken: an enum is named so at gate.m4:1"),
        ("enum Sha$0pe { round }", "duration", "`duration` is taken: it is a type of the language"),
        ("enum Shape { rou$0nd, flat }", "flat", "`flat` is taken: a value is named so at here.m4:1"),
        ('policy p (HttpRequest r) on * -> db { r.Mark("se$0en"); r.Mark("x"); }', "x",
         "`x` is taken: a mark is named so at here.m4:1"),
        # not ours
        ("policy p (HttpRequest r) on * -> db { r.Drop$0Request(); }", "Deny",
         "`DropRequest` is declared in core.m4, which ships with xMesh and is not yours to change"),
        ("policy p (Http$0Request r) on * -> db { }", "Request",
         "`HttpRequest` is declared in core.m4, which ships with xMesh and is not yours to change"),
        ('policy p (HttpRequest r) on * -> db when r.header["x-$0user"] == "" { }', "x-who",
         "`x-user` is a name of the protocol, which others depend on"),
        ("policy p (HttpRequest r) on * -> db:v$01 { }", "v2",
         "`v2` is taken: a version is named so at graph.yaml:4"),
        ('spec mine { tier proxy; cost 1; speaks "gr$0pc"; }', "http",
         "`grpc` is declared in core.m4, which ships with xMesh and is not yours to change"),
        # nothing to rename
        ("// a com$0ment\n", "x", "there is no name here"),
        ("$0", "x", "there is no name here"),
        ("pol$0icy p (HttpRequest r) on * -> db { }", "x", "there is no name here"),
        ('import "gate.m$04";\n', "x", "this is the path of a file: rename the file, and the paths to it follow"),
        ("policy p (HttpRequest r) on * -> db after nob$0ody { }", "x",
         "nothing declares `nobody`, so there is nothing to rename"),
        ("policy p (HttpRequest r) on * -> nowh$0ere { }", "x",
         "nothing declares `nowhere`, so there is nothing to rename"),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_why(desk: Desk, text: str, name: str, why: str) -> None:
    assert desk.refused(text, name) == why


LABELLED = (
    "services:\n  web: {entry: true, labels: {kind: app}}\n  cart: {labels: {'kind': app, app: \"kind\"}}\n"
    "  db: {labels: {kind: store}}\ncalls:\n  - [web, cart]\n  - [cart, db]\n"
)


@pytest.mark.parametrize(
    ("text", "name", "graph", "here"),
    [
        (
            "policy p (HttpRequest r) on [kind: app]* -> [ki$0nd: store] { }",
            "tier of",
            LABELLED.replace("{kind:", '{"tier of":').replace("'kind'", "'tier of'"),
            'policy p (HttpRequest r) on ["tier of": app]* -> ["tier of": store] { }',
        ),
        (
            "policy p (HttpRequest r) on [kind: ap$0p]* -> !([app: kind]) { }",
            "door",
            LABELLED.replace(": app", ": door"),
            "policy p (HttpRequest r) on [kind: door]* -> !([app: kind]) { }",
        ),
        (
            'policy p (HttpRequest r) on * -> [kind: app, app: "ki$0nd"] { }',
            "front-end",
            LABELLED.replace('"kind"', '"front-end"'),
            'policy p (HttpRequest r) on * -> [kind: app, app: "front-end"] { }',
        ),
    ],
)
def test_a_label_changes_in_the_graph_too(desk: Desk, text: str, name: str, graph: str, here: str) -> None:
    desk.workspace.set_text((desk.folder / "graph.yaml").as_posix(), LABELLED)
    assert desk.renamed(text, name) == {"graph.yaml": graph, "here.m4": here}


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        (
            "policy p (HttpRequest r) on * -> [kind: ap$0p] { }",
            "store",
            "`store` is taken: a label is named so at graph.yaml:4",
        ),
        (
            "policy p (HttpRequest r) on * -> [ki$0nd: app] { }",
            "app",
            "`app` is taken: a label is named so at graph.yaml:3",
        ),
        (
            "policy p (HttpRequest r) on * -> [kind: sto$0ck] { }",
            "x",
            "nothing declares `stock`, so there is nothing to rename",
        ),
    ],
)
def test_labels_do_not_become_one(desk: Desk, text: str, name: str, why: str) -> None:
    desk.workspace.set_text((desk.folder / "graph.yaml").as_posix(), LABELLED)
    assert desk.refused(text, name) == why


def test_a_version_of_several_services_is_not_renamed_for_one_of_them(desk: Desk) -> None:
    graph = desk.folder / "graph.yaml"
    desk.workspace.set_text(graph.as_posix(), graph.read_text("utf-8").replace("cart: {}", "cart: {versions: [v1]}"))
    split = "policy p (HttpRequest r) on web -> (cart | db) { r.Split({ v$01: 100% }); }"
    assert desk.refused(split, "v9") == "`v1` at here.m4:1 is the version of `db` too, not of `cart` alone"
    assert desk.definition(split) == ["graph.yaml:3: v1", "graph.yaml:4: v1"]
    cart = "policy p (HttpRequest r) on web -> cart { r.Split({ v$01: 100% }); }"
    assert desk.renamed(cart, "v9").keys() == {"graph.yaml", "here.m4"}, "the other service keeps its version"


def test_of_two_declarations_of_one_name_the_one_under_the_cursor_changes(desk: Desk) -> None:
    twice = "policy sec$0ond (HttpRequest r) on * -> db { }\n"
    assert desk.renamed(twice, "mine") == {"here.m4": "policy mine (HttpRequest r) on * -> db { }\n"}
    use = "policy second (HttpRequest r) on * -> db { }\npolicy p (HttpRequest r) on * -> db after sec$0ond { }\n"
    assert desk.refused(use, "mine") == (
        "`second` is declared more than once, at here.m4:1 and other.m4:3; rename one of these first"
    )


def test_what_does_not_parse_is_left_to_people(desk: Desk) -> None:
    text = (
        "policy mine (HttpRequest r) on * -> db { r.DropRequest(); }\npolicy broken (HttpRequest on mine -> // mine\n"
    )
    at = desk.put(text.replace("mine", "mi$0ne", 1))
    found = rename(desk.workspace, desk.here, at, "yours")
    assert [(part, desk.shown(e.span)) for part, e in found.edits] == [
        ("declaration", "here.m4:1: mine"),
        ("unread", "here.m4:2: mine"),
    ]


def test_templates_that_mention_a_name_are_told(desk: Desk) -> None:
    at = desk.put("policy mine (HttpRequest r) on * -> db { r.Paint(red, coa$0ts: 1); }")
    assert rename(desk.workspace, desk.here, at, "layers").templates == ("paint.j2:2",)
    at = desk.put("policy mi$0ne (HttpRequest r) on * -> db { }")
    assert rename(desk.workspace, desk.here, at, "colour").templates == ()


def test_a_service_is_renamed_from_its_graph_and_in_all_meshes_that_share_it(desk: Desk) -> None:
    desk.put('$0mesh second { graph "graph.yaml"; dataplanes gate; place cart only gate; }\n')
    graph = (desk.folder / "graph.yaml").as_posix()
    text = FILES["graph.yaml"]
    found = rename(desk.workspace, graph, text.index("cart: {}") + 2, "basket")
    assert {Path(e.span.file).name for _, e in found.edits} == {"graph.yaml", "mesh.m4", "here.m4"}
    new = apply_edits(desk.workspace, tuple(e for _, e in found.edits))
    assert "place basket only gate" in new[desk.here]
    assert new[graph] == text.replace("cart", "basket")


@pytest.mark.parametrize(
    ("graph", "new"),
    [
        ("services: {&a cart : {}}\ncalls: [[*a, db]]\n", "services: {&a basket : {}}\ncalls: [[*a, db]]\n"),
        ('services: {"cart": {}, db: {}}\n', 'services: {"basket": {}, db: {}}\n'),
        ("# é 😀\nservices: {😀: {}, cart: {}}\n", "# é 😀\nservices: {😀: {}, basket: {}}\n"),
        ("services:\n  ? cart\n  : {}\n", "services:\n  ? basket\n  : {}\n"),
    ],
)  # fmt: skip
def test_the_style_of_a_graph_stays(desk: Desk, graph: str, new: str) -> None:
    desk.workspace.set_text((desk.folder / "graph.yaml").as_posix(), graph)
    assert desk.renamed("policy mine (HttpRequest r) on ca$0rt -> db { }", "basket")["graph.yaml"] == new


def test_a_name_is_found_at_its_start_and_its_end_and_among_letters_of_any_width(desk: Desk) -> None:
    text = "/* é 😀 */ policy mine (HttpRequest r) on * -> db { }"
    desk.put(text + "$0")
    start = text.index("mine")
    for at in (start, start + 2, start + 4):
        found = prepare_rename(desk.workspace, desk.here, at)
        assert (found.start, found.end, found.symbol.name) == (start, start + 4, "mine")
    for at in (start - 1, start + 5, -1, len(text) + 9):
        with pytest.raises(Refused):
            prepare_rename(desk.workspace, desk.here, at)
