"""Whether two programs mean the same, by the reference interpreter."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from m4c import project
from m4c.paths.callpath import CallPath
from m4c.reference import HopResult, run_hop
from m4c.semantics.model import ABSENT, Atom, AttrKey, Program, Value, atoms
from m4c.workspace import Workspace


def program(workspace: Workspace) -> Program:
    (mesh,) = workspace.meshes()
    found = project.program(workspace.db, mesh)
    assert found is not None
    return found


def assert_alike(one: Program, two: Program) -> None:
    """The interpreter gives the same results, on every call path of up to four services and plain requests."""
    checked = 0
    for path in paths(one, 4):
        for values in inputs(one, two):
            results = [run_hop(p, path, values, entity="HttpRequest") for p in (one, two)]
            first, second = ((final(values, r), r.contradictions, r.terminal, r.leaves) for r in results)
            assert first == second, (str(path), values)
            checked += 1
    assert checked > 2


def final(values: dict[AttrKey, Value], result: HopResult) -> dict[AttrKey, Value]:
    """What the entity is behind the hop: what it was, or by itself is, but for what is written."""
    out = {**values, **result.declared, **result.writes}
    return {a: v for a, v in out.items() if v is not ABSENT}


def paths(of: Program, longest: int) -> Iterator[CallPath]:
    calls = {(c.caller, c.callee) for c in of.graph.calls}
    for length in range(1, longest + 1):
        for services in itertools.product(of.graph.services, repeat=length):
            if not all(pair in calls for pair in itertools.pairwise(services)):
                continue
            first = of.graph.services[services[0]]
            versions = tuple(next(iter(of.graph.services[s].versions), None) for s in services)
            if first.entry:
                yield CallPath(True, services, versions)
            if first.origin and length > 1:
                yield CallPath(False, services, versions)


def inputs(*of: Program) -> Iterator[dict[AttrKey, Value]]:
    """Each attribute that a condition reads: absent, each constant that it is compared with, another text."""
    read: dict[AttrKey, set[Value]] = {}
    for p in (p for one in of for p in one.policies):
        for atom in (a for cond in (p.when, *(c.guard for c in p.calls)) for a in atoms(cond)):
            if isinstance(atom, Atom):
                values = read.setdefault(atom.attr, {"OTHER"})
                values |= set(atom.value) if atom.op == "in" and isinstance(atom.value, tuple) else {atom.value}
    keys = sorted(read)
    optional = {k for k in keys if of[0].attribute(k).type.optional}
    choices = [[*sorted(map(str, read[k])), *([None] if k in optional else [])] for k in keys]
    for combination in itertools.islice(itertools.product(*choices), 200):
        yield {k: v for k, v in zip(keys, combination, strict=True) if v is not None}
