"""Fixes inside one declaration that need its text or its neighbours: sides, reserved words, patterns of connections,
names that are taken, values outside of their domain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from m4c import project
from m4c.fixes.scene import Scene
from m4c.fixes.surgery import Source
from m4c.predicates import regex_matches
from m4c.semantics.model import OpCall, Place, Policy, Program, Side, StateAtom, all_of, atoms
from m4c.semantics.problems import Edit, Fix, nearest
from m4c.syntax import tree as t
from m4c.syntax import words

SIDES: tuple[Side, Side] = ("ingress", "egress")


def wrong_side(scene: Scene) -> Iterator[Fix]:
    """No `at`, or the other one where everything else in the policy may stand there."""
    source, decl = scene.source, scene.decl
    if source is None:
        return
    if isinstance(decl, t.PolicyDecl) and decl.sides:
        side = decl.sides[0]
        yield Fix(f"Leave out `at {side.text}`", source.cut_clause(source.before(side.start).start, side.end), True)
        other = SIDES[1 - SIDES.index(side.text)]
        entity = project.schema(scene.db).entities.get(decl.entity.text)
        declared = {c.ref.accessors[0].text for c in _calls(decl.body) if c.ref.accessors}
        sides = {o.side for o in entity.operations.values() if o.name in declared} if entity else set()
        if sides <= {other, None}:
            yield Fix(f"Change it to `at {other}`", (source.edit(side.start, side.end, other),))
        return
    at = source.after(scene.problem.place.end)
    while at.text and at.text not in ("at", ";"):
        at = source.after(at.end)
    if at.text == "at":
        side_ = source.after(at.end)
        yield Fix(f"Leave out `at {side_.text}`", source.cut_clause(at.start, side_.end))


def unsided_state(scene: Scene) -> Iterator[Fix]:
    """Either side, where all that the policy does may happen there: only its author knows which one is meant. A side at
    which no dataplane of the mesh keeps such a state is left out, if one does at the other."""
    source, decl = scene.source, scene.decl
    if source is None or not isinstance(decl, t.PolicyDecl) or scene.effects is None:
        return
    policy = scene.effects.policies[scene.problem.policies[0]]
    sides = {c.side for c in policy.calls}
    able = [side for side in SIDES if sides <= {side, None}]
    kept = [side for side in able if _keeps(scene.effects.program, policy, side)]
    for side in kept or able:
        edit = source.edit(decl.pattern.end, decl.pattern.end, f" at {side}")
        yield Fix(f"Say `at {side}`", (edit,), by_hand=True)


def _keeps(program: Program, policy: Policy, side: Side) -> bool:
    """Whether the dataplanes of the mesh can ask, at a side, what a policy asks of states."""
    able = {name for d in program.dataplanes.values() for (_, name), s in d.conditions.items() if side in s.sides}
    asked = (atoms(all_of(policy.when, call.guard)) for call in policy.calls)
    return all(a.condition in able for found in asked for a in found if isinstance(a, StateAtom))


def _calls(body: Iterable[t.Statement]) -> Iterator[t.CallExpr]:
    for statement in body:
        match statement:
            case t.CallStatement(call=call):
                yield call
            case t.IfStatement(then=then, otherwise=otherwise):
                yield from _calls(then)
                yield from _calls(otherwise)


def reserved(scene: Scene) -> Iterator[Fix]:
    """The clause that has no meaning yet goes."""
    source, decl, place = scene.source, scene.decl, scene.problem.place
    if source is None:
        return
    extends = isinstance(decl, t.MeshDecl) and decl.extends is not None and decl.extends.start == place.start
    if extends or (isinstance(decl, t.PolicyDecl) and any(d.start == place.start for d in decl.during)):
        word = source.before(place.start)
        yield Fix(f"Leave out `{word.text}`", source.cut_clause(word.start, place.end))


def bad_annotation(scene: Scene) -> Iterator[Fix]:
    """An annotation that says nothing goes, where it is not one that only lacks something."""
    source, problem = scene.source, scene.problem
    if source is None or problem.fixes:
        return
    start, end = problem.place.start, problem.place.end
    text = source.text[start:end]
    twice = problem.related[0].place if problem.related else None
    if twice is not None or problem.about == "unknown":
        same = twice is not None and source.text[twice.start : twice.end] == text
        yield Fix(f"Leave out `{text}`", source.cut_statement(start, end), by_hand=not same)


def connection_pattern(scene: Scene) -> Iterator[Fix]:
    """Any caller of the service at the end; if the pattern said more than that, only who asks for it gets it."""
    source, decl = scene.source, scene.decl
    if source is None or not isinstance(decl, t.PolicyDecl):
        return
    *before, last = decl.pattern.steps
    if last.star:
        return
    text = f"? -> {source.text[last.start : last.end]}"
    said = decl.pattern.outside or any(not (s.star and isinstance(s.one, t.PAny)) for s in before)
    edit = source.edit(decl.pattern.start, last.start, "? -> ")
    yield Fix(f"Change the pattern to `{text}`", (edit,), by_hand=said)


def type_mismatch(scene: Scene) -> Iterator[Fix]:
    """A policy of another entity is nobody to order oneself by; a value may fit its domain in the other case."""
    source, decl, place = scene.source, scene.decl, scene.problem.place
    if source is None or not isinstance(decl, t.PolicyDecl):
        return
    for name in (*decl.overrides, *decl.after):
        if (name.start, name.end) == (place.start, place.end):
            yield Fix(f"Leave out `{name.text}`", source.remove_listed(name.start, name.end))
    call = next((c for c in _calls(decl.body) if (c.start, c.end) == (place.start, place.end)), None)
    if call is not None and scene.problem.policies and scene.effects is not None:
        checked = scene.effects.policies[scene.problem.policies[0]]
        of = next((c for c in checked.calls if c.place == place), None)
        if of is not None:
            yield from _other_case(scene, source, call, of)


def _other_case(scene: Scene, source: Source, call: t.CallExpr, checked: OpCall) -> Iterator[Fix]:
    assert scene.program is not None  # noqa: S101 - the caller has its policy
    for write in checked.writes:
        domain = scene.program.attribute(write.attr).type.domain
        if domain is None or not isinstance(write.value, str) or regex_matches(domain, write.value):
            continue
        other = next((v for v in (write.value.upper(), write.value.lower()) if regex_matches(domain, v)), None)
        literal = next((a for _, a in call.args if isinstance(a, t.Lit) and a.value == write.value), None)
        if other is not None and literal is not None:
            new = words.quoted(other)
            yield Fix(f"Change to `{new}`", (source.edit(literal.start, literal.end, new),))


# --- names that are taken ---------------------------------------------------------------------------------------------

_RENAMED = t.PolicyDecl | t.StateDecl | t.SpecDecl | t.EnumDecl | t.EntityDecl | t.StateEntityDecl


def duplicate_name(scene: Scene) -> Iterator[Fix]:
    """Another name for the second one; what is said twice in one declaration goes, if it is sure what to keep."""
    source, decl, place = scene.source, scene.decl, scene.problem.place
    if source is None:
        return
    if isinstance(decl, _RENAMED) and decl.name.start == place.start:
        taken = {project.named(r) for r in project.all_decls(scene.db)}
        yield _renaming(source, decl.name, taken)
    elif isinstance(decl, t.MeshDecl):
        group = next((g for g, _ in decl.groups if g.start == place.start), None)
        if group is not None:
            yield _renaming(source, group, {g.text for g, _ in decl.groups})
        elif any(g.start == place.start for g in decl.graphs):
            edits = source.cut_statement(source.before(place.start).start, source.after(place.end).end)
            yield Fix("Remove the second graph", edits, by_hand=True)
        else:
            yield from _twice_in_mesh(source, decl, place)
    elif isinstance(decl, t.PolicyDecl):
        sides = [s for s in decl.sides if s.start == place.start]
        if sides:
            edits = source.cut_clause(source.before(place.start).start, place.end)
            same = sides[0].text == decl.sides[0].text
            yield Fix(f"Leave out the second `at {sides[0].text}`", edits, by_hand=not same)
        for call in _calls(decl.body):
            for name, argument in call.args:
                if argument.start == place.start:
                    edits = source.remove_listed(name.start if name else argument.start, argument.end)
                    yield Fix("Remove the second value", edits, by_hand=True)


def _twice_in_mesh(source: Source, decl: t.MeshDecl, place: Place) -> Iterator[Fix]:
    """The second one goes. Of two costs only the author knows which one is meant."""
    entries: list[t.Name | t.Str] = [*decl.dataplanes, *decl.propagate]
    entries += [member for _, members in decl.groups for member in members]
    if any(entry.start == place.start for entry in entries):
        text = source.text[place.start : place.end]
        yield Fix(f"Leave out the second `{text}`", source.remove_listed(place.start, place.end))
        return
    clauses = [*((s, "place") for s, _, _ in decl.places), *((d, "cost") for d, _, _ in decl.costs)]
    for name, word in clauses:
        if name.start == place.start:
            end = source.after(name.end)
            while end.text not in (";", ""):
                end = source.after(end.end)
            edits = source.cut_statement(source.before(name.start).start, end.end)
            yield Fix(f"Remove the second `{word}`", edits, by_hand=word == "cost")


def _renaming(source: Source, name: t.Name, taken: set[str]) -> Fix:
    number = 2
    while (new := f"{name.text}_{number}") in taken:
        number += 1
    return Fix(f"Rename it to `{new}`", (source.edit(name.start, name.end, words.name(new)),))


# --- versions ---------------------------------------------------------------------------------------------------------


def unknown_version(scene: Scene) -> Iterator[Fix]:
    """The version of the service that the call does not name yet, if there is one like it, or only one."""
    source, decl, witness = scene.source, scene.decl, scene.problem.witness
    if source is None or witness is None or not isinstance(decl, t.PolicyDecl) or scene.program is None:
        return
    place = scene.problem.place
    service = scene.program.graph.services.get(witness.hop[1])
    call = next((c for c in _calls(decl.body) if (c.start, c.end) == (place.start, place.end)), None)
    if service is None or call is None:
        return
    named = _versions(call)
    wrong = [n for n in named if n.text == scene.problem.about]
    free = [v for v in service.versions if v not in {n.text for n in named}]
    near = nearest(scene.problem.about, free) or (free[0] if len(free) == 1 else None)
    if near is not None and len(wrong) == 1:
        edit = Edit(Place(place.file, place.decl, wrong[0].start, wrong[0].end), _as_written(source, wrong[0], near))
        yield Fix(f"Change to `{near}`", (edit,))


def _versions(call: t.CallExpr) -> list[t.Name]:
    """The names in the arguments of a call that may be versions."""
    found: list[t.Name] = []
    for _, argument in call.args:
        match argument:
            case t.MapLit(pairs=pairs):
                found += [key for key, _ in pairs]
            case t.Lit(kind="string", value=str(text), start=start, end=end):
                found.append(t.Name(text, start, end))
    return found


def _as_written(source: Source, old: t.Name, new: str) -> str:
    return words.quoted(new) if source.text[old.start] == '"' else words.service(new)
