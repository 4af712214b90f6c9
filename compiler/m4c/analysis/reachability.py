"""What can never happen: patterns without a call path, conditions without an input, versions that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from m4c.analysis.effects import Effects
from m4c.analysis.ground import Situation
from m4c.paths.search import Search
from m4c.predicates import TooComplex, regex_fault, regex_matches
from m4c.semantics.model import (
    And,
    AnyOne,
    Atom,
    Attribute,
    AttrKey,
    Cond,
    Default,
    GroupOf,
    Labelled,
    Named,
    NotOne,
    One,
    OneOf,
    OpCall,
    Pattern,
    Place,
    Policy,
    Program,
    Step,
    Type,
    Value,
    all_of,
    atoms,
    negate,
)
from m4c.semantics.problems import Problem, nearest
from m4c.semantics.services import Graph
from m4c.semantics.values import show
from m4c.syntax import words

FEW = 32  # comparisons of a policy that are no matter, whatever they are


def dead_paths(effects: Effects, policy: Policy) -> Iterator[Problem]:
    """`dead-path`: no call path of the graph matches the pattern, so the policy never fires."""
    if not effects.ends(policy.pattern):
        message = f"no call path of the graph matches the pattern of `{policy.name}`, so it never fires"
        message += _about_dead(effects, policy.pattern)
        yield Problem("dead-path", message, policy.pattern_place, policies=(policy.name,))


def dead_default(effects: Effects, default: Default) -> Iterator[Problem]:
    """`dead-path`, for a default of the mesh: it applies nowhere."""
    if not effects.ends(default.pattern):
        message = (
            f"no call path of the graph matches the pattern of this default of `{default.attr}`, so it never applies"
        )
        message += _about_dead(effects, default.pattern)
        yield Problem("dead-path", message, default.place)


def _about_dead(effects: Effects, pattern: Pattern) -> str:
    """Why a pattern matches nothing, and which one would match."""
    near = nearest_pattern(effects, pattern)
    hint = f"; `{pattern_text(near)}` would match" if near is not None else ""
    return _why_dead(effects.program.graph, pattern) + hint


def _why_dead(graph: Graph, pattern: Pattern) -> str:
    """What of a pattern no call path can have, where a single step or two neighbours tell."""
    for step in pattern.steps:
        for label, value in _lacking(graph, step.one):
            labels = [pair for s in graph.services.values() for pair in s.labels]
            values = {v for k, v in labels if k == label}
            near = nearest(value, values) if values else nearest(label, {k for k, _ in labels})
            hint = f" (did you mean `{near}`?)" if near is not None else ""
            return f": no service has the label `{label}: {value}`{hint}"
    first = pattern.steps[0]
    if isinstance(first.one, Named) and not first.star:
        service = graph.services.get(first.one.service)
        if service is not None and pattern.outside and not service.entry:
            return f": `{service.name}` is no entry, so nothing comes to it from outside"
        if service is not None and not service.origin and not service.entry:
            return f": a pattern begins where a chain of requests does, and `{service.name}` starts none"
    for a, b in pairwise(pattern.steps):
        if isinstance(a.one, Named) and isinstance(b.one, Named) and not a.star and not b.star:
            ends = (a.one.service, b.one.service)
            if not any((call.caller, call.callee) == ends for call in graph.calls):
                return f": `{ends[0]}` does not call `{ends[1]}`"
    return ""


def _lacking(graph: Graph, one: One) -> Iterator[tuple[str, str]]:
    """Labels that a step asks for and no service has."""
    match one:
        case Labelled(labels):
            having = {label for s in graph.services.values() for label in s.labels}
            yield from (label for label in labels if label not in having)
        case OneOf(parts):
            each = [list(_lacking(graph, part)) for part in parts]
            yield from each[0] if all(each) else ()


def nearest_pattern(effects: Effects, pattern: Pattern) -> Pattern | None:
    """The pattern with `*` put between all steps, or with the chain's origin left open, whichever matches first."""
    steps = pattern.steps
    anywhere = Step(AnyOne(), True)
    spread: list[Step] = []
    for i, step in enumerate(steps):
        if i and not step.star and not steps[i - 1].star:
            spread.append(anywhere)
        spread.append(step)
    for candidate in (
        replace(pattern, outside=False),
        Pattern((anywhere, *steps), pattern.outside),
        Pattern(tuple(spread), pattern.outside),
        Pattern(tuple(spread), False),
        Pattern((anywhere, *spread), False),
    ):
        if candidate != pattern and effects.ends(candidate):
            return candidate
    return None


def pattern_text(pattern: Pattern) -> str:
    """A pattern as M4 writes it."""

    def one(x: One) -> str:
        match x:
            case Named(name, version):
                return words.service(name) + (f":{words.service(version)}" if version else "")
            case Labelled(labels):
                return f"[{', '.join(f'{words.service(k)}: {words.service(v)}' for k, v in labels)}]"
            case GroupOf(group, _):
                return f"@{words.name(group)}"
            case OneOf(parts):
                return f"({' | '.join(map(one, parts))})"
            case NotOne(inner):
                return f"!{one(inner)}"
            case AnyOne():
                return "?"

    def step(x: Step) -> str:
        if x.star:
            return "*" if isinstance(x.one, AnyOne) else one(x.one) + "*"
        return one(x.one)

    return " -> ".join([*(["outside"] if pattern.outside else []), *map(step, pattern.steps)])


def dead_conditions(effects: Effects, policy: Policy) -> Iterator[Problem]:
    """`dead-condition`: a `when`, or the condition of an `if`, that is constant over all inputs that reach it."""
    if not effects.ends(policy.pattern):
        return
    place = policy.when_place
    if place is not None and not effects.ever(policy, policy.when):
        why = _why_never(effects, policy.when)
        message = f"the condition of `{policy.name}` never holds{why}, so the policy never fires"
        yield Problem("dead-condition", message, place, policies=(policy.name,), about="never")
        return
    if place is not None and not effects.ever(policy, negate(policy.when)):
        message = f"the condition of `{policy.name}` always holds; leave it out"
        yield Problem("dead-condition", message, place, policies=(policy.name,), about="always")
    for branch in policy.ifs:
        reached = all_of(policy.when, branch.guard)
        if not effects.ever(policy, reached):
            continue  # said at the `if` around it
        for cond, always in ((branch.cond, "never"), (negate(branch.cond), "always")):
            if not effects.ever(policy, all_of(reached, cond)):
                message = f"this condition {always} holds here, so one branch of the `if` is never taken"
                yield Problem("dead-condition", message, branch.place, policies=(policy.name,), about=always)
                break


def _why_never(effects: Effects, cond: Cond) -> str:
    """Why a condition never holds, where one comparison alone tells."""
    program = effects.program
    for part in cond.of if isinstance(cond, And) else (cond,):
        if not isinstance(part, Atom) or part.op != "==":
            continue
        attribute = program.attribute(part.attr)
        if attribute.travels:
            written = {w.attr for p in program.policies for c in p.calls for w in c.writes}
            if part.attr not in written:
                return f": no policy writes `{part.attr}`"
        elif isinstance(part.value, str | int | tuple) and (why := _outside(attribute, part.attr, part.value)):
            return f": {why}"
    return ""


def is_simple(policy: Policy) -> bool:
    """Whether the conditions are few, and hold no regular expression: neither of the next two can be about them."""
    read = [a for cond in (policy.when, *(c.guard for c in policy.calls)) for a in atoms(cond)]
    return len(read) <= FEW and not any(isinstance(a, Atom) and a.op == "matches" for a in read)


def wrong_patterns(policy: Policy) -> Iterator[Problem]:
    """`bad-regex` and `too-complex`: regular expressions that cannot be used; the analyses leave the policy out."""
    conds = [policy.when, *(c.guard for c in policy.calls)]
    place = policy.when_place or policy.place
    for atom in dict.fromkeys(a for c in conds for a in atoms(c) if isinstance(a, Atom) and a.op == "matches"):
        wrong = regex_fault(str(atom.value))
        if wrong is not None:
            yield Problem(*wrong, place, policies=(policy.name,))


def too_complex(effects: Effects, policy: Policy) -> Iterator[Problem]:
    """`too-complex` for policies whose conditions by themselves pass the limit of states."""
    try:
        for cond in (policy.when, *(c.guard for c in policy.calls)):
            effects.possible(cond)
            effects.possible(negate(cond))
    except TooComplex as e:
        message = f"the conditions of `{policy.name}` are too complex: {e}. Write them more simply"
        yield Problem("too-complex", message, policy.when_place or policy.place, policies=(policy.name,))


def out_of_domain(program: Program, policy: Policy) -> Iterator[Problem]:
    """`type-mismatch` for keys and written values outside of what their declared type is limited to (`int in 1..9`)."""
    used: list[tuple[AttrKey, Value | None, Place]]
    used = [(w.attr, w.value, call.place) for call in policy.calls for w in call.writes]
    for cond, place in ((policy.when, policy.when_place), *((i.cond, i.place) for i in policy.ifs)):
        used += [(a.attr, None, place or policy.place) for a in atoms(cond) if isinstance(a, Atom)]
    for attr, value, place in used:
        why = _outside(program.attribute(attr), attr, value)
        if why is not None:
            yield Problem("type-mismatch", why, place, policies=(policy.name,))
    for call in policy.calls:
        params = {p.name: p.type for p in program.entities[call.entity].operations[call.operation].params}
        for name, value in call.args:
            if not _in_domain(value, params[name]):
                shown = show(value, params[name])
                message = f"`{name}` of `{call.operation}` is {params[name]}, which {shown} is not"
                yield Problem("type-mismatch", message, call.place, policies=(policy.name,))


def defaults_out_of_domain(program: Program) -> Iterator[Problem]:
    """As `out_of_domain`, for the mesh's defaults."""
    for d in program.mesh.defaults:
        why = _outside(program.attribute(d.attr), d.attr, d.value)
        if why is not None:
            yield Problem("type-mismatch", why, d.place)


def _outside(attribute: Attribute, attr: AttrKey, value: Value | None) -> str | None:
    """Why a key or a value (None: it is only read) cannot be."""
    if attribute.key is not None and attr.key is not None and not _in_domain(attr.key, attribute.key):
        return f"a key of `{attribute.name}` is {attribute.key}, which `{attr.key}` is not"
    if value is None or _in_domain(value, attribute.type):
        return None
    return f"{attr} is {attribute.type}, which {show(value, attribute.type)} is not"


def _in_domain(value: Value, type_: Type) -> bool:
    return type_.admits(value) and (
        type_.domain is None or not isinstance(value, str) or regex_matches(type_.domain, value)
    )


def unknown_versions(effects: Effects, policy: Policy) -> Iterator[Problem]:
    """`unknown-version`: a call names a version that a service at the end of a matching path does not have."""
    for call in policy.calls:
        named = _versions(effects, call)
        if not named:
            continue
        letters, services = effects.ground.letters, effects.program.graph.services
        lacking = sum(
            letters.service(name)
            for name in letters.names(effects.ends(policy.pattern))
            if any(v not in services[name].versions for v in named)
        )
        for found in Search(letters, [policy.pattern]).firings((0,), lacking) if lacking else ():
            at = Situation(frozenset(), found)
            if call.side == "egress" and at.entry:
                continue
            callee = found.path.hop[1]
            known = services[callee].versions
            missing = next(v for v in named if v not in known)
            has = f"it has {', '.join(known)}" if known else "the graph gives it no versions"
            message = f"`{callee}` has no version `{missing}` ({has}); `{policy.name}` fires there on {found.path}"
            witness = effects.witness(policy.entity, at, None)
            yield Problem(
                "unknown-version", message, call.place, policies=(policy.name,), witness=witness, about=missing
            )
            break


def _versions(effects: Effects, call: OpCall) -> list[str]:
    """The versions that a call's arguments name."""
    operation = effects.program.entities[call.entity].operations[call.operation]
    args = dict(call.args)
    out: list[str] = []
    for p in operation.params:
        value = args.get(p.name)
        if p.type.name == "map" and p.type.args[0].name == "version" and isinstance(value, tuple):
            out += [str(pair[0]) for pair in value if isinstance(pair, tuple)]
        elif p.type.name == "version":
            out.append(str(value))
    return out
