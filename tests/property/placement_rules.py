"""The rules of the language, written out by hand for the placement law alone, and what to try them on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

from m4c.paths.callpath import CallPath, callees, instances
from m4c.semantics.model import (
    ABSENT,
    And,
    AnyOne,
    Atom,
    Const,
    Graph,
    Named,
    Not,
    NotOne,
    OneOf,
    OpCall,
    Or,
    Pattern,
    Policy,
    Program,
)
from placement_worlds import ALPHABET, ATTRIBUTES, HEADERS, E


def one_matches(one, letter) -> bool:
    match one:
        case AnyOne():
            return True
        case Named(name, version):
            return letter[0] == name and version in (None, letter[1])
        case NotOne(inner):
            return not one_matches(inner, letter)
        case OneOf(parts):
            return any(one_matches(p, letter) for p in parts)
    raise AssertionError(one)


def matches(pattern: Pattern, path: CallPath) -> bool:
    def rest(i: int, j: int) -> bool:
        if i == len(pattern.steps):
            return j == len(path.letters)
        step = pattern.steps[i]
        here = j < len(path.letters) and one_matches(step.one, path.letters[j])
        if step.star:
            return rest(i + 1, j) or (here and rest(i, j + 1))
        return here and rest(i + 1, j + 1)

    return (path.outside or not pattern.outside) and rest(0, 0)


def true(cond, request: dict, entity: str = E) -> bool:
    match cond:
        case Const(value):
            return value
        case Not(inner):
            return not true(inner, request, entity)
        case And(parts):
            return all(true(p, request, entity) for p in parts)
        case Or(parts):
            return any(true(p, request, entity) for p in parts)
        case Atom(attr, op, value):
            have = request.get((attr.attribute, attr.key) if attr.entity == entity else (attr.entity, attr.key))
            if have is None or have is ABSENT:
                return False
            return {"==": lambda: have == value, "in": lambda: have in value, "exists": lambda: True}[op]()
    raise AssertionError(cond)


@dataclass
class Result:
    writes: dict  # what is not as declared anyway, but for marks
    denied: bool
    wrong: bool  # a contradiction, or an order that the program leaves open
    leaves: dict  # the marks that it writes, however the request ends


def reachable(edges: dict, start: str) -> set:
    out, queue = set(), [start]
    while queue:
        for other in edges.get(queue.pop(), ()):
            if other not in out:
                out.add(other)
                queue.append(other)
    return out


class Rules:
    """Rules 1 to 5 on one input. What an answer answers is among its values by the name of its entity in place of the
    attribute's: there is only one attribute to ask for."""

    def __init__(self, program: Program, path: CallPath, entity: str = E) -> None:
        self.program, self.path, self.entity = program, path, entity
        self.firing = [p for p in program.policies if p.entity == entity and matches(p.pattern, path)]
        overrides = {p.name: p.overrides for p in program.policies}
        after = {p.name: p.after for p in program.policies}
        self.over = {p.name: reachable(overrides, p.name) for p in program.policies}
        self.after = {p.name: reachable(after, p.name) for p in program.policies}

    def requests(self, p: Policy, request: dict) -> list[OpCall]:
        before = [q for q in self.firing if q.name in self.after[p.name]]
        if before:
            values, _ = self.values(before, request)
            request = request | values
        if not true(p.when, request, self.entity):
            return []
        here = [c for c in p.calls if not (c.side == "egress" and self.path.hop[0] is None)]
        return [c for c in here if true(c.guard, request, self.entity)]

    def values(self, policies: list[Policy], request: dict) -> tuple[dict, bool]:
        asked = [(p, c) for p in policies for c in self.requests(p, request)]
        kept = [
            c
            for p, c in asked
            if not any(
                p.name in self.over[q.name] and {w.attr for w in c.writes} & {w.attr for w in d.writes}
                for q, d in asked
            )
        ]
        written: dict = {}
        for c in kept:
            for w in c.writes:
                written.setdefault((w.attr.attribute, w.attr.key), set()).add(w.value)
        out, wrong = {}, False
        for key, values in written.items():
            merge = ATTRIBUTES[key[0]].merge
            if len(values) > 1 and merge is None:
                wrong = True
            if merge == "union":
                out[key] = tuple(sorted({x for value in values for x in value}))
            else:
                out[key] = max(values) if merge == "max" else min(values) if merge else next(iter(values))
        return out, wrong

    def run(self, request: dict) -> Result:
        out, wrong = self.values(self.firing, request)
        for d in self.program.mesh.defaults:
            if d.attr.entity == self.entity and matches(d.pattern, self.path):
                out.setdefault((d.attr.attribute, d.attr.key), d.value)
        for p in self.firing:  # does what one writes change what another asks for?
            changed = request | {
                (w.attr.attribute, w.attr.key): w.value for c in self.requests(p, request) for w in c.writes
            }
            for q in self.firing:
                apart = q is not p and q.name not in self.after[p.name] and p.name not in self.after[q.name]
                if apart and self.requests(q, changed) != self.requests(q, request):
                    wrong = True
        leaves = {key: value for key, value in out.items() if ATTRIBUTES[key[0]].travels}
        out = {key: value for key, value in out.items() if key not in leaves}
        denied = out.get(("verdict", None)) == "deny"
        if denied:
            out = {("verdict", None): "deny", ("status", None): out.get(("status", None), 403)}
        return Result(undeclared(out), denied, wrong, leaves)


def chain(program: Program, path: CallPath, at: list[dict], known: dict) -> list[Result]:
    """What each hop of a call path gets, with the marks that those before leave. `at`: the request on each hop;
    `known`: what has been found out before."""
    marks: dict = {}
    out = []
    for prefix, request in zip(path.prefixes(), at, strict=True):
        key = (prefix, tuple(request.items()), tuple(sorted(marks.items())))
        if key not in known:
            if prefix not in known:
                known[prefix] = Rules(program, prefix)
            known[key] = known[prefix].run(request | marks)
        out.append(known[key])
        marks |= out[-1].leaves
    return out


def undeclared(writes: dict) -> dict:
    plain = {k: None if v is ABSENT else tuple(v) if isinstance(v, list) else v for k, v in writes.items()}
    return {k: v for k, v in plain.items() if v is None or ATTRIBUTES[k[0]].default != v}


def requests(program: Program) -> list[dict]:
    """Every request that the conditions can tell apart."""
    out = []
    for values in product(ALPHABET, repeat=len(HEADERS)):
        out.append({("header", n): v for n, v in zip(HEADERS, values, strict=True) if v is not None})
    return out


def long_paths(graph: Graph, longest: int, most: int = 400) -> list[CallPath]:
    """Call paths of `longest` services, and shorter ones that end; every shorter path is a beginning of one of them."""
    to = callees(graph)
    level = [
        CallPath(outside, (n,), (v,))
        for n, s in graph.services.items()
        for outside, possible in ((False, s.origin), (True, s.entry))
        if possible
        for _, v in instances(s)
    ]
    done: list[CallPath] = []
    for _ in range(longest - 1):
        following = []
        for p in level:
            ways = [(n, v) for n in to[p.services[-1]] for _, v in instances(graph.services[n])]
            following += [CallPath(p.outside, (*p.services, n), (*p.versions, v)) for n, v in ways]
            if not ways:
                done.append(p)
        if len(following) + len(done) > most:
            break
        level = following
    return [p for p in done + level if p.has_hop]
