"""Service graphs from what Jaeger and Kiali saw."""

from __future__ import annotations

import json

import pytest
from importing import calls, entries, graph, notes, rates, run
from m4c.graph.imported import Options
from m4c.semantics.model import Service

# --- Jaeger -----------------------------------------------------------------------------------------------------------


def jaeger(*links: tuple[str, str, int]) -> str:
    """An answer of `/api/dependencies`."""
    data = [{"parent": a, "child": b, "callCount": n} for a, b, n in links]
    return json.dumps({"data": data, "total": 0, "limit": 0, "offset": 0, "errors": None})


def test_dependencies_are_calls() -> None:
    text = jaeger(("web", "cart", 7200), ("cart", "db", 1), ("web", "web", 5))
    found = graph(text)
    assert rates(found) == {"cart->db": None, "web->cart": None}
    assert entries(found) == ["web"]
    said = notes(text)
    assert "the numbers of calls are left out: `--period 1h` says over what time Jaeger counted them" in said
    assert "a: `web` follows itself: that is left out, for spans inside one service look the same" in said
    assert [n for n in said if n.startswith("no input says where outside traffic comes in")]


def test_counts_are_rates_over_a_period() -> None:
    one, other = jaeger(("web", "cart", 7200), ("cart", "db", 1)), jaeger(("web", "cart", 3600))
    found = graph(one, options=Options(period=3600))
    assert rates(found) == {"cart->db": 0.0002778, "web->cart": 2.0}
    assert rates(graph(one, other, options=Options(period=3600))) == {"cart->db": 0.0001389, "web->cart": 1.5}


def test_a_bare_list_of_dependencies() -> None:
    found = graph('[{"parent": "a b", "child": "ü", "callCount": 1}]')
    assert calls(found) == ["a b->ü"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"data": null, "errors": [{"code": 500, "msg": "no storage"}]}',
            "a: Jaeger answered with an error: no storage",
        ),
        ('{"data": null, "errors": []}', "a: `data` is missing; expected the list of the dependencies"),
        ('{"data": [], "errors": null}', "no services were found"),
        ('{"data": [{"parent": "a"}]}', "a: `data[0].child` is missing; expected the name of a service"),
        (
            '{"data": [{"parent": "a", "child": "b", "callCount": "many"}]}',
            "a: `data[0].callCount` is `many`; expected a number, 0 or more",
        ),
        (
            '{"data": [{"parent": "a", "child": "b", "callCount": -1}]}',
            "a: `data[0].callCount` is `-1`; expected a number, 0 or more",
        ),
        (
            '{"data": [{"parent": "a", "child": "b", "callCount": NaN}]}',
            "a: `data[0].callCount` is `nan`; expected a number, 0 or more",
        ),
        ('{"data": [{"traceID": "1", "spans": []}]}', "a: `data[0].parent` is missing; expected the name of a service"),
    ],
)
def test_dependencies_that_are_wrong(text: str, message: str) -> None:
    result = run(text, form="jaeger", options=Options(period=1))
    assert result.graph is None
    assert [str(p) for p in result.problems] == [message]


# --- Kiali ------------------------------------------------------------------------------------------------------------


class Kiali:
    """An answer of Kiali, put together node by node and edge by edge."""

    def __init__(self, kind: str = "versionedApp") -> None:
        self.kind = kind
        self.nodes: list[dict[str, object]] = []
        self.edges: list[dict[str, object]] = []

    def node(self, id_: str, kind: str, namespace: str = "shop", **data: object) -> None:
        fixed = {"id": id_, "nodeType": kind, "cluster": "east", "namespace": namespace, "healthData": None}
        self.nodes.append({"data": fixed | data})

    def app(self, name: str, version: str = "v1", namespace: str = "shop", **data: object) -> None:
        """A version of an app; its id is the app and the version."""
        workload = f"{name}-{version}"
        self.node(workload, "app", namespace, app=name, version=version, workload=workload, **data)

    def edge(self, source: str, target: str, rate: float | None = None, protocol: str = "http") -> None:
        rates = {} if rate is None else {protocol: f"{rate:.2f}", f"{protocol}PercentReq": "100.0"}
        traffic = {"protocol": protocol, "rates": rates, "responses": {"200": {"flags": {"-": "100.0"}}}}
        data = {"id": f"{source}-{target}-{protocol}", "source": source, "target": target, "traffic": traffic}
        self.edges.append({"data": data})

    def __str__(self) -> str:
        elements = {"nodes": self.nodes, "edges": self.edges}
        return json.dumps({"timestamp": 1, "duration": 600, "graphType": self.kind, "elements": elements})


INGRESS = {"isGateway": {"ingressInfo": {"hostnames": ["*"]}, "egressInfo": {}, "gatewayAPIInfo": {}}}
EGRESS = {"isGateway": {"ingressInfo": {}, "egressInfo": {"hostnames": ["*"]}, "gatewayAPIInfo": {}}}


def book(kind: str = "versionedApp") -> Kiali:
    """A page and its reviews in two versions, behind a gateway."""
    k = Kiali(kind)
    k.node("box", "box", app="reviews", isBox="app")
    k.app("gateway", "latest", "istio-system", isRoot=True, isOutside=True, **INGRESS)
    k.app("page", "v1")
    k.app("reviews", "v1", parent="box")
    k.app("reviews", "v2", parent="box")
    k.edge("gateway-latest", "page-v1", 10)
    k.edge("page-v1", "reviews-v1", 3)
    k.edge("page-v1", "reviews-v2", 1.5)
    return k


def test_versions_of_an_app_are_one_service() -> None:
    found = graph(str(book()))
    assert found.services["reviews"] == Service("reviews", versions=("v1", "v2"))
    assert found.services["page"] == Service("page", versions=("v1",), entry=True)
    assert rates(found) == {"page->reviews": 4.5}
    assert "what `gateway` calls comes from outside: each such is an entry" in notes(str(book()))


def test_services_are_called_after_what_requests_are_addressed_to() -> None:
    k = Kiali()
    k.app("web-app", destServices=[{"namespace": "shop", "name": "web"}, {"namespace": "other", "name": "x"}])
    k.app("cart-app", destServices=[{"namespace": "shop", "name": "cart"}, {"namespace": "shop", "name": "cart-v1"}])
    k.app("job", "unknown")
    k.node("plain", "workload", workload="plain-7")
    k.edge("job-unknown", "web-app-v1", 1)
    k.edge("job-unknown", "plain", 1)
    k.edge("web-app-v1", "cart-app-v1", 1)
    found = graph(str(k))
    assert calls(found) == ["job->plain-7", "job->web", "web->cart-app"]
    assert found.services["job"].versions == ()


def test_nodes_for_services_are_passed_through() -> None:
    k = Kiali()
    k.app("page")
    k.node("svc", "service", service="reviews")
    k.node("agg", "aggregate", aggregate="path=/x", app="reviews")
    k.app("reviews", "v1")
    k.app("audit", "v1")
    k.node("alone", "service", service="ratings")
    k.edge("page-v1", "svc", 9)
    k.edge("svc", "agg", 6)
    k.edge("agg", "reviews-v1", 6)
    k.edge("svc", "audit-v1", 3)
    k.edge("reviews-v1", "alone", 2)
    found = graph(str(k))
    assert rates(found) == {"page->audit": 3.0, "page->reviews": 6.0, "reviews->ratings": 2.0}


def test_a_graph_of_services() -> None:
    k = Kiali("service")
    for name in ("web", "cart"):
        k.node(name, "service", service=name)
    k.edge("web", "cart", 2)
    assert rates(graph(str(k))) == {"web->cart": 2.0}


def test_a_graph_of_workloads_has_versions_by_label() -> None:
    k = Kiali("workload")
    k.node("a", "workload", workload="web-v1", app="web", version="v1")
    k.node("b", "workload", workload="web-v2", app="web", version="v2")
    k.node("c", "workload", workload="cron", version="")
    k.edge("c", "a", 1)
    k.edge("c", "b", 1)
    found = graph(str(k))
    assert found.services["web"].versions == ("v1", "v2")
    assert rates(found) == {"cron->web": 2.0}


def test_what_is_outside() -> None:
    k = book()
    k.node("u", "unknown", "unknown", app="unknown", workload="unknown", isRoot=True, isInaccessible=True)
    k.app("pricing", "v1", "bank", isOutside=True)
    k.app("caller", "v1", "bank", isOutside=True, isRoot=True)
    k.node("se", "service", service="api.mail.com", isServiceEntry={"location": "MESH_EXTERNAL", "hosts": []})
    k.node("in", "service", service="vm", isServiceEntry={"location": "MESH_INTERNAL", "hosts": []})
    k.node("host", "service", "unknown", service="app.example.com", isInaccessible=True)
    k.node("nobody", "service", "unknown", service="unknown")
    k.node("pass", "service", "unknown", service="PassthroughCluster")
    k.app("egress", "latest", "istio-system", **EGRESS)
    k.app("ratings")
    for target in ("pricing-v1", "se", "in", "nobody", "pass", "egress-latest", "gateway-latest"):
        k.edge("reviews-v1", target, 1)
    k.edge("egress-latest", "host", 1)
    k.edge("u", "ratings-v1", 1)
    k.edge("caller-v1", "reviews-v1", 1)
    found = graph(str(k))
    assert entries(found) == ["page", "ratings", "reviews"]
    external = [s.name for s in found.services.values() if s.external]
    assert external == ["api.mail.com", "app.example.com", "pricing"]
    assert sorted(set(found.services) - set(external)) == ["egress", "page", "ratings", "reviews", "vm"]
    said = notes(str(k))
    assert "calls of `reviews` to `unknown` are left out" in said
    assert "calls of `reviews` to `PassthroughCluster` are left out" in said
    assert "calls of `reviews` to the gateway `gateway` are left out" in said
    assert "not of the namespaces that Kiali was asked for, so taken for external: `pricing`" in said


def test_waypoints_are_no_services() -> None:
    k = Kiali("workload")
    k.node("w", "workload", workload="waypoint", isWaypoint=True)
    k.node("a", "workload", workload="a-v1", app="a", version="v1")
    k.node("b", "workload", workload="b-v1", app="b", version="v1")
    k.edge("a", "w", 1, "tcp")
    k.edge("w", "b", 1, "tcp")
    k.edge("w", "a", 1, "tcp")
    k.edge("a", "b", 5)
    found = graph(str(k))
    assert rates(found) == {"a->b": 5.0}
    assert "waypoints are no services: `waypoint`" in notes(str(k))


def test_protocols_are_those_of_the_traffic() -> None:
    k = Kiali()
    for name in ("a", "b", "c", "d"):
        k.app(name)
    k.edge("a-v1", "b-v1", 2, "grpc")
    k.edge("a-v1", "b-v1", 1, "http")
    k.edge("a-v1", "b-v1", 900, "tcp")
    k.edge("a-v1", "c-v1", 900, "tcp")
    k.edge("a-v1", "d-v1", None, "http")
    found = graph(str(k))
    assert [found.services[n].protocol for n in "abcd"] == ["http", "grpc", "tcp", "http"]
    assert rates(found) == {"a->b": 3.0, "a->c": None, "a->d": None}
    assert "`b` speaks `grpc`, `http`; the one with the most requests counts" in notes(str(k))


def test_answers_about_several_namespaces_are_one_graph() -> None:
    one, other = Kiali(), Kiali()
    for k, outside in ((one, "db"), (other, "web")):
        for name, namespace in (("web", "front"), ("db", "back")):
            k.app(name, "v1", namespace, labels={"tier": namespace}, **({"isOutside": True} if name == outside else {}))
        k.edge("web-v1", "db-v1", 7)
    found = graph(str(one), str(other))
    assert rates(found) == {"web->db": 7.0}
    assert [s.external for s in found.services.values()] == [False, False]
    assert found.services["db"].labels == (("namespace", "back"), ("tier", "back"))


def test_apps_of_one_name_are_told_apart_by_namespace() -> None:
    k = Kiali()
    k.app("db", "v1", "red")
    k.app("db", "v2", "blue")
    k.edge("db-v1", "db-v2", 1)
    assert calls(graph(str(k))) == ["db.red->db.blue"]


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        (
            {"nodes": [{"data": {"nodeType": "app"}}]},
            "`elements.nodes[0].data.id` is missing; expected the id of a node",
        ),
        (
            {"nodes": [{"data": {"id": "1", "nodeType": "app"}}]},
            "`elements.nodes[0].data.app` is missing; expected the name of a node of the type `app`",
        ),
        (
            {"nodes": [{"data": {"id": "1", "nodeType": "pod"}}]},
            "`elements.nodes[0].data.nodeType` is `pod`; "
            "expected `app`, `workload`, `service`, `aggregate`, `box` or `unknown`",
        ),
        (
            {"nodes": [], "edges": [{"data": {"source": "1", "target": "2"}}]},
            "`elements.edges[0].data.source` is `1`; expected the id of a node",
        ),
        ({"nodes": [], "edges": {"a": 1}}, "`elements.edges` is a map; expected a list"),
    ],
)
def test_answers_of_kiali_that_are_wrong(elements: object, message: str) -> None:
    result = run(json.dumps({"elements": elements}))
    assert result.graph is None
    assert [str(p) for p in result.problems] == [f"a: {message}"]
