"""The placement law: a plan does what the language says, and nothing cheaper does.

On random small meshes, the plan's elements, executed by the simulator, are compared with rules 1 to 5 written out by
hand, on every call path up to a length, every request that conditions can tell apart, and every tag that could come
from outside. Then every cheaper set of elements is shown not to do.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from budget import many
from hypothesis import assume, given
from hypothesis import strategies as st
from m4c.paths.callpath import CallPath, callees, instances
from m4c.paths.pattern import compile_pattern
from m4c.paths.product import JointPaths
from m4c.placement.elements import elements
from m4c.placement.model import Candidate, build
from m4c.placement.plan import Plan, Planner, plan
from m4c.placement.resolve import resolve
from m4c.placement.simulate import simulate
from m4c.reference import run_hop
from m4c.semantics.model import AttrKey, Program, Service
from placement_rules import Rules, chain, long_paths, requests, undeclared
from placement_worlds import E, worlds

MANY = many(150)


def check_by_simulation(program: Program, longest: int = 6) -> None:
    """The plan's outcome on every path and input is the language's. Programs that must not compile are skipped."""
    known: dict = {}
    paths = long_paths(program.graph, longest)
    inputs = requests(program)
    expected: dict = {}
    for path in paths:
        hops = len([*path.prefixes()])
        for i, first in enumerate(inputs):
            # The same request all the way, and another one on each hop.
            ways = [[first] * hops, [inputs[(i + 5 * hop * (hop + i)) % len(inputs)] for hop in range(hops)]]
            for at in ways:
                results = chain(program, path, at, known)
                assume(not any(result.wrong for result in results))
                expected.setdefault(path, []).append((at, results))
    made = plan(program)
    assume(not made.unenforceable)
    dicts = elements(program, made)
    check_ends(program, dicts)
    top = 2**made.context.bits - 1
    tags = sorted({0, 1, top, *range(min(top, 6) + 1), 4095})
    for path in paths:
        untrusted = path.outside and not program.graph.services[path.services[0]].trusted
        for tag in tags if untrusted else [0]:
            for at, wanted in expected[path]:
                for outcome, want in zip(simulate(dicts, program, path, at, tag), wanted, strict=True):
                    got = undeclared(dict(outcome.writes))
                    assert (got, outcome.terminal) == (want.writes, want.denied), (str(path), outcome.hop, at, tag)
    assert plan(program) == made, "planning again gives the same plan"


@given(worlds())
@MANY
def test_a_plan_does_what_the_language_says(program: Program):
    check_by_simulation(program)


@given(worlds(most_services=5, most_policies=4, able=True))
@MANY
def test_a_plan_of_able_dataplanes_does_what_the_language_says(program: Program):
    check_by_simulation(program, longest=5)


def check_ends(program: Program, dicts) -> None:
    """What seals a hop is done at both ends, by the same dataplane, and nobody in between looks at what is sent."""
    on: dict = {}
    for element in dicts:
        tier = program.dataplanes[element["dataplane"]].tier
        for site in element["sites"]:
            ranks = {"egress": (0, 1), "ingress": (3, 2)}[site["side"]]
            here = (ranks[tier == "kernel"], element["dataplane"], site)
            on.setdefault((site["caller"], site["callee"]), []).append(here)
    for sites in on.values():
        sealing = [(rank, name) for rank, name, site in sites if any(r["operation"] == "Seal" for r in site["rules"])]
        if sealing:
            (first, one), (last, other) = sorted(sealing)
            assert one == other and first < 2 <= last
            between = [site for rank, _, site in sites if first < rank < last]
            assert not any(site["rules"] or site["answers"] or site["tags"] for site in between)


@given(worlds(most_services=5, most_policies=3, able=True, sealing=True))
@MANY
def test_a_plan_that_seals_hops_does_what_the_language_says(program: Program):
    check_by_simulation(program, longest=5)


@given(worlds(most_services=3, most_policies=2, sealing=True))
@MANY
def test_nothing_cheaper_seals_hops(program: Program):
    check_that_nothing_cheaper_does(program)


@given(worlds(least_services=3, most_services=4, most_policies=2, able=True, sealing=True))
@MANY
def test_nothing_cheaper_seals_hops_for_able_dataplanes(program: Program):
    check_that_nothing_cheaper_does(program)


@given(worlds(most_services=5, most_policies=4, able=True, marks=True))
@MANY
def test_a_plan_with_marks_does_what_the_language_says(program: Program):
    check_by_simulation(program, longest=5)


@given(worlds(marks=True))
@MANY
def test_a_plan_with_marks_of_any_dataplanes_does_what_the_language_says(program: Program):
    check_by_simulation(program)


@given(worlds(most_services=5, most_policies=4, able=True, protocols=True))
@MANY
def test_a_plan_for_several_protocols_does_what_the_language_says(program: Program):
    check_by_simulation(program, longest=5)


@given(worlds(most_services=5, most_policies=4, able=True, marks=True, protocols=True))
@MANY
def test_a_plan_with_marks_for_several_protocols_does_what_the_language_says(program: Program):
    check_by_simulation(program, longest=5)


@given(worlds(most_services=4, most_policies=3, able=True, sealing=True, protocols=True))
@MANY
def test_a_plan_that_seals_hops_of_several_protocols_does_what_the_language_says(program: Program):
    check_by_simulation(program, longest=5)


@given(worlds())
@MANY
def test_the_reference_interpreter_says_the_same(program: Program):
    """Two readings of the language's page, made apart from each other."""
    for path in long_paths(program.graph, 4, most=60):
        for prefix in path.prefixes():
            rules = Rules(program, prefix)
            for request in requests(program):
                want = rules.run(request)
                if want.wrong:
                    continue
                arrived = {AttrKey(E, name, key): value for (name, key), value in request.items()}
                got = run_hop(program, prefix, arrived)
                writes = {(a.attribute, a.key): v for a, v in got.writes.items()}
                assert (undeclared(writes), got.terminal, got.contradictions) == (want.writes, want.denied, ())


VERSIONS = st.lists(st.integers(0, 15), min_size=2, max_size=5)


@given(worlds(most_services=5, most_policies=4, able=True), VERSIONS)
@MANY
def test_a_plan_after_edits_costs_what_one_from_the_beginning_does(program: Program, versions: list[int]):
    check_edits(program, versions)


@given(worlds(most_services=5, most_policies=4, able=True, marks=True), VERSIONS)
@MANY
def test_a_plan_with_marks_after_edits_costs_what_one_from_the_beginning_does(program: Program, versions: list[int]):
    check_edits(program, versions)


@given(worlds(most_services=5, most_policies=4, able=True, protocols=True), VERSIONS)
@MANY
def test_a_plan_for_several_protocols_after_edits_costs_what_one_from_the_beginning_does(
    program: Program, versions: list[int]
):
    check_edits(program, versions)


def check_edits(program: Program, versions: list[int]) -> None:
    """Each number says which policies there are, as bits."""
    planner = Planner()
    for version in versions:
        policies = tuple(p for i, p in enumerate(program.policies) if version >> i & 1)
        kept = {p.name for p in policies}
        policies = tuple(
            p
            if kept.issuperset((*p.overrides, *p.after))
            else replace(p, overrides=tuple(kept & {*p.overrides}), after=tuple(kept & {*p.after}))
            for p in policies
        )
        edited = replace(program, policies=policies)
        known: dict = {}
        paths = [(path, len([*path.prefixes()])) for path in long_paths(program.graph, 4, most=60)]
        ways = [(path, request, hops) for path, hops in paths for request in requests(program)]
        wanted = [chain(edited, path, [request] * hops, known) for path, request, hops in ways]
        sound = not any(result.wrong for results in wanted for result in results)
        if not sound:
            continue
        after, fresh = planner.plan(edited), plan(edited)
        assert after.cost == fresh.cost
        assert (after.optimal, after.unenforceable) == (fresh.optimal, fresh.unenforceable)
        if placed(after) == placed(fresh):
            assert after.context.bits == fresh.context.bits
        dicts = elements(edited, after)
        for (path, request, _), results in zip(ways, wanted, strict=True):
            for want, outcome in zip(results, simulate(dicts, edited, path, request), strict=True):
                if not after.unenforceable:
                    got = undeclared(dict(outcome.writes))
                    assert (got, outcome.terminal) == (want.writes, want.denied), (str(path), outcome.hop, request)


def placed(made: Plan) -> tuple:
    """Which elements there are and what runs where."""
    return [(e.service, e.dataplane) for e in made.elements], [(r.rule.hop, r.position) for r in made.runs]


# --- no cheaper plan --------------------------------------------------------------------------------------------------


def carries(program: Program, service: Service) -> bool:
    """Whether the tag can come to a service."""
    protocols = program.entities[E].protocols
    return protocols is None or service.protocol in protocols


def updating(problem, chosen) -> tuple[frozenset, frozenset]:
    """The services at whose ingress the tag is updated, and the hops on which it is at egress."""
    services, to = problem.program.graph.services, callees(problem.program.graph)

    def can(c, side, callee) -> bool:
        spoken = services[callee].protocol in problem.dataplane(c).speaks and carries(problem.program, services[callee])
        return spoken and problem.updates(c, side)

    ingress = frozenset(c.service for c in chosen if can(c, "ingress", c.service))
    return ingress, frozenset((c.service, v) for c in chosen for v in to[c.service] if can(c, "egress", v))


class Confusion:
    """Which requests carry equal tags, when every update keeps all that it can know: the most that tags can tell.

    A node is (service and version, automaton states with the marks that the chain carries, whether it carries what
    outside sent). Two nodes are confusable if requests of both can carry the same tag: both carry none, or one carries
    whatever outside chose, or the same update on the same hop made both out of equal tags, and no update came since.
    Nothing here knows of classes.
    """

    def __init__(self, problem, walk, chosen) -> None:
        self.problem, self.walk = problem, walk
        graph = problem.program.graph
        self.services, self.to = graph.services, callees(graph)
        self.hands_on = {name: s.propagates and carries(problem.program, s) for name, s in graph.services.items()}
        self.ingress, self.egress = updating(problem, chosen)
        self.zero: set = set()
        self.nodes: set = set()
        self.pairs: set = set()
        self._reach()
        self._confuse()

    def _reach(self) -> None:
        """All nodes, and those that may carry no tag."""
        queue = []
        for name, s in self.services.items():
            for letter in instances(s):
                if s.origin:
                    queue.append(((letter, self.walk.first(letter), False), True))
                if s.entry:
                    updated = name in self.ingress
                    forged = not updated and not s.trusted and self.hands_on[name]
                    for state, _ in self.walk.entered(letter):
                        queue.append(((letter, state, forged), s.trusted and not updated))
        seen = set()
        while queue:
            node, zero = queue.pop()
            zero = zero or not self.hands_on[node[0][0]]
            if (node, zero) in seen:
                continue
            seen.add((node, zero))
            self.nodes.add(node)
            if zero:
                self.zero.add(node)
            queue += [(after, zero and kind == "silent") for after, kind, _ in self.steps(node)]

    def steps(self, node):
        """(node after one call, silent | egress | ingress, what whoever updates the tag there knows: the callee, and
        which of the marks that rules write on the hop were written; at ingress, the version too)"""
        (service, _), state, forged = node
        for callee in self.to[service]:
            kind = "ingress" if callee in self.ingress else "egress" if (service, callee) in self.egress else "silent"
            for letter in instances(self.services[callee]):
                still = forged and kind == "silent" and self.hands_on[callee]
                for after, seen in self.walk.steps(service, state, letter):
                    yield (letter, after, still), kind, (callee, letter[1] if kind == "ingress" else None, seen)

    def _confuse(self) -> None:
        queue = [(a, a) for a in self.nodes] + list(product(self.zero, repeat=2))
        # An update at an entry sees that the request is from outside, and so makes one value of all.
        for name in self.ingress:
            if self.services[name].entry:
                starts = [
                    (x, state, seen) for x in instances(self.services[name]) for state, seen in self.walk.entered(x)
                ]
                queue += [
                    ((x, s, False), (x, t, False)) for x, s, a in starts for y, t, b in starts if (x, a) == (y, b)
                ]
        forged = [n for n in self.nodes if n[2]]
        queue += [pair for a in forged for b in self.nodes for pair in ((a, b), (b, a))]
        while queue:
            a, b = queue.pop()
            if (a, b) in self.pairs:
                continue
            self.pairs.add((a, b))
            for after, kind, _ in self.steps(a):
                if kind == "silent" and self.hands_on[after[0][0]]:
                    queue += [(after, b), (b, after)]
            if a[0][0] != b[0][0]:
                continue
            for x, kind, to_x in self.steps(a):
                for y, _, to_y in self.steps(b):
                    if kind != "silent" and to_x == to_y and self.hands_on[to_x[0]]:
                        queue.append((x, y))

    def tells(self, rule, effects) -> bool:
        """Is what the rule does the same for any two requests that carry the same tag to its hop?"""
        caller = rule.hop[0]
        at = {n: effects(n) for n in self.nodes if n[0][0] == caller}
        return all(at[a] == at[b] for a, b in self.pairs if a in at and b in at)


def feasible(problem, resolved, chosen, told: dict) -> bool:
    """Whether a choice of elements can do all that is to be done. `told`: whether tags tell a component enough, by who
    updates them, for no more of a choice matters to that."""
    choices = [
        [
            p
            for p in problem.positions(rule)
            if p.at in chosen and (not rule.both_ends or Candidate(rule.hop[0], p.at.dataplane) in chosen)
        ]
        for rule in problem.rules
    ]
    if not all(choices):
        return False
    tied = sorted({i for o in problem.orders for i in (o.first, o.then)})
    for at in product(*(choices[i] for i in tied)):
        where = dict(zip(tied, at, strict=True))
        if all(
            where[o.first] == where[o.then] if o.same else where[o.first].rank <= where[o.then].rank
            for o in problem.orders
        ):
            break
    else:
        return False
    sides = updating(problem, chosen)
    for i in range(len(problem.components)):
        key = (i, *sides)
        if key not in told:
            told[key] = tells_enough(problem, resolved, i, chosen)
        if not told[key]:
            return False
    return True


class Walk:
    """Steps of a component along calls: states of the automata, and the marks that are carried with them.

    What a hop writes to marks is worked out request by request, by the rules of the language."""

    def __init__(self, problem, patterns, numbers) -> None:
        self.program = program = problem.program
        of_number = {n: p for p, n in patterns.numbers.items()}
        self.marked = any(n not in of_number for n in numbers)
        told = [n for n in numbers if n in of_number]
        more = [p.pattern for p in program.policies] if self.marked else []
        automata = [compile_pattern(of_number[n], program.graph) for n in told]
        self.joint = JointPaths(program.graph, automata + [compile_pattern(p, program.graph) for p in more])
        self.at = {n: i for i, n in enumerate(told)}
        self.first_of_policies = len(told)
        self.numbers, self.patterns = numbers, patterns
        self.requests = requests(program)
        self.seen = {}
        for rule in problem.rules:
            self.seen.setdefault(rule.hop, set()).update((w.attr.attribute, w.attr.key) for w in rule.marks)
        self.known: dict = {}

    def first(self, letter):
        return self.joint.first(letter, False), ()

    def entered(self, letter):
        """What a request from outside can be in, with what is seen of the marks that were written."""
        return self._after((None, letter[0]), self.joint.first(letter, True), ())

    def steps(self, caller, state, letter):
        return self._after((caller, letter[0]), self.joint.step(state[0], letter), state[1])

    def _after(self, hop, states, marks):
        if not self.marked:
            return [((states, ()), ())]
        accepted = self.joint.accepted(states)
        fires = tuple(i for i in range(len(self.program.policies)) if i + self.first_of_policies in accepted)
        key = (hop, fires, marks)
        if key not in self.known:
            rules = Rules(
                self.program, CallPath(hop[0] is None, tuple(filter(None, hop)), (None,) * (2 - (hop[0] is None)))
            )
            rules.firing = [self.program.policies[i] for i in fires]
            found = {}
            for request in self.requests:
                leaves = rules.run(request | dict(marks)).leaves
                after = tuple(sorted({**dict(marks), **leaves}.items()))
                seen = tuple(sorted(item for item in leaves.items() if item[0] in self.seen.get(hop, ())))
                found[after, seen] = None
            self.known[key] = list(found)
        return [((states, after), seen) for after, seen in self.known[key]]

    def situation(self, state, callee):
        """What a rule on a hop to a service looks at: as its cases have it."""
        out = []
        for letter in self.joint.letters(callee):
            accepted = self.joint.accepted(self.joint.step(state[0], letter))
            here = {i for i, n in enumerate(self.numbers) if n in self.at and self.at[n] in accepted}
            here |= {i for i, n in enumerate(self.numbers) if n not in self.at and self._carries(n, dict(state[1]))}
            out.append((letter[1], frozenset(here)))
        return out

    def _carries(self, number, marks):
        _, attr, value = self.patterns._marked[number]
        return marks.get((attr.attribute, attr.key), False) == value


def tells_enough(problem, resolved, number: int, chosen) -> bool:
    component = problem.components[number]
    walk = Walk(problem, resolved.patterns, component.patterns)
    confusion = Confusion(problem, walk, chosen)
    for i in component.rules:
        rule = problem.rules[i]
        of = {frozenset(case.situation): case.effect for case in rule.cases}

        def effects(node, rule=rule, of=of):
            said = frozenset(walk.situation(node[1], rule.hop[1]))
            return next(effect for situation, effect in of.items() if situation <= said)

        if not confusion.tells(rule, effects):
            return False
    return True


def check_that_nothing_cheaper_does(program: Program) -> None:
    made = plan(program)
    resolved = resolve(program)
    assume(resolved.rules)
    problem = build(program, resolved.rules, resolved.orders, resolved.patterns)
    options = []
    for service in program.graph.services:
        beside = [c for c in problem.candidates if c.service == service]
        kernel = [c for c in beside if problem.dataplane(c).tier == "kernel"]
        proxies = [c for c in beside if problem.dataplane(c).tier == "proxy"]
        options.append([tuple(c for c in two if c) for two in product([None, *kernel], [None, *proxies])])
    lost = len(made.unenforceable) > len(resolved.unenforceable)
    told: dict = {}
    for choice in product(*options):
        chosen = frozenset(c for part in choice for c in part)
        cost = sum(problem.candidates[c] for c in chosen)
        if lost or cost < made.cost:
            assert not feasible(problem, resolved, chosen, told), sorted(chosen)
    if not lost:
        assert feasible(problem, resolved, {Candidate(e.service, e.dataplane) for e in made.elements}, told)
        assert made.optimal


@given(worlds(most_services=3, most_policies=3))
@MANY
def test_nothing_cheaper_does(program: Program):
    check_that_nothing_cheaper_does(program)


@given(worlds(least_services=4, most_services=5, most_policies=3, able=True))
@MANY
def test_nothing_cheaper_does_for_more_services(program: Program):
    check_that_nothing_cheaper_does(program)


@given(worlds(most_services=3, most_policies=3, able=True, marks=True))
@MANY
def test_nothing_cheaper_does_with_marks(program: Program):
    check_that_nothing_cheaper_does(program)


@given(worlds(least_services=3, most_services=4, most_policies=3, able=True, protocols=True))
@MANY
def test_nothing_cheaper_does_for_several_protocols(program: Program):
    check_that_nothing_cheaper_does(program)


@given(worlds(most_services=3, most_policies=3, able=True, marks=True, protocols=True))
@MANY
def test_nothing_cheaper_does_with_marks_for_several_protocols(program: Program):
    check_that_nothing_cheaper_does(program)
