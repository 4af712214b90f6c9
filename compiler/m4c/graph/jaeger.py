"""Reads a service graph off what Jaeger's `/api/dependencies` answers: which service called which, and how often.

The answer does not say over what time the calls were counted. If the user does, the counts become rates; else they are
left out. Of several answers the rate is the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

from m4c.graph.documents import Malformed, Value
from m4c.graph.imported import Draft, Imported, Options

TITLE = "Jaeger dependencies"


def recognises(document: Value) -> bool:
    links = document.get("data") if document.is_map else document
    if not links.is_list:
        return document.is_map and links.absent and document.get("errors").is_list
    return all(i.is_map and i.get("parent").is_text and i.get("child").is_text for i in links.items()[:10]) and (
        bool(links.items()) or document.is_map
    )


def imported(documents: Sequence[Value], options: Options) -> Imported:
    draft = Draft()
    counted = False
    for document in documents:
        try:
            counted |= _read(document, options.period and options.period * len(documents), draft)
        except Malformed as e:
            draft.problems.append(e.remark)
    if counted and options.period is None:
        draft.note(None, "the numbers of calls are left out: `--period 1h` says over what time Jaeger counted them")
    draft.rounded()
    return draft.done()


def _read(document: Value, period: float | None, draft: Draft) -> bool:
    """Adds the links of one answer; whether it has counts."""
    if document.is_map:
        for error in document.get("errors").items():
            raise error.malformed(f"Jaeger answered with an error: {error.get('msg').text()}")
    counted = False
    links = document.get("data") if document.is_map else document
    if links.absent:
        raise links.wrong("the list of the dependencies")
    for link in links.items():
        ends = [link.get("parent"), link.get("child")]
        for end in ends:
            if not end.text():
                raise end.wrong("the name of a service")
            draft.service(end.text())
        caller, callee = (end.text() for end in ends)
        rps = None
        if not link.get("callCount").absent:
            counted = True
            rps = link.get("callCount").amount() / period if period else None
        if caller == callee:
            draft.note(link, f"`{caller}` follows itself: that is left out, for spans inside one service look the same")
        else:
            draft.call(caller, callee, rps)
    return counted
