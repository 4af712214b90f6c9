"""What completion proposes where: `PLACES` names, for each place in the grammar, the function that knows the names.

A place is told by the end of the parser's stack ("POLICY name LPAR " is where a policy's entity stands) and by a
terminal that the parser accepts there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lark import Token, Tree

from m4c import project
from m4c.ide import members, names, tests
from m4c.ide.cursor import keywords, kind_of, text_of
from m4c.ide.scene import Proposal, Scene
from m4c.ide.unimported import unimported

Provider: TypeAlias = Callable[[Scene], Iterable[Proposal]]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of place: how the shape of the stack ends there, and what the parser accepts."""

    shape: str
    accepts: str
    provider: Provider
    item: str = ""  # within which kind of item

    def fits(self, scene: Scene) -> bool:
        return (
            self.accepts in scene.cursor.accepts
            and self.item in ("", scene.item)
            and re.search(rf"(?:^| ){self.shape}$", scene.shape) is not None
        )


# What was read of a list stands on the stack without its commas, but for the last one: hence `(?:COMMA )?`.
_REF = r"(?:ref |NAME (?:access_member |access_key |DOT NAME |LSQB string RSQB )+)"
_LIST = r"(?:name (?:COMMA )?)*"
_ELEMENTS = r"(?:scalar (?:COMMA )?)*"
_SAID = r"(?:WITH|EXPECT|COMMA) name (?:DOT name )?(?:LSQB string RSQB )?"
_CALL = r"ref LPAR (?:argument (?:COMMA )?)*(?:name COLON )?"

PLACES = (
    # paths of files
    Kind("IMPORT ", "STRING", names.imports),
    Kind("GRAPH ", "STRING", names.graph_files),
    Kind("(?:EMITS|ARTIFACT string FROM) ", "STRING", names.templates, "SPEC"),
    # call paths
    Kind(r"service COLON ", "SERVICE", names.versions),
    Kind(r"LSQB (?:label (?:COMMA )?)*(?:SERVICE|STRING) COLON ", "SERVICE", names.label_values),
    Kind(r"LSQB (?:label (?:COMMA )?)*", "SERVICE", names.label_keys),
    Kind(r"(?:.* )?ON .*", "SERVICE", tests.path_services, "TEST"),
    Kind(r"(?:.* )?ON .*ATSIGN ", "NAME", names.groups),
    Kind(r"ATSIGN ", "NAME", names.annotation_names),
    Kind(r"(?:.* )?ON .*", "QUESTION", names.one_services),
    # what a policy says before its body
    Kind("POLICY name LPAR ", "NAME", names.entities),
    Kind("POLICY name LPAR (?:NAME|name) ", "NAME", names.variable),
    Kind(f"(?:OVERRIDES|AFTER) {_LIST}", "NAME", names.policies),
    # calls
    Kind(rf"{_CALL}LBRACE (?:pair (?:COMMA )?)*(?:SERVICE|STRING) COLON ", "NAME", members.map_values, "POLICY"),
    Kind(rf"{_CALL}LBRACE (?:pair (?:COMMA )?)*", "SERVICE", members.map_keys, "POLICY"),
    Kind(r"ref LPAR (?:argument (?:COMMA )?)*name COLON ", "NAME", members.argument_values, "POLICY"),
    Kind(r"ref LPAR (?:argument (?:COMMA )?)*", "NAME", members.arguments, "POLICY"),
    Kind(r"(?:LBRACE|RBRACE|\w+_statement) NAME DOT ", "NAME", members.operations, "POLICY"),
    Kind(r"(?:LBRACE|RBRACE|\w+_statement) ", "LET", members.roots, "POLICY"),
    # conditions
    Kind(r"NAME (?:access_member |DOT NAME )+LSQB ", "STRING", members.keys, "POLICY"),
    Kind(rf"{_REF}(?:CMP |LESSTHAN |MORETHAN |IN LSQB {_ELEMENTS})", "STRING", members.compared_with, "POLICY"),
    Kind(_REF, "CMP", members.comparisons, "POLICY"),
    Kind(r"NAME (?:access_member )*DOT ", "NAME", members.asked, "POLICY"),
    Kind(r"(?:WHEN|AND|OR|BANG|EXISTS|LPAR) ", "NAME", members.operands, "POLICY"),
    # states
    Kind("STATE ", "NAME", names.state_kinds),
    Kind(r"STATE name name LPAR (?:argument (?:COMMA )?)*name COLON ", "NAME", members.argument_values),
    Kind(r"STATE name name LPAR (?:argument (?:COMMA )?)*", "NAME", members.arguments),
    Kind("PER ", "NAME", members.per_variable, "STATE"),
    Kind("PER NAME DOT ", "NAME", members.per_attributes, "STATE"),
    Kind("PER NAME access_member LSQB ", "STRING", members.per_keys, "STATE"),
    # tests
    Kind("REQUEST ", "NAME", tests.requests),
    Kind(rf"{_SAID}EQUAL LBRACE (?:pair (?:COMMA )?)*", "SERVICE", tests.share_versions, "TEST"),
    Kind(rf"{_SAID}EQUAL ", "STRING", tests.said_values, "TEST"),
    Kind(r"(?:WITH|EXPECT|COMMA) name (?:DOT name )?LSQB ", "STRING", tests.said_keys, "TEST"),
    Kind(r"(?:WITH|EXPECT|COMMA) name DOT ", "NAME", tests.said_members, "TEST"),
    Kind(r"WITH (?:setting (?:COMMA )?)*", "NAME", tests.settings, "TEST"),
    Kind(r"EXPECT (?:\w+ (?:COMMA )?)*", "NAME", tests.expectations, "TEST"),
    # meshes
    Kind("MESH ", "NAME", names.meshes),
    Kind(f"DATAPLANES {_LIST}", "NAME", names.dataplanes),
    Kind(r"PLACE service \w+ ", "NAME", names.mesh_dataplanes),
    Kind("PLACE ", "SERVICE", names.services),
    Kind("COST name ON ", "SERVICE", names.services),
    Kind("COST ", "NAME", names.mesh_dataplanes),
    Kind(r"GROUP name EQUAL LBRACE (?:service (?:COMMA )?)*", "SERVICE", names.services),
    Kind("PROPAGATE (?:string (?:COMMA )?)*", "STRING", members.all_keys),
    Kind("DEFAULT ", "NAME", names.entities, "MESH"),
    Kind("DEFAULT name DOT ", "NAME", members.default_attributes, "MESH"),
    Kind("DEFAULT name DOT name LSQB ", "STRING", members.default_keys, "MESH"),
    Kind(r"DEFAULT name DOT name (?:LSQB string RSQB )?EQUAL ", "NAME", members.default_values, "MESH"),
    # specs
    Kind("(?:SUPPORTS|OVER) ", "NAME", names.entities),
    Kind("TIER ", "NAME", names.tiers),
    Kind("(?:SPEAKS|PROTOCOLS) (?:string (?:COMMA )?)*", "STRING", names.protocols),
    Kind("PER ", "NAME", names.per, "SPEC"),
    Kind("READS (?:read (?:COMMA )?)*", "NAME", members.spec_attributes),
    Kind("OPERATION ", "NAME", members.spec_operations, "SPEC"),
    Kind("CONDITION ", "NAME", members.spec_conditions, "SPEC"),
    Kind(r"WRITES (?:write (?:COMMA )?)*", "NAME", members.spec_attributes),
    Kind(r"WRITES (?:write (?:COMMA )?)*name LSQB ", "NAME", members.own_params),
    Kind(r"WRITES (?:write (?:COMMA )?)*name (?:LSQB key_\w+ RSQB )?EQUAL ", "NAME", members.written_values),
    Kind(
        r"(?:READS .*)?name WITH LPAR (?:comparison |CMP |LESSTHAN |MORETHAN |IN |MATCHES |EXISTS )*",
        "CMP",
        members.spec_comparisons,
    ),
    Kind(r"ATTRIBUTE .*type (?:\w+ )*DEFAULT ", "NAME", members.attribute_values),
    Kind("MERGE ", "NAME", names.merges),
    Kind("FROM ", "NAME", members.spec_attributes),
    Kind(r"(?:name COLON |LESSTHAN (?:type (?:COMMA )?)*)", "NAME", names.types),
)


# Words that are proposed with the values and comparisons of a type, where they apply to it, and words that are kept for
# a later version of the language.
_ELSEWHERE = frozenset(("true", "false", "exists", "in", "matches", "during", "extends", "template", "apply"))
# What is said once, and early, of a mesh and of a spec: the ranks of these words until then.
_ONCE = {"graph": 6, "dataplanes": 7, "tier": 6}
# Declarations of which one is seldom alone; the first is what meshes are made of.
_FOLLOW = ("policy", "test", "state", "entity", "enum", "import")
_OF_TESTS = ("test_request", "test_expect", "REQUEST", "EXPECT")
# What is said once in a list.
_ONCE_IN_LISTS = ("name", "named", "service", "string", "label", "pair", "read", "scalar", "setting", "name_value")
_SOON, _USUAL, _LATE = 7, 8, 9  # ranks of words


def proposals(scene: Scene) -> list[Proposal]:
    """Everything that may stand at the cursor."""
    out: list[Proposal] = []
    for place in PLACES:
        if place.fits(scene):
            listed = _listed(scene)
            out += (p for p in place.provider(scene) if p.filter not in listed)
            known = {*listed, *(p.label for p in out)}
            out += (p for p in unimported(scene, place.provider) if p.label not in known)
            break
    if not scene.cursor.quoted:
        said = {p.label for p in out}
        out += (p for p in _keywords(scene) if p.label not in said)
    return out


def _listed(scene: Scene) -> set[str]:
    """What stands in the list at the cursor already; of what has a key there may be more."""
    before = iter(reversed(scene.pieces))
    found: set[str] = set()
    if kind_of(next(before, Token("", ""))) not in ("COMMA", "VBAR"):
        return found
    for piece in before:
        if kind_of(piece) not in _ONCE_IN_LISTS or not isinstance(piece, Tree):
            break
        if kind_of(piece) != "setting" or piece.children[1] is piece.children[2] is None:
            found.add(text_of(piece))
    return found


def _keywords(scene: Scene) -> Iterator[Proposal]:
    top = scene.head < 0
    for terminal in sorted(scene.cursor.accepts):
        word = keywords().get(terminal, "")
        if word.isidentifier() and word not in _ELSEWHERE:
            yield Proposal(word, "keyword", snippet=_frame(scene, word) if top else None, rank=_rank(scene, word))


def _rank(scene: Scene, word: str) -> int:
    """How likely a word is where it may stand: declarations of one kind follow one another, what is said once comes
    early, and what a test expects follows what it requests."""
    if scene.head < 0:
        likely = _item_before(scene) if project.mesh_names(scene.db) else "mesh"  # nothing else means anything before
        return _SOON if word == likely else _USUAL
    if scene.item == "TEST":
        said = [kind_of(p) for p in scene.pieces if kind_of(p) in _OF_TESTS]
        return _USUAL if (word == "expect") == (said[-1:] in (["test_request"], ["REQUEST"])) else _LATE
    if word == "when":
        return _SOON  # most that is said behind a pattern are conditions
    if word in _ONCE and scene.item in ("MESH", "SPEC"):
        forms = (f"mesh_{word}", f"spec_{word}", word.upper())
        return _LATE if any(kind_of(p) in forms for p in scene.pieces) else _ONCE[word]
    return _USUAL


def _item_before(scene: Scene) -> str:
    """The kind of the declaration before the cursor, if another one is likely to follow it; else that of most."""
    before = [i.kind for i in project.items(scene.db, scene.file) if i.end <= scene.cursor.word_start and i.kind]
    return before[-1] if before and before[-1] in _FOLLOW else _FOLLOW[0]


def _frame(scene: Scene, word: str) -> str:
    """The frame of a declaration, with places to fill in."""
    entities = ",".join(project.schema(scene.db).entities) or "Entity"
    return {
        "import": 'import "$1";$0',
        "mesh": 'mesh ${1:name} {\n\tgraph "$2";\n\tdataplanes $3;\n\t$0\n}',
        "policy": "policy ${1:name} (${2|" + entities + "|} ${3:r}) on ${4:?} -> ${5:?} {\n\t$0\n}",
        "spec": "spec ${1:name} {\n\ttier ${2|kernel,proxy|};\n\tcost ${3:1};\n\t$0\n}",
        "entity": "entity ${1:Name} {\n\t$0\n}",
        "enum": "enum ${1:Name} { $0 }",
        "test": 'test "${1:what it shows}" {\n\trequest $2 on $3;\n\texpect $0;\n}',
    }.get(word, f"{word} $0")
