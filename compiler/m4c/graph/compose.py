"""Reads a service graph off Compose files; several files are one project, as `docker compose -f A -f B` takes them.

Calls come from settings that name another service as a host, and from `links`. `depends_on` is the order of starting,
not a call: it is named in a note where nothing else tells of a call. Published ports make an entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from m4c.graph.addresses import certain, hosts
from m4c.graph.documents import Malformed, Value
from m4c.graph.imported import Draft, Imported, Known, Options, listed

TITLE = "Compose files"
_TOOLS = re.compile(r"(?:com\.docker|io\.podman|org\.(?:opencontainers|label-schema)|traefik|caddy|prometheus)\b.*")
_BETTER = "import what `docker compose config` prints"
_FILL_IN = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::?-(?P<default>[^}]*)|[^}]*)?\}|(?P<plain>[A-Za-z_]\w*))")


def recognises(document: Value) -> bool:
    services = document.get("services") if document.is_map else document
    return (
        services.is_map and services is not document and all(s.is_map or s.absent for s in services.fields().values())
    )


def imported(documents: Sequence[Value], options: Options) -> Imported:
    draft = Draft()
    project: dict[str, list[Value]] = {}
    for document in documents:
        try:
            if not document.get("services").is_map:
                raise document.get("services").wrong("the map of the services")
            for name, service in document.get("services").fields().items():
                project.setdefault(name, []).insert(0, service)  # what a later file says counts
            if not document.get("include").absent:
                draft.note(document.get("include"), "`include` is not followed: import these files too")
        except Malformed as e:
            draft.problems.append(e.remark)
    named: dict[str, str] = {}
    wholes = {name: _whole(name, project, draft) for name in project}
    for name, parts in wholes.items():
        try:
            draft.service(name, _known(name, parts))
            named |= dict.fromkeys(_hostnames(parts), name)
        except Malformed as e:
            draft.problems.append(e.remark)
    named |= {name.lower(): name for name in project}
    for name, parts in wholes.items():
        try:
            _calls(name, parts, named, draft)
        except Malformed as e:
            draft.problems.append(e.remark)
    return draft.done()


def _whole(name: str, project: Mapping[str, list[Value]], draft: Draft) -> list[Value]:
    """What is said of a service, and of those that it extends."""
    names = [name]
    parts: list[Value] = []
    for each in names:  # grows
        for part in project[each]:
            parts.append(part)
            try:
                extended = part.get("extends")
                base = extended if extended.is_text else extended.get("service")
                if base.text() in project and (extended.is_text or extended.get("file").absent):
                    names += [] if base.text() in names else [base.text()]
                elif not extended.absent:
                    draft.note(extended, f"what `{each}` extends is elsewhere, and left out: {_BETTER}")
            except Malformed as e:
                draft.problems.append(e.remark)
    return parts


def _known(name: str, parts: Sequence[Value]) -> Known:
    labels = {k: v for k, _, v in _pairs(parts, "labels") if v and v != name and not _TOOLS.fullmatch(k)}
    ports = [p for part in parts for p in part.get("ports").items()]
    spoken = [p.get("app_protocol").text() for p in ports if p.is_map]
    return Known(
        labels=tuple(sorted(labels.items())),
        protocol=next(filter(None, spoken), None),
        entry=True if ports else None,
        external=False,
    )


def _hostnames(parts: Sequence[Value]) -> Iterator[str]:
    """What others can call a service, besides its name."""
    for part in parts:
        for key in ("container_name", "hostname"):
            if part.get(key).text():
                yield part.get(key).text().lower()
        if part.get("networks").is_map:
            for network in part.get("networks").fields().values():
                yield from (alias.text().lower() for alias in network.get("aliases").items())


def _calls(name: str, parts: Sequence[Value], named: Mapping[str, str], draft: Draft) -> None:
    linked: dict[str, str] = {}
    called: set[str] = set()
    for part in parts:
        for link in part.get("links").items():
            callee, _, alias = link.text().partition(":")
            if callee not in draft.services:
                draft.note(link, f"`{name}` links to `{callee}`, which is not among the inputs")
                continue
            linked[(alias or callee).lower()] = callee
            called.add(callee)
    known = {**named, **linked}
    open_ = []
    for setting, at, raw in _pairs(parts, "environment"):
        value, unknown = _filled(raw)
        sure, doubtful = hosts(setting, value)
        found = {known[h] for h in sure if h in known}
        called |= found
        maybe = sorted({known[h] for h in doubtful if h in known} - {name})
        if maybe:
            draft.note(at, f"`{setting}` of `{name}` may be the address of {listed(maybe)}; no call is taken from it")
        if not found and (raw is None or unknown):
            open_.append(setting)
    for part in parts:
        for key in ("command", "entrypoint"):
            words = part.get(key)
            for word in words.items() if words.is_list else [words]:
                called |= {known[h] for h in certain(_filled(word.text())[0]) if h in known}
    called.discard(name)
    for callee in called:
        draft.call(name, callee)
    _left_out(name, parts, open_, called, draft)


def _left_out(name: str, parts: Sequence[Value], open_: Sequence[str], called: set[str], draft: Draft) -> None:
    if open_:
        which = listed(sorted(open_))
        draft.note(parts[0], f"`{name}` takes {which} from the shell or `.env`, which is not read: {_BETTER}")
    for part in parts:
        if not part.get("env_file").absent:
            draft.note(part.get("env_file"), f"the `env_file` of `{name}` is not read: {_BETTER}")
    needed = {n for part in parts for n in _names(part.get("depends_on"))} - called - {name}
    if needed:
        which = listed(sorted(needed))
        draft.note(parts[0], f"`{name}` depends on {which}, but no setting of it names an address there: no call")


def _names(value: Value) -> list[str]:
    return list(value.fields()) if value.is_map else [v.text() for v in value.items()]


def _pairs(parts: Sequence[Value], key: str) -> list[tuple[str, Value, str | None]]:
    """The pairs of a map, or of a list of `KEY=VALUE`: where each stands, and its value (None: there is none)."""
    found: dict[str, tuple[Value, str | None]] = {}
    for part in reversed(parts):
        value = part.get(key)
        if value.is_list:
            for item in value.items():
                name, is_, text = item.text().partition("=")
                found[name] = item, text if is_ else None
        else:
            found |= {k: (v, None if v.absent else v.text()) for k, v in value.fields().items()}
    return [(name, at, text) for name, (at, text) in found.items()]


def _filled(text: str | None) -> tuple[str, bool]:
    """A text with the defaults of its variables filled in, and whether one has none."""
    unknown = False

    def value(m: re.Match[str]) -> str:
        nonlocal unknown
        if m["dollar"]:
            return "$"
        unknown |= m["default"] is None
        return m["default"] if m["default"] is not None else "0"

    return _FILL_IN.sub(value, text or ""), unknown
