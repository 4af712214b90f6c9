"""All analyses of one program, in the order in which people should read them."""

from __future__ import annotations

from dataclasses import replace

from m4c.analysis.conflicts import conflicts, order_dependent
from m4c.analysis.cycles import order_cycles
from m4c.analysis.effects import Effects
from m4c.analysis.multihop import multihop
from m4c.analysis.reachability import (
    dead_conditions,
    dead_paths,
    out_of_domain,
    too_complex,
    unknown_versions,
    wrong_patterns,
)
from m4c.analysis.shadowing import redundant, shadowed, suppressed
from m4c.analysis.sharing import foreign_overrides, shared_states, states_used, unsided_states
from m4c.predicates import TooComplex
from m4c.semantics.model import Program
from m4c.semantics.problems import Problem


def analyse(program: Program) -> tuple[Problem, ...]:
    """Every finding about a program. Policies whose own text is wrong are not in it; those with bad regular
    expressions, and those on an order cycle, are reported and then left out of the other analyses."""
    problems: list[Problem] = []
    bad: set[str] = set()
    for policy in program.policies:
        found = list(wrong_patterns(policy))
        if found:
            bad.add(policy.name)
        problems += found
    cycles = list(order_cycles(program.policies))
    problems += cycles
    bad |= {name for p in cycles for name in p.policies}
    sound = replace(program, policies=tuple(p for p in program.policies if p.name not in bad))
    for entity in dict.fromkeys((*(p.entity for p in sound.policies), *(d.attr.entity for d in sound.mesh.defaults))):
        problems += _analyse_entity(about(sound, entity), sound)
    for state in sound.states:
        users = [p for p in sound.policies if state.name in states_used(p)]
        problems += shared_states(Effects(sound), users, state)
    return tuple(problems)


def about(program: Program, entity: str) -> Program:
    """The part of a program about one entity: policies on different ones never meet.

    A connection has no call path: to its policies every call is a path of its own, and nothing comes from outside.
    """
    policies = tuple(p for p in program.policies if p.entity == entity)
    defaults = tuple(d for d in program.mesh.defaults if d.attr.entity == entity)
    graph = program.graph
    if program.entities[entity].connection:
        services = {n: replace(s, origin=True, entry=False) for n, s in graph.services.items()}
        graph = replace(graph, services=services)
    return replace(program, policies=policies, graph=graph, mesh=replace(program.mesh, defaults=defaults))


def _analyse_entity(program: Program, whole: Program) -> list[Problem]:
    problems: list[Problem] = []
    effects = Effects(program, whole)
    heavy = list(too_complex(effects))
    if heavy:
        problems += heavy
        named = {name for p in heavy for name in p.policies}
        program, whole = (
            replace(some, policies=tuple(p for p in some.policies if p.name not in named)) for some in (program, whole)
        )
        effects = Effects(program, whole)
    try:
        problems += dead_paths(effects)
        problems += out_of_domain(effects)
        problems += unknown_versions(effects)
        problems += dead_conditions(effects)
        problems += conflicts(effects)
        problems += order_dependent(effects)
        hidden = list(shadowed(effects))
        problems += hidden
        ended = list(suppressed(effects))
        idle = list(redundant(effects, frozenset(p.policies[0] for p in hidden), ended))
        pointless = {p.policies[0] for p in idle}
        problems += (p for p in ended if p.policies[0] not in pointless)
        problems += idle
        problems += unsided_states(effects)
        problems += foreign_overrides(effects)
        problems += multihop(effects)
    except TooComplex as e:
        place = next(p.place for p in effects.program.policies)
        problems.append(Problem("too-complex", f"the conditions of this mesh are too complex together: {e}", place))
    return problems
