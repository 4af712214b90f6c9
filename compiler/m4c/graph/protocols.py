"""Protocols that were most likely meant to be others: any name may stand in a graph, so only slips are told.

A service that speaks what nobody knows is no mistake by itself (every dataplane lets what is sent to it pass by), so
what is warned of has to be sure: `htp`, `gprc`, `HTTP`, `mongodb` where specs name `http`, `grpc` and `mongo`, but not
`mssql` for `mysql`, nor `http3`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from m4c.graph.load import LoadedGraph, scalar
from m4c.semantics.problems import Edit, Fix, Problem, nearest

_LONG = 4  # letters of a name, from which on another one that begins with it was likely meant to be it


def unknown_protocols(loaded: LoadedGraph, known: Iterable[str]) -> Iterator[Problem]:
    """`unknown-protocol`: what a service speaks is nearly a name of `known`, those that specs name."""
    names = frozenset(known)
    for service, protocol, place in loaded.protocols_at:
        near = None if protocol in names else nearest(protocol, [n for n in names if _slip(protocol, n)])
        if near is not None:
            message = (
                f"`{service}` speaks `{protocol}`, which no spec names, so every dataplane lets what is sent there "
                f"pass by; did you mean `{near}`?"
            )
            fix = Fix(f"Change to `{near}`", (Edit(place, scalar(near)),), by_hand=True)
            yield Problem("unknown-protocol", message, place, fixes=(fix,))


def _slip(written: str, name: str) -> bool:
    """Whether a name was written in another case, with a letter too many or too few, with two letters swapped, or with
    letters behind it. A digit more or less is another protocol, and so may one with another letter be."""
    a, b = written.lower(), name.lower()
    if a == b:
        return True
    if len(a) == len(b):
        return any(a == b[:i] + b[i + 1] + b[i] + b[i + 2 :] for i in range(len(b) - 1))
    if len(b) >= _LONG and a.startswith(b):
        return not any(c.isdigit() for c in a[len(b) :])
    short, long = sorted((a, b), key=len)
    return len(long) == len(short) + 1 and any(
        short == long[:i] + long[i + 1 :] and not long[i].isdigit() for i in range(len(long))
    )
