"""Builds the nodes of `tree`, rule by rule of the grammar, from the parts of each."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from m4c.syntax import tree as t
from m4c.syntax.items import is_doc
from m4c.syntax.literals import SyntaxProblem, Token, integer, scalar, text_of

_LINE_BREAK = re.compile(r"\r\n|\n|\r")


def _pick(children: Sequence[Any], kind: type) -> tuple[Any, ...]:
    return tuple([c for c in children if isinstance(c, kind)])


def _tagged(children: Sequence[Any], tag: str) -> list[Any]:
    return [c[1] for c in children if isinstance(c, tuple) and len(c) == 2 and c[0] == tag]


Tag = tuple[str, Any]


def _tag(tag: str) -> Callable[[Any, Span, Sequence[Any]], Tag]:
    """A clause that its declaration picks out by name."""

    def rule(self: Any, span: Span, children: Sequence[Any]) -> Tag:
        return tag, children

    return rule


@dataclass(slots=True)
class Span:
    """Where a rule's text is in its item."""

    start: int
    end: int


class Builder:
    """One method a rule of the grammar, which gets where the rule's text is, and what its parts came to: tokens, what
    other rules built, and None for an optional part that is missing.

    `text` is the item at hand; `problems`, what is wrong within its tokens.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.problems: list[SyntaxProblem] = []
        self.lines: list[int] = []  # where each line begins …
        self.ends: list[int] = []  # … and ends; both are empty until somebody asks

    def _doc(self, start: int, name: t.Name | t.Str) -> str:
        """The `///` lines directly above a declaration that begins its line, and those between its annotations and its
        keyword."""
        if self.text.find("///", 0, name.start) < 0:
            return ""
        if not self.lines:
            breaks = [m.span() for m in _LINE_BREAK.finditer(self.text)]
            self.lines = [0, *(end for _, end in breaks)]
            self.ends = [*(begin for begin, _ in breaks), len(self.text)]
        first, last = (bisect_right(self.lines, at) - 1 for at in (start, name.start))
        above = first
        begins = not self.text[self.lines[first] : start].strip()
        while begins and above > 0 and is_doc(self._line(above - 1)):
            above -= 1
        lines = [self._line(i) for i in (*range(above, first), *range(first + 1, last)) if is_doc(self._line(i))]
        return "\n".join(line[3:].removeprefix(" ") for line in lines)

    def _line(self, i: int) -> str:
        return self.text[self.lines[i] : self.ends[i]].strip()

    def _once(self, children: Sequence[Any], tag: str) -> list[Any] | None:
        """The parts of a clause that is said once; a second one is reported."""
        said: list[list[Any]] = _tagged(children, tag)
        for other in said[1:]:
            message = f"`{tag}` is said twice"
            self.problems.append(SyntaxProblem(message, other[0].start, other[0].end, "duplicate-name"))
        return said[0] if said else None

    # names and literals
    def _name(self, token: Token) -> t.Name:
        text = text_of(token, self.problems) if token.type == "STRING" else token.text
        return t.Name(text, token.start, token.end)

    def name(self, span: Span, c: Sequence[Token]) -> t.Name:
        return self._name(c[0])

    service = name
    name_value = name
    key_param = name

    def string(self, span: Span, c: Sequence[Token]) -> t.Str:
        return t.Str(text_of(c[0], self.problems), c[0].start, c[0].end)

    key_text = string

    def scalar(self, span: Span, c: Sequence[Token]) -> t.Lit:
        return scalar(c[0], self.problems)

    def set_literal(self, span: Span, c: Sequence[Any]) -> t.SetLit:
        return t.SetLit(tuple(x for x in c if x is not None), span.start, span.end)

    def element_name(self, span: Span, c: Sequence[Token]) -> t.Ref:
        return t.Ref(self._name(c[0]), (), span.start, span.end)

    def pair(self, span: Span, c: Sequence[Any]) -> tuple[t.Name, t.Expr]:
        return self._name(c[0]), c[1]

    def map_literal(self, span: Span, c: Sequence[Any]) -> t.MapLit:
        return t.MapLit(tuple(x for x in c if x is not None), span.start, span.end)

    # expressions
    def access_member(self, span: Span, c: Sequence[Token]) -> t.Name:
        return self._name(c[0])

    def access_key(self, span: Span, c: Sequence[t.Str]) -> t.Str:
        return c[0]

    def ref(self, span: Span, c: Sequence[Any]) -> t.Ref:
        return t.Ref(self._name(c[0]), tuple(c[1:]), span.start, span.end)

    def argument(self, span: Span, c: Sequence[Any]) -> tuple[t.Name | None, t.Expr]:
        return c[0], c[1]

    def call(self, span: Span, c: Sequence[Any]) -> t.CallExpr:
        return t.CallExpr(c[0], tuple(a for a in c[1:] if a is not None), span.start, span.end)

    def _binary(self, op: str, left: t.Expr, right: t.Expr) -> t.Binary:
        return t.Binary(op, left, right, left.start, right.end)

    def _joined(self, op: str, parts: Sequence[t.Expr]) -> t.Expr:
        """A balanced tree: `&&` and `||` are associative, and long chains must not nest deeply."""
        if len(parts) == 1:
            return parts[0]
        half = (len(parts) + 1) // 2
        return self._binary(op, self._joined(op, parts[:half]), self._joined(op, parts[half:]))

    def or_expr(self, span: Span, c: Sequence[t.Expr]) -> t.Expr:
        return self._joined("||", c)

    def and_expr_(self, span: Span, c: Sequence[t.Expr]) -> t.Expr:
        return self._joined("&&", c)

    def compare_expr(self, span: Span, c: Sequence[Any]) -> t.Expr:
        return self._binary(c[1].text, c[0], c[2])

    def matches_expr(self, span: Span, c: Sequence[Any]) -> t.Expr:
        return self._binary("matches", c[0], scalar(c[1], self.problems))

    def in_expr(self, span: Span, c: Sequence[Any]) -> t.Expr:
        return self._binary("in", c[0], c[1])

    def not_expr_(self, span: Span, c: Sequence[t.Expr]) -> t.Expr:
        return t.Unary("!", c[0], span.start, span.end)

    def exists_expr(self, span: Span, c: Sequence[t.Expr]) -> t.Expr:
        return t.Unary("exists", c[0], span.start, span.end)

    def paren_expr(self, span: Span, c: Sequence[t.Expr]) -> t.Expr:
        return replace(c[0], start=span.start, end=span.end)

    # call paths
    def outside(self, span: Span, c: Sequence[Any]) -> str:
        return "outside"

    def named(self, span: Span, c: Sequence[Any]) -> t.PNamed:
        return t.PNamed(c[0], c[1], span.start, span.end)

    def any_one(self, span: Span, c: Sequence[Any]) -> t.PAny:
        return t.PAny(span.start, span.end)

    def group_ref(self, span: Span, c: Sequence[t.Name]) -> t.PGroup:
        return t.PGroup(c[0], span.start, span.end)

    def label(self, span: Span, c: Sequence[Token]) -> tuple[t.Name, t.Name]:
        return self._name(c[0]), self._name(c[1])

    def labelled(self, span: Span, c: Sequence[Any]) -> t.PLabels:
        return t.PLabels(tuple(c), span.start, span.end)

    def alternatives(self, span: Span, c: Sequence[t.POne]) -> t.POne:
        return c[0] if len(c) == 1 else t.PAlt(tuple(c), span.start, span.end)

    def not_one(self, span: Span, c: Sequence[t.POne]) -> t.PNot:
        return t.PNot(c[0], span.start, span.end)

    def any_star(self, span: Span, c: Sequence[Any]) -> t.PStep:
        return t.PStep(t.PAny(span.start, span.end), True, span.start, span.end)

    def one_star(self, span: Span, c: Sequence[t.POne]) -> t.PStep:
        return t.PStep(c[0], True, span.start, span.end)

    def one_step(self, span: Span, c: Sequence[t.POne]) -> t.PStep:
        return t.PStep(c[0], False, span.start, span.end)

    def pattern(self, span: Span, c: Sequence[Any]) -> t.PatternNode:
        return t.PatternNode(tuple(c[1:]), c[0] is not None, span.start, span.end)

    # small items
    def import_(self, span: Span, c: Sequence[t.Str]) -> t.Import:
        return t.Import(c[0], span.start, span.end)

    def membership(self, span: Span, c: Sequence[t.Name]) -> t.Membership:
        return t.Membership(c[0], span.start, span.end)

    def annotation(self, span: Span, c: Sequence[Any]) -> t.Annotation:
        args = tuple(a for a in c[1:] if a is not None)
        return t.Annotation(self._name(c[0]), args, span.start, span.end)

    # mesh
    mesh_graph = _tag("graph")
    mesh_dataplanes = _tag("dataplanes")
    mesh_place = _tag("place")
    mesh_cost = _tag("cost")
    mesh_propagate = _tag("propagate")
    mesh_group = _tag("group")
    mesh_tag_bits = _tag("tag_bits")

    def cost(self, span: Span, c: Sequence[Any]) -> t.CostNode:
        more = 0 if c[1] is None else integer(c[1], self.problems)
        rate = None if c[2] is None else scalar(c[2], self.problems)
        if rate is not None and isinstance(rate.value, tuple) and rate.value[0] == 0:
            self.problems.append(SyntaxProblem("what requests cost is per some of them", rate.start, rate.end))
            more, rate = 0, None
        return t.CostNode(integer(c[0], self.problems), more, rate, span.start, span.end)

    def kind_never(self, span: Span, c: Sequence[Any]) -> str:
        return "never"

    def kind_only(self, span: Span, c: Sequence[Any]) -> str:
        return "only"

    def mesh_default(self, span: Span, c: Sequence[Any]) -> t.MeshDefault:
        return t.MeshDefault(c[0], c[1], c[2], c[3], c[4], span.start, span.end)

    def mesh(self, span: Span, c: Sequence[Any]) -> t.MeshDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.MeshDecl(
            name=rest[0],
            extends=rest[1],
            graphs=tuple(x[0] for x in _tagged(rest, "graph")),
            dataplanes=tuple(n for x in _tagged(rest, "dataplanes") for n in x),
            places=tuple((x[0], x[1], x[2]) for x in _tagged(rest, "place")),
            costs=tuple((x[0], x[1], x[2]) for x in _tagged(rest, "cost")),
            propagate=tuple(s for x in _tagged(rest, "propagate") for s in x),
            groups=tuple((x[0], tuple(n for n in x[1:] if n is not None)) for x in _tagged(rest, "group")),
            defaults=_pick(rest, t.MeshDefault),
            tag_bits=integer(bits[0], self.problems) if (bits := self._once(rest, "tag_bits")) else None,
            annotations=_pick(c, t.Annotation),
            doc=self._doc(span.start, rest[0]),
            start=span.start,
            end=span.end,
        )

    # specs
    def side_ingress(self, span: Span, c: Sequence[Any]) -> t.Name:
        return t.Name("ingress", span.start, span.end)

    def side_egress(self, span: Span, c: Sequence[Any]) -> t.Name:
        return t.Name("egress", span.start, span.end)

    def at(self, span: Span, c: Sequence[t.Name]) -> Tag:
        return "at", c[0]

    def _side(self, c: Sequence[Any]) -> str | None:
        return next((n.text for n in _tagged(c, "at")), None)

    def context_reads(self, span: Span, c: Sequence[Any]) -> Tag:
        return "use", ("reads", self._side(c))

    def context_writes(self, span: Span, c: Sequence[Any]) -> Tag:
        return "use", ("writes", self._side(c))

    spec_tier = _tag("tier")
    spec_cost = _tag("cost")
    spec_context = _tag("context")
    spec_peer = _tag("peer")
    spec_speaks = _tag("speaks")
    spec_artifact = _tag("artifact")

    def comparison(self, span: Span, c: Sequence[Any]) -> str:
        return c[0].text if c else self.text[span.start : span.end]

    def read(self, span: Span, c: Sequence[Any]) -> t.ReadNode:
        comparisons = tuple(x for x in c[1:] if isinstance(x, str))
        return t.ReadNode(c[0], comparisons or None, self._side(c[1:]))

    def supports_reads(self, span: Span, c: Sequence[Any]) -> Tag:
        return "reads", tuple(c)

    def spec_supports(self, span: Span, c: Sequence[Any]) -> t.SupportsDecl:
        reads = tuple(r for group in _tagged(c, "reads") for r in group)
        ops, attrs, conditions = _pick(c, t.OperationDecl), _pick(c, t.AttributeDecl), _pick(c, t.ConditionDecl)
        return t.SupportsDecl(c[0], reads, ops, attrs, conditions, span.start, span.end)

    def spec(self, span: Span, c: Sequence[Any]) -> t.SpecDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.SpecDecl(
            name=rest[0],
            tier=tier[0] if (tier := self._once(rest, "tier")) else None,
            cost=cost[0] if (cost := self._once(rest, "cost")) else None,
            context=tuple(use for x in _tagged(rest, "context") for use in _tagged(x, "use")),
            peer=tuple(n.text for x in _tagged(rest, "peer") for n in x),
            speaks=tuple(s for x in _tagged(rest, "speaks") for s in x),
            supports=_pick(rest, t.SupportsDecl),
            artifacts=tuple((x[0], x[1], x[2]) for x in _tagged(rest, "artifact")),
            entities=tuple(x for x in rest if isinstance(x, t.EntityDecl | t.StateEntityDecl)),
            enums=_pick(rest, t.EnumDecl),
            annotations=_pick(c, t.Annotation),
            doc=self._doc(span.start, rest[0]),
            start=span.start,
            end=span.end,
        )

    # entities
    entity_protocols = _tag("protocols")
    clause_merge = _tag("merge")
    clause_default = _tag("default")
    clause_travels = _tag("travels")
    clause_derived = _tag("from")

    def bound(self, span: Span, c: Sequence[Token]) -> Token:
        return c[0]

    def domain_regex(self, span: Span, c: Sequence[Token]) -> t.DomainNode:
        return t.DomainNode(c[0].text, regex=c[0].text[2:-1])

    def domain_range(self, span: Span, c: Sequence[Token | None]) -> t.DomainNode:
        low, high = (None if x is None else scalar(x, self.problems) for x in c)
        return t.DomainNode("..".join("" if x is None else x.text for x in c), low=low, high=high)

    def domain_set(self, span: Span, c: Sequence[t.Expr]) -> t.DomainNode:
        items = (self.text[x.start : x.end] for x in c)
        return t.DomainNode(f"[{', '.join(items)}]", among=tuple(c))

    def type(self, span: Span, c: Sequence[Any]) -> t.TypeNode:
        args = _pick(c[1:], t.TypeNode)
        optional = any(isinstance(x, Token) and x.type == "QUESTION" for x in c)
        domain = next(iter(_pick(c, t.DomainNode)), None)
        literals = next((x.items for x in c if isinstance(x, t.SetLit)), ())
        excluded = tuple(str(x.value) for x in literals if isinstance(x, t.Lit))
        return t.TypeNode(c[0], args, optional, domain, excluded, span.start, span.end)

    def attribute(self, span: Span, c: Sequence[Any]) -> t.AttributeDecl:
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
            doc=self._doc(span.start, name),
            start=span.start,
            end=span.end,
        )

    params = _tag("params")

    def param(self, span: Span, c: Sequence[Any]) -> t.ParamDecl:
        return t.ParamDecl(c[0], c[1], c[2], span.start, span.end)

    def write(self, span: Span, c: Sequence[Any]) -> t.WriteNode:
        return t.WriteNode(c[0], c[1], c[2], span.start, span.end)

    def operation(self, span: Span, c: Sequence[Any]) -> t.OperationDecl:
        name, *rest = [x for x in c if not isinstance(x, t.Annotation)]
        params = _tagged(rest, "params")
        return t.OperationDecl(
            name=name,
            params=_pick(params[0], t.ParamDecl) if params else None,
            side=self._side(rest),
            writes=_pick(rest, t.WriteNode),
            emits=next(iter(_pick(rest, t.Str)), None),
            annotations=_pick(c, t.Annotation),
            doc=self._doc(span.start, name),
            start=span.start,
            end=span.end,
        )

    def enum_value(self, span: Span, c: Sequence[Any]) -> tuple[t.Name, bool]:
        return c[0], c[1] is not None

    def enum(self, span: Span, c: Sequence[Any]) -> t.EnumDecl:
        name, *values = [x for x in c if not isinstance(x, t.Annotation) and x is not None]
        doc = self._doc(span.start, name)
        return t.EnumDecl(name, tuple(values), _pick(c, t.Annotation), doc, span.start, span.end)

    def entity(self, span: Span, c: Sequence[Any]) -> t.EntityDecl:
        name, over, *members = [x for x in c if not isinstance(x, t.Annotation)]
        attrs, ops = _pick(members, t.AttributeDecl), _pick(members, t.OperationDecl)
        protocols = tuple(s for x in _tagged(members, "protocols") for s in x)
        doc = self._doc(span.start, name)
        return t.EntityDecl(name, over, protocols, attrs, ops, _pick(c, t.Annotation), doc, span.start, span.end)

    # policies
    def call_statement(self, span: Span, c: Sequence[t.CallExpr]) -> t.CallStatement:
        return t.CallStatement(c[0], span.start, span.end)

    def let_statement(self, span: Span, c: Sequence[Any]) -> t.LetStatement:
        return t.LetStatement(c[0], c[1], span.start, span.end)

    def block(self, span: Span, c: Sequence[Any]) -> list[t.Statement]:
        return list(c)

    def if_statement(self, span: Span, c: Sequence[Any]) -> t.IfStatement:
        otherwise = c[2] if isinstance(c[2], list) else [] if c[2] is None else [c[2]]
        return t.IfStatement(c[0], tuple(c[1]), tuple(otherwise), span.start, span.end)

    clause_at = _tag("at")
    clause_when = _tag("when")
    clause_overrides = _tag("overrides")
    clause_after = _tag("after")
    clause_during = _tag("during")

    def policy(self, span: Span, c: Sequence[Any]) -> t.PolicyDecl:
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
            doc=self._doc(span.start, name),
            start=span.start,
            end=span.end,
        )

    # states and tests
    def state(self, span: Span, c: Sequence[Any]) -> t.StateDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        args = tuple(x for x in rest[2:] if isinstance(x, tuple))
        per = next(iter(_pick(rest, t.Ref)), None)
        doc = self._doc(span.start, rest[1])
        return t.StateDecl(rest[1], rest[0], args, per, _pick(c, t.Annotation), doc, span.start, span.end)

    def condition(self, span: Span, c: Sequence[Any]) -> t.ConditionDecl:
        name, *rest = [x for x in c if not isinstance(x, t.Annotation)]
        params = _tagged(rest, "params")
        return t.ConditionDecl(
            name=name,
            params=_pick(params[0], t.ParamDecl) if params else None,
            side=self._side(rest),
            emits=next(iter(_pick(rest, t.Str)), None),
            annotations=_pick(c, t.Annotation),
            doc=self._doc(span.start, name),
            start=span.start,
            end=span.end,
        )

    def state_entity(self, span: Span, c: Sequence[Any]) -> t.StateEntityDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.StateEntityDecl(
            name=rest[0],
            params=_pick(rest, t.ParamDecl),
            attributes=_pick(rest, t.AttributeDecl),
            operations=_pick(rest, t.OperationDecl),
            conditions=_pick(rest, t.ConditionDecl),
            annotations=_pick(c, t.Annotation),
            doc=self._doc(span.start, rest[0]),
            start=span.start,
            end=span.end,
        )

    def setting(self, span: Span, c: Sequence[Any]) -> t.Setting:
        return t.Setting(c[0], c[1], c[2], c[3], span.start, span.end)

    def test_request(self, span: Span, c: Sequence[Any]) -> t.TestRequest:
        settings = _pick(c, t.Setting)
        return t.TestRequest(c[0], c[1], c[2], settings, span.start, span.end)

    def test_expect(self, span: Span, c: Sequence[t.Expr | t.Setting]) -> t.TestExpect:
        return t.TestExpect(tuple(c), span.start, span.end)

    def test(self, span: Span, c: Sequence[Any]) -> t.TestDecl:
        rest = [x for x in c if not isinstance(x, t.Annotation)]
        return t.TestDecl(rest[0], tuple(rest[1:]), _pick(c, t.Annotation), span.start, span.end)
