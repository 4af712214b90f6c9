"""Writes a service graph as the YAML that `load.py` reads: sorted, a line for each service and each call."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import yaml

from m4c.semantics.model import DEFAULT_PROTOCOL, Call, Graph, Service

_TAG = "tag:yaml.org,2002:"
_NUMBER = re.compile(r"[-+]?(?:0[xob])?[0-9a-fA-F_.:]*[0-9][0-9a-fA-F_.:]*(?:[eE][-+]?[0-9]+)?")


def write_graph(graph: Graph, header: Iterable[str] = (), plain: bool = False) -> str:
    """The file of a graph, with a comment line for each line of the header. `load_graph` gives the same graph back.

    `plain`: in ASCII, with escapes.
    """
    silent = not any(s.entry for s in graph.services.values())  # then the loader would guess, so the file says it
    services = _map(
        ((name, _service(graph.services[name], silent)) for name in sorted(graph.services)), flow=not graph.services
    )
    calls = [_call(c) for c in sorted(graph.calls, key=lambda c: (c.caller, c.callee))]
    root = _map([("services", services), ("calls", _list(calls, flow=not calls))])
    comment = "".join(f"# {_comment(line, plain)}\n" for line in header)
    return comment + yaml.serialize(root, Dumper=_Dumper, width=float("inf"), allow_unicode=not plain)


def _comment(line: str, plain: bool) -> str:
    return "".join(c if c.isprintable() and (c.isascii() or not plain) else "?" for c in line)


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Lists in a map are set in, as people write them."""
        super().increase_indent(flow, False)


def _service(service: Service, say_entry: bool) -> yaml.Node:
    known: list[tuple[str, yaml.Node]] = []
    if service.versions:
        known.append(("versions", _list([_text(v) for v in service.versions], flow=True)))
    if service.labels:
        known.append(("labels", _map(((k, _text(v)) for k, v in service.labels), flow=True)))
    if service.protocol != DEFAULT_PROTOCOL:
        known.append(("protocol", _text(service.protocol)))
    if service.entry or say_entry:
        known.append(("entry", _text("trusted") if service.entry and service.trusted else _bool(service.entry)))
    known += [(key, _bool(False)) for key in ("origin", "propagates") if not getattr(service, key)]
    if service.external:
        known.append(("external", _bool(True)))
    if service.rps is not None:
        known.append(("rps", _number(service.rps)))
    return _map(known, flow=True)


def _call(call: Call) -> yaml.Node:
    if call.rps is None:
        return _list([_text(call.caller), _text(call.callee)], flow=True)
    return _map([("from", _text(call.caller)), ("to", _text(call.callee)), ("rps", _number(call.rps))], flow=True)


def _text(text: str) -> yaml.Node:
    """Quoted where YAML wants it, and where other readers of YAML would take it for a number."""
    if not text.isprintable():
        return yaml.ScalarNode(_TAG + "str", text, style='"')  # one line, with escapes
    return yaml.ScalarNode(_TAG + "str", text, style="'" if _NUMBER.fullmatch(text) else None)


def _bool(value: bool) -> yaml.Node:
    return yaml.ScalarNode(_TAG + "bool", "true" if value else "false")


def _number(value: float) -> yaml.Node:
    """All digits that tell this number from its neighbours, without an exponent: YAML readers differ on those."""
    text = format(Decimal(repr(value)), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return yaml.ScalarNode(_TAG + ("float" if "." in text else "int"), text)


def _list(items: list[yaml.Node], flow: bool = False) -> yaml.Node:
    return yaml.SequenceNode(_TAG + "seq", items, flow_style=flow)


def _map(pairs: Iterable[tuple[str, Any]], flow: bool = False) -> yaml.Node:
    return yaml.MappingNode(_TAG + "map", [(_text(k), v) for k, v in pairs], flow_style=flow)
