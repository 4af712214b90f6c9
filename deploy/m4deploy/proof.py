"""Holds a deployed mesh to the reference interpreter: which requests to send, what should become of each, what did.

The requests come from the program alone: every call path, with the plainest request, and with requests that just meet
and just miss the condition of each policy that can fire on it. Nothing here knows an application.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from m4c.paths.callpath import CallPath
from m4c.paths.pattern import accepts, compile_pattern
from m4c.paths.product import some_paths
from m4c.placement.elements import CONTEXT_HEADER
from m4c.placement.plan import Plan
from m4c.predicates import satisfy
from m4c.reference import HopResult, Trace, trace
from m4c.semantics.model import (
    TRUE,
    Absent,
    AnyOne,
    Atom,
    AttrKey,
    Cond,
    Pattern,
    Policy,
    Program,
    StateAtom,
    Step,
    Value,
    all_of,
    negate,
)

from m4deploy.client import Headers, HopSeen, Observed, header, send
from m4deploy.local import Deployment

REPEATS = 300  # requests that a split is judged by
SIGMAS = 4.5  # how far a share may be from its expectation: one correct run in 100,000 fails
PATHS = 80
MARGIN = 1_000_000_000  # ns by which a wait is shorter than another, for it to end first

METHOD, TARGET, HOST, HEADER, ADDED = "method", "target", "target_host", "header", "added_header"
ROUTE, TIMEOUT, CARRIED = "route", "timeout", "max_requests"
STATUSES = ("redirect_status", "answer_status", "status")  # of an end of the request, the most telling first
UNANSWERED = "no answer"  # to what had no connection
FAULT = "fault_status"  # drawn, so that one request shows nothing of it
ENTITY, ANSWER = "HttpRequest", "HttpResponse"
STATUS = "status"
BODILESS = (204, 205, 304)  # an answer of these says nothing of who made it


@dataclass(frozen=True, slots=True)
class Request:
    method: str = "GET"
    target: str = "/"
    headers: tuple[tuple[str, str], ...] = ()
    host: str = ""  # that it is for; empty: the callee's address
    delay: float = 0.0  # seconds that the last service takes
    repeats: int = 1
    forged: str = ""  # a context tag that it comes with from outside
    status: int = 200  # of what each service answers
    answer: tuple[tuple[str, str], ...] = ()  # header fields of that

    def __str__(self) -> str:
        forged = ((CONTEXT_HEADER, self.forged),) if self.forged else ()
        parts = [self.method, self.target, *(f"{k}: {v}" for k, v in (*self.fields, *forged))]
        if (self.status, self.answer) != (200, ()):
            parts += ["answered", str(self.status), *(f"{k}: {v}" for k, v in self.answer)]
        parts += [f"(takes {self.delay:g} s)"] if self.delay else []
        return " ".join(parts) + (f" × {self.repeats}" if self.repeats > 1 else "")

    @property
    def fields(self) -> Headers:
        """The header fields of every hop, with the one that says for which host."""
        return (*((("host", self.host),) if self.host else ()), *self.headers)

    def values(self) -> dict[AttrKey, Value]:
        out: dict[AttrKey, Value] = {AttrKey(ENTITY, METHOD): self.method, AttrKey(ENTITY, TARGET): self.target}
        out |= {AttrKey(ENTITY, HEADER, k.lower()): v for k, v in self.headers}
        out |= {AttrKey(ENTITY, HOST): self.host} if self.host else {}
        out[AttrKey(ANSWER, STATUS)] = self.status
        out |= {AttrKey(ANSWER, HEADER, k): v for k, v in _joined(self.answer).items()}
        return out


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    path: CallPath
    request: Request
    expected: str
    seen: str
    by: str  # the dataplanes that acted
    same: bool


def requests(program: Program) -> Iterator[tuple[CallPath, Request]]:
    """What to send: deterministic, the shortest paths first."""
    graph = program.graph
    everywhere = compile_pattern(Pattern((Step(AnyOne(), True),)), graph)
    patterns = {p.name: compile_pattern(p.pattern, graph) for p in program.policies}
    for path in some_paths(everywhere, graph, PATHS):
        path = _plain_versions(program, path)
        before = {
            p.name: p
            for prefix in path.prefixes()
            if prefix != path
            for p in program.policies
            if p.when != TRUE and accepts(patterns[p.name], prefix)
        }
        sent = {Request(): None}
        for policy in program.policies:
            if accepts(patterns[policy.name], path):
                sent |= dict.fromkeys(_around(program, policy, tuple(before.values())))
        for request in sent:
            if all(hop.value(FAULT) is None for hop in trace(program, path, request.values(), ENTITY).hops):
                yield path, request
        last = trace(program, path, Request().values(), ENTITY).hops[-1]
        if last.value(FAULT) is not None:
            continue
        if last.hop == path.hop and not last.terminal:
            if _route(last):
                yield path, Request(repeats=REPEATS)
            limit = last.value(TIMEOUT)
            if isinstance(limit, int) and limit < _before(program, path):
                yield path, Request(delay=limit / 1e9 + 0.5)


def _before(program: Program, path: CallPath) -> float:
    """How long the hops before the last one wait, in ns: one that gives up earlier shows nothing of the last."""
    hops = trace(program, path, Request().values(), ENTITY).hops[:-1]
    return min((v - MARGIN for h in hops if isinstance(v := h.value(TIMEOUT), int)), default=math.inf)


def _plain_versions(program: Program, path: CallPath) -> CallPath:
    versions = tuple((*program.graph.services[s].versions, None)[0] for s in path.services)
    return CallPath(path.outside, path.services, versions)


def _around(program: Program, policy: Policy, before: tuple[Policy, ...]) -> Iterator[Request]:
    """Requests that just meet and just miss the conditions of a policy, also where they meet those of policies on
    earlier hops: one of these may be what lets a request come so far."""
    conds: dict[Cond, None] = {}
    for call in policy.calls:
        met = all_of(policy.when, call.guard)
        conds |= dict.fromkeys((met, negate(policy.when), all_of(policy.when, negate(call.guard))))
    for cond in conds:
        for more in (TRUE, *(p.when for p in before)):
            request = _request(program, all_of(cond, more))
            if request is not None:
                yield request


def _request(program: Program, cond: Cond) -> Request | None:
    """A plain request that meets a condition, with a usual method if one does; None if no client can send one."""
    usual = (all_of(cond, Atom(AttrKey(ENTITY, METHOD), "==", m)) for m in ("GET", "POST", "PUT", "DELETE"))
    prefer: dict[AttrKey, Value] = {AttrKey(ENTITY, TARGET): "/", AttrKey(ANSWER, STATUS): 200}
    for attempt in (*usual, cond):
        found = satisfy(attempt, program.attribute, program.enums, prefer)
        if found is not None:
            break
    else:
        return None
    values = found.attributes
    sent, answered = (
        tuple((a.key, str(v)) for a, v in sorted(values.items()) if (a.entity, a.attribute) == (of, HEADER) and a.key)
        for of in (ENTITY, ANSWER)
    )
    status = values.get(AttrKey(ANSWER, STATUS), 200)
    if not isinstance(status, int) or status in BODILESS:
        return None
    method = str(values.get(AttrKey(ENTITY, METHOD), "GET"))
    target = str(values.get(AttrKey(ENTITY, TARGET), "/"))
    if not target.startswith("/") or any(c <= " " or c == "#" or c > "~" for c in target):
        return None
    host = str(values.get(AttrKey(ENTITY, HOST), ""))
    return Request(method, target, sent, host, status=status, answer=answered)


def sent(deployment: Deployment, path: CallPath, request: Request) -> Observed:
    """What is seen of one request that is sent along a path."""
    return send(
        deployment,
        path.services,
        outside=path.outside,
        method=request.method,
        target=request.target,
        headers=request.fields,
        delay=request.delay,
        version=None if path.outside else path.versions[0],
        answer=None if (request.status, request.answer) == (200, ()) else (request.status, request.answer),
        first=((CONTEXT_HEADER, request.forged),) if request.forged else (),
    )


def check(
    program: Program,
    plan: Plan,
    deployment: Deployment,
    path: CallPath,
    request: Request,
    states: Mapping[StateAtom, bool] | None = None,
) -> Row:
    """Sends one request, or several, and compares what was seen with what the interpreter says. `states`: what states
    answer to it."""
    seen = [sent(deployment, path, request) for _ in range(request.repeats)]
    path = _as_it_went(path, seen[0])
    expected = trace(program, path, request.values(), ENTITY, states)
    by = _by(plan, expected)
    if request.repeats > 1:
        return _shares_row(path, request, expected, seen, by)
    wanted = _expected_text(expected, request)
    got, same = _seen_text(expected, seen[0], request)
    answered, came, as_they_should = _answers(program, path, seen[0], request, states)
    wanted, got, same = wanted + answered, got + came, same and as_they_should
    same &= _carried(program, plan, expected, seen[0])
    if seen[0].denied_by is not None:
        same &= any(each.startswith(f"{seen[0].denied_by} at ") for each in by.split(", "))
    return Row(path, request, wanted, got, by, same and wanted == got)


def _as_it_went(path: CallPath, seen: Observed) -> CallPath:
    """The path with the versions that answered: what is expected on a later hop may depend on them."""
    versions = list(path.versions)
    for i, hop in enumerate(seen.hops, start=0 if path.outside else 1):
        versions[i] = hop.version or versions[i]
    return CallPath(path.outside, path.services, tuple(versions))


def _by(plan: Plan, expected: Trace) -> str:
    """Where the operations of the policies that fired, and of defaults, run on the hops of a path."""
    out: dict[str, None] = {}
    for hop in (*expected.hops, *expected.answers):
        for o in plan.operations:
            fired = {name for each in (hop, *hop.carriers) for name in each.fired}
            acted = o.policy in fired or (o.default and hop.terminal)
            if o.hop == hop.hop and acted:
                out[f"{o.dataplane} at {o.service}"] = None
    return ", ".join(out)


def _route(hop: HopResult) -> dict[str, int]:
    route = hop.value(ROUTE)
    pairs = route if isinstance(route, tuple) else ()
    return {str(p[0]): p[1] for p in pairs if isinstance(p, tuple) and isinstance(p[1], int)}


def _expected_text(expected: Trace, request: Request) -> str:
    last = expected.hops[-1]
    where = f" at {last.hop[1]}"
    if last.terminal:
        return f"{next((s for s in map(last.value, STATUSES) if s is not None), UNANSWERED)}{where}"
    limit = last.value(TIMEOUT)
    if request.delay and isinstance(limit, int) and limit / 1e9 < request.delay:
        return f"504{where}"
    written = _written(last, request.headers)
    return str(request.status) + _headers_text({k: v or "absent" for k, v in written.items()})


def _written(hop: HopResult, fields: Headers) -> dict[str, str | None]:
    """The header fields that a hop writes to some that came; None for one that it removes. What it appends comes in any
    order: sorted."""
    headers = {a.key or "": v for a, v in hop.writes.items() if a.attribute == HEADER}
    out = {k: None if isinstance(v, Absent) else str(v) for k, v in headers.items()}
    arrived = _joined(fields)
    for attr, added in hop.writes.items():
        if attr.attribute == ADDED and isinstance(added, tuple):
            key = attr.key or ""
            before = out[key] if key in out else arrived.get(key)
            out[key] = _sorted(",".join([*([] if before is None else [before]), *map(str, added)]))
    return out


def _sorted(value: str) -> str:
    """The elements of a list. Empty ones mean nothing (RFC 9110, 5.6.1): proxies add to an empty field with a comma or
    without, Envoy in both ways, by the name of the field."""
    return ",".join(sorted(part for part in value.split(",") if part.strip()))


def _as_sent(hop: HopResult, name: str, value: str | None) -> str | None:
    """A header field as it was seen, in the order of `_written`."""
    added = any(a.attribute == ADDED and a.key == name for a in hop.writes)
    return _sorted(value) if added and value is not None else value


def _headers_text(headers: Mapping[str, str]) -> str:
    return "".join(f", {k}: {v}" for k, v in sorted(headers.items()))


def _seen_text(expected: Trace, seen: Observed, request: Request) -> tuple[str, bool]:
    """What was seen, in the words of `_expected_text`, and whether every hop before went through as it should."""
    hop: HopSeen = seen.hops[-1]
    last = expected.hops[-1]
    where = f" at {hop.hop[1]}"
    same = len(seen.hops) == len(expected.hops)
    for result, observed in zip(expected.hops, seen.hops, strict=False):
        if not observed.reached or observed.request is None:
            continue
        same &= not result.terminal and observed.request.method == request.method
        same &= observed.request.target == (result.value(TARGET) or request.target)
        host = result.value(HOST) or request.host
        same &= not host or observed.request.header("host") == host
        wanted = _joined(request.headers) | _written(result, request.headers)
        same &= all(_as_sent(result, k, observed.request.header(k)) == v for k, v in wanted.items())
        route = _route(result)
        same &= not route or observed.version in route
    if not hop.reached or hop.request is None:
        unanswered = UNANSWERED if any(c.terminal for c in last.carriers) else hop.error
        return f"{hop.status or unanswered}{where}", same
    keys = list(_written(last, request.headers)) if same else []
    shown = {k: _as_sent(last, k, hop.request.header(k)) or "absent" for k in keys}
    return f"{hop.status}" + _headers_text(shown), same


def _carried(program: Program, plan: Plan, expected: Trace, seen: Observed) -> bool:
    """Whether no connection carried more requests than it may, where no proxy at the callee has connections of its own
    to it."""
    tiers = {name: spec.tier for name, spec in program.dataplanes.items()}
    proxied = {e.service for e in plan.elements if tiers[e.dataplane] == "proxy"}
    for result, hop in zip(expected.hops, seen.hops, strict=False):
        limits = [limit for c in result.carriers if isinstance(limit := c.value(CARRIED), int)]
        if hop.reached and hop.hop[1] not in proxied and any(hop.number > limit for limit in limits):
            return False
    return True


def _answers(
    program: Program, path: CallPath, seen: Observed, request: Request, states: Mapping[StateAtom, bool] | None
) -> tuple[str, str, bool]:
    """What should become of what comes back on the last hop that something comes back on, and what did; and whether
    what came back on each hop is as it should be."""
    wanted = got = ""
    same = True
    for prefix, hop in zip(path.prefixes(), seen.hops, strict=False):
        if not hop.reached:
            continue
        back = trace(program, prefix, request.values(), ENTITY, states).answers
        answer = next((a for a in back if a.entity == ANSWER), None)
        written = {} if answer is None else _written(answer, request.answer)
        fields = _joined(request.answer) | written
        came = {k: header(hop.headers, k) for k in fields}
        if answer is not None:
            came = {k: _as_sent(answer, k, v) for k, v in came.items()}
        same &= hop.status == request.status and came == fields
        wanted = _headers_text({f"back {k}": fields[k] or "absent" for k in written})
        got = _headers_text({f"back {k}": came[k] or "absent" for k in written})
    return wanted, got, same


def _joined(fields: Headers) -> dict[str, str]:
    """Header fields by name, repeated ones joined by a comma."""
    names = dict.fromkeys(name.lower() for name, _ in fields)
    return {name: header(fields, name) or "" for name in names}


def _shares_row(path: CallPath, request: Request, expected: Trace, seen: list[Observed], by: str) -> Row:
    route = _route(expected.hops[-1])
    count = {v: sum(o.hops[-1].version == v for o in seen) for v in route}
    same = sum(count.values()) == len(seen)
    for version, share in route.items():
        p = share / 10000
        spread = SIGMAS * math.sqrt(len(seen) * p * (1 - p))
        same &= abs(count[version] - len(seen) * p) <= spread
    wanted = ", ".join(f"{v} {share / 100:g}%" for v, share in route.items())
    got = ", ".join(f"{v} {100 * n / len(seen):.0f}%" for v, n in count.items())
    return Row(path, request, wanted, got, by, same)
