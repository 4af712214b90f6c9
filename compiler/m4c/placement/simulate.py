"""The plan simulator: executes element dictionaries on a call path, and knows nothing else of the program.

It is what a plan is held against the reference interpreter with: positions in order, conditions on the request as it
arrives at each, the old tag, the tag functions, and applications that copy the tag (or do not). What comes back meets
the positions the other way round; of the request each of them knows what came to it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from m4c.paths.callpath import CallPath, Hop
from m4c.predicates.atoms import compare, cut_at, normal
from m4c.semantics.model import Entity, Program

Key = tuple[str, str | None]  # (attribute, key)
Come: TypeAlias = tuple[Mapping[Key, Any], Mapping[Key, Any]]  # the request, as it came to a site, and the answer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What elements did on one hop: the values written, the rules that ran, and what ended the request, if anything.

    What a state was told is added up under `STATE.ATTRIBUTE`.
    """

    hop: Hop
    writes: Mapping[Key, Any]
    ran: tuple[tuple[str, str], ...]  # (policy, operation), once for each time it ran
    terminal: bool
    tag: int  # as the callee's application gets it
    answer: Mapping[Key, Any] = field(default_factory=dict)  # the values written to what comes back


def simulate(
    elements: Sequence[Mapping[str, Any]],
    program: Program,
    path: CallPath,
    values: Mapping[Key, Any] | Sequence[Mapping[Key, Any]],
    tag: int = 0,
    answers: Mapping[str, bool] | None = None,
    reply: Mapping[Key, Any] | None = None,
) -> list[Outcome]:
    """The outcome of every hop of a call path. `answers`: of states, by what `asks` says; yes without one. `reply`:
    what comes back from the callee of each hop.

    `values`: the request as it arrives at each hop (absent attributes left out), or one request for all hops. `tag`:
    what a request from outside carries. The chain goes on over hops that end the request: what is compared is each hop.
    """
    tiers = {name: spec.tier for name, spec in program.dataplanes.items()}
    outcomes: list[Outcome] = []
    carried = tag if path.outside else 0
    for i, prefix in enumerate(path.prefixes()):
        here = values if isinstance(values, Mapping) else values[i]
        sites = _sites(elements, tiers, prefix.hop)
        outcome = _hop(sites, program, prefix, dict(here), dict(reply or {}), carried, answers or {})
        outcomes.append(outcome)
        callee = program.graph.services[prefix.hop[1]]
        carried = outcome.tag if callee.propagates and program.carries_context(callee.protocol) else 0
    return outcomes


def _sites(elements: Sequence[Mapping[str, Any]], tiers: Mapping[str, str], hop: Hop) -> list[Mapping[str, Any]]:
    """The sites of a hop, in the order in which a request meets them."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    for element in elements:
        proxy = tiers[element["dataplane"]] == "proxy"
        for site in element["sites"]:
            if (site["caller"], site["callee"]) != hop:
                continue
            owner = site["caller"] if site["side"] == "egress" else site["callee"]
            if owner == element["service"]:
                rank = (0 if proxy else 1) if site["side"] == "egress" else (3 if proxy else 2)
                found.append((rank, site))
    return [site for _, site in sorted(found, key=lambda item: item[0])]


def _hop(
    sites: Sequence[Mapping[str, Any]],
    program: Program,
    path: CallPath,
    request: dict[Key, Any],
    reply: dict[Key, Any],
    tag: int,
    answers: Mapping[str, bool],
) -> Outcome:
    writes: dict[Key, Any] = {}
    seen: dict[Key, Any] = {}  # what shows although the request ends
    ran: list[tuple[str, str]] = []
    told: dict[Key, Any] = {}  # of states and connections, which the request's end does not change
    terminal = False
    met: list[
        tuple[Mapping[str, Any], Mapping[Key, Any], int]
    ] = []  # the sites that send it on, with what came to each
    for site in sites:
        came = (site, dict(request), tag)
        marking = set[int]()  # what marks is no part of the request, and counts however it ends
        if not terminal:
            holding = _holding(site["rules"], program, path, (request, reply), tag, answers)
            ran += _tell(holding, told)
            marking = {r["id"] for r in holding}
            holding = [r for r in holding if r["state"] is None]
            for rule in (r for r in holding if _of_carrier(r, program)):
                ran.append((rule["policy"], rule["operation"]))
                told |= {(w["attribute"], w["key"]): w["value"] for w in rule["writes"]}
            holding = [r for r in holding if not _of_carrier(r, program)]
            ending = [r for r in holding if r["terminal"]]
            if ending:
                terminal = True
                writes = dict(seen)
            before = set(writes)
            for rule in ending or holding:
                ran.append((rule["policy"], rule["operation"]))
                _write(rule, program, writes, before)
                if rule["outward"]:
                    _write(rule, program, seen, set())
            _apply(writes, program, request)
        else:
            come = (request, reply)
            marking = {r["id"] for r in site["rules"] if _true(r["when"], r, program, path, come, tag, {})}
        if not terminal:
            met.append(came)
        tag = _updated(
            site["tags"], path, tag, marking
        )  # also behind a refusal: the chain is followed regardless of it
    answer: dict[Key, Any] = {}
    for site, asked, carried in reversed(met):  # they would take for the callee's what one behind them answers itself
        holding = _holding(site["answers"], program, path, (asked, reply), carried, answers)
        ran += _tell(holding, told)
        before = set(answer)
        for rule in (r for r in holding if r["state"] is None):
            ran.append((rule["policy"], rule["operation"]))
            _write(rule, program, answer, before)
        _apply(answer, program, reply)
    return Outcome(path.hop, writes | told, tuple(ran), terminal, tag, answer)


def _holding(
    rules: Sequence[Mapping[str, Any]],
    program: Program,
    path: CallPath,
    come: Come,
    tag: int,
    answers: Mapping[str, bool],
) -> list[Mapping[str, Any]]:
    """The rules of a site that hold, with the states asked of which that depends."""
    asked: dict[str, bool] = {}
    holding = []
    for r in rules:
        if _true(r["when"], r, program, path, come, tag, asked):
            holding.append(r)
            if r["asks"] is not None:
                asked[r["asks"]["asked"]] = answers.get(r["asks"]["asked"], True)
    return holding


def _tell(holding: Sequence[Mapping[str, Any]], told: dict[Key, Any]) -> list[tuple[str, str]]:
    """Adds up what rules tell states; those that ran."""
    for rule in (r for r in holding if r["state"] is not None):
        for w in rule["writes"]:
            key = (f"{rule['state']['name']}.{w['attribute']}", w["key"])
            told[key] = told.get(key, 0) + w["value"]
    return [(r["policy"], r["operation"]) for r in holding if r["state"] is not None]


def _write(rule: Mapping[str, Any], program: Program, writes: dict[Key, Any], before: Collection[Key]) -> None:
    """Adds what a rule writes: of a union, the elements. It overwrites what sites before it added to its attribute."""
    attributes = _entity(rule, program).attributes
    for w in rule["writes"]:
        key: Key = (w["attribute"], w["key"])
        if attributes[key[0]].travels:
            continue
        if attributes[w["attribute"]].merge == "union" and key in writes:
            writes[key] = sorted(writes[key] + w["value"])
        else:
            writes[key] = w["value"]
        for added in attributes.values():
            if added.added_to == w["attribute"] and (added.name, w["key"]) in before:
                writes.pop((added.name, w["key"]), None)


def _apply(writes: Mapping[Key, Any], program: Program, request: dict[Key, Any]) -> None:
    """The request as the next site sees it."""
    request |= writes
    for (name, key), value in writes.items():
        attributes = (e.attributes.get(name) for e in program.entities.values())
        added = next((a.added_to for a in attributes if a is not None and a.added_to is not None), None)
        if added is not None:
            request[added, key] = ",".join(filter(None, (request.get((added, key)), *value)))


def _of_carrier(rule: Mapping[str, Any], program: Program) -> bool:
    """Whether a rule is about the connection, and lets it be."""
    return not rule["terminal"] and _entity(rule, program).connection


def _entity(rule: Mapping[str, Any], program: Program) -> Entity:
    """What a rule's conditions are about."""
    return program.entities[rule["entity"]]


def _updated(tags: Mapping[str, Any] | None, path: CallPath, tag: int, holding: Collection[int]) -> int:
    if tags is None:
        return tag
    if "by_marks" in tags:
        tags = next(of for of in tags["by_marks"] if all(any(r in holding for r in rules) for rules in of["rules"]))
    update = tags if tags["by_version"] is None else tags["by_version"][path.versions[-1]]
    for entry in update["map"]:
        if tag in entry["from"]:
            return int(entry["to"])
    return tag if update["otherwise"] is None else int(update["otherwise"])


def _true(
    cond: Mapping[str, Any],
    rule: Mapping[str, Any],
    program: Program,
    path: CallPath,
    come: Come,
    tag: int,
    asked: Mapping[str, bool],
) -> bool:
    def true(part: Mapping[str, Any]) -> bool:
        return _true(part, rule, program, path, come, tag, asked)

    match cond["kind"]:
        case "true":
            return True
        case "false":
            return False
        case "all":
            return all(map(true, cond["of"]))
        case "any":
            return any(map(true, cond["of"]))
        case "not":
            return not true(cond["of"])
        case "tag":
            return tag in cond["in"]
        case "version":
            return path.versions[-1] in cond["in"]
        case "state":  # who was not asked decides nothing
            return asked.get(cond["asked"], False)
        case "compare":
            return _compares(cond, rule, program, come)
        case kind:
            raise ValueError(f"no condition is of kind {kind!r}")


def _compares(cond: Mapping[str, Any], rule: Mapping[str, Any], program: Program, come: Come) -> bool:
    entity = _entity(rule, program)
    values = come[entity.answers and "view" not in cond]
    if "view" in cond:
        entity = program.entities[entity.views[cond["view"]]]
    attribute = entity.attributes[cond["attribute"]]
    key: Key = (cond["attribute"], cond["key"])
    cuts: list[str] = []
    while attribute.derived is not None:
        source, cut = attribute.derived
        attribute, key = entity.attributes[source], (source, None)
        cuts.insert(0, cut)
    value = values.get(key)
    if value is None:
        return False
    wanted = tuple(cond["value"]) if isinstance(cond["value"], list) else cond["value"]
    fold = entity.attributes[cond["attribute"]].type.name == "istring"
    if fold and cond["op"] != "matches":
        wanted = normal(wanted)
    return compare(cond["op"], cut_at(value, tuple(cuts)) if cuts else value, wanted, fold)
