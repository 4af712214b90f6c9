"""What can be told of a template without running it: that it is none, or that it looks up what nothing gives it.

Jinja2 parses it, and compiles it to the text of a Python program, which is not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from m4c.backends.render import environment_for
from m4c.placement.elements import ELEMENT

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import SandboxedEnvironment

GIVEN = (*ELEMENT, "wiring")  # what `render` gives the templates of an element


@dataclass(frozen=True, slots=True)
class Fault:
    """A mistake in a template: offsets in code points."""

    message: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Template:
    """A template as it stands. `asks_for`: the templates that it imports or includes by their names; `sets`: the names
    that it gives values itself, of which a template that it asks for may know; `looks_up`: where it looks up others
    first, but for those of which it asks whether they are there. If it is no template, only `broken` says something."""

    asks_for: tuple[str, ...] = ()
    sets: frozenset[str] = frozenset()
    looks_up: tuple[tuple[str, int, int], ...] = ()
    broken: tuple[Fault, ...] = ()

    def faults(self, given: Set[str]) -> tuple[Fault, ...]:
        """The mistakes in it, if it gets these variables."""
        unknown = (Fault(_unknown(name, given), a, b) for name, a, b in self.looks_up if name not in given)
        return (*self.broken, *unknown)


def read_template(text: str) -> Template:
    """Reads a template. Never fails."""
    from jinja2 import TemplateSyntaxError, meta, nodes

    environment = _environment()
    try:
        tree = environment.parse(text)
        environment.compile(text, raw=True)  # finds filters and tests that are not there
        free = meta.find_undeclared_variables(tree) - environment.globals.keys()
    except TemplateSyntaxError as e:
        return Template(broken=(Fault(f"the template is broken: {e.message}", *line_of(text, e.lineno)),))
    except RecursionError:
        return Template(broken=(Fault("the template is nested too deeply", *line_of(text, 1)),))
    asked = [t.node for t in tree.find_all(nodes.Test) if t.name in ("defined", "undefined")]
    asked += [f.node for f in tree.find_all(nodes.Filter) if f.node is not None and f.name in ("default", "d")]
    names = list(tree.find_all(nodes.Name))
    sets = {n.name for n in names if n.ctx in ("store", "param")} | {m.name for m in tree.find_all(nodes.Macro)}
    # What is set in one branch only counts as free in the others, but may well have a value wherever it is looked up.
    free -= sets | {n.name for n in asked if isinstance(n, nodes.Name)}
    asks_for = (name for name in meta.find_referenced_templates(tree) if name is not None)
    return Template(tuple(dict.fromkeys(asks_for)), frozenset(sets), tuple(_looked_up(text, names, free)))


@cache
def _environment() -> SandboxedEnvironment:
    """As templates are rendered in, but it finds no file."""
    return environment_for(None)


def _looked_up(text: str, names: list[nodes.Name], free: set[str]) -> Iterator[tuple[str, int, int]]:
    seen: set[str] = set()
    for node in sorted(names, key=lambda n: n.lineno):
        if node.ctx == "load" and node.name in free and node.name not in seen:
            seen.add(node.name)
            yield node.name, *_name(text, node.lineno, node.name)


def _unknown(name: str, given: Set[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(given), 1)
    hint = f"; did you mean `{near[0]}`?" if near else f": {', '.join(f'`{g}`' for g in GIVEN)} are what it gets"
    return f"nothing gives this template `{name}`{hint}"


def line_of(text: str, number: int) -> tuple[int, int]:
    """The offsets of a line, from 1, without the space around it."""
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+", text) or [""]
    at = min(max(number, 1), len(lines)) - 1
    start = sum(map(len, lines[:at]))
    shown = lines[at].strip()
    start += lines[at].find(shown)
    return start, start + len(shown)


def _name(text: str, number: int, name: str) -> tuple[int, int]:
    """The offsets of a name that is on a line, or below it where an expression has several."""
    start, end = line_of(text, number)
    found = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)").search(text, start)
    return found.span() if found else (start, end)
