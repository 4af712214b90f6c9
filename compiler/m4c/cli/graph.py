"""`m4 graph show`: the service graph of a mesh, or of a graph file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from m4c.cli.common import choose_mesh, open_workspace, sound_program
from m4c.cli.errors import UsageError
from m4c.cli.output import counted, print_json, printable
from m4c.cli.paths import relative
from m4c.files import Unreadable, read_text
from m4c.graph.load import NOTES, load_graph
from m4c.semantics.model import DEFAULT_PROTOCOL, Graph, Service

ENDINGS = (".yaml", ".yml", ".json")


def run(args: argparse.Namespace) -> int:
    """0: shown. 1: a graph file has errors; what can be read is shown."""
    workspace, mesh = None, ""
    if args.serve:
        from m4c.cli.graph_serve import serve

        return serve(args.path, args.mesh, args.listen)
    if args.path.endswith(ENDINGS) and Path(args.path).is_file():
        graph, sound = _of_file(args.path)
    else:
        workspace = open_workspace([args.path])
        mesh = choose_mesh(workspace, args.mesh)
        graph, sound = sound_program(workspace, mesh).graph, True
    if args.web is not None:
        from m4c.cli.graph_page import of_graph, of_mesh, write_page

        found = of_mesh(workspace, mesh) if workspace is not None else of_graph(graph, Path(args.path).name)
        write_page(found, Path(args.web))
        print(f"the map is in {relative(args.web)}")
    elif args.format == "json":
        print_json(as_json(graph))
    else:
        print(describe(graph), end="")
    return 0 if sound else 1


def _of_file(path: str) -> tuple[Graph, bool]:
    try:
        text = read_text(path)
    except Unreadable as e:
        raise UsageError(f"{relative(path)}: {e}") from None
    loaded = load_graph(text, path)
    sound = True
    for problem in loaded.problems:
        noted = problem.code in NOTES
        sound &= noted
        line = text.count("\n", 0, problem.place.start) + 1
        what = "note" if noted else "error"
        print(printable(f"{relative(path)}:{line}: {what}: {problem.message}"), file=sys.stderr)
    if loaded.graph is None:
        raise UsageError(f"{relative(path)} cannot be shown")
    return loaded.graph, sound


def describe(graph: Graph) -> str:
    """Where requests come from; then the services, each with what is known of it and whom it calls."""
    lines = [f"{counted(len(graph.services), 'service')}, {counted(len(graph.calls), 'call')}"]
    services = graph.services.values()
    lines.append(f"requests from outside come in at {_listed([s.name for s in services if s.entry])}")
    lines.append(f"requests start by themselves at {_listed([s.name for s in services if s.origin])}")
    calls: dict[str, list[str]] = {name: [] for name in graph.services}
    for call in graph.calls:
        calls[call.caller].append(f"    -> {call.callee}" + ("" if call.rps is None else f" ({call.rps:g}/s)"))
    for service in services:
        lines += [f"{service.name}{_known(service)}", *calls[service.name]]
    return "".join(f"{printable(line)}\n" for line in lines)


def as_json(graph: Graph) -> dict[str, Any]:
    """The graph as in a graph file, with everything that the file may leave out."""
    return {
        "services": {
            s.name: {
                "versions": list(s.versions),
                "labels": dict(s.labels),
                "protocol": s.protocol,
                "entry": "trusted" if s.entry and s.trusted else s.entry,
                "origin": s.origin,
                "propagates": s.propagates,
                "external": s.external,
            }
            | ({} if s.rps is None else {"rps": s.rps})
            for s in graph.services.values()
        },
        "calls": [{"from": c.caller, "to": c.callee} | ({} if c.rps is None else {"rps": c.rps}) for c in graph.calls],
    }


def _known(service: Service) -> str:
    known = [f"versions {', '.join(service.versions)}"] if service.versions else []
    known += [f"{k}: {v}" for k, v in service.labels]
    known += [] if service.protocol == DEFAULT_PROTOCOL else [service.protocol]
    known += ["entry" + (", trusted" if service.trusted else "")] if service.entry else []
    known += [] if service.origin else ["starts no request by itself"]
    known += [] if service.propagates else ["does not hand context on"]
    known += ["outside the mesh"] if service.external else []
    known += [] if service.rps is None else [f"{service.rps:g}/s from outside"]
    return f" ({'; '.join(known)})" if known else ""


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "no service"
