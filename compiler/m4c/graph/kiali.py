"""Reads a service graph off Kiali's graph JSON (`/api/namespaces/graph`), of any graph type, best `versionedApp`.

A service of the graph is what requests are addressed to: nodes of one app and namespace are its versions. Kiali's nodes
for Services and for aggregated requests are passed through: who calls them calls what is behind. Gateways that let
traffic in, unknown sources, and callers from outside the namespaces that were asked for are outside: what they call is
an entry. Waypoints are left out, for Kiali shows the calls through them as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from m4c.graph.documents import Malformed, Value
from m4c.graph.imported import Draft, Imported, Known, Options, listed
from m4c.graph.manifests import telling, texts

TITLE = "Kiali graphs"
_NO_VERSION = frozenset(("", "latest", "unknown"))
_NOWHERE = frozenset(("", "unknown", "BlackHoleCluster", "PassthroughCluster"))  # Services that stand for any host

_Key = tuple[str, str]  # of a service: its namespace and what it is called there


@dataclass(eq=False, slots=True)
class _Node:
    """A node of one answer, or the same one of several."""

    key: _Key
    at: Value
    version: str
    labels: Mapping[str, str]
    addressed: frozenset[str]  # the Services of its namespace that its requests were addressed to
    app: bool  # named after an app or a workload, not after a Service
    through: bool  # its callers call what is behind it
    gateway: bool
    unknown: bool
    waypoint: bool
    outside: bool  # of the namespaces that were asked for
    root: bool
    external: bool

    @property
    def door(self) -> bool:
        """Whether what comes from here comes from outside."""
        return self.gateway or self.unknown or (self.root and self.outside)


@dataclass(frozen=True, slots=True)
class _Edge:
    at: Value
    source: _Node
    target: _Node
    protocol: str
    rps: float | None


@dataclass(slots=True)
class _Answers:
    nodes: dict[tuple[str, ...], _Node] = field(default_factory=dict)
    edges: list[list[_Edge]] = field(default_factory=list)  # of each answer


def recognises(document: Value) -> bool:
    return document.is_map and document.get("elements").is_map and document.get("elements", "nodes").is_list


def imported(documents: Sequence[Value], options: Options) -> Imported:
    draft = Draft()
    answers = _Answers()
    for document in documents:
        _read(document, answers, draft)
    leading = {edge.source for edges in answers.edges for edge in edges}
    for node in answers.nodes.values():
        node.through &= node in leading  # a Service without anything behind it is a service itself
    names = _names(answers, draft)
    _services(answers, names, draft)
    speaks: dict[str, dict[str, float]] = defaultdict(dict)
    for edges in answers.edges:
        calls = _calls(edges, names, speaks, draft)
        draft.calls = calls | draft.calls  # answers about several namespaces repeat the calls between them
    for name, protocols in sorted(speaks.items()):
        requests = {p: rate for p, rate in protocols.items() if p != "tcp"} or protocols
        if len(requests) > 1:
            draft.note(None, f"`{name}` speaks {listed(sorted(requests))}; the one with the most requests counts")
        draft.service(name, Known(protocol=min(requests, key=lambda p: (-requests[p], p))))
    draft.rounded()
    return draft.done()


# --- nodes and edges --------------------------------------------------------------------------------------------------


def _read(document: Value, answers: _Answers, draft: Draft) -> None:
    by_id: dict[str, _Node | None] = {}
    by_service = document.get("graphType").text() == "service"
    edges: list[_Edge] = []
    try:
        for item in document.get("elements", "nodes").items():
            data = item.get("data")
            if not data.get("id").text():
                raise data.get("id").wrong("the id of a node")
            node = None if _is_box(data) else _node(data, by_service, answers)
            by_id[data.get("id").text()] = node
        for item in document.get("elements", "edges").items():
            data = item.get("data")
            ends = []
            for end in (data.get("source"), data.get("target")):
                if end.text() not in by_id:
                    raise end.wrong("the id of a node")
                ends.append(by_id[end.text()])
            source, target = ends
            if source is not None and target is not None:
                edges.append(_Edge(data, source, target, *_traffic(data.get("traffic"))))
    except Malformed as e:
        draft.problems.append(e.remark)
    answers.edges.append(edges)


def _is_box(data: Value) -> bool:
    return data.get("nodeType").text() == "box" or any(not data.get(k).absent for k in ("isBox", "isGroup"))


def _node(data: Value, by_service: bool, answers: _Answers) -> _Node:
    kind, namespace = data.get("nodeType").text(), data.get("namespace").text()
    app, workload, service = (data.get(k).text() for k in ("app", "workload", "service"))
    if kind not in ("aggregate", "app", "service", "unknown", "workload"):
        raise data.get("nodeType").wrong("`app`, `workload`, `service`, `aggregate`, `box` or `unknown`")
    name = service if kind == "service" else data.get("aggregate").text() if kind == "aggregate" else app or workload
    if not name and kind != "unknown":
        raise data.get("app" if kind == "app" else kind).wrong(f"the name of a node of the type `{kind}`")
    entry = data.get("isServiceEntry")
    location = entry.get("location").text() if entry.is_map else entry.text()
    host = kind == "service" and ("." in name or namespace in ("", "unknown"))
    addressed = [i for i in data.get("destServices").items() if i.get("namespace").text() == namespace]
    node = _Node(
        (namespace, name),
        data,
        data.get("version").text(),
        texts(data.get("labels")),
        frozenset(i.get("name").text() for i in addressed),
        app=kind in ("app", "workload"),
        through=kind == "aggregate" or (kind == "service" and not by_service),
        gateway=_lets_in(data),
        unknown=kind == "unknown",
        waypoint=data.get("isWaypoint").flag(),
        outside=data.get("isOutside").flag(),
        root=data.get("isRoot").flag(),
        external=location != "MESH_INTERNAL" and (host or not entry.absent),
    )
    same = answers.nodes.setdefault((kind, namespace, name, workload, node.version), node)
    if same is not node:
        same.outside &= node.outside
        same.root &= node.root
        same.gateway |= node.gateway
        same.addressed |= node.addressed
    return same


def _lets_in(data: Value) -> bool:
    """Whether it is a gateway for traffic into the mesh, as Istio's or the Gateway API's are."""
    gateway = data.get("isGateway")
    if gateway.absent:
        return data.get("isK8sGatewayAPI").flag()
    if any(gateway.get(k, "hostnames").items() for k in ("ingressInfo", "gatewayAPIInfo")):
        return True
    return data.get("isRoot").flag() and not gateway.get("egressInfo", "hostnames").items()


def _traffic(traffic: Value) -> tuple[str, float | None]:
    """The protocol of an edge, and its requests per second; TCP is counted in bytes, which says nothing of them."""
    protocol = traffic.get("protocol").text()
    rate = traffic.get("rates", protocol)
    return protocol, None if protocol == "tcp" or rate.absent else rate.amount()


# --- services ---------------------------------------------------------------------------------------------------------


def _names(answers: _Answers, draft: Draft) -> dict[_Node, str]:
    """What the node of a service is called in the graph: the Service that its requests are addressed to, if it is one,
    else the app or the workload; with the namespace if another namespace has one of that name."""
    addressed: dict[_Key, frozenset[str]] = defaultdict(frozenset)
    for node in answers.nodes.values():
        if node.app:
            addressed[node.key] |= node.addressed
    keys: dict[_Node, _Key] = {}
    for node in answers.nodes.values():
        namespace, name = node.key
        only = addressed[node.key] if node.app else frozenset()
        keys[node] = (namespace, next(iter(only))) if len(only) == 1 else (namespace, name)
    spaces: dict[str, set[str]] = defaultdict(set)
    for node, (namespace, name) in keys.items():
        if _is_service(node):
            spaces[name].add(namespace)
    twice = sorted(name for name, found in spaces.items() if len(found) > 1)
    if twice:
        draft.note(None, f"several namespaces have services named {listed(twice)}: these are called NAME.NAMESPACE")
    return {n: f"{name}.{namespace}" if name in twice else name for n, (namespace, name) in keys.items()}


def _is_service(node: _Node) -> bool:
    return not (node.door or node.waypoint or node.through or node.key[1] in _NOWHERE)


def _services(answers: _Answers, names: Mapping[_Node, str], draft: Draft) -> None:
    """Adds the services, and says which nodes are none."""
    several = len({n.key[0] for n in names if _is_service(n)}) > 1
    labels: dict[str, Mapping[str, str]] = {}
    outside, doors, left_out = set(), set(), set()
    for node, name in names.items():
        if not _is_service(node):
            if node.door and not node.unknown:
                doors.add(name)
            elif node.waypoint:
                left_out.add(name)
            continue
        if node.outside and not node.external:
            outside.add(name)
        told = telling(node.labels, name)
        labels[name] = {k: v for k, v in told.items() if labels.get(name, told).get(k) == v}
        draft.service(
            name,
            Known(
                () if node.version in _NO_VERSION or not node.app else (node.version,),
                external=node.external or node.outside,
            ),
        )
        if several:
            draft.service(name, Known(labels=(("namespace", node.key[0]),)))
    for name, found in labels.items():
        draft.service(name, Known(labels=tuple(sorted(found.items()))))
    if doors:
        draft.note(None, f"what {listed(sorted(doors))} calls comes from outside: each such is an entry")
    if outside:
        draft.note(
            None, f"not of the namespaces that Kiali was asked for, so taken for external: {listed(sorted(outside))}"
        )
    if left_out:
        draft.note(None, f"waypoints are no services: {listed(sorted(left_out))}")


# --- calls ------------------------------------------------------------------------------------------------------------


def _calls(
    edges: Sequence[_Edge], names: Mapping[_Node, str], speaks: dict[str, dict[str, float]], draft: Draft
) -> dict[tuple[str, str], float | None]:
    """The calls of one answer. Adds entries to the draft, and to `speaks` how often a service is asked, by protocol."""
    behind: dict[_Node, list[_Edge]] = defaultdict(list)
    for edge in edges:
        behind[edge.source].append(edge)
    found = Draft()
    for edge in edges:
        if edge.source.through or edge.source.waypoint or edge.target.waypoint:
            continue
        for target, rps in _reached(edge, behind, ()):
            if target.door or target.key[1] in _NOWHERE:
                what = "the gateway " if target.door else ""
                draft.note(None, f"calls of `{names[edge.source]}` to {what}`{names[target]}` are left out")
                continue
            name = names[target]
            if edge.protocol:
                speaks[name][edge.protocol] = speaks[name].get(edge.protocol, 0) + (rps or 0)
            if edge.source.door:
                draft.service(name, Known(entry=True))
            else:
                found.call(names[edge.source], name, rps)
    return found.calls


def _reached(
    edge: _Edge, behind: Mapping[_Node, Sequence[_Edge]], above: tuple[_Node, ...]
) -> Iterable[tuple[_Node, float | None]]:
    """The services that the requests of an edge get to, and how many a second get to each."""
    node = edge.target
    onward = behind.get(node, ()) if node.through else ()
    if not onward or node in above:
        yield node, edge.rps
        return
    total = sum(e.rps or 0 for e in onward)
    for e in onward:
        for target, rps in _reached(e, behind, (*above, node)):
            if edge.rps is None:
                yield target, None
            elif len(onward) == 1 and e.rps is None:
                yield target, edge.rps
            else:
                yield target, edge.rps * rps / total if rps is not None and total else None
