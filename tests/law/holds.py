"""The law: on every call path of a mesh, each request gets from the deployed dataplanes, and from the simulated plan,
what the reference interpreter says: verdict, status, header changes, target, route; and counters hold what they
should."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from m4c.cli import jobs
from m4c.paths.callpath import CallPath
from m4c.placement.elements import elements
from m4c.placement.simulate import simulate
from m4c.reference import Trace, matches, trace
from m4c.semantics.model import ABSENT, STATE, AttrKey, Program, StateAtom
from m4deploy import local
from m4deploy.proof import ANSWER, ENTITY, Request, Row, check, requests

from tests.law.buckets import Buckets, asked_at_most_once, questions
from tests.law.tried import Places, Tried
from tests.law.worlds import World, sound

LONGEST = 6  # services of a path that is tried
MOST = 200  # requests to one deployment
CONNECTIONS = "max_connections"
PATIENCE = 10.0  # seconds for which a request is let wait, to see that its caller does not


class Broken(AssertionError):
    """A request that got something else."""


def hold(world: World, base_port: int, tried: Tried, most: int = MOST) -> None:
    """Deploys a mesh, and sends the requests of the world, and those just around its conditions, along every path; of
    more than so many, some all over.

    Raises `Broken` with the workspace for the first request that does not get what the interpreter says.
    """
    with tempfile.TemporaryDirectory(prefix="m4-law-") as temporary:
        folder, built, state = (Path(temporary, name) for name in ("mesh", "built", "state"))
        folder.mkdir()
        world, workspace = sound(world, folder)
        program, plan = jobs.planned(workspace, "law")
        made = elements(program, plan)
        todo = _todo(program, world, most)
        for path, request in todo:
            for answer in (True, False) if questions(program) else (True,):
                _simulated(program, made, path, request, {atom: answer for _, atom in questions(program)}, world)
        jobs.write(jobs.rendered(workspace, "law", base_port), built)
        counted: Counter[str] = Counter()
        buckets, places = Buckets(program), Places(program, plan)
        with local.deploy(built, state, foreground=True) as deployment:
            for path, request in todo:
                states = buckets.answers(path, request.values())
                row = check(program, plan, deployment, path, request, states)
                if not row.same:
                    raise Broken(f"{_told(row)}\n\n{_text(world)}")
                _note(program, row, states, places, counted, tried)
                tried.by[" and ".join(world.dataplanes)] += request.repeats
            _counted(deployment, counted, world)
            tried.counted += sum(map(abs, counted.values()))
            tried.asked += buckets.asked
        tried.meshes += len(world.parts)
        tried.placed(plan)


def _todo(program: Program, world: World, most: int) -> list[tuple[CallPath, Request]]:
    """What to send, from each version that can begin a path: what the program suggests, and the requests of the world.

    Left out is what one answer of each state does not decide, and what waits for itself. Of requests whose answers are
    late there is one, as they take long. What a service sends itself pretends nothing. Of long ways round a cycle the
    first ones tell all.
    """
    suggested = [(path, r) for path, r in requests(program) if len(path.services) <= LONGEST]
    paths = list(dict.fromkeys(path for path, _ in suggested))
    late = [(path, r) for path, r in suggested if 0 < r.delay < PATIENCE]
    todo = [(path, r) for path, r in suggested if not r.delay] + late[-1:]
    todo += [(path, request) for path in paths for request in world.requests]
    asking = {path for path in paths if any(_asks(program, prefix) for prefix in path.prefixes())}
    waiting = {path for path in paths if _waits_for_itself(program, path)}
    out: dict[tuple[CallPath, Request], None] = {}
    for path, request in todo:
        if path in waiting:
            continue
        if path in asking and (request.repeats > 1 or not asked_at_most_once(program, path)):
            continue
        versions = program.graph.services[path.services[0]].versions
        for version in (None,) if path.outside else versions or (None,):
            begins = replace(path, versions=(version, *path.versions[1:])) if version else path
            out[begins, request if path.outside else replace(request, forged="")] = None
    step = len(out) // most + 1
    return [each for number, each in enumerate(out) if number % step == 0 or each[1].delay]


def _waits_for_itself(program: Program, path: CallPath) -> bool:
    """Whether the requests of a path need more connections between two services at a time than they may have: one that
    waits for its answer keeps its connection."""
    found = trace(program, path, Request().values(), ENTITY)
    for result, times in ((r, sum(other.hop == r.hop for other in found.hops)) for r in found.hops):
        limits = (c.value(CONNECTIONS) for c in result.carriers)
        if any(isinstance(limit, int) and limit < times for limit in limits):
            return True
    return False


def _asks(program: Program, path: CallPath) -> bool:
    return any(matches(policy.pattern, path, program) for policy, _ in questions(program))


def _note(
    program: Program, row: Row, states: Mapping[StateAtom, bool], places: Places, counted: Counter[str], tried: Tried
) -> None:
    """Adds up what a request is for, and what counters should hold."""
    request = row.request
    happened = trace(program, row.path, request.values(), ENTITY, states)
    passed = list(_passed(program, row.path, request, states))
    for prefix, hop, found in zip_longest(row.path.prefixes(), happened.hops, passed):
        if hop is None:
            break
        late = request.delay > 0 and prefix == row.path  # nobody waits for this answer
        back = () if found is None or late else found.answers[:1]
        places.note(tried, prefix, (hop, *hop.carriers, *back), request.repeats)
        for result in (hop, *back):
            for attr, value in result.writes.items():
                if attr.entity.startswith(STATE):
                    counted[attr.entity.removeprefix(STATE)] += value * request.repeats  # type: ignore[operator]
        tried.answered += any(a.writes for a in back)
    tried.requests += request.repeats
    tried.ended += happened.terminal
    tried.late += request.delay > 0
    tried.forged += bool(request.forged)


def _passed(program: Program, path: CallPath, request: Request, states: Mapping[StateAtom, bool]) -> Iterator[Trace]:
    """What happens up to each hop that a request passes: with what comes back on it first among the answers."""
    for prefix in path.prefixes():
        found = trace(program, prefix, request.values(), ENTITY, states)
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
    program: Program,
    made: Sequence[Mapping[str, Any]],
    path: CallPath,
    request: Request,
    states: Mapping[StateAtom, bool],
    world: World,
) -> None:
    """What the plan does on every hop until something ends the request, without any dataplane."""
    given = request.values().items()
    values, reply = ({(a.attribute, a.key): v for a, v in given if a.entity == of} for of in (ENTITY, ANSWER))
    expected = trace(program, path, request.values(), ENTITY, states).hops
    backs = [found.answers[:1] for found in _passed(program, path, request, states)]
    answers = {f"{atom.policy} {atom.occurrence}": answer for atom, answer in states.items()}
    done_on = simulate(made, program, path, values, answers=answers, reply=reply)
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
