"""What a checked M4 program is: plain, frozen, hashable values that every later stage works on.

Nothing here knows about files' offsets: a `Place` is relative to its declaration, so moving a declaration inside its
file changes no value and re-computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Literal, NamedTuple, TypeAlias

from m4c.semantics.services import DEFAULT_PROTOCOL as DEFAULT_PROTOCOL
from m4c.semantics.services import Call as Call
from m4c.semantics.services import Graph as Graph
from m4c.semantics.services import Service as Service
from m4c.semantics.types import ABSENT as ABSENT
from m4c.semantics.types import Absent as Absent
from m4c.semantics.types import Type as Type
from m4c.semantics.types import Value as Value
from m4c.syntax.literals import UNITS

Side: TypeAlias = Literal["ingress", "egress"]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A span of text inside one declaration: offsets in code points from the declaration's first character."""

    file: str
    decl: str  # "policy:canary", with "#2" behind it for the second of that name
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Enum:
    name: str
    values: tuple[str, ...]
    terminal: frozenset[str] = frozenset()
    doc: str = ""
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Attribute:
    """What can be read or written of an entity. `key`: the type of the key of a keyed one (`header[name: istring]`)."""

    entity: str
    name: str
    type: Type
    key: Type | None = None
    merge: str | None = None  # min, max, and, or, union, sum
    default: Value | None = None
    travels: bool = False
    derived: tuple[str, str] | None = None  # (source, cut): the part of `source` before the first `cut`
    roles: frozenset[str] = frozenset()  # its annotations: what the analyses may know of it beside its type
    added_to: str | None = None  # the attribute whose value its elements are added to, behind all else of the hop
    doc: str = ""
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    type: Type
    default: Value | None = None


@dataclass(frozen=True, slots=True)
class WriteDecl:
    """`writes header[name] = value`: key and value are either a parameter's name or a constant; with `in_set` the value
    is the set that holds a parameter alone (`= [value]`)."""

    attribute: str
    key: str | None = None
    key_is_param: bool = False
    value: Value = ""
    value_is_param: bool = False
    in_set: bool = False

    def given(self, args: Mapping[str, Value]) -> Value:
        """The value that is written, by the arguments of the operation."""
        value = args[str(self.value)] if self.value_is_param else self.value
        return (value,) if self.in_set else value


@dataclass(frozen=True, slots=True)
class Operation:
    entity: str
    name: str
    params: tuple[Param, ...] = ()
    side: Side | None = None
    writes: tuple[WriteDecl, ...] = ()
    doc: str = ""
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class StateCondition:
    """What a state can be asked (`limiter.Take()`)."""

    name: str
    params: tuple[Param, ...] = ()
    doc: str = ""
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Entity:
    """What policies are about, or (with `state`) a kind of state that they keep.

    `views`: attributes that are another entity as a whole (`response.request`), by name; such an entity answers the
    other one, and comes back along the hop. `connection`: there is one for many requests, so it has no call path.
    `request_line`: the attributes that the words of a test's `request` are, in order. `protocols`: those in which there
    is such a thing; None: in all.
    """

    name: str
    over: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    operations: Mapping[str, Operation] = field(default_factory=dict)  # those of the specs included
    views: Mapping[str, str] = field(default_factory=dict)
    connection: bool = False
    request_line: tuple[str, ...] = ()
    state: bool = False
    params: tuple[Param, ...] = ()
    conditions: Mapping[str, StateCondition] = field(default_factory=dict)
    protocols: tuple[str, ...] | None = None
    doc: str = ""
    place: Place | None = field(default=None, compare=False)

    @property
    def answers(self) -> bool:
        """Whether it comes back for another one."""
        return bool(self.views)


SIDES: tuple[Side, Side] = ("egress", "ingress")  # in the order in which a request meets them


@dataclass(frozen=True, slots=True)
class Reads:
    """A spec can evaluate comparisons of an attribute, on some sides. No comparison named means every one."""

    attribute: str
    comparisons: frozenset[str] | None = None
    sides: tuple[Side, ...] = SIDES


@dataclass(frozen=True, slots=True)
class Supports:
    """An operation that a dataplane implements: where, and by which template."""

    operation: str
    emits: str | None
    sides: tuple[Side, ...] = SIDES
    place: Place | None = field(default=None, compare=False)
    roles: frozenset[str] = frozenset()  # its annotations: what it does beside what it would do anyway


@dataclass(frozen=True, slots=True)
class Artifact:
    name: str  # the file's name, "envoy.yaml"
    template: str
    per: str = "service"
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Cost:
    """What an element costs, in the unit that all specs share: `instance`, and `more` for every `count` requests in
    `period` nanoseconds that go through it."""

    instance: int
    more: int = 0
    count: int = 1
    period: int = UNITS["s"]

    def at(self, rps: float) -> int:
        """The cost with so many requests a second, rounded to a whole number, a half up."""
        return self.instance + floor(self.more * rps * self.period / (self.count * UNITS["s"]) + 0.5)

    def __str__(self) -> str:
        unit = next(name for name, nanoseconds in UNITS.items() if nanoseconds == self.period)
        return f"{self.instance} + {self.more} per {self.count}/{unit}" if self.more else str(self.instance)


@dataclass(frozen=True, slots=True)
class Dataplane:
    """A checked `spec`: what one dataplane can do, what it costs, which files it gets."""

    name: str
    tier: Literal["kernel", "proxy"]
    cost: Cost
    folder: str  # where its templates are
    reads_context: tuple[Side, ...] = ()
    writes_context: tuple[Side, ...] = ()
    peer: tuple[Side, ...] = ()
    speaks: tuple[str, ...] = (DEFAULT_PROTOCOL,)  # the protocols of callees that it can deal with
    reads: Mapping[tuple[str, str], Reads] = field(default_factory=dict)  # (entity, attribute)
    operations: Mapping[tuple[str, str], Supports] = field(default_factory=dict)  # (entity, operation)
    conditions: Mapping[tuple[str, str], Supports] = field(default_factory=dict)  # (state entity, condition)
    artifacts: tuple[Artifact, ...] = ()
    doc: str = ""
    place: Place | None = field(default=None, compare=False)


# --- conditions -------------------------------------------------------------------------------------------------------


class AttrKey(NamedTuple):  # a tuple: it is the key of many mappings, and hashed in C
    """One readable or writable thing: `HttpRequest.header["x-user"]`. Keys of type istring are lower case."""

    entity: str
    attribute: str
    key: str | None = None

    def __lt__(self, other: tuple[object, ...]) -> bool:
        assert isinstance(other, AttrKey)  # noqa: S101 - keys are compared with keys
        return (self.entity, self.attribute, self.key or "") < (other.entity, other.attribute, other.key or "")

    def __str__(self) -> str:
        state = self.entity.removeprefix(STATE)
        name = self.attribute if state == self.entity else f"{state}.{self.attribute}"
        return name if self.key is None else f'{name}["{self.key}"]'


STATE = "state "  # "state hits" is the entity of the state `hits`, as no entity of a spec can be called


@dataclass(frozen=True, slots=True)
class Const:
    value: bool


class Atom(NamedTuple):
    """One comparison with a constant. op: == < <= > >= in starts_with ends_with contains matches exists.

    `!=` is `Not(==)`; a bool attribute by itself is `== true`; a comparison with an absent value is false. For `in` the
    value is a sorted tuple, for `exists` it is True, for `matches` it is the regular expression's source.
    """

    attr: AttrKey
    op: str
    value: Value


@dataclass(frozen=True, slots=True)
class StateAtom:
    """One occurrence of a state's condition: a free boolean. `occurrence` tells two in one policy apart."""

    state: str
    condition: str
    policy: str
    occurrence: int
    args: tuple[tuple[str, Value], ...] = ()

    def __str__(self) -> str:
        return f"{self.state}.{self.condition}"


@dataclass(frozen=True, slots=True)
class Not:
    of: Cond


@dataclass(frozen=True, slots=True)
class And:
    of: tuple[Cond, ...]


@dataclass(frozen=True, slots=True)
class Or:
    of: tuple[Cond, ...]


Cond: TypeAlias = Const | Atom | StateAtom | Not | And | Or
TRUE = Const(True)
FALSE = Const(False)


def all_of(*conds: Cond) -> Cond:
    """The conjunction, with constants folded and nested conjunctions flattened."""
    return _joined(And, TRUE, FALSE, conds)


def any_of(*conds: Cond) -> Cond:
    """The disjunction, with constants folded and nested disjunctions flattened."""
    return _joined(Or, FALSE, TRUE, conds)


def _joined(kind: type[And | Or], none: Const, decides: Const, conds: Sequence[Cond]) -> Cond:
    """`none` is what nothing joined is; `decides` what one of which makes the whole. A single condition is itself."""
    left = [c for c in conds if not isinstance(c, Const) or c.value == decides.value]
    if len(left) == 1:
        return left[0]
    out: list[Cond] = []
    for c in left:
        if isinstance(c, Const):
            return decides
        for part in c.of if isinstance(c, kind) else (c,):
            if not (isinstance(part, Const) and part == none) and part not in out:
                out.append(part)
    return none if not out else out[0] if len(out) == 1 else kind(tuple(out))


def negate(cond: Cond) -> Cond:
    match cond:
        case Const(v):
            return Const(not v)
        case Not(inner):
            return inner
        case _:
            return Not(cond)


def atoms(cond: Cond) -> frozenset[Atom | StateAtom]:
    """Every comparison and state condition that occurs in a condition."""
    match cond:
        case Const():
            return frozenset()
        case Not(inner):
            return atoms(inner)
        case And(parts) | Or(parts):
            return frozenset().union(*map(atoms, parts))
        case _:
            return frozenset((cond,))


# --- path patterns ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Named:
    service: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class AnyOne:
    pass


@dataclass(frozen=True, slots=True)
class Labelled:
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GroupOf:
    group: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    of: tuple[One, ...]


@dataclass(frozen=True, slots=True)
class NotOne:
    of: One


One: TypeAlias = Named | AnyOne | Labelled | GroupOf | OneOf | NotOne


@dataclass(frozen=True, slots=True)
class Step:
    """One element of a pattern: exactly one service out of `one`, or with `star` any number of them, none included."""

    one: One
    star: bool = False


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular language of call paths. With `outside`, only chains from outside; without, chains of both kinds."""

    steps: tuple[Step, ...]
    outside: bool = False


# --- policies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Write:
    attr: AttrKey
    value: Value


@dataclass(frozen=True, slots=True)
class OpCall:
    """One operation call of a body. `guard` is what the `if`s around it demand, beside the policy's `when`."""

    index: int  # among the calls of the policy, in the order of the text
    entity: str
    operation: str
    args: tuple[tuple[str, Value], ...]
    guard: Cond
    writes: tuple[Write, ...]
    side: Side | None  # the operation's own and the policy's `at` together
    place: Place


@dataclass(frozen=True, slots=True)
class If:
    """The condition of an `if`. `guard`: what the `if`s around it demand, beside the policy's `when`."""

    cond: Cond
    guard: Cond
    place: Place


@dataclass(frozen=True, slots=True)
class Policy:
    name: str
    entity: str
    var: str
    pattern: Pattern
    when: Cond
    calls: tuple[OpCall, ...]
    place: Place  # the name
    pattern_place: Place
    when_place: Place | None = None
    side: Side | None = None
    overrides: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    owner: str | None = None
    doc: str = ""
    ifs: tuple[If, ...] = ()


@dataclass(frozen=True, slots=True)
class Default:
    """`default HttpRequest.verdict = deny on * -> x;`: what an attribute is where no policy writes it."""

    attr: AttrKey
    value: Value
    pattern: Pattern
    place: Place


@dataclass(frozen=True, slots=True)
class State:
    name: str
    kind: str
    args: tuple[tuple[str, Value], ...]
    per: tuple[str, str | None] | None  # an attribute and its key, of whatever entity a policy uses it for
    place: Place
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Mesh:
    name: str
    graph: str | None  # the path as the file that declares it says, resolved
    dataplanes: tuple[str, ...]
    never: tuple[tuple[str, str], ...] = ()  # (service, dataplane)
    only: tuple[tuple[str, str], ...] = ()
    costs: tuple[tuple[str, str, Cost], ...] = ()  # (dataplane, service, cost)
    propagate: tuple[str, ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    defaults: tuple[Default, ...] = ()
    tag_bits: int = 16
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Program:
    """One mesh with everything that applies to it: what the analyses, the planner and the interpreter take."""

    mesh: Mesh
    graph: Graph
    enums: Mapping[str, Enum]
    entities: Mapping[str, Entity]  # each state of the mesh is one too, called STATE + its name
    dataplanes: Mapping[str, Dataplane]  # those of the mesh, in its order
    policies: tuple[Policy, ...]  # by file and line
    states: tuple[State, ...] = ()

    def attribute(self, attr: AttrKey) -> Attribute:
        return self.entities[attr.entity].attributes[attr.attribute]

    def carries_context(self, protocol: str) -> bool:
        """Whether requests of a protocol can carry the context: some entity of one call path each is in it."""
        return any(
            not (e.state or e.connection) and (e.protocols is None or protocol in e.protocols)
            for e in self.entities.values()
        )

    def is_terminal(self, attr: AttrKey, value: Value | None) -> bool:
        """Whether a value of an attribute ends the request."""
        enum = self.enums.get(self.attribute(attr).type.name)
        return enum is not None and value in enum.terminal
