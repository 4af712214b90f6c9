"""What Istio's resources say of one request on one hop, after Istio's reference: as much as docs/comparison/ uses.

VirtualServices act at the caller: of the routes of a host, the first that matches (`HTTPRoute`, `HTTPMatchRequest`).
AuthorizationPolicies act at the callee: first those that deny, then those that allow. A field that is not known here is
an error, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Request:
    method: str = "GET"
    target: str = "/"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What comes of a request: a status if it goes no further, else what was made of it."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    shares: Mapping[str, int] = field(default_factory=dict)  # percent by version
    timeout: str | None = None


def hop(documents: Iterable[Document], caller: str | None, callee: str, request: Request) -> Outcome:
    """`caller` None: from outside. Such requests come through a gateway, for which none of the resources is."""
    routed = Outcome()
    services = [d["spec"] for d in documents if d["kind"] == "VirtualService" and callee in d["spec"]["hosts"]]
    assert len(services) <= 1, f"sidecars do not merge the VirtualServices of {callee}"
    if services and caller is not None:
        routed = _routed(services[0], caller, request)
    if routed.status is not None:
        return routed
    arrived = replace(request, headers={**request.headers, **routed.headers})
    policies = [d["spec"] for d in documents if d["kind"] == "AuthorizationPolicy"]
    here = [p for p in policies if _exactly(p["selector"], "matchLabels")["matchLabels"] == {"app": callee}]
    return routed if _allowed(here, arrived) else Outcome(status=403)


def _exactly(value: Document, *known: str) -> Document:
    assert set(value) <= set(known), f"unknown: {sorted(set(value) - set(known))}"
    return value


def _routed(spec: Document, caller: str, request: Request) -> Outcome:
    for route in _exactly(spec, "hosts", "http")["http"]:
        _exactly(route, "match", "route", "directResponse", "headers", "timeout")
        if "match" in route and not any(_matches(m, caller, request) for m in route["match"]):
            continue
        if "directResponse" in route:
            return Outcome(status=route["directResponse"]["status"])
        headers = _exactly(_exactly(route.get("headers", {}), "request").get("request", {}), "set").get("set", {})
        targets = [_exactly(t, "destination", "weight") for t in route["route"]]
        assert {t["destination"]["host"] for t in targets} == set(spec["hosts"])
        shares = {t["destination"]["subset"]: t["weight"] for t in targets if "weight" in t}
        return Outcome(headers=headers, shares=shares, timeout=route.get("timeout"))
    raise AssertionError(f"no route of {spec['hosts']} takes {request}")


def _matches(match: Document, caller: str, request: Request) -> bool:
    _exactly(match, "uri", "method", "headers", "sourceLabels")
    wanted = [(match[k], v) for k, v in (("uri", request.target), ("method", request.method)) if k in match]
    wanted += [(w, request.headers.get(name)) for name, w in match.get("headers", {}).items()]
    from_here = match.get("sourceLabels", {"app": caller}) == {"app": caller}
    return from_here and all(_string(w, value) for w, value in wanted)


def _string(wanted: Document, value: str | None) -> bool:
    ((how, text),) = wanted.items()
    if value is None:
        return False
    match how:
        case "exact":
            return bool(value == text)
        case "prefix":
            return value.startswith(text)
        case "regex":
            return re.fullmatch(text, value) is not None
    raise AssertionError(f"unknown: {how}")


def _allowed(policies: list[Document], request: Request) -> bool:
    by_action: dict[str, list[bool]] = {"DENY": [], "ALLOW": []}
    for policy in policies:
        rules = _exactly(policy, "selector", "action", "rules")["rules"]
        by_action[policy.get("action", "ALLOW")].append(any(_applies(r, request) for r in rules))
    return not any(by_action["DENY"]) and (not by_action["ALLOW"] or any(by_action["ALLOW"]))


def _applies(rule: Document, request: Request) -> bool:
    return all(_condition(c, request) for c in _exactly(rule, "when")["when"])


def _condition(condition: Document, request: Request) -> bool:
    name = re.fullmatch(r"request\.headers\[(.+)\]", _exactly(condition, "key", "values")["key"])
    assert name is not None, f"unknown: {condition['key']}"
    assert not any("*" in v for v in condition["values"]), "unknown: a pattern"
    return request.headers.get(name[1]) in condition["values"]
