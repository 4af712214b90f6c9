"""Reads a service graph from YAML. Whatever is wrong is reported where it stands; the rest is still used."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import yaml

from m4c.semantics.model import DEFAULT_PROTOCOL, Call, Graph, Place, Service
from m4c.semantics.problems import Edit, Fix, Problem, Related, nearest
from m4c.syntax import words

KEYS = ("versions", "labels", "protocol", "entry", "origin", "propagates", "external", "rps")
NOTES = ("assumed-entries", "unreachable-service")  # what is found in a graph that is sound
_CALL_KEYS = ("from", "to", "rps")
MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LoadedGraph:
    """A graph as far as it could be read (None: not at all). Places are offsets in the file: of problems, of each
    service where it is described (`services_at`) and where it is an end of a call (`ends_at`), of each call, and of the
    versions, the protocol, the labels and their values of each service."""

    graph: Graph | None
    problems: tuple[Problem, ...]
    services_at: tuple[tuple[str, Place], ...] = ()
    ends_at: tuple[tuple[str, Place], ...] = ()
    calls_at: tuple[tuple[str, str, Place], ...] = ()
    versions_at: tuple[tuple[str, str, Place], ...] = ()  # service, version
    protocols_at: tuple[tuple[str, str, Place], ...] = ()  # service, protocol
    labels_at: tuple[tuple[str, Place], ...] = ()
    values_at: tuple[tuple[str, str, Place], ...] = ()  # label, value
    said: tuple[tuple[str, frozenset[str]], ...] = ()  # of each service, the keys that the file gives


def load_graph(text: str, file: str) -> LoadedGraph:
    """Reads the YAML of a graph; never raises for what is in the text."""
    return _Loader(text, file).load()


class _Loader:
    def __init__(self, text: str, file: str) -> None:
        self.text = text
        self.file = file
        self.problems: list[Problem] = []
        self.said: dict[str, frozenset[str]] = {}
        self.nodes: dict[str, Any] = {}  # of each service, what is said of it
        self.ends: list[tuple[str, Place]] = []
        self.calls: list[tuple[str, str, Place]] = []
        self.versions: list[tuple[str, str, Place]] = []
        self.protocols: list[tuple[str, str, Place]] = []
        self.labels: list[tuple[str, Place]] = []
        self.values: list[tuple[str, str, Place]] = []

    def load(self) -> LoadedGraph:
        try:
            root = yaml.compose(self.text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except yaml.MarkedYAMLError as e:
            at = e.problem_mark.index if e.problem_mark else 0
            self._say(f"the graph is not valid YAML: {e.problem or e.context}", at, at + 1)
            return LoadedGraph(None, tuple(self.problems))
        except (yaml.YAMLError, RecursionError, ValueError) as e:
            self._say(f"the graph is not valid YAML: {str(e).splitlines()[0]}", 0, 1)
            return LoadedGraph(None, tuple(self.problems))
        if not isinstance(root, yaml.MappingNode):
            self._say("a graph is a map with `services:` and `calls:`", 0, 1)
            return LoadedGraph(None, tuple(self.problems))
        services: dict[str, Service] = {}
        places: list[tuple[str, Place]] = []
        calls: dict[tuple[str, str], Call] = {}
        call_node: Any = None
        said_entry = False
        for key, value in self._fields(root):
            if key.value == "services":
                said_entry = self._services(value, services, places)
            elif key.value == "calls":
                call_node = value
            else:
                self._unknown_key(key, ("services", "calls"))
        if call_node is not None:
            self._calls(call_node, services, calls)
        if not services and not self.problems:
            self._say("the graph names no service, so there is no call path", root.start_mark.index, 1)
        if services and not said_entry:
            self._default_entries(services, calls)
        if all(p.code in NOTES for p in self.problems):
            self._unreachable(services, calls, dict(places))
        ordered = {name: services[name] for name in sorted(services)}
        graph = Graph(ordered, tuple(calls[k] for k in sorted(calls)))
        return LoadedGraph(
            graph,
            tuple(self.problems),
            tuple(places),
            tuple(self.ends),
            tuple(self.calls),
            tuple(self.versions),
            tuple(self.protocols),
            tuple(self.labels),
            tuple(self.values),
            tuple(sorted(self.said.items())),
        )

    def _say(self, message: str, start: int, end: int, code: str = "bad-graph", fixes: tuple[Fix, ...] = ()) -> None:
        self.problems.append(Problem(code, message, Place(self.file, "", start, max(end, start + 1)), fixes=fixes))

    def _say_node(
        self, message: str, node: Any, code: str = "bad-graph", near: str | None = None, written: str = ""
    ) -> None:
        """Reports a node; `near` is the text that it was most likely meant to be, `written` the YAML."""
        end = min(node.end_mark.index, len(self.text))
        text = written or (scalar(near) if near else "")
        fixes = (Fix(f"Change to `{near or text}`", (self._edit(node.start_mark.index, end, text),)),) if text else ()
        self._say(message, node.start_mark.index, end, code, fixes)

    def _edit(self, start: int, end: int, text: str) -> Edit:
        return Edit(Place(self.file, "", start, end), text)

    def _place(self, node: Any) -> Place:
        start, end = node.start_mark.index, node.end_mark.index
        length = len(self.text[start:end].rstrip())  # a map in lines ends where the next thing begins
        return Place(self.file, "", start, start + length)

    def _text(self, node: Any, what: str) -> str | None:
        if isinstance(node, yaml.ScalarNode):
            return str(node.value)
        self._say_node(f"{what} is a text, not a list or a map", node)
        return None

    def _twice(self, what: str, node: Any, first: Any) -> None:
        related = (Related(self._place(first), "the first one, which counts"),)
        self.problems.append(Problem("duplicate-name", f"{what} is there twice", self._place(node), related))

    def _fields(self, node: Any) -> Iterator[tuple[Any, Any]]:
        """The keys of a map with their values; a key that is there twice is reported, and left out."""
        first: dict[str, Any] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and first.setdefault(str(key.value), key) is not key:
                self._twice(f"`{key.value}:`", key, first[str(key.value)])
            else:
                yield key, value

    def _unknown_key(self, key: Any, known: tuple[str, ...]) -> None:
        if self._text(key, "a key") is None:
            return
        near = nearest(str(key.value), known)
        hint = f"; did you mean `{near}`?" if near else f"; known are {', '.join(known)}"
        self._say_node(f"unknown key `{key.value}`{hint}", key, near=near)

    def _services(self, node: Any, services: dict[str, Service], places: list[tuple[str, Place]]) -> bool:
        if not isinstance(node, yaml.MappingNode):
            self._say_node("`services:` is a map from a service's name to what is known of it", node)
            return False
        said_entry = False
        first: dict[str, Any] = {}
        for key, value in node.value:
            name = self._text(key, "the name of a service")
            if name is None:
                continue
            place = self._place(key)
            if first.setdefault(name, key) is not key:
                self._twice(f"service `{name}`", key, first[name])
                continue
            if name == "outside" or not name:
                self._say_node(f"a service cannot be named `{name}`", key)
                continue
            places.append((name, place))
            services[name] = Service(name)
            self.nodes[name] = value
            if isinstance(value, yaml.MappingNode):
                said_entry |= self._service(name, value, services)
            elif value.value not in ("", "null", "~"):
                self._say_node(f"what is known of `{name}` is a map, as in `{{versions: [v1, v2]}}`", value)
        return said_entry

    def _service(self, name: str, node: Any, services: dict[str, Service]) -> bool:
        said_entry = False
        known: dict[str, Any] = {}
        for key, value in self._fields(node):
            match key.value:
                case "versions":
                    known["versions"] = self._versions(name, value)
                case "labels" if isinstance(value, yaml.MappingNode):
                    known["labels"] = self._labels(value)
                case "protocol":
                    spoken = None if _is_null(value) else self._text(value, "`protocol:`")
                    known["protocol"] = spoken or DEFAULT_PROTOCOL
                    if spoken:
                        self.protocols.append((name, spoken, self._place(value)))
                case "entry":
                    said_entry = True
                    if value.value == "trusted":
                        known |= {"entry": True, "trusted": True}
                    else:
                        known["entry"] = self._bool(value, "trusted")
                case "origin" | "propagates" | "external":
                    known[key.value] = self._bool(value)
                case "rps":
                    known["rps"] = self._rate(value)
                case "labels":
                    self._say_node("`labels:` is a map, as in `{kind: store}`", value)
                case _:
                    self._unknown_key(key, KEYS)
        self.said[name] = frozenset(known) - {"trusted"}
        services[name] = Service(name, **known)
        return said_entry

    def _versions(self, service: str, node: Any) -> tuple[str, ...]:
        if not isinstance(node, yaml.SequenceNode):
            one = f"[{scalar(str(node.value))}]" if isinstance(node, yaml.ScalarNode) and node.value else ""
            self._say_node("`versions:` is a list, as in `[v1, v2]`", node, written=one)
            return ()
        found: dict[str, Any] = {}
        for item in node.value:
            version = self._text(item, "a version")
            if version is None:
                continue
            if found.setdefault(version, item) is not item:
                self._twice(f"version `{version}`", item, found[version])
            else:
                self.versions.append((service, version, self._place(item)))
        return tuple(found)

    def _labels(self, node: Any) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for k, v in self._fields(node):
            key, value = self._text(k, "the key of a label"), self._text(v, "a label")
            if key is not None and value is not None:
                found[key] = value
                if key:  # patterns can name no other
                    self.labels.append((key, self._place(k)))
                    self.values.append((key, value, self._place(v)))
        return tuple(sorted(found.items()))

    def _bool(self, node: Any, other: str = "") -> bool:
        """A value that is true or false, or `other`, which is looked for elsewhere."""
        if node.value in ("true", "True", "yes"):
            return True
        if node.value not in ("false", "False", "no"):
            found = f"`{node.value}`" if isinstance(node, yaml.ScalarNode) else "a list or a map"
            known = ("true", "false", *filter(None, (other,)))
            near = nearest(str(node.value), known) if isinstance(node, yaml.ScalarNode) else None
            hint = f"; did you mean `{near}`?" if near else ""
            expected = " or ".join((", ".join(known[:-1]), known[-1]))
            self._say_node(f"expected {expected}, found {found}{hint}", node, near=near, written=near or "")
        return False

    def _rate(self, node: Any) -> float | None:
        try:
            rate = float(node.value)
        except (TypeError, ValueError):
            rate = math.nan
        if math.isfinite(rate) and rate >= 0:
            return rate
        self._say_node("`rps:` is a number of requests per second, 0 or more", node)
        return None

    def _calls(self, node: Any, services: dict[str, Service], calls: dict[tuple[str, str], Call]) -> None:
        if not isinstance(node, yaml.SequenceNode):
            if node.value not in ("", "null", "~"):
                self._say_node("`calls:` is a list of `[caller, callee]`", node)
            return
        first: dict[tuple[str, str], Any] = {}
        for item in node.value:
            call = self._call(item, services)
            if call is None:
                continue
            ends = call.caller, call.callee
            if first.setdefault(ends, item) is not item:
                self._twice(f"the call `{words.service(ends[0])} -> {words.service(ends[1])}`", item, first[ends])
            else:
                calls[ends] = call
                self.calls.append((*ends, self._place(item)))

    def _call(self, item: Any, services: dict[str, Service]) -> Call | None:
        rps: float | None = None
        if isinstance(item, yaml.SequenceNode) and len(item.value) == 2:
            ends = item.value
        elif isinstance(item, yaml.MappingNode):
            fields = {}
            for key, value in self._fields(item):
                fields[str(key.value)] = value
                if key.value not in _CALL_KEYS:
                    self._unknown_key(key, _CALL_KEYS)
            if "from" not in fields or "to" not in fields:
                self._say_node("a call is `[caller, callee]` or `{from: caller, to: callee, rps: 10}`", item)
                return None
            ends = [fields["from"], fields["to"]]
            if "rps" in fields:
                rps = self._rate(fields["rps"])
        else:
            self._say_node("a call is `[caller, callee]` or `{from: caller, to: callee, rps: 10}`", item)
            return None
        for end in ends:
            if self._text(end, "an end of a call") is None:
                return None
            self.ends.append((str(end.value), self._place(end)))
            if end.value not in services:
                near = nearest(str(end.value), services)
                hint = f"; did you mean `{near}`?" if near else ""
                self._say_node(f"no service is named `{end.value}`{hint}", end, "unknown-name", near)
                return None
        return Call(str(ends[0].value), str(ends[1].value), rps)

    def _default_entries(self, services: dict[str, Service], calls: dict[tuple[str, str], Call]) -> None:
        """Without a word about entries, those that nobody calls are entries."""
        called = {callee for caller, callee in calls if caller != callee}
        entries = [n for n in sorted(services) if n not in called]
        for name in entries:
            services[name] = replace(services[name], entry=True)
        who = ", ".join(f"`{n}`" for n in entries) or "none"
        at = max(self.text.find("services:"), 0)
        message = f"no service says `entry:`, so those that nobody calls are taken for entries: {who}"
        edits = tuple(e for n in entries for e in self._entry(self.nodes[n]))
        fixes = (Fix(f"Say `entry: true` for {who}", edits),) if edits else ()
        self._say(message, at, at + len("services"), "assumed-entries", fixes)

    def _unreachable(
        self, services: dict[str, Service], calls: dict[tuple[str, str], Call], places: dict[str, Place]
    ) -> None:
        """Services that no call path has: none starts there, and none leads there."""
        callees: dict[str, list[str]] = {}
        for caller, callee in calls:
            callees.setdefault(caller, []).append(callee)
        reached = {n for n, s in services.items() if s.entry or s.origin}
        waiting = list(reached)
        while waiting:
            new = set(callees.get(waiting.pop(), ())) - reached
            reached |= new
            waiting += new
        for name in services:
            if name not in reached and name in places:
                message = (
                    f"no call path reaches `{name}`: it never starts one by itself (`origin: false`), outside traffic "
                    "does not come in there, and nobody calls it who is reached"
                )
                self._say(message, places[name].start, places[name].end, "unreachable-service")

    def _entry(self, node: Any) -> tuple[Edit, ...]:
        """Says of a service, in whichever style its map is, that it is an entry."""
        start, end = node.start_mark.index, node.end_mark.index
        if not isinstance(node, yaml.MappingNode):
            return (self._edit(start, end, f"{'' if self.text[start - 1].isspace() else ' '}{{entry: true}}"),)
        if node.flow_style:
            return (self._edit(start + 1, start + 1, "entry: true, " if node.value else "entry: true"),)
        return (self._edit(start, start, f"entry: true\n{' ' * node.start_mark.column}"),)


def _is_null(node: Any) -> bool:
    """Whether a value says nothing: it is left out, `null` or `~`."""
    return str(node.tag) == "tag:yaml.org,2002:null"


def scalar(text: str) -> str:
    """A text as YAML reads it back."""
    return text if re.fullmatch(r"[A-Za-z_][\w.-]*", text, re.A) and yaml.safe_load(text) == text else json.dumps(text)
