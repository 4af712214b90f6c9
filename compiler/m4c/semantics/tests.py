"""From a test's tree to its checked value: the requests that it makes, and what it expects to come of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from m4c.semantics.conditions import attribute_key, key_exists
from m4c.semantics.effects import answers, carriers
from m4c.semantics.model import (
    ABSENT,
    STATE,
    Attribute,
    AttrKey,
    Entity,
    Enum,
    Graph,
    Place,
    State,
    Type,
    Value,
)
from m4c.semantics.onepath import OnePath, check_one_path
from m4c.semantics.policies import Names
from m4c.semantics.problems import Edit, Fix, Problem, Related, nearest, unknown
from m4c.semantics.schema import Schema
from m4c.semantics.values import ConstantError, Scope, constant
from m4c.syntax import tree as t


@dataclass(frozen=True, slots=True)
class Expectation:
    """What something should be in the end."""

    attr: AttrKey
    value: Value
    place: Place


@dataclass(frozen=True, slots=True)
class Case:
    """One request of a test, with what is expected of it."""

    entity: str
    path: OnePath
    values: tuple[tuple[AttrKey, Value], ...]  # what is said of the entity, its carriers and its answers
    states: tuple[tuple[str, str, bool], ...]  # what states answer: (state, condition, answer); the others: yes
    expects: tuple[Expectation, ...]
    places: tuple[tuple[AttrKey, Place], ...]  # where each of `values` is said
    place: Place  # of the whole `request`


@dataclass(frozen=True, slots=True)
class Test:
    title: str
    cases: tuple[Case, ...]
    place: Place  # the title


@dataclass(frozen=True, slots=True)
class CheckedTest:
    """A test (None if it cannot be run as it stands), and what is wrong with it."""

    test: Test | None
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """What the settings of a request, and what is expected of it, can name: the attributes of its entity; behind the
    name of what carries it or answers it the attributes of that; and states, behind their names."""

    entity: Entity
    entities: Mapping[str, Entity]
    enums: Mapping[str, Enum]
    states: Mapping[str, State]
    scope: Scope
    services: frozenset[str] | None = None  # those of the graph, if it is known

    @property
    def related(self) -> dict[str, Entity]:
        """The entities whose attributes can be named behind the entity's own name."""
        name = self.entity.name
        found = [*carriers(self.entities, name), self.entity, *answers(self.entities, name)]
        return {e.name: e for e in found}

    def kind(self, state: str) -> Entity | None:
        found = self.states.get(state)
        return self.entities.get(found.kind) if found is not None else None

    def asked(self, node: t.Setting) -> bool:
        """Whether something names a state's condition (`limiter.Take`)."""
        kind = self.kind(node.name.text)
        return kind is not None and node.member is not None and node.member.text in kind.conditions

    def attribute(self, node: t.Setting) -> tuple[AttrKey, Attribute] | None:
        """The attribute that `header["x"]`, `TcpConnection.port` or `hits.tally` names; None: reported."""
        owner, name = self.entity, node.name
        scope, known = self.scope, [*self.entity.attributes]
        if node.member is not None:
            state = self.kind(node.name.text)
            if state is not None:
                owner = replace(state, name=STATE + node.name.text)
                known = [*owner.attributes, *owner.conditions]
            elif node.name.text in self.related:
                owner = self.related[node.name.text]
                known = [*owner.attributes]
            else:
                what = f"state, or entity that goes with a {self.entity.name},"
                scope.problems.append(unknown(what, name.text, [*self.states, *self.related], scope.at(name)))
                return None
            name = node.member
        attribute = owner.attributes.get(name.text)
        if attribute is None:
            what = f"{'condition or attribute' if owner.state else 'attribute'} of {_called(owner)}"
            scope.problems.append(unknown(what, name.text, known, scope.at(name)))
            return None
        if (node.key is None) != (attribute.key is None):
            needs = f'needs a key, as in `{name.text}["…"]`' if attribute.key else "takes no key"
            scope.report("type-mismatch", f"`{name.text}` {needs}", name)
            return None
        if node.key is not None and not key_exists(attribute, node.key, scope, self.services):
            return None
        return attribute_key(owner.name, attribute, node.key.text if node.key else None), attribute

    def settable(self, node: t.Setting) -> tuple[AttrKey, Attribute] | None:
        """As `attribute`, of what can be said of a request before it is made."""
        found = self.attribute(node)
        if found is None:
            return None
        attr, attribute = found
        if attribute.derived is not None:
            source, cut = attribute.derived
            message = f'`{attribute.name}` is what `{source}` holds before the first "{cut}"; set `{source}`'
            self.scope.report("type-mismatch", message, node.name)
            return None
        kind = self.kind(node.name.text) if attr.entity.startswith(STATE) else None
        if kind is not None:
            named = " or ".join(f"`{node.name.text}.{c}`" for c in kind.conditions)
            message = f"`{attr}` is what comes out of a request, not what goes in"
            self.scope.report("type-mismatch", f"{message}; set {named}" if named else message, node)
            return None
        return found

    def constant(self, node: t.Expr | t.Name, type_: Type) -> Value | None:
        """A value of a type, or None with a problem reported."""
        try:
            return constant(node, type_, self.enums, services=self.services)
        except ConstantError as e:
            self.scope.refuse(e)
            return None


def _called(entity: Entity) -> str:
    state = entity.name.removeprefix(STATE)
    return entity.name if state == entity.name else f"`{state}`"


def check_test(decl: t.TestDecl, file: str, key: str, schema: Schema, names: Names, graph: Graph | None) -> CheckedTest:
    """Resolves and type-checks one test. Without a graph its paths cannot be looked at, and it cannot be run."""
    scope = Scope(file, key)
    cases: list[Case | None] = []
    for request, expects in _requests(decl, scope):
        case = _request(request, scope, schema, names, graph)
        if not expects:
            message = "no `expect` stands behind this `request`, so nothing is held to it"
            scope.report("incomplete-test", message, request)
        if case is not None:
            for expect in expects:
                case.expect(expect)
        cases.append(case.checked() if case is not None else None)
    sound = tuple(c for c in cases if c is not None)
    whole = graph is not None and len(sound) == len(cases) and not scope.problems
    return CheckedTest(Test(decl.title.text, sound, scope.at(decl.title)) if whole else None, tuple(scope.problems))


def check_request(
    node: t.TestRequest, schema: Schema, names: Names, graph: Graph | None
) -> tuple[Case | None, tuple[Problem, ...]]:
    """One request by itself, of which nothing is expected. None with problems if nobody can make it; their places are
    in the text that `node` was read from."""
    scope = Scope("", "")
    case = _request(node, scope, schema, names, graph)
    sound = case is not None and graph is not None and not scope.problems
    return (case.checked() if case is not None and sound else None), tuple(scope.problems)


def _requests(decl: t.TestDecl, scope: Scope) -> list[tuple[t.TestRequest, list[t.TestExpect]]]:
    """The requests of a test, each with the expectations behind it."""
    out: list[tuple[t.TestRequest, list[t.TestExpect]]] = []
    for statement in decl.statements:
        if isinstance(statement, t.TestRequest):
            out.append((statement, []))
        elif out:
            out[-1][1].append(statement)
        else:
            message = "an `expect` is about the `request` before it, and there is none"
            scope.report("incomplete-test", message, statement)
    if not decl.statements:
        scope.report("incomplete-test", "the test makes no `request`, so it shows nothing", decl.title)
    return out


@dataclass(slots=True)
class _Case:
    """A request that is being read: what it is, and what it is expected to come to."""

    subject: Subject
    path: OnePath
    place: Place
    values: dict[AttrKey, Value] = field(default_factory=dict)
    places: dict[AttrKey, Place] = field(default_factory=dict)
    states: dict[tuple[str, str], tuple[bool, Place]] = field(default_factory=dict)
    expects: list[Expectation] = field(default_factory=list)

    def checked(self) -> Case:
        states = tuple((state, cond, answer) for (state, cond), (answer, _) in self.states.items())
        values, places = tuple(self.values.items()), tuple(self.places.items())
        return Case(self.subject.entity.name, self.path, values, states, tuple(self.expects), places, self.place)

    # --- settings ---

    def set(self, node: t.Setting) -> None:
        """One setting: an attribute as it arrives, or what a state answers."""
        if self.subject.asked(node):
            self._answer(node)
            return
        found = self.subject.settable(node)
        if found is not None:
            self.give(*found, node.value, node)

    def give(self, attr: AttrKey, attribute: Attribute, value: t.Expr | t.Name, node: t.Setting | t.Expr) -> None:
        """Sets an attribute, once."""
        scope = self.subject.scope
        if attr in self.places:
            related = (Related(self.places[attr], "first here"),)
            scope.problems.append(Problem("duplicate-name", f"{attr} is set twice", scope.at(node), related))
            return
        given = self.subject.constant(value, attribute.type)
        if given is not None:
            self.places[attr] = scope.at(node)
            if given is not ABSENT:
                self.values[attr] = given

    def _answer(self, node: t.Setting) -> None:
        assert node.member is not None  # noqa: S101 - `asked` says so
        scope, asked = self.subject.scope, (node.name.text, node.member.text)
        if node.key is not None:
            scope.report("type-mismatch", f"`{'.'.join(asked)}` takes no key", node.key)
            return
        if asked in self.states:
            related = (Related(self.states[asked][1], "first here"),)
            message = f"`{'.'.join(asked)}` is set twice"
            scope.problems.append(Problem("duplicate-name", message, scope.at(node), related))
            return
        answer = self.subject.constant(node.value, Type("bool"))
        if isinstance(answer, bool):
            self.states[asked] = (answer, scope.at(node))

    # --- expectations ---

    def expect(self, statement: t.TestExpect) -> None:
        for node in statement.of:
            found = self._named(node) if isinstance(node, t.Setting) else self._bare(node)
            if found is not None:
                self.expects.append(found)

    def _named(self, node: t.Setting) -> Expectation | None:
        if self.subject.asked(node):
            message = f"`{node.name.text}` answers this before anything happens; set it behind `with`"
            self.subject.scope.report("type-mismatch", message, node)
            return None
        found = self.subject.attribute(node)
        if found is None:
            return None
        attr, attribute = found
        absent = isinstance(node.value, t.Name) and node.value.text == "absent"
        value = ABSENT if absent else self.subject.constant(node.value, attribute.type)
        return None if value is None else Expectation(attr, value, self.subject.scope.at(node))

    def _bare(self, node: t.Expr | t.Name) -> Expectation | None:
        """`expect allow`: a value that only one attribute can have says enough."""
        subject, scope = self.subject, self.subject.scope
        if not isinstance(node, t.Name):
            message = "say of which attribute this is the value, as in `NAME = VALUE`"
            scope.report("type-mismatch", message, node)
            return None
        having = [a for a, enum in _enums(subject.entity, subject.enums) if node.text in enum.values]
        if not having:
            known = {v for _, enum in _enums(subject.entity, subject.enums) for v in enum.values}
            what = f"value of an attribute of {subject.entity.name}"
            problem = unknown(what, node.text, known, scope.at(node))
            if node.text in subject.entity.attributes:
                message = f"`{node.text}` is an attribute; say what it should be, as in `{node.text} = …`"
                problem = Problem("type-mismatch", message, scope.at(node))
            scope.problems.append(problem)
            return None
        if len(having) > 1:
            choices = " or ".join(f"`{a.name} = {node.text}`" for a in having)
            fixes = tuple(
                Fix(f"Say `{a.name} = {node.text}`", (Edit(scope.at(node), f"{a.name} = {node.text}"),)) for a in having
            )
            message = f"several attributes can be `{node.text}`; say {choices}"
            scope.problems.append(Problem("type-mismatch", message, scope.at(node), fixes=fixes))
            return None
        return Expectation(AttrKey(subject.entity.name, having[0].name), node.text, scope.at(node))


def _enums(entity: Entity, enums: Mapping[str, Enum]) -> Iterator[tuple[Attribute, Enum]]:
    """The attributes without a key whose values are those of an enum."""
    for a in entity.attributes.values():
        if a.key is None and a.type.name in enums:
            yield a, enums[a.type.name]


# --- requests ---------------------------------------------------------------------------------------------------------


def _request(node: t.TestRequest, scope: Scope, schema: Schema, names: Names, graph: Graph | None) -> _Case | None:
    """What a `request` makes, and with what; None if its entity or its path is not known."""
    entity = _entity(node, scope, schema)
    path = check_one_path(node.pattern, entity, scope, names, graph)
    if entity is None:
        return None
    subject = Subject(entity, schema.entities, schema.enums, names.states, scope, names.services)
    case = _Case(subject, path or OnePath(), scope.at(node))
    if node.text is not None:
        words: tuple[t.Name | t.Str, ...] = (node.name, node.text)
        for name, word in zip(entity.request_line, words, strict=True):
            text = t.Lit("string", word.text, word.start, word.end)
            case.give(AttrKey(entity.name, name), entity.attributes[name], text, text)
    for setting in node.settings:
        case.set(setting)
    return case


def _entity(node: t.TestRequest, scope: Scope, schema: Schema) -> Entity | None:
    """The entity of a request: the one that is named, or the one whose request line is given."""
    known = {e.name: e for e in schema.entities.values() if not e.state}
    if node.text is None:
        entity = known.get(node.name.text)
        if entity is None:
            scope.problems.append(unknown("entity", node.name.text, known, scope.at(node.name)))
        elif entity.views:
            asked = ", ".join(dict.fromkeys(entity.views.values()))
            message = (
                f"a {entity.name} only comes back for a {asked}: request that, and say `{entity.name}.…` for what is "
                "in the answer"
            )
            scope.report("type-mismatch", message, node.name)
            return None
        return entity
    lines = [e for e in known.values() if len(e.request_line) == 2]
    if len(lines) == 1:
        return lines[0]
    near = nearest(node.name.text, known)
    if lines:
        which = " or ".join(f"`request {e.name} on …`" for e in lines)
        message = f"this could be one of several entities; say {which}, and the rest behind `with`"
    else:
        message = f"no entity is requested with two words; say `request {near or 'ENTITY'} on …`"
    scope.report("type-mismatch", message, node.name)
    return None
