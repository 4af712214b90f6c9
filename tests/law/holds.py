"""The law: on every call path of a mesh, each request gets from the deployed dataplanes, and from the simulated plan,
what the reference interpreter says: verdict, status, header changes, target, route; and counters hold what they
should."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from m4c.cli import jobs
from m4c.paths.callpath import CallPath
from m4c.placement.elements import elements
from m4c.placement.simulate import simulate
from m4c.reference import Trace, trace
from m4c.semantics.model import ABSENT, STATE, AttrKey, Program
from m4deploy import local
from m4deploy.proof import ANSWER, ENTITY, Request, Row, check, requests

from tests.law.worlds import World, sound


@dataclass(slots=True)
class Tried:
    """What was tried so far."""

    meshes: int = 0
    requests: int = 0
    by: Counter[str] = field(default_factory=Counter)  # requests by the dataplanes of the mesh
    ended: int = 0  # requests that something ended
    answered: int = 0  # answers of which something was made
    counted: int = 0  # by counters, in all
    acted: Counter[str] = field(default_factory=Counter)  # operations in the plans, by dataplane

    def __str__(self) -> str:
        by = ", ".join(f"{name}: {n}" for name, n in sorted(self.by.items()))
        acted = ", ".join(f"{name} {n}" for name, n in sorted(self.acted.items()))
        return (
            f"{self.requests} requests in {self.meshes} meshes ({by}), of which {self.ended} were ended; "
            f"something was made of {self.answered} answers; "
            f"{self.counted} counted; "
            f"operations placed: {acted}"
        )


class Broken(AssertionError):
    """A request that got something else."""


def hold(world: World, base_port: int, tried: Tried) -> None:
    """Deploys a mesh, and sends the requests of the world, and those just around its conditions, along every path.

    Raises `Broken` with the workspace for the first request that does not get what the interpreter says.
    """
    with tempfile.TemporaryDirectory(prefix="m4-law-") as temporary:
        folder, built, state = (Path(temporary, name) for name in ("mesh", "built", "state"))
        folder.mkdir()
        world, workspace = sound(world, folder)
        program, plan = jobs.planned(workspace, "law")
        made = elements(program, plan)
        todo = list(requests(program))
        paths = list(dict.fromkeys(path for path, _ in todo))
        todo += [(path, request) for path in paths for request in world.requests]
        todo = list(dict.fromkeys(todo))
        for path, request in todo:
            _simulated(program, made, path, request, world)
        jobs.write(jobs.rendered(workspace, "law", base_port), built)
        counted: Counter[str] = Counter()
        with local.deploy(built, state, foreground=True) as deployment:
            for path, request in todo:
                row = check(program, plan, deployment, path, request)
                if not row.same:
                    raise Broken(f"{_told(row)}\n\n{_text(world)}")
                happened = trace(program, row.path, request.values(), ENTITY)
                back = [a for p in _passed(program, row.path, request) for a in p.answers[:1]]
                for hop in (*happened.hops, *back):
                    for attr, value in hop.writes.items():
                        if attr.entity.startswith(STATE):
                            counted[attr.entity.removeprefix(STATE)] += value * request.repeats  # type: ignore[operator]
                tried.requests += request.repeats
                tried.ended += happened.terminal
                tried.answered += sum(bool(a.writes) for a in back)
                tried.by[" and ".join(world.dataplanes)] += request.repeats
            _counted(deployment, counted, world)
            tried.counted += sum(map(abs, counted.values()))
        tried.meshes += len(world.parts)
        tried.acted += Counter(o.dataplane for o in plan.operations)


def _passed(program: Program, path: CallPath, request: Request) -> Iterator[Trace]:
    """What happens up to each hop that a request passes: with what comes back on it first among the answers."""
    for prefix in path.prefixes():
        found = trace(program, prefix, request.values(), ENTITY)
        if found.terminal:
            return
        yield found


def _counted(deployment: local.Deployment, expected: Mapping[str, int], world: World) -> None:
    """The counters of all elements together hold what they should, soon: a proxy counts a request when it is over."""
    end = time.monotonic() + 60
    while True:
        found: Counter[str] = Counter()
        for element in deployment.status()["elements"]:
            found.update(element["tallies"])
        if all(found[name] == expected.get(name, 0) for name in {*found, *expected}):
            return
        if time.monotonic() > end:
            raise Broken(f"counters hold {dict(found)}, not {dict(expected)}\n\n{_text(world)}")
        time.sleep(0.01)


def _simulated(
    program: Program, made: Sequence[Mapping[str, Any]], path: CallPath, request: Request, world: World
) -> None:
    """What the plan does on every hop until something ends the request, without any dataplane."""
    given = request.values().items()
    values, reply = ({(a.attribute, a.key): v for a, v in given if a.entity == of} for of in (ENTITY, ANSWER))
    expected = trace(program, path, request.values(), ENTITY).hops
    backs = [found.answers[:1] for found in _passed(program, path, request)]
    done_on = simulate(made, program, path, values, reply=reply)
    for said, back, done in zip_longest(expected, backs, done_on[: len(expected)], fillvalue=()):
        answered = {(a.attribute, a.key): v for b in back for a, v in b.writes.items() if a.entity == ANSWER}
        placed = {key: _value(v) for key, v in done.answer.items()}
        if answered != placed:
            where = f"simulated on {said.hop} of {path}, {request}"
            raise Broken(f"{where}: made of the answer {placed}, not {answered}\n\n{_text(world)}")
        connections = (c for c in said.carriers if not c.terminal)  # what a denied one says, the request says too
        results = (said, *connections, *back)
        written: dict[AttrKey, Any] = {}
        for attr, value in (item for r in results for item in r.writes.items()):
            if attr.entity.startswith(STATE):
                written[attr] = written.get(attr, 0) + value
            elif attr.entity != ANSWER and not program.attribute(attr).travels:
                written[attr] = value
        entities = [r.entity for r in results]
        placed = {_attribute(program, entities, n, key): _value(v) for (n, key), v in done.writes.items()}
        for attr in written.keys() | placed.keys():  # what is the default need not be written
            default = program.attribute(attr).default
            wanted, got = written.get(attr, default), placed.get(attr, default)
            if (wanted, said.terminal) != (got, done.terminal):
                where = f"simulated on {said.hop} of {path}, {request}"
                raise Broken(f"{where}: {attr} is {got}, not {wanted}\n\n{_text(world)}")


def _attribute(program: Program, entities: Sequence[str], name: str, key: str | None) -> AttrKey:
    """What a simulation means by the name of an attribute."""
    state, _, attribute = name.rpartition(".")
    if state:
        return AttrKey(STATE + state, attribute, key)
    return AttrKey(next(e for e in entities if name in program.entities[e].attributes), name, key)


def _value(json: Any) -> Any:
    """A value of the language from what elements hold."""
    if isinstance(json, Mapping):
        return tuple(sorted(json.items()))
    if isinstance(json, list | tuple):
        return tuple(sorted(json))
    return ABSENT if json is None else json


def _told(row: Row) -> str:
    return (
        f"{row.path}: {row.request}\n  expected {row.expected}\n  seen     {row.seen}\n  by       {row.by or 'nobody'}"
    )


def _text(world: World) -> str:
    with tempfile.TemporaryDirectory() as folder:
        world.write(Path(folder))
        return "\n".join(f"// {f.name}\n{f.read_text()}" for f in sorted(Path(folder).iterdir()))
