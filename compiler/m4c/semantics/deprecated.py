"""What is deprecated: a declaration whose documentation has a paragraph that begins with `Deprecated:`, as in Go."""

from __future__ import annotations

import re

from m4c.semantics.model import Place
from m4c.semantics.problems import Problem, Related

_SAID = re.compile(r"(?:\A|\n[ \t]*\n)[ \t]*Deprecated:[ \t]*([^\n]*(?:\n[ \t]*[^\s][^\n]*)*)")


def deprecation(doc: str) -> str | None:
    """What the documentation says to do instead; None if it does not say that what it documents is deprecated."""
    found = _SAID.search(doc) if "Deprecated:" in doc else None
    return None if found is None else " ".join(found[1].split())


def use_of(name: str, doc: str, declared: Place | None, place: Place) -> tuple[Problem, ...]:
    """What to say of a use: nothing, unless what is used is deprecated."""
    said = deprecation(doc)
    if said is None:
        return ()
    related = () if declared is None else (Related(declared, "declared here"),)
    return (Problem("deprecated", f"`{name}` is deprecated" + (f": {said}" if said else ""), place, related),)
