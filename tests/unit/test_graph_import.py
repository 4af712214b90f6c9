"""A service graph from Kubernetes manifests."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from importing import calls, entries, graph, notes, run
from m4c.semantics.model import Service


def deployment(
    name: str,
    env: Sequence[object] = (),
    kind: str = "Deployment",
    namespace: str = "",
    args: Sequence[str] = (),
    env_from: Sequence[object] = (),
    **labels: str,
) -> str:
    """A workload whose pods carry labels (`app` by default); `A=b` in `env` is short for a variable."""
    variables = [dict(zip(("name", "value"), e.split("=", 1), strict=True)) if isinstance(e, str) else e for e in env]
    pods = {
        "metadata": {"labels": labels or {"app": name}},
        "spec": {"containers": [{"name": "c", "env": variables, "envFrom": list(env_from), "args": list(args)}]},
    }
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return json.dumps({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"template": pods}})


def service(name: str, namespace: str = "", ports: Sequence[object] = (), **spec: object) -> str:
    """A Service that selects the app of its name, unless told otherwise."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    full = {"selector": {"app": name}, "ports": list(ports)} | spec
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": full})


def manifest(kind: str, spec: object, api: str = "v1", **more: object) -> str:
    return json.dumps({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}, "spec": spec} | more)


def stream(*objects: str) -> str:
    return "\n---\n".join(objects)


SHOP = """
    apiVersion: apps/v1
    kind: Deployment
    metadata: {name: frontend}
    spec:
      template:
        metadata: {labels: {app: frontend, tier: web}}
        spec:
          initContainers:
          - name: wait
            env:
            - {name: CURRENCY_ADDR, value: "currency:7000"}
          containers:
          - name: server
            env:
            - {name: PORT, value: "8080"}
            - {name: CART_ADDR, value: "cart:7070"}
            - {name: CATALOG_URL, value: "http://catalog.shop.svc.cluster.local/items"}
            - {name: SELF, value: "http://frontend:80"}
            - {name: UNKNOWN_ADDR, value: "elsewhere:80"}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: frontend}
    spec: {selector: {app: frontend}, ports: [{name: http, port: 80}]}
    ---
    apiVersion: v1
    kind: Service
    metadata: {name: frontend-external}
    spec: {type: LoadBalancer, selector: {app: frontend}, ports: [{name: http, port: 80}]}
"""


def test_a_shop_of_manifests() -> None:
    rest = [x for n in ("cart", "catalog", "currency") for x in (deployment(n), service(n, ports=[{"name": "grpc"}]))]
    found = graph(SHOP, stream(*rest), stream(deployment("load", ["FRONTEND_ADDR=frontend:80"])))
    assert found.services["frontend"] == Service("frontend", labels=(("tier", "web"),), entry=True)
    assert found.services["cart"] == Service("cart", protocol="grpc")
    assert list(found.services) == ["cart", "catalog", "currency", "frontend", "load"]
    assert calls(found) == ["frontend->cart", "frontend->catalog", "frontend->currency", "load->frontend"]


def test_workloads_of_one_service_are_its_versions() -> None:
    found = graph(
        stream(
            service("reviews"),
            service("reviews-v1", selector={"app": "reviews", "version": "v1"}),
            *(deployment(f"reviews-{v}", app="reviews", version=v) for v in ("v10", "v2", "v1")),
            deployment("page", ["A=http://reviews-v1:80"]),
        )
    )
    assert found.services["reviews"].versions == ("v1", "v2", "v10")
    assert list(found.services) == ["page", "reviews"]
    assert calls(found) == ["page->reviews"]


def test_a_service_over_several_stands_for_each() -> None:
    text = stream(
        service("shop", selector={"part-of": "shop"}, type="NodePort"),
        service("cart"),
        service("db"),
        *(deployment(n, app=n, **{"part-of": "shop"}) for n in ("cart", "db", "job")),
        deployment("probe", ["SHOP=http://shop/"]),
    )
    found = graph(text)
    assert list(found.services) == ["cart", "db", "job", "probe"]
    assert calls(found) == ["probe->cart", "probe->db", "probe->job"]
    assert entries(found) == ["cart", "db", "job"]
    assert [n for n in notes(text) if "stands for each: `cart`, `db`, `job`" in n]


def test_versions_without_a_label_are_told() -> None:
    text = stream(service("a"), deployment("a-1", app="a", version="v1"), deployment("a-2", app="a"))
    assert graph(text).services["a"].versions == ("v1",)
    assert [n for n in notes(text) if "versions of `a` without a pod label `version` are left out: `a-2`" in n]


@pytest.mark.parametrize(
    ("ports", "protocol"),
    [
        ([{"name": "grpc-web"}], "grpc-web"),
        ([{"name": "grpc-api"}], "grpc"),
        ([{"name": "https"}], "https"),
        ([{"name": "tcp-redis"}], "tcp"),
        ([{"name": "web"}], "http"),
        ([{"name": "grpcapi"}], "http"),
        ([{"name": "web", "appProtocol": "kubernetes.io/h2c"}], "http2"),
        ([{"name": "http", "appProtocol": "kubernetes.io/wss"}], "https"),
        ([{"name": "http", "appProtocol": "postgresql"}], "postgresql"),
        ([{"name": "dns", "protocol": "UDP"}], "udp"),
        ([{"name": "http-metrics"}, {"name": "grpc"}], "grpc"),
        ([{"name": "http-metrics"}], "http"),
        ([{"port": 80}], "http"),
    ],
)
def test_protocols_of_ports(ports: list[object], protocol: str) -> None:
    assert graph(stream(service("a", ports=ports), deployment("a"))).services["a"].protocol == protocol


def test_several_protocols_are_told() -> None:
    text = stream(service("a", ports=[{"name": "grpc"}, {"name": "http"}]), deployment("a"))
    assert graph(text).services["a"].protocol == "grpc"
    assert [n for n in notes(text) if "speaks several protocols, grpc on `grpc`, http on `http`; the first counts" in n]


INGRESS = {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "a"}}}]}}], "defaultBackend": {}}
OLD_INGRESS = {"backend": {"serviceName": "a", "servicePort": 80}}
ROUTE = {"rules": [{"backendRefs": [{"name": "a", "port": 80}, {"name": "b", "kind": "Bucket"}]}]}
GATEWAY = {"http": [{"route": [{"destination": {"host": "a.shop.svc.cluster.local"}}]}]}


@pytest.mark.parametrize(
    ("door", "opens"),
    [
        (manifest("Ingress", INGRESS), True),
        (manifest("Ingress", OLD_INGRESS), True),
        (manifest("HTTPRoute", ROUTE | {"parentRefs": [{"name": "g"}]}), True),
        (manifest("GRPCRoute", ROUTE | {"parentRefs": [{"name": "g", "kind": "Gateway"}]}), True),
        (manifest("HTTPRoute", ROUTE | {"parentRefs": [{"name": "b", "kind": "Service"}]}), False),
        (manifest("VirtualService", GATEWAY | {"gateways": ["g"]}), True),
        (manifest("VirtualService", GATEWAY | {"gateways": ["mesh"]}), False),
        (manifest("VirtualService", GATEWAY), False),
        (service("other", selector={"app": "a"}, type="NodePort"), True),
        (service("other", selector={"app": "a"}, externalIPs=["10.0.0.1"]), True),
        (service("other", selector={"app": "a"}), False),
    ],
)
def test_doors(door: str, opens: bool) -> None:
    lets_in = service("b", type="LoadBalancer")
    found = graph(stream(service("a"), deployment("a"), lets_in, deployment("b"), door))
    assert entries(found) == (["a", "b"] if opens else ["b"])


def test_doors_that_lead_nowhere_or_are_not_read_are_told() -> None:
    text = stream(service("b"), manifest("Ingress", INGRESS), manifest("IngressRoute", {}, api="traefik.io/v1alpha1"))
    said = notes(text)
    assert [n for n in said if "Ingress `x` leads to `a`, which is not among the inputs" in n]
    assert [n for n in said if "a IngressRoute of traefik.io is not read: say `entry: true`" in n]


@pytest.mark.parametrize(
    "setting",
    [
        "X=db:5432",
        "X=http://db",
        "X=postgres://user:p%40ss@db:5432/app?ssl=1",
        "X=jdbc:postgresql://db:5432/app",
        "X=mongodb://other:1,db:2/app",
        "X=user:pass@tcp(db:3306)/app",
        "X=Host=db;Port=5432;Username=u",
        "X=dns:///db:5432",
        "X=db-0.db:5432,db-1.db:5432",
        "X=db.shop.svc.cluster.local",
        "X=db-0.db.shop.svc",
        "X=http://DB.shop:80/",
        'X={"store": "tcp://db:1"}',
        "X_HOST=db",
        "xServers=other, db",
        "DATABASE_URL=db.shop",
    ],
)
def test_settings_that_name_a_service(setting: str) -> None:
    text = stream(
        service("db", "shop"), deployment("db", namespace="shop"), deployment("a", [setting], namespace="shop")
    )
    assert calls(graph(text)) == ["a->db"]


@pytest.mark.parametrize(
    "setting",
    [
        "DB_USER=db",
        "POSTGRES_DB=db",
        "APP_NAME=db",
        "IMAGE=db:16",
        "X=db:16.2",
        "X=db:16-alpine",
        "X=registry/db:16",
        "X=file:///db/x",
        "X=the db is slow",
        "X=mydb:5432",
        "X=db.example.com:5432",
        "X_HOST=db.elsewhere",
    ],
)
def test_settings_that_name_none(setting: str) -> None:
    text = stream(
        service("db", "shop"), deployment("db", namespace="shop"), deployment("a", [setting], namespace="shop")
    )
    assert calls(graph(text)) == []
    assert [n for n in notes(text) if "may be" in n] == []
    assert "no input knows of calls to or from `a`, `db`" in notes(text)


def test_a_bare_word_is_told_but_is_no_call() -> None:
    text = stream(service("db"), deployment("db"), deployment("a", ["STORE=db"]))
    assert calls(graph(text)) == []
    assert [n for n in notes(text) if "`STORE` of Deployment `a` may be the address of `db`; no call" in n]


def test_settings_from_elsewhere() -> None:
    secret = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    config = {"name": "ONE", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "one"}}}
    gone = {"name": "TWO", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "one"}}}
    text = stream(
        *(y for n in ("one", "two", "three") for y in (service(n), deployment(n))),
        deployment(
            "a",
            [secret, config, gone, "H=three", "THREE=http://$(H):$(PORT)/$(HOME)"],
            env_from=[{"configMapRef": {"name": "x"}, "prefix": "P_"}, {"secretRef": {"name": "all"}}],
            args=["--verbose"],
        ),
        manifest("ConfigMap", None, data={"one": "one:80", "URL": "http://two"}),
    )
    assert calls(graph(text)) == ["a->one", "a->three", "a->two"]
    said = notes(text)
    assert [n for n in said if "Deployment `a`: what comes from Secrets is not read: `KEY`, `all`" in n]
    assert [n for n in said if "`TWO` of Deployment `a` is in ConfigMap `gone`, which is not among the inputs" in n]


def test_arguments_of_containers_name_services_too() -> None:
    text = stream(
        service("db"), deployment("db"), deployment("a", args=["--store=tcp://db:1", "db"], kind="StatefulSet")
    )
    assert calls(graph(text)) == ["a->db"]


def test_what_another_workload_made_is_not_counted_again() -> None:
    owned = json.loads(deployment("a-5d4f", kind="ReplicaSet", app="a", **{"pod-template-hash": "5d4f"}))
    owned["metadata"]["ownerReferences"] = [{"kind": "Deployment", "name": "a"}]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "a-5d4f-x2",
            "labels": {"app": "a", "pod-template-hash": "5d4f"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "a-5d4f"}],
        },
        "spec": {"containers": [{"name": "c"}]},
    }
    everything = [json.loads(deployment("a", app="a")), owned, pod]
    listing = {"apiVersion": "v1", "kind": "List", "items": everything}
    assert list(graph(json.dumps(listing)).services) == ["a"]
    alone = {"apiVersion": "v1", "kind": "PodList", "items": [pod | {"apiVersion": "v1", "kind": "Pod"}]}
    assert list(graph(json.dumps(alone)).services) == ["a"]


def test_namespaces_tell_names_apart() -> None:
    text = stream(
        *(x for n in ("red", "blue") for x in (service("db", n), deployment("db", namespace=n))),
        deployment("a", ["ONE_HOST=db", "TWO=http://db.blue.svc:80"], namespace="red"),
        deployment("b", ["ONE=http://db"], namespace="blue"),
    )
    found = graph(text)
    assert list(found.services) == ["a", "b", "db.blue", "db.red"]
    assert calls(found) == ["a->db.blue", "a->db.red", "b->db.blue"]
    assert found.services["a"].labels == (("namespace", "red"),)
    assert [
        n for n in notes(text) if "several namespaces have services named `db`: these are called NAME.NAMESPACE" in n
    ]


def test_what_is_outside_the_cluster() -> None:
    text = stream(
        service("stripe", selector=None, type="ExternalName", externalName="api.stripe.com"),
        service("alias", selector=None, type="ExternalName", externalName="db.default.svc.cluster.local"),
        service("legacy", selector=None),
        manifest("ServiceEntry", {"hosts": ["api.mail.com", "*.x.com"], "ports": [{"protocol": "HTTPS"}]}),
        service("db"),
        deployment("db"),
        deployment("a", ["A=https://api.stripe.com/", "B=http://alias", "C=legacy:1", "D=https://api.mail.com"]),
        service("kubernetes", selector=None).replace('"name":', '"labels": {"component": "apiserver"}, "name":', 1),
    )
    found = graph(text)
    assert calls(found) == ["a->api.mail.com", "a->db", "a->legacy", "a->stripe"]
    assert [s.name for s in found.services.values() if s.external] == ["api.mail.com", "legacy", "stripe"]
    assert found.services["api.mail.com"].protocol == "https"


POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("apiVersion: v1\nkind: Service\nspec: {}\n", 1, "`metadata.name` is missing; expected the name of a Service"),
        (POD.replace("Pod", "Service") + "spec:\n  ports: 80\n", 5, "`spec.ports` is `80`; expected a list"),
        (POD + "spec:\n  containers: {a: 1}\n", 5, "`spec.containers` is a map; expected a list"),
        (POD + "spec:\n  containers:\n  - web\n", 6, "`spec.containers[0]` is `web`; expected a map"),
        (POD.replace("{name: a}", "\n  name: [a]"), 4, "`metadata.name` is a list; expected a text"),
        (POD + "spec: !!python/tuple [a]\n", 4, "`spec` has the tag `!!python/tuple`, which is not plain data"),
    ],
)
def test_manifests_that_are_wrong(text: str, line: int, message: str) -> None:
    result = run(text)
    assert result.graph is None
    assert [str(p) for p in result.problems] == [f"a:{line}: {message}"]


def test_an_object_that_is_there_twice_counts_once() -> None:
    one, other = deployment("a", ["X=http://b"]), deployment("a", ["X=http://c"])
    text = stream(one, other, *(x for n in "bc" for x in (service(n), deployment(n))))
    assert calls(graph(text)) == ["a->b"]
    assert [n for n in notes(text) if "Deployment `a` is there twice; the one in a:1 counts" in n]


def test_overlays_are_not_applied() -> None:
    text = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [a.yaml]\n"
    assert notes(stream(deployment("a")), text)[0] == (
        "b:1: overlays are not applied: import what `kubectl kustomize` prints"
    )
