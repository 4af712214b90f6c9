"""What can be named at a cursor: the scene of completion."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from lark import Token, Tree

from m4c import project
from m4c.ide.cursor import Cursor, Piece, kind_of, text_of
from m4c.semantics.deprecated import deprecation
from m4c.semantics.model import Attribute, Dataplane, Entity, Graph, Operation, Param, StateCondition
from m4c.semantics.schema import Schema
from m4c.syntax import words
from m4c.workspace import Workspace

ProposalKind: TypeAlias = Literal[
    "keyword", "policy", "service", "version", "group", "label", "mesh", "dataplane", "entity", "operation",
    "attribute", "key", "param", "enum value", "constant", "variable", "state", "operator", "type", "file",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proposal:
    """One thing that may stand at the cursor. `insert` is its text; `snippet` the same with places to fill in.

    `rank` orders proposals that fit equally, 0 first; of one rank, those come first that are `likelier` there, and then
    those that are used often (`uses`, None: as the files around say). `imports`: the file that has to be imported for
    it, by its path from here.
    """

    label: str
    kind: ProposalKind
    detail: str = ""
    doc: str = ""
    insert: str = ""
    snippet: str | None = None
    rank: int = 5
    likelier: int = 0
    uses: int | None = None
    imports: str = ""

    @property
    def text(self) -> str:
        return self.insert or self.label

    @property
    def deprecated(self) -> bool:
        return deprecation(self.doc) is not None

    @property
    def filter(self) -> str:
        return self.label.lstrip('@"')


class Scene:
    """A cursor with what can be named there."""

    def __init__(self, workspace: Workspace, cursor: Cursor) -> None:
        self.workspace = workspace
        self.cursor = cursor
        self.db = workspace.db
        self.file = cursor.file
        self.pieces = cursor.pieces
        self.shape = cursor.shape

    @cached_property
    def schema(self) -> Schema:
        return project.schema(self.db)

    @cached_property
    def head(self) -> int:
        """The index of the item's keyword among the pieces; -1 if there is none yet."""
        kinds = ("POLICY", "MESH", "SPEC", "ENTITY", "ENUM", "STATE", "TEST", "IMPORT")
        return next((i for i, p in enumerate(self.pieces) if kind_of(p) in kinds), -1)

    @cached_property
    def item(self) -> str:
        return kind_of(self.pieces[self.head]) if self.head >= 0 else ""

    def names_after(self, keyword: str) -> list[str]:
        """The names, services and strings behind the last of a keyword, in order."""
        at = max((i for i, p in enumerate(self.pieces) if kind_of(p) == keyword), default=None)
        if at is None:
            return []
        return [text_of(p) for p in self.pieces[at + 1 :] if kind_of(p) in ("name", "service", "string", "NAME")]

    @cached_property
    def mesh(self) -> str | None:
        if self.item == "MESH":
            return next(iter(self.names_after("MESH")), None)
        return project.mesh_of_file(self.db, self.file)[0]

    @cached_property
    def graph(self) -> Graph:
        found = project.mesh_graph(self.db, self.mesh) if self.mesh is not None else None
        return found or project.EMPTY_GRAPH

    @cached_property
    def planes(self) -> tuple[Dataplane, ...]:
        """The dataplanes of the mesh; without a mesh, all that are known."""
        known = self.schema.dataplanes
        checked = project.mesh(self.db, self.mesh) if self.mesh else None
        return tuple(known[d] for d in checked.mesh.dataplanes) if checked else tuple(known.values())

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        return dict(project.names(self.db, self.mesh).groups)

    @cached_property
    def entity(self) -> Entity | None:
        """The entity that attributes and operations at the cursor belong to."""
        if self.item == "POLICY":
            names = self.names_after("POLICY")
            name = names[1] if len(names) > 1 else ""
        elif self.item == "MESH":
            name = next(iter(self.names_after("DEFAULT")), "")
        elif "SUPPORTS " in self.shape:
            name = next(iter(self.names_after("SUPPORTS")), "")
        else:
            name = next(iter(self.names_after("ENTITY")), "")
        return self.schema.entities.get(name)

    @cached_property
    def variable(self) -> str:
        names = self.names_after("POLICY")
        return names[2] if self.item == "POLICY" and len(names) > 2 else ""

    @cached_property
    def lets(self) -> list[str]:
        statements = [p for p in self.pieces if isinstance(p, Tree) and p.data == "let_statement"]
        return [text_of(s) for s in statements]

    @cached_property
    def ends(self) -> tuple[str, ...]:
        """The services that the last step of the policy's pattern names, where it is whole."""
        pattern = self.last("pattern")
        steps = [s for s in pattern.children if isinstance(s, Tree)] if isinstance(pattern, Tree) else []
        return tuple(text_of(s) for s in steps[-1].find_data("service")) if steps else ()

    def last(self, kind: str) -> Piece | None:
        return next((p for p in reversed(self.pieces) if kind_of(p) == kind), None)

    @cached_property
    def states(self) -> dict[str, Entity]:
        """The states of the mesh, each with its kind."""
        known = self.schema.entities
        return {n: known[s.kind] for n, s in project.states(self.db, self.mesh).items() if s.kind in known}

    def reference(self) -> list[str]:
        """The names of the reference that stands last, whole or open: its root, then its members."""
        names: list[str] = []
        for at in range(len(self.pieces) - 1, -1, -1):
            piece = self.pieces[at]
            kind = kind_of(piece)
            if kind == "ref" and isinstance(piece, Tree):
                inner = [c for c in piece.children if isinstance(c, Tree) and c.data == "access_member"]
                return [text_of(piece), *map(text_of, inner)]
            after_dot = at > 0 and kind_of(self.pieces[at - 1]) == "DOT"
            if kind == "access_member" or (kind in ("NAME", "STRING") and after_dot):
                names.insert(0, text_of(piece))
            elif kind == "NAME":
                return [text_of(piece), *names]
        return names

    def holder(self) -> Entity | None:
        """What the reference before a dot leads to: the entity, another one that is a part of it, a state's kind."""
        root, *members = self.reference() or [""]
        found = self.entity if root == self.variable else self.states.get(root)
        for name in members:
            found = self.schema.entities.get(found.views.get(name, "")) if found is not None else None
        return found

    def attribute(self) -> Attribute | None:
        """The attribute of the reference that stands last, whole or open."""
        root, *members = self.reference() or [""]
        found = self.entity if root == self.variable else None
        for name in members:
            if found is None or name in found.attributes:
                break
            found = self.schema.entities.get(found.views.get(name, ""))
        return found.attributes.get(name) if found is not None and members else None

    def called(self) -> Operation | StateCondition | Entity | None:
        """What the parentheses that are open at the cursor are of: an operation, a state's condition, or a kind of
        state."""
        if self.item == "STATE":
            return self.schema.entities.get(next(iter(self.names_after("STATE")), ""))
        ref = self.last("ref")
        if not isinstance(ref, Tree):
            return None
        members = [text_of(c) for c in ref.children if isinstance(c, Tree)]
        holder = self.entity if text_of(ref) == self.variable else self.states.get(text_of(ref))
        if holder is None or not members:
            return None
        return holder.operations.get(members[0]) or holder.conditions.get(members[0])

    def in_arguments(self) -> bool:
        """Whether the parentheses of a call, or of a state's declaration, are open at the cursor."""
        call = r"STATE name name" if self.item == "STATE" else r"ref"
        return re.search(rf"(?:^| ){call} LPAR (?!.*(?:SEMICOLON|\w+_statement|RPAR) )", self.shape) is not None

    def given(self) -> list[Tree[Token]]:
        """The arguments before the cursor."""
        at = max((i for i, p in enumerate(self.pieces) if kind_of(p) in ("ref", "LPAR")), default=len(self.pieces))
        return [p for p in self.pieces[at:] if isinstance(p, Tree) and p.data == "argument"]

    def param(self) -> Param | None:
        """The parameter whose argument is at the cursor."""
        called = self.called()
        if called is None:
            return None
        if re.search(r"LPAR (?:argument (?:COMMA )?)*name COLON ", self.shape):
            name = text_of(next(p for p in reversed(self.pieces) if kind_of(p) == "name"))
            return next((p for p in called.params if p.name == name), None)
        position = len(self.given())
        return called.params[position] if position < len(called.params) else None

    def name(self, text: str) -> str:
        """A name as it must be written at the cursor."""
        return words.quoted(text)[1:-1] if self.cursor.quoted else words.name(text)

    def service_name(self, text: str) -> str:
        return words.quoted(text)[1:-1] if self.cursor.quoted else words.service(text)
