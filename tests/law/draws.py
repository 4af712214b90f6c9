"""What meshes of the law are drawn from. Values are few, so that conditions, writes and requests meet.

Most of the parts are *plain*: of what every dataplane at the caller can do, so that the kernel, the cheapest one,
gets work wherever it is among the dataplanes.

Of limits on connections the law sees that one carries no more requests than it may, and that requests pass in spite of
all others: how many there are at a time, and when they are closed, takes several clients or time to show
(tests/dataplane/test_connections.py). Waits are such that no machine is too slow for them; that a caller gives up is
seen once in a mesh. Not drawn is what one request does not decide: retries and waits for a single attempt, what happens
to a share of the requests, copies to other services (tests/dataplane/test_proxies_vocabulary.py, test_vocabulary.py).
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from m4deploy.proof import Request

from tests.law.worlds import COUNTERS, Part, World

HEADERS = ("x-a", "x-b", "x-c")
VALUES = ("1", "2", "on", "gold-7", "gold")
METHODS = ("GET", "POST", "PUT", "DELETE")
HOSTS = ("shop.example", "admin.shop.example", "shop.example:8080")
STATUSES = (200, 201, 404, 500, 503)  # of answers
BACK = ("x-a", "x-b", "set-cookie")  # header fields of answers
TARGETS = ("/", "/cart", "/cart/7?x=1", "/admin", "/admin?y=/cart", "/a%2Fb")
MARKS = ("beta", "load")
TAGS = ("", "", "", "0001", "0002", "0003", "ffff")
PER = ("", "", ' per r.header["x-a"]', " per r.url_path", " per r.method")
WAIT, EVER = "3s", "1h"  # how long callers wait: longer than any busy machine takes to answer

ARGUMENT = st.sampled_from(HEADERS).map(lambda h: f'"{h}"')
VALUE = st.sampled_from(VALUES).map(lambda v: f'"{v}"')
MARKED = st.builds('r.mark["{}"]'.format, st.sampled_from(MARKS))
PLAIN_ATOMS = st.one_of(
    st.builds('r.method == "{}"'.format, st.sampled_from(METHODS)),
    st.builds('r.method in ["{}", "{}"]'.format, st.sampled_from(METHODS), st.sampled_from(METHODS)),
    st.builds('r.method {} "{}"'.format, st.sampled_from(("starts_with", "contains")), st.sampled_from(("P", "ET"))),
    st.builds('r.target starts_with "{}"'.format, st.sampled_from(TARGETS)),
    st.builds('r.target ends_with "{}"'.format, st.sampled_from(("1", "cart", "/"))),
    st.builds('r.url_path == "{}"'.format, st.sampled_from(("/cart", "/admin", "/"))),
    st.builds('r.url_path in ["{}", "/admin"]'.format, st.sampled_from(("/cart", "/cart/7", "/"))),
    st.builds('r.target contains "{}"'.format, st.sampled_from(("cart", "?", "%2F"))),
    st.builds("exists r.header[{}]".format, ARGUMENT),
    st.builds("r.header[{}] == {}".format, ARGUMENT, VALUE),
    st.builds("r.header[{}] != {}".format, ARGUMENT, VALUE),
    st.builds("r.header[{}] in [{}, {}]".format, ARGUMENT, VALUE, VALUE),
    st.builds("r.header[{}] starts_with {}".format, ARGUMENT, VALUE),
    st.builds("r.header[{}] ends_with {}".format, ARGUMENT, VALUE),
    st.builds("r.header[{}] contains {}".format, ARGUMENT, VALUE),
    MARKED,
    MARKED,
)
ATOMS = st.one_of(
    PLAIN_ATOMS,
    PLAIN_ATOMS,
    PLAIN_ATOMS,
    st.builds('r.target_host == "{}"'.format, st.sampled_from(HOSTS)),
    st.builds('r.target_host {} "{}"'.format, st.sampled_from(("starts_with", "ends_with")), st.sampled_from(HOSTS)),
    st.builds('r.header[{}] matches r"{}"'.format, ARGUMENT, st.sampled_from(("gold(-[0-9]+)?", "[0-9]*", ".+"))),
)
DENIALS = st.one_of(
    st.just("r.DropRequest()"),
    st.builds("r.DropRequest({})".format, st.sampled_from((400, 401, 404, 418, 429, 451, 503, 599))),
)
ANSWERS = st.one_of(
    st.builds('r.Redirect("/moved", {})'.format, st.sampled_from((301, 307))),
    st.builds('r.Respond({}, "no")'.format, st.sampled_from((200, 451))),
)
NOTES = st.one_of(
    st.builds('r.Mark("{}")'.format, st.sampled_from(MARKS)),
    st.builds('r.Unmark("{}")'.format, st.sampled_from(MARKS)),
    st.builds("{}.Increment({})".format, st.sampled_from(COUNTERS), st.sampled_from((1, 2, 7, -3))),
)
CHANGES = st.one_of(
    st.builds("r.SetHeader({}, {})".format, ARGUMENT, VALUE),
    st.builds("r.AppendHeader({}, {})".format, ARGUMENT, VALUE),
    st.builds("r.RemoveHeader({})".format, ARGUMENT),
    st.builds('r.RewriteTarget("{}")'.format, st.sampled_from(TARGETS)),
    st.builds('r.SetHost("{}")'.format, st.sampled_from(HOSTS)),
    st.just("r.LogSample(1%)"),
    st.builds("r.SetTimeout({})".format, st.sampled_from((WAIT, WAIT, EVER))),
    NOTES,
    NOTES,
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
PLAIN_CONNECTION = st.one_of(
    st.tuples(st.just("TcpConnection"), st.just("c.DropConnection()")),
    st.tuples(st.just("TcpConnection"), st.just("c.AllowConnection()")),
)
CONNECTION = st.one_of(
    PLAIN_CONNECTION,
    st.tuples(st.just("TcpConnection"), st.just("c.RequireIdentity()")),
    st.tuples(st.just("TcpConnection"), st.builds("c.SetConnectTimeout({})".format, st.sampled_from(("20s", "30s")))),
    st.tuples(st.just("TcpConnection"), st.builds("c.SetMaxConnections({})".format, st.sampled_from((1, 2, 100)))),
    st.tuples(st.just("HttpConnection"), st.builds("c.SetMaxRequests({})".format, st.sampled_from((1, 2, 100)))),
    st.tuples(st.just("HttpConnection"), st.builds("c.SetIdleTimeout({})".format, st.sampled_from(("1ms", "1s")))),
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


@dataclass(frozen=True, slots=True)
class Shape:
    """What policies of a part are about: its services, their versions, its calls; and whether the part is plain."""

    number: int
    names: tuple[str, ...]
    versions: dict[str, tuple[str, str]]
    calls: tuple[tuple[str, str], ...]
    plain: bool

    @property
    def atoms(self) -> st.SearchStrategy[str]:
        return PLAIN_ATOMS if self.plain else ATOMS

    @property
    def changes(self) -> st.SearchStrategy[str]:
        return NOTES if self.plain else CHANGES


@st.composite
def steps(draw: st.DrawFn, shape: Shape) -> str:
    """A pattern over some services; in a plain part one that ends with a call."""
    named = st.sampled_from(shape.names)
    prefixes = ("", "", "* -> ", "outside -> ", "X -> ", "X -> * -> ", "* -> X -> ", "X -> !Y -> ")
    before = draw(st.sampled_from(prefixes))
    if shape.plain:
        return draw(calling(shape, draw(st.sampled_from(("", "", "", "* -> ", before)))))
    one = st.one_of(named, named, named, st.builds("!{}".format, named), st.just("[kind: store]"))
    text = before.replace("X", draw(one)).replace("Y", draw(named))
    return f"{text}{draw(named)}" if text else draw(st.sampled_from((f"* -> {draw(named)}", f"{draw(named)} -> *")))


@st.composite
def calling(draw: st.DrawFn, shape: Shape, before: str = "") -> str:
    """A pattern that ends with a call, perhaps of one version of the caller."""
    caller, callee = draw(st.sampled_from(shape.calls))
    named = st.sampled_from(shape.names)
    version = f":{draw(st.sampled_from(shape.versions[caller]))}" if caller in shape.versions else ""
    text = before.replace("X", draw(named)).replace("Y", draw(named)).replace("outside -> ", "outside -> * -> ")
    many = draw(st.sampled_from(("", "", "", "?", "!")))  # or of every caller
    return f"{text}{f'{caller}{version}' if not many else '?' if many == '?' else f'!{callee}'} -> {callee}"


@st.composite
def policies(draw: st.DrawFn, name: str, others: list[str], shape: Shape) -> str:
    """A policy over some services, which may override another."""
    pattern = draw(steps(shape))
    last = pattern.rpartition("-> ")[2]
    kinds = [DENIALS, DENIALS, st.just("r.AllowRequest()"), *[shape.changes] * 3]
    kinds += [] if shape.plain else [ANSWERS]
    if not shape.plain and last in shape.versions:
        share = draw(st.sampled_from((0, 25, 50)))
        one, other = shape.versions[last]
        kinds.append(st.just(f"r.Split({{ {one}: {100 - share}%, {other}: {share}% }})"))
    calls = [draw(draw(st.sampled_from(kinds)))]
    if draw(st.integers(0, 2)) == 0:
        calls.append(draw(shape.changes))
    when = f"\n    when {draw(conditions(shape.atoms))}" if draw(st.booleans()) or shape.plain else ""
    if shape.plain and draw(st.integers(0, 2)) == 0:
        when = f"\n    when {draw(MARKED)} && {draw(conditions(PLAIN_ATOMS))}"
    over = f"\n    overrides {draw(st.sampled_from(others))}" if others and draw(st.integers(0, 3)) == 0 else ""
    body = "".join(f"    {call};\n" for call in calls)
    if draw(st.integers(0, 4)) == 0:
        body = f"    if ({draw(conditions(shape.atoms))}) {{\n{textwrap.indent(body, '    ')}    }}\n"
    return f"policy {name} (HttpRequest r)\n    on {pattern}{when}{over}\n{{\n{body}}}\n"


@st.composite
def limits(draw: st.DrawFn, name: str, shape: Shape) -> tuple[str, str]:
    """A token bucket, and the policy that asks it. It fills by a token an hour, so what it answers can be foretold."""
    state = (
        f"state TokenBucket t{name}(rate: 1/h, burst: {draw(st.sampled_from((1, 2, 4)))}){draw(st.sampled_from(PER))};"
    )
    asked = draw(st.sampled_from((f"t{name}.Take()", f"!t{name}.Take()")))
    cond = f"{draw(conditions(PLAIN_ATOMS))} && {asked}" if draw(st.booleans()) else asked
    effect, other = (draw(st.one_of(DENIALS, NOTES)) for _ in range(2))
    text = f"policy {name} (HttpRequest r)\n    on {draw(calling(shape))}"
    if draw(st.booleans()):
        return state, f"{text}\n    when {cond}\n{{\n    {effect};\n}}\n"
    return state, f"{text}\n{{\n    if ({cond}) {{ {effect}; }} else {{ {other}; }}\n}}\n"


@st.composite
def answers(draw: st.DrawFn, name: str, others: list[str], shape: Shape) -> str:
    """A policy over some services about what comes back, which may override another."""
    calls = draw(st.lists(CHANGES_BACK, min_size=1, max_size=2))
    when = f"\n    when {draw(conditions(ANSWER_ATOMS))}" if draw(st.integers(0, 3)) else ""
    over = f"\n    overrides {draw(st.sampled_from(others))}" if others and draw(st.booleans()) else ""
    body = "".join(f"    {call};\n" for call in calls)
    return f"policy {name} (HttpResponse p)\n    on {draw(steps(shape))}{when}{over}\n{{\n{body}}}\n"


@st.composite
def connections(draw: st.DrawFn, name: str, shape: Shape) -> str:
    """A policy about the connections of a call."""
    caller, callee = draw(st.sampled_from(shape.calls))
    about, call = draw(PLAIN_CONNECTION if shape.plain else CONNECTION)
    pattern = draw(st.sampled_from((f"{caller} -> {callee}", f"{caller} -> {callee}", f"? -> {callee}")))
    return f"policy {name} ({about} c)\n    on {pattern}\n{{\n    {call};\n}}\n"


@st.composite
def parts(draw: st.DrawFn, number: int, plain: bool) -> Part:
    names = tuple(f"{letter}{number}" for letter in "abcd"[: draw(st.integers(2, 4))])
    services: dict[str, str] = {}
    versions: dict[str, tuple[str, str]] = {}
    for i, name in enumerate(names):
        said = ["entry: true"] if i == 0 or draw(st.integers(0, 9 if plain else 3)) == 0 else []
        versioned = draw(st.integers(0, 4)) == 0
        # What a service begins by itself has no version that anybody is told.
        said += ["origin: false"] if (said or versioned) and draw(st.integers(0, 3)) else []
        said += ["propagates: false"] if draw(st.integers(0, 5)) == 0 else []
        said += ["labels: {kind: store}"] if i and draw(st.booleans()) else []
        if versioned:
            versions[name] = ("v1", "v2")
            said.append("versions: [v1, v2]")
        services[name] = ", ".join(said)
    forward = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    calls = {(names[i], names[i + 1]) for i in range(len(names) - 1)}
    calls |= set(draw(st.lists(st.sampled_from(forward), max_size=2)))
    if draw(st.integers(0, 3)) == 0:
        calls.add((names[-1], names[0]))  # a cycle
    shape = Shape(number, names, versions, tuple(sorted(calls)), plain)
    found: dict[str, str] = {}
    for i in range(draw(st.integers(1, 4))):
        name = f"p{number}_{i}"
        found[name] = draw(policies(name, list(found), shape))
    if draw(st.integers(0, 5 if plain else 2)) == 0:  # labelled once, at the door
        body = f'    when {draw(PLAIN_ATOMS)}\n{{\n    r.Mark("{draw(st.sampled_from(MARKS))}");\n}}\n'
        found[f"m{number}"] = f"policy m{number} (HttpRequest r)\n    on outside -> {names[0]}\n{body}"
    if not plain and draw(st.integers(0, 2)) == 0:
        on = draw(calling(shape))
        found[f"w{number}"] = f"policy w{number} (HttpRequest r)\n    on {on}\n{{\n    r.SetTimeout({WAIT});\n}}\n"
    states: list[str] = []
    for i in range(draw(st.sampled_from((0, 1, 2) if plain else (0, 0, 1)))):
        name = f"l{number}_{i}"
        state, found[name] = draw(limits(name, shape))
        states.append(state)
    named = list[str]()
    for i in range(draw(st.sampled_from((0, 0, 0, 0, 1) if plain else (0, 0, 1, 2, 3)))):
        found[f"b{number}_{i}"] = draw(answers(f"b{number}_{i}", named, shape))
        named.append(f"b{number}_{i}")
    for i in range(draw(st.sampled_from((0, 0, 1, 2)))):
        found[f"s{number}_{i}"] = draw(connections(f"s{number}_{i}", shape))
    default = {
        0: f"default HttpRequest.verdict = deny on * -> {names[-1]};",
        1: f"default TcpConnection.verdict = deny on ? -> {names[-1]};",
    }.get(draw(st.integers(0, 8)), "")
    return Part(services, shape.calls, found, default, tuple(states))


REQUESTS = st.builds(
    Request,
    st.sampled_from(METHODS),
    st.sampled_from(TARGETS),
    st.dictionaries(st.sampled_from(HEADERS), st.sampled_from(VALUES), max_size=3).map(lambda d: tuple(d.items())),
    st.sampled_from(("", *HOSTS)),
    forged=st.sampled_from(TAGS),
    status=st.sampled_from(STATUSES),
    answer=st.lists(st.tuples(st.sampled_from(BACK), st.sampled_from(VALUES)), max_size=3).map(tuple),
)


@st.composite
def worlds(draw: st.DrawFn, dataplanes: tuple[tuple[str, ...], ...], most: int = 4) -> World:
    """A mesh of some parts, enforced by one of some sets of dataplanes. The first of the sets comes most often."""
    chosen = draw(st.sampled_from((*dataplanes[:1] * 5, *dataplanes)))
    size = draw(st.integers(1, most))
    return World(
        tuple(draw(parts(i, plain=draw(st.integers(0, 2)) > 0)) for i in range(size)),
        chosen,
        tuple(draw(st.lists(REQUESTS, min_size=2, max_size=4, unique=True))),
    )


def drawn(chosen: object, dataplanes: tuple[tuple[str, ...], ...], most: int = 4) -> World:
    """The world of a seed. Hypothesis begins with the plainest example, always the same: the next one counts."""
    found: list[World] = []

    @seed(chosen)
    @settings(
        max_examples=2,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(worlds(dataplanes, most))
    def draw(world: World) -> None:
        found.append(world)

    draw()
    return found[-1]
