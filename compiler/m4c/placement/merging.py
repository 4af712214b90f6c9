"""Merges that an element cannot do: it runs operations, and none of them writes what several together come to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from m4c.placement.athop import AtHop
from m4c.semantics.model import STATE, AttrKey, Cond, OpCall, Policy, Value, Write, all_of


def unmergeable(here: AtHop, policy: Policy, call: OpCall, possible: Callable[[Cond], bool]) -> str | None:
    """Why the merged result of a policy's call and others is no single operation's; None if it is."""
    if call.entity.startswith(STATE):
        return None  # a state adds up what it is told, one after the other
    merges = {w.attr: here.program.attribute(w.attr).merge for w in call.writes}
    if not any(merges.values()):
        return None
    about: dict[tuple[Write, ...], AttrKey] = {}  # what is no single operation's beside this, by what others write
    for writes in here.written_beside(call):
        theirs = {w.attr: w.value for w in writes}
        differing = [w for w in call.writes if w.attr in theirs and theirs[w.attr] != w.value and merges[w.attr]]
        beaten = [w for w in differing if here.beats(theirs[w.attr], w)]
        mixed = [w for w in differing if merges[w.attr] == "sum" or (w not in beaten and _mixes(here, w, theirs))]
        kept = [w for w in call.writes if w not in beaten and theirs.get(w.attr) != w.value]
        if mixed or (beaten and kept):
            about[writes] = (mixed or kept)[0].attr
    for other_policy, other in here.beside(policy, call) if about else ():
        both = all_of(here.left(policy, call), here.left(other_policy, other))
        if other.writes in about and possible(both):
            return (
                f"no single operation has the merged result of this and {other_policy.name}'s "
                f"(of {about[other.writes]})"
            )
    return None


def _mixes(here: AtHop, write: Write, theirs: Mapping[AttrKey, Value]) -> bool:
    """Whether a set that is written shares elements with another call's and neither holds the other."""
    mine, other = write.value, theirs[write.attr]
    if here.program.attribute(write.attr).merge != "union" or not isinstance(mine, tuple):
        return False
    return isinstance(other, tuple) and bool(set(mine) & set(other)) and not set(mine) > set(other)
