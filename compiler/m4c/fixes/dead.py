"""Fixes for what has no effect: patterns without a call path, constant conditions, policies that change nothing."""

from __future__ import annotations

from collections.abc import Iterator

from m4c import project
from m4c.analysis.effects import Effects
from m4c.analysis.reachability import nearest_pattern, pattern_text
from m4c.fixes.scene import Scene, effects_of
from m4c.fixes.surgery import Piece, Source, indented
from m4c.semantics.labels import labels_in, nearest_label
from m4c.semantics.model import Labelled, NotOne, One, OneOf, Pattern, Step
from m4c.semantics.problems import Edit, Fix
from m4c.syntax import tree as t
from m4c.syntax import words


def dead_path(scene: Scene) -> Iterator[Fix]:
    """The nearest pattern that matches, or no such policy. Either makes the mesh do something else than it does now, or
    than the author wants, so neither is made unasked."""
    effects, source, decl = scene.effects, scene.source, scene.decl
    if isinstance(decl, t.MeshDecl):
        yield from _dead_default(scene, decl)
    if effects is None or source is None or not isinstance(decl, t.PolicyDecl):
        return
    policy = effects.policies[scene.problem.policies[0]]
    yield from _nearest(effects, source, decl.pattern, policy.pattern)
    yield Fix(f"Remove `{policy.name}`", scene.removed(policy.name), by_hand=True)


def _dead_default(scene: Scene, decl: t.MeshDecl) -> Iterator[Fix]:
    """The same for a default of the mesh."""
    source, place = scene.source, scene.problem.place
    checked = project.mesh(scene.db, decl.name.text)
    node = next((d for d in decl.defaults if d.start == place.start), None)
    default = next((d for d in checked.mesh.defaults if d.place == place), None) if checked is not None else None
    if source is None or node is None or default is None:
        return
    effects = effects_of(scene.db, decl.name.text, default.attr.entity)
    if effects is not None:
        yield from _nearest(effects, source, node.pattern, default.pattern)
    yield Fix("Remove this default", source.cut_statement(node.start, node.end), by_hand=True)


def _nearest(effects: Effects, source: Source, node: t.PatternNode, pattern: Pattern) -> Iterator[Fix]:
    """The labels that were most likely meant, and the nearest pattern that matches, if there is no comment in the one
    that is there."""
    labels = effects.program.graph.labels()
    for key, value in (label for step in node.steps for label in labels_in(step.one)):
        old, new = (key.text, value.text), nearest_label(key.text, value.text, labels)
        if old[1] in labels.get(old[0], ()) or new is None or not effects.ends(_relabelled(pattern, old, new)):
            continue
        wrong, name = (key, new[0]) if new[0] != old[0] else (value, new[1])
        edit = source.edit(wrong.start, wrong.end, words.service(name))
        yield Fix(f"Change to `{name}`", (edit,), by_hand=True)
    near = nearest_pattern(effects, pattern)
    if near is not None and not any(node.start <= c.start < node.end for c in source.comments):
        edit = source.edit(node.start, node.end, pattern_text(near))
        yield Fix(f"Change the pattern to `{pattern_text(near)}`", (edit,), by_hand=True)


def _relabelled(pattern: Pattern, old: tuple[str, str], new: tuple[str, str]) -> Pattern:
    """A pattern that asks for another label."""

    def one(x: One) -> One:
        match x:
            case Labelled(labels):
                return Labelled(tuple(new if label == old else label for label in labels))
            case OneOf(parts):
                return OneOf(tuple(map(one, parts)))
            case NotOne(inner):
                return NotOne(one(inner))
            case _:
                return x

    return Pattern(tuple(Step(one(s.one), s.star) for s in pattern.steps), pattern.outside)


def redundant(scene: Scene) -> Iterator[Fix]:
    """No such policy: without it everything is as it was."""
    name = scene.problem.policies[0]
    yield Fix(f"Remove `{name}`", scene.removed(name), meets=scene.meets(name))


def suppressed(scene: Scene) -> Iterator[Fix]:
    """No such operation, if what it writes is seen by nobody else: neither by policies that come after, nor by later
    hops, nor by what the policy overrides."""
    source, decl, place, effects = scene.source, scene.decl, scene.problem.place, scene.effects
    if source is None or not isinstance(decl, t.PolicyDecl) or effects is None:
        return
    name = decl.name.text
    policy = effects.policies[name]
    call = next(c for c in policy.calls if c.place == place)
    seen = any(name in effects.orders.after[p] or name in effects.orders.over[p] for p in effects.policies)
    if seen or any(effects.program.attribute(w.attr).travels for w in call.writes):
        return
    if len(policy.calls) == 1:
        return  # if nothing depended on it, it would be redundant
    edits = source.cut_statement(place.start, source.after(place.end).end)
    yield Fix(f"Remove this `{call.operation}`", edits, by_hand=True, meets=scene.meets(name))


# --- conditions -------------------------------------------------------------------------------------------------------


def dead_condition(scene: Scene) -> Iterator[Fix]:
    """A `when` or an `if` that always holds goes, what never happens goes with its condition.

    A condition that asks a state stays: the question itself may change the state.
    """
    source, decl, place = scene.source, scene.decl, scene.problem.place
    if source is None or not isinstance(decl, t.PolicyDecl):
        return
    holds = scene.problem.about == "always"
    if any(w.start == place.start for w in decl.whens):
        if not any(_asks(w) for w in decl.whens):
            yield _constant_when(scene, source, decl, holds)
        return
    found = next((s for s in _ifs(decl.body) if s.cond.start == place.start), None)
    if found is None or _asks(found.cond):
        return
    if not _calls(decl.body, found, holds):
        yield Fix(f"Remove `{decl.name.text}`, of which nothing is left", scene.removed(decl.name.text))
        return
    edits = _constant_if(source, decl, found, holds)
    if edits:
        title = "Leave out the condition" if holds else "Remove the branch that is never taken"
        yield Fix(title, edits, meets=scene.meets(decl.name.text))


def _constant_when(scene: Scene, source: Source, decl: t.PolicyDecl, holds: bool) -> Fix:
    name = decl.name.text
    if not holds:
        return Fix(f"Remove `{name}`, which never fires", scene.removed(name), meets=scene.meets(name))
    edits = [e for w in decl.whens for e in source.cut_clause(source.before(w.start).start, w.end)]
    return Fix("Leave out the condition", tuple(edits), meets=scene.meets(name))


def _asks(expr: t.Expr) -> bool:
    match expr:
        case t.Binary(left=left, right=right):
            return _asks(left) or _asks(right)
        case t.Unary(of=of):
            return _asks(of)
        case _:
            return isinstance(expr, t.CallExpr)


def _ifs(body: tuple[t.Statement, ...]) -> Iterator[t.IfStatement]:
    for statement in body:
        if isinstance(statement, t.IfStatement):
            yield statement
            yield from _ifs(statement.then)
            yield from _ifs(statement.otherwise)


def _calls(body: tuple[t.Statement, ...], dead: t.IfStatement, holds: bool) -> bool:
    """Whether a body still calls something when the dead branch of one `if` is gone."""
    for statement in body:
        match statement:
            case t.CallStatement():
                return True
            case t.IfStatement(then=then, otherwise=otherwise):
                kept = (then if holds else otherwise) if statement is dead else (*then, *otherwise)
                if _calls(kept, dead, holds):
                    return True
    return False


def _constant_if(source: Source, decl: t.PolicyDecl, found: t.IfStatement, holds: bool) -> tuple[Edit, ...]:
    """The `if` without its condition and the branch that is never taken; nothing if a `let` of it would then clash."""
    then = source.after(source.after(found.cond.end).end)  # the brace behind the `)`
    then_end = source.closing(then)
    other = source.after(then_end.end)
    has_else = other.text == "else" and other.start < found.end
    chained = source.before(found.start).text == "else"
    rest = source.after(other.end) if has_else else None  # the brace of the `else`, or the next `if`
    if not holds and rest is None:
        if chained:
            return source.cut_clause(source.before(found.start).start, found.end)
        return source.cut_statement(found.start, found.end)
    if not holds and rest is not None and (chained or rest.text == "if"):
        return (source.edit(found.start, rest.start, ""),)
    if holds and chained:
        return (
            *source.cut(found.start, then.start),
            *((source.edit(then_end.end, found.end, ""),) if has_else else ()),
        )
    kept, opening = (found.then, then) if holds else (found.otherwise, rest)
    if opening is None or _clashes(decl.body, kept):
        return ()
    return (source.edit(found.start, found.end, _unwrapped(source, found, opening)),)


def _unwrapped(source: Source, found: t.IfStatement, opening: Piece) -> str:
    """The inside of a block, at the depth of the statement that it was in."""
    start = found.start
    inner = source.text[opening.end : source.closing(opening).start]
    lead = len(inner) - len(inner.lstrip(" \t\r\n"))
    line = source.text.rfind("\n", 0, start) + 1
    first = opening.end + lead
    first_line = source.text.rfind("\n", 0, first) + 1
    depth = (first - first_line) - (start - line) if not source.text[first_line:first].strip() else 0
    text = indented(inner.strip(" \t\r\n"), max(depth, 0))
    following = source.text[found.end :].split("\n", 1)[0]
    return text + "\n" if "//" in text.split("\n")[-1] and following.strip() else text


def _clashes(body: tuple[t.Statement, ...], kept: tuple[t.Statement, ...]) -> bool:
    own = {s.name.text for s in kept if isinstance(s, t.LetStatement)}
    return any(name in own for name in _lets(body, kept))


def _lets(body: tuple[t.Statement, ...], without: tuple[t.Statement, ...]) -> Iterator[str]:
    if body == without:
        return
    for statement in body:
        match statement:
            case t.LetStatement(name=name):
                yield name.text
            case t.IfStatement(then=then, otherwise=otherwise):
                yield from _lets(then, without)
                yield from _lets(otherwise, without)
