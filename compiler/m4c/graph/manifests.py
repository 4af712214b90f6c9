"""The objects of Kubernetes manifests that a service graph is read off: workloads, Services, and what leads to them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from m4c.graph.documents import Malformed, Value
from m4c.graph.imported import Draft

_WORKLOADS = frozenset(
    ("CronJob", "DaemonSet", "Deployment", "DeploymentConfig", "Job", "Pod", "ReplicaSet", "ReplicationController")
) | {"Rollout", "StatefulSet"}
ROUTES = frozenset(("GRPCRoute", "HTTPRoute", "TCPRoute", "TLSRoute", "UDPRoute"))
_OTHER_DOORS = frozenset(("ApisixRoute", "HTTPProxy", "IngressRoute", "IngressRouteTCP", "Mapping", "Route"))
_PROTOCOLS = ("grpc-web", "grpc", "http2", "https", "http", "mongo", "mysql", "redis", "tcp", "tls", "udp")
_APP_PROTOCOLS = {"h2c": "http2", "ws": "http", "wss": "https"}
_ASIDE = re.compile(r"admin|debug|health|metric|monitor|probe|prometheus")  # ports beside the one that serves
# Labels in which the versions of one service may differ.
_VARIES = frozenset(("app.kubernetes.io/version", "color", "pod-template-hash", "slot", "track", "version"))
# Labels of pods that only tools need.
_BOOKKEEPING = re.compile(
    r"app\.kubernetes\.io/(?:managed-by|version)|apps\.kubernetes\.io/.*|batch\.kubernetes\.io/.*|chart|"
    r"controller-revision-hash|controller-uid|helm\.sh/.*|heritage|job-name|pod-template-(?:hash|generation)|"
    r"rollouts-pod-template-hash|(?:service|security|sidecar)\.istio\.io/.*|statefulset\.kubernetes\.io/.*|version"
)
_READ = _WORKLOADS | ROUTES | {"ConfigMap", "Ingress", "Service", "ServiceEntry", "VirtualService"}
_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object."""

    kind: str
    name: str
    namespace: str
    value: Value

    def __str__(self) -> str:
        return f"{self.kind} `{self.name}`"

    @property
    def where(self) -> tuple[str, str]:
        return self.namespace, self.name


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs pods. Those that a ReplicaSet has made are called after their Deployment."""

    at: Manifest
    name: str
    labels: Mapping[str, str]
    containers: tuple[Value, ...]

    @property
    def family(self) -> frozenset[tuple[str, str]]:
        """What workloads that are versions of one service have in common."""
        return frozenset((k, v) for k, v in self.labels.items() if k not in _VARIES)


@dataclass(frozen=True, eq=False, slots=True)
class Service:
    at: Manifest
    selector: tuple[tuple[str, str], ...]
    alias: bool  # a name for another host
    headless: bool
    reachable: bool  # from outside the cluster
    protocols: tuple[tuple[str, str], ...]  # of its ports, where known: the port and what is spoken there


def each_of(objects: Iterable[Manifest], read: Callable[[Manifest], _Read], draft: Draft) -> list[_Read]:
    """What can be read of the objects; the rest becomes problems."""
    found = []
    for o in objects:
        try:
            found.append(read(o))
        except Malformed as e:
            draft.problems.append(e.remark)
    return found


def manifests(documents: Iterable[Value], draft: Draft) -> dict[tuple[str, str, str], Manifest]:
    """By kind, namespace and name. Those that name no namespace are in that of the others, if they name only one."""
    found: dict[tuple[str, str, str], Manifest] = {}
    for document in documents:
        try:
            for o in _listed(document, draft):
                first = found.setdefault((o.kind, o.namespace, o.name), o)
                if first is not o:
                    draft.note(o.value, f"{o} is there twice; the one in {first.value.place} counts")
        except Malformed as e:
            draft.problems.append(e.remark)
    spaces = {namespace for _, namespace, _ in found if namespace}
    if len(spaces) != 1:
        return found
    only = spaces.pop()
    placed: dict[tuple[str, str, str], Manifest] = {}
    for (kind, namespace, name), o in found.items():
        placed.setdefault((kind, namespace or only, name), replace(o, namespace=namespace or only))
    return placed


def _listed(document: Value, draft: Draft) -> Iterator[Manifest]:
    if document.get("kind").absent:
        raise document.get("kind").wrong("the kind of a Kubernetes object")
    kind, group = document.get("kind").text(), document.get("apiVersion").text().rpartition("/")[0]
    if kind.endswith("List") and document.get("items").is_list:
        for item in document.get("items").items():
            yield from _listed(item, draft)
        return
    if kind == "Kustomization":
        draft.note(document, "overlays are not applied: import what `kubectl kustomize` prints")
    elif kind in _OTHER_DOORS or (kind == "Service" and group):
        draft.note(document, f"a {kind} of {group} is not read: say `entry: true` where it lets traffic in")
    elif kind in _READ:
        name = document.get("metadata", "name")
        if not name.text():
            raise name.wrong(f"the name of a {kind}")
        if document.get("metadata", "labels", "component").text() != "apiserver":  # the cluster's own
            yield Manifest(kind, name.text(), document.get("metadata", "namespace").text(), document)


def running(objects: Mapping[tuple[str, str, str], Manifest], draft: Draft) -> Iterator[Manifest]:
    """The workloads, without those that another one has made."""
    for o in objects.values():
        if o.kind not in _WORKLOADS:
            continue
        owners = [(i.get("kind").text(), o.namespace, i.get("name").text()) for i in _owners(o)]
        if not any(owner in objects for owner in owners):
            yield o


def _owners(o: Manifest) -> Sequence[Value]:
    owners = o.value.get("metadata", "ownerReferences")
    return owners.items() if owners.is_list else ()


def workload_of(o: Manifest) -> Workload:
    template = o.value
    if o.kind == "CronJob":
        template = template.get("spec", "jobTemplate")
    if o.kind != "Pod":
        template = template.get("spec", "template")
    labels = texts(template.get("metadata", "labels"))
    name = next((i.get("name").text() for i in _owners(o)), "") or o.name
    suffix = labels.get("pod-template-hash")
    name = name.removesuffix(f"-{suffix}") if suffix else name
    spec = template.get("spec")
    return Workload(o, name, labels, (*spec.get("initContainers").items(), *spec.get("containers").items()))


def service_of(o: Manifest) -> Service:
    spec = o.value.get("spec")
    kind = spec.get("type").text()
    ports = [(p, _spoken(p)) for p in spec.get("ports").items()]
    serving = [x for x in ports if not _ASIDE.search(x[0].get("name").text())] or ports
    return Service(
        o,
        tuple(sorted(texts(spec.get("selector")).items())),
        kind == "ExternalName",
        spec.get("clusterIP").text() == "None",
        kind in ("LoadBalancer", "NodePort") or bool(spec.get("externalIPs").items()),
        tuple((p.get("name").text() or p.get("port").text(), spoken) for p, spoken in serving if spoken),
    )


def _spoken(item: Value) -> str:
    """The protocol of a Service's port: what it says, else what its name starts with, as Istio reads it."""
    said = item.get("appProtocol").text().lower().removeprefix("kubernetes.io/")
    if said:
        return _APP_PROTOCOLS.get(said, said)
    name, transport = item.get("name").text().lower(), item.get("protocol").text().lower()
    known = next((p for p in _PROTOCOLS if name == p or name.startswith(f"{p}-")), "")
    return known or (transport if transport != "tcp" else "")


def texts(value: Value) -> dict[str, str]:
    return {k: v.text() for k, v in value.fields().items()}


def telling(labels: Mapping[str, str], *names: str) -> dict[str, str]:
    """The labels that tell something of a service beyond its names."""
    return {k: v for k, v in labels.items() if not _BOOKKEEPING.fullmatch(k) and v not in ("", *names)}
