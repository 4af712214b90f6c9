"""Takes a graph of our own as an input, so that what people add by hand stays when the rest is imported anew."""

from __future__ import annotations

from collections.abc import Sequence

from m4c.graph.documents import Remark, Value
from m4c.graph.imported import Draft, Imported, Known, Options
from m4c.graph.load import KEYS, NOTES, load_graph
from m4c.semantics.model import Service

TITLE = "graphs of M4"


def recognises(document: Value) -> bool:
    if (
        not document.is_map
        or not set(document.fields()) <= {"services", "calls"}
        or not document.get("services").is_map
    ):
        return False
    services = document.get("services").fields().values()
    return all(s.absent or (s.is_map and set(s.fields()) <= set(KEYS)) for s in services)


def imported(documents: Sequence[Value], options: Options) -> Imported:
    """What the files say; what they leave to be assumed is not known."""
    draft = Draft()
    for document in documents:
        text, file = document.source.text, document.source.file
        loaded = load_graph(text, file)
        draft.problems += [
            Remark(file, text.count("\n", 0, p.place.start) + 1, p.message)
            for p in loaded.problems
            if p.code not in NOTES
        ]
        if loaded.graph is None:
            continue
        said = dict(loaded.said)
        for name, service in loaded.graph.services.items():
            draft.service(name, _known(service, said.get(name, frozenset())))
        for call in loaded.graph.calls:
            draft.call(call.caller, call.callee, call.rps)
    return draft.done()


def _known(service: Service, said: frozenset[str]) -> Known:
    return Known(
        service.versions,
        service.labels,
        service.protocol if "protocol" in said else None,
        service.entry if "entry" in said else None,
        service.trusted,
        service.origin if "origin" in said else None,
        service.propagates if "propagates" in said else None,
        service.external if "external" in said else None,
        service.rps,
    )
