"""A wrong and a right program for each diagnostic, from `examples.md` beside this file: text, so that no name of a spec
stands in the compiler's own code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

GRAPH_FILE = "graph.yaml"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
_NAMED = re.compile(r"^(?://|#) file: (\S+)$", re.M)


@dataclass(frozen=True, slots=True)
class Example:
    """Two programs, each the fenced Markdown blocks as they are shown."""

    wrong: str
    right: str


@cache
def _sections() -> dict[str, str]:
    text = files(__package__).joinpath("examples.md").read_text("utf-8")
    _, *parts = re.split(r"^## (.+)$", text, flags=re.M)
    return {name.strip(): body for name, body in zip(parts[::2], parts[1::2], strict=True)}


def example(code: str) -> Example | None:
    """The example of a code, None if it has none (what is wrong is not in the text of a program then)."""
    body = _sections().get(code)
    if body is None:
        return None
    _, wrong, right = re.split(r"^### (?:wrong|right)$", body, flags=re.M)
    return Example(wrong.strip(), right.strip())


def setting() -> str:
    """The mesh and the graph that all examples share, as Markdown; an example's own ones stand in their place."""
    return _sections()["setting"].strip()


def workspace_files(shown: str) -> dict[str, str]:
    """The files of a workspace that holds one program: its blocks, and of the setting what they do not replace.

    A block's first line may name its file (`// file: shop.m4`); without it YAML is the graph, and M4 is `policies.m4`.
    """
    out: dict[str, str] = {}
    for markdown in (setting(), shown):
        for language, text in _BLOCK.findall(markdown):
            named = _NAMED.match(text)
            default = GRAPH_FILE if language == "yaml" else "policies.m4"
            out[named.group(1) if named else default] = text
    return out
