"""Random meshes for the law, as people would write them: a graph and policies as text, and requests along its paths.

A mesh is of several parts that do not call each other, so that one deployment tries many small meshes at once. What is
drawn may contradict itself, or may be more than the dataplanes can do: `sound` leaves out policies until nothing is
wrong. Values are drawn from few, so that conditions, writes and requests meet.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import strategies as st
from m4c.diagnostics.registry import Severity, rule
from m4c.resources import shipped_specs
from m4c.workspace import Workspace
from m4deploy.proof import Request
from m4deploy.targets import unavailable

HEADERS = ("x-a", "x-b", "x-c")
VALUES = ("1", "2", "on", "gold-7", "gold")
METHODS = ("GET", "POST", "PUT", "DELETE")
STATUSES = (200, 201, 404, 500, 503)  # of answers
BACK = ("x-a", "x-b", "set-cookie")  # header fields of answers
TARGETS = ("/", "/cart", "/cart/7?x=1", "/admin", "/admin?y=/cart", "/a%2Fb")
COUNTERS = ("hits", "points")
MARKS = ("beta", "load")
COMMON = ("every", "api")  # groups that patterns can name


@dataclass(frozen=True, slots=True)
class Part:
    """A small mesh: its services with their settings, its calls, its policies by name, and a default, if any."""

    services: dict[str, str]
    calls: tuple[tuple[str, str], ...]
    policies: dict[str, str]
    default: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """A mesh of several parts, enforced by some dataplanes; and requests to be sent along each call path."""

    parts: tuple[Part, ...]
    dataplanes: tuple[str, ...]
    requests: tuple[Request, ...]

    def write(self, folder: Path) -> None:
        """Writes the mesh into a folder, as a workspace."""
        services = {name: text for part in self.parts for name, text in part.services.items()}
        calls = [call for part in self.parts for call in part.calls]
        lines = ["services:", *(f"  {name}: {{{text}}}" for name, text in services.items())]
        lines += ["calls:", *(f"  - [{a}, {b}]" for a, b in calls)] if calls else []
        (folder / "graph.yaml").write_text("\n".join(lines) + "\n")
        defaults = "".join(f"    {part.default}\n" for part in self.parts if part.default)
        mesh = f'mesh law {{\n    graph "graph.yaml";\n    dataplanes {", ".join(self.dataplanes)};\n{defaults}}}\n'
        (folder / "mesh.m4").write_text(mesh)
        policies = "\n".join(text for part in self.parts for text in part.policies.values())
        states = "".join(f"state Counter {name};\n" for name in COUNTERS)
        (folder / "policies.m4").write_text(f"{states}\n{policies}")

    def without(self, names: set[str]) -> World:
        """The world without some policies, and without what others say of them."""

        def kept(text: str) -> str:
            return "".join(line for line in text.splitlines(True) if line.strip() not in said)

        said = {f"overrides {name}" for name in names}
        parts = (
            replace(part, policies={n: kept(text) for n, text in part.policies.items() if n not in names})
            for part in self.parts
        )
        return replace(self, parts=tuple(parts))

    def lenient(self) -> World:
        """The world without defaults: a dataplane may not be everywhere where they hold."""
        return replace(self, parts=tuple(replace(part, default="") for part in self.parts))


def sound(world: World, folder: Path) -> tuple[World, Workspace]:
    """The world without the policies of which something is wrong, written into a folder, and opened."""
    while True:
        world.write(folder)
        workspace = Workspace([folder])
        problems = workspace.problems()
        wrong = [p for p in problems if rule(p.code).severity == Severity.ERROR or p.code == "unenforceable"]
        if not wrong:
            return world, workspace
        names = {p.policies[-1] for p in wrong if p.policies}
        smaller = world.without(names) if names else world.lenient()
        if smaller == world:
            raise AssertionError(f"a world that no policy makes wrong: {wrong[0].message}")
        world = smaller


# --- policies ---------------------------------------------------------------------------------------------------------

ARGUMENT = st.sampled_from(HEADERS).map(lambda h: f'"{h}"')
VALUE = st.sampled_from(VALUES).map(lambda v: f'"{v}"')
ATOMS = st.one_of(
    st.builds('r.method == "{}"'.format, st.sampled_from(METHODS)),
    st.builds('r.method in ["{}", "{}"]'.format, st.sampled_from(METHODS), st.sampled_from(METHODS)),
    st.builds('r.target starts_with "{}"'.format, st.sampled_from(TARGETS)),
    st.builds('r.url_path == "{}"'.format, st.sampled_from(("/cart", "/admin", "/"))),
    st.builds('r.target contains "{}"'.format, st.sampled_from(("cart", "?", "%2F"))),
    st.builds("exists r.header[{}]".format, ARGUMENT),
    st.builds("r.header[{}] == {}".format, ARGUMENT, VALUE),
    st.builds("r.header[{}] != {}".format, ARGUMENT, VALUE),
    st.builds("r.header[{}] in [{}, {}]".format, ARGUMENT, VALUE, VALUE),
    st.builds("r.header[{}] starts_with {}".format, ARGUMENT, VALUE),
    st.builds('r.header[{}] matches r"{}"'.format, ARGUMENT, st.sampled_from(("gold(-[0-9]+)?", "[0-9]*", ".+"))),
    st.builds('r.mark["{}"]'.format, st.sampled_from(MARKS)),
)
DENIALS = st.one_of(st.just("r.DropRequest()"), st.builds("r.DropRequest({})".format, st.sampled_from((401, 404, 418))))
ANSWERS = st.one_of(
    st.builds('r.Redirect("/moved", {})'.format, st.sampled_from((301, 307))),
    st.builds('r.Respond({}, "no")'.format, st.sampled_from((200, 451))),
)
CHANGES = st.one_of(
    st.builds("r.SetHeader({}, {})".format, ARGUMENT, VALUE),
    st.builds("r.AppendHeader({}, {})".format, ARGUMENT, VALUE),
    st.builds("r.RemoveHeader({})".format, ARGUMENT),
    st.builds('r.RewriteTarget("{}")'.format, st.sampled_from(TARGETS)),
    st.builds('r.Mark("{}")'.format, st.sampled_from(MARKS)),
    st.builds('r.Unmark("{}")'.format, st.sampled_from(MARKS)),
    st.just("r.LogSample(1%)"),
    st.builds("{}.Increment({})".format, st.sampled_from(COUNTERS), st.sampled_from((1, 2, 7, -3))),
)
ANSWER_ATOMS = st.one_of(
    st.builds("p.status {} {}".format, st.sampled_from(("==", "<", ">=", "!=")), st.sampled_from(STATUSES)),
    st.builds("p.status in [{}, {}]".format, st.sampled_from(STATUSES), st.sampled_from(STATUSES)),
    st.builds('exists p.header["{}"]'.format, st.sampled_from(BACK)),
    st.builds('p.header["{}"] == {}'.format, st.sampled_from(BACK), VALUE),
    st.builds('p.header["{}"] contains ","'.format, st.sampled_from(BACK)),
    ATOMS.map(lambda atom: atom.replace("r.", "p.request.")),
)
CHANGES_BACK = st.one_of(
    st.builds('p.SetHeader("{}", {})'.format, st.sampled_from(BACK), VALUE),
    st.builds('p.AppendHeader("{}", {})'.format, st.sampled_from(BACK), VALUE),
    st.builds('p.RemoveHeader("{}")'.format, st.sampled_from(BACK)),
    st.just("p.LogSample(1%)"),
    st.builds("{}.Increment({})".format, st.sampled_from(COUNTERS), st.sampled_from((1, 2))),
)


def conditions(of: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        of,
        lambda inner: st.one_of(
            st.builds("!({})".format, inner),
            st.builds("({} && {})".format, inner, inner),
            st.builds("({} || {})".format, inner, inner),
        ),
        max_leaves=3,
    )


CONNECTION = st.one_of(
    st.tuples(st.just("TcpConnection"), st.just("c.RequireIdentity()")),
    st.tuples(st.just("TcpConnection"), st.just("c.DropConnection()")),
    st.tuples(st.just("TcpConnection"), st.just("c.AllowConnection()")),
    st.tuples(st.just("TcpConnection"), st.builds("c.SetConnectTimeout({})".format, st.sampled_from(("20s", "30s")))),
    st.tuples(st.just("HttpConnection"), st.builds("c.SetMaxRequests({})".format, st.sampled_from((1, 2, 100)))),
    st.tuples(st.just("HttpConnection"), st.builds("c.SetIdleTimeout({})".format, st.sampled_from(("1ms", "1s")))),
)


@st.composite
def steps(draw: st.DrawFn, names: list[str]) -> str:
    """A pattern over some services."""
    named = st.sampled_from(names)
    one = st.one_of(named, named, named, st.builds("!{}".format, named), st.just("[kind: store]"))
    before = draw(st.sampled_from(("", "", "* -> ", "outside -> ", "X -> ", "X -> * -> ", "* -> X -> ", "X -> !Y -> ")))
    text = before.replace("X", draw(one)).replace("Y", draw(named))
    return f"{text}{draw(named)}" if text else draw(st.sampled_from((f"* -> {draw(named)}", f"{draw(named)} -> *")))


@st.composite
def policies(draw: st.DrawFn, name: str, others: list[str], names: list[str], versions: dict[str, list[str]]) -> str:
    """A policy over some services, which may override another."""
    pattern = draw(steps(names))
    last = pattern.rpartition("-> ")[2]
    kinds = [DENIALS, DENIALS, st.just("r.AllowRequest()"), ANSWERS, CHANGES, CHANGES, CHANGES]
    if last in versions:
        share = draw(st.sampled_from((0, 25, 50)))
        one, other = versions[last]
        kinds.append(st.just(f"r.Split({{ {one}: {100 - share}%, {other}: {share}% }})"))
    calls = [draw(draw(st.sampled_from(kinds)))]
    if draw(st.integers(0, 2)) == 0:
        calls.append(draw(CHANGES))
    when = f"\n    when {draw(conditions(ATOMS))}" if draw(st.booleans()) else ""
    over = f"\n    overrides {draw(st.sampled_from(others))}" if others and draw(st.integers(0, 3)) == 0 else ""
    body = "".join(f"    {call};\n" for call in calls)
    if draw(st.integers(0, 4)) == 0:
        body = f"    if ({draw(conditions(ATOMS))}) {{\n{textwrap.indent(body, '    ')}    }}\n"
    return f"policy {name} (HttpRequest r)\n    on {pattern}{when}{over}\n{{\n{body}}}\n"


@st.composite
def answers(draw: st.DrawFn, name: str, others: list[str], names: list[str]) -> str:
    """A policy over some services about what comes back, which may override another."""
    calls = draw(st.lists(CHANGES_BACK, min_size=1, max_size=2))
    when = f"\n    when {draw(conditions(ANSWER_ATOMS))}" if draw(st.integers(0, 3)) else ""
    over = f"\n    overrides {draw(st.sampled_from(others))}" if others and draw(st.booleans()) else ""
    body = "".join(f"    {call};\n" for call in calls)
    return f"policy {name} (HttpResponse p)\n    on {draw(steps(names))}{when}{over}\n{{\n{body}}}\n"


@st.composite
def parts(draw: st.DrawFn, number: int) -> Part:
    names = [f"{letter}{number}" for letter in "abcd"[: draw(st.integers(2, 4))]]
    services: dict[str, str] = {}
    versions: dict[str, list[str]] = {}
    for i, name in enumerate(names):
        said = ["entry: true"] if i == 0 or draw(st.integers(0, 3)) == 0 else []
        said += ["origin: false"] if said and draw(st.booleans()) else []
        said += ["propagates: false"] if draw(st.integers(0, 5)) == 0 else []
        said += ["labels: {kind: store}"] if i and draw(st.booleans()) else []
        if draw(st.integers(0, 4)) == 0:
            versions[name] = ["v1", "v2"]
            said.append("versions: [v1, v2]")
        services[name] = ", ".join(said)
    forward = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    calls = {(names[i], names[i + 1]) for i in range(len(names) - 1)}
    calls |= set(draw(st.lists(st.sampled_from(forward), max_size=2)))
    if draw(st.integers(0, 3)) == 0:
        calls.add((names[-1], names[0]))  # a cycle
    found: dict[str, str] = {}
    for i in range(draw(st.integers(1, 4))):
        name = f"p{number}_{i}"
        found[name] = draw(policies(name, list(found), names, versions))
    named = list[str]()
    for i in range(draw(st.sampled_from((0, 0, 0, 1, 2, 3)))):
        found[f"b{number}_{i}"] = draw(answers(f"b{number}_{i}", named, names))
        named.append(f"b{number}_{i}")
    for i in range(draw(st.sampled_from((0, 0, 1, 2)))):
        ends = draw(st.sampled_from(sorted(calls)))
        about, call = draw(CONNECTION)
        pattern = draw(st.sampled_from((f"{ends[0]} -> {ends[1]}", f"{ends[0]} -> {ends[1]}", f"? -> {ends[1]}")))
        name = f"s{number}_{i}"
        found[name] = f"policy {name} ({about} c)\n    on {pattern}\n{{\n    {call};\n}}\n"
    default = {
        0: f"default HttpRequest.verdict = deny on * -> {names[-1]};",
        1: f"default TcpConnection.verdict = deny on ? -> {names[-1]};",
    }.get(draw(st.integers(0, 8)), "")
    return Part(services, tuple(sorted(calls)), found, default)


REQUESTS = st.builds(
    Request,
    st.sampled_from(METHODS),
    st.sampled_from(TARGETS),
    st.dictionaries(st.sampled_from(HEADERS), st.sampled_from(VALUES), max_size=3).map(lambda d: tuple(d.items())),
    status=st.sampled_from(STATUSES),
    answer=st.lists(st.tuples(st.sampled_from(BACK), st.sampled_from(VALUES)), max_size=3).map(tuple),
)


@st.composite
def worlds(draw: st.DrawFn, dataplanes: tuple[tuple[str, ...], ...], most: int = 4) -> World:
    """A mesh of some parts, enforced by one of some sets of dataplanes."""
    size = draw(st.integers(1, most))
    return World(
        tuple(draw(parts(i)) for i in range(size)),
        draw(st.sampled_from(dataplanes)),
        tuple(draw(st.lists(REQUESTS, min_size=2, max_size=4, unique=True))),
    )


def dataplane_sets() -> tuple[tuple[tuple[str, ...], ...], dict[str, str]]:
    """The sets of shipped dataplanes that meshes are enforced by: all that this machine can run, and each alone; and
    those that it cannot, with the reasons."""
    names = sorted(shipped_specs().keys() - {"core"})
    lacking = unavailable(names)
    here = tuple(name for name in names if name not in lacking)
    return tuple(dict.fromkeys((here, *((name,) for name in here)))), lacking
