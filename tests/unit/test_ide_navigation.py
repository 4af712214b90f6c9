"""Ways through a workspace: types, implementations, highlights, links, and search by name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cursors import Desk
from m4c.ide.definition import highlights, references
from m4c.ide.hover import hover
from m4c.ide.links import links
from m4c.ide.workspace_symbols import LIMIT, place, search

GATE = (
    "enum Colour { red, green }\n"
    "spec gate {\n"
    "    tier proxy; cost 1;\n"
    "    supports HttpRequest {\n"
    "        reads method, paint;\n"
    "        attribute paint: Colour? merge min;\n"
    '        operation Paint(colour: Colour) writes paint = colour emits "paint.j2";\n'
    '        operation DropRequest emits "missing.j2";\n'
    "    }\n"
    "    supports TokenBucket { condition Take; }\n"
    "}\n"
)
FILES = {
    "graph.yaml": "services:\n  web: {entry: true}\n  cart: {}\n  db: {}\ncalls: [[web, cart], [cart, db]]\n",
    "mesh.m4": 'mesh shop { graph "graph.yaml"; dataplanes gate, fence; group inner = { cart, db }; }\n',
    "gate.m4": GATE,
    "fence.m4": "spec fence { tier kernel; cost 1; supports HttpRequest { operation DropRequest; } }\n",
    "paint.j2": "\n",
    "other.m4": (
        "state TokenBucket limiter(rate: 1/s);\n"
        "policy guard_cart (HttpRequest r) on web -> cart { r.DropRequest(); }\n"
        'test "carts are guarded" { request GET "/" on web -> cart; expect deny; }\n'
    ),
}


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, FILES)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("policy mi$0ne (TcpConnection c) on ? -> db { }", ["core.m4: TcpConnection"]),
        ("policy mine (TcpConnection c) on ? -> db { $0c.Allow(); }", ["core.m4: TcpConnection"]),
        ("policy mine (HttpRequest r) on * -> db after guard$0_cart { }", ["core.m4: HttpRequest"]),
        ("policy mine (HttpRequest r) on * -> db { r.Drop$0Request(); }", ["core.m4: HttpRequest"]),
        ("policy mine (HttpRequest r) on * -> db when lim$0iter.Take() { }", ["core.m4: TokenBucket"]),
        ("policy mine (HttpRequest r) on * -> db when limiter.Ta$0ke() { }", ["core.m4: TokenBucket"]),
        ("policy mine (HttpRequest r) on * -> db when r.pai$0nt == red { }", ["gate.m4: Colour"]),
        ("policy mine (HttpRequest r) on * -> db when r.paint == r$0ed { }", ["gate.m4: Colour"]),
        ("policy mine (HttpRequest r) on * -> db { r.Paint(col$0our: red); }", ["gate.m4: Colour"]),
        ('policy mine (HttpRequest r) on * -> db when r.header["$0x"] == "" { }', ["core.m4: header"]),
        ("policy mine (HttpResponse p) on * -> db when p.req$0uest.method == \"\" { }", ["core.m4: HttpRequest"]),
        ("policy mine (HttpRequest r) on * -> d$0b { }", []),
        ("policy mine (HttpRequest r) on * -> db when r.met$0hod == \"\" { }", []),
        ("$0", []),
        ("// guard$0_cart\n", []),
        ("policy (HttpRequest r$0", []),
    ],
)  # fmt: skip
def test_what_something_is_one_of(desk: Desk, text: str, found: list[str]) -> None:
    shown = [s.split(":") for s in desk.type_definition(text)]
    assert [f"{file}:{name}" for file, _, name in shown] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "policy mine (HttpRequest r) on * -> db { r.Drop$0Request(); }",
            ["fence.m4:1: DropRequest", "gate.m4:8: DropRequest"],
        ),
        ("policy mine (HttpRequest r) on * -> db { r.Pai$0nt(red); }", ["gate.m4:7: Paint"]),
        ("policy mine (HttpRequest r) on * -> db when r.meth$0od == \"\" { }", ["gate.m4:5: method"]),
        ("policy mine (HttpRequest r) on * -> db when limiter.Ta$0ke() { }", ["gate.m4:10: Take"]),
        ("policy mine (Http$0Request r) on * -> db { }", ["fence.m4:1: HttpRequest", "gate.m4:4: HttpRequest"]),
        ("state Token$0Bucket l(rate: 1/s);", ["gate.m4:10: TokenBucket"]),
        ("policy mine (HttpRequest r) on * -> db { r.SetTime$0out(1s); }", []),
        ("policy mine (HttpRequest r) on * -> d$0b { }", []),
        ("$0", []),
    ],
)  # fmt: skip
def test_who_implements_something(desk: Desk, text: str, found: list[str]) -> None:
    assert sorted(desk.implementation(text)) == found


VERSIONS = (
    "services:\n  web: {entry: true}\n  cart: {protocol: grpc, versions: [v1]}\n"
    "  db: {versions: [v1, 'v 2'], labels: {kind: store}}\ncalls: [[web, cart], [cart, db]]\n"
)


@pytest.mark.parametrize(
    ("text", "found", "page"),
    [
        (
            "policy p (HttpRequest r) on * -> db { r.Split({ v$01: 100% }); }",
            ["here.m4:1: v1", "graph.yaml:4: v1"],
            "Version `v1` of `db`, which has `v1`, `v 2`.",
        ),
        (
            'policy p (HttpRequest r) on * -> [kind: store] { r.Split({ v1: 50%, "v $02": 50% }); }',
            ['here.m4:1: "v 2"', "graph.yaml:4: 'v 2'"],
            "Version `v 2` of `db`",
        ),
        (
            'test "t" { request GET "/" on web -> cart:v1; expect route = { v$01: 100% }; }',
            ["here.m4:1: v1", "here.m4:1: v1", "graph.yaml:3: v1"],
            "Version `v1` of `cart`",
        ),
        (  # whichever of the two it is
            "policy p (HttpRequest r) on web -> @inner { r.Split({ v$01: 100% }); }",
            ["here.m4:1: v1", "graph.yaml:3: v1", "graph.yaml:4: v1"],
            "Version `v1` of `cart`",
        ),
        ("policy p (HttpRequest r) on * -> db { r.Split({ v$09: 100% }); }", [], ""),
        (
            'spec mine { tier proxy; cost 1; speaks "gr$0pc"; }',
            ['here.m4:1: "grpc"', "core.m4", "graph.yaml:3: grpc"],
            "- spoken by `mine`",
        ),
    ],
)
def test_versions_and_protocols_are_names(desk: Desk, text: str, found: list[str], page: str) -> None:
    desk.workspace.set_text((desk.folder / "graph.yaml").as_posix(), VERSIONS)
    shown = [re.sub(r"(core|spec).m4:.*", r"\1.m4", place) for place in desk.references(text)]
    assert shown == found
    declared = [re.sub(r"core.m4:.*", "core.m4", place) for place in desk.definition(text)]
    assert declared == [place for place in found if place.startswith(("core", "graph")) and not place.endswith("grpc")]
    assert page in desk.hover(text)


LABELS = (
    "services:\n  web: {entry: true, labels: {'kind': app}}\n  cart: {labels: {kind: app, app: kind}}\n"
    "  db:\n    labels:\n      kind: store\ncalls: [[web, cart], [cart, db]]\n"
)


@pytest.mark.parametrize(
    ("text", "found", "page"),
    [
        (
            "policy p (HttpRequest r) on * -> [ki$0nd: store] { }",
            ["here.m4:1: kind", "graph.yaml:2: 'kind'", "graph.yaml:3: kind", "graph.yaml:6: kind"],
            "Services with the label `kind`: `cart`, `db`, `web`.",
        ),
        (
            "policy p (HttpRequest r) on [kind: ap$0p]* -> !([kind: app]) { }",
            ["here.m4:1: app", "here.m4:1: app", "graph.yaml:2: app", "graph.yaml:3: app"],
            "Services with the label `kind: app`: `cart`, `web`.",
        ),
        (  # a label of the same name as another one's value
            'policy p (HttpRequest r) on * -> ["ap$0p": kind] { }',
            ['here.m4:1: "app"', "graph.yaml:3: app"],
            "Services with the label `app`: `cart`.",
        ),
        ("policy p (HttpRequest r) on * -> [kind: sto$0ck] { }", ["here.m4:1: stock"], "`kind: stock`: none"),
    ],
)
def test_labels_are_names(desk: Desk, text: str, found: list[str], page: str) -> None:
    desk.workspace.set_text((desk.folder / "graph.yaml").as_posix(), LABELS)
    assert desk.references(text) == found
    assert desk.definition(text) == [place for place in found if place.startswith("graph")]
    assert page in desk.hover(text)


@pytest.mark.parametrize(
    ("at", "places", "page"),
    [
        (
            "labels: {ki$0nd: app, app",
            ["mesh.m4:1: kind", "graph.yaml:2: 'kind'", "graph.yaml:3: kind", "graph.yaml:6: kind"],
            "Services with the label `kind`: `cart`, `db`, `web`.",
        ),
        ("kind: sto$0re", ["mesh.m4:1: store", "graph.yaml:6: store"], "Services with the label `kind: store`: `db`."),
        ("app: ki$0nd}", ["graph.yaml:3: kind"], "Services with the label `app: kind`: `cart`."),
        ("w$0eb: {", ["graph.yaml:2: web", "graph.yaml:7: web"], "service `web`"),
    ],
)
def test_the_labels_of_a_graph_are_too(desk: Desk, at: str, places: list[str], page: str) -> None:
    workspace, graph = desk.workspace, (desk.folder / "graph.yaml").as_posix()
    workspace.set_text(graph, LABELS)
    default = "default HttpRequest.verdict = deny on * -> [kind: store];"
    workspace.set_text((desk.folder / "mesh.m4").as_posix(), FILES["mesh.m4"].replace(" }\n", f" {default} }}\n"))
    workspace.set_text((desk.folder / "other.m4").as_posix(), "")
    offset = LABELS.index(at.replace("$0", "")) + at.index("$0")
    assert [desk.shown(s) for s in references(workspace, graph, offset)] == places
    marked = [desk.shown(workspace.at(graph, f.start, f.end)) for f in highlights(workspace, graph, offset)]
    assert marked == [place for place in places if place.startswith("graph")]
    said = hover(workspace, graph, offset)
    assert said is not None
    assert page in said.text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "policy a (HttpRequest r) on * -> d$0b { }\npolicy b (HttpRequest r) on cart -> db after a { }\n",
            "policy a (HttpRequest r) on * -> <db> { }\npolicy b (HttpRequest r) on cart -> <db> after a { }\n",
        ),
        (
            "policy a (HttpRequest r) on * -> db { }\npolicy b (HttpRequest r) on cart -> db after a$0 { }\n",
            "policy <<a>> (HttpRequest r) on * -> db { }\npolicy b (HttpRequest r) on cart -> db after <a> { }\n",
        ),
        (  # of one policy's variable, not of another's
            "policy a (HttpRequest r) on * -> db { r.X(); $0r.Y(); }\npolicy b (HttpRequest r) on * -> db { }\n",
            "policy a (HttpRequest <<r>>) on * -> db { <r>.X(); <r>.Y(); }\npolicy b (HttpRequest r) on * -> db { }\n",
        ),
        (
            'policy a (HttpRequest r) on * -> db when r.header["X-$0A"] == r.header["x-a"] { }\n',
            'policy a (HttpRequest r) on * -> db when r.header[<"X-A">] == r.header[<"x-a">] { }\n',
        ),
        (
            "policy a (HttpRequest r) on [kind: a$0pp]* -> [kind: app, app: kind] { }\n",
            "policy a (HttpRequest r) on [kind: <app>]* -> [kind: <app>, app: kind] { }\n",
        ),
        ("policy a (HttpRequest r) on * -> db { r.Paint($0", "policy a (HttpRequest r) on * -> db { r.Paint("),
        ("", ""),
        ("$0", ""),
    ],
)  # fmt: skip
def test_the_same_name_is_shown_in_the_file(desk: Desk, text: str, shown: str) -> None:
    assert desk.highlights(text if "$0" in text else text + "$0") == shown


def test_a_highlight_looks_at_its_own_file_alone(desk: Desk) -> None:
    desk.put("policy a (HttpRequest r) on * -> db { r.DropRequest(); }$0")
    desk.highlights("policy a (HttpRequest r) on * -> d$0b { r.DropRequest(404); }")
    desk.workspace.db.log = []
    desk.highlights("policy a (HttpRequest r) on * -> d$0b { r.DropRequest(405); }")
    looked_at = [key for key in desk.workspace.db.log if key.name == "symbols.occurrences"]
    assert [key.args[0].file for key in looked_at] == [desk.here]


def test_paths_lead_to_their_files(desk: Desk) -> None:
    desk.put('$0import "gate.m4";\nimport "nowhere.m4";\nimport "core.m4";\nmesh "é 😀" { graph "graph.yaml"; }\n')
    found = {desk.shown(link.span): Path(link.target).name for link in links(desk.workspace, desk.here)}
    assert found == {
        "here.m4:1: gate.m4": "gate.m4",
        "here.m4:3: core.m4": "core.m4",
        "here.m4:4: graph.yaml": "graph.yaml",
    }
    gate = (desk.folder / "gate.m4").as_posix()
    assert [(desk.shown(link.span), Path(link.target).name) for link in links(desk.workspace, gate)] == [
        ("gate.m4:7: paint.j2", "paint.j2")
    ]
    for text in ("", "import", 'import "', 'import "";', "mesh m { graph"):
        desk.put(f"{text}$0")
        assert links(desk.workspace, desk.here) == ()


@pytest.mark.parametrize(
    ("query", "best"),
    [
        ("guard_cart", ["policy guard_cart in shop: other.m4:2: guard_cart"]),
        ("gc", ["policy guard_cart in shop: other.m4:2: guard_cart"]),
        (
            "cart",
            [
                "service cart in shop: graph.yaml:3: cart",
                'test carts are guarded in shop: other.m4:3: "carts are guarded"',
            ],
        ),
        ("inn", ["group inner in shop: mesh.m4:1: inner"]),
        ("lim", ["state limiter in shop: other.m4:1: limiter"]),
        (
            "Pain",
            [
                "operation Paint in gate, HttpRequest: gate.m4:7: Paint",
                "attribute paint in gate, HttpRequest: gate.m4:6: paint",
            ],
        ),
        ("colour", ["enum Colour in : gate.m4:1: Colour"]),
        ("gate", ["spec gate in : gate.m4:2: gate"]),
        ("qqq", []),
    ],
)  # fmt: skip
def test_declarations_are_found_by_parts_of_their_names(desk: Desk, query: str, best: list[str]) -> None:
    found = search(desk.workspace, query)
    shown = []
    for named in found[: max(len(best), 1)]:
        span = place(desk.workspace, named)
        assert span is not None
        shown.append(f"{named.kind} {named.name} in {named.inside}: {desk.shown(span)}")
    assert shown == best


def test_a_search_for_nothing_lists_the_workspace_first_and_not_too_much(desk: Desk) -> None:
    many = "".join(f"policy p{i} (HttpRequest r) on * -> db {{ }}\n" for i in range(LIMIT + 50))
    desk.put(f"{many}$0")
    found = search(desk.workspace, "")
    assert len(found) == LIMIT
    assert all(desk.folder.as_posix() in named.file for named in found)


def test_a_search_reads_no_policy_again_after_an_edit_within_one(desk: Desk) -> None:
    desk.put("policy p (HttpRequest r) on * -> db { r.DropRequest(404); }$0")
    assert [n.name for n in search(desk.workspace, "p")][:1] == ["p"]
    desk.put("policy p (HttpRequest r) on * -> db { r.DropRequest(405); }$0")
    desk.workspace.db.log = []
    search(desk.workspace, "p")
    assert "workspace_symbols._named" not in {key.name for key in desk.workspace.db.log}
