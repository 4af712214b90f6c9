"""Annotations that say nothing: names that nobody asks for, arguments that do not fit, and what is said twice.

They change nothing of what a program means, so they are warnings. Wrong names at entities, at attributes and at what a
spec supports do, for there analyses go by them; those are errors, which `schema.py` reports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from m4c.semantics.model import Place
from m4c.semantics.problems import Edit, Fix, Problem, Related, nearest
from m4c.semantics.roles import ENTITY_ROLES, OWNER, POLICY_ROLES, WITH_ARGUMENTS
from m4c.semantics.values import Scope
from m4c.syntax import tree as t
from m4c.syntax import words

Annotated = (
    t.PolicyDecl | t.MeshDecl | t.SpecDecl | t.EntityDecl | t.StateEntityDecl | t.EnumDecl | t.StateDecl | t.TestDecl
)
_ENTITY, _SUPPORTED = "an entity", "what a spec supports"
_NONE: Mapping[str, str] = {}


def check_annotations(decl: Annotated, file: str, key: str) -> tuple[Problem, ...]:
    """`bad-annotation`, for a declaration and all that is declared in it."""
    scope = Scope(file, key)
    return tuple(p for what, of, known in _annotated(decl) for p in _check(what, of, known, scope))


def owner_of(decl: t.PolicyDecl) -> str | None:
    """Who is asked about a policy; None if it does not say."""
    texts = (_text(a) for a in decl.annotations if a.name.text == OWNER)
    return next((text for text in texts if text), None)


def _annotated(decl: Annotated) -> Iterator[tuple[str, tuple[t.Annotation, ...], Mapping[str, str] | None]]:
    """What has annotations, and those that it can have; None where somebody else looks at their names."""
    match decl:
        case t.PolicyDecl():
            yield "a policy", decl.annotations, POLICY_ROLES
        case t.MeshDecl():
            yield "a mesh", decl.annotations, _NONE
        case t.StateDecl():
            yield "a state", decl.annotations, _NONE
        case t.TestDecl():
            yield "a test", decl.annotations, _NONE
        case t.EnumDecl():
            yield "an enum", decl.annotations, _NONE
        case t.EntityDecl() | t.StateEntityDecl():
            kept = isinstance(decl, t.StateEntityDecl)
            yield ("a kind of states", decl.annotations, _NONE) if kept else (_ENTITY, decl.annotations, None)
            for attribute in decl.attributes:
                yield "an attribute", attribute.annotations, None
            for operation in decl.operations:
                yield "an operation of an entity", operation.annotations, _NONE
            for condition in decl.conditions if isinstance(decl, t.StateEntityDecl) else ():
                yield "a condition of a kind of states", condition.annotations, _NONE
        case t.SpecDecl():
            yield "a spec", decl.annotations, _NONE
            for inner in (*decl.entities, *decl.enums):
                yield from _annotated(inner)
            for supports in decl.supports:
                for attribute in supports.attributes:
                    yield "an attribute", attribute.annotations, None
                for operation in supports.operations:
                    yield _SUPPORTED, operation.annotations, None
                for condition in supports.conditions:
                    yield _SUPPORTED, condition.annotations, None


def _check(
    what: str, annotations: tuple[t.Annotation, ...], known: Mapping[str, str] | None, scope: Scope
) -> Iterator[Problem]:
    first: dict[str, t.Annotation] = {}
    for a in annotations:
        name, place = a.name.text, scope.at(a)
        if known is not None and name not in known:
            yield _unknown(what, a, known, scope)
        elif first.setdefault(name, a) is not a:
            related = (Related(scope.at(first[name]), "the first one"),)
            yield Problem("bad-annotation", f"`@{name}` is said twice, and the first one counts", place, related)
        elif name == OWNER:
            yield from _owner(a, scope)
        elif name not in WITH_ARGUMENTS and a.args:
            fix = Fix(f"Change to `@{name}`", (Edit(place, f"@{name}"),))
            yield Problem(
                "bad-annotation", f"`@{name}` takes no argument; what is given says nothing", place, fixes=(fix,)
            )
        elif what == _ENTITY and name in ENTITY_ROLES and name in WITH_ARGUMENTS and not a.args:
            message = f'`@{name}` says nothing without the names of attributes, as in `@{name}("…")`'
            yield Problem("bad-annotation", message, place)


def _unknown(what: str, a: t.Annotation, known: Mapping[str, str], scope: Scope) -> Problem:
    name, place = a.name.text, scope.at(a)
    if not known:
        there = "; it is one of policies" if name in POLICY_ROLES else ""
        return Problem(
            "bad-annotation", f"{what} has no annotations, so `@{name}` says nothing{there}", place, about="unknown"
        )
    near = nearest(name, known)
    hint = f"did you mean `@{near}`?" if near else f"there is {' and '.join(f'`@{n}`' for n in known)}"
    fixes = (Fix(f"Change to `{near}`", (Edit(scope.at(a.name), near),)),) if near else ()
    message = f"{what} has no annotation `@{name}`, so it says nothing; {hint}"
    return Problem("bad-annotation", message, place, fixes=fixes, about="unknown")


def _owner(a: t.Annotation, scope: Scope) -> Iterator[Problem]:
    """One text that is not empty: who is asked."""
    place, example = scope.at(a), f'`@{OWNER}("checkout")`'
    if len(a.args) > 1:
        fixes: tuple[Fix, ...] = ()
        if _text(a):
            cut = Edit(Place(place.file, place.decl, a.args[0].end, a.args[-1].end), "")
            fixes = (Fix("Leave out all but the first", (cut,), by_hand=True),)
        message = f"`@{OWNER}` takes one name, as in {example}; the others say nothing"
        yield Problem("bad-annotation", message, place, fixes=fixes)
    elif not _text(a):
        given = a.args[0] if a.args else None
        plain = given if isinstance(given, t.Lit) and given.kind in ("int", "bool") else None
        value = str(plain.value).lower() if plain is not None else ""
        fixes = (
            (Fix(f"Change to `{words.quoted(value)}`", (Edit(scope.at(plain), words.quoted(value)),)),) if plain else ()
        )
        message = f"`@{OWNER}` needs the name of who is asked, as a text: {example}; so nobody owns this policy"
        yield Problem("bad-annotation", message, place, fixes=fixes)


def _text(a: t.Annotation) -> str:
    """The first argument, if it is a text."""
    first = a.args[0] if a.args else None
    return first.value if isinstance(first, t.Lit) and first.kind == "string" and isinstance(first.value, str) else ""
