"""Turns lark's tree of one item into the nodes of `tree`."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lark import Token, v_args
from lark.tree import Meta
from lark.visitors import Transformer_NonRecursive

from m4c.syntax import tree as t
from m4c.syntax.items import is_doc
from m4c.syntax.literals import SyntaxProblem, integer, scalar, text_of


def _pick(children: list[Any], kind: type) -> tuple[Any, ...]:
    return tuple(c for c in children if isinstance(c, kind))


def _tagged(children: list[Any], tag: str) -> list[Any]:
    return [c[1] for c in children if isinstance(c, tuple) and len(c) == 2 and c[0] == tag]


Tag = tuple[str, Any]


def _tag(tag: str) -> Callable[[Any, Meta, list[Any]], Tag]:
    """A clause that its declaration picks out by name."""

    def rule(self: Any, meta: Meta, children: list[Any]) -> Tag:
        return tag, children

    return rule


@v_args(meta=True)
class Builder(Transformer_NonRecursive[Token, t.Decl]):
    """One method a rule of the grammar. `text` is the item at hand; `problems`, what is wrong within its tokens."""

    def __init__(self, text: str) -> None:
        super().__init__(visit_tokens=False)
        self.text = text
        self.problems: list[SyntaxProblem] = []
        breaks = list(re.finditer(r"\r\n|\n|\r", text))
        self.lines = [0, *(m.end() for m in breaks)]  # where each line begins …
        self.ends = [*(m.start() for m in breaks), len(text)]  # … and ends

    def _doc(self, start: int, name: t.Name | t.Str) -> str:
        """The `///` lines directly above a declaration, and those between its annotations and its keyword."""
        first, last = (bisect_right(self.lines, at) - 1 for at in (start, name.start))
        above = first
        while above > 0 and is_doc(self._line(above - 1)):
            above -= 1
        lines = [self._line(i) for i in (*range(above, first), *range(first + 1, last)) if is_doc(self._line(i))]
        return "\n".join(line[3:].removeprefix(" ") for line in lines)

    def _line(self, i: int) -> str:
        return self.text[self.lines[i] : self.ends[i]].strip()

    def _once(self, children: list[Any], tag: str) -> list[Any] | None:
        """The parts of a clause that is said once; a second one is reported."""
        said: list[list[Any]] = _tagged(children, tag)
        for other in said[1:]:
            token = isinstance(other[0], Token)
            start, end = (other[0].start_pos, other[0].end_pos) if token else (other[0].start, other[0].end)
            self.problems.append(SyntaxProblem(f"`{tag}` is said twice", start, end, "duplicate-name"))
        return said[0] if said else None

    # names and literals
    def _name(self, token: Token) -> t.Name:
        text = text_of(token, self.problems) if token.startswith('"') else str(token)
        return t.Name(text, token.start_pos or 0, token.end_pos or 0)

    def name(self, meta: Meta, c: list[Token]) -> t.Name:
        return self._name(c[0])

    service = name
    name_value = name
    key_param = name

    def string(self, meta: Meta, c: list[Token]) -> t.Str:
        return t.Str(text_of(c[0], self.problems), c[0].start_pos or 0, c[0].end_pos or 0)

    key_text = string

    def scalar(self, meta: Meta, c: list[Token]) -> t.Lit:
        return scalar(c[0], self.problems)

    def set_literal(self, meta: Meta, c: list[Any]) -> t.SetLit:
        return t.SetLit(tuple(x for x in c if x is not None), meta.start_pos, meta.end_pos)

    def element_name(self, meta: Meta, c: list[Token]) -> t.Ref:
        return t.Ref(self._name(c[0]), (), meta.start_pos, meta.end_pos)

    def pair(self, meta: Meta, c: list[Any]) -> tuple[t.Name, t.Expr]:
        return self._name(c[0]), c[1]

    def map_literal(self, meta: Meta, c: list[Any]) -> t.MapLit:
        return t.MapLit(tuple(x for x in c if x is not None), meta.start_pos, meta.end_pos)

    # expressions
    def access_member(self, meta: Meta, c: list[Token]) -> t.Name:
        return self._name(c[0])

    def access_key(self, meta: Meta, c: list[t.Str]) -> t.Str:
        return c[0]

    def ref(self, meta: Meta, c: list[Any]) -> t.Ref:
        return t.Ref(self._name(c[0]), tuple(c[1:]), meta.start_pos, meta.end_pos)

    def argument(self, meta: Meta, c: list[Any]) -> tuple[t.Name | None, t.Expr]:
        return c[0], c[1]

    def call(self, meta: Meta, c: list[Any]) -> t.CallExpr:
        return t.CallExpr(c[0], tuple(a for a in c[1:] if a is not None), meta.start_pos, meta.end_pos)

    def _binary(self, op: str, left: t.Expr, right: t.Expr) -> t.Binary:
        return t.Binary(op, left, right, left.start, right.end)

    def _joined(self, op: str, parts: list[t.Expr]) -> t.Expr:
        """A balanced tree: `&&` and `||` are associative, and long chains must not nest deeply."""
        if len(parts) == 1:
            return parts[0]
        half = (len(parts) + 1) // 2
        return self._binary(op, self._joined(op, parts[:half]), self._joined(op, parts[half:]))

    def or_expr(self, meta: Meta, c: list[t.Expr]) -> t.Expr:
        return self._joined("||", c)

    def and_expr_(self, meta: Meta, c: list[t.Expr]) -> t.Expr:
        return self._joined("&&", c)

    def compare_expr(self, meta: Meta, c: list[Any]) -> t.Expr:
        return self._binary(str(c[1]), c[0], c[2])

    def matches_expr(self, meta: Meta, c: list[Any]) -> t.Expr:
        return self._binary("matches", c[0], scalar(c[1], self.problems))

    def in_expr(self, meta: Meta, c: list[Any]) -> t.Expr:
        return self._binary("in", c[0], c[1])

    def not_expr_(self, meta: Meta, c: list[t.Expr]) -> t.Expr:
        return t.Unary("!", c[0], meta.start_pos, meta.end_pos)

    def exists_expr(self, meta: Meta, c: list[t.Expr]) -> t.Expr:
        return t.Unary("exists", c[0], meta.start_pos, meta.end_pos)

    def paren_expr(self, meta: Meta, c: list[t.Expr]) -> t.Expr:
        return replace(c[0], start=meta.start_pos, end=meta.end_pos)

    # call paths
    def outside(self, meta: Meta, c: list[Any]) -> str:
        return "outside"

    def named(self, meta: Meta, c: list[Any]) -> t.PNamed:
        return t.PNamed(c[0], c[1], meta.start_pos, meta.end_pos)

    def any_one(self, meta: Meta, c: list[Any]) -> t.PAny:
        return t.PAny(meta.start_pos, meta.end_pos)

    def group_ref(self, meta: Meta, c: list[t.Name]) -> t.PGroup:
        return t.PGroup(c[0], meta.start_pos, meta.end_pos)

    def label(self, meta: Meta, c: list[Token]) -> tuple[t.Name, t.Name]:
        return self._name(c[0]), self._name(c[1])

    def labelled(self, meta: Meta, c: list[Any]) -> t.PLabels:
        return t.PLabels(tuple(c), meta.start_pos, meta.end_pos)

    def alternatives(self, meta: Meta, c: list[t.POne]) -> t.POne:
        return c[0] if len(c) == 1 else t.PAlt(tuple(c), meta.start_pos, meta.end_pos)

    def not_one(self, meta: Meta, c: list[t.POne]) -> t.PNot:
        return t.PNot(c[0], meta.start_pos, meta.end_pos)

    def any_star(self, meta: Meta, c: list[Any]) -> t.PStep:
        return t.PStep(t.PAny(meta.start_pos, meta.end_pos), True, meta.start_pos, meta.end_pos)

    def one_star(self, meta: Meta, c: list[t.POne]) -> t.PStep:
        return t.PStep(c[0], True, meta.start_pos, meta.end_pos)

    def one_step(self, meta: Meta, c: list[t.POne]) -> t.PStep:
        return t.PStep(c[0], False, meta.start_pos, meta.end_pos)

    def pattern(self, meta: Meta, c: list[Any]) -> t.PatternNode:
        return t.PatternNode(tuple(c[1:]), c[0] is not None, meta.start_pos, meta.end_pos)

    # small items
    def import_(self, meta: Meta, c: list[t.Str]) -> t.Import:
        return t.Import(c[0], meta.start_pos, meta.end_pos)

    def membership(self, meta: Meta, c: list[t.Name]) -> t.Membership:
        return t.Membership(c[0], meta.start_pos, meta.end_pos)

    def annotation(self, meta: Meta, c: list[Any]) -> t.Annotation:
        args = tuple(a for a in c[1:] if a is not None)
        return t.Annotation(self._name(c[0]), args, meta.start_pos, meta.end_pos)

    # mesh
    mesh_graph = _tag("graph")
    mesh_dataplanes = _tag("dataplanes")
    mesh_place = _tag("place")
    mesh_cost = _tag("cost")
    mesh_propagate = _tag("propagate")
    mesh_group = _tag("group")
    mesh_tag_bits = _tag("tag_bits")

    def kind_never(self, meta: Meta, c: list[Any]) -> str:
        return "never"

    def kind_only(self, meta: Meta, c: list[Any]) -> str:
        return "only"

    def mesh_default(self, meta: Meta, c: list[Any]) -> t.MeshDefault:
        return t.MeshDefault(c[0], c[1], c[2], c[3], c[4], meta.start_pos, meta.end_pos)

    def mesh(self, meta: Meta, c: list[Any]) -> t.MeshDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.MeshDecl(
            name=rest[0],
            extends=rest[1],
            graphs=tuple(x[0] for x in _tagged(rest, "graph")),
            dataplanes=tuple(n for x in _tagged(rest, "dataplanes") for n in x),
            places=tuple((x[0], x[1], x[2]) for x in _tagged(rest, "place")),
            costs=tuple((x[0], x[1], integer(x[2], self.problems)) for x in _tagged(rest, "cost")),
            propagate=tuple(s for x in _tagged(rest, "propagate") for s in x),
            groups=tuple((x[0], tuple(n for n in x[1:] if n is not None)) for x in _tagged(rest, "group")),
            defaults=_pick(rest, t.MeshDefault),
            tag_bits=integer(bits[0], self.problems) if (bits := self._once(rest, "tag_bits")) else None,
            doc=self._doc(meta.start_pos, rest[0]),
            start=meta.start_pos,
            end=meta.end_pos,
        )

    # specs
    def side_ingress(self, meta: Meta, c: list[Any]) -> t.Name:
        return t.Name("ingress", meta.start_pos, meta.end_pos)

    def side_egress(self, meta: Meta, c: list[Any]) -> t.Name:
        return t.Name("egress", meta.start_pos, meta.end_pos)

    def at(self, meta: Meta, c: list[t.Name]) -> Tag:
        return "at", c[0]

    def _side(self, c: list[Any]) -> str | None:
        return next((n.text for n in _tagged(c, "at")), None)

    def context_reads(self, meta: Meta, c: list[Any]) -> Tag:
        return "use", ("reads", self._side(c))

    def context_writes(self, meta: Meta, c: list[Any]) -> Tag:
        return "use", ("writes", self._side(c))

    spec_tier = _tag("tier")
    spec_cost = _tag("cost")
    spec_context = _tag("context")
    spec_peer = _tag("peer")
    spec_artifact = _tag("artifact")

    def comparison(self, meta: Meta, c: list[Any]) -> str:
        start, end = meta.start_pos, meta.end_pos
        return str(c[0]) if c else self.text[start:end]

    def read(self, meta: Meta, c: list[Any]) -> t.ReadNode:
        comparisons = tuple(x for x in c[1:] if isinstance(x, str))
        return t.ReadNode(c[0], comparisons or None, self._side(c[1:]))

    def supports_reads(self, meta: Meta, c: list[Any]) -> Tag:
        return "reads", tuple(c)

    def spec_supports(self, meta: Meta, c: list[Any]) -> t.SupportsDecl:
        reads = tuple(r for group in _tagged(c, "reads") for r in group)
        ops, attrs, conditions = _pick(c, t.OperationDecl), _pick(c, t.AttributeDecl), _pick(c, t.ConditionDecl)
        return t.SupportsDecl(c[0], reads, ops, attrs, conditions, meta.start_pos, meta.end_pos)

    def spec(self, meta: Meta, c: list[Any]) -> t.SpecDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.SpecDecl(
            name=rest[0],
            tier=tier[0] if (tier := self._once(rest, "tier")) else None,
            cost=integer(cost[0], self.problems) if (cost := self._once(rest, "cost")) else None,
            context=tuple(use for x in _tagged(rest, "context") for use in _tagged(x, "use")),
            peer=tuple(n.text for x in _tagged(rest, "peer") for n in x),
            supports=_pick(rest, t.SupportsDecl),
            artifacts=tuple((x[0], x[1], x[2]) for x in _tagged(rest, "artifact")),
            entities=tuple(x for x in rest if isinstance(x, t.EntityDecl | t.StateEntityDecl)),
            enums=_pick(rest, t.EnumDecl),
            doc=self._doc(meta.start_pos, rest[0]),
            start=meta.start_pos,
            end=meta.end_pos,
        )

    # entities
    clause_merge = _tag("merge")
    clause_default = _tag("default")
    clause_travels = _tag("travels")
    clause_derived = _tag("from")

    def bound(self, meta: Meta, c: list[Token]) -> Token:
        return c[0]

    def domain_regex(self, meta: Meta, c: list[Token]) -> t.DomainNode:
        return t.DomainNode(str(c[0]), regex=str(c[0])[2:-1])

    def domain_range(self, meta: Meta, c: list[Token | None]) -> t.DomainNode:
        low, high = (None if x is None else scalar(x, self.problems) for x in c)
        return t.DomainNode("..".join(str(x or "") for x in c), low=low, high=high)

    def domain_set(self, meta: Meta, c: list[t.Expr]) -> t.DomainNode:
        items = (self.text[x.start : x.end] for x in c)
        return t.DomainNode(f"[{', '.join(items)}]", among=tuple(c))

    def type(self, meta: Meta, c: list[Any]) -> t.TypeNode:
        args = _pick(c[1:], t.TypeNode)
        optional = any(isinstance(x, Token) and x.type == "QUESTION" for x in c)
        domain = next(iter(_pick(c, t.DomainNode)), None)
        literals = next((x.items for x in c if isinstance(x, t.SetLit)), ())
        excluded = tuple(str(x.value) for x in literals if isinstance(x, t.Lit))
        return t.TypeNode(c[0], args, optional, domain, excluded, meta.start_pos, meta.end_pos)

    def attribute(self, meta: Meta, c: list[Any]) -> t.AttributeDecl:
        name, key_name, key_type, type_, *clauses = [x for x in c if not isinstance(x, t.Annotation)]
        return t.AttributeDecl(
            name=name,
            key=None if key_name is None else (key_name, key_type),
            type=type_,
            merge=merge[0] if (merge := self._once(clauses, "merge")) else None,
            default=default[0] if (default := self._once(clauses, "default")) else None,
            travels=bool(_tagged(clauses, "travels")),
            derived=(derived[0], derived[1]) if (derived := self._once(clauses, "from")) else None,
            annotations=_pick(c, t.Annotation),
            doc=self._doc(meta.start_pos, name),
            start=meta.start_pos,
            end=meta.end_pos,
        )

    params = _tag("params")

    def param(self, meta: Meta, c: list[Any]) -> t.ParamDecl:
        return t.ParamDecl(c[0], c[1], c[2], meta.start_pos, meta.end_pos)

    def write(self, meta: Meta, c: list[Any]) -> t.WriteNode:
        return t.WriteNode(c[0], c[1], c[2], meta.start_pos, meta.end_pos)

    def operation(self, meta: Meta, c: list[Any]) -> t.OperationDecl:
        name, *rest = [x for x in c if not isinstance(x, t.Annotation)]
        params = _tagged(rest, "params")
        return t.OperationDecl(
            name=name,
            params=_pick(params[0], t.ParamDecl) if params else None,
            side=self._side(rest),
            writes=_pick(rest, t.WriteNode),
            emits=next(iter(_pick(rest, t.Str)), None),
            doc=self._doc(meta.start_pos, name),
            start=meta.start_pos,
            end=meta.end_pos,
        )

    def enum_value(self, meta: Meta, c: list[Any]) -> tuple[t.Name, bool]:
        return c[0], c[1] is not None

    def enum(self, meta: Meta, c: list[Any]) -> t.EnumDecl:
        name, *values = [x for x in c if not isinstance(x, t.Annotation) and x is not None]
        doc = self._doc(meta.start_pos, name)
        return t.EnumDecl(name, tuple(values), doc, meta.start_pos, meta.end_pos)

    def entity(self, meta: Meta, c: list[Any]) -> t.EntityDecl:
        name, over, *members = [x for x in c if not isinstance(x, t.Annotation)]
        attrs, ops = _pick(members, t.AttributeDecl), _pick(members, t.OperationDecl)
        doc = self._doc(meta.start_pos, name)
        return t.EntityDecl(name, over, attrs, ops, _pick(c, t.Annotation), doc, meta.start_pos, meta.end_pos)

    # policies
    def call_statement(self, meta: Meta, c: list[t.CallExpr]) -> t.CallStatement:
        return t.CallStatement(c[0], meta.start_pos, meta.end_pos)

    def let_statement(self, meta: Meta, c: list[Any]) -> t.LetStatement:
        return t.LetStatement(c[0], c[1], meta.start_pos, meta.end_pos)

    def block(self, meta: Meta, c: list[Any]) -> list[t.Statement]:
        return list(c)

    def if_statement(self, meta: Meta, c: list[Any]) -> t.IfStatement:
        otherwise = c[2] if isinstance(c[2], list) else [] if c[2] is None else [c[2]]
        return t.IfStatement(c[0], tuple(c[1]), tuple(otherwise), meta.start_pos, meta.end_pos)

    clause_at = _tag("at")
    clause_when = _tag("when")
    clause_overrides = _tag("overrides")
    clause_after = _tag("after")
    clause_during = _tag("during")

    def policy(self, meta: Meta, c: list[Any]) -> t.PolicyDecl:
        name, entity, var, pattern, *rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.PolicyDecl(
            name=name,
            entity=entity,
            var=var,
            pattern=pattern,
            sides=tuple(x[0] for x in _tagged(rest, "at")),
            whens=tuple(x[0] for x in _tagged(rest, "when")),
            overrides=tuple(n for x in _tagged(rest, "overrides") for n in x),
            after=tuple(n for x in _tagged(rest, "after") for n in x),
            during=tuple(x[0] for x in _tagged(rest, "during")),
            body=tuple(rest[-1]),
            annotations=_pick(c, t.Annotation),
            doc=self._doc(meta.start_pos, name),
            start=meta.start_pos,
            end=meta.end_pos,
        )

    # states and tests
    def state(self, meta: Meta, c: list[Any]) -> t.StateDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        args = tuple(x for x in rest[2:] if isinstance(x, tuple))
        per = next(iter(_pick(rest, t.Ref)), None)
        doc = self._doc(meta.start_pos, rest[1])
        return t.StateDecl(rest[1], rest[0], args, per, doc, meta.start_pos, meta.end_pos)

    def condition(self, meta: Meta, c: list[Any]) -> t.ConditionDecl:
        name, *rest = [x for x in c if not isinstance(x, t.Annotation)]
        params = _tagged(rest, "params")
        return t.ConditionDecl(
            name=name,
            params=_pick(params[0], t.ParamDecl) if params else None,
            side=self._side(rest),
            emits=next(iter(_pick(rest, t.Str)), None),
            doc=self._doc(meta.start_pos, name),
            start=meta.start_pos,
            end=meta.end_pos,
        )

    def state_entity(self, meta: Meta, c: list[Any]) -> t.StateEntityDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.StateEntityDecl(
            name=rest[0],
            params=_pick(rest, t.ParamDecl),
            attributes=_pick(rest, t.AttributeDecl),
            operations=_pick(rest, t.OperationDecl),
            conditions=_pick(rest, t.ConditionDecl),
            doc=self._doc(meta.start_pos, rest[0]),
            start=meta.start_pos,
            end=meta.end_pos,
        )

    def setting(self, meta: Meta, c: list[Any]) -> t.Setting:
        return t.Setting(c[0], c[1], c[2], c[3], meta.start_pos, meta.end_pos)

    def test_request(self, meta: Meta, c: list[Any]) -> t.TestRequest:
        settings = _pick(c, t.Setting)
        return t.TestRequest(c[0], c[1], c[2], settings, meta.start_pos, meta.end_pos)

    def test_expect(self, meta: Meta, c: list[t.Expr | t.Setting]) -> t.TestExpect:
        return t.TestExpect(tuple(c), meta.start_pos, meta.end_pos)

    def test(self, meta: Meta, c: list[Any]) -> t.TestDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.TestDecl(rest[0], tuple(rest[1:]), meta.start_pos, meta.end_pos)
