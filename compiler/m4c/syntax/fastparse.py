"""Parses sound items fast, with lark's own tables: no token and no tree that nobody looks at, no line is counted.

lark compiles the grammar; a short loop here then runs its LALR(1) tables and the expressions of its contextual lexer,
and calls the methods of `Builder` as soon as a rule is complete, with the children and the positions that lark's tree
would have. At the first thing that does not fit it gives up: what is wrong, lark's parser says.

It reads what lark keeps to itself (the parse table, the lexers' terminals), so pyproject.toml limits lark's version,
and tests/property/test_fastparse.py holds each tree to lark's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any

from lark import Lark
from lark.grammar import Rule, Symbol, Terminal
from lark.parsers.lalr_analysis import Shift

from m4c.syntax import tree as t
from m4c.syntax.build import Builder, Span
from m4c.syntax.literals import SyntaxProblem, Token

MAX_DEPTH = 100  # levels of a tree: whatever walks one can then recurse
MAX_OPERANDS = 500  # of one && or ||: what the analyses take for it grows with its square
CHAINS = ("or_expr", "and_expr_")  # the rules that this limits

END = "$END"

Match = Callable[[str, int], re.Match[str] | None]
Build = Callable[[Builder, Span, Sequence[Any]], Any]


class Reduction:
    """What completing a rule of the grammar does."""

    __slots__ = ("build", "first", "limited", "origin", "parts", "pick", "size", "unit")

    def __init__(self, rule: Rule) -> None:
        name = rule.alias or rule.origin.name
        parts = _parts(rule)
        self.origin = str(rule.origin.name)  # no token of lark's, which compares slowly
        self.size = len(rule.expansion)
        self.limited = name in CHAINS
        self.unit = bool(rule.options.expand1 and not rule.alias)  # its only child stands for it
        self.build: Build | None = None  # None: what the children are is a list, for the rule around it
        if not self.size:
            raise TypeError(f"a rule that matches nothing has no position: {rule}")
        if self.unit and (self.size > 1 or rule.expansion[0].is_term):
            raise TypeError(f"a rule may stand for its only child if this is all of it, and no token: {rule}")
        if not self.unit and not name.startswith("_"):
            self.build = getattr(Builder, name)
        # Either all children at once …
        self.pick = None if self.build is None or any(expand for _, expand in parts) else _picker([p for p, _ in parts])
        # … or a list, the first of them or an empty one, and what is added to it
        self.first = parts[0][0] if parts and parts[0][1] else 0
        self.parts = tuple(parts[1:] if self.first else parts)


def _parts(rule: Rule) -> list[tuple[int, bool]]:
    """Where the children of a rule are, seen from the top of the stack, and whether they are lists to put in place.

    The bottom of the stack (0) is None, for what may stand there and does not."""
    optional = "".join("1" if absent else "0" for absent in rule.options.empty_indices).split("0")
    out: list[tuple[int, bool]] = []
    for i, symbol in enumerate(rule.expansion):
        if rule.options.empty_indices:
            out += [(0, False)] * len(optional[i])
        if _is_kept(rule, symbol):
            out.append((i - len(rule.expansion), not symbol.is_term and symbol.name.startswith("_")))
    if rule.options.empty_indices:
        out += [(0, False)] * len(optional[-1])
    return out


def _is_kept(rule: Rule, symbol: Symbol) -> bool:
    """Whether a symbol is a child of its rule; signs and keywords are not."""
    return rule.options.keep_all_tokens or not (isinstance(symbol, Terminal) and symbol.filter_out)


def _picker(places: list[int]) -> Callable[[list[Any]], Sequence[Any]]:
    """What takes the values at some places of a stack."""
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1 or None) if places else slice(0, 0))


class State:
    """A state of the parser: which tokens can come, and what each leads to."""

    __slots__ = ("actions", "follow", "gotos", "kinds", "lexer", "match", "words")

    def __init__(self, lexer: Any) -> None:
        self.lexer = lexer
        self.actions: dict[str, State | Reduction] = {}
        self.gotos: dict[str, State] = {}  # … and each rule, once it is complete
        self.follow: dict[str, dict[str, State]] = {}  # what `after` said, by rule and token
        self.match: Match | None = None
        self.kinds: tuple[str, ...] = ()  # the token that each group of the expression is …
        self.words: tuple[dict[str, str], ...] = ()  # … unless it is one of these words

    def compiled(self) -> Match:
        """Makes the expression for the next token; when it is first needed, for most programs need few."""
        match, self.kinds, self.words = _expression(self.lexer)
        self.match = match  # the last of them, for other threads look at it first
        return match

    def after(self, rule: str, kind: str) -> State:
        """The state behind a rule, and behind the rules that stand for it, if `kind` comes next.

        These are more than half of all rules that are completed; so they are no steps of their own."""
        state = self.gotos[rule]
        while isinstance(action := state.actions.get(kind), Reduction) and action.unit:
            state = self.gotos[action.origin]
        self.follow.setdefault(rule, {})[kind] = state
        return state


# White space, unlike other things that are passed over: no token begins within it.
_SPACE = re.compile(r"\[(?:[^\]\\]|\\.)+\]\+")


@cache
def _expression(lexer: Any) -> tuple[Match, tuple[str, ...], tuple[dict[str, str], ...]]:
    """White space, and a group for each token in the order in which lark tries them; "" is one to pass over."""
    terminals = [(str(p.name), p.pattern.to_regexp()) for p in lexer.scanner.terminals]
    space = [f"(?:{p})?" for name, p in terminals if name in lexer.ignore_types and _SPACE.fullmatch(p)][:1]
    groups = "|".join(f"({p})" for _, p in terminals)
    kinds = ("", *("" if name in lexer.ignore_types else name for name, _ in terminals), END)
    words = {
        name: {str(w.pattern.value): str(w.name) for w in unless.scanner.terminals}
        for name, unless in lexer.callback.items()
    }
    expression = re.compile(rf"{''.join(space)}(?:{groups}|(\Z))", lexer.g_regex_flags)
    return expression.match, kinds, tuple(words.get(kind, {}) for kind in kinds)


class Glued(Exception):
    """A keyword that goes on as a name would: `policyp`. lark takes it for the keyword where no name can stand."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(start, end)
        self.start = start
        self.end = end  # of the keyword


class FastParser:
    """The tables of a grammar, and the loop that runs them."""

    def __init__(self, grammar: Lark) -> None:
        table, lexers = grammar.parser.parser._parse_table, grammar.parser.lexer.lexers
        rules = {rule: Reduction(rule) for rule in grammar.rules}
        states = {number: State(lexers[number]) for number in table.states}
        for number, row in table.states.items():
            for symbol, (action, target) in row.items():
                if action is not Shift:
                    states[number].actions[str(symbol)] = rules[target]
                else:
                    leads = states[number].actions if symbol.isupper() else states[number].gotos
                    leads[str(symbol)] = states[target]
        self.start = states[table.start_states["item"]]
        self.end = states[table.end_states["item"]]
        fixed = (p for p in grammar.terminals if p.pattern.type == "str")
        self.keywords = frozenset(("CMP", *(str(p.name) for p in fixed if p.pattern.value.isidentifier())))
        # the tokens of which somebody sees the text
        self.kept = frozenset(str(s.name) for r in rules for s in r.expansion if s.is_term and _is_kept(r, s))

    def parse(self, text: str) -> tuple[t.Decl, list[SyntaxProblem]] | None:
        """The declaration that a text is, and what is wrong within its tokens; None if it is none, or is too large.

        Raises `Glued`.
        """
        builder, span, kept, final = Builder(text), Span(0, 0), self.kept, self.end
        keywords, size = self.keywords, len(text)
        state = self.start
        at = end = 0  # where to go on, and the end of the last token
        # The stack: for each symbol the state behind it, its value, where it starts, and the levels of its tree.
        states: list[State] = [state]
        values: list[Any] = [None]
        starts, depths = [0], [0]
        while True:
            found = (state.match or state.compiled())(text, at)
            if found is None:
                return None
            group = found.lastindex or 0
            kind = state.kinds[group]
            if not kind:
                at = found.end()
                continue
            if words := state.words[group]:
                kind = words.get(found[group], kind)
            # What the token shows to be complete …
            while isinstance(action := state.actions.get(kind), Reduction):
                length, pick = action.size, action.pick
                depth = depths[-1] if length == 1 else max(depths[-length:])
                if pick is not None:
                    value: Any = pick(values)
                else:
                    value = values[action.first] if action.first else []
                    for place, expand in action.parts:
                        if expand:
                            value += values[place]
                        else:
                            value.append(values[place])
                if action.build is not None:
                    if depth == MAX_DEPTH or (action.limited and len(value) > MAX_OPERANDS):
                        return None
                    span.start, span.end = starts[-length], end
                    value = action.build(builder, span, value)
                    depth += 1
                if length > 1:
                    cut = 1 - length
                    del states[cut:], values[cut:], starts[cut:], depths[cut:]
                below, origin = states[-2], action.origin
                try:
                    state = below.follow[origin][kind]
                except KeyError:
                    state = below.after(origin, kind)
                states[-1] = state
                values[-1], depths[-1] = value, depth
            # … and the token itself.
            if action is None:
                return (values[-1], builder.problems) if state is final else None
            start, end = found.span(group)
            at = end
            if kind in keywords and end < size and (text[end].isalnum() or text[end] == "_") and text[start].isalpha():
                raise Glued(start, end)
            state = action
            states.append(state)
            values.append(Token(kind, found[group], start, end) if kind in kept else None)
            starts.append(start)
            depths.append(0)
