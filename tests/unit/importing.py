"""Imports texts as service graphs, for the tests of the importers."""

from __future__ import annotations

import textwrap

from m4c.graph.documents import Input
from m4c.graph.imported import NOTHING_SAID, Options
from m4c.graph.importers import Result, import_graph
from m4c.graph.load import load_graph
from m4c.graph.write import write_graph
from m4c.semantics.model import Graph


def run(*texts: str, options: Options = NOTHING_SAID, form: str | None = None) -> Result:
    """Imports texts, which are called a, b, …"""
    inputs = [Input(chr(97 + i), textwrap.dedent(text).encode()) for i, text in enumerate(texts)]
    return import_graph(inputs, options, form)


def graph(*texts: str, options: Options = NOTHING_SAID) -> Graph:
    """The graph that texts give without any problem; it reads back from its file as it is."""
    result = run(*texts, options=options)
    assert result.problems == ()
    assert result.graph is not None
    loaded = load_graph(write_graph(result.graph), "g.yaml")
    assert loaded.problems == ()
    assert loaded.graph == result.graph
    return result.graph


def calls(found: Graph) -> list[str]:
    return [f"{c.caller}->{c.callee}" for c in found.calls]


def rates(found: Graph) -> dict[str, float | None]:
    return {f"{c.caller}->{c.callee}": c.rps for c in found.calls}


def entries(found: Graph) -> list[str]:
    return [s.name for s in found.services.values() if s.entry]


def notes(*texts: str) -> list[str]:
    return [str(n) for n in run(*texts).notes]
