"""`m4 graph show`: the service graph of a mesh."""

from __future__ import annotations

import argparse

from m4c.cli.common import choose_mesh, open_workspace, sound_program
from m4c.semantics.model import Graph, Service


def run(args: argparse.Namespace) -> int:
    workspace = open_workspace([args.path])
    print(describe(sound_program(workspace, choose_mesh(workspace, args.mesh)).graph), end="")
    return 0


def describe(graph: Graph) -> str:
    """The services, each with what is known of it and whom it calls."""
    lines = [f"{len(graph.services)} services, {len(graph.calls)} calls"]
    for service in graph.services.values():
        lines.append(f"{service.name}{_known(service)}")
        lines += [f"    -> {callee}" for callee in graph.callees(service.name)]
    return "\n".join(lines) + "\n"


def _known(service: Service) -> str:
    known = [f"versions {', '.join(service.versions)}"] if service.versions else []
    known += [f"{k}: {v}" for k, v in service.labels]
    known += ["entry" + (", trusted" if service.trusted else "")] if service.entry else []
    known += [] if service.origin else ["starts no request by itself"]
    known += [] if service.propagates else ["does not hand context on"]
    known += ["outside the mesh"] if service.external else []
    return f" ({'; '.join(known)})" if known else ""
