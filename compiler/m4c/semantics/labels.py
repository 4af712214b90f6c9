"""Labels in patterns that no service of the graph has: such a step matches nothing, and `!` of it everything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from m4c.semantics.problems import Edit, Fix, Problem, nearest
from m4c.semantics.values import Scope
from m4c.syntax import tree as t
from m4c.syntax import words

_FEW = 6  # values that are listed where none is near


def unknown_labels(pattern: t.PatternNode, labels: Mapping[str, frozenset[str]], scope: Scope) -> Iterator[Problem]:
    """`unknown-label`. `labels`: the values of each label that services have. Where a step matches nothing for want of
    one, no call path matches the pattern, and `dead-path` says so with the label; it is not told twice."""
    if any(not step.star and _empty(step.one, labels) for step in pattern.steps):
        return
    for step in pattern.steps:
        for key, value in labels_in(step.one):
            if value.text not in labels.get(key.text, ()):
                yield _problem(key, value, labels, scope)


def nearest_label(key: str, value: str, labels: Mapping[str, frozenset[str]]) -> tuple[str, str] | None:
    """The label that one which no service has was most likely meant to be: with another value, or of another key."""
    if key in labels:
        near = nearest(value, labels[key])
        return None if near is None else (key, near)
    near = nearest(key, labels)
    return None if near is None else (near, value)


def labels_in(one: t.POne) -> Iterator[tuple[t.Name, t.Name]]:
    """The labels that a step asks for, each with its value."""
    match one:
        case t.PLabels(labels=labels):
            yield from labels
        case t.PAlt(of=parts):
            for part in parts:
                yield from labels_in(part)
        case t.PNot(of=inner):
            yield from labels_in(inner)


def _empty(one: t.POne, labels: Mapping[str, frozenset[str]]) -> bool:
    """Whether a step matches nothing for the labels that it asks for."""
    match one:
        case t.PLabels(labels=asked):
            return any(value.text not in labels.get(key.text, ()) for key, value in asked)
        case t.PAlt(of=parts):
            return all(_empty(part, labels) for part in parts)
        case _:
            return False


def _problem(key: t.Name, value: t.Name, labels: Mapping[str, frozenset[str]], scope: Scope) -> Problem:
    known = labels.get(key.text)
    wrong, there = (key, frozenset(labels)) if known is None else (value, known)
    label = nearest_label(key.text, value.text, labels)
    near = None if label is None else label[known is not None]
    if near is not None:
        hint = f"; did you mean `{near}`?"
    elif 0 < len(there) <= _FEW:
        listed = ", ".join(f"`{name}`" for name in sorted(there))
        hint = f"; there is {listed}" if known is None else f"; `{key.text}` is one of {listed}"
    else:
        hint = ""
    message = f"no service of the graph has the label `{key.text}: {value.text}`, so it selects none{hint}"
    fixes = (Fix(f"Change to `{near}`", (Edit(scope.at(wrong), words.service(near)),), by_hand=True),) if near else ()
    return Problem("unknown-label", message, scope.at(wrong), fixes=fixes)
