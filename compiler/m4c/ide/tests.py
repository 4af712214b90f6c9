"""Proposals of what may stand in a test: requests, the steps of call paths, settings and expectations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lark import Tree

from m4c import project
from m4c.ide import members, names, render
from m4c.ide.cursor import Piece, kind_of, text_of
from m4c.ide.fitting import readable, written
from m4c.ide.scene import Proposal, Scene
from m4c.ide.usage import near
from m4c.semantics.effects import answers, carriers
from m4c.semantics.model import Atom, Attribute, AttrKey, Entity, Value, atoms
from m4c.semantics.values import show
from m4c.syntax import tree as t


@dataclass(frozen=True, slots=True)
class _Request:
    """The request at the cursor, or the last one before it: its words, and its path as far as it goes."""

    name: str
    line: bool  # with a text behind the name
    path: tuple[Piece, ...]


def _request(scene: Scene) -> _Request | None:
    whole = max((i for i, p in enumerate(scene.pieces) if kind_of(p) == "test_request"), default=-1)
    opened = max((i for i, p in enumerate(scene.pieces) if kind_of(p) == "REQUEST"), default=-1)
    if max(whole, opened) < 0:
        return None
    tree = scene.pieces[whole]
    parts = scene.pieces[opened + 1 :]
    if whole > opened and isinstance(tree, Tree):
        parts = tuple(c for c in tree.children if c is not None)
    if not parts:
        return None
    line = len(parts) > 1 and kind_of(parts[1]) in ("string", "STRING")
    return _Request(text_of(parts[0]), line, tuple(p for p in parts if kind_of(p) in ("pattern", "one_step")))


def _entity(scene: Scene) -> Entity | None:
    """What the request is: the entity of its name, or the one that has a request line."""
    request = _request(scene)
    if request is None:
        return None
    known = [e for e in scene.schema.entities.values() if not e.state]
    if request.line:
        return next((e for e in known if len(e.request_line) == 2), None)
    return next((e for e in known if e.name == request.name), None)


def _services(scene: Scene) -> list[str]:
    """The services of the request's path, as far as it goes."""
    request = _request(scene)
    trees = [p for p in (request.path if request else ()) if isinstance(p, Tree)]
    return [text_of(s) for tree in trees for s in tree.find_data("service")]


# --- requests and paths -----------------------------------------------------------------------------------------------


def requests(scene: Scene) -> Iterator[Proposal]:
    """What can be requested: by a request line, with words that the workspace knows, or by an entity's name."""
    entities = scene.schema.entities.values()
    for e in (e for e in entities if len(e.request_line) == 2):
        known = [str(v) for v in _compared(scene, AttrKey(e.name, e.request_line[0]))]
        words = dict.fromkeys([*_requested(scene), *known])
        for word in words:
            plain = scene.name(word)
            yield Proposal(word, "constant", e.name, e.doc, f"{plain} ", f'{plain} "${{1:/}}" on $0', rank=0)
    for e in entities:
        if not e.state and not e.views:
            yield Proposal(e.name, "entity", render.entity(e), e.doc, insert=f"{e.name} on ", rank=1)


def _requested(scene: Scene) -> Iterator[str]:
    """The words of the requests in the workspace's tests."""
    for ref in project.all_decls(scene.db):
        decl = ref.parsed.decl
        for s in decl.statements if isinstance(decl, t.TestDecl) else ():
            if isinstance(s, t.TestRequest) and s.text is not None:
                yield s.name.text


def path_services(scene: Scene) -> Iterator[Proposal]:
    """The services that the path can go on with: those that the last one calls, or where chains start."""
    last = kind_of(scene.pieces[-1])
    graph, entity = scene.graph, _entity(scene)
    connection = entity is not None and entity.connection
    before = _services(scene)
    if last == "ARROW" and before:
        wanted = set(graph.callees(before[-1]))
    elif last == "ARROW":
        wanted = {s.name for s in graph.services.values() if s.entry}
    else:
        callers = {c.caller for c in graph.calls}
        wanted = {s.name for s in graph.services.values() if s.name in callers and (connection or s.origin)}
    for p in names.services(scene):
        if p.label in wanted or not wanted:
            yield p
    if last == "ON" and not connection and not scene.cursor.quoted:
        yield Proposal("outside", "keyword", "a chain that comes from outside", insert="outside -> ", rank=0)


# --- settings and expectations ----------------------------------------------------------------------------------------


def settings(scene: Scene) -> Iterator[Proposal]:
    """What can be said of a request."""
    entity = _entity(scene)
    used = near(scene.db, scene.file).counts
    seen = readable(scene, entity) if entity else ()
    for a in entity.attributes.values() if entity else ():
        if a.derived is None:
            uses = used.get(("attribute in policy", a.name), 0)
            yield replace(_said(scene, a), rank=1 if a.name in seen else 2, uses=uses)
    yield from _around(scene, entity)
    yield from _states(scene, frozenset(n for n, kind in scene.states.items() if kind.conditions))


def expectations(scene: Scene) -> Iterator[Proposal]:
    """What a request can come to: first of all whether it is let through."""
    entity = _entity(scene)
    first = kind_of(scene.pieces[-1]) == "EXPECT"
    said = {text_of(p) for p in _open_list(scene) if kind_of(p) == "name_value"}
    often = written(scene, entity, said) if entity else {}
    for a in entity.attributes.values() if entity else ():
        if a.key is None and a.type.name in scene.schema.enums:
            for p in members.values(scene, a.type):
                usual = p.label == a.default or often.get((a.name, p.label))
                yield replace(p, rank=4 if not first else 0 if usual else 2)
            yield replace(_said(scene, a), rank=3)  # its values say as much by themselves
        else:
            uses = often.get((a.name, ""), 0)
            yield replace(_said(scene, a), rank=1 if uses else 3, uses=uses)
    yield from _around(scene, entity)
    yield from _states(scene, frozenset(n for n, kind in scene.states.items() if kind.attributes))


def _open_list(scene: Scene) -> tuple[Piece, ...]:
    """What is expected so far by the statement at the cursor."""
    last = max((i for i, p in enumerate(scene.pieces) if kind_of(p) == "EXPECT"), default=len(scene.pieces))
    return scene.pieces[last + 1 :]


def _said(scene: Scene, a: Attribute) -> Proposal:
    doc = "\n\n".join(filter(None, (render.code(render.attribute(a)), a.doc)))
    key, place = ("", "") if a.key is None else ('[""]', '["$1"]')
    enum = scene.schema.enums.get(a.type.name)
    value = f"${{2|{','.join(enum.values)}|}}" if enum else "$0"
    name = scene.name(a.name)
    return Proposal(
        a.name, "attribute", render.attribute_type(a), doc, f"{name}{key} = ", f"{name}{place} = {value}", rank=1
    )


def _around(scene: Scene, entity: Entity | None) -> Iterator[Proposal]:
    """The entities that go with a request."""
    known = scene.schema.entities
    for e in (*carriers(known, entity.name), *answers(known, entity.name)) if entity else ():
        what = "carries it" if entity is not None and entity.name not in e.views.values() else "comes back"
        yield Proposal(e.name, "entity", what, e.doc, insert=f"{e.name}.", rank=3)


def _states(scene: Scene, wanted: frozenset[str]) -> Iterator[Proposal]:
    for name, state in project.states(scene.db, scene.mesh).items():
        if name in wanted:
            yield Proposal(name, "state", state.kind, state.doc, insert=f"{scene.name(name)}.", rank=3)


def said_members(scene: Scene) -> Iterator[Proposal]:
    """What stands behind `limiter.` or `HttpResponse.`."""
    owner = _owner(scene)
    if owner is None:
        return
    expected = _expected(scene)
    for c in () if expected else owner.conditions.values():
        doc = "\n\n".join(filter(None, (render.code(render.condition(c)), c.doc)))
        yield Proposal(c.name, "operation", "", doc, f"{c.name} = ", rank=0)
    for a in owner.attributes.values() if expected or not owner.state else ():
        if expected or a.derived is None:
            yield _said(scene, a)


def said_keys(scene: Scene) -> Iterator[Proposal]:
    """The keys of an attribute: of a request those that policies read, of what it comes to those that they write."""
    attribute = _attribute(scene)
    said = [kind_of(p) for p in scene.pieces if kind_of(p) in ("WITH", "EXPECT")]
    expected = said[-1:] == ["EXPECT"]
    return members.keys_of(scene, attribute, expected, _services(scene)) if attribute is not None else iter(())


def said_values(scene: Scene) -> Iterator[Proposal]:
    """The values that something can have."""
    owner, parts = _owner(scene), _parts(scene)
    attribute = _attribute(scene)
    if attribute is None:
        if owner is not None and len(parts) > 1 and parts[1] in owner.conditions:
            yield from names.plain("keyword", ("true", "false"))
        return
    if not scene.cursor.quoted:
        yield from members.values(scene, attribute.type)
    key = _key(scene)
    for value in _compared(scene, AttrKey(attribute.entity, attribute.name, key)):
        shown = show(value, attribute.type)
        if shown.startswith('"') or not scene.cursor.quoted:
            text = shown[1:-1] if scene.cursor.quoted else shown
            yield Proposal(str(value), "constant", "policies compare with it", insert=text, rank=1)
    if not scene.cursor.quoted and (_expected(scene) or attribute.type.optional):
        yield Proposal("absent", "keyword", "no value at all", rank=2)


def share_versions(scene: Scene) -> Iterator[Proposal]:
    """The versions of the path's last service, as the keys of what is set or expected."""
    last = next(reversed(_services(scene)), "")
    service = scene.graph.services.get(last)
    for version in service.versions if service is not None else ():
        insert = scene.service_name(version) + ("" if scene.cursor.quoted else ": ")
        yield Proposal(version, "version", f"of {last}", insert=insert)


def _open(scene: Scene) -> list[Piece]:
    """The pieces of the setting or expectation that is open at the cursor."""
    out: list[Piece] = []
    depth = 0
    for piece in reversed(scene.pieces):
        kind = kind_of(piece)
        depth += {"RBRACE": 1, "LBRACE": -1}.get(kind, 0)
        if kind in ("WITH", "EXPECT") or (kind == "COMMA" and "LBRACE" not in map(kind_of, out) and depth >= 0):
            break
        out.insert(0, piece)
    return out


def _parts(scene: Scene) -> list[str]:
    return [text_of(p) for p in _open(scene) if kind_of(p) == "name"]


def _key(scene: Scene) -> str | None:
    return next((text_of(p) for p in _open(scene) if kind_of(p) == "string"), None)


def _expected(scene: Scene) -> bool:
    return "EXPECT" in scene.shape.rsplit("test_request", 1)[-1].split()


def _owner(scene: Scene) -> Entity | None:
    """The entity whose attribute is named: the request's own, one that goes with it, or a kind of state."""
    parts = _parts(scene)
    entity = _entity(scene)
    if not parts or entity is None:
        return None
    if not any(kind_of(p) == "DOT" for p in _open(scene)):
        return entity
    known = scene.schema.entities
    around = {e.name: e for e in (*carriers(known, entity.name), entity, *answers(known, entity.name))}
    return scene.states.get(parts[0]) or around.get(parts[0])


def _attribute(scene: Scene) -> Attribute | None:
    owner, parts = _owner(scene), _parts(scene)
    return owner.attributes.get(parts[-1]) if owner is not None else None


def _compared(scene: Scene, attr: AttrKey) -> Iterator[Value]:
    """The constants that the policies of the mesh compare an attribute with."""
    program = project.program(scene.db, scene.mesh) if scene.mesh is not None else None
    seen: set[Value] = set()
    for policy in program.policies if program is not None else ():
        for cond in (policy.when, *(c.guard for c in policy.calls)):
            for atom in sorted((a for a in atoms(cond) if isinstance(a, Atom) and a.attr == attr), key=repr):
                found = atom.value if atom.op == "in" and isinstance(atom.value, tuple) else (atom.value,)
                for value in found if atom.op in ("==", "in") else ():
                    if value not in seen and not isinstance(value, bool):
                        seen.add(value)
                        yield value
