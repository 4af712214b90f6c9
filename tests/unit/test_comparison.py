"""The comparison with Istio: both sides are what the page says, do the same, and are counted as it says."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import istio_rules
import pytest
import yaml
from istio_rules import Outcome, Request
from m4c import project
from m4c.paths.callpath import CallPath, callees
from m4c.reference import run_hop
from m4c.semantics.model import AttrKey, Graph, Program
from m4c.semantics.values import show
from m4c.syntax.printer import format_text
from m4c.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts/gen_comparison.py"
FOLDER = ROOT / "docs/comparison"
EXAMPLE = ROOT / "examples/online-boutique/boutique.m4"
sys.path.insert(0, str(SCRIPT.parent))

from gen_comparison import code, code_lines, count, count_together, read_pairs, read_together, virtual_hosts  # noqa: E402

PAIRS = read_pairs()
EQUAL = [p.name for p in PAIRS if p.equal]
APPROXIMATE = [p.name for p in PAIRS if not p.equal]
RESOURCES = sorted((FOLDER / "istio").rglob("*.yaml"))
MARK = "x-started-by"  # the header of the approximations

# Requests on both sides of every condition.
REQUESTS = [
    Request(method, target, headers)
    for method, target, headers in itertools.product(
        ("GET", "HEAD", "POST"),
        ("/", "/admin", "/admin/users?id=1", "/adm", "/x/admin"),
        (
            *({"x-user-group": v} for v in ("beta", "Beta", "")),
            *({"x-operator": v} for v in ("yes", "no")),
            *({"x-partner": v} for v in ("gold-7", "silver-12", "gold-", "xgold-1", "bronze-1", "gold-1 ")),
            {},
        ),
    )
]


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def resources(name: str) -> list[dict[str, Any]]:
    """The Istio side of a policy."""
    return documents(next(p.istio for p in PAIRS if p.name == name))


@cache
def program(*names: str) -> Program:
    """The M4 side of some of the policies."""
    workspace = Workspace([FOLDER / "m4" / f"{n}.m4" for n in ("mesh", *names)])
    assert [p for p in workspace.problems() if p.code != "merged"] == []
    return project.program(workspace.db, "boutique")


@cache
def call_paths() -> tuple[CallPath, ...]:
    """Every call path with a hop; the graph has no cycle."""
    graph = program(EQUAL[0]).graph
    return tuple(p for p in _paths(graph) if p.has_hop)


def _paths(graph: Graph) -> Iterator[CallPath]:
    to = callees(graph)
    starts = [(False, s.name) for s in graph.services.values() if s.origin]
    starts += [(True, s.name) for s in graph.services.values() if s.entry]
    walks = [(outside, (name,)) for outside, name in starts]
    while walks:
        outside, services = walks.pop()
        yield CallPath(outside, services, (None,) * len(services))
        walks += [(outside, (*services, callee)) for callee in to[services[-1]]]


def ours(of: Program, path: CallPath, request: Request) -> Outcome:
    """What the interpreter says of the last hop of a path."""
    entity = "HttpRequest"
    values = {AttrKey(entity, "method"): request.method, AttrKey(entity, "target"): request.target}
    headers = {AttrKey(entity, "header", name): value for name, value in request.headers.items()}
    found = run_hop(of, path, {**values, **headers}, entity=entity)
    assert found.contradictions == ()
    if found.terminal:
        status = found.value("status")
        assert isinstance(status, int)
        return Outcome(status=status)
    said = {a: (value, show(value, of.attribute(a).type)) for a, value in found.writes.items()}
    shares = next((text for a, (_, text) in said.items() if a.attribute == "route"), "{}")
    return Outcome(
        headers={str(a.key): str(value) for a, (value, _) in said.items() if a.attribute == "header"},
        shares={version: int(percent) for version, percent in re.findall(r"(\w+): (\d+)%", shares)},
        timeout=next((text for a, (_, text) in said.items() if a.attribute == "timeout"), None),
    )


def test_the_page_is_current() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_ten_policies_each_on_both_sides() -> None:
    names = sorted(f.stem for f in (FOLDER / "m4").glob("*.m4") if f.stem != "mesh")
    assert len(names) == len(PAIRS) == 10
    equal, approximate = ({f.stem for f in (FOLDER / "istio" / kind).iterdir()} for kind in ("equal", "approximate"))
    assert equal.isdisjoint(approximate)
    assert sorted(equal | approximate) == names
    assert (set(EQUAL), set(APPROXIMATE)) == (equal, approximate)


# --- the programs -----------------------------------------------------------------------------------------------------


def test_the_policies_are_one_sound_program() -> None:
    """All ten together; where two timeouts could meet, M4 would say so."""
    assert Workspace([FOLDER / "m4"]).problems() == []


def test_our_side_is_formatted_one_part_a_line() -> None:
    """`m4 fmt` keeps line breaks, so the layout of the example is held here: nothing shares a line to save one."""
    layout = re.compile(
        r"policy \w+ \(HttpRequest r\)\n    on [^\n{;]+\n(?:    when [^\n{;]+\n)?\{\n"
        r"(?:(?: {4})+(?:[^\n{};]+(?:\{ [^\n{};]+ \})?\);|if \([^\n{};]+\) \{|\} else \{|\})\n)+\}\n"
    )
    for pair in PAIRS:
        text = (FOLDER / "m4" / f"{pair.name}.m4").read_text("utf-8")
        assert format_text(text) == text
        assert layout.fullmatch(code(text)), pair.name


def test_what_the_example_has_is_the_same_here() -> None:
    example = EXAMPLE.read_text("utf-8")
    there = {m[1]: m[0] for m in re.finditer(r"^policy (\w+) .*?^\}\n", example, re.M | re.S)}
    here = {p.name: code(p.m4) for p in PAIRS}
    both = there.keys() & here.keys()
    assert len(both) >= 7
    assert {n: here[n] for n in both} == {n: there[n] for n in both}


# --- the resources ----------------------------------------------------------------------------------------------------


class Layout(yaml.SafeDumper):
    """Two spaces a level, a line for each key and each item; lists of plain values in one line."""

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> yaml.Node:
        plain = all(not isinstance(item, dict | list) for item in sequence)
        return super().represent_sequence(tag, sequence, plain)


Layout.add_representer(list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value))


@pytest.mark.parametrize("file", RESOURCES, ids=lambda f: f.stem)
def test_their_side_is_laid_out_the_same_way_everywhere(file: Path) -> None:
    text = file.read_text("utf-8")
    laid_out = yaml.dump_all(documents(text), Dumper=Layout, sort_keys=False, default_flow_style=False, width=120)
    assert code(text) == laid_out


# The fields that the resources use, as Istio's reference has them: `!` marks those that must be there, a list holds one
# shape, a tuple is one of several, `{str: …}` a map with keys of one's own.
_TEXT = ({"exact!": str}, {"prefix!": str}, {"regex!": str})
_TARGET = {"destination!": {"host!": str, "subset": str}, "weight": int}
_ROUTE = {
    "match": [{"uri": _TEXT, "method": _TEXT, "headers": {str: _TEXT}, "sourceLabels": {str: str}}],
    "headers": {"request": {"set": {str: str}}},
    "timeout": str,
}
_SPECS = {
    ("networking.istio.io/v1", "VirtualService"): {
        "hosts!": [str],
        "http!": [({**_ROUTE, "route!": [_TARGET]}, {**_ROUTE, "directResponse!": {"status!": int}})],
    },
    ("security.istio.io/v1", "AuthorizationPolicy"): {
        "selector!": {"matchLabels!": {str: str}},
        "action": str,
        "rules!": [{"when!": [{"key!": str, "values!": [str]}]}],
    },
}


def fits(value: Any, shape: Any) -> bool:
    match shape:
        case tuple():
            return any(fits(value, s) for s in shape)
        case [inner]:
            return isinstance(value, list) and value != [] and all(fits(v, inner) for v in value)
        case dict() if str in shape:
            return isinstance(value, dict) and value != {} and all(fits(v, shape[str]) for v in value.values())
        case dict():
            shapes = {name.rstrip("!"): s for name, s in shape.items()}
            required = {name[:-1] for name in shape if name.endswith("!")}
            return (
                isinstance(value, dict)
                and required <= value.keys() <= shapes.keys()
                and all(fits(v, shapes[name]) for name, v in value.items())
            )
        case _:
            return type(value) is shape


@pytest.mark.parametrize("file", RESOURCES, ids=lambda f: f.stem)
def test_resources_have_the_fields_that_istio_has(file: Path) -> None:
    for document in documents(file.read_text("utf-8")):
        spec = _SPECS[document["apiVersion"], document["kind"]]
        assert fits(document, {"apiVersion!": str, "kind!": str, "metadata!": {"name!": str}, "spec!": spec})
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])
        for route in document["spec"].get("http", ()):
            weights = [target["weight"] for target in route.get("route", ()) if "weight" in target]
            assert weights == [] or (len(weights) == len(route["route"]) and sum(weights) == 100)
            assert re.fullmatch(r"[0-9]+(ms|s)", route.get("timeout", "1s"))


@pytest.mark.parametrize(
    "change",
    [
        lambda route: route.update(timeouts="1s"),
        lambda route: route.update(timeout=1),
        lambda route: route["route"][0]["destination"].pop("host"),
        lambda route: route.update(directResponse={"status": 404}),
        lambda route: route.update(match=[{"headers": {"x-a": "b"}}]),
    ],
)
def test_a_field_that_istio_does_not_have_is_found(change: Callable[[Any], Any]) -> None:
    spec = resources("payment_timeout")[0]["spec"]
    shape = _SPECS["networking.istio.io/v1", "VirtualService"]
    assert fits(spec, shape)
    change(spec["http"][0])
    assert not fits(spec, shape)


# --- they do the same -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EQUAL)
def test_equal_is_equal(name: str) -> None:
    """On every call path, for requests on both sides of every condition."""
    of, theirs = program(name), resources(name)
    seen = set()
    for path, request in itertools.product(call_paths(), REQUESTS):
        said = ours(of, path, request)
        assert said == istio_rules.hop(theirs, *path.hop, request), f"{path}: {request}"
        seen.add(str(said))
    assert len(seen) >= 2


@pytest.mark.parametrize("host", sorted(read_together()))
def test_one_virtual_service_does_what_two_do(host: str) -> None:
    names = [p.name for p in PAIRS if p.equal and host in virtual_hosts(p.istio)]
    assert len(names) == 2
    of, theirs = program(*names), documents(read_together()[host])
    for path, request in itertools.product(call_paths(), REQUESTS):
        assert ours(of, path, request) == istio_rules.hop(theirs, *path.hop, request), f"{path}: {request}"


def along(theirs: list[dict[str, Any]], path: CallPath, request: Request, silent: frozenset[str]) -> Outcome:
    """The last hop of a chain whose services hand the mark on, but for those that are `silent`."""
    outcome = Outcome()
    mark = request.headers.get(MARK)
    for prefix in path.prefixes():
        caller, callee = prefix.hop
        arrived = Request(request.method, request.target, {} if mark is None or caller in silent else {MARK: mark})
        outcome = istio_rules.hop(theirs, caller, callee, arrived)
        mark = outcome.headers.get(MARK, arrived.headers.get(MARK))
    rest = {name: value for name, value in outcome.headers.items() if name != MARK}
    return Outcome(outcome.status, rest, outcome.shares, outcome.timeout)


@pytest.mark.parametrize("name", APPROXIMATE)
def test_an_approximation_holds_if_services_hand_the_mark_on_and_nobody_forges_it(name: str) -> None:
    of, theirs = program(name), resources(name)

    def differs(request: Request, *silent: str) -> list[str]:
        return [
            str(path)
            for path in call_paths()
            if ours(of, path, request) != along(theirs, path, request, frozenset(silent))
        ]

    assert differs(Request()) == []
    for silent in ("frontend", "checkoutservice"):
        missed = differs(Request(), silent)
        assert missed
        assert all(path.startswith("loadgenerator") for path in missed)
    forged = differs(Request(headers={MARK: "loadgenerator"}))
    assert forged
    assert all(path.startswith("outside") for path in forged)


# --- the counts -------------------------------------------------------------------------------------------------------


def test_what_is_counted() -> None:
    text = "// a\n# b\n\n---\npolicy p\n  # c\n  x: 1\n   \n"
    assert code_lines(text) == ["policy p", "  x: 1"]
    assert count(text) == 2


def test_no_comment_hides_behind_code() -> None:
    for text in (*(p.m4 for p in PAIRS), *(f.read_text("utf-8") for f in RESOURCES)):
        assert not [line for line in code_lines(text) if "//" in line or " #" in line]


def test_together_saves_what_two_have_in_common() -> None:
    equal = [p for p in PAIRS if p.equal]
    apart = sum(count(p.istio) for p in equal)
    assert count_together(equal, {}) == apart
    assert count_together(equal, read_together()) < apart
    hosts = [h for p in equal for h in virtual_hosts(p.istio)]
    assert {h for h in hosts if hosts.count(h) > 1} == read_together().keys()
