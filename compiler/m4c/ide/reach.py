"""Which services may stand at a place in a path pattern, by the calls of the graph."""

from __future__ import annotations

import re

from m4c import project
from m4c.db import Database, query
from m4c.ide.scene import Scene
from m4c.paths.masks import Letters, Shape
from m4c.semantics.policies import check_pattern
from m4c.semantics.values import Scope
from m4c.syntax import tree as t
from m4c.syntax.items import TOKEN
from m4c.syntax.parser import parse_anew

MOST = 128  # services that are tried one by one with what follows the cursor
_LONGEST = 4000  # characters of a pattern that are looked at
_END = re.compile(r"\b(?:when|at|overrides|after|with|during)\b|[{};=]")


@query
def letters(db: Database, mesh: str) -> Letters:
    """The letters of a mesh's graph, with all that is found out with them until the graph changes."""
    return Letters(project.mesh_graph(db, mesh) or project.EMPTY_GRAPH)


def next_services(scene: Scene) -> frozenset[str] | None:
    """The services with which a call path of the graph can go on at the cursor, given the steps before it and those
    behind it; None where nothing is known of that."""
    if scene.mesh is None or not scene.graph.services or (scene.entity is not None and scene.entity.connection):
        return None
    start, end = scene.cursor.word_start - scene.cursor.quoted, scene.cursor.offset + scene.cursor.quoted
    before = _before(scene.workspace.text(scene.file)[:start])
    known = _shape(scene, f"{before} ?") if before is not None else None
    if known is None:
        return None
    found = letters(scene.db, scene.mesh)
    last = len(known.steps) - 1
    begins = found.entries if known.outside else found.entries | found.origins
    allowed = found.names(found.ends_once(known) if last else begins)
    rest = _behind(scene.workspace.text(scene.file)[end:])
    whole = _shape(scene, f"{before} ? {rest}") if rest and len(allowed) <= MOST else None
    if whole is None:
        return allowed
    return frozenset(n for n in allowed if found.ends_once(_with(whole, last, found.service(n)))) or allowed


def policy_shape(scene: Scene) -> Shape | None:
    """The pattern of the policy at the cursor, where it is whole; None where nothing is known of that."""
    if scene.mesh is None or not scene.graph.services:
        return None
    start = scene.cursor.item
    code = _code(scene.workspace.text(scene.file)[start : min(start + _LONGEST, scene.cursor.offset)])
    on = next((m.end() for m in TOKEN.finditer(code) if m[0] == "on"), None)
    end = _END.search(code, on) if on is not None else None
    return _shape(scene, code[on : end.start()]) if end is not None else None


def _before(text: str) -> str | None:
    """The pattern up to the cursor, as far as a step is begun there; None where that step is no single service."""
    code = _code(text[-_LONGEST:])
    on = None
    for token in TOKEN.finditer(code):
        if token[0] == "on":
            on = token.end()
        elif token[0] in ("{", "}", ";", "when"):
            on = None
    if on is None:
        return None
    pattern = code[on:].strip()
    if pattern.count("(") > pattern.count(")"):  # one of several: what is before the first counts
        pattern = pattern[: pattern.rindex("(")].strip()
    return pattern if not pattern or pattern.endswith("->") else None


def _code(text: str) -> str:
    """The text with its comments blanked."""
    return TOKEN.sub(lambda m: " " * len(m[0]) if m.lastgroup == "comment" else m[0], text)


def _behind(text: str) -> str:
    """The steps behind the cursor."""
    end = _END.search(text[:_LONGEST])
    rest = text[: end.start() if end else 0].strip()
    return rest if rest.startswith("->") else ""


def _shape(scene: Scene, pattern: str) -> Shape | None:
    parsed = parse_anew(f"policy _ (_ _) on {pattern} {{ }}")
    decl = parsed.decl
    if parsed.problems or not isinstance(decl, t.PolicyDecl) or scene.mesh is None:
        return None
    read = check_pattern(decl.pattern, Scope("", ""), project.names(scene.db, scene.mesh))
    found = letters(scene.db, scene.mesh)
    return Shape(tuple((found.matching(s.one), s.star) for s in read.steps), read.outside)


def _with(shape: Shape, at: int, service: int) -> Shape:
    return Shape((*shape.steps[:at], (service, False), *shape.steps[at + 1 :]), shape.outside)
