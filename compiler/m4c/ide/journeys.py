"""Where the context tag goes and what it says, in words: for the plan's text, for hover and hints."""

from __future__ import annotations

from collections.abc import Sequence

from m4c.ide.render import plural
from m4c.paths.callpath import Hop
from m4c.placement.assemble import shown
from m4c.placement.journey import Journey, Touch

SHOWN = 5  # places of one kind; of more the number is said


def said_of(journey: Journey, bits: int) -> list[str]:
    """Who writes the tag or a mark, along which hops it goes, who reads it and where it is stripped; a line each."""
    lines = []
    if journey.mark is not None:
        lines.append(as_tag(journey, bits))
    lines.append(_line("written", journey.writes))
    lines.append(_along(journey.along))
    lines.append(_line("read", journey.reads))
    lines.append(_line("stripped", journey.strips))
    return [line for line in lines if line]


def as_tag(journey: Journey, bits: int) -> str:
    """`tag 1 of 1 bit`: what says a mark where it has just been written."""
    tags = ", ".join(map(str, journey.tags[:SHOWN])) + (", …" if len(journey.tags) > SHOWN else "")
    return f"tag {tags} of {plural(bits, 'bit')}"


def at_service(journey: Journey, service: str) -> list[str]:
    """What is done to the tag at one service, a line each."""
    what = "the context tag" if journey.mark is None else str(journey.mark)
    kinds = (("writes", journey.writes), ("reads", journey.reads), ("strips", journey.strips))
    lines = []
    for verb, touches in kinds:
        hops = list(dict.fromkeys(shown(t.at.hop) for t in touches if t.at.service == service))
        if hops:
            lines.append(f"{verb} {what} on {_few(hops)}")
    return lines


def _line(verb: str, touches: Sequence[Touch]) -> str:
    said = []
    for touch in touches:
        why = f" for {_few(touch.policies)}" if touch.policies else ""
        said.append(f"at {touch.at.side} of {shown(touch.at.hop)} by {touch.at.dataplane}{why}")
    return f"{verb} {_few(said)}" if said else ""


def _along(hops: Sequence[Hop]) -> str:
    return f"travels on {_few([shown(hop) for hop in hops])}" if hops else ""


def _few(said: Sequence[str]) -> str:
    more = f" and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    return ", ".join(said[:SHOWN]) + more
