"""What the formatter makes of each construct, and the commands and the editor's request that use it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_kit import m4
from m4c.ide.format import format_document
from m4c.syntax import tree as t
from m4c.syntax.items import split
from m4c.syntax.parser import parse_item
from m4c.syntax.printer import format_text, left_alone
from m4c.workspace import Workspace, looks_like_m4

ROOT = Path(__file__).parents[2]
SHIPPED = sorted([*ROOT.glob("specs/**/*.m4"), *ROOT.glob("examples/*/*.m4")])

# For each node of the tree: a program with it, and the form in which it is printed.
FORMS: dict[type, tuple[str, str]] = {
    t.Import: ('import"x.m4" ;', 'import "x.m4";'),
    t.Membership: ("mesh   shop ;", "mesh shop;"),
    t.MeshDecl: (
        'mesh "odd shop"extends shop{graph "g.yaml" ;dataplanes a ,b;\nplace on-x never a; place "on"only b;\n'
        'cost a on b 3+2  per 10/s;tag_bits 4;\npropagate"x-a" , "x-b";\ngroup g={a,"b c",};}',
        'mesh "odd shop" extends shop { graph "g.yaml"; dataplanes a, b;\n'
        '    place on-x never a; place "on" only b;\n'
        "    cost a on b 3 + 2 per 10/s; tag_bits 4;\n"
        '    propagate "x-a", "x-b";\n'
        '    group g = { a, "b c", }; }',
    ),
    t.MeshDefault: (
        'mesh m {\ndefault  E . a [ "k" ]=deny on*->b ;\n}',
        'mesh m {\n    default E.a["k"] = deny on * -> b;\n}',
    ),
    t.CostNode: ("spec s {\ncost 5+ 2 per  10/m ;\n}", "spec s {\n    cost 5 + 2 per 10/m;\n}"),
    t.SpecDecl: (
        "spec s {\ntier proxy ;cost 5;\ncontext reads at egress,writes ;\npeer egress , ingress;\n"
        'speaks "a" ,"b";\nartifact "a"from"b"per service ;\n}',
        "spec s {\n    tier proxy; cost 5;\n    context reads at egress, writes;\n    peer egress, ingress;\n"
        '    speaks "a", "b";\n    artifact "a" from "b" per service;\n}',
    ),
    t.SupportsDecl: ("spec s {\nsupports E{\n}\n}", "spec s {\n    supports E {\n    }\n}"),
    t.ReadNode: (
        "spec s { supports E {\nreads a with(== <in  exists) at egress ,b ;\n} }",
        "spec s { supports E {\n    reads a with (== < in exists) at egress, b;\n} }",
    ),
    t.EntityDecl: ("@x\nentity E over F\n{\n}", "@x\nentity E over F\n{\n}"),
    t.EnumDecl: (
        "enum E{a,b terminal ,\n// why\nc}",
        "enum E { a, b terminal,\n    // why\n    c }",
    ),
    t.AttributeDecl: (
        'entity E {\nattribute a [ k:istring ] :int merge min default 3 travels from b before"?" ;\n}',
        'entity E {\n    attribute a[k: istring]: int merge min default 3 travels from b before "?";\n}',
    ),
    t.TypeNode: (
        'entity E { attribute a: map< version,percent >? except["a" ,"b"]; }',
        'entity E { attribute a: map<version, percent>? except ["a", "b"]; }',
    ),
    t.DomainNode: (
        'entity E { attribute a: string in r"x"; attribute b: int in 1 .. 9; attribute c: duration in 1s..; '
        "attribute d: int in[ 1,2 ]; }",
        'entity E { attribute a: string in r"x"; attribute b: int in 1..9; attribute c: duration in 1s..; '
        "attribute d: int in [1, 2]; }",
    ),
    t.OperationDecl: (
        'entity E { operation  A (n:int=3,m:string) at egress writes a=n ,b="x" emits"t" ; }',
        'entity E { operation A(n: int = 3, m: string) at egress writes a = n, b = "x" emits "t"; }',
    ),
    t.ParamDecl: ("entity E { operation A(n :set< int >); }", "entity E { operation A(n: set<int>); }"),
    t.WriteNode: (
        'entity E { operation A() writes a [n]=1,b[ "k" ]=n; }',
        'entity E { operation A() writes a[n] = 1, b["k"] = n; }',
    ),
    t.ConditionDecl: (
        'state entity S{condition  C ( n:int=1 )emits "t";}',
        'state entity S { condition C(n: int = 1) emits "t"; }',
    ),
    t.StateEntityDecl: ("state  entity S( rate:rate ){ }", "state entity S(rate: rate) {}"),
    t.StateDecl: (
        'state S s(100/s,burst :20)per r . header["x"];state S u;',
        'state S s(100/s, burst: 20) per r.header["x"];\nstate S u;',
    ),
    t.PolicyDecl: (
        'policy p(E e)on a->b at ingress when e.x\noverrides q , "r s"\nafter t during"x"\n{\n}',
        'policy p (E e) on a -> b at ingress when e.x\n    overrides q, "r s"\n    after t during "x"\n{\n}',
    ),
    t.Annotation: (
        '@owner( "a" ,3 )@internal ()\n@ x\npolicy p (E e) on a {}',
        '@owner("a", 3) @internal()\n@x\npolicy p (E e) on a {}',
    ),
    t.PatternNode: (
        "policy p (E e) on outside->a->\n? {}",
        "policy p (E e) on outside -> a ->\n    ? {}",
    ),
    t.PStep: ("policy p (E e) on a * -> (b)*->* {}", "policy p (E e) on a* -> (b)* -> * {}"),
    t.PNamed: ('policy p (E e) on a-b:v2 -> "c d" : "v 1" {}', 'policy p (E e) on a-b:v2 -> "c d":"v 1" {}'),
    t.PAny: ("policy p (E e) on ?->? * {}", "policy p (E e) on ? -> ?* {}"),
    t.PGroup: ("policy p (E e) on @ g* {}", "policy p (E e) on @g* {}"),
    t.PLabels: ('policy p (E e) on [ a:b ,"c d" : "e" ] {}', 'policy p (E e) on [a: b, "c d": "e"] {}'),
    t.PAlt: ("policy p (E e) on( a|b:v1| ! c ) {}", "policy p (E e) on (a | b:v1 | !c) {}"),
    t.PNot: ("policy p (E e) on ! a -> ! (b) {}", "policy p (E e) on !a -> !(b) {}"),
    t.CallStatement: ("policy p (E e) on a {\ne . A ( ) ;}", "policy p (E e) on a {\n    e.A(); }"),
    t.LetStatement: (
        "policy p (E e) on a {let x={ v1:80% ,v2 :20% };}",
        "policy p (E e) on a { let x = { v1: 80%, v2: 20% }; }",
    ),
    t.IfStatement: (
        "policy p (E e) on a {\nif(e.x){\ne.A();\n}else if( e.y ) { }\nelse{\ne.B();}\n}",
        "policy p (E e) on a {\n    if (e.x) {\n        e.A();\n    } else if (e.y) {}\n"
        "    else {\n        e.B(); }\n}",
    ),
    t.Lit: (
        'policy p (E e) on a { e.A("x",-1,2.5s,20%,100/s,true,r"x"); }',
        'policy p (E e) on a { e.A("x", -1, 2.5s, 20%, 100/s, true, r"x"); }',
    ),
    t.SetLit: ('policy p (E e) on a when e.x in["a" ,"b"] {}', 'policy p (E e) on a when e.x in ["a", "b"] {}'),
    t.MapLit: ("policy p (E e) on a { e.A({a:1},{ }); }", "policy p (E e) on a { e.A({ a: 1 }, {}); }"),
    t.Ref: ('policy p (E e) on a when e . x [ "k" ] . "y" {}', 'policy p (E e) on a when e.x["k"]."y" {}'),
    t.CallExpr: ("policy p (E e) on a when s . Take( n :1 ) {}", "policy p (E e) on a when s.Take(n: 1) {}"),
    t.Binary: (
        'policy p (E e) on a when e.x=="a"&&(e.y<3||e.z>=1s)&&e.t matches r"x" {}',
        'policy p (E e) on a when e.x == "a" && (e.y < 3 || e.z >= 1s) && e.t matches r"x" {}',
    ),
    t.Unary: ("policy p (E e) on a when ! e.x && !  exists e.y {}", "policy p (E e) on a when !e.x && !exists e.y {}"),
    t.TestDecl: ('test"x"{\n}', 'test "x" {\n}'),
    t.TestRequest: (
        'test "x" {\nrequest GET"/"on outside->a\nwith header [ "x" ]="1",\nm="y" ;\n}',
        'test "x" {\n    request GET "/" on outside -> a\n        with header["x"] = "1",\n        m = "y";\n}',
    ),
    t.TestExpect: ('test "x" { expect allow ,header["x"]="1" ; }', 'test "x" { expect allow, header["x"] = "1"; }'),
    t.Setting: (
        'test "x" { request GET on a with limiter . Take=false; }',
        'test "x" { request GET on a with limiter.Take = false; }',
    ),
    t.Name: ("mesh\nm;", "mesh\n    m;"),
    t.Str: ('import\n"x";', 'import\n    "x";'),
}


def kinds(node: Any) -> set[type]:
    """The types of all nodes in a tree."""
    if isinstance(node, tuple):
        return set().union(*map(kinds, node))
    if not is_dataclass(node):
        return set()
    return set().union({type(node)}, *(kinds(getattr(node, f.name)) for f in fields(node)))  # type: ignore[arg-type]


@pytest.mark.parametrize("node", FORMS, ids=lambda node: node.__name__)
def test_the_form_of_each_node(node: type) -> None:
    text, form = FORMS[node]
    assert node in {kind for item in split(text) for kind in kinds(parse_item(item.text).decl)}
    assert format_text(text) == form + "\n"
    assert format_text(form) == form + "\n"


def test_every_node_has_a_form() -> None:
    """A node that is added to the tree is added above. What is left of a broken item is never printed."""
    nodes = {found for found in vars(t).values() if isinstance(found, type) and is_dataclass(found)}
    assert nodes - set(FORMS) == {t.Broken}


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
    r.Split({ v1: 80%, v2: 20% });     // a
    if (r.n < 3) { r.Drop(); } else {} // bb
}

spec s { supports E { operation Aa emits "x";
    operation B emits "y"; reads x with (== in);
} }

/// Doc.
policy q (E e) on a ->
    ? {}
"""


def test_a_messy_program() -> None:
    assert format_text(MESSY) == NEAT


COMMENTS = """// At the top.

/// Of the policy.
@owner("a") // why
policy /* between */ p (E e) on a -> /* here */ b // behind
    // before a clause
    when e.x in [ // first
        "a", // one
        "b"  /* two */
        // last
    ]
{
    // only a comment

    e.A(/* none */); /* behind */ // and more
    if (e.y) {
        e.B();
    }
    // before else
    else {
        /* a block
           of text */
    }
    // at the end
} // behind it

/* of
   nothing */
// at the end of the file
"""


def test_comments_stay_where_they_are() -> None:
    assert format_text(COMMENTS) == COMMENTS


def test_blank_lines_part_groups_and_there_is_one_at_most() -> None:
    text = 'mesh m {\n\n\n    graph "g";\n\n\n\n    dataplanes a;\n    cost a on b 1;\n\n\n}\n'
    text += "mesh n;\nmesh o;\n\n\n\nmesh q;\n"
    neat = 'mesh m {\n    graph "g";\n\n    dataplanes a;\n    cost a on b 1;\n}\n\nmesh n;\nmesh o;\n\nmesh q;\n'
    assert format_text(text) == neat


def test_a_bracket_in_a_comment_opens_nothing() -> None:
    text = "mesh m {\n    cost a on b 1;\n    // not yet {\n\n    cost a on c 1;\n}\n"
    assert format_text(text) == text
    opened = "mesh m { // behind it\n\n\n    cost a on b 1;\n}\n"
    assert format_text(opened) == opened.replace("\n\n\n", "\n")


def test_documentation_stays_with_the_declaration_that_follows_it() -> None:
    text = "state entity S(a: int\n    /// of nothing {\n\n) { operation One; }\n"
    text += "entity E {\n    /// of a\n    attribute a: int; attribute b: int;\n    /// of nothing {\n\n"
    text += "    attribute c: int;\n}\n"
    assert left_alone(text) == []
    for whole in (text, format_text(text)):
        state, entity = (parse_item(item.text).decl for item in split(whole))
        assert isinstance(state, t.StateEntityDecl)
        assert isinstance(entity, t.EntityDecl)
        assert [o.doc for o in state.operations] == [""]
        assert [a.doc for a in entity.attributes] == ["of a", "", ""]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_shipped_programs_are_formatted(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not left_alone(text)
    assert format_text(text) == text


def test_line_ends_and_the_byte_order_mark() -> None:
    assert format_text("\ufeffmesh  a;\r\n/* x\r\n y */\r\nmesh b;") == "\ufeffmesh a;\r\n/* x\r\n y */\r\nmesh b;\r\n"
    assert format_text("mesh  a;\r\nmesh b;\nmesh c;\n") == "mesh a;\nmesh b;\nmesh c;\n"
    assert format_text("mesh  a;\rmesh b;\r") == "mesh a;\nmesh b;\n"
    assert format_text("") == format_text(" \n\n") == ""


def test_only_what_does_not_parse_stays() -> None:
    text = "mesh  a;\r\npolicy  half (\r\n   mesh b ;\r\n\r\n\r\nmesh   c;\r\n"
    assert format_text(text) == "mesh a;\r\n\r\npolicy  half (\r\n   mesh b ;\r\n\r\nmesh c;\r\n"
    wrong = "policy  p (E e) on a { e.A(99999999999999999999 ); }"  # a value that is wrong can be read
    assert format_text(wrong) == "policy p (E e) on a { e.A(99999999999999999999); }\n"


def test_a_file_is_formatted_in_place(tmp_path: Path) -> None:
    ours, gnu, link = tmp_path / "a.m4", tmp_path / "gnu.m4", tmp_path / "sub" / "link.m4"
    ours.write_text(MESSY)
    ours.chmod(0o640)
    gnu.write_text("dnl no\ndefine(`x',   `y')\n")
    link.parent.mkdir()
    link.symlink_to(ours)
    assert m4("fmt", "--check", tmp_path).code == 1
    assert ours.read_text() == MESSY
    assert m4("fmt", link).code == 0
    assert ours.read_text() == NEAT and link.is_symlink()
    assert ours.stat().st_mode & 0o777 == 0o640
    assert gnu.read_text() == "dnl no\ndefine(`x',   `y')\n" and not looks_like_m4(gnu.read_text())
    assert m4("fmt", "--check", tmp_path).out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.m4", "gnu.m4", "sub"]


def test_what_is_not_formatted_is_said_with_its_reason(tmp_path: Path) -> None:
    text = "mesh  a;\n\npolicy  p (E e) on a {\n    e.A(1;\n}\n"
    (tmp_path / "half.m4").write_text(text)
    done = m4("fmt", "half.m4", cwd=tmp_path)
    assert (done.code, done.out) == (0, "half.m4\n")
    assert done.err == "m4: half.m4:4: not formatted: a closing `)` is missing\n"
    assert (tmp_path / "half.m4").read_text() == text.replace("mesh  a", "mesh a")
    (tmp_path / "bad.m4").write_bytes(b"mesh \xff;")
    done = m4("fmt", "--check", ".", cwd=tmp_path)
    assert done.code == 2
    assert "bad.m4: " in done.err and "UTF-8" in done.err


def test_a_document(tmp_path: Path) -> None:
    file = tmp_path / "a.m4"
    file.write_text("mesh   a ;")
    workspace = Workspace([tmp_path])
    assert format_document(workspace, file.as_posix()) == "mesh a;\n"
    workspace.set_text(file.as_posix(), "mesh a;\n")
    assert format_document(workspace, file.as_posix()) is None
