"""An Envoy's configuration, taken apart into what it reads once and what it follows as files.

`envoy.yaml` holds everything, so that it can be validated, read, and run as it is. What Envoy is started with is a
*bootstrap* that names files, which it reads again when another file takes their place:

    clusters.json    where requests go; each under a name that holds a digest of what it says
    listeners.json   who listens, and the filters of it that never change
    routes-….json    the routes of a listener, with the filters that policies have put there

Where certificates are wanted, they come from files as well: see `envoy_secrets`.

Requests look at routes, and only once, so an edit that changes nothing else is in force with the next request on every
connection, and each request is judged by all of the old files or by all of the new ones. Filters are moved there by way
of *slots*: composite filters of the listener that do nothing by themselves, for which the routes say what they execute
and when. Where an edit changes a listener beyond that (more slots than it has, or what is done on arrival), Envoy puts
another one in its place: connections that were open get one more answer from the old one, which closes them.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from m4deploy.drivers.envoy_secrets import wanted

CLUSTERS, LISTENERS = "clusters.json", "listeners.json"
KEPT = "m4.always"  # the name of filters that every listener has, whatever policies say
DENIED, DENIED_BY = "denied.log", "x-m4-denied-by"  # a file, and the header field of a denial
WATCHED = "m4.watched"  # 100 while somebody looks at that file
COUNTED = "requests"  # the statistic that counts requests by how they ended: m4.requests
TALLY = "tally"  # the statistic of counters: m4.tally, by state; m4.tally_less of what is taken away
_SLOTS = 4  # a listener has a multiple of these
_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_MATCHING = "type.googleapis.com/envoy.extensions.common.matching.v3"
_CONNECTIONS = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

_LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
_INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
_FILTER = "type.googleapis.com/envoy.config.route.v3.FilterConfig"

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Files:
    """`bootstrap` is for the start; `files` are by name. `routes`: the file of each set of routes, by its name.
    `secrets`: see `envoy_secrets.wanted`."""

    bootstrap: str
    files: Mapping[str, str]
    routes: Mapping[str, str]
    secrets: Mapping[str, str]


@lru_cache(maxsize=16)  # an edit asks for them when it validates, and when it puts them in force
def take_apart(config: str) -> Files:
    """The files of a configuration. Listeners, clusters and routes keep their meaning; clusters get other names."""
    import yaml

    whole: Plain = yaml.load(config, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    static = whole.pop("static_resources", {})
    secrets = wanted(static)
    renamed = {c["name"]: f"{c['name']}#{_digest(c)}" for c in static.get("clusters", [])}
    clusters = [_renamed_cluster(c, renamed[c["name"]]) for c in static.get("clusters", [])]
    files, routes, listeners = {}, {}, []
    for listener in static.get("listeners", []):
        for chain in listener["filter_chains"]:
            for each in chain["filters"]:
                if each["typed_config"]["@type"] == _CONNECTIONS:
                    name, file, text = _take_routes(listener["name"], each["typed_config"], renamed)
                    files[file], routes[name] = text, file
                else:
                    each["typed_config"] = _renamed(each["typed_config"], renamed)
        listeners.append(listener)
    files[LISTENERS] = _resources(_LISTENER, listeners)
    files[CLUSTERS] = _resources("type.googleapis.com/envoy.config.cluster.v3.Cluster", clusters)
    whole["layered_runtime"] = {"layers": [{"name": "watched", "admin_layer": {}}]}
    whole["dynamic_resources"] = {"lds_config": _source(LISTENERS), "cds_config": _source(CLUSTERS)}
    return Files(json.dumps(whole), files, routes, secrets)


def welcoming(files: Files, other: Files) -> Files:
    """Files whose listeners also take connections as those of others do, with TLS or without."""
    theirs = {each["name"]: _with_tls(each) for each in _listeners(other)}
    listeners = _listeners(files)
    if all(theirs.get(each["name"], _with_tls(each)) == _with_tls(each) for each in listeners):
        return files
    sockets = {each["name"]: each["filter_chains"] for each in (*_listeners(other), *listeners) if _with_tls(each)}
    for each in listeners:
        if theirs.get(each["name"], _with_tls(each)) != _with_tls(each):
            (chain,) = each["filter_chains"]
            plain = {key: value for key, value in chain.items() if key != "transport_socket"}
            socket = sockets[each["name"]][0]["transport_socket"]
            each["listener_filters"] = [{"name": "tls", "typed_config": {"@type": _INSPECTOR}}]
            each["filter_chains"] = [
                {**plain, "filter_chain_match": {"transport_protocol": "tls"}, "transport_socket": socket},
                {**plain, "filter_chain_match": {"transport_protocol": "raw_buffer"}},
            ]
    text = _resources(_LISTENER, [_untyped(each) for each in listeners])
    return replace(files, files={**files.files, LISTENERS: text}, secrets={**other.secrets, **files.secrets})


def _listeners(files: Files) -> list[Plain]:
    return json.loads(files.files[LISTENERS])["resources"]  # type: ignore[no-any-return]


def _with_tls(listener: Plain) -> bool:
    return "transport_socket" in listener["filter_chains"][0]


def both_clusters(one: str, other: str) -> str:
    """The clusters of two files in one: names differ wherever they do not mean the same."""
    found = {c["name"]: c for text in (one, other) for c in json.loads(text)["resources"]}
    return _resources("type.googleapis.com/envoy.config.cluster.v3.Cluster", [_untyped(c) for c in found.values()])


def version(text: str) -> str:
    """What Envoy calls a file's version when it has taken it."""
    return str(json.loads(text)["version_info"])


def _take_routes(listener: str, manager: Plain, clusters: Mapping[str, str]) -> tuple[str, str, str]:
    """Moves the routes of a listener, and the filters of its policies, to a file. Their name, the file's, its text."""
    routes = _renamed(manager.pop("route_config"), clusters)
    slots: Plain = {}
    kept, last = [], manager["http_filters"][-1]
    for each in manager["http_filters"][:-1]:
        if each["name"] == KEPT:
            kept.append(each)
        else:
            executed = {"@type": f"{_MATCHING}.ExtensionWithMatcherPerRoute", "xds_matcher": _executed(each)}
            slots[f"slot-{len(slots)}"] = {"@type": _FILTER, "config": executed}
    empty = [_slot(f"slot-{n}") for n in range(-(-len(slots) // _SLOTS) * _SLOTS or _SLOTS)]
    manager["http_filters"] = [*kept, *empty, last]
    manager["access_log"] = [*manager.get("access_log", []), _counter(listener), _denials(listener)]
    name = f"{listener}#{_digest(manager)}"
    file = f"routes-{hashlib.sha256(name.encode()).hexdigest()[:12]}.json"
    manager["rds"] = {"route_config_name": name, "config_source": _source(file)}
    resource = {"@type": _ROUTES, "name": name, **routes, "typed_per_filter_config": slots}
    return name, file, _resources(_ROUTES, [resource])


def _counter(listener: str) -> Plain:
    """What counts requests by how they ended and, if a route of a policy ended them, by its name: the route's."""
    tags = {"listener": listener.replace("%", "%%"), "details": "%RESPONSE_CODE_DETAILS%", "policy": "%ROUTE_NAME%"}
    stat = {"name": COUNTED, "tags": [{"name": name, "value_format": value} for name, value in tags.items()]}
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.stats.v3.Config",
        "stat_prefix": "m4",
        "counters": [{"stat": stat, "value_fixed": 1}],
    }
    return {"name": "count", "typed_config": typed}


def _denials(listener: str) -> Plain:
    """What writes a line for each denied request to a file, while somebody watches."""
    line = {
        "at": "%START_TIME(%s.%3f)%",
        "listener": listener.replace("%", "%%"),
        "policy": "%ROUTE_NAME%",
        "status": "%RESPONSE_CODE%",
        "method": "%REQ(:METHOD)%",
        "target": "%REQ(:PATH)%",
    }
    watched = {"runtime_filter": {"runtime_key": WATCHED, "percent_sampled": {"numerator": 0}}}
    by_us = {
        "extension_filter": {
            "name": "cel",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": f"'{DENIED_BY}' in response.headers && response.code_details == 'direct_response'",
            },
        }
    }
    typed = {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        "path": DENIED,
        "log_format": {"json_format": line},
    }
    return {"name": "denied", "filter": {"and_filter": {"filters": [watched, by_us]}}, "typed_config": typed}


def _executed(filter_: Plain) -> Plain:
    """A filter as the decision of a slot: when it runs, and that it does."""
    config = filter_["typed_config"]
    if config["@type"] != f"{_MATCHING}.ExtensionWithMatcher":
        return {"on_no_match": _execute(filter_)}
    matcher = copy.deepcopy(config["xds_matcher"])
    inner = config["extension_config"]
    if inner["typed_config"]["@type"] != f"{_HTTP}.composite.v3.Composite":
        matcher["on_no_match"] = _execute(inner)
    return matcher  # type: ignore[no-any-return]


def _execute(filter_: Plain) -> Plain:
    return {
        "action": {
            "name": "execute",
            "typed_config": {"@type": f"{_HTTP}.composite.v3.ExecuteFilterAction", "typed_config": filter_},
        }
    }


def _slot(name: str) -> Plain:
    """A filter that is not even made unless the routes say what it executes."""
    never = {"name": "skip", "typed_config": {"@type": f"{_HTTP[:-4]}common.matcher.action.v3.SkipFilter"}}
    composite = {"name": "composite", "typed_config": {"@type": f"{_HTTP}.composite.v3.Composite"}}
    typed = {
        "@type": f"{_MATCHING}.ExtensionWithMatcher",
        "extension_config": composite,
        "xds_matcher": {"on_no_match": {"action": never}},
    }
    return {"name": name, "disabled": True, "typed_config": typed}


def _renamed_cluster(cluster: Plain, name: str) -> Plain:
    found = {**cluster, "name": name}
    if "load_assignment" in found:
        found["load_assignment"] = {**found["load_assignment"], "cluster_name": name}
    return found


def _renamed(routes: Any, clusters: Mapping[str, str]) -> Any:
    """Routes with other names of clusters, wherever one stands."""
    if isinstance(routes, list):
        return [_renamed(each, clusters) for each in routes]
    if not isinstance(routes, dict):
        return routes
    out = {key: _renamed(value, clusters) for key, value in routes.items()}
    if isinstance(routes.get("cluster"), str):
        out["cluster"] = clusters.get(routes["cluster"], routes["cluster"])
    if isinstance(routes.get("weighted_clusters"), dict):
        listed = out["weighted_clusters"]["clusters"]
        out["weighted_clusters"]["clusters"] = [{**c, "name": clusters.get(c["name"], c["name"])} for c in listed]
    return out


def _source(file: str) -> Plain:
    """A file in the folder in which Envoy runs. It is read again when another one is moved there."""
    return {"resource_api_version": "V3", "path_config_source": {"path": f"./{file}"}}


def _resources(kind: str, resources: list[Plain]) -> str:
    typed = [{"@type": kind, **each} for each in resources]
    return json.dumps({"version_info": _digest(typed), "resources": typed})


def _untyped(resource: Plain) -> Plain:
    return {key: value for key, value in resource.items() if key != "@type"}


def _digest(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]
