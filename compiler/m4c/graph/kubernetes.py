"""Reads a service graph off Kubernetes manifests.

A service of the graph is what a Service selects: the workloads of one Service are its versions, told apart by the pod
label `version`. A workload that no Service selects is a service by itself. Calls come from the settings of containers
that name another Service's DNS name; entries from Ingresses, routes of the Gateway API and of Istio's gateways, and
Services that can be reached from outside the cluster.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from m4c.graph.addresses import certain, hosts
from m4c.graph.documents import Value
from m4c.graph.imported import Draft, Imported, Known, Options, listed
from m4c.graph.manifests import (
    ROUTES,
    Manifest,
    Service,
    Workload,
    each_of,
    manifests,
    running,
    service_of,
    telling,
    workload_of,
)

TITLE = "Kubernetes manifests"


@dataclass(eq=False, slots=True)
class _Group:
    """A service of the graph: Services with the same workloads behind them, or a workload without any."""

    name: str
    namespace: str
    services: list[Service] = field(default_factory=list)  # the one that gives the name first
    workloads: list[Workload] = field(default_factory=list)


@dataclass(slots=True)
class _Directory:
    """Which services of the graph a DNS name stands for."""

    behind: dict[tuple[str, str], tuple[str, ...]]  # by namespace and Service
    namespaces: frozenset[str]
    outside: dict[str, str] = field(default_factory=dict)  # by host

    def find(self, host: str, namespace: str) -> tuple[str, ...]:
        """The services behind a host, as it is called in a namespace."""
        labels = host.lower().rstrip(".").split(".")
        if "svc" in labels[2:]:  # POD.SERVICE.NAMESPACE.svc.DOMAIN
            labels = labels[: labels.index("svc", 2)]
        elif host in self.outside:
            return (self.outside[host],)
        match labels:
            case [service]:
                return self._at(namespace, service)
            case [first, second]:
                return self._at(second, first) or (self._at(namespace, second) if _is_pod(first) else ())
            case [first, second, third] if _is_pod(first):
                return self._at(third, second)
        return ()

    def _at(self, namespace: str, service: str) -> tuple[str, ...]:
        """Manifests that name no namespace may be of any that is not among the inputs."""
        found = self.behind.get((namespace, service), ())
        return found if found or namespace in self.namespaces else self.behind.get(("", service), ())


def recognises(document: Value) -> bool:
    return document.is_map and all(document.get(k).is_text for k in ("apiVersion", "kind"))


def imported(documents: Sequence[Value], options: Options) -> Imported:
    draft = Draft()
    objects = manifests(documents, draft)
    services = each_of((o for o in objects.values() if o.kind == "Service"), service_of, draft)
    workloads = each_of(running(objects, draft), workload_of, draft)
    groups, behind = _grouped(services, workloads, draft)
    names = _names(groups, draft)
    several = len({g.namespace for g in groups}) > 1
    for group in groups:
        draft.service(names[group], _known(group, names[group], several, draft))
    directory = _Directory(
        {key: tuple(names[g] for g in found) for key, found in behind.items()},
        frozenset(o.namespace for o in objects.values()),
    )
    for name in chain.from_iterable(directory.behind.get(s.at.where, ()) for s in services if s.reachable):
        draft.service(name, Known(entry=True))
    each_of(objects.values(), partial(_external, directory, draft), draft)
    each_of(objects.values(), partial(_doors, directory, draft), draft)
    configs = {(o.namespace, o.name): o.value.get("data") for o in objects.values() if o.kind == "ConfigMap"}
    for group in groups:
        for workload in group.workloads:
            each_of([workload.at], partial(_calls, names[group], workload, configs, directory, draft), draft)
    return draft.done()


def _is_pod(label: str) -> bool:
    """Whether a part of a DNS name is a pod of a StatefulSet, as in `kafka-0.kafka`."""
    return re.fullmatch(r".+-\d+", label) is not None


# --- services of the graph --------------------------------------------------------------------------------------------


def _grouped(
    services: Sequence[Service], workloads: Sequence[Workload], draft: Draft
) -> tuple[list[_Group], dict[tuple[str, str], tuple[_Group, ...]]]:
    """The services of the graph, and which of them are behind each Service.

    A workload belongs to the largest Service that selects versions of one service only, as `reviews` beside
    `reviews-v1`. A Service that selects more, and has one for a part of it beside it, stands for several.
    """
    selected = _selected(services, workloads)
    selecting: dict[int, list[Service]] = defaultdict(list)
    for service, found in selected.items():
        for i in found:
            selecting[i].append(service)
    mixed = {s: len({workloads[i].family for i in found}) > 1 for s, found in selected.items()}
    broad = {
        s for s, found in selected.items() if mixed[s] and any(selected[t] < found for i in found for t in selecting[i])
    }

    def rank(service: Service) -> tuple[object, ...]:
        found = selected[service]
        named = service.at.name in {workloads[i].name for i in found}
        plain = (not named, service.reachable, service.headless, len(service.at.name), service.at.name)
        return (mixed[service], len(found) if mixed[service] else -len(found), *plain)

    ranked = sorted(selected, key=rank)
    place = {s: i for i, s in enumerate(ranked)}
    groups: dict[tuple[str, str], _Group] = {}
    for service in services:
        if service not in selected and not service.alias:
            groups[service.at.where] = _Group(service.at.name, service.at.namespace, [service])
    own: list[_Group] = []
    for i, workload in enumerate(workloads):
        chosen = min((s for s in selecting[i] if s not in broad), key=place.__getitem__, default=None)
        where = chosen.at.where if chosen else (workload.at.namespace, workload.name)
        group = groups.setdefault(where, _Group(where[1], where[0]))
        if chosen is None and group.services:
            draft.note(workload.at.value, f"{workload.at} is taken to be behind the Service of its name")
        group.workloads.append(workload)
        own.append(group)
    behind: dict[tuple[str, str], tuple[_Group, ...]] = {
        where: (group,) for where, group in groups.items() if group.services
    }
    for service in ranked:
        parts = tuple(dict.fromkeys(own[i] for i in sorted(selected[service])))
        behind[service.at.where] = parts
        if len(parts) == 1:
            parts[0].services.append(service)
        else:
            which = listed(sorted(g.name for g in parts))
            draft.note(service.at.value, f"{service.at} selects pods of several services and stands for each: {which}")
    return [groups[where] for where in sorted(groups)], behind


def _selected(services: Sequence[Service], workloads: Sequence[Workload]) -> dict[Service, frozenset[int]]:
    """The workloads that each Service selects; not those that select none."""
    carrying: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for i, workload in enumerate(workloads):
        for k, v in workload.labels.items():
            carrying[workload.at.namespace, k, v].add(i)
    found = {}
    for s in services:
        some = [carrying.get((s.at.namespace, k, v), set()) for k, v in s.selector]
        if some and (all_ := frozenset(set.intersection(*some))):
            found[s] = all_
    return found


def _names(groups: Sequence[_Group], draft: Draft) -> dict[_Group, str]:
    """The name of each in the graph: its own; with the namespace if another namespace has one of that name."""
    spaces: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        spaces[group.name].add(group.namespace)
    twice = sorted(name for name, found in spaces.items() if len(found) > 1)
    if twice:
        draft.note(None, f"several namespaces have services named {listed(twice)}: these are called NAME.NAMESPACE")
    return {g: f"{g.name}.{g.namespace or 'default'}" if g.name in twice else g.name for g in groups}


def _known(group: _Group, name: str, with_namespace: bool, draft: Draft) -> Known:
    first = group.services[0] if group.services else None
    pods = [w.labels for w in group.workloads]
    labels = dict(set.intersection(*(set(p.items()) for p in pods))) if pods else {}
    labels = telling(labels, name, group.name)
    if with_namespace and group.namespace:
        labels.setdefault("namespace", group.namespace)
    versions = [p["version"] for p in pods if p.get("version")]
    if len(pods) > 1 and len(versions) < len(pods):
        without = listed(sorted(str(w.at.name) for w in group.workloads if not w.labels.get("version")))
        draft.note(
            group.workloads[0].at.value, f"versions of `{name}` without a pod label `version` are left out: {without}"
        )
    spoken = list(dict.fromkeys(p for s in group.services for p in s.protocols))
    if len({protocol for _, protocol in spoken}) > 1 and first is not None:
        ports = ", ".join(f"{protocol} on `{where}`" for where, protocol in spoken)
        draft.note(first.at.value, f"`{name}` speaks several protocols, {ports}; the first counts")
    external = False
    if first is not None and not pods:
        external = not first.selector
        why = "has no selector: taken for external" if external else "selects no pods of the inputs"
        draft.note(first.at.value, f"{first.at} {why}")
    return Known(
        tuple(versions),
        tuple(sorted(labels.items())),
        spoken[0][1] if spoken else None,
        external=external,
    )


# --- what is outside, and the doors -----------------------------------------------------------------------------------


def _external(directory: _Directory, draft: Draft, o: Manifest) -> None:
    """Adds the services outside the cluster that a Service or an Istio ServiceEntry gives a name."""
    spec = o.value.get("spec")
    if o.kind == "Service" and spec.get("type").text() == "ExternalName":
        host = spec.get("externalName").text().lower().rstrip(".")
        found = directory.find(host, o.namespace)
        if not found:
            name = f"{o.name}.{o.namespace or 'default'}" if o.name in draft.services else o.name
            draft.service(name, Known(external=True))
            directory.outside[host] = name
            found = (name,)
        directory.behind[o.where] = found
    elif o.kind == "ServiceEntry":
        protocol = next((p.get("protocol").text().lower() for p in spec.get("ports").items()), "")
        for item in spec.get("hosts").items():
            host = item.text().lower()
            if host.startswith("*"):
                draft.note(item, f"{o}: the hosts `{host}` are many, and left out")
            elif not directory.find(host, o.namespace):
                inside = spec.get("location").text() == "MESH_INTERNAL"
                draft.service(host, Known(protocol=protocol or None, external=not inside))
                directory.outside[host] = host


def _doors(directory: _Directory, draft: Draft, o: Manifest) -> None:
    """Marks the services that an Ingress or a route lets outside traffic into."""
    for host, namespace in _let_in(o):
        found = directory.find(host.text(), namespace or o.namespace)
        for name in found:
            draft.service(name, Known(entry=True))
        if not found:
            draft.note(host, f"{o} leads to `{host.text()}`, which is not among the inputs")


def _let_in(o: Manifest) -> Iterator[tuple[Value, str]]:
    """The hosts that traffic from outside is led to, and their namespace if one is given."""
    spec = o.value.get("spec")
    if o.kind == "Ingress":
        backends = [spec.get("defaultBackend"), spec.get("backend")]
        for rule in spec.get("rules").items():
            backends += [path.get("backend") for path in rule.get("http", "paths").items()]
        for backend in backends:
            for name in (backend.get("service", "name"), backend.get("serviceName")):
                if name.text():
                    yield name, ""
    elif o.kind in ROUTES:
        if any(p.get("kind").text() not in ("", "Gateway") for p in spec.get("parentRefs").items()):
            return  # a route inside the mesh
        for rule in spec.get("rules").items():
            for backend in rule.get("backendRefs").items():
                if backend.get("kind").text() in ("", "Service") and backend.get("name").text():
                    yield backend.get("name"), backend.get("namespace").text()
    elif o.kind == "VirtualService" and any(g.text() != "mesh" for g in spec.get("gateways").items()):
        for kind in ("http", "tls", "tcp"):
            for rule in spec.get(kind).items():
                for destination in rule.get("route").items():
                    host = destination.get("destination", "host")
                    if host.text():
                        yield host, ""


# --- calls ------------------------------------------------------------------------------------------------------------


def _calls(
    name: str,
    workload: Workload,
    configs: Mapping[tuple[str, str], Value],
    directory: _Directory,
    draft: Draft,
    o: Manifest,
) -> None:
    """Adds the calls of a workload: a container that is told where a service is calls it."""
    for container in workload.containers:
        for setting, at, value in _settings(o, container, configs, draft):
            sure, doubtful = hosts(setting, value)
            for host in sure:
                for callee in directory.find(host, o.namespace):
                    if callee != name:
                        draft.call(name, callee)
            maybe = sorted({c for host in doubtful for c in directory.find(host, o.namespace)} - {name})
            if maybe:
                draft.note(at, f"`{setting}` of {o} may be the address of {listed(maybe)}; no call is taken from it")
        for argument in (*_words(container.get("command")), *_words(container.get("args"))):
            for host in certain(argument.text()):
                for callee in directory.find(host, o.namespace):
                    if callee != name:
                        draft.call(name, callee)


def _settings(
    o: Manifest, container: Value, configs: Mapping[tuple[str, str], Value], draft: Draft
) -> list[tuple[str, Value, str]]:
    """The environment of a container: each variable, where it stands, its value with `$(OTHER)` filled in."""
    found: dict[str, tuple[Value, str]] = {}
    secret: list[str] = []
    for source in container.get("envFrom").items():
        prefix, config = source.get("prefix").text(), source.get("configMapRef", "name").text()
        if source.get("secretRef", "name").text():
            secret.append(source.get("secretRef", "name").text())
        elif (o.namespace, config) in configs:
            found |= {prefix + k: (v, v.text()) for k, v in configs[o.namespace, config].fields().items()}
        elif config:
            draft.note(source, f"{o} takes its environment from ConfigMap `{config}`, which is not among the inputs")
    for variable in container.get("env").items():
        name, value, source = variable.get("name").text(), variable.get("value"), variable.get("valueFrom")
        if not value.absent:
            filled = re.sub(r"\$\(([\w.-]+)\)", lambda m: found[m[1]][1] if m[1] in found else "0", value.text())
            found[name] = variable, filled
        elif not source.get("secretKeyRef").absent:
            secret.append(name)
        elif not source.get("configMapKeyRef").absent:
            config, key = (source.get("configMapKeyRef", k).text() for k in ("name", "key"))
            if (o.namespace, config) in configs:
                found[name] = variable, configs[o.namespace, config].get(key).text()
            else:
                draft.note(variable, f"`{name}` of {o} is in ConfigMap `{config}`, which is not among the inputs")
    if secret:
        draft.note(container, f"{o}: what comes from Secrets is not read: {listed(sorted(set(secret)))}")
    return [(name, at, value) for name, (at, value) in found.items()]


def _words(value: Value) -> Sequence[Value]:
    return value.items() if value.is_list else [value] if value.is_text else []
