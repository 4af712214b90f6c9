"""The concrete declarations of M4, as the text says them: names unresolved, types unchecked.

Every node carries `start` and `end`, offsets in code points from the first character of its item, so that a tree
depends on the text of its item alone.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from m4c.syntax.node import node


@node(frozen=True, slots=True)
class Name:
    text: str
    start: int
    end: int


@node(frozen=True, slots=True)
class Str:
    text: str  # unescaped
    start: int
    end: int


# --- expressions and values -------------------------------------------------------------------------------------------

LiteralKind: TypeAlias = Literal["string", "int", "duration", "percent", "rate", "bool", "regex"]


@node(frozen=True, slots=True)
class Lit:
    """A scalar literal. `value` is already in the unit of the model (nanoseconds, hundredths of a percent, …)."""

    kind: LiteralKind
    value: str | int | bool | tuple[int, int]
    start: int
    end: int


@node(frozen=True, slots=True)
class SetLit:
    items: tuple[Expr, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class MapLit:
    pairs: tuple[tuple[Name, Expr], ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class Ref:
    """`r.header["x"]`: a root and its accessors, members as `Name`, keys as `Str`."""

    root: Name
    accessors: tuple[Name | Str, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class CallExpr:
    ref: Ref
    args: tuple[tuple[Name | None, Expr], ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class Binary:
    op: str  # a comparison, "in", "matches", "&&" or "||"
    left: Expr
    right: Expr
    start: int
    end: int


@node(frozen=True, slots=True)
class Unary:
    op: str  # "!" or "exists"
    of: Expr
    start: int
    end: int


Expr: TypeAlias = Lit | SetLit | MapLit | Ref | CallExpr | Binary | Unary


# --- call paths -------------------------------------------------------------------------------------------------------


@node(frozen=True, slots=True)
class PNamed:
    service: Name
    version: Name | None
    start: int
    end: int


@node(frozen=True, slots=True)
class PAny:
    start: int
    end: int


@node(frozen=True, slots=True)
class PGroup:
    group: Name
    start: int
    end: int


@node(frozen=True, slots=True)
class PLabels:
    labels: tuple[tuple[Name, Name], ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class PAlt:
    of: tuple[POne, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class PNot:
    of: POne
    start: int
    end: int


POne: TypeAlias = PNamed | PAny | PGroup | PLabels | PAlt | PNot


@node(frozen=True, slots=True)
class PStep:
    one: POne
    star: bool
    start: int
    end: int


@node(frozen=True, slots=True)
class PatternNode:
    steps: tuple[PStep, ...]
    outside: bool
    start: int
    end: int


# --- declarations -----------------------------------------------------------------------------------------------------


@node(frozen=True, slots=True)
class Annotation:
    name: Name
    args: tuple[Expr, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class Import:
    path: Str
    start: int
    end: int


@node(frozen=True, slots=True)
class Membership:
    mesh: Name
    start: int
    end: int


@node(frozen=True, slots=True)
class MeshDefault:
    entity: Name
    attribute: Name
    key: Str | None
    value: Expr
    pattern: PatternNode
    start: int
    end: int


@node(frozen=True, slots=True)
class CostNode:
    """`50`, or `50 + 6 per 100/s`: of an instance, and more for requests."""

    instance: int
    more: int
    rate: Lit | None
    start: int
    end: int


@node(frozen=True, slots=True)
class MeshDecl:
    name: Name
    extends: Name | None
    graphs: tuple[Str, ...]
    dataplanes: tuple[Name, ...]
    places: tuple[tuple[Name, str, Name], ...]  # (service, "never" or "only", dataplane)
    costs: tuple[tuple[Name, Name, CostNode], ...]  # (dataplane, service, cost)
    propagate: tuple[Str, ...]
    groups: tuple[tuple[Name, tuple[Name, ...]], ...]
    defaults: tuple[MeshDefault, ...]
    tag_bits: int | None
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class DomainNode:
    """What the values of a type are limited to: `in r"…"`, `in 100..599` (or `1..`), or `in ["a", "b"]`."""

    text: str  # as it is written behind `in`, but for white space
    regex: str | None = None
    low: Lit | None = None
    high: Lit | None = None
    among: tuple[Expr, ...] | None = None


@node(frozen=True, slots=True)
class TypeNode:
    name: Name
    args: tuple[TypeNode, ...]
    optional: bool
    domain: DomainNode | None
    excluded: tuple[str, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class AttributeDecl:
    name: Name
    key: tuple[Name, TypeNode] | None
    type: TypeNode
    merge: Name | None
    default: Expr | None
    travels: bool
    derived: tuple[Name, Str] | None
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class ParamDecl:
    name: Name
    type: TypeNode
    default: Expr | None
    start: int
    end: int


@node(frozen=True, slots=True)
class WriteNode:
    attribute: Name
    key: Name | Str | None  # a parameter's name, or a constant
    value: Expr
    start: int
    end: int


@node(frozen=True, slots=True)
class OperationDecl:
    name: Name
    params: tuple[ParamDecl, ...] | None  # None: no parentheses, the operation is declared elsewhere
    side: str | None
    writes: tuple[WriteNode, ...]
    emits: Str | None
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class ConditionDecl:
    name: Name
    params: tuple[ParamDecl, ...] | None  # None: no parentheses, the condition is declared elsewhere
    side: str | None
    emits: Str | None
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class EnumDecl:
    name: Name
    values: tuple[tuple[Name, bool], ...]  # (value, terminal)
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class EntityDecl:
    name: Name
    over: Name | None
    protocols: tuple[Str, ...]
    attributes: tuple[AttributeDecl, ...]
    operations: tuple[OperationDecl, ...]
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class ReadNode:
    attribute: Name
    comparisons: tuple[str, ...] | None
    side: str | None


@node(frozen=True, slots=True)
class SupportsDecl:
    entity: Name
    reads: tuple[ReadNode, ...]
    operations: tuple[OperationDecl, ...]
    attributes: tuple[AttributeDecl, ...]
    conditions: tuple[ConditionDecl, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class SpecDecl:
    name: Name
    tier: Name | None
    cost: CostNode | None
    context: tuple[tuple[str, str | None], ...]  # ("reads" or "writes", side)
    peer: tuple[str, ...]
    speaks: tuple[Str, ...]
    supports: tuple[SupportsDecl, ...]
    artifacts: tuple[tuple[Str, Str, Name], ...]  # (file, template, per what)
    entities: tuple[EntityDecl | StateEntityDecl, ...]
    enums: tuple[EnumDecl, ...]
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class CallStatement:
    call: CallExpr
    start: int
    end: int


@node(frozen=True, slots=True)
class LetStatement:
    name: Name
    value: Expr
    start: int
    end: int


@node(frozen=True, slots=True)
class IfStatement:
    cond: Expr
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    start: int
    end: int


Statement: TypeAlias = CallStatement | LetStatement | IfStatement


@node(frozen=True, slots=True)
class PolicyDecl:
    name: Name
    entity: Name
    var: Name
    pattern: PatternNode
    sides: tuple[Name, ...]
    whens: tuple[Expr, ...]
    overrides: tuple[Name, ...]
    after: tuple[Name, ...]
    during: tuple[Str, ...]  # reserved
    body: tuple[Statement, ...]
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class StateDecl:
    name: Name
    kind: Name
    args: tuple[tuple[Name | None, Expr], ...]
    per: Ref | None
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class StateEntityDecl:
    name: Name
    params: tuple[ParamDecl, ...]
    attributes: tuple[AttributeDecl, ...]
    operations: tuple[OperationDecl, ...]
    conditions: tuple[ConditionDecl, ...]
    annotations: tuple[Annotation, ...]
    doc: str
    start: int
    end: int


@node(frozen=True, slots=True)
class Setting:
    """`header["x"] = "1"`: a value for something of the entity at hand, or of a state (`limiter.Take = false`)."""

    name: Name
    member: Name | None
    key: Str | None
    value: Expr
    start: int
    end: int


@node(frozen=True, slots=True)
class TestRequest:
    """`request GET "/" on …`; without a text, the name is the entity's (`request TcpConnection on …`)."""

    name: Name
    text: Str | None
    pattern: PatternNode
    settings: tuple[Setting, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class TestExpect:
    """`expect allow, timeout = 1s;`: a value says enough where only one attribute can have it."""

    of: tuple[Expr | Setting, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class TestDecl:
    title: Str
    statements: tuple[TestRequest | TestExpect, ...]
    annotations: tuple[Annotation, ...]
    start: int
    end: int


@node(frozen=True, slots=True)
class Broken:
    """An item of which only its kind and perhaps its name could be read."""

    kind: str
    name: Name | None
    start: int
    end: int


Decl: TypeAlias = (
    Import
    | Membership
    | MeshDecl
    | SpecDecl
    | EntityDecl
    | EnumDecl
    | PolicyDecl
    | StateDecl
    | StateEntityDecl
    | TestDecl
    | Broken
)
