"""`m4 graph show --web`: the map of the editors, as one page that needs nothing else."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from m4c.cli.errors import UsageError
from m4c.cli.output import replace_file
from m4c.cli.paths import relative
from m4c.ide.map import CallOn, Map, ServiceOn, map_of, plain
from m4c.ide.survey import survey
from m4c.resources import map_script
from m4c.semantics.model import Graph
from m4c.workspace import Span, Workspace


def of_mesh(workspace: Workspace, mesh: str) -> Map:
    """The map of a mesh with its plan."""
    return map_of(workspace, mesh, survey(workspace).get(mesh))


def of_graph(graph: Graph, name: str) -> Map:
    """The map of a graph by itself."""
    services = tuple(
        ServiceOn(s.name, s.entry, s.external, s.versions, dict(s.labels), (), None) for s in graph.services.values()
    )
    calls = tuple(CallOn(c.caller, c.callee, None) for c in graph.calls)
    return Map(name, None, None, False, 0, services, calls, (), (), ())


def page(found: Map, live: str | None = None) -> str:
    """The page. `live`: the address below its own at which it finds what is deployed."""
    data = json.dumps({"meshes": [plain(found, _location)], "live": live}).replace("<", "\\u003c")
    asks = " connect-src 'self';" if live is not None else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:;{asks} '
        "script-src 'unsafe-inline'; style-src 'unsafe-inline'\">\n"
        f"<title>{html.escape(found.mesh)}</title>\n</head>\n<body>\n"
        f'<script type="application/json" id="data">{data}</script>\n'
        f"<script>{map_script()}</script>\n</body>\n</html>\n"
    )


def write_page(found: Map, out: Path) -> None:
    """Writes the page; a usage error if that cannot be."""
    try:
        replace_file(out, page(found))
    except OSError as e:
        raise UsageError(f"cannot write {relative(str(out))}: {e.strerror}") from None


def _location(span: Span) -> dict[str, Any]:
    start = {"line": span.start_line, "character": span.start_char}
    return {"uri": Path(span.file).as_uri(), "range": {"start": start}}
