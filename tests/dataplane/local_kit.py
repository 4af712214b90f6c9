"""A small mesh, built by hand, for the tests of the local target.

outside -> frontend -> cart -> db
           frontend -> pay (v1, v2)
           cart     -> pay
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from envoy_kit import CONTEXT, PROXIES, SPEC, emitted, render
from m4c.backends.wiring import wire
from m4c.semantics.model import DEFAULT_PROTOCOL, Call, Graph, Service

GRAPH = Graph(
    {
        "cart": Service("cart"),
        "db": Service("db", propagates=False),
        "frontend": Service("frontend", entry=True),
        "pay": Service("pay", versions=("v1", "v2")),
    },
    tuple(Call(u, v) for u, v in (("cart", "db"), ("cart", "pay"), ("frontend", "cart"), ("frontend", "pay"))),
)
ARTIFACTS = {
    "envoy": ("envoy.yaml",),
    "haproxy": ("haproxy.cfg", "m4.lua"),
    "ebpf": ("m4.bpf.c", "hops.json"),
}
Rules = dict[tuple[str, str, str], dict[str, Any]]
"""(dataplane, service, site) to what stands there: {"rules": [...], "tags": ...}"""


def hops(service: str) -> list[tuple[str, str]]:
    """The hops at a service, as (side, peer)."""
    ingress = [("ingress", c.caller) for c in GRAPH.calls if c.callee == service]
    entry = [("ingress", "outside")] if GRAPH.services[service].entry else []
    return [*ingress, *entry, *(("egress", callee) for callee in GRAPH.callees(service))]


def build(out: Path, elements: Sequence[tuple[str, str]], rules: Rules, base_port: int) -> Path:
    """Writes what `m4 build` writes for these elements, (service, dataplane) each."""
    wiring = wire(GRAPH, {s: (DEFAULT_PROTOCOL,) for s, d in elements if d in PROXIES}, base_port)
    artifacts = []
    for service, dataplane in elements:
        sites = []
        for side, peer in hops(service):
            if dataplane == "ebpf" and side == "ingress":
                continue
            caller, callee = (service, peer) if side == "egress" else (None if peer == "outside" else peer, service)
            here = rules.get((dataplane, service, f"{side}.{peer}"), {})
            sites.append(
                {
                    "id": f"{side}.{peer}",
                    "side": side,
                    "caller": caller,
                    "callee": callee,
                    "entry": caller is None,
                    "protocol": "http",
                    "requests": True,
                    "versions": list(GRAPH.services[callee].versions),
                    "rules": here.get("rules", []),
                    "answers": [],
                    "tags": here.get("tags"),
                    "sealed": False,
                }
            )
        element = {
            "mesh": "shop",
            "service": service,
            "dataplane": dataplane,
            "context": CONTEXT,
            "wiring": wiring[service].plain(),
            "sites": sites,
        }
        if dataplane in PROXIES:
            element = emitted(element)
        for name in ARTIFACTS[dataplane]:
            path = out / dataplane / service / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(render(SPEC.parent / dataplane, element, f"{name}.j2"), encoding="utf-8")
            artifacts.append(
                {"path": str(path.relative_to(out)), "dataplane": dataplane, "service": service, "kind": name}
            )
    tiers = {"ebpf": "kernel"}
    plain = {
        "mesh": "shop",
        "context": CONTEXT,
        "base_port": base_port,
        "services": {name: w.plain() for name, w in wiring.items()},
        "graph": {
            "services": {
                s.name: {"versions": list(s.versions), "entry": s.entry, "propagates": s.propagates, "origin": s.origin}
                for s in GRAPH.services.values()
            },
            "calls": [[c.caller, c.callee] for c in GRAPH.calls],
        },
        "elements": [{"service": s, "dataplane": d, "tier": tiers.get(d, "proxy")} for s, d in elements],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "wiring.json").write_text(json.dumps(plain))
    write_manifest(out, artifacts)
    return out


def write_manifest(out: Path, artifacts: list[dict[str, str]] | None = None) -> None:
    """Writes the manifest, or writes it anew for files that were changed."""
    if artifacts is None:
        artifacts = json.loads((out / "manifest.json").read_text())["artifacts"]
    for each in artifacts:
        each["sha256"] = hashlib.sha256((out / each["path"]).read_bytes()).hexdigest()
    (out / "manifest.json").write_text(json.dumps({"mesh": "shop", "artifacts": artifacts}))


def children(parent: int) -> list[int]:
    """The processes that a process has started and that are there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent:
            found.append(int(entry.parent.name))
    return found
