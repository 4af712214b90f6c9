"""A written graph reads back as it was, and no input makes an importer fail."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from m4c.graph.documents import Input
from m4c.graph.imported import Options
from m4c.graph.importers import FORMATS, import_graph
from m4c.graph.load import NOTES, load_graph
from m4c.graph.write import write_graph
from m4c.semantics.model import Call, Graph, Service

TELLING = ["yes", "null", "~", "1.0", "1e3", "0x1f", "2024-01-01", "a: b", "- a", "#", "'", '"', "{a}", "[a]", "*a"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from([*TELLING, "&a", "!a", "\n"])
NAMES = (TEXTS | st.text("ab-.", min_size=1, max_size=300)).filter(lambda n: n not in ("", "outside"))
RATES = st.none() | st.floats(0, allow_infinity=False, allow_nan=False)


@st.composite
def services(draw: st.DrawFn, name: str) -> Service:
    entry = draw(st.booleans())
    labels = draw(st.dictionaries(TEXTS, TEXTS, max_size=3))
    return Service(
        name,
        tuple(draw(st.lists(TEXTS, unique=True, max_size=3))),
        tuple(sorted(labels.items())),
        draw(st.sampled_from(["http", "grpc"]) | TEXTS.filter(bool)),
        entry,
        entry and draw(st.booleans()),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    names = sorted(draw(st.sets(NAMES, max_size=6)))
    found = {name: draw(services(name)) for name in names}
    ends = draw(st.sets(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=8)) if names else set()
    return Graph(found, tuple(Call(*e, draw(RATES)) for e in sorted(ends)))


@given(graphs(), st.lists(TEXTS, max_size=2))
@settings(max_examples=300, deadline=None)
@example(Graph({}, ()), ["x\ny"])
@example(Graph({"a": Service("a"), "b": Service("b")}, (Call("a", "b", 5e-324), Call("b", "a", 1.7e308))), [])
def test_a_written_graph_reads_back(graph: Graph, header: list[str]) -> None:
    text = write_graph(graph, header)
    loaded = load_graph(text, "g.yaml")
    assert [p.message for p in loaded.problems if graph.services and p.code not in NOTES] == []
    assert loaded.graph == graph
    assert write_graph(loaded.graph, header) == text
    assert load_graph(write_graph(graph, header, plain=True), "g.yaml").graph == graph


def manifest(kind: str, spec: object, api: str = "v1") -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": spec}


POD = {
    "initContainers": [{"name": "c", "args": ["--a=b:1"]}],
    "containers": [{"env": [{"name": "A", "value": "http://db"}], "envFrom": [{"configMapRef": {"name": "web"}}]}],
}
KUBERNETES = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        manifest("Deployment", {"template": {"metadata": {"labels": {"app": "web", "version": "v1"}}, "spec": POD}}),
        manifest("CronJob", {"jobTemplate": {"spec": {"template": {"spec": POD}}}}),
        manifest("Pod", POD),
        manifest("Service", {"selector": {"app": "web"}, "type": "NodePort", "ports": [{"name": "http", "port": 80}]}),
        manifest("Ingress", {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "web"}}}]}}]}),
        manifest("HTTPRoute", {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "web"}]}]}),
        manifest("VirtualService", {"gateways": ["g"], "http": [{"route": [{"destination": {"host": "web"}}]}]}),
        manifest("ServiceEntry", {"hosts": ["x.com"], "ports": [{"protocol": "HTTP"}]}),
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"A": "web:80"}},
    ],
}
COMPOSE = {
    "services": {
        "web": {
            "image": "x",
            "ports": ["80:80", {"target": 80, "app_protocol": "http"}],
            "environment": {"A": "http://db", "B": None},
            "links": ["db:x"],
            "depends_on": {"db": {"condition": "x"}},
            "labels": ["a=b"],
            "networks": {"n": {"aliases": ["y"]}},
        },
        "db": {"extends": {"service": "web"}, "command": ["a", "http://web"], "env_file": "e"},
    }
}
JAEGER = {"data": [{"parent": "a", "child": "b", "callCount": 3}], "errors": None}
NODE = {"id": "1", "nodeType": "app", "namespace": "n", "app": "a", "version": "v1", "labels": {"x": "y"}}
KIALI = {
    "graphType": "versionedApp",
    "elements": {
        "nodes": [
            {"data": NODE | {"destServices": [{"namespace": "n", "name": "a"}]}},
            {"data": {"id": "2", "nodeType": "service", "service": "s", "isServiceEntry": {"location": "x"}}},
            {
                "data": NODE
                | {"id": "3", "app": "g", "isRoot": True, "isGateway": {"ingressInfo": {"hostnames": ["*"]}}}
            },
        ],
        "edges": [
            {"data": {"source": "3", "target": "1", "traffic": {"protocol": "http", "rates": {"http": "1.00"}}}},
            {"data": {"source": "1", "target": "2", "traffic": {"protocol": "tcp", "rates": {"tcp": "1.00"}}}},
        ],
    },
}
OURS = {"services": {"a": {"versions": ["v1"], "labels": {"x": "y"}, "entry": True}}, "calls": [["a", "a"]]}
SOUND = {"kubernetes": KUBERNETES, "compose": COMPOSE, "jaeger": JAEGER, "kiali": KIALI, "m4": OURS}
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    "",
    "x",
    "a\nb",
    "outside",
    "x" * 300,
    [],
    [[]],
    {},
    {"": {}},
    {"a": [None]},
]


def spoil(value: Any, chance: random.Random) -> Any:
    """The value with one part of it replaced, removed or repeated."""
    root = value = copy.deepcopy(value)
    while True:
        if not isinstance(value, dict | list) or not value:
            return root
        key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if isinstance(value[key], dict | list) and chance.random() < 0.8:
            value = value[key]
            continue
        match chance.randrange(3):
            case 0:
                value[key] = chance.choice(ODD)
            case 1:
                del value[key]
            case _:
                value[key] = [value[key], copy.deepcopy(chance.choice(list(SOUND.values())))]
        return root


@given(st.sampled_from(list(SOUND)), st.integers(0, 2**32), st.integers(0, 3), st.booleans(), st.booleans())
@settings(max_examples=600, deadline=None)
def test_no_input_makes_an_importer_fail(form: str, seed: int, times: int, forced: bool, asked: bool) -> None:
    """Either there is a graph, which reads back, or a problem."""
    chance = random.Random(seed)
    value: Any = SOUND[form]
    for _ in range(times):
        value = spoil(value, chance)
    text = json.dumps(value)
    inputs = [Input("a.json", text.encode(), asked), Input("b.json", json.dumps(JAEGER).encode())]
    result = import_graph(inputs[: chance.randrange(1, 3)], Options(60), form if forced else None)
    assert (result.graph is None) == bool(result.problems)
    if times == 0 and not forced and asked:
        assert result.problems == ()
    if result.graph is not None:
        loaded = load_graph(write_graph(result.graph), "g.yaml")
        assert (loaded.problems, loaded.graph) == ((), result.graph)


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace")),
    st.sampled_from([*FORMATS, None]),
)
@settings(max_examples=300, deadline=None)
def test_no_bytes_make_an_importer_fail(data: bytes, form: str | None) -> None:
    result = import_graph([Input("a", data)], form=form)
    assert (result.graph is None) == bool(result.problems)
