"""The formats that a service graph can be imported from, and the import itself: inputs in, a graph and remarks out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from m4c.graph import compose, jaeger, kiali, kubernetes, native
from m4c.graph.documents import Input, Malformed, Remark, Value, decode, read
from m4c.graph.imported import NOTHING_SAID, Imported, Options, graph_of, listed, merged
from m4c.semantics.model import Graph


@dataclass(frozen=True, slots=True)
class Importer:
    """One format. `imported` takes all documents of the format together, for they speak of each other."""

    title: str
    recognises: Callable[[Value], bool]
    imported: Callable[[Sequence[Value], Options], Imported]


FORMATS: Mapping[str, Importer] = {
    name: Importer(m.TITLE, m.recognises, m.imported)
    for name, m in (
        ("kubernetes", kubernetes),
        ("compose", compose),
        ("jaeger", jaeger),
        ("kiali", kiali),
        ("m4", native),
    )
}
# What the text of a manifest or a Compose file has, even where it cannot be read.
_LIKELY = re.compile(r"^\s*[\"']?(?:apiVersion|services)[\"']?\s*:", re.M)
_TEMPLATE = re.compile(r"\{\{-?\s*(?:\.|if|include|range|template|with)\b|\{\{-?\s*[.$]\w")
_HINT = ". It looks like a template: import what `helm template` makes of it"
_ORDER = ("kubernetes", "m4", "compose", "kiali", "jaeger")  # the narrowest first


@dataclass(frozen=True, slots=True)
class Result:
    """An import. There is a graph only if there are no problems."""

    graph: Graph | None
    notes: tuple[Remark, ...] = ()  # what was guessed or left out
    guesses: tuple[Remark, ...] = ()  # those notes that a reader of the graph should see as well
    problems: tuple[Remark, ...] = ()
    used: tuple[tuple[str, tuple[str, ...]], ...] = ()  # the formats, each with the inputs that are of it


def format_of(documents: Iterable[Value]) -> str | None:
    """The format of a text, by its first document that is of any."""
    for document in documents:
        for name in _ORDER:
            try:
                if FORMATS[name].recognises(document):
                    return name
            except Malformed:
                continue
    return None


@dataclass(slots=True)
class _Sorted:
    """Inputs, sorted by format."""

    documents: dict[str, list[Value]] = field(default_factory=dict)
    used: dict[str, list[str]] = field(default_factory=dict)
    passed: dict[str, list[str]] = field(default_factory=dict)  # the names of those that are left out, by the reason
    templates: set[str] = field(default_factory=set)
    notes: list[Remark] = field(default_factory=list)
    problems: list[Remark] = field(default_factory=list)

    def left_out(self, why: str, given: Input) -> None:
        self.passed.setdefault(why, []).append(given.name)


def import_graph(inputs: Sequence[Input], options: Options = NOTHING_SAID, form: str | None = None) -> Result:
    """Imports inputs as one graph, each in the format that it is in, or all in the one that is given. Never raises.

    Of what was found in a folder, the texts of no format are left out, those that cannot be read unless they look like
    manifests, and graphs of M4, which may be what an earlier import has written.
    """
    found = _Sorted()
    for given in inputs:
        _sort(given, form, found)
    whole = merged(
        [(_called(name, found.used[name]), _imported(name, some, options)) for name, some in found.documents.items()]
    )
    graph, guesses, wrong = graph_of(whole)
    problems = [*found.problems, *dict.fromkeys(whole.problems)] or list(wrong)
    left_out = [Remark("", 0, f"left out, for {why}: {listed(names)}") for why, names in sorted(found.passed.items())]
    return Result(
        None if problems else graph,
        (*found.notes, *left_out, *whole.notes, *guesses),
        guesses,
        tuple(replace(p, message=p.message + _HINT) if p.file in found.templates else p for p in problems),
        tuple((name, tuple(names)) for name, names in found.used.items()),
    )


def _sort(given: Input, form: str | None, found: _Sorted) -> None:
    """Puts an input to those of its format, or says why it is left out."""
    text, documents, unreadable = "", [], None
    try:
        text = decode(given.name, given.data)
        documents = read(given.name, text)
    except Malformed as e:
        unreadable = e.remark
    if _TEMPLATE.search(text):
        found.templates.add(given.name)
    name = form if form and given.asked else format_of(documents)
    if documents and name is not None and (given.asked or (name != "m4" and name == (form or name))):
        found.documents.setdefault(name, []).extend(documents)
        found.used.setdefault(name, []).append(given.name)
    elif given.asked:
        if documents:
            message = f"is of no known format; `--from` says what to read it as: {', '.join(FORMATS)}"
            found.problems.append(Remark(given.name, documents[0].line, message))
        else:
            found.problems.append(unreadable or Remark(given.name, 0, "is empty"))
    elif name is None and given.name in found.templates:
        found.left_out("they look like templates: import what `helm template` makes of them", given)
    elif unreadable is not None:
        (found.problems if _LIKELY.search(text) else found.notes).append(unreadable)
    elif documents:
        own = "a graph of M4 is taken only if it is named itself"
        found.left_out("they are of no known format" if name is None else own if name == "m4" else _is(name), given)


def _imported(name: str, documents: Sequence[Value], options: Options) -> Imported:
    try:
        return FORMATS[name].imported(documents, options)
    except Malformed as e:
        return Imported({}, {}, problems=(e.remark,))


def _called(name: str, texts: Sequence[str]) -> str:
    return f"`{texts[0]}`" if len(texts) == 1 else f"the {FORMATS[name].title}"


def _is(name: str) -> str:
    return f"they are {FORMATS[name].title}"
