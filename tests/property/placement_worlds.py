"""Random small meshes for the placement law, and an evaluator of the language's rules written for this test alone."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import strategies as st
from m4c.paths.callpath import callees
from m4c.semantics.model import (
    ABSENT,
    SIDES,
    TRUE,
    And,
    AnyOne,
    Atom,
    Attribute,
    AttrKey,
    Call,
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
    "mark": Attribute(E, "mark", Type("bool"), key=STRING, travels=True),
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
    "Mark": Operation(E, "Mark", (Param("name", STRING),), None, (WriteDecl("mark", "name", True, True),)),
    "Unmark": Operation(E, "Unmark", (Param("name", STRING),), None, (WriteDecl("mark", "name", True, False),)),
    "Log": Operation(E, "Log", (Param("n", INT),), None, (WriteDecl("log", value="n", value_is_param=True),)),
    "Limit": Operation(E, "Limit", (Param("n", INT),), "egress", (WriteDecl("limit", value="n", value_is_param=True),)),
    "Seal": Operation(E, "Seal", (), None, (WriteDecl("sealed", value=True),)),
    "Retry": Operation(E, "Retry", (Param("n", INT),), None, (WriteDecl("retries", value="n", value_is_param=True),)),
}
A = "Answer"  # what comes back for a request: some of the same
BACK = ("Set", "Unset", "Add", "Log")
ANSWER = Entity(
    A,
    None,
    {name: replace(ATTRIBUTES[name], entity=A) for name in ("header", "more", "log")},
    {name: replace(OPERATIONS[name], entity=A) for name in BACK},
    views={"request": E},
)
HEADERS = ("a", "b")
MARKS = ("m", "n")
ALPHABET = (None, "0", "1")


def header(name: str) -> AttrKey:
    return AttrKey(E, "header", name)


def atom(name: str, op: str = "==", value="1") -> Atom:
    return Atom(header(name), op, True if op == "exists" else value)


def mark(name: str) -> Atom:
    return Atom(AttrKey(E, "mark", name), "==", True)


def call(index: int, operation: str, guard=TRUE, side=None, entity=E, **args) -> OpCall:
    op = OPERATIONS[operation]
    full = {p.name: args.get(p.name, p.default) for p in op.params}
    writes = tuple(
        Write(
            AttrKey(entity, w.attribute, full[w.key] if w.key_is_param else w.key),
            w.given(full),
        )
        for w in op.writes
    )
    return OpCall(index, entity, operation, tuple(full.items()), guard, writes, op.side or side, NOWHERE)


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

    def __init__(self, seed: int, marks: bool = False) -> None:
        self.rng = Random(seed)
        self.marks = marks

    def one(self, *values):
        return self.rng.choice(values)

    def chance(self, percent: int) -> bool:
        return self.rng.random() * 100 < percent


def condition(dice: Dice):
    name = dice.one(*HEADERS)
    given = atom(name, "exists")
    leaf = dice.one(atom(name), atom(name), atom(name, value="0"), given, atom(name, "in", ("0", "1")))
    other = atom(dice.one(*HEADERS))
    if dice.marks and dice.chance(60):
        leaf = mark(dice.one("m", "m", *MARKS))
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
    if dice.marks and dice.chance(40):
        guard = condition(dice) if dice.chance(60) else TRUE
        side = dice.one(None, None, None, None, "ingress", "egress")
        return call(index, dice.one("Mark", "Mark", "Unmark"), guard, side, name=dice.one("m", "m", *MARKS))
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
    marks: bool = False,
    protocols: bool = False,
) -> Program:
    """`marks`: policies write and read marks too. `protocols`: services speak several, and dataplanes some of them; in
    one of them nothing of what policies are about exists."""
    dice = Dice(seed, marks)
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
        pattern = random_pattern(dice, graph)
        if marks and i < 2:  # one that marks, and one that asks for it somewhere behind
            if i == 0:
                body[0] = call(0, "Mark", condition(dice) if dice.chance(80) else TRUE, name="m")
                when = TRUE
            else:
                when = dice.one(mark("m"), mark("m"), Not(mark("m")), And((mark("m"), when)), Or((mark("m"), when)))
            calling = [name for name, to in callees(graph).items() if to]
            if i == 0 and calling and dice.chance(60):
                pattern = Pattern((Step(AnyOne(), star=True), Step(Named(dice.one(*calling)))), dice.chance(25))
            elif i == 1 and dice.chance(60):
                ends = [u for to in callees(graph).values() for u in to] or [*graph.services]
                pattern = Pattern((Step(AnyOne(), star=True), Step(Named(dice.one(*ends)))))
        before = [p.name for p in policies]
        overrides = [n for n in before if dice.chance(40)]
        after = [n for n in before if dice.chance(25)]
        made = policy(f"P{i}", pattern, *body, when=when, overrides=overrides, after=after)
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
    made = world(services, pairs, policies, planes, defaults, **more)
    return speaking(dice, made) if protocols else made


def answering(dice: Dice, program: Program) -> Program:
    """A program with policies about answers, mostly on one hop, with what could get into their way there, and
    dataplanes that may be able to run them."""
    hop = dice.one(*program.graph.calls)
    on = Pattern((Step(AnyOne(), star=True), Step(Named(hop.caller)), Step(Named(hop.callee))))

    def side():
        return dice.one(None, None, "ingress", "egress")

    policies: list[Policy] = []
    for i in range(dice.one(0, 1, 1)):
        asked = dice.one(
            call(0, "Drop", side=side(), status=403), call(0, "Set", side=side(), name=dice.one(*HEADERS), value="1")
        )
        policies.append(policy(f"A{i}", on, asked, when=dice.one(TRUE, atom("a"), Not(atom("b")))))
    for i in range(dice.one(1, 1, 2, 3)):
        conds = [atom(dice.one(*HEADERS), value=dice.one("0", "1")) for _ in range(2)]
        conds += [Atom(AttrKey(A, a.attr.attribute, a.attr.key), a.op, a.value) for a in conds]
        one, other = dice.one(*conds), dice.one(*conds)
        when = dice.one(TRUE, one, one, one, Not(one), And((one, Not(other))), Or((one, other)))
        body = []
        for n in range(dice.one(1, 2)):
            operation, args = dice.one(
                ("Set", {"name": dice.one(*HEADERS), "value": "1"}),
                ("Set", {"name": dice.one(*HEADERS), "value": "1"}),
                ("Unset", {"name": "b"}),
                ("Add", {"name": dice.one(*HEADERS), "value": dice.one("0", "1")}),
                ("Log", {"n": 1}),
            )
            body.append(call(n, operation, TRUE, side(), A, **args))
        before = [p.name for p in policies if p.entity == A]
        over, after = ([n for n in before if dice.chance(share)] for share in (50, 50))
        pattern = on if dice.chance(75) else random_pattern(dice, program.graph)
        policies.append(replace(policy(f"B{i}", pattern, *body, when=when, overrides=over, after=after), entity=A))
    planes = {}
    for name, plane in program.dataplanes.items():
        sides = {op: dice.one(SIDES, SIDES, SIDES, ("ingress",), ("egress",)) for op in BACK if dice.chance(85)}
        operations = {(A, op): Supports(op, f"{op}.j2", where) for op, where in sides.items()}
        reads = {(A, "header"): Reads("header", None, dice.one(SIDES, SIDES, ("ingress",)))}
        both = {**plane.operations, **operations}, {**plane.reads, **reads}
        planes[name] = replace(plane, operations=both[0], reads=both[1])
    entities = {**program.entities, A: ANSWER}
    return replace(program, policies=(*program.policies, *policies), dataplanes=planes, entities=entities)


def answered(**more):
    """Worlds with policies about answers."""
    return st.integers(0, 2**32).map(lambda seed: answering(Dice(seed + 1), random_world(seed, **more)))


def speaking(dice: Dice, program: Program) -> Program:
    """A program whose services speak different protocols."""
    spoken = dice.one(("x", "y"), ("x", "x", "y"), ("x", "y", "raw"), ("x", "x", "x", "raw"))
    services = {n: replace(s, protocol=dice.one(*spoken)) for n, s in program.graph.services.items()}
    planes = {
        n: replace(d, speaks=dice.one(("x",), ("y",), ("x", "y"), ("x", "y"), ("x", "y", "raw")))
        for n, d in program.dataplanes.items()
    }
    return replace(
        program,
        graph=replace(program.graph, services=services),
        dataplanes=planes,
        entities={n: replace(e, protocols=("x", "y")) for n, e in program.entities.items()},
    )


def worlds(**more):
    return st.integers(0, 2**32).map(lambda seed: random_world(seed, **more))
