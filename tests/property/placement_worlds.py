"""Random small meshes for the placement law, and an evaluator of the language's rules written for this test alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from random import Random

from hypothesis import strategies as st
from m4c.paths.callpath import CallPath, callees, instances
from m4c.semantics.model import (
    ABSENT,
    TRUE,
    And,
    AnyOne,
    Atom,
    Attribute,
    AttrKey,
    Call,
    Const,
    Cost,
    Dataplane,
    Default,
    Entity,
    Enum,
    Graph,
    Mesh,
    Named,
    Not,
    NotOne,
    OneOf,
    OpCall,
    Operation,
    Or,
    Param,
    Pattern,
    Place,
    Policy,
    Program,
    Reads,
    Service,
    Step,
    Supports,
    Type,
    Write,
    WriteDecl,
)

NOWHERE = Place("test.m4", "", 0, 0)
STRING, INT, ISTRING = Type("string"), Type("int"), Type("istring")
VERDICT = Enum("Verdict", ("allow", "deny"), frozenset({"deny"}))
E = "Request"

ATTRIBUTES = {
    "header": Attribute(E, "header", Type("string", optional=True), key=ISTRING),
    "verdict": Attribute(E, "verdict", Type("Verdict"), default="allow"),
    "status": Attribute(E, "status", INT, merge="min", default=403),
    "limit": Attribute(E, "limit", INT, merge="min"),
    "retries": Attribute(E, "retries", INT, merge="max", default=0),
    "more": Attribute(E, "more", Type("set", (STRING,)), key=ISTRING, merge="union", added_to="header"),
    "log": Attribute(E, "log", INT, merge="max", roles=frozenset({"outward"})),
    "sealed": Attribute(E, "sealed", Type("bool"), merge="or", roles=frozenset({"both_ends"})),
}
OPERATIONS = {
    "Allow": Operation(E, "Allow", (), None, (WriteDecl("verdict", value="allow"),)),
    "Drop": Operation(
        E,
        "Drop",
        (Param("status", INT, 403),),
        None,
        (WriteDecl("verdict", value="deny"), WriteDecl("status", value="status", value_is_param=True)),
    ),
    "Set": Operation(
        E,
        "Set",
        (Param("name", ISTRING), Param("value", STRING)),
        None,
        (WriteDecl("header", "name", True, "value", True),),
    ),
    "Unset": Operation(E, "Unset", (Param("name", ISTRING),), None, (WriteDecl("header", "name", True, ABSENT),)),
    "Add": Operation(
        E,
        "Add",
        (Param("name", ISTRING), Param("value", STRING)),
        None,
        (WriteDecl("more", "name", True, "value", True, in_set=True),),
    ),
    "Log": Operation(E, "Log", (Param("n", INT),), None, (WriteDecl("log", value="n", value_is_param=True),)),
    "Limit": Operation(E, "Limit", (Param("n", INT),), "egress", (WriteDecl("limit", value="n", value_is_param=True),)),
    "Seal": Operation(E, "Seal", (), None, (WriteDecl("sealed", value=True),)),
    "Retry": Operation(E, "Retry", (Param("n", INT),), None, (WriteDecl("retries", value="n", value_is_param=True),)),
}
HEADERS = ("a", "b")
ALPHABET = (None, "0", "1")


def header(name: str) -> AttrKey:
    return AttrKey(E, "header", name)


def atom(name: str, op: str = "==", value="1") -> Atom:
    return Atom(header(name), op, True if op == "exists" else value)


def call(index: int, operation: str, guard=TRUE, side=None, **args) -> OpCall:
    op = OPERATIONS[operation]
    full = {p.name: args.get(p.name, p.default) for p in op.params}
    writes = tuple(
        Write(
            AttrKey(E, w.attribute, full[w.key] if w.key_is_param else w.key),
            w.given(full),
        )
        for w in op.writes
    )
    return OpCall(index, E, operation, tuple(full.items()), guard, writes, op.side or side, NOWHERE)


def policy(name: str, pattern: Pattern, *calls: OpCall, when=TRUE, overrides=(), after=()) -> Policy:
    return Policy(
        name, E, "r", pattern, when, tuple(calls), NOWHERE, NOWHERE, overrides=tuple(overrides), after=tuple(after)
    )


def path_pattern(text: str) -> Pattern:
    """`path_pattern("outside -> A -> * -> !B:v1")`"""
    words = text.split(" -> ")
    outside = words[0] == "outside"
    steps = []
    for word in words[outside:]:
        if word in "*?":
            steps.append(Step(AnyOne(), star=word == "*"))
            continue
        name, _, version = word.lstrip("!").rstrip("*").partition(":")
        one = Named(name, version or None)
        steps.append(Step(NotOne(one) if word[0] == "!" else one, star=word[-1] == "*"))
    return Pattern(tuple(steps), outside)


def spec(name: str, tier: str, cost: int | Cost, operations=None, headers=None, **more) -> Dataplane:
    """A dataplane that can do everything, but for what is said otherwise."""
    sides = ("egress", "ingress")
    operations = dict.fromkeys(OPERATIONS, sides) if operations is None else operations
    reads = Reads("header", None, sides) if headers is None else headers
    return Dataplane(
        name,
        tier,
        cost if isinstance(cost, Cost) else Cost(cost),
        "",
        reads_context=more.get("reads_context", sides),
        writes_context=more.get("writes_context", sides),
        peer=more.get("peer", sides),
        reads={(E, "header"): reads} if reads else {},
        operations={(E, op): Supports(op, f"{op}.j2", where) for op, where in operations.items()},
    )


def world(services: dict[str, Service], calls, policies, specs, defaults=(), rates=None, **mesh) -> Program:
    graph = Graph(services, tuple(Call(u, v, (rates or {}).get((u, v))) for u, v in sorted(calls)))
    return Program(
        Mesh("test", None, tuple(s.name for s in specs), defaults=tuple(defaults), **mesh),
        graph,
        {"Verdict": VERDICT},
        {E: Entity(E, None, ATTRIBUTES, OPERATIONS)},
        {s.name: s for s in specs},
        tuple(policies),
    )


# --- random worlds ----------------------------------------------------------------------------------------------------


class Dice:
    """Choices from one seed: hypothesis' own distribution makes worlds that are too small to need any context."""

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)

    def one(self, *values):
        return self.rng.choice(values)

    def chance(self, percent: int) -> bool:
        return self.rng.random() * 100 < percent


def condition(dice: Dice):
    name = dice.one(*HEADERS)
    given = atom(name, "exists")
    leaf = dice.one(atom(name), atom(name), atom(name, value="0"), given, atom(name, "in", ("0", "1")))
    other = atom(dice.one(*HEADERS))
    return dice.one(leaf, leaf, Not(leaf), And((leaf, Not(other))), Or((leaf, other)))


def random_pattern(dice: Dice, graph: Graph) -> Pattern:
    """Mostly along calls that the graph has, so that it can match."""
    to = callees(graph)
    walk = [dice.one(*graph.services)]
    for _ in range(3):
        walk.append(dice.one(*(to[walk[-1]] or list(graph.services))))

    def one(name: str):
        if dice.chance(10):
            name = dice.one(*graph.services)
        versions = graph.services[name].versions
        named = Named(name, dice.one(None, None, *versions))
        if dice.chance(75):
            return named
        return dice.one(AnyOne(), NotOne(named), OneOf((named, Named(dice.one(*graph.services)))))

    a, b, c, d = (one(name) for name in walk)
    star = Step(AnyOne(), star=True)
    steps = dice.one(
        (star, Step(a)),
        (star, Step(a), Step(b)),
        (Step(a), Step(b)),
        (Step(a), star, Step(c)),
        (Step(a), star, Step(d)),
        (Step(a), star, Step(d)),
        (star, Step(a), star, Step(c)),
        (star, Step(a), Step(b), Step(c)),
        (Step(a), star),
        (Step(a), Step(NotOne(b), star=True), Step(c)),
        (Step(a), Step(b, star=True), Step(c)),
        tuple(Step(x, star=dice.chance(30)) for x in (a, b, c)[: dice.one(1, 2, 3)]),
    )
    return Pattern(steps, dice.chance(25))


def random_call(dice: Dice, index: int) -> OpCall:
    operation, args = dice.one(
        ("Drop", {"status": 403}),
        ("Drop", {"status": dice.one(403, 429)}),
        ("Allow", {}),
        ("Set", {"name": dice.one(*HEADERS, "c"), "value": dice.one("0", "1")}),
        ("Set", {"name": "c", "value": dice.one("0", "1")}),
        ("Unset", {"name": dice.one(*HEADERS, "c")}),
        ("Add", {"name": dice.one(*HEADERS, "c"), "value": dice.one("0", "1")}),
        ("Log", {"n": dice.one(1, 2)}),
        ("Limit", {"n": dice.one(1, 2)}),
        ("Retry", {"n": dice.one(0, 1, 2)}),
    )
    guard = condition(dice) if dice.chance(30) else TRUE
    return call(index, operation, guard, dice.one(None, None, None, None, "ingress", "egress"), **args)


def random_specs(dice: Dice, able: bool) -> list[Dataplane]:
    def sides():
        return ("egress", "ingress") if able or dice.chance(75) else dice.one(("egress",), ("ingress",), ())

    out = []
    kinds = [("p", "proxy"), ("k", "kernel"), ("q", "proxy")]
    for name, tier in kinds[: dice.one(1, 2, 2, 3)]:
        out.append(
            spec(
                name,
                tier,
                dice.one(0, 1, 2, 3, 5, 8),
                {op: where for op in OPERATIONS if (where := sides())},
                Reads("header", dice.one(None, None, None, frozenset({"==", "in"})), sides()),
                reads_context=sides(),
                writes_context=sides(),
                peer=sides(),
            )
        )
    return out


def random_world(
    seed: int,
    most_services: int = 4,
    most_policies: int = 3,
    able: bool = False,
    least_services: int = 2,
    sealing: bool = False,
) -> Program:
    dice = Dice(seed)
    names = "ABCDE"[: dice.one(*range(least_services, most_services + 1))]
    services = {}
    for name in names:
        entry = dice.chance(35)
        services[name] = Service(
            name,
            versions=("v1", "v2") if dice.chance(15) else (),
            entry=entry,
            trusted=entry and dice.chance(40),
            origin=dice.chance(70),
            propagates=dice.chance(90),
            external=dice.chance(4),
        )
    pairs = {(dice.one(*names), dice.one(*names)) for _ in range(dice.one(*range(1, 2 * len(names) + 1)))}
    graph = Graph(services, tuple(Call(u, v) for u, v in sorted(pairs)))
    policies: list[Policy] = []
    for i in range(dice.one(*range(1, most_policies + 1))):
        body = [random_call(dice, k) for k in range(dice.one(1, 1, 1, 2))]
        when = condition(dice) if dice.chance(40) else TRUE
        before = [p.name for p in policies]
        overrides = [n for n in before if dice.chance(40)]
        after = [n for n in before if dice.chance(25)]
        made = policy(f"P{i}", random_pattern(dice, graph), *body, when=when, overrides=overrides, after=after)
        policies.append(made)
    if sealing:
        seal = call(0, "Seal", side=dice.one(*[None] * 9, "ingress"))
        ends = dice.one(*graph.calls)
        on = Pattern((Step(AnyOne(), star=True), Step(Named(ends.caller)), Step(Named(ends.callee))))
        policies.append(policy("S", on if dice.chance(90) else random_pattern(dice, graph), seal))
    defaults = []
    if dice.chance(30):
        defaults.append(Default(AttrKey(E, "verdict"), "deny", random_pattern(dice, graph), NOWHERE))
    dice.rng.shuffle(policies)
    planes = random_specs(dice, able)
    more = {}
    if dice.chance(15):
        more["never"] = ((dice.one(*names), dice.one(*planes).name),)
    if dice.chance(15):
        more["only"] = ((dice.one(*names), dice.one(*planes).name),)
    if dice.chance(15):
        more["costs"] = ((dice.one(*planes).name, dice.one(*names), Cost(dice.one(0, 1, 9))),)
    if dice.chance(30):  # last, so that what else a seed makes stays as it is
        planes = [replace(d, cost=replace(d.cost, more=dice.one(0, 1, 7), count=dice.one(1, 10))) for d in planes]
        more["rates"] = {pair: dice.one(0.4, 3.0, 55.5) for pair in sorted(pairs) if dice.chance(70)}
        services = {n: replace(s, rps=dice.one(2.5, 20.0)) if s.entry else s for n, s in services.items()}
    return world(services, pairs, policies, planes, defaults, **more)


def worlds(**more):
    return st.integers(0, 2**32).map(lambda seed: random_world(seed, **more))


# --- the rules of the language, by hand -------------------------------------------------------------------------------


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


def true(cond, request: dict) -> bool:
    match cond:
        case Const(value):
            return value
        case Not(inner):
            return not true(inner, request)
        case And(parts):
            return all(true(p, request) for p in parts)
        case Or(parts):
            return any(true(p, request) for p in parts)
        case Atom(attr, op, value):
            have = request.get((attr.attribute, attr.key))
            if have is None or have is ABSENT:
                return False
            return {"==": lambda: have == value, "in": lambda: have in value, "exists": lambda: True}[op]()
    raise AssertionError(cond)


@dataclass
class Result:
    writes: dict  # what is not as declared anyway
    denied: bool
    wrong: bool  # a contradiction, or an order that the program leaves open


def reachable(edges: dict, start: str) -> set:
    out, queue = set(), [start]
    while queue:
        for other in edges.get(queue.pop(), ()):
            if other not in out:
                out.add(other)
                queue.append(other)
    return out


class Rules:
    """Rules 1 to 5 on one input."""

    def __init__(self, program: Program, path: CallPath) -> None:
        self.program, self.path = program, path
        self.firing = [p for p in program.policies if matches(p.pattern, path)]
        overrides = {p.name: p.overrides for p in program.policies}
        after = {p.name: p.after for p in program.policies}
        self.over = {p.name: reachable(overrides, p.name) for p in program.policies}
        self.after = {p.name: reachable(after, p.name) for p in program.policies}

    def requests(self, p: Policy, request: dict) -> list[OpCall]:
        before = [q for q in self.firing if q.name in self.after[p.name]]
        if before:
            values, _ = self.values(before, request)
            request = request | values
        if not true(p.when, request):
            return []
        return [c for c in p.calls if true(c.guard, request) and not (c.side == "egress" and self.path.hop[0] is None)]

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
            if matches(d.pattern, self.path):
                out.setdefault((d.attr.attribute, d.attr.key), d.value)
        for p in self.firing:  # does what one writes change what another asks for?
            changed = request | {
                (w.attr.attribute, w.attr.key): w.value for c in self.requests(p, request) for w in c.writes
            }
            for q in self.firing:
                apart = q is not p and q.name not in self.after[p.name] and p.name not in self.after[q.name]
                if apart and self.requests(q, changed) != self.requests(q, request):
                    wrong = True
        denied = out.get(("verdict", None)) == "deny"
        if denied:
            out = {("verdict", None): "deny", ("status", None): out.get(("status", None), 403)}
        return Result(undeclared(out), denied, wrong)


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
